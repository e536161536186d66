//! CT and MR Image Storage series (PS3.3 sections A.3 and A.4).

use std::fs;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::{tags, uids};
use rayon::prelude::*;
use synthct_image::{Grid, Volume, VoxelIndex};

use super::object::{Object, Syntax};
use super::origin::Origin;
use super::{NOT_FOR_CLINICAL_USE, VERSION};
use crate::{IoError, OutputType};

/// What kind of image a series is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// CT Image Storage: HU in 16 bits with a sign, rounded to whole HU.
    Ct,
    /// MR Image Storage: signal in 16 bits; signal that is not whole numbers of that range is scaled to it.
    Mr,
}

/// What a series says about itself.
#[derive(Clone, Debug)]
pub struct SeriesText<'a> {
    /// SeriesDescription, of which 64 bytes are kept; say here what a planner must not overlook.
    pub description: &'a str,
    /// DerivationDescription: how the image was made.
    pub derivation: &'a str,
}

/// A series that was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WrittenSeries {
    /// SeriesInstanceUID.
    pub series_uid: String,
    /// The files, a slice each, in the order of the grid.
    pub files: Vec<PathBuf>,
}

/// Writes a volume as a series of single-frame images into a new or empty folder, a file a slice.
///
/// The series belongs to the patient, study and frame of reference of `origin`, and refers to the images that it was made
/// from. All is marked as derived and not for clinical use.
/// UIDs follow from the content: the same volume, origin and texts give the same files, byte by byte.
/// The folder appears under its name when it is whole.
///
/// # Errors
/// [`IoError::Value`] for a CT value that 16 bits cannot hold, or an MR value that is not finite: nothing is clipped;
/// [`IoError::Occupied`] for a folder that holds something, [`IoError::Io`].
pub fn write_series(
    folder: &Path,
    volume: &Volume<f32>,
    kind: ImageKind,
    origin: &Origin,
    text: &SeriesText<'_>,
) -> Result<WrittenSeries, IoError> {
    require_vacant(folder)?;
    require_words(folder, volume.grid())?;
    let stored = Stored::of(folder, volume, kind)?;
    let grid = volume.grid();
    let content = origin
        .content(kind.modality())
        .grid(grid)
        .values(volume.as_slice())
        .text(text.description)
        .text(text.derivation)
        .text(VERSION);
    let series_uid = content.clone().text("series").uid();
    let aside = beside(folder);
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(IoError::io(&aside))?;
    }
    fs::create_dir_all(&aside).map_err(IoError::io(&aside))?;
    let [ni, nj, nk] = grid.size_ijk();
    let name = |k: usize| format!("{}_{:04}.dcm", kind.modality().to_ascii_lowercase(), k + 1);
    let results: Vec<Result<(), IoError>> = (0..nk)
        .into_par_iter()
        .map(|k| {
            let instance_uid = content.clone().text("image").bytes(&(k as u64).to_le_bytes()).uid();
            let values = &volume.as_slice()[k * ni * nj..][..ni * nj];
            image(grid, k, kind, origin, text, &stored)
                .text(tags::SERIES_INSTANCE_UID, &series_uid)
                .pixels(stored.encode(values))
                .write(&aside.join(name(k)), kind.class_uid(), &instance_uid, Syntax::Explicit)
        })
        .collect();
    results.into_iter().collect::<Result<(), IoError>>()?;
    if folder.exists() {
        fs::remove_dir(folder).map_err(IoError::io(folder))?;
    }
    fs::rename(&aside, folder).map_err(IoError::io(folder))?;
    Ok(WrittenSeries { series_uid, files: (0..nk).map(|k| folder.join(name(k))).collect() })
}

impl ImageKind {
    const fn modality(self) -> &'static str {
        match self {
            Self::Ct => "CT",
            Self::Mr => "MR",
        }
    }

    const fn class_uid(self) -> &'static str {
        match self {
            Self::Ct => uids::CT_IMAGE_STORAGE,
            Self::Mr => uids::MR_IMAGE_STORAGE,
        }
    }
}

