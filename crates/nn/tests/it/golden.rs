//! Single operations against PyTorch.

use candle_core::{Result, Tensor, Var};
use synthct_nn::ops::{
    Activation, BatchNorm, BatchNormOptions, Conv2dOptions, batch_norm, channel_moments, conv2d,
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
