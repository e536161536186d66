//! Images of one SeriesInstanceUID, judged together.

use std::path::PathBuf;

use synthct_image::Grid;

use super::copies;
use super::geometry::{Plane, Slice, StackError, stack};
use super::image::ImageHeader;
use super::problem::SeriesProblem;
use super::volumes;
use crate::IoError;

/// What a DICOM series says of itself, and whether it makes one volume.
///
/// Texts are the first file's; attributes that files lack are none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeriesInfo {
    /// SeriesInstanceUID; empty if the files have none.
    pub series_uid: String,
    /// SeriesNumber.
    pub series_number: Option<f64>,
    /// StudyInstanceUID.
    pub study_uid: Option<String>,
    /// StudyDate as DICOM writes it, for example `20240131`.
    pub study_date: Option<String>,
    /// StudyDescription.
    pub study_description: Option<String>,
    /// PatientID.
    pub patient_id: Option<String>,
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
    /// How the pixels are compressed, for example `JPEG 2000`; none if they are not.
    pub compression: Option<&'static str>,
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
    /// The files of the volume, one for each slice in its order; in the order of their names if there is no grid.
    pub files: Vec<PathBuf>,
    /// The volumes of the series, if it holds several; one of them is read if it is chosen by its place in this list.
    pub volumes: Vec<VolumeInfo>,
    /// What keeps the series from being one volume, and what its user should know.
    pub problems: Vec<SeriesProblem>,
}

/// One of several volumes of a series.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VolumeInfo {
    /// What tells it from the others: attributes with their values.
    pub label: String,
    /// The number of images.
    pub n_images: usize,
    /// Where its voxels are, if the images make a grid.
    pub grid: Option<Grid>,
    /// What keeps it from being read, and what its user should know.
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

/// A series with its volumes.
pub(super) struct Series {
    /// What is true of the series as a whole; grid, files and problems are the only volume's, if there is one.
    pub(super) info: SeriesInfo,
    pub(super) volumes: Vec<SeriesVolume>,
    /// The first damaged file's error; without that file no volume can be trusted.
    pub(super) error: Option<IoError>,
}

/// Images that may make one volume, and the verdict on them.
pub(super) struct SeriesVolume {
    pub(super) label: String,
    /// Sorted along the normal, if every image has a place.
    pub(super) headers: Vec<ImageHeader>,
    pub(super) grid: Option<Grid>,
    pub(super) problems: Vec<SeriesProblem>,
    /// The first file's error, if a file cannot be used.
    pub(super) error: Option<IoError>,
}

/// Judges the images of one series, which are in the order of their files' names.
///
/// `damaged` are errors of files that belong to it but could not be read to their pixels.
pub(super) fn assemble(series_uid: String, mut headers: Vec<ImageHeader>, damaged: Vec<IoError>) -> Series {
    let n_files = headers.chunk_by(|a, b| a.path == b.path).count() + damaged.len();
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
    info.files = headers.iter().map(|header| header.path.clone()).collect();
    let mut volumes = if is_ct_or_mr { judge_volumes(headers) } else { Vec::new() };
    if let [volume] = &mut volumes[..] {
        info.grid.clone_from(&volume.grid);
        info.files = volume.headers.iter().map(|header| header.path.clone()).collect();
        problems.append(&mut volume.problems.clone());
    } else if !volumes.is_empty() {
        let describe = |volume: &SeriesVolume| format!("{} ({} images)", volume.label, volume.headers.len());
        problems.push(SeriesProblem::SeveralVolumes { volumes: volumes.iter().map(describe).collect() });
        info.volumes = volumes.iter().map(SeriesVolume::info).collect();
    }
    info.problems = problems;
    Series { info, volumes, error }
}

impl SeriesVolume {
    fn info(&self) -> VolumeInfo {
        VolumeInfo {
            label: self.label.clone(),
            n_images: self.headers.len(),
            grid: self.grid.clone(),
            problems: self.problems.clone(),
        }
    }
}

