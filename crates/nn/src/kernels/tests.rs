//! The kernels against naive twins, at every instruction set the processor has.

use super::conv::{Output, PackedWeights, Start, convolve};
use super::convolution::Convolution;
use super::planes::PaddedPlanes;
use super::taps::{margin, taps};
use super::weight_gradient::weight_gradient;
use super::window::ConvShape;
use crate::simd::Level;

/// Images, input channels, output channels, height, width, kernel height, kernel width, dilation.
const CASES: [[usize; 8]; 22] = [
    [1, 1, 1, 1, 1, 5, 5, 1],
    [1, 3, 2, 1, 1, 3, 3, 8],
    [2, 2, 13, 9, 1, 5, 5, 2],
    [1, 1, 25, 5, 7, 5, 5, 1],
    [2, 3, 5, 5, 7, 3, 3, 2],
    [1, 4, 7, 5, 7, 5, 5, 8],
    [2, 2, 3, 33, 32, 5, 5, 8],
    [1, 5, 12, 33, 32, 3, 3, 1],
    [1, 7, 11, 20, 47, 5, 5, 4],
    [1, 40, 3, 6, 18, 3, 3, 2],
    [1, 3, 40, 6, 18, 3, 3, 2],
    [3, 24, 16, 7, 10, 1, 1, 1],
    [1, 1, 4, 3, 16, 1, 1, 1],
    [1, 17, 9, 4, 32, 1, 1, 3],
    [1, 2, 6, 10, 80, 5, 5, 2],
    [1, 2, 8, 6, 96, 5, 5, 1],
    [1, 2, 3, 11, 12, 7, 7, 1],
    [1, 2, 3, 9, 30, 3, 11, 2],
    [1, 1, 2, 3, 20, 1, 5, 1],
    [1, 1, 10, 20, 3, 9, 1, 2],
    [1, 2, 2, 100, 100, 3, 3, 1],
    [2, 3, 4, 12, 17, 5, 5, 100],
];

/// Reproducible values in [-1, 1).
pub(crate) fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Calls `f(n, o, i, output index, input index, weight index)` for every product of the convolution.
fn for_products(case: [usize; 8], mut f: impl FnMut(usize, usize, usize)) {
    let [images, inputs, outputs, height, width, rows, columns, dilation] = case;
    for (n, o, i) in itertools3(images, outputs, inputs) {
        for (y, x, u) in itertools3(height, width, rows) {
            for v in 0..columns {
                let yy = y as isize + (u as isize - (rows / 2) as isize) * dilation as isize;
                let xx = x as isize + (v as isize - (columns / 2) as isize) * dilation as isize;
                if (0..height as isize).contains(&yy) && (0..width as isize).contains(&xx) {
                    f(
                        ((n * outputs + o) * height + y) * width + x,
                        ((n * inputs + i) * height + yy as usize) * width + xx as usize,
                        ((o * inputs + i) * rows + u) * columns + v,
                    );
                }
            }
        }
    }
}

fn itertools3(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |idx| (idx / (b * c), idx / c % b, idx % c))
}

#[track_caller]
fn close(what: &str, level: Level, case: [usize; 8], found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = 2e-6 * (expected.abs() + (case[1] * case[5] * case[6]) as f64).max(1.0);
        assert!(
            (f64::from(*found) - expected).abs() <= allowed,
            "{what}, {level:?}, {case:?}, value {idx}: {found} for {expected} ± {allowed:e}"
        );
    }
}

