//! Where voxels are, and what is not a volume.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use synthct_image::{PointLps, VectorLps, Volume, VoxelIndex};
use synthct_io::IoError;
use synthct_io::dicom::{SeriesProblem, list_series, read_series};

use super::files::{
    N_COLUMNS, N_ROWS, SPACING_MM, Slice, TestResult, direction, point, stored, write_series,
};

#[track_caller]
fn check_voxels(volume: &Volume<f32>, n_slices: usize, value: impl Fn(usize, usize, usize) -> f32) {
    assert_eq!(volume.grid().size_ijk(), [N_COLUMNS, N_ROWS, n_slices]);
    for k in 0..n_slices {
        for j in 0..N_ROWS {
            for i in 0..N_COLUMNS {
                let index = VoxelIndex::new(i, j, k);
                let off_mm = volume.grid().point_of(index).distance_mm(point(i, j, k));
                assert!(off_mm < 1e-9, "voxel {index:?} is {off_mm} mm off {:?}", point(i, j, k));
                let (found, expected) = (volume[index], value(i, j, k));
                assert!((found - expected).abs() < 1e-6, "voxel {index:?}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn every_voxel_of_an_oblique_series_is_in_its_place() -> TestResult {
    let folder = tempfile::tempdir()?;
    let paths = write_series(folder.path(), 5, Slice::mr)?;
    let (volume, info) = read_series(folder.path(), None)?;
    check_voxels(&volume, 5, |i, j, k| f32::from(stored(i, j, k)));
    for (found, expected) in std::iter::zip(volume.grid().spacing_mm(), SPACING_MM) {
        assert!((found - expected).abs() < 1e-9, "{:?}", volume.grid());
    }
    assert!((volume.grid().direction().determinant() - 1.0).abs() < 1e-9);
    assert_eq!(info.files, paths, "in the order of the slices");
    assert_eq!(info.problems, []);
    Ok(())
}

#[test]
fn a_series_in_descending_order_gives_the_same_volume() -> TestResult {
    let folder = tempfile::tempdir()?;
    for k in 0..5 {
        // Names and instance numbers fall as positions rise.
        Slice::mr(k)
            .text(tags::INSTANCE_NUMBER, VR::IS, &(5 - k).to_string())
            .write(&folder.path().join(format!("{}", 9 - k)))?;
    }
    let (volume, _) = read_series(folder.path(), None)?;
    check_voxels(&volume, 5, |i, j, k| f32::from(stored(i, j, k)));
    Ok(())
}

#[test]
fn axis_k_follows_the_normal_even_if_the_rows_run_backwards() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 3, |k| {
        let mut slice = Slice::mr(k);
        // Rows to the right: the normal is towards the feet, and slices at higher z come first along it.
        slice
            .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
            .position(PointLps::new(5.0, 6.0, 10.0 * k as f64));
        slice
    })?;
    let (volume, _) = read_series(folder.path(), None)?;
    assert_eq!(volume.grid().origin_lps(), PointLps::new(5.0, 6.0, 20.0));
    assert_eq!(volume.grid().direction().column(2), [0.0, 0.0, -1.0]);
    assert_eq!(volume.grid().point_of(VoxelIndex::new(2, 1, 1)), PointLps::new(3.5, 7.5, 10.0));
    assert_eq!(volume[VoxelIndex::new(2, 1, 0)], f32::from(stored(2, 1, 2)));
    Ok(())
}

#[test]
fn each_slice_has_its_own_rescale() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 3, |k| {
        let mut slice = Slice::ct(k);
        slice.numbers(tags::RESCALE_SLOPE, &[0.25 * (k + 1) as f64]);
        slice
    })?;
    let (volume, _) = read_series(folder.path(), None)?;
    check_voxels(&volume, 3, |i, j, k| 0.25 * (k + 1) as f32 * f32::from(stored(i, j, k)) - 1024.0);
    Ok(())
}

#[test]
fn rounded_positions_are_no_gap_and_do_not_move_the_ends() -> TestResult {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), 5, |k| {
        let mut slice = Slice::mr(k);
        let exact = point(0, 0, k).to_array();
        slice.position(exact.map(|mm| (mm * 100.0).round() / 100.0).into());
        slice
    })?;
    let (volume, _) = read_series(folder.path(), None)?;
    for k in 0..5 {
        let off_mm = volume.grid().point_of(VoxelIndex::new(0, 0, k)).distance_mm(point(0, 0, k));
        assert!(off_mm < 0.02, "slice {k} is {off_mm} mm off");
    }
    Ok(())
}

#[test]
fn a_single_slice_says_where_its_thickness_comes_from() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lone");
    Slice::mr(0).write(&path)?;
    let (volume, info) = read_series(&path, None)?;
    assert_eq!(volume.grid().spacing_mm(), [0.75, 1.5, 9.0]);
    assert_eq!(info.problems, [SeriesProblem::SingleSlice { attribute: "SliceThickness", spacing_mm: 9.0 }]);

    Slice::mr(0).without(tags::SLICE_THICKNESS).write(&path)?;
    let error = read_series(&path, None).expect_err("nothing says how thick it is");
    assert!(
        matches!(&error, IoError::MissingAttribute { attribute, .. } if attribute.contains("SliceThickness (0018,0050)")),
        "{error}"
    );
    Ok(())
}

