//! Convolutions on matrix tiles against the register tile.
//!
//! Where the processor has no tiles, portable ones take their place: what differs is then only how they multiply.

use super::*;
use crate::fused::features::Features;
use crate::fused::format::Brain;
use crate::kernels::element::ChannelPair;
use crate::kernels::taps::margin;
use crate::kernels::tests::values;

/// Channels of the parts that are read, output channels, kernel, dilation, height, width.
type Case<'a> = (&'a [usize], usize, usize, usize, [usize; 2]);

const CASES: [Case; 14] = [
    (&[1], 1, 1, 1, [1, 1]),
    (&[1], 16, 5, 1, [9, 33]),
    (&[2, 3], 17, 3, 2, [7, 16]),
    (&[31], 33, 5, 4, [6, 47]),
    (&[32], 32, 3, 8, [20, 32]),
    (&[33], 40, 5, 8, [5, 80]),
    (&[5, 9, 7, 11], 20, 5, 2, [11, 29]),
    (&[64], 48, 1, 1, [3, 257]),
    (&[67], 3, 3, 1, [4, 96]),
    (&[70], 70, 3, 1, [3, 17]),
    (&[35, 36], 16, 5, 8, [33, 15]),
    (&[16, 1], 65, 3, 4, [5, 31]),
    (&[20], 15, 5, 16, [40, 9]),
    (&[3], 31, 7, 3, [8, 64]),
];

/// Convolves two images strip by strip, and says what each output may be off by: 1e-6 of the sum of magnitudes.
fn check(case: Case, start_with: usize) {
    let (parts, outputs, kernel, dilation, size) = case;
    let inputs: usize = parts.iter().sum();
    let pixels = size[0] * size[1];
    let weights = values(outputs * inputs * kernel * kernel, 1);
    let bias = values(outputs, 2);
    let start = [Start::Zero, Start::Bias(&bias), Start::Output][start_with];
    let pool = Arc::new(Pool::default());
    // What is read beyond the image's planes and rows must not count: NaN everywhere to begin with.
    let row_margin = margin(&taps([kernel; 2], dilation, size, false));
    let planes = parts.iter().map(|channels| channels.div_ceil(2)).sum();
    let len = 2 * planes * Layout::padded(2, planes, size, row_margin).plane_len;
    pool.take::<ChannelPair>(len).fill(0x7fc0_7fc0);

    let run = |level: Level, input: &Features<Brain>, weights: &[f32], start: Start| {
        let packed = pack::<Brain>(level, weights, [outputs, kernel], parts, dilation, size);
        let mut found = values(2 * outputs * pixels, 3);
        for (image, found) in found.chunks_exact_mut(outputs * pixels).enumerate() {
            let mut found: Vec<&mut [f32]> = found.chunks_exact_mut(pixels).collect();
            let view = input.spatial(0..parts.len());
            for strip in neighbor_strips(size).of_band(size[0]) {
                let rows = strip.first..strip.first + strip.count;
                convolve_rows(level, &view, image, &packed, start, 0, rows, &mut found);
            }
        }
        found
    };
    let features = |sign: fn(f32) -> f32| {
        let mut input = Features::<Brain>::new(&pool, parts, 2, size, row_margin, false);
        for (part, channels) in parts.iter().enumerate() {
            let values = values(2 * channels * pixels, 4 + part as u64);
            input.fill(Level::Portable, part, &values.into_iter().map(sign).collect::<Vec<_>>());
        }
        input
    };
    let input = features(|value| value);
    let expected = run(Level::Portable, &input, &weights, start);
    let found = run(Level::Avx512Amx, &input, &weights, start);
    drop(input);
    let magnitudes: Vec<f32> = weights.iter().map(|weight| weight.abs()).collect();
    let magnitudes = run(Level::Portable, &features(f32::abs), &magnitudes, Start::Zero);
    for (idx, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let allowed = 1e-6 * (magnitudes[idx] + 1.0);
        assert!(
            (found - expected).abs() <= allowed,
            "{case:?}, start {start_with}, value {idx}: {found} for {expected} ± {allowed:e}"
        );
    }
}

#[test]
fn tiles_agree_with_the_register_tile() {
    for case in CASES {
        for start_with in 0..3 {
            check(case, start_with);
        }
    }
}
