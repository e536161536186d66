//! The two-scale block of the 3TN as one candle operation.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, bail};

use super::tensor::{image_shape, slice, with_slices};
use crate::Precision;
use crate::fused::block::{BlockShape, BlockTape, forward_evaluate, forward_train, scales};
use crate::fused::features::Features;
use crate::fused::format::{Brain, Format, Single};
use crate::fused::gradient::{InputGradient, backward};
use crate::fused::parameters::BlockPlaces;
use crate::fused::rows::Context;
use crate::kernels::canvas::{Canvas, Layout as Places, View};
use crate::kernels::norm::ChannelMoments;
use crate::kernels::pool::Pool;
use crate::kernels::taps::{margin, taps};
use crate::simd::Level;

/// The parameters of a [`two_scale_block`] of I input channels and f filters.
///
/// Channels of the 5×5 branch come before those of the 3×3 branch.
#[derive(Clone, Debug)]
pub struct TwoScaleBlockParameters {
    /// Weights of the 5×5 convolution, `[f, I, 5, 5]`.
    pub conv5: Tensor,
    /// Weights of the 3×3 convolution, `[f, I, 3, 3]`.
    pub conv3: Tensor,
    /// Gains of both normalizations, `[2f]`.
    pub gain: Tensor,
    /// Biases of both normalizations, `[2f]`.
    pub bias: Tensor,
    /// Weights of the 1×1 convolution, `[f, 2f, 1, 1]`.
    pub conv1: Tensor,
    /// Bias of the 1×1 convolution, `[f]`.
    pub bias1: Tensor,
}

/// How a [`two_scale_block`] runs.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoScaleBlockOptions {
    /// Pixels between neighboring taps of both spatial convolutions, at least 1.
    pub dilation: usize,
    /// Added to variances before their root is taken; PyTorch's default is 1e-5.
    pub epsilon: f64,
    /// A factor for each image and channel `[N, 2f]` of the activations: 0 drops the channel, 1 / (1 − p) keeps it.
    pub dropout: Option<Vec<f32>>,
    /// The numbers that input, output and weights of convolutions are rounded to.
    pub precision: Precision,
}

/// Memory that calls leave for later calls; clones share it.
///
/// It keeps about as much as was in use at once, and frees that with its last clone and the last graph that uses it.
#[derive(Clone, Default)]
pub struct Scratch(Arc<Pool>);

impl Scratch {
    fn context(&self) -> Context {
        Context { level: Level::best(), pool: Arc::clone(&self.0) }
    }
}

/// The block of the 3TN in training: two convolutions of the same input, 5×5 and 3×3, each followed by batch
/// normalization, ELU and spatial dropout, joined in the channels and mixed by a 1×1 convolution.
///
/// out = b₁ + Σ w₁ · d · ELU((c − m) / √(v + ε) · gain + bias), where c are the 2f channels that the dilated
/// convolutions give (stride 1, zeros outside the image), m and v their mean and biased variance over N, H and W, and
/// d the dropout factors.
/// As one operation it keeps c and the input for the way back and nothing else.
/// It runs on the CPU only; the same arguments give the same bits for any number of threads.
///
/// # Shapes
/// `x` `[N, I, H, W]`; the result is `[N, f, H, W]`, with the moments m and v of the 2f channels, for running averages.
/// `x` and every parameter can be differentiated, the moments cannot.
///
/// # Errors
/// Parameters or dropout factors that do not fit, a factor that is negative or not finite, an epsilon that is, a dilation
/// of 0, fewer than two pixels in the batch, a tensor that is not `f32` on the CPU, or is empty.
///
/// # References
/// Kaushik et al. (2022), arXiv:2203.16288, figure 1.
///
/// # Examples
/// ```
/// use synthct_nn::Precision;
/// use synthct_nn::candle_core::{DType, Device, Result, Tensor, Var};
/// use synthct_nn::ops::{Scratch, TwoScaleBlockOptions, TwoScaleBlockParameters, two_scale_block};
///
/// let device = Device::Cpu;
/// let (inputs, filters) = (2, 3);
/// let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &device);
/// let conv5 = Var::from_tensor(&ones(&[filters, inputs, 5, 5])?)?;
/// let parameters = TwoScaleBlockParameters {
///     conv5: conv5.as_tensor().clone(),
///     conv3: ones(&[filters, inputs, 3, 3])?,
///     gain: ones(&[2 * filters])?,
///     bias: ones(&[2 * filters])?,
///     conv1: ones(&[filters, 2 * filters, 1, 1])?,
///     bias1: ones(&[filters])?,
/// };
/// let options =
///     TwoScaleBlockOptions { dilation: 2, epsilon: 1e-5, dropout: None, precision: Precision::F32 };
/// let x = Tensor::arange(0f32, 70f32, &device)?.reshape((1, inputs, 7, 5))?;
/// let (out, moments) = two_scale_block(&x, &parameters, &options, &Scratch::default())?;
/// assert_eq!(out.dims(), [1, filters, 7, 5]);
/// assert_eq!(moments.len(), 2 * filters);
/// assert!(out.sum_all()?.backward()?.get(&conv5).is_some());
/// # Result::Ok(())
/// ```
pub fn two_scale_block(
    x: &Tensor,
    parameters: &TwoScaleBlockParameters,
    options: &TwoScaleBlockOptions,
    scratch: &Scratch,
) -> Result<(Tensor, Vec<ChannelMoments>)> {
    let train = match options.precision {
        Precision::F32 => train::<Single>,
        Precision::Bf16 => train::<Brain>,
    };
    train(x, parameters, options, &scratch.context())
}

