//! Metrics that compare voxel by voxel: MAE, mean error, PSNR.

use synthct_image::{Mask, Volume};

use crate::EvalError;
use crate::inputs::{check, masked_sum};

/// Which year's challenge definition a metric follows; they differ in the HU range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// SynthRAD2023: HU clipped to [-1024, 3000], R = 4024.
    SynthRad2023,
    /// SynthRAD2025: HU clipped to [-1024, 3071], R = 4095.
    SynthRad2025,
}

impl Definition {
    /// The smallest and the largest HU after clipping.
    pub const fn clip_hu(self) -> [f64; 2] {
        match self {
            Self::SynthRad2023 => [-1024.0, 3000.0],
            Self::SynthRad2025 => [-1024.0, 3071.0],
        }
    }

    /// R, the dynamic range in HU.
    pub const fn dynamic_range_hu(self) -> f64 {
        let [lower, upper] = self.clip_hu();
        upper - lower
    }

    /// The value clipped to the range.
    pub fn clip(self, hu: f64) -> f64 {
        let [lower, upper] = self.clip_hu();
        hu.clamp(lower, upper)
    }
}

/// The mean absolute error over the mask, in HU: (1/n) Σ |y − x|, y the CT and x the sCT, neither clipped.
///
/// # Grid
/// All three share one grid.
///
/// # Errors
/// [`EvalError::GridMismatch`], [`EvalError::EmptyMask`], or [`EvalError::NotFinite`] for NaN inside the mask.
///
/// # References
/// The definition of SynthRAD2023 and SynthRAD2025.
///
/// # Examples
/// ```
/// use synthct_eval::mae_hu;
/// use synthct_image::{Grid, Mask, PointLps, Volume};
/// let grid = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::ORIGIN)?;
/// let ct = Volume::filled(&grid, 40.0_f32);
/// let sct = Volume::from_index_fn(&grid, |index| if index.i == 0 { 10.0 } else { 40.0 });
/// assert_eq!(mae_hu(&ct, &sct, &Mask::full(&grid))?, 10.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mae_hu(ct: &Volume<f32>, sct: &Volume<f32>, mask: &Mask) -> Result<f64, EvalError> {
    mean_over_mask(ct, sct, mask, |y, x| (y - x).abs())
}

/// The mean error (bias) over the mask, in HU: (1/n) Σ (x − y), above zero where the sCT is too dense.
///
/// # Grid
/// All three share one grid.
///
/// # Errors
/// As [`mae_hu`].
pub fn mean_error_hu(ct: &Volume<f32>, sct: &Volume<f32>, mask: &Mask) -> Result<f64, EvalError> {
    mean_over_mask(ct, sct, mask, |y, x| x - y)
}

/// The peak signal-to-noise ratio over the mask, in dB: 10 log₁₀(R² / MSE), after both images are clipped.
///
/// Infinite if the clipped images are equal.
///
/// # Grid
/// All three share one grid.
///
/// # Errors
/// As [`mae_hu`].
///
/// # References
/// SynthRAD2023 or SynthRAD2025, as `definition` says.
pub fn psnr_db(
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    mask: &Mask,
    definition: Definition,
) -> Result<f64, EvalError> {
    let mse = mean_over_mask(ct, sct, mask, |y, x| (definition.clip(y) - definition.clip(x)).powi(2))?;
    Ok(10.0 * (definition.dynamic_range_hu().powi(2) / mse).log10())
}

fn mean_over_mask(
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    mask: &Mask,
    term: impl Fn(f64, f64) -> f64 + Sync,
) -> Result<f64, EvalError> {
    check(ct, sct, mask)?;
    let mean = masked_sum(ct, sct, mask, |y, x| Some(term(y, x))).mean();
    Ok(mean.expect("because the mask was checked to have a voxel"))
}
