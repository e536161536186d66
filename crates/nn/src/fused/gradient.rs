//! A block on the way back.

use std::ops::Range;

use rayon::prelude::*;

use super::block::{BlockShape, BlockTape, BlockWeights};
use super::features::{Features, SingleRow};
use super::format::Format;
use super::rows::{
    CENTER, Context, band_places, band_rows, mix, neighbor_strips, pack_transposed, rows_of_band,
};
use super::spatial::{Spatial, Way};
use crate::kernels::canvas::{Canvas, Layout, View};
use crate::kernels::convolution::plane_sum;
use crate::kernels::element::Stored;
use crate::kernels::norm::{Activation, ChannelScale, EluFunction, Function, NormalizeKernel};
use crate::kernels::taps::taps;
use crate::kernels::tile::Start;
use crate::kernels::weight_gradient::weight_gradient_of;
use crate::simd::{Kernel, MAX_LANES, Simd, dispatch};

/// The gradients of a block's parameters, in their shapes.
pub(crate) struct BlockGradients {
    pub(crate) conv5: Vec<f32>,
    pub(crate) conv3: Vec<f32>,
    pub(crate) gain: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) conv1: Vec<f32>,
    pub(crate) bias1: Vec<f32>,
}

/// Where the gradient of a block's input goes: some planes of a dense canvas, and whether to add to what is there.
pub(crate) struct InputGradient<'a> {
    pub(crate) canvas: &'a mut Canvas<f32>,
    pub(crate) planes: Range<usize>,
    pub(crate) adds: bool,
}

/// Differentiates a block: `gradient` is that of its output, dense, `[N, f, H, W]`.
pub(crate) fn backward<F: Format>(
    context: &Context,
    shape: BlockShape,
    weights: &BlockWeights,
    tape: &BlockTape<F>,
    input: &Features<F>,
    parts: Range<usize>,
    dropout: Option<&[f32]>,
    gradient: &View<f32>,
    input_gradient: Option<InputGradient>,
) -> BlockGradients {
    let BlockShape { filters, dilation } = shape;
    let layout = input.layout();
    let size = layout.size();
    let inputs = input.channels(parts.clone());
    let (mut through, part) = before_normalization::<F>(context, shape, weights, tape, dropout, gradient);
    let convolved = normalization::<F>(context, tape, &part.normalization, &mut through, layout);
    drop(through);

    if let Some(InputGradient { canvas, planes, adds }) = input_gradient {
        let way = Way::new::<F>(filters, dilation, size);
        let conv = |kernel: (&[f32], usize)| {
            Spatial::<F>::transposed(context, kernel, [filters, inputs], dilation, size, way)
        };
        let [conv5, conv3] = [conv((weights.conv5, 5)), conv((weights.conv3, 3))];
        let views = [convolved.spatial(0..1), convolved.spatial(1..2)];
        let start = if adds { Start::Output } else { Start::Zero };
        let rows = rows_of_band(way.strips, size);
        canvas.bands(planes, rows).par_iter_mut().zip(band_places(layout, rows)).for_each(
            |(band, (image, rows))| {
                for strip in way.strips.of_band(rows.len()) {
                    let [wide, narrow] = &views;
                    let row = rows.start + strip.first;
                    conv5.convolve(context, wide, image, row, strip, &mut [(start, band)]);
                    conv3.convolve(context, narrow, image, row, strip, &mut [(Start::Output, band)]);
                }
            },
        );
    }

    let weight_gradient = |part: usize, kernel: usize| {
        weight_gradient_of(
            context.level,
            &F::rows(input, parts.clone()),
            &F::rows(&convolved, part..part + 1),
            &taps([kernel; 2], dilation, size, false),
            kernel * kernel,
        )
    };
    BlockGradients {
        conv5: weight_gradient(0, 5),
        conv3: weight_gradient(1, 3),
        gain: part.normalization.iter().map(|sums| sums[1] as f32).collect(),
        bias: part.normalization.iter().map(|sums| sums[0] as f32).collect(),
        conv1: part.conv1.iter().map(|value| *value as f32).collect(),
        bias1: part.bias1.iter().map(|value| *value as f32).collect(),
    }
}

/// Sums over a band, or over all of them.
struct Sums {
    /// For each channel the gradient after the normalization, and its product with the normalized value.
    normalization: Vec<[f64; 2]>,
    conv1: Vec<f64>,
    bias1: Vec<f64>,
}

