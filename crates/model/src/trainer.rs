//! The epochs of a network's training.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use crate::ahead::made_ahead;
use crate::dataset::{Batch, Dataset, SliceRef};
use crate::error::chain;
use crate::learner::Learner;
use crate::random::{Purpose, number, stream};
use crate::run_folder::{Checkpoint, Progress, RunFolder};
use crate::{
    CaseProblem, LossTerms, ModelError, ModelPackage, PackagedModel, Preprocessing, Provenance, TrainConfig,
    TrainEvent, TrainObserver, TrainOutcome,
};

/// What a training learns from, and where it leaves its files.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) train: &'a Dataset,
    pub(crate) validation: &'a Dataset,
    pub(crate) provenance: &'a Provenance,
    pub(crate) device: &'a Device,
}

/// How the best weights become a package.
pub(crate) struct Packaging<'a> {
    pub(crate) model: PackagedModel,
    pub(crate) preprocessing: &'a Preprocessing,
    /// Weights of parts of the model that do not learn any more.
    pub(crate) fixed: BTreeMap<String, Tensor>,
}

/// A training under way.
struct Trainer<'a> {
    setting: Setting<'a>,
    config: &'a TrainConfig,
    folder: &'a RunFolder,
    packaging: Option<&'a Packaging<'a>>,
    learner: Box<dyn Learner>,
    progress: Progress,
    best: BTreeMap<String, Tensor>,
    /// The moving average of the weights that belong to the model; empty without one.
    average: BTreeMap<String, Tensor>,
}

/// How a training ended, and the weights of the best epoch, if it is at its end.
pub(crate) type Ended = (TrainOutcome, BTreeMap<String, Tensor>);

/// Trains networks from their first step or their checkpoint on; without a packaging only the checkpoint keeps the weights.
pub(crate) fn train_network(
    learner: Box<dyn Learner>,
    setting: Setting<'_>,
    folder: &RunFolder,
    packaging: Option<&Packaging<'_>>,
    observer: &mut dyn TrainObserver,
) -> Result<Ended, ModelError> {
    for (dataset, side) in [(setting.train, "training"), (setting.validation, "validation")] {
        if dataset.n_slices() == 0 {
            let what = format!("no {side} slice has any body in it");
            return Err(ModelError::Cases { problems: vec![CaseProblem { id: "-".to_owned(), what }] });
        }
    }
    let config = &setting.provenance.config;
    let average = if config.average_decay.is_some() { learner.packaged_weights()? } else { BTreeMap::new() };
    let mut trainer = Trainer {
        setting,
        config,
        folder,
        packaging,
        learner,
        progress: Progress::default(),
        best: BTreeMap::new(),
        average,
    };
    if let Some(checkpoint) = folder.read_checkpoint()? {
        trainer.restore(checkpoint)?;
    }
    let outcome = trainer.run(observer)?;
    Ok((outcome, trainer.best))
}

