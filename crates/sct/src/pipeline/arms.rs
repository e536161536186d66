//! Several methods trained on the same cases and tried on the same held-out cases.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use synthct_eval::{ImageMetrics, ImageSummary, evaluate_sct, summarize};
use synthct_image::Volume;
use synthct_model::{
    Case, ModelPackage, PredictOptions, RunMode, TrainConfig, TrainEvent, TrainObserver, TrainOutcome,
    predict, train,
};

use super::{Observer, PipelineError};

/// One method of a comparison.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Its name in tables and folders.
    pub name: String,
    /// How it is trained; a network also predicts in the precision named here.
    pub config: TrainConfig,
}

/// What one method made of the held-out cases.
#[derive(Clone, Debug)]
pub struct ArmResult {
    /// The arm's name.
    pub name: String,
    /// One result a case, in the order of the cases.
    pub cases: Vec<CaseResult>,
    /// Mean and standard deviation over the cases.
    pub summary: ImageSummary,
    /// What its training computed on.
    pub computed_on: String,
}

/// What one method made of one case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The case's name.
    pub id: String,
    /// The synthetic CT on the grid of the case's MR, HU.
    pub sct: Volume<f32>,
    /// Its figures.
    pub metrics: ImageMetrics,
}

/// The cases of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Split<'a> {
    /// To learn from.
    pub train: &'a [Case],
    /// To choose the best epoch by.
    pub validation: &'a [Case],
    /// Held out, to report on.
    pub test: &'a [Case],
}

/// Trains every arm in its own run folder below `out` and tries it on the held-out cases.
///
/// A run folder that is already there is resumed; one that is complete is not trained again.
///
/// # Errors
/// [`PipelineError::Stopped`] if the observer asked for it, else the error of the step that failed.
pub fn run_arms(
    arms: &[Arm],
    split: Split<'_>,
    out: &Path,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Vec<ArmResult>, PipelineError> {
    arms.iter().map(|arm| run_arm(arm, split, out, device, observer)).collect()
}

fn run_arm(
    arm: &Arm,
    split: Split<'_>,
    out: &Path,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<ArmResult, PipelineError> {
    let run = out.join(&arm.name);
    observer.stage(&format!("train {}", arm.name), None);
    let mode = if run.join("config.json").exists() { RunMode::Resume } else { RunMode::New };
    match train(split.train, split.validation, &arm.config, &run, mode, device, &mut Training(observer))? {
        TrainOutcome::Finished => {}
        TrainOutcome::Stopped => return Err(PipelineError::Stopped),
    }
    let package = ModelPackage::load(&run)?;
    observer.stage(&format!("predict {}", arm.name), Some(split.test.len()));
    let options = PredictOptions { precision: arm.config.precision, ..PredictOptions::standard() };
    let mut cases = Vec::with_capacity(split.test.len());
    for case in split.test {
        let prediction = predict(&package, &case.mr, &options, device, &mut |_| ControlFlow::Continue(()))?;
        for warning in &prediction.warnings {
            tracing::warn!("{}, {}: {warning}", arm.name, case.id);
        }
        let sct = prediction.sct;
        let metrics = evaluate_sct(&case.ct, &sct, &case.body)?;
        cases.push(CaseResult { id: case.id.clone(), sct, metrics });
        if observer.done(1).is_break() {
            return Err(PipelineError::Stopped);
        }
    }
    let metrics: Vec<ImageMetrics> = cases.iter().map(|case| case.metrics.clone()).collect();
    let summary = summarize(&metrics);
    let computed_on = package.provenance().computed_on.clone();
    Ok(ArmResult { name: arm.name.clone(), cases, summary, computed_on })
}

/// Hands training events on.
struct Training<'a>(&'a mut dyn Observer);

impl TrainObserver for Training<'_> {
    fn on_event(&mut self, event: &TrainEvent) -> ControlFlow<()> {
        self.0.training(event)
    }
}
