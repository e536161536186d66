//! Random changes: what moves where, how large it is, and that the same seed gives the same bits.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use synthct_image::{Grid, LabelMap, Mask, Matrix3, PointLps, VectorLps, Volume, VoxelIndex};
use synthct_prep::{AugmentationConfig, AugmentationDraw, MrScale, NoiseKind, PrepError};

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

const SCALE: MrScale = MrScale { zero_signal: -2.0, mean: 0.5, sd: 1.5 };

fn draw(config: &AugmentationConfig, seed: u64) -> Result<AugmentationDraw, PrepError> {
    AugmentationDraw::sample(config, &mut ChaCha8Rng::seed_from_u64(seed))
}

/// An oblique grid; with one k it is a slice.
fn grid(nk: usize) -> TestResult<Grid> {
    let (s, c) = 0.3_f64.sin_cos();
    let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
    Ok(Grid::new([41, 33, nk], [1.0, 1.5, 2.0], PointLps::new(3.0, -7.0, 11.0), direction)?)
}

/// A smooth bump at a point.
fn bump(grid: &Grid, center: PointLps) -> Volume<f32> {
    Volume::from_point_fn(grid, |p| {
        (-(p - center).to_array().map(|d| d * d).iter().sum::<f64>() / 50.0).exp() as f32
    })
}

/// The center of mass of what is above zero.
fn center_of(volume: &Volume<f32>) -> [f64; 3] {
    let (mut sum, mut weights) = ([0.0; 3], 0.0);
    for ((k, j, i), &value) in volume.array().indexed_iter() {
        let p = volume.grid().point_of(VoxelIndex::new(i, j, k)).to_array();
        for axis in 0..3 {
            sum[axis] += f64::from(value) * p[axis];
        }
        weights += f64::from(value);
    }
    sum.map(|s| s / weights)
}

fn everything() -> AugmentationConfig {
    AugmentationConfig {
        mirror_probability: 0.5,
        rotation_probability: 0.8,
        rotation_deg: [5.0, 5.0, 20.0],
        scaling_probability: 0.8,
        scaling: 0.1,
        bias_field_probability: 0.8,
        bias_field: 0.4,
        gamma_probability: 0.8,
        gamma: 0.3,
        stretch_probability: 0.8,
        stretch: 0.1,
        blur_probability: 0.8,
        blur_mm: 2.0,
        noise_probability: 0.8,
        noise_sd: [0.01, 0.1],
        noise: NoiseKind::Rician,
    }
}

#[test]
fn a_neutral_draw_changes_no_bit() -> TestResult {
    let grid = grid(9)?;
    let mr = Volume::from_index_fn(&grid, |index| (index.i * 7 + index.j * 3 + index.k) as f32 - 50.0);
    let neutral = draw(&AugmentationConfig::neutral(), 4)?;
    assert_eq!(neutral.apply_to_mr(&mr, &SCALE, 0)?, mr);
    assert_eq!(neutral.apply_to_image(&mr, -1.0)?, mr);
    let mask = Mask::from_values(&mr, |&value| value > 0.0);
    assert_eq!(neutral.apply_to_mask(&mask)?, mask);
    Ok(())
}

#[test]
fn mirroring_swaps_left_and_right_voxel_by_voxel() -> TestResult {
    let config = AugmentationConfig { mirror_probability: 1.0, ..AugmentationConfig::neutral() };
    // Axial: i runs to the left. Sagittal: k does.
    let sagittal = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]);
    let sagittal = Grid::new([5, 4, 7], [1.0, 1.5, 2.0], PointLps::new(3.0, -7.0, 11.0), sagittal)?;
    for (grid, left_axis) in [(grid(3)?, 0), (sagittal, 2)] {
        let mr = Volume::from_index_fn(&grid, |index| (index.i + 100 * index.j + 10_000 * index.k) as f32);
        let mirrored = draw(&config, 1)?.apply_to_mr(&mr, &SCALE, 0)?;
        for ((k, j, i), &value) in mirrored.array().indexed_iter() {
            let mut from = [i, j, k];
            from[left_axis] = grid.size_ijk()[left_axis] - 1 - from[left_axis];
            let expected = mr[VoxelIndex::new(from[0], from[1], from[2])];
            assert_eq!(value.to_bits(), expected.to_bits(), "axis {left_axis}, voxel {i} {j} {k}");
        }
    }
    Ok(())
}

