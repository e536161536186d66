//! Series with several volumes, with copies, and on media.

use std::fs;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use synthct_image::VoxelIndex;
use synthct_io::dicom::{SeriesProblem, is_dicom, list_series, read_series, read_series_with};
use synthct_io::{IoError, ReadOptions, describe, read_image};

use super::files::{Slice, TestResult, stored, write_series};

fn frame(frame: usize) -> ReadOptions {
    ReadOptions { frame: Some(frame), ..ReadOptions::default() }
}

#[test]
fn echoes_are_listed_and_chosen_from() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 6, |n| {
        let mut slice = Slice::mr(n / 2);
        slice.text(tags::ECHO_TIME, VR::DS, if n % 2 == 0 { "10.5" } else { "4.6" });
        slice.pixels(&[10 * (n / 2) as u16 + (n % 2) as u16; 12]);
        slice
    })?;
    let listing = list_series(folder.path())?;
    let expected = ["EchoTime (0018,0081) = 4.6 (3 images)", "EchoTime (0018,0081) = 10.5 (3 images)"];
    assert_eq!(
        listing.series[0].problems,
        [SeriesProblem::SeveralVolumes { volumes: expected.map(str::to_owned).to_vec() }]
    );
    let grids: Vec<_> = listing.series[0].volumes.iter().map(|volume| volume.grid.clone()).collect();
    assert!(grids[0].is_some() && grids[0] == grids[1]);
    let error = read_series(folder.path(), None).expect_err("two echoes");
    assert!(error.to_string().contains("it holds 2 volumes: 0: EchoTime"), "{error}");
    for volume_idx in [0, 1] {
        let image = read_image(folder.path(), &frame(volume_idx))?;
        assert_eq!(image.volume.grid().size_ijk(), [3, 4, 3]);
        // Echo 4.6 comes first: that is the odd one.
        assert_eq!(image.volume[VoxelIndex::new(1, 1, 2)], 20.0 + (1 - volume_idx) as f32);
        assert_eq!(image.info.series.ok_or("a series")?.problems, []);
    }
    let error = read_image(folder.path(), &frame(2)).expect_err("only two");
    assert!(matches!(error, IoError::NoSuchFrame { frame: 2, n_frames: 2, .. }), "{error}");
    assert_eq!(describe(folder.path(), &ReadOptions::default())?.n_frames, 2);
    Ok(())
}

#[test]
fn two_attributes_together_can_tell_volumes_apart() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 8, |n| {
        let mut slice = Slice::mr(n / 4);
        slice.text(tags::ECHO_TIME, VR::DS, if n % 2 == 0 { "1" } else { "2" });
        slice.text(tags::FLIP_ANGLE, VR::DS, if n / 2 % 2 == 0 { "5" } else { "15" });
        slice.pixels(&[n as u16; 12]);
        slice
    })?;
    let listing = list_series(folder.path())?;
    assert_eq!(listing.series[0].volumes.len(), 4);
    let (volume, _) = read_series_with(folder.path(), &frame(1))?;
    assert_eq!(volume.as_slice()[..], [[2.0; 12], [6.0; 12]].concat(), "echo 1, flip angle 15");
    Ok(())
}

#[test]
fn an_image_of_another_size_does_not_hide_the_volume() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 4, |k| {
        let mut slice = Slice::mr(k);
        if k == 3 {
            slice.word(tags::ROWS, 2).text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
        }
        slice
    })?;
    assert!(matches!(read_series(folder.path(), None), Err(IoError::SeriesGeometry { .. })));
    let (volume, info) = read_series_with(folder.path(), &frame(0))?;
    assert_eq!((volume.grid().size_ijk(), info.problems.len()), ([3, 4, 3], 0));
    let error = read_series_with(folder.path(), &frame(1)).expect_err("another photometric interpretation");
    assert!(error.to_string().contains("MONOCHROME1"), "{error}");
    Ok(())
}

#[test]
fn copies_are_left_out_whatever_their_encoding() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 3, Slice::ct)?;
    Slice::ct(1).write_as(&folder.path().join("copy"), uids::IMPLICIT_VR_LITTLE_ENDIAN)?;
    Slice::ct(1).write_as(&folder.path().join("another"), uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)?;
    let (volume, info) = read_series(folder.path(), None)?;
    assert_eq!(volume.grid().size_ijk(), [3, 4, 3]);
    assert_eq!(volume[VoxelIndex::new(2, 1, 1)], 0.5 * f32::from(stored(2, 1, 1)) - 1024.0);
    assert_eq!(info.problems, [SeriesProblem::CopiesLeftOut { n_images: 2 }]);
    Slice::ct(1).pixels(&[7; 12]).write(&folder.path().join("copy"))?;
    let error = read_series(folder.path(), None).expect_err("one differs");
    assert!(error.to_string().contains("occur more than once"), "{error}");
    Ok(())
}

