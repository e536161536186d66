//! RT Structure Sets (PS3.3 section A.19.3).

use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use synthct_image::PointLps;
use synthct_rt::{Contour, Roi, StructureSet};

use super::dataset::DataSet;
use super::object::{RtKind, read_object};
use crate::IoError;

/// A structure set and what its file says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StructureFile {
    /// The file.
    pub path: PathBuf,
    /// StructureSetLabel.
    pub label: String,
    /// The structures, with the one frame of reference of all of them.
    pub structures: StructureSet,
    /// What was left out and why, a line each.
    pub notes: Vec<String>,
}

/// Reads an RT Structure Set: a file, or a folder that holds one.
///
/// Closed planar contours are read, also those of the kind that combines by exclusive or, which is how [`Roi::mask`] takes
/// all contours of a plane. Points, open contours and contours of one or two points enclose nothing: they are left out and noted.
/// Regions without contours are kept, empty.
///
/// # Errors
/// [`IoError::Malformed`] for contours whose points are not as many as they say, for regions that lack their name's entry,
/// and for several frames of reference; [`IoError::MissingAttribute`]; otherwise as for other DICOM files.
pub fn read_structure_set(path: &Path) -> Result<StructureFile, IoError> {
    const ROIS: &str = "the file names no structure; export it again";
    let set = read_object(path, RtKind::StructureSet)?;
    let mut frames = Vec::new();
    let mut rois: Vec<Roi> = Vec::new();
    for item in set.required_items(tags::STRUCTURE_SET_ROI_SEQUENCE, ROIS)? {
        let number =
            item.required_integer(tags::ROI_NUMBER, "a structure cannot be referred to without it")?;
        if rois.iter().any(|roi| roi.number == number) {
            return Err(item.malformed(tags::ROI_NUMBER, &format!("two structures have the number {number}")));
        }
        let name = item.text(tags::ROI_NAME).unwrap_or_else(|| format!("ROI {number}"));
        frames.extend(item.text(tags::REFERENCED_FRAME_OF_REFERENCE_UID).map(|uid| (uid, name.clone())));
        rois.push(Roi { number, name, interpreted_type: None, color: None, contours: Vec::new() });
    }
    let frame_of_reference_uid = one_frame(&set, &frames)?;
    for item in set.items(tags::RTROI_OBSERVATIONS_SEQUENCE) {
        let number = item.integer(tags::REFERENCED_ROI_NUMBER)?;
        if let Some(roi) = rois.iter_mut().find(|roi| Some(roi.number) == number) {
            roi.interpreted_type = item.text(tags::RTROI_INTERPRETED_TYPE);
        }
    }
    let mut notes = Vec::new();
    for item in set.items(tags::ROI_CONTOUR_SEQUENCE) {
        let number = item.required_integer(
            tags::REFERENCED_ROI_NUMBER,
            "its contours belong to no structure without it",
        )?;
        let Some(roi) = rois.iter_mut().find(|roi| roi.number == number) else {
            return Err(item.malformed(
                tags::REFERENCED_ROI_NUMBER,
                &format!(
                    "{number} is not the number of any structure in StructureSetROISequence (3006,0020)"
                ),
            ));
        };
        roi.color = color(item)?;
        read_contours(item, roi, &mut notes)?;
    }
    Ok(StructureFile {
        path: set.path().to_owned(),
        label: set.text(tags::STRUCTURE_SET_LABEL).unwrap_or_default(),
        structures: StructureSet { frame_of_reference_uid, rois },
        notes,
    })
}

/// The frame of reference that all structures share; that of the set's own reference if they name none.
fn one_frame(set: &DataSet, frames: &[(String, String)]) -> Result<Option<String>, IoError> {
    let Some((first, one)) = frames.first() else {
        let referenced = set.items(tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE);
        return Ok(referenced.first().unwrap_or(set).text(tags::FRAME_OF_REFERENCE_UID));
    };
    if let Some((other, name)) = frames.iter().find(|(uid, _)| uid != first) {
        return Err(set.malformed(
            tags::REFERENCED_FRAME_OF_REFERENCE_UID,
            &format!(
                "`{one}` is in frame of reference `{first}`, but `{name}` in `{other}`; export the structures of one frame alone"
            ),
        ));
    }
    Ok(Some(first.clone()))
}

fn color(item: &DataSet) -> Result<Option<[u8; 3]>, IoError> {
    let Some(rgb) = item.number_array::<3>(tags::ROI_DISPLAY_COLOR)? else { return Ok(None) };
    if rgb.iter().any(|c| !(0.0..=255.0).contains(c)) {
        return Err(item.malformed(tags::ROI_DISPLAY_COLOR, &format!("{rgb:?} is no colour of 0 to 255")));
    }
    Ok(Some(rgb.map(|c| c as u8)))
}

fn read_contours(item: &DataSet, roi: &mut Roi, notes: &mut Vec<String>) -> Result<(), IoError> {
    const TYPE: &str = "nobody can tell whether the contour is closed without it";
    let mut n_other = 0;
    let mut n_tiny = 0;
    for (n, contour) in item.items(tags::CONTOUR_SEQUENCE).iter().enumerate() {
        let kind = contour.required_text(tags::CONTOUR_GEOMETRIC_TYPE, TYPE)?;
        if !matches!(kind.as_str(), "CLOSED_PLANAR" | "CLOSEDPLANAR_XOR") {
            n_other += 1;
            continue;
        }
        let numbers = contour.numbers(tags::CONTOUR_DATA)?.unwrap_or_default();
        let problem = |what: &str| {
            contour.malformed(tags::CONTOUR_DATA, &format!("contour {n} of `{}` {what}", roi.name))
        };
        let (points, rest) = numbers.as_chunks::<3>();
        if !rest.is_empty() {
            return Err(problem(&format!("has {} numbers, which are no points of three", numbers.len())));
        }
        if let Some(announced) = contour.integer(tags::NUMBER_OF_CONTOUR_POINTS)?
            && usize::try_from(announced).ok() != Some(points.len())
        {
            return Err(problem(&format!("has {} points, but announces {announced}", points.len())));
        }
        if points.len() < 3 {
            n_tiny += 1;
            continue;
        }
        let points = points.iter().map(|&point| PointLps::from(point)).collect();
        roi.contours.push(Contour::new(points).map_err(|error| problem(&error.to_string()))?);
    }
    for (count, what) in [(n_other, "points or open contours"), (n_tiny, "contours of one or two points")] {
        if count > 0 {
            notes.push(format!("`{}`: {count} {what} left out: they enclose nothing", roi.name));
        }
    }
    Ok(())
}
