//! Convolution over any windows, by products of packed panels.
//!
//! What neighboring positions read is gathered into panels `[channel and tap, position]` of two vectors of positions
//! and a few hundred rows, each of which stays in the first cache while all output channels pass over it. Positions
//! are counted row by row through all images, so that small images fill the vectors as well as large ones.
//! The windows of a transposed convolution, one for each phase of the stride, are computed side by side and woven into
//! the output.
//! Each output value is a sum of chains of multiply-adds in a fixed order (channels outermost, taps row by row): its
//! bits depend neither on the number of threads nor on the tile it falls in.

use std::ops::Range;

use rayon::prelude::*;

use super::conv::even_ranges;
use super::panel::{GridRows, Piece, Reads, Source};
use super::product::{multiply, tile_rows};
use super::scratch::Scratch;
use super::window::{Part, WindowTap};
use crate::simd::{Kernel, Level, MAX_LANES, Simd, dispatch};

/// Positions whose panels and sums share the second cache.
const BAND: usize = 256;
/// From one row of sums to the next.
const SUM_PITCH: usize = BAND + 16;
/// Rows of a panel at most: two vectors of each leave room for weights in the first cache.
const PANEL_ROWS: usize = 192;
/// From one output's weights of a panel to the next's.
const PITCH: usize = PANEL_ROWS + 16;
/// Rows of sums that a task holds at once, unless a single block needs more.
const SUM_ROWS: usize = 256;
/// Tasks for each thread to aim for, so that threads share them evenly: as many by groups of output channels, which each
/// gather their own panels, and as many times more by positions.
const TASKS: usize = 4;

/// Weights in the order the kernel reads them: for each block of output channels
/// `[part, chunk of rows, output, channel and tap]`.
pub(crate) struct PanelWeights {
    values: Scratch,
    blocks: Vec<Range<usize>>,
    /// Values of an output channel before each part, and in all.
    starts: Vec<usize>,
}

impl PanelWeights {
    /// Packs `values`, in which the kernel of an output and a channel begins at the product of their indices with
    /// `strides`.
    pub(crate) fn new(
        level: Level,
        parts: &[Part],
        [outputs, channels]: [usize; 2],
        values: &[f32],
        strides: [usize; 2],
    ) -> Self {
        let blocks: Vec<_> = even_ranges(outputs, outputs.div_ceil(tile_rows(level))).collect();
        let mut starts = vec![0];
        for part in parts {
            let rows = channels * part.taps.len();
            starts.push(starts[starts.len() - 1] + rows.div_ceil(chunk_rows(part.taps.len())) * PITCH);
        }
        let own = starts[parts.len()];
        let mut packed = Scratch::new(outputs * own);
        let mut slots = Vec::with_capacity(blocks.len());
        let mut rest = &mut *packed;
        for block in &blocks {
            let (slot, others) = rest.split_at_mut(block.len() * own);
            slots.push((block.clone(), slot));
            rest = others;
        }
        slots.into_par_iter().for_each(|(block, slot)| {
            for (part, start) in parts.iter().zip(&starts) {
                let slot = &mut slot[block.len() * start..];
                pack(slot, &part.taps, channels, &values[block.start * strides[0]..], strides, block.len());
            }
        });
        Self { values: packed, blocks, starts }
    }

    /// The weights of a block from a chunk of a part on.
    fn chunk(&self, block: &Range<usize>, part: usize, chunk: usize) -> &[f32] {
        let start = block.start * self.starts[self.starts.len() - 1];
        &self.values[start + (self.starts[part] + chunk * PITCH) * block.len()..]
    }
}

/// Packs a part's weights of one block of `outputs`.
fn pack(
    slot: &mut [f32],
    taps: &[WindowTap],
    channels: usize,
    values: &[f32],
    strides: [usize; 2],
    outputs: usize,
) {
    let rows = chunk_rows(taps.len());
    if taps.iter().map(|tap| tap.index).eq(0..strides[1]) {
        for output in 0..outputs {
            let values = values[output * strides[0]..][..channels * strides[1]].chunks(rows);
            for (values, chunk) in values.zip(slot.chunks_mut(outputs * PITCH)) {
                chunk[output * PITCH..][..values.len()].copy_from_slice(values);
            }
        }
        return;
    }
    // Neighboring outputs together: for a transpose their kernels are neighbors, too.
    for channel in 0..channels {
        for output in 0..outputs {
            let kernel = &values[output * strides[0] + channel * strides[1]..];
            let (mut row, mut rest) = (channel * taps.len(), taps);
            // A window of very many taps is split between chunks.
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(rows - row % rows));
                let at = (row / rows * outputs + output) * PITCH + row % rows;
                for (value, tap) in slot[at..].iter_mut().zip(now) {
                    *value = kernel[tap.index];
                }
                (row, rest) = (row + now.len(), later);
            }
        }
    }
}

