//! How good a synthetic CT is: MAE, Dice, PSNR, SSIM, MS-SSIM.
//!
//! Definitions are those of the SynthRAD challenges, matched number for number, and of the RoI-focused multi-task network
//! for the regions; where they leave something open, the item says that the choice is ours.
//!
//! Start here: [`evaluate_sct`] (every metric of one case), [`summarize`] (a cohort), [`EvaluateConfig`] (what can be
//! chosen).
//! The single metrics are free functions: [`mae_hu`], [`psnr_db`], [`ssim_synthrad2023`], [`ms_ssim_synthrad2025`],
//! [`ssim()`] with a chosen window, [`dice`].
//!
//! This crate reads no file, resamples nothing (grids must match) and knows no dose.

mod config;
mod dice;
mod error;
mod inputs;
mod metrics;
mod region;
mod similarity;
mod ssim;
mod summary;
mod voxelwise;
mod window;

pub use config::EvaluateConfig;
pub use dice::dice;
pub use error::EvalError;
pub use metrics::{BoneDice, ImageMetrics, RegionValues, evaluate_sct, evaluate_sct_with};
pub use region::{HuRange, Regions};
pub use similarity::{ms_ssim_synthrad2025, ssim_synthrad2023};
pub use ssim::{Ssim, SsimConfig, SsimWindow, ssim};
pub use summary::{ImageSummary, MeanSd, summarize};
pub use voxelwise::{Definition, mae_hu, mean_error_hu, psnr_db};