/// How far a bump is from where rotating and scaling about the grid's centre would take it.
#[track_caller]
fn check_moves(nk: usize, config: &AugmentationConfig) -> TestResult {
    let grid = grid(nk)?;
    let center = grid.center_lps();
    let offset = VectorLps::new(6.0, -4.0, if nk == 1 { 0.0 } else { 5.0 });
    let before = bump(&grid, center + offset);
    let mut largest_turn = 0.0_f64;
    for seed in 0..8 {
        let draw = draw(config, seed)?;
        let after = center_of(&draw.apply_to_image(&before, 0.0)?);
        let was = center_of(&before);
        // Distances from the centre scale; a rotation keeps them.
        let distance =
            |p: [f64; 3]| (0..3).map(|axis| (p[axis] - center.to_array()[axis]).powi(2)).sum::<f64>().sqrt();
        let ratio = distance(after) / distance(was);
        let allowed = 1.0 - config.scaling * config.scaling_probability - 0.01..=1.0 + config.scaling + 0.01;
        assert!(allowed.contains(&ratio), "seed {seed}: {ratio}");
        // A turn about k, which is patient z here, stays in its plane.
        if config.rotation_deg[0] + config.rotation_deg[1] + config.scaling == 0.0 {
            assert!((after[2] - was[2]).abs() < 0.02, "seed {seed}: {} mm", after[2] - was[2]);
        }
        // Masks and label maps move along.
        let region = Mask::from_values(&before, |&value| value > 0.5);
        let moved = draw.apply_to_mask(&region)?;
        let of_image = Mask::from_values(&draw.apply_to_image(&before, 0.0)?, |&value| value > 0.5);
        let both = moved.and(&of_image)?.count();
        assert!(2 * both * 100 >= 85 * (moved.count() + of_image.count()), "seed {seed}: {both} in both");
        let labels = LabelMap::new(region.volume().map(|&inside| u16::from(inside)));
        let labels = draw.apply_to_labels(&labels)?;
        assert_eq!(labels.volume().map(|&label| label > 0), *moved.volume(), "seed {seed}");
        let direction = |p: [f64; 3]| [0, 1, 2].map(|axis| (p[axis] - center.to_array()[axis]) / distance(p));
        let cosine: f64 = std::iter::zip(direction(was), direction(after)).map(|(a, b)| a * b).sum();
        largest_turn = largest_turn.max(cosine.min(1.0).acos().to_degrees());
    }
    let allowed = config.rotation_deg.iter().map(|angle| angle * angle).sum::<f64>().sqrt();
    assert!((0.3 * allowed..=1.02 * allowed).contains(&largest_turn), "{largest_turn}° of {allowed}°");
    Ok(())
}

#[test]
fn volumes_and_slices_are_rotated_and_scaled_about_their_centre() -> TestResult {
    let turned = AugmentationConfig {
        rotation_probability: 1.0,
        rotation_deg: [0.0, 0.0, 30.0],
        ..AugmentationConfig::neutral()
    };
    check_moves(1, &turned)?;
    check_moves(21, &turned)?;
    check_moves(21, &AugmentationConfig { rotation_deg: [15.0, 10.0, 20.0], ..turned.clone() })?;
    check_moves(21, &AugmentationConfig { scaling_probability: 1.0, scaling: 0.3, ..turned })
}

