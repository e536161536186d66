//! Rigid and affine registration.

use synthct_image::{AffineTransform, Grid, Mask, Matrix3, PointLps, VectorLps, Volume, VoxelIndex};
use synthct_register::{
    CorrelationLevel, ImageRole, InitialAlignment, LinearConfig, LinearModel, Metric, RegisterError,
    RegistrationReport, Stage, Start, register_linear,
};

use crate::phantom::{blob_pair, ct, mr, target_error_mm};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A turn about an oblique axis through a point off the middle, then a shift.
fn rigid(angle_deg: f64, shift_mm: [f64; 3]) -> Result<AffineTransform, Box<dyn std::error::Error>> {
    let center = PointLps::new(10.0, -5.0, 3.0);
    let turn =
        AffineTransform::rotation_about(center, VectorLps::new(1.0, 2.0, -0.5), angle_deg.to_radians())?;
    Ok(AffineTransform::translation(shift_mm.into())? * turn)
}

fn run(
    fixed: &Volume<f32>,
    moving: &Volume<f32>,
    config: &LinearConfig,
) -> Result<(AffineTransform, RegistrationReport), RegisterError> {
    register_linear(fixed, moving, None, None, config, &mut |_| {})
}

fn rigid_from(init: InitialAlignment) -> LinearConfig {
    LinearConfig { init, ..LinearConfig::default() }
}

/// A stretch and a shear, then a turn and a shift.
fn affine() -> Result<AffineTransform, Box<dyn std::error::Error>> {
    let stretch = Matrix3([[1.04, 0.02, 0.0], [0.0, 0.97, -0.03], [0.01, 0.0, 1.02]]);
    Ok(rigid(-7.0, [-3.0, 8.0, 2.0])? * AffineTransform::linear_about(PointLps::ORIGIN, stretch)?)
}

#[test]
fn blobs_with_the_contrast_turned_round_are_laid_on_each_other() -> TestResult {
    for (model, truth) in
        [(LinearModel::Rigid, rigid(9.0, [4.0, -6.0, 5.0])?), (LinearModel::Affine, affine()?)]
    {
        let (fixed, moving) = blob_pair(&truth)?;
        let (found, _) = run(&fixed, &moving, &LinearConfig { model, ..LinearConfig::default() })?;
        // Points of the fixed grid's inner half.
        let mut worst = 0.0_f64;
        for n in 0..8 {
            let at = PointLps::new(
                if n & 1 == 0 { -24.0 } else { 24.0 },
                if n & 2 == 0 { -24.0 } else { 24.0 },
                if n & 4 == 0 { -24.0 } else { 24.0 },
            );
            worst = worst.max(found.apply(at).distance_mm(truth.apply(at)));
        }
        let allowed_mm = if model == LinearModel::Rigid { 0.1 } else { 0.7 };
        assert!(worst < allowed_mm, "{model:?}: {worst} mm");
    }
    Ok(())
}

#[test]
fn a_small_rigid_motion_between_modalities_is_found_to_a_fraction_of_a_voxel() -> TestResult {
    let truth = rigid(11.0, [6.0, -4.0, 9.0])?;
    let (found, report) = run(&mr()?, &ct(&truth)?, &rigid_from(InitialAlignment::Header))?;
    let error = target_error_mm(&found, &truth);
    assert!(error < 0.2, "{error} mm");
    // Rigid to the last bits.
    assert!((found.matrix().determinant() - 1.0).abs() < 1e-12);
    assert_eq!(report.start, Start::Header);
    assert_eq!(report.min_jacobian, None);
    assert!(report.nmi_before.is_some_and(|before| before + 0.02 < report.nmi_after), "{report:?}");
    assert!((0.9..=1.0).contains(&report.overlap_fraction), "{report:?}");
    assert!(report.levels.iter().all(|level| level.value_after >= level.value_before), "{report:?}");
    Ok(())
}

