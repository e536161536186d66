//! Convolution of many channels in few multiplications: Winograd's in square tiles.
//!
//! A kernel of R × R taps over P × P input positions gives M × M outputs, R + M = P + 1. Input and kernel are each
//! transformed to P × P points, multiplied point by point while the channels are summed, and the sums are transformed to
//! the outputs: P² products for M² outputs of R² taps. P is 6, which is 4 times fewer for R = 3; for R = 2 it is 5, 2.6
//! times fewer. The products are those of matrices, one pair a point, in packed panels as in `correlate`.
//!
//! Of a convolution with stride 2 the input falls into four phases, every second position along each axis: they count as
//! channels, each with every second tap of the kernel, so that R is 2 for 4 × 4 taps.
//! The convolution's transpose is one with reflected taps, whose phases are those of its output. The gradient of the
//! weights is found likewise: the output's gradient, M × M positions a tile, is the kernel, and R × R weights are the
//! outputs.
//!
//! The error's root mean square was 1.8 to 2.4 times that of direct sums for R = 3; it is below 4 times for R = 2. Each sum has
//! a fixed order: bits do not depend on the number of threads.
//!
//! # References
//! Lavin and Gray (2016), "Fast algorithms for convolutional neural networks", doi:10.1109/CVPR.2016.435.

mod matrices;
mod panels;
mod product;

use rayon::prelude::*;

use super::convolution::Convolution;
use super::window::ConvShape;
use matrices::{Matrix, POINTS};
use panels::{Lanes, MAX_WIDTH, Panels, Shape};
use product::Products;

/// Tiles from which transforming the weights is worth its time.
const MIN_TILES: usize = 64;
/// Channels, in and out, from which transforming input and output is worth its time.
const MIN_CHANNELS: usize = 64;
/// Transformed values of tiles that are made, multiplied and read before the next: a part of the third cache.
const BLOCK_VALUES: usize = 1 << 20;

/// A convolution in square tiles.
pub(crate) struct Square<'a> {
    convolution: &'a Convolution,
    /// Positions from one output to the next.
    stride: usize,
    /// Taps along each axis of a phase's kernel.
    taps: usize,
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

/// Planes `[image, channel]` of which position k of phase r is k · stride + r + `offset`; zero outside.
#[derive(Clone, Copy)]
struct Source<'a> {
    values: &'a [f32],
    channels: usize,
    size: [usize; 2],
    stride: usize,
    offset: isize,
}

impl Source<'_> {
    /// Copies a tile of `side` × `side` positions of a `[channel, phase]` into a lane.
    #[inline(always)]
    fn copy(&self, side: usize, place: Place, channel: usize, lane: usize, out: &mut Lanes) {
        macro_rules! for_sizes {
            ($($side:literal)*) => {
                match (side, self.stride) {
                    $(($side, 1) => self.copy_sized::<$side, 1>(place, channel, lane, out),
                    ($side, _) => self.copy_sized::<$side, 2>(place, channel, lane, out),)*
                    _ => unreachable!("a tile has at most six positions a side, not {side}"),
                }
            };
        }
        for_sizes!(2 3 4 5 6);
    }

    #[inline(always)]
    fn copy_sized<const SIDE: usize, const STRIDE: usize>(
        &self,
        (image, first): Place,
        channel: usize,
        lane: usize,
        out: &mut Lanes,
    ) {
        let Self { values, channels, size: [height, width], offset, .. } = *self;
        let (channel, phase) = (channel / (STRIDE * STRIDE), phase(STRIDE, channel));
        let plane = &values[(image * channels + channel) * height * width..][..height * width];
        // What lies before the plane wraps to a place far after it.
        let [top, left]: [usize; 2] =
            std::array::from_fn(|axis| (first[axis] * STRIDE + phase[axis]).wrapping_add_signed(offset));
        let reach = STRIDE * (SIDE - 1) + 1;
        for row in 0..SIDE {
            let out = &mut out[row * SIDE..(row + 1) * SIDE];
            let y = top.wrapping_add(row * STRIDE);
            let values = if y < height { &plane[y * width..(y + 1) * width] } else { &[][..] };
            if let Some(values) = values.get(left..left.wrapping_add(reach)) {
                for column in 0..SIDE {
                    out[column][lane] = values[column * STRIDE];
                }
            } else {
                for column in 0..SIDE {
                    out[column][lane] =
                        values.get(left.wrapping_add(column * STRIDE)).copied().unwrap_or(0.0);
                }
            }
        }
    }
}

