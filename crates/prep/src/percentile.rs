//! Intensities as the share of the way between two percentiles.

use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};

use crate::PrepError;
use crate::percentiles::percentiles;

/// Which percentiles become 0 and 1.
///
/// | field | unit | allowed |
/// |---|---|---|
/// | `low_percent` | % | in [0, 100] |
/// | `high_percent` | % | in [0, 100], above `low_percent` |
/// | `clip` | – | whether values beyond the two percentiles become 0 and 1 |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PercentileConfig {
    /// The percentile that becomes 0.
    pub low_percent: f64,
    /// The percentile that becomes 1.
    pub high_percent: f64,
    /// Whether values below become 0, and values above 1.
    pub clip: bool,
}

impl PercentileConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`PrepError::Percentiles`]
    pub fn validate(&self) -> Result<(), PrepError> {
        let Self { low_percent, high_percent, .. } = *self;
        if 0.0 <= low_percent && low_percent < high_percent && high_percent <= 100.0 {
            Ok(())
        } else {
            Err(PrepError::Percentiles { low_percent, high_percent })
        }
    }
}

/// The values that [`percentile`] made 0 and 1, in the image's own unit.
///
/// Stored parameters are checked as they are read.
///
/// | field | unit | allowed |
/// |---|---|---|
/// | `low` | the image's | finite |
/// | `high` | the image's | finite, above `low` |
/// | `clip` | – | – |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct PercentileRange {
    /// What becomes 0.
    pub low: f64,
    /// What becomes 1.
    pub high: f64,
    /// Whether values below `low` become 0, and values above `high` 1.
    pub clip: bool,
}

/// A [`PercentileRange`] as it was stored, before its values have been looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    low: f64,
    high: f64,
    clip: bool,
}

impl TryFrom<Unchecked> for PercentileRange {
    type Error = PrepError;
    fn try_from(Unchecked { low, high, clip }: Unchecked) -> Result<Self, PrepError> {
        Self::new(low, high, clip)
    }
}

impl PercentileRange {
    /// The normalisation with these parameters.
    ///
    /// # Errors
    /// [`PrepError::PercentileRange`] if one is not finite or `high` is not above `low`.
    pub fn new(low: f64, high: f64, clip: bool) -> Result<Self, PrepError> {
        if low.is_finite() && high.is_finite() && low < high {
            Ok(Self { low, high, clip })
        } else {
            Err(PrepError::PercentileRange { low, high })
        }
    }

    /// (value − low) / (high − low), then clipped if asked for; NaN stays NaN.
    pub fn at(&self, value: f32) -> f32 {
        let share = ((f64::from(value) - self.low) / (self.high - self.low)) as f32;
        if self.clip { share.clamp(0.0, 1.0) } else { share }
    }

    /// [`PercentileRange::at`] of every voxel, inside the mask or not.
    pub fn apply(&self, volume: &Volume<f32>) -> Volume<f32> {
        volume.map(|&value| self.at(value))
    }

    /// low + value · (high − low) at every voxel: the way back, but for what was clipped.
    pub fn invert(&self, volume: &Volume<f32>) -> Volume<f32> {
        volume.map(|&value| (self.low + f64::from(value) * (self.high - self.low)) as f32)
    }
}

