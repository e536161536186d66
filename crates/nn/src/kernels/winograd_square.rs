//! Convolution of many channels with stride 1 in few multiplications: Winograd's in square tiles.
//!
//! A kernel of R × R taps over 6 × 6 input positions gives M × M outputs, R + M = 7. Input and kernel are each transformed
//! to 6 × 6 points, multiplied point by point while the channels are summed, and the sums are transformed to the
//! outputs: 36 products for M² outputs of R² taps, 4 times fewer for R = 3. The products are those of matrices, one pair
//! a point, in packed panels as in `correlate`.
//!
//! The convolution's transpose is one with reflected taps. The gradient of the weights is found likewise: the output's
//! gradient, M × M positions a tile, is the kernel, and R × R weights are the outputs.
//!
//! The error's root mean square was 1.8 to 2.4 times that of direct sums for R = 3. Each sum has a fixed order: bits do not depend
//! on the number of threads.
//!
//! # References
//! Lavin and Gray (2016), "Fast algorithms for convolutional neural networks", doi:10.1109/CVPR.2016.435.

mod matrices;
mod panels;
mod product;

use rayon::prelude::*;

use super::convolution::Convolution;
use matrices::{Matrix, POINTS};
use panels::{Lanes, Panels, Shape};
use product::multiply;

/// Tiles from which transforming the weights is worth its time.
const MIN_TILES: usize = 64;
/// Channels, in and out, from which transforming input and output is worth its time.
const MIN_CHANNELS: usize = 64;

/// A convolution in square tiles.
pub(crate) struct Square<'a> {
    convolution: &'a Convolution,
    /// Taps of the kernel along each axis.
    taps: usize,
    padding: usize,
}

/// A tile: its image, and its first row and column.
type Place = (usize, [usize; 2]);

/// The tiles of so many positions a side that cover `images` planes of `[height, width]`.
fn places(images: usize, side: usize, [height, width]: [usize; 2]) -> Vec<Place> {
    let mut places = Vec::new();
    for image in 0..images {
        for row in (0..height).step_by(side) {
            places.extend((0..width).step_by(side).map(|column| (image, [row, column])));
        }
    }
    places
}

/// Planes `[image, channel]` of which position k of a tile is k + `offset`; zero outside.
#[derive(Clone, Copy)]
struct Source<'a> {
    values: &'a [f32],
    channels: usize,
    size: [usize; 2],
    offset: isize,
}

impl Source<'_> {
    /// Copies a tile of `SIDE` × `SIDE` positions of a channel into a lane.
    #[inline(always)]
    fn copy<const SIDE: usize>(&self, (image, first): Place, channel: usize, lane: usize, out: &mut Lanes) {
        let Self { values, channels, size: [height, width], offset } = *self;
        let plane = &values[(image * channels + channel) * height * width..][..height * width];
        // What lies before the plane wraps to a place far after it.
        let [top, left] = first.map(|first| first.wrapping_add_signed(offset));
        for row in 0..SIDE {
            let out = &mut out[row * SIDE..(row + 1) * SIDE];
            let y = top.wrapping_add(row);
            let values = if y < height { &plane[y * width..(y + 1) * width] } else { &[][..] };
            if let Some(values) = values.get(left..).and_then(|values| values.first_chunk::<SIDE>()) {
                for column in 0..SIDE {
                    out[column][lane] = values[column];
                }
            } else {
                for column in 0..SIDE {
                    out[column][lane] = values.get(left.wrapping_add(column)).copied().unwrap_or(0.0);
                }
            }
        }
    }
}

impl<'a> Square<'a> {
    /// The convolution in square tiles, if it is one that they make faster.
    pub(crate) fn new(convolution: &'a Convolution) -> Option<Self> {
        let Convolution { shape, images, inputs, outputs, input, output, .. } = convolution;
        let [depth, taps, width] = shape.kernel;
        let [no_padding, padding, padding_x] = shape.padding;
        let is_plane = [input[0], depth] == [1; 2] && no_padding == 0;
        let is_plain = shape.stride == [1; 3] && shape.dilation == [1; 3];
        if !is_plane || !is_plain || taps != width || padding != padding_x || !(3..=5).contains(&taps) {
            return None;
        }
        let tiles = output[1..].iter().map(|size| size.div_ceil(POINTS + 1 - taps)).product::<usize>();
        let is_large = images * tiles >= MIN_TILES && *inputs.min(outputs) >= MIN_CHANNELS;
        is_large.then_some(Self { convolution, taps, padding })
    }

    /// Side of a tile of outputs.
    fn side(&self) -> usize {
        POINTS + 1 - self.taps
    }