#[test]
fn local_correlation_has_the_last_word_if_asked_for() -> TestResult {
    let truth = rigid(11.0, [6.0, -4.0, 9.0])?;
    let (fixed, moving) = blob_pair(&truth)?;
    let level = CorrelationLevel { spacing_mm: 2.0, radius_mm: 6.0 };
    let config = LinearConfig { correlation: Some(level), ..LinearConfig::default() };
    let (found, report) = run(&fixed, &moving, &config)?;
    // Of a linear relation it is the exact measure.
    let error = target_error_mm(&found, &truth);
    assert!(error < 0.3, "{error} mm");
    assert!((found.matrix().determinant() - 1.0).abs() < 1e-12);
    let last = report.levels.last().map(|level| (level.stage, level.metric));
    assert_eq!(last, Some((Stage::Rigid, Metric::LocalCrossCorrelation)));
    assert!(report.levels.iter().all(|level| level.value_after >= level.value_before), "{report:?}");
    let mut bits = Vec::new();
    for n_threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
        let (found, _) = pool.install(|| run(&fixed, &moving, &config))?;
        bits.push(found.to_matrix4().map(|row| row.map(f64::to_bits)));
    }
    assert_eq!(bits[0], bits[1]);
    Ok(())
}

#[test]
fn scale_and_shear_are_found() -> TestResult {
    let truth = affine()?;
    let config = LinearConfig { model: LinearModel::Affine, ..LinearConfig::default() };
    let (found, report) = run(&mr()?, &ct(&truth)?, &config)?;
    let error = target_error_mm(&found, &truth);
    // A fifth of a voxel: nested shells match nearly as well a little larger or smaller.
    assert!(error < 0.6, "{error} mm");
    let expected = truth.matrix().determinant();
    assert!(report.min_jacobian.is_some_and(|got| (got - expected).abs() < 0.03), "{report:?}");
    let stages: Vec<Stage> = report.levels.iter().map(|level| level.stage).collect();
    assert_eq!(stages, [Stage::Start, Stage::Rigid, Stage::Affine, Stage::Affine]);
    Ok(())
}

#[test]
fn a_scan_turned_upside_down_and_far_away_is_found() -> TestResult {
    for (angle_deg, axis) in [(180.0, [0.0, 1.0, 0.0]), (90.0, [1.0, 0.0, 0.0]), (130.0, [0.3, -0.2, 1.0])] {
        let turn =
            AffineTransform::rotation_about(PointLps::ORIGIN, axis.into(), f64::to_radians(angle_deg))?;
        let truth = AffineTransform::translation(VectorLps::new(250.0, -90.0, 1200.0))?
            * turn
            * rigid(6.0, [0.0; 3])?;
        let (found, report) = run(&mr()?, &ct(&truth)?, &LinearConfig::default())?;
        let error = target_error_mm(&found, &truth);
        assert!(error < 0.25, "{angle_deg}°: {error} mm");
        assert_eq!(report.nmi_before, None, "the headers put the images a metre apart");
    }
    Ok(())
}

#[test]
fn a_given_start_is_where_the_walk_begins() -> TestResult {
    let truth = rigid(170.0, [40.0, 0.0, 300.0])?;
    let near = rigid(164.0, [37.0, 4.0, 298.0])?;
    let (found, report) = run(&mr()?, &ct(&truth)?, &rigid_from(InitialAlignment::Given(near)))?;
    assert!(target_error_mm(&found, &truth) < 0.2);
    assert_eq!(report.start, Start::Given);
    assert!(report.nmi_before.is_some());
    Ok(())
}

#[test]
fn masks_keep_the_comparison_to_what_they_cover() -> TestResult {
    let truth = rigid(8.0, [5.0, 0.0, -6.0])?;
    let (fixed, clean) = (mr()?, ct(&truth)?);
    // A head holder that lies still while the head moves: bright, large and the same in both images.
    let is_holder = |p: PointLps| p.y > 72.0;
    let add = |volume: &Volume<f32>, value: f32| {
        let grid = volume.grid().clone();
        Volume::from_index_fn(
            &grid,
            |index| if is_holder(grid.point_of(index)) { value } else { volume[index] },
        )
    };
    let (fixed, moving) = (add(&fixed, 900.0), add(&clean, 1500.0));
    let fixed_mask = Mask::from_values(&Volume::from_point_fn(fixed.grid(), |p| p), |p| p.y < 66.0);
    let moving_mask = Mask::from_values(&Volume::from_point_fn(moving.grid(), |p| p), |p| !is_holder(*p));
    let config = rigid_from(InitialAlignment::Header);
    let (found, _) =
        register_linear(&fixed, &moving, Some(&fixed_mask), Some(&moving_mask), &config, &mut |_| {})?;
    let error = target_error_mm(&found, &truth);
    assert!(error < 0.2, "{error} mm");
    Ok(())
}

