//! Where a block's parameters lie in a slice that holds them one after the other.

use std::ops::Range;

use super::block::{BlockShape, BlockWeights};
use super::gradient::BlockGradients;

/// The places of conv5, conv3, the gains and then the biases of both normalizations, conv1 and its bias.
pub(crate) struct BlockPlaces([Range<usize>; 6]);

impl BlockPlaces {
    /// The places of a block of so many input channels, from `first` on.
    pub(crate) fn new(shape: BlockShape, inputs: usize, mut first: usize) -> Self {
        let f = shape.filters;
        let lens = [f * inputs * 25, f * inputs * 9, 2 * f, 2 * f, f * 2 * f, f];
        Self(lens.map(|len| {
            first += len;
            first - len..first
        }))
    }

    /// Where the next block's parameters may begin.
    pub(crate) fn end(&self) -> usize {
        self.0[5].end
    }

    /// The block's own of all parameters.
    pub(crate) fn weights<'a>(&self, parameters: &'a [f32]) -> BlockWeights<'a> {
        let [conv5, conv3, gain, bias, conv1, bias1] = self.0.clone().map(|range| &parameters[range]);
        BlockWeights { conv5, conv3, gain, bias, conv1, bias1 }
    }

    /// Writes the block's gradients to their place among all.
    pub(crate) fn put_gradients(&self, all: &mut [f32], gradients: &BlockGradients) {
        let BlockGradients { conv5, conv3, gain, bias, conv1, bias1 } = gradients;
        for (range, values) in self.0.iter().zip([conv5, conv3, gain, bias, conv1, bias1]) {
            all[range.clone()].copy_from_slice(values);
        }
    }
}