/// Fails for a folder that holds anything: two series in one folder are two series for every reader.
fn require_vacant(folder: &Path) -> Result<(), IoError> {
    if !folder.exists() {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder).map_err(IoError::io(folder))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(IoError::Occupied { path: folder.to_owned() }),
    }
}

/// Fails for a slice with more rows or columns than DICOM counts.
pub(super) fn require_words(path: &Path, grid: &Grid) -> Result<(), IoError> {
    let [ni, nj, _] = grid.size_ijk();
    if u16::try_from(ni.max(nj)).is_ok() {
        return Ok(());
    }
    Err(IoError::unsupported(path, format!("a slice of {ni} × {nj} voxels in DICOM, which counts to 65535,")))
}

/// Where a folder is made before it gets its name.
fn beside(folder: &Path) -> PathBuf {
    let name = folder.file_name().map_or_else(|| "series".into(), std::ffi::OsStr::to_os_string);
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".partial");
    folder.with_file_name(hidden)
}

/// How values are stored.
struct Stored {
    is_signed: bool,
    /// Slope and intercept; none for an MR whose stored values are its signal.
    rescale: Option<(f64, f64)>,
}

impl Stored {
    fn of(path: &Path, volume: &Volume<f32>, kind: ImageKind) -> Result<Self, IoError> {
        let values = volume.as_slice();
        let refused = |voxel_idx: usize, allowed: &'static str| {
            Err(crate::format::value_error(path, volume, voxel_idx, allowed))
        };
        if kind == ImageKind::Ct {
            return match OutputType::I16.check(values) {
                Ok(()) => Ok(Self { is_signed: true, rescale: Some((1.0, 0.0)) }),
                Err(voxel_idx) => refused(voxel_idx, "a CT in DICOM holds -32768 to 32767 HU"),
            };
        }
        if let Some(voxel_idx) = values.iter().position(|value| !value.is_finite()) {
            return refused(voxel_idx, "an MR in DICOM holds finite numbers");
        }
        let (low, high) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = (f64::from(low), f64::from(high));
        let is_whole = values.iter().all(|value| value.fract() == 0.0);
        if is_whole && low >= 0.0 && high <= f64::from(u16::MAX) {
            return Ok(Self { is_signed: false, rescale: None });
        }
        if is_whole && low >= f64::from(i16::MIN) && high <= f64::from(i16::MAX) {
            return Ok(Self { is_signed: true, rescale: None });
        }
        // As decimal strings hold them, so that what is written is what is read.
        let as_written = |value: f64| super::decimal::decimal(value).parse().unwrap_or(value);
        // A hair more than needed, so that the largest value does not round up to the next word.
        let slope =
            if high > low { as_written((high - low) / f64::from(u16::MAX) * (1.0 + 1e-9)) } else { 1.0 };
        Ok(Self { is_signed: false, rescale: Some((slope, as_written(low))) })
    }

    fn encode(&self, values: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 * values.len());
        match (self.is_signed, self.rescale) {
            (true, _) => OutputType::I16.encode(values, &mut bytes),
            (false, None) => OutputType::U16.encode(values, &mut bytes),
            (false, Some((slope, intercept))) => {
                let word = |value: &f32| ((f64::from(*value) - intercept) / slope).round() as u16;
                bytes.extend(values.iter().flat_map(|value| word(value).to_le_bytes()));
            }
        }
        bytes
    }
}

