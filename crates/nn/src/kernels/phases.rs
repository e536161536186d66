//! Tensors laid out so that a strided, padded convolution reads whole runs of neighbors without a test.

use rayon::prelude::*;

use super::scratch::Scratch;
use super::window::{Window, WindowTap};
use crate::simd::MAX_LANES;

/// A tensor `[N, C, D, H, W]` split by the phase of each position in the stride, with zeros around.
///
/// For stride s position k of phase r is input position k·s + r. All taps of neighboring outputs thus read
/// neighbors, whatever the stride. A plane `[phase, depth, row, column]` belongs to each image and channel.
pub(crate) struct PhasePlanes {
    values: Scratch,
    pub(crate) images: usize,
    pub(crate) channels: usize,
    stride: [usize; 3],
    /// The lowest position stored of every phase.
    first: [isize; 3],
    /// The number of positions stored of every phase.
    extent: [usize; 3],
    plane_len: usize,
}

/// Neighboring output positions: where what they read begins in a plane, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) source: usize,
    pub(crate) target: usize,
    pub(crate) len: usize,
}

impl PhasePlanes {
    /// Lays `values` `[images, channels, size]` out for some windows of equal stride.
    pub(crate) fn new<'a>(
        values: &[f32],
        images: usize,
        channels: usize,
        size: [usize; 3],
        windows: impl Iterator<Item = &'a Window>,
    ) -> Self {
        let mut stride = [1; 3];
        let [mut first, mut end] = [[isize::MAX; 3], [isize::MIN; 3]];
        for window in windows {
            stride = window.stride;
            for tap in &window.taps {
                for axis in 0..3 {
                    let position = tap.offset[axis].div_euclid(stride[axis] as isize);
                    first[axis] = first[axis].min(position);
                    end[axis] = end[axis].max(position + window.output[axis] as isize);
                }
            }
        }
        let extent: [usize; 3] =
            std::array::from_fn(|axis| end[axis].saturating_sub(first[axis]).max(0) as usize);
        let plane_len = stride.iter().product::<usize>() * extent.iter().product::<usize>();
        // Runs are read by whole vectors, the last of which may reach past them.
        let mut planes = Self {
            values: Scratch::new(images * channels * plane_len + MAX_LANES),
            images,
            channels,
            stride,
            first,
            extent,
            plane_len,
        };
        if plane_len > 0 {
            planes.fill(values, size);
        }
        planes
    }

    fn fill(&mut self, values: &[f32], size: [usize; 3]) {
        let Self { stride, first, extent, plane_len, .. } = *self;
        let len = self.images * self.channels * plane_len;
        self.values[len..].fill(0.0);
        // The input position of a stored one, if it lies inside.
        let inside = move |axis: usize, phase: usize, idx: usize| {
            let position = (first[axis] + idx as isize) * stride[axis] as isize + phase as isize;
            usize::try_from(position).ok().filter(|position| *position < size[axis])
        };
        // For each phase along a row: the stored columns inside the input, and the first's place there.
        let columns: Vec<(std::ops::Range<usize>, usize)> = (0..stride[2])
            .map(|phase| {
                let range = (0..extent[2]).filter(|idx| inside(2, phase, *idx).is_some());
                let range = range.clone().next().map_or(0..0, |start| start..start + range.count());
                let place = inside(2, phase, range.start).unwrap_or(0);
                (range, place)
            })
            .collect();
        self.values[..len]
            .par_chunks_exact_mut(plane_len)
            .zip(values.par_chunks_exact(size.iter().product()))
            .for_each(|(padded, plane)| {
                for (idx, row) in padded.chunks_exact_mut(extent[2]).enumerate() {
                    let (y, idx) = (idx % extent[1], idx / extent[1]);
                    let (z, phase) = (idx % extent[0], idx / extent[0]);
                    let (phase_x, phase) = (phase % stride[2], phase / stride[2]);
                    let (phase_y, phase_z) = (phase % stride[1], phase / stride[1]);
                    let (Some(z), Some(y)) = (inside(0, phase_z, z), inside(1, phase_y, y)) else {
                        row.fill(0.0);
                        continue;
                    };
                    let (range, place) = &columns[phase_x];
                    let source = &plane[(z * size[1] + y) * size[2]..][..size[2]][*place..];
                    row[..range.start].fill(0.0);
                    row[range.end..].fill(0.0);
                    let row = &mut row[range.clone()];
                    match stride[2] {
                        1 => row.copy_from_slice(&source[..row.len()]),
                        2 => every::<2>(row, source),
                        step => {
                            for (value, source) in row.iter_mut().zip(source.iter().step_by(step)) {
                                *value = *source;
                            }
                        }
                    }
                }
            });
    }

    /// From the start of a plane to what a tap reads for output position 0; never outside for a window that the
    /// planes were made for.
    pub(crate) fn offset(&self, tap: &WindowTap) -> usize {
        let mut phase = 0;
        let mut offset = 0;
        for axis in 0..3 {
            let stride = self.stride[axis] as isize;
            phase = phase * self.stride[axis] + tap.offset[axis].rem_euclid(stride) as usize;
            let position = (tap.offset[axis].div_euclid(stride) - self.first[axis]) as usize;
            offset = offset * self.extent[axis] + position;
        }
        phase * self.extent.iter().product::<usize>() + offset
    }

    /// Adds the runs of output positions `from..from + len`, counted row by row; their sources are relative to a tap.
    pub(crate) fn runs(&self, output: [usize; 3], from: usize, len: usize, runs: &mut Vec<Run>) {
        let mut target = 0;
        while target < len {
            let position = from + target;
            let (x, row) = (position % output[2], position / output[2]);
            let (y, z) = (row % output[1], row / output[1]);
            let count = (output[2] - x).min(len - target);
            let source = (z * self.extent[1] + y) * self.extent[2] + x;
            runs.push(Run { source, target, len: count });
            target += count;
        }
    }

    /// The planes of an image from `channel`, and what follows them.
    pub(crate) fn planes(&self, image: usize, channel: usize) -> &[f32] {
        &self.values[(image * self.channels + channel) * self.plane_len..]
    }

    /// Values from one plane to the next.
    pub(crate) fn plane_len(&self) -> usize {
        self.plane_len
    }
}

