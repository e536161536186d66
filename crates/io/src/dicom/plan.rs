//! RT Plans of photons (PS3.3 section A.20.3).

mod beam;
mod devices;
mod points;

use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use synthct_rt::{PatientPosition, Plan, Prescription};

use self::beam::{Delivered, read_beam};
use super::dataset::DataSet;
use super::object::{RtKind, read_object};
use crate::IoError;

/// A plan and what its file says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanFile {
    /// The file.
    pub path: PathBuf,
    /// The plan, with values that the file leaves out because they do not change written out at every control point.
    pub plan: Plan,
    /// SOPInstanceUID, by which doses refer to the plan.
    pub sop_instance_uid: String,
    /// FrameOfReferenceUID, if the file says it.
    pub frame_of_reference_uid: Option<String>,
    /// ReferencedSOPInstanceUID of the structure set that the plan was made with, if the file says it.
    pub structure_set_uid: Option<String>,
    /// What was left out and why, a line each.
    pub notes: Vec<String>,
}

/// Reads an RT Plan: a file, or a folder that holds one.
///
/// Static beams, step and shoot, sliding windows and arcs of photons are read. Control points inherit what they leave out.
/// Gantry, collimator and couch turn in the direction that the plan gives; angles are made continuous, so that a turn through
/// 0° goes on below 0° or beyond 360°. Monitor units are BeamMeterset × CumulativeMetersetWeight / FinalCumulativeMetersetWeight.
/// Beams for set-up and portal images, and beams without a meterset, treat nothing: they are left out and noted.
/// Without X or Y jaws the field is taken to be open to ±200 mm in that direction, which is noted.
///
/// # Errors
/// - [`IoError::Unsupported`] for what [`Plan`] has no place for: other particles, brachytherapy, wedges that are in, blocks,
///   compensators, boluses, applicators, collimators of two layers, couch pitch, roll and eccentric turns, isocenters that
///   move, metersets in other units, several fraction groups, fluence modes other than standard and FFF.
/// - [`IoError::MissingAttribute`] and [`IoError::Malformed`] name the attribute.
/// - [`IoError::Rt`] for a plan that [`Plan::check`] refuses.
pub fn read_plan(path: &Path) -> Result<PlanFile, IoError> {
    const BEAMS: &str = "the plan has no external beams";
    let set = read_object(path, RtKind::Plan)?;
    let group = fraction_group(&set)?;
    let mut notes = Vec::new();
    let n_fractions = match group.integer(tags::NUMBER_OF_FRACTIONS_PLANNED)? {
        None => {
            notes.push("the plan does not say how many fractions there are: one is taken".to_owned());
            None
        }
        Some(n) => Some(u32::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| {
            group.malformed(tags::NUMBER_OF_FRACTIONS_PLANNED, &format!("{n} is no number of fractions"))
        })?),
    };
    let metersets = metersets(group)?;
    let mut beams = Vec::new();
    let mut position = None;
    for item in set.required_items(tags::BEAM_SEQUENCE, BEAMS)? {
        let number = item.required_integer(tags::BEAM_NUMBER, "no meterset refers to the beam without it")?;
        let meterset = metersets.iter().find(|(beam, _)| *beam == number).map(|(_, meterset)| *meterset);
        match read_beam(item, number, meterset, &mut notes)? {
            Delivered::Beam(beam) => {
                let of_beam = patient_position(&set, item, number)?;
                if position.is_some_and(|position| position != of_beam) {
                    return Err(set.unsupported("a plan whose beams have different patient positions"));
                }
                position = Some(of_beam);
                beams.push(beam);
            }
            Delivered::LeftOut(reason) => notes.push(reason),
        }
    }
    let Some(position) = position else {
        return Err(set.malformed(
            tags::BEAM_SEQUENCE,
            &format!("none of its beams treats with a meterset ({})", notes.join("; ")),
        ));
    };
    let plan = Plan {
        label: set.text(tags::RT_PLAN_LABEL).unwrap_or_default(),
        position,
        n_fractions,
        prescription: prescription(&set, &mut notes)?,
        beams,
    };
    let path = set.path().to_owned();
    plan.check().map_err(|source| IoError::Rt { path: path.clone(), source: Box::new(source) })?;
    let structures = set.items(tags::REFERENCED_STRUCTURE_SET_SEQUENCE).first();
    Ok(PlanFile {
        path,
        plan,
        sop_instance_uid: set.text(tags::SOP_INSTANCE_UID).unwrap_or_default(),
        frame_of_reference_uid: set.text(tags::FRAME_OF_REFERENCE_UID),
        structure_set_uid: structures.and_then(|item| item.text(tags::REFERENCED_SOP_INSTANCE_UID)),
        notes,
    })
}

