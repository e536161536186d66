//! Train networks on volumes and apply them; model packages that carry their preprocessing.
//!
//! Start here: [`train`](fn@train) (cases to a run folder), [`ModelPackage`] (what a run leaves), [`predict`](fn@predict)
//! (a package and an MR to a synthetic CT).
//!
//! A model sees axial slices of an axis-aligned grid; how an MR gets there is [`Preprocessing`], which is stored in the
//! package and applied identically in training and prediction.
//! Two [baselines](crate::Architecture) that see one voxel at a time are trained and applied the same way.
//!
//! This crate reads no image files, registers nothing, and measures no synthetic CT.
//! It reads no clock and no environment, picks no device, and prints nothing; progress leaves through a
//! [`TrainObserver`].

mod ahead;
mod baseline;
mod case;
mod computed_on;
mod config;
mod dataset;
mod error;
mod event;
mod files;
mod network;
mod normalization;
mod optimizer;
mod package;
mod predict;
mod preprocessing;
mod random;
mod run_folder;
mod sha256;
mod train;
mod trainer;

pub use baseline::{BulkDensity, BulkDensityTable, VoxelRegression};
pub use candle_core;
pub use case::{Case, check_cases};
pub use computed_on::device_kind;
pub use config::{
    Architecture, BulkDensityTraining, RoiNetTraining, RoiVariant, TrainConfig, VoxelRegressionTraining,
};
pub use error::{CaseProblem, FieldProblem, ModelError};
pub use event::{LossTerms, TrainEvent, TrainObserver, Unobserved};
pub use normalization::{Normalization, NormalizationMethod};
pub use optimizer::{AdamConfig, NadamConfig, Optimizer, OptimizerConfig, OptimizerProgress};
pub use package::{CaseIdentity, ModelPackage, PACKAGE_FORMAT_VERSION, PackagedModel, Provenance};
pub use predict::{
    HeadImages, OutsideBody, PredictOptions, PredictProgress, PredictWarning, Prediction, SCT_RANGE_HU,
    predict,
};
pub use preprocessing::{BodyMethod, Orientation, Preprocessing};
pub use run_folder::{RunRecord, read_run};
pub use train::{RunMode, TrainOutcome, train};
