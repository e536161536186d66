//! One beam: what it is, and whether it can be described.

use dicom_dictionary_std::tags;
use synthct_rt::{Beam, PhotonEnergy};

use super::devices::Devices;
use super::points::control_points;
use crate::IoError;
use crate::dicom::dataset::DataSet;

/// A beam, or why it is none of the treatment.
pub(super) enum Delivered {
    Beam(Beam),
    LeftOut(String),
}

/// The beam of an item of the beam sequence.
pub(super) fn read_beam(
    item: &DataSet,
    number: i32,
    meterset: Option<f64>,
    notes: &mut Vec<String>,
) -> Result<Delivered, IoError> {
    let name = item.text(tags::BEAM_NAME).unwrap_or_else(|| format!("beam {number}"));
    let left_out = |why: &str| Ok(Delivered::LeftOut(format!("beam {number} `{name}` is left out: {why}")));
    match item.text(tags::TREATMENT_DELIVERY_TYPE).as_deref() {
        None | Some("TREATMENT" | "CONTINUATION") => {}
        Some(other) => return left_out(&format!("it is for {other}")),
    }
    let Some(meterset_mu) = meterset else { return left_out("it has no meterset") };
    if meterset_mu <= 0.0 {
        return left_out(&format!("its meterset is {meterset_mu}"));
    }
    require_describable(item, &name)?;
    let devices = Devices::of(item, &name, notes)?;
    let (isocenter_lps, energy_mv, points) = control_points(item, &name, &devices)?;
    Ok(Delivered::Beam(Beam {
        number,
        energy: PhotonEnergy { nominal_mv: energy_mv, flattening_filter_free: is_fff(item, &name)? },
        source_axis_distance_mm: item
            .required_number(tags::SOURCE_AXIS_DISTANCE, "the source's place is not known without it")?,
        isocenter_lps,
        meterset_mu,
        mlc: devices.mlc.map(|(_, mlc)| mlc),
        control_points: points,
        name,
    }))
}

/// Fails by name for what the plan's type has no place for.
fn require_describable(item: &DataSet, name: &str) -> Result<(), IoError> {
    let refuse = |what: String| Err(item.unsupported(format!("beam `{name}`: {what}")));
    match item.text(tags::RADIATION_TYPE).as_deref() {
        Some("PHOTON") => {}
        Some(other) => return refuse(format!("RadiationType (300A,00C6) `{other}` (only PHOTON is)")),
        None => return Err(item.missing(tags::RADIATION_TYPE, "the particle is not known without it")),
    }
    if let Some(unit) = item.text(tags::PRIMARY_DOSIMETER_UNIT).filter(|unit| unit != "MU") {
        return refuse(format!("a meterset in `{unit}` (PrimaryDosimeterUnit (300A,00B3)); only MU is"));
    }
    for (tag, sequence, what) in [
        (tags::NUMBER_OF_BLOCKS, tags::BLOCK_SEQUENCE, "a block (BlockSequence (300A,00F4))"),
        (
            tags::NUMBER_OF_BOLI,
            tags::REFERENCED_BOLUS_SEQUENCE,
            "a bolus (ReferencedBolusSequence (300C,00B0))",
        ),
    ] {
        if item.integer(tag)?.is_some_and(|n| n > 0) || !item.items(sequence).is_empty() {
            return refuse(what.to_owned());
        }
    }
    let compensators = item.items(tags::COMPENSATOR_SEQUENCE);
    let is_announced =
        compensators.is_empty() && item.integer(tags::NUMBER_OF_COMPENSATORS)?.is_some_and(|n| n > 0);
    if is_announced || compensators.iter().any(is_of_matter) {
        return refuse("a compensator (CompensatorSequence (300A,00E3))".to_owned());
    }
    if !item.items(tags::APPLICATOR_SEQUENCE).is_empty() {
        return refuse("an applicator or cone (ApplicatorSequence (300A,0107))".to_owned());
    }
    let has_wedges = item.integer(tags::NUMBER_OF_WEDGES)?.is_some_and(|n| n > 0)
        || !item.items(tags::WEDGE_SEQUENCE).is_empty();
    if has_wedges && !wedges_stay_out(item) {
        return refuse("a wedge (WedgeSequence (300A,00D1))".to_owned());
    }
    Ok(())
}

/// Whether a compensator is a piece of matter in the beam.
///
/// Some planning systems (Eclipse) also write the fluence that leaves are to imitate as a compensator, without a material and
/// of a type of its own; the leaves' positions then say it all.
fn is_of_matter(compensator: &DataSet) -> bool {
    let kind = compensator.text(tags::COMPENSATOR_TYPE);
    compensator.text(tags::MATERIAL_ID).is_some() || matches!(kind.as_deref(), None | Some("STANDARD"))
}

/// Whether the control points say that every wedge is out of the beam.
fn wedges_stay_out(item: &DataSet) -> bool {
    let mut positions = item
        .items(tags::CONTROL_POINT_SEQUENCE)
        .iter()
        .flat_map(|point| point.items(tags::WEDGE_POSITION_SEQUENCE))
        .map(|wedge| wedge.text(tags::WEDGE_POSITION))
        .peekable();
    positions.peek().is_some() && positions.all(|position| position.as_deref() == Some("OUT"))
}

/// Whether the beam has no flattening filter.
fn is_fff(item: &DataSet, name: &str) -> Result<bool, IoError> {
    let modes = item.items(tags::PRIMARY_FLUENCE_MODE_SEQUENCE);
    let Some(mode) = modes.first() else { return Ok(false) };
    match (mode.text(tags::FLUENCE_MODE).as_deref(), mode.text(tags::FLUENCE_MODE_ID).as_deref()) {
        (None | Some("STANDARD"), _) => Ok(false),
        (Some("NON_STANDARD"), Some(id)) if id.to_ascii_uppercase().contains("FFF") => Ok(true),
        (Some(other), id) => Err(item.unsupported(format!(
            "beam `{name}`: FluenceMode (3002,0051) `{other}` with FluenceModeID (3002,0052) `{}` (only STANDARD and FFF are)",
            id.unwrap_or("absent")
        ))),
    }
}
