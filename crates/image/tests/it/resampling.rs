use std::collections::BTreeMap;

use synthct_image::{
    AffineTransform, DisplacementField, Grid, Interpolation, LabelMap, Mask, Matrix3, PointLps, Transform,
    VectorLps, Volume, VoxelIndex, resample,
};

use crate::golden::{TestResult, check_close, floats, text, volume};

/// The numbers of `geometry.txt` by name.
struct Geometry(BTreeMap<String, Vec<f64>>);

impl Geometry {
    fn read() -> TestResult<Self> {
        let mut numbers = BTreeMap::new();
        for line in text("resample_simpleitk/geometry.txt")?.lines() {
            let (name, values) = line.split_once(' ').ok_or("a line without values")?;
            let values = values.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
            numbers.insert(name.to_owned(), values);
        }
        Ok(Self(numbers))
    }

    fn triples<const N: usize>(&self, name: &str) -> TestResult<[[f64; 3]; N]> {
        let (triples, _) = self.0[name].as_chunks::<3>();
        triples.try_into().map_err(|_| format!("{name} needs {N} triples").into())
    }

    fn grid(&self, name: &str) -> TestResult<Grid> {
        let [size, spacing_mm, origin, x, y, z] = self.triples(name)?;
        Ok(Grid::new(size.map(|n| n as usize), spacing_mm, origin.into(), Matrix3([x, y, z]))?)
    }

    fn affine(&self) -> TestResult<AffineTransform> {
        let [x, y, z, translation, center] = self.triples("AFFINE")?;
        let about_center = AffineTransform::linear_about(center.into(), Matrix3([x, y, z]))?;
        Ok(AffineTransform::translation(translation.into())? * about_center)
    }

    fn displacement(&self) -> TestResult<DisplacementField> {
        let values = floats("resample_simpleitk/field.f32")?;
        let vectors = values.as_chunks::<3>().0.to_vec();
        Ok(DisplacementField::new(Volume::from_vec(self.grid("FIELD")?, vectors)?)?)
    }
}

fn check_against_simpleitk(
    case: &str,
    transform: Option<&Transform>,
    interpolation: Interpolation,
    tolerance: f32,
) -> TestResult {
    let geometry = Geometry::read()?;
    let moving = volume("resample_simpleitk/volume.f32", &geometry.grid("VOLUME")?)?;
    let target = geometry.grid("TARGET")?;
    let got = resample(&moving, &target, transform, interpolation, -7.0)?;
    let expected = volume(&format!("resample_simpleitk/{case}.f32"), &target)?;
    check_close(case, &got, &expected, tolerance);
    Ok(())
}

#[test]
fn nearest_agrees_with_simpleitk() -> TestResult {
    check_against_simpleitk("nearest", None, Interpolation::Nearest, 0.0)
}

#[test]
fn linear_agrees_with_simpleitk() -> TestResult {
    check_against_simpleitk("linear", None, Interpolation::Linear, 0.1)?;
    let affine = Geometry::read()?.affine()?.into();
    check_against_simpleitk("linear_affine", Some(&affine), Interpolation::Linear, 0.1)?;
    let displacement = Geometry::read()?.displacement()?.into();
    check_against_simpleitk("linear_displacement", Some(&displacement), Interpolation::Linear, 0.1)
}

#[test]
fn bspline_agrees_with_simpleitk() -> TestResult {
    check_against_simpleitk("bspline", None, Interpolation::CubicBSpline, 1e-4)?;
    let geometry = Geometry::read()?;
    let composite = Transform::from(geometry.affine()?) * geometry.displacement()?.into();
    check_against_simpleitk(
        "bspline_affine_after_displacement",
        Some(&composite),
        Interpolation::CubicBSpline,
        0.1,
    )
}

const ALL: [Interpolation; 3] = [Interpolation::Nearest, Interpolation::Linear, Interpolation::CubicBSpline];

