//! Objects that are written, read back by our own readers and by dicom-object.

use std::fs;
use std::path::Path;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, open_file};
use synthct_image::{Grid, Mask, Matrix3, PointLps, Volume, VoxelIndex};
use synthct_io::dicom::{
    DoseText, ImageKind, Origin, PlanText, SeriesText, StructureText, read_dose, read_plan, read_series,
    read_structure_set, write_dose, write_plan, write_series, write_structure_set,
};
use synthct_io::{IoError, ReadOptions, read_image};
use synthct_rt::{Roi, StructureSet};

use super::objects::{Set, TestResult, plan};
use crate::dicom::files::{Slice, write_series as write_mr};

const TEXT: SeriesText<'_> =
    SeriesText { description: "sCT, not for clinical use", derivation: "made by a test" };

/// The oblique MR series of the reader's tests with a patient whose name is Latin-1, and what was read of it.
fn mr(folder: &Path) -> Result<(Volume<f32>, Origin), Box<dyn std::error::Error>> {
    write_mr(folder, 5, |k| {
        let mut slice = Slice::mr(k);
        slice
            .text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100")
            .text(tags::PATIENT_NAME, VR::PN, "Müller^Änne")
            .text(tags::PATIENT_ID, VR::LO, "4711")
            .text(tags::PATIENT_SEX, VR::CS, "F")
            .text(tags::PATIENT_WEIGHT, VR::DS, "61.5")
            .text(tags::PATIENT_POSITION, VR::CS, "HFS")
            .text(tags::MANUFACTURER, VR::LO, "Scanner makers")
            .text(tags::SERIES_NUMBER, VR::IS, "7");
        slice
    })?;
    let image = read_image(folder, &ReadOptions::default())?;
    let series = image.info.series.ok_or("a series")?;
    Ok((image.volume, Origin::of_series(&series)?))
}

fn text(file: &DefaultDicomObject, tag: dicom_core::Tag) -> Result<String, Box<dyn std::error::Error>> {
    Ok(file.element(tag)?.to_str()?.trim_end_matches(['\0', ' ']).to_owned())
}

#[test]
fn a_series_lies_where_its_source_does_and_says_what_it_is() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (mr, origin) = mr(&folder.path().join("mr"))?;
    let sct = mr.map(|signal| 7.0 * signal - 1000.0);
    let out = folder.path().join("sct");
    let written = write_series(&out, &sct, ImageKind::Ct, &origin, &TEXT)?;
    let (back, info) = read_series(&out, None)?;
    assert_eq!(back.as_slice(), sct.as_slice());
    for (a, b) in std::iter::zip(back.grid().corner_points(), mr.grid().corner_points()) {
        assert!(a.distance_mm(b) < 1e-9, "{a:?} {b:?}");
    }
    assert_eq!((info.series_uid.as_str(), info.modality.as_str()), (written.series_uid.as_str(), "CT"));
    assert_eq!(
        (info.study_uid.as_deref(), info.frame_of_reference_uid.as_deref()),
        (Some("1.2.3"), Some("1.2.3.5"))
    );
    assert!(info.problems.is_empty(), "{:?}", info.problems);
    let file = open_file(&written.files[2])?;
    for (tag, expected) in [
        (tags::PATIENT_NAME, "Müller^Änne"),
        (tags::PATIENT_ID, "4711"),
        (tags::PATIENT_BIRTH_DATE, ""),
        (tags::PATIENT_WEIGHT, "61.5"),
        (tags::PATIENT_POSITION, "HFS"),
        (tags::SERIES_NUMBER, "9007"),
        (tags::IMAGE_TYPE, "DERIVED\\SECONDARY\\AXIAL"),
        (tags::SERIES_DESCRIPTION, "sCT, not for clinical use"),
        (tags::IMAGE_COMMENTS, "Research only. Not for clinical use."),
        (tags::RESCALE_TYPE, "HU"),
        (tags::INSTANCE_NUMBER, "3"),
    ] {
        assert_eq!(text(&file, tag)?, expected, "{tag}");
    }
    let sources = file.element(tags::SOURCE_IMAGE_SEQUENCE)?.items().ok_or("items")?;
    let [source] = sources else { return Err("one source".into()) };
    assert_eq!(
        source.element(tags::REFERENCED_SOP_INSTANCE_UID)?.to_str()?.trim_end_matches('\0'),
        "1.2.3.4.2"
    );
    let equipment = file.element(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE)?.items().ok_or("items")?;
    assert_eq!(equipment.len(), 2);
    assert_eq!(equipment[1].element(tags::MANUFACTURER)?.to_str()?, "Scanner makers");
    Ok(())
}

