//! Writing NIfTI: a header with sform and qform, and the voxels.

use std::path::Path;

use synthct_image::{Grid, Matrix3};

use super::geometry::{flip_xy, flipped_xy, quaternion_of};
use super::{INTENT_VECTOR, name_without, strip_extension};
use crate::output::{Packer, VoxelKind, VoxelWriter, write_aside};
use crate::{ElementType, IoError};

/// `NIFTI_XFORM_SCANNER_ANAT`: the matrix leads to the scanner's (here the patient's) coordinates.
const SCANNER_ANATOMICAL: i16 = 1;
/// `NIFTI_UNITS_MM | NIFTI_UNITS_SEC`.
const MILLIMETRES_AND_SECONDS: u8 = 2 | 8;

/// Writes voxels on a grid: a single file for `.nii`, a pair for `.hdr` or `.img`, gzipped for a further `.gz`.
///
/// NIfTI-1 where its 16-bit dimensions suffice, else NIfTI-2. Both forms are written; the sform holds the grid as it is, the qform
/// the nearest that a quaternion of 32-bit floats holds.
pub(crate) fn write(
    path: &Path,
    grid: &Grid,
    element_type: ElementType,
    kind: VoxelKind,
    voxels: &VoxelWriter,
) -> Result<(), IoError> {
    let version = if grid.size_ijk().iter().all(|&n| i16::try_from(n).is_ok()) { 1 } else { 2 };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let packer = if strip_extension(name, "gz").is_some() { Packer::Gzip } else { Packer::Plain };

    let pair = name_without(path, "hdr").or_else(|| name_without(path, "img"));
    let Some((stem, was_gzipped, is_upper)) = pair else {
        let header = header_bytes(grid, element_type, kind, version, true);
        return write_aside(path, packer, |sink| {
            sink.write_all(&header)?;
            voxels(sink)
        });
    };
    let name_of = |extension: &str| {
        let name = format!("{extension}{}", if was_gzipped { ".gz" } else { "" });
        path.with_file_name(format!("{stem}.{}", if is_upper { name.to_uppercase() } else { name }))
    };
    let (image_path, header_path) = (name_of("img"), name_of("hdr"));
    // The voxels first: a header that stands alone would announce what is not there.
    write_aside(&image_path, packer, voxels)?;
    let header = header_bytes(grid, element_type, kind, version, false);
    write_aside(&header_path, packer, |sink| sink.write_all(&header))
}

/// A little-endian header; for a single file with the four bytes that say "no extension".
pub(super) fn header_bytes(
    grid: &Grid,
    element_type: ElementType,
    kind: VoxelKind,
    version: u8,
    is_single_file: bool,
) -> Vec<u8> {
    let fields = HeaderFields::of(grid, element_type, kind);
    let mut header =
        if version == 1 { nifti1(&fields, is_single_file) } else { nifti2(&fields, is_single_file) };
    if is_single_file {
        header.extend([0; 4]);
    }
    header
}

/// The values that both versions hold.
struct HeaderFields {
    dim: [i64; 8],
    intent_code: i16,
    datatype: i16,
    bitpix: i16,
    pixdim: [f64; 8],
    quaternion: [f64; 3],
    qoffset: [f64; 3],
    srow: [[f64; 4]; 3],
}

impl HeaderFields {
    fn of(grid: &Grid, element_type: ElementType, kind: VoxelKind) -> Self {
        let [ni, nj, nk] = grid.size_ijk().map(|n| n as i64);
        let [di, dj, dk] = grid.spacing_mm();
        let direction_ras = flipped_xy(grid.direction());
        let (quaternion, qfac) = quaternion_of(&direction_ras);
        let columns = direction_ras * Matrix3::diagonal(grid.spacing_mm());
        let origin_ras = flip_xy(grid.origin_lps().to_array());
        Self {
            dim: match kind {
                VoxelKind::Scalar => [3, ni, nj, nk, 1, 1, 1, 1],
                VoxelKind::Vector => [5, ni, nj, nk, 1, 3, 1, 1],
            },
            intent_code: match kind {
                VoxelKind::Scalar => 0,
                VoxelKind::Vector => INTENT_VECTOR,
            },
            datatype: datatype_code(element_type),
            bitpix: 8 * element_type.n_bytes() as i16,
            pixdim: [qfac, di, dj, dk, 0.0, 0.0, 0.0, 0.0],
            quaternion,
            qoffset: origin_ras,
            srow: std::array::from_fn(|row| {
                let [a, b, c] = columns.0[row];
                [a, b, c, origin_ras[row]]
            }),
        }
    }
}

