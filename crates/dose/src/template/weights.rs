//! The monitor units of a template's beams.

use std::ops::Range;

use synthct_image::morphology::dilate;
use synthct_rt::Plan;

use super::nnls::nonnegative_least_squares;
use super::{TargetDose, Template};
use crate::plan_fields::beam_fields;
use crate::{DensityVolume, DoseEngine, DoseError, Machine};

/// How far around the targets dose is held down, mm.
const SHELL_MM: f64 = 15.0;
/// The part of the lowest dose that is wanted there.
const SHELL_DOSE: f64 = 0.5;
/// How many voxels of each region count.
const MOST_POINTS: usize = 1000;
/// Successive fields of an arc that share a weight.
const FIELDS_PER_PART: usize = 5;
/// Voxels up to this size are joined for the weights' doses, mm.
const FINE_MM: f64 = 4.0;

/// Sets the plan's monitor units.
pub(super) fn weigh(
    plan: &mut Plan,
    targets: &[TargetDose<'_>],
    density: &DensityVolume,
    machine: &Machine,
    engine: &dyn DoseEngine,
) -> Result<(), DoseError> {
    let goals = Goals::new(targets)?;
    let is_fine = density.grid().spacing_mm().into_iter().all(|spacing| spacing <= FINE_MM);
    let halved = if is_fine { Some(density.halved()?) } else { None };
    let on = halved.as_ref().unwrap_or(density);
    let points: Vec<usize> = goals.voxels.iter().map(|&at| voxel_in(on, density, at)).collect();

    // Each part has a weight of its own; a static beam is one.
    let mut parts: Vec<(usize, Range<usize>)> = Vec::new();
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for (n, beam) in plan.beams.iter().enumerate() {
        let fields = beam_fields(plan, beam, machine, density.grid(), Template::GANTRY_STEP_DEG)?;
        for start in (0..fields.len()).step_by(FIELDS_PER_PART) {
            let end = (start + FIELDS_PER_PART).min(fields.len());
            let dose = engine.dose(on, &fields[start..end])?;
            columns.push(points.iter().map(|&at| f64::from(dose.as_slice()[at])).collect());
            parts.push((n, start..end));
        }
    }
    let weights = nonnegative_least_squares(&columns, &goals.wanted_gy);
    let highest = &goals.highest;
    let mean: f64 = std::iter::zip(&columns, &weights)
        .map(|(column, weight)| weight * column[highest.clone()].iter().sum::<f64>())
        .sum::<f64>()
        / highest.len() as f64;
    if mean <= 0.0 {
        return Err(DoseError::Target { problem: "receives no dose from any beam" });
    }
    let scale = goals.wanted_gy[highest.start] / mean;
    for (n, beam) in plan.beams.iter_mut().enumerate() {
        // Monitor units of each interval between control points, then the fractions that they add up to.
        let n_intervals = beam.control_points.len() - 1;
        let each_mu = beam.meterset_mu / n_intervals as f64;
        let mut interval_mu = vec![0.0; n_intervals];
        for ((_, range), weight) in std::iter::zip(&parts, &weights).filter(|((of, _), _)| *of == n) {
            interval_mu[range.clone()].fill(each_mu * weight * scale);
        }
        beam.meterset_mu = interval_mu.iter().sum();
        let mut given = 0.0;
        for (point, mu) in std::iter::zip(&mut beam.control_points[1..], interval_mu) {
            given += mu;
            point.meterset_fraction = given / beam.meterset_mu;
        }
    }
    // A beam that got no monitor units is none.
    plan.beams.retain(|beam| beam.meterset_mu > 0.0);
    Ok(())
}

/// Where which dose is wanted.
struct Goals {
    /// Voxels of the targets' grid.
    voxels: Vec<usize>,
    wanted_gy: Vec<f64>,
    /// Which of them lie in the target of the highest dose.
    highest: Range<usize>,
}

impl Goals {
    /// Some voxels of each target, without those of higher ones, and of a shell around all.
    fn new(targets: &[TargetDose<'_>]) -> Result<Self, DoseError> {
        let mut levels = targets.to_vec();
        levels.sort_by(|a, b| b.dose_gy.total_cmp(&a.dose_gy));
        let mut taken = vec![false; levels[0].target.as_slice().len()];
        let mut goals = Self { voxels: Vec::new(), wanted_gy: Vec::new(), highest: 0..0 };
        for (n, level) in levels.iter().enumerate() {
            let inside = level.target.as_slice();
            let own: Vec<usize> = (0..inside.len()).filter(|&at| inside[at] && !taken[at]).collect();
            for &at in &own {
                taken[at] = true;
            }
            goals.add(&own, level.dose_gy);
            if n == 0 {
                goals.highest = 0..goals.voxels.len();
            }
        }
        let all = levels.iter().try_fold(levels[0].target.clone(), |all, level| all.or(level.target))?;
        let shell = dilate(&all, SHELL_MM)?.and(&all.complement())?;
        let around: Vec<usize> = (0..taken.len()).filter(|&at| shell.as_slice()[at]).collect();
        goals.add(&around, SHELL_DOSE * levels[levels.len() - 1].dose_gy);
        Ok(goals)
    }

    fn add(&mut self, region: &[usize], dose_gy: f64) {
        self.voxels.extend(region.iter().step_by(region.len().div_ceil(MOST_POINTS).max(1)));
        self.wanted_gy.resize(self.voxels.len(), dose_gy);
    }
}

/// The voxel of `on` that holds the middle of a voxel of `density`: of the same grid, or of one with half as many.
fn voxel_in(on: &DensityVolume, density: &DensityVolume, at: usize) -> usize {
    let (size, other) = (density.grid().size_ijk(), on.grid().size_ijk());
    if size == other {
        return at;
    }
    let [i, j, k] = [at % size[0], at / size[0] % size[1], at / (size[0] * size[1])].map(|n| n / 2);
    (k * other[1] + j) * other[0] + i
}
