//! Gaussian smoothing.

use rayon::prelude::*;

use crate::{ImageError, Volume};

/// A volume smoothed by a Gaussian of the same width in mm along every axis of the grid.
///
/// Along each axis in turn, out(n) = Σₘ w(m) in(n + m) with w(m) ∝ exp(−(m·spacing)² / 2σ²), |m| ≤ 4σ/spacing (rounded),
/// Σ w = 1; beyond the edge the outermost value is repeated.
/// Sums are in 64-bit arithmetic, storage between the axes is 32-bit.
/// An axis whose spacing is large beside σ is left as it is.
///
/// NaN and infinity spread as far as the weights reach, 4σ along each axis.
///
/// # Errors
/// [`ImageError::Parameter`] if `sigma_mm` is negative or not finite.
pub fn gaussian_smooth(volume: &Volume<f32>, sigma_mm: f64) -> Result<Volume<f32>, ImageError> {
    if !(sigma_mm.is_finite() && sigma_mm >= 0.0) {
        return Err(ImageError::Parameter {
            name: "sigma_mm",
            value: sigma_mm,
            allowed: "finite and at least zero",
        });
    }
    let mut smoothed = volume.clone();
    for (axis, spacing_mm) in volume.grid().spacing_mm().into_iter().enumerate() {
        let weights = gaussian_weights(sigma_mm / spacing_mm);
        if weights.len() > 1 {
            smoothed = convolved(&smoothed, axis, &weights);
        }
    }
    Ok(smoothed)
}

/// w(−r) … w(r), summing to one, for a standard deviation in voxels; r as in scipy's `gaussian_filter1d`.
fn gaussian_weights(sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma + 0.5) as i64;
    let weights: Vec<f64> = (-radius..=radius)
        .map(|m| if m == 0 { 1.0 } else { (-0.5 * (m as f64 / sigma).powi(2)).exp() })
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// The correlation with an odd number of weights along an axis (0: i, 1: j, 2: k), repeating the outermost values.
fn convolved(volume: &Volume<f32>, axis: usize, weights: &[f64]) -> Volume<f32> {
    let [ni, nj, nk] = volume.grid().size_ijk();
    let radius = weights.len() / 2;
    let source = volume.as_slice();
    let clamped = |at: usize, m: usize, n: usize| (at + m).saturating_sub(radius).min(n - 1);
    let mut result = Volume::filled(volume.grid(), 0.0_f32);
    result.as_mut_slice().par_chunks_mut(ni).enumerate().for_each_init(
        || (vec![0.0_f64; ni], vec![0.0_f32; ni + 2 * radius]),
        |(sums, padded), (row, out)| {
            let (j, k) = (row % nj, row / nj);
            let row_at = |j: usize, k: usize| &source[(k * nj + j) * ni..][..ni];
            sums.fill(0.0);
            if axis == 0 {
                for (n, value) in padded.iter_mut().enumerate() {
                    *value = row_at(j, k)[clamped(0, n, ni)];
                }
            }
            for (m, &weight) in weights.iter().enumerate() {
                let from = match axis {
                    0 => &padded[m..m + ni],
                    1 => row_at(clamped(j, m, nj), k),
                    _ => row_at(j, clamped(k, m, nk)),
                };
                for (sum, &value) in std::iter::zip(sums.iter_mut(), from) {
                    *sum += weight * f64::from(value);
                }
            }
            for (value, &sum) in std::iter::zip(out, sums.iter()) {
                *value = sum as f32;
            }
        },
    );
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, PointLps, VoxelIndex};

    #[test]
    fn an_impulse_becomes_a_gaussian_of_that_width_in_mm() -> Result<(), ImageError> {
        let spacing_mm = [1.0, 2.0, 0.8];
        let grid = Grid::axis_aligned([41, 25, 51], spacing_mm, PointLps::ORIGIN)?;
        let mut impulse = Volume::filled(&grid, 0.0_f32);
        let middle = VoxelIndex::new(20, 12, 25);
        impulse[middle] = 1000.0;
        let smoothed = gaussian_smooth(&impulse, 2.5)?;
        let center = grid.point_of(middle);
        let mut sum = 0.0;
        let mut second_moment = [0.0; 3];
        for (n, &value) in smoothed.as_slice().iter().enumerate() {
            let offset = grid.point_of(VoxelIndex::new(n % 41, n / 41 % 25, n / (41 * 25))) - center;
            sum += f64::from(value);
            for (moment, step) in std::iter::zip(&mut second_moment, offset.to_array()) {
                *moment += f64::from(value) * step * step;
            }
        }
        assert!((sum - 1000.0).abs() < 1e-2, "sum {sum}");
        for moment in second_moment {
            let sigma_mm = (moment / sum).sqrt();
            assert!((sigma_mm - 2.5).abs() < 0.01, "width {sigma_mm} mm");
        }
        Ok(())
    }

    #[test]
    fn a_constant_stays_and_zero_width_copies() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([3, 4, 5], [1.0, 2.0, 4.0], PointLps::ORIGIN)?;
        let ramp = Volume::from_point_fn(&grid, |p| (p.x + 10.0 * p.y) as f32);
        assert_eq!(gaussian_smooth(&ramp, 0.0)?, ramp);
        for &value in gaussian_smooth(&Volume::filled(&grid, 7.0), 3.0)?.as_slice() {
            assert!((value - 7.0).abs() < 1e-5);
        }
        assert!(matches!(gaussian_smooth(&ramp, f64::NAN), Err(ImageError::Parameter { .. })));
        Ok(())
    }
}
