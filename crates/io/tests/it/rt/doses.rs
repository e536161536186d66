//! Doses as they are read.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use synthct_image::{PointLps, VoxelIndex};
use synthct_io::dicom::read_dose;
use synthct_io::{IoError, read_volume};

use super::objects::{Set, TestResult, dose};
use crate::with_causes;

/// The dose at a point as the closed form has it: stored 1000 k + 10 j + i, times 0.001.
#[track_caller]
fn check(set: &Set, place: impl Fn(f64, f64, f64) -> [f64; 3]) -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rd.dcm");
    set.write(&path)?;
    let volume = read_volume(&path)?;
    assert_eq!(volume.grid().size_ijk(), [3, 2, 4]);
    for k in 0..4_u32 {
        for j in 0..2_u32 {
            for i in 0..3_u32 {
                let point = PointLps::from(place(f64::from(i), f64::from(j), f64::from(k)));
                let at = volume.grid().index_from_lps(point);
                let [ai, aj, ak] = [at.i, at.j, at.k].map(f64::round);
                let off = [at.i - ai, at.j - aj, at.k - ak].into_iter().fold(0.0, |m: f64, d| m.max(d.abs()));
                assert!(off < 1e-9, "({i}, {j}, {k}) lies at {at:?}");
                let value = volume[VoxelIndex::new(ai as usize, aj as usize, ak as usize)];
                let expected = f64::from(1000 * k + 10 * j + i) * 0.001;
                assert!(
                    (f64::from(value) - expected).abs() < 1e-6,
                    "({i}, {j}, {k}): {value}, not {expected}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn doses_of_16_and_32_bits_lie_where_they_say() -> TestResult {
    for bits in [16, 32] {
        check(&dose(bits), |i, j, k| [10.0 + 1.5 * i, -20.0 + 2.0 * j, 30.0 + 2.5 * k])?;
        // Descending, relative.
        let descending = dose(bits).numbers(tags::GRID_FRAME_OFFSET_VECTOR, &[0.0, -2.5, -5.0, -7.5]);
        check(&descending, |i, j, k| [10.0 + 1.5 * i, -20.0 + 2.0 * j, 30.0 - 2.5 * k])?;
        // The planes' own z, rising and falling.
        let absolute = dose(bits).numbers(tags::GRID_FRAME_OFFSET_VECTOR, &[30.0, 32.5, 35.0, 37.5]);
        check(&absolute, |i, j, k| [10.0 + 1.5 * i, -20.0 + 2.0 * j, 30.0 + 2.5 * k])?;
        let absolute = dose(bits).numbers(tags::GRID_FRAME_OFFSET_VECTOR, &[30.0, 27.5, 25.0, 22.5]);
        check(&absolute, |i, j, k| [10.0 + 1.5 * i, -20.0 + 2.0 * j, 30.0 - 2.5 * k])?;
    }
    Ok(())
}

/// The orientations of the eight patient positions as planning systems write them: row, column, and where the planes go.
#[test]
fn every_orientation_has_its_planes_along_the_normal() -> TestResult {
    for (row, column, normal) in [
        ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]),
        ([-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]),
        ([-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]),
        ([1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]),
        ([0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]),
        ([0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]),
        ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
        ([0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
        // Sagittal and oblique.
        ([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]),
        ([0.6, 0.8, 0.0], [0.0, 0.0, -1.0], [-0.8, 0.6, 0.0]),
    ] {
        for sign in [1.0, -1.0] {
            let set = dose(32)
                .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[row, column].concat())
                .numbers(tags::GRID_FRAME_OFFSET_VECTOR, &[0.0, 2.5 * sign, 5.0 * sign, 7.5 * sign]);
            let along = |axis: usize, i: f64, j: f64, k: f64| {
                1.5 * i * row[axis] + 2.0 * j * column[axis] + 2.5 * sign * k * normal[axis]
            };
            check(&set, |i, j, k| {
                [10.0 + along(0, i, j, k), -20.0 + along(1, i, j, k), 30.0 + along(2, i, j, k)]
            })?;
        }
    }
    // The planes' own z where z falls along the normal.
    let feet_first = dose(32)
        .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        .numbers(tags::GRID_FRAME_OFFSET_VECTOR, &[30.0, 27.5, 25.0, 22.5]);
    check(&feet_first, |i, j, k| [10.0 - 1.5 * i, -20.0 + 2.0 * j, 30.0 - 2.5 * k])
}

#[track_caller]
fn refused(set: &Set, expected: &[&str]) -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rd.dcm");
    set.write(&path)?;
    let message = with_causes(&read_dose(&path).expect_err("a refusal"));
    for part in expected.iter().chain(&["rd.dcm"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    Ok(())
}

#[test]
fn wrong_doses_name_file_attribute_and_fix() -> TestResult {
    let offsets = tags::GRID_FRAME_OFFSET_VECTOR;
    refused(&dose(32).without(offsets), &["(3004,000C)"])?;
    refused(&dose(32).numbers(offsets, &[0.0, 1.0]), &["2 offsets for 4 planes"])?;
    refused(&dose(32).numbers(offsets, &[0.0, 2.5, 5.0, 9.0]), &["unevenly", "2.5 to 4 mm"])?;
    refused(&dose(32).numbers(offsets, &[0.0; 4]), &["unevenly"])?;
    refused(&dose(32).numbers(offsets, &[12.0, 14.5, 17.0, 19.5]), &["starts at 12", "(0020,0032)"])?;
    let sagittal = dose(32).numbers(tags::IMAGE_ORIENTATION_PATIENT, &[0.0, 1.0, 0.0, 0.0, 0.0, -1.0]);
    refused(&sagittal.numbers(offsets, &[30.0, 32.5, 35.0, 37.5]), &["do not lie across"])?;
    refused(&dose(32).without(tags::DOSE_UNITS), &["(3004,0002)"])?;
    refused(&dose(32).cs(tags::DOSE_UNITS, "RELATIVE"), &["RELATIVE"])?;
    refused(&dose(32).cs(tags::DOSE_TYPE, "ERROR"), &["ERROR"])?;
    refused(&dose(32).without(tags::DOSE_GRID_SCALING), &["(3004,000E)", "into Gy"])?;
    refused(&dose(32).numbers(tags::DOSE_GRID_SCALING, &[0.0]), &["not above zero"])?;
    refused(&dose(32).without(tags::PIXEL_DATA), &["(7FE0,0010)", "export it uncompressed"])?;
    refused(&dose(32).bytes(tags::PIXEL_DATA, vec![0; 94]), &["truncated"])?;
    refused(&dose(32).word(tags::BITS_STORED, 24), &["24 bits in 32"])?;
    refused(&dose(32).word(tags::ROWS, 0), &["(0028,0010)"])?;
    refused(
        &dose(32).numbers(tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        &["(0020,0037)"],
    )?;
    // A count that would fill the memory.
    let huge =
        dose(32).int(tags::NUMBER_OF_FRAMES, i32::MAX).word(tags::ROWS, 65535).word(tags::COLUMNS, 65535);
    refused(&huge, &["4 offsets for 2147483647 planes"])?;
    refused(&huge.without(offsets), &["(3004,000C)"])?;
    Ok(())
}

#[test]
fn a_lone_plane_is_read_and_said_to_be_thin() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rd.dcm");
    let plane = dose(16).without(tags::GRID_FRAME_OFFSET_VECTOR).without(tags::NUMBER_OF_FRAMES);
    plane.write(&path)?;
    let file = read_dose(&path)?;
    assert_eq!(file.dose_gy.grid().size_ijk(), [3, 2, 1]);
    assert!(file.notes[0].contains("single plane"), "{:?}", file.notes);
    plane.text(tags::SLICE_THICKNESS, VR::DS, "4").write(&path)?;
    let file = read_dose(&path)?;
    assert!((file.dose_gy.grid().spacing_mm()[2] - 4.0).abs() < 1e-12 && file.notes.is_empty());
    Ok(())
}

#[test]
fn truncated_files_are_errors_at_every_length() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rd.dcm");
    dose(16).write(&path)?;
    let bytes = std::fs::read(&path)?;
    for n in 0..bytes.len() {
        std::fs::write(&path, &bytes[..n])?;
        let error = read_dose(&path).expect_err("a truncated file");
        assert!(!matches!(error, IoError::Io { .. }), "{n}: {error}");
    }
    Ok(())
}
