//! Plans for a target when there is none: beams from usual directions, apertures around the target.

mod aperture;
mod nnls;

use serde::{Deserialize, Serialize};
use synthct_image::morphology::dilate;
use synthct_image::{Mask, PointLps};
use synthct_rt::{Beam, BeamAngles, ControlPoint, PatientPosition, PhotonEnergy, Plan, Prescription};

use crate::plan_fields::beam_fields;
use crate::{DensityVolume, DoseEngine, DoseError, Machine};
use aperture::around;
use nnls::nonnegative_least_squares;

/// Usual arrangements of beams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Template {
    /// Five coplanar beams and one through the vertex.
    #[serde(rename = "brain-3d")]
    Brain3d,
    /// Two full coplanar arcs with the collimator at 30° and 330°.
    BrainVmat,
    /// Seven coplanar beams.
    #[serde(rename = "pelvis-7f")]
    Pelvis7f,
    /// Two full coplanar arcs, as for the brain, in wider steps.
    PelvisVmat,
}

impl Template {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Brain3d, Self::BrainVmat, Self::Pelvis7f, Self::PelvisVmat];

    /// The gantry's turn from one control point of an arc to the next, degrees: no more than this is taken as standing still.
    pub const GANTRY_STEP_DEG: f64 = 4.0;

    /// Its name, such as `brain-3d`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brain3d => "brain-3d",
            Self::BrainVmat => "brain-vmat",
            Self::Pelvis7f => "pelvis-7f",
            Self::PelvisVmat => "pelvis-vmat",
        }
    }

    /// Between the target's projection and the leaves, mm.
    const fn margin_mm(self) -> f64 {
        match self {
            Self::Brain3d | Self::BrainVmat => 5.0,
            Self::Pelvis7f | Self::PelvisVmat => 7.0,
        }
    }

    /// Gantry, collimator and couch of each static beam, or of each control point of each arc.
    fn arrangement(self) -> Vec<Vec<BeamAngles>> {
        let fixed = |gantry_deg: f64, couch_deg: f64| {
            vec![BeamAngles { gantry_deg, collimator_deg: 0.0, couch_deg }; 2]
        };
        let arcs = |step_deg: f64| {
            let arc = |collimator_deg: f64, forward: bool| {
                let n = (356.0 / step_deg) as usize;
                (0..=n)
                    .map(|point| {
                        let turned = 182.0 + point as f64 * step_deg;
                        let gantry_deg = if forward { turned } else { 720.0 - turned };
                        BeamAngles { gantry_deg, collimator_deg, couch_deg: 0.0 }
                    })
                    .collect::<Vec<_>>()
            };
            vec![arc(30.0, true), arc(330.0, false)]
        };
        match self {
            Self::Brain3d => {
                let mut beams: Vec<_> = [0.0, 72.0, 144.0, 216.0, 288.0].map(|g| fixed(g, 0.0)).to_vec();
                beams.push(fixed(300.0, 90.0));
                beams
            }
            Self::Pelvis7f => [0.0, 51.0, 103.0, 154.0, 206.0, 257.0, 309.0].map(|g| fixed(g, 0.0)).to_vec(),
            Self::BrainVmat | Self::PelvisVmat => arcs(Self::GANTRY_STEP_DEG),
        }
    }
}

impl std::str::FromStr for Template {
    type Err = DoseError;

