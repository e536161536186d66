//! Times of the image metrics on a pair of 160×192×160 voxels, and of the comparison of doses.

mod dose;

use std::hint::black_box;

use criterion::Criterion;
use synthct_eval::{
    Definition, EvalError, SsimConfig, dice, mae_hu, ms_ssim_synthrad2025, psnr_db, ssim, ssim_synthrad2023,
};
use synthct_image::{Grid, ImageError, Mask, PointLps, Volume, VoxelIndex};

fn pair() -> Result<(Volume<f32>, Volume<f32>, Mask), ImageError> {
    let grid = Grid::axis_aligned([160, 192, 160], [1.5; 3], PointLps::new(-119.25, -143.25, -119.25))?;
    let radius = |p: PointLps| ((p.x / 80.0).powi(2) + (p.y / 100.0).powi(2) + (p.z / 90.0).powi(2)).sqrt();
    let ct = Volume::from_point_fn(&grid, |p| match radius(p) {
        r if r < 0.8 => (40.0 + 20.0 * (p.x / 3.0).sin() * (p.z / 4.0).cos()) as f32,
        r if r < 0.9 => 900.0,
        r if r < 1.0 => 20.0,
        _ => -1000.0,
    });
    let sct = Volume::from_index_fn(&grid, |n| {
        let beside = VoxelIndex::new(n.i.saturating_sub(1), n.j, n.k);
        f32::midpoint(ct[n], ct[beside]) + 15.0
    });
    let head = Mask::new(Volume::from_point_fn(&grid, |p| radius(p) < 1.0));
    Ok((ct, sct, head))
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn std::error::Error>> {
    let (ct, sct, head) = pair()?;
    let bone = |volume: &Volume<f32>| Mask::from_values(volume, |&hu| hu > 250.0);
    let (ct_bone, sct_bone) = (bone(&ct), bone(&sct));
    let mut group = criterion.benchmark_group("head_160x192x160");
    group.sample_size(10);
    for (name, config) in
        [("ssim_uniform7", SsimConfig::scikit_image(2000.0)), ("ssim_gaussian", SsimConfig::wang2004(2000.0))]
    {
        group.bench_function(name, |b| b.iter(|| ssim(black_box(&ct), &sct, &config)));
    }
    group.bench_function("ssim_synthrad2023", |b| b.iter(|| ssim_synthrad2023(black_box(&ct), &sct, &head)));
    group.bench_function("ms_ssim_synthrad2025", |b| {
        b.iter(|| ms_ssim_synthrad2025(black_box(&ct), &sct, &head));
    });
    group.bench_function("mae_psnr", |b| {
        b.iter(|| -> Result<_, EvalError> {
            let mae_hu = mae_hu(black_box(&ct), &sct, &head)?;
            Ok((mae_hu, psnr_db(&ct, &sct, &head, Definition::SynthRad2023)?))
        });
    });
    group.bench_function("dice", |b| b.iter(|| dice(black_box(&ct_bone), &sct_bone)));
    group.finish();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    run(&mut criterion)?;
    dose::run(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