/// A volume whose axes run to inferior, right and posterior, with distinct values.
fn reordered() -> TestResult<Volume<f32>> {
    let direction = Matrix3::from_columns([0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    let grid = Grid::new([5, 3, 4], [3.1, 1.3, 2.7], PointLps::new(9.1, 8.3, 7.7), direction)?;
    Ok(Volume::from_index_fn(&grid, |VoxelIndex { i, j, k }| 0.1 + (100 * i + 10 * j + k) as f32))
}

#[test]
fn a_change_of_storage_order_copies_bits() -> TestResult {
    let mut volume = reordered()?;
    let cover = volume.grid().axis_aligned_cover([1.3, 2.7, 3.1])?;
    for interpolation in ALL {
        let resampled = resample(&volume, &cover, None, interpolation, -1.0)?;
        for (at, &got) in resampled.array().indexed_iter() {
            let (k, j, i) = at;
            let expected = volume[VoxelIndex::new(4 - k, 2 - i, j)];
            assert_eq!(got.to_bits(), expected.to_bits(), "{interpolation:?} at {at:?}: {got}, {expected}");
        }
        let back = resample(&resampled, volume.grid(), None, interpolation, -1.0)?;
        assert_eq!(back, volume, "{interpolation:?}");
    }
    // Not a number stays where it is.
    volume[VoxelIndex::new(1, 1, 1)] = f32::NAN;
    let resampled = resample(&volume, &cover, None, Interpolation::Linear, -1.0)?;
    assert_eq!(resampled.as_slice().iter().filter(|value| value.is_nan()).count(), 1);
    Ok(())
}

#[test]
fn a_whole_voxel_shift_moves_values_and_shows_the_outside() -> TestResult {
    let volume = reordered()?;
    // One voxel along j, which runs to the right: the target looks one voxel further right.
    let shift = Transform::from(AffineTransform::translation(VectorLps::new(-1.3, 0.0, 0.0))?);
    for interpolation in ALL {
        let moved = resample(&volume, volume.grid(), Some(&shift), interpolation, f32::INFINITY)?;
        let at = |i, j, k| moved[VoxelIndex::new(i, j, k)];
        assert_eq!(at(3, 0, 2).to_bits(), volume[VoxelIndex::new(3, 1, 2)].to_bits());
        assert!(at(3, 2, 2).is_infinite());
    }
    Ok(())
}

#[test]
fn linear_reproduces_affine_functions_of_position() -> TestResult {
    let geometry = Geometry::read()?;
    let value_of = |p: PointLps| (3.0 * p.x - 2.0 * p.y + 0.5 * p.z + 100.0) as f32;
    let volume = Volume::from_point_fn(&geometry.grid("VOLUME")?, value_of);
    let target = geometry.grid("TARGET")?;
    let transform = Transform::from(geometry.affine()?);
    let resampled = resample(&volume, &target, Some(&transform), Interpolation::Linear, f32::NAN)?;
    let size = volume.grid().size_ijk();
    let mut n_compared = 0;
    for (at, &got) in resampled.array().indexed_iter() {
        let (k, j, i) = at;
        let point = transform.apply(target.point_of(VoxelIndex::new(i, j, k)));
        let index = volume.grid().index_from_lps(point);
        let is_between_centers = std::iter::zip([index.i, index.j, index.k], size)
            .all(|(position, n)| position > 0.0 && position < (n - 1) as f64);
        if is_between_centers {
            n_compared += 1;
            assert!((got - value_of(point)).abs() < 1e-3, "{got} at {point:?}, expected {}", value_of(point));
        }
    }
    assert!(n_compared > 500, "the test must bite: {n_compared}");
    Ok(())
}

#[test]
fn nan_spreads_only_where_it_has_weight() -> TestResult {
    let grid = Grid::axis_aligned([5, 4, 3], [1.0; 3], PointLps::ORIGIN)?;
    let mut volume = Volume::filled(&grid, 1.0_f32);
    volume[VoxelIndex::new(2, 1, 1)] = f32::NAN;
    let finer = Grid::axis_aligned([9, 4, 3], [0.5, 1.0, 1.0], PointLps::ORIGIN)?;
    let resampled = resample(&volume, &finer, None, Interpolation::Linear, 0.0)?;
    let touched: Vec<usize> = (0..9).filter(|&i| resampled[VoxelIndex::new(i, 1, 1)].is_nan()).collect();
    assert_eq!(touched, [3, 4, 5]);
    assert_eq!(resampled.as_slice().iter().filter(|value| value.is_nan()).count(), 3);
    assert!(resample(&volume, &finer, None, Interpolation::CubicBSpline, 0.0).is_err());
    Ok(())
}

#[test]
fn thin_volumes_are_interpolated_within_their_slice() -> TestResult {
    for size_ijk in [[6, 5, 1], [6, 1, 2], [1, 2, 3]] {
        let grid = Grid::axis_aligned(size_ijk, [1.0; 3], PointLps::ORIGIN)?;
        let volume = Volume::filled(&grid, 42.0_f32);
        let shifted = Grid::axis_aligned(size_ijk, [1.0; 3], PointLps::new(0.3, 0.2, 0.4))?;
        for interpolation in ALL {
            let resampled = resample(&volume, &shifted, None, interpolation, 0.0)?;
            for &value in resampled.as_slice() {
                assert!((value - 42.0).abs() < 1e-4, "{size_ijk:?} {interpolation:?}: {value}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_general_path_equals_the_affine_path() -> TestResult {
    let geometry = Geometry::read()?;
    let volume = volume("resample_simpleitk/volume.f32", &geometry.grid("VOLUME")?)?;
    let target = geometry.grid("TARGET")?;
    let nowhere = DisplacementField::from_fn(&target, |_| VectorLps::new(0.0, 0.0, 0.0))?;
    let affine = Transform::from(geometry.affine()?);
    let general = affine.clone() * nowhere.into();
    for interpolation in ALL {
        let by_row = resample(&volume, &target, Some(&affine), interpolation, -7.0)?;
        let by_point = resample(&volume, &target, Some(&general), interpolation, -7.0)?;
        check_close(&format!("{interpolation:?}"), &by_row, &by_point, 1e-3);
    }
    Ok(())
}

#[test]
fn masks_and_labels_take_the_nearest_voxel() -> TestResult {
    let geometry = Geometry::read()?;
    let values = volume("resample_simpleitk/volume.f32", &geometry.grid("VOLUME")?)?;
    let target = geometry.grid("TARGET")?;
    let nearest = resample(&values, &target, None, Interpolation::Nearest, 0.0)?;
    let mask = Mask::from_values(&values, |&value| value > 350.0).resampled(&target, None)?;
    assert_eq!(mask, Mask::from_values(&nearest, |&value| value > 350.0));
    let labels = LabelMap::new(values.map(|&value| value.max(0.0) as u16)).resampled(&target, None)?;
    assert_eq!(labels.volume(), &nearest.map(|&value| value.max(0.0) as u16));
    Ok(())
}
