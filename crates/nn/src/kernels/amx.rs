//! The convolution of channel pairs on matrix tiles.
//!
//! A tile of sums is up to 16 output channels of 16 neighboring pixels, a tile of weights those channels' for up to 16
//! input planes and one tap, a tile of pixels what the tap sees of these planes, read where they lie. Two tiles of
//! weights and two of pixels at a time give four of sums, so that each is used twice.
//!
//! The order of the sums is that of the chunks of planes, then the taps; within a chunk it is the processor's, which
//! also takes denormal numbers for zero. The bits are therefore not those of the register tile in `tile`, but they
//! depend neither on the number of threads nor on where a band begins.

use std::ops::Range;

use super::conv::Block;
use super::element::Element;
use super::taps::Tap;
use super::tile::{BandKernel, Start};
use crate::simd::tiles::{Sums, TILE, TileKernel, TileShape, Tiles};

/// Weights in the order of [`TileBand`].
pub(crate) struct TileWeights<T> {
    shape: TileShape,
    /// The first plane of each chunk. The last one may share planes with the one before it, where its weights are zero:
    /// so all chunks are of one length.
    chunks: Vec<usize>,
    /// All output channels: `[tile of channels, chunk, tap, channel, pair]`.
    pub(crate) block: Block<T>,
}

impl<T: Element> TileWeights<T> {
    /// Packs the weights that `weight` gives for an output channel, an input plane and a place in the kernel.
    pub(crate) fn new(
        outputs: usize,
        inputs: usize,
        taps: &[Tap],
        weight: impl Fn(usize, usize, usize) -> T,
    ) -> Self {
        let channel_tiles = outputs.div_ceil(TILE);
        let channels = outputs.div_ceil(channel_tiles);
        let chunk_count = inputs.div_ceil(TILE);
        let pairs = inputs.div_ceil(chunk_count);
        let chunks: Vec<usize> = (0..chunk_count).map(|chunk| (chunk * pairs).min(inputs - pairs)).collect();

        let mut weights = Vec::with_capacity(channel_tiles * channels * chunk_count * pairs * taps.len());
        for first_output in (0..outputs).step_by(channels) {
            for (chunk, &first) in chunks.iter().enumerate() {
                for tap in taps {
                    for output in first_output..first_output + channels {
                        weights.extend((first..first + pairs).map(|plane| {
                            let used = output < outputs && plane >= chunk * pairs;
                            if used { weight(output, plane, tap.index) } else { T::default() }
                        }));
                    }
                }
            }
        }
        let block = Block { first: 0, count: outputs, weights };
        Self { shape: TileShape { channels, pairs }, chunks, block }
    }
}

/// A band of rows of one image, for all output channels; `band` has the weights of `weights.block`.
pub(crate) struct TileBand<'a, 'b, T> {
    pub(crate) weights: &'a TileWeights<T>,
    pub(crate) band: BandKernel<'a, 'b, T>,
}

impl<T: Element> TileKernel<T> for TileBand<'_, '_, T> {
    fn shape(&self) -> TileShape {
        self.weights.shape
    }

    fn run<M: Tiles<T>>(mut self, tiles: &mut M) {
        let outputs = self.band.outputs.len();
        let channels = self.weights.shape.channels;
        for first_output in (0..outputs).step_by(2 * channels) {
            let two_tiles = outputs - first_output > channels;
            for band_row in self.band.rows.clone() {
                let taps = self.band.taps_inside(band_row);
                for column in (0..self.band.width).step_by(2 * TILE) {
                    let two_columns = self.band.width - column > TILE;
                    let place = Place { first_output, band_row, column };
                    match (two_tiles, two_columns) {
                        (true, true) => self.block::<M, 2, 2>(tiles, taps.clone(), place),
                        (true, false) => self.block::<M, 2, 1>(tiles, taps.clone(), place),
                        (false, true) => self.block::<M, 1, 2>(tiles, taps.clone(), place),
                        (false, false) => self.block::<M, 1, 1>(tiles, taps.clone(), place),
                    }
                }
            }
        }
    }
}

/// The first output of a block of tiles.
#[derive(Clone, Copy)]
struct Place {
    first_output: usize,
    band_row: usize,
    column: usize,
}

