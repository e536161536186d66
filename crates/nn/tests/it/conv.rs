//! Convolution: gradients by finite differences, candle as an oracle, threads, errors.

use candle_core::{Device, Result, Tensor, Var};
use synthct_nn::ops::{Conv2dOptions, conv2d};

use crate::support::{close, flat, same_bits_on_any_thread_count, values};

/// Input `[N, I, H, W]`, outputs, kernel, dilation.
const CASES: [([usize; 4], usize, usize, usize); 8] = [
    ([1, 1, 1, 1], 1, 5, 1),
    ([2, 3, 9, 1], 4, 3, 2),
    ([1, 2, 5, 7], 13, 5, 2),
    ([2, 5, 33, 32], 7, 5, 8),
    ([1, 40, 6, 19], 3, 3, 4),
    ([3, 6, 8, 10], 40, 1, 1),
    ([1, 3, 12, 50], 6, 3, 1),
    ([1, 2, 6, 5], 2, 3, 16),
];

/// Σ coefficient · convolution, with gradients for x, w and b.
fn with_gradients(
    x: &Var,
    w: &Var,
    b: &Var,
    convolve: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
) -> Result<[Tensor; 4]> {
    let out = convolve(x, w, b)?;
    let gradients = (&out * values("coefficient", out.dims())?)?.sum_all()?.backward()?;
    let gradient = |var: &Var| gradients.get(var).cloned().expect("every input has a gradient");
    Ok([gradient(x), gradient(w), gradient(b), out.detach()])
}

fn inputs(shape: [usize; 4], outputs: usize, kernel: usize) -> Result<(Var, Var, Var)> {
    Ok((
        Var::from_tensor(&values("x", &shape)?)?,
        Var::from_tensor(&values("w", &[outputs, shape[1], kernel, kernel])?)?,
        Var::from_tensor(&values("b", &[outputs])?)?,
    ))
}

#[test]
fn candle_agrees() -> Result<()> {
    for (shape, outputs, kernel, dilation) in CASES {
        let (x, w, b) = inputs(shape, outputs, kernel)?;
        let ours = with_gradients(&x, &w, &b, |x, w, b| {
            conv2d(x, w, Some(b), &Conv2dOptions::same(kernel, dilation))
        })?;
        let padding = dilation * (kernel - 1) / 2;
        let candles = with_gradients(&x, &w, &b, |x, w, b| {
            x.conv2d(w, padding, 1, dilation, 1)?.broadcast_add(&b.reshape((1, outputs, 1, 1))?)
        })?;
        for (what, (ours, candles)) in ["x", "w", "b", "out"].into_iter().zip(ours.iter().zip(&candles)) {
            close(&format!("{what} of {shape:?} {outputs} {kernel} {dilation}"), ours, candles, 3e-6, 0.0);
        }
    }
    Ok(())
}

/// The operation is linear in each argument, so a finite difference is exact but for rounding.
#[test]
fn finite_differences_agree() -> Result<()> {
    let (x, w, b) = inputs([2, 3, 6, 18], 4, 3)?;
    let gradients = with_gradients(&x, &w, &b, |x, w, b| conv2d(x, w, Some(b), &Conv2dOptions::same(3, 2)))?;
    let loss = |x: &Tensor, w: &Tensor, b: &Tensor| -> Result<f64> {
        let out = conv2d(x, w, Some(b), &Conv2dOptions::same(3, 2))?;
        let coefficients = flat(&values("coefficient", out.dims())?)?;
        Ok(flat(&out)?.iter().zip(coefficients).map(|(a, b)| f64::from(*a) * f64::from(b)).sum())
    };
    let start = [x.as_tensor(), w.as_tensor(), b.as_tensor()];
    for (argument, gradient) in gradients[..3].iter().enumerate() {
        let count = gradient.elem_count();
        for idx in [0, count / 3, count / 2, count - 1] {
            let moved = |step: f32| -> Result<f64> {
                let mut arguments = start.map(Tensor::clone);
                let mut values = flat(&arguments[argument])?;
                values[idx] += step;
                arguments[argument] = Tensor::from_vec(values, arguments[argument].dims(), &Device::Cpu)?;
                loss(&arguments[0], &arguments[1], &arguments[2])
            };
            let slope = (moved(0.5)? - moved(-0.5)?) as f32;
            let expected = flat(gradient)?[idx];
            assert!((slope - expected).abs() < 1e-4, "argument {argument}, value {idx}: {slope} {expected}");
        }
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() {
    same_bits_on_any_thread_count(|| {
        let (x, w, b) = inputs([3, 10, 70, 90], 14, 5)?;
        Ok(with_gradients(&x, &w, &b, |x, w, b| conv2d(x, w, Some(b), &Conv2dOptions::same(5, 4)))?.to_vec())
    });
    same_bits_on_any_thread_count(|| {
        let (x, w, b) = inputs([1, 30, 64, 80], 14, 1)?;
        Ok(with_gradients(&x, &w, &b, |x, w, b| conv2d(x, w, Some(b), &Conv2dOptions::same(1, 1)))?.to_vec())
    });
}

#[test]
fn data_without_gradient_gets_none() -> Result<()> {
    let x = values("x", &[1, 2, 8, 8])?;
    let w = Var::from_tensor(&values("w", &[3, 2, 3, 3])?)?;
    let gradients = conv2d(&x, &w, None, &Conv2dOptions::same(3, 1))?.sum_all()?.backward()?;
    assert!(gradients.get(&x).is_none());
    assert!(gradients.get(w.as_tensor()).is_some());
    Ok(())
}

/// Views share storage with other values; only theirs may be read.
#[test]
fn views_are_read_as_what_they_show() -> Result<()> {
    let whole = values("x", &[2, 6, 9, 11])?;
    let w = values("w", &[3, 2, 3, 3])?;
    for view in [whole.narrow(1, 2, 2)?, whole.narrow(1, 0, 2)?.transpose(2, 3)?] {
        let copy = Tensor::from_vec(flat(&view)?, view.dims(), &Device::Cpu)?;
        let [view, copy] = [&view, &copy].map(|x| conv2d(x, &w, None, &Conv2dOptions::same(3, 2)));
        close("view", &view?, &copy?, 0.0, 0.0);
    }
    Ok(())
}

#[test]
fn bad_shapes_are_errors() -> Result<()> {
    let x = values("x", &[1, 2, 8, 8])?;
    let w = values("w", &[3, 2, 3, 3])?;
    let same = Conv2dOptions::same(3, 1);
    assert!(conv2d(&x, &values("w", &[3, 4, 3, 3])?, None, &same).is_err(), "input channels");
    assert!(conv2d(&x, &w, None, &Conv2dOptions { dilation: [0; 2], ..same }).is_err(), "no dilation");
    assert!(conv2d(&x, &w, None, &Conv2dOptions::same(3, 0)).is_err(), "no dilation, no padding");
    assert!(conv2d(&x, &w, Some(&values("b", &[2])?), &same).is_err(), "bias");
    assert!(conv2d(&x.narrow(2, 0, 0)?, &w, None, &same).is_err(), "empty image");
    assert!(conv2d(&x.to_dtype(candle_core::DType::F64)?, &w, None, &same).is_err(), "type");
    Ok(())
}
