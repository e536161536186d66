//! From a plan to the fields that an engine computes.

use rayon::prelude::*;
use synthct_image::Grid;
use synthct_rt::{Beam, Plan, Segment};

use crate::{DoseError, Field, Fluence, Machine};

/// The fields of a plan, for the doses of the whole course.
///
/// Every beam becomes parts in which the machine stands still ([`Beam::segments`](synthct_rt::Beam::segments)), in which the
/// gantry turns by `largest_gantry_step_deg` at most; monitor units of all fractions become photons.
/// Successive parts from one direction (step and shoot, sliding windows) are one field with the mean of their fluences.
///
/// # Errors
/// [`DoseError::Rt`] for a plan that cannot be delivered, [`DoseError::Energy`] for a beam that the machine does not have,
/// [`DoseError::IsocenterOutside`] for one that does not aim at the dose grid.
pub fn plan_fields(
    plan: &Plan,
    machine: &Machine,
    dose_grid: &Grid,
    largest_gantry_step_deg: f64,
) -> Result<Vec<Field>, DoseError> {
    plan.check()?;
    let mut fields = Vec::new();
    for beam in &plan.beams {
        fields.extend(beam_fields(plan, beam, machine, dose_grid, largest_gantry_step_deg)?);
    }
    Ok(fields)
}

/// The fields of one beam of a plan.
pub(crate) fn beam_fields(
    plan: &Plan,
    beam: &Beam,
    machine: &Machine,
    dose_grid: &Grid,
    largest_gantry_step_deg: f64,
) -> Result<Vec<Field>, DoseError> {
    let energy = beam.energy;
    let is_same = (energy.nominal_mv - machine.nominal_mv).abs() < 0.05
        && energy.flattening_filter_free == machine.flattening_filter_free;
    if !is_same {
        return Err(DoseError::Energy {
            beam: beam.name.clone(),
            plan_mv: energy.nominal_mv,
            plan_is_fff: energy.flattening_filter_free,
            machine: machine.name.clone(),
        });
    }
    let at = dose_grid.index_from_lps(beam.isocenter_lps);
    let is_inside = std::iter::zip([at.i, at.j, at.k], dose_grid.size_ijk())
        .all(|(at, n)| (-0.5..n as f64 - 0.5).contains(&at));
    if !is_inside {
        return Err(DoseError::IsocenterOutside {
            beam: beam.name.clone(),
            isocenter_lps: beam.isocenter_lps.to_array(),
            grid: dose_grid.to_string(),
        });
    }
    let n_fractions = f64::from(plan.n_fractions.unwrap_or(1));
    let field = |parts: &&[Segment]| {
        let meterset_mu: f64 = parts.iter().map(|part| part.meterset_mu).sum();
        Field {
            frame: beam.frame(plan.position, parts[0].angles),
            fluence: Fluence::mean_of(machine, beam.mlc.as_ref(), parts),
            weight: meterset_mu * n_fractions * machine.photons_per_cm2_per_mu,
        }
    };
    let segments = beam.segments(largest_gantry_step_deg);
    let directions: Vec<&[Segment]> = segments.chunk_by(|a, b| a.angles == b.angles).collect();
    Ok(directions.par_iter().map(field).collect())
}
