//! NIfTI-1 and NIfTI-2: `.nii`, `.nii.gz` and `.hdr` with `.img`.
//!
//! The header code is our own. The crate `nifti` (0.18) reads NIfTI-1 only, takes a missing or contradictory geometry without a
//! word, and trusts the announced sizes; geometry is what this project must not get wrong.
//!
//! RAS, the frame of NIfTI, exists in this module only: x and y change sign on the way in and out.

mod geometry;
mod header;
mod write;

use std::path::{Path, PathBuf};

use synthct_image::Volume;

use crate::stream::{ByteSource, Packing, Rest, packing_error};
use crate::{Image, ImageFormat, ImageInfo, IoError, MissingGeometry, ReadOptions, Storage};
use header::{Header, MAX_HEADER_BYTES, version_and_order};
pub(crate) use write::write;

/// `NIFTI_INTENT_DISPVECT`: a displacement, in NIfTI's own frame.
const INTENT_DISPLACEMENT: i16 = 1006;
/// `NIFTI_INTENT_VECTOR`, under which ITK and ANTs keep displacement fields, in LPS.
const INTENT_VECTOR: i16 = 1007;

/// Reads a volume; `path` is a `.nii`, a header or the image file of a pair, gzipped or not.
pub(crate) fn read(path: &Path, options: &ReadOptions) -> Result<Image, IoError> {
    let (header, header_source) = open_header(path)?;
    let (mut info, mut storage) = header_info(path, &header, &header_source)?;
    let grid =
        geometry::read_grid(path, &header, info.size_ijk, options.missing_geometry, &mut info.warnings)?;
    let frame = match options.frame {
        None if info.n_frames == 1 => 0,
        None => {
            return Err(IoError::NotThreeDimensional {
                path: path.to_owned(),
                size_ijk: info.size_ijk,
                n_frames: info.n_frames,
            });
        }
        Some(frame) if frame < info.n_frames => frame,
        Some(frame) => {
            return Err(IoError::NoSuchFrame { path: path.to_owned(), frame, n_frames: info.n_frames });
        }
    };

    let (values, packing) =
        read_frames(path, (&header, &header_source), storage, [frame, 1], grid.n_voxels(), &mut info)?;
    storage.is_compressed = packing == Packing::Gzip;
    info.storage = Some(storage);
    info.grid = Some(grid.clone());
    let volume = Volume::from_vec(grid, values).map_err(IoError::geometry(path))?;
    Ok(Image { volume, info })
}

/// Reads a vector image: five dimensions of which the fourth is 1 and the fifth 3, and an intent that says so.
///
/// Vectors of the intent 1007 are taken as they are, as ITK takes them; those of 1006 are in RAS, and turned to LPS.
pub(crate) fn read_vectors(path: &Path) -> Result<Volume<[f32; 3]>, IoError> {
    let (header, header_source) = open_header(path)?;
    let (mut info, storage) = header_info(path, &header, &header_source)?;
    let is_ras = match i16::try_from(header.intent_code) {
        Ok(INTENT_VECTOR) => false,
        Ok(INTENT_DISPLACEMENT) => true,
        _ => {
            let code = header.intent_code;
            let what = format!(
                "a displacement field of the NIfTI intent {code} (known: {INTENT_VECTOR} vector, {INTENT_DISPLACEMENT} \
                 displacement vector)"
            );
            return Err(IoError::unsupported(path, what));
        }
    };
    if !(header.dim[0] >= 5 && header.dim[4] == 1 && header.dim[5] == 3 && info.n_frames == 3) {
        let what = format!("a displacement field of the dimensions {:?} (known: i, j, k, 1, 3)", header.dim);
        return Err(IoError::unsupported(path, what));
    }
    let grid =
        geometry::read_grid(path, &header, info.size_ijk, MissingGeometry::Refuse, &mut info.warnings)?;
    let n = grid.n_voxels();
    let (values, _) = read_frames(path, (&header, &header_source), storage, [0, 3], n, &mut info)?;
    let vectors = (0..n).map(|at| [0, 1, 2].map(|c| values[c * n + at]));
    let vectors = vectors.map(|[x, y, z]| if is_ras { [0.0 - x, 0.0 - y, z] } else { [x, y, z] }).collect();
    Volume::from_vec(grid, vectors).map_err(IoError::geometry(path))
}

