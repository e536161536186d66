//! Convolutions of the size met in the middle of the network, forward and backward.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Tensor, Var};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use synthct_nn::ops::{Conv2dOptions, conv2d};

/// Name, images, channels in, channels out, height, width, kernel, dilation.
const CASES: [(&str, [usize; 7]); 4] = [
    ("5x5_d8_32to32_256x256", [2, 32, 32, 256, 256, 5, 8]),
    ("3x3_d8_32to32_256x256", [2, 32, 32, 256, 256, 3, 8]),
    ("1x1_64to32_256x256", [2, 64, 32, 256, 256, 1, 1]),
    ("5x5_d4_12to16_96x80", [8, 12, 16, 96, 80, 5, 4]),
];

fn convolution(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("convolution");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    for (name, [images, inputs, outputs, height, width, kernel, dilation]) in CASES {
        let values = |shape: [usize; 4]| {
            let count: usize = shape.iter().product();
            let values: Vec<f32> =
                (0..count).map(|v| ((v * 2_654_435_761) % 1000) as f32 * 1e-3 - 0.5).collect();
            Tensor::from_vec(values, &shape, &Device::Cpu).expect("the shape fits the values")
        };
        let x = values([images, inputs, height, width]);
        let weight = values([outputs, inputs, kernel, kernel]);
        let options = Conv2dOptions::same(kernel, dilation);
        let operations = 2 * images * inputs * outputs * height * width * kernel * kernel;
        group.throughput(Throughput::Elements(operations as u64));
        group.bench_function(BenchmarkId::new("forward", name), |bench| {
            bench.iter(|| black_box(conv2d(&x, &weight, None, &options).expect("the shapes fit")));
        });
        let weight = Var::from_tensor(&weight).expect("the tensor can be copied");
        let var = Var::from_tensor(&x).expect("the tensor can be copied");
        for (part, input) in [("backward_weight", &x), ("backward", var.as_tensor())] {
            let out = conv2d(input, weight.as_tensor(), None, &options).expect("the shapes fit");
            group.bench_function(BenchmarkId::new(part, name), |bench| {
                bench.iter(|| black_box(out.backward().expect("the operation has a gradient")));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, convolution);
