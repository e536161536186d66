//! Times the training step of a pix2pix-like pair of networks, built of this crate's operations.
//!
//! ```text
//! cargo run --release -p synthct-nn --example pix2pix_step -- BATCH SIZE STEPS
//! ```
//!
//! Prints the median time of a step and the peak memory. `xtask/peers/pix2pix.py` does the same in PyTorch.
//! The generator is a U-Net of strided and transposed convolutions with residual blocks between, the discriminator
//! a stack of strided convolutions; the loss is adversarial plus 100 × L1, both learn by Adam (Isola et al., 2017,
//! arXiv:1611.07004).
#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::error::Error;
use std::sync::Mutex;
use std::time::Instant;

use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;
use synthct_nn::ops::{
    Activation, BatchNorm, BatchNormOptions, Conv2dOptions, ConvTranspose2dOptions, CudaMath, batch_norm,
    channel_moments, conv_transpose2d, conv2d,
};
use synthct_nn::{Init, NnError, ParameterStore};

const HALVE: Conv2dOptions =
    Conv2dOptions { stride: [2; 2], padding: [1; 2], dilation: [1; 2], math: CudaMath::Full };
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
            Scale::Patch => conv2d(x, &weight, bias.as_ref(), &Conv2dOptions { stride: [1; 2], ..HALVE }),
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
        let x = self.conv.forward(x, frozen)?;
        let moments = channel_moments(&x)?;
        let options = BatchNormOptions { activation: self.activation, epsilon: 1e-5, dropout: None };
        let (gain, bias) = (tensor(&self.gain, frozen), tensor(&self.bias, frozen));
        batch_norm(&x, &gain, &bias, BatchNorm::Batch(&moments), &options)
    }
}

struct Generator {
    down: Vec<Block>,
    middle: Vec<[Block; 2]>,
    up: Vec<Block>,
    last: Conv,
}

impl Generator {
    fn new(store: &mut ParameterStore) -> std::result::Result<Self, NnError> {
        let relu = Activation::Relu;
        let mut down = Vec::new();
        for (idx, channels) in [[3, 64], [64, 128], [128, 256]].into_iter().enumerate() {
            down.push(Block::new(store, &format!("down{idx}"), channels, Scale::Halve, relu)?);
        }
        let mut middle = Vec::new();
        for idx in 0..4 {
            let mut block = |part: &str, activation| {
                Block::new(store, &format!("middle{idx}.{part}"), [256, 256], Scale::Keep, activation)
            };
            middle.push([block("first", relu)?, block("second", Activation::Linear)?]);
        }
        let mut up = Vec::new();
        for (idx, channels) in [[256, 128], [256, 64]].into_iter().enumerate() {
            up.push(Block::new(store, &format!("up{idx}"), channels, Scale::Double, relu)?);
        }
        Ok(Self { down, middle, up, last: Conv::new(store, "last", [128, 1], Scale::Double, true)? })
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
    fn new(store: &mut ParameterStore) -> std::result::Result<Self, NnError> {
        let mut blocks = Vec::new();
        for (idx, pair) in [4, 64, 128, 256, 512, 512].windows(2).enumerate() {
            let name = format!("block{idx}");
            blocks.push(Block::new(store, &name, [pair[0], pair[1]], Scale::Halve, Activation::Relu)?);
        }
        Ok(Self { blocks, last: Conv::new(store, "last", [512, 1], Scale::Patch, true)? })
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

/// Adam (Kingma and Ba, 2015, arXiv:1412.6980) with the rates of pix2pix.
struct Adam {
    moments: Vec<Mutex<[Vec<f32>; 2]>>,
    steps: i32,
}

impl Adam {
    fn new(store: &ParameterStore) -> Self {
        let moments =
            |(_, var): (&str, &Var)| Mutex::new([vec![0.0; var.elem_count()], vec![0.0; var.elem_count()]]);
        Self { moments: store.trainable().map(moments).collect(), steps: 0 }
    }

    fn step(&mut self, store: &ParameterStore, loss: &Tensor) -> Result<()> {
        self.steps += 1;
        let gradients = loss.backward()?;
        for ((_, var), moments) in store.trainable().zip(&self.moments) {
            if let Some(gradient) = gradients.get(var) {
                let update = AdamUpdate { moments, steps: self.steps };
                var.as_tensor().inplace_op2(&gradient.contiguous()?, &update)?;
            }
        }
        Ok(())
    }
}

struct AdamUpdate<'a> {
    moments: &'a Mutex<[Vec<f32>; 2]>,
    steps: i32,
}

impl InplaceOp2 for AdamUpdate<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        const RATE: f32 = 2e-4;
        const DECAY: [f32; 2] = [0.5, 0.999];
        let (CpuStorage::F32(values), CpuStorage::F32(gradient)) = (s1, s2) else {
            candle_core::bail!("the weights and their gradient are f32");
        };
        let (values, gradient) = (&mut values[l1.start_offset()..], &gradient[l2.start_offset()..]);
        let mut moments = self.moments.lock().expect("no other step runs, so none can have panicked");
        let [first, second] = &mut *moments;
        let [correction, correction_2] = DECAY.map(|decay| 1.0 - decay.powi(self.steps));
        let rate = RATE / correction;
        let scale = correction_2.sqrt().recip();
        (first, second, values, gradient).into_par_iter().with_min_len(1 << 14).for_each(
            |(m, v, value, g)| {
                *m = DECAY[0] * *m + (1.0 - DECAY[0]) * g;
                *v = DECAY[1] * *v + (1.0 - DECAY[1]) * g * g;
                *value -= rate * *m / (v.sqrt() * scale + 1e-8);
            },
        );
        Ok(())
    }
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

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let arguments: Vec<usize> =
        std::env::args().skip(1).map(|argument| argument.parse()).collect::<std::result::Result<_, _>>()?;
    let &[batch, size, steps] = arguments.as_slice() else {
        return Err("usage: pix2pix_step BATCH SIZE STEPS".into());
    };
    let [mut store_g, mut store_d] = [1, 2].map(|seed| ParameterStore::new(seed, &Device::Cpu));
    let (generator, discriminator) = (Generator::new(&mut store_g)?, Discriminator::new(&mut store_d)?);
    let [mut adam_g, mut adam_d] = [&store_g, &store_d].map(Adam::new);
    let x = image([batch, 3, size, size], 1)?;
    let y = image([batch, 1, size, size], 2)?;

    let mut times = Vec::new();
    let mut losses = [0.0; 2];
    for idx in 0..=steps {
        let start = Instant::now();
        let fake = generator.forward(&x)?;
        let real = bce(&discriminator.forward(&x, &y, false)?, true)?;
        let loss_d = ((real + bce(&discriminator.forward(&x, &fake.detach(), false)?, false)?)? * 0.5)?;
        adam_d.step(&store_d, &loss_d)?;
        let adversarial = bce(&discriminator.forward(&x, &fake, true)?, true)?;
        let loss_g = (adversarial + ((&fake - &y)?.abs()?.mean_all()? * 100.0)?)?;
        adam_g.step(&store_g, &loss_g)?;
        losses = [loss_g.to_scalar()?, loss_d.to_scalar()?];
        // The first warms up.
        if idx > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).ok_or("at least one step is needed for a time")?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .ok_or("the system does not say the peak memory")?;
    let [loss_g, loss_d]: [f32; 2] = losses;
    println!("{:.1} ms a step, peak {} MiB (losses {loss_g:.3} {loss_d:.3})", median * 1e3, peak / 1024);
    Ok(())
}
