//! The RoI-focused multi-task network: whole-image HU, bone HU and bone mask from one trunk.

mod config;
mod engine;
mod output;

pub use config::RoiNetConfig;
pub use output::RoiNetOutput;

use std::sync::Arc;

use candle_core::Tensor;
use engine::{BatchMoments, Plan};

use crate::fused::format::{Brain, Single};
use crate::fused::rows::Context;
use crate::layers::{Conv, Mode, Norm, SpatialDropout, check_image, norm_activation};
use crate::ops::Activation;
use crate::store::ParameterStore;
use crate::{CpuPath, NnError, Precision};

/// The network of Kaushik et al. (2022), arXiv:2203.16288, figure 1.
///
/// There is no down-sampling: eight blocks see ever wider surroundings by dilation.
/// Each block runs two branches, 5×5 and 3×3: dilated convolution → batch normalization → ELU → spatial dropout;
/// both are joined in the channels and brought back to the block's filters by a 1×1 convolution.
///
/// | block | c1 | c2 | c3 | c4 | c5 | c6 (+ c3) | c7 (+ c2) | c8, one a head (+ c1) |
/// |---|---|---|---|---|---|---|---|---|
/// | filters | f | f+4 | f+8 | f+16 | f+16 | f+8 | f+4 | f |
/// | dilation | 1 | 2 | 4 | 8 | 8 | 4 | 2 | 1 |
///
/// In parentheses is the block whose output is joined to the input.
/// A head is its own block c8 and 1×1 convolution → batch normalization → linear (whole-image HU), ReLU (bone HU)
/// or sigmoid (bone mask).
///
/// # Parameter names
/// `c1` … `c7` and `c8_whole_hu`, `c8_bone_hu`, `c8_bone_mask` hold `conv5.weight`, `bn5.*`, `conv3.weight`,
/// `bn3.*`, `conv1.weight` and `conv1.bias`; `head_whole_hu`, … hold `conv.weight` and `bn.*`, where `*` is
/// `weight`, `bias`, `running_mean` and `running_var`. Layouts are PyTorch's.
///
/// # Where we differ from the paper
/// It gives neither filters nor dropout rate; ours are in [`RoiNetConfig`].
/// Convolutions before a batch normalization have no bias, which the normalization would cancel.
/// The heads' normalizations do not start at gain 1 and bias 0, but where CT values lie: the whole-image head at
/// −0.5 ± 0.5 kHU, the bone head at 1 ± 0.5 kHU (so that its ReLU lets the first gradients through), the mask head
/// at logit −2 (bone is rare).
pub struct RoiNet {
    config: RoiNetConfig,
    trunk: [Block; 7],
    whole_hu: Head,
    bone_hu: Option<Head>,
    bone_mask: Option<Head>,
    plan: Arc<Plan>,
    context: Context,
}

impl RoiNet {
    /// Builds the network and adds its parameters to `store`.
    ///
    /// # Errors
    /// [`NnError::Config`]; [`NnError::DuplicateParameter`] if the store holds a network already.
    pub fn new(config: &RoiNetConfig, store: &mut ParameterStore) -> Result<Self, NnError> {
        config.validate()?;
        let f = config.filters;
        let mut block = |name: &str, inputs: usize, filters: usize, dilation: usize| {
            Block::new(store, name, inputs, filters, dilation, config.dropout)
        };
        let trunk = [
            block("c1", config.in_channels, f, 1)?,
            block("c2", f, f + 4, 2)?,
            block("c3", f + 4, f + 8, 4)?,
            block("c4", f + 8, f + 16, 8)?,
            block("c5", f + 16, f + 16, 8)?,
            block("c6", (f + 16) + (f + 8), f + 8, 4)?,
            block("c7", (f + 8) + (f + 4), f + 4, 2)?,
        ];
        let mut head = |name: &str, activation: Activation, gain: f32, bias: f32| {
            Head::new(store, name, config, activation, gain, bias)
        };
        let mut net = Self {
            config: config.clone(),
            trunk,
            whole_hu: head("whole_hu", Activation::Linear, 0.5, -0.5)?,
            bone_hu: config.bone_hu.then(|| head("bone_hu", Activation::Relu, 0.5, 1.0)).transpose()?,
            bone_mask: config
                .bone_mask
                .then(|| head("bone_mask", Activation::Sigmoid, 1.0, -2.0))
                .transpose()?,
            plan: Arc::new(Plan::new(config, &[])),
            context: Context { level: CpuPath::best(), pool: Arc::default() },
        };
        let activations: Vec<Activation> = net.heads().map(|head| head.activation).collect();
        net.plan = Arc::new(Plan::new(config, &activations));
        Ok(net)
    }

