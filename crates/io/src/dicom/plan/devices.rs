//! Jaws and leaves: which there are, and where a control point puts them.

use dicom_dictionary_std::tags;
use synthct_rt::{Jaws, LeafPositions, Mlc, MlcAxis};

use crate::IoError;
use crate::dicom::dataset::DataSet;

/// How far a field without jaws is open, mm: the largest field of common machines.
const OPEN_MM: f64 = 200.0;
/// More leaf pairs than any machine has.
const MOST_PAIRS: usize = 1000;

/// The beam limiting devices of a beam.
pub(super) struct Devices {
    x_jaws: Option<String>,
    y_jaws: Option<String>,
    /// The multileaf collimator's device type and its leaves.
    pub(super) mlc: Option<(String, Mlc)>,
}

/// Where the devices are; none where no control point has said it yet.
#[derive(Clone, Default)]
pub(super) struct Positions {
    x_mm: Option<[f64; 2]>,
    y_mm: Option<[f64; 2]>,
    leaves: Option<LeafPositions>,
}

impl Devices {
    /// The devices that a beam lists.
    pub(super) fn of(beam: &DataSet, name: &str, notes: &mut Vec<String>) -> Result<Self, IoError> {
        const LIST: &str = "the beam's jaws and leaves are not known without it";
        const TYPE: &str = "the device is not known without it";
        let mut devices = Self { x_jaws: None, y_jaws: None, mlc: None };
        for item in beam.required_items(tags::BEAM_LIMITING_DEVICE_SEQUENCE, LIST)? {
            let kind = item.required_text(tags::RT_BEAM_LIMITING_DEVICE_TYPE, TYPE)?;
            let twice = |kind: &str| {
                beam.unsupported(format!(
                    "beam `{name}`: two devices that shape it in one direction (`{kind}`)"
                ))
            };
            match kind.as_str() {
                "X" | "ASYMX" if devices.x_jaws.is_none() => devices.x_jaws = Some(kind),
                "Y" | "ASYMY" if devices.y_jaws.is_none() => devices.y_jaws = Some(kind),
                "MLCX" | "MLCY" if devices.mlc.is_none() => {
                    let axis = if kind == "MLCX" { MlcAxis::X } else { MlcAxis::Y };
                    devices.mlc = Some((kind, Mlc { axis, boundaries_mm: boundaries(item)? }));
                }
                "X" | "ASYMX" | "Y" | "ASYMY" | "MLCX" | "MLCY" => return Err(twice(&kind)),
                _ => {
                    return Err(beam.unsupported(format!(
                        "beam `{name}`: the beam limiting device `{kind}` (X, Y, ASYMX, ASYMY, MLCX and MLCY are)"
                    )));
                }
            }
        }
        for (axis, jaws) in [("X", &devices.x_jaws), ("Y", &devices.y_jaws)] {
            if jaws.is_none() {
                notes.push(format!("beam `{name}` has no {axis} jaws: open to ±{OPEN_MM} mm"));
            }
        }
        if devices.x_jaws.is_none() && devices.y_jaws.is_none() && devices.mlc.is_none() {
            return Err(beam.missing(tags::BEAM_LIMITING_DEVICE_SEQUENCE, LIST));
        }
        Ok(devices)
    }

    /// Takes over what a control point says about the devices.
    pub(super) fn update(&self, point: &DataSet, positions: &mut Positions) -> Result<(), IoError> {
        const TYPE: &str = "the positions belong to no device without it";
        for item in point.items(tags::BEAM_LIMITING_DEVICE_POSITION_SEQUENCE) {
            let kind = item.required_text(tags::RT_BEAM_LIMITING_DEVICE_TYPE, TYPE)?;
            let numbers = item.numbers(tags::LEAF_JAW_POSITIONS)?.unwrap_or_default();
            let wrong = |expected: usize| {
                item.malformed(
                    tags::LEAF_JAW_POSITIONS,
                    &format!("`{kind}` has {} positions, not {expected}", numbers.len()),
                )
            };
            let is = |device: &Option<String>| device.as_ref() == Some(&kind);
            if is(&self.x_jaws) || is(&self.y_jaws) {
                let &[low, high] = numbers.as_slice() else { return Err(wrong(2)) };
                let jaws = if is(&self.x_jaws) { &mut positions.x_mm } else { &mut positions.y_mm };
                *jaws = Some([low, high]);
            } else if let Some((_, mlc)) = self.mlc.as_ref().filter(|(device, _)| *device == kind) {
                let n = mlc.n_pairs();
                if numbers.len() != 2 * n {
                    return Err(wrong(2 * n));
                }
                let (low, high) = numbers.split_at(n);
                positions.leaves = Some(LeafPositions { low_mm: low.to_vec(), high_mm: high.to_vec() });
            } else {
                return Err(item.malformed(
                    tags::RT_BEAM_LIMITING_DEVICE_TYPE,
                    &format!("`{kind}` is not in the beam's BeamLimitingDeviceSequence (300A,00B6)"),
                ));
            }
        }
        Ok(())
    }

    /// The positions as jaws and leaves, all of which must have been said by now.
    pub(super) fn state(
        &self,
        point: &DataSet,
        positions: &Positions,
    ) -> Result<(Jaws, Option<LeafPositions>), IoError> {
        let jaws = |device: &Option<String>, position: Option<[f64; 2]>| match (device, position) {
            (None, _) => Ok([-OPEN_MM, OPEN_MM]),
            (Some(_), Some(position)) => Ok(position),
            (Some(kind), None) => Err(unsaid(point, kind)),
        };
        let jaws =
            Jaws { x_mm: jaws(&self.x_jaws, positions.x_mm)?, y_mm: jaws(&self.y_jaws, positions.y_mm)? };
        match (&self.mlc, &positions.leaves) {
            (Some((kind, _)), None) => Err(unsaid(point, kind)),
            (_, leaves) => Ok((jaws, leaves.clone())),
        }
    }
}

fn unsaid(point: &DataSet, kind: &str) -> IoError {
    let hint = format!("no control point up to this one says where `{kind}` is");
    point.missing(tags::BEAM_LIMITING_DEVICE_POSITION_SEQUENCE, &hint)
}

fn boundaries(item: &DataSet) -> Result<Vec<f64>, IoError> {
    const LEAVES: &str = "where the leaf pairs lie is not known without it";
    let boundaries = item
        .numbers(tags::LEAF_POSITION_BOUNDARIES)?
        .ok_or_else(|| item.missing(tags::LEAF_POSITION_BOUNDARIES, LEAVES))?;
    let n_pairs = boundaries.len().saturating_sub(1);
    let announced =
        item.required_integer(tags::NUMBER_OF_LEAF_JAW_PAIRS, "the boundaries cannot be checked without it")?;
    if usize::try_from(announced).ok() != Some(n_pairs) || n_pairs > MOST_PAIRS {
        return Err(item.malformed(
            tags::LEAF_POSITION_BOUNDARIES,
            &format!("{} boundaries do not fit {announced} leaf pairs", boundaries.len()),
        ));
    }
    Ok(boundaries)
}
