//! A block on the way forward, in training and in evaluation.

use std::ops::Range;

use rayon::prelude::*;

use super::features::{FeatureBand, Features, SingleRow};
use super::format::Format;
use super::rows::{Context, band_places, band_rows, mix, neighbor_strips, pack, rows_of_band};
use super::spatial::{Spatial, Way};
use crate::kernels::canvas::{Canvas, Layout, View};
use crate::kernels::conv::PackedWeights;
use crate::kernels::norm::{Activation, ChannelMoments, ChannelScale, MomentKernel, NormalizeKernel};
use crate::kernels::pool::Buffer;
use crate::kernels::strip::{Strip, Strips};
use crate::kernels::tile::Start;
use crate::simd::dispatch;

/// Filters and dilation of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockShape {
    pub(crate) filters: usize,
    pub(crate) dilation: usize,
}

/// A block's parameters; channels of the 5×5 branch come before those of the 3×3 branch.
#[derive(Clone, Copy)]
pub(crate) struct BlockWeights<'a> {
    /// `[f, I, 5, 5]`.
    pub(crate) conv5: &'a [f32],
    /// `[f, I, 3, 3]`.
    pub(crate) conv3: &'a [f32],
    /// `[2f]`.
    pub(crate) gain: &'a [f32],
    /// `[2f]`.
    pub(crate) bias: &'a [f32],
    /// `[f, 2f]`.
    pub(crate) conv1: &'a [f32],
    /// `[f]`.
    pub(crate) bias1: &'a [f32],
}

/// What the way back needs of the way forward.
pub(crate) struct BlockTape<F: Format> {
    /// What the two convolutions gave, as the format stores it, dense, `[N, 2f, H, W]`.
    pub(crate) convolved: Canvas<F::Row>,
    /// Moments of its channels.
    pub(crate) moments: Vec<ChannelMoments>,
    pub(crate) scales: Vec<ChannelScale>,
}

/// The input's two convolutions, ready to run.
struct Branches<F: Format> {
    convolutions: Spatial<F>,
    strips: Strips,
}

impl<F: Format> Branches<F> {
    fn new(
        context: &Context,
        shape: BlockShape,
        weights: &BlockWeights,
        parts: &[usize],
        size: [usize; 2],
    ) -> Self {
        let BlockShape { filters, dilation } = shape;
        let way = Way::new::<F>(parts.iter().sum(), dilation, size);
        let kernels = [(weights.conv5, 5), (weights.conv3, 3)];
        let convolutions = Spatial::new(context, &kernels, filters, parts, dilation, size, way);
        Self { convolutions, strips: way.strips }
    }

    /// Convolves a strip's rows, the first of which is the image's `row`, into `outputs`, one after the other.
    fn run(
        &self,
        context: &Context,
        input: &View<F::Spatial>,
        image: usize,
        row: usize,
        count: usize,
        outputs: &mut [&mut [f32]],
    ) {
        let (wide, narrow) = outputs.split_at_mut(outputs.len() / 2);
        let outputs = &mut [(Start::Zero, wide), (Start::Zero, narrow)];
        self.convolutions.convolve(context, input, image, row, Strip::neighbors(0..count), outputs);
    }
}

/// What normalizes channels of these moments.
pub(crate) fn scales(
    moments: &[ChannelMoments],
    gain: &[f32],
    bias: &[f32],
    epsilon: f64,
) -> Vec<ChannelScale> {
    moments
        .iter()
        .zip(gain.iter().zip(bias))
        .map(|(moments, (&gain, &bias))| ChannelScale {
            mean: moments.mean as f32,
            inverse_sd: (moments.variance + epsilon).sqrt().recip() as f32,
            gain,
            bias,
        })
        .collect()
}

