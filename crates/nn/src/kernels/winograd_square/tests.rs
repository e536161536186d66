//! Square tiles against sums in double precision and the panels of `correlate`.

use super::*;
use crate::kernels::tests::values;
use crate::kernels::window::ConvShape;
use crate::simd::Level;

/// Images, input channels, output channels, height, width, taps, padding, stride.
const CASES: [[usize; 8]; 22] = [
    [1, 1, 1, 3, 3, 3, 0, 1],
    [1, 2, 3, 1, 1, 3, 1, 1],
    [2, 3, 13, 9, 7, 3, 1, 1],
    [1, 17, 5, 8, 12, 3, 2, 1],
    [3, 5, 12, 6, 5, 4, 1, 1],
    [1, 4, 25, 11, 10, 4, 5, 1],
    [2, 6, 7, 5, 9, 5, 2, 1],
    [1, 33, 2, 13, 6, 5, 0, 1],
    [5, 2, 2, 16, 17, 3, 1, 1],
    [1, 3, 4, 9, 11, 2, 1, 1],
    // More channels and tiles than are multiplied at once, and than are transformed at once.
    [1, 300, 3, 70, 70, 3, 1, 1],
    [1, 1, 1, 2, 2, 4, 1, 2],
    [2, 3, 14, 16, 12, 4, 1, 2],
    [1, 5, 7, 13, 18, 4, 0, 2],
    [1, 2, 3, 7, 11, 4, 2, 2],
    [1, 2, 3, 6, 5, 4, 7, 2],
    [2, 2, 5, 9, 14, 5, 2, 2],
    [1, 3, 2, 20, 11, 6, 3, 2],
    [1, 2, 2, 19, 17, 7, 3, 2],
    [1, 2, 2, 17, 24, 10, 4, 2],
    [1, 3, 2, 12, 9, 3, 1, 2],
    [1, 70, 3, 130, 90, 4, 1, 2],
];

fn convolution(level: Level, case: [usize; 8]) -> Convolution {
    let [images, inputs, outputs, height, width, taps, padding, stride] = case;
    let shape = ConvShape {
        kernel: [1, taps, taps],
        stride: [1, stride, stride],
        padding: [0, padding, padding],
        dilation: [1; 3],
    };
    let input = [1, height, width];
    let output = shape.output(input).expect("the kernel fits");
    Convolution { level, shape, images, inputs, outputs, input, output }
}

fn square(convolution: &Convolution) -> Square<'_> {
    Square::of_shape(convolution).expect("squares can do it")
}

/// Input, output's gradient, weights, bias of outputs, bias of inputs.
fn arguments(convolution: &Convolution) -> [Vec<f32>; 5] {
    let Convolution { shape, images, inputs, outputs, input, output, .. } = *convolution;
    let [input, output] = [input, output].map(|size| images * size.iter().product::<usize>());
    [
        values(inputs * input, 1),
        values(outputs * output, 2),
        values(outputs * inputs * shape.weights(), 3),
        values(outputs, 4),
        values(inputs, 5),
    ]
}

/// Forward, transposed and weight gradient in square tiles.
fn results(convolution: &Convolution) -> [Vec<f32>; 3] {
    let [x, y, weights, bias, input_bias] = arguments(convolution);
    let square = square(convolution);
    [
        square.forward(&x, &weights, Some(&bias)),
        square.transposed(&y, &weights, Some(&input_bias)),
        square.weight_gradient(&x, &y),
    ]
}

/// The same by the definition, in double precision.
fn expected(convolution: &Convolution) -> [Vec<f64>; 3] {
    let Convolution { shape, images, inputs, outputs, input, output, .. } = *convolution;
    let [x, y, weights, bias, input_bias] = arguments(convolution);
    let ([_, height, width], [_, rows, columns]) = (input, output);
    let (taps, padding, stride) = (shape.kernel[1], shape.padding[1], shape.stride[1]);
    let biased = |len: usize, bias: &[f32], plane: usize| -> Vec<f64> {
        (0..len).map(|idx| f64::from(bias[idx / plane % bias.len()])).collect()
    };
    let mut forward = biased(y.len(), &bias, rows * columns);
    let mut transposed = biased(x.len(), &input_bias, height * width);
    let mut gradient = vec![0.0; weights.len()];
    for (at, value) in y.iter().enumerate() {
        let (plane, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
        let (image, o) = (plane / outputs, plane % outputs);
        assert!(image < images);
        for term in 0..inputs * taps * taps {
            let (i, u, v) = (term / (taps * taps), term / taps % taps, term % taps);
            let inside = |at: usize, len: usize| at.checked_sub(padding).filter(|at| *at < len);
            let (Some(r), Some(c)) = (inside(row * stride + u, height), inside(column * stride + v, width))
            else {
                continue;
            };
            let source = ((image * inputs + i) * height + r) * width + c;
            let weight = o * inputs * taps * taps + term;
            forward[at] += f64::from(x[source]) * f64::from(weights[weight]);
            transposed[source] += f64::from(*value) * f64::from(weights[weight]);
            gradient[weight] += f64::from(*value) * f64::from(x[source]);
        }
    }
    [forward, transposed, gradient]
}

fn levels() -> impl Iterator<Item = Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|level| level.is_supported())
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let len = values.len() as f64;
    (values.map(|value| value * value).sum::<f64>() / len).sqrt()
}

