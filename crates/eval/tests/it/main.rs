//! The crate seen from outside, against reference values.

mod determinism;
mod gamma;
mod golden;
mod pair;
mod ssim;