/// Row and column of the phase in an index `[channel, phase]`.
#[inline(always)]
fn phase(stride: usize, channel: usize) -> [usize; 2] {
    let phase = channel % (stride * stride);
    [phase / stride, phase % stride]
}

/// Planes `[image, channel]` to write: position k of phase r goes to k · stride + r + `offset`, if that is inside.
struct Target<'a> {
    /// For each channel the planes of all images.
    planes: Vec<Vec<&'a mut [f32]>>,
    size: [usize; 2],
    stride: usize,
    offset: isize,
}

impl<'a> Target<'a> {
    fn new(values: &'a mut [f32], channels: usize, size: [usize; 2], stride: usize, offset: isize) -> Self {
        let mut planes: Vec<Vec<&mut [f32]>> = Vec::new();
        planes.resize_with(channels, Vec::new);
        for (idx, plane) in values.chunks_exact_mut(size[0] * size[1]).enumerate() {
            planes[idx % channels].push(plane);
        }
        Self { planes, size, stride, offset }
    }
}

impl<'a> Square<'a> {
    /// The convolution in square tiles, if it is one that they make faster.
    pub(crate) fn new(convolution: &'a Convolution) -> Option<Self> {
        let Convolution { shape, images, inputs, outputs, input, output, .. } = convolution;
        let square = Self::of_shape(convolution)?;
        let is_plane = [input[0], shape.kernel[0], shape.padding[0] + 1] == [1; 3];
        let grid = [output[1], output[2]];
        let side = square.points() + 1 - square.taps;
        let tiles = grid.map(|size| size.div_ceil(side)).into_iter().product::<usize>();
        let is_large = images * tiles >= MIN_TILES && *inputs.min(outputs) >= MIN_CHANNELS;
        // Smaller kernels save too few products.
        let saves = shape.kernel[1] >= 2 * square.stride && shape.kernel[1] > 2;
        (is_plane && is_large && saves).then_some(square)
    }

    /// The convolution in square tiles, if its rows and columns can be.
    fn of_shape(convolution: &'a Convolution) -> Option<Self> {
        let ConvShape { kernel: [_, taps, width], stride: [_, stride, stride_x], padding, dilation } =
            convolution.shape;
        let is_square = [taps, stride, padding[1]] == [width, stride_x, padding[2]] && dilation == [1; 3];
        let of_phase = taps.div_ceil(stride);
        let has_tiles = (1..=2).contains(&stride) && (2..POINTS).contains(&of_phase);
        (is_square && has_tiles).then_some(Self { convolution, stride, taps: of_phase })
    }

    /// Points along each axis: five for two taps, for which six save a tenth more products but double the error.
    fn points(&self) -> usize {
        if self.taps == 2 { 5 } else { 6 }
    }

    fn phases(&self) -> usize {
        self.stride * self.stride
    }