/// The one fraction group, of external beams.
fn fraction_group(set: &DataSet) -> Result<&DataSet, IoError> {
    const GROUPS: &str = "the plan has no metersets without it; export it with its fraction scheme";
    if !set.items(tags::APPLICATION_SETUP_SEQUENCE).is_empty() {
        return Err(set.unsupported("a brachytherapy plan (ApplicationSetupSequence (300A,0230))"));
    }
    let groups = set.required_items(tags::FRACTION_GROUP_SEQUENCE, GROUPS)?;
    let [group] = groups else {
        return Err(set.unsupported(format!(
            "a plan of {} fraction groups (FractionGroupSequence (300A,0070)); export a plan for each",
            groups.len()
        )));
    };
    Ok(group)
}

/// The meterset of each beam that has one, by beam number.
fn metersets(group: &DataSet) -> Result<Vec<(i32, f64)>, IoError> {
    let mut metersets: Vec<(i32, f64)> = Vec::new();
    for item in group.items(tags::REFERENCED_BEAM_SEQUENCE) {
        let beam = item
            .required_integer(tags::REFERENCED_BEAM_NUMBER, "its meterset belongs to no beam without it")?;
        if metersets.iter().any(|(other, _)| *other == beam) {
            return Err(item.malformed(tags::REFERENCED_BEAM_NUMBER, &format!("beam {beam} is listed twice")));
        }
        if let Some(meterset) = item.number(tags::BEAM_METERSET)? {
            metersets.push((beam, meterset));
        }
    }
    Ok(metersets)
}

/// How the patient lies for a beam.
fn patient_position(set: &DataSet, beam: &DataSet, number: i32) -> Result<PatientPosition, IoError> {
    const POSITION: &str =
        "the beam's direction in the patient is not known without it; export the plan with its patient setup";
    let setups = set.required_items(tags::PATIENT_SETUP_SEQUENCE, POSITION)?;
    let setup = match beam.integer(tags::REFERENCED_PATIENT_SETUP_NUMBER)? {
        Some(wanted) => setups.iter().find(
            |setup| matches!(setup.integer(tags::PATIENT_SETUP_NUMBER), Ok(number) if number == Some(wanted)),
        ),
        None if setups.len() == 1 => setups.first(),
        None => None,
    };
    let setup = setup.ok_or_else(|| {
        beam.malformed(
            tags::REFERENCED_PATIENT_SETUP_NUMBER,
            &format!("beam {number} refers to no item of PatientSetupSequence (300A,0180)"),
        )
    })?;
    let text = setup.required_text(tags::PATIENT_POSITION, POSITION)?;
    text.parse()
        .map_err(|error: synthct_rt::RtError| setup.malformed(tags::PATIENT_POSITION, &error.to_string()))
}

/// The dose prescribed to the target; the largest if there are several targets.
fn prescription(set: &DataSet, notes: &mut Vec<String>) -> Result<Option<Prescription>, IoError> {
    let mut found: Option<Prescription> = None;
    let mut n_targets = 0;
    for item in set.items(tags::DOSE_REFERENCE_SEQUENCE) {
        if item.text(tags::DOSE_REFERENCE_TYPE).as_deref() != Some("TARGET") {
            continue;
        }
        let Some(dose_gy) = item.number(tags::TARGET_PRESCRIPTION_DOSE)?.filter(|gy| *gy > 0.0) else {
            continue;
        };
        n_targets += 1;
        if found.as_ref().is_none_or(|found| dose_gy > found.dose_gy) {
            found = Some(Prescription { dose_gy, target_roi: item.integer(tags::REFERENCED_ROI_NUMBER)? });
        }
    }
    if let (2.., Some(found)) = (n_targets, &found) {
        notes.push(format!(
            "the plan prescribes {n_targets} doses: the largest, {} Gy, is taken",
            found.dose_gy
        ));
    }
    Ok(found)
}