/// An MR in which one percentile of the values inside a mask is 0 and another 1.
///
/// (x − p_low) / (p_high − p_low) at *every* voxel, with percentiles over the n voxels inside the mask only, linear
/// between ranks p / 100 · (n − 1).
/// Zero and negative values count as any other; NaN and infinity outside the mask stay what they are (clipping moves
/// infinity to 0 or 1).
///
/// # Errors
/// [`PrepError::Percentiles`] for percentiles out of range, [`PrepError::Image`] if the grids differ,
/// [`PrepError::EmptyMask`], [`PrepError::NotFinite`] for a value inside the mask, [`PrepError::NoContrast`] if the two
/// percentiles have the same value.
///
/// # Examples
/// ```
/// use synthct_image::{Grid, Mask, PointLps, Volume};
/// use synthct_prep::PercentileConfig;
/// let grid = Grid::axis_aligned([11, 4, 5], [1.0, 2.0, 4.0], PointLps::ORIGIN)?;
/// let mr = Volume::from_index_fn(&grid, |index| 100.0 * index.i as f32);
/// let config = PercentileConfig { low_percent: 0.0, high_percent: 50.0, clip: false };
/// let (normalized, range) = synthct_prep::percentile(&mr, &Mask::full(&grid), config)?;
/// assert_eq!((range.low, range.high), (0.0, 500.0));
/// assert_eq!(range.invert(&normalized), mr);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn percentile(
    mr: &Volume<f32>,
    mask: &Mask,
    config: PercentileConfig,
) -> Result<(Volume<f32>, PercentileRange), PrepError> {
    const WHAT: &str = "a percentile normalisation inside the mask";
    config.validate()?;
    let found = percentiles(mr, Some(mask), &[config.low_percent, config.high_percent], WHAT)?;
    let (low, high) = (found[0], found[1]);
    if low >= high {
        return Err(PrepError::NoContrast { what: WHAT, value: low });
    }
    let range = PercentileRange::new(low, high, config.clip)?;
    Ok((range.apply(mr), range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, PointLps, VoxelIndex};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// Values 0 to 100 along i inside the mask, 1000 outside (j = 0).
    fn sample() -> Result<(Volume<f32>, Mask), PrepError> {
        let grid = Grid::axis_aligned([101, 4, 3], [1.0, 2.0, 4.0], PointLps::ORIGIN)?;
        let mr = Volume::from_index_fn(&grid, |index| if index.j == 0 { 1000.0 } else { index.i as f32 });
        let mask = Mask::new(Volume::from_index_fn(&grid, |index| index.j > 0));
        Ok((mr, mask))
    }

    fn config(clip: bool) -> PercentileConfig {
        PercentileConfig { low_percent: 10.0, high_percent: 90.0, clip }
    }

    #[test]
    fn only_the_mask_counts_and_every_voxel_follows() -> TestResult {
        let (mr, mask) = sample()?;
        let (normalized, range) = percentile(&mr, &mask, config(false))?;
        assert_eq!(range, PercentileRange { low: 10.0, high: 90.0, clip: false });
        for (index, expected) in [([50, 1, 1], 0.5), ([100, 3, 2], 1.125), ([0, 0, 0], 12.375)] {
            let [i, j, k] = index;
            assert!((normalized[VoxelIndex::new(i, j, k)] - expected).abs() < 1e-6, "{index:?}");
        }
        Ok(())
    }

    #[test]
    fn clipping_ends_at_0_and_1() -> TestResult {
        let (mut mr, mask) = sample()?;
        mr[VoxelIndex::new(7, 0, 0)] = f32::NAN;
        let (normalized, _) = percentile(&mr, &mask, config(true))?;
        assert!(normalized[VoxelIndex::new(7, 0, 0)].is_nan(), "outside the mask NaN is kept");
        for (i, end) in [(0, 0.0_f32), (100, 1.0)] {
            assert_eq!(normalized[VoxelIndex::new(i, 3, 2)].to_bits(), end.to_bits());
        }
        Ok(())
    }

    #[test]
    fn bad_input_is_refused() -> TestResult {
        let (mr, mask) = sample()?;
        for (low_percent, high_percent) in [(50.0, 50.0), (-1.0, 50.0), (0.0, 100.1), (f64::NAN, 50.0)] {
            let config = PercentileConfig { low_percent, high_percent, clip: false };
            assert!(matches!(percentile(&mr, &mask, config), Err(PrepError::Percentiles { .. })));
        }
        let flat = mr.map(|_| 3.0_f32);
        assert!(matches!(percentile(&flat, &mask, config(true)), Err(PrepError::NoContrast { .. })));
        Ok(())
    }

    #[test]
    fn stored_parameters_are_checked() -> TestResult {
        let range = PercentileRange::new(-2.5, 33.25, true)?;
        let stored = serde_json::to_string(&range)?;
        assert_eq!(serde_json::from_str::<PercentileRange>(&stored)?, range);
        assert!(serde_json::from_str::<PercentileRange>(r#"{"low":1.0,"high":1.0,"clip":true}"#).is_err());
        assert!(
            serde_json::from_str::<PercentileRange>(r#"{"low":0.0,"high":1.0,"clip":true,"x":1}"#).is_err()
        );
        Ok(())
    }
}
