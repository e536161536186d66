//! The gradient of a convolution with respect to its weights.
//!
//! A register tile holds the products of a few output channels' gradients with a few shifted inputs; the loop
//! runs over the pixels of a strip of rows that stays in the second cache. Lanes are summed at the end of each band of rows and added to an `f64`, bands and images
//! in order, so that the result has the same bits for any number of threads and does not drift on large images.

use rayon::prelude::*;

use super::canvas::View;
use super::conv::even_ranges;
use super::element::Element;
use super::planes::PaddedPlanes;
use super::taps::{Tap, valid_rows};
use crate::simd::{Kernel, Level, MAX_LANES, Run, Simd, dispatch};

/// Pixels whose products are summed in single precision before they join the `f64`.
const BAND_PIXELS: usize = 8192;
/// Tasks to aim for, so that a few threads can share them evenly.
const TASKS: usize = 16;
/// Gradients that all groups pass over before the next: part of a second-level cache.
const STRIP_BYTES: usize = 160 * 1024;
/// Shifted inputs in a tile at most.
const MAX_SHIFTS: usize = 5;

/// Shifted inputs that a tile treats at once: they share the rows of the image in which they exist.
pub(crate) struct Group {
    /// Input channel and tap of each.
    shifts: Vec<(usize, Tap)>,
}

/// The gradient `[O, I, kernel]` of the weights, where `kernel` weights belong to a pair of channels.
///
/// `gradient` holds the gradient of the output, of which channels `first_output..first_output + outputs` belong
/// to this convolution; its rows must be followed by zeros up to whole vectors.
pub(crate) fn weight_gradient(
    level: Level,
    input: &PaddedPlanes,
    gradient: &PaddedPlanes,
    first_output: usize,
    outputs: usize,
    taps: &[Tap],
    kernel: usize,
) -> Vec<f32> {
    let gradient = gradient.view(first_output..first_output + outputs);
    weight_gradient_of(level, &input.view(0..input.channels), &gradient, taps, kernel)
}

/// [`weight_gradient`] of the channels in two views, one element a pixel and channel.
pub(crate) fn weight_gradient_of<T: Element>(
    level: Level,
    input: &View<T>,
    gradient: &View<T>,
    taps: &[Tap],
    kernel: usize,
) -> Vec<f32> {
    let (channels, images, outputs) = (input.planes.len(), input.layout.images, gradient.planes.len());
    let groups = groups(channels, taps);
    let largest_group = groups.iter().map(|group| group.shifts.len()).max().unwrap_or(1);
    let block_count = outputs.div_ceil(max_outputs(level, largest_group));
    // Splitting by image first reads the tensors least often.
    let chunk_count = TASKS.div_ceil(block_count * images).min(groups.len());
    let parts: Vec<_> = even_ranges(outputs, block_count)
        .flat_map(|block| even_ranges(groups.len(), chunk_count).map(move |chunk| (block.clone(), chunk)))
        .collect();
    let sums: Vec<Vec<f64>> = (0..images * parts.len())
        .into_par_iter()
        .map(|task| {
            let (block, chunk) = &parts[task % parts.len()];
            let image = task / parts.len();
            block_gradient(level, input, gradient, image, block, &groups[chunk.clone()])
        })
        .collect();

    let mut result = vec![0.0f32; outputs * channels * kernel];
    for (part, (block, chunk)) in parts.iter().enumerate() {
        let mut idx = 0;
        for group in &groups[chunk.clone()] {
            for output in block.clone() {
                for (channel, tap) in &group.shifts {
                    let sum: f64 = sums.iter().skip(part).step_by(parts.len()).map(|sums| sums[idx]).sum();
                    result[(output * channels + channel) * kernel + tap.index] = sum as f32;
                    idx += 1;
                }
            }
        }
    }
    result
}

/// Output channels in a tile beside `shifts` shifted inputs.
fn max_outputs(level: Level, shifts: usize) -> usize {
    match (level.registers() >= 32, shifts) {
        (_, 1 | 2) => 4,
        (true, 3) => 8,
        (true, 4) => 6,
        (true, _) => 5,
        (false, 3) => 3,
        (false, _) => 2,
    }
}