const fn datatype_code(element_type: ElementType) -> i16 {
    match element_type {
        ElementType::U8 => 2,
        ElementType::I16 => 4,
        ElementType::I32 => 8,
        ElementType::F32 => 16,
        ElementType::F64 => 64,
        ElementType::I8 => 256,
        ElementType::U16 => 512,
        ElementType::U32 => 768,
        ElementType::I64 => 1024,
        ElementType::U64 => 1280,
    }
}

fn put<const N: usize>(header: &mut [u8], offset: usize, bytes: [u8; N]) {
    header[offset..offset + N].copy_from_slice(&bytes);
}

fn nifti1(fields: &HeaderFields, is_single_file: bool) -> Vec<u8> {
    let mut header = vec![0_u8; 348];
    let put_f32s = |header: &mut [u8], offset: usize, values: &[f64]| {
        for (n, &value) in values.iter().enumerate() {
            put(header, offset + 4 * n, (value as f32).to_le_bytes());
        }
    };
    put(&mut header, 0, 348_i32.to_le_bytes());
    header[38] = b'r'; // "regular": unused, but some tools look for it
    for (n, &size) in fields.dim.iter().enumerate() {
        put(&mut header, 40 + 2 * n, (size as i16).to_le_bytes());
    }
    put(&mut header, 68, fields.intent_code.to_le_bytes());
    put(&mut header, 70, fields.datatype.to_le_bytes());
    put(&mut header, 72, fields.bitpix.to_le_bytes());
    put_f32s(&mut header, 76, &fields.pixdim);
    put_f32s(&mut header, 108, &[if is_single_file { 352.0 } else { 0.0 }, 1.0, 0.0]); // vox_offset, slope, intercept
    header[123] = MILLIMETRES_AND_SECONDS;
    put(&mut header, 148, *b"synthct");
    put(&mut header, 252, SCANNER_ANATOMICAL.to_le_bytes());
    put(&mut header, 254, SCANNER_ANATOMICAL.to_le_bytes());
    put_f32s(&mut header, 256, &fields.quaternion);
    put_f32s(&mut header, 268, &fields.qoffset);
    for (row, values) in fields.srow.iter().enumerate() {
        put_f32s(&mut header, 280 + 16 * row, values);
    }
    put(&mut header, 344, if is_single_file { *b"n+1\0" } else { *b"ni1\0" });
    header
}

fn nifti2(fields: &HeaderFields, is_single_file: bool) -> Vec<u8> {
    let mut header = vec![0_u8; 540];
    let put_f64s = |header: &mut [u8], offset: usize, values: &[f64]| {
        for (n, &value) in values.iter().enumerate() {
            put(header, offset + 8 * n, value.to_le_bytes());
        }
    };
    put(&mut header, 0, 540_i32.to_le_bytes());
    put(&mut header, 4, if is_single_file { *b"n+2\0\r\n\x1a\n" } else { *b"ni2\0\r\n\x1a\n" });
    put(&mut header, 12, fields.datatype.to_le_bytes());
    put(&mut header, 14, fields.bitpix.to_le_bytes());
    for (n, &size) in fields.dim.iter().enumerate() {
        put(&mut header, 16 + 8 * n, size.to_le_bytes());
    }
    put_f64s(&mut header, 104, &fields.pixdim);
    put(&mut header, 168, if is_single_file { 544_i64 } else { 0 }.to_le_bytes());
    put_f64s(&mut header, 176, &[1.0, 0.0]); // slope, intercept
    put(&mut header, 240, *b"synthct");
    put(&mut header, 344, i32::from(SCANNER_ANATOMICAL).to_le_bytes());
    put(&mut header, 348, i32::from(SCANNER_ANATOMICAL).to_le_bytes());
    put_f64s(&mut header, 352, &fields.quaternion);
    put_f64s(&mut header, 376, &fields.qoffset);
    for (row, values) in fields.srow.iter().enumerate() {
        put_f64s(&mut header, 400 + 32 * row, values);
    }
    put(&mut header, 504, i32::from(fields.intent_code).to_le_bytes());
    put(&mut header, 500, i32::from(MILLIMETRES_AND_SECONDS).to_le_bytes());
    header
}
