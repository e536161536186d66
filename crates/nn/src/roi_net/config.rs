//! Which network: inputs, width, dropout and heads.

use serde::{Deserialize, Serialize};

use crate::NnError;

/// The configuration of a [`RoiNet`](super::RoiNet).
///
/// | field | default | allowed | source of the default |
/// |---|---|---|---|
/// | `in_channels` | 1 | ≥ 1 | one MR image |
/// | `filters` | 16 | ≥ 1 | ours; the paper does not say |
/// | `dropout` | 0.1 | [0, 1) | ours; the paper does not say |
/// | `bone_hu`, `bone_mask` | by preset | | the paper's four configurations |
///
/// The single-task networks 1TN-FL and 1TN-GL are [`Self::one_task`] with different losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoiNetConfig {
    /// Channels of the input: one for each MR contrast.
    pub in_channels: usize,
    /// f, the filters of the outermost blocks.
    pub filters: usize,
    /// The probability that a channel is dropped in training.
    pub dropout: f32,
    /// Whether there is a head for HU inside bone.
    pub bone_hu: bool,
    /// Whether there is a head for the bone mask.
    pub bone_mask: bool,
}

impl RoiNetConfig {
    /// 3TN: whole-image HU, bone HU and bone mask.
    pub fn three_task() -> Self {
        Self { in_channels: 1, filters: 16, dropout: 0.1, bone_hu: true, bone_mask: true }
    }

    /// 2TN: whole-image HU and bone HU.
    pub fn two_task() -> Self {
        Self { bone_mask: false, ..Self::three_task() }
    }

    /// 1TN: whole-image HU only.
    pub fn one_task() -> Self {
        Self { bone_hu: false, bone_mask: false, ..Self::three_task() }
    }

    /// Checks the fields' ranges.
    ///
    /// # Errors
    /// [`NnError::Config`] with every bad field.
    pub fn validate(&self) -> Result<(), NnError> {
        let mut problems = Vec::new();
        if self.in_channels == 0 {
            problems.push("`in_channels` must be at least 1".to_owned());
        }
        if self.filters == 0 {
            problems.push("`filters` must be at least 1".to_owned());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(format!("`dropout` must be in [0, 1), not {}", self.dropout));
        }
        if problems.is_empty() { Ok(()) } else { Err(NnError::Config { problems }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_named() {
        let config =
            RoiNetConfig { in_channels: 0, filters: 0, dropout: f32::NAN, ..RoiNetConfig::three_task() };
        let text = config.validate().expect_err("all three fields are bad").to_string();
        for field in ["in_channels", "filters", "dropout"] {
            assert!(text.contains(field), "{text}");
        }
        assert!(RoiNetConfig { dropout: 1.0, ..RoiNetConfig::one_task() }.validate().is_err());
        assert!(RoiNetConfig::two_task().validate().is_ok());
    }
}
