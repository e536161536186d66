//! Files of one SeriesInstanceUID, judged together.

use std::path::PathBuf;

use synthct_image::Grid;

use super::geometry::{Plane, Slice, StackError, stack};
use super::image::ImageHeader;
use super::problem::SeriesProblem;
use crate::IoError;

/// What a DICOM series says of itself, and whether it makes one volume.
///
/// Texts are the first file's; attributes that files lack are none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeriesInfo {
    /// SeriesInstanceUID; empty if the files have none.
    pub series_uid: String,
    /// StudyInstanceUID.
    pub study_uid: Option<String>,
    /// Modality, for example `CT` or `MR`; empty if the files have none.
    pub modality: String,
    /// SeriesDescription.
    pub description: Option<String>,
    /// ProtocolName.
    pub protocol: Option<String>,
    /// SequenceName, or else ScanningSequence.
    pub sequence: Option<String>,
    /// Manufacturer.
    pub manufacturer: Option<String>,
    /// ManufacturerModelName.
    pub model: Option<String>,
    /// MagneticFieldStrength in tesla.
    pub magnetic_field_strength_t: Option<f64>,
    /// KVP: the tube's peak voltage in kV.
    pub kvp: Option<f64>,
    /// PatientPosition, for example `HFS`.
    pub patient_position: Option<String>,
    /// FrameOfReferenceUID: series that share it share one coordinate system.
    pub frame_of_reference_uid: Option<String>,
    /// ImageType of the first file.
    pub image_type: Vec<String>,
    /// The number of files, localizers and damaged files included.
    pub n_files: usize,
    /// Rows of an image: voxels along j.
    pub rows: Option<usize>,
    /// Columns of an image: voxels along i.
    pub columns: Option<usize>,
    /// Whether the files hold CT or MR images, the kinds that are read as a volume.
    pub is_ct_or_mr: bool,
    /// Where the voxels are, if the series makes one volume.
    pub grid: Option<Grid>,
    /// The files of the volume in the order of its slices; in the order of their names if there is no grid.
    pub files: Vec<PathBuf>,
    /// What keeps the series from being one volume, and what its user should know.
    pub problems: Vec<SeriesProblem>,
}

impl SeriesInfo {
    /// Whether [`read_series`](super::read_series) would try to decode it: a CT or MR series with sound geometry.
    pub fn is_readable(&self) -> bool {
        self.is_ct_or_mr && self.grid.is_some() && !self.problems.iter().any(SeriesProblem::is_fatal)
    }

    /// One line for a list: UID, modality, description and number of files.
    pub fn summary(&self) -> String {
        let description =
            self.description.as_deref().or(self.protocol.as_deref()).unwrap_or("no description");
        let modality = if self.modality.is_empty() { "no modality" } else { &self.modality };
        let files = if self.n_files == 1 { "file" } else { "files" };
        let uid = if self.series_uid.is_empty() { "(no SeriesInstanceUID)" } else { &self.series_uid };
        format!("{uid}  {modality}  \"{description}\"  {} {files}", self.n_files)
    }
}

/// A series with the headers of its volume, sorted along the normal.
pub(super) struct Series {
    pub(super) info: SeriesInfo,
    pub(super) headers: Vec<ImageHeader>,
    /// The first file's error, if a file cannot be used.
    pub(super) error: Option<IoError>,
}

