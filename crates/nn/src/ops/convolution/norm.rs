//! Convolution, batch normalization and activation as one candle operation.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};

use super::{Conv2dOptions, ConvOp, ConvTranspose2dOptions};
use crate::kernels::convolution::Convolution;
use crate::kernels::norm::{ChannelMoments, ChannelScale, Extent, normalize_by_batch, normalize_gradients};
use crate::ops::norm::{BatchNorm, BatchNormOptions, batch_norm, channel_moments, standardization};
use crate::ops::tensor::{slice, with_slices};

/// [`conv2d`](super::conv2d) without a bias, then batch normalization by the result's own statistics, activation and
/// spatial dropout as in [`batch_norm`](crate::ops::batch_norm): a block of a network in training.
///
/// It gives what the three operations one after the other give. As one operation on the CPU it makes fewer tensors
/// on both ways; on a GPU it is the three.
///
/// # Shapes
/// `x` `[N, I, H, W]`, `weight` `[O, I, U, V]`, `gain` and `bias` of the normalization `[O]`; the result is
/// `[N, O, H', W']`, with the moments of the O channels before the normalization, for running averages.
/// All four can be differentiated, the moments cannot.
///
/// # Errors
/// As [`conv2d`](super::conv2d) and [`batch_norm`](crate::ops::batch_norm).
///
/// # Examples
/// ```
/// use synthct_nn::candle_core::{DType, Device, Result, Tensor};
/// use synthct_nn::ops::{Activation, BatchNormOptions, Conv2dOptions, conv2d_batch_norm};
///
/// let tensor = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu);
/// let halve = Conv2dOptions { stride: [2; 2], padding: [1; 2], ..Conv2dOptions::default() };
/// let norm = BatchNormOptions { activation: Activation::Relu, epsilon: 1e-5, dropout: None };
/// let (x, weight) = (tensor(&[2, 3, 16, 16])?, tensor(&[5, 3, 4, 4])?);
/// let (out, moments) = conv2d_batch_norm(&x, &weight, &tensor(&[5])?, &tensor(&[5])?, &halve, &norm)?;
/// assert_eq!((out.dims(), moments.len()), (&[2, 5, 8, 8][..], 5));
/// # Result::Ok(())
/// ```
pub fn conv2d_batch_norm(
    x: &Tensor,
    weight: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    convolution: &Conv2dOptions,
    normalization: &BatchNormOptions,
) -> Result<(Tensor, Vec<ChannelMoments>)> {
    apply((*convolution).into(), [x, weight, gain, bias], normalization)
}

/// [`conv_transpose2d`](super::conv_transpose2d) without a bias, then batch normalization, activation and dropout; see
/// [`conv2d_batch_norm`].
///
/// # Shapes
/// `x` `[N, I, H, W]`, `weight` `[I, O, U, V]`, `gain` and `bias` `[O]`; the result is `[N, O, H', W']`, with the moments
/// of the O channels.
///
/// # Errors
/// As [`conv_transpose2d`](super::conv_transpose2d) and [`batch_norm`](crate::ops::batch_norm).
pub fn conv_transpose2d_batch_norm(
    x: &Tensor,
    weight: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    convolution: &ConvTranspose2dOptions,
    normalization: &BatchNormOptions,
) -> Result<(Tensor, Vec<ChannelMoments>)> {
    apply((*convolution).into(), [x, weight, gain, bias], normalization)
}

fn apply(
    conv: ConvOp,
    [x, weight, gain, bias]: [&Tensor; 4],
    options: &BatchNormOptions,
) -> Result<(Tensor, Vec<ChannelMoments>)> {
    if !x.device().is_cpu() {
        let x = conv.apply(x, weight, None)?;
        let moments = channel_moments(&x)?;
        return Ok((batch_norm(&x, gain, bias, BatchNorm::Batch(&moments), options)?, moments));
    }
    let tape = Arc::new(OnceLock::new());
    let op = ConvNormOp { conv, options: options.clone(), tape: Arc::clone(&tape) };
    let affine = Tensor::stack(&[gain, bias], 0)?;
    let out = x.contiguous()?.apply_op3(&weight.contiguous()?, &affine, op)?;
    let tape = tape.get().expect("because the way forward leaves its tape");
    Ok((out, tape.moments.clone()))
}