    /// The convolution's input, phase by phase.
    fn input<'b>(&self, x: &'b [f32]) -> Source<'b> {
        let Convolution { shape, inputs, input: [_, height, width], .. } = *self.convolution;
        let offset = -(shape.padding[1] as isize);
        Source { values: x, channels: inputs, size: [height, width], stride: self.stride, offset }
    }

    /// Copies the kernel of an output and an input's phase into a lane; reflected for the transpose.
    #[inline(always)]
    fn copy_kernel(
        &self,
        weights: &[f32],
        output: usize,
        input: usize,
        is_reflected: bool,
        lane: usize,
        out: &mut Lanes,
    ) {
        let Self { stride, taps, .. } = *self;
        let Convolution { shape, inputs, .. } = *self.convolution;
        let (size, phase) = (shape.kernel[1], phase(stride, input));
        let kernel = &weights[(output * inputs + input / self.phases()) * size * size..][..size * size];
        for (idx, out) in out[..taps * taps].iter_mut().enumerate() {
            let place = if is_reflected { taps * taps - 1 - idx } else { idx };
            let (u, v) = (place / taps * stride + phase[0], place % taps * stride + phase[1]);
            out[lane] = if u < size && v < size { kernel[u * size + v] } else { 0.0 };
        }
    }

    /// The output, from an input, weights and perhaps a bias of the outputs; see [`Convolution::forward`].
    pub(crate) fn forward(&self, x: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let Convolution { images, outputs, output: [_, rows, columns], .. } = *self.convolution;
        let mut result = vec![0.0; images * outputs * rows * columns];
        let target = Target::new(&mut result, outputs, [rows, columns], 1, 0);
        self.convolve(&self.input(x), [rows, columns], target, bias, |output, input, lane, out| {
            self.copy_kernel(weights, output, input, false, lane, out);
        });
        result
    }

    /// The transpose: see [`Convolution::transposed`].
    ///
    /// With i + padding = k · stride + r the input's position i is the sum over q of position k − q of the output and tap
    /// q · stride + r: position k of phase r.
    pub(crate) fn transposed(&self, y: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let Self { stride, taps, .. } = *self;
        let Convolution { shape, images, inputs, outputs, input, output, .. } = *self.convolution;
        let ([_, rows, columns], [_, height, width]) = (input, output);
        let padding = shape.padding[1];
        // The first k at which any phase is inside, and how many there are.
        let first = (padding + 1).saturating_sub(stride).div_ceil(stride);
        let grid = [rows, columns].map(|size| (size - 1 + padding) / stride + 1 - first);
        let offset = first as isize - (taps as isize - 1);
        let source = Source { values: y, channels: outputs, size: [height, width], stride: 1, offset };
        let mut result = vec![0.0; images * inputs * rows * columns];
        let offset = (first * stride) as isize - padding as isize;
        let target = Target::new(&mut result, inputs, [rows, columns], stride, offset);
        self.convolve(&source, grid, target, bias, |input, output, lane, out| {
            self.copy_kernel(weights, output, input, true, lane, out);
        });
        result
    }

    /// Convolves over the positions of `grid` with the kernels that `copy(to, from, lane, out)` writes.
    fn convolve(
        &self,
        source: &Source,
        grid: [usize; 2],
        mut target: Target,
        bias: Option<&[f32]>,
        copy: impl Fn(usize, usize, usize, &mut Lanes) + Sync,
    ) {
        let Convolution { level, images, .. } = *self.convolution;
        let points = self.points();
        let side = points + 1 - self.taps;
        let places = places(images, side, grid);
        let rows = source.channels * source.stride * source.stride;
        let (stride, [height, width], offset) = (target.stride, target.size, target.offset);
        let (phases, channels) = (stride * stride, target.planes.len());
        let transformed_input = |places: &[Place]| {
            let shape = Shape::wide(level, places.len(), rows);
            Panels::new(level, shape, &Matrix::input(points), |tile, channel, lane, out| {
                source.copy(points, places[tile], channel, lane, out);
            })
        };
        let blocks = Blocks::new(places.len(), rows + channels * phases, channels, rows * phases);
        let whole = blocks.tiles_fit.then(|| transformed_input(&places));
        let matrices = [Matrix::kernel(points, self.taps), Matrix::output(points, side)];
        for (block, planes) in target.planes.chunks_mut(blocks.lanes).enumerate() {
            let first = block * blocks.lanes;
            let shape = Shape::narrow(level, planes.len() * phases, rows);
            let kernel = Panels::new(level, shape, &matrices[0], |to, from, lane, out| {
                copy(first * phases + to, from, lane, out);
            });
            for places in places.chunks(blocks.tiles) {
                let part = whole.is_none().then(|| transformed_input(places));
                let input = whole.as_ref().or(part.as_ref()).expect("because one of them was made");
                let mut products = Products::new(&kernel, input);
                products.add(level, &kernel, input, true);
                planes.par_iter_mut().enumerate().for_each(|(channel, planes)| {
                    let bias = bias.map_or(0.0, |bias| bias[first + channel]);
                    for lane in channel * phases..(channel + 1) * phases {
                        let phase = phase(stride, lane);
                        products.transform(level, lane, &matrices[1], |tile, lane, values| {
                            let (image, first) = places[tile];
                            let [top, left]: [usize; 2] = std::array::from_fn(|axis| {
                                (first[axis] * stride + phase[axis]).wrapping_add_signed(offset)
                            });
                            for row in 0..side {
                                let y = top.wrapping_add(row * stride);
                                if y >= height {
                                    continue;
                                }
                                let target = &mut planes[image][y * width..(y + 1) * width];
                                let values = values[row * side..(row + 1) * side].iter().enumerate();
                                for (column, value) in values {
                                    if let Some(target) = target.get_mut(left.wrapping_add(column * stride)) {
                                        *target = value[lane] + bias;
                                    }
                                }
                            }
                        });
                    }
                });
            }
        }
    }

    /// The gradient of the weights: see [`Convolution::weight_gradient`].
    pub(crate) fn weight_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Self { stride, taps, .. } = *self;
        let Convolution { level, shape, images, inputs, outputs, output: [_, rows, columns], .. } =
            *self.convolution;
        let points = self.points();
        let (side, lanes) = (points + 1 - taps, inputs * self.phases());
        let places = places(images, side, [rows, columns]);
        let input = self.input(x);
        let output =
            Source { values: gradient, channels: outputs, size: [rows, columns], stride: 1, offset: 0 };
        let transformed_input = |places: &[Place]| {
            let shape = Shape::wide(level, lanes, places.len());
            Panels::new(level, shape, &Matrix::input(points), |channel, tile, lane, out| {
                input.copy(points, places[tile], channel, lane, out);
            })
        };
        let blocks = Blocks::new(places.len(), lanes + outputs, outputs, lanes);
        let whole = blocks.tiles_fit.then(|| transformed_input(&places));
        let matrices = [Matrix::kernel(points, side), Matrix::output(points, taps)];
        let size = shape.kernel[1];
        let mut result = vec![0.0; outputs * inputs * size * size];
        for (block, result) in result.chunks_mut(blocks.lanes * inputs * size * size).enumerate() {
            let first = block * blocks.lanes;
            let mut products: Option<Products> = None;
            for places in places.chunks(blocks.tiles) {
                let part = whole.is_none().then(|| transformed_input(places));
                let input = whole.as_ref().or(part.as_ref()).expect("because one of them was made");
                let shape = Shape::narrow(level, result.len() / (inputs * size * size), places.len());
                let kernel = Panels::new(level, shape, &matrices[0], |channel, tile, lane, out| {
                    output.copy(side, places[tile], first + channel, lane, out);
                });
                let is_first = products.is_none();
                products
                    .get_or_insert_with(|| Products::new(&kernel, input))
                    .add(level, &kernel, input, is_first);
            }
            let products = products.expect("because an image has a tile");
            result.par_chunks_exact_mut(inputs * size * size).enumerate().for_each(|(output, result)| {
                products.transform(level, output, &matrices[1], |input, lane, values| {
                    let phase = phase(stride, input);
                    let weights = &mut result[input / self.phases() * size * size..][..size * size];
                    for (idx, value) in values[..taps * taps].iter().enumerate() {
                        let (u, v) = (idx / taps * stride + phase[0], idx % taps * stride + phase[1]);
                        if u < size && v < size {
                            weights[u * size + v] = value[lane];
                        }
                    }
                });
            });
        }
        result
    }
}

/// What is done at once, so that transformed values stay in a cache between their making and their use.
struct Blocks {
    tiles: usize,
    /// One block holds all tiles.
    tiles_fit: bool,
    /// Output channels: all, unless one block holds all tiles. Few tiles have many kernels.
    lanes: usize,
}

impl Blocks {
    /// For `tiles` tiles with so many values each at a point, and `lanes` output channels likewise.
    fn new(tiles: usize, tile_values: usize, lanes: usize, lane_values: usize) -> Self {
        let fitting = |values: usize| BLOCK_VALUES / (POINTS * POINTS * values);
        // Whole panels of every width.
        let block_tiles = fitting(tile_values).next_multiple_of(MAX_WIDTH).max(MIN_TILES);
        let tiles_fit = tiles <= block_tiles;
        let lanes = if tiles_fit { fitting(lane_values).clamp(1, lanes) } else { lanes };
        Self { tiles: block_tiles, tiles_fit, lanes }
    }
}

#[cfg(test)]
mod tests;
