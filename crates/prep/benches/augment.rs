//! All random changes of a head of 128×144×128 voxels, and of one of its slices.

use std::hint::black_box;

use criterion::{Criterion, criterion_group};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use synthct_image::{Grid, PointLps, Volume, VoxelIndex};
use synthct_prep::{AugmentationConfig, AugmentationDraw, MrScale, PrepError};

use crate::nyul::head;

fn run(criterion: &mut Criterion) -> Result<(), PrepError> {
    let head = head()?;
    let grid = Grid::axis_aligned([128, 144, 1], [1.5; 3], PointLps::new(-95.0, -107.0, 0.0))?;
    let slice = Volume::from_index_fn(&grid, |index| head[VoxelIndex::new(index.i, index.j, 64)]);
    let config = AugmentationConfig {
        rotation_probability: 1.0,
        rotation_deg: [3.0, 3.0, 10.0],
        scaling_probability: 1.0,
        scaling: 0.1,
        bias_field_probability: 1.0,
        bias_field: 0.3,
        gamma_probability: 1.0,
        gamma: 0.2,
        blur_probability: 1.0,
        blur_mm: 1.5,
        ..AugmentationConfig::mirror_and_noise()
    };
    let draw = AugmentationDraw::sample(&config, &mut ChaCha8Rng::seed_from_u64(1))?;
    let scale = MrScale { zero_signal: 0.0, mean: 500.0, sd: 150.0 };
    let mut group = criterion.benchmark_group("augment");
    group.sample_size(10);
    group.bench_function("head_128x144x128", |b| b.iter(|| draw.apply_to_mr(black_box(&head), &scale, 0)));
    group.bench_function("slice_128x144", |b| b.iter(|| draw.apply_to_mr(black_box(&slice), &scale, 0)));
    group.finish();
    Ok(())
}

fn augment(criterion: &mut Criterion) {
    run(criterion).expect("because the settings are in range");
}

criterion_group!(benches, augment);
