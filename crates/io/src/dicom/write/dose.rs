//! RT Dose Storage (PS3.3 section A.18.3).

use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use synthct_image::{VectorLps, Volume};

use super::decimal::decimal;
use super::object::{Object, Syntax};
use super::origin::Origin;
use super::series::require_words;
use super::{NOT_FOR_CLINICAL_USE, VERSION};
use crate::IoError;

/// What a dose says about itself.
#[derive(Clone, Debug)]
pub struct DoseText<'a> {
    /// SeriesDescription, of which 64 bytes are kept.
    pub description: &'a str,
    /// How the dose was computed; DoseComment, of which 1024 bytes are kept.
    pub comment: &'a str,
    /// SOPInstanceUID of the plan that the dose is of.
    pub plan_uid: &'a str,
}

/// Writes the dose of a plan in Gy as an RT Dose of 32 bits, in the patient, study and frame of reference of `origin`; returns its SOPInstanceUID.
///
/// DoseGridScaling is the largest dose over 2³² − 1, so that rounding is below the precision of 32-bit floats.
/// UIDs follow from the content.
///
/// # Errors
/// [`IoError::Value`] for a dose below zero or not finite, [`IoError::Io`].
pub fn write_dose(
    path: &Path,
    dose_gy: &Volume<f32>,
    origin: &Origin,
    text: &DoseText<'_>,
) -> Result<String, IoError> {
    let grid = dose_gy.grid();
    require_words(path, grid)?;
    if let Some(voxel_idx) = dose_gy.as_slice().iter().position(|gy| !(gy.is_finite() && *gy >= 0.0)) {
        return Err(crate::format::value_error(
            path,
            dose_gy,
            voxel_idx,
            "a dose is finite and not below zero",
        ));
    }
    let most = dose_gy.as_slice().iter().fold(0.0_f32, |most, gy| most.max(*gy));
    let scaling = scaling(f64::from(most));
    let mut bytes = Vec::with_capacity(4 * grid.n_voxels());
    bytes.extend(
        dose_gy.as_slice().iter().flat_map(|gy| ((f64::from(*gy) / scaling).round() as u32).to_le_bytes()),
    );
    let [ni, nj, nk] = grid.size_ijk();
    let [i_mm, j_mm, k_mm] = grid.spacing_mm();
    let axes = [0, 1, 2].map(|axis| VectorLps::from(grid.direction().column(axis)));
    // Offsets count along the normal, which a left-handed grid runs against.
    let step_mm = if axes[0].cross(axes[1]).dot(axes[2]) > 0.0 { k_mm } else { -k_mm };
    let offsets: Vec<f64> = (0..nk).map(|k| if k == 0 { 0.0 } else { k as f64 * step_mm }).collect();
    // Explicit data sets hold 64 KiB of offsets, of 17 bytes at most each.
    let syntax = if nk < 3000 { Syntax::Explicit } else { Syntax::Implicit };
    let content = origin
        .content("dose")
        .grid(grid)
        .values(dose_gy.as_slice())
        .text(text.description)
        .text(text.comment)
        .text(text.plan_uid)
        .text(VERSION);
    let instance_uid = content.clone().text("dose").uid();
    origin
        .rt_object("RTDOSE", content, 9200, text.description)
        .text(tags::IMAGE_COMMENTS, NOT_FOR_CLINICAL_USE)
        .numbers(tags::IMAGE_POSITION_PATIENT, &grid.origin_lps().to_array())
        .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[axes[0].to_array(), axes[1].to_array()].concat())
        .numbers(tags::PIXEL_SPACING, &[j_mm, i_mm])
        .numbers(tags::SLICE_THICKNESS, &[k_mm])
        .word(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .integer(tags::NUMBER_OF_FRAMES, nk as i64)
        .tag(tags::FRAME_INCREMENT_POINTER, tags::GRID_FRAME_OFFSET_VECTOR)
        .word(tags::ROWS, nj as u16)
        .word(tags::COLUMNS, ni as u16)
        .word(tags::BITS_ALLOCATED, 32)
        .word(tags::BITS_STORED, 32)
        .word(tags::HIGH_BIT, 31)
        .word(tags::PIXEL_REPRESENTATION, 0)
        .text(tags::DOSE_UNITS, "GY")
        .text(tags::DOSE_TYPE, "PHYSICAL")
        .short_text(tags::DOSE_COMMENT, text.comment, 1024)
        .text(tags::DOSE_SUMMATION_TYPE, "PLAN")
        .numbers(tags::GRID_FRAME_OFFSET_VECTOR, &offsets)
        .numbers(tags::DOSE_GRID_SCALING, &[scaling])
        .text(tags::TISSUE_HETEROGENEITY_CORRECTION, "IMAGE")
        .items(
            tags::REFERENCED_RT_PLAN_SEQUENCE,
            vec![Object::reference(uids::RT_PLAN_STORAGE, text.plan_uid)],
        )
        .pixels(bytes)
        .write(path, uids::RT_DOSE_STORAGE, &instance_uid, syntax)?;
    Ok(instance_uid)
}

/// Gy of one stored unit, as a decimal string holds it, large enough for the largest dose.
fn scaling(most_gy: f64) -> f64 {
    let exact = most_gy.max(1e-6) / f64::from(u32::MAX);
    // Ten digits are kept, so that this much more is never rounded away.
    let text = decimal(exact * (1.0 + 1e-9));
    text.parse().unwrap_or(exact)
}