/// The numbers of `n` frames from `first` on, and how their file is packed.
fn read_frames(
    path: &Path,
    (header, header_source): (&Header, &HeaderSource),
    storage: Storage,
    [first, n]: [usize; 2],
    n_voxels: usize,
    info: &mut ImageInfo,
) -> Result<(Vec<f32>, Packing), IoError> {
    let image_path = header_source.image_path(header)?;
    let mut source = ByteSource::open(&image_path)?;
    let frame_bytes = n_voxels as u64 * storage.element_type.n_bytes() as u64;
    // A frame offset beyond 64 bits is beyond any file as well.
    let offset = frame_bytes.saturating_mul(first as u64).saturating_add(header.vox_offset);
    let n_skipped = source.skip(&image_path, offset)?;
    if n_skipped < offset {
        let expected = offset.saturating_add(frame_bytes);
        return Err(IoError::Truncated { path: image_path, expected, found: n_skipped });
    }
    let values = source.read_voxels(&image_path, storage, n * n_voxels)?;
    if first + n == info.n_frames && source.rest(&image_path)? == Rest::Something {
        info.warnings.push("there are further bytes after the last voxel".to_owned());
    }
    for warning in &info.warnings {
        tracing::warn!(path = %path.display(), "{warning}");
    }
    Ok((values, source.packing()))
}

/// What the header says; no voxel is read.
pub(crate) fn describe(path: &Path, options: &ReadOptions) -> Result<ImageInfo, IoError> {
    let (header, header_source) = open_header(path)?;
    let (mut info, mut storage) = header_info(path, &header, &header_source)?;
    match geometry::read_grid(path, &header, info.size_ijk, options.missing_geometry, &mut info.warnings) {
        Ok(grid) => info.grid = Some(grid),
        Err(error) => info.warnings.push(crate::error::chain(&error)),
    }
    match header_source.image_path(&header) {
        Ok(image_path) if image_path != header_source.path => {
            storage.is_compressed = ByteSource::open(&image_path)?.packing() == Packing::Gzip;
        }
        Ok(_) => {}
        Err(error) => info.warnings.push(crate::error::chain(&error)),
    }
    info.storage = Some(storage);
    Ok(info)
}

/// The file that a header was read from.
struct HeaderSource {
    path: PathBuf,
    packing: Packing,
}

impl HeaderSource {
    /// The file that holds the voxels: the header's own, or its partner.
    fn image_path(&self, header: &Header) -> Result<PathBuf, IoError> {
        if header.is_single_file {
            return Ok(self.path.clone());
        }
        partner(&self.path, "hdr", "img").ok_or_else(|| {
            let what = "its image file: there is no `.img` or `.img.gz` of the same name beside it";
            IoError::MissingAttribute { path: self.path.clone(), attribute: what.to_owned() }
        })
    }
}

fn open_header(path: &Path) -> Result<(Header, HeaderSource), IoError> {
    // An image file has no content of its own to be known by; its name leads to the header.
    let header_path = if is_pair_image(path) {
        partner(path, "img", "hdr").ok_or_else(|| {
            let what = "its header: there is no `.hdr` or `.hdr.gz` of the same name beside it";
            IoError::MissingAttribute { path: path.to_owned(), attribute: what.to_owned() }
        })?
    } else {
        path.to_owned()
    };
    let mut source = ByteSource::open(&header_path)?;
    let mut bytes = [0_u8; MAX_HEADER_BYTES];
    let n_read = source
        .read_up_to(&mut bytes)
        .map_err(|error| packing_error(&header_path, source.packing(), error))?;
    let header = Header::parse(&header_path, &bytes[..n_read])?;
    Ok((header, HeaderSource { path: header_path, packing: source.packing() }))
}

/// What the header says except the grid, checked, and how the voxels are stored.
fn header_info(path: &Path, header: &Header, source: &HeaderSource) -> Result<(ImageInfo, Storage), IoError> {
    let (size_ijk, n_frames) = header.sizes(path)?;
    let element_type = header.element_type(path)?;
    let mut warnings = Vec::new();
    if i64::from(header.bitpix) != 8 * element_type.n_bytes() as i64 {
        warnings.push(format!(
            "`bitpix` is {}, but the data type {element_type} has {} bits (the data type is taken)",
            header.bitpix,
            8 * element_type.n_bytes()
        ));
    }
    let info = ImageInfo {
        path: path.to_owned(),
        format: format_of_version(header.version),
        size_ijk,
        n_frames,
        storage: None,
        description: header.description.clone(),
        grid: None,
        series: None,
        warnings,
    };
    let storage = Storage {
        element_type,
        byte_order: header.byte_order,
        scaling: header.scaling(path)?,
        is_compressed: source.packing == Packing::Gzip,
    };
    Ok((info, storage))
}