/// The gradient after the normalization, dense `[N, 2f, H, W]`, and sums of it: back through 1×1 convolution, dropout
/// and ELU.
fn before_normalization<F: Format>(
    context: &Context,
    shape: BlockShape,
    weights: &BlockWeights,
    tape: &BlockTape<F>,
    dropout: Option<&[f32]>,
    gradient: &View<f32>,
) -> (Canvas<F::Row>, Sums) {
    let layout = tape.convolved.layout;
    let size = layout.size();
    let filters = shape.filters;
    let channels = 2 * filters;
    let unmixing = pack_transposed::<F>(context.level, weights.conv1, [filters, channels, 1], 1, size);
    let convolved = tape.convolved.all();
    let mut through = Canvas::<F::Row>::new(&context.pool, layout);
    let parts: Vec<Sums> = through
        .bands(0..channels, band_rows(size))
        .par_iter_mut()
        .zip(band_places(layout, band_rows(size)))
        .map(|(band, (image, rows))| {
            let pixels = rows.len() * layout.width;
            let mut activated = context.pool.take::<f32>(channels * pixels);
            let mut incoming = context.pool.take::<f32>(filters * pixels);
            for (channel, incoming) in incoming.chunks_exact_mut(pixels).enumerate() {
                incoming.copy_from_slice(gradient.dense_rows(image, channel, rows.clone()));
            }
            let mut unmixed = context.pool.take::<f32>(channels * pixels);
            let mut outputs: Vec<&mut [f32]> = unmixed.chunks_exact_mut(pixels).collect();
            mix::<F>(context, &incoming, pixels, &unmixing, Start::Zero, &mut outputs);
            let mut normalization = Vec::with_capacity(channels);
            let planes = activated.chunks_exact_mut(pixels).zip(unmixed.chunks_exact(pixels)).zip(band);
            for (channel, ((activated, gradient), out)) in planes.enumerate() {
                let x = convolved.dense_rows(image, channel, rows.clone());
                let scale = tape.scales[channel];
                let factor = dropout.map_or(1.0, |dropout| dropout[image * channels + channel]);
                let kernel =
                    NormalizeKernel { x, out: activated, scale, factor, activation: Activation::Elu };
                dispatch(context.level, kernel);
                let kernel = EluGradientKernel::<F> { x, activated, scale, factor, gradient, out };
                normalization.push(dispatch(context.level, kernel));
            }
            let conv1 = outer_product::<F>(context, &activated, &incoming, pixels);
            let bias1 = incoming.chunks_exact(pixels).map(plane_sum).collect();
            Sums { normalization, conv1, bias1 }
        })
        .collect();
    let mut total = Sums {
        normalization: vec![[0.0; 2]; channels],
        conv1: vec![0.0; filters * channels],
        bias1: vec![0.0; filters],
    };
    for part in parts {
        for (total, part) in total.normalization.iter_mut().zip(part.normalization) {
            total[0] += part[0];
            total[1] += part[1];
        }
        total.conv1.iter_mut().zip(part.conv1).for_each(|(total, part)| *total += part);
        total.bias1.iter_mut().zip(part.bias1).for_each(|(total, part)| *total += part);
    }
    (through, total)
}

/// The gradient of the weights `[O, I]` of a 1×1 convolution over dense pixels `[I, pixel]` and `[O, pixel]`.
fn outer_product<F: Format>(context: &Context, input: &[f32], gradient: &[f32], pixels: usize) -> Vec<f64> {
    // Kernels read whole vectors: what they read past the end of a channel must be zero.
    let layout = |values: &[f32]| Layout::padded(1, values.len() / pixels, [1, pixels], 0);
    let stored = |values: &[f32]| {
        let layout = layout(values);
        let mut planes = context.pool.take::<F::Row>(layout.planes * layout.plane_len);
        for (out, values) in planes.chunks_exact_mut(layout.plane_len).zip(values.chunks_exact(pixels)) {
            dispatch(context.level, SingleRow::<F> { values, out: &mut out[..layout.stride] });
        }
        planes
    };
    let [input_layout, gradient_layout] = [layout(input), layout(gradient)];
    let [input, gradient] = [stored(input), stored(gradient)];
    let input = View::new(input_layout, 0..input_layout.planes, input.with_slack());
    let gradient = View::new(gradient_layout, 0..gradient_layout.planes, gradient.with_slack());
    weight_gradient_of(context.level, &input, &gradient, &[CENTER], 1).into_iter().map(f64::from).collect()
}

