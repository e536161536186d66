//! Contours become voxels as the conventions say.

use std::f64::consts::{PI, TAU};

use synthct_image::{Grid, Mask, Matrix3, PointLps, Volume, VoxelIndex};
use synthct_rt::{Contour, Roi, RtError, StructureSet};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn roi(contours: Vec<Contour>) -> Roi {
    Roi { number: 1, name: "PTV".to_owned(), interpreted_type: None, color: None, contours }
}

/// A polygon of (x, y) at a height z.
fn polygon(points: &[[f64; 2]], z: f64) -> Result<Contour, RtError> {
    Contour::new(points.iter().map(|&[x, y]| PointLps::new(x, y, z)).collect())
}

fn square(half: f64, z: f64) -> Result<Contour, RtError> {
    polygon(&[[-half, -half], [half, -half], [half, half], [-half, half]], z)
}

fn circle(radius: f64, z: f64) -> Result<Contour, RtError> {
    let points: Vec<[f64; 2]> = (0..180)
        .map(|n| {
            let (s, c) = (TAU * f64::from(n) / 180.0).sin_cos();
            [radius * c, radius * s]
        })
        .collect();
    polygon(&points, z)
}

/// A grid of odd sizes whose middle voxel is at the origin.
fn grid(n: usize, spacing_mm: [f64; 3]) -> Result<Grid, Box<dyn std::error::Error>> {
    let half = (n / 2) as f64;
    let origin = PointLps::from(spacing_mm.map(|spacing| -half * spacing));
    Ok(Grid::axis_aligned([n, n, n], spacing_mm, origin)?)
}

#[test]
fn a_cylinder_has_its_volume_on_any_grid() -> TestResult {
    // Planes 3 mm apart from −15 to 15 mm: eleven slabs, 33 mm.
    let contours = (-5..=5).map(|n| circle(20.0, 3.0 * f64::from(n))).collect::<Result<_, _>>()?;
    let roi = roi(contours);
    let expected = PI * 400.0 * 33.0 / 1000.0;
    // Planes of the grid that are those of the contours, finer ones, coarser ones, other axis orders, oblique.
    let (s, c) = 0.5_f64.sin_cos();
    let mut grids = vec![grid(61, [1.0, 1.0, 3.0])?, grid(61, [1.0, 1.5, 0.9])?, grid(31, [2.5, 2.5, 4.0])?];
    let (a, b) = (0.7_f64.cos(), 0.7_f64.sin());
    for direction in [
        Matrix3::from_columns([0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, -1.0]]),
        Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
            * Matrix3([[a, 0.0, b], [0.0, 1.0, 0.0], [-b, 0.0, a]]),
    ] {
        let corner = direction.apply([-45.0; 3]);
        grids.push(Grid::new([61; 3], [1.5; 3], PointLps::from(corner), direction)?);
    }
    for grid in &grids {
        let fractions = roi.fractions(grid, 4)?;
        let sum: f64 = fractions.as_slice().iter().map(|&fraction| f64::from(fraction)).sum();
        let cm3 = sum * grid.voxel_volume_mm3() / 1000.0;
        // Samples along the normal are up to a millimetre apart, and the height is 33 mm.
        assert!((cm3 / expected - 1.0).abs() < 0.006, "{cm3} instead of {expected} cm³ on {grid}");
        let mask = roi.mask(grid)?;
        // Nine planes of the coarsest grid, 4 mm apart, lie within 33 mm.
        assert!((mask.volume_cm3() / expected - 1.0).abs() < 0.1, "{} on {grid}", mask.volume_cm3());
    }
    Ok(())
}

#[test]
fn centres_decide_and_neighbours_share_none() -> TestResult {
    let grid = grid(11, [1.0, 2.0, 3.0])?;
    // Voxel centres at x = −5 … 5, y = −10 … 10: a rectangle of x in [−2, 1], y in [−4, 4] has centres on its edges.
    let rectangle = |x: [f64; 2]| polygon(&[[x[0], -4.0], [x[1], -4.0], [x[1], 4.0], [x[0], 4.0]], 0.0);
    let left = roi(vec![rectangle([-2.0, 1.0])?]).mask(&grid)?;
    let right = roi(vec![rectangle([1.0, 3.0])?]).mask(&grid)?;
    assert_eq!(left.count(), 3 * 4, "x = −2, −1, 0 and y = −4, −2, 0, 2, in one plane");
    assert_eq!(right.count(), 2 * 4);
    assert_eq!(left.and(&right)?.count(), 0, "the centres on the common edge belong to one");
    assert!(left.as_slice()[grid.n_voxels() / 2], "the middle voxel is inside");
    // The other direction of travel is the same region.
    let mut reversed = rectangle([-2.0, 1.0])?.points_lps().to_vec();
    reversed.reverse();
    assert_eq!(roi(vec![Contour::new(reversed)?]).mask(&grid)?, left);
    Ok(())
}

