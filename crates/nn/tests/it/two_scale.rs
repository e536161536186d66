//! The fused block against its parts, against its definition in double precision, and against itself.

mod twin;

use candle_core::{DType, Device, Result, Tensor, Var};
use synthct_nn::Precision;
use synthct_nn::ops::{
    Activation, BatchNorm, BatchNormOptions, ChannelMoments, Conv2dOptions, Scratch, TwoScaleBlockOptions,
    TwoScaleBlockParameters, batch_norm, channel_moments, conv2d, two_scale_block, two_scale_block_evaluate,
};

use crate::conformance::Draw;
use crate::naive::Array;
use crate::support::{bits, close, flat, same_bits_on_any_thread_count, values};

const NAMES: [&str; 8] = ["out", "x", "conv5", "conv3", "gain", "bias", "conv1", "bias1"];

/// The sizes of a block and its input.
#[derive(Clone, Copy, Debug)]
struct Case {
    images: usize,
    inputs: usize,
    filters: usize,
    height: usize,
    width: usize,
    dilation: usize,
    drops: bool,
}

impl Case {
    fn shapes(self) -> [Vec<usize>; 7] {
        let Self { images, inputs, filters, height, width, .. } = self;
        [
            vec![images, inputs, height, width],
            vec![filters, inputs, 5, 5],
            vec![filters, inputs, 3, 3],
            vec![2 * filters],
            vec![2 * filters],
            vec![filters, 2 * filters, 1, 1],
            vec![filters],
        ]
    }

    /// Input and parameters; gains are from 0.5 to 1.5.
    fn arguments(self) -> Result<Vec<Tensor>> {
        let shapes = self.shapes();
        let values = NAMES[1..].iter().zip(&shapes).map(|(name, shape)| {
            let values = values(name, shape)?;
            if *name == "gain" { values.affine(0.5, 1.0) } else { Ok(values) }
        });
        values.collect()
    }

    fn variables(self) -> Result<Vec<Var>> {
        self.arguments()?.iter().map(Var::from_tensor).collect()
    }

    /// Every third channel is dropped.
    fn dropout(self) -> Option<Vec<f32>> {
        let factors = (0..self.images * 2 * self.filters).map(|idx| if idx % 3 == 1 { 0.0 } else { 1.5 });
        self.drops.then(|| factors.collect())
    }

    fn options(self, precision: Precision) -> TwoScaleBlockOptions {
        TwoScaleBlockOptions { dilation: self.dilation, epsilon: 1e-5, dropout: self.dropout(), precision }
    }
}

fn parameters(arguments: &[Var]) -> TwoScaleBlockParameters {
    let [conv5, conv3, gain, bias, conv1, bias1] =
        [1, 2, 3, 4, 5, 6].map(|idx| arguments[idx].as_tensor().clone());
    TwoScaleBlockParameters { conv5, conv3, gain, bias, conv1, bias1 }
}

/// The result, and the gradients of Σ coefficient · result, in the order of [`NAMES`].
fn with_gradients(arguments: &[Var], out: &Tensor) -> Result<Vec<Tensor>> {
    let gradients = (out * values("coefficient", out.dims())?)?.sum_all()?.backward()?;
    let gradient = |var: &Var| gradients.get(var).cloned().expect("every argument has a gradient");
    Ok(std::iter::once(out.detach()).chain(arguments.iter().map(gradient)).collect())
}

fn fused(case: Case, precision: Precision, scratch: &Scratch) -> Result<(Vec<Tensor>, Vec<ChannelMoments>)> {
    let arguments = case.variables()?;
    let (out, moments) =
        two_scale_block(&arguments[0], &parameters(&arguments), &case.options(precision), scratch)?;
    Ok((with_gradients(&arguments, &out)?, moments))
}

