//! One training step and one evaluation of the three-task network on a batch, in both precisions.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use synthct_nn::{NnError, ParameterStore, Precision, RoiNet, RoiNetConfig};

/// Name, filters, images, height, width.
const CASES: [(&str, [usize; 4]); 2] = [("f8_8x96x80", [8, 8, 96, 80]), ("f16_2x256x256", [16, 2, 256, 256])];

/// Forward, a loss of all outputs, backward, and a step along the gradient.
fn step(net: &RoiNet, store: &ParameterStore, x: &Tensor, precision: Precision) -> Result<(), NnError> {
    let output = net.forward_train(x, precision, 1)?;
    let mut loss = output.whole_hu.sqr()?.mean_all()?;
    for head in [&output.bone_hu, &output.bone_mask].into_iter().flatten() {
        loss = (loss + head.sqr()?.mean_all()?)?;
    }
    let gradients = loss.backward()?;
    for (_, var) in store.trainable() {
        if let Some(gradient) = gradients.get(var) {
            var.set(&(var.as_detached_tensor() - (gradient * 1e-3)?)?)?;
        }
    }
    Ok(())
}

fn training_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("three_task_network");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    for (name, [filters, images, height, width]) in CASES {
        let mut store = ParameterStore::new(1, &Device::Cpu);
        let config = RoiNetConfig { filters, ..RoiNetConfig::three_task() };
        let net = RoiNet::new(&config, &mut store).expect("the configuration is valid");
        let x = (0..images * height * width).map(|v| (v as f32 * 0.7).sin()).collect();
        let x =
            Tensor::from_vec(x, (images, 1, height, width), &Device::Cpu).expect("the shape fits the values");
        group.throughput(Throughput::Elements(images as u64));
        for precision in [Precision::F32, Precision::Bf16] {
            let id = |part: &str| BenchmarkId::new(format!("{part}_{}", precision.name()), name);
            group.bench_function(id("evaluate"), |bench| {
                bench.iter(|| black_box(net.forward(&x, precision).expect("the input fits")));
            });
            group.bench_function(id("train"), |bench| {
                bench.iter(|| step(&net, &store, &x, precision).expect("the network can be trained"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, training_step);
