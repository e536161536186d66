//! What an evaluation computes.

use serde::{Deserialize, Serialize};

use crate::{EvalError, Regions};

/// What [`evaluate_sct_with`](crate::evaluate_sct_with) computes.
///
/// | field | unit | default | allowed | source of the default |
/// |---|---|---|---|---|
/// | `regions` | HU | [`Regions::roi_focused`] | finite, rising | RoI-focused multi-task network |
/// | `body_threshold_hu` | HU | -400 | finite | ours: the upper end of air |
/// | `bone_thresholds_hu` | HU | 250, 350, …, 1450, 1500 | finite, rising | the same paper gives 250…1500; the steps are ours |
/// | `padding_below_hu` | HU | -1200 | finite | ours: no CT noise in air reaches it, padding of -2048 does |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    /// The regions for MAE, mean error and Dice.
    pub regions: Regions,
    /// A masked voxel belongs to an image's body if it is above this value, HU.
    pub body_threshold_hu: f64,
    /// Thresholds from which bone Dice is taken: voxels at or above them, HU.
    pub bone_thresholds_hu: Vec<f64>,
    /// Masked voxels of the CT below this value draw a note that they look like padding, HU.
    pub padding_below_hu: f64,
}

impl EvaluateConfig {
    /// The evaluation of the RoI-focused multi-task network.
    pub fn roi_focused() -> Self {
        let mut bone_thresholds_hu: Vec<f64> = (0..=12).map(|n| 250.0 + 100.0 * f64::from(n)).collect();
        bone_thresholds_hu.push(1500.0);
        Self {
            regions: Regions::roi_focused(),
            body_threshold_hu: -400.0,
            bone_thresholds_hu,
            padding_below_hu: -1200.0,
        }
    }

    /// Every unusable field at once.
    pub(crate) fn validate(&self) -> Result<(), EvalError> {
        let mut problems = self.regions.problems();
        for (name, value) in
            [("body_threshold_hu", self.body_threshold_hu), ("padding_below_hu", self.padding_below_hu)]
        {
            if !value.is_finite() {
                problems.push(format!("`{name}` is {value}, but must be finite"));
            }
        }
        let thresholds = &self.bone_thresholds_hu;
        if !thresholds.iter().all(|t| t.is_finite()) || !thresholds.is_sorted_by(|a, b| a < b) {
            problems.push(format!("`bone_thresholds_hu` is {thresholds:?}, but must be finite and rise"));
        }
        if problems.is_empty() { Ok(()) } else { Err(EvalError::Config { problems }) }
    }
}
