//! Single operations against PyTorch.

use candle_core::{Result, Tensor, Var};
use synthct_nn::ops::{
    Activation, BatchNorm, BatchNormOptions, Conv2dOptions, Conv3dOptions, ConvTranspose2dOptions,
    avg_pool2d, batch_norm, channel_moments, conv_transpose2d, conv2d, conv3d, max_pool2d,
    upsample_bilinear2d, upsample_nearest2d,
};

use crate::support::{close, golden, values};

const TOLERANCE: f32 = 2e-6;

/// Compares the operation's value and the gradients of Σ coefficient · value with the golden case `name`.
fn check(name: &str, inputs: &[(&str, Vec<usize>)], f: impl Fn(&[Var]) -> Result<Tensor>) -> Result<()> {
    let golden = golden("ops")?;
    let vars = inputs
        .iter()
        .map(|(input, shape)| Var::from_tensor(&values(&format!("{name}.{input}"), shape)?))
        .collect::<Result<Vec<_>>>()?;
    let out = f(&vars)?;
    close(&format!("{name}.out"), &out, &golden[&format!("{name}.out")], TOLERANCE, 0.0);
    let gradients = (&out * values(&format!("{name}.coefficient"), out.dims())?)?.sum_all()?.backward()?;
    for ((input, _), var) in inputs.iter().zip(&vars) {
        let key = format!("{name}.gradient.{input}");
        close(&key, gradients.get(var).expect("every input has a gradient"), &golden[&key], TOLERANCE, 1e-6);
    }
    Ok(())
}

#[test]
fn convolution() -> Result<()> {
    for (name, x, kernel, dilation) in
        [("conv5", [2, 3, 5, 7], 5, 2), ("conv3", [1, 2, 9, 33], 3, 8), ("conv1", [2, 7, 4, 5], 1, 1)]
    {
        let inputs = [("x", x.to_vec()), ("w", vec![5, x[1], kernel, kernel]), ("b", vec![5])];
        check(name, &inputs, |v| conv2d(&v[0], &v[1], Some(&v[2]), &Conv2dOptions::same(kernel, dilation)))?;
    }
    Ok(())
}

#[test]
fn strided_and_transposed_convolution() -> Result<()> {
    let inputs = |x: &[usize], w: &[usize], outputs: usize| {
        [("x", x.to_vec()), ("w", w.to_vec()), ("b", vec![outputs])]
    };
    let down =
        Conv2dOptions { stride: [2; 2], padding: [1; 2], dilation: [1; 2], ..Conv2dOptions::default() };
    check("conv_down", &inputs(&[2, 3, 9, 14], &[5, 3, 4, 4], 5), |v| {
        conv2d(&v[0], &v[1], Some(&v[2]), &down)
    })?;
    let mixed =
        Conv2dOptions { stride: [1, 3], padding: [2, 0], dilation: [2, 1], ..Conv2dOptions::default() };
    check("conv_mixed", &inputs(&[1, 2, 7, 11], &[4, 2, 3, 2], 4), |v| {
        conv2d(&v[0], &v[1], Some(&v[2]), &mixed)
    })?;
    let up = ConvTranspose2dOptions { stride: [2; 2], padding: [1; 2], ..ConvTranspose2dOptions::default() };
    check("conv_up", &inputs(&[2, 3, 4, 7], &[3, 5, 4, 4], 5), |v| {
        conv_transpose2d(&v[0], &v[1], Some(&v[2]), &up)
    })?;
    let mixed = ConvTranspose2dOptions {
        stride: [3, 2],
        padding: [1, 2],
        output_padding: [2, 1],
        dilation: [1, 2],
        ..ConvTranspose2dOptions::default()
    };
    check("conv_up_mixed", &inputs(&[1, 2, 3, 5], &[2, 3, 2, 3], 3), |v| {
        conv_transpose2d(&v[0], &v[1], Some(&v[2]), &mixed)
    })?;
    let volume = Conv3dOptions { stride: [1, 2, 1], padding: [1; 3], dilation: [1, 1, 2] };
    check("conv_volume", &inputs(&[2, 2, 4, 7, 6], &[3, 2, 3, 3, 2], 3), |v| {
        conv3d(&v[0], &v[1], Some(&v[2]), &volume)
    })
}

#[test]
fn pooling_and_upsampling() -> Result<()> {
    let pooled = [("x", vec![2, 2, 8, 9])];
    check("max_pool", &pooled, |v| max_pool2d(&v[0], [3, 2], [2, 3]))?;
    check("avg_pool", &pooled, |v| avg_pool2d(&v[0], [3, 2], [2, 3]))?;
    let small = [("x", vec![1, 2, 3, 5])];
    check("nearest", &small, |v| upsample_nearest2d(&v[0], [7, 10]))?;
    check("bilinear", &small, |v| upsample_bilinear2d(&v[0], [7, 3], false))?;
    check("bilinear_corners", &small, |v| upsample_bilinear2d(&v[0], [7, 3], true))
}

#[test]
fn normalization() -> Result<()> {
    for (name, activation) in [
        ("norm_linear", Activation::Linear),
        ("norm_elu", Activation::Elu),
        ("norm_relu", Activation::Relu),
        ("norm_sigmoid", Activation::Sigmoid),
    ] {
        let inputs = [("x", vec![2, 3, 5, 7]), ("gain", vec![3]), ("bias", vec![3])];
        let options = BatchNormOptions {
            activation,
            epsilon: 1e-5,
            dropout: Some(vec![0.0, 1.25, 1.25, 1.25, 0.0, 1.25]),
        };
        check(name, &inputs, |v| {
            let moments = channel_moments(&v[0])?;
            batch_norm(&v[0], &v[1], &v[2], BatchNorm::Batch(&moments), &options)
        })?;
    }
    Ok(())
}
