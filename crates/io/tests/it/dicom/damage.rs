//! Damaged files: an error, never a panic and never an allocation that the file does not justify.

use std::fs;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use synthct_io::IoError;
use synthct_io::dicom::{list_series, read_series};

use super::files::{Slice, TestResult, write_series};

#[test]
fn a_truncated_slice_is_an_error_wherever_it_is_cut() -> TestResult {
    let folder = tempfile::tempdir()?;
    let paths = write_series(folder.path(), 3, Slice::ct)?;
    let whole = fs::read(&paths[2])?;
    for length in 0..whole.len() {
        fs::write(&paths[2], &whole[..length])?;
        match read_series(folder.path(), None) {
            // Before the `DICM` mark it is no DICOM file.
            Ok((volume, _)) => {
                assert!(length < 132, "cut at {length}");
                assert_eq!(volume.grid().size_ijk(), [3, 4, 2]);
            }
            Err(error) => assert!(error.to_string().len() > 20, "{error}"),
        }
        list_series(folder.path())?;
    }
    fs::write(&paths[2], &whole[..whole.len() - 1])?;
    let error = read_series(folder.path(), None).expect_err("a byte is missing");
    assert!(matches!(error, IoError::Truncated { expected: 24, found: 23, .. }), "{error}");
    Ok(())
}

#[test]
fn any_changed_byte_is_read_or_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::RLE_LOSSLESS] {
        let path = folder.path().join("slice");
        let mut slice = Slice::ct(1);
        if syntax == uids::RLE_LOSSLESS {
            let mut fragment = vec![2, 0, 0, 0, 64, 0, 0, 0, 66, 0, 0, 0];
            fragment.resize(64, 0);
            fragment.extend([245, 1, 245, 2]);
            slice.fragment(fragment);
        }
        slice.write_as(&path, syntax)?;
        let whole = fs::read(&path)?;
        for at in 128..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] = if damaged[at] == 0xFF { 0 } else { 0xFF };
            fs::write(&path, &damaged)?;
            // What matters is that it returns, and that what it returns is a volume or a reason.
            match read_series(&path, None) {
                Ok((volume, _)) => assert_eq!(volume.grid().size_ijk(), [3, 4, 1], "byte {at}"),
                Err(error) => assert!(error.to_string().len() > 20, "{error}"),
            }
        }
    }
    Ok(())
}

#[test]
fn absurd_sizes_allocate_nothing() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("slice");
    Slice::mr(0).word(tags::ROWS, 65535).word(tags::COLUMNS, 65535).write(&path)?;
    let error = read_series(&path, None).expect_err("8 GB in a small file");
    assert!(matches!(error, IoError::Truncated { expected: 8_589_672_450, found: 24, .. }), "{error}");
    Slice::mr(0)
        .word(tags::ROWS, 65535)
        .word(tags::COLUMNS, 65535)
        .fragment(vec![0; 100])
        .write_as(&path, uids::RLE_LOSSLESS)?;
    let error = read_series(&path, None).expect_err("8 GB in a small file");
    assert!(matches!(error, IoError::Truncated { .. }), "{error}");
    Slice::mr(0).word(tags::ROWS, 0).write(&path)?;
    let error = read_series(&path, None).expect_err("no rows");
    assert!(error.to_string().contains("0 rows and 3 columns"), "{error}");
    Ok(())
}

#[test]
fn nonsense_numbers_are_named() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("slice");
    let check = |slice: &Slice, what: &str| -> TestResult {
        slice.write(&path)?;
        let error = read_series(&path, None).expect_err("nonsense");
        assert!(matches!(error, IoError::Malformed { .. }) && error.to_string().contains(what), "{error}");
        Ok(())
    };
    let text = |tag, text: &str| {
        let mut slice = Slice::ct(0);
        slice.text(tag, VR::DS, text);
        slice
    };
    check(&text(tags::IMAGE_POSITION_PATIENT, "1\\2"), "it has 2 values, not 3")?;
    check(&text(tags::IMAGE_POSITION_PATIENT, "1\\2\\x"), "`x` is no decimal number")?;
    check(&text(tags::IMAGE_POSITION_PATIENT, "1\\2\\NaN"), "`NaN` is no decimal number")?;
    check(&text(tags::IMAGE_ORIENTATION_PATIENT, "1\\0\\0\\1\\0\\0"), "no pair of orthogonal unit vectors")?;
    check(&text(tags::PIXEL_SPACING, "0\\1"), "is not above zero")?;
    check(&text(tags::RESCALE_SLOPE, "0"), "RescaleSlope is 0")?;
    check(Slice::ct(0).word(tags::HIGH_BIT, 3), "contradict each other")
}

#[test]
fn a_damaged_file_of_unknown_series_stops_the_reading() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 3, Slice::mr)?;
    let mut stub = vec![0; 128];
    stub.extend(b"DICM\x02\x00");
    fs::write(folder.path().join("stub"), stub)?;
    assert_eq!(list_series(folder.path())?.damaged_files.len(), 1);
    let error = read_series(folder.path(), None).expect_err("it may be a slice");
    assert!(error.to_string().contains("stub"), "{error}");
    Ok(())
}
