//! The gamma index: dose difference and distance to agreement in one number a voxel.

mod config;
mod exact;
mod lattice;
mod patch;
mod shells;

pub use config::{DoseNormalization, GammaConfig, GammaCriterion, GammaMode, GammaSearch};

use rayon::prelude::*;
use serde::Serialize;
use synthct_image::{Grid, Mask, Volume, VoxelIndex};

use crate::EvalError;
use crate::inputs::{require_all_finite, require_grid};
use exact::ExactSearch;
use lattice::EvaluatedDose;
use shells::ShellSearch;

/// The gamma index of one criterion.
#[derive(Clone, Debug)]
pub struct GammaMap {
    /// The criterion.
    pub criterion: GammaCriterion,
    /// γ on the reference's grid, at most the cap; NaN where it was not asked for (below the cut-off, outside the mask).
    pub gamma: Volume<f32>,
    /// What the map comes to.
    pub summary: GammaSummary,
    /// How many of the compared voxels lie outside the evaluated grid's outermost voxel centres.
    /// Agreement is looked for inside only; a voxel without any within reach fails with γ at the cap.
    pub n_outside_evaluated: usize,
}

/// The figures of a [`GammaMap`], with what they depend on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GammaSummary {
    /// The number of voxels compared: those of the reference at or above the cut-off, inside the mask if one was given.
    pub n_points: usize,
    /// How many of them have γ ≤ 1.
    pub n_passing: usize,
    /// `n_passing` of `n_points`, in percent.
    pub pass_percent: f64,
    /// The mean of γ, with values beyond the cap counted as the cap.
    pub mean: f64,
    /// The largest γ, at most the cap.
    pub max: f64,
    /// The dose that the percentages refer to, in Gy (that of the dose difference only if the mode is global).
    pub normalization_gy: f64,
    /// The lowest reference dose compared, in Gy.
    pub cutoff_gy: f64,
}

/// The gamma index of an evaluated dose against a reference dose, a map for each criterion.
///
/// γ(r) = min over r' of √(|r' − r|² / DTA² + (D_eval(r') − D_ref(r))² / ΔD²), with r the voxel centres of the reference
/// and r' any point between the outermost voxel centres of the evaluated dose, which is interpolated trilinearly.
/// DTA is the criterion's distance; ΔD its percentage of the normalization dose ([`GammaMode::Global`]) or of the reference
/// dose at r ([`GammaMode::Local`]).
/// The index is not symmetric: noise in the *evaluated* dose lowers γ.
///
/// # Grid
/// The two doses may lie on any grids of one world frame; maps are on the reference's.
/// Along an axis on which a grid has one voxel (a measured plane) nothing is interpolated: distance to that plane counts.
/// `mask`, if given, is on the reference's grid.
///
/// # Errors
/// [`EvalError::Config`] with every unusable setting, [`EvalError::GridMismatch`] for the mask,
/// [`EvalError::NotFinite`] for NaN or infinity in a dose, [`EvalError::NoDoseAboveCutoff`] if nothing is left to compare,
/// [`EvalError::DosesApart`] if all of it lies farther from the evaluated dose than the cap reaches.
///
/// # References
/// Low et al. (1998), doi:10.1118/1.598248, equations 3 to 7.
/// Ju et al. (2008), doi:10.1118/1.2836952, for the idea of finding the distance to linear pieces of the evaluated dose
/// instead of to samples; [`GammaSearch::Exact`] does so in boxes of trilinear dose, with a bound of what linearity leaves out.
///
/// # Examples
/// ```
/// use synthct_eval::{GammaConfig, gamma};
/// use synthct_image::{Grid, PointLps, Volume};
/// let grid = Grid::axis_aligned([9, 9, 9], [2.0; 3], PointLps::ORIGIN)?;
/// let reference = Volume::filled(&grid, 2.0_f32);
/// let evaluated = Volume::filled(&grid, 2.03_f32);
/// let maps = gamma(&reference, &evaluated, None, &GammaConfig::global(2.0, &[(3.0, 3.0), (1.0, 1.0)]))?;
/// assert!((maps[0].summary.mean - 0.5).abs() < 1e-5, "1.5 % of 3 %");
/// assert_eq!(maps[0].summary.pass_percent, 100.0);
/// assert_eq!(maps[1].summary.pass_percent, 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn gamma(
    reference: &Volume<f32>,
    evaluated: &Volume<f32>,
    mask: Option<&Mask>,
    config: &GammaConfig,
) -> Result<Vec<GammaMap>, EvalError> {
    require_all_finite(reference, "reference dose")?;
    require_all_finite(evaluated, "evaluated dose")?;
    config.validate()?;
    if let Some(mask) = mask {
        require_grid(reference.grid(), mask.grid(), "mask", "reference dose")?;
    }
    let normalization_gy = config.normalization.dose_gy(reference)?;
    let cutoff_gy = config.cutoff_percent / 100.0 * normalization_gy;
    let evaluated_grid = evaluated.grid();
    let evaluated = EvaluatedDose::new(evaluated);
    config
        .criteria
        .iter()
        .map(|&criterion| {
            let tolerance = |dose_gy: f64| {
                let of_gy = match config.mode {
                    GammaMode::Global => normalization_gy,
                    GammaMode::Local => dose_gy,
                };
                criterion.dose_percent / 100.0 * of_gy
            };
            let search: Box<dyn Search> = match config.search {
                GammaSearch::Exact { tolerance } => {
                    Box::new(ExactSearch::new(&evaluated, criterion.distance_mm, config.cap, tolerance))
                }
                GammaSearch::Shells { interp_fraction } => {
                    Box::new(ShellSearch::new(&evaluated, criterion.distance_mm, config.cap, interp_fraction))
                }
            };
            let map = map_of(reference, mask, cutoff_gy, config.cap, &tolerance, &evaluated, search.as_ref());
            let settings = Settings { normalization_gy, cutoff_gy };
            let summary = summarize_map(&map.gamma, reference, settings)?;
            let n_outside_evaluated = map.n_outside_evaluated;
            let is_near = |gamma: &f32| f64::from(*gamma) < config.cap;
            if n_outside_evaluated == summary.n_points && !map.gamma.as_slice().iter().any(is_near) {
                return Err(EvalError::DosesApart {
                    n_points: summary.n_points,
                    reference: reference.grid().to_string(),
                    evaluated: evaluated_grid.to_string(),
                });
            }
            Ok(GammaMap { criterion, gamma: map.gamma, summary, n_outside_evaluated })
        })
        .collect()
}