/// The format of a file that begins with these (unpacked) bytes, if it is NIfTI or its ancestor Analyze 7.5.
pub(crate) fn format_of(start: &[u8]) -> Option<ImageFormat> {
    version_and_order(start).map(|(version, _)| format_of_version(version))
}

/// The format of a pair, told by its header; `path` may be either half.
pub(crate) fn pair_format(path: &Path) -> Result<ImageFormat, IoError> {
    open_header(path).map(|(header, _)| format_of_version(header.version))
}

const fn format_of_version(version: u8) -> ImageFormat {
    if version == 1 { ImageFormat::Nifti1 } else { ImageFormat::Nifti2 }
}

/// Whether the name is that of the image half of a pair.
pub(crate) fn is_pair_image(path: &Path) -> bool {
    name_without(path, "img").is_some()
}

/// The other half of a pair that exists: same name and capitals, gzipped like this one or else not like it.
fn partner(path: &Path, own: &str, other: &str) -> Option<PathBuf> {
    let (stem, was_gzipped, is_upper) = name_without(path, own)?;
    let [other, gz] = [other, ".gz"].map(|part| if is_upper { part.to_uppercase() } else { part.to_owned() });
    let plain = path.with_file_name(format!("{stem}.{other}"));
    let gzipped = path.with_file_name(format!("{stem}.{other}{gz}"));
    let candidates = if was_gzipped { [gzipped, plain] } else { [plain, gzipped] };
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// The file's name without `.extension` or `.extension.gz`, whether it was gzipped, and whether it is in capitals.
fn name_without<'a>(path: &'a Path, extension: &str) -> Option<(&'a str, bool, bool)> {
    let name = path.file_name()?.to_str()?;
    let (name, was_gzipped) = match strip_extension(name, "gz") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let stem = strip_extension(name, extension)?;
    Some((stem, was_gzipped, name.ends_with(&extension.to_uppercase())))
}

/// `name` without `.extension`, in capitals or not.
pub(crate) fn strip_extension<'a>(name: &'a str, extension: &str) -> Option<&'a str> {
    let (stem, found) = name.rsplit_once('.')?;
    found.eq_ignore_ascii_case(extension).then_some(stem)
}

#[cfg(test)]
mod tests {
    use synthct_image::{Grid, Matrix3, PointLps};

    use super::*;
    use crate::ElementType;
    use crate::output::VoxelKind;

    /// The grids that a header written for `grid` gives back: by its sform, and by its qform alone.
    fn grids_back(grid: &Grid, version: u8) -> Result<[Grid; 2], IoError> {
        let path = Path::new("in memory");
        let bytes = write::header_bytes(grid, ElementType::F32, VoxelKind::Scalar, version, true);
        let mut header = Header::parse(path, &bytes)?;
        let (size_ijk, _) = header.sizes(path)?;
        let mut warnings = Vec::new();
        let by_sform = geometry::read_grid(path, &header, size_ijk, MissingGeometry::Refuse, &mut warnings)?;
        assert_eq!(warnings, Vec::<String>::new());
        header.sform_code = 0;
        let by_qform = geometry::read_grid(path, &header, size_ijk, MissingGeometry::Refuse, &mut warnings)?;
        Ok([by_sform, by_qform])
    }

    #[test]
    fn both_forms_give_back_every_corner() -> Result<(), Box<dyn std::error::Error>> {
        let (sin, cos) = 0.4_f64.sin_cos();
        let turned = Matrix3([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]);
        let (sin, cos) = (-1.1_f64).sin_cos();
        let oblique = turned * Matrix3([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]]);
        let sagittal = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]);
        for direction in [Matrix3::IDENTITY, oblique, sagittal, oblique * Matrix3::diagonal([1.0, -1.0, 1.0])]
        {
            let grid =
                Grid::new([3, 4, 5], [0.7, 1.3, 2.9], PointLps::new(-17.25, 103.5, -411.125), direction)?;
            for (version, allowed_mm) in [(1, 5e-5), (2, 1e-12)] {
                for found in grids_back(&grid, version)? {
                    for (a, b) in std::iter::zip(found.corner_points(), grid.corner_points()) {
                        assert!(a.distance_mm(b) < allowed_mm, "version {version}: {a:?} instead of {b:?}");
                    }
                }
            }
        }
        Ok(())
    }
}
