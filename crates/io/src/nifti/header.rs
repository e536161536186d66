//! The fields of a NIfTI-1 or NIfTI-2 header, as they stand in the file.
//!
//! # References
//! The headers `nifti1.h` and `nifti2.h` of the NIfTI Data Format Working Group, which define every offset used here.

use std::path::Path;

use crate::{ByteOrder, ElementType, IoError, Scaling};

/// The longest header: NIfTI-2's.
pub(super) const MAX_HEADER_BYTES: usize = 540;
/// The size of a NIfTI-1 header, which is also its first field.
const NIFTI1_BYTES: usize = 348;
const NIFTI2_BYTES: usize = 540;

/// A header's fields, in the file's own frame (RAS) and units.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// 1 or 2.
    pub(super) version: u8,
    pub(super) byte_order: ByteOrder,
    /// Whether the voxels follow in the same file.
    pub(super) is_single_file: bool,
    /// `dim[0]`, the number of dimensions, and the sizes.
    pub(super) dim: [i64; 8],
    /// What the numbers mean; 0 says nothing.
    pub(super) intent_code: i32,
    pub(super) datatype: i16,
    pub(super) bitpix: i16,
    /// `pixdim[0]` is qfac, then voxel sizes.
    pub(super) pixdim: [f64; 8],
    /// Where the voxels begin, in bytes from the start of the (unpacked) file.
    pub(super) vox_offset: u64,
    pub(super) scl_slope: f64,
    pub(super) scl_inter: f64,
    pub(super) xyzt_units: i32,
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    /// b, c, d.
    pub(super) quaternion: [f64; 3],
    pub(super) qoffset: [f64; 3],
    /// The upper three rows of the affine matrix from index to RAS.
    pub(super) srow: [[f64; 4]; 3],
    pub(super) description: String,
}

/// The version and byte order that the first field, the header's own size, shows (Analyze 7.5 counts as 1).
pub(super) fn version_and_order(start: &[u8]) -> Option<(u8, ByteOrder)> {
    let size = *start.first_chunk::<4>()?;
    for (byte_order, size) in
        [(ByteOrder::Little, u32::from_le_bytes(size)), (ByteOrder::Big, u32::from_be_bytes(size))]
    {
        match size as usize {
            NIFTI1_BYTES => return Some((1, byte_order)),
            NIFTI2_BYTES => return Some((2, byte_order)),
            _ => {}
        }
    }
    None
}