#[test]
fn the_same_content_gives_the_same_files_and_another_other_uids() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (mr, origin) = mr(&folder.path().join("mr"))?;
    let write = |name: &str, volume: &Volume<f32>| {
        write_series(&folder.path().join(name), volume, ImageKind::Ct, &origin, &TEXT)
    };
    let (a, b) = (write("a", &mr)?, write("b", &mr)?);
    for (a, b) in std::iter::zip(&a.files, &b.files) {
        assert_eq!(fs::read(a)?, fs::read(b)?);
    }
    let mut other = mr.clone();
    other[VoxelIndex::new(1, 2, 3)] += 1.0;
    assert_ne!(write("c", &other)?.series_uid, a.series_uid);
    let mut uids: Vec<String> = Vec::new();
    for file in &a.files {
        uids.push(text(&open_file(file)?, tags::SOP_INSTANCE_UID)?);
    }
    uids.push(a.series_uid);
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), 6);
    assert!(uids.iter().all(|uid| uid.starts_with("2.25.") && uid.len() <= 64));
    Ok(())
}

/// Grids of every kind: along the axes, sagittal, double oblique, and left-handed.
fn grids() -> Result<Vec<Grid>, Box<dyn std::error::Error>> {
    let (s, c) = 0.37_f64.sin_cos();
    let about_z = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
    let about_x = Matrix3([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]);
    let sagittal = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]);
    let left_handed = Matrix3::from_columns([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]);
    [Matrix3::IDENTITY, sagittal, about_x * about_z, left_handed]
        .into_iter()
        .map(|direction| {
            Ok(Grid::new([4, 5, 6], [0.8, 1.1, 2.3], PointLps::new(-31.7, 12.1, 101.3), direction)?)
        })
        .collect()
}

/// The value of `volume` at each of its points is that of the other volume there.
#[track_caller]
fn same_in_space(volume: &Volume<f32>, other: &Volume<f32>, tolerance: f32) {
    let [ni, nj, nk] = volume.grid().size_ijk();
    for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
        let at = VoxelIndex::new(i, j, k);
        let there = other.grid().index_from_lps(volume.grid().point_of(at));
        let rounded = [there.i, there.j, there.k].map(f64::round);
        let off = std::iter::zip([there.i, there.j, there.k], rounded)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(off < 1e-6, "{at:?} lies at {there:?}");
        let [oi, oj, ok] = rounded.map(|n| n as usize);
        let (a, b) = (volume[at], other[VoxelIndex::new(oi, oj, ok)]);
        assert!((a - b).abs() <= tolerance, "{at:?}: {a} and {b}");
    }
}

