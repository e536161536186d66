//! Squared correlation within boxes.

use rayon::prelude::*;

use super::{Dissimilarity, Sample, Value, mean_and_deviation};

/// Minus the mean, over all voxels with values, of the squared correlation of fixed and moving values in the box around.
///
/// With sums over a box W(x) of n voxels with values, A = Σfm − ΣfΣm/n, B = Σf² − (Σf)²/n, C = Σm² − (Σm)²/n, the
/// squared correlation is A²/(BC). Boxes without contrast in either image count zero.
/// The derivative by m(y) gathers from all boxes that hold y: 2A/(BC)·(f(y) − f̄) − 2A²/(BC²)·(m(y) − m̄).
///
/// # References
/// Avants et al. (2008), doi:10.1016/j.media.2007.06.004, eq. 5; the derivative there leaves out the means' dependence
/// and takes the box around y alone, here it is exact.
pub(crate) struct LocalCorrelation {
    size_ijk: [usize; 3],
    radius_ijk: [usize; 3],
    /// Fixed values minus their mean, over their deviation; NaN outside the mask.
    fixed: Vec<f32>,
    /// The same mean and deviation for moving values, from the last evaluation's first call.
    moving_scale: Option<[f32; 2]>,
    /// From the last evaluation: Σ 2A²/(BC²) over the boxes that hold each voxel, over the number of samples.
    curvatures: Vec<f32>,
}

/// A box's variance counts from this part of the image's variance on: below is rounding or nothing.
const SMALLEST_VARIANCE: f64 = 1e-4;

impl LocalCorrelation {
    /// For boxes of 2 · radius + 1 voxels along each axis.
    pub(crate) fn new(fixed: &[f32], size_ijk: [usize; 3], radius_ijk: [usize; 3]) -> Self {
        let [mean, deviation] = mean_and_deviation(fixed.iter().copied());
        Self {
            size_ijk,
            radius_ijk,
            fixed: fixed.iter().map(|value| (value - mean) / deviation).collect(),
            moving_scale: None,
            curvatures: vec![0.0; fixed.len()],
        }
    }
}

impl Dissimilarity for LocalCorrelation {
    fn evaluate(&mut self, samples: &[Sample], slopes: &mut [f32]) -> Value {
        // Kept from the first call on, so that the function being minimised stays the same.
        let [mean, deviation] = *self
            .moving_scale
            .get_or_insert_with(|| mean_and_deviation(samples.iter().map(|sample| sample[3])));
        let pairs: Vec<[f32; 2]> = self
            .fixed
            .par_iter()
            .zip(samples)
            .map(|(&fixed, sample)| {
                let moving = (sample[3] - mean) / deviation;
                if (fixed + moving).is_nan() { [f32::NAN; 2] } else { [fixed, moving] }
            })
            .collect();
        let is_seen = |pair: &[f32; 2]| !pair[0].is_nan();
        let n_samples = pairs.par_iter().filter(|pair| is_seen(pair)).count();
        let per_sample = 1.0 / n_samples.max(1) as f64;
        let mut sums: Vec<[f32; 8]> = pairs
            .par_iter()
            .map(|&[f, m]| if f.is_nan() { [0.0; 8] } else { [1.0, f, m, f * f, m * m, f * m, 0.0, 0.0] })
            .collect();
        box_sums(&mut sums, self.size_ijk, self.radius_ijk);
        // Per box: the squared correlation, and what each voxel in it needs for its derivative.
        let row_len = self.size_ijk[0];
        let row_values: Vec<f64> = sums
            .par_chunks_mut(row_len)
            .with_min_len(64)
            .zip(pairs.par_chunks(row_len))
            .map(|(row, pairs)| {
                let mut total = 0.0;
                for (sums, pair) in std::iter::zip(row, pairs) {
                    let [n, f, m, ff, mm, fm, ..] = sums.map(f64::from);
                    *sums = [0.0; 8];
                    let (a, b, c) = (fm - f * m / n, ff - f * f / n, mm - m * m / n);
                    let smallest = SMALLEST_VARIANCE * n;
                    if is_seen(pair) && b > smallest && c > smallest {
                        let by_fixed = 2.0 * a / (b * c);
                        let by_moving = by_fixed * a / c;
                        let offset = by_moving * m / n - by_fixed * f / n;
                        [sums[0], sums[1], sums[2]] =
                            [by_fixed, by_moving, offset].map(|part| (part * per_sample) as f32);
                        total += 0.5 * by_fixed * a;
                    }
                }
                total
            })
            .collect();
        box_sums(&mut sums, self.size_ijk, self.radius_ijk);
        slopes.par_iter_mut().zip(&mut self.curvatures).zip(&sums).zip(&pairs).for_each(
            |(((slope, curvature), sums), pair)| {
                let [by_fixed, by_moving, offset, ..] = *sums;
                let [fixed, moving] = *pair;
                let is_seen = is_seen(pair);
                *slope =
                    if is_seen { (by_moving * moving - by_fixed * fixed - offset) / deviation } else { 0.0 };
                *curvature = if is_seen { by_moving / (deviation * deviation) } else { 0.0 };
            },
        );
        Value { value: -row_values.iter().sum::<f64>() * per_sample, n_samples }
    }

    /// The local fit's residual of m is Gauss-Newton's: its weight is 2A²/(BC²), summed over boxes.
    fn curvatures(&self, _samples: &[Sample], _slopes: &[f32], curvatures: &mut [f32]) {
        curvatures.copy_from_slice(&self.curvatures);
    }
}

/// The sum over a box around each voxel, in place; boxes end at the image's faces.
fn box_sums(values: &mut [[f32; 8]], [ni, nj, nk]: [usize; 3], [ri, rj, rk]: [usize; 3]) {
    // Along i and j within slices, then along k within planes of constant j.
    values.par_chunks_mut(ni * nj).for_each_init(Vec::new, |buffer, slice| {
        for row in slice.chunks_exact_mut(ni) {
            running_sums(row, 1, ni, ri, buffer);
        }
        running_sums(slice, ni, nj, rj, buffer);
    });
    let mut planes: Vec<Vec<&mut [[f32; 8]]>> = (0..nj).map(|_| Vec::with_capacity(nk)).collect();
    for (row, values) in values.chunks_exact_mut(ni).enumerate() {
        planes[row % nj].push(values);
    }
    planes.into_par_iter().for_each(|mut rows| {
        let mut plane: Vec<[f32; 8]> = rows.iter().flat_map(|row| row.iter().copied()).collect();
        running_sums(&mut plane, ni, nk, rk, &mut Vec::new());
        for (row, sums) in std::iter::zip(&mut rows, plane.chunks_exact(ni)) {
            row.copy_from_slice(sums);
        }
    });
}

/// For `n` runs of `len` voxels, the sum of each with its `radius` neighbours on both sides.
///
/// Sums are made anew for each run, not carried along: a running sum in 32 bits would drift, and the box is small.
fn running_sums(values: &mut [[f32; 8]], len: usize, n: usize, radius: usize, buffer: &mut Vec<[f32; 8]>) {
    buffer.clear();
    buffer.extend_from_slice(values);
    for (at, run) in values.chunks_exact_mut(len).enumerate() {
        let (first, last) = (at.saturating_sub(radius), (at + radius).min(n - 1));
        for other in (first..=last).filter(|&other| other != at) {
            for (sum, value) in std::iter::zip(&mut *run, &buffer[other * len..][..len]) {
                for lane in 0..8 {
                    sum[lane] += value[lane];
                }
            }
        }
    }
}