#[test]
fn squares_are_the_sums_of_the_definition() {
    for case in CASES {
        let expected = expected(&convolution(Level::Portable, case));
        for level in levels() {
            let found = results(&convolution(level, case));
            for (what, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found.len(), expected.len());
                let size = root_mean_square(expected.iter().copied()).max(1.0);
                for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(
                        error <= 2e-5 * size,
                        "{level:?}, {case:?}, result {what}, value {idx}: {found} for {expected} (size {size})"
                    );
                }
            }
        }
    }
}

/// The bound that the module's page states, with a margin, for three taps of a phase and for two.
#[test]
fn error_is_near_that_of_direct_sums() {
    for (level, [taps, stride]) in levels().flat_map(|level| [(level, [3, 1]), (level, [4, 2])]) {
        // Padding 2, so that the direct sums are those of the panels.
        let convolution = convolution(level, [1, 64, 24, 16, 16, taps, 2, stride]);
        let [x, y, weights, bias, input_bias] = arguments(&convolution);
        assert!(Square::new(&convolution).is_none(), "so few channels are not convolved in squares");
        let direct = [
            convolution.forward(&x, &weights, Some(&bias)),
            convolution.transposed(&y, &weights, Some(&input_bias)),
            convolution.weight_gradient(&x, &y),
        ];
        let found = results(&convolution);
        for (what, expected) in expected(&convolution).iter().enumerate() {
            let error = |found: &[f32]| {
                root_mean_square(
                    found.iter().zip(expected).map(|(found, expected)| f64::from(*found) - expected),
                )
            };
            let [squares, direct] = [error(&found[what]), error(&direct[what])];
            assert!(squares < 4.0 * direct, "{level:?}, result {what}: {squares:e} beside {direct:e}");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for case in [[3, 70, 26, 18, 17, 3, 1, 1], [2, 70, 26, 37, 34, 4, 1, 2]] {
        let convolution = convolution(Level::best(), case);
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
            let found = pool.install(|| results(&convolution)).concat();
            found.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let one = bits(1);
        assert!([2, 3].iter().all(|threads| bits(*threads) == one), "{case:?}");
    }
}

#[test]
fn vector_widths_give_the_same_bits() {
    if !(Level::Avx2.is_supported() && Level::Avx512.is_supported()) {
        return;
    }
    let [narrow, wide] = [Level::Avx2, Level::Avx512].map(|level| {
        let found = results(&convolution(level, [2, 40, 26, 18, 17, 3, 1, 1])).concat();
        found.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    });
    assert_eq!(narrow, wide);
}

/// Layers of many channels and tiles are convolved in squares, others are not.
#[test]
fn squares_are_chosen_where_they_are_faster() {
    let is_chosen = |case| Square::new(&convolution(Level::Portable, case)).is_some();
    let large = [4, 256, 256, 32, 32, 3, 1, 1];
    assert!(is_chosen(large) && is_chosen([4, 64, 128, 64, 64, 4, 1, 2]));
    for (idx, value) in [(1, 3), (2, 1), (3, 4), (5, 1), (5, 2), (7, 2)] {
        let mut case = large;
        case[idx] = value;
        assert!(!is_chosen(case), "{case:?}");
    }
    let mut strided = convolution(Level::Portable, large);
    strided.shape.stride = [1, 1, 2];
    assert!(Square::new(&strided).is_none());
    let mut volume = convolution(Level::Portable, large);
    volume.shape.kernel[0] = 3;
    assert!(Square::new(&volume).is_none());
}
