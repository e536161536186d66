//! The same phantom through every format and in every orientation: one suite that each reader and writer must pass.

use anyhow::Result;
use sct::image::Matrix3;
use sct::io::OutputType;
use sct::prelude::*;
use synthct_tests::coarse_head;

/// The files that hold a volume, by the name to write.
const NAMES: [&str; 5] = ["ct.nii", "ct.nii.gz", "ct.hdr", "ct.mha", "ct.mhd"];

/// Three storage orders and one oblique: the columns are the i, j and k axes.
fn directions() -> [Matrix3; 4] {
    let (s, c) = 25_f64.to_radians().sin_cos();
    [
        Matrix3::IDENTITY,
        // Sagittal: i to posterior, j to inferior, k to the left.
        Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]),
        // Coronal: i to the right, j to inferior, k to posterior: a left-handed order.
        Matrix3::from_columns([-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]),
        Matrix3::from_columns([c, s, 0.0], [-s * c, c * c, s], [s * s, -c * s, c]),
    ]
}

#[test]
fn every_format_keeps_values_and_positions() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ct = coarse_head()?.ct;
    for direction in directions() {
        let grid = Grid::new([21, 17, 13], [9.5, 11.0, 13.25], ct.grid().center_lps(), direction)?;
        let turned = resample(&ct, &grid, None, Interpolation::Linear, -1000.0)?;
        for name in NAMES {
            let path = folder.path().join(name);
            write_volume(&path, &turned, OutputType::F32)?;
            let read = read_volume(&path)?;
            for (corner, expected) in std::iter::zip(read.grid().corner_points(), grid.corner_points()) {
                let off_mm = corner.distance_mm(expected);
                assert!(off_mm < 1e-4, "{name}: a corner is {off_mm} mm off, {direction:?}");
            }
            assert_eq!(read.as_slice(), turned.as_slice(), "{name}, {direction:?}");
        }
    }
    Ok(())
}

#[test]
fn masks_survive_every_format() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let body = coarse_head()?.body;
    for name in NAMES {
        let path = folder.path().join(name);
        write_mask(&path, &body)?;
        assert_eq!(read_mask(&path)?.as_slice(), body.as_slice(), "{name}");
    }
    Ok(())
}

#[test]
fn what_is_written_never_replaces_a_good_file_by_half_a_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ct.nii.gz");
    let ct = coarse_head()?.ct;
    write_volume(&path, &ct, OutputType::F32)?;
    // -1000 HU does not fit an unsigned type: the write fails and the old file stays.
    assert!(write_volume(&path, &ct, OutputType::U8).is_err());
    assert_eq!(read_volume(&path)?.as_slice(), ct.as_slice());
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1, "nothing else is left in the folder");
    Ok(())
}
