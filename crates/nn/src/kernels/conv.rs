//! Direct convolution with stride 1 and "same" padding.
//!
//! The work is split into bands of rows and blocks of output channels, each done by the register tile of `tile`.

use rayon::prelude::*;

use super::amx::TileWeights;
use super::element::Element;
use super::planes::PaddedPlanes;
use super::taps::Tap;
use super::tile::BandKernel;
pub(crate) use super::tile::Start;
use crate::simd::{Level, dispatch};

/// Pixels of one task: small enough to share work evenly, large enough to hide the start of a task.
const BAND_PIXELS: usize = 4096;

/// Weights in the order the kernel reads them: for each block of output channels `[input, tap, output]`, or for tiles.
pub(crate) struct PackedWeights<T = f32> {
    pub(crate) blocks: Vec<Block<T>>,
    /// All the weights, instead of blocks, where matrix tiles multiply them.
    pub(crate) tiles: Option<TileWeights<T>>,
    /// Input planes.
    pub(crate) inputs: usize,
    pub(crate) taps: Vec<Tap>,
}

/// The weights of a few output channels.
pub(crate) struct Block<T> {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) weights: Vec<T>,
}

impl PackedWeights {
    /// Packs weights `[O, I, kernel]` for the convolution itself.
    pub(crate) fn forward(
        level: Level,
        weights: &[f32],
        outputs: usize,
        inputs: usize,
        taps: Vec<Tap>,
    ) -> Self {
        let kernel = weights.len() / (outputs * inputs);
        Self::new(level, outputs, inputs, taps, |output, input, tap| {
            weights[(output * inputs + input) * kernel + tap]
        })
    }

    /// Packs weights `[O, I, kernel]` for the transposed convolution, whose outputs are the inputs I; `taps`
    /// must be reflected.
    pub(crate) fn transposed(
        level: Level,
        weights: &[f32],
        outputs: usize,
        inputs: usize,
        taps: Vec<Tap>,
    ) -> Self {
        let kernel = weights.len() / (outputs * inputs);
        Self::new(level, inputs, outputs, taps, |input, output, tap| {
            weights[(output * inputs + input) * kernel + tap]
        })
    }
}

impl<T: Element> PackedWeights<T> {
    /// Packs the weights that `weight` gives for an output channel, an input plane and a place in the kernel.
    pub(crate) fn new(
        level: Level,
        outputs: usize,
        inputs: usize,
        taps: Vec<Tap>,
        weight: impl Fn(usize, usize, usize) -> T,
    ) -> Self {
        if level == Level::Avx512Amx && T::IN_TILES {
            let tiles = Some(TileWeights::new(outputs, inputs, &taps, weight));
            return Self { blocks: Vec::new(), tiles, inputs, taps };
        }
        // Two vectors of pixels for each output channel must leave registers for the inputs and a weight.
        let largest = if level.registers() >= 32 { 12 } else { 6 };
        let blocks = even_ranges(outputs, outputs.div_ceil(largest))
            .map(|range| {
                let mut packed = Vec::with_capacity(inputs * taps.len() * range.len());
                for input in 0..inputs {
                    for tap in &taps {
                        packed.extend(range.clone().map(|output| weight(output, input, tap.index)));
                    }
                }
                Block { first: range.start, count: range.len(), weights: packed }
            })
            .collect();
        Self { blocks, tiles: None, inputs, taps }
    }
}

/// Splits `0..length` into `parts` ranges whose lengths differ by one at most.
pub(crate) fn even_ranges(length: usize, parts: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..parts).map(move |part| part * length / parts..(part + 1) * length / parts)
}

/// Where a convolution's output channels go: `values` `[N, channels, H, W]`, from channel `first`.
pub(crate) struct Output<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) channels: usize,
    pub(crate) first: usize,
}

/// Convolves channels `first_input..` of `input`.
pub(crate) fn convolve(
    level: Level,
    input: &PaddedPlanes,
    first_input: usize,
    weights: &PackedWeights,
    start: Start,
    output: Output,
) {
    let Output { values: output, channels: output_channels, first: first_output } = output;
    let plane = input.height * input.width;
    let bands = plane.div_ceil(BAND_PIXELS).clamp(1, input.height);
    let band_rows = input.height.div_ceil(bands);
    let bands = input.height.div_ceil(band_rows);

    // One task per image, band of rows and block of output channels, each with its parts of the output planes.
    let block_of: Vec<usize> = weights
        .blocks
        .iter()
        .enumerate()
        .flat_map(|(idx, block)| std::iter::repeat_n(idx, block.count))
        .collect();
    let blocks = weights.blocks.len();
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(input.images * bands * blocks, Vec::new);
    for (plane_idx, values) in output.chunks_mut(plane).enumerate() {
        let (image, channel) = (plane_idx / output_channels, plane_idx % output_channels);
        let Some(&block) = channel.checked_sub(first_output).and_then(|channel| block_of.get(channel)) else {
            continue;
        };
        for (band, values) in values.chunks_mut(band_rows * input.width).enumerate() {
            tasks[(image * bands + band) * blocks + block].push(values);
        }
    }

    tasks.par_iter_mut().enumerate().for_each(|(task, outputs)| {
        let (image, band) = (task / (bands * blocks), task / blocks % bands);
        let block = &weights.blocks[task % blocks];
        let plane_len = input.plane_len;
        let first_plane = image * input.channels + first_input;
        let kernel = BandKernel {
            planes: &input.values()[first_plane * plane_len..(first_plane + weights.inputs) * plane_len],
            plane_len,
            stride: input.stride,
            margin: input.margin,
            height: input.height,
            width: input.width,
            taps: &weights.taps,
            weights: &block.weights,
            start: match start {
                Start::Bias(bias) => Start::Bias(&bias[block.first..block.first + block.count]),
                other => other,
            },
            first_row: band * band_rows,
            rows: 0..outputs[0].len() / input.width,
            outputs,
        };
        dispatch(level, kernel);
    });
}
