//! Every operation over a seeded range of shapes and settings against its naive twin: values and all gradients.

use candle_core::{Result, Tensor, Var};
use synthct_nn::ops::{
    Conv2dOptions, Conv3dOptions, ConvTranspose2dOptions, conv_transpose2d, conv2d, conv3d,
};

use crate::naive::{Array, Conv, Product, evaluate};
use crate::support::{flat, same_bits_on_any_thread_count, values};

/// Single precision rounds each term of a sum by 6e-8.
const TOLERANCE: f64 = 2e-6;

/// Small whole numbers, a function of the seed.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number in the range.
    pub(crate) fn from(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start() + (self.0 >> 33) as usize % (range.end() - range.start() + 1)
    }

    fn pair(&mut self, range: std::ops::RangeInclusive<usize>) -> [usize; 2] {
        [self.from(range.clone()), self.from(range)]
    }
}

/// The value and the gradients of Σ coefficient · value that `op` gives for arguments of these shapes.
pub(crate) fn run<const N: usize>(
    shapes: [&[usize]; N],
    op: impl Fn(&[Tensor; N]) -> Result<Tensor>,
) -> Result<(Tensor, Vec<Tensor>)> {
    let mut vars = Vec::new();
    for (n, shape) in shapes.iter().enumerate() {
        vars.push(Var::from_tensor(&values(&format!("argument {n}"), shape)?)?);
    }
    let out = op(&std::array::from_fn(|n| vars[n].as_tensor().clone()))?;
    let gradients = (&out * values("coefficient", out.dims())?)?.sum_all()?.backward()?;
    let gradient = |var: &Var| gradients.get(var).cloned().expect("every argument has a gradient");
    Ok((out.detach(), vars.iter().map(gradient).collect()))
}

/// Fails if a value differs by more than the tolerance times the largest expected one.
#[track_caller]
pub(crate) fn check(what: &str, found: &Tensor, expected: &Array) -> Result<()> {
    assert_eq!(found.dims(), expected.shape, "{what}");
    let largest = expected.values.iter().fold(1.0f64, |largest, value| largest.max(value.abs()));
    for (idx, (found, expected)) in flat(found)?.into_iter().zip(&expected.values).enumerate() {
        assert!(
            (f64::from(found) - expected).abs() <= TOLERANCE * largest,
            "{what}, value {idx}: {found} for {expected} (largest {largest})"
        );
    }
    Ok(())
}

/// The test's values as the twin sees them.
pub(crate) fn array(name: &str, shape: &[usize]) -> Result<Array> {
    let values = flat(&values(name, shape)?)?.into_iter().map(f64::from).collect();
    Ok(Array { shape: shape.to_vec(), values })
}

/// Checks the value and gradients of an operation of two arguments and a bias of its result's channels.
fn check_with_bias(
    what: &str,
    shapes: [&[usize]; 2],
    output: &[usize],
    products: &[Product<2>],
    op: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>,
) -> Result<()> {
    let (first, second) = (array("argument 0", shapes[0])?, array("argument 1", shapes[1])?);
    let coefficient = array("coefficient", output)?.values;
    let (mut out, gradients) = evaluate([&first, &second], output, products, &coefficient);
    let (found, found_gradients) = run(shapes, |[x, w]| op(x, w, None))?;
    check(&format!("{what} without bias"), &found, &out)?;
    for (n, (found, expected)) in found_gradients.iter().zip(&gradients).enumerate() {
        check(&format!("gradient {n} of {what}, without bias"), found, expected)?;
    }

    let bias = array("argument 2", &output[1..2])?;
    let plane: usize = output[2..].iter().product();
    let mut gradient_bias = Array::zeros(&output[1..2]);
    for (idx, value) in out.values.iter_mut().enumerate() {
        let channel = idx / plane % output[1];
        *value += bias.values[channel];
        gradient_bias.values[channel] += coefficient[idx];
    }
    let (found, found_gradients) = run([shapes[0], shapes[1], &output[1..2]], |[x, w, b]| op(x, w, Some(b)))?;
    check(what, &found, &out)?;
    let expected = gradients.iter().chain(std::iter::once(&gradient_bias));
    for (n, (found, expected)) in found_gradients.iter().zip(expected).enumerate() {
        check(&format!("gradient {n} of {what}"), found, expected)?;
    }
    Ok(())
}

