//! The epochs of a network's training.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use crate::ahead::made_ahead;
use crate::dataset::{Batch, Dataset, SliceRef};
use crate::error::chain;
use crate::network::{Network, loss_names, loss_tensors, loss_values, named_losses};
use crate::random::{Purpose, number, stream};
use crate::run_folder::{Checkpoint, Progress, RunFolder};
use crate::{
    CaseProblem, LossTerms, ModelError, ModelPackage, Optimizer, PackagedModel, Preprocessing, Provenance,
    RoiNetTraining, TrainConfig, TrainEvent, TrainObserver, TrainOutcome,
};

/// A training under way.
struct Trainer<'a> {
    training: &'a RoiNetTraining,
    config: &'a TrainConfig,
    train: &'a Dataset,
    validation: &'a Dataset,
    folder: &'a RunFolder,
    preprocessing: &'a Preprocessing,
    provenance: &'a Provenance,
    device: &'a Device,
    network: Network,
    optimizer: Optimizer,
    progress: Progress,
    best: BTreeMap<String, Tensor>,
}

/// Trains a network from its first step or its checkpoint on.
#[expect(clippy::too_many_arguments, reason = "the trainer's fields, each of a type of its own")]
pub(crate) fn train_network(
    training: &RoiNetTraining,
    train: &Dataset,
    validation: &Dataset,
    folder: &RunFolder,
    preprocessing: &Preprocessing,
    provenance: &Provenance,
    device: &Device,
    observer: &mut dyn TrainObserver,
) -> Result<TrainOutcome, ModelError> {
    for (dataset, side) in [(train, "training"), (validation, "validation")] {
        if dataset.n_slices() == 0 {
            let what = format!("no {side} slice has any body in it");
            return Err(ModelError::Cases { problems: vec![CaseProblem { id: "-".to_owned(), what }] });
        }
    }
    let config = &provenance.config;
    let network =
        Network::new(&training.network(config.channels.len()), config.precision, config.seed, device)?;
    let optimizer =
        Optimizer::new(config.optimizer, config.learning_rate, config.max_gradient_norm, network.trainable());
    let mut trainer = Trainer {
        training,
        config,
        train,
        validation,
        folder,
        preprocessing,
        provenance,
        device,
        network,
        optimizer,
        progress: Progress::default(),
        best: BTreeMap::new(),
    };
    if let Some(checkpoint) = folder.read_checkpoint()? {
        trainer.restore(checkpoint)?;
    }
    trainer.run(observer)
}

