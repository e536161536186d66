//! Deformable registration.

use synthct_image::{
    AffineTransform, BSplineTransform, DisplacementField, Grid, ImageError, Mask, PointLps, Transform,
    VectorLps, Volume, VoxelIndex,
};
use synthct_register::{
    BSplineConfig, BSplineStage, ImageRole, IntensityWindow, RegisterError, RegisterProgress,
    RegistrationReport, SimilarityMetric, register_bspline,
};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// How far out a point of the head is: 0 in the middle, 1 at the skin.
fn radius(p: PointLps) -> f64 {
    ((p.x / 38.0).powi(2) + (p.y / 44.0).powi(2) + (p.z / 34.0).powi(2)).sqrt()
}

/// A head of shell and texture: MR-like and CT-like values, defined at every point of space.
fn values(p: PointLps) -> [f64; 2] {
    let step = |edge: f64| 1.0 / (1.0 + ((radius(p) - edge) * 80.0).exp());
    let texture =
        (p.x / 4.1 + p.y / 6.0).sin() + (p.y / 3.7 - p.z / 5.3).sin() + (p.z / 4.3 + p.x / 7.1).sin();
    let (head, skull, brain) = (step(1.0), step(0.9), step(0.8));
    let mr = 10.0 + head * 400.0 - skull * 330.0 + brain * (450.0 + 60.0 * texture);
    let ct = -1000.0 + head * 1050.0 + skull * 800.0 - brain * (815.0 + 40.0 * texture);
    [mr, ct]
}

const MR: usize = 0;
const CT: usize = 1;

fn fixed_grid() -> Result<Grid, ImageError> {
    Grid::axis_aligned([46, 50, 42], [2.0; 3], PointLps::new(-45.0, -49.0, -41.0))
}

fn image(grid: &Grid, modality: usize) -> Volume<f32> {
    Volume::from_point_fn(grid, |p| values(p)[modality] as f32)
}

/// A smooth map with displacements of about `size_mm` that has faded out 60 mm outside the head.
fn truth(size_mm: f64) -> Result<BSplineTransform, ImageError> {
    let lattice = Grid::axis_aligned([11, 11, 11], [40.0; 3], PointLps::new(-200.0, -200.0, -200.0))?;
    BSplineTransform::new(Volume::from_index_fn(&lattice, |VoxelIndex { i, j, k }| {
        let is_inner = [i, j, k].iter().all(|n| (3..8).contains(n));
        let wave = |part: f64| (part * (0.6 * i as f64 - 0.5 * k as f64 + 1.0) + 0.7 * j as f64).sin();
        if is_inner { [1.0, 1.4, 1.8].map(|part| size_mm * wave(part)) } else { [0.0; 3] }
    }))
}

/// What the fixed image becomes under `moving_from_fixed`, on a grid of its own.
fn moved(moving_from_fixed: &Transform, modality: usize) -> Result<Volume<f32>, ImageError> {
    let grid = Grid::axis_aligned([54, 52, 50], [1.9, 2.1, 2.0], PointLps::new(-51.0, -54.0, -50.0))?;
    let fixed_from_moving = moving_from_fixed.inverse()?;
    Ok(Volume::from_point_fn(&grid, |p| values(fixed_from_moving.apply(p))[modality] as f32))
}

/// Quick settings for these small images, which have no noise.
fn quick(preset: &BSplineConfig) -> BSplineConfig {
    let stages =
        [(4.0, 40.0, 30), (2.0, 20.0, 30)].map(|(image_spacing_mm, control_spacing_mm, iterations)| {
            BSplineStage {
                image_spacing_mm,
                control_spacing_mm,
                iterations,
                bending_weight: 0.2 * preset.stages[0].bending_weight,
                ..preset.stages[0]
            }
        });
    BSplineConfig { stages: stages.to_vec(), tolerance: 1e-4, ..preset.clone() }
}

fn register(
    fixed: &Volume<f32>,
    moving: &Volume<f32>,
    initial: Option<&Transform>,
    config: &BSplineConfig,
) -> Result<(Transform, RegistrationReport), RegisterError> {
    register_bspline(fixed, moving, None, initial, config, &mut |_| {})
}