fn describe(series_uid: String, first: Option<&ImageHeader>) -> SeriesInfo {
    let labels = first.map(|header| header.labels.as_ref().clone()).unwrap_or_default();
    SeriesInfo {
        series_uid,
        series_number: first.and_then(|header| header.series_number),
        study_uid: first.and_then(|header| header.study_uid.clone()),
        study_date: labels.study_date,
        study_description: labels.study_description,
        patient_id: labels.patient_id,
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
        compression: first.and_then(|header| header.syntax.codec.name()),
        n_files: 0,
        rows: first.and_then(|header| header.rows).map(usize::from),
        columns: first.and_then(|header| header.columns).map(usize::from),
        is_ct_or_mr: false,
        grid: None,
        files: Vec::new(),
        volumes: Vec::new(),
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

/// Sorts images into volumes and judges each.
fn judge_volumes(headers: Vec<ImageHeader>) -> Vec<SeriesVolume> {
    let mut judged = Vec::new();
    for kind in volumes::by_shared_traits(headers) {
        let mut problems = Vec::new();
        let mut error = None;
        let Some(mut planes) = judge_images(&kind.headers, &mut problems, &mut error) else {
            let remarks = remarks(&kind.headers);
            problems.extend(remarks);
            judged.push(SeriesVolume {
                label: kind.label,
                headers: kind.headers,
                grid: None,
                problems,
                error,
            });
            continue;
        };
        let mut headers = kind.headers;
        match copies::leave_out(&mut headers, &mut planes) {
            0 => {}
            n_images => problems.push(SeriesProblem::CopiesLeftOut { n_images }),
        }
        for group in volumes::by_distinctions(headers, &planes) {
            let labels = [kind.label.as_str(), group.label.as_str()];
            let label = labels.into_iter().filter(|label| !label.is_empty()).collect::<Vec<_>>().join(", ");
            judged.push(judge_volume(label, group.headers, problems.clone()));
        }
    }
    judged
}

fn judge_volume(label: String, headers: Vec<ImageHeader>, problems: Vec<SeriesProblem>) -> SeriesVolume {
    let mut volume = SeriesVolume { label, headers, grid: None, problems, error: None };
    match sort_and_stack(&mut volume.headers) {
        Ok((grid, warning)) => {
            volume.grid = Some(grid);
            volume.problems.extend(warning);
        }
        Err(StackError::File(error)) => note_error(error, 1, &mut volume.problems, &mut volume.error),
        Err(StackError::Stack(found)) => volume.problems.extend(found),
    }
    volume.problems.extend(remarks(&volume.headers));
    volume
}

/// The plane of every image, or none if one cannot be used.
fn judge_images(
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
fn sort_and_stack(headers: &mut Vec<ImageHeader>) -> Result<(Grid, Option<SeriesProblem>), StackError> {
    let planes: Vec<Plane> =
        headers.iter().map(Plane::of).collect::<Result<_, IoError>>().map_err(StackError::File)?;
    let normal = planes[0].normal();
    let mut order: Vec<usize> = (0..headers.len()).collect();
    // Stable, so that images at one place stay in the order of their names.
    order.sort_by(|&left, &right| planes[left].depth_mm(normal).total_cmp(&planes[right].depth_mm(normal)));
    *headers = order.iter().map(|&place| headers[place].clone()).collect();
    let slices: Vec<Slice> = std::iter::zip(&*headers, &order)
        .map(|(header, &place)| Slice {
            header,
            plane: planes[place],
            depth_mm: planes[place].depth_mm(normal),
        })
        .collect();
    stack(&slices)
}

/// What a user should know, though the images can be read.
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
    // An image without private scaling beside one with it counts with a factor of one.
    if headers.iter().any(|header| header.philips_scale.is_some()) {
        let factors = || headers.iter().map(|header| header.philips_factor().unwrap_or(1.0));
        remarks.push(SeriesProblem::PhilipsScaling {
            least_factor: factors().fold(f64::INFINITY, f64::min),
            largest_factor: factors().fold(f64::NEG_INFINITY, f64::max),
            is_applied: false,
        });
    }
    remarks
}