/// Images, inputs, outputs; height and width; a 2-D convolution; output padding.
fn draw_2d(draw: &mut Draw) -> ([usize; 3], [usize; 2], Conv2dOptions, [usize; 2], [usize; 2]) {
    // Now and then more channels than a tile and its neighbor hold.
    let channels =
        |draw: &mut Draw| if draw.from(0..=5) == 0 { draw.from(13..=70) } else { draw.from(1..=7) };
    let counts = [draw.from(1..=3), channels(draw), channels(draw)];
    let size = if draw.from(0..=6) == 0 { [1, 1] } else { draw.pair(1..=20) };
    let options = Conv2dOptions {
        stride: draw.pair(1..=3),
        padding: draw.pair(0..=4),
        dilation: draw.pair(1..=3),
        ..Conv2dOptions::default()
    };
    let kernel = draw.pair(1..=5);
    let extra =
        std::array::from_fn(|axis| draw.from(0..=options.stride[axis].max(options.dilation[axis]) - 1));
    (counts, size, options, kernel, extra)
}

fn deep([height, width]: [usize; 2], depth: usize) -> [usize; 3] {
    [depth, height, width]
}

fn conv_of(options: &Conv2dOptions, kernel: [usize; 2]) -> Conv {
    Conv {
        kernel: deep(kernel, 1),
        stride: deep(options.stride, 1),
        padding: deep(options.padding, 0),
        dilation: deep(options.dilation, 1),
    }
}

#[track_caller]
fn check_conv2d(
    counts: [usize; 3],
    size: [usize; 2],
    kernel: [usize; 2],
    options: &Conv2dOptions,
) -> Result<()> {
    let what = format!("conv2d of {counts:?} {size:?} with {kernel:?} {options:?}");
    let [images, outputs, inputs] = counts;
    let conv = conv_of(options, kernel);
    let shapes = [[images, inputs, size[0], size[1]], [outputs, inputs, kernel[0], kernel[1]]];
    let Some(output) = conv.output(deep(size, 1)) else {
        let [x, w] = [values("x", &shapes[0])?, values("w", &shapes[1])?];
        let error = conv2d(&x, &w, None, options).expect_err(&what).to_string();
        assert!(error.contains("larger than the input"), "{what}: {error}");
        return Ok(());
    };
    let products = conv.products(counts, deep(size, 1), output, false);
    let output = [images, outputs, output[1], output[2]];
    check_with_bias(&what, [&shapes[0], &shapes[1]], &output, &products, |x, w, b| conv2d(x, w, b, options))
}

#[test]
fn convolution() -> Result<()> {
    let mut draw = Draw::new(1);
    for _ in 0..150 {
        let (counts, size, options, kernel, _) = draw_2d(&mut draw);
        check_conv2d(counts, size, kernel, &options)?;
    }
    // What the range leaves out: wide rows, many channels of few pixels, taps far outside the image.
    let down = Conv2dOptions { stride: [2; 2], padding: [1; 2], ..Conv2dOptions::default() };
    check_conv2d([1, 2, 3], [3, 150], [4, 4], &down)?;
    check_conv2d([1, 66, 40], [4, 4], [4, 4], &down)?;
    check_conv2d([2, 3, 30], [32, 33], [3, 3], &down)?;
    check_conv2d([5, 33, 3], [15, 16], [4, 4], &down)?;
    check_conv2d([2, 2, 3], [40, 40], [3, 3], &Conv2dOptions::same(3, 1))?;
    // More taps than a panel has rows, more channels than a task takes, rows longer than a band.
    check_conv2d([2, 3, 3], [17, 18], [15, 14], &down)?;
    check_conv2d([1, 270, 2], [5, 4], [3, 3], &down)?;
    check_conv2d(
        [1, 2, 2],
        [3, 700],
        [3, 4],
        &Conv2dOptions { padding: [1; 2], ..Conv2dOptions::default() },
    )?;
    check_conv2d([1, 2, 2], [3, 2], [3, 3], &Conv2dOptions { padding: [9; 2], ..Conv2dOptions::default() })?;
    check_conv2d([1, 2, 2], [3, 2], [3, 4], &Conv2dOptions { padding: [50; 2], dilation: [50; 2], ..down })
}