/// The mean distance in mm, over points of the head, between where two maps take them.
fn target_error_mm(got: &Transform, truth: &Transform) -> f64 {
    let steps = [-30.0, -15.0, 0.0, 15.0, 30.0];
    let (mut sum, mut n) = (0.0, 0.0);
    for x in steps {
        for y in steps {
            for z in steps.map(|z| 0.8 * z) {
                let at = PointLps::new(x, y, z);
                if radius(at) > 0.9 {
                    continue;
                }
                sum += got.apply(at).distance_mm(truth.apply(at));
                n += 1.0;
            }
        }
    }
    sum / n
}

/// Registers `modality` to the fixed one with a known deformation, and wants a mean error below `allowed_mm`.
#[track_caller]
fn check(fixed: usize, moving: usize, config: &BSplineConfig, allowed_mm: f64) -> TestResult {
    let truth = Transform::from(truth(2.5)?);
    let before = target_error_mm(&Transform::IDENTITY, &truth);
    assert!(before > 1.2, "{before} mm: the test would prove nothing");
    let (got, report) = register(&image(&fixed_grid()?, fixed), &moved(&truth, moving)?, None, config)?;
    let after = target_error_mm(&got, &truth);
    assert!(after < allowed_mm, "{after} mm, {before} mm before; {report:?}");
    assert!(report.min_jacobian > Some(0.0) && report.overlap_fraction > 0.9, "{report:?}");
    assert!(Some(report.nmi_after) > report.nmi_before, "{report:?}");
    assert_eq!(report.levels.len(), config.stages.len());
    Ok(())
}

#[test]
fn a_deformation_within_one_modality_is_found() -> TestResult {
    check(CT, CT, &quick(&BSplineConfig::mono()), 0.5)
}

#[test]
fn a_deformation_between_modalities_is_found() -> TestResult {
    check(MR, CT, &quick(&BSplineConfig::multi()), 0.8)
}

#[test]
fn a_deformation_is_found_by_local_correlation() -> TestResult {
    let config =
        quick(&BSplineConfig { metric: SimilarityMetric::LocalCrossCorrelation, ..BSplineConfig::multi() });
    check(MR, CT, &config, 1.2)
}

#[test]
fn an_affine_start_is_kept_and_deformed() -> TestResult {
    let start =
        AffineTransform::rotation_about(PointLps::new(3.0, 0.0, 0.0), VectorLps::new(1.0, 2.0, 0.5), 0.3)?;
    let start = Transform::from(start);
    let truth = start.clone() * Transform::from(truth(2.5)?);
    let moving = moved(&truth, CT)?;
    let (got, _) =
        register(&image(&fixed_grid()?, CT), &moving, Some(&start), &quick(&BSplineConfig::mono()))?;
    let (before, after) = (target_error_mm(&start, &truth), target_error_mm(&got, &truth));
    assert!(after < 0.35, "{after} mm, {before} mm before");
    Ok(())
}

#[test]
fn a_start_that_is_a_displacement_field_is_kept_and_refined() -> TestResult {
    let truth = truth(2.5)?;
    let grid = Grid::axis_aligned([81, 81, 81], [4.0; 3], PointLps::new(-160.0, -160.0, -160.0))?;
    let rough = Transform::from(DisplacementField::from_fn(&grid, |p| truth.displacement_at(p) * 0.6)?);
    let truth = Transform::from(truth);
    let moving = moved(&truth, CT)?;
    let (got, _) =
        register(&image(&fixed_grid()?, CT), &moving, Some(&rough), &quick(&BSplineConfig::mono()))?;
    let (before, after) = (target_error_mm(&rough, &truth), target_error_mm(&got, &truth));
    assert!(before > 0.8 && after < 0.65, "{after} mm, {before} mm before");
    assert!(matches!(&got, Transform::Composite(factors) if factors[0] == rough));
    Ok(())
}

