//! Train networks on volumes and apply them; model packages that carry their preprocessing.
//!
//! Start here: [`train`](fn@train) (cases to a run folder), [`ModelPackage`] (what a run leaves), [`predict`](fn@predict)
//! (a package and an MR to a synthetic CT).
//!
//! A model sees axial slices of an axis-aligned grid; how an MR gets there is [`Preprocessing`], which is stored in the
//! package and applied identically in training and prediction.
//! [Baselines](crate::Architecture) that learn a curve or a threshold are trained and applied the same way.
//!
//! This crate reads no image files, registers nothing, and measures no synthetic CT.
//! It reads no clock and no environment, picks no device, and prints nothing; progress leaves through a
//! [`TrainObserver`].

mod ahead;
mod architecture;
mod baseline;
mod case;
mod computed_on;
mod config;
mod dataset;
mod error;
mod event;
mod files;
mod learner;
mod network;
mod normalization;
mod optimizer;
mod package;
mod predict;
mod preprocessing;
mod random;
mod run_folder;
mod schedule;
mod sha256;
mod train;
mod trainer;

pub use architecture::{
    Architecture, BulkDensityTraining, CascadeTraining, DixonBulkDensityTraining, LossWeighting,
    Pix2PixTraining, RoiNetTraining, RoiVariant, VoxelRegressionTraining,
};
pub use baseline::{BulkDensity, BulkDensityTable, DixonBulkDensity, VoxelRegression};
pub use candle_core;
pub use case::{Case, check_cases};
pub use computed_on::device_kind;
pub use config::TrainConfig;
pub use error::{CaseProblem, FieldProblem, ModelError};
pub use event::{LossTerms, TrainEvent, TrainObserver, Unobserved};
pub use normalization::{Normalization, NormalizationMethod};
pub use optimizer::{AdamConfig, NadamConfig, Optimizer, OptimizerConfig, OptimizerProgress};
pub use package::{CaseIdentity, ModelPackage, PACKAGE_FORMAT_VERSION, PackagedModel, Provenance};
pub use predict::{
    HeadImages, OutsideBody, PredictOptions, PredictProgress, PredictWarning, Prediction, SCT_RANGE_HU,
    predict, predict_ensemble,
};
pub use preprocessing::{BodyMethod, Orientation, Preprocessing};
pub use run_folder::{RunRecord, read_run};
pub use schedule::LearningRateSchedule;
pub use train::{RunMode, TrainOutcome, train};
