//! DICOM: CT and MR series as volumes, radiotherapy objects as those of `synthct-rt`, and all of them back.
//!
//! Start here: [`read_series`], [`read_structure_set`], [`read_plan`], [`read_dose`]; [`Origin`] (whose patient and frame of
//! reference new objects belong to), [`write_series`], [`write_structure_set`], [`write_plan`], [`write_dose`].
//!
//! # Series
//! A series is all files below a folder that share a SeriesInstanceUID, whatever their names; files that are not DICOM are
//! ignored and counted, hidden ones are not looked at. A path to a single file stands for that file's image alone, not for
//! the series around it.
//!
//! A DICOMDIR stands for the files that it lists.
//!
//! # Geometry
//! Slices are sorted by ImagePositionPatient along the normal of ImageOrientationPatient (rows × columns), and axis k
//! points along that normal, so a grid that is read here is right-handed whatever the order of the files.
//! Slice distances come from the positions, never from SliceThickness. A slice may be 0.02 mm off its place in an even,
//! straight stack; gaps, gantry tilt and images that differ at one place are errors that say where.
//! [`ReadOptions::fill_gaps`] and [`ReadOptions::untilt`] ask for resampling instead.
//! Nothing is assumed about geometry that the files do not say; the one exception, the extent of a lone slice along k, is
//! recorded as [`SeriesProblem::SingleSlice`].
//!
//! # Several volumes in one series
//! Echoes, contrasts, time points, stacks, or images of another size: [`SeriesInfo::volumes`] lists them, and
//! [`ReadOptions::frame`] chooses. Copies of an image and localizers among other images are left out, which is recorded.
//!
//! # Values
//! HU for CT, scanner units for MR, both after each slice's own RescaleSlope and RescaleIntercept. An MR image without
//! rescale keeps its stored values; a CT image without is an error. Philips' private scaling of MR is recorded as
//! [`SeriesProblem::PhilipsScaling`] and applied if [`ReadOptions::philips_precise`] asks for it.
//! Voxels with a CT's PixelPaddingValue, which lie outside the reconstruction circle, become −1000 HU (air) if the padding
//! is below −1000 HU. That is recorded as [`SeriesProblem::PaddingToAir`]; values are not clipped otherwise.
//!
//! # Encodings
//! Uncompressed (implicit or explicit, either byte order, with or without preamble), deflated, RLE, JPEG (8 and 12 bits,
//! lossless), JPEG-LS and JPEG 2000; single-frame files, and enhanced multi-frame ones with their functional groups.
//! JPEG XL, High-Throughput JPEG 2000, mosaics, MONOCHROME1 and color are refused by name.
//!
//! # What is written
//! Derived objects for research, which say so in every place a reader may look, with UIDs that follow from the content and
//! without dates: the same input gives the same bytes. Nothing is made anonymous here: patient and study are taken over as
//! they are.

mod attributes;
mod codec;
mod copies;
mod dataset;
mod directory;
mod dose;
mod element;
mod folder;
mod fragments;
mod functional_groups;
mod geometry;
mod image;
mod object;
mod opening;
mod pixels;
mod plan;
mod problem;
mod regrid;
mod sample;
mod series;
mod structure_set;
mod syntax;
mod value;
mod volumes;
mod write;

use std::path::Path;

use rayon::prelude::*;
use synthct_image::Volume;

pub use self::dose::{DoseFile, read_dose, read_dose_grid};
use self::folder::Found;
use self::image::ImageHeader;
pub use self::object::{RtKind, find_object, rt_kind};
use self::pixels::{AIR_HU, Padding, PixelFile};
pub use self::plan::{PlanFile, read_plan};
pub use self::problem::{SeriesProblem, SliceGap};
use self::series::{Series, SeriesVolume};
pub use self::series::{SeriesInfo, VolumeInfo};
pub use self::structure_set::{StructureFile, read_structure_set};
pub use self::write::{
    DoseText, ImageKind, Origin, PlanText, SeriesText, StructureText, WrittenSeries, write_dose, write_plan,
    write_series, write_structure_set,
};
use crate::{IoError, ReadOptions};

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
/// - [`IoError::SeriesGeometry`] says why the images do not make one volume: tilt, gaps, duplicates, several volumes.
/// - [`IoError::MissingAttribute`], [`IoError::Unsupported`], [`IoError::Malformed`] and [`IoError::Truncated`] name the
///   first file that cannot be used. A damaged file of unknown series is such a file as well: it may be a missing slice.
/// - [`IoError::Io`] if a file cannot be read.
pub fn read_series(path: &Path, series_uid: Option<&str>) -> Result<(Volume<f32>, SeriesInfo), IoError> {
    read_series_with(
        path,
        &ReadOptions { series_uid: series_uid.map(str::to_owned), ..ReadOptions::default() },
    )
}

