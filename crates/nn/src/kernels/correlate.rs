//! Convolution over any window, by products of packed panels.
//!
//! What neighboring output positions read is gathered into panels `[channel and tap, position]` of two vectors of
//! positions and a few hundred rows, each of which stays in the first cache while all output channels pass over it. A register
//! tile holds up to twelve output channels of two vectors of positions. Positions are counted row by row through
//! the whole plane, so that narrow images fill the vectors as well as wide ones.
//! Each output value is one chain of multiply-adds (channels outermost, taps row by row): its bits depend neither
//! on the number of threads nor on the tile it falls in.

use rayon::prelude::*;

use super::conv::even_ranges;
use super::phases::{PhasePlanes, Run};
use super::scratch::Scratch;
use super::window::{Window, WindowTap};
use crate::simd::{Kernel, Level, MAX_LANES, Simd, dispatch};

/// Output positions of one task, whose panels share the second cache with their rows' weights.
const BAND_POSITIONS: usize = 256;
/// Rows of a panel: two vectors of each fill two thirds of the first cache.
const PANEL_ROWS: usize = 256;
/// Tasks to aim for, so that a few threads can share them evenly.
const TASKS: usize = 16;

/// Channels whose weights are packed together, which the first cache holds while the outputs pass over them.
const PACKED_CHANNELS: usize = 16;

/// Weights in the order the kernel reads them: for each block of output channels `[channel, tap, output]`.
pub(crate) struct PanelWeights {
    values: Scratch,
    blocks: Vec<std::ops::Range<usize>>,
    rows: usize,
}

impl PanelWeights {
    /// Packs `weight(output, channel, index of the tap)`.
    pub(crate) fn new(
        level: Level,
        outputs: usize,
        channels: usize,
        taps: &[WindowTap],
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let blocks: Vec<_> = even_ranges(outputs, outputs.div_ceil(tile_channels(level))).collect();
        let rows = channels * taps.len();
        let mut values = Scratch::new(outputs * rows);
        let mut slots = Vec::with_capacity(blocks.len());
        let mut rest = &mut *values;
        for block in &blocks {
            let (slot, others) = rest.split_at_mut(block.len() * rows);
            slots.push((block.clone(), slot));
            rest = others;
        }
        slots.into_par_iter().for_each(|(block, slot)| {
            let count = block.len();
            let part_len = PACKED_CHANNELS * taps.len() * count;
            for (part, slot) in slot.chunks_mut(part_len.max(1)).enumerate() {
                let first = part * PACKED_CHANNELS;
                for (idx, output) in block.clone().enumerate() {
                    let channels = slot.chunks_exact_mut(taps.len() * count).enumerate();
                    for (channel, slot) in channels {
                        for (tap, values) in taps.iter().zip(slot.chunks_exact_mut(count)) {
                            values[idx] = weight(output, first + channel, tap.index);
                        }
                    }
                }
            }
        });
        Self { values, blocks, rows }
    }

    /// The weights of a block.
    fn block(&self, block: &std::ops::Range<usize>) -> &[f32] {
        &self.values[block.start * self.rows..block.end * self.rows]
    }
}

/// Output channels in a register tile beside two vectors of positions.
pub(crate) fn tile_channels(level: Level) -> usize {
    if level.registers() >= 32 { 12 } else { 6 }
}

/// out\[n, o, y\] = bias\[o\] + Σ weight\[o, c, tap\] · input\[n, c, y · stride + tap\], for `output` of shape
/// `[images, outputs, positions of the window]`.
pub(crate) fn correlate(
    level: Level,
    input: &PhasePlanes,
    window: &Window,
    weights: &PanelWeights,
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let positions: usize = window.output.iter().product();
    let outputs = weights.blocks.last().map_or(0, |block| block.end);
    let bands = positions.div_ceil(BAND_POSITIONS);
    // Few positions: the output channels are shared too, and each share gathers its own panels.
    let groups = TASKS.div_ceil(input.images * bands).clamp(1, weights.blocks.len().div_ceil(4));
    let groups: Vec<_> = even_ranges(weights.blocks.len(), groups).collect();
    let group_of: Vec<usize> = groups
        .iter()
        .enumerate()
        .flat_map(|(idx, group)| {
            let outputs = weights.blocks[group.end - 1].end - weights.blocks[group.start].start;
            std::iter::repeat_n(idx, outputs)
        })
        .collect();

    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(input.images * bands * groups.len(), Vec::new);
    for (plane, values) in output.chunks_mut(positions).enumerate() {
        let (image, channel) = (plane / outputs, plane % outputs);
        for (band, values) in values.chunks_mut(BAND_POSITIONS).enumerate() {
            tasks[(image * bands + band) * groups.len() + group_of[channel]].push(values);
        }
    }

    let offsets: Vec<usize> = window.taps.iter().map(|tap| input.offset(tap)).collect();
    tasks.par_iter_mut().enumerate().for_each(|(task, outputs)| {
        let (image, band) = (task / (bands * groups.len()), task / groups.len() % bands);
        let group = &weights.blocks[groups[task % groups.len()].clone()];
        dispatch(
            level,
            BandKernel {
                input,
                image,
                window,
                offsets: &offsets,
                first_position: band * BAND_POSITIONS,
                weights,
                group,
                bias: bias.map(|bias| &bias[group[0].start..]),
                outputs,
            },
        );
    });
}

