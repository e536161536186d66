//! Rigid and affine registration.

mod body;
mod config;
mod correlation;
mod level;
mod map;
mod metric;
mod optimize;
mod samples;
mod start;

use synthct_image::{AffineTransform, Mask, Volume};

use crate::histogram::BALANCED;
use crate::intensity::robust_window;
use crate::{ImageRole, LevelReport, Metric, RegisterError, RegisterProgress, RegistrationReport, Stage};
use correlation::AffineCorrelation;
use level::{Input, Level};
use map::CenteredMap;
use metric::{AffineInformation, Evaluation};
use optimize::{WalkLimits, climb};

pub use config::{CorrelationLevel, InitialAlignment, LinearConfig, LinearModel};

/// The weight of the moving image's own entropy that makes mutual information.
const MUTUAL: f64 = 1.0;

/// The rigid or affine transform under which two images of one body tell the most about each other.
///
/// Definition: it maximises Mattes' mutual information I = H(m) − H(m | f) of fixed values f and moving values m at the
/// mapped points of small images, then ½ H(m) − H(m | f) of the finest, by BFGS on the analytic derivative.
/// The half weight takes away the pull that full mutual information has towards the richer part of the moving image,
/// which makes affine maps zoom in and slabs slide.
/// Then, if [`LinearConfig::correlation`] asks for it, the mean squared correlation within boxes around all fixed voxels.
/// Points lie off the voxel grid, one to a cell of a lattice, the same on every call; the moving image is interpolated
/// linearly.
/// Points that leave the moving image (or its mask) do not count.
///
/// Both images may be MR or CT; one number in an image has to stand for one tissue, whatever the other's numbers.
/// Masks lie on their image's grid and say where it is compared; without them the whole grids are.
///
/// Returns `moving_from_fixed`, which takes a point of the fixed image to that of the moving image, as
/// `synthct_image::resample` wants it, and what there is to say about it.
/// The same input gives the same bits on any number of threads.
///
/// # Errors
/// [`RegisterError::Config`], [`RegisterError::NotFinite`], [`RegisterError::EmptyMask`], [`RegisterError::NoContrast`] and
/// [`RegisterError::Image`] (a mask on another grid) for unusable input;
/// [`RegisterError::NoOverlap`] if no start brings the images together;
/// [`RegisterError::FlatMetric`] if the result is hardly better than the same images some centimetres apart.
///
/// # References
/// Mattes et al. (2003), doi:10.1109/TMI.2003.809072, for the metric and its derivative.
/// Berndt, Hall, Hall, Hausman (1974), "Estimation and inference in nonlinear structural models", for the first curvature.
/// Different from ITK: the samples are stratified and reproducible, all candidate starts of a covering of the rotations
/// are climbed on the coarsest level, steps are measured by how far they move the samples, and the last level's weight.
///
/// # Examples
/// ```
/// use synthct_image::{Grid, PointLps, VectorLps, Volume};
/// use synthct_register::{LinearConfig, register_linear};
/// let grid = Grid::axis_aligned([40, 40, 40], [2.0; 3], PointLps::new(-39.0, -39.0, -39.0))?;
/// // An egg and a pea, and the same 3 mm to the left with other contrast.
/// let shape = |p: PointLps| {
///     let egg = (p.x / 20.0).powi(2) + (p.y / 26.0).powi(2) + (p.z / 32.0).powi(2);
///     let pea = (p.x - 6.0).powi(2) + (p.y - 8.0).powi(2) + (p.z - 10.0).powi(2);
///     (1.0 / (1.0 + (8.0 * (egg - 1.0)).exp()), (-pea / 50.0).exp())
/// };
/// let mr = Volume::from_point_fn(&grid, |p| { let (egg, pea) = shape(p); (400.0 * egg + 300.0 * pea) as f32 });
/// let ct = Volume::from_point_fn(&grid, |p| {
///     let (egg, pea) = shape(p + VectorLps::new(-3.0, 0.0, 0.0));
///     (-1000.0 + 1050.0 * egg - 200.0 * pea) as f32
/// });
/// let (ct_from_mr, report) = register_linear(&mr, &ct, None, None, &LinearConfig::default(), &mut |_| {})?;
/// assert!(ct_from_mr.apply(PointLps::ORIGIN).distance_mm(PointLps::new(3.0, 0.0, 0.0)) < 0.2);
/// assert!(Some(report.nmi_after) > report.nmi_before);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register_linear(
    fixed: &Volume<f32>,
    moving: &Volume<f32>,
    fixed_mask: Option<&Mask>,
    moving_mask: Option<&Mask>,
    config: &LinearConfig,
    observe: &mut dyn FnMut(RegisterProgress),
) -> Result<(AffineTransform, RegistrationReport), RegisterError> {
    config.check()?;
    let (fixed_window, moving_window) = rayon::join(
        || robust_window(fixed, fixed_mask, ImageRole::Fixed),
        || robust_window(moving, moving_mask, ImageRole::Moving),
    );
    // A window that is given spares no check of the values.
    let (fixed_window, moving_window) = (fixed_window?, moving_window?);
    let fixed =
        Input { volume: fixed, mask: fixed_mask, window: config.fixed_window.unwrap_or(fixed_window) };
    let moving =
        Input { volume: moving, mask: moving_mask, window: config.moving_window.unwrap_or(moving_window) };

    let spacings = walk_spacings(config);
    let n_levels = 1
        + spacings.iter().map(|(_, models)| models.len()).sum::<usize>()
        + usize::from(config.correlation.is_some());
    let chosen = start::search(fixed, moving, config, &mut |spacing_mm, iteration, value| {
        observe(RegisterProgress { stage: Stage::Start, level: 0, n_levels, spacing_mm, iteration, value });
    })?;
    let mut transform = chosen.transform;
    let mut levels = vec![chosen.report];

    let mut finest = None;
    let finest_mm = config.spacings_mm.last().copied();
    for (spacing_mm, models) in spacings {
        let level = Level::new(fixed, moving, spacing_mm, config.samples, config.bins, config.seed)?;
        let limits = walk_limits(config, spacing_mm, level.min_inside());
        let (metric, weight) = if Some(spacing_mm) == finest_mm {
            (Metric::BalancedInformation, BALANCED)
        } else {
            (Metric::MutualInformation, MUTUAL)
        };
        let mut information = level.information(weight);
        for &model in models {
            let stage = stage_of(model);
            let n = levels.len();
            let map = CenteredMap::new(&transform, level.samples.center);
            let end = climb(&mut information, model, map, &limits, &mut |iteration, value| {
                observe(RegisterProgress { stage, level: n, n_levels, spacing_mm, iteration, value });
            });
            transform = end.map.to_transform()?;
            levels.push(LevelReport {
                stage,
                spacing_mm,
                metric,
                value_before: end.before.standing.value,
                value_after: end.after.standing.value,
                iterations: end.iterations,
                samples: level.samples.len(),
            });
        }
        finest = Some(level);
    }
    let level = finest.expect("because the configuration has a spacing");
    if let Some(CorrelationLevel { spacing_mm, radius_mm }) = config.correlation {
        let stage = stage_of(config.model);
        let mut correlation = AffineCorrelation::new(fixed, moving, spacing_mm, radius_mm)?;
        let min_inside = (level.needed_overlap() * correlation.n_fixed() as f64).ceil().max(1.0) as usize;
        let limits = walk_limits(config, spacing_mm, min_inside);
        let map = CenteredMap::new(&transform, correlation.center());
        let n = levels.len();
        let end = climb(&mut correlation, config.model, map, &limits, &mut |iteration, value| {
            observe(RegisterProgress { stage, level: n, n_levels, spacing_mm, iteration, value });
        });
        transform = end.map.to_transform()?;
        levels.push(LevelReport {
            stage,
            spacing_mm,
            metric: Metric::LocalCrossCorrelation,
            value_before: end.before.value,
            value_after: end.after.value,
            iterations: end.iterations,
            samples: correlation.n_fixed(),
        });
    }
    let mut information = level.information(MUTUAL);
    let map = CenteredMap::new(&transform, level.samples.center);
    let after = information.evaluate(&map);
    require_overlap(&level, after.standing.n_inside)?;
    require_peak(&level, &mut information, &map, &after)?;
    let unaligned = match config.init {
        InitialAlignment::Given(transform) => transform,
        _ => AffineTransform::IDENTITY,
    };
    let before = information.evaluate(&CenteredMap::new(&unaligned, level.samples.center));
    let report = RegistrationReport {
        start: chosen.start,
        levels,
        overlap_fraction: after.standing.n_inside as f64 / level.samples.len() as f64,
        nmi_before: (before.standing.n_inside >= level.min_inside()).then_some(before.normalized),
        nmi_after: after.normalized,
        min_jacobian: (config.model == LinearModel::Affine).then(|| transform.matrix().determinant()),
    };
    Ok((transform, report))
}

