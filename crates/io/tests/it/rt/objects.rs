//! Small radiotherapy objects, written with dicom-object.

use std::error::Error;
use std::path::Path;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

pub(crate) type TestResult = Result<(), Box<dyn Error>>;

/// A data set or item under construction.
#[derive(Clone)]
pub(crate) struct Set(pub(crate) InMemDicomObject);

impl Set {
    pub(crate) fn new() -> Self {
        Self(InMemDicomObject::new_empty())
    }

    pub(crate) fn text(mut self, tag: Tag, vr: VR, text: &str) -> Self {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
        self
    }

    pub(crate) fn cs(self, tag: Tag, text: &str) -> Self {
        self.text(tag, VR::CS, text)
    }

    pub(crate) fn uid(self, tag: Tag, text: &str) -> Self {
        self.text(tag, VR::UI, text)
    }

    pub(crate) fn int(self, tag: Tag, number: i32) -> Self {
        self.text(tag, VR::IS, &number.to_string())
    }

    pub(crate) fn numbers(self, tag: Tag, numbers: &[f64]) -> Self {
        let text: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        self.text(tag, VR::DS, &text.join("\\"))
    }

    pub(crate) fn float(mut self, tag: Tag, number: f32) -> Self {
        self.0.put(DataElement::new(tag, VR::FL, PrimitiveValue::from(number)));
        self
    }

    pub(crate) fn word(mut self, tag: Tag, word: u16) -> Self {
        self.0.put(DataElement::new(tag, VR::US, PrimitiveValue::from(word)));
        self
    }

    pub(crate) fn bytes(mut self, tag: Tag, bytes: Vec<u8>) -> Self {
        self.0.put(DataElement::new(tag, VR::OW, PrimitiveValue::U8(bytes.into())));
        self
    }

