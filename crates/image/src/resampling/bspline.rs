//! Interpolating cubic B-splines.

use ndarray::parallel::prelude::*;
use ndarray::{Array3, ArrayViewMut2, Axis};

use crate::Volume;
use crate::transform::cubic_weights;

/// The coefficients of the cubic B-spline that goes through a volume's values, mirrored about the outermost centres.
pub(super) struct BSplineCoefficients {
    values: Array3<f32>,
    size_ijk: [usize; 3],
}

impl BSplineCoefficients {
    /// The coefficients for finite values.
    pub(super) fn new(volume: &Volume<f32>) -> Self {
        let mut values = volume.array().to_owned();
        // Along j and along i within each slice, then along k within each plane of constant j. Planes are independent,
        // so the order in which threads take them does not matter.
        values.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut slice| {
            prefilter(slice.view_mut());
            prefilter(slice.reversed_axes());
        });
        values.axis_iter_mut(Axis(1)).into_par_iter().for_each(prefilter);
        Self { values, size_ijk: volume.grid().size_ijk() }
    }

    /// The spline's value at a position, in voxels.
    #[inline]
    pub(super) fn at(&self, index: [f64; 3]) -> f32 {
        let values = self.values.as_slice().expect("because the array was made in C order");
        let [ni, nj, _] = self.size_ijk;
        let [(i, wi), (j, wj), (k, wk)] =
            [0, 1, 2].map(|axis| neighbors_and_weights(index[axis], self.size_ijk[axis]));
        // Row by row: sums of the four columns, which the processor takes at once. Only then the weights along i.
        let mut columns = [0.0; 4];
        let is_run = i[0] + 3 == i[3] && i[0] + 1 == i[1];
        for (k, wk) in std::iter::zip(k, wk) {
            for (j, wj) in std::iter::zip(j, wj) {
                let row = &values[(k * nj + j) * ni..][..ni];
                let taken = match row[i[0]..].first_chunk::<4>() {
                    Some(run) if is_run => *run,
                    _ => i.map(|i| row[i]),
                };
                let weight = wk * wj;
                for (column, value) in std::iter::zip(&mut columns, taken) {
                    *column += weight * f64::from(value);
                }
            }
        }
        let sum: f64 = std::iter::zip(columns, wi).map(|(column, weight)| column * weight).sum();
        sum as f32
    }
}

/// The four voxels whose B-splines reach a position on an axis of `n` voxels, mirrored at the ends, and their values.
#[inline]
fn neighbors_and_weights(position: f64, n: usize) -> ([usize; 4], [f64; 4]) {
    let floor = position.floor();
    let t = position - floor;
    let weights = cubic_weights(t);
    let first = floor as isize - 1;
    let is_within = first >= 0 && first + 3 < n as isize;
    let neighbors = [0, 1, 2, 3].map(|step| {
        let at = first + step;
        if is_within { at as usize } else { mirrored(at, n) }
    });
    (neighbors, weights)
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
fn prefilter(mut plane: ArrayViewMut2<'_, f32>) {
    const POLE: f64 = -0.267_949_192_431_122_7;
    // |POLE|ᵐ is below the rounding of a 64-bit number from here on.
    const HORIZON: usize = 28;
    let (n, width) = plane.dim();
    if n == 1 {
        return;
    }
    let mut buffer: Vec<f64> = plane.iter().map(|&value| 6.0 * f64::from(value)).collect();
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
        *value = coefficient as f32;
    }
}