const fn stage_of(model: LinearModel) -> Stage {
    match model {
        LinearModel::Rigid => Stage::Rigid,
        LinearModel::Affine => Stage::Affine,
    }
}

fn walk_limits(config: &LinearConfig, spacing_mm: f64, min_inside: usize) -> WalkLimits {
    WalkLimits {
        max_iterations: config.max_iterations,
        longest_step_mm: spacing_mm.max(2.0),
        tolerance_mm: config.tolerance_mm * spacing_mm.max(1.0),
        min_inside,
    }
}

/// The spacings of the walk, and what it may do on each: the coarsest is the search's alone, if there are others.
fn walk_spacings(config: &LinearConfig) -> Vec<(f64, &'static [LinearModel])> {
    use LinearModel::{Affine, Rigid};
    let spacings = &config.spacings_mm[usize::from(config.spacings_mm.len() > 1)..];
    let models_at = |at: usize| -> &'static [LinearModel] {
        let is_of_last_two = at + 2 >= spacings.len();
        match config.model {
            Affine if is_of_last_two && at == 0 => &[Rigid, Affine],
            Affine if is_of_last_two => &[Affine],
            _ => &[Rigid],
        }
    };
    spacings.iter().enumerate().map(|(at, &spacing_mm)| (spacing_mm, models_at(at))).collect()
}

