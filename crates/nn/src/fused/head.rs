//! What makes an output of a block: 1×1 convolution to one channel → batch normalization → activation.

use rayon::prelude::*;

use super::block::{moments, scales};
use super::features::Features;
use super::format::Format;
use super::rows::{CENTER, Context, band_places, band_rows, convolve_rows, pack, pack_transposed};
use crate::kernels::canvas::{Canvas, Layout};
use crate::kernels::norm::{
    Activation, ChannelMoments, ChannelScale, Extent, MomentKernel, normalize, normalize_gradients,
};
use crate::kernels::tile::Start;
use crate::kernels::weight_gradient::weight_gradient_of;
use crate::simd::dispatch;

/// A head's parameters.
#[derive(Clone, Copy)]
pub(crate) struct HeadWeights<'a> {
    /// `[1, f]`.
    pub(crate) conv: &'a [f32],
    /// `[1]`.
    pub(crate) gain: &'a [f32],
    /// `[1]`.
    pub(crate) bias: &'a [f32],
}

/// What the way back needs of the way forward.
pub(crate) struct HeadTape {
    /// What the convolution gave, `[N, 1, H, W]`.
    pub(crate) convolved: Canvas<f32>,
    pub(crate) moments: ChannelMoments,
    pub(crate) scale: ChannelScale,
}

/// The gradients of a head's parameters, in their shapes.
pub(crate) struct HeadGradients {
    pub(crate) conv: Vec<f32>,
    pub(crate) gain: f32,
    pub(crate) bias: f32,
}

fn extent(layout: Layout) -> Extent {
    Extent { images: layout.images, channels: 1, plane: layout.height * layout.width }
}

/// Convolves to one channel, dense, and finds its moments.
fn convolve<F: Format>(
    context: &Context,
    weights: &HeadWeights,
    input: &Features<F>,
) -> (Canvas<f32>, ChannelMoments) {
    let layout = input.layout();
    let size = layout.size();
    let packed = pack::<F>(context.level, weights.conv, [1, 1], &[input.channels(0..1)], 1, size);
    let view = input.spatial(0..1);
    let mut convolved = Canvas::new(&context.pool, Layout::dense(layout.images, 1, size));
    let sums: Vec<Vec<[f64; 2]>> = convolved
        .bands(0..1, band_rows(size))
        .par_iter_mut()
        .zip(band_places(layout, band_rows(size)))
        .map(|(band, (image, rows))| {
            convolve_rows(context.level, &view, image, &packed, Start::Zero, rows.start, 0..rows.len(), band);
            vec![dispatch(context.level, MomentKernel { x: &*band[0], pivot: 0.0 })]
        })
        .collect();
    let moments = moments(&sums, 1, layout.images * layout.height * layout.width)[0];
    (convolved, moments)
}

/// Runs a head with the statistics of the batch; the output is dense, `[N, 1, H, W]`.
pub(crate) fn forward_train<F: Format>(
    context: &Context,
    weights: &HeadWeights,
    activation: Activation,
    epsilon: f64,
    input: &Features<F>,
) -> (Vec<f32>, HeadTape) {
    let (convolved, moments) = convolve(context, weights, input);
    let scale = scales(&[moments], weights.gain, weights.bias, epsilon)[0];
    let output = normalize(
        context.level,
        convolved.dense_values(),
        extent(convolved.layout),
        &[scale],
        None,
        activation,
    );
    (output, HeadTape { convolved, moments, scale })
}

/// Runs a head with fixed statistics; the output is dense, `[N, 1, H, W]`.
pub(crate) fn forward_evaluate<F: Format>(
    context: &Context,
    weights: &HeadWeights,
    scale: ChannelScale,
    activation: Activation,
    input: &Features<F>,
) -> Vec<f32> {
    let (convolved, _) = convolve(context, weights, input);
    normalize(context.level, convolved.dense_values(), extent(convolved.layout), &[scale], None, activation)
}

/// Differentiates a head: `output` is its result, `gradient` that of it, both dense; also gives the gradient of its
/// input, dense, `[N, f, H, W]`.
pub(crate) fn backward<F: Format>(
    context: &Context,
    weights: &HeadWeights,
    activation: Activation,
    tape: &HeadTape,
    input: &Features<F>,
    output: &[f32],
    gradient: &[f32],
) -> (HeadGradients, Canvas<f32>) {
    let layout = input.layout();
    let size = layout.size();
    let filters = input.channels(0..1);
    let extent = extent(tape.convolved.layout);
    let gradients = normalize_gradients(
        context.level,
        tape.convolved.dense_values(),
        output,
        gradient,
        extent,
        &[tape.scale],
        None,
        activation,
        true,
    );
    let mut stored = Features::<F>::new(&context.pool, &[1], layout.images, size, 0, true);
    stored.fill(context.level, 0, &gradients.x);
    let packed = pack_transposed::<F>(context.level, weights.conv, [1, filters, 1], 1, size);
    let view = stored.spatial(0..1);
    let mut input_gradient = Canvas::new(&context.pool, Layout::dense(layout.images, filters, size));
    input_gradient
        .bands(0..filters, band_rows(size))
        .par_iter_mut()
        .zip(band_places(layout, band_rows(size)))
        .for_each(|(band, (image, rows))| {
            convolve_rows(context.level, &view, image, &packed, Start::Zero, rows.start, 0..rows.len(), band);
        });
    let conv =
        weight_gradient_of(context.level, &F::rows(input, 0..1), &F::rows(&stored, 0..1), &[CENTER], 1);
    (HeadGradients { conv, gain: gradients.gain[0], bias: gradients.bias[0] }, input_gradient)
}
