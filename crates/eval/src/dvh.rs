//! Dose-volume histograms, exactly: by sorting voxels, without bins.

use serde::Serialize;
use synthct_image::{Mask, Volume};

use crate::EvalError;
use crate::inputs::{require_all_finite, require_grid};

/// The cumulative dose-volume histogram of one structure.
///
/// Voxels are sorted by dose; between two of them the cumulative volume is linear in dose, so that nothing depends on a
/// bin width.
/// A voxel's dose stands for its whole volume: half of the hottest voxel receives the largest dose or more, in the sense
/// that the curve passes through (dose of a voxel, volume of all hotter voxels + half of its own).
#[derive(Clone, Debug, PartialEq)]
pub struct Dvh {
    /// Doses, falling, in Gy.
    doses_gy: Vec<f64>,
    /// The volume of all voxels up to the middle of each, in cm³; rising.
    cumulative_cm3: Vec<f64>,
    volume_cm3: f64,
    mean_gy: f64,
}

/// The usual figures of a [`Dvh`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DvhFigures {
    /// The structure's volume on the dose grid, cm³.
    pub volume_cm3: f64,
    /// The lowest dose, Gy.
    pub min_gy: f64,
    /// The mean dose, Gy.
    pub mean_gy: f64,
    /// The highest dose, Gy.
    pub max_gy: f64,
    /// The dose that 98 % of the volume receives at least, Gy (ICRU 83: near-minimum).
    pub d98_gy: f64,
    /// The dose that 95 % of the volume receives at least, Gy.
    pub d95_gy: f64,
    /// The dose that half of the volume receives at least, Gy (the median).
    pub d50_gy: f64,
    /// The dose that 2 % of the volume receives at least, Gy (ICRU 83: near-maximum).
    pub d2_gy: f64,
    /// The dose that the hottest 2 cm³ receive at least, Gy; absent if the structure is smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d2cc_gy: Option<f64>,
    /// The homogeneity index of ICRU 83: (D2 − D98) / D50; absent if D50 is zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homogeneity_index: Option<f64>,
}