/// A band of output positions of one image, for a group of blocks of output channels.
struct BandKernel<'a, 'b> {
    input: &'a PhasePlanes,
    image: usize,
    window: &'a Window,
    /// Where each tap's reads begin in a plane.
    offsets: &'a [usize],
    first_position: usize,
    weights: &'a PanelWeights,
    group: &'a [std::ops::Range<usize>],
    /// From the group's first output channel.
    bias: Option<&'a [f32]>,
    /// The band's positions in each plane of the group.
    outputs: &'a mut [&'b mut [f32]],
}

impl Kernel for BandKernel<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let width = 2 * S::LANES;
        let positions = self.outputs[0].len();
        let rows = self.weights.rows;
        for (idx, plane) in self.outputs.iter_mut().enumerate() {
            plane.fill(self.bias.map_or(0.0, |bias| bias[idx]));
        }
        let panel_len = PANEL_ROWS.min(rows) * width + MAX_LANES;
        let mut panels = vec![0.0f32; positions.div_ceil(width) * panel_len];
        // A whole band at a time, so that each row's neighbors are read one after the other.
        let mut runs = Vec::new();
        for (idx, at) in (0..positions).step_by(width).enumerate() {
            let first = runs.len();
            let len = width.min(positions - at);
            self.input.runs(self.window.output, self.first_position + at, len, &mut runs);
            for run in &mut runs[first..] {
                run.target += idx * panel_len;
            }
        }
        let mut row = 0;
        while row < rows {
            let chunk = row..(row + PANEL_ROWS).min(rows);
            row = chunk.end;
            gather(simd, self.input, self.image, self.offsets, chunk.clone(), &runs, width, &mut panels);
            let mut at = 0;
            for panel in panels.chunks_exact(panel_len) {
                let len = width.min(positions - at);
                self.blocks(simd, panel, chunk.clone(), at, len);
                at += len;
            }
        }
    }
}

impl BandKernel<'_, '_> {
    /// All blocks of output channels over one panel.
    #[inline(always)]
    fn blocks<S: Simd>(
        &mut self,
        simd: S,
        panel: &[f32],
        rows: std::ops::Range<usize>,
        at: usize,
        len: usize,
    ) {
        let first = self.group[0].start;
        for block in self.group {
            let count = block.len();
            let weights = &self.weights.block(block)[rows.start * count..rows.end * count];
            let outputs = &mut self.outputs[block.start - first..block.end - first];
            macro_rules! for_channels {
                ($($count:literal)*) => {
                    match count {
                        $($count if len > S::LANES => tile::<S, $count, 2>(simd, weights, panel, outputs, at, len),
                        $count => tile::<S, $count, 1>(simd, weights, panel, outputs, at, len),)*
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
}

/// Copies what the runs' positions read into `panel` `[row, pitch]`, for `rows` of `[channel, tap]`.
///
/// Whole vectors are copied: what they bring too much is overwritten by the next run or row, or lies behind the
/// last row, where there must be room for it.
#[inline(always)]
pub(crate) fn gather<S: Simd>(
    simd: S,
    input: &PhasePlanes,
    image: usize,
    offsets: &[usize],
    rows: std::ops::Range<usize>,
    runs: &[Run],
    pitch: usize,
    panel: &mut [f32],
) {
    let (channel, mut tap) = (rows.start / offsets.len(), rows.start % offsets.len());
    let planes = input.planes(image, channel);
    let mut plane = 0;
    for row in 0..rows.len() {
        let from = plane + offsets[tap];
        for run in runs {
            let mut done = 0;
            while done < run.len {
                let vector = simd.load(planes, from + run.source + done);
                simd.store(vector, panel, row * pitch + run.target + done);
                done += S::LANES;
            }
        }
        tap += 1;
        if tap == offsets.len() {
            tap = 0;
            plane += input.plane_len();
        }
    }
}

/// Adds the products of one panel to a tile of outputs.
#[inline(always)]
fn tile<S: Simd, const CHANNELS: usize, const VECTORS: usize>(
    simd: S,
    weights: &[f32],
    panel: &[f32],
    outputs: &mut [&mut [f32]],
    at: usize,
    len: usize,
) {
    let lanes = S::LANES;
    let whole = len == VECTORS * lanes;
    let mut sums = [[simd.zero(); VECTORS]; CHANNELS];
    for channel in 0..CHANNELS {
        if whole {
            for vector in 0..VECTORS {
                sums[channel][vector] = simd.load(outputs[channel], at + vector * lanes);
            }
        } else {
            let mut buffer = [0.0f32; 2 * MAX_LANES];
            buffer[..len].copy_from_slice(&outputs[channel][at..at + len]);
            for vector in 0..VECTORS {
                sums[channel][vector] = simd.load(&buffer, vector * lanes);
            }
        }
    }
    let (weights, _) = weights.as_chunks::<CHANNELS>();
    for (weights, row) in weights.iter().zip(panel.chunks_exact(2 * lanes)) {
        let mut pixels = [simd.zero(); VECTORS];
        for vector in 0..VECTORS {
            pixels[vector] = simd.load(row, vector * lanes);
        }
        for channel in 0..CHANNELS {
            let weight = simd.splat(weights[channel]);
            for vector in 0..VECTORS {
                sums[channel][vector] = simd.mul_add(pixels[vector], weight, sums[channel][vector]);
            }
        }
    }
    for channel in 0..CHANNELS {
        if whole {
            for vector in 0..VECTORS {
                simd.store(sums[channel][vector], outputs[channel], at + vector * lanes);
            }
        } else {
            let mut buffer = [0.0f32; 2 * MAX_LANES];
            for vector in 0..VECTORS {
                simd.store(sums[channel][vector], &mut buffer, vector * lanes);
            }
            outputs[channel][at..at + len].copy_from_slice(&buffer[..len]);
        }
    }
}
