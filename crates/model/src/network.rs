//! The network with its parameters, and the loss of each variant.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use synthct_loss::{dice_loss, region_mae, weighted_mae};
use synthct_nn::{ParameterStore, Precision, RoiNet, RoiNetConfig, RoiNetOutput};

use crate::dataset::Batch;
use crate::random::{Purpose, number};
use crate::{LossTerms, ModelError, RoiNetTraining, RoiVariant};

/// A network and its parameters: all that training and prediction use of it.
pub(crate) struct Network {
    net: RoiNet,
    store: ParameterStore,
    precision: Precision,
}

impl Network {
    /// A network with random parameters.
    pub(crate) fn new(
        config: &RoiNetConfig,
        precision: Precision,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut store = ParameterStore::new(number(seed, Purpose::Weights, 0, 0), device);
        let net = RoiNet::new(config, &mut store)?;
        Ok(Self { net, store, precision })
    }

    /// A network with given parameters; they must be exactly the ones it has.
    pub(crate) fn with_weights(
        config: &RoiNetConfig,
        precision: Precision,
        weights: &BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let network = Self::new(config, precision, 0, device)?;
        network.set_weights(weights)?;
        Ok(network)
    }

    /// Sets parameters and running statistics; they must be exactly the ones the network has.
    pub(crate) fn set_weights(&self, weights: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
        Ok(self.store.load_tensors(weights)?)
    }

    /// Copies of parameters and running statistics, which training does not change.
    pub(crate) fn weights(&self) -> Result<BTreeMap<String, Tensor>, ModelError> {
        Ok(self.store.to_tensors()?)
    }

    /// What is learned, by name.
    pub(crate) fn trainable(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.store.trainable()
    }

    /// The outputs for a batch in training.
    pub(crate) fn forward_train(&self, mr: &Tensor, dropout_seed: u64) -> Result<RoiNetOutput, ModelError> {
        Ok(self.net.forward_train(mr, self.precision, dropout_seed)?)
    }

    /// The outputs with running statistics and without dropout.
    pub(crate) fn forward(&self, mr: &Tensor) -> Result<RoiNetOutput, ModelError> {
        Ok(self.net.forward(mr, self.precision)?)
    }
}

/// The names of a variant's losses, in the order of [`loss_values`].
pub(crate) const fn loss_names(variant: RoiVariant) -> &'static [&'static str] {
    match variant {
        RoiVariant::ThreeTask => &["body", "bone_mask", "bone_hu"],
        RoiVariant::TwoTask => &["body", "bone_hu"],
        RoiVariant::OneTaskFocused => &["body"],
        RoiVariant::OneTaskGlobal => &["whole"],
    }
}

/// The combined loss and each task's loss without its weight, as scalars; the domain is the batch.
///
/// 3TN: w₁·wMAE(body) + w₂·Dice(bone) + w₃·MAE(bone); 2TN: w₁·wMAE(body) + w₃·MAE(bone); 1TN-FL: w₁·wMAE(body);
/// 1TN-GL: w₁·MAE over all voxels of the slices.
pub(crate) fn loss_tensors(
    training: &RoiNetTraining,
    output: &RoiNetOutput,
    batch: &Batch,
) -> Result<(Tensor, Vec<Tensor>), ModelError> {
    let weights = training.loss_weights;
    let head = |head: &Option<Tensor>, name: &str| {
        head.clone().ok_or_else(|| candle_core::Error::Msg(format!("the network has no head `{name}`")))
    };
    let mut weighted = Vec::new();
    if training.variant == RoiVariant::OneTaskGlobal {
        let everywhere = batch.body.ones_like()?;
        weighted.push((weights.body, region_mae(&output.whole_hu, &batch.ct_khu, &everywhere)?));
    } else {
        weighted.push((weights.body, weighted_mae(&output.whole_hu, &batch.ct_khu, &batch.body)?));
    }
    if training.variant == RoiVariant::ThreeTask {
        weighted.push((weights.bone_mask, dice_loss(&head(&output.bone_mask, "bone_mask")?, &batch.bone)?));
    }
    if matches!(training.variant, RoiVariant::ThreeTask | RoiVariant::TwoTask) {
        let bone_hu = head(&output.bone_hu, "bone_hu")?;
        weighted.push((weights.bone_hu, region_mae(&bone_hu, &batch.ct_khu, &batch.bone)?));
    }
    let mut total: Option<Tensor> = None;
    for (weight, term) in &weighted {
        let term = (term * *weight)?;
        total = Some(match total {
            Some(total) => (total + term)?,
            None => term,
        });
    }
    let total = total.ok_or_else(|| candle_core::Error::Msg("a variant without losses".to_owned()))?;
    Ok((total, weighted.into_iter().map(|(_, term)| term).collect()))
}

/// The values of [`loss_tensors`]: the combined loss, then its terms.
pub(crate) fn loss_values(total: &Tensor, terms: &[Tensor]) -> Result<Vec<f64>, ModelError> {
    let mut values = Vec::with_capacity(1 + terms.len());
    for scalar in [total].into_iter().chain(terms) {
        values.push(f64::from(scalar.to_scalar::<f32>()?));
    }
    Ok(values)
}

/// The combined loss and its terms by name.
pub(crate) fn named_losses(variant: RoiVariant, values: &[f64]) -> LossTerms {
    LossTerms {
        total: values[0],
        terms: loss_names(variant).iter().copied().zip(values[1..].iter().copied()).collect(),
    }
}