/// [`two_scale_block`] in evaluation: fixed `moments` of the 2f channels normalize, such as running averages, and the
/// result cannot be differentiated.
///
/// # Shapes
/// As [`two_scale_block`].
///
/// # Errors
/// As [`two_scale_block`], but one pixel is enough; another number of moments than 2f; dropout factors, which belong to
/// training.
pub fn two_scale_block_evaluate(
    x: &Tensor,
    parameters: &TwoScaleBlockParameters,
    moments: &[ChannelMoments],
    options: &TwoScaleBlockOptions,
    scratch: &Scratch,
) -> Result<Tensor> {
    let evaluate = match options.precision {
        Precision::F32 => evaluate::<Single>,
        Precision::Bf16 => evaluate::<Brain>,
    };
    evaluate(x, parameters, moments, options, &scratch.context())
}

fn train<F: Format>(
    x: &Tensor,
    parameters: &TwoScaleBlockParameters,
    options: &TwoScaleBlockOptions,
    context: &Context,
) -> Result<(Tensor, Vec<ChannelMoments>)> {
    let x = x.contiguous()?;
    let (images, inputs, shape) = check(&x, parameters, options)?;
    if x.elem_count() / inputs < 2 {
        bail!("two-scale block: training needs at least two pixels in a batch for its statistics");
    }
    if let Some(dropout) = &options.dropout {
        if dropout.len() != images * 2 * shape.filters {
            bail!(
                "two-scale block: {} dropout factors for {images} images of {} channels",
                dropout.len(),
                2 * shape.filters
            );
        }
        if let Some(factor) = dropout.iter().find(|factor| !(0.0..f32::INFINITY).contains(*factor)) {
            bail!("two-scale block: the dropout factor {factor} is not a finite number from 0 on");
        }
    }
    let tape = Arc::new(OnceLock::new());
    let op = TrainOp::<F> {
        shape,
        places: BlockPlaces::new(shape, inputs, 0),
        dropout: options.dropout.clone(),
        epsilon: options.epsilon,
        context: context.clone(),
        tape: Arc::clone(&tape),
    };
    let output = x.apply_op2(&flat(parameters)?, op)?;
    let tape = tape.get().expect("because the way forward leaves its tape");
    Ok((output, tape.block.moments.clone()))
}

fn evaluate<F: Format>(
    x: &Tensor,
    parameters: &TwoScaleBlockParameters,
    moments: &[ChannelMoments],
    options: &TwoScaleBlockOptions,
    context: &Context,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (images, inputs, shape) = check(&x, parameters, options)?;
    if moments.len() != 2 * shape.filters {
        bail!("two-scale block: moments of {} channels for {}", moments.len(), 2 * shape.filters);
    }
    if options.dropout.is_some() {
        bail!("two-scale block: there is no dropout in evaluation");
    }
    let places = BlockPlaces::new(shape, inputs, 0);
    let (_, _, height, width) = x.dims4()?;
    let size = [height, width];
    let output = with_slices([&x, &flat(parameters)?], |[x, parameters]| {
        let weights = places.weights(parameters);
        let input = load::<F>(context, x, [images, inputs], size, shape, false);
        let mut output = Features::<F>::new(&context.pool, &[shape.filters], images, size, 0, false);
        let scales = scales(moments, weights.gain, weights.bias, options.epsilon);
        forward_evaluate(context, shape, &weights, &scales, &input, 0..1, &mut output, 0);
        Ok(output.to_dense(0))
    })?;
    Tensor::from_vec(output, (images, shape.filters, height, width), &Device::Cpu)
}