impl Header {
    /// The fields in `bytes`, the start of the unpacked file.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, IoError> {
        let malformed = |what: String| IoError::malformed(path, "NIfTI", what);
        let (version, byte_order) = version_and_order(bytes).ok_or_else(|| {
            let what = format!(
                "its first four bytes {:02x?} are not the header's size, 348 or 540",
                &bytes[..bytes.len().min(4)]
            );
            malformed(what)
        })?;
        let n_header_bytes = if version == 1 { NIFTI1_BYTES } else { NIFTI2_BYTES };
        if bytes.len() < n_header_bytes {
            return Err(malformed(format!(
                "its header ends after {} of {n_header_bytes} bytes",
                bytes.len()
            )));
        }
        let fields = Fields { bytes, byte_order };
        let mut header = if version == 1 {
            Self::parse_nifti1(path, &fields)?
        } else {
            Self::parse_nifti2(path, &fields)?
        };
        // The data of a single file come after the header and the four bytes that announce extensions.
        let first_offset = n_header_bytes as u64 + 4;
        if header.is_single_file && header.vox_offset < first_offset {
            return Err(malformed(format!(
                "`vox_offset` is {}, inside the header (the voxels of a single file begin at {first_offset} or later)",
                header.vox_offset
            )));
        }
        header.byte_order = byte_order;
        Ok(header)
    }

    fn parse_nifti1(path: &Path, fields: &Fields) -> Result<Self, IoError> {
        let is_single_file = match fields.array::<4>(344) {
            [b'n', b'+', b'1', 0] => true,
            [b'n', b'i', b'1', 0] => false,
            [0, 0, 0, 0] => {
                return Err(IoError::unsupported(
                    path,
                    "Analyze 7.5 (its header has no NIfTI magic, so no orientation)",
                ));
            }
            magic => {
                let what = format!("its magic is `{}`, not `n+1` or `ni1`", magic.escape_ascii());
                return Err(IoError::malformed(path, "NIfTI", what));
            }
        };
        let vox_offset = f64::from(fields.f32(108));
        if !(0.0..=2_f64.powi(53)).contains(&vox_offset) || vox_offset.fract() != 0.0 {
            let what = format!("`vox_offset` is {vox_offset}, not a number of bytes");
            return Err(IoError::malformed(path, "NIfTI", what));
        }
        Ok(Self {
            version: 1,
            byte_order: fields.byte_order,
            is_single_file,
            dim: std::array::from_fn(|n| i64::from(fields.i16(40 + 2 * n))),
            intent_code: i32::from(fields.i16(68)),
            datatype: fields.i16(70),
            bitpix: fields.i16(72),
            pixdim: std::array::from_fn(|n| f64::from(fields.f32(76 + 4 * n))),
            vox_offset: vox_offset as u64,
            scl_slope: f64::from(fields.f32(112)),
            scl_inter: f64::from(fields.f32(116)),
            xyzt_units: i32::from(fields.bytes[123]),
            qform_code: i32::from(fields.i16(252)),
            sform_code: i32::from(fields.i16(254)),
            quaternion: std::array::from_fn(|n| f64::from(fields.f32(256 + 4 * n))),
            qoffset: std::array::from_fn(|n| f64::from(fields.f32(268 + 4 * n))),
            srow: std::array::from_fn(|row| {
                std::array::from_fn(|n| f64::from(fields.f32(280 + 16 * row + 4 * n)))
            }),
            description: fields.text(148, 80),
        })
    }

    fn parse_nifti2(path: &Path, fields: &Fields) -> Result<Self, IoError> {
        let is_single_file = match &fields.array::<8>(4) {
            b"n+2\0\r\n\x1a\n" => true,
            b"ni2\0\r\n\x1a\n" => false,
            magic => {
                let what = format!(
                    "its magic is `{}`, not `n+2` or `ni2` with the line ends that show a damaged transfer",
                    magic.escape_ascii()
                );
                return Err(IoError::malformed(path, "NIfTI", what));
            }
        };
        let vox_offset = u64::try_from(fields.i64(168)).map_err(|_| {
            IoError::malformed(path, "NIfTI", format!("`vox_offset` is {}, below zero", fields.i64(168)))
        })?;
        Ok(Self {
            version: 2,
            byte_order: fields.byte_order,
            is_single_file,
            dim: std::array::from_fn(|n| fields.i64(16 + 8 * n)),
            intent_code: fields.i32(504),
            datatype: fields.i16(12),
            bitpix: fields.i16(14),
            pixdim: std::array::from_fn(|n| fields.f64(104 + 8 * n)),
            vox_offset,
            scl_slope: fields.f64(176),
            scl_inter: fields.f64(184),
            xyzt_units: fields.i32(500),
            qform_code: fields.i32(344),
            sform_code: fields.i32(348),
            quaternion: std::array::from_fn(|n| fields.f64(352 + 8 * n)),
            qoffset: std::array::from_fn(|n| fields.f64(376 + 8 * n)),
            srow: std::array::from_fn(|row| std::array::from_fn(|n| fields.f64(400 + 32 * row + 8 * n))),
            description: fields.text(240, 80),
        })
    }

    /// Voxels along i, j, k and the number of frames: the product of the dimensions after the third.
    ///
    /// An image of one or two dimensions is a volume of one slice.
    pub(super) fn sizes(&self, path: &Path) -> Result<([usize; 3], usize), IoError> {
        let malformed = |what: String| IoError::malformed(path, "NIfTI", what);
        let n_dims = match self.dim[0] {
            n @ 1..=7 => n as usize,
            n => return Err(malformed(format!("`dim[0]` is {n}, not a number of dimensions from 1 to 7"))),
        };
        let mut sizes = [1_usize; 7];
        for (size, &dim) in std::iter::zip(&mut sizes[..n_dims], &self.dim[1..]) {
            *size = usize::try_from(dim).ok().filter(|&n| n > 0).ok_or_else(|| {
                malformed(format!("`dim` is {:?}: every used dimension must be above zero", self.dim))
            })?;
        }
        let n_frames = sizes[3..].iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
        let n_frames = n_frames.ok_or_else(|| malformed(format!("`dim` {:?} is absurd", self.dim)))?;
        Ok(([sizes[0], sizes[1], sizes[2]], n_frames))
    }

    /// The type of the voxels.
    pub(super) fn element_type(&self, path: &Path) -> Result<ElementType, IoError> {
        let name = match self.datatype {
            2 => return Ok(ElementType::U8),
            4 => return Ok(ElementType::I16),
            8 => return Ok(ElementType::I32),
            16 => return Ok(ElementType::F32),
            64 => return Ok(ElementType::F64),
            256 => return Ok(ElementType::I8),
            512 => return Ok(ElementType::U16),
            768 => return Ok(ElementType::U32),
            1024 => return Ok(ElementType::I64),
            1280 => return Ok(ElementType::U64),
            1 => "BINARY (one bit a voxel)",
            32 => "COMPLEX64",
            128 => "RGB24",
            1536 => "FLOAT128",
            1792 => "COMPLEX128",
            2048 => "COMPLEX256",
            2304 => "RGBA32",
            code => {
                let what = format!("`datatype` is {code}, which the standard does not define");
                return Err(IoError::malformed(path, "NIfTI", what));
            }
        };
        Err(IoError::unsupported(path, format!("the NIfTI data type {name} (code {})", self.datatype)))
    }

    /// The scaling; none if the slope is zero, as the standard says, or not finite, as nibabel writes "none".
    pub(super) fn scaling(&self, path: &Path) -> Result<Option<Scaling>, IoError> {
        let (slope, intercept) = (self.scl_slope, self.scl_inter);
        if slope == 0.0 || !slope.is_finite() {
            return Ok(None);
        }
        if !intercept.is_finite() {
            let what = format!("`scl_slope` is {slope}, but `scl_inter` is {intercept}");
            return Err(IoError::malformed(path, "NIfTI", what));
        }
        let identity = (slope - 1.0).abs() == 0.0 && intercept == 0.0;
        Ok((!identity).then_some(Scaling { slope, intercept }))
    }

    /// Millimetres in the file's unit of length; an unknown unit is taken as the millimetre, as everywhere.
    pub(super) fn mm_per_unit(&self, path: &Path) -> Result<f64, IoError> {
        match self.xyzt_units & 7 {
            0 | 2 => Ok(1.0),
            1 => Ok(1000.0),
            3 => Ok(0.001),
            code => {
                let what =
                    format!("`xyzt_units` has the spatial code {code}, which the standard does not define");
                Err(IoError::malformed(path, "NIfTI", what))
            }
        }
    }
}

/// Numbers at offsets of a buffer that is long enough for them.
struct Fields<'a> {
    bytes: &'a [u8],
    byte_order: ByteOrder,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        *self.bytes[offset..].first_chunk().expect("because the header's length was checked")
    }

    fn ordered<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = self.array(offset);
        if self.byte_order == ByteOrder::Big {
            bytes.reverse();
        }
        bytes
    }

    fn i16(&self, offset: usize) -> i16 {
        i16::from_le_bytes(self.ordered(offset))
    }

    fn i32(&self, offset: usize) -> i32 {
        i32::from_le_bytes(self.ordered(offset))
    }

    fn i64(&self, offset: usize) -> i64 {
        i64::from_le_bytes(self.ordered(offset))
    }

    fn f32(&self, offset: usize) -> f32 {
        f32::from_le_bytes(self.ordered(offset))
    }

    fn f64(&self, offset: usize) -> f64 {
        f64::from_le_bytes(self.ordered(offset))
    }

    fn text(&self, offset: usize, n_bytes: usize) -> String {
        let field = &self.bytes[offset..offset + n_bytes];
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(n_bytes);
        String::from_utf8_lossy(&field[..end]).trim().to_owned()
    }
}