#[test]
fn what_lies_outside_the_mask_does_not_count() -> TestResult {
    let truth = Transform::from(truth(2.5)?);
    let mut fixed = image(&fixed_grid()?, CT);
    // An implant that the moving image does not have.
    let implant =
        |index: VoxelIndex| index.i > 34 && index.j > 20 && index.j < 34 && index.k > 12 && index.k < 30;
    let mask = Mask::new(Volume::from_index_fn(fixed.grid(), |index| !implant(index)));
    for (value, &is_outside) in std::iter::zip(fixed.as_mut_slice(), mask.complement().as_slice()) {
        if is_outside {
            *value = 3000.0;
        }
    }
    let config = quick(&BSplineConfig::mono());
    let moving = moved(&truth, CT)?;
    let (got, _) = register_bspline(&fixed, &moving, Some(&mask), None, &config, &mut |_| {})?;
    let (unmasked, _) = register(&fixed, &moving, None, &config)?;
    let (with, without) = (target_error_mm(&got, &truth), target_error_mm(&unmasked, &truth));
    assert!(with < 0.6 && without > 1.5 * with, "{with} mm with the mask, {without} mm without");
    Ok(())
}

#[test]
fn the_same_bits_on_any_number_of_threads() -> TestResult {
    let truth = Transform::from(truth(2.5)?);
    let (mr, ct) = (image(&fixed_grid()?, MR), moved(&truth, CT)?);
    for metric in [
        SimilarityMetric::MutualInformation,
        SimilarityMetric::MeanSquares,
        SimilarityMetric::LocalCrossCorrelation,
    ] {
        let mut config = quick(&BSplineConfig { metric, ..BSplineConfig::multi() });
        for stage in &mut config.stages {
            stage.iterations = 4;
        }
        let mut first = None;
        for n_threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
            let got = pool.install(|| register(&mr, &ct, None, &config))?;
            assert_eq!(first.get_or_insert_with(|| got.clone()), &got, "{metric:?}, {n_threads} threads");
        }
    }
    Ok(())
}

#[test]
fn too_much_compression_is_made_again_with_more_bending_and_in_the_end_refused() -> TestResult {
    // The same head twice, with other noise: what compression there is follows the noise.
    let noisy = |seed: usize| -> Result<Volume<f32>, ImageError> {
        let mut head = image(&fixed_grid()?, CT);
        for (n, value) in head.as_mut_slice().iter_mut().enumerate() {
            *value += 100.0 * ((n * n % 7919 + seed) as f32).sin();
        }
        Ok(head)
    };
    let (fixed, moving) = (noisy(1)?, noisy(40)?);
    let mut config = quick(&BSplineConfig::mono());
    // Many control points and nothing that makes them move alike.
    for stage in &mut config.stages {
        stage.control_spacing_mm *= 0.5;
        stage.bending_weight = 0.0;
    }
    config.smallest_jacobian = 0.0;
    let (_, free) = register(&fixed, &moving, None, &config)?;
    let smallest = free.min_jacobian.ok_or("a deformation has a Jacobian")?;
    assert!(smallest < 0.97, "{smallest}: the test would prove nothing");
    config.smallest_jacobian = 0.5 * (smallest + 1.0);
    let (_, held) = register(&fixed, &moving, None, &config)?;
    assert!(held.min_jacobian > Some(smallest), "{held:?}");
    assert!(held.levels.len() > config.stages.len(), "{held:?}");
    config.smallest_jacobian = 1.0;
    let refused = register(&fixed, &moving, None, &config);
    assert!(matches!(refused, Err(RegisterError::Image(ImageError::Folded { .. }))), "{refused:?}");
    Ok(())
}

#[test]
fn progress_tells_every_step_of_every_stage() -> TestResult {
    let truth = Transform::from(truth(2.5)?);
    let config = quick(&BSplineConfig::mono());
    let mut seen: Vec<RegisterProgress> = Vec::new();
    let (_, report) = register_bspline(
        &image(&fixed_grid()?, CT),
        &moved(&truth, CT)?,
        None,
        None,
        &config,
        &mut |progress| seen.push(progress),
    )?;
    let steps: usize = report.levels.iter().map(|level| level.iterations).sum();
    assert_eq!(seen.len(), steps);
    assert!(seen.iter().all(|progress| progress.n_levels == 2 && progress.level < 2));
    assert!(report.levels.iter().all(|level| level.value_after < level.value_before), "{report:?}");
    Ok(())
}

