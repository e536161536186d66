//! The product of a packed panel with rows of numbers: the register tile of the general convolutions.

use crate::simd::{Level, Simd};

/// Rows in a register tile beside two vectors, of which one more and a number must find a register.
pub(crate) fn tile_rows(level: Level) -> usize {
    if level.registers() >= 32 { 12 } else { 6 }
}

/// totals\[r, v\] += Σ_k numbers\[r, k\] · vectors\[k, v\] for `rows` rows, at most as many as [`tile_rows`].
///
/// `vectors` holds two vectors for each of the numbers in a row, of which `count` (1 or 2) are used; a row of
/// `numbers` begins every `PITCH`, one of `totals` every `pitch`. Neither should be a multiple of 4 KiB, at which rows
/// evict each other from the first cache.
/// The sum over k is one chain of multiply-adds, which is then added to the total.
#[inline(always)]
pub(crate) fn multiply<S: Simd, const PITCH: usize>(
    simd: S,
    rows: usize,
    count: usize,
    vectors: &[f32],
    numbers: &[f32],
    totals: &mut [f32],
    pitch: usize,
) {
    let len = vectors.len() / (2 * S::LANES);
    let numbers = &numbers[..(rows - 1) * PITCH + len];
    macro_rules! for_rows {
        ($($rows:literal)*) => {
            match (rows, count) {
                $(($rows, 1) => tile::<S, $rows, 1, PITCH>(simd, vectors, numbers, totals, pitch),
                ($rows, _) => tile::<S, $rows, 2, PITCH>(simd, vectors, numbers, totals, pitch),)*
                _ => unreachable!("a tile has at most 12 rows, this one {rows}"),
            }
        };
    }
    if S::REGISTERS >= 32 {
        for_rows!(1 2 3 4 5 6 7 8 9 10 11 12);
    } else {
        for_rows!(1 2 3 4 5 6);
    }
}

#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const VECTORS: usize, const PITCH: usize>(
    simd: S,
    vectors: &[f32],
    numbers: &[f32],
    totals: &mut [f32],
    pitch: usize,
) {
    let mut sums = [[simd.zero(); VECTORS]; ROWS];
    // A window of the rows shows one number of each, at places known to the compiler.
    let columns = numbers.windows((ROWS - 1) * PITCH + 1);
    for (vectors, numbers) in vectors.chunks_exact(2 * S::LANES).zip(columns) {
        let mut loaded = [simd.zero(); VECTORS];
        for vector in 0..VECTORS {
            loaded[vector] = simd.load(vectors, vector * S::LANES);
        }
        for row in 0..ROWS {
            let number = simd.splat(numbers[row * PITCH]);
            for vector in 0..VECTORS {
                sums[row][vector] = simd.mul_add(loaded[vector], number, sums[row][vector]);
            }
        }
    }
    let one = simd.splat(1.0);
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            let at = row * pitch + vector * S::LANES;
            let total = simd.load(totals, at);
            simd.store(simd.mul_add(sums[row][vector], one, total), totals, at);
        }
    }
}
