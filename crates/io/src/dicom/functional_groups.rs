//! Functional groups of enhanced multi-frame images (PS3.3 section C.7.6.16): what each frame says of itself.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::attributes::{Value, Values};
use super::element::{Element, Elements, Level};
use crate::IoError;

/// The item of Philips' own groups, whose private attributes are kept as well.
const PHILIPS_PER_FRAME: Tag = Tag(0x2005, 0x140F);
/// Philips' scale intercept and slope, "SI" and "SS".
pub(super) const PHILIPS_SCALE_INTERCEPT: Tag = Tag(0x2005, 0x100D);
pub(super) const PHILIPS_SCALE_SLOPE: Tag = Tag(0x2005, 0x100E);

/// Sequences within a group whose attributes are of interest.
const ENTERED: [Tag; 17] = [
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::FRAME_CONTENT_SEQUENCE,
    tags::CT_IMAGE_FRAME_TYPE_SEQUENCE,
    tags::MR_IMAGE_FRAME_TYPE_SEQUENCE,
    tags::MR_ECHO_SEQUENCE,
    tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE,
    tags::MR_MODIFIER_SEQUENCE,
    tags::MR_DIFFUSION_SEQUENCE,
    tags::CARDIAC_SYNCHRONIZATION_SEQUENCE,
    tags::CT_RECONSTRUCTION_SEQUENCE,
    tags::CTX_RAY_DETAILS_SEQUENCE,
    tags::UNASSIGNED_SHARED_CONVERTED_ATTRIBUTES_SEQUENCE,
    tags::UNASSIGNED_PER_FRAME_CONVERTED_ATTRIBUTES_SEQUENCE,
    PHILIPS_PER_FRAME,
];

/// Attributes whose values are kept.
const KEPT: [Tag; 29] = [
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::PIXEL_SPACING,
    tags::SLICE_THICKNESS,
    tags::SPACING_BETWEEN_SLICES,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::RESCALE_TYPE,
    tags::FRAME_TYPE,
    tags::STACK_ID,
    tags::IN_STACK_POSITION_NUMBER,
    tags::TEMPORAL_POSITION_INDEX,
    tags::TEMPORAL_POSITION_IDENTIFIER,
    tags::FRAME_ACQUISITION_NUMBER,
    tags::DIMENSION_INDEX_VALUES,
    tags::COMPLEX_IMAGE_COMPONENT,
    tags::EFFECTIVE_ECHO_TIME,
    tags::ECHO_TIME,
    tags::ECHO_NUMBERS,
    tags::REPETITION_TIME,
    tags::FLIP_ANGLE,
    tags::INVERSION_TIMES,
    tags::DIFFUSION_B_VALUE,
    tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME,
    tags::TRIGGER_TIME,
    tags::CONVOLUTION_KERNEL,
    tags::KVP,
    PHILIPS_SCALE_INTERCEPT,
    PHILIPS_SCALE_SLOPE,
];

/// The attributes of each item of a shared or per-frame functional groups sequence, whose head has just been read.
pub(super) fn read(elements: &mut Elements, sequence: &Element) -> Result<Vec<Values>, IoError> {
    let sequence = elements.enter(sequence)?;
    let mut groups = Vec::new();
    while let Some(item) = elements.next_item(&sequence)? {
        let mut values = Values::new();
        read_item(elements, &item, &mut values)?;
        groups.push(values);
    }
    Ok(groups)
}

/// Adds the attributes of an item and of the sequences in it; of several items the first counts.
fn read_item(elements: &mut Elements, item: &Level, values: &mut Values) -> Result<(), IoError> {
    while let Some(element) = elements.next_of(item)? {
        if ENTERED.contains(&element.tag) {
            let sequence = elements.enter(&element)?;
            while let Some(inner) = elements.next_item(&sequence)? {
                read_macro(elements, &inner, values)?;
            }
        } else {
            elements.skip(&element)?;
        }
    }
    Ok(())
}

fn read_macro(elements: &mut Elements, item: &Level, values: &mut Values) -> Result<(), IoError> {
    while let Some(element) = elements.next_of(item)? {
        if KEPT.contains(&element.tag) && !values.contains_key(&element.tag) {
            let bytes = elements.value(&element)?;
            values.insert(element.tag, Value { vr: element.vr, bytes });
        } else {
            elements.skip(&element)?;
        }
    }
    Ok(())
}
