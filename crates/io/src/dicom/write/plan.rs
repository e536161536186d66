//! RT Plan Storage (PS3.3 section A.20.3).

use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use synthct_rt::{Beam, ControlPoint, MlcAxis, Plan, RtError};

use super::object::{Object, Syntax};
use super::origin::Origin;
use super::{NOT_FOR_CLINICAL_USE, VERSION};
use crate::IoError;

/// What a plan says about itself.
#[derive(Clone, Debug)]
pub struct PlanText<'a> {
    /// SeriesDescription, of which 64 bytes are kept.
    pub description: &'a str,
    /// TreatmentMachineName, of which 16 bytes are kept.
    pub machine: &'a str,
    /// SOPInstanceUID of the structure set that the plan was made with, if there is one.
    pub structure_set_uid: Option<&'a str>,
}

/// Writes a photon plan as an RT Plan in the patient, study and frame of reference of `origin`; returns its SOPInstanceUID.
///
/// Every control point says everything, also what has not changed. UIDs follow from the content.
///
/// # Errors
/// [`IoError::Rt`] for a plan that [`Plan::check`] refuses, [`IoError::Io`].
pub fn write_plan(path: &Path, plan: &Plan, origin: &Origin, text: &PlanText<'_>) -> Result<String, IoError> {
    plan.check()
        .map_err(|source: RtError| IoError::Rt { path: path.to_owned(), source: Box::new(source) })?;
    // The derived form of the type holds every number to its last digit.
    let content = origin.content("plan").text(&format!("{plan:?} {text:?}")).text(VERSION);
    let instance_uid = content.clone().text("plan").uid();
    let mut object = origin
        .rt_object("RTPLAN", content, 9300, text.description)
        .short_text(tags::RT_PLAN_LABEL, if plan.label.is_empty() { "synthct" } else { &plan.label }, 16)
        .text(tags::RT_PLAN_DESCRIPTION, NOT_FOR_CLINICAL_USE)
        .text(tags::RT_PLAN_DATE, "")
        .text(tags::RT_PLAN_TIME, "")
        .text(tags::PLAN_INTENT, "RESEARCH")
        .items(tags::FRACTION_GROUP_SEQUENCE, vec![fraction_group(plan)])
        .items(tags::BEAM_SEQUENCE, plan.beams.iter().map(|beam| beam_item(beam, text.machine)).collect())
        .items(
            tags::PATIENT_SETUP_SEQUENCE,
            vec![
                Object::new()
                    .integer(tags::PATIENT_SETUP_NUMBER, 1)
                    .text(tags::PATIENT_POSITION, &plan.position.to_string()),
            ],
        )
        .text(tags::APPROVAL_STATUS, "UNAPPROVED");
    object = match text.structure_set_uid {
        Some(uid) => object.text(tags::RT_PLAN_GEOMETRY, "PATIENT").items(
            tags::REFERENCED_STRUCTURE_SET_SEQUENCE,
            vec![Object::reference(uids::RT_STRUCTURE_SET_STORAGE, uid)],
        ),
        None => object.text(tags::RT_PLAN_GEOMETRY, "TREATMENT_DEVICE"),
    };
    if let Some(prescription) = &plan.prescription {
        let mut target = Object::new()
            .integer(tags::DOSE_REFERENCE_NUMBER, 1)
            .text(tags::DOSE_REFERENCE_TYPE, "TARGET")
            .numbers(tags::TARGET_PRESCRIPTION_DOSE, &[prescription.dose_gy]);
        target = match prescription.target_roi {
            Some(roi) => target
                .text(tags::DOSE_REFERENCE_STRUCTURE_TYPE, "VOLUME")
                .integer(tags::REFERENCED_ROI_NUMBER, i64::from(roi)),
            None => target.text(tags::DOSE_REFERENCE_STRUCTURE_TYPE, "SITE"),
        };
        object = object.items(tags::DOSE_REFERENCE_SEQUENCE, vec![target]);
    }
    object.write(path, uids::RT_PLAN_STORAGE, &instance_uid, Syntax::Implicit)?;
    Ok(instance_uid)
}