/// Reads a broken series and returns what is wrong with it; the listing must say the same.
#[track_caller]
fn problems_of(n: usize, make: impl FnMut(usize) -> Slice) -> Vec<SeriesProblem> {
    let folder = tempfile::tempdir().expect("because tests can write temporary files");
    write_series(folder.path(), n, make).expect("because tests can write temporary files");
    let listing = list_series(folder.path()).expect("a readable folder");
    match read_series(folder.path(), None) {
        Err(IoError::SeriesGeometry { problems, .. }) => {
            assert_eq!(listing.series[0].problems, problems);
            assert!(!listing.series[0].is_readable());
            problems
        }
        other => panic!("expected a geometry error, got {other:?}"),
    }
}

#[test]
fn a_tilted_gantry_is_refused_with_its_angle() {
    let lean = direction().column(1);
    let problems = problems_of(4, |k| {
        let mut slice = Slice::mr(k);
        let shift = VectorLps::from(lean) * (k as f64 * SPACING_MM[2] * 18.5_f64.to_radians().tan());
        slice.position(point(0, 0, k) + shift);
        slice
    });
    let [SeriesProblem::GantryTilt { tilt_deg }] = problems[..] else { panic!("{problems:?}") };
    assert!((tilt_deg - 18.5).abs() < 1e-9, "{tilt_deg}");
}

#[test]
fn a_missing_slice_is_named() {
    let problems = problems_of(5, |k| Slice::mr(if k >= 2 { k + 1 } else { k }));
    let [SeriesProblem::UnevenSpacing { typical_mm, gaps }] = &problems[..] else { panic!("{problems:?}") };
    assert!((typical_mm - SPACING_MM[2]).abs() < 1e-9);
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    let normal = VectorLps::from(direction().column(2));
    let depth_mm = |k| (point(0, 0, k) - PointLps::ORIGIN).dot(normal);
    assert!((gap.from_mm - depth_mm(1)).abs() < 1e-9 && (gap.to_mm - depth_mm(3)).abs() < 1e-9, "{gap:?}");
    assert_eq!(gap.n_missing, Some(1));
    assert!(problems[0].to_string().contains("(1 slice missing)"), "{}", problems[0]);
}

#[test]
fn uneven_spacing_is_refused() {
    let normal = VectorLps::from(direction().column(2));
    let problems = problems_of(5, |k| {
        let mut slice = Slice::mr(k);
        slice.position(point(0, 0, k) + normal * if k == 3 { 0.1 } else { 0.0 });
        slice
    });
    let [SeriesProblem::UnevenSpacing { gaps, .. }] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    assert_eq!(gaps[0].n_missing, None);
}

#[test]
fn a_slice_that_is_shifted_sideways_is_refused() {
    let problems = problems_of(5, |k| {
        let mut slice = Slice::mr(k);
        let sideways = VectorLps::from(direction().column(0));
        slice.position(point(0, 0, k) + sideways * if k == 2 { 1.0 } else { 0.0 });
        slice
    });
    let [SeriesProblem::CrookedPositions { deviation_mm, .. }] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert!((deviation_mm - 1.0).abs() < 1e-9, "{deviation_mm}");
}

#[test]
fn different_images_at_one_place_are_an_error() {
    let problems = problems_of(6, |n| {
        let mut slice = Slice::mr(n / 2);
        slice.pixels(&[n as u16; 12]);
        slice
    });
    let [SeriesProblem::DuplicatePositions { files, n_positions, distinctions, .. }] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert_eq!((files.len(), *n_positions), (2, 3));
    assert_eq!(distinctions[..], [] as [String; 0], "nothing tells them apart");
    assert!(problems[0].to_string().contains("their values differ"), "{}", problems[0]);
}

#[test]
fn images_of_different_shape_or_orientation_are_no_volume() {
    let mixed = |change: fn(&mut Slice)| {
        problems_of(3, |k| {
            let mut slice = Slice::mr(k);
            if k == 1 {
                change(&mut slice);
            }
            slice
        })
    };
    let attribute = |problems: &[SeriesProblem]| match problems {
        [SeriesProblem::SeveralVolumes { volumes }] => {
            assert_eq!(volumes.len(), 2);
            let ends_with = |end: &str| volumes.iter().any(|volume| volume.ends_with(end));
            assert!(ends_with("(2 images)") && ends_with("(1 images)"), "{volumes:?}");
            volumes[1].split(" = ").next().unwrap_or_default().to_owned()
        }
        _ => panic!("{problems:?}"),
    };
    let turned = mixed(|slice| {
        slice.numbers(tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
    });
    assert_eq!(attribute(&turned), "ImageOrientationPatient");
    let smaller = mixed(|slice| {
        slice.word(tags::ROWS, 3);
    });
    assert_eq!(attribute(&smaller), "Rows and Columns");
    let finer = mixed(|slice| {
        slice.numbers(tags::PIXEL_SPACING, &[1.0, 1.0]);
    });
    assert_eq!(attribute(&finer), "PixelSpacing");
    let elsewhere = mixed(|slice| {
        slice.text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "9.9");
    });
    assert_eq!(attribute(&elsewhere), "FrameOfReferenceUID");
}
