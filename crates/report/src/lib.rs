//! Pictures and pages from MR, CT and synthetic CT volumes.
