//! One way in and one way out for every format.
//!
//! A file is known by its content when it is read, and by its extension when it is written.

use std::io::{self, Write};
use std::path::Path;

use synthct_image::{Grid, LabelMap, Mask, Volume};

use crate::dicom::{RtKind, SeriesInfo};
use crate::output::{VoxelKind, VoxelWriter};
use crate::stream::{ByteSource, packing_error};
use crate::{
    ElementType, Image, ImageFormat, ImageInfo, IoError, OutputType, ReadOptions, dicom, metaimage, nifti,
};

/// The extensions that writing knows, for messages.
const KNOWN_EXTENSIONS: &str = ".nii, .nii.gz, .hdr, .hdr.gz, .img, .img.gz, .mha or .mhd";

/// Reads the volume in a NIfTI or MetaImage file, the one DICOM series of a folder or file, or an RT Dose file in Gy; the
/// content tells the format.
///
/// The values are true values: the file's scaling is applied in `f64`, then rounded to `f32` (exact for integers up to 2²⁴).
/// NaN and infinities pass; a finite value beyond the range of `f32` is an error.
/// The grid is the file's own: no axis is flipped, permuted or resampled.
///
/// ```no_run
/// let mr = synthct_io::read_volume(std::path::Path::new("mr.nii.gz"))?;
/// println!("{}", mr.grid());
/// # Ok::<(), synthct_io::IoError>(())
/// ```
///
/// # Errors
/// Any [`IoError`]: the file cannot be read, is damaged, holds something else than one volume of numbers,
/// or does not say where its voxels are.
pub fn read_volume(path: &Path) -> Result<Volume<f32>, IoError> {
    read_volume_with(path, &ReadOptions::default())
}

/// Reads one volume of a file that holds several (NIfTI of four and more dimensions); `frame` counts from 0, the fourth
/// dimension fastest.
///
/// # Errors
/// As [`read_volume`], and [`IoError::NoSuchFrame`].
pub fn read_volume_frame(path: &Path, frame: usize) -> Result<Volume<f32>, IoError> {
    read_volume_with(path, &ReadOptions { frame: Some(frame), ..ReadOptions::default() })
}

/// Reads a volume as [`read_volume`] does, with choices.
///
/// # Errors
/// As [`read_volume`].
pub fn read_volume_with(path: &Path, options: &ReadOptions) -> Result<Volume<f32>, IoError> {
    read_image(path, options).map(|image| image.volume)
}

/// Reads a volume together with what its file says about it.
///
/// # Errors
/// As [`read_volume`].
pub fn read_image(path: &Path, options: &ReadOptions) -> Result<Image, IoError> {
    match detect_format(path)? {
        ImageFormat::Nifti1 | ImageFormat::Nifti2 => nifti::read(path, options),
        ImageFormat::MetaImage => metaimage::read(path, options),
        ImageFormat::Dicom => read_dicom(path, options),
    }
}

/// What a file says about its image, without reading its voxels.
///
/// A file without usable geometry, which [`read_volume`] refuses, is described as far as possible: no grid, and a warning.
///
/// # Errors
/// As [`read_volume`], for a header that cannot be understood at all.
pub fn describe(path: &Path, options: &ReadOptions) -> Result<ImageInfo, IoError> {
    match detect_format(path)? {
        ImageFormat::Nifti1 | ImageFormat::Nifti2 => nifti::describe(path, options),
        ImageFormat::MetaImage => metaimage::describe(path, options),
        ImageFormat::Dicom => describe_dicom(path, options),
    }
}

/// The format of a file or folder, by its content; a folder counts as DICOM.
///
/// The one exception is the image half of a NIfTI pair, which has no content of its own: it is known by its extension.
///
/// # Errors
/// [`IoError::Io`], or [`IoError::UnknownFormat`] with the first bytes.
pub fn detect_format(path: &Path) -> Result<ImageFormat, IoError> {
    if std::fs::metadata(path).map_err(IoError::io(path))?.is_dir() {
        return Ok(ImageFormat::Dicom);
    }
    if nifti::is_pair_image(path) {
        return nifti::pair_format(path);
    }
    let mut source = ByteSource::open(path)?;
    let mut start = [0_u8; 512];
    let n_read =
        source.read_up_to(&mut start).map_err(|error| packing_error(path, source.packing(), error))?;
    let start = &start[..n_read];
    if let Some(format) = nifti::format_of(start) {
        return Ok(format);
    }
    if metaimage::looks_like_metaimage(start) {
        return Ok(ImageFormat::MetaImage);
    }
    if dicom::is_dicom(path)? {
        return Ok(ImageFormat::Dicom);
    }
    Err(IoError::UnknownFormat { path: path.to_owned(), start: start[..n_read.min(16)].to_vec() })
}