#[test]
fn holes_are_contours_or_keyholes() -> TestResult {
    let grid = grid(41, [1.0, 1.0, 2.0])?;
    let ring = roi(vec![square(10.5, 0.0)?, square(4.5, 0.0)?]).mask(&grid)?;
    assert_eq!(ring.count(), 21 * 21 - 9 * 9);
    // The outline, a cut to the hole, the hole the other way round, and back along the cut.
    let keyhole = polygon(
        &[
            [-10.5, -10.5],
            [10.5, -10.5],
            [10.5, 10.5],
            [-10.5, 10.5],
            [-10.5, -10.5],
            [-4.5, -4.5],
            [-4.5, 4.5],
            [4.5, 4.5],
            [4.5, -4.5],
            [-4.5, -4.5],
        ],
        0.0,
    )?;
    assert_eq!(roi(vec![keyhole]).mask(&grid)?, ring);
    // An island in the hole is inside again.
    let island = roi(vec![square(10.5, 0.0)?, square(4.5, 0.0)?, square(1.5, 0.0)?]).mask(&grid)?;
    assert_eq!(island.count(), ring.count() + 9);
    Ok(())
}

#[test]
fn planes_reach_halfway_and_gaps_stay_open() -> TestResult {
    let grid = grid(41, [1.0, 1.0, 1.0])?;
    let planes_of = |heights: &[f64]| -> Result<Vec<usize>, Box<dyn std::error::Error>> {
        let contours = heights.iter().map(|&z| square(3.5, z)).collect::<Result<_, _>>()?;
        let mask = roi(contours).mask(&grid)?;
        let inside = |k: &usize| mask.volume()[VoxelIndex::new(20, 20, *k)];
        Ok((0..41).filter(inside).collect())
    };
    // Slice k is at z = k − 20. Two planes 4 mm apart: slabs of 4 mm.
    assert_eq!(planes_of(&[-2.0, 2.0])?, (16..24).collect::<Vec<_>>());
    // One is as thick as a slice.
    assert_eq!(planes_of(&[3.2])?, [23]);
    // 2 mm apart, then 6 mm (joined), then 8 mm (a gap).
    assert_eq!(planes_of(&[-10.0, -8.0, -2.0])?, (9..19).collect::<Vec<_>>());
    assert_eq!(planes_of(&[-10.0, -8.0, 0.0, 2.0])?, [9, 10, 11, 12, 19, 20, 21, 22]);
    Ok(())
}

#[test]
fn storage_of_the_grid_does_not_matter() -> TestResult {
    let grid = grid(21, [1.0, 1.5, 2.0])?;
    let roi = roi(vec![circle(7.3, -1.0)?, circle(5.1, 1.0)?]);
    let plain = roi.fractions(&grid, 3)?;
    // Stored from the other end of x and z.
    let origin = grid.point_of(VoxelIndex::new(20, 0, 20));
    let flipped = Grid::new([21; 3], grid.spacing_mm(), origin, Matrix3::diagonal([-1.0, 1.0, -1.0]))?;
    let other = roi.fractions(&flipped, 3)?;
    for k in 0..21 {
        for j in 0..21 {
            for i in 0..21 {
                let (here, there) =
                    (plain[VoxelIndex::new(i, j, k)], other[VoxelIndex::new(20 - i, j, 20 - k)]);
                assert!((here - there).abs() < 1e-6, "voxel {i}, {j}, {k}: {here} and {there}");
            }
        }
    }
    Ok(())
}

#[test]
fn bad_contours_are_refused() -> TestResult {
    let grid = grid(11, [1.0; 3])?;
    assert!(matches!(polygon(&[[0.0, 0.0], [1.0, 0.0]], 0.0), Err(RtError::Contour { .. })));
    assert!(matches!(polygon(&[[0.0, 0.0], [1.0, f64::NAN], [2.0, 0.0]], 0.0), Err(RtError::Contour { .. })));
    assert!(matches!(roi(vec![]).mask(&grid), Err(RtError::NoContour { .. })));
    let line = polygon(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], 0.0)?;
    assert!(matches!(roi(vec![line]).mask(&grid), Err(RtError::Contour { .. })));
    let mut points = square(3.0, 0.0)?.points_lps().to_vec();
    points[2].z = 1.0;
    let tilted = roi(vec![square(3.5, 4.0)?, Contour::new(points)?]).mask(&grid);
    assert!(matches!(tilted, Err(RtError::ContourPlanes { contour: 1, .. })));
    let far = roi(vec![square(3.0, 100.0)?]).mask(&grid);
    // From the slab's lower face at 99.5 mm to the grid's face at 5.5 mm.
    assert!(
        matches!(far, Err(RtError::OutsideGrid { distance_mm, .. }) if (distance_mm - 94.0).abs() < 1e-9)
    );
    assert!(roi(vec![square(3.0, 0.0)?]).fractions(&grid, 17).is_err());
    let stored: Result<Contour, _> = serde_json::from_str("[[0,0,0],[1,0,0]]");
    assert!(stored.is_err_and(|error| error.to_string().contains("at least 3")));
    Ok(())
}