    /// Runs on `path` instead of the best one of this processor: to compare them.
    ///
    /// # Errors
    /// [`NnError::CpuPath`] if this processor cannot run it.
    pub fn with_cpu_path(mut self, path: CpuPath) -> Result<Self, NnError> {
        if !path.is_supported() {
            return Err(NnError::CpuPath { name: path.name() });
        }
        self.context.level = path;
        Ok(self)
    }

    /// The configuration the network was built from.
    pub fn config(&self) -> &RoiNetConfig {
        &self.config
    }

    /// Runs the network for training: batch statistics normalize and move the running ones, channels are dropped
    /// as `dropout_seed` decides, and the result can be differentiated.
    ///
    /// The same input, weights and seed give the same bits, whatever the number of threads.
    ///
    /// On an NVIDIA GPU [`Precision::Bf16`] rounds the factors and the results of convolutions to bfloat16 and leaves
    /// everything between them in `f32`; [`Precision::F32`] convolves as [`ParameterStore::with_cuda_math`] says.
    ///
    /// # Shapes
    /// `x` `[N, in_channels, H, W]`, any height and width; the outputs are `[N, 1, H, W]`.
    ///
    /// # Errors
    /// [`NnError::Input`], [`NnError::SinglePixelBatch`]; [`NnError::Tensor`] on a GPU in a build without the feature
    /// `cudnn`, or if input and parameters are on different devices.
    pub fn forward_train(
        &self,
        x: &Tensor,
        precision: Precision,
        dropout_seed: u64,
    ) -> Result<RoiNetOutput, NnError> {
        self.check(x)?;
        let [images, _, height, width] = [0, 1, 2, 3].map(|axis| x.dims()[axis]);
        if images * height * width < 2 {
            return Err(NnError::SinglePixelBatch { shape: x.dims().to_vec() });
        }
        if x.device().is_cpu() {
            return self.train_fused(x, precision, dropout_seed);
        }
        self.run(x, Mode::Train { dropout_seed }, precision)
    }

    /// Runs the network for evaluation: running statistics, no dropout, no gradient.
    ///
    /// What `precision` means on a GPU, and the shapes, are as in [`Self::forward_train`].
    ///
    /// # Errors
    /// As [`Self::forward_train`], but for the batch of a single pixel.
    pub fn forward(&self, x: &Tensor, precision: Precision) -> Result<RoiNetOutput, NnError> {
        self.check(x)?;
        if x.device().is_cpu() {
            return self.evaluate_fused(&x.detach(), precision);
        }
        self.run(&x.detach(), Mode::Evaluate, precision)
    }