/// Groups the taps of each kernel row; a 1×1 kernel has only one, so there channels are grouped instead.
fn groups(channels: usize, taps: &[Tap]) -> Vec<Group> {
    if let [tap] = taps {
        return even_ranges(channels, channels.div_ceil(4))
            .map(|channels| Group { shifts: channels.map(|channel| (channel, *tap)).collect() })
            .collect();
    }
    (0..channels)
        .flat_map(|channel| {
            taps.chunk_by(|a, b| a.dy == b.dy).flat_map(move |row| {
                even_ranges(row.len(), row.len().div_ceil(MAX_SHIFTS))
                    .map(move |part| Group { shifts: row[part].iter().map(|tap| (channel, *tap)).collect() })
            })
        })
        .collect()
}

/// Sums `[group, output, shift]` over one image.
fn block_gradient<T: Element>(
    level: Level,
    input: &View<T>,
    gradient: &View<T>,
    image: usize,
    block: &std::ops::Range<usize>,
    groups: &[Group],
) -> Vec<f64> {
    let count: usize = groups.iter().map(|group| group.shifts.len() * block.len()).sum();
    let layout = input.layout;
    let shifts = groups.iter().map(|group| {
        let mut shifts = [0isize; MAX_SHIFTS];
        for (shift, (channel, tap)) in shifts.iter_mut().zip(&group.shifts) {
            *shift = (channel * layout.plane_len + layout.margin) as isize
                + tap.dy * layout.stride as isize
                + tap.dx;
        }
        shifts
    });
    let mut kernel = BlockKernel {
        input: input.image(image),
        input_stride: layout.stride,
        gradient: &gradient.image(image)[block.start * gradient.layout.plane_len..],
        gradient_plane: gradient.layout.plane_len,
        gradient_stride: gradient.layout.stride,
        gradient_margin: gradient.layout.margin,
        outputs: block.len(),
        groups,
        shifts: shifts.collect(),
        height: layout.height,
        width: layout.width,
        rows: 0..0,
        strip_rows: (STRIP_BYTES / (size_of::<T>() * block.len() * gradient.layout.stride)).max(1),
        partial: vec![0.0; count * MAX_LANES],
        sums: vec![0.0; count],
    };
    let bands = (layout.height * layout.width).div_ceil(BAND_PIXELS).clamp(1, layout.height);
    for band in even_ranges(layout.height, bands) {
        kernel.rows = band;
        dispatch(level, &mut kernel);
    }
    kernel.sums
}

/// The products of a block of output channels with the shifted inputs of several groups.
struct BlockKernel<'a, T> {
    input: &'a [T],
    input_stride: usize,
    /// The planes of the block in the image.
    gradient: &'a [T],
    gradient_plane: usize,
    gradient_stride: usize,
    gradient_margin: usize,
    outputs: usize,
    groups: &'a [Group],
    /// Where row 0, column 0 of each group's shifted inputs is.
    shifts: Vec<[isize; MAX_SHIFTS]>,
    height: usize,
    width: usize,
    /// The band at hand.
    rows: std::ops::Range<usize>,
    /// Rows whose gradients stay in the second cache while all groups pass over them.
    strip_rows: usize,
    /// Sums of the band at hand, a vector of lanes for each `[group, output, shift]`.
    partial: Vec<f32>,
    /// Sums of the bands before, `[group, output, shift]`.
    sums: Vec<f64>,
}

