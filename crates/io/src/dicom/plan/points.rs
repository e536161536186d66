//! Control points, which leave out what has not changed (PS3.3 section C.8.8.14.5).

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use synthct_image::PointLps;
use synthct_rt::{BeamAngles, ControlPoint};

use super::devices::{Devices, Positions};
use crate::IoError;
use crate::dicom::dataset::DataSet;

/// An angle that changes by less than this has not been turned, degrees.
const STILL_DEG: f64 = 1e-6;
/// An isocenter that moves by less than this stays where it is, mm.
const STILL_MM: f64 = 1e-3;

/// The isocenter, the nominal energy in MV and the control points of a beam.
pub(super) fn control_points(
    beam: &DataSet,
    name: &str,
    devices: &Devices,
) -> Result<(PointLps, f64, Vec<ControlPoint>), IoError> {
    const POINTS: &str = "the beam has no state of the machine without it";
    const WEIGHT: &str = "monitor units cannot be shared out without it";
    let last_weight = beam.required_number(tags::FINAL_CUMULATIVE_METERSET_WEIGHT, WEIGHT)?;
    if last_weight <= 0.0 {
        return Err(beam.malformed(
            tags::FINAL_CUMULATIVE_METERSET_WEIGHT,
            &format!("{last_weight} is not above zero in beam `{name}`"),
        ));
    }
    let items = beam.required_items(tags::CONTROL_POINT_SEQUENCE, POINTS)?;
    if let Some(announced) = beam.integer(tags::NUMBER_OF_CONTROL_POINTS)?
        && usize::try_from(announced).ok() != Some(items.len())
    {
        return Err(beam.malformed(
            tags::NUMBER_OF_CONTROL_POINTS,
            &format!("beam `{name}` announces {announced} control points, but has {}", items.len()),
        ));
    }
    let mut gantry = Axis::new(tags::GANTRY_ANGLE, tags::GANTRY_ROTATION_DIRECTION, "CW");
    let mut collimator =
        Axis::new(tags::BEAM_LIMITING_DEVICE_ANGLE, tags::BEAM_LIMITING_DEVICE_ROTATION_DIRECTION, "CC");
    let mut couch = Axis::new(tags::PATIENT_SUPPORT_ANGLE, tags::PATIENT_SUPPORT_ROTATION_DIRECTION, "CC");
    let mut positions = Positions::default();
    let (mut isocenter, mut energy_mv) = (None, None);
    let mut weight: Option<f64> = None;
    let mut points = Vec::with_capacity(items.len());
    for item in items {
        require_still(item, name, &mut isocenter, &mut energy_mv)?;
        // A control point without a weight delivers nothing since the one before.
        let next = item.number(tags::CUMULATIVE_METERSET_WEIGHT)?.or(weight);
        let next = next.ok_or_else(|| item.missing(tags::CUMULATIVE_METERSET_WEIGHT, WEIGHT))?;
        let beam_is_on = weight.is_some_and(|weight| next > weight);
        weight = Some(next);
        devices.update(item, &mut positions)?;
        let (jaws, leaves) = devices.state(item, &positions)?;
        points.push(ControlPoint {
            meterset_fraction: next / last_weight,
            angles: BeamAngles {
                gantry_deg: gantry.next(item, beam_is_on)?,
                collimator_deg: collimator.next(item, beam_is_on)?,
                couch_deg: couch.next(item, beam_is_on)?,
            },
            jaws,
            leaves,
        });
    }
    let first = &items[0];
    let isocenter = isocenter.ok_or_else(|| {
        first.missing(tags::ISOCENTER_POSITION, "the beam has no place in the patient without it")
    })?;
    let energy_mv = energy_mv
        .ok_or_else(|| first.missing(tags::NOMINAL_BEAM_ENERGY, "no machine can be chosen without it"))?;
    Ok((PointLps::from(isocenter), energy_mv, points))
}

/// Takes over isocenter and energy, and fails if they change, or if the couch leaves its plane.
fn require_still(
    item: &DataSet,
    name: &str,
    isocenter: &mut Option<[f64; 3]>,
    energy_mv: &mut Option<f64>,
) -> Result<(), IoError> {
    let refuse = |what: &str| Err(item.unsupported(format!("beam `{name}`: {what}")));
    if let Some(next) = item.number_array::<3>(tags::ISOCENTER_POSITION)? {
        let before = *isocenter.get_or_insert(next);
        if std::iter::zip(before, next).any(|(a, b)| (a - b).abs() > STILL_MM) {
            return refuse("an isocenter that moves (IsocenterPosition (300A,012C))");
        }
    }
    if let Some(next) = item.number(tags::NOMINAL_BEAM_ENERGY)?
        && (*energy_mv.get_or_insert(next) - next).abs() > 1e-6
    {
        return refuse("an energy that changes (NominalBeamEnergy (300A,0114))");
    }
    let pitch_and_roll = [item.float(tags::TABLE_TOP_PITCH_ANGLE)?, item.float(tags::TABLE_TOP_ROLL_ANGLE)?];
    if pitch_and_roll.into_iter().flatten().any(turned) {
        return refuse("couch pitch or roll (TableTopPitchAngle (300A,0140), TableTopRollAngle (300A,0144))");
    }
    if item.number(tags::TABLE_TOP_ECCENTRIC_ANGLE)?.is_some_and(turned) {
        return refuse("an eccentric turn of the couch (TableTopEccentricAngle (300A,0125))");
    }
    if item.float(tags::GANTRY_PITCH_ANGLE)?.is_some_and(turned) {
        return refuse("gantry pitch (GantryPitchAngle (300A,014A))");
    }
    Ok(())
}

/// Whether an angle is another than 0° and whole turns.
fn turned(deg: f64) -> bool {
    let within = deg.rem_euclid(360.0);
    within.min(360.0 - within) > 1e-3
}

/// One of the machine's axes, followed from control point to control point.
struct Axis {
    angle: Tag,
    direction: Tag,
    /// The direction in which the angle grows.
    growing: &'static str,
    now_deg: Option<f64>,
    /// How it turns until the next control point.
    turns: Option<String>,
}

impl Axis {
    const fn new(angle: Tag, direction: Tag, growing: &'static str) -> Self {
        Self { angle, direction, growing, now_deg: None, turns: None }
    }

    /// The continuous angle at the next control point.
    fn next(&mut self, item: &DataSet, beam_is_on: bool) -> Result<f64, IoError> {
        let said = item.number(self.angle)?;
        let next_deg = match (self.now_deg, said) {
            (None, None) => {
                return Err(item.missing(self.angle, "the beam's direction is not known without it"));
            }
            (None, Some(first)) => first,
            (Some(now), None) => now,
            (Some(now), Some(next)) => {
                let forward = (next - now).rem_euclid(360.0);
                let is_still = forward.min(360.0 - forward) < STILL_DEG;
                match self.turns.as_deref() {
                    // A full turn would be said by control points in between.
                    _ if is_still => now,
                    Some(direction) if direction == self.growing => now + forward,
                    Some("CW" | "CC") => now + forward - 360.0,
                    // Between beams of monitor units it does not matter how the machine gets there.
                    _ if !beam_is_on => next,
                    _ => {
                        return Err(item.malformed(
                            self.direction,
                            &format!("the angle changes from {now} to {next} while the beam is on, but no direction is given"),
                        ));
                    }
                }
            }
        };
        self.now_deg = Some(next_deg);
        // The direction holds for the part behind this control point, and is inherited like all else.
        if let Some(direction) = item.text(self.direction) {
            self.turns = Some(direction);
        }
        Ok(next_deg)
    }
}
