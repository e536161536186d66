//! What candle 0.11 does wrong, so that we know when it no longer does.
//!
//! Each test asserts the wrong result. When one fails, candle has mended that operation: check ours against it,
//! and let ours go where it has no other reason to be.

use candle_core::{Device, Result, Tensor, Var};

use crate::support::{flat, values};

/// The gradient of the sum of what `f` makes of `x`.
fn gradient(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<f32>> {
    let x = Var::from_tensor(x)?;
    let gradients = f(&x)?.sum_all()?.backward()?;
    flat(gradients.get(&x).expect("the input has a gradient"))
}

/// Mended: `ops::max_pool2d` may go.
#[test]
fn max_pool_divides_its_gradient_by_the_window() -> Result<()> {
    let x = Tensor::new(&[[[[1.0f32, 2.0], [3.0, 4.0]]]], &Device::Cpu)?;
    let found = gradient(&x, |x| x.max_pool2d(2))?;
    assert!((found[3] - 0.25).abs() < 1e-6, "candle gives {found:?}; right is 1 for the last");
    Ok(())
}

/// Mended: `ops::upsample_nearest2d` may go.
#[test]
fn nearest_upsampling_of_a_tensor_used_before_loses_a_gradient() -> Result<()> {
    let x = values("x", &[1, 1, 2, 2])?;
    let found = gradient(&x, |x| {
        let upsampled = x.upsample_nearest2d(4, 4)?;
        upsampled.sum_all()? + (x * 10.0)?.sum_all()?
    })?;
    let other = gradient(&x, |x| (x * 10.0)?.sum_all()? + x.upsample_nearest2d(4, 4)?.sum_all()?)?;
    let right = |gradient: &[f32]| gradient.iter().all(|value| (value - 14.0).abs() < 1e-5);
    assert!(!right(&found) || !right(&other), "candle gives {found:?} and {other:?}; right is 14 everywhere");
    Ok(())
}

/// Mended: `ops::conv2d` stays, for its speed.
#[test]
fn strided_convolution_has_no_gradient_for_unlike_sides() -> Result<()> {
    let x = Var::from_tensor(&values("x", &[1, 1, 32, 33])?)?;
    let w = values("w", &[1, 1, 4, 4])?;
    let backward = x.conv2d(&w, 1, 2, 1, 1)?.sum_all()?.backward();
    assert!(backward.is_err(), "candle differentiates a stride of 2 over 32×33");
    Ok(())
}

/// Mended: `Activation::Relu` stays, as part of the normalization.
#[test]
fn relu_has_a_slope_at_zero() -> Result<()> {
    let found = gradient(&Tensor::new(&[-1.0f32, 0.0, 1.0], &Device::Cpu)?, Tensor::relu)?;
    assert!((found[1] - 1.0).abs() < 1e-6, "candle gives {found:?}; PyTorch's choice is 0 at zero");
    Ok(())
}

/// Mended: `ops::upsample_bilinear2d` may go.
#[test]
fn bilinear_upsampling_has_no_gradient() -> Result<()> {
    let x = Var::from_tensor(&values("x", &[1, 1, 2, 2])?)?;
    let backward = x.upsample_bilinear2d(4, 4, false)?.sum_all()?.backward();
    assert!(backward.is_err(), "candle differentiates bilinear upsampling");
    Ok(())
}
