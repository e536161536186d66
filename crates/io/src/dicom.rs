//! DICOM CT and MR series as volumes.
//!
//! A series is all files below a folder that share a SeriesInstanceUID, whatever their names; files that are not DICOM are
//! ignored and counted, hidden ones are not looked at. A path to a single file stands for that file's image alone, not for
//! the series around it.
//!
//! # Geometry
//! Slices are sorted by ImagePositionPatient along the normal of ImageOrientationPatient (rows × columns), and axis k
//! points along that normal, so a grid that is read here is right-handed whatever the order of the files.
//! Slice distances come from the positions, never from SliceThickness. A slice may be 0.02 mm off its place in an even,
//! straight stack; gaps, duplicates, gantry tilt and mixed orientations are errors that say where.
//! Nothing is assumed about geometry that the files do not say; the one exception, the extent of a lone slice along k, is
//! recorded as [`SeriesProblem::SingleSlice`].
//!
//! # Values
//! HU for CT, scanner units for MR, both after each slice's own RescaleSlope and RescaleIntercept. An MR image without
//! rescale keeps its stored values; a CT image without is an error.
//! Voxels with a CT's PixelPaddingValue, which lie outside the reconstruction circle, become −1000 HU (air) if the padding
//! is below −1000 HU. That is recorded as [`SeriesProblem::PaddingToAir`]; values are not clipped otherwise.
//!
//! # Encodings
//! Uncompressed (implicit or explicit, either byte order), deflated, RLE, and JPEG baseline and lossless.
//! JPEG-LS, JPEG 2000, JPEG XL, enhanced multi-frame images, mosaics, MONOCHROME1 and color are refused by name.

mod attributes;
mod element;
mod folder;
mod geometry;
mod image;
mod jpeg;
mod pixels;
mod problem;
mod rle;
mod series;
mod syntax;

use std::path::Path;

use rayon::prelude::*;
use synthct_image::Volume;

use self::folder::Found;
use self::pixels::{AIR_HU, Padding};
pub use self::problem::{SeriesProblem, SliceGap};
use self::series::Series;
pub use self::series::SeriesInfo;
use crate::IoError;

/// The format's name in errors.
const FORMAT: &str = "DICOM";

/// All series below a path.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeriesListing {
    /// The series, by study and series number.
    pub series: Vec<SeriesInfo>,
    /// The number of files looked at, hidden ones excluded.
    pub n_files: usize,
    /// How many of them are not DICOM, or only an index (DICOMDIR).
    pub n_other_files: usize,
    /// What is wrong with DICOM files that are too damaged to tell which series they belong to.
    pub damaged_files: Vec<String>,
}

/// Whether a file is DICOM, or a folder holds a DICOM file, by content.
///
/// # Errors
/// [`IoError::Io`] if the path cannot be read.
pub fn is_dicom(path: &Path) -> Result<bool, IoError> {
    folder::holds_dicom(path)
}

/// Lists the series in a folder, or the one of a file, from the headers alone.
///
/// What keeps a series from being read is in its [`SeriesInfo::problems`], not an error here.
///
/// # Errors
/// [`IoError::Io`] if the path cannot be read.
pub fn list_series(path: &Path) -> Result<SeriesListing, IoError> {
    let Found { series, n_files, n_foreign, damaged } = folder::find(path)?;
    Ok(SeriesListing {
        series: series.into_iter().map(|series| series.info).collect(),
        n_files,
        n_other_files: n_foreign,
        damaged_files: damaged.iter().map(ToString::to_string).collect(),
    })
}