#[test]
fn a_slice_is_turned_either_way_within_its_plane() -> TestResult {
    let grid = Grid::axis_aligned([31, 31, 1], [1.0; 3], PointLps::ORIGIN)?;
    let config = AugmentationConfig {
        rotation_probability: 1.0,
        rotation_deg: [0.0, 0.0, 40.0],
        ..AugmentationConfig::neutral()
    };
    // A mark on +i comes to lie on either side.
    let mark = bump(&grid, PointLps::new(25.0, 15.0, 0.0));
    let mut sides = [0, 0];
    for seed in 0..12 {
        let after = center_of(&draw(&config, seed)?.apply_to_image(&mark, 0.0)?);
        sides[usize::from(after[1] > 15.0)] += 1;
        assert!(after[2].abs() < 1e-9 && after[0] > 20.0, "seed {seed}: {after:?}");
    }
    assert!(sides[0] >= 2 && sides[1] >= 2, "both directions are drawn: {sides:?}");
    Ok(())
}

#[test]
fn a_slice_is_never_turned_out_of_its_plane() -> TestResult {
    let config = AugmentationConfig {
        rotation_probability: 1.0,
        rotation_deg: [60.0, 60.0, 0.0],
        ..AugmentationConfig::neutral()
    };
    let slice = bump(&grid(1)?, grid(1)?.center_lps());
    assert_eq!(draw(&config, 5)?.apply_to_image(&slice, -9.0)?, slice);
    Ok(())
}

#[test]
fn what_comes_into_view_is_zero_signal_or_what_was_asked_for() -> TestResult {
    let config =
        AugmentationConfig { scaling_probability: 1.0, scaling: 0.5, ..AugmentationConfig::neutral() };
    let flat = Volume::filled(&grid(9)?, 3.0_f32);
    let corner = VoxelIndex::new(0, 0, 0);
    let shrunken = (0..20).filter_map(|seed| {
        let draw = draw(&config, seed).ok()?;
        let image = draw.apply_to_image(&flat, -7.0).ok()?;
        (image[corner] < 0.0).then_some((draw, image))
    });
    let mut n = 0;
    for (draw, image) in shrunken {
        assert!((image[corner] + 7.0).abs() < 1e-6);
        assert!((draw.apply_to_mr(&flat, &SCALE, 0)?[corner] + 2.0).abs() < 1e-6);
        assert!(!draw.apply_to_mask(&Mask::full(flat.grid()))?.volume()[corner]);
        n += 1;
    }
    assert!(n >= 4, "{n} of 20 were made smaller");
    Ok(())
}

fn log_factors(mr: &Volume<f32>, changed: &Volume<f32>) -> Vec<f64> {
    let signal = |value: f32| f64::from(value) - SCALE.zero_signal;
    std::iter::zip(mr.as_slice(), changed.as_slice()).map(|(&a, &b)| (signal(b) / signal(a)).ln()).collect()
}

#[test]
fn bias_fields_are_smooth_and_within_their_limit() -> TestResult {
    let config =
        AugmentationConfig { bias_field_probability: 1.0, bias_field: 0.5, ..AugmentationConfig::neutral() };
    for nk in [1, 15] {
        let mr = Volume::from_index_fn(&grid(nk)?, |index| 1.0 + (index.i + index.j) as f32 / 10.0);
        let mut widest = 0.0_f64;
        for seed in 0..6 {
            let logs = log_factors(&mr, &draw(&config, seed)?.apply_to_mr(&mr, &SCALE, 0)?);
            let (least, most) = logs.iter().fold((0.0_f64, 0.0_f64), |(a, b), &log| (a.min(log), b.max(log)));
            assert!(least >= -0.501 && most <= 0.501, "seed {seed}: {least} to {most}");
            widest = widest.max(most - least);
            let steepest =
                logs.chunks(41).flat_map(|row| row.windows(2)).map(|pair| (pair[1] - pair[0]).abs());
            let steepest = steepest.fold(0.0, f64::max);
            assert!(
                steepest < 0.5 * std::f64::consts::TAU / 41.0,
                "seed {seed}: {steepest} from voxel to voxel"
            );
        }
        assert!(widest > 0.2, "{nk} slices: {widest}");
    }
    Ok(())
}

