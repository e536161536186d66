//! The settings of N4.

use serde::{Deserialize, Serialize};
use synthct_image::Grid;

use super::lattice::SUPPORT;
use crate::PrepError;

/// The settings of [`n4`](crate::n4()): ITK's, under ITK's names and with ITK's defaults, and two of our own.
///
/// The order of the splines is 3.
///
/// | field | default | allowed | from |
/// |---|---|---|---|
/// | `shrink_factor` | 4 | 1 to 64 | SimpleITK's example |
/// | `maximum_number_of_iterations` | 50, 50, 50, 50 | 1 to 8 levels | SimpleITK |
/// | `convergence_threshold` | 0.001 | 0 or more | ITK |
/// | `bias_field_full_width_at_half_maximum` | 0.15 | above 0, in log intensity | ITK |
/// | `wiener_filter_noise` | 0.01 | above 0 | ITK |
/// | `number_of_histogram_bins` | 200 | 16 to 65536 | ITK |
/// | `number_of_control_points` | 4, 4, 4 | 4 or more, at most 16 million at the last level | ITK |
/// | `step_factor` | 5 | above 0, to 16 | ours; ITK: 1 |
/// | `full_width_narrowing` | 0.35 | above 0, to 1 | ours; ITK: 1 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct N4Config {
    /// One voxel of each block of this many along each axis is looked at; the field is evaluated at every voxel.
    ///
    /// An axis with few voxels is shrunk less, so that two samples remain for each span of the last level's spline.
    /// What a factor means depends on the spacing: [`N4Config::shrink_for`] finds it from a length.
    pub shrink_factor: usize,
    /// The most iterations of each level; *the length of the list is the number of levels*, and each level after the
    /// first halves the spline's spans.
    pub maximum_number_of_iterations: Vec<usize>,
    /// A level ends when the coefficient of variation of (old field / new field) inside the mask is not above this.
    pub convergence_threshold: f64,
    /// The full width at half maximum of the log bias' distribution.
    pub bias_field_full_width_at_half_maximum: f64,
    /// The noise term of the Wiener filter.
    pub wiener_filter_noise: f64,
    /// The number of bins of the histogram of log intensities.
    pub number_of_histogram_bins: usize,
    /// The number of control points of the first level along i, j, k: three more than it has spans.
    pub number_of_control_points: [usize; 3],
    /// By how much each iteration's change of the field is multiplied.
    ///
    /// Lee's approximation meets a field only in part, and the sharpened histogram asks only for part of the bias, so
    /// that ITK's 50 iterations a level often end on the way; larger steps arrive.
    pub step_factor: f64,
    /// What the full width is multiplied by at each level after the second.
    ///
    /// The width stands for the bias that is left.
    /// Where it keeps its first value, late levels sharpen away what is anatomy and texture, and the field follows them.
    pub full_width_narrowing: f64,
}

impl Default for N4Config {
    fn default() -> Self {
        Self {
            shrink_factor: 4,
            maximum_number_of_iterations: vec![50; 4],
            convergence_threshold: 1e-3,
            bias_field_full_width_at_half_maximum: 0.15,
            wiener_filter_noise: 0.01,
            number_of_histogram_bins: 200,
            number_of_control_points: [SUPPORT; 3],
            step_factor: 5.0,
            full_width_narrowing: 0.35,
        }
    }
}

impl N4Config {
    const MAX_LEVELS: usize = 8;
    const MAX_CONTROL_POINTS: usize = 1 << 24;

    /// ITK's algorithm to rounding (at shrink factor 1): the defaults without our two refinements.
    pub fn itk() -> Self {
        Self { step_factor: 1.0, full_width_narrowing: 1.0, ..Self::default() }
    }

    /// The largest shrink factor with which no axis of a grid is sampled more coarsely than every `spacing_mm`.
    pub fn shrink_for(grid: &Grid, spacing_mm: f64) -> usize {
        let coarsest = grid.spacing_mm().into_iter().fold(0.0, f64::max);
        // A spacing that was stored in 32 bits must not cost a whole step.
        (spacing_mm / coarsest * (1.0 + 1e-6)).clamp(1.0, 64.0) as usize
    }

    /// Nothing if every setting can be used.
    ///
    /// # Errors
    /// [`PrepError::N4Config`] with every bad setting.
    pub fn check(&self) -> Result<(), PrepError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(PrepError::N4Config { problems }) }
    }

    /// What is wrong with each setting that cannot be used, a sentence each; none if all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |is_good: bool, problem: String| {
            if !is_good {
                problems.push(problem);
            }
        };
        let shrink = self.shrink_factor;
        require((1..=64).contains(&shrink), format!("`shrink_factor` must be 1 to 64, not {shrink}"));
        let levels = self.maximum_number_of_iterations.len();
        require(
            (1..=Self::MAX_LEVELS).contains(&levels),
            format!(
                "`maximum_number_of_iterations` must list 1 to {} levels, not {levels}: each halves the spans of the spline",
                Self::MAX_LEVELS
            ),
        );
        let threshold = self.convergence_threshold;
        require(
            threshold.is_finite() && threshold >= 0.0,
            format!("`convergence_threshold` must be 0 or more, not {threshold}"),
        );
        let bins = self.number_of_histogram_bins;
        require(
            (16..=1 << 16).contains(&bins),
            format!("`number_of_histogram_bins` must be 16 to 65536, not {bins}"),
        );
        let points = self.number_of_control_points;
        let at_last_level = points.iter().try_fold(1_usize, |product, &n| {
            let spans = n.checked_sub(SUPPORT - 1).filter(|&spans| spans > 0)?;
            let spans = spans.checked_mul(1 << levels.clamp(1, Self::MAX_LEVELS).saturating_sub(1))?;
            product.checked_mul(spans.checked_add(SUPPORT - 1)?)
        });
        require(
            at_last_level.is_some_and(|n| n <= Self::MAX_CONTROL_POINTS),
            format!(
                "`number_of_control_points` must be {SUPPORT} or more along each axis, and at the last of {levels} levels \
                 at most {} in all, not {points:?}",
                Self::MAX_CONTROL_POINTS
            ),
        );
        for (name, value, most) in [
            ("bias_field_full_width_at_half_maximum", self.bias_field_full_width_at_half_maximum, f64::MAX),
            ("wiener_filter_noise", self.wiener_filter_noise, f64::MAX),
            ("step_factor", self.step_factor, 16.0),
            ("full_width_narrowing", self.full_width_narrowing, 1.0),
        ] {
            let limit = if most < f64::MAX { format!(" and at most {most}") } else { String::new() };
            require(
                value.is_finite() && value > 0.0 && value <= most,
                format!("`{name}` must be above 0{limit}, not {value}"),
            );
        }
        problems
    }
}
