//! Whether an uncertainty tells how large errors are, and where something is wrong.

use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};

use crate::EvalError;
use crate::inputs::{check, require_grid};

/// Voxels of about the same uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// The number of voxels.
    pub n: usize,
    /// The root mean square of their uncertainties, HU.
    pub uncertainty_hu: f64,
    /// The root mean square of their errors, HU.
    pub rms_error_hu: f64,
    /// The mean absolute error, HU.
    pub mae_hu: f64,
}

/// Errors by uncertainty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Bins of about equally many voxels, from the least to the most uncertain.
    pub bins: Vec<ReliabilityBin>,
    /// The expected normalized calibration error: the mean over the bins of |uncertainty − rms error| / uncertainty; 0 if
    /// standard deviations are as large as errors. None if a bin has no uncertainty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ence: Option<f64>,
}

impl Reliability {
    /// The bins of several cases taken together, the first with the first and so on; none of nothing.
    pub fn pooled(cases: &[&Self]) -> Option<Self> {
        let n_bins = cases.iter().map(|case| case.bins.len()).max()?;
        let bins: Vec<ReliabilityBin> = (0..n_bins)
            .map(|bin| {
                let bins: Vec<&ReliabilityBin> = cases.iter().filter_map(|case| case.bins.get(bin)).collect();
                let n = bins.iter().map(|bin| bin.n).sum::<usize>();
                let mean = |of: fn(&ReliabilityBin) -> f64| {
                    bins.iter().map(|bin| of(bin) * bin.n as f64).sum::<f64>() / n as f64
                };
                ReliabilityBin {
                    n,
                    uncertainty_hu: mean(|bin| bin.uncertainty_hu.powi(2)).sqrt(),
                    rms_error_hu: mean(|bin| bin.rms_error_hu.powi(2)).sqrt(),
                    mae_hu: mean(|bin| bin.mae_hu),
                }
            })
            .collect();
        Some(Self { ence: ence(&bins), bins })
    }
}

fn ence(bins: &[ReliabilityBin]) -> Option<f64> {
    bins.iter().all(|bin| bin.uncertainty_hu > 0.0).then(|| {
        let relative =
            |bin: &ReliabilityBin| (bin.uncertainty_hu - bin.rms_error_hu).abs() / bin.uncertainty_hu;
        bins.iter().map(relative).sum::<f64>() / bins.len() as f64
    })
}

/// Errors of a synthetic CT by its uncertainty, a standard deviation, inside a mask.
///
/// Voxels are ordered by uncertainty and cut into `n_bins` runs whose lengths differ by one at most; voxels of one
/// uncertainty are ordered as in memory.
///
/// # Grid
/// All four share one grid.
///
/// # Errors
/// [`EvalError::Config`] without bins, [`EvalError::GridMismatch`], [`EvalError::EmptyMask`], or
/// [`EvalError::NotFinite`] for NaN inside the mask.
///
/// # References
/// Levi et al. (2019), Evaluating and calibrating uncertainty prediction in regression tasks, arXiv:1905.11659, equations 6
/// to 8.
pub fn reliability(
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    uncertainty_hu: &Volume<f32>,
    mask: &Mask,
    n_bins: usize,
) -> Result<Reliability, EvalError> {
    if n_bins == 0 {
        return Err(EvalError::Config { problems: vec!["`n_bins` must be one or more".to_owned()] });
    }
    check(ct, sct, mask)?;
    check(ct, uncertainty_hu, mask)?;
    let images = ct.as_slice().iter().zip(sct.as_slice()).zip(uncertainty_hu.as_slice());
    let mut voxels: Vec<(f32, f32)> = images
        .zip(mask.as_slice())
        .filter(|(_, inside)| **inside)
        .map(|(((ct, sct), uncertainty), _)| (*uncertainty, sct - ct))
        .collect();
    voxels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let cut = |bin: usize| voxels.len() * bin / n_bins;
    let bins: Vec<ReliabilityBin> = (0..n_bins)
        .map(|bin| &voxels[cut(bin)..cut(bin + 1)])
        .filter(|voxels| !voxels.is_empty())
        .map(|voxels| {
            let mean = |of: &dyn Fn(f64, f64) -> f64| {
                let sum: f64 = voxels.iter().map(|&(u, e)| of(u.into(), e.into())).sum();
                sum / voxels.len() as f64
            };
            ReliabilityBin {
                n: voxels.len(),
                uncertainty_hu: mean(&|uncertainty, _| uncertainty.powi(2)).sqrt(),
                rms_error_hu: mean(&|_, error| error.powi(2)).sqrt(),
                mae_hu: mean(&|_, error| error.abs()),
            }
        })
        .collect();
    Ok(Reliability { ence: ence(&bins), bins })
}