    /// The output, from an input, weights and perhaps a bias of the outputs; see [`Convolution::forward`].
    pub(crate) fn forward(&self, x: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let Convolution { inputs, outputs, input: [_, height, width], output: [_, rows, columns], .. } =
            *self.convolution;
        let offset = -(self.padding as isize);
        let source = Source { values: x, channels: inputs, size: [height, width], offset };
        let taps = self.taps * self.taps;
        self.convolve(&source, [outputs, rows, columns], bias, |output, input, lane, out| {
            let weights = &weights[(output * inputs + input) * taps..][..taps];
            for (out, weight) in out.iter_mut().zip(weights) {
                out[lane] = *weight;
            }
        })
    }

    /// The transpose: see [`Convolution::transposed`].
    pub(crate) fn transposed(&self, y: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let Convolution { inputs, outputs, input: [_, rows, columns], output: [_, height, width], .. } =
            *self.convolution;
        let offset = self.padding as isize - (self.taps as isize - 1);
        let source = Source { values: y, channels: outputs, size: [height, width], offset };
        let taps = self.taps * self.taps;
        self.convolve(&source, [inputs, rows, columns], bias, |input, output, lane, out| {
            let weights = &weights[(output * inputs + input) * taps..][..taps];
            for (out, weight) in out.iter_mut().zip(weights.iter().rev()) {
                out[lane] = *weight;
            }
        })
    }

    /// Convolves to `[images, channels, rows, columns]` with the kernels that `copy(to, from, lane, out)` writes.
    fn convolve(
        &self,
        source: &Source,
        [channels, rows, columns]: [usize; 3],
        bias: Option<&[f32]>,
        copy: impl Fn(usize, usize, usize, &mut Lanes) + Sync,
    ) -> Vec<f32> {
        let Convolution { level, images, .. } = *self.convolution;
        let side = self.side();
        let places = places(images, side, [rows, columns]);
        let shape = Shape::wide(level, places.len(), source.channels);
        let input = Panels::new(level, shape, &Matrix::input(), |tile, channel, lane, out| {
            source.copy::<POINTS>(places[tile], channel, lane, out);
        });
        let shape = Shape::narrow(level, channels, source.channels);
        let kernel = Panels::new(level, shape, &Matrix::kernel(self.taps), copy);
        let products = multiply(level, &kernel, &input);
        let mut result = vec![0.0; images * channels * rows * columns];
        let mut planes: Vec<Vec<&mut [f32]>> = Vec::new();
        planes.resize_with(channels, Vec::new);
        for (idx, plane) in result.chunks_exact_mut(rows * columns).enumerate() {
            planes[idx % channels].push(plane);
        }
        planes.par_iter_mut().enumerate().for_each(|(channel, planes)| {
            let bias = bias.map_or(0.0, |bias| bias[channel]);
            products.transform(level, channel, &Matrix::output(side), |tile, lane, values| {
                let (image, [top, left]) = places[tile];
                let count = side.min(columns - left);
                for row in 0..side.min(rows - top) {
                    let target = &mut planes[image][(top + row) * columns + left..][..count];
                    for (target, value) in target.iter_mut().zip(&values[row * side..]) {
                        *target = value[lane] + bias;
                    }
                }
            });
        });
        result
    }

    /// The gradient of the weights: see [`Convolution::weight_gradient`].
    pub(crate) fn weight_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Convolution { level, images, inputs, outputs, input, output, .. } = *self.convolution;
        let ([_, height, width], [_, rows, columns]) = (input, output);
        let side = self.side();
        let places = places(images, side, [rows, columns]);
        let offset = -(self.padding as isize);
        let source = Source { values: x, channels: inputs, size: [height, width], offset };
        let shape = Shape::wide(level, inputs, places.len());
        let input = Panels::new(level, shape, &Matrix::input(), |channel, tile, lane, out| {
            source.copy::<POINTS>(places[tile], channel, lane, out);
        });
        let source = Source { values: gradient, channels: outputs, size: [rows, columns], offset: 0 };
        let shape = Shape::narrow(level, outputs, places.len());
        let kernel =
            Panels::new(level, shape, &Matrix::kernel(side), |channel, tile, lane, out| match side {
                2 => source.copy::<2>(places[tile], channel, lane, out),
                3 => source.copy::<3>(places[tile], channel, lane, out),
                _ => source.copy::<4>(places[tile], channel, lane, out),
            });
        let products = multiply(level, &kernel, &input);
        let taps = self.taps * self.taps;
        let mut result = vec![0.0; outputs * inputs * taps];
        result.par_chunks_exact_mut(inputs * taps).enumerate().for_each(|(output, result)| {
            products.transform(level, output, &Matrix::output(self.taps), |input, lane, values| {
                let weights = &mut result[input * taps..(input + 1) * taps];
                for (weight, value) in weights.iter_mut().zip(values) {
                    *weight = value[lane];
                }
            });
        });
        result
    }
}

#[cfg(test)]
mod tests;