    /// The template with this name.
    ///
    /// # Errors
    /// [`DoseError::Template`] with the names that there are.
    fn from_str(text: &str) -> Result<Self, DoseError> {
        Self::ALL.into_iter().find(|template| template.name() == text).ok_or_else(|| DoseError::Template {
            found: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// A plan for a target: apertures are its projection and a margin, behind leaves of 5 mm; weights are those that come
/// nearest, in the least squares, to the prescription in the target and to half of it in a shell around.
///
/// Arcs are weighted in parts of about 20°. The plan is not optimised beyond that: it is a credible and reproducible
/// arrangement for the comparison of two images, no more.
/// Monitor units give a mean target dose of `prescription_gy` on `density`, of one fraction.
///
/// # Grid
/// `target` is on the grid of `density`.
///
/// # Errors
/// [`DoseError::Image`] if the grids differ, [`DoseError::Target`] for an empty target or one that no beam reaches,
/// [`DoseError::Setting`] for a prescription that is not above zero.
pub fn template_plan(
    template: Template,
    target: &Mask,
    density: &DensityVolume,
    prescription_gy: f64,
    machine: &Machine,
    engine: &dyn DoseEngine,
) -> Result<Plan, DoseError> {
    density.grid().require_match(target.grid())?;
    if !(prescription_gy.is_finite() && prescription_gy > 0.0) {
        let value = prescription_gy;
        return Err(DoseError::Setting { name: "prescription_gy", value, allowed: "finite and above zero" });
    }
    let isocenter_lps = target.centroid_lps().ok_or(DoseError::Target { problem: "is empty" })?;
    let mut plan = Plan {
        label: template.name().to_owned(),
        position: PatientPosition::Hfs,
        n_fractions: Some(1),
        prescription: Some(Prescription { dose_gy: prescription_gy, target_roi: None }),
        beams: Vec::new(),
    };
    for (n, angles) in template.arrangement().into_iter().enumerate() {
        plan.beams.push(conformal_beam(n, &angles, template, target, isocenter_lps, machine, plan.position));
    }
    weigh(&mut plan, target, density, prescription_gy, machine, engine)?;
    Ok(plan)
}

/// A beam of 100 MU, evenly spread over its control points.
fn conformal_beam(
    n: usize,
    angles: &[BeamAngles],
    template: Template,
    target: &Mask,
    isocenter_lps: PointLps,
    machine: &Machine,
    position: PatientPosition,
) -> Beam {
    let mut beam = Beam {
        number: n as i32 + 1,
        name: format!("{} {}", template.name(), n + 1),
        energy: PhotonEnergy {
            nominal_mv: machine.nominal_mv,
            flattening_filter_free: machine.flattening_filter_free,
        },
        source_axis_distance_mm: 1000.0,
        isocenter_lps,
        meterset_mu: 100.0,
        mlc: None,
        control_points: Vec::new(),
    };
    let frames: Vec<_> = angles.iter().map(|&angles| beam.frame(position, angles)).collect();
    let (mlc, apertures) = around(target, &frames, template.margin_mm());
    beam.mlc = Some(mlc);
    let last = (angles.len() - 1) as f64;
    beam.control_points = std::iter::zip(angles, apertures)
        .enumerate()
        .map(|(n, (&angles, (jaws, leaves)))| ControlPoint {
            meterset_fraction: n as f64 / last,
            angles,
            jaws,
            leaves: Some(leaves),
        })
        .collect();
    beam
}

/// Sets the plan's monitor units.
fn weigh(
    plan: &mut Plan,
    target: &Mask,
    density: &DensityVolume,
    prescription_gy: f64,
    machine: &Machine,
    engine: &dyn DoseEngine,
) -> Result<(), DoseError> {
    const SHELL_MM: f64 = 15.0;
    const MOST_POINTS: usize = 1000;
    const FIELDS_PER_PART: usize = 5;
    let shell = dilate(target, SHELL_MM)?.and(&target.complement())?;
    let points_of = |region: &Mask| -> Vec<usize> {
        let inside: Vec<usize> = (0..region.as_slice().len()).filter(|&n| region.as_slice()[n]).collect();
        inside.iter().copied().step_by(inside.len().div_ceil(MOST_POINTS).max(1)).collect()
    };
    let in_target = points_of(target);
    let points: Vec<usize> = in_target.iter().copied().chain(points_of(&shell)).collect();
    let wanted: Vec<f64> = (0..points.len()).map(|n| if n < in_target.len() { 1.0 } else { 0.5 }).collect();

    // Each part has a weight of its own; a static beam is one.
    let mut parts: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for (n, beam) in plan.beams.iter().enumerate() {
        let fields = beam_fields(plan, beam, machine, density.grid(), Template::GANTRY_STEP_DEG)?;
        for start in (0..fields.len()).step_by(FIELDS_PER_PART) {
            let end = (start + FIELDS_PER_PART).min(fields.len());
            let dose = engine.dose(density, &fields[start..end])?;
            columns.push(points.iter().map(|&at| f64::from(dose.as_slice()[at])).collect());
            parts.push((n, start..end));
        }
    }
    let weights = nonnegative_least_squares(&columns, &wanted);
    let mean: f64 = std::iter::zip(&columns, &weights)
        .map(|(column, weight)| weight * column[..in_target.len()].iter().sum::<f64>())
        .sum::<f64>()
        / in_target.len() as f64;
    if mean <= 0.0 {
        return Err(DoseError::Target { problem: "receives no dose from any beam" });
    }
    let scale = prescription_gy / mean;
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