/// All attributes of slice `k` but its UIDs and pixels.
fn image(
    grid: &Grid,
    k: usize,
    kind: ImageKind,
    origin: &Origin,
    text: &SeriesText<'_>,
    stored: &Stored,
) -> Object {
    let [ni, nj, _] = grid.size_ijk();
    let [i_mm, j_mm, k_mm] = grid.spacing_mm();
    let direction = grid.direction();
    let (row, column) = (direction.column(0), direction.column(1));
    let position = grid.point_of(VoxelIndex::new(0, 0, k)).to_array();
    let normal_z = row[0] * column[1] - row[1] * column[0];
    // The third value is AXIAL or LOCALIZER for a CT; a section across another axis is a reformatted one.
    let third = match kind {
        ImageKind::Ct if normal_z.abs() > std::f64::consts::FRAC_1_SQRT_2 => "AXIAL",
        ImageKind::Ct => "MPR",
        ImageKind::Mr => "OTHER",
    };
    let mut object = origin
        .with_series(origin.object())
        .text(tags::MODALITY, kind.modality())
        .text(tags::IMAGE_TYPE, &format!("DERIVED\\SECONDARY\\{third}"))
        .integer(tags::SERIES_NUMBER, origin.series_number(9000))
        .short_text(tags::SERIES_DESCRIPTION, text.description, 64)
        .integer(tags::INSTANCE_NUMBER, k as i64 + 1)
        .short_text(tags::DERIVATION_DESCRIPTION, text.derivation, 1024)
        .text(tags::IMAGE_COMMENTS, NOT_FOR_CLINICAL_USE)
        .made_here()
        .items(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, equipment(origin, text))
        .numbers(tags::IMAGE_POSITION_PATIENT, &position)
        .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[row, column].concat())
        .numbers(tags::PIXEL_SPACING, &[j_mm, i_mm])
        .numbers(tags::SLICE_THICKNESS, &[k_mm])
        .word(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .word(tags::ROWS, nj as u16)
        .word(tags::COLUMNS, ni as u16)
        .word(tags::BITS_ALLOCATED, 16)
        .word(tags::BITS_STORED, 16)
        .word(tags::HIGH_BIT, 15)
        .word(tags::PIXEL_REPRESENTATION, u16::from(stored.is_signed))
        .text(tags::ACQUISITION_NUMBER, "");
    if let Some((slope, intercept)) = stored.rescale {
        object = object.numbers(tags::RESCALE_INTERCEPT, &[intercept]).numbers(tags::RESCALE_SLOPE, &[slope]);
    }
    object = match kind {
        ImageKind::Ct => object
            .text(tags::RESCALE_TYPE, "HU")
            .text(tags::KVP, "")
            .numbers(tags::WINDOW_CENTER, &[40.0])
            .numbers(tags::WINDOW_WIDTH, &[400.0]),
        // Research mode: what the sequence was is not known here.
        ImageKind::Mr => object
            .text(tags::SCANNING_SEQUENCE, "RM")
            .text(tags::SEQUENCE_VARIANT, "NONE")
            .text(tags::SCAN_OPTIONS, "")
            .text(tags::MR_ACQUISITION_TYPE, "3D")
            .text(tags::REPETITION_TIME, "")
            .text(tags::ECHO_TIME, "")
            .text(tags::ECHO_TRAIN_LENGTH, "")
            .numbers(tags::SPACING_BETWEEN_SLICES, &[k_mm]),
    };
    let images = origin.images_of_slice(grid, k);
    if images.is_empty() {
        return object;
    }
    let sources = images.iter().map(|[class_uid, instance_uid]| {
        Object::reference(class_uid, instance_uid)
            .code(
                tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
                "121322",
                "Source image for image processing operation",
            )
            .text(tags::SPATIAL_LOCATIONS_PRESERVED, "YES")
    });
    object.items(tags::SOURCE_IMAGE_SEQUENCE, sources.collect())
}

/// What has contributed: this program, and the scanner of the source.
fn equipment(origin: &Origin, text: &SeriesText<'_>) -> Vec<Object> {
    let ours = Object::new()
        .made_here()
        .short_text(tags::CONTRIBUTION_DESCRIPTION, text.derivation, 1024)
        .code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, "109102", "Processing Equipment");
    [Some(ours), origin.equipment()].into_iter().flatten().collect()
}
