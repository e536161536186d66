//! Batch normalization with activation and spatial dropout as one candle operation.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};

use super::tensor::{image_shape, slice, with_slices};
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::kernels::norm::{
    Activation, ChannelMoments, ChannelScale, Extent, channel_moments as moments_of, normalize,
    normalize_gradients,
};
use crate::simd::Level;

/// What [`batch_norm`] does beside scaling.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormOptions {
    /// What follows the normalization.
    pub activation: Activation,
    /// Added to the variance before its root is taken; PyTorch's default is 1e-5.
    pub epsilon: f64,
    /// A factor for each image and channel `[N, C]`, applied last: 0 drops the channel, 1 / (1 − p) keeps it.
    pub dropout: Option<Vec<f32>>,
}

/// Which statistics normalize.
#[derive(Clone, Copy, Debug)]
pub enum BatchNorm<'a> {
    /// Those of the input itself, as [`channel_moments`] found them; their dependence on the input is
    /// differentiated.
    Batch(&'a [ChannelMoments]),
    /// Fixed ones, such as running averages; they are constants in the gradient.
    Fixed(&'a [ChannelMoments]),
}

/// Mean and biased variance of each channel of `x` `[N, C, H, W]` over N, H and W, summed in `f64`.
///
/// # Errors
/// A tensor that is not `f32`, or is empty.
pub fn channel_moments(x: &Tensor) -> Result<Vec<ChannelMoments>> {
    let x = x.contiguous()?;
    let extent = extent(x.layout())?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::norm::channel_moments(&x);
    }
    with_slices([&x], |[x]| Ok(moments_of(Level::best(), x, extent)))
}

/// Batch normalization, activation and spatial dropout:
/// out = d · act((x − mean) / √(variance + ε) · gain + bias).
///
/// # Shapes
/// `x` `[N, C, H, W]`, `gain` and `bias` `[C]`; the result has the shape of `x`.
///
/// # Errors
/// Shapes, moments or dropout factors that do not fit, a tensor that is not `f32`, tensors on several devices.
///
/// # References
/// Ioffe and Szegedy (2015), arXiv:1502.03167; Clevert et al. (2016), arXiv:1511.07289 (ELU); Tompson et al.
/// (2015), arXiv:1411.4280 (spatial dropout: whole channels).
pub fn batch_norm(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    statistics: BatchNorm,
    options: &BatchNormOptions,
) -> Result<Tensor> {
    let (moments, batch_statistics) = match statistics {
        BatchNorm::Batch(moments) => (moments, true),
        BatchNorm::Fixed(moments) => (moments, false),
    };
    let op = BatchNormOp {
        moments: moments.iter().map(|moments| standardization(*moments, options.epsilon)).collect(),
        batch_statistics,
        activation: options.activation,
        dropout: options.dropout.clone(),
        level: Level::best(),
    };
    x.contiguous()?.apply_op3(&gain.contiguous()?, &bias.contiguous()?, op)
}

/// Mean and inverse standard deviation, as the kernels take them.
pub(super) fn standardization(moments: ChannelMoments, epsilon: f64) -> (f32, f32) {
    (moments.mean as f32, (moments.variance + epsilon).sqrt().recip() as f32)
}

struct BatchNormOp {
    /// Mean and inverse standard deviation of each channel.
    moments: Vec<(f32, f32)>,
    batch_statistics: bool,
    activation: Activation,
    dropout: Option<Vec<f32>>,
    level: Level,
}

fn extent(layout: &Layout) -> Result<Extent> {
    let [images, channels, height, width] = image_shape("batch_norm", layout)?;
    Ok(Extent { images, channels, plane: height * width })
}

impl BatchNormOp {
    /// Fails unless every channel has a gain and a bias, and every plane a dropout factor, if there are any.
    fn check(&self, extent: Extent, gains: usize, biases: usize) -> Result<()> {
        let lengths = [self.moments.len(), gains, biases];
        if lengths != [extent.channels; 3] {
            bail!(
                "batch_norm: {} channels, but moments, gain and bias have {lengths:?} values",
                extent.channels
            );
        }
        if let Some(dropout) = &self.dropout
            && dropout.len() != extent.images * extent.channels
        {
            bail!(
                "batch_norm: {} dropout factors for {} images of {} channels",
                dropout.len(),
                extent.images,
                extent.channels
            );
        }
        Ok(())
    }

    /// The same for a GPU.
    #[cfg(feature = "cuda")]
    fn normalization(&self) -> cuda::norm::Normalization<'_> {
        cuda::norm::Normalization {
            moments: &self.moments,
            batch_statistics: self.batch_statistics,
            activation: self.activation,
            dropout: self.dropout.as_deref(),
        }
    }

    fn scales(&self, extent: Extent, gain: &[f32], bias: &[f32]) -> Result<Vec<ChannelScale>> {
        self.check(extent, gain.len(), bias.len())?;
        Ok(self
            .moments
            .iter()
            .zip(gain.iter().zip(bias))
            .map(|(&(mean, inverse_sd), (&gain, &bias))| ChannelScale { mean, inverse_sd, gain, bias })
            .collect())
    }
}

impl CustomOp3 for BatchNormOp {
    fn name(&self) -> &'static str {
        "batch-norm-activation-dropout"
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
        let extent = extent(l1)?;
        let scales = self.scales(extent, slice(s2, l2)?, slice(s3, l3)?)?;
        let out =
            normalize(self.level, slice(s1, l1)?, extent, &scales, self.dropout.as_deref(), self.activation);
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.check(extent(l1)?, l2.shape().elem_count(), l3.shape().elem_count())?;
        cuda::norm::forward(self.normalization(), (s1, l1), (s2, l2), (s3, l3))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let extent = extent(x.layout())?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [x, gain, bias] = cuda::norm::gradients(self.normalization(), x, gain, bias, res, &grad)?;
            return Ok((Some(x), Some(gain), Some(bias)));
        }
        let gradients = with_slices([x, gain, bias, res, &grad], |[x, gain, bias, out, grad]| {
            let scales = self.scales(extent, gain, bias)?;
            Ok(normalize_gradients(
                self.level,
                x,
                out,
                grad,
                extent,
                &scales,
                self.dropout.as_deref(),
                self.activation,
                self.batch_statistics,
            ))
        })?;
        Ok((
            Some(Tensor::from_vec(gradients.x, x.shape(), &Device::Cpu)?),
            Some(Tensor::from_vec(gradients.gain, extent.channels, &Device::Cpu)?),
            Some(Tensor::from_vec(gradients.bias, extent.channels, &Device::Cpu)?),
        ))
    }
}