/// Judges the files of one series, which are sorted by name.
///
/// `damaged` are errors of files that belong to it but could not be read to their pixels.
pub(super) fn assemble(series_uid: String, mut headers: Vec<ImageHeader>, damaged: Vec<IoError>) -> Series {
    let n_files = headers.len() + damaged.len();
    let is_ct_or_mr =
        headers.iter().any(|header| matches!(header.modality.as_str(), "CT" | "MR") && header.is_image());
    let mut problems = Vec::new();
    let mut error = None;
    let n_damaged = damaged.len();
    if let Some(first) = damaged.into_iter().next() {
        note_error(first, n_damaged, &mut problems, &mut error);
    }
    if is_ct_or_mr {
        let n_localizers = headers.iter().filter(|header| header.is_localizer()).count();
        if n_localizers > 0 && n_localizers < headers.len() {
            headers.retain(|header| !header.is_localizer());
            problems.push(SeriesProblem::LocalizersLeftOut { n_files: n_localizers });
        }
    }
    let mut info = describe(series_uid, headers.first());
    info.n_files = n_files;
    info.is_ct_or_mr = is_ct_or_mr;
    if is_ct_or_mr {
        let usable = judge_files(&headers, &mut problems, &mut error);
        problems.extend(mixtures(&headers));
        if let Some(planes) = usable.filter(|_| !problems.iter().any(SeriesProblem::is_fatal)) {
            match sort_and_stack(&mut headers, &planes) {
                Ok((grid, warning)) => {
                    info.grid = Some(grid);
                    problems.extend(warning);
                }
                Err(StackError::File(file_error)) => note_error(file_error, 1, &mut problems, &mut error),
                Err(StackError::Stack(found)) => problems.extend(found),
            }
        }
        problems.extend(remarks(&headers));
    }
    info.files = headers.iter().map(|header| header.path.clone()).collect();
    info.problems = problems;
    Series { info, headers, error }
}

fn describe(series_uid: String, first: Option<&ImageHeader>) -> SeriesInfo {
    let labels = first.map(|header| header.labels.clone()).unwrap_or_default();
    SeriesInfo {
        series_uid,
        study_uid: first.and_then(|header| header.study_uid.clone()),
        modality: first.map(|header| header.modality.clone()).unwrap_or_default(),
        description: labels.description,
        protocol: labels.protocol,
        sequence: labels.sequence,
        manufacturer: labels.manufacturer,
        model: labels.model,
        magnetic_field_strength_t: labels.field_strength_t,
        kvp: labels.kvp,
        patient_position: labels.patient_position,
        frame_of_reference_uid: first.and_then(|header| header.frame_of_reference_uid.clone()),
        image_type: first.map(|header| header.image_type.clone()).unwrap_or_default(),
        n_files: 0,
        rows: first.and_then(|header| header.rows).map(usize::from),
        columns: first.and_then(|header| header.columns).map(usize::from),
        is_ct_or_mr: false,
        grid: None,
        files: Vec::new(),
        problems: Vec::new(),
    }
}

/// Keeps the first error as such, and all as one problem.
fn note_error(
    error: IoError,
    n_files: usize,
    problems: &mut Vec<SeriesProblem>,
    first: &mut Option<IoError>,
) {
    problems.push(SeriesProblem::UnusableFile { message: error.to_string(), n_files });
    first.get_or_insert(error);
}

/// The plane of every file, or none if a file cannot be used.
fn judge_files(
    headers: &[ImageHeader],
    problems: &mut Vec<SeriesProblem>,
    first_error: &mut Option<IoError>,
) -> Option<Vec<Plane>> {
    let planes: Vec<Result<Plane, IoError>> =
        headers.iter().map(|header| header.check_pixels().and_then(|()| Plane::of(header))).collect();
    let n_unusable = planes.iter().filter(|plane| plane.is_err()).count();
    match planes.into_iter().collect::<Result<Vec<Plane>, IoError>>() {
        Ok(planes) => Some(planes),
        Err(error) => {
            note_error(error, n_unusable, problems, first_error);
            None
        }
    }
}

/// Sorts the headers by their position along the normal of the first, and makes their grid.
fn sort_and_stack(
    headers: &mut Vec<ImageHeader>,
    planes: &[Plane],
) -> Result<(Grid, Option<SeriesProblem>), StackError> {
    let normal = planes[0].normal();
    let mut slices: Vec<Slice> = std::iter::zip(&*headers, planes)
        .map(|(header, &plane)| Slice { header, plane, depth_mm: plane.depth_mm(normal) })
        .collect();
    // Stable, so that files at one place stay in the order of their names.
    slices.sort_by(|left, right| left.depth_mm.total_cmp(&right.depth_mm));
    let stacked = stack(&slices);
    let sorted = slices.iter().map(|slice| slice.header.clone()).collect();
    *headers = sorted;
    stacked
}

