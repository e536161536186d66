//! The Dice loss.

use candle_core::{DType, Result, Tensor};

use crate::require_same_shape;

/// Added to numerator and denominator of the Dice coefficient, in voxels (ours; the paper gives none).
///
/// With one voxel, a batch without bone whose prediction is zero everywhere has the loss 0.
pub const DICE_SMOOTHING: f64 = 1.0;

/// The Dice loss of a probability against a region: L_D = 1 − (2 Σ x x̂ + s) / (Σ x² + Σ x̂² + s), s =
/// [`DICE_SMOOTHING`].
///
/// Without any target in the batch the loss is Σx̂² / (Σx̂² + s): finite, and still a reason to predict none.
///
/// # Shapes
/// `probability` (in [0, 1]) and `region` (zeros and ones) have one shape; the result is a scalar in [0, 1).
///
/// # Errors
/// Shapes that differ, or tensors of different types or devices.
///
/// # References
/// Milletari, Navab, Ahmadi (2016), V-Net, doi:10.1109/3DV.2016.79, with squares in the denominator; as in the RoI-focused
/// multi-task network for zero-echo-time MR.
pub fn dice_loss(probability: &Tensor, region: &Tensor) -> Result<Tensor> {
    require_same_shape(probability, "region", region)?;
    let dtype = probability.dtype();
    let (probability, region) = (probability.to_dtype(DType::F64)?, region.to_dtype(DType::F64)?);
    let overlap = probability.mul(&region)?.sum_all()?;
    let sizes = probability.sqr()?.sum_all()?.add(&region.sqr()?.sum_all()?)?;
    let coefficient = overlap.affine(2.0, DICE_SMOOTHING)?.div(&sizes.affine(1.0, DICE_SMOOTHING)?)?;
    coefficient.affine(-1.0, 1.0)?.to_dtype(dtype)
}
