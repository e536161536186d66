//! Adam, with weight decay in the gradient or beside it (AdamW).

use serde::{Deserialize, Serialize};

use super::update::Coefficients;

/// The settings of Adam and AdamW, as PyTorch's `Adam` and `AdamW` compute them.
///
/// Step t with gradient g, learning rate γ and weight decay λ: Adam takes g ← g + λ θ, AdamW θ ← (1 − γ λ) θ;
/// then m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², m̂ = m / (1 − β₁^t), v̂ = v / (1 − β₂^t),
/// θ ← θ − γ m̂ / (√v̂ + ε).
///
/// | field | unit | [`AdamConfig::pytorch`] | range | source |
/// |---|---|---|---|---|
/// | `beta1`, `beta2` | – | 0.9, 0.999 | [0, 1) | PyTorch's `Adam` |
/// | `epsilon` | – | 1e-8 | > 0 | PyTorch's `Adam` |
/// | `weight_decay` | – | 0; [`AdamConfig::pytorch_adamw`] 1e-2 | ≥ 0 | PyTorch's `Adam`, `AdamW` |
///
/// # References
/// Kingma and Ba (2015), arXiv:1412.6980; Loshchilov and Hutter (2019), arXiv:1711.05101 (AdamW); PyTorch documentation of
/// `torch.optim.Adam` and `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// How strongly parameters are drawn to zero.
    pub weight_decay: f64,
}

impl AdamConfig {
    /// The defaults of PyTorch's `Adam`.
    pub const fn pytorch() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// The defaults of PyTorch's `AdamW`.
    pub const fn pytorch_adamw() -> Self {
        Self { weight_decay: 1e-2, ..Self::pytorch() }
    }

    /// Adam's numbers of step `t`, counted from 1.
    pub(super) fn coefficients(&self, t: f64, learning_rate: f64) -> Coefficients {
        let Self { beta1, beta2, epsilon, weight_decay } = *self;
        Coefficients {
            gradient_decay: weight_decay as f32,
            mean_step: (learning_rate / (1.0 - beta1.powf(t))) as f32,
            ..Coefficients::of_moments(beta1, beta2, epsilon, t)
        }
    }

    /// AdamW's numbers of step `t`, counted from 1.
    pub(super) fn decoupled_coefficients(&self, t: f64, learning_rate: f64) -> Coefficients {
        Coefficients {
            parameter_keep: (1.0 - learning_rate * self.weight_decay) as f32,
            gradient_decay: 0.0,
            ..self.coefficients(t, learning_rate)
        }
    }
}