#[test]
fn series_and_doses_of_every_grid_come_back() -> TestResult {
    for (n, grid) in grids()?.into_iter().enumerate() {
        let folder = tempfile::tempdir()?;
        let origin = Origin::unnamed("phantom");
        let volume = Volume::from_index_fn(&grid, |at| (100 * at.k + 10 * at.j + at.i) as f32 - 1000.0);
        let out = folder.path().join("ct");
        write_series(&out, &volume, ImageKind::Ct, &origin, &TEXT)?;
        same_in_space(&volume, &read_series(&out, None)?.0, 0.0);
        // An MR of fractions is scaled to 16 bits.
        let mr = volume.map(|value| 0.37 * value);
        let out = folder.path().join("mr");
        write_series(&out, &mr, ImageKind::Mr, &origin, &TEXT)?;
        let range = 0.37 * 543.0;
        same_in_space(&mr, &read_series(&out, None)?.0, range / 65535.0);
        let dose = volume.map(|value| (value + 1000.0) / 7.0);
        let path = folder.path().join("rd.dcm");
        let text = DoseText { description: "dose", comment: "test", plan_uid: "1.2.3.9" };
        write_dose(&path, &dose, &origin, &text)?;
        let file = read_dose(&path)?;
        same_in_space(&dose, &file.dose_gy, 1e-6);
        assert_eq!(file.plan_uid.as_deref(), Some("1.2.3.9"), "grid {n}");
        assert_eq!(file.frame_of_reference_uid, Some(origin.frame_of_reference_uid()));
    }
    Ok(())
}

#[test]
fn nothing_is_clipped_and_nothing_overwritten() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("ct");
    let grid = grids()?.remove(0);
    let origin = Origin::unnamed("x");
    let mut volume = Volume::filled(&grid, 0.0);
    volume[VoxelIndex::new(1, 2, 3)] = 40_000.0;
    let error = write_series(&out, &volume, ImageKind::Ct, &origin, &TEXT).expect_err("too much");
    assert!(matches!(&error, IoError::Value { index_ijk: [1, 2, 3], .. }), "{error}");
    volume[VoxelIndex::new(1, 2, 3)] = f32::NAN;
    let error = write_series(&out, &volume, ImageKind::Mr, &origin, &TEXT).expect_err("no number");
    assert!(matches!(&error, IoError::Value { .. }), "{error}");
    assert!(!out.exists());
    volume[VoxelIndex::new(1, 2, 3)] = -1.0;
    let text = DoseText { description: "dose", comment: "", plan_uid: "1.2" };
    let error = write_dose(&folder.path().join("rd.dcm"), &volume, &origin, &text).expect_err("below zero");
    assert!(error.to_string().contains("not below zero"), "{error}");
    fs::create_dir(&out)?;
    write_series(&out, &volume, ImageKind::Ct, &origin, &TEXT)?;
    let error = write_series(&out, &volume, ImageKind::Ct, &origin, &TEXT).expect_err("occupied");
    assert!(matches!(error, IoError::Occupied { .. }), "{error}");
    let entries: Vec<_> = fs::read_dir(folder.path())?.collect::<Result<_, _>>()?;
    assert_eq!(entries.len(), 1, "nothing is left behind: {entries:?}");
    Ok(())
}

#[test]
fn masks_come_back_voxel_by_voxel_as_structures() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (mr, origin) = mr(&folder.path().join("mr"))?;
    let inside = |at: VoxelIndex| (at.i + at.j + at.k).is_multiple_of(2) && at.k > 0;
    let mask = Mask::new(Volume::from_index_fn(mr.grid(), inside));
    let ring = Mask::new(Volume::from_index_fn(mr.grid(), |at| at.j != 1 || at.i != 1));
    let mut rois = vec![Roi::from_mask(1, "Prüfling", &mask)?, Roi::from_mask(2, "ring", &ring)?];
    rois[0].interpreted_type = Some("PTV".to_owned());
    rois[0].color = Some([1, 2, 3]);
    let path = folder.path().join("rs.dcm");
    let set = StructureSet { frame_of_reference_uid: None, rois };
    let text = StructureText { label: "test", description: "structures", is_automatic: true };
    let uid = write_structure_set(&path, &set, &origin, &text)?;
    let file = read_structure_set(&path)?;
    assert_eq!(file.structures.frame_of_reference_uid.as_deref(), Some("1.2.3.5"));
    // The source's patient is in Latin-1, which our own texts are not.
    assert_eq!(file.structures.rois[0].name, "Pr?fling");
    assert_eq!(file.structures.rois[0].interpreted_type.as_deref(), Some("PTV"));
    for (roi, mask) in std::iter::zip(&file.structures.rois, [&mask, &ring]) {
        assert_eq!(roi.mask(mr.grid())?.as_slice(), mask.as_slice(), "{}", roi.name);
    }
    let object = open_file(&path)?;
    assert_eq!(text_of_first_image(&object)?, "1.2.3.4.1");
    assert_eq!(write_structure_set(&path, &set, &origin, &text)?, uid);
    let other = StructureSet { frame_of_reference_uid: Some("9.9".to_owned()), ..set };
    let error = write_structure_set(&path, &other, &origin, &text).expect_err("another frame");
    assert!(error.to_string().contains("`9.9`") && error.to_string().contains("(0020,0052)"), "{error}");
    Ok(())
}