/// The block of plain operations; `fixed` moments instead of the batch's if there are any.
fn composed(case: Case, arguments: &[Var], fixed: Option<&[ChannelMoments]>) -> Result<Tensor> {
    let TwoScaleBlockParameters { conv5, conv3, gain, bias, conv1, bias1 } = parameters(arguments);
    let branch = |weight: &Tensor, kernel: usize| {
        conv2d(&arguments[0], weight, None, &Conv2dOptions::same(kernel, case.dilation))
    };
    let convolved = Tensor::cat(&[branch(&conv5, 5)?, branch(&conv3, 3)?], 1)?;
    let moments = channel_moments(&convolved)?;
    let statistics = fixed.map_or(BatchNorm::Batch(&moments), BatchNorm::Fixed);
    let options = BatchNormOptions { activation: Activation::Elu, epsilon: 1e-5, dropout: case.dropout() };
    let activated = batch_norm(&convolved, &gain, &bias, statistics, &options)?;
    conv2d(&activated, &conv1, Some(&bias1), &Conv2dOptions::same(1, 1))
}

/// Seeded sizes, odd ones above all.
fn cases(count: usize, seed: u64) -> Vec<Case> {
    let mut draw = Draw::new(seed);
    let mut cases = Vec::new();
    while cases.len() < count {
        let case = Case {
            images: draw.from(1..=3),
            inputs: draw.from(1..=9),
            filters: draw.from(1..=13),
            height: draw.from(1..=40),
            width: [1, 5, 17, 31, 33, 65][draw.from(0..=5)],
            dilation: [1, 2, 3, 8][draw.from(0..=3)],
            drops: draw.from(0..=1) == 1,
        };
        // A handful of values has a variance near zero now and then, which makes any rounding large.
        if case.images * case.height * case.width >= 16 {
            cases.push(case);
        }
    }
    cases
}

/// The largest difference as a part of the largest expected value.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let differences =
        found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
    differences.fold(0.0, f64::max) / largest
}

#[test]
fn plain_operations_agree() -> Result<()> {
    let scratch = Scratch::default();
    for case in cases(48, 1) {
        let (ours, moments) = fused(case, Precision::F32, &scratch)?;
        let arguments = case.variables()?;
        let theirs = with_gradients(&arguments, &composed(case, &arguments, None)?)?;
        for (name, (ours, theirs)) in NAMES.into_iter().zip(ours.iter().zip(&theirs)) {
            close(&format!("{name} of {case:?}"), ours, theirs, 1e-5, 0.0);
        }

        let case = Case { drops: false, ..case };
        let options = case.options(Precision::F32);
        let evaluated =
            two_scale_block_evaluate(&arguments[0], &parameters(&arguments), &moments, &options, &scratch)?;
        let expected = composed(case, &arguments, Some(&moments))?;
        close(&format!("evaluation of {case:?}"), &evaluated, &expected, 1e-5, 0.0);
        assert!(!evaluated.track_op());
    }
    Ok(())
}

fn arrays(case: Case) -> Result<Vec<Array>> {
    let array = |tensor: &Tensor| -> Result<Array> {
        Ok(Array {
            shape: tensor.dims().to_vec(),
            values: flat(tensor)?.into_iter().map(f64::from).collect(),
        })
    };
    case.arguments()?.iter().map(array).collect()
}

fn twin_of(case: Case, arguments: &[Array], round: fn(f64) -> f64) -> Result<twin::Result> {
    let coefficient = flat(&values("coefficient", &[case.images, case.filters, case.height, case.width])?)?;
    let coefficient: Vec<f64> = coefficient.into_iter().map(f64::from).collect();
    Ok(twin::block(arguments, case.dilation, case.dropout().as_deref(), &coefficient, round))
}

const SMALL: [Case; 4] = [
    Case { images: 2, inputs: 3, filters: 2, height: 5, width: 7, dilation: 1, drops: true },
    Case { images: 1, inputs: 1, filters: 3, height: 9, width: 33, dilation: 8, drops: false },
    Case { images: 3, inputs: 5, filters: 5, height: 4, width: 5, dilation: 2, drops: true },
    Case { images: 1, inputs: 4, filters: 1, height: 13, width: 17, dilation: 3, drops: false },
];