#[test]
fn contrast_changes_keep_zero_signal_and_the_mean() -> TestResult {
    let values = [-2.0_f32, -3.0, 0.5, 4.0, -0.75];
    let grid = Grid::axis_aligned([5, 1, 1], [1.0; 3], PointLps::ORIGIN)?;
    let mr = Volume::from_index_fn(&grid, |index| values[index.i]);
    let raised = AugmentationConfig { gamma_probability: 1.0, gamma: 0.7, ..AugmentationConfig::neutral() };
    for seed in 0..6 {
        let changed = draw(&raised, seed)?.apply_to_mr(&mr, &SCALE, 0)?;
        let at = |i: usize| f64::from(changed.as_slice()[i]);
        for (i, same) in [(0, -2.0), (1, -3.0), (2, 0.5)] {
            assert!((at(i) - same).abs() < 1e-6, "seed {seed}: {same} became {}", at(i));
        }
        // Signal 6 and 1.25 over a mean of 2.5: their logarithms are multiplied by one exponent.
        let exponent = ((at(3) + 2.0) / 2.5).ln() / 2.4_f64.ln();
        assert!(((at(4) + 2.0) / 2.5 - 0.5_f64.powf(exponent)).abs() < 1e-5);
        assert!((-0.7..=0.7).contains(&exponent.ln()) && exponent.ln().abs() > 1e-3, "{exponent}");
    }
    let stretched =
        AugmentationConfig { stretch_probability: 1.0, stretch: 0.2, ..AugmentationConfig::neutral() };
    for seed in 0..6 {
        let changed = draw(&stretched, seed)?.apply_to_mr(&mr, &SCALE, 0)?;
        let factor = (changed.as_slice()[3] - 0.5) / 3.5;
        assert!((0.8..=1.2).contains(&factor), "{factor}");
        for (&value, &before) in std::iter::zip(changed.as_slice(), &values) {
            assert!((value - (0.5 + factor * (before - 0.5))).abs() < 1e-5);
        }
    }
    Ok(())
}

fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

#[test]
fn noise_has_the_size_asked_for_and_differs_between_channels() -> TestResult {
    let grid = Grid::axis_aligned([100, 100, 10], [1.0; 3], PointLps::ORIGIN)?;
    let config =
        AugmentationConfig { noise_probability: 1.0, noise_sd: [0.2, 0.2], ..AugmentationConfig::neutral() };
    let flat = Volume::filled(&grid, 1.0_f32);
    let gaussian = draw(&config, 2)?;
    let noisy = gaussian.apply_to_mr(&flat, &SCALE, 0)?;
    // 0.2 standard deviations of 1.5; five standard errors.
    let (mean, sd) = moments(noisy.as_slice());
    assert!((mean - 1.0).abs() < 0.005 && (sd - 0.3).abs() < 0.004, "mean {mean}, sd {sd}");
    assert_eq!(noisy, gaussian.apply_to_mr(&flat, &SCALE, 0)?);
    let second = gaussian.apply_to_mr(&flat, &SCALE, 1)?;
    let products = std::iter::zip(noisy.as_slice(), second.as_slice()).map(|(a, b)| (a - 1.0) * (b - 1.0));
    let correlation = products.map(f64::from).sum::<f64>() / (1e5 * 0.09);
    assert!(correlation.abs() < 0.02, "{correlation}");
    // Where there is no signal, Rician noise is Rayleigh-distributed: mean σ √(π/2).
    let rician = draw(&AugmentationConfig { noise: NoiseKind::Rician, ..config }, 2)?;
    let air = rician.apply_to_mr(&Volume::filled(&grid, -2.0_f32), &SCALE, 0)?;
    let (mean, sd) = moments(air.as_slice());
    let half_pi = std::f64::consts::FRAC_PI_2;
    assert!((mean + 2.0 - 0.3 * half_pi.sqrt()).abs() < 0.005, "mean {mean}");
    assert!((sd - 0.3 * (2.0 - half_pi).sqrt()).abs() < 0.004, "sd {sd}");
    Ok(())
}

