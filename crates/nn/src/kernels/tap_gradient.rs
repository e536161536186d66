//! The gradient of a convolution over any window with respect to its weights, by products of packed panels.
//!
//! Vectors lie along the output channels, for which the gradient is transposed once; what the taps read at a few
//! hundred positions is gathered as for the convolution itself and broadcast. A register tile holds up to twelve
//! rows of `[channel, tap]` and two vectors of output channels, so that nothing is summed across lanes.
//! Positions of all images are counted in one line and summed in a fixed order, in chains of bounded length: the
//! result has the same bits for any number of threads and does not drift on large images.

use rayon::prelude::*;

use super::conv::even_ranges;
use super::panel::{GridRows, Reads, Source};
use super::product::{multiply, tile_rows};
use super::scratch::Scratch;
use super::window::WindowTap;
use crate::simd::{Kernel, Level, Simd, dispatch};
/// Positions of a panel: a tile's part of the gradient then fills two thirds of the first cache.
const PANEL_POSITIONS: usize = 256;
/// From one row of a panel to the next: room for a vector past the end.
const PITCH: usize = PANEL_POSITIONS + 16;
/// Panels whose sums are added in single precision before they join in double precision.
const SEGMENT_PANELS: usize = 64;
/// Tasks to aim for, so that a few threads can share them evenly.
const TASKS: usize = 16;
/// Output channels that are transposed together.
const TRANSPOSED: usize = 16;

/// The gradient `[outputs, C, kernel]` of the weights, where `kernel` weights belong to a pair of channels, of which
/// `taps` are used; `gradient` is that of the output, `[images, outputs, positions of the grid]`.
pub(crate) fn tap_gradient(
    level: Level,
    input: Source,
    taps: &[WindowTap],
    gradient: &[f32],
    outputs: usize,
    kernel: usize,
) -> Vec<f32> {
    let mut result = vec![0.0f32; outputs * input.channels * kernel];
    let rows = input.channels * taps.len();
    if rows == 0 {
        return result;
    }
    let [depth, height, width] = input.phases.grid;
    let columns = Columns::new(level, gradient, outputs, depth * height * width);
    let padded = columns.tiles * columns.width;
    let panels: Vec<Panel> = (0..columns.count.div_ceil(PANEL_POSITIONS))
        .into_par_iter()
        .map(|idx| {
            let grid = GridRows { slices: 0..columns.count / (height * width), rows: 0..height };
            let first = idx * PANEL_POSITIONS;
            let positions = first..(first + PANEL_POSITIONS).min(columns.count);
            let pieces = grid.pieces(width, positions.clone());
            let reads = Reads::new(input.phases, &pieces, level.lanes(), [PANEL_POSITIONS, PITCH]);
            Panel { positions, offsets: reads.offsets(input.phases, taps), reads }
        })
        .collect();
    let tile_rows = tile_rows(level);
    let part_rows = rows.div_ceil(tile_rows).div_ceil(TASKS) * tile_rows;
    let parts = rows.div_ceil(part_rows);
    let segments = panels.len().div_ceil(SEGMENT_PANELS).max(TASKS.div_ceil(parts)).min(panels.len());

    let mut sums = Scratch::new(segments * rows * padded);
    let tasks: Vec<_> = sums
        .chunks_mut(rows * padded)
        .zip(even_ranges(panels.len(), segments))
        .flat_map(|(sums, segment)| {
            let panels = &panels[segment];
            sums.chunks_mut(part_rows * padded)
                .enumerate()
                .map(move |(part, sums)| (panels, part * part_rows, sums))
        })
        .collect();
    tasks.into_par_iter().for_each(|(panels, first_row, sums)| {
        sums.fill(0.0);
        dispatch(level, PartKernel { input, columns: &columns, panels, first_row, sums });
    });

    let own = input.channels * kernel;
    result.par_chunks_mut(TRANSPOSED * own).enumerate().for_each(|(block, result)| {
        let mut of_channel = vec![[0.0f32; TRANSPOSED]; taps.len()];
        for channel in 0..input.channels {
            for (tap, totals) in of_channel.iter_mut().enumerate() {
                let row = channel * taps.len() + tap;
                let mut sum = [0.0f64; TRANSPOSED];
                for segment in sums.chunks_exact(rows * padded) {
                    let segment = &segment[row * padded + block * TRANSPOSED..];
                    for (sum, value) in sum.iter_mut().zip(segment) {
                        *sum += f64::from(*value);
                    }
                }
                *totals = sum.map(|sum| sum as f32);
            }
            for (output, result) in result.chunks_exact_mut(own).enumerate() {
                let result = &mut result[channel * kernel..(channel + 1) * kernel];
                for (tap, totals) in taps.iter().zip(&of_channel) {
                    result[tap.index] = totals[output];
                }
            }
        }
    });
    result
}

