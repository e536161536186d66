//! Interpolating cubic B-splines.

use ndarray::parallel::prelude::*;
use ndarray::{Array3, ArrayViewMut2, Axis};

use super::rows::{Sampler, whole};
use crate::Volume;
use crate::transform::cubic_weights;

/// The coefficients of the cubic B-spline that goes through a volume's values, mirrored about the outermost centres.
///
/// In 64 bits, because they are larger than the values they make: rounded to 32 bits, they would move a value of 2000 HU
/// by more than its own rounding does.
pub(super) struct BSplineCoefficients {
    values: Array3<f64>,
    size_ijk: [usize; 3],
}

impl BSplineCoefficients {
    /// The coefficients for finite values.
    pub(super) fn new(volume: &Volume<f32>) -> Self {
        let mut values = volume.array().mapv(f64::from);
        // Along j and along i within each slice, then along k within each plane of constant j. Planes are independent,
        // so the order in which threads take them does not matter.
        values.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut slice| {
            prefilter(slice.view_mut());
            prefilter(slice.reversed_axes());
        });
        values.axis_iter_mut(Axis(1)).into_par_iter().for_each(prefilter);
        Self { values, size_ijk: volume.grid().size_ijk() }
    }

    #[inline]
    fn as_slice(&self) -> &[f64] {
        self.values.as_slice().expect("because the array was made in C order")
    }
}

impl Sampler for BSplineCoefficients {
    type Value = f32;
    const MARGIN: f64 = 1.0;

    fn at(&self, index: [f64; 3]) -> f32 {
        let [(i, wi), (j, wj), (k, wk)] =
            [0, 1, 2].map(|axis| neighbors_and_weights(index[axis], self.size_ijk[axis]));
        let [ni, nj, _] = self.size_ijk;
        let values = self.as_slice();
        combined([wi, wj, wk], |dj, dk| {
            let row = &values[(k[dk] * nj + j[dj]) * ni..];
            [row[i[0]], row[i[1]], row[i[2]], row[i[3]]]
        })
    }

    #[expect(clippy::inline_always, reason = "a loop over a row overlaps the work of its positions")]
    #[inline(always)]
    fn at_core(&self, [x, y, z]: [f64; 3]) -> f32 {
        let (i, j, k) = (whole(x), whole(y), whole(z));
        let weights = [cubic_weights(x - i as f64), cubic_weights(y - j as f64), cubic_weights(z - k as f64)];
        let [ni, nj, _] = self.size_ijk;
        let first = ((k - 1) * nj + j - 1) * ni + i - 1;
        let block = &self.as_slice()[first..][..(3 * nj + 3) * ni + 4];
        combined(weights, |dj, dk| {
            let at = (dk * nj + dj) * ni;
            [block[at], block[at + 1], block[at + 2], block[at + 3]]
        })
    }
}

/// The sum over 4×4×4 coefficients, of which `row` gives the four along i for each step along j and k.
#[expect(clippy::inline_always, reason = "a loop over a row overlaps the work of its positions")]
#[inline(always)]
fn combined([wi, wj, wk]: [[f64; 4]; 3], row: impl Fn(usize, usize) -> [f64; 4]) -> f32 {
    // Four columns, which the processor takes at once; only then the weights along i.
    let mut columns = [0.0; 4];
    for (dk, wk) in wk.iter().enumerate() {
        let mut of_plane = [0.0; 4];
        for (dj, wj) in wj.iter().enumerate() {
            let row = row(dj, dk);
            for di in 0..4 {
                of_plane[di] += wj * row[di];
            }
        }
        for di in 0..4 {
            columns[di] += wk * of_plane[di];
        }
    }
    (columns[0] * wi[0] + columns[1] * wi[1] + (columns[2] * wi[2] + columns[3] * wi[3])) as f32
}

/// The four voxels whose B-splines reach a position on an axis of `n` voxels, mirrored at the ends, and their values.
fn neighbors_and_weights(position: f64, n: usize) -> ([usize; 4], [f64; 4]) {
    let floor = position.floor();
    let first = floor as isize - 1;
    (std::array::from_fn(|step| mirrored(first + step as isize, n)), cubic_weights(position - floor))
}

/// The voxel that stands at `at` when an axis of `n` voxels is mirrored about its outermost centres.
fn mirrored(at: isize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let period = 2 * (n as isize - 1);
    let at = at.rem_euclid(period);
    at.min(period - at) as usize
}

/// Values to B-spline coefficients along the first axis, for all lines of a plane at once.
///
/// The inverse of sampling, (c₋₁ + 4c₀ + c₁)/6, is a causal and an anti-causal recursive filter with the pole √3 − 2.
fn prefilter(mut plane: ArrayViewMut2<'_, f64>) {
    const POLE: f64 = -0.267_949_192_431_122_7;
    // |POLE|ᵐ is below the rounding of a 64-bit number from here on.
    const HORIZON: usize = 28;
    let (n, width) = plane.dim();
    if n == 1 {
        return;
    }
    let mut buffer: Vec<f64> = plane.iter().map(|&value| 6.0 * value).collect();
    // c⁺(0) = Σₘ zᵐ f(m) over the mirrored line.
    let mut start = vec![0.0; width];
    let mut power = 1.0;
    for m in 0..HORIZON {
        let row = &buffer[mirrored(m as isize, n) * width..][..width];
        for (sum, value) in std::iter::zip(&mut start, row) {
            *sum += power * value;
        }
        power *= POLE;
    }
    buffer[..width].copy_from_slice(&start);
    for m in 1..n {
        let (before, row) = buffer[(m - 1) * width..].split_at_mut(width);
        for (value, before) in std::iter::zip(&mut row[..width], before) {
            *value += POLE * *before;
        }
    }
    // c(n−1) = z/(z² − 1) · (c⁺(n−1) + z·c⁺(n−2)), then c(m) = z·(c(m+1) − c⁺(m)).
    let (before, last) = buffer[(n - 2) * width..].split_at_mut(width);
    for (value, before) in std::iter::zip(last, before) {
        *value = POLE / (POLE * POLE - 1.0) * (*value + POLE * *before);
    }
    for m in (0..n - 1).rev() {
        let (row, after) = buffer[m * width..].split_at_mut(width);
        for (value, after) in std::iter::zip(row, &after[..width]) {
            *value = POLE * (after - *value);
        }
    }
    for (value, coefficient) in std::iter::zip(&mut plane, buffer) {
        *value = coefficient;
    }
}
