//! Deformable registration with cubic B-splines.

mod bending;
mod config;
mod lattice;
mod objective;
mod preconditioner;
mod warp;
mod window;

pub use config::{BSplineConfig, BSplineStage, IntensityWindow, SimilarityMetric};

use synthct_image::{
    AffineTransform, BSplineTransform, Grid, ImageError, Interpolation, Mask, PointLps, Transform, Volume,
    VoxelIndex, resample,
};

use crate::dissimilarity::{MutualInformation, Sample};
use crate::lbfgs::{Settings, minimize};
use crate::pyramid::coarser;
use crate::{
    ImageRole, LevelReport, Metric, RegisterError, RegisterProgress, RegistrationReport, Stage, Start,
};
use lattice::{carried_over, free_controls, freeze, lattice_over};
use objective::Objective;
use warp::ImagePair;
use window::window_of;

/// Below this part of the fixed voxels in the moving image there is nothing to compare.
const NEEDED_OVERLAP: f64 = 0.1;
/// How often a stage is made again because it folded, and how much the bending energy then gains in weight.
const MAX_REPEATS: usize = 4;
const HEAVIER: f64 = 4.0;
/// The bins of the histograms from which the report's normalised mutual information comes.
const REPORT_BINS: usize = 64;
/// Normalised mutual information may fall by this much: what is maximised is not quite the same.
const WORSE: f64 = 2e-3;

/// The smooth map that lines the moving image up with the fixed one: `initial` after a B-spline displacement.
///
/// The result is `moving_from_fixed`: it takes a point x of the fixed image to initial(x + u(x)), or to x + u(x) without
/// `initial`; u is a [`BSplineTransform`] over the fixed image and two control spacings around it, where it fades to
/// zero. Voxels outside `fixed_mask`, if there is one, are not compared.
///
/// Each stage minimises metric + weight · bending energy over the coefficients by limited-memory BFGS, on all voxels of
/// images of its spacing, with exact gradients; metric and trilinear interpolation are differentiated as they are
/// computed. Steps start from a Gauss-Newton-like inverse of the second derivatives.
/// The lattice is refined exactly from stage to stage.
///
/// After each stage the Jacobian determinant of x + u(x) is checked at all voxels. Below
/// [`BSplineConfig::smallest_jacobian`] the stage is made again with four times the bending energy, up to four times.
///
/// An `initial` that is not affine is taken into the moving image first, which interpolates that image once more for the
/// comparison (not in the result).
///
/// The same input gives the same bits on any number of threads.
///
/// # Errors
/// [`RegisterError::Config`], [`RegisterError::NotFinite`], [`RegisterError::EmptyMask`],
/// [`RegisterError::NoContrast`], [`RegisterError::NoOverlap`], [`RegisterError::FlatMetric`],
/// [`RegisterError::Worse`] where mutual information was to be raised and normalised mutual information fell, and
/// [`RegisterError::Image`] for a mask on another grid or a map that folds whatever the weight.
///
/// # References
/// Rueckert et al. (1999), doi:10.1109/42.796284; Mattes et al. (2003), doi:10.1109/TMI.2003.809072.
pub fn register_bspline(
    fixed: &Volume<f32>,
    moving: &Volume<f32>,
    fixed_mask: Option<&Mask>,
    initial: Option<&Transform>,
    config: &BSplineConfig,
    observe: &mut dyn FnMut(RegisterProgress),
) -> Result<(Transform, RegistrationReport), RegisterError> {
    config.check()?;
    let windows = [
        window_of(fixed, fixed_mask, ImageRole::Fixed, config.fixed_window)?,
        window_of(moving, None, ImageRole::Moving, config.moving_window)?,
    ];
    let mut levels = Vec::new();
    let mut spline: Option<BSplineTransform> = None;
    let mut overlap_fraction = 0.0;
    let (mut nmi_before, mut nmi_after) = (None, 1.0);
    for (level, stage) in config.stages.iter().enumerate() {
        let pair = pair_at(stage, fixed, moving, fixed_mask, initial, windows)?;
        let lattice = lattice_over(fixed.grid(), stage.control_spacing_mm)?;
        let mut start = match &spline {
            Some(coarse) => carried_over(coarse, &lattice)?,
            None => vec![0.0; 3 * lattice.n_voxels()],
        };
        freeze(&mut start, &free_controls(&lattice));
        let mut objective = Objective::new(&pair, &lattice, config, stage, windows)?;
        let value_before = begin(&mut objective, &start, config, &pair)?;
        let mut weight = stage.bending_weight;
        for repeat in 0.. {
            let mut coefficients = start.clone();
            objective.set_bending_weight(weight);
            objective.metric_value(&start);
            let preconditioner = objective.preconditioner();
            let settings = Settings {
                iterations: stage.iterations,
                largest_step: 0.25 * stage.control_spacing_mm,
                tolerance: config.tolerance,
            };
            let iterations = minimize(
                &mut coefficients,
                &settings,
                |coefficients| objective.value_and_gradient(coefficients),
                |gradient| preconditioner.solve(gradient),
                |iteration, value| {
                    observe(RegisterProgress {
                        stage: Stage::Bspline,
                        level,
                        n_levels: config.stages.len(),
                        spacing_mm: stage.image_spacing_mm,
                        iteration,
                        value,
                    });
                },
            );
            let (value_after, samples) = objective.metric_value(&coefficients);
            levels.push(LevelReport {
                stage: Stage::Bspline,
                spacing_mm: stage.image_spacing_mm,
                metric: reported(config.metric),
                value_before: sign(config.metric) * value_before,
                value_after: sign(config.metric) * value_after,
                iterations,
                samples,
            });
            overlap_fraction = samples as f64 / objective.n_inside() as f64;
            let candidate = spline_of(&lattice, &coefficients)?;
            match require_unfolded(&candidate, pair.fixed_grid(), config.smallest_jacobian) {
                Ok(_) => {
                    spline = Some(candidate);
                    break;
                }
                Err(folded) if repeat == MAX_REPEATS => return Err(folded.into()),
                Err(_) => weight = HEAVIER * weight.max(1.0),
            }
        }
        if level + 1 == config.stages.len() {
            let nmi = nmi_of(&pair, windows);
            nmi_after = nmi(objective.samples());
            objective.metric_value(&vec![0.0; start.len()]);
            nmi_before = Some(nmi(objective.samples()));
        }
    }
    if let (SimilarityMetric::MutualInformation, Some(before)) = (config.metric, nmi_before)
        && nmi_after < before - WORSE
    {
        return Err(RegisterError::Worse { before, after: nmi_after });
    }
    let spline = spline.expect("because there is at least one stage");
    let min_jacobian = require_unfolded(&spline, fixed.grid(), 0.0)?;
    let report = RegistrationReport {
        start: if initial.is_some() { Start::Given } else { Start::Header },
        levels,
        overlap_fraction,
        nmi_before,
        nmi_after,
        min_jacobian: Some(min_jacobian),
    };
    let displaced = Transform::from(spline);
    let moving_from_fixed = match initial {
        Some(initial) => initial.clone() * displaced,
        None => displaced,
    };
    Ok((moving_from_fixed, report))
}

