//! RT Structure Set Storage (PS3.3 section A.19.3).

use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use synthct_image::PointLps;
use synthct_rt::{Contour, Roi, StructureSet};

use super::decimal::decimal;
use super::object::{Object, Syntax};
use super::origin::Origin;
use super::uid::Content;
use super::{NOT_FOR_CLINICAL_USE, VERSION};
use crate::IoError;

/// What a structure set says about itself.
#[derive(Clone, Debug)]
pub struct StructureText<'a> {
    /// StructureSetLabel, of which 16 bytes are kept.
    pub label: &'a str,
    /// SeriesDescription, of which 64 bytes are kept.
    pub description: &'a str,
    /// Whether the structures were found by a program rather than drawn (ROIGenerationAlgorithm).
    pub is_automatic: bool,
}

/// Writes structures as an RT Structure Set in the patient, study and frame of reference of `origin`; returns its SOPInstanceUID.
///
/// Contours in the plane of one of the origin's images refer to it. Names beyond ASCII are written as UTF-8, or with `?`
/// where the origin's patient is written in another character set.
/// UIDs follow from the content. Data sets are implicit, because long contours have no place in explicit ones.
///
/// # Errors
/// [`IoError::FrameOfReference`] for structures of another frame of reference than the origin's; [`IoError::Io`].
pub fn write_structure_set(
    path: &Path,
    structures: &StructureSet,
    origin: &Origin,
    text: &StructureText<'_>,
) -> Result<String, IoError> {
    let frame_uid = origin.frame_of_reference_uid();
    if let Some(other) = structures.frame_of_reference_uid.as_ref().filter(|uid| **uid != frame_uid) {
        return Err(IoError::FrameOfReference {
            what: "the structures".to_owned(),
            uid: other.clone(),
            reference: "the series that they are written for".to_owned(),
            reference_uid: frame_uid,
        });
    }
    let content = fingerprint(structures, origin, text);
    let instance_uid = content.clone().text("structure set").uid();
    let name = |name: &str| {
        if origin.is_unicode() {
            name.to_owned()
        } else {
            name.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
        }
    };
    let rois = structures.rois.iter().map(|roi| {
        Object::new()
            .integer(tags::ROI_NUMBER, i64::from(roi.number))
            .text(tags::REFERENCED_FRAME_OF_REFERENCE_UID, &frame_uid)
            .short_text(tags::ROI_NAME, &name(&roi.name), 64)
            .text(tags::ROI_GENERATION_ALGORITHM, if text.is_automatic { "AUTOMATIC" } else { "" })
    });
    let contours = structures.rois.iter().map(|roi| contours_of(roi, origin));
    let observations = structures.rois.iter().enumerate().map(|(n, roi)| {
        Object::new()
            .integer(tags::OBSERVATION_NUMBER, n as i64 + 1)
            .integer(tags::REFERENCED_ROI_NUMBER, i64::from(roi.number))
            .text(tags::RTROI_INTERPRETED_TYPE, roi.interpreted_type.as_deref().unwrap_or_default())
            .text(tags::ROI_INTERPRETER, "")
    });
    origin
        .rt_object("RTSTRUCT", content, 9100, &name(text.description))
        .short_text(tags::STRUCTURE_SET_LABEL, &name(text.label), 16)
        .text(tags::STRUCTURE_SET_DESCRIPTION, NOT_FOR_CLINICAL_USE)
        .text(tags::STRUCTURE_SET_DATE, "")
        .text(tags::STRUCTURE_SET_TIME, "")
        .items(tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE, vec![frame_of_reference(origin, &frame_uid)])
        .items(tags::STRUCTURE_SET_ROI_SEQUENCE, rois.collect())
        .items(tags::ROI_CONTOUR_SEQUENCE, contours.collect())
        .items(tags::RTROI_OBSERVATIONS_SEQUENCE, observations.collect())
        .text(tags::APPROVAL_STATUS, "UNAPPROVED")
        .write(path, uids::RT_STRUCTURE_SET_STORAGE, &instance_uid, Syntax::Implicit)?;
    Ok(instance_uid)
}

