//! Batch normalization, activation and spatial dropout in one pass over the values.
//!
//! For a channel with mean m, inverse standard deviation s, gain γ and bias β, and a dropout factor d of the
//! image's channel: out = d · act((x − m)·s·γ + β).
//! Sums run over the images in order, in `f64` with a fixed number of lanes: one channel is one task.

use rayon::prelude::*;

use super::element::Stored;
use crate::simd::{Kernel, Level, MAX_LANES, Simd, dispatch};

/// What follows the normalization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Linear,
    /// x for x > 0, eˣ − 1 below (α = 1).
    Elu,
    /// max(x, 0); its derivative at exactly 0 is 0.
    Relu,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
}

/// Mean and biased variance of a channel over batch, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelMoments {
    /// The mean.
    pub mean: f64,
    /// The variance, divided by the number of values.
    pub variance: f64,
}

impl ChannelMoments {
    /// From the sums of x − p and (x − p)² over `count` values, p the `pivot`.
    pub(crate) fn from_sums(pivot: f64, [sum, squares]: [f64; 2], count: f64) -> Self {
        let shift = sum / count;
        let variance = squares / count - shift * shift;
        // Written so that NaN stays NaN.
        Self { mean: pivot + shift, variance: if variance < 0.0 { 0.0 } else { variance } }
    }
}

/// What normalizes one channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelScale {
    pub(crate) mean: f32,
    pub(crate) inverse_sd: f32,
    pub(crate) gain: f32,
    pub(crate) bias: f32,
}

/// Images, channels and values in a plane of a tensor `[N, C, H, W]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) images: usize,
    pub(crate) channels: usize,
    pub(crate) plane: usize,
}

impl Extent {
    fn plane_of(self, image: usize, channel: usize) -> std::ops::Range<usize> {
        let start = (image * self.channels + channel) * self.plane;
        start..start + self.plane
    }

    /// The planes of each channel, image by image.
    fn by_channel(self, values: &mut [f32]) -> Vec<Vec<&mut [f32]>> {
        let mut channels = Vec::new();
        channels.resize_with(self.channels, || Vec::with_capacity(self.images));
        for (idx, plane) in values.chunks_mut(self.plane).enumerate() {
            channels[idx % self.channels].push(plane);
        }
        channels
    }
}

/// The moments of each channel.
pub(crate) fn channel_moments(level: Level, x: &[f32], extent: Extent) -> Vec<ChannelMoments> {
    (0..extent.channels).into_par_iter().map(|channel| moments(level, x, extent, channel)).collect()
}

/// The moments of one channel.
fn moments(level: Level, x: &[f32], extent: Extent, channel: usize) -> ChannelMoments {
    // Deviations from a value of the channel itself, so that a large mean does not drown the variance.
    let pivot = f64::from(x[extent.plane_of(0, channel).start]);
    let mut sums = [0.0; 2];
    for image in 0..extent.images {
        let [s, q] = dispatch(level, MomentKernel { x: &x[extent.plane_of(image, channel)], pivot });
        sums[0] += s;
        sums[1] += q;
    }
    ChannelMoments::from_sums(pivot, sums, (extent.images * extent.plane) as f64)
}

pub(crate) struct MomentKernel<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) pivot: f64,
}

impl<T: Stored> Kernel for MomentKernel<'_, T> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> [f64; 2] {
        let mut sums = [[0.0f64; MAX_LANES]; 2];
        let (chunks, rest) = self.x.as_chunks::<MAX_LANES>();
        for chunk in chunks {
            for lane in 0..MAX_LANES {
                let value = f64::from(chunk[lane].value()) - self.pivot;
                sums[0][lane] += value;
                sums[1][lane] += value * value;
            }
        }
        for (lane, value) in rest.iter().enumerate() {
            let value = f64::from(value.value()) - self.pivot;
            sums[0][lane] += value;
            sums[1][lane] += value * value;
        }
        [sums[0].iter().sum(), sums[1].iter().sum()]
    }
}