    /// Runs the network as [`Self::forward`] does, but with dropout: one sample of Monte-Carlo dropout.
    ///
    /// It runs layer by layer, on the CPU in `f32` whatever `precision` says.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_sample(
        &self,
        x: &Tensor,
        precision: Precision,
        dropout_seed: u64,
    ) -> Result<RoiNetOutput, NnError> {
        self.check(x)?;
        self.run(&x.detach(), Mode::Sample { dropout_seed }, precision)
    }

    fn check(&self, x: &Tensor) -> Result<(), NnError> {
        check_image(x, self.config.in_channels, 1)
    }

    /// The heads in the order of the outputs.
    fn heads(&self) -> impl Iterator<Item = &Head> {
        [Some(&self.whole_hu), self.bone_hu.as_ref(), self.bone_mask.as_ref()].into_iter().flatten()
    }

    /// The blocks in the plan's order.
    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.trunk.iter().chain(self.heads().map(|head| &head.block))
    }

    /// All parameters one after the other, in the plan's order.
    fn parameters(&self, mode: Mode) -> Result<Tensor, NnError> {
        let of_blocks = self.blocks().flat_map(|block| {
            let Block { conv5, bn5, conv3, bn3, conv1, .. } = block;
            let bias = conv1.bias.as_ref();
            [&conv5.weight, &conv3.weight, &bn5.gain, &bn3.gain, &bn5.bias, &bn3.bias, &conv1.weight]
                .into_iter()
                .chain(bias)
        });
        let of_heads = self.heads().flat_map(|head| [&head.conv.weight, &head.norm.gain, &head.norm.bias]);
        let flat = of_blocks
            .chain(of_heads)
            .map(|var| mode.tensor(var).flatten_all())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(&flat, 0)?)
    }

    fn train_fused(
        &self,
        x: &Tensor,
        precision: Precision,
        dropout_seed: u64,
    ) -> Result<RoiNetOutput, NnError> {
        let images = x.dims()[0];
        let dropout = self.blocks().map(|block| {
            let channels = images * 2 * block.filters();
            SpatialDropout { name: &block.name, rate: block.dropout }.factors(dropout_seed, channels)
        });
        let dropout = dropout.collect();
        let parameters = self.parameters(Mode::Train { dropout_seed })?;
        let run = match precision {
            Precision::F32 => engine::train::<Single>,
            Precision::Bf16 => engine::train::<Brain>,
        };
        let (outputs, moments) = run(&self.plan, &self.context, x, &parameters, dropout, Norm::EPSILON)?;
        let count = x.elem_count() / x.dims()[1];
        for (block, moments) in self.blocks().zip(&moments.blocks) {
            let (wide, narrow) = moments.split_at(block.filters());
            block.bn5.update(wide, count)?;
            block.bn3.update(narrow, count)?;
        }
        for (head, moments) in self.heads().zip(&moments.heads) {
            head.norm.update(&[*moments], count)?;
        }
        let head = |idx: usize| outputs.narrow(0, idx * images, images);
        let heads = (0..outputs.dims()[0] / images).map(head).collect::<Result<_, _>>()?;
        Ok(self.output(heads))
    }

    fn evaluate_fused(&self, x: &Tensor, precision: Precision) -> Result<RoiNetOutput, NnError> {
        let mut blocks = Vec::new();
        for block in self.blocks() {
            blocks.push([block.bn5.running()?, block.bn3.running()?].concat());
        }
        let heads = self.heads().map(|head| head.norm.running()).collect::<Result<Vec<_>, _>>()?.concat();
        let moments = BatchMoments { blocks, heads };
        let run = match precision {
            Precision::F32 => engine::evaluate::<Single>,
            Precision::Bf16 => engine::evaluate::<Brain>,
        };
        let parameters = self.parameters(Mode::Evaluate)?;
        Ok(self.output(run(&self.plan, &self.context, x, &parameters, &moments, Norm::EPSILON)?))
    }

    /// The outputs by their names, from the heads' in order.
    fn output(&self, heads: Vec<Tensor>) -> RoiNetOutput {
        let mut heads = heads.into_iter();
        let mut next = || heads.next().expect("because the plan has a head for each output");
        RoiNetOutput {
            whole_hu: next(),
            bone_hu: self.bone_hu.as_ref().map(|_| next()),
            bone_mask: self.bone_mask.as_ref().map(|_| next()),
        }
    }

    /// The network layer by layer: the plain twin of the fused engine, and the way on other devices.
    fn run(&self, x: &Tensor, mode: Mode, precision: Precision) -> Result<RoiNetOutput, NnError> {
        let [c1, c2, c3, c4, c5, c6, c7] = &self.trunk;
        let block = |block: &Block, x: &Tensor| block.forward(x, mode, precision);
        let x1 = block(c1, x)?;
        let x2 = block(c2, &x1)?;
        let x3 = block(c3, &x2)?;
        let x5 = block(c5, &block(c4, &x3)?)?;
        let x6 = block(c6, &Tensor::cat(&[&x5, &x3], 1)?)?;
        let x7 = block(c7, &Tensor::cat(&[&x6, &x2], 1)?)?;
        let last = Tensor::cat(&[&x7, &x1], 1)?;
        let run = |head: &Head| head.forward(&last, mode, precision);
        Ok(RoiNetOutput {
            whole_hu: run(&self.whole_hu)?,
            bone_hu: self.bone_hu.as_ref().map(run).transpose()?,
            bone_mask: self.bone_mask.as_ref().map(run).transpose()?,
        })
    }
}