#[test]
fn the_same_bits_on_any_number_of_threads() -> TestResult {
    let truth = rigid(11.0, [6.0, -4.0, 9.0])?;
    let (fixed, moving) = (mr()?, ct(&truth)?);
    let config = LinearConfig { model: LinearModel::Affine, ..LinearConfig::default() };
    let mut results = Vec::new();
    for n_threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
        let (found, report) = pool.install(|| run(&fixed, &moving, &config))?;
        results.push((found.to_matrix4().map(|row| row.map(f64::to_bits)), report));
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
    Ok(())
}

#[test]
fn progress_tells_every_level() -> TestResult {
    let truth = rigid(3.0, [2.0, 0.0, 0.0])?;
    let mut seen = Vec::new();
    let config = rigid_from(InitialAlignment::Header);
    let (_, report) = register_linear(&mr()?, &ct(&truth)?, None, None, &config, &mut |p| seen.push(p))?;
    let levels: Vec<usize> = seen.iter().map(|progress| progress.level).collect();
    assert!(levels.is_sorted(), "{levels:?}");
    for (level, told) in report.levels.iter().enumerate() {
        let last = seen.iter().rfind(|progress| progress.level == level);
        let got = last.map(|p| (p.stage, p.n_levels, p.value.to_bits()));
        assert_eq!(got, Some((told.stage, report.levels.len(), told.value_after.to_bits())));
    }
    Ok(())
}

/// Values that have nothing to do with each other.
fn noise(grid: &Grid, seed: u64) -> Volume<f32> {
    Volume::from_index_fn(grid, |index| {
        let mut bits = seed + (index.i + 1000 * (index.j + 1000 * index.k)) as u64;
        for _ in 0..2 {
            bits = (bits ^ (bits >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        (bits >> 40) as f32
    })
}

#[test]
fn images_without_anything_in_common_are_no_registration() -> TestResult {
    let grid = Grid::axis_aligned([40, 44, 48], [2.5; 3], PointLps::new(-50.0, -54.0, -59.0))?;
    for init in [InitialAlignment::Header, InitialAlignment::Auto] {
        let got = run(&noise(&grid, 1), &noise(&grid, 1 << 40), &rigid_from(init));
        assert!(matches!(got, Err(RegisterError::FlatMetric { .. })), "{got:?}");
    }
    Ok(())
}

#[test]
fn images_that_do_not_meet_are_told_so() -> TestResult {
    let truth = rigid(0.0, [600.0, 0.0, 0.0])?;
    let got = run(&mr()?, &ct(&truth)?, &rigid_from(InitialAlignment::Header));
    let Err(error) = got else { return Err("the images are half a metre apart".into()) };
    assert!(matches!(error, RegisterError::NoOverlap { overlap_percent: 0.0, .. }), "{error:?}");
    assert!(error.to_string().contains("start from"), "{error}");
    Ok(())
}

#[test]
fn bad_input_is_refused_with_its_reason() -> TestResult {
    let truth = rigid(0.0, [0.0; 3])?;
    let (fixed, moving) = (mr()?, ct(&truth)?);
    let config = LinearConfig::default();
    let flat = fixed.map(|_| 7.0);
    let got = run(&flat, &moving, &config);
    assert!(matches!(got, Err(RegisterError::NoContrast { image: ImageRole::Fixed, .. })), "{got:?}");
    let mut broken = moving.clone();
    broken[VoxelIndex::new(3, 4, 5)] = f32::NAN;
    let got = run(&fixed, &broken, &config);
    let place = [5, 4, 3];
    assert!(
        matches!(&got, Err(RegisterError::NotFinite { image: ImageRole::Moving, index_kji, .. }) if *index_kji == place),
        "{got:?}"
    );
    let nothing = Mask::full(fixed.grid()).complement();
    let got = register_linear(&fixed, &moving, Some(&nothing), None, &config, &mut |_| {});
    assert!(matches!(got, Err(RegisterError::EmptyMask { image: ImageRole::Fixed })), "{got:?}");
    let elsewhere = Mask::full(fixed.grid());
    let got = register_linear(&fixed, &moving, None, Some(&elsewhere), &config, &mut |_| {});
    assert!(matches!(got, Err(RegisterError::Image(_))), "{got:?}");
    let got = run(&fixed, &moving, &LinearConfig { bins: 2, ..config });
    assert!(matches!(got, Err(RegisterError::Config { name: "bins", .. })), "{got:?}");
    Ok(())
}