impl Trainer<'_> {
    fn run(&mut self, observer: &mut dyn TrainObserver) -> Result<TrainOutcome, ModelError> {
        let Setting { train, validation, provenance, .. } = self.setting;
        let n_steps = train.batches_in_order(self.config.batch_size).len();
        let started = TrainEvent::Started {
            n_epochs: self.config.epochs,
            n_steps_per_epoch: n_steps,
            n_steps_done: self.progress.epochs_done * n_steps + self.progress.steps_done,
            n_parameters: self.learner.n_parameters(),
            n_train_slices: train.n_slices(),
            n_validation_slices: validation.n_slices(),
            computed_on: provenance.computed_on.clone(),
        };
        if observer.on_event(&started).is_break() {
            return Ok(TrainOutcome::Stopped);
        }
        if self.progress.metrics.is_empty() {
            self.progress.metrics.push(metrics_heading(self.learner.loss_names()));
        }
        while self.progress.epochs_done < self.config.epochs && !self.has_stopped_early() {
            let epoch = self.progress.epochs_done + 1;
            if self.steps(epoch, observer)?.is_break() {
                return Ok(TrainOutcome::Stopped);
            }
            if observer.on_event(&self.end_epoch(epoch)?).is_break() {
                return Ok(TrainOutcome::Stopped);
            }
        }
        self.folder.write_metrics(&self.progress.metrics)?;
        self.save_package()?;
        // Nothing is left to stop.
        let _ = observer.on_event(&TrainEvent::Finished);
        Ok(TrainOutcome::Finished)
    }

    /// Whether the last epochs, as many as the configuration is patient, were no better than one before.
    fn has_stopped_early(&self) -> bool {
        let since_best = self.progress.best.map_or(0, |(epoch, _)| self.progress.epochs_done - epoch);
        self.config.early_stopping_epochs.is_some_and(|patience| since_best >= patience)
    }

    /// The steps of an epoch that are still to be made; the batch of the next one is loaded meanwhile.
    fn steps(
        &mut self,
        epoch: usize,
        observer: &mut dyn TrainObserver,
    ) -> Result<ControlFlow<()>, ModelError> {
        let (Setting { train, device, .. }, config) = (self.setting, self.config);
        self.learner.set_learning_rate(config.learning_rate * config.schedule.factor(epoch, config.epochs));
        let batches = train.shuffled_batches(config.batch_size, config.seed, epoch);
        let n_steps = batches.len();
        let load = |n: usize| {
            let mut rng = stream(config.seed, Purpose::Augmentation, epoch, n + 1);
            train.batch(&batches[n], Some((&config.augmentation, &mut rng)), device)
        };
        made_ahead(self.progress.steps_done..n_steps, load, |n, batch| {
            let step = n + 1;
            let losses = self.step(epoch, step, &batches[n], &batch)?;
            let is_stopped = observer.on_event(&TrainEvent::Step { epoch, step, n_steps, losses }).is_break();
            let is_due = config.checkpoint_every_steps.is_some_and(|every| step.is_multiple_of(every));
            // After an epoch's last step its end writes the checkpoint.
            if is_stopped || (is_due && step < n_steps) {
                self.write_checkpoint()?;
            }
            Ok(if is_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// One step down the gradient of a batch.
    fn step(
        &mut self,
        epoch: usize,
        step: usize,
        slices: &[SliceRef],
        batch: &Batch,
    ) -> Result<LossTerms, ModelError> {
        let dropout_seed = number(self.config.seed, Purpose::Dropout, epoch, step);
        let values = self.learner.train_step(batch, dropout_seed)?;
        if let Some(&loss) = values.iter().find(|value| !value.is_finite()) {
            let batch = slices.iter().map(|&slice| self.setting.train.name(slice)).collect();
            return Err(ModelError::LossNotFinite { loss, epoch, step, batch });
        }
        self.move_average()?;
        add_weighted(&mut self.progress.loss_sums, &values, slices.len());
        self.progress.n_slices += slices.len();
        self.progress.steps_done = step;
        self.progress.n_steps += 1;
        Ok(self.learner.named(&values))
    }

    /// Moves the average of the weights, if there is one, towards the weights.
    fn move_average(&mut self) -> Result<(), ModelError> {
        let Some(decay) = self.config.average_decay else {
            return Ok(());
        };
        let t = self.progress.n_steps as f64;
        let decay = decay.min((1.0 + t) / (10.0 + t));
        let weights = self.learner.packaged_weights()?;
        for (name, average) in &mut self.average {
            let weight = weights.get(name).expect("because the average has the model's names");
            let kept = average.to_device(weight.device())?.affine(decay, 0.0)?;
            *average = (kept + weight.affine(1.0 - decay, 0.0)?)?.detach();
        }
        Ok(())
    }

    /// Validation, the best model so far, and the files of an epoch.
    fn end_epoch(&mut self, epoch: usize) -> Result<TrainEvent, ModelError> {
        let train = means(&self.progress.loss_sums, self.progress.n_slices);
        let validation = self.validate(epoch)?;
        let criterion = self.learner.criterion(&validation);
        let is_best = self.progress.best.is_none_or(|(_, least)| criterion < least);
        if is_best {
            self.progress.best = Some((epoch, criterion));
            self.best = match self.config.average_decay {
                None => self.learner.packaged_weights()?,
                Some(_) => self.average.clone(),
            };
        }
        self.progress.metrics.push(metrics_row(epoch, &train, &validation, is_best));
        self.progress.epochs_done = epoch;
        self.progress.steps_done = 0;
        self.progress.n_slices = 0;
        self.progress.loss_sums.clear();
        // The checkpoint comes first: what follows can be made from it again.
        self.write_checkpoint()?;
        self.folder.write_metrics(&self.progress.metrics)?;
        if is_best {
            self.save_package()?;
        }
        let (best_epoch, best_validation_loss) =
            self.progress.best.expect("because the first epoch is the best so far");
        Ok(TrainEvent::EpochEnd {
            epoch,
            n_epochs: self.config.epochs,
            train: self.learner.named(&train),
            validation: self.learner.named(&validation),
            best_epoch,
            best_validation_loss,
        })
    }

    /// The losses of the validation slices with the running statistics and without dropout, of the averaged weights if
    /// there are any.
    fn validate(&self, epoch: usize) -> Result<Vec<f64>, ModelError> {
        if self.average.is_empty() {
            return self.validate_present(epoch);
        }
        let present = self.learner.packaged_weights()?;
        self.learner.set_some_weights(&self.average)?;
        let losses = self.validate_present(epoch);
        self.learner.set_some_weights(&present)?;
        losses
    }

    fn validate_present(&self, epoch: usize) -> Result<Vec<f64>, ModelError> {
        let Setting { validation, device, .. } = self.setting;
        let batches = validation.batches_in_order(self.config.batch_size);
        let load = |n: usize| validation.batch(&batches[n], None, device);
        let mut sums = Vec::new();
        let _ = made_ahead(0..batches.len(), load, |n, batch| {
            let slices = &batches[n];
            let values = self.learner.validate(&batch)?;
            if let Some(&loss) = values.iter().find(|value| !value.is_finite()) {
                let batch = slices.iter().map(|&slice| validation.name(slice)).collect();
                return Err(ModelError::LossNotFinite { loss, epoch, step: self.progress.steps_done, batch });
            }
            add_weighted(&mut sums, &values, slices.len());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(means(&sums, validation.n_slices()))
    }

    fn write_checkpoint(&self) -> Result<(), ModelError> {
        let (optimizers, optimizer_tensors) = self.learner.optimizers()?;
        self.folder.write_checkpoint(&Checkpoint {
            progress: self.progress.clone(),
            optimizers,
            optimizer_tensors,
            current: self.learner.weights()?,
            best: self.best.clone(),
            average: self.average.clone(),
        })
    }

    /// Takes up a checkpoint and makes the files that are made after it.
    fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), ModelError> {
        let damaged = |error: ModelError| self.folder.damaged_checkpoint(chain(&error));
        self.learner.set_weights(&checkpoint.current).map_err(damaged)?;
        let set = self.learner.set_optimizers(&checkpoint.optimizers, checkpoint.optimizer_tensors);
        set.map_err(|error| self.folder.damaged_checkpoint(chain(&error)))?;
        if !checkpoint.average.keys().eq(self.average.keys()) {
            let what = "its averaged weights are not those of the model".to_owned();
            return Err(self.folder.damaged_checkpoint(what));
        }
        self.progress = checkpoint.progress;
        self.best = checkpoint.best;
        self.average = checkpoint.average;
        if self.progress.best.is_some() {
            self.folder.write_metrics(&self.progress.metrics)?;
            self.save_package()?;
        }
        Ok(())
    }

    /// Writes the best model so far as the run's package.
    fn save_package(&self) -> Result<(), ModelError> {
        let Some(packaging) = self.packaging else {
            return Ok(());
        };
        let provenance = Provenance {
            epochs_done: Some(self.progress.epochs_done),
            best_epoch: self.progress.best.map(|(epoch, _)| epoch),
            best_validation_loss: self.progress.best.map(|(_, loss)| loss),
            ..self.setting.provenance.clone()
        };
        let mut weights = packaging.fixed.clone();
        weights.extend(self.best.clone());
        ModelPackage::new(packaging.model.clone(), packaging.preprocessing.clone(), provenance, weights)
            .save(&self.folder.package())
    }
}

/// Adds a batch's mean losses times its number of slices.
fn add_weighted(sums: &mut Vec<f64>, values: &[f64], n_slices: usize) {
    sums.resize(values.len(), 0.0);
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value * n_slices as f64;
    }
}

fn means(sums: &[f64], n_slices: usize) -> Vec<f64> {
    sums.iter().map(|sum| sum / n_slices as f64).collect()
}

fn metrics_heading(names: &[&str]) -> String {
    let mut columns = vec!["epoch".to_owned()];
    for side in ["train", "validation"] {
        columns.extend(std::iter::once(&"total").chain(names).map(|name| format!("{side}_{name}")));
    }
    columns.push("is_best".to_owned());
    columns.join(",")
}

fn metrics_row(epoch: usize, train: &[f64], validation: &[f64], is_best: bool) -> String {
    let mut columns = vec![epoch.to_string()];
    columns.extend(train.iter().chain(validation).map(f64::to_string));
    columns.push(u8::from(is_best).to_string());
    columns.join(",")
}