fn fraction_group(plan: &Plan) -> Object {
    let metersets = plan.beams.iter().map(|beam| {
        Object::new()
            .integer(tags::REFERENCED_BEAM_NUMBER, i64::from(beam.number))
            .numbers(tags::BEAM_METERSET, &[beam.meterset_mu])
    });
    let group = Object::new()
        .integer(tags::FRACTION_GROUP_NUMBER, 1)
        .integer(tags::NUMBER_OF_BEAMS, plan.beams.len() as i64)
        .integer(tags::NUMBER_OF_BRACHY_APPLICATION_SETUPS, 0)
        .items(tags::REFERENCED_BEAM_SEQUENCE, metersets.collect());
    match plan.n_fractions {
        Some(n) => group.integer(tags::NUMBER_OF_FRACTIONS_PLANNED, i64::from(n)),
        None => group.text(tags::NUMBER_OF_FRACTIONS_PLANNED, ""),
    }
}

/// The device type of an MLC, in DICOM's words.
const fn mlc_type(axis: MlcAxis) -> &'static str {
    match axis {
        MlcAxis::X => "MLCX",
        MlcAxis::Y => "MLCY",
    }
}

fn beam_item(beam: &Beam, machine: &str) -> Object {
    let device = |kind: &str, n_pairs: usize| {
        Object::new()
            .text(tags::RT_BEAM_LIMITING_DEVICE_TYPE, kind)
            .integer(tags::NUMBER_OF_LEAF_JAW_PAIRS, n_pairs as i64)
    };
    let mut devices = vec![device("ASYMX", 1), device("ASYMY", 1)];
    devices.extend(beam.mlc.as_ref().map(|mlc| {
        device(mlc_type(mlc.axis), mlc.n_pairs()).numbers(tags::LEAF_POSITION_BOUNDARIES, &mlc.boundaries_mm)
    }));
    let points = &beam.control_points;
    let is_still = points.windows(2).all(|pair| {
        (&pair[0].angles, &pair[0].jaws, &pair[0].leaves) == (&pair[1].angles, &pair[1].jaws, &pair[1].leaves)
    });
    let mode = Object::new();
    let mode = if beam.energy.flattening_filter_free {
        mode.text(tags::FLUENCE_MODE, "NON_STANDARD").text(tags::FLUENCE_MODE_ID, "FFF")
    } else {
        mode.text(tags::FLUENCE_MODE, "STANDARD")
    };
    Object::new()
        .integer(tags::BEAM_NUMBER, i64::from(beam.number))
        .short_text(tags::BEAM_NAME, &beam.name, 64)
        .text(tags::BEAM_TYPE, if is_still { "STATIC" } else { "DYNAMIC" })
        .text(tags::RADIATION_TYPE, "PHOTON")
        .short_text(tags::TREATMENT_MACHINE_NAME, machine, 16)
        .text(tags::TREATMENT_DELIVERY_TYPE, "TREATMENT")
        .text(tags::PRIMARY_DOSIMETER_UNIT, "MU")
        .numbers(tags::SOURCE_AXIS_DISTANCE, &[beam.source_axis_distance_mm])
        .items(tags::PRIMARY_FLUENCE_MODE_SEQUENCE, vec![mode])
        .items(tags::BEAM_LIMITING_DEVICE_SEQUENCE, devices)
        .integer(tags::NUMBER_OF_WEDGES, 0)
        .integer(tags::NUMBER_OF_COMPENSATORS, 0)
        .integer(tags::NUMBER_OF_BOLI, 0)
        .integer(tags::NUMBER_OF_BLOCKS, 0)
        .numbers(tags::FINAL_CUMULATIVE_METERSET_WEIGHT, &[1.0])
        .integer(tags::NUMBER_OF_CONTROL_POINTS, points.len() as i64)
        .integer(tags::REFERENCED_PATIENT_SETUP_NUMBER, 1)
        .items(tags::CONTROL_POINT_SEQUENCE, (0..points.len()).map(|n| point_item(beam, n)).collect())
}

