//! The register tile of a direct convolution.
//!
//! It holds up to twelve output channels of one or two vectors of neighboring pixels; the loop runs over input planes
//! and taps, and a tap is an address offset, so that dilation costs nothing and no column matrix is built.
//! Each output value is one chain of multiply-adds (input planes outermost, taps row by row): its bits depend neither
//! on the number of threads nor on the tile it falls in.

use super::element::Element;
use super::taps::Tap;
use crate::simd::{Kernel, MAX_LANES, Simd};

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

/// A band of rows of one image, for one block of output channels.
pub(crate) struct BandKernel<'a, 'b, T> {
    /// The image's input planes, from the first that the weights are for; whole vectors may be read beyond the last
    /// row.
    pub(crate) planes: &'a [T],
    pub(crate) plane_len: usize,
    pub(crate) stride: usize,
    pub(crate) margin: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) taps: &'a [Tap],
    /// `[input, tap, output]`.
    pub(crate) weights: &'a [T],
    pub(crate) start: Start<'a>,
    /// The image's row that the outputs begin with.
    pub(crate) first_row: usize,
    /// The rows to do, counted from the outputs' first.
    pub(crate) rows: std::ops::Range<usize>,
    /// The band's rows in each output plane, `width` values each.
    pub(crate) outputs: &'a mut [&'b mut [f32]],
}

impl<T> BandKernel<'_, '_, T> {
    /// The taps that see a row of the image from a row of the outputs.
    #[inline(always)]
    pub(crate) fn taps_inside(&self, band_row: usize) -> std::ops::Range<usize> {
        let row = (self.first_row + band_row) as isize;
        // Taps are ordered by row, so those inside the image are neighbors in the list.
        let first = self.taps.partition_point(|tap| row + tap.dy < 0);
        first..self.taps.partition_point(|tap| row + tap.dy < self.height as isize)
    }
}

impl<T: Element> Kernel for BandKernel<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        macro_rules! for_channels {
            ($($count:literal)*) => {
                match self.outputs.len() {
                    $($count => band::<S, T, $count>(simd, &mut self),)*
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
fn band<S: Simd, T: Element, const CHANNELS: usize>(simd: S, kernel: &mut BandKernel<T>) {
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
    for band_row in kernel.rows.clone() {
        let taps = kernel.taps_inside(band_row);
        let vector_width = kernel.width.next_multiple_of(S::LANES);
        let mut column = 0;
        while column < vector_width {
            if vector_width - column >= 2 * S::LANES {
                tile::<S, T, CHANNELS, 2>(simd, kernel, offsets, taps.clone(), band_row, column);
                column += 2 * S::LANES;
            } else {
                tile::<S, T, CHANNELS, 1>(simd, kernel, offsets, taps.clone(), band_row, column);
                column += S::LANES;
            }
        }
    }
}

#[inline(always)]
fn tile<S: Simd, T: Element, const CHANNELS: usize, const VECTORS: usize>(
    simd: S,
    kernel: &mut BandKernel<T>,
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
                pixels[vector] = T::load(simd, kernel.planes, at + vector * lanes);
            }
            for channel in 0..CHANNELS {
                let weight = weights[channel].splat(simd);
                for vector in 0..VECTORS {
                    sums[channel][vector] = T::mul_add(simd, pixels[vector], weight, sums[channel][vector]);
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
