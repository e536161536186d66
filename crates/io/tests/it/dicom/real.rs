//! Real series, if the environment variable `SCT_TEST_DATA` names a folder that has them.

use std::path::Path;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use flate2::Crc;
use synthct_image::PointLps;
use synthct_io::dicom::{SeriesProblem, list_series, read_series};
use synthct_io::{IoError, read_volume};

use super::files::TestResult;
use crate::test_data;

const CORNER_TOLERANCE_MM: f64 = 1e-3;

#[test]
fn series_agree_with_pydicom_and_simpleitk() -> TestResult {
    let Some(data) = test_data("series_agree_with_pydicom_and_simpleitk") else { return Ok(()) };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dicom/expected.tsv");
    let golden = std::fs::read_to_string(golden)?;
    assert!(golden.lines().count() >= 6);
    for line in golden.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [series, ni, nj, nk, corners @ .., crc, minimum, maximum] = &fields[..] else {
            panic!("a line of another form: {line}")
        };
        let (volume, _) = read_series(&data.join(series), None)?;
        let size: [usize; 3] = [ni.parse()?, nj.parse()?, nk.parse()?];
        assert_eq!(volume.grid().size_ijk(), size, "{series}");
        let coordinates = corners.iter().map(|field| field.parse()).collect::<Result<Vec<f64>, _>>()?;
        let expected = coordinates.as_chunks::<3>().0;
        assert_eq!(expected.len(), 8);
        for (corner, (found, &expected)) in
            std::iter::zip(volume.grid().corner_points(), expected).enumerate()
        {
            let off_mm = found.distance_mm(PointLps::from(expected));
            assert!(off_mm < CORNER_TOLERANCE_MM, "{series}: corner {corner} is {off_mm} mm off");
        }
        let mut hash = Crc::new();
        for value in volume.as_slice() {
            hash.update(&value.to_le_bytes());
        }
        let range =
            volume.as_slice().iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        assert_eq!(range, (minimum.parse()?, maximum.parse()?), "{series}");
        assert_eq!(format!("{:08x}", hash.sum()), *crc, "{series}: values differ");
    }
    Ok(())
}