/// Nothing if enough samples lie in the moving image.
fn require_overlap(level: &Level<'_>, n_inside: usize) -> Result<(), RegisterError> {
    if n_inside >= level.min_inside() {
        return Ok(());
    }
    Err(RegisterError::NoOverlap {
        overlap_percent: 100.0 * n_inside as f64 / level.samples.len().max(1) as f64,
        needed_percent: 100.0 * level.needed_overlap(),
    })
}

/// Nothing if the metric stands out of its surroundings: six shifts by a quarter of the samples' radius, in the mean.
///
/// Of unrelated images, the information is what chance gives, (b − 1)² / 2n for b bins and n samples with a standard
/// deviation of (b − 1) / √2 n, wherever they lie; a climb finds a few such deviations.
fn require_peak(
    level: &Level<'_>,
    information: &mut AffineInformation<'_>,
    map: &CenteredMap,
    here: &Evaluation,
) -> Result<(), RegisterError> {
    const LEAST_DEVIATIONS: f64 = 10.0;
    const LEAST_PART: f64 = 0.02;
    let moments = level.samples.second_moments();
    let shift_mm = 0.25 * (moments[1][1] + moments[2][2] + moments[3][3]).sqrt();
    let (mut sum, mut n) = (0.0, 0);
    for axis in 0..3 {
        for sign in [-1.0, 1.0] {
            let mut step = [0.0; 6];
            step[3 + axis] = sign * shift_mm;
            let there = information.evaluate(&map.stepped(LinearModel::Rigid, &step));
            if there.standing.n_inside >= level.min_inside() {
                sum += there.mutual;
                n += 1;
            }
        }
    }
    let rise = if n == 0 { here.mutual } else { here.mutual - sum / f64::from(n) };
    let deviation = (information.n_bins() - 1) as f64 / (2_f64.sqrt() * here.standing.n_inside as f64);
    if rise >= (LEAST_DEVIATIONS * deviation).max(LEAST_PART * here.mutual) {
        return Ok(());
    }
    Err(RegisterError::FlatMetric {
        metric: "mutual information",
        value: here.mutual,
        spacing_mm: level.spacing_mm,
    })
}
