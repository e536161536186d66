//! Whose patient, study and frame of reference new objects belong to.

use std::path::{Path, PathBuf};

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use rayon::prelude::*;
use synthct_image::Grid;

use super::object::Object;
use super::uid::Content;
use crate::IoError;
use crate::dicom::SeriesInfo;
use crate::dicom::dataset::DataSet;
use crate::dicom::value::{Attribute, text_of};

/// Patient and study, as far as they are texts (PS3.3 sections C.7.1.1, C.7.2.1, C.7.2.2).
const PATIENT_AND_STUDY: [Tag; 23] = [
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_BIRTH_TIME,
    tags::PATIENT_SEX,
    tags::OTHER_PATIENT_NAMES,
    tags::PATIENT_COMMENTS,
    tags::PATIENT_SPECIES_DESCRIPTION,
    tags::PATIENT_BREED_DESCRIPTION,
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::STUDY_ID,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::ADDITIONAL_PATIENT_HISTORY,
];
/// What must be there, be it empty.
const NEVER_ABSENT: [Tag; 9] = [
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::STUDY_ID,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
];
/// Of the series and its equipment, for an image made from it.
const SERIES: [Tag; 3] = [tags::PATIENT_POSITION, tags::BODY_PART_EXAMINED, tags::LATERALITY];
const EQUIPMENT: [Tag; 7] = [
    tags::MANUFACTURER,
    tags::INSTITUTION_NAME,
    tags::STATION_NAME,
    tags::INSTITUTIONAL_DEPARTMENT_NAME,
    tags::MANUFACTURER_MODEL_NAME,
    tags::DEVICE_SERIAL_NUMBER,
    tags::SOFTWARE_VERSIONS,
];

/// Whose patient, study and frame of reference new objects belong to: those of an existing series or object, or new ones.
#[derive(Clone, Debug)]
pub struct Origin {
    series: Option<Source>,
    patient_id: String,
}

/// An existing series.
#[derive(Clone, Debug)]
struct Source {
    first: DataSet,
    study_uid: String,
    /// None for an object that is no image: nothing is made from it.
    series_uid: Option<String>,
    frame_of_reference_uid: String,
    grid: Option<Grid>,
    /// SOP class and instance of every file, in the order of the slices.
    images: Vec<[String; 2]>,
}

impl Origin {
    /// Those of a series that was read, to whose images new objects refer.
    ///
    /// # Errors
    /// [`IoError::MissingAttribute`] for a series without StudyInstanceUID or FrameOfReferenceUID, of which nothing could be
    /// said to lie in the same space; [`IoError::SeriesGeometry`] for one that is no volume; otherwise as for reading.
    pub fn of_series(series: &SeriesInfo) -> Result<Self, IoError> {
        const FRAME: &str = "nothing can be said to lie in its space without it, so new objects cannot be tied to this series";
        const STUDY: &str = "new objects belong to no study without it";
        // A multi-frame file stands for many slices, but is read once.
        let mut files: Vec<&PathBuf> = series.files.iter().collect();
        files.dedup();
        let sets: Vec<Result<DataSet, IoError>> = files.par_iter().map(|file| header(file)).collect();
        let sets = sets.into_iter().collect::<Result<Vec<DataSet>, IoError>>()?;
        let (Some(first), Some(grid)) = (sets.first(), &series.grid) else {
            return Err(IoError::SeriesGeometry {
                path: series.files.first().cloned().unwrap_or_default(),
                series_uid: series.series_uid.clone(),
                problems: series.problems.clone(),
            });
        };
        let images = sets
            .iter()
            .map(|set| {
                const IMAGE: &str = "the image cannot be referred to without it";
                Ok([
                    set.required_text(tags::SOP_CLASS_UID, IMAGE)?,
                    set.required_text(tags::SOP_INSTANCE_UID, IMAGE)?,
                ])
            })
            .collect::<Result<Vec<_>, IoError>>()?;
        let source = Source {
            study_uid: first.required_text(tags::STUDY_INSTANCE_UID, STUDY)?,
            series_uid: Some(series.series_uid.clone()),
            frame_of_reference_uid: first.required_text(tags::FRAME_OF_REFERENCE_UID, FRAME)?,
            grid: Some(grid.clone()),
            images,
            first: first.clone(),
        };
        Ok(Self { series: Some(source), patient_id: String::new() })
    }

    /// Those of a file that is no image, such as the plan that a dose is of.
    ///
    /// `frame_of_reference_uid` is that of the patient's images, for files that do not say it.
    ///
    /// # Errors
    /// [`IoError::MissingAttribute`] without StudyInstanceUID, or if neither the file nor the caller knows the frame of
    /// reference; otherwise as for reading.
    pub fn of_object(path: &Path, frame_of_reference_uid: Option<&str>) -> Result<Self, IoError> {
        const FRAME: &str = "new objects would lie in no space without it";
        let first = header(path)?;
        let own = first.text(tags::FRAME_OF_REFERENCE_UID);
        let source = Source {
            study_uid: first
                .required_text(tags::STUDY_INSTANCE_UID, "new objects belong to no study without it")?,
            series_uid: None,
            frame_of_reference_uid: own
                .or_else(|| frame_of_reference_uid.map(str::to_owned))
                .ok_or_else(|| first.missing(tags::FRAME_OF_REFERENCE_UID, FRAME))?,
            grid: None,
            images: Vec::new(),
            first,
        };
        Ok(Self { series: Some(source), patient_id: String::new() })
    }

    /// A patient without a name, in a study and a frame of reference of its own, which follow from the patient's ID.
    ///
    /// Objects with one ID share them, and must lie in one space.
    pub fn unnamed(patient_id: &str) -> Self {
        Self { series: None, patient_id: patient_id.to_owned() }
    }

