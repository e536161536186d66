//! Convolution with stride 1 and "same" padding of fewer multiplications: Winograd's along the rows' axis.
//!
//! Four output rows, the dilation apart, are a tile. A column of a kernel of r rows over the tile's r + 3 input rows is
//! a product of polynomials, which is found from its values at r + 3 points: transform the input's rows and the
//! kernel's to the points, multiply, transform back. At each point what is left is a convolution along columns, which
//! the register tile of `tile` does: (r + 3) / 4 products instead of r for each output, 2.5 times fewer for r = 5 and
//! twice fewer for r = 3.
//!
//! The error's root mean square was 2.1 times that of direct sums for r = 5 and 1.5 times for r = 3. Bits depend neither
//! on the number of threads nor on where the columns of a tile are cut.
//!
//! # References
//! Lavin and Gray (2016), "Fast algorithms for convolutional neural networks", doi:10.1109/CVPR.2016.435, of which this
//! is the one-dimensional form.

mod transform;

use std::sync::Arc;

use super::canvas::Layout;
use super::conv::PackedWeights;
use super::pool::{Buffer, Pool};
use super::strip::Strip;
use super::taps::{margin, taps};
use super::tile::{BandKernel, Start};
use crate::simd::{Level, MAX_LANES, dispatch};
use transform::{InputKernel, OutputKernel, Points, Transform, WIDE_ROWS};

/// Output rows of a tile.
pub(crate) const TILE_ROWS: usize = 4;

/// Transformed values that the second cache holds beside weights and products.
const BLOCK_VALUES: usize = 96 << 10;

/// Weights of a square kernel at every point.
pub(crate) struct WinogradWeights {
    transform: Transform,
    /// For each point a convolution along columns.
    points: Vec<PackedWeights>,
    inputs: usize,
    dilation: usize,
    /// Columns beside a block that its outputs read, in whole vectors.
    halo: usize,
}

impl WinogradWeights {
    /// Transforms `weight(output, input, place in the kernel)` of a kernel of 3×3 or 5×5 for images of `width` columns.
    pub(crate) fn new(
        level: Level,
        [outputs, inputs]: [usize; 2],
        kernel: usize,
        dilation: usize,
        width: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let transform = Transform::new(kernel);
        let columns = taps([1, kernel], dilation, [1, width], false);
        let points = (0..transform.points())
            .map(|point| {
                let factors = transform.weight_factors(point);
                PackedWeights::new(level, outputs, inputs, columns.clone(), |output, input, column| {
                    let rows = factors.iter().enumerate();
                    let value = |row: usize| f64::from(weight(output, input, row * kernel + column));
                    rows.map(|(row, factor)| factor * value(row)).sum::<f64>() as f32
                })
            })
            .collect();
        let halo = margin(&columns).next_multiple_of(MAX_LANES);
        Self { transform, points, inputs, dilation, halo }
    }
}

/// A tile of an image: the rows that it computes begin with `row` and are the kernels' dilation apart.
#[derive(Clone, Copy)]
pub(crate) struct TileInput<'a> {
    /// The image's planes, from the first that the weights are for, with margins that hold all that taps reach.
    pub(crate) planes: &'a [f32],
    pub(crate) layout: Layout,
    pub(crate) row: usize,
}

/// One of the convolutions of a tile.
pub(crate) struct TileOutput<'a, 'b> {
    pub(crate) weights: &'a WinogradWeights,
    pub(crate) start: Start<'a>,
    /// The rows to write, at most four, of each output channel.
    pub(crate) rows: Strip,
    /// Dense rows of each output channel.
    pub(crate) channels: &'a mut [&'b mut [f32]],
}

/// Convolves a tile with kernels of the same dilation, one of each size at most, whose input is transformed together.
pub(crate) fn convolve_tile(level: Level, pool: &Arc<Pool>, input: TileInput, outputs: &mut [TileOutput]) {
    let layout = input.layout;
    let weights = outputs.iter().map(|output| output.weights);
    let halo = weights.clone().map(|weights| weights.halo).max().unwrap_or(0);
    let planes: usize = weights.map(|weights| weights.points.len() * weights.inputs).sum();
    let room = (BLOCK_VALUES / planes).saturating_sub(2 * halo).max(4 * MAX_LANES);
    let blocks = layout.width.div_ceil(room);
    let block_width = layout.width.div_ceil(blocks).next_multiple_of(2 * MAX_LANES);
    let row_len = block_width + 2 * halo;

    let mut block = TileBlock { level, halo, row_len, block_width, columns: 0..0, zeros: pool.take(row_len) };
    block.zeros.fill(0.0);
    let mut transformed: Vec<Buffer<f32>> = outputs
        .iter()
        .map(|TileOutput { weights, .. }| pool.take(weights.points.len() * block.point_len(weights)))
        .collect();
    let products = |TileOutput { weights, channels, .. }: &TileOutput| weights.points.len() * channels.len();
    let mut products = pool.take(outputs.iter().map(products).max().unwrap_or(0) * block_width);
    for first in (0..layout.width).step_by(block_width) {
        block.columns = first..(first + block_width).min(layout.width);
        block.transform(input, outputs, &mut transformed);
        for (output, transformed) in outputs.iter_mut().zip(&transformed) {
            block.multiply(output, transformed, &mut products);
            block.transform_back(output, &products, layout.width);
        }
    }
}

