//! Convolutions of a few rows at a time, and what they need: weights in the kernels' order, and bands.

use std::ops::Range;
use std::sync::Arc;

use super::features::{SpatialRow, channels_of_planes};
use super::format::Format;
use crate::kernels::amx::TileBand;
use crate::kernels::canvas::{Layout, View};
use crate::kernels::conv::PackedWeights;
use crate::kernels::element::Element;
use crate::kernels::pool::{Buffer, Pool};
use crate::kernels::strip::Strips;
use crate::kernels::taps::{Tap, taps};
use crate::kernels::tile::{BandKernel, Start};
use crate::simd::tiles::dispatch_tiles;
use crate::simd::{Level, dispatch};

/// Pixels of a strip: its intermediate values of all channels stay in the second-level cache.
const STRIP_PIXELS: usize = 256;
/// Pixels of a band, which is what a task does.
const BAND_PIXELS: usize = 2048;

/// What every step of a block needs: the instructions to use, and memory.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) level: Level,
    pub(crate) pool: Arc<Pool>,
}

/// Strips of neighboring rows in images of this size.
pub(crate) fn neighbor_strips(size: [usize; 2]) -> Strips {
    Strips { rows: STRIP_PIXELS.div_ceil(size[1]).min(size[0]), step: 1 }
}

/// Rows of a band of such strips in images of this size.
pub(crate) fn rows_of_band(strips: Strips, size: [usize; 2]) -> usize {
    strips.band_rows(BAND_PIXELS, size[1])
}

/// Rows of a band of neighboring rows in images of this size.
pub(crate) fn band_rows(size: [usize; 2]) -> usize {
    rows_of_band(neighbor_strips(size), size)
}

/// The image and the rows of each band of `rows` rows, in the order `[image, band]`.
pub(crate) fn band_places(layout: Layout, rows: usize) -> Vec<(usize, Range<usize>)> {
    (0..layout.images)
        .flat_map(|image| {
            (0..layout.height)
                .step_by(rows)
                .map(move |first| (image, first..(first + rows).min(layout.height)))
        })
        .collect()
}

/// Weights `[O, I, K, K]` of a convolution of parts of so many channels.
pub(crate) fn pack<F: Format>(
    level: Level,
    weights: &[f32],
    [outputs, kernel]: [usize; 2],
    parts: &[usize],
    dilation: usize,
    size: [usize; 2],
) -> PackedWeights<F::Spatial> {
    let inputs: usize = parts.iter().sum();
    let planes = channels_of_planes::<F>(parts);
    let at =
        |output: usize, input: usize, tap: usize| weights[(output * inputs + input) * kernel * kernel + tap];
    PackedWeights::new(
        level,
        outputs,
        planes.len(),
        taps([kernel; 2], dilation, size, false),
        |output, plane, tap| element::<F>(&planes[plane], |input| at(output, input, tap)),
    )
}

/// Weights `[O, I, K, K]` of the transposed convolution: from O channels, in one part, to I.
pub(crate) fn pack_transposed<F: Format>(
    level: Level,
    weights: &[f32],
    [outputs, inputs, kernel]: [usize; 3],
    dilation: usize,
    size: [usize; 2],
) -> PackedWeights<F::Spatial> {
    let planes = channels_of_planes::<F>(&[outputs]);
    let at =
        |output: usize, input: usize, tap: usize| weights[(output * inputs + input) * kernel * kernel + tap];
    PackedWeights::new(
        level,
        inputs,
        planes.len(),
        taps([kernel; 2], dilation, size, true),
        |input, plane, tap| element::<F>(&planes[plane], |output| at(output, input, tap)),
    )
}

/// The element of the one or two channels of a plane.
fn element<F: Format>(channels: &Range<usize>, value: impl Fn(usize) -> f32) -> F::Spatial {
    let second = if channels.len() > 1 { value(channels.start + 1) } else { 0.0 };
    F::spatial(value(channels.start), second)
}

/// Convolves some rows of an image into the same rows of `outputs`.
///
/// `outputs` begin with the image's row `first_row`; `rows` are counted from there.
pub(crate) fn convolve_rows<T: Element>(
    level: Level,
    input: &View<T>,
    image: usize,
    weights: &PackedWeights<T>,
    start: Start,
    first_row: usize,
    rows: Range<usize>,
    outputs: &mut [&mut [f32]],
) {
    let layout = input.layout;
    let tiles = weights.tiles.as_ref();
    for block in weights.blocks.iter().chain(tiles.map(|tiles| &tiles.block)) {
        let channels = block.first..block.first + block.count;
        let kernel = BandKernel {
            planes: input.image(image),
            plane_len: layout.plane_len,
            stride: layout.stride,
            margin: layout.margin,
            height: layout.height,
            width: layout.width,
            taps: &weights.taps,
            weights: &block.weights,
            start: match start {
                Start::Bias(bias) => Start::Bias(&bias[channels.clone()]),
                other => other,
            },
            first_row,
            rows: rows.clone(),
            outputs: &mut outputs[channels],
        };
        match tiles {
            Some(weights) => dispatch_tiles(TileBand { weights, band: kernel }),
            None => dispatch(level, kernel),
        }
    }
}

/// A 1×1 convolution of dense values `[channel, pixel]` into `outputs`, one slice of pixels a channel.
pub(crate) fn mix<F: Format>(
    context: &Context,
    values: &Buffer<f32>,
    pixels: usize,
    weights: &PackedWeights<F::Spatial>,
    start: Start,
    outputs: &mut [&mut [f32]],
) {
    let mut run = |planes: &[F::Spatial]| {
        let layout = Layout::dense(1, weights.inputs, [1, pixels]);
        let view = View::new(layout, 0..weights.inputs, planes);
        convolve_rows(context.level, &view, 0, weights, start, 0, 0..1, outputs);
    };
    if let Some(planes) = F::as_spatial(values.with_slack()) {
        return run(planes);
    }
    let mut planes = context.pool.take::<F::Spatial>(weights.inputs * pixels);
    let mut channels = values.chunks_exact(pixels);
    for out in planes.chunks_exact_mut(pixels) {
        let first = channels.next().unwrap_or_default();
        let second = if F::CHANNELS > 1 { channels.next() } else { None };
        dispatch(context.level, SpatialRow::<F> { first, second, out });
    }
    run(planes.with_slack());
}

/// The one tap of a 1×1 convolution.
pub(crate) const CENTER: Tap = Tap { index: 0, dy: 0, dx: 0 };

#[cfg(test)]
mod tests;