#[test]
fn bad_input_is_refused_with_its_reason() -> TestResult {
    let config = quick(&BSplineConfig::multi());
    let grid = fixed_grid()?;
    let (mr, ct) = (image(&grid, MR), image(&grid, CT));

    let mut odd = ct.clone();
    odd[VoxelIndex::new(3, 2, 1)] = f32::NAN;
    let got = register(&mr, &odd, None, &config);
    assert!(
        matches!(got, Err(RegisterError::NotFinite { image: ImageRole::Moving, index_kji: [1, 2, 3], .. })),
        "{got:?}"
    );

    let nothing = Mask::full(&grid).complement();
    let got = register_bspline(&mr, &ct, Some(&nothing), None, &config, &mut |_| {});
    assert!(matches!(got, Err(RegisterError::EmptyMask { image: ImageRole::Fixed })), "{got:?}");

    let elsewhere = Mask::full(&Grid::axis_aligned([4, 4, 4], [1.0; 3], PointLps::ORIGIN)?);
    let got = register_bspline(&mr, &ct, Some(&elsewhere), None, &config, &mut |_| {});
    assert!(matches!(got, Err(RegisterError::Image(ImageError::GridMismatch { .. }))), "{got:?}");

    let far = Transform::from(AffineTransform::translation(VectorLps::new(500.0, 0.0, 0.0))?);
    let got = register(&mr, &ct, Some(&far), &config);
    assert!(matches!(got, Err(RegisterError::NoOverlap { .. })), "{got:?}");

    let got = register(&mr, &ct.map(|_| 40.0), None, &config);
    assert!(matches!(got, Err(RegisterError::NoContrast { image: ImageRole::Moving, .. })), "{got:?}");

    let window = IntensityWindow::Between { low: 5000.0, high: 6000.0 };
    let got = register(&mr, &ct, None, &BSplineConfig { moving_window: window, ..config.clone() });
    assert!(matches!(got, Err(RegisterError::NoContrast { image: ImageRole::Moving, .. })), "{got:?}");
    Ok(())
}

#[test]
fn settings_out_of_range_are_named() -> TestResult {
    let image = image(&fixed_grid()?, CT);
    let good = quick(&BSplineConfig::mono());
    let with_stage = |change: &dyn Fn(&mut BSplineStage)| {
        let mut config = good.clone();
        change(&mut config.stages[1]);
        config
    };
    let bad = [
        (BSplineConfig { stages: Vec::new(), ..good.clone() }, "number of stages"),
        (with_stage(&|stage| stage.image_spacing_mm = 0.0), "image_spacing_mm"),
        (with_stage(&|stage| stage.smoothing_voxels = f64::NAN), "smoothing_voxels"),
        (with_stage(&|stage| stage.control_spacing_mm = 30.0), "control_spacing_mm"),
        (with_stage(&|stage| stage.bending_weight = -1.0), "bending_weight"),
        (BSplineConfig { n_bins: 4, ..good.clone() }, "n_bins"),
        (BSplineConfig { correlation_radius_voxels: 0, ..good.clone() }, "correlation_radius_voxels"),
        (BSplineConfig { tolerance: 2.0, ..good.clone() }, "tolerance"),
        (BSplineConfig { smallest_jacobian: -0.1, ..good.clone() }, "smallest_jacobian"),
        (
            BSplineConfig { fixed_window: IntensityWindow::Between { low: 1.0, high: 1.0 }, ..good.clone() },
            "width of an intensity window",
        ),
    ];
    for (config, field) in bad {
        let got = register(&image, &image, None, &config);
        assert!(matches!(got, Err(RegisterError::Config { name, .. }) if name == field), "{field}: {got:?}");
    }
    Ok(())
}