/// Reads a region: a voxel is inside if its value is above zero, the definition of the SynthRAD challenges.
///
/// # Errors
/// As [`read_volume`], and [`IoError::Value`] for a value that is not a number.
pub fn read_mask(path: &Path) -> Result<Mask, IoError> {
    let volume = read_volume(path)?;
    if let Some(voxel_idx) = volume.as_slice().iter().position(|value| value.is_nan()) {
        return Err(value_error(path, &volume, voxel_idx, "a mask holds numbers"));
    }
    Ok(Mask::from_values(&volume, |&value| value > 0.0))
}

/// Reads a partition: every value must be a whole number from 0 to 65535.
///
/// # Errors
/// As [`read_volume`], and [`IoError::Value`] for another value.
pub fn read_label_map(path: &Path) -> Result<LabelMap, IoError> {
    let volume = read_volume(path)?;
    let is_label = |value: f32| value.fract() == 0.0 && (0.0..=f32::from(u16::MAX)).contains(&value);
    if let Some(voxel_idx) = volume.as_slice().iter().position(|&value| !is_label(value)) {
        return Err(value_error(path, &volume, voxel_idx, "labels are whole numbers from 0 to 65535"));
    }
    Ok(LabelMap::new(volume.map(|&value| value as u16)))
}

/// Writes a volume as NIfTI or MetaImage; the extension tells the format, `.gz` asks for compression.
///
/// `.mha` is compressed, `.mhd` has its voxels in a plain `.raw` beside it.
/// The file is written aside and renamed when it is whole, and depends on the volume alone: same volume, same bytes.
///
/// # Errors
/// [`IoError::UnknownExtension`]; [`IoError::Value`] for a value that `output_type` cannot hold; [`IoError::Io`].
pub fn write_volume(path: &Path, volume: &Volume<f32>, output_type: OutputType) -> Result<(), IoError> {
    let values = volume.as_slice();
    let output_type = output_type.resolved(values);
    if let Err(voxel_idx) = output_type.check(values) {
        return Err(value_error(path, volume, voxel_idx, output_type.allowed()));
    }
    write_voxels(
        path,
        volume.grid(),
        output_type.element_type(),
        VoxelKind::Scalar,
        values,
        |values, bytes| {
            output_type.encode(values, bytes);
        },
    )
}

/// Writes a region as unsigned bytes, 1 inside and 0 outside; otherwise as [`write_volume`].
///
/// # Errors
/// [`IoError::UnknownExtension`] or [`IoError::Io`].
pub fn write_mask(path: &Path, mask: &Mask) -> Result<(), IoError> {
    write_voxels(path, mask.grid(), ElementType::U8, VoxelKind::Scalar, mask.as_slice(), |values, bytes| {
        bytes.extend(values.iter().map(|&inside| u8::from(inside)));
    })
}

/// Writes a partition as unsigned 16-bit integers; otherwise as [`write_volume`].
///
/// # Errors
/// [`IoError::UnknownExtension`] or [`IoError::Io`].
pub fn write_label_map(path: &Path, labels: &LabelMap) -> Result<(), IoError> {
    let values = labels.volume().as_slice();
    write_voxels(path, labels.grid(), ElementType::U16, VoxelKind::Scalar, values, |values, bytes| {
        bytes.extend(values.iter().flat_map(|label| label.to_le_bytes()));
    })
}

/// Values that are turned into bytes at once.
const CHUNK_VALUES: usize = 1 << 16;

/// Writes values, in the order that the format of the name wants, each turned into bytes by `encode`.
pub(crate) fn write_voxels<T>(
    path: &Path,
    grid: &Grid,
    element_type: ElementType,
    kind: VoxelKind,
    values: &[T],
    encode: impl Fn(&[T], &mut Vec<u8>),
) -> Result<(), IoError> {
    let format = WrittenFormat::of_name(path)?;
    let voxels = |sink: &mut dyn Write| -> io::Result<()> {
        let mut bytes = Vec::with_capacity(CHUNK_VALUES * element_type.n_bytes());
        for chunk in values.chunks(CHUNK_VALUES) {
            bytes.clear();
            encode(chunk, &mut bytes);
            sink.write_all(&bytes)?;
        }
        Ok(())
    };
    let write: FormatWriter = match format {
        WrittenFormat::Nifti => nifti::write,
        WrittenFormat::MetaImage => metaimage::write,
    };
    write(path, grid, element_type, kind, &voxels)
}

