//! Batch normalization with activation and dropout: closed forms, finite differences, threads, errors.

use candle_core::{Device, Result, Tensor, Var};
use synthct_nn::ops::{Activation, BatchNorm, BatchNormOptions, ChannelMoments, batch_norm, channel_moments};

use crate::support::{close, flat, same_bits_on_any_thread_count, values};

const ACTIVATIONS: [Activation; 4] =
    [Activation::Linear, Activation::Elu, Activation::Relu, Activation::Sigmoid];

fn options(activation: Activation, dropout: Option<Vec<f32>>) -> BatchNormOptions {
    BatchNormOptions { activation, epsilon: 1e-5, dropout }
}

/// The definition, in double precision.
fn naive(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    fixed: Option<&[ChannelMoments]>,
    options: &BatchNormOptions,
) -> Result<Vec<f64>> {
    let (images, channels, height, width) = x.dims4()?;
    let plane = height * width;
    let (values, gain, bias) = (flat(x)?, flat(gain)?, flat(bias)?);
    let mut out = vec![0.0; values.len()];
    for channel in 0..channels {
        let own: Vec<usize> = (0..values.len()).filter(|idx| idx / plane % channels == channel).collect();
        let count = own.len() as f64;
        let mean = own.iter().map(|idx| f64::from(values[*idx])).sum::<f64>() / count;
        let variance = own.iter().map(|idx| (f64::from(values[*idx]) - mean).powi(2)).sum::<f64>() / count;
        let (mean, variance) = fixed.map_or((mean, variance), |f| (f[channel].mean, f[channel].variance));
        for idx in own {
            let z = (f64::from(values[idx]) - mean) / (variance + options.epsilon).sqrt()
                * f64::from(gain[channel])
                + f64::from(bias[channel]);
            let a = match options.activation {
                Activation::Linear => z,
                Activation::Elu if z > 0.0 => z,
                Activation::Elu => z.exp_m1(),
                Activation::Relu => z.max(0.0),
                Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
            };
            let factor = options.dropout.as_ref().map_or(1.0, |d| f64::from(d[idx / plane]));
            out[idx] = factor * a;
        }
    }
    assert_eq!(images * channels * plane, out.len());
    Ok(out)
}

#[test]
fn values_follow_the_definition() -> Result<()> {
    for shape in [[2, 3, 5, 7], [1, 1, 1, 2], [3, 2, 16, 33]] {
        let x = (values("x", &shape)? * 3.0)?.affine(1.0, 5.0)?;
        let (gain, bias) = (values("gain", &shape[1..2])?, values("bias", &shape[1..2])?);
        let fixed = vec![ChannelMoments { mean: 4.0, variance: 2.5 }; shape[1]];
        let moments = channel_moments(&x)?;
        for activation in ACTIVATIONS {
            let dropout = (0..shape[0] * shape[1]).map(|v| [0.0, 2.0][v % 2]).collect();
            for options in [options(activation, None), options(activation, Some(dropout))] {
                for (statistics, fixed) in
                    [(BatchNorm::Batch(&moments), None), (BatchNorm::Fixed(&fixed), Some(fixed.as_slice()))]
                {
                    let found = batch_norm(&x, &gain, &bias, statistics, &options)?;
                    let expected: Vec<f32> =
                        naive(&x, &gain, &bias, fixed, &options)?.into_iter().map(|v| v as f32).collect();
                    let expected = Tensor::from_vec(expected, &shape, &Device::Cpu)?;
                    close(&format!("{activation:?} {shape:?}"), &found, &expected, 1e-6, 1e-6);
                }
            }
        }
    }
    Ok(())
}