/// One `c` block.
struct Block {
    name: String,
    conv5: Conv,
    bn5: Norm,
    conv3: Conv,
    bn3: Norm,
    conv1: Conv,
    dilation: usize,
    dropout: f32,
}

impl Block {
    fn new(
        store: &mut ParameterStore,
        name: &str,
        inputs: usize,
        filters: usize,
        dilation: usize,
        dropout: f32,
    ) -> Result<Self, NnError> {
        Ok(Self {
            name: name.to_owned(),
            conv5: Conv::new(store, &format!("{name}.conv5"), inputs, filters, 5, false)?,
            bn5: Norm::new(store, &format!("{name}.bn5"), filters, 1.0, 0.0)?,
            conv3: Conv::new(store, &format!("{name}.conv3"), inputs, filters, 3, false)?,
            bn3: Norm::new(store, &format!("{name}.bn3"), filters, 1.0, 0.0)?,
            conv1: Conv::new(store, &format!("{name}.conv1"), 2 * filters, filters, 1, true)?,
            dilation,
            dropout,
        })
    }

    fn filters(&self) -> usize {
        self.conv1.weight.dims()[0]
    }

    fn forward(&self, x: &Tensor, mode: Mode, precision: Precision) -> Result<Tensor, NnError> {
        let branch = |conv: &Conv| conv.forward(x, self.dilation, mode, precision);
        let both = Tensor::cat(&[branch(&self.conv5)?, branch(&self.conv3)?], 1)?;
        let dropout = SpatialDropout { name: &self.name, rate: self.dropout };
        let both = norm_activation(&[&self.bn5, &self.bn3], &both, Activation::Elu, Some(dropout), mode)?;
        self.conv1.forward(&both, 1, mode, precision)
    }
}

/// A block c8 and the layers that make an output of it.
struct Head {
    block: Block,
    conv: Conv,
    norm: Norm,
    activation: Activation,
}

impl Head {
    /// A head whose normalization starts at `gain` and `bias`.
    fn new(
        store: &mut ParameterStore,
        name: &str,
        config: &RoiNetConfig,
        activation: Activation,
        gain: f32,
        bias: f32,
    ) -> Result<Self, NnError> {
        let filters = config.filters;
        let inputs = (filters + 4) + filters;
        Ok(Self {
            block: Block::new(store, &format!("c8_{name}"), inputs, filters, 1, config.dropout)?,
            conv: Conv::new(store, &format!("head_{name}.conv"), filters, 1, 1, false)?,
            norm: Norm::new(store, &format!("head_{name}.bn"), 1, gain, bias)?,
            activation,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode, precision: Precision) -> Result<Tensor, NnError> {
        let x = self.conv.forward(&self.block.forward(x, mode, precision)?, 1, mode, precision)?;
        norm_activation(&[&self.norm], &x, self.activation, None, mode)
    }
}

#[cfg(test)]
mod tests;
