//! MATLAB 4 files of transforms, as ITK and ANTs write them (`0GenericAffine.mat`).
//!
//! Such a file is a sequence of matrices, each with a header of five 32-bit numbers (type, rows, columns, whether
//! complex, length of the name), its name and its numbers. A transform is two of them: its parameters, under the
//! transform's name, and its fixed parameters, under `fixed`.

use std::path::Path;

use synthct_image::Transform;

use super::record::Record;
use crate::IoError;

/// Five 32-bit numbers.
const HEADER_BYTES: usize = 20;
/// No name of a transform is longer.
const MAX_NAME_BYTES: usize = 128;

/// A matrix' name and numbers, and the bytes after it.
struct Matrix<'a> {
    name: String,
    numbers: Vec<f64>,
    rest: &'a [u8],
}

/// Whether a file that begins with these bytes is a MATLAB 4 file whose first matrix has the name of a transform.
pub(super) fn is_transform(start: &[u8]) -> bool {
    let Some(header) = Header::of(start) else { return false };
    let name = &start[HEADER_BYTES..];
    let name = &name[..name.len().min(header.n_name_bytes)];
    name.windows(10).any(|window| window == b"Transform_")
        && name.iter().all(|&b| b == 0 || b.is_ascii_graphic())
}

/// Reads the transform of a file.
pub(super) fn read(path: &Path) -> Result<Transform, IoError> {
    let bytes = std::fs::read(path).map_err(IoError::io(path))?;
    let parameters = Matrix::parse(path, &bytes)?;
    let fixed = Matrix::parse(path, parameters.rest)?;
    if fixed.name != "fixed" {
        let what = format!("after `{}` comes `{}` instead of `fixed`", parameters.name, fixed.name);
        return Err(IoError::malformed(path, "MATLAB 4", what));
    }
    if !fixed.rest.is_empty() {
        return Err(IoError::unsupported(path, "a MATLAB 4 file of several transforms"));
    }
    let record = Record { kind: parameters.name, parameters: parameters.numbers, fixed: fixed.numbers };
    record.to_transform(path)
}

struct Header {
    is_big_endian: bool,
    is_double: bool,
    size: [u32; 2],
    n_name_bytes: usize,
}

impl Header {
    /// The header of a real matrix of floating-point numbers in full storage; none if it is anything else.
    fn of(bytes: &[u8]) -> Option<Self> {
        let words = bytes.first_chunk::<HEADER_BYTES>()?.as_chunks::<4>().0;
        [false, true].into_iter().find_map(|is_big_endian| {
            let word = |n: usize| {
                if is_big_endian { u32::from_be_bytes(words[n]) } else { u32::from_le_bytes(words[n]) }
            };
            // The type is a number MOPT in decimal: machine (0 or 1), zero, precision, kind of matrix.
            let is_double = match word(0).checked_sub(if is_big_endian { 1000 } else { 0 })? {
                0 => true,
                10 => false,
                _ => return None,
            };
            let n_name_bytes = word(4) as usize;
            let is_plain = word(3) == 0 && (1..=MAX_NAME_BYTES).contains(&n_name_bytes);
            is_plain.then_some(Self { is_big_endian, is_double, size: [word(1), word(2)], n_name_bytes })
        })
    }
}

impl<'a> Matrix<'a> {
    fn parse(path: &Path, bytes: &'a [u8]) -> Result<Self, IoError> {
        let malformed = |what: &str| IoError::malformed(path, "MATLAB 4", what);
        if bytes.len() < HEADER_BYTES {
            return Err(malformed("it ends before the header of a matrix"));
        }
        let header = Header::of(bytes).ok_or_else(|| malformed("a matrix is not one of real numbers"))?;
        let width = if header.is_double { 8 } else { 4 };
        let [rows, columns] = header.size.map(u64::from);
        let n_bytes = rows.checked_mul(columns).and_then(|n| n.checked_mul(width));
        let n_bytes = n_bytes.and_then(|n| usize::try_from(n).ok());
        let ends_early = || malformed("it ends within a matrix");
        let (name, after) =
            bytes[HEADER_BYTES..].split_at_checked(header.n_name_bytes).ok_or_else(ends_early)?;
        let (numbers, rest) = n_bytes.and_then(|n| after.split_at_checked(n)).ok_or_else(ends_early)?;
        let numbers = match (header.is_double, header.is_big_endian) {
            (true, false) => numbers.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            (true, true) => numbers.as_chunks().0.iter().map(|&b| f64::from_be_bytes(b)).collect(),
            (false, false) => numbers.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            (false, true) => numbers.as_chunks().0.iter().map(|&b| f32::from_be_bytes(b).into()).collect(),
        };
        let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        Ok(Self { name, numbers, rest })
    }
}