/// Some columns of a tile.
struct TileBlock {
    level: Level,
    halo: usize,
    /// Values of a transformed row.
    row_len: usize,
    /// Values of a row of products.
    block_width: usize,
    columns: std::ops::Range<usize>,
    /// A row outside the image.
    zeros: Buffer<f32>,
}

impl TileBlock {
    /// Values from one point to the next: one cache line more than its rows, so that they do not evict each other.
    fn point_len(&self, weights: &WinogradWeights) -> usize {
        weights.inputs * self.row_len + MAX_LANES
    }

    /// The columns in whole vectors.
    fn width(&self) -> usize {
        self.columns.len().next_multiple_of(MAX_LANES)
    }

    /// Transforms the input's rows to the points of each kernel, `[point, input, column]`.
    fn transform(&self, input: TileInput, outputs: &[TileOutput], transformed: &mut [Buffer<f32>]) {
        let TileInput { planes, layout, row } = input;
        let WinogradWeights { inputs, dilation, .. } = *outputs[0].weights;
        let rows: [Option<usize>; WIDE_ROWS] = std::array::from_fn(|idx| {
            let below = (row + idx * dilation).checked_sub(WIDE_ROWS / 4 * dilation);
            below.filter(|row| *row < layout.height)
        });
        let first = layout.margin + self.columns.start - self.halo;
        let sources = |input: usize| {
            rows.map(|row| match row {
                Some(row) => &planes[input * layout.plane_len + row * layout.stride + first..],
                None => &self.zeros,
            })
        };
        for input in 0..inputs {
            let mut points = [None, None];
            for (output, transformed) in outputs.iter().zip(transformed.iter_mut()) {
                let WinogradWeights { transform, .. } = output.weights;
                points[usize::from(transform.is_wide())] = Some(Points {
                    transform,
                    values: &mut transformed[input * self.row_len..],
                    point_len: self.point_len(output.weights),
                });
            }
            let [narrow, wide] = points;
            let len = self.width() + 2 * self.halo;
            let ahead = sources((input + 1).min(inputs - 1));
            dispatch(self.level, InputKernel { sources: sources(input), ahead, len, narrow, wide });
        }
    }

    /// Convolves along columns at each point: `products` `[point, output, column]`.
    fn multiply(&self, output: &TileOutput, transformed: &[f32], products: &mut [f32]) {
        let weights = output.weights;
        let products = products.chunks_exact_mut(output.channels.len() * self.block_width);
        let transformed = transformed.chunks_exact(self.point_len(weights));
        for ((weights, products), planes) in weights.points.iter().zip(products).zip(transformed) {
            let mut products: Vec<&mut [f32]> = products.chunks_exact_mut(self.block_width).collect();
            for block in &weights.blocks {
                let kernel = BandKernel {
                    planes,
                    plane_len: self.row_len,
                    stride: self.row_len,
                    margin: self.halo,
                    height: 1,
                    width: self.width(),
                    taps: &weights.taps,
                    weights: &block.weights,
                    start: Start::Zero,
                    first_row: 0,
                    rows: 0..1,
                    outputs: &mut products[block.first..block.first + block.count],
                };
                dispatch(self.level, kernel);
            }
        }
    }

    /// Transforms the products to rows of the output.
    fn transform_back(&self, output: &mut TileOutput, products: &[f32], width: usize) {
        let point_len = output.channels.len() * self.block_width;
        for (channel, values) in output.channels.iter_mut().enumerate() {
            let kernel = OutputKernel {
                transform: &output.weights.transform,
                products: &products[channel * self.block_width..],
                point_len,
                start: match output.start {
                    Start::Zero => Some(0.0),
                    Start::Bias(bias) => Some(bias[channel]),
                    Start::Output => None,
                },
                columns: self.columns.clone(),
                width,
                rows: output.rows,
                output: values,
            };
            dispatch(self.level, kernel);
        }
    }
}

#[cfg(test)]
mod tests;
