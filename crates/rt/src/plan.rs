//! What a machine delivers.

mod aperture;
mod check;

pub use aperture::{Jaws, LeafPositions, Mlc, MlcAxis};

use serde::{Deserialize, Serialize};
use synthct_image::PointLps;

use crate::{BeamFrame, PatientPosition, RtError};

/// A photon plan of one fraction group.
///
/// Values that DICOM leaves out because they have not changed are written out here at every control point.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// DICOM's RT Plan Label.
    pub label: String,
    /// How the patient lies.
    pub position: PatientPosition,
    /// The number of fractions planned; absent if the plan does not say.
    pub n_fractions: Option<u32>,
    /// What is prescribed; absent if the plan does not say.
    pub prescription: Option<Prescription>,
    /// The beams, in order of delivery.
    pub beams: Vec<Beam>,
}

/// A prescribed dose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prescription {
    /// The dose of the whole course, Gy.
    pub dose_gy: f64,
    /// The number of the target's [`Roi`](crate::Roi), if it refers to one.
    pub target_roi: Option<i32>,
}

/// Nominal photon energy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhotonEnergy {
    /// The nominal accelerating potential, MV.
    pub nominal_mv: f64,
    /// Whether the beam has no flattening filter.
    pub flattening_filter_free: bool,
}

/// A beam: one energy, one isocenter, and apertures and angles that may change while it is on.
#[derive(Clone, Debug, PartialEq)]
pub struct Beam {
    /// DICOM's Beam Number.
    pub number: i32,
    /// Its name.
    pub name: String,
    /// The energy.
    pub energy: PhotonEnergy,
    /// The distance of the source from the isocenter, mm.
    pub source_axis_distance_mm: f64,
    /// The isocenter.
    pub isocenter_lps: PointLps,
    /// Monitor units of one fraction.
    pub meterset_mu: f64,
    /// The multileaf collimator, if there is one.
    pub mlc: Option<Mlc>,
    /// States of the machine, with monitor units spread between them; two or more.
    pub control_points: Vec<ControlPoint>,
}

/// Where gantry, collimator and couch are turned to, in degrees (IEC 61217).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeamAngles {
    /// The gantry: clockwise for someone who faces it; 0° is the source above.
    pub gantry_deg: f64,
    /// The collimator (beam limiting device).
    pub collimator_deg: f64,
    /// The couch (patient support): counterclockwise from above.
    pub couch_deg: f64,
}

/// The state of the machine at one moment of a beam.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlPoint {
    /// The fraction of the beam's monitor units that has been delivered, from 0 at the first to 1 at the last.
    pub meterset_fraction: f64,
    /// The angles.
    ///
    /// Gantry angles of an arc are continuous: a turn through 0° goes on below 0° or beyond 360°.
    pub angles: BeamAngles,
    /// The jaws.
    pub jaws: Jaws,
    /// The leaves; present if and only if the beam has a multileaf collimator.
    pub leaves: Option<LeafPositions>,
}

/// A part of a beam during which the machine is taken to stand still.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Monitor units delivered in it.
    pub meterset_mu: f64,
    /// The angles in the middle of it.
    pub angles: BeamAngles,
    /// The jaws in the middle of it.
    pub jaws: Jaws,
    /// The leaves in the middle of it.
    pub leaves: Option<LeafPositions>,
    /// The leaves when it begins and when it ends, if they move while nothing is turned (a sliding window).
    pub sweep: Option<[LeafPositions; 2]>,
}

impl Plan {
    /// Fails with every fault that makes the plan undeliverable as described.
    ///
    /// Checked are: beams at all, two control points or more, fractions of monitor units that rise from 0 to 1, finite
    /// angles and positions, jaws and leaves that do not cross, as many leaves as the collimator has, leaf boundaries that
    /// rise, and metersets, energies and distances above zero.
    ///
    /// # Errors
    /// [`RtError::Plan`].
    pub fn check(&self) -> Result<(), RtError> {
        let problems = check::problems(self);
        if problems.is_empty() { Ok(()) } else { Err(RtError::Plan { problems }) }
    }
}

impl Beam {
    /// The beam's coordinates at a set of angles.
    pub fn frame(&self, position: PatientPosition, angles: BeamAngles) -> BeamFrame {
        BeamFrame::new(position, self.isocenter_lps, angles, self.source_axis_distance_mm)
    }

