//! MR-only radiotherapy: from an MR scan to a synthetic CT and its quality figures.
