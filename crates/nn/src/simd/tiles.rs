//! Products of small matrices of bfloat16 pairs: the operations of Intel's AMX, and portable ones of the same meaning.
//!
//! The tiles are four of sums, two of weights and two of pixels; sums `[W, P]` are those of weights W and pixels P.

use super::{Portable, Simd};
use crate::kernels::element::Element;

/// Channels or pairs in a tile at most, and pixels in each.
pub(crate) const TILE: usize = 16;

/// A tile's sums `[channel, pixel]`.
pub(crate) type Sums = [[f32; TILE]; TILE];

/// How much of the tiles is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileShape {
    /// Rows of the sums and of the weights: 1 to 16.
    pub(crate) channels: usize,
    /// Columns of the weights and rows of the pixels: 1 to 16.
    pub(crate) pairs: usize,
}

impl TileShape {
    /// The shape itself; panics if it does not fit tiles.
    pub(crate) fn checked(self) -> Self {
        let fits = |len: usize| (1..=TILE).contains(&len);
        assert!(fits(self.channels) && fits(self.pairs), "{self:?} does not fit tiles of 16 x 16");
        self
    }
}

/// The tiles of one thread.
pub(crate) trait Tiles<T> {
    /// Sets the sums to zero.
    fn zero<const W: usize, const P: usize>(&mut self);
    /// Reads the sums of the shape's channels.
    fn load_sums<const W: usize, const P: usize>(&mut self, sums: &Sums);
    /// Writes the sums of the shape's channels.
    fn store_sums<const W: usize, const P: usize>(&mut self, sums: &mut Sums);
    /// Reads weights `[channel, pair]` from `start`; panics if they are not there.
    fn load_weights<const W: usize>(&mut self, weights: &[T], start: usize);
    /// Reads 16 neighboring pixels of as many planes as the shape has pairs, `plane_len` apart, from `start`; panics if
    /// they are not there.
    fn load_pixels<const P: usize>(&mut self, planes: &[T], start: usize, plane_len: usize);
    /// sums\[channel, pixel\] += Σ weights\[channel, pair\] · pixels\[pair, pixel\].
    fn multiply<const W: usize, const P: usize>(&mut self);
}

/// Work on tiles that is written once.
pub(crate) trait TileKernel<T> {
    /// How much of the tiles the work uses.
    fn shape(&self) -> TileShape;
    /// Does the work.
    fn run<M: Tiles<T>>(self, tiles: &mut M);
}

/// Runs a kernel on the processor's tiles, or with portable code if it has none.
pub(crate) fn dispatch_tiles<T: Element, K: TileKernel<T>>(kernel: K) {
    let shape = kernel.shape().checked();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if let Some(mut tiles) = super::amx::Amx::configure(shape) {
        return kernel.run(&mut tiles);
    }
    kernel.run(&mut PortableTiles::new(shape));
}

/// Tiles in memory.
struct PortableTiles<T> {
    shape: TileShape,
    sums: [[Sums; 2]; 2],
    weights: [[[T; TILE]; TILE]; 2],
    pixels: [[[T; TILE]; TILE]; 2],
}

impl<T: Element> PortableTiles<T> {
    fn new(shape: TileShape) -> Self {
        let elements = [[[T::default(); TILE]; TILE]; 2];
        Self { shape, sums: [[[[0.0; TILE]; TILE]; 2]; 2], weights: elements, pixels: elements }
    }
}

impl<T: Element> Tiles<T> for PortableTiles<T> {
    fn zero<const W: usize, const P: usize>(&mut self) {
        self.sums[W][P] = [[0.0; TILE]; TILE];
    }
    fn load_sums<const W: usize, const P: usize>(&mut self, sums: &Sums) {
        self.sums[W][P] = *sums;
    }
    fn store_sums<const W: usize, const P: usize>(&mut self, sums: &mut Sums) {
        let channels = self.shape.channels;
        sums[..channels].copy_from_slice(&self.sums[W][P][..channels]);
    }
    fn load_weights<const W: usize>(&mut self, weights: &[T], start: usize) {
        let TileShape { channels, pairs } = self.shape;
        let rows = weights[start..start + channels * pairs].chunks_exact(pairs);
        for (row, weights) in self.weights[W].iter_mut().zip(rows) {
            row[..pairs].copy_from_slice(weights);
        }
    }
    fn load_pixels<const P: usize>(&mut self, planes: &[T], start: usize, plane_len: usize) {
        for (pair, row) in self.pixels[P][..self.shape.pairs].iter_mut().enumerate() {
            row.copy_from_slice(&planes[start + pair * plane_len..][..TILE]);
        }
    }
    fn multiply<const W: usize, const P: usize>(&mut self) {
        let simd = Portable;
        for channel in 0..self.shape.channels {
            let sums = &mut self.sums[W][P][channel];
            for lane in (0..TILE).step_by(Portable::LANES) {
                let mut sum = simd.load(sums, lane);
                for pair in 0..self.shape.pairs {
                    let weight = self.weights[W][channel][pair].splat(simd);
                    sum = T::mul_add(simd, T::load(simd, &self.pixels[P][pair], lane), weight, sum);
                }
                simd.store(sum, sums, lane);
            }
        }
    }
}