#[test]
fn finite_differences_of_the_definition_agree() -> Result<()> {
    const STEP: f64 = 1e-5;
    for case in SMALL {
        let arguments = arrays(case)?;
        let twin = twin_of(case, &arguments, |value| value)?;
        for (argument, gradient) in twin.gradients.iter().enumerate() {
            let count = gradient.values.len();
            for idx in [0, count / 3, count / 2, count - 1] {
                let moved = |step: f64| -> Result<f64> {
                    let mut arguments = arguments.clone();
                    arguments[argument].values[idx] += step;
                    Ok(twin_of(case, &arguments, |value| value)?.loss)
                };
                let slope = (moved(STEP)? - moved(-STEP)?) / (2.0 * STEP);
                let expected = gradient.values[idx];
                assert!(
                    (slope - expected).abs() < 1e-6 * expected.abs().max(1.0),
                    "{} of {case:?}, value {idx}: {slope} for {expected}",
                    NAMES[argument + 1]
                );
            }
        }
    }
    Ok(())
}

/// Small enough for the definition's loops.
fn small_cases() -> impl Iterator<Item = Case> {
    let drawn = cases(24, 7).into_iter().map(|case| Case { images: 1, height: case.height.min(12), ..case });
    SMALL.into_iter().chain(drawn.filter(|case| case.height * case.width >= 16))
}

#[track_caller]
fn check_moments(case: Case, found: &[ChannelMoments], expected: &[ChannelMoments]) {
    assert_eq!(found.len(), expected.len(), "{case:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found.mean - expected.mean).abs() < 1e-5, "{found:?} for {expected:?}, {case:?}");
        let ratio = found.variance / expected.variance;
        assert!((ratio - 1.0).abs() < 1e-5, "{found:?} for {expected:?}, {case:?}");
    }
}

#[test]
fn single_precision_is_the_definition() -> Result<()> {
    for case in small_cases() {
        let twin = twin_of(case, &arrays(case)?, |value| value)?;
        let (found, moments) = fused(case, Precision::F32, &Scratch::default())?;
        check_moments(case, &moments, &twin.moments);
        for (name, (found, expected)) in NAMES.into_iter().zip(found.iter().zip(twin.all())) {
            let distance = distance(&flat(found)?, &expected.values);
            assert!(distance < 1e-5, "{name} of {case:?}: {distance:e}");
        }
    }
    Ok(())
}

/// The bfloat16 nearest to a value, ties to even.
fn bfloat16(value: f64) -> f64 {
    let bits = (value as f32).to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000).into()
}

/// The twin rounds where the block rounds. What differs are single values that lie on the border between two
/// bfloat16, and fall on the other side by the rounding of 32-bit sums.
#[test]
fn bfloat16_is_the_definition_with_rounded_numbers() -> Result<()> {
    for case in small_cases() {
        let twin = twin_of(case, &arrays(case)?, bfloat16)?;
        let (found, moments) = fused(case, Precision::Bf16, &Scratch::default())?;
        check_moments(case, &moments, &twin.moments);
        let out = flat(&found[0])?;
        let other = out.iter().zip(&twin.out.values).filter(|(a, b)| (f64::from(**a) - **b).abs() > 1e-9);
        assert!(other.count() * 100 <= out.len(), "{case:?}");
        for (name, (found, expected)) in NAMES.into_iter().zip(found.iter().zip(twin.all())) {
            let distance = distance(&flat(found)?, &expected.values);
            assert!(distance < if name == "out" { 4e-3 } else { 8e-4 }, "{name} of {case:?}: {distance:e}");
        }
    }
    Ok(())
}