/// Normalizes, activates and drops: `scales` one a channel, `dropout` one a plane (`[N, C]`) or none.
pub(crate) fn normalize(
    level: Level,
    x: &[f32],
    extent: Extent,
    scales: &[ChannelScale],
    dropout: Option<&[f32]>,
    activation: Activation,
) -> Vec<f32> {
    let mut out = vec![0.0f32; x.len()];
    out.par_chunks_mut(extent.plane).zip(x.par_chunks(extent.plane)).enumerate().for_each(
        |(plane, (out, x))| {
            let kernel = NormalizeKernel {
                x,
                out,
                scale: scales[plane % extent.channels],
                factor: dropout.map_or(1.0, |dropout| dropout[plane]),
                activation,
            };
            dispatch(level, kernel);
        },
    );
    out
}

/// [`normalize`] by the moments of `x` itself, which are returned too: each channel is read twice while it is near.
///
/// `scale` gives what normalizes a channel of such moments.
pub(crate) fn normalize_by_batch(
    level: Level,
    x: &[f32],
    extent: Extent,
    scale: impl Fn(usize, ChannelMoments) -> ChannelScale + Sync,
    dropout: Option<&[f32]>,
    activation: Activation,
) -> (Vec<f32>, Vec<ChannelMoments>) {
    let mut out = vec![0.0f32; x.len()];
    let moments = extent
        .by_channel(&mut out)
        .into_par_iter()
        .enumerate()
        .map(|(channel, planes)| {
            let moments = moments(level, x, extent, channel);
            let scale = scale(channel, moments);
            for (image, out) in planes.into_iter().enumerate() {
                let factor = dropout.map_or(1.0, |dropout| dropout[image * extent.channels + channel]);
                let x = &x[extent.plane_of(image, channel)];
                dispatch(level, NormalizeKernel { x, out, scale, factor, activation });
            }
            moments
        })
        .collect();
    (out, moments)
}

pub(crate) struct NormalizeKernel<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) out: &'a mut [f32],
    pub(crate) scale: ChannelScale,
    pub(crate) factor: f32,
    pub(crate) activation: Activation,
}

impl<T: Stored> Kernel for NormalizeKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { x, out, scale, factor, activation } = self;
        if factor.abs() < f32::MIN_POSITIVE {
            out.fill(0.0);
            return;
        }
        let slope = scale.gain * scale.inverse_sd;
        with_function!(activation, F => {
            for (out, x) in out.iter_mut().zip(x) {
                *out = factor * F::value((x.value() - scale.mean) * slope + scale.bias);
            }
        });
    }
}

/// An activation as a type, so that the loops over values hold no decision.
pub(crate) trait Function {
    /// The value at `z`.
    fn value(z: f32) -> f32;
    /// The derivative where the value is `a`.
    fn slope(a: f32) -> f32;
}

struct LinearFunction;
pub(crate) struct EluFunction;
struct ReluFunction;
struct SigmoidFunction;

impl Function for LinearFunction {
    #[inline(always)]
    fn value(z: f32) -> f32 {
        z
    }
    #[inline(always)]
    fn slope(_a: f32) -> f32 {
        1.0
    }
}

impl Function for EluFunction {
    #[inline(always)]
    fn value(z: f32) -> f32 {
        let negative = exp_m1(z);
        if z > 0.0 { z } else { negative }
    }
    #[inline(always)]
    fn slope(a: f32) -> f32 {
        if a > 0.0 { 1.0 } else { a + 1.0 }
    }
}

impl Function for ReluFunction {
    #[inline(always)]
    fn value(z: f32) -> f32 {
        // Written so that NaN stays NaN.
        if z < 0.0 { 0.0 } else { z }
    }
    #[inline(always)]
    fn slope(a: f32) -> f32 {
        if a > 0.0 { 1.0 } else { 0.0 }
    }
}

impl Function for SigmoidFunction {
    #[inline(always)]
    fn value(z: f32) -> f32 {
        // Only ever the exponential of a negative number, which cannot overflow.
        let e = exp_m1(-z.abs()) + 1.0;
        let small = e / (1.0 + e);
        if z < 0.0 { small } else { 1.0 - small }
    }
    #[inline(always)]
    fn slope(a: f32) -> f32 {
        a * (1.0 - a)
    }
}

