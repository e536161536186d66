//! What can go wrong between a file and a volume.

use std::path::{Path, PathBuf};

use synthct_image::ImageError;
use synthct_rt::RtError;

use crate::dicom::SeriesProblem;

/// Why a file could not be read as an image or a transform, or one not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// The operating system refused: no such file, no permission, disk full, …
    #[error("`{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file contradicts its own format.
    #[error("`{path}` is not a valid {format} file: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format that it claims to be.
        format: &'static str,
        /// What is wrong, with the offending value.
        what: String,
    },
    /// The file ends before its last voxel.
    #[error(
        "`{path}` is truncated: its header announces {expected} bytes of voxels, but it holds no more than {found}"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The bytes that the header announces.
        expected: u64,
        /// The bytes that are there; for packed data that are plainly too short, a bound.
        found: u64,
    },
    /// The file is valid, but holds something that this crate does not read or write.
    #[error("`{path}`: {what} is not supported")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not supported.
        what: String,
    },
    /// No reader knows the file's content.
    #[error(
        "`{path}` is none of the known formats (NIfTI, MetaImage, DICOM): its content starts with {start:02x?}"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The first bytes of the file.
        start: Vec<u8>,
    },
    /// No writer knows the file's extension.
    #[error("cannot tell the format to write from the name `{path}`: use one of {known}")]
    UnknownExtension {
        /// The file to be written.
        path: PathBuf,
        /// The extensions that are known.
        known: &'static str,
    },
    /// Size, spacing, origin or direction do not make a grid.
    #[error("`{path}` has no usable geometry")]
    Geometry {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<ImageError>,
    },
    /// Numbers that make no transform: a singular matrix, components that are NaN, too few control points.
    #[error("`{path}` has no usable transform")]
    Transform {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<ImageError>,
    },
    /// The file does not say where its voxels are.
    #[error("`{path}` does not say where its voxels are: {what}")]
    MissingGeometry {
        /// The file.
        path: PathBuf,
        /// What is missing, and the way out.
        what: String,
    },
    /// The axes are not at right angles, which a grid cannot represent.
    #[error(
        "`{path}` is sheared: its {axes} axes are {angle_deg:.4}° apart, not 90° (corners would move by {displacement_mm:.3} mm); \
         resample it onto orthogonal axes first"
    )]
    Sheared {
        /// The file.
        path: PathBuf,
        /// The two axes that are furthest from orthogonal, for example `i and j`.
        axes: &'static str,
        /// The angle between them in degrees.
        angle_deg: f64,
        /// How far the farthest corner would move if the axes were made orthogonal, in mm.
        displacement_mm: f64,
    },
    /// More than one volume, or a picture instead of a volume.
    #[error(
        "`{path}` holds {n_frames} frames of {size_ijk:?} voxels, but one volume is asked: choose a frame"
    )]
    NotThreeDimensional {
        /// The file.
        path: PathBuf,
        /// Voxels along i, j and k of one frame.
        size_ijk: [usize; 3],
        /// The number of volumes in the file: the product of all further dimensions.
        n_frames: usize,
    },
    /// A frame beyond the last.
    #[error("`{path}` has no frame {frame}: it holds {n_frames}, counted from 0")]
    NoSuchFrame {
        /// The file.
        path: PathBuf,
        /// The frame asked for, from 0.
        frame: usize,
        /// The number of frames in the file.
        n_frames: usize,
    },
    /// An attribute that the geometry or the values need is not in the file.
    #[error("`{path}` lacks {attribute}")]
    MissingAttribute {
        /// The file.
        path: PathBuf,
        /// The attribute's name, for DICOM with its tag.
        attribute: String,
    },
    /// A folder with several DICOM series, of which one must be chosen.
    #[error("`{path}` holds {} DICOM series; choose one by its UID:\n  {}", list.len(), list.join("\n  "))]
    SeveralSeries {
        /// The folder.
        path: PathBuf,
        /// One line a series: its UID, modality, description and number of images.
        list: Vec<String>,
    },
    /// No DICOM series with that UID, or none of CT or MR images.
    #[error("`{path}` holds no {}; it holds {}",
        series_uid.as_ref().map_or("DICOM series of CT or MR images".to_owned(), |uid| format!("DICOM series `{uid}`")),
        if list.is_empty() { "no DICOM series at all".to_owned() } else { format!("these:\n  {}", list.join("\n  ")) })]
    NoSuchSeries {
        /// The folder or file.
        path: PathBuf,
        /// The UID asked for, none if any CT or MR series would have done.
        series_uid: Option<String>,
        /// One line for each series that is there.
        list: Vec<String>,
    },
    /// The images of a DICOM series do not make one volume.
    #[error("DICOM series `{series_uid}` in `{path}` is not one volume: {}",
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    SeriesGeometry {
        /// The folder or file.
        path: PathBuf,
        /// The series.
        series_uid: String,
        /// Everything that is wrong with it.
        problems: Vec<SeriesProblem>,
    },
    /// A folder without the radiotherapy object that is needed.
    #[error(
        "`{path}` holds no {kind} (modality {modality}); name the file itself, or export it into this folder"
    )]
    NoSuchObject {
        /// The folder.
        path: PathBuf,
        /// What is needed.
        kind: &'static str,
        /// Its DICOM modality.
        modality: &'static str,
    },
    /// A folder with several radiotherapy objects of one kind.
    #[error("`{path}` holds {} files of the kind {kind}; name one of them:\n  {}", files.len(),
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join("\n  "))]
    SeveralObjects {
        /// The folder.
        path: PathBuf,
        /// What they are.
        kind: &'static str,
        /// The files.
        files: Vec<PathBuf>,
    },
    /// Two objects that do not say that they lie in one space.
    #[error(
        "{what} are in the frame of reference `{uid}`, but {reference} in `{reference_uid}` (FrameOfReferenceUID (0020,0052)): \
         their coordinates have nothing to do with each other"
    )]
    FrameOfReference {
        /// What does not fit, in the plural.
        what: String,
        /// Its frame of reference.
        uid: String,
        /// What it should fit.
        reference: String,
        /// The frame of reference of that.
        reference_uid: String,
    },
    /// A folder to write a series into that already holds something.
    #[error("`{path}` is not empty; give a new folder, so that two series are not mixed up")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A plan that cannot be delivered as it is described.
    #[error("`{path}` holds a plan that cannot be used")]
    Rt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<RtError>,
    },
    /// A value that a mask, a label map or the chosen output type cannot hold.
    #[error("`{path}`: voxel (i, j, k) = {index_ijk:?} has the value {value}, but {allowed}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The first such voxel.
        index_ijk: [usize; 3],
        /// Its value.
        value: f64,
        /// What can be held.
        allowed: &'static str,
    },
}

impl IoError {
    /// Turns an operating-system error at `path` into ours, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }

    /// Turns a geometry error at `path` into ours, for `map_err`.
    pub(crate) fn geometry(path: &Path) -> impl FnOnce(ImageError) -> Self {
        let path = path.to_owned();
        |source| Self::Geometry { path, source: Box::new(source) }
    }

    /// Turns an error of a transform at `path` into ours, for `map_err`.
    pub(crate) fn transform(path: &Path) -> impl FnOnce(ImageError) -> Self {
        let path = path.to_owned();
        |source| Self::Transform { path, source: Box::new(source) }
    }

    /// The file contradicts `format`.
    pub(crate) fn malformed(path: &Path, format: &'static str, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), format, what: what.into() }
    }

    /// The file holds `what`, which is not supported.
    pub(crate) fn unsupported(path: &Path, what: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), what: what.into() }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
