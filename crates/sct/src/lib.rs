//! MR-only radiotherapy: from an MR scan to a synthetic CT and its quality figures.
//!
//! This crate is the thin facade over the crates of `synthct`: it re-exports them under their short names, gathers the
//! names that most programs need in [`prelude`], and composes them in [`pipeline`].
//! It holds no algorithm.
//!
//! Start here: [`pipeline`] (one case from file to figures), [`prelude`], [`model`].
//!
//! Research software, not for clinical use.

pub mod pipeline;

pub use candle_core::Device;
pub use synthct_dose as dose;
pub use synthct_eval as eval;
pub use synthct_image as image;
pub use synthct_io as io;
pub use synthct_loss as loss;
pub use synthct_model as model;
pub use synthct_nn as nn;
pub use synthct_phantom as phantom;
pub use synthct_prep as prep;
pub use synthct_register as register;
pub use synthct_report as report;
pub use synthct_rt as rt;

/// The names that most programs need.
pub mod prelude {
    pub use synthct_eval::{ImageMetrics, evaluate_sct};
    pub use synthct_image::{
        AffineTransform, Grid, Interpolation, LabelMap, Mask, PointLps, Transform, Volume, VoxelIndex,
        resample,
    };
    pub use synthct_io::{read_mask, read_volume, write_mask, write_volume};
    pub use synthct_model::{Case, ModelPackage, PredictOptions, TrainConfig, predict, train};
    pub use synthct_phantom::{PhantomConfig, generate};
    pub use synthct_prep::{N4Config, body_mask_ct, body_mask_mr, n4, zscore};
    pub use synthct_register::{BSplineConfig, LinearConfig, register_bspline, register_linear};
}