/// What the way back needs beside input and result.
struct Tape {
    /// The convolution's result.
    convolved: Vec<f32>,
    moments: Vec<ChannelMoments>,
}

/// Its third argument is `[2, O]`: the gains, and the biases.
struct ConvNormOp {
    conv: ConvOp,
    options: BatchNormOptions,
    tape: Arc<OnceLock<Tape>>,
}

impl ConvNormOp {
    /// Images, channels and plane of the result; fails for parameters or dropout factors that do not fit.
    fn extent(&self, convolution: &Convolution, affine: &Layout) -> Result<(Extent, [usize; 2])> {
        let (channels, [_, height, width]) = self.conv.result(convolution);
        let name = self.conv.name;
        if affine.dims() != [2, channels] {
            bail!(
                "{name}: gain and bias {:?} of the normalization do not fit {channels} channels",
                affine.dims()
            );
        }
        let extent = Extent { images: convolution.images, channels, plane: height * width };
        if let Some(dropout) = &self.options.dropout
            && dropout.len() != extent.images * channels
        {
            bail!(
                "{name}: {} dropout factors for {} images of {channels} channels",
                dropout.len(),
                extent.images
            );
        }
        Ok((extent, [height, width]))
    }

    /// What normalizes a channel of such moments.
    fn scale(&self, affine: &[f32], channel: usize, moments: ChannelMoments) -> ChannelScale {
        let (mean, inverse_sd) = standardization(moments, self.options.epsilon);
        ChannelScale { mean, inverse_sd, gain: affine[channel], bias: affine[affine.len() / 2 + channel] }
    }
}

impl CustomOp3 for ConvNormOp {
    fn name(&self) -> &'static str {
        "convolution-batch-norm"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self { conv, options, .. } = self;
        let convolution = conv.convolution(l1, l2)?;
        let (extent, [height, width]) = self.extent(&convolution, l3)?;
        let affine = slice(s3, l3)?;
        let convolved = conv.run(&convolution, slice(s1, l1)?, slice(s2, l2)?, None);
        let (out, moments) = normalize_by_batch(
            conv.level,
            &convolved,
            extent,
            |channel, moments| self.scale(affine, channel, moments),
            options.dropout.as_deref(),
            options.activation,
        );
        self.tape.get_or_init(|| Tape { convolved, moments });
        Ok((CpuStorage::F32(out), Shape::from((extent.images, extent.channels, height, width))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        affine: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Self { conv, options, tape } = self;
        let Tape { convolved, moments } = tape.get().expect("because the way forward leaves its tape");
        let convolution = conv.convolution(x.layout(), weight.layout())?;
        let (extent, _) = self.extent(&convolution, affine.layout())?;
        let grad = grad.contiguous()?;
        let gradients = with_slices([affine, res, &grad], |[affine, out, grad]| {
            let moments = moments.iter().enumerate();
            let scales: Vec<_> =
                moments.map(|(channel, moments)| self.scale(affine, channel, *moments)).collect();
            Ok(normalize_gradients(
                conv.level,
                convolved,
                out,
                grad,
                extent,
                &scales,
                options.dropout.as_deref(),
                options.activation,
                true,
            ))
        })?;
        let (gradient_x, gradient_weight) = conv.gradients(&convolution, [x, weight], &gradients.x)?;
        let gradient_affine = [gradients.gain, gradients.bias].concat();
        Ok((
            gradient_x,
            gradient_weight,
            Some(Tensor::from_vec(gradient_affine, affine.shape(), &Device::Cpu)?),
        ))
    }
}
