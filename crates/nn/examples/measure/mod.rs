//! What the timed examples share: their arguments, Adam, the timed loop and the line of JSON that `cargo xtask bench`
//! reads. `xtask/peers/measure.py` is the same for PyTorch.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var};
use rayon::prelude::*;
use synthct_nn::{CpuPath, ParameterStore, Precision};

/// The allocator of the `sct` binary, so that what is timed is what its users get.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// What to time.
pub(crate) struct Options {
    /// A training step; else an evaluation.
    pub(crate) train: bool,
    pub(crate) precision: Precision,
    /// Which vector instructions.
    pub(crate) path: CpuPath,
    pub(crate) batch: usize,
    /// Rows and columns of an image.
    pub(crate) size: usize,
    /// Filters of the first block.
    pub(crate) filters: usize,
    /// Steps that are timed, after one that is not.
    pub(crate) steps: usize,
}

impl Options {
    /// The arguments of this program, in pairs of name and value; those left out as for the three-task network.
    pub(crate) fn parse() -> Result<Self, Failure> {
        let mut options = Self {
            train: true,
            precision: Precision::F32,
            path: CpuPath::best(),
            batch: 8,
            size: 256,
            filters: 16,
            steps: 4,
        };
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("`{}` needs a value", pair[0]).into());
            };
            match name.as_str() {
                "--mode" => {
                    options.train = match value.as_str() {
                        "train" => true,
                        "eval" => false,
                        _ => return Err(format!("the mode is `train` or `eval`, not `{value}`").into()),
                    };
                }
                "--precision" => {
                    options.precision = Precision::named(value)
                        .ok_or_else(|| format!("the precision is `f32` or `bf16`, not `{value}`"))?;
                }
                "--level" => {
                    options.path =
                        CpuPath::ALL.into_iter().find(|path| path.name() == value).ok_or_else(|| {
                            let names = CpuPath::ALL.map(CpuPath::name).join("`, `");
                            format!("the level is one of `{names}`, not `{value}`")
                        })?;
                }
                "--batch" => options.batch = value.parse()?,
                "--size" => options.size = value.parse()?,
                "--filters" => options.filters = value.parse()?,
                "--steps" => options.steps = value.parse()?,
                _ => return Err(format!("there is no option `{name}`").into()),
            }
        }
        Ok(options)
    }

    /// Runs `step` once to warm up (it fills the scratch buffers), then times it, and prints the fastest as JSON.
    ///
    /// `step` takes its number and gives the loss of a training.
    #[expect(clippy::print_stdout, reason = "the line is what the program is for")]
    pub(crate) fn report(
        &self,
        base_rss_mib: usize,
        mut step: impl FnMut(u64) -> Result<Option<f32>, Failure>,
    ) -> Result<(), Failure> {
        let mut best = f64::INFINITY;
        let mut early_mib = 0;
        for number in 0..=self.steps {
            let start = Instant::now();
            let loss = step(number as u64)?;
            if number > 0 {
                best = best.min(start.elapsed().as_secs_f64());
            }
            if let Some(loss) = loss.filter(|loss| !loss.is_finite()) {
                return Err(format!("the loss is {loss} in step {number}").into());
            }
            if number == self.steps / 10 {
                early_mib = memory_mib("VmRSS")?;
            }
        }
        println!(
            "{{\"mode\":\"{}\",\"precision\":\"{}\",\"path\":\"{}\",\"ms_per_slice\":{:.2},\"peak_rss_mib\":{},\
             \"base_rss_mib\":{base_rss_mib},\"rss_early_mib\":{early_mib},\"rss_late_mib\":{}}}",
            if self.train { "train" } else { "eval" },
            self.precision.name(),
            self.path.name(),
            best * 1e3 / self.batch as f64,
            memory_mib("VmHWM")?,
            memory_mib("VmRSS")?,
        );
        Ok(())
    }
}

/// A figure of this process in MiB, by its name in `/proc/self/status`.
pub(crate) fn memory_mib(name: &str) -> Result<usize, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("the system does not tell")?;
    let kib: usize = line.split_whitespace().nth(1).ok_or("the system does not tell")?.parse()?;
    Ok(kib / 1024)
}

/// Adam (Kingma and Ba, 2015, arXiv:1412.6980), with weight decay beside the moments (Loshchilov and Hutter, 2019,
/// arXiv:1711.05101).
///
/// This crate has no optimizers of its own; this one is here so that a step is as much work as PyTorch's.
pub(crate) struct Adam {
    rate: f32,
    betas: [f32; 2],
    weight_decay: f32,
    moments: Vec<Mutex<[Vec<f32>; 2]>>,
    steps: i32,
}

impl Adam {
    pub(crate) fn new(store: &ParameterStore, rate: f32, betas: [f32; 2], weight_decay: f32) -> Self {
        let moments = |(_, var): (&str, &Var)| Mutex::new([0, 1].map(|_| vec![0.0; var.elem_count()]));
        Self { rate, betas, weight_decay, moments: store.trainable().map(moments).collect(), steps: 0 }
    }

    /// Differentiates `loss` and moves the parameters in `store`.
    pub(crate) fn step(&mut self, store: &ParameterStore, loss: &Tensor) -> candle_core::Result<()> {
        self.steps += 1;
        let gradients = loss.backward()?;
        for ((_, var), moments) in store.trainable().zip(&self.moments) {
            if let Some(gradient) = gradients.get(var) {
                var.as_tensor().inplace_op2(&gradient.contiguous()?, &Update { adam: self, moments })?;
            }
        }
        Ok(())
    }
}

/// One step of one parameter.
struct Update<'a> {
    adam: &'a Adam,
    moments: &'a Mutex<[Vec<f32>; 2]>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), CpuStorage::F32(gradient)) = (s1, s2) else {
            candle_core::bail!("the parameters and their gradients are f32");
        };
        let (values, gradient) = (&mut values[l1.start_offset()..], &gradient[l2.start_offset()..]);
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let [first, second] = &mut *moments;
        let Adam { rate, betas, weight_decay, steps, .. } = *self.adam;
        let [correction, correction_2] = betas.map(|beta| 1.0 - beta.powi(steps));
        let scale = correction_2.sqrt().recip();
        (first, second, values, gradient).into_par_iter().with_min_len(1 << 14).for_each(
            |(m, v, value, g)| {
                *m = betas[0] * *m + (1.0 - betas[0]) * g;
                *v = betas[1] * *v + (1.0 - betas[1]) * g * g;
                *value -= rate * (weight_decay * *value + *m / correction / (v.sqrt() * scale + 1e-8));
            },
        );
        Ok(())
    }
}
