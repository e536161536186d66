//! Whether a plan can be delivered as it is described.

use super::{Beam, ControlPoint, Plan};

/// A leaf may overlap its opposite by this much, mm: positions are stored rounded.
const OVERLAP_MM: f64 = 0.05;
/// The last fraction of monitor units may differ from 1 by this much.
const METERSET_ROUNDING: f64 = 1e-4;

/// Every fault found, each as a clause that says where.
pub(super) fn problems(plan: &Plan) -> Vec<String> {
    let mut problems = Vec::new();
    if plan.beams.is_empty() {
        problems.push("it has no beam".to_owned());
    }
    if let Some(prescription) = &plan.prescription
        && !is_above_zero(prescription.dose_gy)
    {
        problems.push(format!("the prescribed dose is {} Gy, but must be above zero", prescription.dose_gy));
    }
    for beam in &plan.beams {
        let named = |problem: String| format!("beam {} `{}`: {problem}", beam.number, beam.name);
        problems.extend(problems_of_beam(beam).into_iter().map(named));
    }
    problems
}

fn is_above_zero(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn problems_of_beam(beam: &Beam) -> Vec<String> {
    let mut problems = Vec::new();
    for (what, value, unit) in [
        ("energy", beam.energy.nominal_mv, "MV"),
        ("source-axis distance", beam.source_axis_distance_mm, "mm"),
        ("meterset", beam.meterset_mu, "MU"),
    ] {
        if !is_above_zero(value) {
            problems.push(format!("its {what} is {value} {unit}, but must be above zero"));
        }
    }
    if !beam.isocenter_lps.to_array().iter().all(|c| c.is_finite()) {
        problems.push(format!("its isocenter is {:?}", beam.isocenter_lps.to_array()));
    }
    if let Some(mlc) = &beam.mlc {
        let boundaries = &mlc.boundaries_mm;
        if boundaries.len() < 2 || !boundaries.is_sorted_by(|a, b| a < b) {
            problems.push("its leaf boundaries do not rise".to_owned());
        }
    }
    let points = &beam.control_points;
    if points.len() < 2 {
        problems.push(format!("it has {} control points, at least 2 are needed", points.len()));
    }
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        let (first, last) = (first.meterset_fraction, last.meterset_fraction);
        if first.abs() > METERSET_ROUNDING || (last - 1.0).abs() > METERSET_ROUNDING {
            problems.push(format!("its meterset goes from {first} to {last} instead of from 0 to 1"));
        }
    }
    if !points.is_sorted_by(|a, b| a.meterset_fraction <= b.meterset_fraction) {
        problems.push("its meterset falls from one control point to the next".to_owned());
    }
    for (n, point) in points.iter().enumerate() {
        if let Some(problem) = problem_of_point(beam, point) {
            problems.push(format!("control point {n}: {problem}"));
        }
    }
    problems
}

fn problem_of_point(beam: &Beam, point: &ControlPoint) -> Option<String> {
    let angles = [point.angles.gantry_deg, point.angles.collimator_deg, point.angles.couch_deg];
    if !angles.iter().all(|angle| angle.is_finite()) {
        return Some(format!("an angle is not finite: {angles:?}"));
    }
    for (name, [low, high]) in [("X", point.jaws.x_mm), ("Y", point.jaws.y_mm)] {
        // Written so that NaN is caught.
        if !(low <= high && low.is_finite() && high.is_finite()) {
            return Some(format!("the {name} jaws are at {low} and {high} mm"));
        }
    }
    match (&beam.mlc, &point.leaves) {
        (None, None) => None,
        (None, Some(_)) => Some("it has leaves, but the beam has no multileaf collimator".to_owned()),
        (Some(_), None) => Some("it has no leaf positions".to_owned()),
        (Some(mlc), Some(leaves)) => {
            let n = mlc.n_pairs();
            let (low, high) = (&leaves.low_mm, &leaves.high_mm);
            if low.len() != n || high.len() != n {
                return Some(format!(
                    "it has {} and {} leaves, but there are {n} pairs",
                    low.len(),
                    high.len()
                ));
            }
            let crossed = std::iter::zip(low, high).position(|(low, high)| {
                !(low.is_finite() && high.is_finite() && *low <= *high + OVERLAP_MM)
            })?;
            Some(format!("leaf pair {crossed} is at {} and {} mm", low[crossed], high[crossed]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;
    use crate::RtError;

    #[track_caller]
    fn check(change: impl Fn(&mut Beam), expected: &str) {
        let mut plan = plan();
        change(&mut plan.beams[0]);
        let message = plan.check().err().map(|error| error.to_string());
        assert!(message.as_ref().is_some_and(|text| text.contains(expected)), "{message:?}");
    }

    #[test]
    fn a_good_plan_passes_and_every_fault_is_named() -> Result<(), RtError> {
        plan().check()?;
        check(|beam| beam.control_points.truncate(1), "1 control points");
        check(|beam| beam.control_points[3].meterset_fraction = 0.9, "from 0 to 0.9");
        check(|beam| beam.control_points[1].meterset_fraction = 0.3, "meterset falls");
        check(
            |beam| beam.control_points[2].jaws.x_mm = [5.0, 4.0],
            "control point 2: the X jaws are at 5 and 4 mm",
        );
        check(|beam| beam.control_points[2].angles.couch_deg = f64::NAN, "not finite");
        check(|beam| beam.control_points[0].leaves = None, "no leaf positions");
        check(|beam| beam.mlc = None, "no multileaf collimator");
        check(|beam| beam.meterset_mu = 0.0, "meterset is 0 MU");
        let narrow = |beam: &mut Beam| {
            if let Some(mlc) = &mut beam.mlc {
                mlc.boundaries_mm = vec![0.0, 10.0];
            }
        };
        check(narrow, "2 and 2 leaves, but there are 1 pairs");
        let crossed = |beam: &mut Beam| {
            if let Some(leaves) = &mut beam.control_points[1].leaves {
                leaves.low_mm[1] = 7.0;
            }
        };
        check(crossed, "leaf pair 1 is at 7 and 5 mm");
        let mut empty = plan();
        empty.beams.clear();
        assert!(empty.check().is_err_and(|error| error.to_string().contains("no beam")));
        Ok(())
    }
}
