//! A generator and a discriminator that learn against each other.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig};
use crate::layers::{Conv, ConvBlock, Mode, check_image};
use crate::{NnError, ParameterStore, Precision};

/// The generator of the pelvic GAN: a backbone and a tanh.
///
/// # References
/// The pelvic GAN against MRCAT (methods, network): a U-Net with skip connections and a residual bottleneck; Isola et al.
/// (2017), arXiv:1611.07004. Ours: upsampling instead of transposed convolutions (see [`UNet`](crate::UNet)), and no
/// dropout in the place of noise.
pub struct Generator {
    backbone: Box<dyn Backbone>,
}

impl Generator {
    /// Builds the generator and adds its parameters, named `generator.…`, to `store`.
    ///
    /// # Errors
    /// As [`BackboneConfig::build`].
    pub fn new(
        backbone: &BackboneConfig,
        in_channels: usize,
        store: &mut ParameterStore,
    ) -> Result<Self, NnError> {
        Ok(Self { backbone: backbone.build([in_channels, 1], "generator.", store)? })
    }

    /// The generated image, in (−1, 1).
    ///
    /// # Shapes
    /// `x` `[N, in_channels, H, W]`; the result is `[N, 1, H, W]`.
    ///
    /// # Errors
    /// As [`Backbone::forward`].
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        Ok(self.backbone.forward(x, mode)?.tanh()?)
    }
}

/// The configuration of a [`Discriminator`].
///
/// | field | default | range | source |
/// |---|---|---|---|
/// | `filters` | 32 | ≥ 1 | ours |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscriminatorConfig {
    /// Filters of the first block; they double with each block, up to eightfold.
    pub filters: usize,
}

/// The discriminator of the pelvic GAN: five halving blocks with ReLU, which tell of each patch whether it is real.
///
/// It sees the condition (the MR) and an image, joined in the channels; blocks of 4×4 convolutions of stride 2 with f, 2f,
/// 4f, 8f and 8f filters, then a 1×1 convolution to a logit. The sigmoid that the paper names is part of
/// [the loss](https://docs.rs/synthct-loss), which takes logits.
///
/// # Parameter names
/// `discriminator.down1` … `down5` hold `conv.weight` and `bn.*`; `discriminator.last` holds `weight` and `bias`.
///
/// # References
/// The pelvic GAN against MRCAT (methods, network). Ours: the filters, batch normalization in every block, that the MR is
/// shown as well, and a logit for each patch (Isola et al. 2017, arXiv:1611.07004).
pub struct Discriminator {
    in_channels: usize,
    blocks: Vec<ConvBlock>,
    last: Conv,
}

impl DiscriminatorConfig {
    /// Rows and columns that an image must have at least.
    pub const LEAST_SIZE: usize = 1 << Discriminator::N_BLOCKS;
}

impl Discriminator {
    /// The number of blocks, each of which halves the image.
    const N_BLOCKS: usize = 5;

    /// Builds the discriminator for images of one channel and conditions of `condition_channels`, and adds its parameters,
    /// named `discriminator.…`, to `store`.
    ///
    /// # Errors
    /// [`NnError::Config`] without filters; [`NnError::DuplicateParameter`] if the store holds one already.
    pub fn new(
        config: &DiscriminatorConfig,
        condition_channels: usize,
        store: &mut ParameterStore,
    ) -> Result<Self, NnError> {
        if config.filters == 0 {
            return Err(NnError::Config { problems: vec!["`filters` must be at least 1".to_owned()] });
        }
        let in_channels = condition_channels + 1;
        let mut blocks = Vec::new();
        let mut inputs = in_channels;
        for n in 0..Self::N_BLOCKS {
            let outputs = config.filters * (1 << n.min(3));
            blocks.push(ConvBlock::halving(
                store,
                &format!("discriminator.down{}", n + 1),
                [inputs, outputs],
            )?);
            inputs = outputs;
        }
        let last = Conv::new(store, "discriminator.last", inputs, 1, 1, true)?;
        Ok(Self { in_channels, blocks, last })
    }

    /// A logit for each patch: above zero means real.
    ///
    /// # Shapes
    /// `condition` `[N, condition_channels, H, W]`, `image` `[N, 1, H, W]`; the result is `[N, 1, H', W']` with
    /// H' = ⌊H / 32⌋ and likewise W'.
    ///
    /// # Errors
    /// [`NnError::Input`] or [`NnError::SmallImage`] for images it cannot take; [`NnError::SinglePixelBatch`] for a batch
    /// of one image of less than 64 rows and columns in training; [`NnError::Tensor`].
    pub fn forward(&self, condition: &Tensor, image: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let mut x = Tensor::cat(&[condition, image], 1)?;
        check_image(&x, self.in_channels, DiscriminatorConfig::LEAST_SIZE)?;
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        self.last.forward(&x, 1, mode, Precision::F32)
    }
}
