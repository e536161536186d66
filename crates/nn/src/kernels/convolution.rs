//! A convolution of any kernel, stride, padding and dilation, its transpose and its weights' gradient.

use rayon::prelude::*;

use super::correlate::{PanelWeights, correlate};
use super::phases::PhasePlanes;
use super::scratch::Scratch;
use super::tap_gradient::tap_gradient;
use super::window::{ConvShape, Phase};
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

impl Convolution {
    /// The output, from an input, weights and perhaps a bias of the outputs.
    pub(crate) fn forward(&self, x: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        if let Some(square) = Square::new(self) {
            return square.forward(x, weights, bias);
        }
        let window = self.shape.window(self.input, self.output);
        let planes = PhasePlanes::new(x, self.images, self.inputs, self.input, std::iter::once(&window));
        let kernel = self.shape.weights();
        let packed = PanelWeights::new(self.level, self.outputs, self.inputs, &window.taps, |o, i, tap| {
            weights[(o * self.inputs + i) * kernel + tap]
        });
        let mut out = vec![0.0; self.images * self.outputs * self.output.iter().product::<usize>()];
        correlate(self.level, &planes, &window, &packed, bias, &mut out);
        out
    }

    /// The transpose: a tensor of the input's shape from one of the output's, and perhaps a bias of the inputs.
    /// Without a bias it is the gradient with respect to the input.
    pub(crate) fn transposed(&self, y: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        if let Some(square) = Square::new(self) {
            return square.transposed(y, weights, bias);
        }
        let phases = self.shape.transposed_windows(self.input, self.output);
        let windows = phases.iter().map(|phase| &phase.window);
        let planes = PhasePlanes::new(y, self.images, self.outputs, self.output, windows);
        let kernel = self.shape.weights();
        let plane = self.input.iter().product::<usize>();
        let mut result = vec![0.0; self.images * self.inputs * plane];
        for Phase { first, window } in &phases {
            let packed =
                PanelWeights::new(self.level, self.inputs, self.outputs, &window.taps, |i, o, tap| {
                    weights[(o * self.inputs + i) * kernel + tap]
                });
            if self.shape.stride == [1; 3] {
                correlate(self.level, &planes, window, &packed, bias, &mut result);
                continue;
            }
            let positions: usize = window.output.iter().product();
            let mut part = Scratch::new(self.images * self.inputs * positions);
            correlate(self.level, &planes, window, &packed, bias, &mut part);
            result.par_chunks_exact_mut(plane).zip(part.par_chunks_exact(positions)).for_each(
                |(plane, part)| {
                    let [_, height, width] = self.input;
                    for (idx, row) in part.chunks_exact(window.output[2]).enumerate() {
                        let z = first[0] + idx / window.output[1] * self.shape.stride[0];
                        let y = first[1] + idx % window.output[1] * self.shape.stride[1];
                        let target = &mut plane[(z * height + y) * width..][..width];
                        for (target, value) in
                            target[first[2]..].iter_mut().step_by(self.shape.stride[2]).zip(row)
                        {
                            *target = *value;
                        }
                    }
                },
            );
        }
        result
    }

    /// The gradient of the weights, from an input and the gradient of the output.
    pub(crate) fn weight_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        if let Some(square) = Square::new(self) {
            return square.weight_gradient(x, gradient);
        }
        let window = self.shape.window(self.input, self.output);
        let planes = PhasePlanes::new(x, self.images, self.inputs, self.input, std::iter::once(&window));
        tap_gradient(self.level, &planes, &window, gradient, self.outputs, self.shape.weights())
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
