//! A block's spatial convolutions of one input, in the way that is faster for its shape.

use super::format::Format;
use super::rows::{Context, convolve_rows, neighbor_strips, pack, pack_transposed};
use crate::kernels::canvas::View;
use crate::kernels::conv::PackedWeights;
use crate::kernels::strip::{Strip, Strips};
use crate::kernels::tile::Start;
use crate::kernels::winograd::{TILE_ROWS, TileInput, TileOutput, WinogradWeights, convolve_tile};

/// How convolutions are done, and in what strips.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    tiles: bool,
    pub(crate) strips: Strips,
}

/// Input channels from which the transforms are worth their time.
const MIN_INPUTS: usize = 4;

impl Way {
    /// The faster way for so many input channels: tiles where values are floats and few of the tiles' rows lie outside.
    pub(crate) fn new<F: Format>(inputs: usize, dilation: usize, size: [usize; 2]) -> Self {
        let direct = Self { tiles: false, strips: neighbor_strips(size) };
        if F::as_floats(&[]).is_none() || inputs < MIN_INPUTS || dilation > size[0] {
            return direct;
        }
        let strips = Strips { rows: TILE_ROWS, step: dilation };
        let computed = TILE_ROWS * strips.of_band(size[0]).count();
        if 2 * computed <= 3 * size[0] { Self { tiles: true, strips } } else { direct }
    }
}

/// Weights of square kernels of one input.
pub(crate) enum Spatial<F: Format> {
    Direct(Vec<PackedWeights<F::Spatial>>),
    Tiles(Vec<WinogradWeights>),
}

/// Where the results of one of the convolutions go: its output channels, and what is already there.
pub(crate) type SpatialOutput<'a, 'b> = (Start<'a>, &'a mut [&'b mut [f32]]);

impl<F: Format> Spatial<F> {
    /// Weights `[O, I, K, K]`, given with K, of convolutions of parts of so many channels.
    pub(crate) fn new(
        context: &Context,
        kernels: &[(&[f32], usize)],
        outputs: usize,
        parts: &[usize],
        dilation: usize,
        size: [usize; 2],
        way: Way,
    ) -> Self {
        let level = context.level;
        let inputs: usize = parts.iter().sum();
        if !way.tiles {
            let pack = |&(weights, kernel): &(&[f32], usize)| {
                pack::<F>(level, weights, [outputs, kernel], parts, dilation, size)
            };
            return Self::Direct(kernels.iter().map(pack).collect());
        }
        let transform = |&(weights, kernel): &(&[f32], usize)| {
            let at = |output: usize, input: usize, tap: usize| {
                weights[(output * inputs + input) * kernel * kernel + tap]
            };
            WinogradWeights::new(level, [outputs, inputs], kernel, dilation, size[1], at)
        };
        Self::Tiles(kernels.iter().map(transform).collect())
    }

    /// Weights `[O, I, K, K]`, given with K, of the transposed convolution: from O channels, in one part, to I.
    pub(crate) fn transposed(
        context: &Context,
        (weights, kernel): (&[f32], usize),
        [outputs, inputs]: [usize; 2],
        dilation: usize,
        size: [usize; 2],
        way: Way,
    ) -> Self {
        let level = context.level;
        if !way.tiles {
            let shape = [outputs, inputs, kernel];
            return Self::Direct(vec![pack_transposed::<F>(level, weights, shape, dilation, size)]);
        }
        let taps = kernel * kernel;
        let at = |input: usize, output: usize, tap: usize| {
            weights[(output * inputs + input) * taps + taps - 1 - tap]
        };
        Self::Tiles(vec![WinogradWeights::new(level, [inputs, outputs], kernel, dilation, size[1], at)])
    }

    /// Convolves a strip of an image, which begins with its row `row`, into the rows `target` of each output.
    pub(crate) fn convolve(
        &self,
        context: &Context,
        input: &View<F::Spatial>,
        image: usize,
        row: usize,
        target: Strip,
        outputs: &mut [SpatialOutput],
    ) {
        match self {
            Self::Direct(kernels) => {
                for (weights, (start, channels)) in kernels.iter().zip(outputs) {
                    let rows = target.first..target.first + target.count;
                    let first_row = row - target.first;
                    convolve_rows(context.level, input, image, weights, *start, first_row, rows, channels);
                }
            }
            Self::Tiles(kernels) => {
                let planes = F::as_floats(input.image(image)).expect("because tiles are of floats");
                let mut outputs: Vec<TileOutput> = kernels
                    .iter()
                    .zip(outputs)
                    .map(|(weights, (start, channels))| TileOutput {
                        weights,
                        start: *start,
                        rows: target,
                        channels,
                    })
                    .collect();
                let input = TileInput { planes, layout: input.layout, row };
                convolve_tile(context.level, &context.pool, input, &mut outputs);
            }
        }
    }
}
