//! The two stages of a cascade, one learner each.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use synthct_loss::{dice_loss, region_mae, weighted_mae};
use synthct_nn::{Cascade, Mode, ParameterStore, RoiNetOutput};

use super::{Learner, Part, all_finite, values, weighted_sum};
use crate::dataset::Batch;
use crate::random::{Purpose, number};
use crate::{CascadeTraining, ModelError, TrainConfig};

fn cascade(
    training: &CascadeTraining,
    in_channels: usize,
    config: &TrainConfig,
    device: &Device,
) -> Result<(Cascade, [ParameterStore; 2]), ModelError> {
    let seed = number(config.seed, Purpose::Weights, 0, 0);
    Ok(Cascade::new(&training.network(in_channels), seed, device)?)
}

/// The first stage: finds bone, by its Dice loss.
pub(crate) struct SegmentationLearner {
    cascade: Cascade,
    part: Part,
}

impl SegmentationLearner {
    pub(crate) fn new(
        training: &CascadeTraining,
        in_channels: usize,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let (cascade, [segmentation, _]) = cascade(training, in_channels, config, device)?;
        Ok(Self { cascade, part: Part::new(segmentation, config) })
    }

    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Tensor, ModelError> {
        Ok(dice_loss(&self.cascade.segment(&batch.mr, mode)?, &batch.bone)?)
    }
}

impl Learner for SegmentationLearner {
    fn loss_names(&self) -> &[&'static str] {
        &["bone_mask"]
    }

    fn train_step(&mut self, batch: &Batch, dropout_seed: u64) -> Result<Vec<f64>, ModelError> {
        let loss = self.loss(batch, Mode::Train { dropout_seed })?;
        let values = values([&loss, &loss])?;
        if all_finite(&values) {
            self.part.step(&loss.backward()?)?;
        }
        Ok(values)
    }

    fn validate(&self, batch: &Batch) -> Result<Vec<f64>, ModelError> {
        let loss = self.loss(batch, Mode::Evaluate)?;
        values([&loss, &loss])
    }

    fn parts(&self) -> Vec<&Part> {
        vec![&self.part]
    }

    fn parts_mut(&mut self) -> Vec<&mut Part> {
        vec![&mut self.part]
    }
}

/// The second stage: CT numbers, by w₁·wMAE(body) + w₃·MAE(bone), given what the finished first stage makes of the MR.
pub(crate) struct RegressionLearner {
    training: CascadeTraining,
    cascade: Cascade,
    part: Part,
}

impl RegressionLearner {
    pub(crate) fn new(
        training: &CascadeTraining,
        in_channels: usize,
        config: &TrainConfig,
        device: &Device,
        segmentation_weights: &BTreeMap<String, Tensor>,
    ) -> Result<Self, ModelError> {
        let (cascade, [segmentation, regression]) = cascade(training, in_channels, config, device)?;
        segmentation.load_tensors(segmentation_weights)?;
        Ok(Self { training: training.clone(), cascade, part: Part::new(regression, config) })
    }

    fn losses(&self, batch: &Batch, mode: Mode) -> Result<[Tensor; 3], ModelError> {
        let bone_mask = self.cascade.segment(&batch.mr, Mode::Evaluate)?;
        let RoiNetOutput { whole_hu, bone_hu, .. } = self.cascade.regress(&batch.mr, &bone_mask, mode)?;
        let bone_hu =
            bone_hu.ok_or_else(|| candle_core::Error::Msg("a cascade without bone HU".to_owned()))?;
        let body = weighted_mae(&whole_hu, &batch.ct_khu, &batch.body)?;
        let bone = region_mae(&bone_hu, &batch.ct_khu, &batch.bone)?;
        let weights = self.training.loss_weights;
        let total = weighted_sum(&[(weights.body, body.clone()), (weights.bone_hu, bone.clone())])?;
        Ok([total, body, bone])
    }
}

impl Learner for RegressionLearner {
    fn loss_names(&self) -> &[&'static str] {
        &["body", "bone_hu"]
    }

    fn train_step(&mut self, batch: &Batch, dropout_seed: u64) -> Result<Vec<f64>, ModelError> {
        let losses = self.losses(batch, Mode::Train { dropout_seed })?;
        let values = values(&losses)?;
        if all_finite(&values) {
            self.part.step(&losses[0].backward()?)?;
        }
        Ok(values)
    }

    fn validate(&self, batch: &Batch) -> Result<Vec<f64>, ModelError> {
        values(&self.losses(batch, Mode::Evaluate)?)
    }

    fn parts(&self) -> Vec<&Part> {
        vec![&self.part]
    }

    fn parts_mut(&mut self) -> Vec<&mut Part> {
        vec![&mut self.part]
    }
}