#[test]
fn structures_are_found_by_name() -> TestResult {
    let set = StructureSet { frame_of_reference_uid: None, rois: vec![roi(vec![square(3.0, 0.0)?])] };
    assert_eq!(set.roi(" ptv ")?.number, 1);
    assert!(set.roi("Bladder").is_err_and(|error| error.to_string().contains("`PTV`")));
    Ok(())
}

#[test]
fn outlines_give_the_voxels_back() -> TestResult {
    // Noise has every neighbourhood: holes in holes, voxels that touch at corners, the border of the grid.
    let (s, c) = 0.5_f64.sin_cos();
    for direction in [
        Matrix3::IDENTITY,
        Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, -1.0]]),
        Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]),
    ] {
        let grid = Grid::new([23, 19, 6], [0.9, 1.3, 2.0], PointLps::new(-3.0, 5.0, 7.0), direction)?;
        for percent in [3, 50, 97] {
            let mut seed = 11_u64;
            let noise: Vec<bool> = (0..grid.n_voxels())
                .map(|_| {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 33) % 100 < percent
                })
                .collect();
            let mask = Mask::new(Volume::from_vec(grid.clone(), noise)?);
            let roi = Roi::from_mask(3, "noise", &mask)?;
            assert_eq!(roi.mask(&grid)?.as_slice(), mask.as_slice(), "{percent} %");
        }
    }
    Ok(())
}

#[test]
fn outlines_are_few_and_of_the_right_size() -> TestResult {
    let grid = grid(21, [1.0, 1.5, 2.0])?;
    let block = Mask::new(Volume::from_index_fn(&grid, |at| {
        (3..9).contains(&at.i) && (4..8).contains(&at.j) && at.k == 5
    }));
    let roi = Roi::from_mask(1, "block", &block)?;
    let [contour] = roi.contours.as_slice() else { return Err("one contour".into()) };
    // A rectangle whose corners are cut.
    assert_eq!(contour.points_lps().len(), 8);
    let z = grid.point_of(VoxelIndex::new(0, 0, 5)).z;
    assert!(contour.points_lps().iter().all(|p| (p.z - z).abs() < 1e-12));
    // A ring is one contour with a keyhole, and its mask has the hole.
    let ring = Mask::new(Volume::from_index_fn(&grid, |at| {
        (3..9).contains(&at.i) && (4..9).contains(&at.j) && (at.i, at.j) != (6, 6) && at.k == 5
    }));
    let roi = Roi::from_mask(1, "ring", &ring)?;
    assert_eq!(roi.contours.len(), 1);
    assert_eq!(roi.mask(&grid)?.as_slice(), ring.as_slice());
    let empty = Mask::new(Volume::filled(&grid, false));
    assert!(matches!(Roi::from_mask(1, "empty", &empty), Err(RtError::NoContour { .. })));
    Ok(())
}

#[test]
fn a_sampling_grid_holds_the_region_wherever_it_lies() -> TestResult {
    let contours = (-5..=5).map(|n| circle(20.0, 3.0 * f64::from(n))).collect::<Result<_, _>>()?;
    let roi = roi(contours);
    let expected = PI * 400.0 * 33.0 / 1000.0;
    let (s, c) = 0.5_f64.sin_cos();
    for direction in [Matrix3::IDENTITY, Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, -1.0]])] {
        // A grid that does not meet the region, and one that holds it.
        for corner in [[300.0, -200.0, 55.0], [-40.0, -40.0, -40.0]] {
            let like = Grid::new([20, 30, 40], [2.5, 2.0, 3.0], PointLps::from(corner), direction)?;
            let grid = roi.sampling_grid(&like, 1.0)?;
            for (mm, expected) in std::iter::zip(grid.spacing_mm(), [2.5 / 3.0, 1.0, 1.0]) {
                assert!((mm - expected).abs() < 1e-12);
            }
            let cm3 = roi.mask(&grid)?.volume_cm3();
            assert!((cm3 / expected - 1.0).abs() < 0.005, "{cm3} cm³, not {expected}");
            // Edges of voxels there are edges here.
            let edge = grid.lps_from_index(synthct_image::ContinuousIndex::new(-0.5, -0.5, -0.5));
            let at = like.index_from_lps(edge);
            for (at, parts) in std::iter::zip([at.i, at.j, at.k], [3.0, 2.0, 3.0]) {
                let steps = (at + 0.5) * parts;
                assert!((steps - steps.round()).abs() < 1e-6, "{steps}");
            }
        }
    }
    assert!(roi.sampling_grid(&grid(5, [1.0; 3])?, 0.0).is_err());
    Ok(())
}
