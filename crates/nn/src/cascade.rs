//! Two networks in a row: the first finds bone, the second gives CT numbers knowing where bone is.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig};
use crate::layers::Mode;
use crate::{NnError, ParameterStore, RoiNetOutput};

/// The configuration of a [`Cascade`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeConfig {
    /// Channels of the input: one for each MR contrast and slice.
    pub in_channels: usize,
    /// The backbone that finds bone.
    pub segmentation: BackboneConfig,
    /// The backbone that gives CT numbers.
    pub regression: BackboneConfig,
}

/// Segmentation of bone, then regression of CT numbers in the whole image and in bone.
///
/// The segmentation is a backbone and a sigmoid. The regression is a backbone with two outputs that sees the MR channels
/// and the bone probability; no gradient flows from it into the segmentation, so that the stages can be trained and
/// replaced apart. In the synthetic CT the bone's CT numbers count where the segmentation says bone.
///
/// # Parameter names
/// `segmentation.…` and `regression.…`, each followed by the backbone's own names.
///
/// # References
/// Cranial synthetic CT across field strengths: a cascade that segments the skull and then regresses CT numbers in the
/// targeted regions; the text at hand is the abstract, so that the networks and how the stages are coupled are ours.
pub struct Cascade {
    segmentation: Box<dyn Backbone>,
    regression: Box<dyn Backbone>,
}

impl Cascade {
    /// What the segmentation's parameters are named.
    pub const SEGMENTATION: &'static str = "segmentation.";
    /// What the regression's parameters are named.
    pub const REGRESSION: &'static str = "regression.";

    /// Builds both stages in stores of their own, so that they are trained apart.
    ///
    /// The first store holds the segmentation, the second the regression.
    ///
    /// # Errors
    /// As [`BackboneConfig::build`].
    pub fn new(
        config: &CascadeConfig,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, [ParameterStore; 2]), NnError> {
        let mut stores = [ParameterStore::new(seed, device), ParameterStore::new(seed, device)];
        let n = config.in_channels;
        let [first, second] = &mut stores;
        let segmentation = config.segmentation.build([n, 1], Self::SEGMENTATION, first)?;
        let regression = config.regression.build([n + 1, 2], Self::REGRESSION, second)?;
        Ok((Self { segmentation, regression }, stores))
    }

    /// The probability of bone, `[N, 1, H, W]`.
    ///
    /// # Errors
    /// As [`Backbone::forward`].
    pub fn segment(&self, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let half_angle = (self.segmentation.forward(x, mode)? * 0.5)?.tanh()?;
        // The sigmoid by way of tanh, which is finite for all logits and so is its gradient.
        Ok(half_angle.affine(0.5, 0.5)?)
    }

    /// CT numbers in kHU of the whole image and of bone, given the probability of bone.
    ///
    /// # Errors
    /// As [`Backbone::forward`].
    pub fn regress(&self, x: &Tensor, bone_mask: &Tensor, mode: Mode) -> Result<RoiNetOutput, NnError> {
        let bone_mask = bone_mask.detach();
        let both = self.regression.forward(&Tensor::cat(&[x, &bone_mask], 1)?, mode)?;
        Ok(RoiNetOutput {
            whole_hu: both.narrow(1, 0, 1)?.contiguous()?,
            // Starts near 1 kHU, where bone lies.
            bone_hu: Some(both.narrow(1, 1, 1)?.affine(1.0, 1.0)?),
            bone_mask: Some(bone_mask),
        })
    }

    /// Both stages in a row.
    ///
    /// # Shapes
    /// `x` `[N, in_channels, H, W]`; the outputs are `[N, 1, H, W]`.
    ///
    /// # Errors
    /// As [`Backbone::forward`].
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<RoiNetOutput, NnError> {
        self.regress(x, &self.segment(x, mode)?, mode)
    }
}
