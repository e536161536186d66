//! Times training steps or evaluations of the three-task network and prints one line of JSON.
//!
//! `cargo run --release -p synthct-nn --example three_task_step -- --mode train --batch 8 --size 256`
//!
//! The step is forward, a loss of all three heads, backward and a step along the gradient; the fastest of all steps
//! counts.

use std::time::Instant;

use candle_core::{Device, Tensor};
use synthct_nn::{NnError, ParameterStore, Precision, RoiNet, RoiNetConfig, RoiNetOutput};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut store = ParameterStore::new(1, &Device::Cpu);
    let config = RoiNetConfig { filters: options.filters, ..RoiNetConfig::three_task() };
    let net = RoiNet::new(&config, &mut store)?;
    let shape = (options.batch, 1, options.size, options.size);
    let image = |salt: usize| -> Result<Tensor, Failure> {
        let count = options.batch * options.size * options.size;
        let values: Vec<f32> =
            (0..count).map(|v| ((v * 2_654_435_761 + salt * 40_503) % 4096) as f32 / 2048.0 - 1.0).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    };
    let (x, target) = (image(0)?, image(1)?);
    let mut best = f64::INFINITY;
    let mut early_mib = 0;
    for step in 0..=options.steps {
        let start = Instant::now();
        if options.train {
            train(&net, &store, &x, &target, options.precision, step as u64)?;
        } else {
            net.forward(&x, options.precision)?;
        }
        // The first one fills the scratch buffers.
        if step > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
        if step == options.steps / 10 {
            early_mib = memory_mib("VmRSS")?;
        }
    }
    let line = format!(
        "{{\"mode\":\"{}\",\"ms_per_slice\":{:.1},\"peak_rss_mib\":{},\"rss_early_mib\":{early_mib},\"rss_late_mib\":{}}}",
        if options.train { "train" } else { "eval" },
        best * 1e3 / options.batch as f64,
        memory_mib("VmHWM")?,
        memory_mib("VmRSS")?,
    );
    print_line(&line);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the line is what the program is for")]
fn print_line(line: &str) {
    println!("{line}");
}

/// Forward, a mean absolute error of each head, backward, and a step along the gradient.
fn train(
    net: &RoiNet,
    store: &ParameterStore,
    x: &Tensor,
    target: &Tensor,
    precision: Precision,
    seed: u64,
) -> Result<(), NnError> {
    let RoiNetOutput { whole_hu, bone_hu, bone_mask } = net.forward_train(x, precision, seed)?;
    let mut loss = (whole_hu - target)?.abs()?.mean_all()?;
    for head in [bone_hu, bone_mask].into_iter().flatten() {
        loss = (loss + (head - target)?.abs()?.mean_all()?)?;
    }
    let gradients = loss.backward()?;
    for (_, var) in store.trainable() {
        if let Some(gradient) = gradients.get(var) {
            var.set(&(var.as_detached_tensor() - (gradient * 1e-4)?)?)?;
        }
    }
    Ok(())
}

struct Options {
    train: bool,
    precision: Precision,
    batch: usize,
    size: usize,
    filters: usize,
    steps: usize,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options =
            Self { train: true, precision: Precision::F32, batch: 8, size: 256, filters: 16, steps: 4 };
        let arguments: Vec<String> = arguments.collect();
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
                    options.precision = match value.as_str() {
                        "f32" => Precision::F32,
                        "bf16" => Precision::Bf16,
                        _ => return Err(format!("the precision is `f32` or `bf16`, not `{value}`").into()),
                    };
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
}

/// A figure of this process in MiB, by its name in `/proc/self/status`.
fn memory_mib(name: &str) -> Result<usize, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("the system does not tell")?;
    let kib: usize = line.split_whitespace().nth(1).ok_or("the system does not tell")?.parse()?;
    Ok(kib / 1024)
}
