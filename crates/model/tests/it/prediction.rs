//! Predictions lie where the MR lies, whatever its axes; input that does not fit is refused.

use std::ops::ControlFlow;

use synthct_image::{Grid, Matrix3, PointLps, Volume, VoxelIndex};
use synthct_model::candle_core::Device;
use synthct_model::{
    ModelError, ModelPackage, OutsideBody, PredictOptions, PredictWarning, Prediction, predict,
};

use crate::TestResult;
use crate::heads::{Head, Tissue, axial_grid, cases, place, predict_quietly, small_config, train_all};

/// A curve, which sees one voxel at a time: where the result lies cannot hide behind what a network learned.
fn regression(n_slices: usize) -> Result<ModelPackage, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    train_all(&cases(&[0, 1, 3], n_slices)?, &[], &small_config("regression", 1)?, &folder.path().join("run"))
}

fn network() -> Result<ModelPackage, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let config = small_config("3tn", 1)?;
    train_all(&cases(&[0], 4)?, &cases(&[1], 4)?, &config, &folder.path().join("run"))
}

/// The axial grid's voxels stored as sagittal slices: i to posterior, j to inferior, k to the right.
fn sagittal_grid(axial: &Grid) -> Result<Grid, synthct_image::ImageError> {
    let [ni, nj, nk] = axial.size_ijk();
    let [si, sj, sk] = axial.spacing_mm();
    let direction = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]);
    let origin = axial.point_of(VoxelIndex::new(ni - 1, 0, nk - 1));
    Grid::new([nj, nk, ni], [sj, sk, si], origin, direction)
}

