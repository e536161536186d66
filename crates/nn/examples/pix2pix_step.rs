//! Times the training step of a pix2pix-like pair of networks, built of this crate's operations.
//!
//! ```text
//! cargo run --release -p synthct-nn --example pix2pix_step -- --batch 4 --size 256 --filters 64
//! ```
//!
//! Prints one line of JSON. `xtask/peers/pix2pix.py` does the same in PyTorch.
//! The generator is a U-Net of strided and transposed convolutions with residual blocks between, the discriminator
//! a stack of strided convolutions; the loss is adversarial plus 100 × L1, both learn by Adam (Isola et al., 2017,
//! arXiv:1611.07004).

mod measure;

use candle_core::{Device, Result, Tensor, Var};
use measure::{Adam, Failure, Options, memory_mib};
use synthct_nn::ops::{
    Activation, BatchNormOptions, Conv2dOptions, ConvTranspose2dOptions, CudaMath, conv_transpose2d,
    conv_transpose2d_batch_norm, conv2d, conv2d_batch_norm,
};
use synthct_nn::{CpuPath, Init, NnError, ParameterStore, Precision};

const HALVE: Conv2dOptions =
    Conv2dOptions { stride: [2; 2], padding: [1; 2], dilation: [1; 2], math: CudaMath::Full };
const PATCH: Conv2dOptions = Conv2dOptions { stride: [1; 2], ..HALVE };
const DOUBLE: ConvTranspose2dOptions = ConvTranspose2dOptions {
    stride: [2; 2],
    padding: [1; 2],
    output_padding: [0; 2],
    dilation: [1; 2],
    math: CudaMath::Full,
};

/// What a layer does to the image's size.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    Halve,
    Keep,
    Double,
    /// A 4×4 kernel with padding 1, which takes a row and a column off.
    Patch,
}

/// A convolution.
struct Conv {
    weight: Var,
    bias: Option<Var>,
    scale: Scale,
}

/// The variable's tensor, without a gradient if `frozen`.
fn tensor(var: &Var, frozen: bool) -> Tensor {
    if frozen { var.as_detached_tensor() } else { var.as_tensor().clone() }
}

impl Conv {
    fn new(
        store: &mut ParameterStore,
        name: &str,
        [inputs, outputs]: [usize; 2],
        scale: Scale,
        with_bias: bool,
    ) -> std::result::Result<Self, NnError> {
        let size = if scale == Scale::Keep { 3 } else { 4 };
        let shape = if scale == Scale::Double {
            [inputs, outputs, size, size]
        } else {
            [outputs, inputs, size, size]
        };
        let init = Init::UniformFanIn { fan_in: inputs * size * size };
        let weight = store.parameter(&format!("{name}.weight"), &shape, init)?;
        let bias =
            with_bias.then(|| store.parameter(&format!("{name}.bias"), &[outputs], init)).transpose()?;
        Ok(Self { weight, bias, scale })
    }

    fn forward(&self, x: &Tensor, frozen: bool) -> Result<Tensor> {
        let weight = tensor(&self.weight, frozen);
        let bias = self.bias.as_ref().map(|bias| tensor(bias, frozen));
        match self.scale {
            Scale::Halve => conv2d(x, &weight, bias.as_ref(), &HALVE),
            Scale::Keep => conv2d(x, &weight, bias.as_ref(), &Conv2dOptions::same(3, 1)),
            Scale::Double => conv_transpose2d(x, &weight, bias.as_ref(), &DOUBLE),
            Scale::Patch => conv2d(x, &weight, bias.as_ref(), &PATCH),
        }
    }
}

/// A convolution, batch normalization and an activation.
struct Block {
    conv: Conv,
    gain: Var,
    bias: Var,
    activation: Activation,
}

impl Block {
    fn new(
        store: &mut ParameterStore,
        name: &str,
        channels: [usize; 2],
        scale: Scale,
        activation: Activation,
    ) -> std::result::Result<Self, NnError> {
        Ok(Self {
            conv: Conv::new(store, name, channels, scale, false)?,
            gain: store.parameter(&format!("{name}.norm.weight"), &[channels[1]], Init::Constant(1.0))?,
            bias: store.parameter(&format!("{name}.norm.bias"), &[channels[1]], Init::Constant(0.0))?,
            activation,
        })
    }

    fn forward(&self, x: &Tensor, frozen: bool) -> Result<Tensor> {
        let norm = BatchNormOptions { activation: self.activation, epsilon: 1e-5, dropout: None };
        let [weight, gain, bias] = [&self.conv.weight, &self.gain, &self.bias].map(|var| tensor(var, frozen));
        let (out, _) = match self.conv.scale {
            Scale::Double => conv_transpose2d_batch_norm(x, &weight, &gain, &bias, &DOUBLE, &norm)?,
            Scale::Halve => conv2d_batch_norm(x, &weight, &gain, &bias, &HALVE, &norm)?,
            Scale::Keep => conv2d_batch_norm(x, &weight, &gain, &bias, &Conv2dOptions::same(3, 1), &norm)?,
            Scale::Patch => conv2d_batch_norm(x, &weight, &gain, &bias, &PATCH, &norm)?,
        };
        Ok(out)
    }
}

