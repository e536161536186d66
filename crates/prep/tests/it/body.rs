use std::error::Error;

use synthct_image::{Grid, Mask, Matrix3, PointLps, Volume, VoxelIndex};
use synthct_prep::{PrepError, body_mask_ct, body_mask_mr};

type TestResult = Result<(), Box<dyn Error>>;

/// Standard normal noise from a voxel's number: SplitMix64, then Box-Muller.
fn normal(seed: u64, n: usize) -> f64 {
    let uniform = |stream: u64| {
        let mut z = (seed * 2 + stream).wrapping_mul(0xD1B5_4A32_D192_ED03).wrapping_add(n as u64);
        z = z.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (-2.0 * (1.0 - uniform(0)).ln()).sqrt() * (std::f64::consts::TAU * uniform(1)).cos()
}

/// Signal of each part of the head, for a contrast.
struct Contrast {
    name: &'static str,
    scalp: f64,
    bone: f64,
    brain: f64,
    fluid: f64,
    noise_sd: f64,
}

const CONTRASTS: [Contrast; 5] = [
    // Bone fainter than soft tissue, brighter than air.
    Contrast { name: "ZTE", scalp: 900.0, bone: 350.0, brain: 1000.0, fluid: 1050.0, noise_sd: 30.0 },
    Contrast { name: "noisy ZTE", scalp: 900.0, bone: 350.0, brain: 1000.0, fluid: 1050.0, noise_sd: 90.0 },
    Contrast { name: "T1w", scalp: 1400.0, bone: 60.0, brain: 600.0, fluid: 150.0, noise_sd: 25.0 },
    Contrast { name: "T2w", scalp: 500.0, bone: 40.0, brain: 450.0, fluid: 1600.0, noise_sd: 20.0 },
    Contrast { name: "FLAIR", scalp: 700.0, bone: 40.0, brain: 400.0, fluid: 60.0, noise_sd: 20.0 },
];

/// The scaled radius of a point in an ellipsoid.
fn radius(p: PointLps, center: [f64; 3], half_axes: [f64; 3]) -> f64 {
    (0..3).map(|c| ((p.to_array()[c] - center[c]) / half_axes[c]).powi(2)).sum::<f64>().sqrt()
}

/// An oblique grid around a head that is cut at the neck.
fn head_grid() -> Result<Grid, Box<dyn Error>> {
    let (s, c) = 12_f64.to_radians().sin_cos();
    let direction = Matrix3([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]);
    let spacing_mm = [2.0, 2.0, 3.0];
    let size = [100, 120, 60];
    let half = [0, 1, 2].map(|axis| (size[axis] - 1) as f64 / 2.0 * spacing_mm[axis]);
    let [x, y, z] = direction.apply(half);
    Ok(Grid::new(size, spacing_mm, PointLps::new(-x, -y, 5.0 - z), direction)?)
}

fn is_head(p: PointLps) -> bool {
    let in_neck = p.x.hypot(p.y - 10.0) < 55.0 && p.z < 0.0;
    radius(p, [0.0; 3], [75.0, 95.0, 80.0]) < 1.0 || in_neck
}

/// The sinus is closed, the airway runs down to the edge of the scan.
fn is_air(p: PointLps) -> bool {
    radius(p, [0.0, -70.0, 5.0], [14.0, 9.0, 12.0]) < 1.0 || (p.x.hypot(p.y + 10.0) < 9.0 && p.z < -30.0)
}

fn head_signal(p: PointLps, contrast: &Contrast) -> f64 {
    if !is_head(p) || is_air(p) {
        return 0.0;
    }
    match radius(p, [0.0; 3], [75.0, 95.0, 80.0]) {
        r if r >= 0.93 => contrast.scalp,
        r if r >= 0.82 => contrast.bone,
        r if r < 0.25 => contrast.fluid,
        _ => contrast.brain,
    }
}

/// A magnitude image: a bias field of ±40 % along a slant, and Rician noise.
fn head_mr(grid: &Grid, contrast: &Contrast) -> Volume<f32> {
    let [ni, nj, _] = grid.size_ijk();
    Volume::from_index_fn(grid, |index| {
        let p = grid.point_of(index);
        let bias = 1.0 + 0.4 * ((p.x + p.y - p.z) / 200.0).clamp(-1.0, 1.0);
        let n = (index.k * nj + index.j) * ni + index.i;
        let real = head_signal(p, contrast) * bias + contrast.noise_sd * normal(1, n);
        real.hypot(contrast.noise_sd * normal(2, n)) as f32
    })
}

fn dice(a: &Mask, b: &Mask) -> Result<f64, PrepError> {
    Ok(2.0 * a.and(b)?.count() as f64 / (a.count() + b.count()) as f64)
}

#[test]
fn a_head_is_found_in_every_contrast_with_its_bone_and_cavities() -> TestResult {
    let grid = head_grid()?;
    let truth = Mask::new(Volume::from_point_fn(&grid, is_head));
    let cavities = Mask::new(Volume::from_point_fn(&grid, is_air)).and(&truth)?;
    for contrast in &CONTRASTS {
        let body = body_mask_mr(&head_mr(&grid, contrast))?;
        let overlap = dice(&body, &truth)?;
        assert!(overlap > 0.98, "{}: Dice {overlap:.4}", contrast.name);
        let missed = truth.and(&body.complement())?.count() as f64 / truth.count() as f64;
        assert!(missed < 0.005, "{}: {missed:.4} of the head is missing", contrast.name);
        let missed = cavities.and(&body.complement())?.count();
        assert_eq!(missed, 0, "{}: {missed} of {} voxels of cavity", contrast.name, cavities.count());
    }
    Ok(())
}

#[test]
fn the_scale_of_an_mr_does_not_matter() -> TestResult {
    let mr = head_mr(&head_grid()?, &CONTRASTS[2]);
    let body = body_mask_mr(&mr)?;
    for factor in [1.0 / 4096.0, 64.0] {
        assert_eq!(body_mask_mr(&mr.map(|&value| value * factor))?, body, "factor {factor}");
    }
    Ok(())
}

#[test]
fn an_mr_without_a_body_is_an_error() -> TestResult {
    let grid = head_grid()?;
    for value in [0.0, -3.0, 7.0] {
        let refused = body_mask_mr(&Volume::filled(&grid, value));
        assert!(matches!(refused, Err(PrepError::NoContrast { .. })), "{value}: {refused:?}");
    }
    let mut speck = Volume::filled(&grid, 0.0_f32);
    speck[VoxelIndex::new(50, 60, 30)] = 1000.0;
    assert!(body_mask_mr(&speck).is_err());
    speck[VoxelIndex::new(1, 2, 3)] = f32::NAN;
    assert!(matches!(body_mask_mr(&speck), Err(PrepError::NotFinite { index_kji: [3, 2, 1], .. })));
    Ok(())
}

const TRUNK_HALF_AXES: [f64; 3] = [150.0, 95.0, 1e9];

/// A trunk with lungs that run out of the scan, close above a couch of two thin shells, padded outside a circle.
fn trunk_hu(p: PointLps, padding_hu: f64) -> f64 {
    let lung = |side: f64| radius(p, [70.0 * side, -5.0, 100.0], [55.0, 70.0, 150.0]) < 1.0;
    let (in_couch, in_shell) =
        (p.x.abs() < 220.0 && (p.y - 118.0).abs() < 20.0, p.x.abs() < 223.0 && (p.y - 118.0).abs() < 22.5);
    match () {
        () if p.x.hypot(p.y) > 240.0 => padding_hu,
        () if radius(p, [0.0; 3], TRUNK_HALF_AXES) < 1.0 && (lung(1.0) || lung(-1.0)) => -800.0,
        () if radius(p, [0.0; 3], TRUNK_HALF_AXES) < 1.0 => 40.0,
        () if in_couch => -950.0,
        () if in_shell => 200.0,
        () => -1000.0,
    }
}

#[test]
fn a_trunk_is_found_without_its_couch_whatever_the_padding() -> TestResult {
    let grid = Grid::axis_aligned([200, 200, 30], [2.5, 2.5, 5.0], PointLps::new(-248.75, -248.75, -20.0))?;
    let truth = Mask::new(Volume::from_point_fn(&grid, |p| radius(p, [0.0; 3], TRUNK_HALF_AXES) < 1.0));
    for padding_hu in [-1000.0, -1024.0, -1500.0, -2048.0, -3024.0] {
        let ct = Volume::from_point_fn(&grid, |p| trunk_hu(p, padding_hu) as f32);
        let body = body_mask_ct(&ct)?;
        let lungs_missed = truth.and(&body.complement())?.count();
        assert_eq!(lungs_missed, 0, "padding {padding_hu} HU");
        let overlap = dice(&body, &truth)?;
        assert!(overlap > 0.99, "padding {padding_hu} HU: Dice {overlap:.4}");
    }
    Ok(())
}

#[test]
fn a_ct_of_air_is_an_error() -> TestResult {
    let air = Volume::filled(&head_grid()?, -1000.0);
    let message = match body_mask_ct(&air) {
        Err(error @ PrepError::NoBody { .. }) => error.to_string(),
        other => return Err(format!("{other:?}").into()),
    };
    assert_eq!(message, "no body found: nothing that is denser than -400 HU is larger than 1 cm³");
    Ok(())
}