/// Positions of all images, counted in one line.
struct Panel {
    positions: std::ops::Range<usize>,
    reads: Reads,
    offsets: Vec<usize>,
}

/// The output's gradient, `[tile, position of all images, channel of the tile]`.
struct Columns {
    values: Scratch,
    outputs: usize,
    /// Output channels of a tile.
    width: usize,
    tiles: usize,
    /// Positions of all images.
    count: usize,
}

impl Columns {
    fn new(level: Level, gradient: &[f32], outputs: usize, positions: usize) -> Self {
        let width = 2 * level.lanes();
        let tiles = outputs.div_ceil(width);
        let count = gradient.len() / outputs;
        let mut values = Scratch::new(tiles * count * width);
        let images = count / positions;
        values.par_chunks_mut(positions * width).enumerate().for_each(|(idx, columns)| {
            let (tile, image) = (idx / images, idx % images);
            let channels = tile * width..((tile + 1) * width).min(outputs);
            let planes = &gradient[(image * outputs + channels.start) * positions..];
            if channels.len() < width {
                columns.fill(0.0);
            }
            for (block, columns) in columns.chunks_mut(TRANSPOSED * width).enumerate() {
                for channel in 0..channels.len() {
                    let plane = &planes[channel * positions + block * TRANSPOSED..];
                    for (column, value) in columns.chunks_exact_mut(width).zip(plane) {
                        column[channel] = *value;
                    }
                }
            }
        });
        Self { values, outputs, width, tiles, count }
    }

    /// The tile's columns from a position on.
    fn tile(&self, tile: usize, position: usize) -> &[f32] {
        &self.values[(tile * self.count + position) * self.width..(tile + 1) * self.count * self.width]
    }
}

/// Some rows of `[channel, tap]` over some panels.
struct PartKernel<'a> {
    input: Source<'a>,
    columns: &'a Columns,
    panels: &'a [Panel],
    first_row: usize,
    /// `[row, output channel of all tiles]`.
    sums: &'a mut [f32],
}

impl Kernel for PartKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Columns { outputs, width, tiles, .. } = *self.columns;
        let padded = tiles * width;
        let rows = self.sums.len() / padded;
        let tile_rows = if S::REGISTERS >= 32 { 12 } else { 6 };
        let mut reads = Scratch::new(rows * PITCH);
        for Panel { positions, reads: places, offsets } in self.panels {
            let mut stored = Scratch::new(places.stored());
            stored.fill(0.0);
            let own = self.first_row..self.first_row + rows;
            places.gather(simd, self.input, offsets, own, PITCH, &mut stored, &mut reads);
            for tile in 0..tiles {
                let columns = &self.columns.tile(tile, positions.start)[..positions.len() * width];
                let vectors = if outputs - tile * width > S::LANES { 2 } else { 1 };
                for row in (0..rows).step_by(tile_rows) {
                    let sums = &mut self.sums[row * padded + tile * width..];
                    let size = tile_rows.min(rows - row);
                    multiply::<S, PITCH>(simd, size, vectors, columns, &reads[row * PITCH..], sums, padded);
                }
            }
        }
    }
}