    /// The beam as parts in which the machine stands still, in order of delivery.
    ///
    /// Between two control points everything moves linearly with the monitor units.
    /// An interval in which the gantry turns by more than `largest_gantry_step_deg` (0.01° or more) is divided evenly; each part has the
    /// state in its middle; an interval in which nothing is turned is one part, and where its leaves begin and end is kept.
    /// Intervals without monitor units (the moves of step-and-shoot) give none.
    /// The monitor units of all parts add up to the beam's.
    pub fn segments(&self, largest_gantry_step_deg: f64) -> Vec<Segment> {
        let mut segments = Vec::new();
        for pair in self.control_points.windows(2) {
            let (from, to) = (&pair[0], &pair[1]);
            let fraction = to.meterset_fraction - from.meterset_fraction;
            if fraction <= 0.0 {
                continue;
            }
            let turn_deg = (to.angles.gantry_deg - from.angles.gantry_deg).abs();
            let n_parts = (turn_deg / largest_gantry_step_deg.max(0.01)).ceil().max(1.0) as usize;
            segments.extend((0..n_parts).map(|part| {
                let middle = (part as f64 + 0.5) / n_parts as f64;
                from.toward(to, middle, self.meterset_mu * fraction / n_parts as f64)
            }));
        }
        segments
    }
}

impl ControlPoint {
    /// The state a part of the way to the next control point.
    fn toward(&self, next: &Self, part: f64, meterset_mu: f64) -> Segment {
        let mix = |a: f64, b: f64| a + part * (b - a);
        let (from, to) = (&self.angles, &next.angles);
        Segment {
            meterset_mu,
            angles: BeamAngles {
                gantry_deg: mix(from.gantry_deg, to.gantry_deg),
                collimator_deg: mix(from.collimator_deg, to.collimator_deg),
                couch_deg: mix(from.couch_deg, to.couch_deg),
            },
            jaws: self.jaws.mixed(&next.jaws, part),
            sweep: (self.angles == next.angles && self.leaves != next.leaves)
                .then(|| self.leaves.clone().zip(next.leaves.clone()))
                .flatten()
                .map(|(begin, end)| [begin, end]),
            leaves: self.leaves.as_ref().zip(next.leaves.as_ref()).map(|(a, b)| a.mixed(b, part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn beam() -> Beam {
        let control_point = |meterset_fraction: f64, gantry_deg: f64, gap_mm: f64| ControlPoint {
            meterset_fraction,
            angles: BeamAngles { gantry_deg, collimator_deg: 10.0, couch_deg: 0.0 },
            jaws: Jaws { x_mm: [-20.0, 30.0], y_mm: [-10.0, 10.0] },
            leaves: Some(LeafPositions { low_mm: vec![-gap_mm, -5.0], high_mm: vec![gap_mm, 5.0] }),
        };
        Beam {
            number: 1,
            name: "arc".to_owned(),
            energy: PhotonEnergy { nominal_mv: 6.0, flattening_filter_free: false },
            source_axis_distance_mm: 1000.0,
            isocenter_lps: PointLps::ORIGIN,
            meterset_mu: 200.0,
            mlc: Some(Mlc { axis: MlcAxis::X, boundaries_mm: vec![-10.0, 0.0, 10.0] }),
            control_points: vec![
                control_point(0.0, 350.0, 0.0),
                control_point(0.25, 356.0, 6.0),
                control_point(0.25, 358.0, 6.0),
                control_point(1.0, 362.0, 10.0),
            ],
        }
    }

    pub(super) fn plan() -> Plan {
        Plan {
            label: "test".to_owned(),
            position: PatientPosition::Hfs,
            n_fractions: Some(30),
            prescription: Some(Prescription { dose_gy: 60.0, target_roi: None }),
            beams: vec![beam()],
        }
    }

    #[test]
    fn segments_divide_monitor_units_and_motion() {
        let segments = beam().segments(2.0);
        // 6° in three parts, a move without dose, 4° in two parts.
        let found: Vec<(f64, f64)> = segments.iter().map(|s| (s.angles.gantry_deg, s.meterset_mu)).collect();
        let third = 50.0 / 3.0;
        let expected = [(351.0, third), (353.0, third), (355.0, third), (359.0, 75.0), (361.0, 75.0)];
        assert_eq!(found.len(), expected.len());
        for (found, expected) in std::iter::zip(&found, expected) {
            assert!((found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9, "{found:?}");
        }
        assert!((segments.iter().map(|s| s.meterset_mu).sum::<f64>() - 200.0).abs() < 1e-9);
        let first_leaf = segments[0].leaves.as_ref().map(|leaves| leaves.high_mm[0]);
        assert!(first_leaf.is_some_and(|mm| (mm - 1.0).abs() < 1e-9), "{first_leaf:?}");
        assert_eq!(beam().segments(90.0).len(), 2);
    }
}
