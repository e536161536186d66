//! Convolutions of few channels with stride 1 that keep the image's size: the direct kernels on padded planes.

use super::conv::{Output, PackedWeights, Start, convolve};
use super::convolution::Convolution;
use super::planes::PaddedPlanes;
use super::taps::{Tap, margin, taps};
use super::weight_gradient::weight_gradient;

/// Channels, in or out, up to which the direct kernels are used; with 256 of each the panels were a fifth faster.
const MAX_CHANNELS: usize = 64;

/// A convolution on padded planes.
pub(crate) struct Direct<'a>(&'a Convolution);

impl<'a> Direct<'a> {
    /// The convolution on padded planes, if it is one that they make faster: flat, stride 1, the image's size kept around
    /// an odd kernel, and few channels in or out.
    pub(crate) fn new(convolution: &'a Convolution) -> Option<Self> {
        let Convolution { shape, inputs, outputs, input, output, .. } = *convolution;
        let [depth, height, width] = shape.kernel;
        let is_flat = [depth, input[0], shape.padding[0] + 1] == [1; 3];
        let is_odd = height % 2 == 1 && width % 2 == 1;
        let is_plain = shape.stride == [1; 3] && shape.dilation[1] == shape.dilation[2];
        (is_flat && is_odd && is_plain && input == output && inputs.min(outputs) <= MAX_CHANNELS)
            .then_some(Self(convolution))
    }

    fn taps(&self, is_reflected: bool) -> Vec<Tap> {
        let Convolution { shape, input: [_, height, width], .. } = *self.0;
        taps([shape.kernel[1], shape.kernel[2]], shape.dilation[1], [height, width], is_reflected)
    }

    /// `values` of so many channels, with the margins that the taps need.
    fn planes<'b>(&self, values: &'b [f32], channels: usize) -> PaddedPlanes<'b> {
        let Convolution { images, input: [_, height, width], .. } = *self.0;
        PaddedPlanes::new(values, [images, channels, height, width], margin(&self.taps(false)))
    }

    /// See [`Convolution::forward`].
    pub(crate) fn forward(&self, x: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let Convolution { level, inputs, outputs, .. } = *self.0;
        let packed = PackedWeights::forward(level, weights, outputs, inputs, self.taps(false));
        self.run(&self.planes(x, inputs), &packed, outputs, bias)
    }

    /// See [`Convolution::transposed`].
    pub(crate) fn transposed(&self, y: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let Convolution { level, inputs, outputs, .. } = *self.0;
        let packed = PackedWeights::transposed(level, weights, outputs, inputs, self.taps(true));
        self.run(&self.planes(y, outputs), &packed, inputs, bias)
    }

    fn run(
        &self,
        planes: &PaddedPlanes,
        weights: &PackedWeights,
        channels: usize,
        bias: Option<&[f32]>,
    ) -> Vec<f32> {
        let mut result = vec![0.0; planes.images * channels * planes.height * planes.width];
        let output = Output { values: &mut result, channels, first: 0 };
        convolve(self.0.level, planes, 0, weights, bias.map_or(Start::Zero, Start::Bias), output);
        result
    }

    /// See [`Convolution::weight_gradient`].
    pub(crate) fn weight_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Convolution { level, shape, inputs, outputs, .. } = *self.0;
        let (x, gradient) = (self.planes(x, inputs), self.planes(gradient, outputs));
        weight_gradient(level, &x, &gradient, 0, outputs, &self.taps(false), shape.weights())
    }
}
