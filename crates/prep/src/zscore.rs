//! Intensities in standard deviations from their mean.

use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};

use crate::PrepError;

/// The mean and standard deviation that a [`zscore`] took out of an image, in the image's own unit.
///
/// Stored parameters are checked as they are read.
///
/// | field | unit | allowed |
/// |---|---|---|
/// | `mean` | the image's | finite |
/// | `sd` | the image's | finite, above zero |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct ZScore {
    /// The mean inside the mask, in the image's unit.
    pub mean: f64,
    /// The standard deviation inside the mask, in the image's unit.
    pub sd: f64,
}

/// A [`ZScore`] as it was stored, before its values have been looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    mean: f64,
    sd: f64,
}

impl TryFrom<Unchecked> for ZScore {
    type Error = PrepError;
    fn try_from(Unchecked { mean, sd }: Unchecked) -> Result<Self, PrepError> {
        Self::new(mean, sd)
    }
}

impl ZScore {
    /// The normalisation with these parameters.
    ///
    /// # Errors
    /// [`PrepError::ZScore`] if one is not finite or `sd` is not above zero.
    pub fn new(mean: f64, sd: f64) -> Result<Self, PrepError> {
        if mean.is_finite() && sd.is_finite() && sd > 0.0 {
            Ok(Self { mean, sd })
        } else {
            Err(PrepError::ZScore { mean, sd })
        }
    }

    /// The mean and standard deviation of the values inside a mask, as in [`zscore`].
    ///
    /// # Errors
    /// As [`zscore`].
    pub fn of(mr: &Volume<f32>, mask: &Mask) -> Result<Self, PrepError> {
        mr.grid().require_match(mask.grid())?;
        let [ni, nj, _] = mr.grid().size_ijk();
        let inside =
            || std::iter::zip(mr.as_slice(), mask.as_slice()).enumerate().filter(|(_, (_, inside))| **inside);
        let (mut n, mut sum) = (0_usize, 0.0);
        for (at, (&value, _)) in inside() {
            if !value.is_finite() {
                let index_kji = [at / (ni * nj), at / ni % nj, at % ni];
                return Err(PrepError::NotFinite { what: "a z-score inside the mask", index_kji, value });
            }
            n += 1;
            sum += f64::from(value);
        }
        if n == 0 {
            return Err(PrepError::EmptyMask);
        }
        let mean = sum / n as f64;
        // A second pass, because the difference of two large sums would lose the variance of a high, flat signal.
        let squares: f64 = inside().map(|(_, (&value, _))| (f64::from(value) - mean).powi(2)).sum();
        let sd = (squares / n as f64).sqrt();
        // Rounding of the mean alone leaves this much.
        if sd <= 1e-12 * mean.abs() {
            return Err(PrepError::NoContrast { what: "a z-score inside the mask", value: mean });
        }
        Self::new(mean, sd)
    }

    /// (value − mean) / sd at every voxel, inside the mask or not.
    pub fn apply(&self, volume: &Volume<f32>) -> Volume<f32> {
        volume.map(|&value| ((f64::from(value) - self.mean) / self.sd) as f32)
    }

    /// value · sd + mean at every voxel: the way back.
    pub fn invert(&self, volume: &Volume<f32>) -> Volume<f32> {
        volume.map(|&value| (f64::from(value) * self.sd + self.mean) as f32)
    }
}