#[test]
fn convolution_and_its_gradients_match_naive_loops() {
    for case in CASES {
        let [images, inputs, outputs, height, width, rows, columns, dilation] = case;
        let x = values(images * inputs * height * width, 1);
        let weight = values(outputs * inputs * rows * columns, 2);
        let gradient = values(images * outputs * height * width, 3);
        let bias = values(outputs, 4);
        let mut expected: Vec<f64> =
            (0..gradient.len()).map(|idx| f64::from(bias[idx / (height * width) % outputs])).collect();
        let mut expected_x = vec![0.0f64; x.len()];
        let mut expected_weight = vec![0.0f64; weight.len()];
        for_products(case, |out, input, w| {
            expected[out] += f64::from(x[input]) * f64::from(weight[w]);
            expected_x[input] += f64::from(gradient[out]) * f64::from(weight[w]);
            expected_weight[w] += f64::from(gradient[out]) * f64::from(x[input]);
        });

        let kernel_taps = taps([rows, columns], dilation, [height, width], false);
        let reflected = taps([rows, columns], dilation, [height, width], true);
        let x_planes = PaddedPlanes::new(&x, [images, inputs, height, width], margin(&kernel_taps));
        let gradient_planes =
            PaddedPlanes::new(&gradient, [images, outputs, height, width], margin(&kernel_taps));
        for level in [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|l| l.is_supported()) {
            let packed = PackedWeights::forward(level, &weight, outputs, inputs, kernel_taps.clone());
            let mut out = vec![f32::NAN; gradient.len()];
            convolve(
                level,
                &x_planes,
                0,
                &packed,
                Start::Bias(&bias),
                Output { values: &mut out, channels: outputs, first: 0 },
            );
            close("forward", level, case, &out, &expected);

            let packed = PackedWeights::transposed(level, &weight, outputs, inputs, reflected.clone());
            let mut gradient_x = vec![f32::NAN; x.len()];
            convolve(
                level,
                &gradient_planes,
                0,
                &packed,
                Start::Zero,
                Output { values: &mut gradient_x, channels: inputs, first: 0 },
            );
            close("input gradient", level, case, &gradient_x, &expected_x);
            convolve(
                level,
                &gradient_planes,
                0,
                &packed,
                Start::Output,
                Output { values: &mut gradient_x, channels: inputs, first: 0 },
            );
            let twice: Vec<f64> = expected_x.iter().map(|value| 2.0 * value).collect();
            close("accumulated input gradient", level, case, &gradient_x, &twice);

            let gradient_weight =
                weight_gradient(level, &x_planes, &gradient_planes, 0, outputs, &kernel_taps, rows * columns);
            close("weight gradient", level, case, &gradient_weight, &expected_weight);
        }
    }
}

#[test]
fn vector_widths_give_the_same_bits() {
    // Each output is one chain of fused operations; only the portable level rounds differently.
    if !(Level::Avx2.is_supported() && Level::Avx512.is_supported()) {
        return;
    }
    let [images, inputs, outputs, height, width] = [2, 9, 14, 23, 37];
    let x = values(images * inputs * height * width, 5);
    let weight = values(outputs * inputs * 25, 6);
    let kernel_taps = taps([5, 5], 3, [height, width], false);
    let planes = PaddedPlanes::new(&x, [images, inputs, height, width], margin(&kernel_taps));
    let [narrow, wide] = [Level::Avx2, Level::Avx512].map(|level| {
        let packed = PackedWeights::forward(level, &weight, outputs, inputs, kernel_taps.clone());
        let mut out = vec![0.0; images * outputs * height * width];
        convolve(
            level,
            &planes,
            0,
            &packed,
            Start::Zero,
            Output { values: &mut out, channels: outputs, first: 0 },
        );
        out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    });
    assert_eq!(narrow, wide);
}

/// Every level agrees with the portable one on strided, dilated and transposed convolution.
#[test]
fn levels_agree_on_any_window() {
    let shapes = [
        ([1, 4, 4], [1, 2, 2], [0, 1, 1], [1, 1, 1], [1, 18, 37]),
        ([1, 3, 2], [1, 1, 3], [0, 2, 1], [1, 2, 1], [1, 9, 8]),
        ([2, 3, 3], [2, 1, 1], [1, 1, 1], [1, 1, 2], [5, 6, 7]),
    ];
    for (kernel, stride, padding, dilation, input) in shapes {
        let shape = ConvShape { kernel, stride, padding, dilation };
        let output = shape.output(input).expect("the kernel fits");
        let (images, inputs, outputs) = (2, 19, 37);
        let [input_len, output_len] = [input, output].map(|size| images * size.iter().product::<usize>());
        let x = values(inputs * input_len, 7);
        let y = values(outputs * output_len, 8);
        let weight = values(outputs * inputs * kernel.iter().product::<usize>(), 9);
        let bias = values(outputs, 10);
        let results = |level| {
            let convolution = Convolution { level, shape, images, inputs, outputs, input, output };
            [
                convolution.forward(&x, &weight, Some(&bias)),
                convolution.transposed(&y, &weight, None),
                convolution.weight_gradient(&x, &y),
            ]
        };
        let expected = results(Level::Portable);
        for level in [Level::Avx2, Level::Avx512].into_iter().filter(|level| level.is_supported()) {
            for (what, (found, expected)) in results(level).iter().zip(&expected).enumerate() {
                let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() <= 2e-6 * largest,
                        "{level:?}, {shape:?}, result {what}: {found} for {expected}"
                    );
                }
            }
        }
    }
}
