//! Real series, if the environment variable `SCT_TEST_DATA` names a folder that has them.

use std::path::{Path, PathBuf};

use flate2::Crc;
use synthct_image::PointLps;
use synthct_io::dicom::{SeriesProblem, list_series, read_series};
use synthct_io::{IoError, read_volume};

use super::files::TestResult;

const CORNER_TOLERANCE_MM: f64 = 1e-3;

/// The folder with test data, or a visible note that the test does not run.
fn test_data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SCT_TEST_DATA").filter(|data| !data.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
        {
            eprintln!("{test} skipped: SCT_TEST_DATA not set");
        }
    }
    folder
}

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
        ("MR2_J2KR.dcm", Err("JPEG 2000 Lossless")),
        ("explicit_VR-UN.dcm", Err("JPEG 2000 Lossless")),
        ("ct_series_j2k_lossless", Err("JPEG 2000 Lossless")),
        ("JLSL_16_15_1_1F.dcm", Err("no DICOM series of CT or MR images")),
        ("JPEG-LL.dcm", Err("no DICOM series of CT or MR images")),
        ("liver.dcm", Err("no DICOM series of CT or MR images")),
        ("eCT_Supplemental.dcm", Err("multi-frame image (2 frames")),
        ("emri_small.dcm", Err("multi-frame image (10 frames")),
        ("emri_small_RLE.dcm", Err("multi-frame image (10 frames")),
        ("emri_small_big_endian.dcm", Err("multi-frame image (10 frames")),
        ("emri_small_jpeg_2k_lossless.dcm", Err("multi-frame image (10 frames")),
        ("emri_small_jpeg_2k_lossless_too_short.dcm", Err("multi-frame image (10 frames")),
        ("emri_small_jpeg_ls_lossless.dcm", Err("multi-frame image (10 frames")),
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
