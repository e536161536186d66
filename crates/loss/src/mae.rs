//! Mean absolute errors over regions.

use candle_core::{DType, Result, Tensor};

use crate::require_same_shape;

/// The mean absolute error over a region: MAE_k = (1/N_k) Σ_{i∈k} |y_i − ŷ_i|.
///
/// The gradient at y_i = ŷ_i is 0, as PyTorch has it.
///
/// # Shapes
/// `prediction`, `target` and `region` (zeros and ones) have one shape; the result is a scalar.
///
/// # Errors
/// Shapes that differ, or tensors of different types or devices.
///
/// # References
/// RoI-focused multi-task network for zero-echo-time MR, loss section. The sum over an empty region, which the paper
/// leaves open, is 0 here.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// let prediction = Tensor::new(&[1f32, 2.0, 5.0], &Device::Cpu)?;
/// let target = Tensor::new(&[0f32, 4.0, 0.0], &Device::Cpu)?;
/// let region = Tensor::new(&[1f32, 1.0, 0.0], &Device::Cpu)?;
/// assert_eq!(synthct_loss::region_mae(&prediction, &target, &region)?.to_scalar::<f32>()?, 1.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn region_mae(prediction: &Tensor, target: &Tensor, region: &Tensor) -> Result<Tensor> {
    require_same_shape(prediction, "target", target)?;
    require_same_shape(prediction, "region", region)?;
    let n_voxels = count(region)?;
    sum_inside(&absolute_difference(prediction, target)?, &region.ge(0.5)?)?
        .affine(1.0 / n_voxels.max(1.0), 0.0)?
        .to_dtype(prediction.dtype())
}

/// The weighted mean absolute error over a region k and its complement k':
/// wMAE_k = (N_k'/N)·MAE_k + (N_k/N)·MAE_k'.
///
/// The smaller of the two gets the larger weight.
///
/// # Shapes
/// As [`region_mae`].
///
/// # Errors
/// As [`region_mae`].
///
/// # References
/// RoI-focused multi-task network for zero-echo-time MR, loss section.
/// By the formula, a region that fills the domain has the weight N_k'/N = 0, so that the loss of such a batch is 0.
pub fn weighted_mae(prediction: &Tensor, target: &Tensor, region: &Tensor) -> Result<Tensor> {
    require_same_shape(prediction, "target", target)?;
    require_same_shape(prediction, "region", region)?;
    let n = region.elem_count() as f64;
    let n_inside = count(region)?;
    let n_outside = n - n_inside;
    let error = absolute_difference(prediction, target)?;
    let inside = sum_inside(&error, &region.ge(0.5)?)?;
    let outside = sum_inside(&error, &region.lt(0.5)?)?;
    // Each region's weight over its size.
    let inside = inside.affine(n_outside / (n * n_inside.max(1.0)), 0.0)?;
    let outside = outside.affine(n_inside / (n * n_outside.max(1.0)), 0.0)?;
    inside.add(&outside)?.to_dtype(prediction.dtype())
}

/// The sum, in `f64`, of the errors where `inside` is not 0; what the others are, even NaN, does not matter.
fn sum_inside(error: &Tensor, inside: &Tensor) -> Result<Tensor> {
    inside.where_cond(error, &error.zeros_like()?)?.to_dtype(DType::F64)?.sum_all()
}

/// |prediction − target| whose gradient at equality is 0; candle's own `abs` has 1 there.
fn absolute_difference(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    let difference = prediction.sub(target)?;
    let sign = difference.detach().sign()?;
    difference.mul(&sign)
}

/// The number of voxels of a region (where it is at least 0.5), exact for any size.
fn count(region: &Tensor) -> Result<f64> {
    region.detach().ge(0.5)?.to_dtype(DType::F64)?.sum_all()?.to_scalar()
}
