//! Displacement fields as vector images.

use std::path::Path;

use synthct_image::{DisplacementField, Volume};

use crate::format::{WrittenFormat, write_voxels};
use crate::output::VoxelKind;
use crate::{ImageFormat, IoError, OutputType, detect_format, metaimage, nifti};

/// Reads a displacement field: a NIfTI image of five dimensions, the last of 3, or a MetaImage of three channels.
///
/// In MetaImage, and in NIfTI of intent 1007 (vector), the vectors are in LPS, as ITK and ANTs write them, although NIfTI's
/// own frame is RAS. In NIfTI of intent 1006 (displacement vector) they are in RAS, and turned.
///
/// # Errors
/// As [`read_volume`](crate::read_volume); [`IoError::Unsupported`] for an image that holds no vectors of three
/// components, [`IoError::Transform`] for components that are NaN or infinite.
pub fn read_displacement_field(path: &Path) -> Result<DisplacementField, IoError> {
    let vectors: Volume<[f32; 3]> = match detect_format(path)? {
        ImageFormat::Nifti1 | ImageFormat::Nifti2 => nifti::read_vectors(path)?,
        ImageFormat::MetaImage => metaimage::read_vectors(path)?,
        ImageFormat::Dicom => return Err(IoError::unsupported(path, "a displacement field in DICOM")),
    };
    DisplacementField::new(vectors).map_err(IoError::transform(path))
}

/// Writes a displacement field as a vector image that ITK, ANTs and 3D Slicer read: LPS vectors in mm, 32-bit floats.
///
/// NIfTI gets five dimensions and the intent 1007, MetaImage three channels; otherwise as
/// [`write_volume`](crate::write_volume).
///
/// # Errors
/// [`IoError::UnknownExtension`] or [`IoError::Io`].
pub fn write_displacement_field(path: &Path, field: &DisplacementField) -> Result<(), IoError> {
    let vectors = field.displacement_mm();
    let interleaved = vectors.as_slice().as_flattened();
    let planar: Vec<f32>;
    let values = match WrittenFormat::of_name(path)? {
        WrittenFormat::MetaImage => interleaved,
        WrittenFormat::Nifti => {
            planar = (0..3).flat_map(|c| interleaved.iter().skip(c).step_by(3)).copied().collect();
            &planar
        }
    };
    let output_type = OutputType::F32;
    write_voxels(
        path,
        vectors.grid(),
        output_type.element_type(),
        VoxelKind::Vector,
        values,
        |values, bytes| {
            output_type.encode(values, bytes);
        },
    )
}