struct Generator {
    down: Vec<Block>,
    middle: Vec<[Block; 2]>,
    up: Vec<Block>,
    last: Conv,
}

impl Generator {
    /// With `f` filters in the first layer.
    fn new(store: &mut ParameterStore, f: usize) -> std::result::Result<Self, NnError> {
        let relu = Activation::Relu;
        let mut down = Vec::new();
        for (idx, channels) in [[3, f], [f, 2 * f], [2 * f, 4 * f]].into_iter().enumerate() {
            down.push(Block::new(store, &format!("down{idx}"), channels, Scale::Halve, relu)?);
        }
        let mut middle = Vec::new();
        for idx in 0..4 {
            let mut block = |part: &str, activation| {
                Block::new(store, &format!("middle{idx}.{part}"), [4 * f, 4 * f], Scale::Keep, activation)
            };
            middle.push([block("first", relu)?, block("second", Activation::Linear)?]);
        }
        let mut up = Vec::new();
        for (idx, channels) in [[4 * f, 2 * f], [4 * f, f]].into_iter().enumerate() {
            up.push(Block::new(store, &format!("up{idx}"), channels, Scale::Double, relu)?);
        }
        Ok(Self { down, middle, up, last: Conv::new(store, "last", [2 * f, 1], Scale::Double, true)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut skips = Vec::new();
        let mut x = x.clone();
        for block in &self.down {
            x = block.forward(&x, false)?;
            skips.push(x.clone());
        }
        for [first, second] in &self.middle {
            x = (&x + second.forward(&first.forward(&x, false)?, false)?)?;
        }
        for (block, skip) in self.up.iter().zip(skips.iter().rev().skip(1)) {
            x = Tensor::cat(&[&block.forward(&x, false)?, skip], 1)?;
        }
        self.last.forward(&x, false)?.tanh()
    }
}

struct Discriminator {
    blocks: Vec<Block>,
    last: Conv,
}

impl Discriminator {
    /// With `f` filters in the first layer.
    fn new(store: &mut ParameterStore, f: usize) -> std::result::Result<Self, NnError> {
        let mut blocks = Vec::new();
        for (idx, pair) in [4, f, 2 * f, 4 * f, 8 * f, 8 * f].windows(2).enumerate() {
            let name = format!("block{idx}");
            blocks.push(Block::new(store, &name, [pair[0], pair[1]], Scale::Halve, Activation::Relu)?);
        }
        Ok(Self { blocks, last: Conv::new(store, "last", [8 * f, 1], Scale::Patch, true)? })
    }

    /// The probability that each patch is real.
    fn forward(&self, x: &Tensor, y: &Tensor, frozen: bool) -> Result<Tensor> {
        let mut pair = Tensor::cat(&[x, y], 1)?;
        for block in &self.blocks {
            pair = block.forward(&pair, frozen)?;
        }
        (self.last.forward(&pair, frozen)?.neg()?.exp()? + 1.0)?.recip()
    }
}

/// Binary cross-entropy with the same target everywhere.
fn bce(probability: &Tensor, real: bool) -> Result<Tensor> {
    let of_target = if real { probability.clone() } else { probability.affine(-1.0, 1.0)? };
    of_target.clamp(1e-7f32, 1.0)?.log()?.mean_all()?.neg()
}

/// Reproducible values in [0, 1).
fn image(shape: [usize; 4], seed: u64) -> Result<Tensor> {
    let count = shape.iter().product::<usize>() as u64;
    let hash = |idx: u64| (idx + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    Tensor::from_vec(
        (0..count).map(|idx| hash(idx) as f32 / (1 << 24) as f32).collect(),
        &shape,
        &Device::Cpu,
    )
}

fn main() -> std::result::Result<(), Failure> {
    let options = Options::parse()?;
    if !options.train || options.precision != Precision::F32 || options.path != CpuPath::best() {
        return Err("only the training step in f32 on the best level can be timed".into());
    }
    let base_mib = memory_mib("VmRSS")?;
    let [mut store_g, mut store_d] = [1, 2].map(|seed| ParameterStore::new(seed, &Device::Cpu));
    let generator = Generator::new(&mut store_g, options.filters)?;
    let discriminator = Discriminator::new(&mut store_d, options.filters)?;
    let [mut adam_g, mut adam_d] =
        [&store_g, &store_d].map(|store| Adam::new(store, 2e-4, [0.5, 0.999], 0.0));
    let Options { batch, size, .. } = options;
    let x = image([batch, 3, size, size], 1)?;
    let y = image([batch, 1, size, size], 2)?;
    options.report(base_mib, |_| {
        let fake = generator.forward(&x)?;
        let real = bce(&discriminator.forward(&x, &y, false)?, true)?;
        let loss_d = ((real + bce(&discriminator.forward(&x, &fake.detach(), false)?, false)?)? * 0.5)?;
        adam_d.step(&store_d, &loss_d)?;
        let adversarial = bce(&discriminator.forward(&x, &fake, true)?, true)?;
        let loss_g = (adversarial + ((&fake - &y)?.abs()?.mean_all()? * 100.0)?)?;
        adam_g.step(&store_g, &loss_g)?;
        Ok(Some((loss_g + loss_d)?.to_scalar()?))
    })
}