#[test]
fn transposed_convolution() -> Result<()> {
    let check_case =
        |counts: [usize; 3], size: [usize; 2], kernel: [usize; 2], options: &ConvTranspose2dOptions| {
            let what = format!("conv_transpose2d of {counts:?} {size:?} with {kernel:?} {options:?}");
            let ConvTranspose2dOptions { stride, padding, output_padding, dilation, math } = *options;
            // What the convolution calls outputs are this one's inputs.
            let [images, outputs, inputs] = counts;
            let conv = conv_of(&Conv2dOptions { stride, padding, dilation, math }, kernel);
            let shapes = [[images, outputs, size[0], size[1]], [outputs, inputs, kernel[0], kernel[1]]];
            let Some(result) = conv.transposed_output(deep(size, 1), deep(output_padding, 0)) else {
                let [x, w] = [values("x", &shapes[0])?, values("w", &shapes[1])?];
                let error = conv_transpose2d(&x, &w, None, options).expect_err(&what).to_string();
                assert!(error.contains("leaves nothing"), "{what}: {error}");
                return Ok(());
            };
            let products = conv.products(counts, result, deep(size, 1), true);
            let result = [images, inputs, result[1], result[2]];
            check_with_bias(&what, [&shapes[0], &shapes[1]], &result, &products, |x, w, b| {
                conv_transpose2d(x, w, b, options)
            })
        };
    let mut draw = Draw::new(2);
    for _ in 0..100 {
        let (counts, size, options, kernel, output_padding) = draw_2d(&mut draw);
        let Conv2dOptions { stride, padding, dilation, math } = options;
        let size = size.map(|size| size.min(9));
        check_case(
            counts,
            size,
            kernel,
            &ConvTranspose2dOptions { stride, padding, output_padding, dilation, math },
        )?;
    }
    let up = ConvTranspose2dOptions { stride: [2; 2], padding: [1; 2], ..ConvTranspose2dOptions::default() };
    check_case([1, 3, 2], [5, 70], [4, 4], &up)?;
    check_case([2, 40, 30], [4, 4], [4, 4], &up)?;
    check_case([1, 3, 2], [2, 300], [4, 4], &up)?;
    check_case([1, 2, 70], [3, 3], [4, 4], &up)?;
    check_case([1, 2, 3], [4, 3], [15, 14], &ConvTranspose2dOptions::default())?;
    // A stride beyond the kernel leaves positions that only the bias reaches.
    check_case([1, 2, 2], [3, 4], [2, 2], &ConvTranspose2dOptions { stride: [3, 4], ..up })
}