impl<T: Element> Kernel for &mut BlockKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        macro_rules! for_tile {
            ($group:expr, $rows:expr, $first:expr, $(($outputs:literal, $shifts:literal))*) => {
                match (self.outputs, self.groups[$group].shifts.len()) {
                    $(($outputs, $shifts) => {
                        let shifts = self.shifts[$group];
                        accumulate::<S, T, $outputs, $shifts>(simd, self, shifts, $rows, $first);
                    })*
                    other => unreachable!("no tile of {other:?} outputs and shifts"),
                }
            };
        }
        self.partial.fill(0.0);
        let mut row = self.rows.start;
        while row < self.rows.end {
            let strip = row..(row + self.strip_rows).min(self.rows.end);
            row = strip.end;
            let mut first = 0;
            for group in 0..self.groups.len() {
                let shifts = &self.groups[group].shifts;
                let valid = valid_rows(shifts[0].1.dy, self.height);
                let rows = valid.start.max(strip.start)..valid.end.min(strip.end);
                let next = first + self.outputs * shifts.len();
                if !rows.is_empty() {
                    if S::REGISTERS >= 32 {
                        for_tile!(
                            group,
                            rows,
                            first,
                            (1, 1)(2, 1)(3, 1)(4, 1)(5, 1)(6, 1)(7, 1)(8, 1)(1, 2)(2, 2)(3, 2)(4, 2)(5, 2)(
                                6, 2
                            )(7, 2)(8, 2)(1, 3)(2, 3)(3, 3)(4, 3)(5, 3)(6, 3)(
                                7, 3
                            )(8, 3)(1, 4)(2, 4)(3, 4)(4, 4)(5, 4)(6, 4)(1, 5)(
                                2, 5
                            )(3, 5)(4, 5)(5, 5)
                        );
                    } else {
                        for_tile!(
                            group,
                            rows,
                            first,
                            (1, 1)(2, 1)(3, 1)(4, 1)(1, 2)(2, 2)(3, 2)(4, 2)(1, 3)(2, 3)(3, 3)(1, 4)(2, 4)(
                                1, 5
                            )(2, 5)
                        );
                    }
                }
                first = next;
            }
        }
        for (idx, sum) in self.sums.iter_mut().enumerate() {
            let lanes = simd.load(&self.partial, idx * S::LANES);
            *sum += f64::from(simd.sum(lanes));
        }
    }
}

#[inline(always)]
fn accumulate<S: Simd, T: Element, const OUTPUTS: usize, const SHIFTS: usize>(
    simd: S,
    kernel: &mut BlockKernel<T>,
    shifts: [isize; MAX_SHIFTS],
    rows: std::ops::Range<usize>,
    first: usize,
) {
    let mut sums = [[simd.zero(); SHIFTS]; OUTPUTS];
    for output in 0..OUTPUTS {
        for shift in 0..SHIFTS {
            sums[output][shift] = simd.load(&kernel.partial, (first + output * SHIFTS + shift) * S::LANES);
        }
    }
    let vectors = kernel.width.div_ceil(S::LANES * T::PIXELS);
    for row in rows {
        let gradient_row = row * kernel.gradient_stride + kernel.gradient_margin;
        let input_row = row * kernel.input_stride;
        let mut inputs = [Run::new(simd, kernel.input, 0, 0); SHIFTS];
        for shift in 0..SHIFTS {
            inputs[shift] =
                Run::new(simd, kernel.input, input_row.wrapping_add_signed(shifts[shift]), vectors);
        }
        let mut gradients = [Run::new(simd, kernel.gradient, 0, 0); OUTPUTS];
        for output in 0..OUTPUTS {
            let start = gradient_row + output * kernel.gradient_plane;
            gradients[output] = Run::new(simd, kernel.gradient, start, vectors);
        }
        for vector in 0..vectors {
            let mut pixels = [simd.zero(); SHIFTS];
            for shift in 0..SHIFTS {
                pixels[shift] = inputs[shift].load(vector);
            }
            for output in 0..OUTPUTS {
                let gradient = gradients[output].load(vector);
                for shift in 0..SHIFTS {
                    sums[output][shift] = T::mul_add(simd, pixels[shift], gradient, sums[output][shift]);
                }
            }
        }
    }
    for output in 0..OUTPUTS {
        for shift in 0..SHIFTS {
            simd.store(
                sums[output][shift],
                &mut kernel.partial,
                (first + output * SHIFTS + shift) * S::LANES,
            );
        }
    }
}