#[test]
fn reordered_voxels_get_the_same_values_at_the_same_places() -> TestResult {
    let head = Head { subject: 2 };
    let axial = axial_grid(6)?;
    let sagittal = sagittal_grid(&axial)?;
    let [ni, _, nk] = axial.size_ijk();
    for package in [regression(6)?, network()?] {
        let expected = predict_quietly(&package, &[head.mr(&axial)])?;
        let found = predict_quietly(&package, &[head.mr(&sagittal)])?;
        assert_eq!(found.sct.grid(), &sagittal);
        assert_eq!(found.body.grid(), &sagittal);
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
        for k in 0..nk {
            for j in 0..axial.size_ijk()[1] {
                for i in 0..ni {
                    let here = VoxelIndex::new(i, j, k);
                    let there = VoxelIndex::new(j, nk - 1 - k, ni - 1 - i);
                    assert!(axial.point_of(here).distance_mm(sagittal.point_of(there)) < 1e-9);
                    let (expected, found) = (expected.sct[here], found.sct[there]);
                    assert!(
                        (expected - found).abs() < 0.5,
                        "{}: axial {expected} HU, sagittal {found} HU",
                        place(&axial, here)
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn an_oblique_mr_keeps_its_grid_and_tissues_their_places() -> TestResult {
    let head = Head { subject: 2 };
    let package = regression(8)?;
    let (s, c) = 20_f64.to_radians().sin_cos();
    let about_z = Matrix3::from_columns([c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]);
    let (s, c) = 12_f64.to_radians().sin_cos();
    let direction = Matrix3::from_columns([1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]) * about_z;
    let size_ijk = [52, 52, 24];
    let spacing_mm = [1.25, 1.25, 2.0];
    let turned = Grid::new(size_ijk, spacing_mm, PointLps::ORIGIN, direction)?;
    let middle = turned.center_lps().to_array().map(|x| -x);
    let grid = Grid::new(size_ijk, spacing_mm, middle.into(), direction)?;
    let prediction = predict_quietly(&package, &[head.mr(&grid)])?;
    assert_eq!(prediction.sct.grid(), &grid);
    let mut n_checked = [0_usize; 2];
    for k in 2..size_ijk[2] - 2 {
        for j in 0..size_ijk[1] {
            for i in 0..size_ijk[0] {
                let index = VoxelIndex::new(i, j, k);
                let (tissue, to_border_mm) = head.at(grid.point_of(index));
                let hu = prediction.sct[index];
                // Interpolation there and back mixes voxels of the model grid's spacing.
                if to_border_mm < 3.7 && !(tissue == Tissue::Outside && to_border_mm > 10.0) {
                    continue;
                }
                let expected = match tissue {
                    Tissue::Outside if to_border_mm > 12.0 => -1000.0,
                    Tissue::Brain => 40.0,
                    _ => continue,
                };
                n_checked[usize::from(tissue == Tissue::Brain)] += 1;
                assert!((hu - expected).abs() < 60.0, "{}: {hu} HU, {tissue:?}", place(&grid, index));
            }
        }
    }
    assert!(n_checked.iter().all(|&n| n > 500), "{n_checked:?}");
    Ok(())
}

#[test]
fn thick_slices_are_noted_and_a_coarse_image_is_refused() -> TestResult {
    let head = Head { subject: 2 };
    let package = regression(8)?;
    let grid = |size_ijk, spacing_mm: [f64; 3]| {
        Grid::axis_aligned(size_ijk, spacing_mm, PointLps::new(-30.0, -30.0, -15.0))
    };
    let thick = predict_quietly(&package, &[head.mr(&grid([11, 60, 30], [6.0, 1.2, 1.2])?)])?;
    let axes: Vec<_> = thick
        .warnings
        .iter()
        .map(|warning| match warning {
            PredictWarning::Coarse { axis, .. } => (*axis, "coarse"),
            PredictWarning::Fine { axis, .. } => (*axis, "fine"),
            _ => ('?', "other"),
        })
        .collect();
    assert_eq!(axes, [('x', "coarse"), ('y', "fine"), ('z', "fine")]);
    let coarse = predict_quietly(&package, &[head.mr(&grid([8, 8, 8], [11.0, 11.0, 4.0])?)]);
    let Err(error @ ModelError::TooCoarse { .. }) = coarse else {
        return Err(format!("expected a refusal, got {coarse:?}").into());
    };
    assert!(error.to_string().contains("11.0, 11.0, 4.0"), "{error}");
    Ok(())
}

#[test]
fn input_that_does_not_fit_is_refused() -> TestResult {
    let package = regression(4)?;
    let mr = Head { subject: 2 }.mr(&axial_grid(4)?);
    let none = predict_quietly(&package, &[]);
    assert!(matches!(none, Err(ModelError::ChannelCount { found: 0, .. })));
    let two = predict_quietly(&package, &[mr.clone(), mr.clone()]);
    assert!(matches!(two, Err(ModelError::ChannelCount { found: 2, .. })));
    let mut broken = mr.clone();
    broken.as_mut_slice()[7] = f32::INFINITY;
    let broken = predict_quietly(&package, &[broken]);
    assert!(matches!(broken, Err(ModelError::NotFinite { n_voxels: 1, .. })));
    let empty = predict_quietly(&package, &[Volume::filled(mr.grid(), 0.0)]);
    assert!(matches!(empty, Err(ModelError::Prep(_) | ModelError::EmptyBody { .. })), "{empty:?}");
    let stopped = predict(&network()?, &[mr], &PredictOptions::standard(), &Device::Cpu, &mut |_| {
        ControlFlow::Break(())
    });
    assert!(matches!(stopped, Err(ModelError::Stopped)));
    Ok(())
}

#[test]
fn outside_the_body_is_air_unless_asked_otherwise() -> TestResult {
    let package = network()?;
    let mr = Head { subject: 2 }.mr(&axial_grid(4)?);
    let run = |outside_body| {
        let options = PredictOptions { outside_body, ..PredictOptions::standard() };
        predict(&package, std::slice::from_ref(&mr), &options, &Device::Cpu, &mut |_| {
            ControlFlow::Continue(())
        })
    };
    let tight = run(OutsideBody::Air { margin_mm: 0.0 })?;
    let whole = run(OutsideBody::AsPredicted)?;
    let mut n_outside = 0;
    let values = tight.sct.as_slice().iter().zip(whole.sct.as_slice());
    for ((&tight_hu, &whole_hu), &inside) in values.zip(tight.body.as_slice()) {
        let expected = if inside { whole_hu } else { -1000.0 };
        n_outside += usize::from(!inside);
        assert!((tight_hu - expected).abs() < 1e-6, "{tight_hu} HU, expected {expected} HU");
    }
    assert!(n_outside > 100);
    Ok(())
}

#[test]
fn the_batch_size_changes_no_bit() -> TestResult {
    let package = network()?;
    let mr = [Head { subject: 2 }.mr(&axial_grid(7)?)];
    let run = |batch_size| {
        let outside_body = OutsideBody::AsPredicted;
        let options =
            PredictOptions { outside_body, batch_size, keep_heads: true, ..PredictOptions::standard() };
        let mut done = Vec::new();
        let prediction = predict(&package, &mr, &options, &Device::Cpu, &mut |progress| {
            done.push((progress.n_done, progress.n_slices));
            ControlFlow::Continue(())
        });
        prediction.map(|prediction| (prediction, done))
    };
    let (one, done) = run(1)?;
    assert_eq!(done, (1..=7).map(|n| (n, 7)).collect::<Vec<_>>());
    let images = |prediction: &Prediction| -> Result<Vec<Volume<f32>>, &'static str> {
        let heads = prediction.heads.clone().ok_or("the heads were asked for")?;
        let heads = [Some(heads.whole_hu), heads.bone_hu, heads.bone_mask].into_iter().flatten();
        Ok(std::iter::once(prediction.sct.clone()).chain(heads).collect())
    };
    // Batches that divide the slices, that do not, and one larger than all.
    for (batch_size, expected) in [(2, &[2, 4, 6, 7][..]), (4, &[4, 7]), (7, &[7]), (100, &[7])] {
        let (prediction, done) = run(batch_size)?;
        assert_eq!(done, expected.iter().map(|&n| (n, 7)).collect::<Vec<_>>());
        assert!(images(&prediction)? == images(&one)?, "batches of {batch_size}");
    }
    Ok(())
}

#[test]
fn cropping_to_the_body_changes_nothing_near_it() -> TestResult {
    let folder = tempfile::tempdir()?;
    let train_cases = cases(&[0, 1], 4)?;
    let mut config = small_config("regression", 1)?;
    let whole = train_all(&train_cases, &[], &config, &folder.path().join("whole"))?;
    config.crop_margin_mm = Some(5.0);
    let cropped = train_all(&train_cases, &[], &config, &folder.path().join("cropped"))?;
    let mr = [Head { subject: 2 }.mr(&axial_grid(4)?)];
    // Means and deviations are taken inside the body, so the crop does not touch them.
    assert_eq!(predict_quietly(&whole, &mr)?.sct, predict_quietly(&cropped, &mr)?.sct);
    let far = PredictOptions { outside_body: OutsideBody::AsPredicted, ..PredictOptions::standard() };
    let predict_far = |package: &ModelPackage| {
        predict(package, &mr, &far, &Device::Cpu, &mut |_| ControlFlow::Continue(()))
    };
    assert_ne!(predict_far(&whole)?.sct, predict_far(&cropped)?.sct, "the crop is in effect");
    Ok(())
}
