//! Layers: named parameters, and what they do to a tensor.

use candle_core::{Tensor, Var};

use crate::random::NamedRng;
use crate::store::{Init, ParameterStore};
use crate::{NnError, Precision, ops};

/// How a network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Statistics of the batch, dropout from the seed, running statistics updated, gradients recorded.
    Train {
        /// Decides which channels are dropped.
        dropout_seed: u64,
    },
    /// Running statistics, no dropout, no gradients.
    Evaluate,
}

impl Mode {
    /// The variable's tensor: tracked in training, detached otherwise, so that evaluation frees what it made.
    pub(crate) fn tensor(self, var: &Var) -> Tensor {
        match self {
            Self::Train { .. } => var.as_tensor().clone(),
            Self::Evaluate => var.as_detached_tensor(),
        }
    }
}

/// Weights `[O, I, K, K]` and perhaps a bias `[O]`.
pub(crate) struct Conv {
    pub(crate) weight: Var,
    pub(crate) bias: Option<Var>,
    kernel_size: usize,
    cuda_math: ops::CudaMath,
}

impl Conv {
    /// Adds `{name}.weight` and, if asked, `{name}.bias`.
    pub(crate) fn new(
        store: &mut ParameterStore,
        name: &str,
        inputs: usize,
        outputs: usize,
        kernel_size: usize,
        with_bias: bool,
    ) -> Result<Self, NnError> {
        let init = Init::UniformFanIn { fan_in: inputs * kernel_size * kernel_size };
        let shape = [outputs, inputs, kernel_size, kernel_size];
        let weight = store.parameter(&format!("{name}.weight"), &shape, init)?;
        let bias =
            with_bias.then(|| store.parameter(&format!("{name}.bias"), &[outputs], init)).transpose()?;
        Ok(Self { weight, bias, kernel_size, cuda_math: store.cuda_math() })
    }

    /// On a GPU in bfloat16 or, for [`Precision::F32`], as the parameter store says; on the CPU in `f32`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        dilation: usize,
        mode: Mode,
        precision: Precision,
    ) -> Result<Tensor, NnError> {
        let bias = self.bias.as_ref().map(|bias| mode.tensor(bias));
        let math = match precision {
            Precision::F32 => self.cuda_math,
            Precision::Bf16 => ops::CudaMath::Bf16,
        };
        let options = ops::Conv2dOptions { math, ..ops::Conv2dOptions::same(self.kernel_size, dilation) };
        Ok(ops::conv2d(x, &mode.tensor(&self.weight), bias.as_ref(), &options)?)
    }
}

/// Gain, bias and running statistics of a batch normalization.
pub(crate) struct Norm {
    pub(crate) gain: Var,
    pub(crate) bias: Var,
    running_mean: Var,
    running_var: Var,
}

impl Norm {
    /// Weight of the newest batch in the running statistics, as in PyTorch.
    const MOMENTUM: f64 = 0.1;
    /// Added to variances, as in PyTorch.
    pub(crate) const EPSILON: f64 = 1e-5;

    /// Adds `{name}.weight`, `.bias`, `.running_mean` and `.running_var`.
    pub(crate) fn new(
        store: &mut ParameterStore,
        name: &str,
        channels: usize,
        gain: f32,
        bias: f32,
    ) -> Result<Self, NnError> {
        Ok(Self {
            gain: store.parameter(&format!("{name}.weight"), &[channels], Init::Constant(gain))?,
            bias: store.parameter(&format!("{name}.bias"), &[channels], Init::Constant(bias))?,
            running_mean: store.buffer(&format!("{name}.running_mean"), &[channels], 0.0)?,
            running_var: store.buffer(&format!("{name}.running_var"), &[channels], 1.0)?,
        })
    }

    /// Moves the running statistics towards those of a batch with `count` values a channel.
    pub(crate) fn update(&self, moments: &[ops::ChannelMoments], count: usize) -> Result<(), NnError> {
        let unbiased = count as f64 / (count as f64 - 1.0);
        let blend = |var: &Var, values: &dyn Fn(&ops::ChannelMoments) -> f64| -> Result<(), NnError> {
            let blended: Vec<f32> = var
                .as_detached_tensor()
                .to_vec1::<f32>()?
                .iter()
                .zip(moments)
                .map(|(old, new)| {
                    ((1.0 - Self::MOMENTUM) * f64::from(*old) + Self::MOMENTUM * values(new)) as f32
                })
                .collect();
            var.set(&Tensor::new(blended, var.device())?)?;
            Ok(())
        };
        blend(&self.running_mean, &|moments| moments.mean)?;
        blend(&self.running_var, &|moments| moments.variance * unbiased)
    }

    pub(crate) fn running(&self) -> Result<Vec<ops::ChannelMoments>, NnError> {
        let mean = self.running_mean.as_detached_tensor().to_vec1::<f32>()?;
        let variance = self.running_var.as_detached_tensor().to_vec1::<f32>()?;
        Ok(mean
            .into_iter()
            .zip(variance)
            .map(|(mean, variance)| ops::ChannelMoments { mean: mean.into(), variance: variance.into() })
            .collect())
    }
}

/// Spatial dropout: a rate, and a name that tells its random numbers from those of other layers.
#[derive(Clone, Copy)]
pub(crate) struct SpatialDropout<'a> {
    pub(crate) name: &'a str,
    pub(crate) rate: f32,
}

impl SpatialDropout<'_> {
    /// A factor for each image and channel: 0, or what keeps the mean; none if nothing is dropped.
    pub(crate) fn factors(self, seed: u64, count: usize) -> Option<Vec<f32>> {
        let Self { name, rate } = self;
        (rate > 0.0).then(|| {
            let mut rng = NamedRng::new(seed, name);
            let kept = (1.0 - rate).recip();
            (0..count).map(|_| if rng.uniform() < rate { 0.0 } else { kept }).collect()
        })
    }
}

/// Normalizes the channels of `x` with one or more norms, one after the other in the channels; then the
/// activation and, in training, the dropout of whole channels.
pub(crate) fn norm_activation(
    norms: &[&Norm],
    x: &Tensor,
    activation: ops::Activation,
    dropout: Option<SpatialDropout>,
    mode: Mode,
) -> Result<Tensor, NnError> {
    let (images, channels, height, width) = x.dims4()?;
    let mut options = ops::BatchNormOptions { activation, epsilon: Norm::EPSILON, dropout: None };
    let joined = |of: &dyn Fn(&Norm) -> &Var| -> Result<Tensor, NnError> {
        let parts: Vec<Tensor> = norms.iter().map(|norm| mode.tensor(of(norm))).collect();
        Ok(Tensor::cat(&parts, 0)?)
    };
    let (gain, bias) = (joined(&|norm| &norm.gain)?, joined(&|norm| &norm.bias)?);
    match mode {
        Mode::Evaluate => {
            let mut moments = Vec::with_capacity(channels);
            for norm in norms {
                moments.extend(norm.running()?);
            }
            Ok(ops::batch_norm(x, &gain, &bias, ops::BatchNorm::Fixed(&moments), &options)?)
        }
        Mode::Train { dropout_seed } => {
            let moments = ops::channel_moments(x)?;
            let mut rest = moments.as_slice();
            for norm in norms {
                let (own, others) = rest.split_at(norm.gain.elem_count().min(rest.len()));
                norm.update(own, images * height * width)?;
                rest = others;
            }
            options.dropout = dropout.and_then(|dropout| dropout.factors(dropout_seed, images * channels));
            Ok(ops::batch_norm(x, &gain, &bias, ops::BatchNorm::Batch(&moments), &options)?)
        }
    }
}
