//! Times of gamma and DVH on two doses of 120³ voxels at 2.5 mm.

use std::hint::black_box;

use criterion::Criterion;
use synthct_eval::{Dvh, GammaConfig, gamma};
use synthct_image::{Grid, ImageError, Mask, PointLps, Volume};

/// A dose with steep sides and a ripple, and the same one moved and a little hotter.
fn doses() -> Result<(Volume<f32>, Volume<f32>), ImageError> {
    let grid = Grid::axis_aligned([120; 3], [2.5; 3], PointLps::new(-148.75, -148.75, -148.75))?;
    let dose = |shift: f64, scale: f64| {
        Volume::from_point_fn(&grid, |p| {
            let r = ((p.x - shift) / 60.0).powi(4) + (p.y / 50.0).powi(4) + ((p.z + shift) / 70.0).powi(4);
            (scale * 60.0 * (1.0 + 0.02 * (p.x / 7.0).sin() * (p.z / 5.0).cos()) / (1.0 + r)) as f32
        })
    };
    Ok((dose(0.0, 1.0), dose(0.6, 1.006)))
}

pub(super) fn run(criterion: &mut Criterion) -> Result<(), Box<dyn std::error::Error>> {
    let (reference, evaluated) = doses()?;
    let mut group = criterion.benchmark_group("dose_120");
    group.sample_size(10);
    for criterion in [1.0, 2.0, 3.0] {
        let config = GammaConfig::global(60.0, &[(criterion, criterion)]);
        group.bench_function(format!("gamma_{criterion}_{criterion}"), |b| {
            b.iter(|| gamma(black_box(&reference), &evaluated, None, &config));
        });
    }
    let target = Mask::from_values(&reference, |&gy| gy > 30.0);
    group.bench_function("dvh", |b| b.iter(|| Dvh::new(black_box(&reference), &target)));
    group.finish();
    Ok(())
}