    /// StudyInstanceUID.
    pub fn study_uid(&self) -> String {
        match &self.series {
            Some(source) => source.study_uid.clone(),
            None => Content::new("study").text(&self.patient_id).uid(),
        }
    }

    /// FrameOfReferenceUID.
    pub fn frame_of_reference_uid(&self) -> String {
        match &self.series {
            Some(source) => source.frame_of_reference_uid.clone(),
            None => Content::new("frame of reference").text(&self.patient_id).uid(),
        }
    }

    /// SeriesInstanceUID of the series that new objects are made from.
    pub fn series_uid(&self) -> Option<&str> {
        self.series.as_ref()?.series_uid.as_deref()
    }

    /// The grid of that series.
    pub fn grid(&self) -> Option<&Grid> {
        self.series.as_ref()?.grid.as_ref()
    }

    /// What the UID of a new object follows from beside its own content.
    pub(super) fn content(&self, kind: &str) -> Content {
        let content = Content::new(kind).text(&self.study_uid()).text(&self.frame_of_reference_uid());
        content.text(self.series_uid().unwrap_or_default())
    }

    /// Character set, patient, study and frame of reference.
    pub(super) fn object(&self) -> Object {
        let mut object = Object::new();
        if let Some(source) = &self.series {
            object = object.copied(&source.first, &PATIENT_AND_STUDY);
        }
        for tag in NEVER_ABSENT {
            if !self.series.as_ref().is_some_and(|source| source.first.contains(tag)) {
                object = object.text(tag, "");
            }
        }
        if self.series.is_none() {
            object = object.text(tags::PATIENT_ID, &self.patient_id);
        }
        let set = match self.series.as_ref().map(|source| character_set(&source.first)) {
            Some(Some(set)) => set,
            // Ours, and ASCII, are UTF-8.
            _ => "ISO_IR 192".to_owned(),
        };
        object
            .bytes(tags::SPECIFIC_CHARACTER_SET, set.as_bytes())
            .text(tags::STUDY_INSTANCE_UID, &self.study_uid())
            .text(tags::FRAME_OF_REFERENCE_UID, &self.frame_of_reference_uid())
            .text(tags::POSITION_REFERENCE_INDICATOR, "")
    }

    /// A radiotherapy object, the only one of its series: patient, study, frame of reference, series and equipment.
    pub(super) fn rt_object(
        &self,
        modality: &str,
        content: Content,
        series_number: i64,
        description: &str,
    ) -> Object {
        self.object()
            .text(tags::MODALITY, modality)
            .text(tags::SERIES_INSTANCE_UID, &content.text("series").uid())
            .integer(tags::SERIES_NUMBER, self.series_number(series_number))
            .short_text(tags::SERIES_DESCRIPTION, description, 64)
            .text(tags::OPERATORS_NAME, "")
            .made_here()
            .integer(tags::INSTANCE_NUMBER, 1)
    }

    /// Whether texts of our own may hold more than ASCII.
    pub(super) fn is_unicode(&self) -> bool {
        self.series
            .as_ref()
            .and_then(|source| character_set(&source.first))
            .is_none_or(|set| set == "ISO_IR 192")
    }

    /// Adds what an image takes over from the series that it is made from.
    pub(super) fn with_series(&self, object: Object) -> Object {
        let Some(source) = &self.series else {
            return object.text(tags::PATIENT_POSITION, "").text(tags::LATERALITY, "");
        };
        // Which side a body part is on can only be left out if it is known to be no paired one.
        let object = if source.first.contains(tags::BODY_PART_EXAMINED) {
            object
        } else {
            object.text(tags::LATERALITY, "")
        };
        object.copied(&source.first, &SERIES)
    }

    /// The number of a series beside that of the source.
    pub(super) fn series_number(&self, offset: i64) -> i64 {
        let number =
            self.series.as_ref().and_then(|source| source.first.integer(tags::SERIES_NUMBER).ok().flatten());
        i64::from(number.unwrap_or(0).clamp(0, 1_000_000)) + offset
    }

    /// The equipment that made the source, as an item.
    pub(super) fn equipment(&self) -> Option<Object> {
        let source = self.series.as_ref()?;
        Some(Object::new().text(tags::MANUFACTURER, "").copied(&source.first, &EQUIPMENT).code(
            tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
            "109101",
            "Acquisition Equipment",
        ))
    }

    /// All images of the source, SOP class and instance.
    pub(super) fn images(&self) -> &[[String; 2]] {
        self.series.as_ref().map_or(&[], |source| &source.images)
    }

    /// The images of the source that a slice of a grid is made from: the one in its place if the grids are one, else all.
    pub(super) fn images_of_slice(&self, grid: &Grid, k: usize) -> &[[String; 2]] {
        match &self.series {
            Some(source)
                if source.grid.as_ref().is_some_and(|own| own.matches(grid))
                    && source.images.len() == grid.size_ijk()[2] =>
            {
                &source.images[k..=k]
            }
            _ => self.images(),
        }
    }
}

fn header(file: &Path) -> Result<DataSet, IoError> {
    DataSet::read_header(file)?.ok_or_else(|| {
        Attribute { path: file, tag: tags::SOP_INSTANCE_UID }.missing("the file is no image any more")
    })
}

/// SpecificCharacterSet of a source unless it is ASCII.
fn character_set(set: &DataSet) -> Option<String> {
    set.bytes(tags::SPECIFIC_CHARACTER_SET)
        .map(text_of)
        .filter(|text| !matches!(text.as_str(), "" | "ISO_IR 6"))
}