/// out\[n, o, y · step + first\] = bias\[o\] + Σ weight\[o, c, tap\] · input\[n, c, y · stride + tap\] for each part and
/// all grid positions y for which that lies inside the output.
pub(crate) struct Correlation<'a> {
    pub(crate) level: Level,
    pub(crate) input: Source<'a>,
    pub(crate) images: usize,
    pub(crate) parts: &'a [Part],
    pub(crate) weights: &'a PanelWeights,
    pub(crate) bias: Option<&'a [f32]>,
    /// Output positions from one grid position to the next.
    pub(crate) step: [usize; 3],
    /// Depth, height and width of the output.
    pub(crate) size: [usize; 3],
}

/// Rows of the grid in a slice of one output plane.
struct Target<'b> {
    /// Counted from the group's first.
    output: usize,
    /// The slice of the grid, and which of its output slices.
    slice: usize,
    phase_z: usize,
    values: &'b mut [f32],
}

impl Correlation<'_> {
    /// Writes `output` `[images, outputs, size]`.
    pub(crate) fn run(&self, output: &mut [f32]) {
        let [depth, height, width] = self.input.phases.grid;
        let slices = self.images * depth;
        let wanted = TASKS * rayon::current_num_threads();

        // Each group of output channels gathers its own panels: few groups, but enough tasks.
        let blocks = &self.weights.blocks;
        let all = outputs(blocks).len();
        let bands = (slices * height * width).div_ceil(BAND);
        let least = (all * self.parts.len()).div_ceil(SUM_ROWS).min(blocks.len());
        let groups = wanted.div_ceil(bands).clamp(least, blocks.len().div_ceil(2).max(least));
        let groups: Vec<_> = even_ranges(blocks.len(), groups).map(|group| &blocks[group]).collect();
        let group_of: Vec<(usize, usize)> = groups
            .iter()
            .enumerate()
            .flat_map(|(idx, group)| (0..outputs(group).len()).map(move |output| (idx, output)))
            .collect();

        let share = (slices * height * width * groups.len() / (TASKS * wanted)).clamp(BAND, 2 * BAND);
        let task_slices = (share / (height * width)).max(1);
        let task_rows = share.div_ceil(width).min(height);
        let row_tasks = height.div_ceil(task_rows);
        let mut tasks: Vec<Vec<Target>> = Vec::new();
        tasks.resize_with(slices.div_ceil(task_slices) * row_tasks * groups.len(), Vec::new);
        let [size_z, size_y, size_x] = self.size;
        for (plane, values) in output.chunks_mut(size_z * size_y * size_x).enumerate() {
            let (image, (group, output)) = (plane / all, group_of[plane % all]);
            for (z, values) in values.chunks_mut(size_y * size_x).enumerate() {
                let slice = image * depth + z / self.step[0];
                let rows = values.chunks_mut(task_rows * self.step[1] * size_x);
                for (task, values) in rows.enumerate() {
                    let task = (slice / task_slices * row_tasks + task) * groups.len() + group;
                    tasks[task].push(Target { output, slice, phase_z: z % self.step[0], values });
                }
            }
        }
        tasks.par_iter_mut().enumerate().for_each(|(task, targets)| {
            let (place, group) = (task / groups.len(), groups[task % groups.len()]);
            let (slice, row) = (place / row_tasks * task_slices, place % row_tasks * task_rows);
            let grid = GridRows {
                slices: slice..(slice + task_slices).min(slices),
                rows: row..(row + task_rows).min(height),
            };
            dispatch(self.level, TaskKernel { correlation: self, grid, blocks: group, targets });
        });
    }
}

/// The output channels of some blocks.
fn outputs(blocks: &[Range<usize>]) -> Range<usize> {
    blocks[0].start..blocks[blocks.len() - 1].end
}

/// Some rows of the grid, for some blocks of output channels.
struct TaskKernel<'a, 'b> {
    correlation: &'a Correlation<'a>,
    grid: GridRows,
    blocks: &'a [Range<usize>],
    targets: &'a mut [Target<'b>],
}