#[test]
fn changes_come_as_often_as_asked_for_and_one_setting_does_not_move_another() -> TestResult {
    let line = Volume::from_index_fn(&Grid::axis_aligned([3, 1, 1], [1.0; 3], PointLps::ORIGIN)?, |index| {
        index.i as f32
    });
    let is_mirrored = |config: &AugmentationConfig, seed| -> TestResult<bool> {
        let changed = draw(config, seed)?.apply_to_mr(&line, &SCALE, 0)?;
        Ok(changed.as_slice()[0] > changed.as_slice()[2])
    };
    let mirror = AugmentationConfig { mirror_probability: 0.3, ..AugmentationConfig::neutral() };
    let stretch = AugmentationConfig { stretch_probability: 0.5, stretch: 0.5, ..mirror.clone() };
    let mut n = 0;
    for seed in 0..400 {
        let found = is_mirrored(&mirror, seed)?;
        assert_eq!(found, is_mirrored(&stretch, seed)?, "seed {seed}");
        n += usize::from(found);
    }
    assert!((75..=165).contains(&n), "{n} of 400");
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() -> TestResult {
    let mr = bump(&grid(15)?, grid(15)?.center_lps());
    let changed = |n_threads: usize| -> TestResult<Volume<f32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
        Ok(pool.install(|| draw(&everything(), 9)?.apply_to_mr(&mr, &SCALE, 1))?)
    };
    let one = changed(1)?;
    assert_ne!(one, mr);
    assert_eq!(one, changed(2)?);
    assert_eq!(one, changed(3)?);
    assert_ne!(draw(&everything(), 9)?, draw(&everything(), 10)?);
    Ok(())
}

#[test]
fn bad_settings_and_images_are_refused() -> TestResult {
    let base = everything();
    assert_eq!(serde_json::from_str::<AugmentationConfig>(&serde_json::to_string(&base)?)?, base);
    assert_eq!(serde_json::from_str::<AugmentationConfig>("{}")?, AugmentationConfig::neutral());
    assert!(serde_json::from_str::<AugmentationConfig>(r#"{"mirror": true}"#).is_err());
    for (bad, name) in [
        (AugmentationConfig { mirror_probability: 1.1, ..base.clone() }, "mirror_probability"),
        (AugmentationConfig { blur_probability: f64::NAN, ..base.clone() }, "blur_probability"),
        (AugmentationConfig { rotation_deg: [0.0, -1.0, 0.0], ..base.clone() }, "rotation_deg"),
        (AugmentationConfig { scaling: 0.6, ..base.clone() }, "scaling"),
        (AugmentationConfig { stretch: 1.0, ..base.clone() }, "stretch"),
        (AugmentationConfig { noise_sd: [0.2, 0.1], ..base.clone() }, "noise_sd"),
        (AugmentationConfig { blur_mm: f64::INFINITY, ..base.clone() }, "blur_mm"),
    ] {
        match draw(&bad, 1) {
            Err(PrepError::Augmentation { field, .. }) => assert_eq!(field, format!("augmentation.{name}")),
            other => return Err(format!("{name}: {other:?}").into()),
        }
    }
    let dark = MrScale { zero_signal: 1.0, mean: 0.5, sd: 1.0 };
    let mr = bump(&grid(3)?, grid(3)?.center_lps());
    for shading in [
        AugmentationConfig { bias_field_probability: 1.0, bias_field: 0.3, ..AugmentationConfig::neutral() },
        AugmentationConfig { gamma_probability: 1.0, gamma: 0.3, ..AugmentationConfig::neutral() },
    ] {
        assert!(matches!(shading.require_suited(&dark), Err(PrepError::NotMagnitude { .. })));
        assert!(shading.require_suited(&SCALE).is_ok());
        let refused = draw(&shading, 1)?.apply_to_mr(&mr, &dark, 0);
        assert!(matches!(refused, Err(PrepError::NotMagnitude { .. })), "{refused:?}");
    }
    assert!(AugmentationConfig::mirror_and_noise().require_suited(&dark).is_ok());
    Ok(())
}
