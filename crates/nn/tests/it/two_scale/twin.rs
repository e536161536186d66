//! The two-scale block as its definition reads, in double precision, with its gradients.

use synthct_nn::ops::ChannelMoments;

use crate::naive::{Array, Conv, Product, evaluate};

/// What the twin gives.
pub(crate) struct Result {
    pub(crate) out: Array,
    /// Σ coefficient · out.
    pub(crate) loss: f64,
    pub(crate) moments: Vec<ChannelMoments>,
    /// Of the arguments in their order.
    pub(crate) gradients: Vec<Array>,
}

impl Result {
    /// The output and then the gradients.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Array> {
        std::iter::once(&self.out).chain(&self.gradients)
    }
}

fn conv(kernel: usize, dilation: usize) -> Conv {
    Conv {
        kernel: [1, kernel, kernel],
        stride: [1; 3],
        padding: [0, kernel / 2 * dilation, kernel / 2 * dilation],
        dilation: [1, dilation, dilation],
    }
}

fn map(array: &Array, f: impl Fn(f64) -> f64) -> Array {
    Array { shape: array.shape.clone(), values: array.values.iter().map(|value| f(*value)).collect() }
}

/// Splits or joins the channels of both branches: the values of `part` in `[N, 2f, plane]`.
fn places(part: usize, images: usize, branch: usize) -> impl Iterator<Item = usize> {
    (0..images).flat_map(move |image| {
        let first = (2 * image + part) * branch;
        first..first + branch
    })
}

/// The block of x, conv5, conv3, gain, bias, conv1 and bias1.
///
/// `round` is applied to what convolutions and their gradients multiply, to what the convolutions give, to the gradient
/// before the normalization, and to the output.
pub(crate) fn block(
    arguments: &[Array],
    dilation: usize,
    dropout: Option<&[f32]>,
    coefficient: &[f64],
    round: fn(f64) -> f64,
) -> Result {
    let [x, conv5, conv3, gain, bias, conv1, bias1] = arguments else {
        unreachable!("a block has seven arguments");
    };
    let [images, inputs, height, width] = [0, 1, 2, 3].map(|axis| x.shape[axis]);
    let f = bias1.values.len();
    let (plane, channels, size) = (height * width, 2 * f, [1, height, width]);
    let branch = [images, f, height, width];
    let [x, conv5, conv3, conv1] = [x, conv5, conv3, conv1].map(|array| map(array, round));

    let spatial = [(&conv5, 5), (&conv3, 3)].map(|(weight, kernel)| {
        (weight, conv(kernel, dilation).products([images, f, inputs], size, size, false))
    });
    let mut convolved = Array::zeros(&[images, channels, height, width]);
    let nothing = vec![0.0; images * f * plane];
    for (part, (weight, products)) in spatial.iter().enumerate() {
        let (out, _) = evaluate([&x, weight], &branch, products, &nothing);
        for (place, value) in places(part, images, f * plane).zip(out.values) {
            convolved.values[place] = round(value);
        }
    }

    let count = (images * plane) as f64;
    let of_channel = |channel: usize| {
        (0..images).flat_map(move |image| {
            let first = (image * channels + channel) * plane;
            first..first + plane
        })
    };
    let factor = |place: usize| dropout.map_or(1.0, |dropout| f64::from(dropout[place / plane]));
    let mut moments = Vec::new();
    let mut normalized = map(&convolved, |value| value);
    let mut activated = map(&convolved, |value| value);
    let mut slopes = map(&convolved, |value| value);
    for channel in 0..channels {
        let mean = of_channel(channel).map(|place| convolved.values[place]).sum::<f64>() / count;
        let squares = of_channel(channel).map(|place| (convolved.values[place] - mean).powi(2)).sum::<f64>();
        moments.push(ChannelMoments { mean, variance: squares / count });
        for place in of_channel(channel) {
            let value = (convolved.values[place] - mean) / (squares / count + 1e-5).sqrt();
            let z = value * gain.values[channel] + bias.values[channel];
            normalized.values[place] = value;
            activated.values[place] = factor(place) * if z > 0.0 { z } else { z.exp_m1() };
            slopes.values[place] = factor(place) * if z > 0.0 { 1.0 } else { z.exp() };
        }
    }

    let activated = map(&activated, round);
    let mixing: Vec<Product<2>> = conv(1, 1).products([images, f, channels], size, size, false);
    let rounded: Vec<f64> = coefficient.iter().map(|value| round(*value)).collect();
    let (mut out, [mut through, conv1]) = evaluate([&activated, &conv1], &branch, &mixing, &rounded);
    let mut bias1 = Array::zeros(&[f]);
    for (idx, value) in out.values.iter_mut().enumerate() {
        let channel = idx / plane % f;
        *value = round(*value + arguments[6].values[channel]);
        bias1.values[channel] += coefficient[idx];
    }
    let loss = out.values.iter().zip(coefficient).map(|(value, coefficient)| value * coefficient).sum();

    let (mut gain_gradient, mut bias_gradient) = (Array::zeros(&[channels]), Array::zeros(&[channels]));
    for (channel, moments) in moments.iter().enumerate() {
        let mut sums = [0.0; 2];
        for place in of_channel(channel) {
            through.values[place] *= slopes.values[place];
            sums[0] += through.values[place];
            sums[1] += through.values[place] * normalized.values[place];
            through.values[place] = round(through.values[place]);
        }
        let scale = gain.values[channel] / (moments.variance + 1e-5).sqrt();
        for place in of_channel(channel) {
            let rest = through.values[place] - sums[0] / count - normalized.values[place] * sums[1] / count;
            through.values[place] = round(scale * rest);
        }
        bias_gradient.values[channel] = sums[0];
        gain_gradient.values[channel] = sums[1];
    }

    let mut x_gradient = Array::zeros(&x.shape);
    let spatial = spatial.iter().enumerate().map(|(part, (weight, products))| {
        let through: Vec<f64> = places(part, images, f * plane).map(|place| through.values[place]).collect();
        let (_, [of_x, of_weight]) = evaluate([&x, weight], &branch, products, &through);
        x_gradient.values.iter_mut().zip(of_x.values).for_each(|(sum, value)| *sum += value);
        of_weight
    });
    let spatial: Vec<Array> = spatial.collect();
    let gradients = std::iter::once(x_gradient)
        .chain(spatial)
        .chain([gain_gradient, bias_gradient, conv1, bias1])
        .collect();
    Result { out, loss, moments, gradients }
}
