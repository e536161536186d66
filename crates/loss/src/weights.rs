//! How the tasks' losses are combined.

use serde::{Deserialize, Serialize};

/// The weights of the tasks of the RoI-focused multi-task network.
///
/// | field | default | range | source |
/// |---|---|---|---|
/// | `body` | 1.0 | > 0 | RoI-focused multi-task network for zero-echo-time MR, w₁ |
/// | `bone_mask` | 1.5 | ≥ 0 | the same, w₂ |
/// | `bone_hu` | 1.3 | ≥ 0 | the same, w₃ |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoiLossWeights {
    /// Of the whole image's weighted MAE.
    pub body: f64,
    /// Of the bone mask's Dice loss.
    pub bone_mask: f64,
    /// Of the MAE in bone.
    pub bone_hu: f64,
}

impl RoiLossWeights {
    /// The paper's weights.
    pub const fn paper() -> Self {
        Self { body: 1.0, bone_mask: 1.5, bone_hu: 1.3 }
    }
}

impl Default for RoiLossWeights {
    fn default() -> Self {
        Self::paper()
    }
}
