//! Tiles against sums in double precision, and their error beside the direct kernel's.

use super::*;
use crate::kernels::conv::{Output, convolve};
use crate::kernels::planes::PaddedPlanes;
use crate::kernels::strip::Strips;
use crate::kernels::tests::values;

/// A convolution of one image: input and output channels, kernel, dilation, height and width.
#[derive(Clone, Copy, Debug)]
struct Case {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    dilation: usize,
    size: [usize; 2],
}

const fn case([inputs, outputs]: [usize; 2], [kernel, dilation]: [usize; 2], size: [usize; 2]) -> Case {
    Case { inputs, outputs, kernel, dilation, size }
}

const CASES: [Case; 14] = [
    case([1, 1], [5, 1], [1, 1]),
    case([1, 1], [3, 2], [4, 16]),
    case([3, 2], [5, 1], [9, 33]),
    case([2, 13], [3, 1], [7, 31]),
    case([5, 12], [5, 2], [20, 47]),
    case([4, 25], [3, 3], [13, 64]),
    case([7, 6], [5, 8], [33, 40]),
    case([17, 9], [3, 8], [64, 18]),
    case([2, 3], [5, 4], [5, 3]),
    case([3, 5], [3, 100], [6, 7]),
    case([1, 2], [5, 100], [40, 9]),
    // Several blocks of columns.
    case([60, 3], [5, 8], [6, 300]),
    case([90, 2], [3, 1], [4, 257]),
    case([40, 14], [5, 1], [3, 130]),
];

fn levels() -> impl Iterator<Item = Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|level| level.is_supported())
}

impl Case {
    fn planes(self) -> Vec<f32> {
        values(self.inputs * self.size[0] * self.size[1], 1)
    }

    fn weights(self) -> Vec<f32> {
        values(self.outputs * self.inputs * self.kernel * self.kernel, 2)
    }

    /// What the definition says, and the sums of the products' magnitudes.
    fn expected(self) -> (Vec<f64>, Vec<f64>) {
        let Self { inputs, outputs, kernel, dilation, size: [height, width] } = self;
        let (planes, weights) = (self.planes(), self.weights());
        let mut sums = vec![0.0; outputs * height * width];
        let mut magnitudes = sums.clone();
        for place in 0..sums.len() {
            let (output, y, x) = (place / (height * width), place / width % height, place % width);
            for term in 0..inputs * kernel * kernel {
                let (input, row, column) = (term / (kernel * kernel), term / kernel % kernel, term % kernel);
                let at = |at: usize, tap: usize, len: usize| {
                    (at + tap * dilation).checked_sub(kernel / 2 * dilation).filter(|at| *at < len)
                };
                let (Some(y), Some(x)) = (at(y, row, height), at(x, column, width)) else { continue };
                let product = f64::from(planes[(input * height + y) * width + x])
                    * f64::from(weights[output * inputs * kernel * kernel + term]);
                sums[place] += product;
                magnitudes[place] += product.abs();
            }
        }
        (sums, magnitudes)
    }

    /// Convolves by tiles all rows of an image into values that hold `before`.
    fn tiles(self, level: Level, start: Start, before: &[f32]) -> Vec<f32> {
        let Self { inputs, outputs, kernel, dilation, size: [height, width] } = self;
        let (planes, weights) = (self.planes(), self.weights());
        let at = |output: usize, input: usize, tap: usize| {
            weights[(output * inputs + input) * kernel * kernel + tap]
        };
        let weights = WinogradWeights::new(level, [outputs, inputs], kernel, dilation, width, at);
        let row_margin = margin(&taps([1, kernel], dilation, [1, width], false));
        let padded = PaddedPlanes::new(&planes, [1, inputs, height, width], row_margin);
        let view = padded.view(0..inputs);
        // What a kernel does not write must not matter: NaN everywhere to begin with.
        let pool = Arc::new(Pool::default());
        drop([1usize << 12, 1 << 15, 1 << 17].map(|len| {
            let mut buffer = pool.take::<f32>(len);
            buffer.fill(f32::NAN);
            buffer
        }));
        let mut found = before.to_vec();
        let mut channels: Vec<&mut [f32]> = found.chunks_exact_mut(height * width).collect();
        for rows in (Strips { rows: TILE_ROWS, step: dilation }).of_band(height) {
            let input = TileInput { planes: view.image(0), layout: view.layout, row: rows.first };
            let output = TileOutput { weights: &weights, start, rows, channels: &mut channels };
            convolve_tile(level, &pool, input, &mut [output]);
        }
        found
    }

