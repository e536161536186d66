//! A generator and a discriminator in turns.

use candle_core::{Device, Tensor};
use synthct_loss::{adversarial_loss, region_mae};
use synthct_nn::{Discriminator, Generator, Mode, ParameterStore};

use super::{Learner, Part, all_finite, values, weighted_sum};
use crate::dataset::Batch;
use crate::network::unit_from_khu;
use crate::random::{Purpose, number};
use crate::{ModelError, Pix2PixTraining, TrainConfig};

/// The pair; in each step the discriminator learns first, then the generator.
///
/// Losses: the generator's combined one, its mean absolute error (of images from −1 to 1, over all voxels), what the
/// discriminator's judgement costs it, and the discriminator's own, half of what real and generated images cost each.
/// In validation the discriminator judges by the statistics of the batch, as in training.
/// Epochs are compared by the mean absolute error: what a judge that changes says of two epochs cannot be compared.
pub(crate) struct Pix2PixLearner {
    training: Pix2PixTraining,
    generator: Generator,
    discriminator: Discriminator,
    generator_part: Part,
    discriminator_part: Part,
}

impl Pix2PixLearner {
    pub(crate) fn new(
        training: &Pix2PixTraining,
        in_channels: usize,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let store = || ParameterStore::new(number(config.seed, Purpose::Weights, 0, 0), device);
        let (mut of_generator, mut of_discriminator) = (store(), store());
        let generator = Generator::new(&training.generator, in_channels, &mut of_generator)?;
        let discriminator = Discriminator::new(&training.discriminator, in_channels, &mut of_discriminator)?;
        Ok(Self {
            training: training.clone(),
            generator,
            discriminator,
            generator_part: Part::new(of_generator, config),
            discriminator_part: Part::new(of_discriminator, config),
        })
    }

    fn discriminator_loss(
        &self,
        mr: &Tensor,
        [real, generated]: [&Tensor; 2],
        mode: Mode,
    ) -> Result<Tensor, ModelError> {
        let of_real = adversarial_loss(&self.discriminator.forward(mr, real, mode)?, true)?;
        let of_generated = adversarial_loss(&self.discriminator.forward(mr, generated, mode)?, false)?;
        weighted_sum(&[(0.5, of_real), (0.5, of_generated)])
    }

    /// The combined loss of the generator, the mean absolute error and the judgement.
    fn generator_losses(
        &self,
        mr: &Tensor,
        [real, generated]: [&Tensor; 2],
    ) -> Result<[Tensor; 3], ModelError> {
        let l1 = region_mae(generated, real, &real.ones_like()?)?;
        let judgement = adversarial_loss(&self.discriminator.forward(mr, generated, Mode::Frozen)?, true)?;
        let Pix2PixTraining { l1_weight, adversarial_weight, .. } = self.training;
        let total = weighted_sum(&[(l1_weight, l1.clone()), (adversarial_weight, judgement.clone())])?;
        Ok([total, l1, judgement])
    }
}

impl Learner for Pix2PixLearner {
    fn loss_names(&self) -> &[&'static str] {
        &["l1", "adversarial", "discriminator"]
    }

    fn train_step(&mut self, batch: &Batch, dropout_seed: u64) -> Result<Vec<f64>, ModelError> {
        let (mr, mode) = (&batch.mr, Mode::Train { dropout_seed });
        let real = unit_from_khu(&batch.ct_khu)?;
        let generated = self.generator.forward(mr, mode)?;
        let of_discriminator = self.discriminator_loss(mr, [&real, &generated.detach()], mode)?;
        if all_finite(&values([&of_discriminator])?) {
            self.discriminator_part.step(&of_discriminator.backward()?)?;
        }
        let of_generator = self.generator_losses(mr, [&real, &generated])?;
        let values = values(of_generator.iter().chain([&of_discriminator]))?;
        if all_finite(&values) {
            self.generator_part.step(&of_generator[0].backward()?)?;
        }
        Ok(values)
    }

    fn validate(&self, batch: &Batch) -> Result<Vec<f64>, ModelError> {
        let real = unit_from_khu(&batch.ct_khu)?;
        let generated = self.generator.forward(&batch.mr, Mode::Evaluate)?;
        let of_generator = self.generator_losses(&batch.mr, [&real, &generated])?;
        let of_discriminator = self.discriminator_loss(&batch.mr, [&real, &generated], Mode::Frozen)?;
        values(of_generator.iter().chain([&of_discriminator]))
    }

    fn criterion(&self, losses: &[f64]) -> f64 {
        losses[1]
    }

    fn parts(&self) -> Vec<&Part> {
        vec![&self.generator_part, &self.discriminator_part]
    }

    fn parts_mut(&mut self) -> Vec<&mut Part> {
        vec![&mut self.generator_part, &mut self.discriminator_part]
    }

    fn is_packaged(&self, name: &str) -> bool {
        name.starts_with("generator.")
    }
}