/// Reads a series as [`read_series`] does, with choices.
///
/// # Errors
/// As [`read_series`], and [`IoError::NoSuchFrame`] for a volume that the series does not have.
pub fn read_series_with(path: &Path, options: &ReadOptions) -> Result<(Volume<f32>, SeriesInfo), IoError> {
    let found = folder::find(path)?;
    let series = choose(path, options.series_uid.as_deref(), found)?;
    let (mut info, volume) = choose_volume(path, options.frame, series)?;
    let SeriesVolume { headers, grid, error, .. } = volume;
    if let Some(error) = error {
        return Err(error);
    }
    let is_resolved = |problem: &SeriesProblem| match problem {
        SeriesProblem::GantryTilt { .. } => options.untilt,
        SeriesProblem::UnevenSpacing { .. } => options.fill_gaps,
        _ => false,
    };
    let fatal = |problem: &&SeriesProblem| problem.is_fatal() && !is_resolved(problem);
    let fatal: Vec<SeriesProblem> = info.problems.iter().filter(fatal).cloned().collect();
    if !fatal.is_empty() {
        return Err(IoError::SeriesGeometry {
            path: path.to_owned(),
            series_uid: info.series_uid,
            problems: fatal,
        });
    }
    let (values, paddings) = decode(&headers, options.philips_precise)?;
    info.problems.extend(padding_problems(&paddings));
    for problem in &mut info.problems {
        if let SeriesProblem::PhilipsScaling { is_applied, .. } = problem {
            *is_applied = options.philips_precise;
        }
    }
    if let Some(grid) = grid {
        let volume = Volume::from_vec(grid, values).map_err(IoError::geometry(path))?;
        return Ok((volume, info));
    }
    let regridded = regrid::regrid(path, &headers, &values)?;
    info.problems.retain(|problem| !problem.is_fatal());
    info.problems.extend(regridded.problems);
    info.grid = Some(regridded.volume.grid().clone());
    Ok((regridded.volume, info))
}

/// Decodes slices of one size, in parallel; returns them one after the other.
fn decode(headers: &[ImageHeader], philips_precise: bool) -> Result<(Vec<f32>, Vec<Padding>), IoError> {
    let n_samples =
        headers.first().map_or(Ok(0), |first| first.sample_format().map(sample::SampleFormat::n_samples))?;
    // Each file was found to be large enough for its slices, so the files justify this allocation.
    let mut values = vec![0.0; n_samples * headers.len()];
    if values.is_empty() {
        return Ok((values, Vec::new()));
    }
    let mut slices: Vec<(&ImageHeader, &mut [f32])> =
        std::iter::zip(headers, values.chunks_exact_mut(n_samples)).collect();
    // Frames of one file share the table of where they are.
    let files: Vec<&mut [(&ImageHeader, &mut [f32])]> =
        slices.chunk_by_mut(|(left, _), (right, _)| left.path == right.path).collect();
    let paddings: Vec<Vec<Result<Padding, IoError>>> = files
        .into_par_iter()
        .map(|frames| match frames.first().map(|(header, _)| PixelFile::new(header)) {
            Some(Ok(file)) => frames
                .par_iter_mut()
                .map(|(header, slice)| file.decode(header, philips_precise, slice))
                .collect(),
            Some(Err(error)) => vec![Err(error)],
            None => Vec::new(),
        })
        .collect();
    // In the order of the slices, so that the error is the same in every run.
    let paddings = paddings.into_iter().flatten().collect::<Result<Vec<Padding>, IoError>>()?;
    Ok((values, paddings))
}

/// The volume that is asked for, or the only one there is.
fn choose_volume(
    path: &Path,
    volume_idx: Option<usize>,
    series: Series,
) -> Result<(SeriesInfo, SeriesVolume), IoError> {
    let Series { mut info, mut volumes, error } = series;
    if let Some(error) = error {
        return Err(error);
    }
    let n_volumes = volumes.len();
    match volume_idx {
        Some(frame) if frame >= n_volumes => {
            Err(IoError::NoSuchFrame { path: path.to_owned(), frame, n_frames: n_volumes })
        }
        None if n_volumes != 1 => Err(IoError::SeriesGeometry {
            path: path.to_owned(),
            series_uid: info.series_uid,
            problems: info.problems.into_iter().filter(SeriesProblem::is_fatal).collect(),
        }),
        chosen => {
            let volume = volumes.swap_remove(chosen.unwrap_or(0));
            if n_volumes > 1 {
                info.problems.retain(|problem| !matches!(problem, SeriesProblem::SeveralVolumes { .. }));
                info.problems.extend(volume.problems.iter().cloned());
                info.grid.clone_from(&volume.grid);
                info.files = volume.headers.iter().map(|header| header.path.clone()).collect();
                info.rows = volume.headers.first().and_then(|header| header.rows).map(usize::from);
                info.columns = volume.headers.first().and_then(|header| header.columns).map(usize::from);
            }
            Ok((info, volume))
        }
    }
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
    series.info.is_ct_or_mr || series.info.files.is_empty()
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
