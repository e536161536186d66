//! The losses of a generator and its discriminator.

use candle_core::{DType, Result, Tensor};

/// The mean binary cross entropy of a discriminator's logits z against "all real" or "all generated".
///
/// With the probability p = 1 / (1 + exp(−z)) it is the mean of −log p for real images and of −log (1 − p) for generated
/// ones, which is softplus(−z) and softplus(z), softplus(z) = max(z, 0) + log(1 + exp(−|z|)): finite for all finite z.
///
/// The discriminator minimizes the mean of the losses of real images (`is_real`) and of generated ones; the generator
/// minimizes the loss of its own images taken for real (the non-saturating form).
///
/// # Shapes
/// `logits` has any shape: a value an image or a patch; the result is a scalar.
///
/// # Errors
/// Those of the tensor operations.
///
/// # References
/// Goodfellow et al. (2014), Generative adversarial networks, arXiv:1406.2661, section 3; on patches Isola et al. (2017),
/// Image-to-image translation with conditional adversarial networks, arXiv:1611.07004.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// let undecided = Tensor::zeros((2, 1, 3, 3), candle_core::DType::F32, &Device::Cpu)?;
/// let loss = synthct_loss::adversarial_loss(&undecided, true)?.to_scalar::<f32>()?;
/// assert!((loss - 2f32.ln()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn adversarial_loss(logits: &Tensor, is_real: bool) -> Result<Tensor> {
    let z = logits.to_dtype(DType::F64)?;
    softplus(&if is_real { z.neg()? } else { z })?.mean_all()?.to_dtype(logits.dtype())
}

/// log(1 + exp(z)), whose gradient is 1 / (1 + exp(−z)) everywhere, also at 0.
fn softplus(z: &Tensor) -> Result<Tensor> {
    // Constants in the gradient: 1 or −1, and 1 or 0.
    let is_positive = z.detach().ge(0.0)?.to_dtype(DType::F64)?;
    let sign = is_positive.affine(2.0, -1.0)?;
    let correction = z.mul(&sign)?.neg()?.exp()?.affine(1.0, 1.0)?.log()?;
    z.mul(&is_positive)?.add(&correction)
}
