//! Convolution with batch normalization as one operation: the separate operations as an oracle, finite differences,
//! threads, errors.

use candle_core::{Result, Tensor, Var};
use synthct_nn::ops::{
    Activation, BatchNorm, BatchNormOptions, Conv2dOptions, ConvTranspose2dOptions, batch_norm,
    channel_moments, conv_transpose2d, conv_transpose2d_batch_norm, conv2d, conv2d_batch_norm,
};

use crate::support::{close, flat, same_bits_on_any_thread_count, values};

/// Forward or transposed, each with its settings.
#[derive(Clone, Copy, Debug)]
enum Conv {
    Forward(Conv2dOptions),
    Transposed(ConvTranspose2dOptions),
}

const HALVE: Conv2dOptions = Conv2dOptions {
    stride: [2; 2],
    padding: [1; 2],
    dilation: [1; 2],
    math: synthct_nn::ops::CudaMath::Full,
};

fn double() -> Conv {
    Conv::Transposed(ConvTranspose2dOptions {
        stride: [2; 2],
        padding: [1; 2],
        ..ConvTranspose2dOptions::default()
    })
}

/// The convolution, input `[N, I, H, W]`, outputs, kernel: direct, by panels and in square tiles.
fn cases() -> Vec<(Conv, [usize; 4], usize, usize)> {
    vec![
        (Conv::Forward(Conv2dOptions::same(3, 2)), [2, 3, 7, 9], 5, 3),
        (Conv::Forward(HALVE), [2, 3, 12, 10], 5, 4),
        (double(), [2, 3, 5, 7], 4, 4),
        (Conv::Forward(Conv2dOptions::same(3, 1)), [2, 65, 24, 25], 66, 3),
        (Conv::Forward(HALVE), [1, 64, 66, 70], 65, 4),
        (double(), [1, 65, 33, 34], 64, 4),
    ]
}

fn options(activation: Activation, dropout: Option<Vec<f32>>) -> BatchNormOptions {
    BatchNormOptions { activation, epsilon: 1e-5, dropout }
}

/// Input, weights, gain and bias.
fn arguments(conv: Conv, shape: [usize; 4], outputs: usize, kernel: usize) -> Result<[Tensor; 4]> {
    let channels = match conv {
        Conv::Forward(_) => [outputs, shape[1]],
        Conv::Transposed(_) => [shape[1], outputs],
    };
    Ok([
        values("x", &shape)?,
        values("w", &[channels[0], channels[1], kernel, kernel])?,
        values("gain", &[outputs])?,
        values("bias", &[outputs])?,
    ])
}

fn as_one(conv: Conv, [x, w, gain, bias]: [&Tensor; 4], options: &BatchNormOptions) -> Result<Tensor> {
    let (out, moments) = match conv {
        Conv::Forward(conv) => conv2d_batch_norm(x, w, gain, bias, &conv, options)?,
        Conv::Transposed(conv) => conv_transpose2d_batch_norm(x, w, gain, bias, &conv, options)?,
    };
    assert_eq!(moments.len(), gain.elem_count());
    Ok(out)
}

fn one_by_one(conv: Conv, [x, w, gain, bias]: [&Tensor; 4], options: &BatchNormOptions) -> Result<Tensor> {
    let x = match conv {
        Conv::Forward(conv) => conv2d(x, w, None, &conv)?,
        Conv::Transposed(conv) => conv_transpose2d(x, w, None, &conv)?,
    };
    batch_norm(&x, gain, bias, BatchNorm::Batch(&channel_moments(&x)?), options)
}

/// The value of an operation, and the gradients of Σ coefficient · value.
fn with_gradients(
    arguments: &[Tensor; 4],
    op: impl Fn([&Tensor; 4]) -> Result<Tensor>,
) -> Result<[Tensor; 5]> {
    let mut vars = Vec::new();
    for argument in arguments {
        vars.push(Var::from_tensor(argument)?);
    }
    let out = op(std::array::from_fn(|idx| vars[idx].as_tensor()))?;
    let gradients = (&out * values("coefficient", out.dims())?)?.sum_all()?.backward()?;
    let gradient = |idx: usize| gradients.get(&vars[idx]).cloned().expect("every argument has a gradient");
    Ok([out.detach(), gradient(0), gradient(1), gradient(2), gradient(3)])
}

#[test]
fn as_one_and_one_by_one_agree() -> Result<()> {
    for (conv, shape, outputs, kernel) in cases() {
        let arguments = arguments(conv, shape, outputs, kernel)?;
        let dropout = (0..shape[0] * outputs).map(|v| [2.0, 0.0, 1.5][v % 3]).collect();
        for options in [options(Activation::Relu, None), options(Activation::Elu, Some(dropout))] {
            let found = with_gradients(&arguments, |arguments| as_one(conv, arguments, &options))?;
            let expected = with_gradients(&arguments, |arguments| one_by_one(conv, arguments, &options))?;
            let names = ["value", "gradient of x", "of w", "of the gain", "of the bias"];
            for (name, (found, expected)) in names.iter().zip(found.iter().zip(&expected)) {
                close(&format!("{name}, {conv:?} {shape:?}"), found, expected, 0.0, 0.0);
            }
        }
    }
    Ok(())
}

