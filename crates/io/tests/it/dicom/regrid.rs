//! Gaps and tilt, resampled on request: a linear field must stay what it is.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use synthct_image::{Matrix3, PointLps, Volume, VoxelIndex};
use synthct_io::dicom::{SeriesInfo, SeriesProblem, read_series, read_series_with};
use synthct_io::{IoError, ReadOptions};

use super::files::{Slice, TestResult, write_series};

const N: usize = 24;
const SPACING_MM: [f64; 2] = [1.5, 2.0];

/// 4000 + 9 x − 7 y + 11 z, in mm.
fn field(point: PointLps) -> f64 {
    4000.0 + 9.0 * point.x - 7.0 * point.y + 11.0 * point.z
}

/// The slice at a position, rows along x, columns turned by `tilt_deg` about x.
fn slice(tilt_deg: f64, position: PointLps) -> Slice {
    let (sin, cos) = tilt_deg.to_radians().sin_cos();
    let column = Matrix3::from_columns([1.0, 0.0, 0.0], [0.0, cos, sin], [0.0, -sin, cos]);
    let words: Vec<u16> = (0..N * N)
        .map(|n| {
            let step = column.apply([(n % N) as f64 * SPACING_MM[0], (n / N) as f64 * SPACING_MM[1], 0.0]);
            let at = PointLps::new(position.x + step[0], position.y + step[1], position.z + step[2]);
            (field(at) * 4.0).round() as u16
        })
        .collect();
    let mut slice = Slice::ct(0);
    slice
        .text(tags::RESCALE_SLOPE, VR::DS, "0.25")
        .text(tags::RESCALE_INTERCEPT, VR::DS, "0")
        .word(tags::ROWS, N as u16)
        .word(tags::COLUMNS, N as u16)
        .word(tags::BITS_STORED, 16)
        .word(tags::HIGH_BIT, 15)
        .numbers(tags::PIXEL_SPACING, &[SPACING_MM[1], SPACING_MM[0]])
        .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, cos, sin])
        .position(position)
        .pixels(&words);
    slice
}

fn read(
    tilt_deg: f64,
    tables_mm: &[f64],
    options: &ReadOptions,
) -> Result<(Volume<f32>, SeriesInfo), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    write_series(folder.path(), tables_mm.len(), |k| {
        slice(tilt_deg, PointLps::new(-5.0, 3.0, tables_mm[k]))
    })?;
    assert!(matches!(read_series(folder.path(), None), Err(IoError::SeriesGeometry { .. })));
    Ok(read_series_with(folder.path(), options)?)
}

/// Every voxel is the field or, if it is beside the slices, air; returns how many are the field.
#[track_caller]
fn check(volume: &Volume<f32>) -> usize {
    let [ni, nj, nk] = volume.grid().size_ijk();
    let mut n_field = 0;
    for n in 0..ni * nj * nk {
        let index = VoxelIndex::new(n % ni, n / ni % nj, n / ni / nj);
        let (found, expected) = (volume[index], field(volume.grid().point_of(index)));
        if found == -1000.0 {
            continue;
        }
        n_field += 1;
        // Stored values are rounded to 0.25.
        assert!((f64::from(found) - expected).abs() < 0.126, "{index:?}: {found}, not {expected}");
    }
    n_field
}

#[test]
fn missing_slices_are_interpolated() -> TestResult {
    let options = ReadOptions { fill_gaps: true, ..ReadOptions::default() };
    let (volume, info) = read(0.0, &[0.0, 3.0, 6.0, 15.0, 18.0, 24.0], &options)?;
    assert_eq!(volume.grid().size_ijk(), [N, N, 9]);
    assert_eq!(volume.grid().spacing_mm(), [1.5, 2.0, 3.0]);
    assert_eq!(volume.grid().origin_lps(), PointLps::new(-5.0, 3.0, 0.0));
    assert_eq!(info.problems, [SeriesProblem::GapsFilled { spacing_mm: 3.0, widest_mm: 9.0 }]);
    assert_eq!(check(&volume), N * N * 9, "nothing is beside the slices");
    Ok(())
}

#[test]
fn uneven_slices_get_the_smallest_distance() -> TestResult {
    let options = ReadOptions { fill_gaps: true, ..ReadOptions::default() };
    let (volume, _) = read(0.0, &[0.0, 2.5, 5.0, 9.0, 13.0, 17.0], &options)?;
    assert_eq!(volume.grid().spacing_mm()[2], 2.5);
    // 17 mm is no multiple: the slice at 17.5 mm is beyond the last one.
    assert_eq!(volume.grid().size_ijk()[2], 8);
    assert_eq!(check(&volume), N * N * 7);
    let error = read(0.0, &[0.0, 0.1, 5.0, 90.0], &options).expect_err("900 slices of four");
    assert!(error.to_string().contains("from 4 to 901 slices 0.100 mm apart"), "{error}");
    Ok(())
}

#[test]
fn a_tilted_stack_is_resampled_upright() -> TestResult {
    let tables_mm: Vec<f64> = (0..10).map(|k| 4.0 * f64::from(k)).collect();
    let options = ReadOptions { untilt: true, ..ReadOptions::default() };
    for tilt_deg in [18.5, -12.0] {
        let (volume, info) = read(tilt_deg, &tables_mm, &options)?;
        let grid = volume.grid();
        for (axis, expected) in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].into_iter().enumerate() {
            let off = std::iter::zip(grid.direction().column(axis), expected).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f64::max) < 1e-9, "{grid:?}");
        }
        assert!((grid.spacing_mm()[2] - 4.0).abs() < 1e-9, "{grid:?}");
        let [SeriesProblem::TiltRemoved { tilt_deg: found, .. }] = info.problems[..] else {
            panic!("{:?}", info.problems)
        };
        assert!((found - tilt_deg.abs()).abs() < 1e-4, "{found}");
        // The slices cover a sheared box; its volume is that of as many voxels as they have, less its rim.
        let n_field = check(&volume);
        assert!(n_field > N * N * 10 * 7 / 10 && n_field <= N * N * 10, "{n_field}");
    }
    let gaps = read(18.5, &[0.0, 4.0, 12.0, 16.0], &options).expect_err("gaps were not asked for");
    assert!(gaps.to_string().contains("not evenly spaced"), "{gaps}");
    let both = ReadOptions { untilt: true, fill_gaps: true, ..ReadOptions::default() };
    let (volume, info) = read(18.5, &[0.0, 4.0, 12.0, 16.0], &both)?;
    assert_eq!(info.problems.len(), 2);
    assert!(check(&volume) > 1000);
    Ok(())
}