/// Runs a block in training: batch statistics normalize, `dropout` `[N, 2f]` scales whole channels.
pub(crate) fn forward_train<F: Format>(
    context: &Context,
    shape: BlockShape,
    weights: &BlockWeights,
    input: &Features<F>,
    parts: Range<usize>,
    dropout: Option<&[f32]>,
    epsilon: f64,
    output: &mut Features<F>,
    output_part: usize,
) -> BlockTape<F> {
    let layout = input.layout();
    let size = layout.size();
    let channels = 2 * shape.filters;
    let part_channels: Vec<usize> = parts.clone().map(|part| input.channels(part..part + 1)).collect();
    let branches = Branches::<F>::new(context, shape, weights, &part_channels, size);
    let view = input.spatial(parts);
    let mut convolved = Canvas::new(&context.pool, Layout::dense(layout.images, channels, size));
    let rows = rows_of_band(branches.strips, size);
    let sums: Vec<Vec<[f64; 2]>> = convolved
        .bands(0..channels, rows)
        .par_iter_mut()
        .zip(band_places(layout, rows))
        .map(|(band, (image, rows))| {
            let mut sums = vec![[0.0; 2]; channels];
            for strip in branches.strips.of_band(rows.len()) {
                let pixels = strip.count * layout.width;
                let mut values = context.pool.take::<f32>(channels * pixels);
                let mut outputs: Vec<&mut [f32]> = values.chunks_exact_mut(pixels).collect();
                branches.run(context, &view, image, rows.start + strip.first, strip.count, &mut outputs);
                for ((sums, channel), values) in
                    sums.iter_mut().zip(band.iter_mut()).zip(values.chunks_exact(pixels))
                {
                    for (row, values) in strip.rows().zip(values.chunks_exact(layout.width)) {
                        let out = &mut channel[row * layout.width..(row + 1) * layout.width];
                        dispatch(context.level, SingleRow::<F> { values, out });
                        let part = dispatch(context.level, MomentKernel { x: &*out, pivot: 0.0 });
                        sums[0] += part[0];
                        sums[1] += part[1];
                    }
                }
            }
            sums
        })
        .collect();
    let moments = moments(&sums, channels, layout.images * layout.height * layout.width);
    let scales = scales(&moments, weights.gain, weights.bias, epsilon);

    let mixing = pack::<F>(context.level, weights.conv1, [shape.filters, 1], &[channels], 1, size);
    let convolved_view = convolved.all();
    let mut bands = output.bands(output_part, band_rows(size));
    bands.par_iter_mut().zip(band_places(layout, band_rows(size))).for_each(|(band, (image, rows))| {
        for strip in neighbor_strips(size).of_band(rows.len()) {
            let pixels = strip.count * layout.width;
            let first = rows.start + strip.first;
            let image_rows = first..first + strip.count;
            let mut activated = context.pool.take::<f32>(channels * pixels);
            for (channel, out) in activated.chunks_exact_mut(pixels).enumerate() {
                let kernel = NormalizeKernel {
                    x: convolved_view.dense_rows(image, channel, image_rows.clone()),
                    out,
                    scale: scales[channel],
                    factor: dropout.map_or(1.0, |dropout| dropout[image * channels + channel]),
                    activation: Activation::Elu,
                };
                dispatch(context.level, kernel);
            }
            mix_into(context, &activated, pixels, &mixing, weights.bias1, strip, band);
        }
    });
    drop(bands);
    BlockTape { convolved, moments, scales }
}

/// Mean and variance of each channel from the sums of bands.
pub(crate) fn moments(sums: &[Vec<[f64; 2]>], channels: usize, count: usize) -> Vec<ChannelMoments> {
    (0..channels)
        .map(|channel| {
            let total = |of: usize| sums.iter().map(|sums| sums[channel][of]).sum::<f64>();
            ChannelMoments::from_sums(0.0, [total(0), total(1)], count as f64)
        })
        .collect()
}

/// The 1×1 convolution of a strip's activations, written to the block's output.
fn mix_into<F: Format>(
    context: &Context,
    activated: &Buffer<f32>,
    pixels: usize,
    mixing: &PackedWeights<F::Spatial>,
    bias: &[f32],
    strip: Strip,
    output: &mut FeatureBand<F>,
) {
    let mut mixed = context.pool.take::<f32>(bias.len() * pixels);
    let mut channels: Vec<&mut [f32]> = mixed.chunks_exact_mut(pixels).collect();
    mix::<F>(context, activated, pixels, mixing, Start::Bias(bias), &mut channels);
    output.write(context.level, strip, &mixed, pixels);
}

/// Runs a block in evaluation: `scales` of the running statistics normalize; nothing but the output is written.
pub(crate) fn forward_evaluate<F: Format>(
    context: &Context,
    shape: BlockShape,
    weights: &BlockWeights,
    scales: &[ChannelScale],
    input: &Features<F>,
    parts: Range<usize>,
    output: &mut Features<F>,
    output_part: usize,
) {
    let layout = input.layout();
    let size = layout.size();
    let channels = 2 * shape.filters;
    let part_channels: Vec<usize> = parts.clone().map(|part| input.channels(part..part + 1)).collect();
    let branches = Branches::<F>::new(context, shape, weights, &part_channels, size);
    let mixing = pack::<F>(context.level, weights.conv1, [shape.filters, 1], &[channels], 1, size);
    let view = input.spatial(parts);
    let rows = rows_of_band(branches.strips, size);
    let mut bands = output.bands(output_part, rows);
    bands.par_iter_mut().zip(band_places(layout, rows)).for_each(|(band, (image, rows))| {
        for strip in branches.strips.of_band(rows.len()) {
            let pixels = strip.count * layout.width;
            let mut convolved = context.pool.take::<f32>(channels * pixels);
            let mut outputs: Vec<&mut [f32]> = convolved.chunks_exact_mut(pixels).collect();
            branches.run(context, &view, image, rows.start + strip.first, strip.count, &mut outputs);
            let mut activated = context.pool.take::<f32>(channels * pixels);
            for ((x, out), &scale) in
                convolved.chunks_exact(pixels).zip(activated.chunks_exact_mut(pixels)).zip(scales)
            {
                let kernel = NormalizeKernel { x, out, scale, factor: 1.0, activation: Activation::Elu };
                dispatch(context.level, kernel);
            }
            mix_into(context, &activated, pixels, &mixing, weights.bias1, strip, band);
        }
    });
}
