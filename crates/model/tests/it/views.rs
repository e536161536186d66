//! Several looks at one MR: mirrored, with dropout, by several models.

use std::ops::ControlFlow;

use synthct_image::Volume;
use synthct_model::candle_core::Device;
use synthct_model::{
    ModelError, ModelPackage, OutsideBody, PredictOptions, Prediction, predict, predict_ensemble,
};

use crate::TestResult;
use crate::heads::{Head, axial_grid, cases, small_config, train_all};
use crate::learners::small;

fn packages() -> Result<Vec<ModelPackage>, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (learn, validate) = (cases(&[0], 4)?, cases(&[2], 4)?);
    let mut packages = Vec::new();
    for seed in [1, 2] {
        let config = synthct_model::TrainConfig { seed, ..small_config("3tn", 2)? };
        packages.push(train_all(&learn, &validate, &config, &folder.path().join(seed.to_string()))?);
    }
    packages.push(train_all(&learn, &validate, &small("cascade", 1)?, &folder.path().join("cascade"))?);
    Ok(packages)
}

/// The network's values as they are, also outside the body.
fn options() -> PredictOptions {
    PredictOptions { outside_body: OutsideBody::AsPredicted, ..PredictOptions::standard() }
}

fn look(package: &ModelPackage, mr: &Volume<f32>, options: PredictOptions) -> Result<Prediction, ModelError> {
    predict(package, std::slice::from_ref(mr), &options, &Device::Cpu, &mut |_| ControlFlow::Continue(()))
}

fn mirrored(volume: &Volume<f32>) -> Volume<f32> {
    let mut volume = volume.clone();
    let [ni, _, _] = volume.grid().size_ijk();
    volume.as_mut_slice().chunks_exact_mut(ni).for_each(<[f32]>::reverse);
    volume
}

#[track_caller]
fn check_close(what: &str, found: &Volume<f32>, expected: impl Fn(usize) -> f32, tolerance: f32) {
    for (idx, found) in found.as_slice().iter().enumerate() {
        let expected = expected(idx);
        assert!((found - expected).abs() <= tolerance, "{what}, voxel {idx}: {found} instead of {expected}");
    }
}

#[test]
fn mirroring_averages_both_sides() -> TestResult {
    let mr = Head { subject: 1 }.mr(&axial_grid(4)?);
    for package in &packages()?[1..] {
        let plain = look(package, &mr, options())?;
        assert!(plain.uncertainty_hu.is_none() && plain.n_views == 1);
        let other = mirrored(&look(package, &mirrored(&mr), options())?.sct);
        let both = look(package, &mr, PredictOptions { mirror: true, keep_heads: true, ..options() })?;
        assert_eq!(both.n_views, 2);
        let (a, b) = (plain.sct.as_slice(), other.as_slice());
        assert!(a != b, "the network is not symmetric");
        // Clipping to the range of an sCT comes last.
        let is_clipped = |idx: usize| [a[idx], b[idx]].iter().any(|hu| *hu <= -1000.0 || *hu >= 3000.0);
        let mean = |idx: usize| {
            if is_clipped(idx) { both.sct.as_slice()[idx] } else { f32::midpoint(a[idx], b[idx]) }
        };
        check_close("mean", &both.sct, mean, 0.02);
        let sd = both.uncertainty_hu.as_ref().ok_or("an uncertainty")?;
        let expected = |idx: usize| {
            if is_clipped(idx) { sd.as_slice()[idx] } else { (a[idx] - b[idx]).abs() / 2f32.sqrt() }
        };
        check_close("standard deviation", sd, expected, 0.02);
        let heads = both.heads.ok_or("heads")?;
        let plain_heads = look(package, &mr, PredictOptions { keep_heads: true, ..options() })?.heads;
        check_close(
            "whole",
            &heads.whole_hu,
            |idx| plain_heads.as_ref().map_or(0.0, |h| h.whole_hu.as_slice()[idx]),
            0.0,
        );
    }
    Ok(())
}

#[test]
fn dropout_samples_follow_their_seed_and_not_their_batch() -> TestResult {
    let mr = Head { subject: 1 }.mr(&axial_grid(4)?);
    for package in &packages()?[1..] {
        let sampled = |batch_size, seed| {
            look(package, &mr, PredictOptions { dropout_samples: 3, batch_size, seed, ..options() })
        };
        let first = sampled(1, 5)?;
        assert_eq!(first.n_views, 3);
        assert!(sampled(3, 5)?.sct.as_slice() == first.sct.as_slice());
        assert!(sampled(1, 6)?.sct.as_slice() != first.sct.as_slice());
        let sd = first.uncertainty_hu.ok_or("an uncertainty")?;
        assert!(sd.as_slice().iter().all(|sd| sd.is_finite() && *sd >= 0.0));
        assert!(sd.as_slice().iter().any(|sd| *sd > 1.0));
        let one = look(package, &mr, PredictOptions { dropout_samples: 1, ..options() })?;
        assert!(one.uncertainty_hu.is_none());
    }
    Ok(())
}

#[test]
fn an_ensemble_pools_all_looks() -> TestResult {
    let mr = Head { subject: 1 }.mr(&axial_grid(4)?);
    let packages = packages()?;
    let pooled = |packages: &[ModelPackage], options: PredictOptions| {
        predict_ensemble(packages, std::slice::from_ref(&mr), &options, &Device::Cpu, &mut |_| {
            ControlFlow::Continue(())
        })
    };
    assert!(matches!(pooled(&[], options()), Err(ModelError::EmptyEnsemble)));
    let alone = pooled(&packages[..1], options())?;
    assert!(alone.uncertainty_hu.is_none());
    let options = PredictOptions { mirror: true, ..PredictOptions::standard() };
    let found = pooled(&packages, options)?;
    assert_eq!(found.n_views, 6);
    // The same by hand, from every look by itself.
    let mut looks: Vec<Vec<f32>> = Vec::new();
    for package in &packages {
        let both = look(package, &mr, options)?;
        let sd = both.uncertainty_hu.ok_or("an uncertainty")?;
        // Two looks with this mean and standard deviation.
        for sign in [-1.0, 1.0] {
            let apart = sd.as_slice().iter().map(|sd| sign * sd / 2f32.sqrt());
            looks.push(both.sct.as_slice().iter().zip(apart).map(|(mean, apart)| mean + apart).collect());
        }
    }
    let mean = |idx: usize| looks.iter().map(|look| f64::from(look[idx])).sum::<f64>() / 6.0;
    let sd = |idx: usize| {
        let squares: f64 = looks.iter().map(|look| (f64::from(look[idx]) - mean(idx)).powi(2)).sum();
        (squares / 5.0).sqrt() as f32
    };
    check_close("mean", &found.sct, |idx| mean(idx) as f32, 0.01);
    check_close("standard deviation", &found.uncertainty_hu.ok_or("an uncertainty")?, sd, 0.02);
    Ok(())
}
