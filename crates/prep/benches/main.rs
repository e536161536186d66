//! Times of N4 on a head of 160×192×160 voxels at 1.5 mm.

use std::hint::black_box;

use criterion::Criterion;
use synthct_image::{Grid, Mask, PointLps, Volume};
use synthct_prep::{N4Config, PrepError, n4};

/// A head of three tissues with a smooth bias, and its mask.
fn setting() -> Result<(Volume<f32>, Mask), PrepError> {
    let grid = Grid::axis_aligned([160, 192, 160], [1.5; 3], PointLps::new(-119.25, -143.25, -119.25))?;
    let mr = Volume::from_point_fn(&grid, |p| {
        let r = ((p.x / 76.0).powi(2) + (p.y / 96.0).powi(2) + (p.z / 90.0).powi(2)).sqrt();
        let folds = r + 0.05 * (p.x / 6.0).sin() * (p.y / 7.0).cos() * (p.z / 5.0).sin();
        let tissue = match folds {
            ..0.7 => 690.0,
            ..0.85 => 470.0,
            ..1.0 => 850.0,
            _ => 0.0,
        };
        let grain = 1.0 + 0.03 * (p.x * 12.9 + p.y * 78.2 + p.z * 37.7).sin();
        (tissue * grain * (0.3 * (p.x / 60.0).sin() + 0.2 * (p.y / 90.0).cos() - 0.002 * p.z).exp()) as f32
    });
    let mask = Mask::from_values(&mr, |&value| value > 0.0);
    Ok((mr, mask))
}

fn main() -> Result<(), PrepError> {
    let (mr, mask) = setting()?;
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("head_160x192x160");
    group.sample_size(10);
    for shrink_factor in [4, 2] {
        let config = N4Config { shrink_factor, convergence_threshold: 1e-6, ..N4Config::default() };
        group.bench_function(format!("n4_shrink_{shrink_factor}"), |b| {
            b.iter(|| n4(black_box(&mr), &mask, None, &config, &mut |_| ()));
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