/// Both images at the level of a stage.
fn pair_at(
    stage: &BSplineStage,
    fixed: &Volume<f32>,
    moving: &Volume<f32>,
    fixed_mask: Option<&Mask>,
    initial: Option<&Transform>,
    [fixed_window, moving_window]: [[f32; 2]; 2],
) -> Result<ImagePair, RegisterError> {
    let at_level = |volume: &Volume<f32>, window| {
        coarser(volume, stage.image_spacing_mm, window, stage.smoothing_voxels)
    };
    let fixed = at_level(fixed, fixed_window)?;
    let moving = at_level(moving, moving_window)?;
    let mask = fixed_mask.map(|mask| mask.resampled(fixed.grid(), None)).transpose()?;
    if mask.as_ref().is_some_and(|mask| mask.count() == 0) {
        return Err(RegisterError::EmptyMask { image: ImageRole::Fixed });
    }
    match initial.map(|initial| (initial, initial.as_affine())) {
        None => Ok(ImagePair::new(fixed, mask.as_ref(), moving, &AffineTransform::IDENTITY)),
        Some((_, Some(affine))) => Ok(ImagePair::new(fixed, mask.as_ref(), moving, &affine)),
        Some((initial, None)) => {
            let around = padded(fixed.grid(), 2.0 * stage.control_spacing_mm.min(25.0))?;
            let moved = resample(&moving, &around, Some(initial), Interpolation::Linear, f32::NAN)?;
            Ok(ImagePair::new(fixed, mask.as_ref(), moved, &AffineTransform::IDENTITY))
        }
    }
}