impl Trainer<'_> {
    fn run(&mut self, observer: &mut dyn TrainObserver) -> Result<TrainOutcome, ModelError> {
        let n_steps = self.train.batches_in_order(self.config.batch_size).len();
        let started = TrainEvent::Started {
            n_epochs: self.config.epochs,
            n_steps_per_epoch: n_steps,
            n_steps_done: self.progress.epochs_done * n_steps + self.progress.steps_done,
            n_parameters: self.network.trainable().map(|(_, var)| var.elem_count()).sum(),
            n_train_slices: self.train.n_slices(),
            n_validation_slices: self.validation.n_slices(),
            computed_on: self.provenance.computed_on.clone(),
        };
        if observer.on_event(&started).is_break() {
            return Ok(TrainOutcome::Stopped);
        }
        if self.progress.metrics.is_empty() {
            self.progress.metrics.push(metrics_heading(loss_names(self.training.variant)));
        }
        while self.progress.epochs_done < self.config.epochs {
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

    /// The steps of an epoch that are still to be made; the batch of the next one is loaded meanwhile.
    fn steps(
        &mut self,
        epoch: usize,
        observer: &mut dyn TrainObserver,
    ) -> Result<ControlFlow<()>, ModelError> {
        let Self { train, config, device, .. } = *self;
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
        let output = self.network.forward_train(&batch.mr, dropout_seed)?;
        let (total, terms) = loss_tensors(self.training, &output, batch)?;
        let values = loss_values(&total, &terms)?;
        if let Some(&loss) = values.iter().find(|value| !value.is_finite()) {
            let batch = slices.iter().map(|&slice| self.train.name(slice)).collect();
            return Err(ModelError::LossNotFinite { loss, epoch, step, batch });
        }
        let gradients = total.backward()?;
        self.optimizer.step(self.network.trainable(), &gradients)?;
        add_weighted(&mut self.progress.loss_sums, &values, slices.len());
        self.progress.n_slices += slices.len();
        self.progress.steps_done = step;
        Ok(named_losses(self.training.variant, &values))
    }

    /// Validation, the best model so far, and the files of an epoch.
    fn end_epoch(&mut self, epoch: usize) -> Result<TrainEvent, ModelError> {
        let train = means(&self.progress.loss_sums, self.progress.n_slices);
        let validation = self.validate(epoch)?;
        let is_best = self.progress.best.is_none_or(|(_, loss)| validation[0] < loss);
        if is_best {
            self.progress.best = Some((epoch, validation[0]));
            self.best = self.network.weights()?;
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
            train: named_losses(self.training.variant, &train),
            validation: named_losses(self.training.variant, &validation),
            best_epoch,
            best_validation_loss,
        })
    }

    /// The losses of the validation slices with the running statistics and without dropout.
    fn validate(&self, epoch: usize) -> Result<Vec<f64>, ModelError> {
        let batches = self.validation.batches_in_order(self.config.batch_size);
        let load = |n: usize| self.validation.batch(&batches[n], None, self.device);
        let mut sums = Vec::new();
        let _ = made_ahead(0..batches.len(), load, |n, batch| {
            let slices = &batches[n];
            let output = self.network.forward(&batch.mr)?;
            let (total, terms) = loss_tensors(self.training, &output, &batch)?;
            let values = loss_values(&total, &terms)?;
            if let Some(&loss) = values.iter().find(|value| !value.is_finite()) {
                let batch = slices.iter().map(|&slice| self.validation.name(slice)).collect();
                return Err(ModelError::LossNotFinite { loss, epoch, step: self.progress.steps_done, batch });
            }
            add_weighted(&mut sums, &values, slices.len());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(means(&sums, self.validation.n_slices()))
    }

    fn write_checkpoint(&self) -> Result<(), ModelError> {
        let (optimizer, optimizer_tensors) = self.optimizer.state()?;
        self.folder.write_checkpoint(&Checkpoint {
            progress: self.progress.clone(),
            optimizer,
            optimizer_tensors,
            current: self.network.weights()?,
            best: self.best.clone(),
        })
    }

    /// Takes up a checkpoint and makes the files that are made after it.
    fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), ModelError> {
        let damaged = |error: ModelError| self.folder.damaged_checkpoint(chain(&error));
        self.network.set_weights(&checkpoint.current).map_err(damaged)?;
        self.optimizer.set_state(checkpoint.optimizer, checkpoint.optimizer_tensors).map_err(damaged)?;
        self.progress = checkpoint.progress;
        self.best = checkpoint.best;
        if self.progress.best.is_some() {
            self.folder.write_metrics(&self.progress.metrics)?;
            self.save_package()?;
        }
        Ok(())
    }

    /// Writes the best model so far as the run's package.
    fn save_package(&self) -> Result<(), ModelError> {
        let provenance = Provenance {
            epochs_done: Some(self.progress.epochs_done),
            best_epoch: self.progress.best.map(|(epoch, _)| epoch),
            best_validation_loss: self.progress.best.map(|(_, loss)| loss),
            ..self.provenance.clone()
        };
        let network = self.training.network(self.config.channels.len());
        ModelPackage::new(
            PackagedModel::RoiNet(network),
            self.preprocessing.clone(),
            provenance,
            self.best.clone(),
        )
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
