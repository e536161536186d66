//! The transform that lines two images up: rigid, affine, B-spline.
//!
//! Start here: [`RegistrationReport`] (what a registration says about itself), [`RegisterError`] (why there is none).
//!
//! Every transform is `moving_from_fixed`: it takes a point of the fixed image to the point of the moving image that
//! belongs there, in DICOM patient LPS, mm. That is the direction in which `synthct_image::resample` wants it.
//!
//! This crate reads no files; the same input gives the same bits on any number of threads.

mod error;
#[cfg_attr(not(test), expect(dead_code, reason = "the first user follows"))]
mod histogram;
#[cfg_attr(not(test), expect(dead_code, reason = "the first user follows"))]
mod intensity;
#[cfg_attr(not(test), expect(dead_code, reason = "the first user follows"))]
mod pyramid;
mod report;
#[cfg_attr(not(test), expect(dead_code, reason = "the first user follows"))]
mod sampler;

pub use error::{ImageRole, RegisterError};
pub use report::{LevelReport, Metric, RegisterProgress, RegistrationReport, Stage, Start};