/// Copies every `STEP`-th value; written so that the compiler makes vectors of it.
fn every<const STEP: usize>(row: &mut [f32], source: &[f32]) {
    let whole = row.len().min(source.len() / STEP);
    let (start, rest) = row.split_at_mut(whole);
    for (value, source) in start.iter_mut().zip(source.as_chunks::<STEP>().0) {
        *value = source[0];
    }
    if let [value] = rest {
        *value = source[whole * STEP];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::window::ConvShape;

    /// Every tap of every output position finds the value that the definition names, or zero outside.
    #[test]
    fn taps_read_what_the_definition_says() {
        for (kernel, stride, padding, dilation) in [
            ([1, 4, 4], [1, 2, 2], [0, 1, 1], [1, 1, 1]),
            ([3, 3, 2], [2, 1, 3], [1, 2, 0], [1, 2, 1]),
            ([1, 3, 5], [1, 1, 1], [0, 1, 2], [1, 1, 1]),
            ([2, 1, 3], [3, 4, 2], [2, 0, 3], [1, 1, 4]),
        ] {
            let conv = ConvShape { kernel, stride, padding, dilation };
            let size = [4, 7, 9];
            let output = conv.output(size).expect("the kernel fits");
            let window = conv.window(size, output);
            let values: Vec<f32> = (1..=2 * 3 * 4 * 7 * 9).map(|v| v as f32).collect();
            drop(PhasePlanes::new(&vec![f32::NAN; values.len()], 2, 3, size, [&window].into_iter()));
            let planes = PhasePlanes::new(&values, 2, 3, size, [&window].into_iter());
            let mut runs = Vec::new();
            for (from, len) in [(0, output.iter().product()), (1, 3)] {
                runs.clear();
                planes.runs(output, from, len, &mut runs);
                for tap in &window.taps {
                    for run in &runs {
                        for idx in 0..run.len {
                            let out = from + run.target + idx;
                            let place =
                                [out / (output[1] * output[2]), out / output[2] % output[1], out % output[2]];
                            let read: [isize; 3] = std::array::from_fn(|axis| {
                                (place[axis] * stride[axis]) as isize + tap.offset[axis]
                            });
                            let inside = (0..3).all(|axis| (0..size[axis] as isize).contains(&read[axis]));
                            let plane = size.iter().product::<usize>();
                            let at = (read[0] * 7 + read[1]) * 9 + read[2];
                            let expected = if inside { values[4 * plane + at as usize] } else { 0.0 };
                            let found = planes.planes(1, 1)[planes.offset(tap) + run.source + idx];
                            assert!(
                                (found - expected).abs() < 1e-6,
                                "{conv:?} {tap:?} {out}: {found} {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}
