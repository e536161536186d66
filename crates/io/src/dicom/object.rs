//! Radiotherapy objects among the files of a path.

use std::path::{Path, PathBuf};

use dicom_dictionary_std::{tags, uids};

use super::dataset::DataSet;
use super::folder::files_under;
use crate::IoError;

/// The kinds of radiotherapy object that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtKind {
    /// RT Structure Set.
    StructureSet,
    /// RT Plan, of photons.
    Plan,
    /// RT Dose.
    Dose,
}

impl RtKind {
    /// Its name, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StructureSet => "RT Structure Set",
            Self::Plan => "RT Plan",
            Self::Dose => "RT Dose",
        }
    }

    const fn modality(self) -> &'static str {
        match self {
            Self::StructureSet => "RTSTRUCT",
            Self::Plan => "RTPLAN",
            Self::Dose => "RTDOSE",
        }
    }

    const fn class_uid(self) -> &'static str {
        match self {
            Self::StructureSet => uids::RT_STRUCTURE_SET_STORAGE,
            Self::Plan => uids::RT_PLAN_STORAGE,
            Self::Dose => uids::RT_DOSE_STORAGE,
        }
    }
}

/// What kind of radiotherapy object a file is; none for other DICOM files and for other formats.
///
/// # Errors
/// [`IoError`] if the file cannot be read, or is a damaged DICOM file.
pub fn rt_kind(path: &Path) -> Result<Option<RtKind>, IoError> {
    if !path.is_file() {
        return Ok(None);
    }
    let class_uid =
        DataSet::read_header(path)?.and_then(|set| set.text(tags::SOP_CLASS_UID)).unwrap_or_default();
    Ok([RtKind::StructureSet, RtKind::Plan, RtKind::Dose]
        .into_iter()
        .find(|kind| kind.class_uid() == class_uid))
}

/// The file of the one object of this kind below a folder; `path` itself if it is a file.
///
/// # Errors
/// [`IoError::NoSuchObject`] if there is none, [`IoError::SeveralObjects`] if there are several; [`IoError::Io`].
pub fn find_object(path: &Path, kind: RtKind) -> Result<PathBuf, IoError> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let mut found = Vec::new();
    for file in files_under(path)? {
        // Damaged files are no object that could be meant; who names one gets its error.
        if matches!(rt_kind(&file), Ok(Some(found)) if found == kind) {
            found.push(file);
        }
    }
    match found.len() {
        0 => {
            Err(IoError::NoSuchObject { path: path.to_owned(), kind: kind.name(), modality: kind.modality() })
        }
        1 => Ok(found.remove(0)),
        _ => Err(IoError::SeveralObjects { path: path.to_owned(), kind: kind.name(), files: found }),
    }
}

/// The data set of an object of this kind.
pub(super) fn read_object(path: &Path, kind: RtKind) -> Result<DataSet, IoError> {
    let path = find_object(path, kind)?;
    let Some(set) = DataSet::read(&path)? else {
        return Err(IoError::malformed(&path, super::FORMAT, "it is no DICOM file with a data set"));
    };
    let class_uid = set.required_text(tags::SOP_CLASS_UID, "the file does not say what it is")?;
    if class_uid != kind.class_uid() {
        let modality = set.text(tags::MODALITY).unwrap_or_else(|| "none".to_owned());
        let name = class_name(&class_uid);
        return Err(IoError::unsupported(
            &path,
            format!(
                "a file of SOP class `{class_uid}`{name} and modality `{modality}` as {} ({})",
                kind.name(),
                kind.modality()
            ),
        ));
    }
    Ok(set)
}

/// The name of an SOP class that someone may mistake for another, in brackets.
fn class_name(class_uid: &str) -> &'static str {
    match class_uid {
        uids::RT_ION_PLAN_STORAGE => " (RT Ion Plan)",
        uids::RT_BRACHY_TREATMENT_RECORD_STORAGE => " (RT Brachy Treatment Record)",
        uids::RT_BEAMS_TREATMENT_RECORD_STORAGE => " (RT Beams Treatment Record)",
        uids::RT_IMAGE_STORAGE => " (RT Image)",
        uids::RT_STRUCTURE_SET_STORAGE => " (RT Structure Set)",
        uids::RT_PLAN_STORAGE => " (RT Plan)",
        uids::RT_DOSE_STORAGE => " (RT Dose)",
        uids::SEGMENTATION_STORAGE => " (Segmentation)",
        uids::CT_IMAGE_STORAGE => " (CT Image)",
        uids::MR_IMAGE_STORAGE => " (MR Image)",
        _ => "",
    }
}