/// Largest difference of a direction cosine between files of one volume; exporters round to six digits.
const COSINE_TOLERANCE: f64 = 1e-4;
/// Largest relative difference of PixelSpacing between files of one volume.
const SPACING_TOLERANCE: f64 = 1e-5;

/// What the files of one volume must share and do not.
fn mixtures(headers: &[ImageHeader]) -> Vec<SeriesProblem> {
    let near = |left: &[f64], right: &[f64], tolerance: f64| {
        std::iter::zip(left, right).all(|(left, right)| (left - right).abs() <= tolerance)
    };
    let same_orientation =
        |left: &ImageHeader, right: &ImageHeader| match (left.orientation, right.orientation) {
            (Some(left), Some(right)) => near(&left, &right, COSINE_TOLERANCE),
            (left, right) => left.is_none() == right.is_none(),
        };
    let same_spacing =
        |left: &ImageHeader, right: &ImageHeader| match (left.pixel_spacing_mm, right.pixel_spacing_mm) {
            (Some(left), Some(right)) => near(&left, &right, SPACING_TOLERANCE * left[0].max(left[1])),
            (left, right) => left.is_none() == right.is_none(),
        };
    let found = [
        mixture(headers, "Modality", |a, b| a.modality == b.modality, |h| h.modality.clone()),
        mixture(
            headers,
            "Rows and Columns",
            |a, b| (a.rows, a.columns) == (b.rows, b.columns),
            |h| format!("{}×{}", h.rows.unwrap_or(0), h.columns.unwrap_or(0)),
        ),
        mixture(headers, "ImageOrientationPatient", same_orientation, |h| {
            format!("{:?}", h.orientation.unwrap_or_default())
        }),
        mixture(headers, "PixelSpacing", same_spacing, |h| {
            format!("{:?}", h.pixel_spacing_mm.unwrap_or_default())
        }),
        mixture(
            headers,
            "FrameOfReferenceUID",
            |a, b| a.frame_of_reference_uid == b.frame_of_reference_uid,
            |h| h.frame_of_reference_uid.clone().unwrap_or_else(|| "absent".to_owned()),
        ),
    ];
    found.into_iter().flatten().collect()
}

fn mixture(
    headers: &[ImageHeader],
    attribute: &'static str,
    same: impl Fn(&ImageHeader, &ImageHeader) -> bool,
    text: impl Fn(&ImageHeader) -> String,
) -> Option<SeriesProblem> {
    let mut kinds: Vec<(&ImageHeader, usize)> = Vec::new();
    for header in headers {
        match kinds.iter_mut().find(|(one, _)| same(one, header)) {
            Some((_, n_files)) => *n_files += 1,
            None => kinds.push((header, 1)),
        }
    }
    let values =
        kinds.iter().map(|(header, n_files)| format!("{} in {n_files} file(s)", text(header))).collect();
    (kinds.len() > 1).then_some(SeriesProblem::MixedImages { attribute, values })
}

/// What a user should know, though the series can be read.
fn remarks(headers: &[ImageHeader]) -> Vec<SeriesProblem> {
    let mut remarks = Vec::new();
    if headers.iter().any(|header| header.frame_of_reference_uid.is_none()) {
        remarks.push(SeriesProblem::NoFrameOfReference);
    }
    if headers.iter().any(|header| header.is_lossy) {
        remarks.push(SeriesProblem::LossyCompression);
    }
    // "US" means unspecified; for an original CT image it stands for HU (PS3.3 section C.8.2.1.1.2).
    let not_hu = headers.iter().filter(|header| header.modality == "CT").find_map(|header| {
        header.rescale_type.clone().filter(|rescale_type| !matches!(rescale_type.as_str(), "HU" | "US"))
    });
    remarks.extend(not_hu.map(|rescale_type| SeriesProblem::NotHu { rescale_type }));
    remarks
}
