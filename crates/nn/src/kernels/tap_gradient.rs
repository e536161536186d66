//! The gradient of a convolution over any window with respect to its weights, by products of packed panels.
//!
//! Vectors lie along the output channels, for which the gradient is transposed once; what the taps read at a few
//! hundred positions is gathered as for the convolution itself and broadcast. A register tile holds up to twelve
//! rows of `[channel, tap]` and two vectors of output channels, so that nothing is summed across lanes.
//! Positions of all images are counted in one line and summed in a fixed order, in chains of bounded length: the
//! result has the same bits for any number of threads and does not drift on large images.

use rayon::prelude::*;

use super::conv::even_ranges;
use super::correlate::{gather, tile_channels};
use super::phases::{PhasePlanes, Run};
use super::scratch::Scratch;
use super::window::Window;
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

/// The gradient `[outputs, C, kernel]` of the weights, where `kernel` weights belong to a pair of channels;
/// `gradient` is that of the output, `[N, outputs, positions of the window]`.
pub(crate) fn tap_gradient(
    level: Level,
    input: &PhasePlanes,
    window: &Window,
    gradient: &[f32],
    outputs: usize,
    kernel: usize,
) -> Vec<f32> {
    let positions: usize = window.output.iter().product();
    let mut result = vec![0.0f32; outputs * input.channels * kernel];
    let rows = input.channels * window.taps.len();
    if rows == 0 {
        return result;
    }
    let columns = Columns::new(level, gradient, outputs, positions);
    let padded = columns.tiles * columns.width;
    let panels = (input.images * positions).div_ceil(PANEL_POSITIONS);
    let tile_rows = tile_channels(level);
    let part_rows = rows.div_ceil(tile_rows).div_ceil(TASKS) * tile_rows;
    let parts = rows.div_ceil(part_rows);
    let segments = panels.div_ceil(SEGMENT_PANELS).max(TASKS.div_ceil(parts)).min(panels);

    let offsets: Vec<usize> = window.taps.iter().map(|tap| input.offset(tap)).collect();
    let mut sums = Scratch::new(segments * rows * padded);
    let tasks: Vec<_> = sums
        .chunks_mut(rows * padded)
        .zip(even_ranges(panels, segments))
        .flat_map(|(sums, panels)| {
            sums.chunks_mut(part_rows * padded)
                .enumerate()
                .map(move |(part, sums)| (panels.clone(), part * part_rows, sums))
        })
        .collect();
    tasks.into_par_iter().for_each(|(panels, first_row, sums)| {
        sums.fill(0.0);
        let kernel =
            PartKernel { input, window, offsets: &offsets, columns: &columns, panels, first_row, sums };
        dispatch(level, kernel);
    });

    let own = input.channels * kernel;
    result.par_chunks_mut(TRANSPOSED * own).enumerate().for_each(|(block, result)| {
        for row in 0..rows {
            let (channel, tap) = (row / window.taps.len(), row % window.taps.len());
            let place = channel * kernel + window.taps[tap].index;
            let mut totals = [0.0f64; TRANSPOSED];
            for segment in sums.chunks_exact(rows * padded) {
                let segment = &segment[row * padded + block * TRANSPOSED..];
                for (total, sum) in totals.iter_mut().zip(segment) {
                    *total += f64::from(*sum);
                }
            }
            for (result, total) in result.chunks_exact_mut(own).zip(totals) {
                result[place] = total as f32;
            }
        }
    });
    result
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
    /// Positions of an image.
    positions: usize,
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
        Self { values, outputs, width, tiles, count, positions }
    }

    /// The tile's columns from a position on.
    fn tile(&self, tile: usize, position: usize) -> &[f32] {
        &self.values[(tile * self.count + position) * self.width..(tile + 1) * self.count * self.width]
    }
}

/// Some rows of `[channel, tap]` over some panels.
struct PartKernel<'a> {
    input: &'a PhasePlanes,
    window: &'a Window,
    /// Where each tap's reads begin in a plane.
    offsets: &'a [usize],
    columns: &'a Columns,
    panels: std::ops::Range<usize>,
    first_row: usize,
    /// `[row, output channel of all tiles]`.
    sums: &'a mut [f32],
}

impl Kernel for PartKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Columns { outputs, width, tiles, count, positions, .. } = *self.columns;
        let padded = tiles * width;
        let rows = self.sums.len() / padded;
        let tile_rows = if S::REGISTERS >= 32 { 12 } else { 6 };
        let mut panel = vec![0.0f32; rows * PITCH];
        let mut runs: Vec<Run> = Vec::new();
        for idx in self.panels.clone() {
            let first = idx * PANEL_POSITIONS;
            let len = PANEL_POSITIONS.min(count - first);
            let mut at = 0;
            while at < len {
                let (image, position) = ((first + at) / positions, (first + at) % positions);
                let part = (positions - position).min(len - at);
                runs.clear();
                self.input.runs(self.window.output, position, part, &mut runs);
                for run in &mut runs {
                    run.target += at;
                }
                let rows = self.first_row..self.first_row + rows;
                gather(simd, self.input, image, self.offsets, rows, &runs, PITCH, &mut panel);
                at += part;
            }
            for tile in 0..tiles {
                let columns = &self.columns.tile(tile, first)[..len * width];
                let vectors = if outputs - tile * width > S::LANES { 2 } else { 1 };
                let mut row = 0;
                while row < rows {
                    let size = tile_rows.min(rows - row);
                    let reads = &panel[row * PITCH..(row + size - 1) * PITCH + len];
                    let sums = &mut self.sums[row * padded + tile * width..];
                    macro_rules! for_rows {
                        ($($size:literal)*) => {
                            match (size, vectors) {
                                $(($size, 1) => accumulate::<S, $size, 1>(simd, columns, reads, sums, padded),
                                ($size, _) => accumulate::<S, $size, 2>(simd, columns, reads, sums, padded),)*
                                _ => unreachable!("a tile has at most 12 rows, this one {size}"),
                            }
                        };
                    }
                    if S::REGISTERS >= 32 {
                        for_rows!(1 2 3 4 5 6 7 8 9 10 11 12);
                    } else {
                        for_rows!(1 2 3 4 5 6);
                    }
                    row += size;
                }
            }
        }
    }
}

/// Adds a panel's products to a tile of sums.
#[inline(always)]
fn accumulate<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    columns: &[f32],
    reads: &[f32],
    totals: &mut [f32],
    pitch: usize,
) {
    let mut sums = [[simd.zero(); VECTORS]; ROWS];
    // A window of the rows shows one position of each, at places known to the compiler.
    let positions = reads.windows((ROWS - 1) * PITCH + 1);
    for (column, reads) in columns.chunks_exact(2 * S::LANES).zip(positions) {
        let mut gradients = [simd.zero(); VECTORS];
        for vector in 0..VECTORS {
            gradients[vector] = simd.load(column, vector * S::LANES);
        }
        for row in 0..ROWS {
            let read = simd.splat(reads[row * PITCH]);
            for vector in 0..VECTORS {
                sums[row][vector] = simd.mul_add(gradients[vector], read, sums[row][vector]);
            }
        }
    }
    let one = simd.splat(1.0);
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            let at = row * pitch + vector * S::LANES;
            let total = simd.load(totals, at);
            simd.store(simd.mul_add(sums[row][vector], one, total), totals, at);
        }
    }
}
