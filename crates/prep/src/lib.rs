//! Intensity and field-of-view preparation of MR and CT: normalisation and body masks.
//!
//! Start here: [`zscore`] (an MR on a common intensity scale), [`body_mask_mr`] and [`body_mask_ct`] (where the patient
//! is).
//!
//! This crate reads no files and draws no random numbers; the same input gives the same bits on any number of threads.

mod body;
mod error;
mod n4;
mod zscore;

pub use body::{body_mask_ct, body_mask_mr};
pub use error::PrepError;
pub use n4::{N4Config, N4Correction, N4Level, N4Progress, n4};
pub use zscore::{ZScore, zscore};