#[test]
fn bfloat16_is_near_single_precision() -> Result<()> {
    let scratch = Scratch::default();
    let mut worst = [0.0f64; 8];
    for case in cases(24, 3) {
        let [single, brain] =
            [Precision::F32, Precision::Bf16].map(|precision| fused(case, precision, &scratch));
        for (idx, (single, brain)) in single?.0.iter().zip(&brain?.0).enumerate() {
            let single: Vec<f64> = flat(single)?.into_iter().map(f64::from).collect();
            worst[idx] = worst[idx].max(distance(&flat(brain)?, &single));
        }
    }
    assert!(worst.into_iter().all(|worst| worst < 0.03), "{worst:?}");
    Ok(())
}

const ODD: Case = Case { images: 2, inputs: 3, filters: 5, height: 37, width: 41, dilation: 2, drops: true };

#[test]
fn threads_do_not_change_a_bit() {
    for precision in [Precision::F32, Precision::Bf16] {
        same_bits_on_any_thread_count(|| Ok(fused(ODD, precision, &Scratch::default())?.0));
    }
}

#[test]
fn a_graph_can_be_differentiated_twice_and_beside_another() -> Result<()> {
    for precision in [Precision::F32, Precision::Bf16] {
        let scratch = Scratch::default();
        let small = Case { height: 20, ..ODD };
        let expected = [fused(ODD, precision, &scratch)?.0, fused(small, precision, &scratch)?.0];
        let mut alive = Vec::new();
        for case in [ODD, small] {
            let arguments = case.variables()?;
            let (out, _) =
                two_scale_block(&arguments[0], &parameters(&arguments), &case.options(precision), &scratch)?;
            alive.push((arguments, out));
        }
        for _ in 0..2 {
            for ((arguments, out), expected) in alive.iter().zip(&expected) {
                let found = with_gradients(arguments, out)?;
                for (name, (found, expected)) in NAMES.into_iter().zip(found.iter().zip(expected)) {
                    assert!(bits(found)? == bits(expected)?, "{name}, {precision:?}");
                }
            }
        }
    }
    Ok(())
}

/// One bad pixel spoils the statistics of the batch, as in PyTorch; in evaluation it spoils its surroundings alone.
#[test]
fn bad_pixels_reach_the_output() -> Result<()> {
    let case = Case { drops: false, ..ODD };
    let arguments = case.variables()?;
    let parameters = parameters(&arguments);
    for precision in [Precision::F32, Precision::Bf16] {
        let options = case.options(precision);
        let good = flat(&arguments[0])?;
        for bad in [f32::NAN, f32::INFINITY] {
            let mut values = good.clone();
            values[20 * case.width + 20] = bad;
            let x = Tensor::from_vec(values, arguments[0].dims(), &Device::Cpu)?;
            let (out, _) = two_scale_block(&x, &parameters, &options, &Scratch::default())?;
            let out_values = flat(&out)?;
            assert!(out_values.iter().all(|value| value.is_nan()), "{bad} in training, {precision:?}");
            let gradients = out.sum_all()?.backward()?;
            let gradient = gradients.get(&arguments[1]).expect("every parameter has a gradient");
            assert!(flat(gradient)?.iter().all(|value| value.is_nan()), "gradients of {bad}, {precision:?}");

            let moments = vec![ChannelMoments { mean: 0.1, variance: 0.9 }; 2 * case.filters];
            let out = two_scale_block_evaluate(&x, &parameters, &moments, &options, &Scratch::default())?;
            let bad_pixels = flat(&out)?.iter().filter(|value| !value.is_finite()).count();
            assert!((1..=25 * case.filters).contains(&bad_pixels), "{bad} spoils {bad_pixels} values");
        }
    }
    Ok(())
}

