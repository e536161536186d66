//! The smooth brightness differences of an MR coil, found and divided out.

mod config;
mod fft;
mod lattice;
mod samples;
mod sharpen;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};

use crate::PrepError;
pub use config::N4Config;
use lattice::{AxisWeights, Lattice, SUPPORT};
use samples::{Samples, position};
use sharpen::{Bins, Sharpening};

/// The distribution of the log bias is never taken to be narrower than this many bins of the histogram.
const NARROWEST_BINS: f64 = 2.0;

/// Where [`n4`] stands: told after each iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct N4Progress {
    /// The level, from 0.
    pub level: usize,
    /// How many levels there are.
    pub levels: usize,
    /// Iterations done in this level.
    pub iteration: usize,
    /// The most iterations of this level.
    pub iterations: usize,
    /// The coefficient of variation of (old field / new field).
    pub convergence: f64,
}

/// How a level of [`n4`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct N4Level {
    /// The number of iterations.
    pub iterations: usize,
    /// The coefficient of variation of (old field / new field) at the last; 0 without an iteration.
    pub convergence: f64,
}

/// An MR and its bias field, apart.
#[derive(Clone, Debug, PartialEq)]
pub struct N4Correction {
    /// The MR divided by the field, at every voxel, inside the mask or not; not rescaled.
    pub corrected: Volume<f32>,
    /// The multiplicative field, above zero at every voxel.
    pub field: Volume<f32>,
    /// What happened at each level.
    pub levels: Vec<N4Level>,
}

/// An MR without its bias field.
///
/// The log of the MR is taken for the sum of a true log image and a smooth log field, a cubic B-spline.
/// Each iteration sharpens the histogram of the corrected log image, which gives the log intensity to expect at each
/// voxel, and adds a B-spline approximation of (seen − expected) to the field; each level halves the spline's spans.
///
/// A mask that leaves air out is needed: in the log, noise about zero is a broad valley that the sharpening
/// follows; [`body_mask_mr`](crate::body_mask_mr) makes one.
/// Voxels of the mask that are zero, negative, NaN or infinite, and those whose weight is zero, do not count in the fit.
/// The field is applied to all voxels alike, so that zero stays zero and NaN stays NaN.
/// `weights` say how much a voxel counts (ITK's confidence image); `observe` is told of each iteration.
///
/// # Grid
/// Mask, weights and results have that of `mr`.
///
/// # Errors
/// - [`PrepError::Image`] if grids differ.
/// - [`PrepError::N4Config`] for settings that cannot be used.
/// - [`PrepError::EmptyMask`].
/// - [`PrepError::NotFinite`] or [`PrepError::NegativeWeight`] for a weight inside the mask.
/// - [`PrepError::TooFewSamples`] if fewer voxels count than the first level has control points.
/// - [`PrepError::NoContrast`] if all of them are equal.
///
/// # References
/// Tustison (2010), doi:10.1109/TMI.2010.2046908; the sharpening is Sled's (1998), doi:10.1109/42.668698; the
/// approximation Lee's (1997), doi:10.1109/2945.620490.
///
/// With [`N4Config::itk`] and shrink factor 1 the field is ITK's to rounding.
/// Differences otherwise: the steps are larger and the width of the assumed bias distribution narrows (see
/// [`N4Config`]); the spline spans the full volume and samples count where they are, where ITK spans the shrunken
/// image and then stretches the field over the full one; and log intensities that the sharpened histogram rules out are
/// left as they are, where ITK expects the log intensity 0.
///
/// # Examples
/// ```
/// use synthct_image::{Grid, Mask, PointLps, Volume};
/// use synthct_prep::{N4Config, n4};
/// let grid = Grid::axis_aligned([24, 28, 20], [8.0; 3], PointLps::ORIGIN)?;
/// let mr = Volume::from_point_fn(&grid, |point| {
///     let tissue = if (point.x / 30.0).sin() * (point.y / 25.0).cos() > 0.0 { 600.0 } else { 300.0 };
///     tissue * (0.002 * point.z as f32).exp()
/// });
/// let config = N4Config { shrink_factor: 1, ..N4Config::default() };
/// let correction = n4(&mr, &Mask::full(&grid), None, &config, &mut |_| ())?;
/// let [low, high] = [0, 19].map(|k| correction.field.array()[[k, 14, 12]]);
/// assert!((high / low).ln() > 0.25, "0.304 in truth");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn n4(
    mr: &Volume<f32>,
    mask: &Mask,
    weights: Option<&Volume<f32>>,
    config: &N4Config,
    observe: &mut dyn FnMut(N4Progress),
) -> Result<N4Correction, PrepError> {
    config.check()?;
    mr.grid().require_match(mask.grid())?;
    if mask.as_slice().iter().all(|&inside| !inside) {
        return Err(PrepError::EmptyMask);
    }
    if let Some(weights) = weights {
        require_usable(weights, mask)?;
    }
    let mut samples = Samples::new(mr, mask, weights, shrink_factors_ijk(mr.grid().size_ijk(), config));
    let (n, needed) = (samples.count(), config.number_of_control_points.iter().product());
    if n < needed {
        return Err(PrepError::TooFewSamples { n, needed, shrink_factor: config.shrink_factor });
    }
    let (log_field, levels) = log_field(&mut samples, config, observe)?;
    let field = at_every_voxel(mr, &log_field);
    let corrected = mr.zip_map(&field, |value, field| value / field)?;
    Ok(N4Correction { corrected, field, levels })
}