/// The frame of reference, and the series in it that contours refer to.
fn frame_of_reference(origin: &Origin, frame_uid: &str) -> Object {
    let frame = Object::new().text(tags::FRAME_OF_REFERENCE_UID, frame_uid);
    let Some(series_uid) = origin.series_uid() else { return frame };
    let images = origin.images().iter().map(|[class, instance]| Object::reference(class, instance)).collect();
    let series =
        Object::new().text(tags::SERIES_INSTANCE_UID, series_uid).items(tags::CONTOUR_IMAGE_SEQUENCE, images);
    // The study is referred to by the class of a retired service, as all systems do.
    let study = Object::reference("1.2.840.10008.3.1.2.3.1", &origin.study_uid())
        .items(tags::RT_REFERENCED_SERIES_SEQUENCE, vec![series]);
    frame.items(tags::RT_REFERENCED_STUDY_SEQUENCE, vec![study])
}

fn contours_of(roi: &Roi, origin: &Origin) -> Object {
    let contours: Vec<Object> = roi
        .contours
        .iter()
        .enumerate()
        .map(|(n, contour)| {
            let object = Object::new()
                .integer(tags::CONTOUR_NUMBER, n as i64 + 1)
                .text(tags::CONTOUR_GEOMETRIC_TYPE, "CLOSED_PLANAR")
                .integer(tags::NUMBER_OF_CONTOUR_POINTS, contour.points_lps().len() as i64)
                .text(tags::CONTOUR_DATA, &coordinates(contour));
            match image_of(contour, origin) {
                Some([class, instance]) => {
                    object.items(tags::CONTOUR_IMAGE_SEQUENCE, vec![Object::reference(class, instance)])
                }
                None => object,
            }
        })
        .collect();
    let [red, green, blue] = roi.color.unwrap_or([255, 255, 0]);
    let object = Object::new()
        .integer(tags::REFERENCED_ROI_NUMBER, i64::from(roi.number))
        .text(tags::ROI_DISPLAY_COLOR, &format!("{red}\\{green}\\{blue}"));
    if contours.is_empty() { object } else { object.items(tags::CONTOUR_SEQUENCE, contours) }
}

/// Coordinates in micrometres: finer than anything that was drawn, and half as long as all digits.
fn coordinates(contour: &Contour) -> String {
    let numbers = contour.points_lps().iter().flat_map(|point| point.to_array());
    numbers.map(|mm| decimal((mm * 1e4).round() / 1e4)).collect::<Vec<_>>().join("\\")
}

/// The image in whose plane a contour lies.
fn image_of<'a>(contour: &Contour, origin: &'a Origin) -> Option<&'a [String; 2]> {
    const SAME_PLANE: f64 = 0.05;
    let grid = origin.grid()?;
    if origin.images().len() != grid.size_ijk()[2] {
        return None;
    }
    let slice = |point: &PointLps| grid.index_from_lps(*point).k;
    let first = slice(contour.points_lps().first()?);
    let is_in_plane =
        contour.points_lps().iter().all(|point| (slice(point) - first.round()).abs() <= SAME_PLANE);
    if !is_in_plane || first.round() < 0.0 {
        return None;
    }
    origin.images().get(first.round() as usize)
}

/// What the UIDs follow from.
fn fingerprint(structures: &StructureSet, origin: &Origin, text: &StructureText<'_>) -> Content {
    let mut content = origin.content("structures").text(text.label).text(text.description).text(VERSION);
    for roi in &structures.rois {
        content = content.text(&roi.name).text(roi.interpreted_type.as_deref().unwrap_or_default());
        content = content.bytes(&roi.number.to_le_bytes()).bytes(&roi.color.unwrap_or_default());
        for contour in &roi.contours {
            let numbers = contour.points_lps().iter().flat_map(|point| point.to_array());
            content = content.bytes(&numbers.flat_map(f64::to_le_bytes).collect::<Vec<u8>>());
        }
    }
    content
}
