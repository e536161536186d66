//! Losses weighted by learnt task uncertainty.

use candle_core::{DType, Result, Tensor, bail};

/// Of which distribution a task's loss is the negative logarithm, up to constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskLikelihood {
    /// Errors follow a Laplace distribution: mean absolute errors.
    Laplace,
    /// A class is drawn from a tempered softmax: cross entropies, and by analogy overlap losses such as Dice.
    Categorical,
}

/// A task's loss L, weighted by the task's learnt uncertainty s = log σ².
///
/// - [`TaskLikelihood::Laplace`]: √2·exp(−s/2)·L + s/2.
///   A Laplace distribution of scale b has −log p(e) = |e|/b + log 2b and the variance σ² = 2b²; with b = σ/√2 and
///   σ = exp(s/2) this is √2·exp(−s/2)·|e| + s/2 + log √2, whose constant is left out.
///   For a fixed loss its minimum lies at b = L, the maximum-likelihood estimate.
/// - [`TaskLikelihood::Categorical`]: exp(−s)·L + s/2, whose minimum lies at σ² = 2L.
///
/// The result may be negative. Start s at 0.
///
/// # Shapes
/// `loss` and `log_variance` hold one value each; the result is a scalar of the loss's type.
///
/// # Errors
/// More or fewer values than one, or tensors on different devices.
///
/// # References
/// Kendall, Gal, Cipolla (2018), Multi-task learning using uncertainty to weigh losses, arXiv:1705.07115: equations 5 and
/// 10 (s = log σ² as below equation 7 there) for a Gaussian and a softmax.
/// The paper has no L1 loss: the Laplace form is derived here the same way.
/// The Dice loss is no likelihood of a voxel; that it takes the softmax's form is ours.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use synthct_loss::{TaskLikelihood, uncertainty_weighted};
/// let (loss, log_variance) = (Tensor::new(0.3f64, &Device::Cpu)?, Tensor::new(0.0f64, &Device::Cpu)?);
/// let weighted = uncertainty_weighted(&loss, &log_variance, TaskLikelihood::Laplace)?;
/// assert!((weighted.to_scalar::<f64>()? - 0.3 * 2f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn uncertainty_weighted(
    loss: &Tensor,
    log_variance: &Tensor,
    likelihood: TaskLikelihood,
) -> Result<Tensor> {
    for (name, tensor) in [("loss", loss), ("log-variance", log_variance)] {
        if tensor.elem_count() != 1 {
            bail!("a task has one {name}, not {:?}", tensor.dims());
        }
    }
    let in_double = |tensor: &Tensor| tensor.reshape(())?.to_dtype(DType::F64);
    let (value, s) = (in_double(loss)?, in_double(log_variance)?);
    let weight = match likelihood {
        TaskLikelihood::Laplace => s.affine(-0.5, 0.0)?.exp()?.affine(std::f64::consts::SQRT_2, 0.0)?,
        TaskLikelihood::Categorical => s.neg()?.exp()?,
    };
    value.mul(&weight)?.add(&s.affine(0.5, 0.0)?)?.to_dtype(loss.dtype())
}
