//! Intensity and field-of-view preparation of MR and CT: normalisation and body masks.
//!
//! Start here: [`body_mask_mr`] and [`body_mask_ct`] (where the patient is), [`n4()`] (an MR without its bias field),
//! [`zscore()`] (an MR on a common intensity scale), [`NyulFit`] (the MRs of a cohort on one scale), [`AugmentationDraw`]
//! (random changes for training).
//!
//! This crate reads no files, and random numbers come from a generator that the caller seeds; the same input gives the same
//! bits on any number of threads.

mod augment;
mod body;
mod error;
mod n4;
mod nyul;
mod percentile;
mod percentiles;
mod zscore;

pub use augment::{AugmentationConfig, AugmentationDraw, MrScale, NoiseKind};
pub use body::{body_mask_ct, body_mask_mr};
pub use error::PrepError;
pub use n4::{N4Config, N4Correction, N4Level, N4Progress, n4};
pub use nyul::{NyulConfig, NyulFit, NyulLandmarks, NyulMap};
pub use percentile::{PercentileConfig, PercentileRange, percentile};
pub use zscore::{ZScore, zscore};