#[test]
fn files_without_preamble_are_read() -> TestResult {
    let folder = tempfile::tempdir()?;
    let scratch = tempfile::tempdir()?;
    for k in 0..6 {
        let syntax =
            [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"][k / 2];
        let whole = scratch.path().join("whole");
        Slice::mr(k).write_as(&whole, syntax)?;
        let bytes = fs::read(&whole)?;
        let meta_bytes = u32::from_le_bytes(bytes[140..144].try_into()?) as usize;
        // The bare data set, and one file that lacks only preamble and mark.
        let start = if k == 0 { 132 } else { 144 + meta_bytes };
        let path = folder.path().join(format!("I{k}"));
        fs::write(&path, &bytes[start..])?;
        assert!(is_dicom(&path)?);
    }
    let (volume, _) = read_series(folder.path(), None)?;
    assert_eq!(volume.grid().size_ijk(), [3, 4, 6]);
    assert_eq!(volume[VoxelIndex::new(1, 2, 5)], f32::from(stored(1, 2, 5)));
    Ok(())
}

#[test]
fn a_dicomdir_stands_for_the_files_it_lists() -> TestResult {
    let folder = tempfile::tempdir()?;
    for k in 0..3 {
        // Copied by a system that writes names in lower case.
        Slice::mr(k).write(&folder.path().join(format!("images/im{k}")))?;
    }
    Slice::mr(7).write(&folder.path().join("images/not_listed"))?;
    let directory = |names: &[&str]| -> TestResult {
        let records = names.iter().map(|name| {
            let name: Vec<&str> = name.split('/').collect();
            InMemDicomObject::from_element_iter([
                DataElement::new(tags::DIRECTORY_RECORD_TYPE, VR::CS, PrimitiveValue::from("IMAGE")),
                DataElement::new(tags::REFERENCED_FILE_ID, VR::CS, PrimitiveValue::from(name.join("\\"))),
            ])
        });
        let records = DataSetSequence::from(records.collect::<Vec<_>>());
        InMemDicomObject::from_element_iter([DataElement::new(
            tags::DIRECTORY_RECORD_SEQUENCE,
            VR::SQ,
            records,
        )])
        .with_meta(
            FileMetaTableBuilder::new()
                .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
                .media_storage_sop_class_uid(uids::MEDIA_STORAGE_DIRECTORY_STORAGE)
                .media_storage_sop_instance_uid("1.2.3"),
        )?
        .write_to_file(folder.path().join("DICOMDIR"))?;
        Ok(())
    };
    directory(&["IMAGES/IM2", "IMAGES/IM0", "IMAGES/IM1"])?;
    let (volume, _) = read_series(&folder.path().join("DICOMDIR"), None)?;
    assert_eq!(volume.grid().size_ijk(), [3, 4, 3]);
    assert_eq!(list_series(folder.path())?.n_other_files, 1, "the folder holds it as well");
    directory(&["IMAGES/IM0", "IMAGES/IM9"])?;
    let error = read_series(&folder.path().join("DICOMDIR"), None).expect_err("a listed file is gone");
    assert!(error.to_string().contains(r"lists the file `IMAGES\IM9`"), "{error}");
    directory(&["IMAGES/IM0", "../../secret"])?;
    assert!(read_series(&folder.path().join("DICOMDIR"), None).is_err(), "never out of its folder");
    Ok(())
}

#[test]
fn philips_scaling_is_told_and_applied_on_request() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 3, |k| {
        let mut slice = Slice::mr(k);
        slice.text(tags::MANUFACTURER, VR::LO, "Philips Medical Systems");
        slice.text(tags::RESCALE_SLOPE, VR::DS, "2").text(tags::RESCALE_INTERCEPT, VR::DS, "10");
        let scale = |value: f32| PrimitiveValue::from(value);
        slice.0.put(DataElement::new(dicom_core::Tag(0x2005, 0x100D), VR::FL, scale(0.0)));
        slice.0.put(DataElement::new(dicom_core::Tag(0x2005, 0x100E), VR::FL, scale(0.25 * (k + 1) as f32)));
        slice
    })?;
    let (volume, info) = read_series(folder.path(), None)?;
    let value = f32::from(stored(2, 3, 1));
    assert_eq!(volume[VoxelIndex::new(2, 3, 1)], 2.0 * value + 10.0);
    let told = |is_applied| SeriesProblem::PhilipsScaling {
        least_factor: 1.0 / (2.0 * 0.75),
        largest_factor: 2.0,
        is_applied,
    };
    assert_eq!(info.problems, [told(false)]);
    assert!(info.problems[0].to_string().contains("slices differ"), "{}", info.problems[0]);
    let options = ReadOptions { philips_precise: true, ..ReadOptions::default() };
    let (volume, info) = read_series_with(folder.path(), &options)?;
    assert_eq!(volume[VoxelIndex::new(2, 3, 1)], (2.0 * value + 10.0) / (2.0 * 0.5));
    assert_eq!(info.problems, [told(true)]);
    Ok(())
}