    /// Convolves directly.
    fn direct(self, level: Level) -> Vec<f32> {
        let Self { inputs, outputs, kernel, dilation, size } = self;
        let kernel_taps = taps([kernel; 2], dilation, size, false);
        let planes = self.planes();
        let planes = PaddedPlanes::new(&planes, [1, inputs, size[0], size[1]], margin(&kernel_taps));
        let packed = PackedWeights::forward(level, &self.weights(), outputs, inputs, kernel_taps);
        let mut found = vec![0.0; outputs * size[0] * size[1]];
        let output = Output { values: &mut found, channels: outputs, first: 0 };
        convolve(level, &planes, 0, &packed, Start::Zero, output);
        found
    }
}

/// An error is at most 4e-6 of the largest sum of magnitudes.
#[test]
fn tiles_are_the_sums_of_the_definition() {
    for case in CASES {
        let (expected, magnitudes) = case.expected();
        // Products of neighbors that a tile reads cancel: an output may have none of its own.
        let largest = magnitudes.iter().fold(0.0, |largest: f64, value| largest.max(*value));
        let bias = values(case.outputs, 3);
        let before = values(expected.len(), 4);
        let plane = case.size[0] * case.size[1];
        for level in levels() {
            for start in [Start::Zero, Start::Bias(&bias), Start::Output] {
                let found = case.tiles(level, start, &before);
                for (place, found) in found.iter().enumerate() {
                    let start = match start {
                        Start::Zero => 0.0,
                        Start::Bias(bias) => f64::from(bias[place / plane]),
                        Start::Output => f64::from(before[place]),
                    };
                    let expected = start + expected[place];
                    let allowed = 4e-6 * (largest + start.abs());
                    assert!(
                        (f64::from(*found) - expected).abs() <= allowed,
                        "{level:?}, {case:?}, value {place}: {found} for {expected} ± {allowed:e}"
                    );
                }
            }
        }
    }
}

/// The bound that the module's page states, with a margin: 2.1 and 1.5 times the direct kernel's error.
#[test]
fn error_is_near_that_of_direct_sums() {
    for (kernel, factor) in [(5, 3.0), (3, 2.0)] {
        let case = case([32, 16], [kernel, 2], [40, 64]);
        let (expected, _) = case.expected();
        let error = |found: &[f32]| {
            let squares = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).powi(2));
            (squares.sum::<f64>() / expected.len() as f64).sqrt()
        };
        for level in levels() {
            let before = vec![0.0; expected.len()];
            let [tiles, direct] =
                [case.tiles(level, Start::Zero, &before), case.direct(level)].map(|found| error(&found));
            assert!(tiles < factor * direct, "{kernel}, {level:?}: {tiles:e} beside {direct:e}");
        }
    }
}

/// A kernel of each size on the same input: as one by one.
#[test]
fn kernels_together_are_as_one_by_one() {
    let [wide, narrow] = [case([6, 5], [5, 2], [11, 70]), case([6, 3], [3, 2], [11, 70])];
    let Case { inputs, dilation, size: [height, width], .. } = wide;
    for level in levels() {
        let planes = wide.planes();
        let padded = PaddedPlanes::new(&planes, [1, inputs, height, width], 2 * dilation);
        let view = padded.view(0..inputs);
        let pool = Arc::new(Pool::default());
        let [wide_weights, narrow_weights] = [wide, narrow].map(|case| {
            let weights = case.weights();
            let at = |output: usize, input: usize, tap: usize| {
                weights[(output * inputs + input) * case.kernel * case.kernel + tap]
            };
            WinogradWeights::new(level, [case.outputs, inputs], case.kernel, dilation, width, at)
        });
        let mut found = vec![0.0; (wide.outputs + narrow.outputs) * height * width];
        let mut channels: Vec<&mut [f32]> = found.chunks_exact_mut(height * width).collect();
        let (wide_channels, narrow_channels) = channels.split_at_mut(wide.outputs);
        for rows in (Strips { rows: TILE_ROWS, step: dilation }).of_band(height) {
            let input = TileInput { planes: view.image(0), layout: view.layout, row: rows.first };
            let start = Start::Zero;
            let outputs = &mut [
                TileOutput { weights: &narrow_weights, start, rows, channels: &mut *narrow_channels },
                TileOutput { weights: &wide_weights, start, rows, channels: &mut *wide_channels },
            ];
            convolve_tile(level, &pool, input, outputs);
        }
        let alone = [wide, narrow]
            .map(|case| case.tiles(level, Start::Zero, &vec![0.0; case.outputs * height * width]));
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&alone.concat()), "{level:?}");
    }
}

#[test]
fn vector_widths_give_the_same_bits() {
    if !(Level::Avx2.is_supported() && Level::Avx512.is_supported()) {
        return;
    }
    let case = case([60, 14], [5, 3], [23, 300]);
    let [narrow, wide] = [Level::Avx2, Level::Avx512].map(|level| {
        let found = case.tiles(level, Start::Zero, &vec![0.0; 14 * 23 * 300]);
        found.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    });
    assert_eq!(narrow, wide);
}