/// An MR whose values inside a mask have mean 0 and standard deviation 1.
///
/// z = (x − μ) / σ at *every* voxel, with μ = (1/n) Σ x and σ² = (1/n) Σ (x − μ)² over the n voxels inside the mask only,
/// in 64-bit arithmetic.
/// Statistics over the whole grid would depend on how much air the field of view holds.
/// NaN and infinity outside the mask stay what they are.
///
/// # Errors
/// [`PrepError::Image`] if the grids differ, [`PrepError::EmptyMask`], [`PrepError::NotFinite`] for a value inside the
/// mask, [`PrepError::NoContrast`] if all values inside are equal.
///
/// # Examples
/// ```
/// use synthct_image::{Grid, Mask, PointLps, Volume};
/// let grid = Grid::axis_aligned([3, 4, 5], [1.0, 2.0, 4.0], PointLps::ORIGIN)?;
/// let mr = Volume::from_index_fn(&grid, |index| if index.k < 2 { 100.0 } else { 300.0 + index.j as f32 });
/// let body = Mask::from_values(&mr, |&value| value >= 300.0);
/// let (normalized, parameters) = synthct_prep::zscore(&mr, &body)?;
/// assert_eq!(parameters.mean, 301.5);
/// assert_eq!(parameters.invert(&normalized), mr);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn zscore(mr: &Volume<f32>, mask: &Mask) -> Result<(Volume<f32>, ZScore), PrepError> {
    let parameters = ZScore::of(mr, mask)?;
    Ok((parameters.apply(mr), parameters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, PointLps, VoxelIndex};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// Values 10 (i + 3 j), and the mask i > 0.
    fn sample() -> Result<(Volume<f32>, Mask), PrepError> {
        let grid = Grid::axis_aligned([3, 4, 5], [1.0, 2.0, 4.0], PointLps::ORIGIN)?;
        let mr = Volume::from_index_fn(&grid, |index| 10.0 * (index.i + 3 * index.j) as f32);
        let mask = Mask::new(Volume::from_index_fn(&grid, |index| index.i > 0));
        Ok((mr, mask))
    }

    #[test]
    fn only_the_mask_counts() -> TestResult {
        let (mr, mask) = sample()?;
        let (normalized, parameters) = zscore(&mr, &mask)?;
        // i in {1, 2}, j in 0..4, equally often: mean 10·(1.5 + 4.5), variance 100·(1/4 + 9·5/4).
        assert!((parameters.mean - 60.0).abs() < 1e-12);
        assert!((parameters.sd - 1150_f64.sqrt()).abs() < 1e-12);
        let corner = normalized[VoxelIndex::new(0, 0, 0)];
        assert!((f64::from(corner) + 60.0 / 1150_f64.sqrt()).abs() < 1e-6, "{corner}: voxels outside follow");
        Ok(())
    }

    #[test]
    fn an_affine_change_of_intensity_does_not_matter() -> TestResult {
        let (mr, mask) = sample()?;
        let (first, _) = zscore(&mr, &mask)?;
        let (second, _) = zscore(&mr.map(|&value| 7.0 * value + 4000.0), &mask)?;
        for (a, b) in std::iter::zip(first.as_slice(), second.as_slice()) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
        Ok(())
    }

    #[test]
    fn bad_input_is_refused() -> TestResult {
        let (mut mr, mask) = sample()?;
        let nothing = Mask::full(mr.grid()).complement();
        assert!(matches!(zscore(&mr, &nothing), Err(PrepError::EmptyMask)));
        let flat = mr.map(|_| 4.1_f32);
        assert!(matches!(zscore(&flat, &mask), Err(PrepError::NoContrast { .. })));
        let elsewhere = Mask::full(&Grid::axis_aligned([3, 4, 5], [1.0, 2.0, 4.1], PointLps::ORIGIN)?);
        assert!(matches!(zscore(&mr, &elsewhere), Err(PrepError::Image(_))));
        mr[VoxelIndex::new(0, 1, 2)] = f32::NAN;
        assert!(zscore(&mr, &mask)?.0[VoxelIndex::new(0, 1, 2)].is_nan(), "outside the mask NaN is kept");
        mr[VoxelIndex::new(2, 1, 3)] = f32::NAN;
        assert!(matches!(zscore(&mr, &mask), Err(PrepError::NotFinite { index_kji: [3, 1, 2], .. })));
        Ok(())
    }

    #[test]
    fn stored_parameters_are_checked() -> TestResult {
        let parameters = ZScore::new(102.5, 33.25)?;
        let stored = serde_json::to_string(&parameters)?;
        assert_eq!(stored, r#"{"mean":102.5,"sd":33.25}"#);
        assert_eq!(serde_json::from_str::<ZScore>(&stored)?, parameters);
        assert!(serde_json::from_str::<ZScore>(r#"{"mean":102.5,"sd":0.0}"#).is_err());
        assert!(serde_json::from_str::<ZScore>(r#"{"mean":1.0,"sd":1.0,"median":2.0}"#).is_err());
        Ok(())
    }
}