impl Dvh {
    /// The histogram of a dose in Gy inside a structure.
    ///
    /// # Grid
    /// Both share one grid; see [`Dvh::of_fractions`] for structures that are small beside the dose grid's voxels.
    ///
    /// # Errors
    /// [`EvalError::GridMismatch`], [`EvalError::NotFinite`] for NaN or infinity anywhere in the dose,
    /// [`EvalError::EmptyMask`].
    ///
    /// # Examples
    /// ```
    /// use synthct_eval::Dvh;
    /// use synthct_image::{Grid, Mask, PointLps, Volume};
    /// let grid = Grid::axis_aligned([101, 10, 10], [1.0, 2.0, 5.0], PointLps::ORIGIN)?;
    /// let dose_gy = Volume::from_index_fn(&grid, |index| index.i as f32 * 0.1);
    /// let dvh = Dvh::new(&dose_gy, &Mask::full(&grid))?;
    /// assert!((dvh.dose_at_volume_percent(50.0)? - 5.0).abs() < 1e-6);
    /// assert!((dvh.volume_percent_at_dose(8.05) - 100.0 * 20.0 / 101.0).abs() < 1e-3, "20 of 101 planes");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(dose_gy: &Volume<f32>, structure: &Mask) -> Result<Self, EvalError> {
        require_grid(dose_gy.grid(), structure.grid(), "structure", "dose")?;
        let inside = structure.as_slice().iter().map(|&inside| f64::from(u8::from(inside)));
        Self::weighted(dose_gy, inside)
    }

    /// The histogram of a dose in Gy inside a structure given as the fraction of each voxel that belongs to it, in [0, 1].
    ///
    /// # Grid
    /// Both share one grid.
    ///
    /// # Errors
    /// As [`Dvh::new`]; [`EvalError::Config`] if a fraction is not in [0, 1].
    pub fn of_fractions(dose_gy: &Volume<f32>, fractions: &Volume<f32>) -> Result<Self, EvalError> {
        require_grid(dose_gy.grid(), fractions.grid(), "structure", "dose")?;
        if let Some(bad) = fractions.as_slice().iter().find(|fraction| !(0.0..=1.0).contains(*fraction)) {
            return Err(EvalError::Config {
                problems: vec![format!("a voxel's fraction is {bad}, but must be in [0, 1]")],
            });
        }
        Self::weighted(dose_gy, fractions.as_slice().iter().map(|&fraction| f64::from(fraction)))
    }

    fn weighted(dose_gy: &Volume<f32>, weights: impl Iterator<Item = f64>) -> Result<Self, EvalError> {
        require_all_finite(dose_gy, "dose")?;
        let mut voxels: Vec<(f32, f64)> = std::iter::zip(dose_gy.as_slice().iter().copied(), weights)
            .filter(|&(_, weight)| weight > 0.0)
            .collect();
        if voxels.is_empty() {
            return Err(EvalError::EmptyMask { n_voxels: dose_gy.grid().n_voxels() });
        }
        // The order of equal doses is that of memory, so that sums do not depend on the sort.
        voxels.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let voxel_cm3 = dose_gy.grid().voxel_volume_mm3() / 1000.0;
        let (mut volume_cm3, mut sum) = (0.0, 0.0);
        let mut cumulative_cm3 = Vec::with_capacity(voxels.len());
        for &(dose, weight) in &voxels {
            let cm3 = weight * voxel_cm3;
            cumulative_cm3.push(volume_cm3 + 0.5 * cm3);
            volume_cm3 += cm3;
            sum += f64::from(dose) * cm3;
        }
        let doses_gy = voxels.into_iter().map(|(dose, _)| f64::from(dose)).collect();
        Ok(Self { doses_gy, cumulative_cm3, volume_cm3, mean_gy: sum / volume_cm3 })
    }

    /// The structure's volume on the dose grid, cm³.
    pub const fn volume_cm3(&self) -> f64 {
        self.volume_cm3
    }

    /// The mean dose, Gy.
    pub const fn mean_gy(&self) -> f64 {
        self.mean_gy
    }

    /// The highest dose, Gy.
    pub fn max_gy(&self) -> f64 {
        self.doses_gy[0]
    }

    /// The lowest dose, Gy.
    pub fn min_gy(&self) -> f64 {
        self.doses_gy[self.doses_gy.len() - 1]
    }

    /// D_x%: the dose that the hottest `percent` of the volume receives at least, Gy.
    ///
    /// # Errors
    /// [`EvalError::Config`] if `percent` is not in [0, 100].
    pub fn dose_at_volume_percent(&self, percent: f64) -> Result<f64, EvalError> {
        if (0.0..=100.0).contains(&percent) {
            Ok(self.dose_at(percent / 100.0 * self.volume_cm3))
        } else {
            Err(EvalError::Config {
                problems: vec![format!("D{percent}% asks for a volume beyond 0 to 100 %")],
            })
        }
    }

    /// D_xcc: the dose that the hottest `volume_cm3` receive at least, Gy; none if the structure is smaller.
    pub fn dose_at_volume_cm3(&self, volume_cm3: f64) -> Option<f64> {
        (0.0..=self.volume_cm3).contains(&volume_cm3).then(|| self.dose_at(volume_cm3))
    }

    /// V_x: the part of the volume that receives `dose_gy` or more, in percent.
    pub fn volume_percent_at_dose(&self, dose_gy: f64) -> f64 {
        100.0 * self.volume_cm3_at_dose(dose_gy) / self.volume_cm3
    }

    /// The volume that receives `dose_gy` or more, cm³.
    pub fn volume_cm3_at_dose(&self, dose_gy: f64) -> f64 {
        // `n` voxels have that dose or more.
        let n = self.doses_gy.partition_point(|&dose| dose >= dose_gy);
        if n == 0 {
            return 0.0;
        }
        if n == self.doses_gy.len() {
            return self.volume_cm3;
        }
        let (hot, cold) = (self.doses_gy[n - 1], self.doses_gy[n]);
        let part = (hot - dose_gy) / (hot - cold);
        self.cumulative_cm3[n - 1] + part * (self.cumulative_cm3[n] - self.cumulative_cm3[n - 1])
    }

    /// The usual figures.
    pub fn figures(&self) -> DvhFigures {
        let at_percent = |percent: f64| self.dose_at(percent / 100.0 * self.volume_cm3);
        let [d98_gy, d95_gy, d50_gy, d2_gy] = [98.0, 95.0, 50.0, 2.0].map(at_percent);
        DvhFigures {
            volume_cm3: self.volume_cm3,
            min_gy: self.min_gy(),
            mean_gy: self.mean_gy,
            max_gy: self.max_gy(),
            d98_gy,
            d95_gy,
            d50_gy,
            d2_gy,
            d2cc_gy: self.dose_at_volume_cm3(2.0),
            homogeneity_index: (d50_gy > 0.0).then(|| (d2_gy - d98_gy) / d50_gy),
        }
    }

    /// The conformity index of Paddick: (TV ∩ PIV)² / (TV · PIV), with this structure as the target TV and PIV the volume
    /// of the whole body that receives `dose_gy` or more, in cm³. None if that volume is zero.
    ///
    /// # References
    /// Paddick (2000), doi:10.3171/jns.2000.93.supplement_3.0219.
    pub fn paddick_index(&self, dose_gy: f64, piv_cm3: f64) -> Option<f64> {
        (piv_cm3 > 0.0).then(|| self.volume_cm3_at_dose(dose_gy).powi(2) / (self.volume_cm3 * piv_cm3))
    }

    /// Points of the curve for a plot: `n` doses from 0 to the highest, each with the volume at or above it in percent.
    pub fn curve(&self, n: usize) -> Vec<[f64; 2]> {
        let steps = n.max(2) - 1;
        (0..=steps)
            .map(|at| {
                let dose_gy = self.max_gy() * at as f64 / steps as f64;
                [dose_gy, self.volume_percent_at_dose(dose_gy)]
            })
            .collect()
    }

    /// The dose at which the cumulative curve has a volume.
    fn dose_at(&self, volume_cm3: f64) -> f64 {
        // The first voxel whose middle lies beyond the volume.
        let n = self.cumulative_cm3.partition_point(|&cm3| cm3 < volume_cm3);
        if n == 0 {
            return self.max_gy();
        }
        if n == self.doses_gy.len() {
            return self.min_gy();
        }
        let (before, after) = (self.cumulative_cm3[n - 1], self.cumulative_cm3[n]);
        let part = (volume_cm3 - before) / (after - before);
        self.doses_gy[n - 1] + part * (self.doses_gy[n] - self.doses_gy[n - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, PointLps, VoxelIndex};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// 1000 voxels of 0.02 cm³ with doses 0.05, 0.15, … 99.95 Gy in mixed order.
    fn ramp() -> Result<(Volume<f32>, Mask), EvalError> {
        let grid = grid().map_err(|source| EvalError::GridMismatch {
            image: "test",
            reference: "test",
            source: Box::new(source),
        })?;
        let dose = Volume::from_index_fn(&grid, |at| {
            let n = (at.i + 10 * at.j + 100 * at.k) * 377 % 1000;
            0.1 * n as f32 + 0.05
        });
        let mask = Mask::full(&grid);
        Ok((dose, mask))
    }

    fn grid() -> Result<Grid, synthct_image::ImageError> {
        Grid::axis_aligned([10, 10, 10], [2.0, 2.0, 5.0], PointLps::ORIGIN)
    }

    #[test]
    fn a_ramp_has_a_closed_form() -> TestResult {
        let (dose, mask) = ramp()?;
        let dvh = Dvh::new(&dose, &mask)?;
        let figures = dvh.figures();
        assert!((figures.volume_cm3 - 20.0).abs() < 1e-12);
        for (found, expected) in [
            (figures.d98_gy, 2.0),
            (figures.d95_gy, 5.0),
            (figures.d50_gy, 50.0),
            (figures.d2_gy, 98.0),
            (figures.mean_gy, 50.0),
            (figures.d2cc_gy.ok_or("20 cm³ hold 2")?, 90.0),
            (figures.homogeneity_index.ok_or("a dose")?, 1.92),
            (dvh.volume_percent_at_dose(20.0), 80.0),
            (dvh.volume_percent_at_dose(0.0), 100.0),
            (dvh.volume_percent_at_dose(100.0), 0.0),
            (dvh.paddick_index(40.0, 24.0).ok_or("a volume")?, 12.0 * 12.0 / (20.0 * 24.0)),
        ] {
            assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
        assert_eq!(
            (figures.min_gy, figures.max_gy),
            (f64::from(0.05_f32), f64::from(0.1_f32 * 999.0 + 0.05))
        );
        Ok(())
    }

    #[test]
    fn volume_and_dose_are_inverse() -> TestResult {
        let (dose, mask) = ramp()?;
        let dvh = Dvh::new(&dose, &mask)?;
        for percent in [3.0, 17.5, 50.0, 71.3, 96.0] {
            let back = dvh.volume_percent_at_dose(dvh.dose_at_volume_percent(percent)?);
            assert!((back - percent).abs() < 1e-9, "{percent} came back as {back}");
        }
        let curve = dvh.curve(50);
        assert!(curve.len() == 50 && curve.is_sorted_by(|a, b| a[0] < b[0] && a[1] >= b[1]));
        Ok(())
    }

    #[test]
    fn fractions_weigh_voxels() -> TestResult {
        let grid = grid()?;
        let dose = Volume::from_index_fn(&grid, |at| if at.k < 5 { 10.0 } else { 20.0 });
        let fractions = Volume::from_index_fn(&grid, |at| if at.k < 5 { 1.0 } else { 0.25 });
        let dvh = Dvh::of_fractions(&dose, &fractions)?;
        assert!((dvh.volume_cm3() - 12.5).abs() < 1e-9 && (dvh.mean_gy() - 12.0).abs() < 1e-9);
        // All weights equal: the same as a mask of the same shape, scaled in volume.
        let half = Dvh::of_fractions(&dose, &Volume::filled(&grid, 0.5))?;
        let whole = Dvh::new(&dose, &Mask::full(&grid))?;
        assert!((half.figures().d95_gy - whole.figures().d95_gy).abs() < 1e-12);
        assert!((2.0 * half.volume_cm3() - whole.volume_cm3()).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn one_voxel_and_uniform_doses_have_one_dose() -> TestResult {
        let (dose, _) = ramp()?;
        let mut one = Volume::filled(dose.grid(), false);
        one[VoxelIndex::new(3, 4, 5)] = true;
        let value = f64::from(dose[VoxelIndex::new(3, 4, 5)]);
        let figures = Dvh::new(&dose, &Mask::new(one))?.figures();
        assert_eq!((figures.d98_gy, figures.d2_gy, figures.mean_gy), (value, value, value));
        assert_eq!(figures.d2cc_gy, None);
        let dvh = Dvh::new(&dose.map(|_| 60.0), &Mask::full(dose.grid()))?;
        assert_eq!((dvh.volume_percent_at_dose(60.0), dvh.volume_percent_at_dose(60.1)), (100.0, 0.0));
        Ok(())
    }

    #[test]
    fn bad_input_is_refused() -> TestResult {
        let (mut dose, mask) = ramp()?;
        assert!(matches!(Dvh::new(&dose, &mask.complement()), Err(EvalError::EmptyMask { n_voxels: 1000 })));
        assert!(Dvh::new(&dose, &mask)?.dose_at_volume_percent(101.0).is_err());
        let beyond = Dvh::of_fractions(&dose, &Volume::filled(dose.grid(), 1.5));
        assert!(matches!(beyond, Err(EvalError::Config { .. })));
        dose[VoxelIndex::new(1, 2, 3)] = f32::INFINITY;
        assert!(matches!(Dvh::new(&dose, &mask), Err(EvalError::NotFinite { count: 1, .. })));
        Ok(())
    }
}