/// Central differences of the double-precision definition against the operation's gradients.
#[test]
fn finite_differences_agree() -> Result<()> {
    let shape = [2, 3, 4, 5];
    let dropout = Some(vec![1.25, 0.0, 1.25, 1.25, 1.25, 0.0]);
    let fixed = vec![ChannelMoments { mean: 0.1, variance: 0.4 }; 3];
    for activation in ACTIVATIONS {
        for frozen in [false, true] {
            let options = options(activation, dropout.clone());
            let [x, gain, bias] = [("x", &shape[..]), ("gain", &shape[1..2]), ("bias", &shape[1..2])]
                .map(|(name, shape)| values(name, shape).and_then(|tensor| Var::from_tensor(&tensor)));
            let arguments = [x?, gain?, bias?];
            let moments = channel_moments(&arguments[0])?;
            let statistics = if frozen { BatchNorm::Fixed(&fixed) } else { BatchNorm::Batch(&moments) };
            let out = batch_norm(&arguments[0], &arguments[1], &arguments[2], statistics, &options)?;
            let coefficients = values("coefficient", &shape)?;
            let gradients = (out * &coefficients)?.sum_all()?.backward()?;
            let coefficients = flat(&coefficients)?;
            for (argument, var) in arguments.iter().enumerate() {
                let gradient = flat(gradients.get(var).expect("every input has a gradient"))?;
                for idx in 0..gradient.len() {
                    // The step really taken, after rounding, beside the loss there.
                    let loss = |step: f32| -> Result<(f64, f64)> {
                        let mut moved = arguments.clone().map(|var| var.as_detached_tensor());
                        let mut values = flat(&moved[argument])?;
                        values[idx] += step;
                        let at = f64::from(values[idx]);
                        moved[argument] = Tensor::from_vec(values, var.dims(), &Device::Cpu)?;
                        let fixed = frozen.then_some(fixed.as_slice());
                        let out = naive(&moved[0], &moved[1], &moved[2], fixed, &options)?;
                        Ok((at, out.iter().zip(&coefficients).map(|(a, b)| a * f64::from(*b)).sum()))
                    };
                    // Short, so that no value passes the kink of the ReLU.
                    let ((right, above), (left, below)) = (loss(1e-5)?, loss(-1e-5)?);
                    let slope = (above - below) / (right - left);
                    assert!(
                        (slope - f64::from(gradient[idx])).abs() < 1e-4,
                        "{activation:?}, frozen {frozen}, argument {argument}, value {idx}: {} for {slope}",
                        gradient[idx]
                    );
                }
            }
        }
    }
    Ok(())
}

/// Candle's own ReLU has derivative 1 at zero; PyTorch's, and this one's, is 0.
#[test]
fn relu_is_flat_at_zero() -> Result<()> {
    let x = Var::from_tensor(&Tensor::new(&[-1.0f32, 0.0, 0.0, 2.0], &Device::Cpu)?.reshape((1, 1, 1, 4))?)?;
    let (gain, bias) = (Tensor::new(&[1.0f32], &Device::Cpu)?, Tensor::new(&[0.0f32], &Device::Cpu)?);
    let fixed = [ChannelMoments { mean: 0.0, variance: 1.0 - 1e-5 }];
    let out = batch_norm(&x, &gain, &bias, BatchNorm::Fixed(&fixed), &options(Activation::Relu, None))?;
    let gradients = out.sum_all()?.backward()?;
    let gradient = flat(gradients.get(&x).expect("x has a gradient"))?;
    assert_eq!(gradient, [0.0, 0.0, 0.0, 1.0]);
    Ok(())
}

#[test]
fn a_constant_channel_is_finite() -> Result<()> {
    let x = Var::from_tensor(&Tensor::full(3.5f32, (2, 1, 4, 4), &Device::Cpu)?)?;
    let (gain, bias) = (values("gain", &[1])?, values("bias", &[1])?);
    let moments = channel_moments(&x)?;
    let out = batch_norm(&x, &gain, &bias, BatchNorm::Batch(&moments), &options(Activation::Elu, None))?;
    let gradients = out.sum_all()?.backward()?;
    let gradient = flat(gradients.get(&x).expect("x has a gradient"))?;
    assert!(flat(&out)?.iter().chain(&gradient).all(|value| value.is_finite()));
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() {
    same_bits_on_any_thread_count(|| {
        let x = Var::from_tensor(&values("x", &[3, 5, 40, 37])?)?;
        let [gain, bias] = ["gain", "bias"].map(|name| values(name, &[5]).and_then(|t| Var::from_tensor(&t)));
        let (gain, bias) = (gain?, bias?);
        let moments = channel_moments(&x)?;
        let out = batch_norm(&x, &gain, &bias, BatchNorm::Batch(&moments), &options(Activation::Elu, None))?;
        let gradients = (&out * values("coefficient", out.dims())?)?.sum_all()?.backward()?;
        let mut tensors = vec![out];
        for var in [&x, &gain, &bias] {
            tensors.push(gradients.get(var).expect("every input has a gradient").clone());
        }
        Ok(tensors)
    });
}

#[test]
fn bad_shapes_are_errors() -> Result<()> {
    let x = values("x", &[2, 3, 4, 4])?;
    let (three, two) = (values("gain", &[3])?, values("gain", &[2])?);
    let moments = channel_moments(&x)?;
    let plain = options(Activation::Linear, None);
    assert!(batch_norm(&x, &two, &three, BatchNorm::Batch(&moments), &plain).is_err(), "gain");
    assert!(batch_norm(&x, &three, &three, BatchNorm::Fixed(&moments[..2]), &plain).is_err(), "moments");
    let short = options(Activation::Linear, Some(vec![1.0; 5]));
    assert!(batch_norm(&x, &three, &three, BatchNorm::Batch(&moments), &short).is_err(), "dropout");
    Ok(())
}