    pub(crate) fn items(mut self, tag: Tag, items: Vec<Self>) -> Self {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    pub(crate) fn without(mut self, tag: Tag) -> Self {
        self.0.remove_element(tag);
        self
    }

    /// Changes the item at these places: sequence, item, sequence, item, …
    pub(crate) fn change(mut self, places: &[(Tag, usize)], change: impl FnOnce(Self) -> Self) -> Self {
        let Some((&(tag, n), rest)) = places.split_first() else { return change(self) };
        let mut items: Vec<InMemDicomObject> =
            self.0.element(tag).ok().and_then(|e| e.items().map(<[_]>::to_vec)).unwrap_or_default();
        let item = Self(items[n].clone()).change(rest, change);
        items[n] = item.0;
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    pub(crate) fn write(&self, path: &Path) -> TestResult {
        self.write_as(path, uids::IMPLICIT_VR_LITTLE_ENDIAN)
    }

    pub(crate) fn write_as(&self, path: &Path, syntax: &str) -> TestResult {
        self.0.clone().with_meta(FileMetaTableBuilder::new().transfer_syntax(syntax))?.write_to_file(path)?;
        Ok(())
    }
}

/// What every object says.
pub(crate) fn object(class_uid: &str, modality: &str) -> Set {
    Set::new()
        .uid(tags::SOP_CLASS_UID, class_uid)
        .uid(tags::SOP_INSTANCE_UID, "1.2.3.9")
        .cs(tags::MODALITY, modality)
        .uid(tags::STUDY_INSTANCE_UID, "1.2.3")
        .uid(tags::SERIES_INSTANCE_UID, "1.2.3.8")
        .uid(tags::FRAME_OF_REFERENCE_UID, "1.2.3.5")
}

fn device(kind: &str, pairs: i32) -> Set {
    Set::new().cs(tags::RT_BEAM_LIMITING_DEVICE_TYPE, kind).int(tags::NUMBER_OF_LEAF_JAW_PAIRS, pairs)
}

pub(crate) fn position(kind: &str, positions: &[f64]) -> Set {
    Set::new().cs(tags::RT_BEAM_LIMITING_DEVICE_TYPE, kind).numbers(tags::LEAF_JAW_POSITIONS, positions)
}

/// A beam of two control points without leaves' movement: ASYMX, Y and an MLCX of two pairs.
pub(crate) fn beam(number: i32) -> Set {
    let mlc = device("MLCX", 2).numbers(tags::LEAF_POSITION_BOUNDARIES, &[-10.0, 0.0, 15.0]);
    let first = Set::new()
        .int(tags::CONTROL_POINT_INDEX, 0)
        .numbers(tags::CUMULATIVE_METERSET_WEIGHT, &[0.0])
        .numbers(tags::NOMINAL_BEAM_ENERGY, &[6.0])
        .numbers(tags::GANTRY_ANGLE, &[350.0])
        .cs(tags::GANTRY_ROTATION_DIRECTION, "NONE")
        .numbers(tags::BEAM_LIMITING_DEVICE_ANGLE, &[10.0])
        .numbers(tags::PATIENT_SUPPORT_ANGLE, &[5.0])
        .float(tags::TABLE_TOP_PITCH_ANGLE, 0.0)
        .numbers(tags::ISOCENTER_POSITION, &[1.5, -2.5, 30.25])
        .items(
            tags::BEAM_LIMITING_DEVICE_POSITION_SEQUENCE,
            vec![
                position("ASYMX", &[-30.0, 45.5]),
                position("Y", &[-20.0, 20.0]),
                position("MLCX", &[-5.0, -6.0, 7.0, 8.0]),
            ],
        );
    let last = Set::new().int(tags::CONTROL_POINT_INDEX, 1).numbers(tags::CUMULATIVE_METERSET_WEIGHT, &[2.0]);
    Set::new()
        .int(tags::BEAM_NUMBER, number)
        .text(tags::BEAM_NAME, VR::LO, "anterior")
        .cs(tags::RADIATION_TYPE, "PHOTON")
        .cs(tags::TREATMENT_DELIVERY_TYPE, "TREATMENT")
        .cs(tags::PRIMARY_DOSIMETER_UNIT, "MU")
        .numbers(tags::SOURCE_AXIS_DISTANCE, &[1000.0])
        .int(tags::NUMBER_OF_WEDGES, 0)
        .int(tags::NUMBER_OF_BLOCKS, 0)
        .numbers(tags::FINAL_CUMULATIVE_METERSET_WEIGHT, &[2.0])
        .int(tags::NUMBER_OF_CONTROL_POINTS, 2)
        .int(tags::REFERENCED_PATIENT_SETUP_NUMBER, 1)
        .items(tags::BEAM_LIMITING_DEVICE_SEQUENCE, vec![device("ASYMX", 1), device("Y", 1), mlc])
        .items(tags::CONTROL_POINT_SEQUENCE, vec![first, last])
}

/// A plan of one beam of 123.5 MU, number 3, in 30 fractions.
pub(crate) fn plan() -> Set {
    let reference = Set::new().int(tags::REFERENCED_BEAM_NUMBER, 3).numbers(tags::BEAM_METERSET, &[123.5]);
    let group = Set::new()
        .int(tags::FRACTION_GROUP_NUMBER, 1)
        .int(tags::NUMBER_OF_FRACTIONS_PLANNED, 30)
        .items(tags::REFERENCED_BEAM_SEQUENCE, vec![reference]);
    let target = Set::new()
        .cs(tags::DOSE_REFERENCE_TYPE, "TARGET")
        .int(tags::REFERENCED_ROI_NUMBER, 4)
        .numbers(tags::TARGET_PRESCRIPTION_DOSE, &[60.0]);
    let setup = Set::new().int(tags::PATIENT_SETUP_NUMBER, 1).cs(tags::PATIENT_POSITION, "FFP");
    object(uids::RT_PLAN_STORAGE, "RTPLAN")
        .text(tags::RT_PLAN_LABEL, VR::SH, "test")
        .items(tags::DOSE_REFERENCE_SEQUENCE, vec![target])
        .items(tags::FRACTION_GROUP_SEQUENCE, vec![group])
        .items(tags::BEAM_SEQUENCE, vec![beam(3)])
        .items(tags::PATIENT_SETUP_SEQUENCE, vec![setup])
}

/// A structure set of two structures: a square with a hole on two slices, and one without contours.
pub(crate) fn structure_set() -> Set {
    let roi = |number: i32, name: &str| {
        Set::new().int(tags::ROI_NUMBER, number).uid(tags::REFERENCED_FRAME_OF_REFERENCE_UID, "1.2.3.5").text(
            tags::ROI_NAME,
            VR::LO,
            name,
        )
    };
    let mut contours = Vec::new();
    for z in [10.0, 13.0] {
        for half in [20.0, 5.0] {
            contours.push(contour("CLOSED_PLANAR", &square(half, z)));
        }
    }
    contours.push(contour("POINT", &[0.0, 0.0, 10.0]));
    contours.push(contour("CLOSED_PLANAR", &[0.0, 0.0, 10.0]));
    let of_ring = Set::new()
        .int(tags::REFERENCED_ROI_NUMBER, 7)
        .text(tags::ROI_DISPLAY_COLOR, VR::IS, "255\\128\\0")
        .items(tags::CONTOUR_SEQUENCE, contours);
    let observation = Set::new()
        .int(tags::OBSERVATION_NUMBER, 1)
        .int(tags::REFERENCED_ROI_NUMBER, 7)
        .cs(tags::RTROI_INTERPRETED_TYPE, "PTV");
    object(uids::RT_STRUCTURE_SET_STORAGE, "RTSTRUCT")
        .text(tags::STRUCTURE_SET_LABEL, VR::SH, "label")
        .items(tags::STRUCTURE_SET_ROI_SEQUENCE, vec![roi(7, "Ring"), roi(9, "empty")])
        .items(tags::ROI_CONTOUR_SEQUENCE, vec![of_ring])
        .items(tags::RTROI_OBSERVATIONS_SEQUENCE, vec![observation])
}

pub(crate) fn square(half: f64, z: f64) -> Vec<f64> {
    [[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]].concat()
}

pub(crate) fn contour(kind: &str, numbers: &[f64]) -> Set {
    Set::new()
        .cs(tags::CONTOUR_GEOMETRIC_TYPE, kind)
        .int(tags::NUMBER_OF_CONTOUR_POINTS, numbers.len() as i32 / 3)
        .numbers(tags::CONTOUR_DATA, numbers)
}

/// A dose of 3 × 2 × 4 voxels of `bits`, with the stored value 1000 k + 10 j + i.
pub(crate) fn dose(bits: u16) -> Set {
    let mut bytes = Vec::new();
    for k in 0..4_u32 {
        for j in 0..2 {
            for i in 0..3 {
                let value = 1000 * k + 10 * j + i;
                bytes.extend(&value.to_le_bytes()[..usize::from(bits / 8)]);
            }
        }
    }
    object(uids::RT_DOSE_STORAGE, "RTDOSE")
        .cs(tags::DOSE_UNITS, "GY")
        .cs(tags::DOSE_TYPE, "PHYSICAL")
        .cs(tags::DOSE_SUMMATION_TYPE, "PLAN")
        .numbers(tags::DOSE_GRID_SCALING, &[0.001])
        .numbers(tags::IMAGE_POSITION_PATIENT, &[10.0, -20.0, 30.0])
        .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        .numbers(tags::PIXEL_SPACING, &[2.0, 1.5])
        .numbers(tags::GRID_FRAME_OFFSET_VECTOR, &[0.0, 2.5, 5.0, 7.5])
        .int(tags::NUMBER_OF_FRAMES, 4)
        .word(tags::ROWS, 2)
        .word(tags::COLUMNS, 3)
        .word(tags::SAMPLES_PER_PIXEL, 1)
        .word(tags::BITS_ALLOCATED, bits)
        .word(tags::BITS_STORED, bits)
        .word(tags::HIGH_BIT, bits - 1)
        .word(tags::PIXEL_REPRESENTATION, 0)
        .bytes(tags::PIXEL_DATA, bytes)
}
