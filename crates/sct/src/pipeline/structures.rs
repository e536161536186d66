//! Structures of a planning system, or masks, as voxels.

use std::path::Path;

use synthct_image::{Grid, Mask};
use synthct_io::IoError;
use synthct_io::dicom::{RtKind, find_object, read_structure_set};
use synthct_rt::{Roi, RtError, StructureSet};

use super::{PipelineError, load_structures};

/// How long the voxels of structures that come as contours are at most, mm.
const STRUCTURE_SPACING_MM: f64 = 1.25;

/// Structures as masks, each on a grid of its own.
#[derive(Clone, Debug)]
pub struct Structures {
    /// Each with its name.
    pub masks: Vec<(String, Mask)>,
    /// The contours that they are of, if they come as an RT Structure Set.
    pub contours: Option<StructureSet>,
    /// What was left out and why, a line each.
    pub notes: Vec<String>,
}

/// The structures of an RT Structure Set, of a folder that holds one, or else the masks of a folder or file.
///
/// Contours become voxels of 1.25 mm at most along the axes of `like`, the grid of a dose or image of the same frame of
/// reference. Structures without contours are left out and noted.
///
/// # Errors
/// As [`load_structures`] and [`read_structure_set`]; [`PipelineError::Rt`] for contours that are no region.
pub fn load_structures_near(path: &Path, like: &Grid) -> Result<Structures, PipelineError> {
    let file = match find_object(path, RtKind::StructureSet) {
        // One file is either DICOM or a mask, which only its content tells.
        Ok(file) if path.is_dir() || synthct_io::dicom::rt_kind(&file)?.is_some() => file,
        Ok(_) | Err(IoError::NoSuchObject { .. }) => {
            return Ok(Structures { masks: load_structures(path)?, contours: None, notes: Vec::new() });
        }
        Err(error) => return Err(error.into()),
    };
    let file = read_structure_set(&file)?;
    let mut notes = file.notes;
    let mut masks = Vec::new();
    for roi in &file.structures.rois {
        match mask_near(roi, like) {
            Ok(mask) => masks.push((roi.name.clone(), mask)),
            Err(RtError::NoContour { .. }) => notes.push(format!("`{}` has no contours", roi.name)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Structures { masks, contours: Some(file.structures), notes })
}

fn mask_near(roi: &Roi, like: &Grid) -> Result<Mask, RtError> {
    roi.mask(&roi.sampling_grid(like, STRUCTURE_SPACING_MM)?)
}

impl Structures {
    /// The mask with this name.
    pub fn mask(&self, name: &str) -> Option<&Mask> {
        self.masks.iter().find(|(other, _)| other == name).map(|(_, mask)| mask)
    }

    /// The outline of the patient among the contours (RTROIInterpretedType EXTERNAL).
    pub fn external(&self) -> Option<&Roi> {
        let is_external = |roi: &&Roi| roi.interpreted_type.as_deref() == Some("EXTERNAL");
        self.contours.as_ref()?.rois.iter().find(|roi| is_external(roi) && !roi.contours.is_empty())
    }

    /// The names of what could be the target: the structure with this number, or else the planning target volumes.
    pub fn targets(&self, number: Option<i32>) -> Vec<&str> {
        let rois = || self.contours.iter().flat_map(|set| &set.rois).filter(|roi| !roi.contours.is_empty());
        if let Some(roi) = rois().find(|roi| Some(roi.number) == number) {
            return vec![&roi.name];
        }
        let is_target = |roi: &&Roi| roi.interpreted_type.as_deref() == Some("PTV");
        rois().filter(is_target).map(|roi| roi.name.as_str()).collect()
    }
}
