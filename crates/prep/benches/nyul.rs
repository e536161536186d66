//! Nyúl's normalisation and its relatives on a head of 128×144×128 voxels.

use std::hint::black_box;

use criterion::{Criterion, criterion_group};
use synthct_image::{Grid, Mask, PointLps, Volume};
use synthct_prep::{NyulConfig, NyulFit, PercentileConfig, PrepError, percentile, zscore};

/// Smooth tissue with fine structure in an ellipsoid, zero outside, which is more than half of the grid.
pub(super) fn head() -> Result<Volume<f32>, PrepError> {
    let grid = Grid::axis_aligned([128, 144, 128], [1.5; 3], PointLps::new(-95.0, -107.0, -95.0))?;
    Ok(Volume::from_point_fn(&grid, |p| {
        let r = ((p.x / 70.0).powi(2) + (p.y / 85.0).powi(2) + (p.z / 75.0).powi(2)).sqrt();
        let tissue = 500.0 + 300.0 * (p.x / 9.0).sin() * (p.y / 7.0).cos() + 40.0 * (3.1 * p.z).sin();
        if r < 1.0 { tissue as f32 } else { 0.0 }
    }))
}

fn run(criterion: &mut Criterion) -> Result<(), PrepError> {
    let head = head()?;
    let body = Mask::from_values(&head, |&value| value > 0.0);
    let mut fit = NyulFit::new(NyulConfig::intensity_normalization())?;
    fit.add(&head, None)?;
    let landmarks = fit.landmarks()?;
    let mut group = criterion.benchmark_group("head_128x144x128");
    group.sample_size(20);
    group.bench_function("nyul_fit", |b| b.iter(|| fit.add(black_box(&head), None)));
    group.bench_function("nyul_apply", |b| b.iter(|| landmarks.apply(black_box(&head), None)));
    group.bench_function("zscore", |b| b.iter(|| zscore(black_box(&head), &body)));
    let config = PercentileConfig { low_percent: 1.0, high_percent: 99.0, clip: false };
    group.bench_function("percentile", |b| b.iter(|| percentile(black_box(&head), &body, config)));
    group.finish();
    Ok(())
}

fn nyul(criterion: &mut Criterion) {
    run(criterion).expect("because the head is finite and has contrast");
}

criterion_group!(benches, nyul);
