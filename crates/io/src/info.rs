//! What is known about an image file besides its voxels.

use std::fmt;
use std::path::PathBuf;

use synthct_image::{Grid, Volume};

use crate::dicom::SeriesInfo;
use crate::{ByteOrder, ElementType, Scaling};

/// A file format that this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageFormat {
    /// NIfTI-1, single file or pair.
    Nifti1,
    /// NIfTI-2, single file or pair.
    Nifti2,
    /// MetaImage, `.mha` or `.mhd` with its data file.
    MetaImage,
    /// DICOM images, one file or a folder.
    Dicom,
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nifti1 => "NIfTI-1",
            Self::Nifti2 => "NIfTI-2",
            Self::MetaImage => "MetaImage",
            Self::Dicom => "DICOM",
        })
    }
}

/// How voxels are stored in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage {
    /// The type of the stored voxels.
    pub element_type: ElementType,
    /// The order of a stored voxel's bytes.
    pub byte_order: ByteOrder,
    /// The map from stored to true values, if the file has one; a volume's values are the true ones.
    pub scaling: Option<Scaling>,
    /// Whether the voxels are compressed.
    pub is_compressed: bool,
}

/// What a file says about its image, and what is odd about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageInfo {
    /// The file or folder as it was given.
    pub path: PathBuf,
    /// The file's format.
    pub format: ImageFormat,
    /// Voxels along i, j and k.
    pub size_ijk: [usize; 3],
    /// The number of volumes in the file; only a file with one, or a chosen frame, is read.
    pub n_frames: usize,
    /// How the voxels are stored; none for DICOM, of which every slice has its own way.
    pub storage: Option<Storage>,
    /// The free text of the file's header; may be empty.
    pub description: String,
    /// Where the voxels are; none if the file's geometry is missing or unusable, and a warning says why.
    pub grid: Option<Grid>,
    /// The DICOM series that was read or described; none for other formats.
    pub series: Option<SeriesInfo>,
    /// What is unusual in the file, one sentence each.
    pub warnings: Vec<String>,
}

/// A volume and what its file said about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Image {
    /// The voxels' true values, scaling applied, where the file has them.
    pub volume: Volume<f32>,
    /// What the file said.
    pub info: ImageInfo,
}

/// What to do when a file does not say where its voxels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissingGeometry {
    /// It is an error: geometry is never invented.
    #[default]
    Refuse,
    /// Take the voxel size alone, and invent the rest as the format's own reference does.
    ///
    /// NIfTI: "method 1" of the standard, spacing `pixdim`, the i, j, k axes along right, anterior, superior, voxel (0, 0, 0) at
    /// the world origin. (nibabel instead flips i and centres the volume.)
    /// MetaImage: what is absent of spacing, origin and direction is 1 mm, the world origin and the identity.
    FromPixdim,
}

/// How to read a file, where there is a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadOptions {
    /// What to do when a NIfTI or MetaImage file does not say where its voxels are.
    pub missing_geometry: MissingGeometry,
    /// Which volume of a file or DICOM series that holds several, from 0; none if there must be one.
    pub frame: Option<usize>,
    /// Which DICOM series of a folder, by its Series Instance UID; none if there must be one.
    pub series_uid: Option<String>,
    /// Interpolate DICOM slices that are missing or unevenly spaced, linearly along the normal, instead of refusing them.
    ///
    /// The new distance is the usual one if all others are multiples of it, else the smallest there is.
    pub fill_gaps: bool,
    /// Resample a CT with tilted gantry onto slices at right angles to the table's way, instead of refusing it.
    pub untilt: bool,
    /// Read MR of Philips in their "floating point values", which are on one scale over an examination, where the files have
    /// the private scaling for it; by default values are those of the standard's rescale, as displayed.
    pub philips_precise: bool,
}
