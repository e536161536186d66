//! The losses of MR-to-CT synthesis, on candle tensors.
//!
//! Start here: [`weighted_mae`] (the small region gets the large weight), [`region_mae`], [`dice_loss`];
//! [`uncertainty_weighted`] learns the tasks' weights, [`adversarial_loss`] is a discriminator's.
//!
//! A region is a tensor of zeros and ones with the shape of the prediction; predictions may have any shape.
//! The reduction domain is the whole tensor, which in training is the batch: N_k counts the region's voxels in all slices
//! of the batch.
//! Sums are accumulated in `f64`.
//! An empty region contributes zero and a zero gradient to the mean absolute errors, never NaN; values outside a region
//! are left out by selection, so that a NaN there does not reach them.
//!
//! This crate knows no network and no volume, and converts no units.

mod adversarial;
mod dice;
mod mae;
mod uncertainty;
mod weights;

pub use adversarial::adversarial_loss;
pub use dice::{DICE_SMOOTHING, dice_loss};
pub use mae::{region_mae, weighted_mae};
pub use uncertainty::{TaskLikelihood, uncertainty_weighted};
pub use weights::RoiLossWeights;

use candle_core::{Result, Tensor, bail};

/// Nothing if both tensors have one shape.
fn require_same_shape(prediction: &Tensor, name: &str, other: &Tensor) -> Result<()> {
    if prediction.dims() != other.dims() {
        bail!("the prediction has the shape {:?}, but the {name} {:?}", prediction.dims(), other.dims());
    }
    Ok(())
}
