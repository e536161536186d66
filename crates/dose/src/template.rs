//! Plans for a target when there is none: beams from usual directions, apertures around the target.

mod aperture;
mod nnls;
mod weights;

use serde::{Deserialize, Serialize};
use synthct_image::{Mask, PointLps};
use synthct_rt::{Beam, BeamAngles, ControlPoint, PatientPosition, PhotonEnergy, Plan, Prescription};

use crate::{DensityVolume, DoseEngine, DoseError, Machine};
use aperture::around;
use weights::weigh;

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

    /// Whether the gantry stands still while a beam is on.
    const fn is_static(self) -> bool {
        matches!(self, Self::Brain3d | Self::Pelvis7f)
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

/// A region, and what it is to receive.
#[derive(Clone, Copy, Debug)]
pub struct TargetDose<'a> {
    /// The region.
    pub target: &'a Mask,
    /// Its dose, Gy.
    pub dose_gy: f64,
}

/// A plan for one target, or for several levels of dose at once (a simultaneous integrated boost).
///
/// Apertures are a target's projection and a margin, behind leaves of 5 mm; weights are those that come nearest, in the
/// least squares, to each target's dose, where they overlap the highest, and to half of the lowest in a shell around.
/// With several levels the first arc is open to all targets and the second to the highest alone; a template of static beams
/// has each beam twice.
///
/// Arcs are weighted in parts of about 20°. The plan is not optimised beyond that: it is a credible and reproducible
/// arrangement for the comparison of two images, no more.
/// Monitor units give the target of the highest dose that dose in the mean, of one fraction; doses of voxels of 4 mm or
/// less are taken from a grid of half as many along each axis, so that a caller who needs the mean exactly scales by it.
///
/// # Grid
/// Targets are on the grid of `density`.
///
/// # Errors
/// [`DoseError::Image`] if the grids differ, [`DoseError::Target`] for no target, an empty one or one that no beam reaches,
/// [`DoseError::Setting`] for a dose that is not above zero.
pub fn template_plan(
    template: Template,
    targets: &[TargetDose<'_>],
    density: &DensityVolume,
    machine: &Machine,
    engine: &dyn DoseEngine,
) -> Result<Plan, DoseError> {
    let Some(highest) = targets.iter().copied().reduce(|a, b| if b.dose_gy > a.dose_gy { b } else { a })
    else {
        return Err(DoseError::Target { problem: "is missing" });
    };
    for &TargetDose { target, dose_gy } in targets {
        density.grid().require_match(target.grid())?;
        if !(dose_gy.is_finite() && dose_gy > 0.0) {
            let (name, allowed) = ("a target's dose (Gy)", "finite and above zero");
            return Err(DoseError::Setting { name, value: dose_gy, allowed });
        }
        if target.count() == 0 {
            return Err(DoseError::Target { problem: "is empty" });
        }
    }
    let all = targets.iter().try_fold(highest.target.clone(), |all, level| all.or(level.target))?;
    let isocenter_lps = all.centroid_lps().ok_or(DoseError::Target { problem: "is empty" })?;
    let mut plan = Plan {
        label: template.name().to_owned(),
        position: PatientPosition::Hfs,
        n_fractions: Some(1),
        prescription: Some(Prescription { dose_gy: highest.dose_gy, target_roi: None }),
        beams: Vec::new(),
    };
    let has_boost = targets.len() > 1;
    let mut openings = Vec::new();
    for (n, angles) in template.arrangement().into_iter().enumerate() {
        if has_boost && template.is_static() {
            openings.extend([(angles.clone(), &all), (angles, highest.target)]);
        } else {
            openings.push((angles, if has_boost && n > 0 { highest.target } else { &all }));
        }
    }
    for (n, (angles, open_to)) in openings.into_iter().enumerate() {
        plan.beams.push(conformal_beam(n, &angles, template, open_to, isocenter_lps, machine, plan.position));
    }
    weigh(&mut plan, targets, density, machine, engine)?;
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