#[test]
fn volume_convolution() -> Result<()> {
    let mut draw = Draw::new(3);
    for _ in 0..60 {
        let counts = [draw.from(1..=2), draw.from(1..=5), draw.from(1..=4)];
        let mut three = |range: std::ops::RangeInclusive<usize>| {
            [draw.from(range.clone()), draw.from(range.clone()), draw.from(range)]
        };
        let conv = Conv {
            kernel: three(1..=3),
            stride: three(1..=2),
            padding: three(0..=2),
            dilation: three(1..=2),
        };
        let size = three(1..=8);
        let Conv { kernel, stride, padding, dilation } = conv;
        let options = Conv3dOptions { stride, padding, dilation };
        let what = format!("conv3d of {counts:?} {size:?} with {conv:?}");
        let [images, outputs, inputs] = counts;
        let dims = |first, second, [d, h, w]: [usize; 3]| [first, second, d, h, w];
        let shapes = [dims(images, inputs, size), dims(outputs, inputs, kernel)];
        let Some(output) = conv.output(size) else {
            let [x, w] = [values("x", &shapes[0])?, values("w", &shapes[1])?];
            assert!(conv3d(&x, &w, None, &options).is_err(), "{what}");
            continue;
        };
        let products = conv.products(counts, size, output, false);
        check_with_bias(
            &what,
            [&shapes[0], &shapes[1]],
            &dims(images, outputs, output),
            &products,
            |x, w, b| conv3d(x, w, b, &options),
        )?;
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() {
    let down = Conv2dOptions { stride: [2; 2], padding: [1; 2], ..Conv2dOptions::default() };
    let up = ConvTranspose2dOptions { stride: [2; 2], padding: [1; 2], ..ConvTranspose2dOptions::default() };
    // The first and last have more channels than positions, the others the opposite.
    for (images, inputs, outputs, size) in [(1, 100, 70, 8), (3, 4, 20, 90), (2, 60, 50, 16)] {
        same_bits_on_any_thread_count(|| {
            let (out, mut all) = run(
                [&[images, inputs, size, size + 1], &[outputs, inputs, 4, 4], &[outputs]],
                |[x, w, b]| conv2d(x, w, Some(b), &down),
            )?;
            all.push(out);
            let (out, more) = run(
                [&[images, inputs, size, size + 1], &[inputs, outputs, 4, 4], &[outputs]],
                |[x, w, b]| conv_transpose2d(x, w, Some(b), &up),
            )?;
            all.push(out);
            all.extend(more);
            Ok(all)
        });
    }
    same_bits_on_any_thread_count(|| {
        let options = Conv3dOptions { padding: [1; 3], ..Conv3dOptions::default() };
        let (out, mut all) =
            run([&[1, 5, 9, 14, 11], &[17, 5, 3, 3, 3]], |[x, w]| conv3d(x, w, None, &options))?;
        all.push(out);
        Ok(all)
    });
}

#[test]
fn settings_that_mean_nothing_are_errors() -> Result<()> {
    let (x, w) = (values("x", &[1, 2, 8, 9])?, values("w", &[3, 2, 4, 4])?);
    let good = Conv2dOptions::default();
    let refused = |options: &Conv2dOptions| conv2d(&x, &w, None, options).is_err();
    assert!(!refused(&good));
    assert!(refused(&Conv2dOptions { stride: [0, 1], ..good }), "stride");
    assert!(refused(&Conv2dOptions { dilation: [1, 0], ..good }), "dilation");
    for huge in [usize::MAX, usize::MAX / 2, 1 << 50] {
        assert!(refused(&Conv2dOptions { padding: [huge, 0], ..good }), "padding {huge}");
        assert!(refused(&Conv2dOptions { stride: [huge, 1], ..good }), "stride {huge}");
        assert!(refused(&Conv2dOptions { dilation: [1, huge], ..good }), "dilation {huge}");
    }
    assert!(conv2d(&x, &values("w", &[3, 4, 4, 4])?, None, &good).is_err(), "channels");
    assert!(conv2d(&x, &w, Some(&values("b", &[2])?), &good).is_err(), "bias");
    assert!(conv2d(&x.narrow(0, 0, 0)?, &w, None, &good).is_err(), "no image");
    assert!(conv2d(&x, &w.narrow(2, 0, 0)?, None, &good).is_err(), "no kernel");
    assert!(conv2d(&x.to_dtype(candle_core::DType::F64)?, &w, None, &good).is_err(), "type");
    assert!(conv2d(&x.squeeze(0)?, &w, None, &good).is_err(), "dimensions");
    assert!(conv3d(&x, &w, None, &Conv3dOptions::default()).is_err(), "dimensions of a volume");

    let transposed = values("w", &[2, 3, 4, 4])?;
    let good = ConvTranspose2dOptions::default();
    let refused =
        |options: &ConvTranspose2dOptions| conv_transpose2d(&x, &transposed, None, options).is_err();
    assert!(!refused(&good));
    assert!(conv_transpose2d(&x, &w, None, &good).is_err(), "channels");
    assert!(refused(&ConvTranspose2dOptions { output_padding: [1, 0], ..good }), "output padding");
    assert!(refused(&ConvTranspose2dOptions { padding: [9, 0], ..good }), "empty result");
    assert!(refused(&ConvTranspose2dOptions { stride: [usize::MAX / 4, 1], ..good }), "stride");
    Ok(())
}

/// Frozen weights, as those of a discriminator while the generator learns, cost no gradient.
#[test]
fn what_needs_no_gradient_gets_none() -> Result<()> {
    let down = Conv2dOptions { stride: [2; 2], padding: [1; 2], ..Conv2dOptions::default() };
    for options in [down, Conv2dOptions::same(3, 1)] {
        let x = Var::from_tensor(&values("x", &[1, 2, 8, 8])?)?;
        let (w, b) = (values("w", &[3, 2, 3, 3])?, values("b", &[3])?);
        let gradients = conv2d(&x, &w, Some(&b), &options)?.sum_all()?.backward()?;
        assert!(gradients.get(&x).is_some() && gradients.get(&w).is_none() && gradients.get(&b).is_none());
    }
    Ok(())
}
