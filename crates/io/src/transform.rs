//! Transforms from files and back: ITK's text files, the matrices of ANTs, and displacement fields.
//!
//! All these files hold what ITK means by a transform: a map of LPS points in mm from the *fixed* to the *moving* image,
//! which is what [`resample`](fn@synthct_image::resample) wants as `moving_from_fixed`.

mod field;
mod itk_text;
mod matlab;
mod record;

use std::path::Path;

use synthct_image::Transform;

pub use field::{read_displacement_field, write_displacement_field};

use crate::format::WrittenFormat;
use crate::stream::{ByteSource, packing_error};
use crate::{IoError, detect_format};

/// The extensions that writing a transform knows, for messages.
const KNOWN_EXTENSIONS: &str = ".tfm or .txt, and for a displacement field also .nii, .nii.gz, .mha or .mhd";

/// Reads a transform; the content tells the format.
///
/// | file | content |
/// |---|---|
/// | `.tfm`, `.txt` | ITK's "Insight Transform File V1.0": one transform, or one composite of several |
/// | `.mat` | ITK's MATLAB 4 file, for example `0GenericAffine.mat` of ANTs |
/// | `.nii`, `.nii.gz`, `.mha`, `.mhd` | a displacement field: see [`read_displacement_field`] |
///
/// Known transforms in 3-D, in single and double precision: identity, translation, affine (also
/// `MatrixOffsetTransformBase`), `Euler3D`, `VersorRigid3D`, versor, quaternion, similarity, scale, cubic B-spline and
/// displacement field; a composite keeps ITK's order, in which the *last* transform of the file acts first.
///
/// ```no_run
/// let moving_from_fixed = synthct_io::read_transform(std::path::Path::new("ct_from_mr.tfm"))?;
/// let at_ct = moving_from_fixed.apply(synthct_image::PointLps::ORIGIN);
/// # Ok::<(), synthct_io::IoError>(())
/// ```
///
/// # Errors
/// [`IoError::Malformed`] for wrong numbers of parameters and damaged or truncated files, [`IoError::Unsupported`] naming a
/// kind of transform or file that is not known (2-D, HDF5, elastix), [`IoError::Transform`] for numbers that make no
/// transform (singular, NaN), or as [`read_displacement_field`].
pub fn read_transform(path: &Path) -> Result<Transform, IoError> {
    let mut source = ByteSource::open(path)?;
    let mut start = [0_u8; 64];
    let n_read =
        source.read_up_to(&mut start).map_err(|error| packing_error(path, source.packing(), error))?;
    let start = &start[..n_read];
    if start.starts_with(itk_text::MAGIC.as_bytes()) {
        return itk_text::read(path);
    }
    if matlab::is_transform(start) {
        return matlab::read(path);
    }
    if start.starts_with(b"\x89HDF") {
        return Err(IoError::unsupported(
            path,
            "a transform in an HDF5 file (`.h5`); write it as `.tfm` instead: that",
        ));
    }
    if start.trim_ascii_start().starts_with(b"(") || start.starts_with(b"//") {
        return Err(IoError::unsupported(path, "a parameter file of elastix"));
    }
    match detect_format(path) {
        Err(IoError::UnknownFormat { .. }) => {
            let what = format!(
                "a transform file that begins with `{}` (known: ITK's `{}`, ITK's MATLAB 4 files, and displacement \
                 fields in NIfTI or MetaImage)",
                start[..n_read.min(32)].escape_ascii(),
                itk_text::MAGIC
            );
            Err(IoError::unsupported(path, what))
        }
        Err(error) => Err(error),
        Ok(_) => read_displacement_field(path).map(Transform::from),
    }
}

/// Writes a transform as ITK, ANTs and 3D Slicer read it: as text for `.tfm` and `.txt`, and a displacement field also as
/// an image (see [`write_displacement_field`]).
///
/// Numbers are written in full, so that reading gives back the same bits; a composite within a composite is spread out.
/// The file is written aside and renamed when it is whole.
///
/// # Errors
/// [`IoError::UnknownExtension`]; [`IoError::Unsupported`] for an image of anything but a displacement field;
/// [`IoError::Transform`] for a singular affine map, which ITK would not read; [`IoError::Io`].
pub fn write_transform(path: &Path, transform: &Transform) -> Result<(), IoError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if ["tfm", "txt"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        return itk_text::write(path, transform);
    }
    if WrittenFormat::of_name(path).is_err() {
        return Err(IoError::UnknownExtension { path: path.to_owned(), known: KNOWN_EXTENSIONS });
    }
    match transform {
        Transform::Displacement(field) => write_displacement_field(path, field),
        _ => Err(IoError::unsupported(
            path,
            "an image of a transform that is no displacement field (sample it on a grid, or write `.tfm`)",
        )),
    }
}
