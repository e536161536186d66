//! The crate seen from outside, against reference values.

mod determinism;
mod golden;
mod pair;
mod ssim;
