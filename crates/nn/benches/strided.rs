//! Strided, transposed and 3-D convolutions, pooling and upsampling, forward and backward.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Result, Tensor, Var};
use criterion::{BenchmarkId, Criterion, criterion_group};
use synthct_nn::ops::{
    Conv2dOptions, Conv3dOptions, ConvTranspose2dOptions, avg_pool2d, conv_transpose2d, conv2d, conv3d,
    max_pool2d, upsample_bilinear2d, upsample_nearest2d,
};

fn values(shape: &[usize]) -> Result<Var> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|v| ((v * 2_654_435_761) % 1000) as f32 * 1e-3 - 0.5).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// The operation, and its backward pass with gradients for both arguments.
fn bench(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    shapes: [&[usize]; 2],
    op: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) {
    let [x, w] = shapes.map(|shape| values(shape).expect("the shape fits the values"));
    let mut group = criterion.benchmark_group(group);
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group.bench_function(BenchmarkId::new("forward", name), |bench| {
        let (x, w) = (x.as_detached_tensor(), w.as_detached_tensor());
        bench.iter(|| black_box(op(&x, &w).expect("the shapes fit")));
    });
    let out = op(x.as_tensor(), w.as_tensor()).expect("the shapes fit");
    group.bench_function(BenchmarkId::new("backward", name), |bench| {
        bench.iter(|| black_box(out.backward().expect("the operation has a gradient")));
    });
    group.finish();
}

fn strided(criterion: &mut Criterion) {
    let down =
        Conv2dOptions { stride: [2; 2], padding: [1; 2], dilation: [1; 2], ..Conv2dOptions::default() };
    let up = ConvTranspose2dOptions { stride: [2; 2], padding: [1; 2], ..ConvTranspose2dOptions::default() };
    for (name, [images, inputs, outputs, size]) in [
        ("k4_s2_3to64_256x256", [3, 3, 64, 256]),
        ("k4_s2_64to128_128x128", [3, 64, 128, 128]),
        ("k4_s2_512to512_16x16", [3, 512, 512, 16]),
    ] {
        let shapes = [&[images, inputs, size, size][..], &[outputs, inputs, 4, 4]];
        bench(criterion, "strided_convolution", name, shapes, |x, w| conv2d(x, w, None, &down));
    }
    for (name, [images, inputs, outputs, size]) in
        [("k4_s2_256to64_64x64", [3, 256, 64, 64]), ("k4_s2_128to1_128x128", [3, 128, 1, 128])]
    {
        let shapes = [&[images, inputs, size, size][..], &[inputs, outputs, 4, 4]];
        bench(criterion, "transposed_convolution", name, shapes, |x, w| conv_transpose2d(x, w, None, &up));
    }
    let same = Conv3dOptions { padding: [1; 3], ..Conv3dOptions::default() };
    let shapes = [&[1, 16, 32, 64, 64][..], &[16, 16, 3, 3, 3]];
    bench(criterion, "volume_convolution", "3x3x3_16to16_32x64x64", shapes, |x, w| conv3d(x, w, None, &same));
}

fn resampling(criterion: &mut Criterion) {
    let shapes = [&[2, 32, 128, 128][..], &[1]];
    let name = "2x32x128x128";
    bench(criterion, "max_pool_2x2", name, shapes, |x, _| max_pool2d(x, [2; 2], [2; 2]));
    bench(criterion, "average_pool_2x2", name, shapes, |x, _| avg_pool2d(x, [2; 2], [2; 2]));
    bench(criterion, "upsample_nearest_x2", name, shapes, |x, _| upsample_nearest2d(x, [256; 2]));
    bench(criterion, "upsample_bilinear_x2", name, shapes, |x, _| upsample_bilinear2d(x, [256; 2], false));
}

criterion_group!(benches, strided, resampling);
