//! Reading reference values.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use synthct_image::{Grid, Volume};

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error>>;

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
}

fn read(name: &str) -> TestResult<Vec<u8>> {
    fs::read(path(name)).map_err(|error| format!("{name}: {error}").into())
}

/// Text of a reference file.
pub(crate) fn text(name: &str) -> TestResult<String> {
    Ok(String::from_utf8(read(name)?)?)
}

/// Little-endian 32-bit floats.
pub(crate) fn floats(name: &str) -> TestResult<Vec<f32>> {
    let bytes = read(name)?;
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{name}: {} bytes are no whole number of floats", bytes.len()).into());
    }
    Ok(values.iter().map(|&value| f32::from_le_bytes(value)).collect())
}

/// Floats on a grid.
pub(crate) fn volume(name: &str, grid: &Grid) -> TestResult<Volume<f32>> {
    Ok(Volume::from_vec(grid.clone(), floats(name)?)?)
}

/// Bytes on a grid.
pub(crate) fn bytes(name: &str, grid: &Grid) -> TestResult<Volume<u8>> {
    Ok(Volume::from_vec(grid.clone(), read(name)?)?)
}

/// Fails with the worst voxel where the volumes differ by more than `tolerance`.
#[track_caller]
pub(crate) fn check_close(what: &str, got: &Volume<f32>, expected: &Volume<f32>, tolerance: f32) {
    assert_eq!(got.grid(), expected.grid(), "{what}");
    let mut worst = (0.0, String::new());
    for (index_kji, (got_value, value)) in std::iter::zip(got.array().indexed_iter(), expected.array())
        .map(|((at, got), want)| (at, (got, want)))
    {
        let difference = (got_value - value).abs();
        assert!(!difference.is_nan(), "{what}: {got_value} at {index_kji:?}, expected {value}");
        if difference > worst.0 {
            worst = (difference, format!("{got_value} at [k, j, i] = {index_kji:?}, expected {value}"));
        }
    }
    assert!(worst.0 <= tolerance, "{what}: {} (tolerance {tolerance})", worst.1);
}