/// The image that the first contour refers to.
fn text_of_first_image(object: &DefaultDicomObject) -> Result<String, Box<dyn std::error::Error>> {
    let first = |set: &dicom_object::InMemDicomObject, tag| -> Result<_, Box<dyn std::error::Error>> {
        Ok(set.element(tag)?.items().and_then(<[_]>::first).cloned().ok_or("an item")?)
    };
    let roi = first(object, tags::ROI_CONTOUR_SEQUENCE)?;
    let contour = first(&roi, tags::CONTOUR_SEQUENCE)?;
    let image = first(&contour, tags::CONTOUR_IMAGE_SEQUENCE)?;
    Ok(image.element(tags::REFERENCED_SOP_INSTANCE_UID)?.to_str()?.trim_end_matches('\0').to_owned())
}

/// What the reader's tests check against closed forms, through the writer and back.
#[test]
fn plans_come_back_whole() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let points = |b: Set| {
        let arc = Set::new()
            .int(tags::CONTROL_POINT_INDEX, 1)
            .numbers(tags::CUMULATIVE_METERSET_WEIGHT, &[2.0])
            .numbers(tags::GANTRY_ANGLE, &[20.0]);
        let first =
            b.0.element(tags::CONTROL_POINT_SEQUENCE).ok().and_then(|e| e.items().map(|i| i[0].clone()));
        let first = first.map(|item| Set(item).cs(tags::GANTRY_ROTATION_DIRECTION, "CW"));
        b.items(tags::CONTROL_POINT_SEQUENCE, first.into_iter().chain([arc]).collect())
    };
    plan().change(&[(tags::BEAM_SEQUENCE, 0)], points).write(&at("in.dcm"))?;
    let read = read_plan(&at("in.dcm"))?;
    let origin = Origin::of_object(&at("in.dcm"), None)?;
    let text = PlanText { description: "plan", machine: "generic", structure_set_uid: Some("1.2.3.7") };
    let uid = write_plan(&at("out.dcm"), &read.plan, &origin, &text)?;
    let back = read_plan(&at("out.dcm"))?;
    assert_eq!(back.plan, read.plan);
    assert_eq!((back.sop_instance_uid, back.structure_set_uid.as_deref()), (uid, Some("1.2.3.7")));
    assert_eq!(back.frame_of_reference_uid.as_deref(), Some("1.2.3.5"));
    let mut broken = read.plan;
    broken.beams[0].meterset_mu = -1.0;
    let error = write_plan(&at("broken.dcm"), &broken, &origin, &text).expect_err("no such plan");
    assert!(matches!(error, IoError::Rt { .. }) && !at("broken.dcm").exists());
    Ok(())
}

#[test]
fn a_series_without_a_frame_of_reference_ties_nothing_to_it() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_mr(folder.path(), 3, |k| {
        let mut slice = Slice::mr(k);
        slice.without(tags::FRAME_OF_REFERENCE_UID);
        slice
    })?;
    let (_, info) = read_series(folder.path(), None)?;
    let error = Origin::of_series(&info).expect_err("no frame").to_string();
    assert!(error.contains("FrameOfReferenceUID (0020,0052)") && error.contains("image"), "{error}");
    Ok(())
}