fn point_item(beam: &Beam, n: usize) -> Object {
    let point = &beam.control_points[n];
    let next = beam.control_points.get(n + 1).unwrap_or(point);
    let position = |kind: &str, positions: &[f64]| {
        Object::new()
            .text(tags::RT_BEAM_LIMITING_DEVICE_TYPE, kind)
            .numbers(tags::LEAF_JAW_POSITIONS, positions)
    };
    let mut positions = vec![position("ASYMX", &point.jaws.x_mm), position("ASYMY", &point.jaws.y_mm)];
    if let Some((mlc, leaves)) = beam.mlc.as_ref().zip(point.leaves.as_ref()) {
        let both: Vec<f64> = leaves.low_mm.iter().chain(&leaves.high_mm).copied().collect();
        positions.push(position(mlc_type(mlc.axis), &both));
    }
    let mut object = Object::new()
        .integer(tags::CONTROL_POINT_INDEX, n as i64)
        .numbers(tags::CUMULATIVE_METERSET_WEIGHT, &[point.meterset_fraction])
        .items(tags::BEAM_LIMITING_DEVICE_POSITION_SEQUENCE, positions);
    for (angle, direction, of, growing) in AXES {
        object = object
            .numbers(angle, &[of(point).rem_euclid(360.0)])
            .text(direction, turn(of(point), of(next), growing));
    }
    if n > 0 {
        return object;
    }
    // What does not change is said at the first control point.
    object
        .numbers(tags::NOMINAL_BEAM_ENERGY, &[beam.energy.nominal_mv])
        .numbers(tags::ISOCENTER_POSITION, &beam.isocenter_lps.to_array())
        .numbers(tags::TABLE_TOP_ECCENTRIC_ANGLE, &[0.0])
        .text(tags::TABLE_TOP_ECCENTRIC_ROTATION_DIRECTION, "NONE")
        .float(tags::TABLE_TOP_PITCH_ANGLE, 0.0)
        .text(tags::TABLE_TOP_PITCH_ROTATION_DIRECTION, "NONE")
        .float(tags::TABLE_TOP_ROLL_ANGLE, 0.0)
        .text(tags::TABLE_TOP_ROLL_ROTATION_DIRECTION, "NONE")
        .text(tags::TABLE_TOP_VERTICAL_POSITION, "")
        .text(tags::TABLE_TOP_LONGITUDINAL_POSITION, "")
        .text(tags::TABLE_TOP_LATERAL_POSITION, "")
}

/// Angle, direction, where the angle stands, and the direction in which it grows.
type Axis = (Tag, Tag, fn(&ControlPoint) -> f64, &'static str);

const AXES: [Axis; 3] = [
    (tags::GANTRY_ANGLE, tags::GANTRY_ROTATION_DIRECTION, |point| point.angles.gantry_deg, "CW"),
    (
        tags::BEAM_LIMITING_DEVICE_ANGLE,
        tags::BEAM_LIMITING_DEVICE_ROTATION_DIRECTION,
        |point| point.angles.collimator_deg,
        "CC",
    ),
    (
        tags::PATIENT_SUPPORT_ANGLE,
        tags::PATIENT_SUPPORT_ROTATION_DIRECTION,
        |point| point.angles.couch_deg,
        "CC",
    ),
];

/// How an axis turns until the next control point.
fn turn(now_deg: f64, next_deg: f64, growing: &'static str) -> &'static str {
    match (next_deg - now_deg, growing) {
        (step, _) if step.abs() < 1e-9 => "NONE",
        (0.0.., _) => growing,
        (_, "CW") => "CC",
        _ => "CW",
    }
}
