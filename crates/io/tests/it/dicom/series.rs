//! Finding, listing and choosing series.

use std::fs;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use synthct_image::VoxelIndex;
use synthct_io::IoError;
use synthct_io::dicom::{SeriesProblem, is_dicom, list_series, read_series};

use super::files::{Slice, TestResult, write_series};

#[test]
fn two_series_in_one_folder_must_be_chosen_from() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(&folder.path().join("a/b"), 3, Slice::mr)?;
    write_series(&folder.path().join("c"), 2, |k| {
        let mut slice = Slice::ct(k);
        slice.text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.9").text(
            tags::SERIES_DESCRIPTION,
            VR::LO,
            "planning",
        );
        slice
    })?;
    fs::write(folder.path().join("notes.txt"), "not DICOM")?;
    fs::write(folder.path().join(".hidden"), "never seen")?;
    // A structure set is listed, but is no choice.
    let mut structures = Slice::mr(0);
    structures
        .text(tags::SOP_CLASS_UID, VR::UI, uids::RT_STRUCTURE_SET_STORAGE)
        .text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.10")
        .text(tags::MODALITY, VR::CS, "RTSTRUCT")
        .without(tags::ROWS)
        .without(tags::PIXEL_DATA)
        .write(&folder.path().join("rs"))?;

    let listing = list_series(folder.path())?;
    assert_eq!((listing.n_files, listing.n_other_files, listing.damaged_files.len()), (7, 1, 0));
    let uids: Vec<&str> = listing.series.iter().map(|series| series.series_uid.as_str()).collect();
    assert_eq!(uids, ["1.2.3.10", "1.2.3.4", "1.2.3.9"]);
    let mr = &listing.series[1];
    assert_eq!((mr.modality.as_str(), mr.n_files, mr.rows, mr.columns), ("MR", 3, Some(4), Some(3)));
    assert_eq!(mr.description.as_deref(), Some("oblique"));
    assert_eq!(mr.magnetic_field_strength_t, Some(1.5));
    assert!(mr.is_readable());

    let error = read_series(folder.path(), None).expect_err("two candidates");
    let IoError::SeveralSeries { list, .. } = &error else { panic!("{error}") };
    assert_eq!(list[..], ["1.2.3.4  MR  \"oblique\"  3 files", "1.2.3.9  CT  \"planning\"  2 files"]);
    let (volume, info) = read_series(folder.path(), Some("1.2.3.9"))?;
    assert_eq!((volume.grid().size_ijk(), info.series_uid.as_str()), ([3, 4, 2], "1.2.3.9"));
    assert!(matches!(read_series(folder.path(), Some("1.2.3.10")), Err(IoError::Unsupported { .. })));
    let error = read_series(folder.path(), Some("7.7")).expect_err("no such series");
    assert!(matches!(&error, IoError::NoSuchSeries { list, .. } if list.len() == 3), "{error}");
    Ok(())
}

#[test]
fn a_file_is_known_by_its_content() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (image, text) = (folder.path().join("IM1"), folder.path().join("x.dcm"));
    fs::write(&text, [0; 200])?;
    assert!(!is_dicom(&text)?);
    assert!(!is_dicom(folder.path())?);
    Slice::mr(0).write(&image)?;
    assert!(is_dicom(&image)?);
    assert!(is_dicom(folder.path())?);
    assert!(matches!(is_dicom(&folder.path().join("absent")), Err(IoError::Io { .. })));
    let error = read_series(&text, None).expect_err("no DICOM");
    assert!(error.to_string().contains("no DICOM series at all"), "{error}");
    Ok(())
}

#[test]
fn localizers_are_left_out_and_said_so() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 3, Slice::ct)?;
    let mut scout = Slice::ct(0);
    scout
        .text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER")
        .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[0.0, 1.0, 0.0, 0.0, 0.0, -1.0])
        .write(&folder.path().join("scout"))?;
    let (volume, info) = read_series(folder.path(), None)?;
    assert_eq!(volume.grid().size_ijk(), [3, 4, 3]);
    assert_eq!(info.problems, [SeriesProblem::LocalizersLeftOut { n_files: 1 }]);
    Ok(())
}

#[test]
fn what_is_missing_is_named_with_its_tag() -> TestResult {
    let check = |make: fn(usize) -> Slice, tag: Tag, name: &str| -> TestResult {
        let folder = tempfile::tempdir()?;
        let paths = write_series(folder.path(), 3, |k| {
            let mut slice = make(k);
            if k == 1 {
                slice.without(tag);
            }
            slice
        })?;
        let error = read_series(folder.path(), None).expect_err("an attribute is missing");
        let IoError::MissingAttribute { path, attribute } = &error else { panic!("{name}: {error}") };
        assert_eq!(path, &paths[1]);
        assert!(attribute.starts_with(name), "{attribute}");
        Ok(())
    };
    check(Slice::mr, tags::IMAGE_POSITION_PATIENT, "ImagePositionPatient (0020,0032)")?;
    check(Slice::mr, tags::IMAGE_ORIENTATION_PATIENT, "ImageOrientationPatient (0020,0037)")?;
    check(Slice::mr, tags::PIXEL_SPACING, "PixelSpacing (0028,0030)")?;
    check(Slice::mr, tags::PIXEL_REPRESENTATION, "PixelRepresentation (0028,0103)")?;
    check(Slice::ct, tags::RESCALE_SLOPE, "RescaleSlope (0028,1053)")?;
    check(Slice::ct, tags::RESCALE_INTERCEPT, "RescaleIntercept (0028,1052)")?;
    check(Slice::mr, tags::BITS_ALLOCATED, "BitsAllocated (0028,0100)")
}

#[test]
fn padding_below_air_becomes_air_and_other_padding_stays() -> TestResult {
    let read = |padding: u16, intercept: &str| -> Result<_, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        write_series(folder.path(), 2, |k| {
            let mut slice = Slice::ct(k);
            slice.word(tags::PIXEL_PADDING_VALUE, padding).text(tags::RESCALE_INTERCEPT, VR::DS, intercept);
            slice
        })?;
        Ok(read_series(folder.path(), None)?)
    };
    let (volume, info) = read(10, "-2000")?;
    assert_eq!(volume[VoxelIndex::new(0, 1, 0)], -1000.0);
    assert_eq!(volume[VoxelIndex::new(1, 1, 0)], -1994.5);
    let replaced = SeriesProblem::PaddingToAir { n_voxels: 1, padding_hu: -1995.0, air_hu: -1000.0 };
    assert_eq!(info.problems, [replaced]);
    let (volume, info) = read(10, "0")?;
    assert_eq!(volume[VoxelIndex::new(0, 1, 0)], 5.0);
    assert_eq!(info.problems, [SeriesProblem::PaddingKept { padding_hu: 5.0 }]);
    Ok(())
}