/// The area under the receiver operating characteristic: how likely a voxel of `positive` has a higher score than another
/// voxel of the mask, ties counted half.
///
/// None if either kind of voxel is missing.
///
/// # Grid
/// All three share one grid; scores inside the mask are no NaN.
///
/// # Errors
/// [`EvalError::GridMismatch`], [`EvalError::EmptyMask`] or [`EvalError::NotFinite`].
///
/// # References
/// Mann and Whitney (1947), doi:10.1214/aoms/1177730491; Hanley and McNeil (1982), doi:10.1148/radiology.143.1.7063747.
pub fn roc_auc(score: &Volume<f32>, positive: &Mask, mask: &Mask) -> Result<Option<f64>, EvalError> {
    check(score, score, mask)?;
    require_grid(score.grid(), positive.grid(), "positive mask", "score")?;
    let voxels = score.as_slice().iter().zip(positive.as_slice()).zip(mask.as_slice());
    let mut ranked: Vec<(f32, bool)> =
        voxels.filter(|(_, inside)| **inside).map(|((score, positive), _)| (*score, *positive)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n_positive = ranked.iter().filter(|(_, positive)| *positive).count() as f64;
    let n_negative = ranked.len() as f64 - n_positive;
    let (mut below, mut area) = (0.0, 0.0);
    // −0 and 0 are one score, though their bits are ordered.
    for ties in ranked.chunk_by(|a, b| a.0 >= b.0) {
        let positive = ties.iter().filter(|(_, positive)| *positive).count() as f64;
        let negative = ties.len() as f64 - positive;
        area += positive * (below + 0.5 * negative);
        below += negative;
    }
    Ok((n_positive > 0.0 && n_negative > 0.0).then(|| area / (n_positive * n_negative)))
}

#[cfg(test)]
mod tests {
    use synthct_image::{Grid, PointLps, VoxelIndex};

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn grid() -> Result<Grid, synthct_image::ImageError> {
        Grid::axis_aligned([10, 5, 4], [1.0, 2.0, 3.0], PointLps::ORIGIN)
    }

    #[test]
    fn errors_as_large_as_their_uncertainty_are_calibrated() -> TestResult {
        let ct = Volume::filled(&grid()?, 40.0);
        let uncertainty = Volume::from_index_fn(ct.grid(), |index| (1 + index.i) as f32);
        let sign = |index: VoxelIndex| if index.j.is_multiple_of(2) { 1.0 } else { -1.0 };
        let sct = Volume::from_index_fn(ct.grid(), |index| 40.0 + sign(index) * (1 + index.i) as f32);
        let mask = Mask::full(ct.grid());
        let found = reliability(&ct, &sct, &uncertainty, &mask, 10)?;
        for (n, bin) in found.bins.iter().enumerate() {
            let expected = (n + 1) as f64;
            assert_eq!(bin.n, 20);
            for value in [bin.uncertainty_hu, bin.rms_error_hu, bin.mae_hu] {
                assert!((value - expected).abs() < 1e-9, "bin {n}: {value}");
            }
        }
        assert!(found.ence.ok_or("an ENCE")? < 1e-9);
        // Taken together with itself it is what it was, of twice as many voxels.
        let twice = Reliability::pooled(&[&found, &found]).ok_or("two cases")?;
        assert!(
            twice.bins.iter().zip(&found.bins).all(|(twice, once)| twice.n == 2 * once.n
                && (twice.rms_error_hu - once.rms_error_hu).abs() < 1e-9)
        );
        assert_eq!(Reliability::pooled(&[]), None);
        // Twice as certain as right: |u − 2u| / u.
        let halved = uncertainty.map(|sd| sd / 2.0);
        assert!((reliability(&ct, &sct, &halved, &mask, 10)?.ence.ok_or("an ENCE")? - 1.0).abs() < 1e-9);
        // Without uncertainty there is nothing to compare with.
        let zero = Volume::filled(ct.grid(), 0.0);
        assert_eq!(reliability(&ct, &sct, &zero, &mask, 3)?.ence, None);
        assert!(reliability(&ct, &sct, &zero, &mask, 0).is_err());
        assert!(reliability(&ct, &sct, &zero, &Mask::new(Volume::filled(ct.grid(), false)), 3).is_err());
        Ok(())
    }

    #[test]
    fn bins_are_of_equal_size_and_voxels_outside_do_not_count() -> TestResult {
        let ct = Volume::filled(&grid()?, 0.0);
        let sct = Volume::from_index_fn(ct.grid(), |index| if index.k == 0 { f32::NAN } else { 1.0 });
        let mask = Mask::new(Volume::from_index_fn(ct.grid(), |index| index.k > 0));
        let found = reliability(&ct, &sct, &Volume::filled(ct.grid(), 2.0), &mask, 7)?;
        assert_eq!(found.bins.iter().map(|bin| bin.n).sum::<usize>(), 150);
        assert!(found.bins.iter().all(|bin| (21..=22).contains(&bin.n) && (bin.mae_hu - 1.0).abs() < 1e-9));
        assert!((found.ence.ok_or("an ENCE")? - 0.5).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn the_area_is_that_of_all_pairs() -> TestResult {
        let grid = grid()?;
        let score = Volume::from_index_fn(&grid, |index| ((7 * index.i + 3 * index.j + index.k) % 11) as f32);
        let positive =
            Mask::new(Volume::from_index_fn(&grid, |index| (index.i + index.j * index.k) % 3 == 0));
        let mask = Mask::new(Volume::from_index_fn(&grid, |index| index.i != 4));
        let voxels: Vec<(f32, bool)> = (score.as_slice().iter())
            .zip(positive.as_slice())
            .zip(mask.as_slice())
            .filter(|(_, inside)| **inside)
            .map(|((score, positive), _)| (*score, *positive))
            .collect();
        let (mut won, mut n) = (0.0, 0.0);
        for (a, _) in voxels.iter().filter(|voxel| voxel.1) {
            for (b, _) in voxels.iter().filter(|voxel| !voxel.1) {
                n += 1.0;
                won += if a > b {
                    1.0
                } else if a < b {
                    0.0
                } else {
                    0.5
                };
            }
        }
        let found = roc_auc(&score, &positive, &mask)?.ok_or("an area")?;
        assert!((found - won / n).abs() < 1e-12, "{found} instead of {}", won / n);
        let perfect = positive.volume().map(|&inside| f32::from(u8::from(inside)));
        assert_eq!(roc_auc(&perfect, &positive, &mask)?, Some(1.0));
        assert_eq!(roc_auc(&perfect.map(|v| -v), &positive, &mask)?, Some(0.0));
        assert_eq!(roc_auc(&score, &Mask::full(&grid), &mask)?, None);
        Ok(())
    }
}