#[test]
fn an_oblique_mr_series_agrees_with_the_nifti_beside_it() -> TestResult {
    let Some(data) = test_data("an_oblique_mr_series_agrees_with_the_nifti_beside_it") else { return Ok(()) };
    let (dicom, info) = read_series(&data.join("head-mr-volunteer/dicom_t1_se_sag"), None)?;
    assert_eq!(info.problems, []);
    let nifti = read_volume(&data.join("head-mr-volunteer/t1_se_sag.nii.gz"))?;
    // The NIfTI may store its axes in another order or direction, so voxels are matched by where they are.
    for corner in dicom.grid().corner_points() {
        let nearest = nifti
            .grid()
            .corner_points()
            .iter()
            .map(|other| other.distance_mm(corner))
            .fold(f64::MAX, f64::min);
        assert!(
            nearest < CORNER_TOLERANCE_MM,
            "corner {corner:?} is {nearest} mm from the nearest of the NIfTI"
        );
    }
    let [ni, nj, nk] = dicom.grid().size_ijk();
    for k in 0..nk {
        for j in 0..nj {
            for i in 0..ni {
                let index = synthct_image::VoxelIndex::new(i, j, k);
                let point = dicom.grid().point_of(index);
                let at = nifti.grid().index_from_lps(point);
                let whole = |position: f64| position.round() as usize;
                let there = synthct_image::VoxelIndex::new(whole(at.i), whole(at.j), whole(at.k));
                let value = *nifti.get(there).ok_or("outside the NIfTI")?;
                assert!(
                    (dicom[index] - value).abs() < 1e-4,
                    "{index:?} at {point:?}: {} and {value}",
                    dicom[index]
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_tilted_series_with_gaps_says_both() {
    let Some(data) = test_data("a_tilted_series_with_gaps_says_both") else { return };
    let error = read_series(&data.join("dicom-ct-ge-tilt-gaps"), None).expect_err("tilt and gaps");
    let IoError::SeriesGeometry { problems, .. } = &error else { panic!("{error}") };
    let [SeriesProblem::GantryTilt { tilt_deg }, SeriesProblem::UnevenSpacing { .. }] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert!((tilt_deg - 18.5).abs() < 0.01, "{tilt_deg}");
}

/// Each file of the syntax collection leads to a volume (`Ok`) or to an error with these words.
#[test]
fn each_transfer_syntax_is_read_or_refused_by_name() -> TestResult {
    let Some(data) = test_data("each_transfer_syntax_is_read_or_refused_by_name") else { return Ok(()) };
    let table = [
        ("MR2_UNCR.dcm", Ok([1024, 1024, 1])),
        ("bad_sequence.dcm", Ok([512, 512, 1])),
        ("MR2_J2KR.dcm", Ok([1024, 1024, 1])),
        ("explicit_VR-UN.dcm", Err("SliceThickness (0018,0050)")),
        ("ct_series_j2k_lossless", Ok([512, 512, 20])),
        ("eCT_Supplemental.dcm", Ok([512, 512, 2])),
        ("JLSL_16_15_1_1F.dcm", Err("no DICOM series of CT or MR images")),
        ("JPEG-LL.dcm", Err("no DICOM series of CT or MR images")),
        ("liver.dcm", Err("no DICOM series of CT or MR images")),
        // These have no functional groups; `their_pixels_agree_in_every_syntax` gives them some.
        ("emri_small.dcm", Err("multi-frame image (10 frames)")),
        ("emri_small_RLE.dcm", Err("multi-frame image (10 frames)")),
        ("emri_small_big_endian.dcm", Err("multi-frame image (10 frames)")),
        ("emri_small_jpeg_2k_lossless.dcm", Err("multi-frame image (10 frames)")),
        ("emri_small_jpeg_2k_lossless_too_short.dcm", Err("multi-frame image (10 frames)")),
        ("emri_small_jpeg_ls_lossless.dcm", Err("multi-frame image (10 frames)")),
    ];
    for (name, expected) in table {
        match (read_series(&data.join("dicom-syntaxes").join(name), None), expected) {
            (Ok((volume, _)), Ok(size)) => assert_eq!(volume.grid().size_ijk(), size, "{name}"),
            (Err(error), Err(what)) => assert!(error.to_string().contains(what), "{name}: {error}"),
            (found, _) => panic!("{name}: {:?}", found.map(|(volume, _)| volume.grid().clone())),
        }
    }
    let listing = list_series(&data.join("dicom-syntaxes"))?;
    assert_eq!((listing.n_other_files, listing.damaged_files.len()), (0, 0), "{listing:?}");
    Ok(())
}

/// A series with the pixels of a real file and a geometry of our own.
fn with_geometry(file: &Path, path: &Path) -> TestResult {
    let mut object = dicom_object::open_file(file)?;
    let text = |tag, vr, text: &str| DataElement::new(tag, vr, PrimitiveValue::from(text));
    let item = |element| DataSetSequence::from(vec![InMemDicomObject::from_element_iter([element])]);
    let n_frames: u32 = match object.element(tags::NUMBER_OF_FRAMES) {
        Ok(number) => number.to_int()?,
        Err(_) => 1,
    };
    object.put(text(tags::NUMBER_OF_FRAMES, VR::IS, &n_frames.to_string()));
    object.put(text(tags::MODALITY, VR::CS, "MR"));
    object.put(text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3"));
    object.put(text(tags::SLICE_THICKNESS, VR::DS, "1"));
    let shared = [
        DataElement::new(
            tags::PLANE_ORIENTATION_SEQUENCE,
            VR::SQ,
            item(text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0")),
        ),
        DataElement::new(
            tags::PIXEL_MEASURES_SEQUENCE,
            VR::SQ,
            item(text(tags::PIXEL_SPACING, VR::DS, "1\\1")),
        ),
    ];
    let shared = InMemDicomObject::from_element_iter(shared);
    object.put(DataElement::new(
        tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
        VR::SQ,
        DataSetSequence::from(vec![shared]),
    ));
    let frames = (0..n_frames).map(|k| {
        let position = text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{k}"));
        InMemDicomObject::from_element_iter([DataElement::new(
            tags::PLANE_POSITION_SEQUENCE,
            VR::SQ,
            item(position),
        )])
    });
    object.put(DataElement::new(
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
        VR::SQ,
        DataSetSequence::from(frames.collect::<Vec<_>>()),
    ));
    object.write_to_file(path)?;
    Ok(())
}

#[test]
fn their_pixels_agree_in_every_syntax() -> TestResult {
    let Some(data) = test_data("their_pixels_agree_in_every_syntax") else { return Ok(()) };
    let data = data.join("dicom-syntaxes");
    let (uncompressed, compressed) =
        (read_series(&data.join("MR2_UNCR.dcm"), None)?.0, read_series(&data.join("MR2_J2KR.dcm"), None)?.0);
    assert_eq!(uncompressed, compressed, "MR2");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("image");
    with_geometry(&data.join("emri_small.dcm"), &path)?;
    let (plain, _) = read_series(&path, None)?;
    assert_eq!(plain.grid().size_ijk(), [64, 64, 10]);
    for syntax in ["RLE", "big_endian", "jpeg_2k_lossless", "jpeg_ls_lossless"] {
        with_geometry(&data.join(format!("emri_small_{syntax}.dcm")), &path)?;
        assert_eq!(read_series(&path, None)?.0, plain, "{syntax}");
    }
    // The CRC-32 of the values as int32, decoded with dcmtk 3.6.7 (JPEG) and with pydicom 3.0.2 (JPEG 2000).
    for (name, crc) in
        [("JPEG-LL", "98b22546"), ("JLSL_16_15_1_1F", "49c3c5b2"), ("explicit_VR-UN", "b294a4b3")]
    {
        with_geometry(&data.join(format!("{name}.dcm")), &path)?;
        let (volume, _) = read_series(&path, None)?;
        let mut hash = Crc::new();
        for &value in volume.as_slice() {
            hash.update(&(value as i32).to_le_bytes());
        }
        assert_eq!(format!("{:08x}", hash.sum()), crc, "{name}");
    }
    Ok(())
}
