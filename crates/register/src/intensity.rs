//! The range of an image's values that a comparison looks at.

use rayon::prelude::*;
use synthct_image::{Mask, Volume};

use crate::{ImageRole, RegisterError};

/// Values below this are padding: Hounsfield units end at -1024, and scanners fill the corners outside the
/// reconstruction circle with less (often -2048).
pub(crate) const PADDING_BELOW: f32 = -1024.0;

/// About this many voxels tell an image's range.
const TARGET_VOXELS: usize = 200_000;

/// Nothing if every value is a number.
///
/// # Errors
/// [`RegisterError::NotFinite`] with the first voxel that is not.
pub(crate) fn require_finite(volume: &Volume<f32>, image: ImageRole) -> Result<(), RegisterError> {
    // A product with zero is NaN for NaN and infinity alone; sums of eight lanes keep the test off the loop's way.
    let is_finite = volume.as_slice().par_chunks(1 << 16).all(|chunk| {
        let mut lanes = [0.0_f32; 8];
        let (blocks, rest) = chunk.as_chunks::<8>();
        for block in blocks {
            for (lane, value) in std::iter::zip(&mut lanes, block) {
                *lane += value * 0.0;
            }
        }
        lanes.iter().chain(rest).all(|value| value.is_finite())
    });
    if is_finite {
        return Ok(());
    }
    match volume.array().indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some((index_kji, &value)) => {
            Err(RegisterError::NotFinite { image, index_kji: index_kji.into(), value })
        }
        None => Ok(()),
    }
}

/// The values between which an image is compared: percentiles 0.1 and 99.9 of a regular choice of voxels, in the mask
/// if there is one, with padding raised to [`PADDING_BELOW`].
///
/// Percentiles, because one hot voxel (a tooth filling, a vessel) would take most bins of a histogram for itself.
///
/// # Errors
/// [`RegisterError::NotFinite`], [`RegisterError::EmptyMask`], [`RegisterError::NoContrast`] if the two are equal, and
/// [`RegisterError::Image`] for a mask on another grid.
pub(crate) fn robust_window(
    volume: &Volume<f32>,
    mask: Option<&Mask>,
    image: ImageRole,
) -> Result<[f32; 2], RegisterError> {
    require_finite(volume, image)?;
    let values = volume.as_slice();
    // Odd, so that the choice does not stay in one column of a grid whose rows have an even length.
    let stride_for = |n: usize| (n / TARGET_VOXELS) | 1;
    let mut chosen: Vec<f32> = match mask {
        None => {
            values.iter().step_by(stride_for(values.len())).map(|&value| value.max(PADDING_BELOW)).collect()
        }
        Some(mask) => {
            volume.grid().require_match(mask.grid())?;
            let n_inside = mask.count();
            if n_inside == 0 {
                return Err(RegisterError::EmptyMask { image });
            }
            std::iter::zip(values, mask.as_slice())
                .filter(|(_, inside)| **inside)
                .step_by(stride_for(n_inside))
                .map(|(&value, _)| value.max(PADDING_BELOW))
                .collect()
        }
    };
    let last = (chosen.len() - 1) as f64;
    let mut at = |fraction: f64| {
        let (_, value, _) = chosen.select_nth_unstable_by((fraction * last).round() as usize, f32::total_cmp);
        *value
    };
    let (low, high) = (at(0.001), at(0.999));
    // Rounding noise of a constant image is no contrast, either.
    if f64::from(high) - f64::from(low) <= 1e-6 * f64::from(low.abs().max(high.abs())) {
        return Err(RegisterError::NoContrast { image, low, high });
    }
    Ok([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, ImageError, PointLps, VoxelIndex};

    fn ramp() -> Result<Volume<f32>, ImageError> {
        let grid = Grid::axis_aligned([20, 10, 5], [1.0; 3], PointLps::ORIGIN)?;
        Ok(Volume::from_index_fn(&grid, |index| (index.i + 20 * index.j + 200 * index.k) as f32))
    }

    #[track_caller]
    fn check(volume: &Volume<f32>, mask: Option<&Mask>, expected: [f32; 2]) -> Result<(), RegisterError> {
        let got = robust_window(volume, mask, ImageRole::Moving)?;
        assert_eq!(got.map(f32::to_bits), expected.map(f32::to_bits), "{got:?}, expected {expected:?}");
        Ok(())
    }

    #[test]
    fn the_window_leaves_out_a_thousandth_at_each_end_and_padding() -> Result<(), RegisterError> {
        let mut volume = ramp()?;
        check(&volume, None, [1.0, 998.0])?;
        volume.as_mut_slice()[..500].fill(-2048.0);
        check(&volume, None, [PADDING_BELOW, 998.0])?;
        let upper = Mask::from_values(&volume, |&value| value >= 900.0);
        check(&volume, Some(&upper), [900.0, 999.0])?;
        Ok(())
    }

    #[test]
    fn images_without_contrast_or_numbers_are_refused() -> Result<(), RegisterError> {
        let mut volume = ramp()?;
        let flat = volume.map(|_| 40.0_f32);
        let got = robust_window(&flat, None, ImageRole::Fixed);
        assert!(matches!(got, Err(RegisterError::NoContrast { image: ImageRole::Fixed, .. })), "{got:?}");
        let nothing = Mask::full(volume.grid()).complement();
        let got = robust_window(&volume, Some(&nothing), ImageRole::Fixed);
        assert!(matches!(got, Err(RegisterError::EmptyMask { image: ImageRole::Fixed })), "{got:?}");
        for odd in [f32::NAN, f32::INFINITY] {
            volume[VoxelIndex::new(7, 3, 2)] = odd;
            let got = robust_window(&volume, None, ImageRole::Moving);
            let place = Err::<(), _>(RegisterError::NotFinite {
                image: ImageRole::Moving,
                index_kji: [2, 3, 7],
                value: odd,
            });
            assert_eq!(format!("{:?}", got.map(|_| ())), format!("{place:?}"));
        }
        Ok(())
    }
}