/// Central differences of the value itself: of a smooth activation, in small numbers of channels and pixels.
#[test]
fn finite_differences_agree() -> Result<()> {
    let options = options(Activation::Sigmoid, None);
    for (conv, shape, outputs, kernel) in cases().into_iter().take(3) {
        let arguments = arguments(conv, shape, outputs, kernel)?;
        let [out, gradients @ ..] =
            with_gradients(&arguments, |arguments| as_one(conv, arguments, &options))?;
        let coefficients = flat(&values("coefficient", out.dims())?)?;
        let loss = |arguments: &[Tensor; 4]| -> Result<f64> {
            let out = as_one(conv, std::array::from_fn(|idx| &arguments[idx]), &options)?;
            Ok(flat(&out)?.iter().zip(&coefficients).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
        };
        for (argument, gradient) in gradients.iter().enumerate() {
            let count = gradient.elem_count();
            let gradient = flat(gradient)?;
            for idx in [0, count / 3, count - 1] {
                let moved = |step: f32| -> Result<f64> {
                    let mut arguments = arguments.clone();
                    let mut values = flat(&arguments[argument])?;
                    values[idx] += step;
                    let dims = arguments[argument].dims().to_vec();
                    arguments[argument] = Tensor::from_vec(values, dims, &candle_core::Device::Cpu)?;
                    loss(&arguments)
                };
                let slope = (moved(0.01)? - moved(-0.01)?) / 0.02;
                let error = (slope - f64::from(gradient[idx])).abs();
                assert!(
                    error < 2e-3 * slope.abs().max(1.0),
                    "{conv:?}, argument {argument}, value {idx}: {slope} for {}",
                    gradient[idx]
                );
            }
        }
    }
    Ok(())
}

/// What needs no gradient gets none, and the others keep theirs.
#[test]
fn frozen_arguments_get_no_gradient() -> Result<()> {
    let conv = Conv::Forward(HALVE);
    let [x, w, gain, bias] = arguments(conv, [1, 2, 8, 6], 3, 4)?;
    let options = options(Activation::Relu, None);
    let all = with_gradients(&[x.clone(), w.clone(), gain.clone(), bias.clone()], |arguments| {
        as_one(conv, arguments, &options)
    })?;
    let coefficient = values("coefficient", all[0].dims())?;
    let var = Var::from_tensor(&x)?;
    let loss = (as_one(conv, [var.as_tensor(), &w, &gain, &bias], &options)? * &coefficient)?.sum_all()?;
    let gradients = loss.backward()?;
    close("gradient of x", gradients.get(&var).expect("x is a variable"), &all[1], 0.0, 0.0);
    assert!([&w, &gain, &bias].iter().all(|frozen| gradients.get(frozen).is_none()));
    let var = Var::from_tensor(&w)?;
    let loss = (as_one(conv, [&x, var.as_tensor(), &gain, &bias], &options)? * &coefficient)?.sum_all()?;
    let gradients = loss.backward()?;
    close("gradient of w", gradients.get(&var).expect("w is a variable"), &all[2], 0.0, 0.0);
    assert!(gradients.get(&x).is_none());
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() {
    same_bits_on_any_thread_count(|| {
        let mut results = Vec::new();
        for (conv, shape, outputs, kernel) in cases() {
            let arguments = arguments(conv, shape, outputs, kernel)?;
            let options = options(Activation::Relu, None);
            results.extend(with_gradients(&arguments, |arguments| as_one(conv, arguments, &options))?);
        }
        Ok(results)
    });
}

#[test]
fn bad_arguments_are_errors() -> Result<()> {
    let conv = Conv::Forward(HALVE);
    let [x, w, gain, bias] = arguments(conv, [1, 2, 8, 6], 3, 4)?;
    let plain = options(Activation::Relu, None);
    let short = values("short", &[2])?;
    assert!(as_one(conv, [&x, &w, &gain, &bias], &plain).is_ok());
    assert!(as_one(conv, [&x, &w, &short, &bias], &plain).is_err(), "gain");
    assert!(as_one(conv, [&x, &w, &gain, &short], &plain).is_err(), "bias");
    assert!(as_one(conv, [&x, &w, &short, &short], &plain).is_err(), "gain and bias");
    assert!(as_one(conv, [&x.narrow(1, 0, 1)?, &w, &gain, &bias], &plain).is_err(), "channels");
    let dropped = options(Activation::Relu, Some(vec![1.0; 4]));
    assert!(as_one(conv, [&x, &w, &gain, &bias], &dropped).is_err(), "dropout");
    Ok(())
}