/// Weights inside the mask must be numbers and not negative.
fn require_usable(weights: &Volume<f32>, mask: &Mask) -> Result<(), PrepError> {
    weights.grid().require_match(mask.grid())?;
    for ((index, &value), &inside) in weights.array().indexed_iter().zip(mask.as_slice()) {
        let index_kji = index.into();
        if inside && !value.is_finite() {
            return Err(PrepError::NotFinite { what: "a weight of N4", index_kji, value });
        }
        if inside && value < 0.0 {
            return Err(PrepError::NegativeWeight { index_kji, value });
        }
    }
    Ok(())
}

/// The configured shrink factor, or less along an axis that would keep fewer than two samples a span at the last level.
fn shrink_factors_ijk(size_ijk: [usize; 3], config: &N4Config) -> [usize; 3] {
    let doublings = config.maximum_number_of_iterations.len() - 1;
    [0, 1, 2].map(|axis| {
        let spans = (config.number_of_control_points[axis] - (SUPPORT - 1)) << doublings;
        config.shrink_factor.min(size_ijk[axis] / (2 * spans)).max(1)
    })
}

/// The log field as a lattice over the whole volume.
fn log_field(
    samples: &mut Samples,
    config: &N4Config,
    observe: &mut dyn FnMut(N4Progress),
) -> Result<(Lattice, Vec<N4Level>), PrepError> {
    let n_levels = config.maximum_number_of_iterations.len();
    let mut field = Lattice::zeros(config.number_of_control_points);
    let mut levels = Vec::with_capacity(n_levels);
    for (level, &iterations) in config.maximum_number_of_iterations.iter().enumerate() {
        if level > 0 {
            field = field.refined();
        }
        let narrowing = config.full_width_narrowing.powi(level.saturating_sub(1) as i32);
        let full_width = config.bias_field_full_width_at_half_maximum * narrowing;
        let axes = samples.axes(field.size_ijk());
        let approximation = samples.approximation(&axes);
        // From the input anew, so that rounding errors do not add up over levels.
        let mut state = samples.correct(&axes, &field);
        if level == 0 && state.max <= state.min {
            return Err(PrepError::NoContrast { what: "N4", value: f64::from(state.max).exp() });
        }
        let mut done = N4Level { iterations: 0, convergence: 0.0 };
        for iteration in 1..=iterations {
            let bins = Bins::new(config.number_of_histogram_bins, f64::from(state.min), f64::from(state.max));
            let full_width =
                if narrowing < 1.0 { full_width.max(NARROWEST_BINS * bins.width()) } else { full_width };
            let sharpening =
                Sharpening::new(bins, &samples.histogram(&bins), full_width, config.wiener_filter_noise);
            let step = samples.fit(&approximation, &sharpening).scaled(config.step_factor);
            field.add(&step);
            state = samples.subtract(&axes, &step);
            let convergence = state.convergence();
            done = N4Level { iterations: iteration, convergence };
            observe(N4Progress { level, levels: n_levels, iteration, iterations, convergence });
            if convergence <= config.convergence_threshold || state.max <= state.min {
                break;
            }
        }
        levels.push(done);
    }
    Ok((field, levels))
}

/// exp(log field) on the grid of `mr`.
fn at_every_voxel(mr: &Volume<f32>, log_field: &Lattice) -> Volume<f32> {
    let size_ijk = mr.grid().size_ijk();
    let axes = [0, 1, 2].map(|axis| {
        let n = size_ijk[axis];
        let positions: Vec<f64> = (0..n).map(|voxel| position(voxel, n)).collect();
        AxisWeights::new(&positions, log_field.size_ijk()[axis])
    });
    let [ni, nj, _] = size_ijk;
    let mut field = Volume::filled(mr.grid(), 0.0_f32);
    field.as_mut_slice().par_chunks_mut(ni * nj).enumerate().for_each(|(k, plane)| {
        log_field.rows_at_k(&axes, k, |j, row| {
            for (field, log) in std::iter::zip(&mut plane[j * ni..(j + 1) * ni], row) {
                *field = log.exp();
            }
        });
    });
    field
}
