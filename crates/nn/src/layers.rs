//! Layers: named parameters, and what they do to a tensor.

use candle_core::{Tensor, Var};

use crate::random::NamedRng;
use crate::store::{Init, ParameterStore};
use crate::{NnError, Precision, ops};

/// How a network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch, dropout from the seed, running statistics updated, gradients recorded.
    Train {
        /// Decides which channels are dropped.
        dropout_seed: u64,
    },
    /// Statistics of the batch, no dropout, running statistics left alone, gradients to the input but not to the weights.
    Frozen,
    /// Running statistics, no dropout, no gradients.
    Evaluate,
    /// Running statistics and dropout, no gradients: one sample of Monte-Carlo dropout (Gal and Ghahramani 2016,
    /// arXiv:1506.02142).
    Sample {
        /// Decides which channels are dropped.
        dropout_seed: u64,
    },
}

impl Mode {
    /// The variable's tensor: tracked in training, detached otherwise, so that evaluation frees what it made.
    pub(crate) fn tensor(self, var: &Var) -> Tensor {
        match self {
            Self::Train { .. } => var.as_tensor().clone(),
            Self::Frozen | Self::Evaluate | Self::Sample { .. } => var.as_detached_tensor(),
        }
    }

    /// The seed that decides which channels are dropped, if any are.
    const fn dropout_seed(self) -> Option<u64> {
        match self {
            Self::Train { dropout_seed } | Self::Sample { dropout_seed } => Some(dropout_seed),
            Self::Frozen | Self::Evaluate => None,
        }
    }
}

/// Weights `[O, I, K, K]` and perhaps a bias `[O]`.
pub(crate) struct Conv {
    pub(crate) weight: Var,
    pub(crate) bias: Option<Var>,
    kernel_size: usize,
    stride: usize,
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
        Ok(Self { weight, bias, kernel_size, stride: 1, cuda_math: store.cuda_math() })
    }

    /// A 4×4 convolution that halves height and width; parameters as those of [`Self::new`].
    pub(crate) fn halving(
        store: &mut ParameterStore,
        name: &str,
        inputs: usize,
        outputs: usize,
        with_bias: bool,
    ) -> Result<Self, NnError> {
        Ok(Self { stride: 2, ..Self::new(store, name, inputs, outputs, 4, with_bias)? })
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
        let options = match self.stride {
            1 => ops::Conv2dOptions::same(self.kernel_size, dilation),
            stride => ops::Conv2dOptions {
                stride: [stride; 2],
                padding: [(self.kernel_size - stride) / 2; 2],
                ..ops::Conv2dOptions::default()
            },
        };
        let options = ops::Conv2dOptions { math, ..options };
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
/// activation and, where the mode has it, the dropout of whole channels.
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
    if let (Some(seed), Some(dropout)) = (mode.dropout_seed(), dropout) {
        options.dropout = dropout.factors(seed, images * channels);
    }
    match mode {
        Mode::Evaluate | Mode::Sample { .. } => {
            let mut moments = Vec::with_capacity(channels);
            for norm in norms {
                moments.extend(norm.running()?);
            }
            Ok(ops::batch_norm(x, &gain, &bias, ops::BatchNorm::Fixed(&moments), &options)?)
        }
        Mode::Train { .. } | Mode::Frozen => {
            let moments = ops::channel_moments(x)?;
            if let Mode::Train { .. } = mode {
                let mut rest = moments.as_slice();
                for norm in norms {
                    let (own, others) = rest.split_at(norm.gain.elem_count().min(rest.len()));
                    norm.update(own, images * height * width)?;
                    rest = others;
                }
            }
            Ok(ops::batch_norm(x, &gain, &bias, ops::BatchNorm::Batch(&moments), &options)?)
        }
    }
}

/// Convolution → batch normalization → activation → spatial dropout.
pub(crate) struct ConvBlock {
    name: String,
    conv: Conv,
    norm: Norm,
    activation: ops::Activation,
    dropout: f32,
}

impl ConvBlock {
    /// A block with a 3×3 convolution that keeps the image's size.
    pub(crate) fn keeping(
        store: &mut ParameterStore,
        name: &str,
        [inputs, outputs]: [usize; 2],
        activation: ops::Activation,
        dropout: f32,
    ) -> Result<Self, NnError> {
        let conv = Conv::new(store, &format!("{name}.conv"), inputs, outputs, 3, false)?;
        Self::with(store, name, conv, outputs, activation, dropout)
    }

    /// A block with a 4×4 convolution that halves the image's size, and ReLU.
    pub(crate) fn halving(
        store: &mut ParameterStore,
        name: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Result<Self, NnError> {
        let conv = Conv::halving(store, &format!("{name}.conv"), inputs, outputs, false)?;
        Self::with(store, name, conv, outputs, ops::Activation::Relu, 0.0)
    }

    fn with(
        store: &mut ParameterStore,
        name: &str,
        conv: Conv,
        outputs: usize,
        activation: ops::Activation,
        dropout: f32,
    ) -> Result<Self, NnError> {
        let norm = Norm::new(store, &format!("{name}.bn"), outputs, 1.0, 0.0)?;
        Ok(Self { name: name.to_owned(), conv, norm, activation, dropout })
    }

    /// The block of an image.
    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let x = self.conv.forward(x, 1, mode, Precision::F32)?;
        let (images, _, height, width) = x.dims4()?;
        if matches!(mode, Mode::Train { .. } | Mode::Frozen) && images * height * width < 2 {
            return Err(NnError::SinglePixelBatch { shape: x.dims().to_vec() });
        }
        let dropout = SpatialDropout { name: &self.name, rate: self.dropout };
        norm_activation(&[&self.norm], &x, self.activation, Some(dropout), mode)
    }
}

/// Fails unless `x` is an `f32` image `[N, in_channels, H, W]` of at least `least` rows and columns.
pub(crate) fn check_image(x: &Tensor, in_channels: usize, least: usize) -> Result<(), NnError> {
    let fits = x.rank() == 4
        && x.dims()[1] == in_channels
        && x.elem_count() > 0
        && x.dtype() == candle_core::DType::F32;
    if !fits {
        return Err(NnError::Input { in_channels, shape: x.dims().to_vec(), dtype: x.dtype().as_str() });
    }
    if x.dims()[2].min(x.dims()[3]) < least {
        return Err(NnError::SmallImage { shape: x.dims().to_vec(), least });
    }
    Ok(())
}