impl Kernel for TaskKernel<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Correlation { input, parts, weights, .. } = *self.correlation;
        let columns = input.phases.grid[2];
        let outputs = outputs(self.blocks);
        let width = 2 * S::LANES;
        let panel_len = PANEL_ROWS * width + MAX_LANES;
        let panels_len = BAND / width * panel_len;
        let mut buffer = Scratch::new(panels_len + outputs.len() * parts.len() * SUM_PITCH);
        let (panels, sums) = buffer.split_at_mut(panels_len);

        let line = self.grid.positions(columns);
        for first in (0..line).step_by(BAND) {
            let positions = BAND.min(line - first);
            let pieces = self.grid.pieces(columns, first..first + positions);
            let reads = Reads::new(input.phases, &pieces, S::LANES, [width, panel_len]);
            let mut stored = Scratch::new(reads.stored());
            stored.fill(0.0);
            for (idx, sums) in sums.chunks_exact_mut(parts.len() * SUM_PITCH).enumerate() {
                sums.fill(self.correlation.bias.map_or(0.0, |bias| bias[outputs.start + idx]));
            }
            for (idx, part) in parts.iter().enumerate() {
                let rows = input.channels * part.taps.len();
                let offsets = reads.offsets(input.phases, &part.taps);
                let chunk_len = chunk_rows(part.taps.len());
                for (chunk, row) in (0..rows).step_by(chunk_len).enumerate() {
                    let chunk_len = chunk_len.min(rows - row);
                    reads.gather(simd, input, &offsets, row..row + chunk_len, width, &mut stored, panels);
                    for (panel, at) in panels.chunks_exact(panel_len).zip((0..positions).step_by(width)) {
                        let vectors = if positions - at > S::LANES { 2 } else { 1 };
                        for block in self.blocks {
                            let first = (block.start - outputs.start) * parts.len() + idx;
                            multiply::<S, PITCH>(
                                simd,
                                block.len(),
                                vectors,
                                &panel[..chunk_len * width],
                                weights.chunk(block, idx, chunk),
                                &mut sums[first * SUM_PITCH + at..],
                                parts.len() * SUM_PITCH,
                            );
                        }
                    }
                }
            }
            write(self.correlation, &self.grid, &pieces, sums, self.targets);
        }
    }
}

/// Rows of a panel: whole channels, if that is possible.
fn chunk_rows(taps: usize) -> usize {
    if taps == 0 || taps > PANEL_ROWS { PANEL_ROWS } else { PANEL_ROWS / taps * taps }
}

/// Weaves the sums `[output, part, position]` of some pieces into the output.
#[inline(always)]
fn write(correlation: &Correlation, grid: &GridRows, pieces: &[Piece], sums: &[f32], targets: &mut [Target]) {
    let Correlation { parts, step, size, .. } = *correlation;
    let columns = correlation.input.phases.grid[2];
    for target in targets {
        let sums = &sums[target.output * parts.len() * SUM_PITCH..][..parts.len() * SUM_PITCH];
        let mut start = 0;
        for piece in pieces {
            let first = start;
            start += piece.len;
            if piece.slice != target.slice {
                continue;
            }
            for (row, columns, before) in piece.rows(columns) {
                let values = target.values.chunks_exact_mut(size[2]).skip((row - grid.rows.start) * step[1]);
                for (phase_y, values) in values.take(step[1]).enumerate() {
                    let of_part = |phase_x: usize| {
                        let place = [target.phase_z, phase_y, phase_x];
                        let part = parts.iter().position(|part| part.first == place)?;
                        Some(&sums[part * SUM_PITCH + first + before..][..columns.len()])
                    };
                    let values = &mut values[columns.start * step[2]..];
                    match (step[2], of_part(0), of_part(1)) {
                        (1, Some(sums), _) => values[..sums.len()].copy_from_slice(sums),
                        (2, Some(even), Some(odd)) if values.len() >= 2 * even.len() => {
                            let pairs = values.as_chunks_mut::<2>().0.iter_mut();
                            for (pair, (even, odd)) in pairs.zip(even.iter().zip(odd)) {
                                *pair = [*even, *odd];
                            }
                        }
                        (step, ..) => {
                            for phase_x in 0..step {
                                let Some(sums) = of_part(phase_x) else { continue };
                                let values = values.iter_mut().skip(phase_x).step_by(step);
                                for (value, sum) in values.zip(sums) {
                                    *value = *sum;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
