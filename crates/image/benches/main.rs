//! Times of resampling, smoothing and morphology on a head of 256×256×160 voxels at 1 mm.

use std::hint::black_box;

use criterion::Criterion;
use synthct_image::morphology::{Connectivity, close, connected_components, distance_to_mm, fill_holes};
use synthct_image::{
    AffineTransform, BSplineTransform, DisplacementField, Grid, ImageError, Interpolation, Mask, PointLps,
    Transform, VectorLps, Volume, gaussian_smooth, resample,
};

/// The head, an oblique grid of the same size, and the map between them.
fn setting() -> Result<(Volume<f32>, Grid), ImageError> {
    let grid = Grid::axis_aligned([256, 256, 160], [1.0; 3], PointLps::new(-127.5, -127.5, -79.5))?;
    let head = Volume::from_point_fn(&grid, |p| {
        let r = ((p.x / 80.0).powi(2) + (p.y / 100.0).powi(2) + (p.z / 75.0).powi(2)).sqrt();
        if r < 1.0 { (1000.0 + 300.0 * (p.x / 7.0).sin() * (p.y / 9.0).cos()) as f32 } else { 0.0 }
    });
    let turn = AffineTransform::rotation_about(PointLps::ORIGIN, VectorLps::new(1.0, 2.0, 3.0), 0.3)?;
    let oblique = Grid::new([256, 256, 160], [1.0; 3], turn.apply(grid.origin_lps()), *turn.matrix())?;
    Ok((head, oblique))
}

fn run(criterion: &mut Criterion) -> Result<(), ImageError> {
    let (head, oblique) = setting()?;
    let mut group = criterion.benchmark_group("head_256x256x160");
    group.sample_size(10);
    for (name, interpolation) in [
        ("resample_nearest", Interpolation::Nearest),
        ("resample_linear", Interpolation::Linear),
        ("resample_bspline", Interpolation::CubicBSpline),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| resample(black_box(&head), &oblique, None, interpolation, 0.0));
        });
    }
    let coarse = Grid::axis_aligned([33, 33, 21], [8.0; 3], PointLps::new(-128.0, -128.0, -80.0))?;
    let bend = DisplacementField::from_fn(&coarse, |p| VectorLps::new(3.0 * (p.y / 40.0).sin(), 0.0, 0.0))?;
    let bend = Transform::from(bend);
    group.bench_function("resample_linear_displacement", |b| {
        b.iter(|| resample(black_box(&head), &oblique, Some(&bend), Interpolation::Linear, 0.0));
    });
    let lattice = Grid::axis_aligned([12, 12, 10], [32.0; 3], PointLps::new(-176.0, -176.0, -144.0))?;
    let spline = BSplineTransform::new(Volume::from_index_fn(&lattice, |n| {
        [1.0, 2.0, 3.0].map(|part| 4.0 * (part * 1.7 * n.i as f64 + 2.9 * n.j as f64).sin())
    }))?;
    let spline = Transform::from(spline);
    for (name, target) in
        [("resample_linear_spline", head.grid()), ("resample_linear_spline_oblique", &oblique)]
    {
        group.bench_function(name, |b| {
            b.iter(|| resample(black_box(&head), target, Some(&spline), Interpolation::Linear, 0.0));
        });
    }
    let flipped = Grid::new([160, 256, 256], [1.0; 3], head.grid().origin_lps(), {
        let [x, y, z] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        synthct_image::Matrix3::from_columns(z, y, x)
    })?;
    group.bench_function("reorder", |b| {
        b.iter(|| resample(black_box(&head), &flipped, None, Interpolation::Linear, 0.0));
    });
    group.bench_function("gaussian_smooth_2mm", |b| b.iter(|| gaussian_smooth(black_box(&head), 2.0)));
    let mask = Mask::from_values(&head, |&value| value > 1100.0);
    group.bench_function("distance", |b| b.iter(|| distance_to_mm(black_box(&mask))));
    group.bench_function("close_8mm", |b| b.iter(|| close(black_box(&mask), 8.0)));
    group.bench_function("fill_holes", |b| b.iter(|| fill_holes(black_box(&mask))));
    group.bench_function("connected_components", |b| {
        b.iter(|| connected_components(black_box(&mask), Connectivity::Faces));
    });
    group.finish();
    Ok(())
}

fn main() -> Result<(), ImageError> {
    let mut criterion = Criterion::default().configure_from_args();
    run(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
