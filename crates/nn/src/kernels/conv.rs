//! Direct convolution with stride 1 and "same" padding.
//!
//! A register tile holds up to twelve output channels of one or two vectors of neighboring pixels; the loop runs
//! over input channels and taps, and a tap is an address offset, so that dilation costs nothing and no column
//! matrix is built. Each output value is one chain of multiply-adds (input channels outermost, taps row by row):
//! its bits depend neither on the number of threads nor on the tile it falls in.

use rayon::prelude::*;

use super::planes::PaddedPlanes;
use super::taps::Tap;
use crate::simd::{Kernel, Level, MAX_LANES, Simd, dispatch};

/// Pixels of one task: small enough to share work evenly, large enough to hide the start of a task.
const BAND_PIXELS: usize = 4096;

/// Weights in the order the kernel reads them: for each block of output channels `[input, tap, output]`.
pub(crate) struct PackedWeights {
    blocks: Vec<Block>,
    inputs: usize,
    taps: Vec<Tap>,
}

struct Block {
    first: usize,
    count: usize,
    weights: Vec<f32>,
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

    fn new(
        level: Level,
        outputs: usize,
        inputs: usize,
        taps: Vec<Tap>,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
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
        Self { blocks, inputs, taps }
    }
}

/// Splits `0..length` into `parts` ranges whose lengths differ by one at most.
pub(crate) fn even_ranges(length: usize, parts: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..parts).map(move |part| part * length / parts..(part + 1) * length / parts)
}

/// What is already in the output.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Nothing: the sum starts at zero.
    Zero,
    /// Nothing: the sum starts at each output channel's bias.
    Bias(&'a [f32]),
    /// Earlier terms of the same sum.
    Output,
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
            vector_width: input.vector_width(),
            taps: &weights.taps,
            weights: &block.weights,
            start: match start {
                Start::Bias(bias) => Start::Bias(&bias[block.first..block.first + block.count]),
                other => other,
            },
            first_row: band * band_rows,
            outputs,
        };
        dispatch(level, kernel);
    });
}

/// A band of rows of one image, for one block of output channels.
struct BandKernel<'a, 'b> {
    /// The image's input planes.
    planes: &'a [f32],
    plane_len: usize,
    stride: usize,
    margin: usize,
    height: usize,
    width: usize,
    vector_width: usize,
    taps: &'a [Tap],
    /// `[input, tap, output]`.
    weights: &'a [f32],
    start: Start<'a>,
    first_row: usize,
    /// The band's rows in each output plane.
    outputs: &'a mut [&'b mut [f32]],
}

impl Kernel for BandKernel<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        macro_rules! for_channels {
            ($($count:literal)*) => {
                match self.outputs.len() {
                    $($count => band::<S, $count>(simd, &mut self),)*
                    count => unreachable!("a block has at most 12 output channels, this one {count}"),
                }
            };
        }
        if S::REGISTERS >= 32 {
            for_channels!(1 2 3 4 5 6 7 8 9 10 11 12);
        } else {
            for_channels!(1 2 3 4 5 6);
        }
    }
}

#[inline(always)]
fn band<S: Simd, const CHANNELS: usize>(simd: S, kernel: &mut BandKernel) {
    let rows = kernel.outputs[0].len() / kernel.width;
    let mut offsets = [0isize; 64];
    let mut long_offsets = Vec::new();
    let offsets: &mut [isize] = if kernel.taps.len() <= 64 {
        &mut offsets[..kernel.taps.len()]
    } else {
        long_offsets.resize(kernel.taps.len(), 0);
        &mut long_offsets
    };
    for (offset, tap) in offsets.iter_mut().zip(kernel.taps) {
        *offset = tap.dy * kernel.stride as isize + tap.dx;
    }
    for band_row in 0..rows {
        let row = kernel.first_row + band_row;
        // Taps are ordered by row, so those inside the image are neighbors in the list.
        let first = kernel.taps.partition_point(|tap| row as isize + tap.dy < 0);
        let last = kernel.taps.partition_point(|tap| row as isize + tap.dy < kernel.height as isize);
        let mut column = 0;
        while column < kernel.vector_width {
            if kernel.vector_width - column >= 2 * S::LANES {
                tile::<S, CHANNELS, 2>(simd, kernel, offsets, first..last, band_row, column);
                column += 2 * S::LANES;
            } else {
                tile::<S, CHANNELS, 1>(simd, kernel, offsets, first..last, band_row, column);
                column += S::LANES;
            }
        }
    }
}

#[inline(always)]
fn tile<S: Simd, const CHANNELS: usize, const VECTORS: usize>(
    simd: S,
    kernel: &mut BandKernel,
    offsets: &[isize],
    taps: std::ops::Range<usize>,
    band_row: usize,
    column: usize,
) {
    let lanes = S::LANES;
    let out = band_row * kernel.width + column;
    // The last tile of a row may reach past it; then values travel through a buffer.
    let inside = (kernel.width.saturating_sub(column)).min(VECTORS * lanes);
    if inside == 0 {
        return;
    }
    let whole = inside == VECTORS * lanes;

    let mut sums = [[simd.zero(); VECTORS]; CHANNELS];
    match kernel.start {
        Start::Zero => {}
        Start::Bias(bias) => {
            for channel in 0..CHANNELS {
                sums[channel] = [simd.splat(bias[channel]); VECTORS];
            }
        }
        Start::Output => {
            for channel in 0..CHANNELS {
                let mut buffer = [0.0f32; 2 * MAX_LANES];
                buffer[..inside].copy_from_slice(&kernel.outputs[channel][out..out + inside]);
                for vector in 0..VECTORS {
                    sums[channel][vector] = simd.load(&buffer, vector * lanes);
                }
            }
        }
    }

    let tap_count = kernel.taps.len();
    let offsets = &offsets[taps.clone()];
    let mut base = (kernel.first_row + band_row) * kernel.stride + kernel.margin + column;
    let (weights, _) = kernel.weights.as_chunks::<CHANNELS>();
    for weights in weights.chunks_exact(tap_count) {
        for (&offset, weights) in offsets.iter().zip(&weights[taps.clone()]) {
            let at = base.wrapping_add_signed(offset);
            let mut pixels = [simd.zero(); VECTORS];
            for vector in 0..VECTORS {
                pixels[vector] = simd.load(kernel.planes, at + vector * lanes);
            }
            for channel in 0..CHANNELS {
                let weight = simd.splat(weights[channel]);
                for vector in 0..VECTORS {
                    sums[channel][vector] = simd.mul_add(pixels[vector], weight, sums[channel][vector]);
                }
            }
        }
        base += kernel.plane_len;
    }

    for channel in 0..CHANNELS {
        if whole {
            for vector in 0..VECTORS {
                simd.store(sums[channel][vector], kernel.outputs[channel], out + vector * lanes);
            }
        } else {
            let mut buffer = [0.0f32; 2 * MAX_LANES];
            for vector in 0..VECTORS {
                simd.store(sums[channel][vector], &mut buffer, vector * lanes);
            }
            kernel.outputs[channel][out..out + inside].copy_from_slice(&buffer[..inside]);
        }
    }
}
