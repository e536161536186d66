//! Structure sets as they are read.

use dicom_dictionary_std::{tags, uids};
use synthct_image::{Grid, PointLps};
use synthct_io::IoError;
use synthct_io::dicom::{RtKind, find_object, read_plan, read_structure_set};

use super::objects::{Set, TestResult, object, structure_set};

#[test]
fn structures_come_with_name_type_colour_and_contours() -> TestResult {
    let folder = tempfile::tempdir()?;
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"] {
        let path = folder.path().join("structures");
        structure_set().write_as(&path, syntax)?;
        let file = read_structure_set(&path)?;
        assert_eq!((file.label.as_str(), file.structures.rois.len()), ("label", 2));
        assert_eq!(file.structures.frame_of_reference_uid.as_deref(), Some("1.2.3.5"));
        let ring = file.structures.roi("ring")?;
        assert_eq!((ring.number, ring.color), (7, Some([255, 128, 0])));
        assert_eq!(ring.interpreted_type.as_deref(), Some("PTV"));
        assert_eq!(ring.contours.len(), 4);
        assert_eq!(ring.contours[2].points_lps()[1], PointLps::new(20.0, -20.0, 13.0));
        assert!(file.structures.roi("empty")?.contours.is_empty());
        // The point and the contour of one point.
        assert_eq!(file.notes.len(), 2, "{:?}", file.notes);
        // 40² − 10² mm² over two slabs of 3 mm.
        let grid = Grid::axis_aligned([60, 60, 10], [1.0, 1.0, 1.0], PointLps::new(-29.5, -29.5, 7.0))?;
        let cm3 = ring.mask(&grid)?.volume_cm3();
        assert!((cm3 - 9.0).abs() < 1e-9, "{cm3}");
        // A folder with this one object among others.
        assert_eq!(find_object(folder.path(), RtKind::StructureSet)?, path);
    }
    Ok(())
}

#[track_caller]
fn refused(set: &Set, expected: &[&str]) -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rs.dcm");
    set.write(&path)?;
    let message = read_structure_set(&path).expect_err("a refusal").to_string();
    for part in expected.iter().chain(&["rs.dcm"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    Ok(())
}

#[test]
fn wrong_structure_sets_name_file_attribute_and_fix() -> TestResult {
    let contours = [(tags::ROI_CONTOUR_SEQUENCE, 0)];
    let first = [(tags::ROI_CONTOUR_SEQUENCE, 0), (tags::CONTOUR_SEQUENCE, 0)];
    refused(&structure_set().without(tags::STRUCTURE_SET_ROI_SEQUENCE), &["(3006,0020)", "export it again"])?;
    refused(
        &structure_set().change(&first, |c| c.int(tags::NUMBER_OF_CONTOUR_POINTS, 5)),
        &["(3006,0050)", "`Ring`", "has 4 points, but announces 5"],
    )?;
    refused(
        &structure_set().change(&first, |c| c.int(tags::NUMBER_OF_CONTOUR_POINTS, i32::MAX)),
        &["announces 2147483647"],
    )?;
    refused(
        &structure_set().change(&first, |c| c.numbers(tags::CONTOUR_DATA, &[1.0; 11])),
        &["has 11 numbers"],
    )?;
    refused(
        &structure_set().change(&first, |c| c.text(tags::CONTOUR_DATA, dicom_core::VR::DS, "1\\2\\x")),
        &["`x` is no decimal number"],
    )?;
    refused(&structure_set().change(&first, |c| c.without(tags::CONTOUR_GEOMETRIC_TYPE)), &["(3006,0042)"])?;
    refused(
        &structure_set().change(&contours, |c| c.int(tags::REFERENCED_ROI_NUMBER, 8)),
        &["(3006,0084)", "8 is not the number of any structure"],
    )?;
    refused(
        &structure_set().change(&[(tags::STRUCTURE_SET_ROI_SEQUENCE, 1)], |roi| roi.int(tags::ROI_NUMBER, 7)),
        &["(3006,0022)", "two structures"],
    )?;
    refused(
        &structure_set().change(&[(tags::STRUCTURE_SET_ROI_SEQUENCE, 1)], |roi| {
            roi.uid(tags::REFERENCED_FRAME_OF_REFERENCE_UID, "1.2.3.6")
        }),
        &["(3006,0024)", "`1.2.3.5`", "`1.2.3.6`", "export the structures of one frame"],
    )?;
    refused(&object(uids::RT_DOSE_STORAGE, "RTDOSE"), &["RT Dose", "as RT Structure Set"])?;
    Ok(())
}

#[test]
fn folders_must_hold_one_object() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rs.dcm");
    structure_set().write(&path)?;
    let message = read_plan(folder.path()).expect_err("no plan").to_string();
    assert!(message.contains("holds no RT Plan (modality RTPLAN)"), "{message}");
    structure_set().write(&folder.path().join("second"))?;
    let error = read_structure_set(folder.path()).expect_err("two");
    assert!(matches!(&error, IoError::SeveralObjects { files, .. } if files.len() == 2), "{error}");
    Ok(())
}