/// Checks all shapes; returns images, input channels and the block's shape.
fn check(
    x: &Tensor,
    parameters: &TwoScaleBlockParameters,
    options: &TwoScaleBlockOptions,
) -> Result<(usize, usize, BlockShape)> {
    let [images, inputs, ..] = image_shape("two-scale block", x.layout())?;
    let TwoScaleBlockParameters { conv5, conv3, gain, bias, conv1, bias1 } = parameters;
    let f = bias1.elem_count();
    if f == 0 || options.dilation == 0 {
        bail!("two-scale block: filters and dilation must be at least 1, not {f} and {}", options.dilation);
    }
    if !(0.0..f64::INFINITY).contains(&options.epsilon) {
        bail!("two-scale block: epsilon must be a finite number from 0 on, not {}", options.epsilon);
    }
    for (name, tensor, expected) in [
        ("conv5", conv5, &[f, inputs, 5, 5][..]),
        ("conv3", conv3, &[f, inputs, 3, 3]),
        ("gain", gain, &[2 * f]),
        ("bias", bias, &[2 * f]),
        ("conv1", conv1, &[f, 2 * f, 1, 1]),
        ("bias1", bias1, &[f]),
    ] {
        if tensor.dims() != expected {
            bail!(
                "two-scale block: {name} has shape {:?}, but {f} filters (as bias1 says) of {inputs} input channels \
                 need {expected:?}",
                tensor.dims()
            );
        }
    }
    Ok((images, inputs, BlockShape { filters: f, dilation: options.dilation }))
}

/// The parameters one after the other, as [`BlockPlaces`] says.
fn flat(parameters: &TwoScaleBlockParameters) -> Result<Tensor> {
    let TwoScaleBlockParameters { conv5, conv3, gain, bias, conv1, bias1 } = parameters;
    let parts = [conv5, conv3, gain, bias, conv1, bias1].map(Tensor::flatten_all);
    Tensor::cat(&parts.into_iter().collect::<Result<Vec<_>>>()?, 0)
}

/// The input `[N, I, H, W]` as features with the margins that the block's taps reach.
fn load<F: Format>(
    context: &Context,
    x: &[f32],
    [images, inputs]: [usize; 2],
    size: [usize; 2],
    shape: BlockShape,
    for_gradients: bool,
) -> Features<F> {
    let margin = margin(&taps([5; 2], shape.dilation, size, false));
    let mut input = Features::new(&context.pool, &[inputs], images, size, margin, for_gradients);
    input.fill(context.level, 0, x);
    input
}

/// What the way back needs.
struct Tape<F: Format> {
    input: Features<F>,
    block: BlockTape<F>,
}

struct TrainOp<F: Format> {
    shape: BlockShape,
    places: BlockPlaces,
    dropout: Option<Vec<f32>>,
    epsilon: f64,
    context: Context,
    tape: Arc<OnceLock<Tape<F>>>,
}

impl<F: Format> CustomOp2 for TrainOp<F> {
    fn name(&self) -> &'static str {
        "two-scale-block"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self { shape, context, .. } = self;
        let [images, inputs, height, width] = image_shape("two-scale block", l1)?;
        let size = [height, width];
        let input = load::<F>(context, slice(s1, l1)?, [images, inputs], size, *shape, true);
        let mut output = Features::<F>::new(&context.pool, &[shape.filters], images, size, 0, false);
        let weights = self.places.weights(slice(s2, l2)?);
        let dropout = self.dropout.as_deref();
        let block =
            forward_train(context, *shape, &weights, &input, 0..1, dropout, self.epsilon, &mut output, 0);
        self.tape.get_or_init(|| Tape { input, block });
        Ok((CpuStorage::F32(output.to_dense(0)), Shape::from((images, shape.filters, height, width))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Self { shape, context, .. } = self;
        let tape = self.tape.get().expect("because the way forward leaves its tape");
        let (images, inputs, height, width) = x.dims4()?;
        let places = |planes: usize| Places::dense(images, planes, [height, width]);
        with_slices([parameters, &grad.contiguous()?], |[values, gradient]| {
            let mut canvas = x.track_op().then(|| Canvas::new(&context.pool, places(inputs)));
            let gradients = backward(
                context,
                *shape,
                &self.places.weights(values),
                &tape.block,
                &tape.input,
                0..1,
                self.dropout.as_deref(),
                &View::new(places(shape.filters), 0..shape.filters, gradient),
                canvas.as_mut().map(|canvas| InputGradient { canvas, planes: 0..inputs, adds: false }),
            );
            let mut parameter_gradient = vec![0.0f32; values.len()];
            self.places.put_gradients(&mut parameter_gradient, &gradients);
            let x_gradient =
                canvas.map(|canvas| Tensor::from_slice(canvas.dense_values(), x.shape(), &Device::Cpu));
            Ok((
                x_gradient.transpose()?,
                Some(Tensor::from_vec(parameter_gradient, values.len(), &Device::Cpu)?),
            ))
        })
    }
}

#[cfg(test)]
mod tests;
