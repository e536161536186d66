//! The transform that lines two images up: rigid, affine, B-spline.
//!
//! Start here: [`register_linear`] (a rigid or affine transform), [`register_bspline`] (a smooth deformation),
//! [`RegistrationReport`] (what a registration says about
//! itself), [`RegisterError`] (why there is none).
//!
//! Every transform is `moving_from_fixed`: it takes a point of the fixed image to the point of the moving image that
//! belongs there, in DICOM patient LPS, mm. That is the direction in which `synthct_image::resample` wants it.
//!
//! This crate reads no files; the same input gives the same bits on any number of threads.

mod bspline;
mod dissimilarity;
mod error;
mod histogram;
mod intensity;
mod lbfgs;
mod linear;
mod pyramid;
mod report;
mod sampler;

pub use bspline::{BSplineConfig, BSplineStage, IntensityWindow, SimilarityMetric, register_bspline};
pub use error::{ImageRole, RegisterError};
pub use linear::{CorrelationLevel, InitialAlignment, LinearConfig, LinearModel, register_linear};
pub use report::{LevelReport, Metric, RegisterProgress, RegistrationReport, Stage, Start};
