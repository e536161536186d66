//! A convolution of any kernel, stride, padding and dilation, its transpose and its weights' gradient.

use rayon::prelude::*;

use super::correlate::{Correlation, PanelWeights};
use super::direct::Direct;
use super::panel::Source;
use super::phases::Phases;
use super::tap_gradient::tap_gradient;
use super::window::ConvShape;
use super::winograd_square::Square;
use crate::simd::Level;

/// A convolution from `[images, inputs, input]` to `[images, outputs, output]`, with weights
/// `[outputs, inputs, kernel]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    pub(crate) level: Level,
    pub(crate) shape: ConvShape,
    pub(crate) images: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Depth, height and width of the input.
    pub(crate) input: [usize; 3],
    /// Depth, height and width of the output.
    pub(crate) output: [usize; 3],
}

// Each of these is done in square tiles, directly, or by panels, whichever is the fastest.
impl Convolution {
    /// The output, from an input, weights and perhaps a bias of the outputs.
    pub(crate) fn forward(&self, x: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        if let Some(square) = Square::new(self) {
            return square.forward(x, weights, bias);
        }
        if let Some(direct) = Direct::new(self) {
            return direct.forward(x, weights, bias);
        }
        let parts = [self.shape.window(self.input, self.output)];
        let phases = Phases::new(self.input, self.output, self.shape.stride, &parts);
        let kernel = self.shape.weights();
        let (channels, strides) = ([self.outputs, self.inputs], [self.inputs * kernel, kernel]);
        let weights = PanelWeights::new(self.level, &parts, channels, weights, strides);
        let mut out = vec![0.0; self.images * self.outputs * self.output.iter().product::<usize>()];
        Correlation {
            level: self.level,
            input: Source { phases: &phases, values: x, channels: self.inputs },
            images: self.images,
            parts: &parts,
            weights: &weights,
            bias,
            step: [1; 3],
            size: self.output,
        }
        .run(&mut out);
        out
    }

    /// The transpose: a tensor of the input's shape from one of the output's, and perhaps a bias of the inputs.
    /// Without a bias it is the gradient with respect to the input.
    pub(crate) fn transposed(&self, y: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        if let Some(square) = Square::new(self) {
            return square.transposed(y, weights, bias);
        }
        if let Some(direct) = Direct::new(self) {
            return direct.transposed(y, weights, bias);
        }
        let parts = self.shape.transposed_windows(self.input, self.output);
        let grid = std::array::from_fn(|axis| self.input[axis].div_ceil(self.shape.stride[axis]));
        let phases = Phases::new(self.output, grid, [1; 3], &parts);
        let kernel = self.shape.weights();
        let (channels, strides) = ([self.inputs, self.outputs], [kernel, self.inputs * kernel]);
        let weights = PanelWeights::new(self.level, &parts, channels, weights, strides);
        let mut result = vec![0.0; self.images * self.inputs * self.input.iter().product::<usize>()];
        Correlation {
            level: self.level,
            input: Source { phases: &phases, values: y, channels: self.outputs },
            images: self.images,
            parts: &parts,
            weights: &weights,
            bias,
            step: self.shape.stride,
            size: self.input,
        }
        .run(&mut result);
        result
    }

    /// The gradient of the weights, from an input and the gradient of the output.
    pub(crate) fn weight_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        if let Some(square) = Square::new(self) {
            return square.weight_gradient(x, gradient);
        }
        if let Some(direct) = Direct::new(self) {
            return direct.weight_gradient(x, gradient);
        }
        let window = self.shape.window(self.input, self.output);
        let phases = Phases::new(self.input, self.output, self.shape.stride, std::slice::from_ref(&window));
        let input = Source { phases: &phases, values: x, channels: self.inputs };
        tap_gradient(self.level, input, &window.taps, gradient, self.outputs, self.shape.weights())
    }
}

/// The sum of each channel of `values` `[N, channels, plane]`, in double precision with a fixed order.
pub(crate) fn channel_sums(values: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    (0..channels)
        .into_par_iter()
        .map(|channel| {
            values.chunks_exact(plane).skip(channel).step_by(channels).map(plane_sum).sum::<f64>() as f32
        })
        .collect()
}

/// The sum of a plane with a fixed number of running sums.
pub(crate) fn plane_sum(values: &[f32]) -> f64 {
    let mut sums = [0.0f64; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*value);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|value| f64::from(*value)).sum::<f64>()
}