#[test]
fn only_what_is_asked_for_has_a_gradient() -> Result<()> {
    let arguments = ODD.variables()?;
    let all = parameters(&arguments);
    let fixed = TwoScaleBlockParameters { conv3: all.conv3.detach(), gain: all.gain.detach(), ..all };
    let x = arguments[0].detach();
    let options = ODD.options(Precision::F32);
    let (out, _) = two_scale_block(&x, &fixed, &options, &Scratch::default())?;
    let gradients = out.sum_all()?.backward()?;
    assert!(gradients.get(&x).is_none());
    assert!(gradients.get(&arguments[1]).is_some());
    assert!(gradients.get(&arguments[2]).is_none());

    let whole = values("whole", &[2, 41, 37, 6])?;
    let view = whole.narrow(3, 2, 3)?.transpose(1, 3)?;
    let copy = Tensor::from_vec(flat(&view)?, view.dims(), &Device::Cpu)?;
    let [view, copy] = [view, copy].map(|x| two_scale_block(&x, &fixed, &options, &Scratch::default()));
    close("a view", &view?.0, &copy?.0, 0.0, 0.0);
    Ok(())
}

#[test]
fn bad_arguments_are_errors() -> Result<()> {
    let case = Case { drops: false, ..ODD };
    let arguments = case.variables()?;
    let x = arguments[0].as_tensor();
    let good = parameters(&arguments);
    let options = case.options(Precision::F32);
    let moments = vec![ChannelMoments { mean: 0.0, variance: 1.0 }; 2 * case.filters];
    let both = |x: &Tensor, parameters: &TwoScaleBlockParameters, options: &TwoScaleBlockOptions| {
        let trained = two_scale_block(x, parameters, options, &Scratch::default());
        let evaluated = two_scale_block_evaluate(x, parameters, &moments, options, &Scratch::default());
        [trained.is_err(), evaluated.is_err()]
    };
    assert_eq!(both(x, &good, &options), [false; 2]);
    // A dilation beyond the image leaves the center taps.
    assert_eq!(both(x, &good, &TwoScaleBlockOptions { dilation: usize::MAX, ..options.clone() }), [false; 2]);
    assert_eq!(both(x, &good, &TwoScaleBlockOptions { dilation: 0, ..options.clone() }), [true; 2]);
    for epsilon in [-1e-5, f64::NAN, f64::INFINITY] {
        assert_eq!(both(x, &good, &TwoScaleBlockOptions { epsilon, ..options.clone() }), [true; 2]);
    }
    for dropout in [vec![1.0; 3], vec![-1.0; 20], vec![f32::NAN; 20], vec![f32::INFINITY; 20]] {
        let options = TwoScaleBlockOptions { dropout: Some(dropout), ..options.clone() };
        assert_eq!(both(x, &good, &options), [true; 2], "{options:?}");
    }
    assert_eq!(both(&x.narrow(1, 0, 2)?, &good, &options), [true; 2], "input channels");
    assert_eq!(both(&x.narrow(2, 0, 0)?, &good, &options), [true; 2], "no rows");
    assert_eq!(both(&x.get(0)?, &good, &options), [true; 2], "rank");
    assert_eq!(both(&x.to_dtype(DType::F64)?, &good, &options), [true; 2], "type");
    assert_eq!(both(&x.narrow(0, 0, 1)?.narrow(2, 0, 1)?.narrow(3, 0, 1)?, &good, &options), [true, false]);
    let mut wrong: Vec<TwoScaleBlockParameters> = vec![good.clone(); 6];
    wrong[0].conv5 = good.conv3.clone();
    wrong[1].conv3 = good.conv5.clone();
    wrong[2].gain = good.bias1.clone();
    wrong[3].bias = good.bias1.clone();
    wrong[4].conv1 = good.conv1.transpose(0, 1)?;
    wrong[5].bias1 = good.bias1.narrow(0, 0, 0)?;
    for wrong in &wrong {
        assert_eq!(both(x, wrong, &options), [true; 2], "{wrong:?}");
    }
    let few = two_scale_block_evaluate(x, &good, &moments[1..], &options, &Scratch::default());
    assert!(few.is_err(), "moments");
    Ok(())
}