impl<T: Element> TileBand<'_, '_, T> {
    /// The sums of one or two tiles of channels of one or two tiles of pixels.
    fn block<M: Tiles<T>, const CHANNELS: usize, const COLUMNS: usize>(
        &mut self,
        tiles: &mut M,
        taps: Range<usize>,
        place: Place,
    ) {
        macro_rules! for_sums {
            ($do:ident $arguments:tt) => {
                self.$do::<M, 0, 0> $arguments;
                if COLUMNS > 1 {
                    self.$do::<M, 0, 1> $arguments;
                }
                if CHANNELS > 1 {
                    self.$do::<M, 1, 0> $arguments;
                }
                if CHANNELS > 1 && COLUMNS > 1 {
                    self.$do::<M, 1, 1> $arguments;
                }
            };
        }
        for_sums!(begin(tiles, place));

        let TileShape { channels, pairs } = self.weights.shape;
        let band = &self.band;
        let row = (band.first_row + place.band_row) * band.stride + band.margin + place.column;
        // Lengths of the weights of a tap, of a chunk and of a tile of channels.
        let tap_len = channels * pairs;
        let chunk_len = band.taps.len() * tap_len;
        let tile_len = self.weights.chunks.len() * chunk_len;
        let first_weight = place.first_output / channels * tile_len;
        for (chunk, plane) in self.weights.chunks.iter().enumerate() {
            let base = row + plane * band.plane_len;
            for idx in taps.clone() {
                let tap = band.taps[idx];
                let at = base.wrapping_add_signed(tap.dy * band.stride as isize + tap.dx);
                let weight = first_weight + chunk * chunk_len + idx * tap_len;
                tiles.load_weights::<0>(band.weights, weight);
                tiles.load_pixels::<0>(band.planes, at, band.plane_len);
                tiles.multiply::<0, 0>();
                if COLUMNS > 1 {
                    tiles.load_pixels::<1>(band.planes, at + TILE, band.plane_len);
                    tiles.multiply::<0, 1>();
                }
                if CHANNELS > 1 {
                    tiles.load_weights::<1>(band.weights, weight + tile_len);
                    tiles.multiply::<1, 0>();
                    if COLUMNS > 1 {
                        tiles.multiply::<1, 1>();
                    }
                }
            }
        }
        for_sums!(end(tiles, place));
    }

    /// The output channels of a tile of sums, and where its pixels are in each.
    fn outputs<const W: usize, const P: usize>(&self, place: Place) -> [Range<usize>; 2] {
        let first = place.first_output + W * self.weights.shape.channels;
        let last = (first + self.weights.shape.channels).min(self.band.outputs.len());
        let column = place.column + P * TILE;
        let row = place.band_row * self.band.width;
        [first..last, row + column..row + self.band.width.min(column + TILE)]
    }

    /// Sets a tile of sums to what the outputs start with.
    fn begin<M: Tiles<T>, const W: usize, const P: usize>(&self, tiles: &mut M, place: Place) {
        let [channels, pixels] = self.outputs::<W, P>(place);
        let mut sums: Sums = [[0.0; TILE]; TILE];
        match self.band.start {
            Start::Zero => return tiles.zero::<W, P>(),
            Start::Bias(bias) => {
                for (sums, &bias) in sums.iter_mut().zip(&bias[channels]) {
                    sums.fill(bias);
                }
            }
            Start::Output => {
                for (sums, output) in sums.iter_mut().zip(&self.band.outputs[channels]) {
                    sums[..pixels.len()].copy_from_slice(&output[pixels.clone()]);
                }
            }
        }
        tiles.load_sums::<W, P>(&sums);
    }

    /// Writes a tile of sums to the outputs.
    fn end<M: Tiles<T>, const W: usize, const P: usize>(&mut self, tiles: &mut M, place: Place) {
        let [channels, pixels] = self.outputs::<W, P>(place);
        let mut sums: Sums = [[0.0; TILE]; TILE];
        tiles.store_sums::<W, P>(&mut sums);
        for (sums, output) in sums.iter().zip(&mut self.band.outputs[channels]) {
            output[pixels.clone()].copy_from_slice(&sums[..pixels.len()]);
        }
    }
}