/// Evaluates `$body` with `$f` as the type of the activation.
macro_rules! with_function {
    ($activation:expr, $f:ident => $body:block) => {
        match $activation {
            Activation::Linear => {
                type $f = LinearFunction;
                $body
            }
            Activation::Elu => {
                type $f = EluFunction;
                $body
            }
            Activation::Relu => {
                type $f = ReluFunction;
                $body
            }
            Activation::Sigmoid => {
                type $f = SigmoidFunction;
                $body
            }
        }
    };
}
use with_function;

/// eˣ − 1 for x ≤ 0, to 2e-7 of its value; nonsense, but not undefined, above. NaN stays NaN.
///
/// x = k·ln 2 + r with |r| ≤ ln 2 / 2; then eˣ − 1 = 2ᵏ·(eʳ − 1) + (2ᵏ − 1), and a Taylor polynomial of degree 7
/// gives eʳ − 1. Without branches and without calls, so that the compiler makes vectors of it; without fused
/// operations, so that every processor gives the same bits.
#[inline(always)]
fn exp_m1(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Below −17.4 the result rounds to −1.
    let x = if x < -20.0 { -20.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let m1 = r + r * r * p;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    power * m1 + (power - 1.0)
}

/// Gradients of [`normalize`] with respect to x, the gains and the biases.
pub(crate) struct NormalizeGradients {
    pub(crate) x: Vec<f32>,
    pub(crate) gain: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// Differentiates [`normalize`]: `out` is its result, `gradient` the gradient of that.
///
/// With `batch_statistics` mean and deviation are those of `x` itself and their share is included.
pub(crate) fn normalize_gradients(
    level: Level,
    x: &[f32],
    out: &[f32],
    gradient: &[f32],
    extent: Extent,
    scales: &[ChannelScale],
    dropout: Option<&[f32]>,
    activation: Activation,
    batch_statistics: bool,
) -> NormalizeGradients {
    let mut gradient_x = vec![0.0f32; x.len()];
    let sums: Vec<[f64; 2]> = extent
        .by_channel(&mut gradient_x)
        .into_par_iter()
        .enumerate()
        .map(|(channel, planes)| {
            let scale = scales[channel];
            let plane = |image: usize| {
                let range = extent.plane_of(image, channel);
                let factor = dropout.map_or(1.0, |dropout| dropout[image * extent.channels + channel]);
                PlaneGradient {
                    x: &x[range.clone()],
                    out: &out[range.clone()],
                    gradient: &gradient[range],
                    scale,
                    factor,
                    inverse_factor: if factor > 0.0 { 1.0 / factor } else { 0.0 },
                    activation,
                }
            };
            let mut sums = [0.0f64; 2];
            for image in 0..extent.images {
                let part = dispatch(level, SumKernel(plane(image)));
                sums[0] += part[0];
                sums[1] += part[1];
            }
            let count = (extent.images * extent.plane) as f64;
            let share = if batch_statistics { 1.0 / count } else { 0.0 };
            for (image, gradient_x) in planes.into_iter().enumerate() {
                let kernel = GradientKernel {
                    plane: plane(image),
                    mean: (sums[0] * share) as f32,
                    mean_normalized: (sums[1] * share) as f32,
                    gradient_x,
                };
                dispatch(level, kernel);
            }
            sums
        })
        .collect();
    NormalizeGradients {
        x: gradient_x,
        gain: sums.iter().map(|sums| sums[1] as f32).collect(),
        bias: sums.iter().map(|sums| sums[0] as f32).collect(),
    }
}

/// One plane on the way back.
struct PlaneGradient<'a> {
    x: &'a [f32],
    out: &'a [f32],
    gradient: &'a [f32],
    scale: ChannelScale,
    factor: f32,
    inverse_factor: f32,
    activation: Activation,
}

/// Sums over a plane of the gradient after the normalization, and of its product with the normalized value.
struct SumKernel<'a>(PlaneGradient<'a>);

