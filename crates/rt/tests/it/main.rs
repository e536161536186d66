//! The crate seen from outside.

mod contours;