/// The grid with at least `margin_mm` more on every side.
fn padded(grid: &Grid, margin_mm: f64) -> Result<Grid, ImageError> {
    let more = grid.spacing_mm().map(|spacing| (margin_mm / spacing).ceil());
    let [i, j, k] = more.map(|more| -more);
    Grid::new(
        [0, 1, 2].map(|axis| grid.size_ijk()[axis] + 2 * more[axis] as usize),
        grid.spacing_mm(),
        grid.lps_from_index(synthct_image::ContinuousIndex::new(i, j, k)),
        *grid.direction(),
    )
}

/// The metric where a stage begins.
///
/// # Errors
/// [`RegisterError::NoOverlap`], and [`RegisterError::FlatMetric`] if the metric does not change with the coefficients.
fn begin(
    objective: &mut Objective<'_>,
    start: &[f64],
    config: &BSplineConfig,
    pair: &ImagePair,
) -> Result<f64, RegisterError> {
    let (value, n_samples) = objective.metric_value(start);
    let overlap = n_samples as f64 / objective.n_inside() as f64;
    if overlap < NEEDED_OVERLAP {
        return Err(RegisterError::NoOverlap {
            overlap_percent: 100.0 * overlap,
            needed_percent: 100.0 * NEEDED_OVERLAP,
        });
    }
    if objective.is_flat() {
        return Err(RegisterError::FlatMetric {
            metric: match config.metric {
                SimilarityMetric::MutualInformation => "mutual information",
                SimilarityMetric::MeanSquares => "mean squared difference",
                SimilarityMetric::LocalCrossCorrelation => "local cross-correlation",
            },
            value: sign(config.metric) * value,
            spacing_mm: pair.fixed_grid().spacing_mm()[0],
        });
    }
    Ok(value)
}

/// The smallest Jacobian determinant of `spline` at the voxels of `grid`, if it is above `allowed`.
///
/// # Errors
/// [`ImageError::Folded`] with the worst voxel.
fn require_unfolded(spline: &BSplineTransform, grid: &Grid, allowed: f64) -> Result<f64, ImageError> {
    let determinant = spline.jacobian_determinant(grid);
    let mut n_voxels = 0;
    let (mut worst, mut smallest) = (0, f64::INFINITY);
    for (n, &value) in determinant.as_slice().iter().enumerate() {
        let value = f64::from(value);
        n_voxels += usize::from(value <= allowed);
        if value < smallest {
            (worst, smallest) = (n, value);
        }
    }
    if n_voxels == 0 {
        return Ok(smallest);
    }
    let [ni, nj, _] = grid.size_ijk();
    let point: PointLps = grid.point_of(VoxelIndex::new(worst % ni, worst / ni % nj, worst / (ni * nj)));
    Err(ImageError::Folded { n_voxels, smallest, point_lps: point.to_array() })
}

fn spline_of(lattice: &Grid, coefficients: &[f64]) -> Result<BSplineTransform, ImageError> {
    let (vectors, _) = coefficients.as_chunks::<3>();
    BSplineTransform::new(Volume::from_vec(lattice.clone(), vectors.to_vec())?)
}

/// The normalised mutual information of a pair from the moving image's samples.
fn nmi_of(pair: &ImagePair, windows: [[f32; 2]; 2]) -> impl Fn(&[Sample]) -> f64 {
    let [ni, nj, _] = pair.fixed_grid().size_ijk();
    let information = MutualInformation::new(pair.fixed(), ni * nj, windows, REPORT_BINS);
    move |samples| information.histogram(samples).normalized_mutual_information()
}

const fn reported(metric: SimilarityMetric) -> Metric {
    match metric {
        SimilarityMetric::MutualInformation => Metric::BalancedInformation,
        SimilarityMetric::MeanSquares => Metric::MeanSquares,
        SimilarityMetric::LocalCrossCorrelation => Metric::LocalCrossCorrelation,
    }
}

/// From what is minimised to what is reported: information and correlation are better when larger.
const fn sign(metric: SimilarityMetric) -> f64 {
    match metric {
        SimilarityMetric::MeanSquares => 1.0,
        SimilarityMetric::MutualInformation | SimilarityMetric::LocalCrossCorrelation => -1.0,
    }
}