/// From the gradient after the normalization to that of what the convolutions gave, as features in two parts.
fn normalization<F: Format>(
    context: &Context,
    tape: &BlockTape<F>,
    sums: &[[f64; 2]],
    through: &mut Canvas<F::Row>,
    input: Layout,
) -> Features<F> {
    let layout = tape.convolved.layout;
    let size = layout.size();
    let filters = layout.planes / 2;
    let count = (layout.images * layout.height * layout.width) as f64;
    let convolved = tape.convolved.all();
    let mut result =
        Features::new(&context.pool, &[filters, filters], layout.images, size, input.margin, true);
    for part in 0..2 {
        let channels = part * filters..(part + 1) * filters;
        let mut bands = result.bands(part, band_rows(size));
        through
            .bands(channels.clone(), band_rows(size))
            .par_iter_mut()
            .zip(bands.par_iter_mut())
            .zip(band_places(layout, band_rows(size)))
            .for_each(|((through, result), (image, rows))| {
                for strip in neighbor_strips(size).of_band(rows.len()) {
                    let pixels = strip.count * layout.width;
                    let band_rows = strip.first..strip.first + strip.count;
                    let image_rows = rows.start + band_rows.start..rows.start + band_rows.end;
                    let mut values = context.pool.take::<f32>(filters * pixels);
                    for ((channel, out), through) in
                        channels.clone().zip(values.chunks_exact_mut(pixels)).zip(through.iter())
                    {
                        let kernel = NormalizationGradientKernel::<F> {
                            x: convolved.dense_rows(image, channel, image_rows.clone()),
                            gradient: &through[band_rows.start * layout.width..band_rows.end * layout.width],
                            scale: tape.scales[channel],
                            mean: (sums[channel][0] / count) as f32,
                            mean_normalized: (sums[channel][1] / count) as f32,
                            out,
                        };
                        dispatch(context.level, kernel);
                    }
                    result.write(context.level, strip, &values, pixels);
                }
            });
    }
    result
}

/// Back through dropout and ELU, with the sums of the result and of its product with the normalized value.
struct EluGradientKernel<'a, 'b, F: Format> {
    x: &'a [F::Row],
    /// ELU and dropout of it.
    activated: &'a [f32],
    scale: ChannelScale,
    factor: f32,
    gradient: &'a [f32],
    out: &'b mut [F::Row],
}

impl<F: Format> Kernel for EluGradientKernel<'_, '_, F> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> [f64; 2] {
        let Self { x, activated, scale, factor, gradient, out } = self;
        if factor.abs() < f32::MIN_POSITIVE {
            out.fill(F::row(0.0));
            return [0.0; 2];
        }
        let inverse_factor = 1.0 / factor;
        let mut sums = [[0.0f64; MAX_LANES]; 2];
        let (xs, x_rest) = x.as_chunks::<MAX_LANES>();
        let (activated, activated_rest) = activated.as_chunks::<MAX_LANES>();
        let (gradients, gradient_rest) = gradient.as_chunks::<MAX_LANES>();
        let (outs, out_rest) = out.as_chunks_mut::<MAX_LANES>();
        for (((x, activated), gradient), out) in xs.iter().zip(activated).zip(gradients).zip(outs) {
            for lane in 0..MAX_LANES {
                let g = gradient[lane] * factor * EluFunction::slope(activated[lane] * inverse_factor);
                let normalized = (x[lane].value() - scale.mean) * scale.inverse_sd;
                out[lane] = F::row(g);
                sums[0][lane] += f64::from(g);
                sums[1][lane] += f64::from(g * normalized);
            }
        }
        let rest = x_rest.iter().zip(activated_rest).zip(gradient_rest).zip(out_rest);
        for (lane, (((x, activated), gradient), out)) in rest.enumerate() {
            let g = gradient * factor * EluFunction::slope(activated * inverse_factor);
            let normalized = (x.value() - scale.mean) * scale.inverse_sd;
            *out = F::row(g);
            sums[0][lane] += f64::from(g);
            sums[1][lane] += f64::from(g * normalized);
        }
        [sums[0].iter().sum(), sums[1].iter().sum()]
    }
}

/// Back through the normalization with the batch's own statistics.
struct NormalizationGradientKernel<'a, 'b, F: Format> {
    x: &'a [F::Row],
    gradient: &'a [F::Row],
    scale: ChannelScale,
    mean: f32,
    mean_normalized: f32,
    out: &'b mut [f32],
}

impl<F: Format> Kernel for NormalizationGradientKernel<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let ChannelScale { mean, inverse_sd, gain, .. } = self.scale;
        let slope = gain * inverse_sd;
        for ((out, x), gradient) in self.out.iter_mut().zip(self.x).zip(self.gradient) {
            let normalized = (x.value() - mean) * inverse_sd;
            *out = slope * (gradient.value() - self.mean - normalized * self.mean_normalized);
        }
    }
}