impl Kernel for SumKernel<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> [f64; 2] {
        let plane = self.0;
        if plane.factor.abs() < f32::MIN_POSITIVE {
            return [0.0; 2];
        }
        let ChannelScale { mean, inverse_sd, .. } = plane.scale;
        let mut sums = [[0.0f64; MAX_LANES]; 2];
        let (xs, x_rest) = plane.x.as_chunks::<MAX_LANES>();
        let (outs, out_rest) = plane.out.as_chunks::<MAX_LANES>();
        let (gradients, gradient_rest) = plane.gradient.as_chunks::<MAX_LANES>();
        with_function!(plane.activation, F => {
            for ((x, out), gradient) in xs.iter().zip(outs).zip(gradients) {
                for lane in 0..MAX_LANES {
                    let a = out[lane] * plane.inverse_factor;
                    let g = gradient[lane] * plane.factor * F::slope(a);
                    let normalized = (x[lane] - mean) * inverse_sd;
                    sums[0][lane] += f64::from(g);
                    sums[1][lane] += f64::from(g) * f64::from(normalized);
                }
            }
            for (lane, ((x, out), gradient)) in x_rest.iter().zip(out_rest).zip(gradient_rest).enumerate() {
                let a = out * plane.inverse_factor;
                let g = gradient * plane.factor * F::slope(a);
                let normalized = (x - mean) * inverse_sd;
                sums[0][lane] += f64::from(g);
                sums[1][lane] += f64::from(g) * f64::from(normalized);
            }
        });
        [sums[0].iter().sum(), sums[1].iter().sum()]
    }
}

/// The gradient with respect to one plane of x.
struct GradientKernel<'a, 'b> {
    plane: PlaneGradient<'a>,
    mean: f32,
    mean_normalized: f32,
    gradient_x: &'b mut [f32],
}

impl Kernel for GradientKernel<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { plane, mean: mean_gradient, mean_normalized, gradient_x } = self;
        let ChannelScale { mean, inverse_sd, gain, .. } = plane.scale;
        let slope = gain * inverse_sd;
        let values = gradient_x.iter_mut().zip(plane.x).zip(plane.out.iter().zip(plane.gradient));
        with_function!(plane.activation, F => {
            for ((gradient_x, x), (out, gradient)) in values {
                let a = out * plane.inverse_factor;
                let g = gradient * plane.factor * F::slope(a);
                let normalized = (x - mean) * inverse_sd;
                *gradient_x = slope * (g - mean_gradient - normalized * mean_normalized);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_close_to_the_library() {
        for step in 0..400_000 {
            let x = -(step as f32) * 1e-4;
            let expected = f64::from(x).exp_m1();
            let error = (f64::from(exp_m1(x)) - expected).abs();
            assert!(error <= 2.5e-7 * expected.abs() + 1e-45, "at {x}: {} for {expected}", exp_m1(x));
        }
        assert!(exp_m1(f32::NAN).is_nan());
        assert!((exp_m1(f32::NEG_INFINITY) + 1.0).abs() < 1e-7);
        assert!(SigmoidFunction::value(-200.0).abs() < 1e-8);
        assert!((SigmoidFunction::value(200.0) - 1.0).abs() < 1e-7);
        assert!(EluFunction::value(f32::NAN).is_nan() && SigmoidFunction::value(f32::NAN).is_nan());
        assert!(ReluFunction::value(f32::NAN).is_nan());
    }

    #[test]
    fn moments_survive_a_large_mean() {
        let extent = Extent { images: 3, channels: 2, plane: 35 };
        let x: Vec<f32> = (0..210).map(|v| 1000.0 + ((v * 37) % 101) as f32 * 0.01).collect();
        for level in [Level::Portable, Level::best()] {
            for (channel, moments) in channel_moments(level, &x, extent).iter().enumerate() {
                let values: Vec<f64> = (0..3)
                    .flat_map(|n| x[extent.plane_of(n, channel)].iter().map(|v| f64::from(*v)))
                    .collect();
                let mean = values.iter().sum::<f64>() / 105.0;
                let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 105.0;
                assert!((moments.mean - mean).abs() < 1e-9, "{moments:?} {mean}");
                assert!((moments.variance - variance).abs() < 1e-9 * variance, "{moments:?} {variance}");
            }
        }
    }
}