/// Reads a CT or MR series as one volume, in HU or scanner units.
///
/// `path` is a folder, or a file that is read alone. `series_uid` chooses among several series; without it there must be
/// exactly one CT or MR series. Series of other kinds (structures, plans, doses) do not count.
///
/// # Errors
/// - [`IoError::SeveralSeries`] lists the series if one must be chosen.
/// - [`IoError::NoSuchSeries`] if there is no series with that UID, or none of CT or MR images at all.
/// - [`IoError::SeriesGeometry`] says why the images do not make one volume: tilt, gaps, duplicates, mixtures.
/// - [`IoError::MissingAttribute`], [`IoError::Unsupported`], [`IoError::Malformed`] and [`IoError::Truncated`] name the
///   first file that cannot be used. A damaged file of unknown series is such a file as well: it may be a missing slice.
/// - [`IoError::Io`] if a file cannot be read.
pub fn read_series(path: &Path, series_uid: Option<&str>) -> Result<(Volume<f32>, SeriesInfo), IoError> {
    let found = folder::find(path)?;
    let Series { mut info, headers, error } = choose(path, series_uid, found)?;
    if let Some(error) = error {
        return Err(error);
    }
    let fatal: Vec<SeriesProblem> =
        info.problems.iter().filter(|problem| problem.is_fatal()).cloned().collect();
    let (Some(grid), true) = (info.grid.clone(), fatal.is_empty()) else {
        return Err(IoError::SeriesGeometry {
            path: path.to_owned(),
            series_uid: info.series_uid,
            problems: fatal,
        });
    };
    let [n_columns, n_rows, _] = grid.size_ijk();
    // Each file was found to be large enough for its slice, so the files justify this allocation.
    let mut values = vec![0.0; grid.n_voxels()];
    let paddings: Vec<Result<Padding, IoError>> = values
        .par_chunks_exact_mut(n_columns * n_rows)
        .zip(&headers)
        .map(|(slice, header)| pixels::decode(header, slice))
        .collect();
    // In the order of the slices, so that the error is the same in every run.
    let paddings = paddings.into_iter().collect::<Result<Vec<Padding>, IoError>>()?;
    info.problems.extend(padding_problems(&paddings));
    let volume = Volume::from_vec(grid, values).map_err(IoError::geometry(path))?;
    Ok((volume, info))
}

/// The series that is asked for, or the only one there is.
fn choose(path: &Path, series_uid: Option<&str>, found: Found) -> Result<Series, IoError> {
    let Found { series, damaged, .. } = found;
    if let Some(error) = damaged.into_iter().next() {
        return Err(error);
    }
    let summaries = |series: &[Series]| series.iter().map(|series| series.info.summary()).collect();
    let no_such = |list| IoError::NoSuchSeries {
        path: path.to_owned(),
        series_uid: series_uid.map(str::to_owned),
        list,
    };
    if let Some(uid) = series_uid {
        let list = summaries(&series);
        let Some(chosen) = series.into_iter().find(|series| series.info.series_uid == uid) else {
            return Err(no_such(list));
        };
        if !may_be_volume(&chosen) {
            return Err(IoError::unsupported(
                path,
                format!(
                    "series `{uid}` of modality `{}` as a volume (only CT and MR images are)",
                    chosen.info.modality
                ),
            ));
        }
        return Ok(chosen);
    }
    let list = summaries(&series);
    let mut images: Vec<Series> = series.into_iter().filter(may_be_volume).collect();
    match images.len() {
        0 => Err(no_such(list)),
        1 => Ok(images.remove(0)),
        _ => Err(IoError::SeveralSeries { path: path.to_owned(), list: summaries(&images) }),
    }
}

/// Whether a series holds CT or MR images, or only damaged files, which may have been such.
fn may_be_volume(series: &Series) -> bool {
    series.info.is_ct_or_mr || series.headers.is_empty()
}

fn padding_problems(paddings: &[Padding]) -> Vec<SeriesProblem> {
    let mut problems = Vec::new();
    let n_voxels = paddings.iter().map(|padding| padding.n_replaced).sum();
    let replaced_hu = paddings.iter().find_map(|padding| padding.replaced_hu);
    if let (1.., Some(padding_hu)) = (n_voxels, replaced_hu) {
        problems.push(SeriesProblem::PaddingToAir { n_voxels, padding_hu, air_hu: AIR_HU });
    }
    if let Some(padding_hu) = paddings.iter().find_map(|padding| padding.kept_hu) {
        problems.push(SeriesProblem::PaddingKept { padding_hu });
    }
    problems
}
