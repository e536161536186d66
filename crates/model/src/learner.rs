//! What a training loop needs of networks that learn.

mod cascade;
mod pix2pix;
mod roi_net;

pub(crate) use cascade::{RegressionLearner, SegmentationLearner};
pub(crate) use pix2pix::Pix2PixLearner;
pub(crate) use roi_net::RoiNetLearner;

use std::collections::BTreeMap;

use candle_core::{Tensor, backprop::GradStore};
use synthct_nn::{NnError, ParameterStore};

use crate::dataset::Batch;
use crate::{LossTerms, ModelError, Optimizer, OptimizerProgress, TrainConfig};

/// One network, or several, that learn from batches.
///
/// Losses are values in the order of [`Learner::loss_names`], the combined loss first.
pub(crate) trait Learner {
    /// The names of the losses after the combined one.
    fn loss_names(&self) -> &[&'static str];

    /// A step of all parts. Where a loss is not finite it returns without the step that the loss would lead to.
    fn train_step(&mut self, batch: &Batch, dropout_seed: u64) -> Result<Vec<f64>, ModelError>;

    /// The losses with running statistics and without dropout.
    fn validate(&self, batch: &Batch) -> Result<Vec<f64>, ModelError>;

    /// What makes one epoch better than another: the smaller, the better.
    fn criterion(&self, losses: &[f64]) -> f64 {
        losses[0]
    }

    /// What is learned.
    fn parts(&self) -> Vec<&Part>;

    /// What is learned.
    fn parts_mut(&mut self) -> Vec<&mut Part>;

    /// Whether a parameter belongs to the model, and not to what it learns by.
    fn is_packaged(&self, name: &str) -> bool {
        let _ = name;
        true
    }
}

/// Parameters and the optimizer that moves them.
pub(crate) struct Part {
    pub(crate) store: ParameterStore,
    optimizer: Optimizer,
}

impl Part {
    pub(crate) fn new(store: ParameterStore, config: &TrainConfig) -> Self {
        let optimizer = Optimizer::new(
            config.optimizer,
            config.learning_rate,
            config.max_gradient_norm,
            store.trainable(),
        );
        Self { store, optimizer }
    }

    /// One step down the gradients.
    fn step(&mut self, gradients: &GradStore) -> Result<(), ModelError> {
        self.optimizer.step(self.store.trainable(), gradients)
    }
}

/// The names of parameters are unique among a learner's parts.
impl dyn Learner + '_ {
    pub(crate) fn n_parameters(&self) -> usize {
        self.parts().iter().map(|part| part.store.trainable_count()).sum()
    }

    pub(crate) fn set_learning_rate(&mut self, rate: f64) {
        for part in self.parts_mut() {
            part.optimizer.set_learning_rate(rate);
        }
    }

    /// Copies of all parameters and running statistics.
    pub(crate) fn weights(&self) -> Result<BTreeMap<String, Tensor>, ModelError> {
        let mut weights = BTreeMap::new();
        for part in self.parts() {
            weights.extend(part.store.to_tensors()?);
        }
        Ok(weights)
    }

    /// Copies of the ones that belong to the model.
    pub(crate) fn packaged_weights(&self) -> Result<BTreeMap<String, Tensor>, ModelError> {
        let mut weights = self.weights()?;
        weights.retain(|name, _| self.is_packaged(name));
        Ok(weights)
    }

    /// Sets all parameters and running statistics; they must be exactly the ones there are.
    pub(crate) fn set_weights(&self, weights: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
        let stores: Vec<_> = self.parts().into_iter().map(|part| &part.store).collect();
        set_weights(&stores, weights)
    }

    /// Sets the ones that are named.
    pub(crate) fn set_some_weights(&self, weights: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
        for (name, tensor) in weights {
            if let Some(var) = self.parts().iter().find_map(|part| part.store.get(name)) {
                var.set(&tensor.to_device(var.device())?)?;
            }
        }
        Ok(())
    }

    /// The optimizers' states.
    pub(crate) fn optimizers(
        &self,
    ) -> Result<(Vec<OptimizerProgress>, BTreeMap<String, Tensor>), ModelError> {
        let (mut progress, mut tensors) = (Vec::new(), BTreeMap::new());
        for part in self.parts() {
            let (of_part, tensors_of_part) = part.optimizer.state()?;
            progress.push(of_part);
            tensors.extend(tensors_of_part);
        }
        Ok((progress, tensors))
    }

    /// Takes up the optimizers' states.
    pub(crate) fn set_optimizers(
        &mut self,
        progress: &[OptimizerProgress],
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<(), ModelError> {
        let wrong = |what: String| ModelError::from(candle_core::Error::Msg(what));
        let parts = self.parts_mut();
        if progress.len() != parts.len() {
            return Err(wrong(format!("{} optimizers instead of {}", progress.len(), parts.len())));
        }
        for (part, progress) in parts.into_iter().zip(progress) {
            let mut own = BTreeMap::new();
            for (name, _) in part.store.trainable() {
                for key in [format!("mean/{name}"), format!("square/{name}")] {
                    own.extend(tensors.remove_entry(&key));
                }
            }
            part.optimizer.set_state(*progress, own)?;
        }
        match tensors.keys().next() {
            Some(name) => Err(wrong(format!("unexpected optimizer state {name}"))),
            None => Ok(()),
        }
    }

    /// Losses by name.
    pub(crate) fn named(&self, losses: &[f64]) -> LossTerms {
        LossTerms {
            total: losses[0],
            terms: self.loss_names().iter().copied().zip(losses[1..].iter().copied()).collect(),
        }
    }
}

/// Sets the parameters of several stores; they must be exactly the ones there are.
pub(crate) fn set_weights(
    stores: &[&ParameterStore],
    weights: &BTreeMap<String, Tensor>,
) -> Result<(), ModelError> {
    let mut left = weights.clone();
    let mut shares = Vec::new();
    for store in stores {
        let names = store.trainable().chain(store.buffers()).map(|(name, _)| name);
        let share: BTreeMap<_, _> = names.filter_map(|name| left.remove_entry(name)).collect();
        shares.push(share);
    }
    if !left.is_empty() {
        return Err(NnError::UnexpectedParameters { names: left.into_keys().collect() }.into());
    }
    for (store, share) in stores.iter().zip(&shares) {
        store.load_tensors(share)?;
    }
    Ok(())
}

/// The values of scalars.
fn values<'a>(scalars: impl IntoIterator<Item = &'a Tensor>) -> Result<Vec<f64>, ModelError> {
    let value = |scalar: &Tensor| Ok(f64::from(scalar.to_scalar::<f32>()?));
    scalars.into_iter().map(value).collect()
}

fn all_finite(values: &[f64]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// The sum of losses times their weights.
fn weighted_sum(terms: &[(f64, Tensor)]) -> Result<Tensor, ModelError> {
    let mut total: Option<Tensor> = None;
    for (weight, term) in terms {
        let term = (term * *weight)?;
        total = Some(match total {
            Some(total) => (total + term)?,
            None => term,
        });
    }
    Ok(total.ok_or_else(|| candle_core::Error::Msg("a network without losses".to_owned()))?)
}
