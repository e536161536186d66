//! Training: from cases to a package in a run folder.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::baseline::sorted_samples;
use crate::case::check_cases;
use crate::computed_on::computed_on;
use crate::dataset::{Dataset, PlacedCase, PreparedCase, place_case};
use crate::learner::{Learner, Pix2PixLearner, RegressionLearner, RoiNetLearner, SegmentationLearner};
use crate::preprocessing::spacing_along_lps;
use crate::run_folder::{RunFolder, Split};
use crate::trainer::{Packaging, Setting, train_network};
use crate::{
    Architecture, BodyMethod, BulkDensity, Case, CaseIdentity, DixonBulkDensity, ModelError, ModelPackage,
    Normalization, Orientation, PackagedModel, Preprocessing, Provenance, TrainConfig, TrainEvent,
    TrainObserver, VoxelRegression,
};

/// Whether a training begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Begin in an empty or new folder.
    New,
    /// Go on where the run in the folder was stopped or killed.
    Resume,
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub enum TrainOutcome {
    /// All epochs are done; the package holds the best one.
    Finished,
    /// The observer stopped it; the run can be resumed.
    Stopped,
}

/// Trains a model and leaves its package in `run_dir`.
///
/// The run folder holds `config.json`, `split.json` (the cases' identifiers and SHA-256), `metrics.csv` (for networks, a
/// row for each epoch), `checkpoint/` (for networks) and `package/`, the model with the smallest combined validation
/// loss so far (of a pix2pix pair the smallest mean absolute error).
/// A cascade trains its stages one after the other, in the folders `segmentation/` and `regression/` with metrics and
/// checkpoints of their own; its package holds both.
/// Every file is written aside and renamed, so the run can be resumed after being killed at any time; it then ends
/// with the same weights and metrics, bit for bit on the same machine, as if it had not been interrupted.
/// Losses are reduced over a batch; those of an epoch are the batches' means weighted by their numbers of slices.
/// The baselines have no epochs and do not look at the validation cases.
///
/// # Errors
/// [`ModelError::Config`] or [`ModelError::Cases`] with everything that is wrong, before anything slow is done;
/// [`ModelError::RunFolderNotEmpty`], [`ModelError::NoRun`] or [`ModelError::OtherRun`] if `mode` does not suit the
/// folder; [`ModelError::LossNotFinite`] with the batch; else what a step below fails with.
pub fn train(
    train: &[Case],
    validation: &[Case],
    config: &TrainConfig,
    run_dir: &Path,
    mode: RunMode,
    device: &Device,
    observer: &mut dyn TrainObserver,
) -> Result<TrainOutcome, ModelError> {
    config.validate()?;
    check_cases(train, validation, &config.channels)?;
    let is_network = config.architecture.is_network();
    if validation.is_empty() && is_network {
        let what = "there are no validation cases to choose the best epoch by".to_owned();
        return Err(ModelError::Cases { problems: vec![crate::CaseProblem { id: "-".to_owned(), what }] });
    }
    let computed_on = computed_on(device, is_network.then_some(config.precision));
    let split = Split { train: identities(train), validation: identities(validation) };
    let folder = RunFolder::open(run_dir, mode, config, &split)?;
    let mut preprocessing = Preprocessing {
        channels: config.channels.clone(),
        orientation: Orientation::AxialLps,
        spacing_mm: config.spacing_mm.unwrap_or_else(|| spacing_along_lps(train[0].ct.grid())),
        body: BodyMethod::MrFirstChannel,
        bias_correction: config.bias_correction.clone(),
        // What the method learns is put in once the training cases are on the model grid, which needs none of it.
        normalization: Normalization::ZScoreInBody,
        crop_margin_mm: config.crop_margin_mm,
        size_multiple: config.size_multiple,
        context_slices: if is_network { config.context_slices } else { 0 },
    };
    let provenance = Provenance {
        config: config.clone(),
        train: split.train,
        validation: split.validation,
        epochs_done: None,
        best_epoch: None,
        best_validation_loss: None,
        computed_on,
        synthct_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let n_cases = train.len() + if is_network { validation.len() } else { 0 };
    let mut n_ready = 0;
    let mut place = |cases: &[Case]| -> Result<ControlFlow<(), Vec<PlacedCase>>, ModelError> {
        let mut placed = Vec::with_capacity(cases.len());
        for case in cases {
            placed.push(
                place_case(case, &preprocessing)
                    .map_err(|error| ModelError::InCase { id: case.id.clone(), source: Box::new(error) })?,
            );
            n_ready += 1;
            let event = TrainEvent::CasePrepared { n_ready, n_cases, id: case.id.clone() };
            if observer.on_event(&event).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(placed))
    };
    let ControlFlow::Continue(train) = place(train)? else {
        return Ok(TrainOutcome::Stopped);
    };
    let ControlFlow::Continue(validation) = place(if is_network { validation } else { &[] })? else {
        return Ok(TrainOutcome::Stopped);
    };
    preprocessing.normalization =
        config.normalization.fitted(config.channels.len(), train.iter().map(PlacedCase::mr))?;
    let prepare = |cases: Vec<PlacedCase>| -> Result<Vec<PreparedCase>, ModelError> {
        cases.into_iter().map(|case| case.normalized(&preprocessing.normalization)).collect()
    };
    let prepared = prepare(train)?;
    let model = match &config.architecture {
        Architecture::RoiNet(_) | Architecture::Pix2Pix(_) | Architecture::Cascade(_) => {
            prepared.iter().try_for_each(|case| case.require_suited(&config.augmentation))?;
            let dataset = |cases| {
                let size = [config.size_multiple, config.context_slices];
                Dataset::new(cases, size, config.skip_slices_without_body)
            };
            let (train, validation) = (dataset(prepared), dataset(prepare(validation)?));
            let setting = Setting { train: &train, validation: &validation, provenance: &provenance, device };
            return train_architecture(setting, &folder, &preprocessing, observer);
        }
        Architecture::VoxelRegression(baseline) => {
            PackagedModel::VoxelRegression(VoxelRegression::fit(&sorted_samples(&prepared), baseline.n_bins))
        }
        Architecture::DixonBulkDensity(baseline) => PackagedModel::DixonBulkDensity(DixonBulkDensity::fit(
            &prepared,
            baseline.table,
            baseline.skin_mm,
        )?),
        Architecture::BulkDensity(baseline) => PackagedModel::BulkDensity(BulkDensity::fit(
            &sorted_samples(&prepared),
            baseline.n_bins,
            baseline.table,
        )),
    };
    ModelPackage::new(model, preprocessing, provenance, BTreeMap::new()).save(&folder.package())?;
    let _ = observer.on_event(&TrainEvent::Finished);
    Ok(TrainOutcome::Finished)
}

/// Trains a network, or the stages of one after the other.
fn train_architecture(
    setting: Setting<'_>,
    folder: &RunFolder,
    preprocessing: &Preprocessing,
    observer: &mut dyn TrainObserver,
) -> Result<TrainOutcome, ModelError> {
    let (config, device) = (&setting.provenance.config, setting.device);
    let n = preprocessing.in_channels();
    let packaging = |model, fixed| Packaging { model, preprocessing, fixed };
    let (learner, model): (Box<dyn Learner>, _) = match &config.architecture {
        Architecture::RoiNet(training) => (
            Box::new(RoiNetLearner::new(training, n, config, device)?),
            PackagedModel::RoiNet(training.network(n)),
        ),
        Architecture::Pix2Pix(training) => (
            Box::new(Pix2PixLearner::new(training, n, config, device)?),
            PackagedModel::Pix2Pix { in_channels: n, generator: training.generator.clone() },
        ),
        Architecture::Cascade(training) => {
            let learner = Box::new(SegmentationLearner::new(training, n, config, device)?);
            let stage = folder.stage("segmentation", &BTreeMap::new())?;
            let (outcome, segmentation) = train_network(learner, setting, &stage, None, observer)?;
            if outcome == TrainOutcome::Stopped {
                return Ok(outcome);
            }
            let learner = Box::new(RegressionLearner::new(training, n, config, device, &segmentation)?);
            let stage = folder.stage("regression", &segmentation)?;
            let packaging = packaging(PackagedModel::Cascade(training.network(n)), segmentation);
            return Ok(train_network(learner, setting, &stage, Some(&packaging), observer)?.0);
        }
        Architecture::VoxelRegression(_)
        | Architecture::BulkDensity(_)
        | Architecture::DixonBulkDensity(_) => {
            unreachable!("because baselines have no epochs")
        }
    };
    let packaging = packaging(model, BTreeMap::<String, Tensor>::new());
    Ok(train_network(learner, setting, folder, Some(&packaging), observer)?.0)
}

fn identities(cases: &[Case]) -> Vec<CaseIdentity> {
    cases.iter().map(|case| CaseIdentity { id: case.id.clone(), sha256: case.fingerprint() }).collect()
}
