//! Which block reads what and writes where, and where its parameters lie.

use std::ops::Range;

use crate::fused::block::BlockShape;
use crate::fused::features::Features;
use crate::fused::format::Format;
use crate::fused::head::{HeadGradients, HeadWeights};
use crate::fused::parameters::BlockPlaces;
use crate::fused::rows::Context;
use crate::ops::Activation;
use crate::roi_net::RoiNetConfig;

/// The network's blocks in order.
///
/// | buffer | parts |
/// |---|---|
/// | 0 | the input |
/// | 1 | c7, c1 |
/// | 2 | c6, c2 |
/// | 3 | c5, c3 |
/// | 4 | c4 |
/// | 5 … | c8 of each head |
///
/// Parameters lie one after the other: those of each block ([`BlockPlaces`]), then those of each head, which are its
/// convolution, and gain and bias of its normalization.
pub(in crate::roi_net) struct Plan {
    pub(super) blocks: Vec<BlockStep>,
    pub(super) heads: Vec<HeadStep>,
    /// Channels of the parts of each buffer.
    buffers: Vec<Vec<usize>>,
    margin: usize,
}

/// A block's place in the plan.
pub(super) struct BlockStep {
    pub(super) shape: BlockShape,
    pub(super) from: usize,
    pub(super) from_parts: Range<usize>,
    pub(super) to: usize,
    pub(super) to_part: usize,
    pub(super) parameters: BlockPlaces,
}

/// A head's place in the plan.
pub(super) struct HeadStep {
    pub(super) from: usize,
    pub(super) activation: Activation,
    filters: usize,
    first_parameter: usize,
}

impl Plan {
    pub(in crate::roi_net) fn new(config: &RoiNetConfig, heads: &[Activation]) -> Self {
        let f = config.filters;
        let mut buffers = vec![
            vec![config.in_channels],
            vec![f + 4, f],
            vec![f + 8, f + 4],
            vec![f + 16, f + 8],
            vec![f + 16],
        ];
        let mut places = vec![
            (1, 0, 0..1, 1, 1),
            (2, 1, 1..2, 2, 1),
            (4, 2, 1..2, 3, 1),
            (8, 3, 1..2, 4, 0),
            (8, 4, 0..1, 3, 0),
            (4, 3, 0..2, 2, 0),
            (2, 2, 0..2, 1, 0),
        ];
        for _ in heads {
            places.push((1, 1, 0..2, buffers.len(), 0));
            buffers.push(vec![f]);
        }
        let mut first_parameter = 0;
        let blocks: Vec<BlockStep> = places
            .into_iter()
            .map(|(dilation, from, from_parts, to, to_part): (usize, usize, Range<usize>, usize, usize)| {
                let shape = BlockShape { filters: buffers[to][to_part], dilation };
                let inputs = buffers[from][from_parts.clone()].iter().sum();
                let parameters = BlockPlaces::new(shape, inputs, first_parameter);
                first_parameter = parameters.end();
                BlockStep { shape, from, from_parts, to, to_part, parameters }
            })
            .collect();
        let first_head_buffer = buffers.len() - heads.len();
        let heads = heads
            .iter()
            .enumerate()
            .map(|(idx, &activation)| {
                let step =
                    HeadStep { from: first_head_buffer + idx, activation, filters: f, first_parameter };
                first_parameter += f + 2;
                step
            })
            .collect();
        let margin = blocks.iter().map(|step| 2 * step.shape.dilation).max().unwrap_or(0);
        Self { blocks, heads, buffers, margin }
    }

    /// Room for everything between the blocks.
    pub(super) fn buffers<F: Format>(
        &self,
        context: &Context,
        images: usize,
        size: [usize; 2],
        for_gradients: bool,
    ) -> Vec<Option<Features<F>>> {
        self.buffers
            .iter()
            .map(|parts| Some(Features::new(&context.pool, parts, images, size, self.margin, for_gradients)))
            .collect()
    }
}

impl HeadStep {
    /// The head's own of all parameters.
    pub(super) fn weights<'a>(&self, parameters: &'a [f32]) -> HeadWeights<'a> {
        let own = &parameters[self.first_parameter..self.first_parameter + self.filters + 2];
        let (conv, rest) = own.split_at(self.filters);
        let (gain, bias) = rest.split_at(1);
        HeadWeights { conv, gain, bias }
    }

    /// Writes the head's gradients to their place among all.
    pub(super) fn put_gradients(&self, all: &mut [f32], gradients: &HeadGradients) {
        let own = &mut all[self.first_parameter..self.first_parameter + self.filters + 2];
        let (conv, rest) = own.split_at_mut(self.filters);
        conv.copy_from_slice(&gradients.conv);
        rest.copy_from_slice(&[gradients.gain, gradients.bias]);
    }
}