type FormatWriter = fn(&Path, &Grid, ElementType, VoxelKind, &VoxelWriter) -> Result<(), IoError>;

/// A format that images are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrittenFormat {
    Nifti,
    MetaImage,
}

impl WrittenFormat {
    /// The format that the extension of a name asks for.
    pub(crate) fn of_name(path: &Path) -> Result<Self, IoError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
        let ends_with = |extensions: &[&str]| extensions.iter().any(|extension| name.ends_with(extension));
        if ends_with(&[".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"]) {
            Ok(Self::Nifti)
        } else if ends_with(&[".mha", ".mhd"]) {
            Ok(Self::MetaImage)
        } else {
            Err(IoError::UnknownExtension { path: path.to_owned(), known: KNOWN_EXTENSIONS })
        }
    }
}

pub(crate) fn value_error(
    path: &Path,
    volume: &Volume<f32>,
    voxel_idx: usize,
    allowed: &'static str,
) -> IoError {
    let [ni, nj, _] = volume.grid().size_ijk();
    IoError::Value {
        path: path.to_owned(),
        index_ijk: [voxel_idx % ni, voxel_idx / ni % nj, voxel_idx / (ni * nj)],
        value: f64::from(volume.as_slice()[voxel_idx]),
        allowed,
    }
}

fn read_dicom(path: &Path, options: &ReadOptions) -> Result<Image, IoError> {
    if dicom::rt_kind(path)? == Some(RtKind::Dose) {
        let file = dicom::read_dose(path)?;
        for note in &file.notes {
            tracing::warn!(path = %path.display(), "{note}");
        }
        let info = dose_info(path, file.dose_gy.grid().clone(), file.notes);
        return Ok(Image { volume: file.dose_gy, info });
    }
    let (volume, series) = dicom::read_series_with(path, options)?;
    let info = series_info(path, series, Vec::new());
    for warning in &info.warnings {
        tracing::warn!(path = %path.display(), "{warning}");
    }
    Ok(Image { volume, info })
}

/// Describes the series that is asked for, or the only one of CT or MR images.
fn describe_dicom(path: &Path, options: &ReadOptions) -> Result<ImageInfo, IoError> {
    if dicom::rt_kind(path)? == Some(RtKind::Dose) {
        let (grid, notes) = dicom::read_dose_grid(path)?;
        return Ok(dose_info(path, grid, notes));
    }
    let listing = dicom::list_series(path)?;
    let list: Vec<String> = listing.series.iter().map(SeriesInfo::summary).collect();
    let is_meant = |series: &SeriesInfo| match &options.series_uid {
        Some(uid) => series.series_uid == *uid,
        None => series.is_ct_or_mr,
    };
    let mut meant: Vec<SeriesInfo> = listing.series.into_iter().filter(is_meant).collect();
    match (meant.pop(), meant.is_empty()) {
        (Some(series), true) => Ok(series_info(path, series, listing.damaged_files)),
        (Some(_), false) => Err(IoError::SeveralSeries { path: path.to_owned(), list }),
        (None, _) => {
            Err(IoError::NoSuchSeries { path: path.to_owned(), series_uid: options.series_uid.clone(), list })
        }
    }
}

fn dose_info(path: &Path, grid: Grid, warnings: Vec<String>) -> ImageInfo {
    ImageInfo {
        path: path.to_owned(),
        format: ImageFormat::Dicom,
        size_ijk: grid.size_ijk(),
        n_frames: 1,
        storage: None,
        description: RtKind::Dose.name().to_owned(),
        grid: Some(grid),
        series: None,
        warnings,
    }
}

fn series_info(path: &Path, series: SeriesInfo, mut warnings: Vec<String>) -> ImageInfo {
    warnings.extend(series.problems.iter().map(ToString::to_string));
    let size_ijk = match &series.grid {
        Some(grid) => grid.size_ijk(),
        None => [series.columns.unwrap_or(0), series.rows.unwrap_or(0), series.files.len()],
    };
    ImageInfo {
        path: path.to_owned(),
        format: ImageFormat::Dicom,
        size_ijk,
        n_frames: series.volumes.len().max(1),
        storage: None,
        description: series.description.clone().unwrap_or_default(),
        grid: series.grid.clone(),
        series: Some(series),
        warnings,
    }
}