impl GammaMap {
    /// The figures of the voxels whose reference dose is `cutoff_gy` or more: a higher cut-off without another search.
    ///
    /// `reference` is the dose that the map was made of.
    ///
    /// # Errors
    /// [`EvalError::GridMismatch`], or [`EvalError::NoDoseAboveCutoff`] if no voxel is left.
    pub fn summary_above(&self, reference: &Volume<f32>, cutoff_gy: f64) -> Result<GammaSummary, EvalError> {
        require_grid(self.gamma.grid(), reference.grid(), "reference dose", "gamma map")?;
        let cutoff_gy = cutoff_gy.max(self.summary.cutoff_gy);
        summarize_map(
            &self.gamma,
            reference,
            Settings { cutoff_gy, normalization_gy: self.summary.normalization_gy },
        )
    }
}

/// A way to find γ at one point.
trait Search: Sync {
    /// γ, at most the cap.
    ///
    /// `at` is the point in voxels of the evaluated dose, `dose_gy` the reference dose there, `tolerance_gy` ΔD.
    fn gamma_at(&self, at: [f64; 3], dose_gy: f64, tolerance_gy: f64) -> f64;
}

struct Settings {
    normalization_gy: f64,
    cutoff_gy: f64,
}

struct Map {
    gamma: Volume<f32>,
    n_outside_evaluated: usize,
}

fn map_of(
    reference: &Volume<f32>,
    mask: Option<&Mask>,
    cutoff_gy: f64,
    cap: f64,
    tolerance_gy: &(impl Fn(f64) -> f64 + Sync),
    evaluated: &EvaluatedDose<'_>,
    search: &dyn Search,
) -> Map {
    let grid: &Grid = reference.grid();
    let [ni, nj, _] = grid.size_ijk();
    let mut gamma = Volume::filled(grid, f32::NAN);
    let inside = mask.map(Mask::as_slice);
    let n_outside_evaluated = gamma
        .as_mut_slice()
        .par_chunks_mut(ni)
        .enumerate()
        .map(|(row, gamma)| {
            let mut n_outside = 0;
            for (i, gamma) in gamma.iter_mut().enumerate() {
                let n = row * ni + i;
                let dose_gy = f64::from(reference.as_slice()[n]);
                if dose_gy < cutoff_gy || inside.is_some_and(|inside| !inside[n]) {
                    continue;
                }
                let point = grid.point_of(VoxelIndex::new(i, row % nj, row / nj));
                let at = evaluated.index_of(point);
                n_outside += usize::from(!evaluated.covers(at));
                *gamma = as_f32(search.gamma_at(at, dose_gy, tolerance_gy(dose_gy)).min(cap));
            }
            n_outside
        })
        .sum();
    Map { gamma, n_outside_evaluated }
}

/// γ as stored: rounding must not move a value that fails onto one that passes.
fn as_f32(gamma: f64) -> f32 {
    let rounded = gamma as f32;
    if gamma > 1.0 && rounded <= 1.0 { 1.0_f32.next_up() } else { rounded }
}

fn summarize_map(
    gamma: &Volume<f32>,
    reference: &Volume<f32>,
    Settings { normalization_gy, cutoff_gy }: Settings,
) -> Result<GammaSummary, EvalError> {
    let (mut n_points, mut n_passing, mut sum, mut max) = (0, 0, 0.0, 0.0_f64);
    for (&gamma, &dose_gy) in std::iter::zip(gamma.as_slice(), reference.as_slice()) {
        if !gamma.is_nan() && f64::from(dose_gy) >= cutoff_gy {
            n_points += 1;
            n_passing += usize::from(gamma <= 1.0);
            sum += f64::from(gamma);
            max = max.max(f64::from(gamma));
        }
    }
    if n_points == 0 {
        return Err(EvalError::NoDoseAboveCutoff { cutoff_gy });
    }
    Ok(GammaSummary {
        n_points,
        n_passing,
        pass_percent: 100.0 * n_passing as f64 / n_points as f64,
        mean: sum / n_points as f64,
        max,
        normalization_gy,
        cutoff_gy,
    })
}
