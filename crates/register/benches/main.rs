//! Times of registration on a head of 160×192×160 voxels at 1.5 mm.

use std::hint::black_box;

use criterion::Criterion;
use synthct_image::{AffineTransform, Grid, PointLps, VectorLps, Volume};
use synthct_register::{
    BSplineConfig, InitialAlignment, LinearConfig, LinearModel, RegisterError, register_bspline,
    register_linear,
};

/// An MR-like head of three shells, and CT-like ones after a rigid motion and after a bend.
fn setting() -> Result<[Volume<f32>; 3], RegisterError> {
    let grid = Grid::axis_aligned([160, 192, 160], [1.5; 3], PointLps::new(-119.0, -143.0, -119.0))?;
    let radius = |p: PointLps, inset: f64| {
        let [x, y, z] = [p.x / (76.0 - inset), p.y / (96.0 - inset), p.z / (88.0 - inset)];
        (x * x + y * y + z * z).sqrt() + 0.02 * (p.x / 9.0).sin() * (p.y / 11.0 + p.z / 14.0).cos()
    };
    let pick = |p: PointLps, values: [f32; 4]| {
        let shell = [8.0, 14.0, 0.0].map(|inset| radius(p, inset) < 1.0);
        match shell {
            [_, true, _] => values[3],
            [true, ..] => values[2],
            [.., true] => values[1],
            _ => values[0],
        }
    };
    let turn = AffineTransform::rotation_about(PointLps::ORIGIN, VectorLps::new(1.0, 2.0, 3.0), 0.15)?;
    let mr = Volume::from_point_fn(&grid, |p| pick(p, [6.0, 400.0, 60.0, 650.0]));
    let hu = [-1000.0, 40.0, 1200.0, 30.0];
    let ct = Volume::from_point_fn(&grid, |p| pick(turn.apply(p), hu));
    let bent = Volume::from_point_fn(&grid, |p| {
        let bend = VectorLps::new((p.y / 30.0).sin(), (p.z / 35.0).cos(), (p.x / 40.0).sin()) * 3.0;
        pick(p + bend, hu)
    });
    Ok([mr, ct, bent])
}

fn main() -> Result<(), RegisterError> {
    let mut criterion = Criterion::default().configure_from_args();
    let [mr, ct, bent] = setting()?;
    let mut group = criterion.benchmark_group("head_160x192x160");
    group.sample_size(10);
    for (name, model, init) in [
        ("rigid_from_header", LinearModel::Rigid, InitialAlignment::Header),
        ("rigid_from_any_start", LinearModel::Rigid, InitialAlignment::Auto),
        ("affine_from_any_start", LinearModel::Affine, InitialAlignment::Auto),
    ] {
        let config = LinearConfig { model, init, ..LinearConfig::default() };
        group.bench_function(name, |b| {
            b.iter(|| register_linear(black_box(&mr), black_box(&ct), None, None, &config, &mut |_| {}));
        });
    }
    group.bench_function("bspline_multi_from_header", |b| {
        let config = BSplineConfig::multi();
        b.iter(|| register_bspline(black_box(&mr), black_box(&bent), None, None, &config, &mut |_| {}));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
