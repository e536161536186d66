//! How good a synthetic CT or a dose on it is: MAE, Dice, PSNR, SSIM, MS-SSIM, gamma, DVH.
//!
//! Definitions are those of the SynthRAD challenges, matched number for number, and of the RoI-focused multi-task network
//! for the regions; where they leave something open, the item says that the choice is ours.
//!
//! Start here: [`evaluate_sct`] (every metric of one case), [`summarize`] (a cohort), [`EvaluateConfig`] (what can be
//! chosen).
//! The single metrics are free functions: [`mae_hu`], [`psnr_db`], [`ssim_synthrad2023`], [`ms_ssim_synthrad2025`],
//! [`ssim()`] with a chosen window, [`dice`].
//! Of uncertainties: [`reliability()`] (do they tell how large errors are?) and [`roc_auc`].
//! Of doses: [`gamma()`] (agreement in dose or position), [`Dvh`] (what a structure receives), [`dose_mae`] and
//! [`dvh_metric`] (the challenge's figures).
//! Of two methods on the same cases: [`paired_tests`].
//!
//! This crate reads no file, resamples nothing (grids must match, those of [`gamma()`] excepted) and computes no dose.

mod config;
mod dice;
mod dvh;
mod error;
mod gamma;
mod inputs;
mod metrics;
mod region;
mod reliability;
mod similarity;
mod ssim;
mod statistics;
mod summary;
mod synthrad_dose;
mod voxelwise;
mod window;

pub use config::EvaluateConfig;
pub use dice::dice;
pub use dvh::{Dvh, DvhFigures};
pub use error::EvalError;
pub use gamma::{
    DoseNormalization, GammaConfig, GammaCriterion, GammaMap, GammaMode, GammaSearch, GammaSummary, gamma,
};
pub use metrics::{BoneDice, ImageMetrics, RegionValues, evaluate_sct, evaluate_sct_with};
pub use region::{HuRange, Regions};
pub use reliability::{Reliability, ReliabilityBin, reliability, roc_auc};
pub use similarity::{ms_ssim_synthrad2025, ssim_synthrad2023};
pub use ssim::{Ssim, SsimConfig, SsimWindow, ssim};
pub use statistics::{
    PairedTests, ShapiroWilk, WilcoxonSignedRank, paired_tests, shapiro_wilk, wilcoxon_signed_rank,
};
pub use summary::{ImageSummary, MeanSd, summarize};
pub use synthrad_dose::{DvhMetric, DvhPair, dose_mae, dvh_metric};
pub use voxelwise::{Definition, mae_hu, mean_error_hu, psnr_db};
