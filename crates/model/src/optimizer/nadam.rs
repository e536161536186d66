//! Nadam: Adam with Nesterov momentum.

use serde::{Deserialize, Serialize};

use super::update::Coefficients;

/// The settings of Nadam, as PyTorch's `NAdam` computes it.
///
/// Step t with gradient g, learning rate γ and weight decay λ: g ← g + λ θ, μ_t = β₁ (1 − ½·0.96^(t·ψ)),
/// m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
/// m̂ = μ_{t+1} m / (1 − Π_{i≤t+1} μ_i) + (1 − μ_t) g / (1 − Π_{i≤t} μ_i), v̂ = v / (1 − β₂^t),
/// θ ← θ − γ m̂ / (√v̂ + ε).
///
/// | field | unit | [`NadamConfig::pytorch`] | range | source |
/// |---|---|---|---|---|
/// | `beta1`, `beta2` | – | 0.9, 0.999 | [0, 1) | PyTorch's `NAdam` |
/// | `epsilon` | – | 1e-8 | > 0 | PyTorch's `NAdam` |
/// | `weight_decay` | – | 0 | ≥ 0 | PyTorch's `NAdam` |
/// | `momentum_decay` | – | 4e-3 | ≥ 0 | PyTorch's `NAdam` |
///
/// # References
/// Dozat (2016), "Incorporating Nesterov momentum into Adam", ICLR workshop; PyTorch documentation of `torch.optim.NAdam`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NadamConfig {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// The share of the parameter that is added to its gradient.
    pub weight_decay: f64,
    /// How fast the momentum approaches `beta1`.
    pub momentum_decay: f64,
}

impl NadamConfig {
    /// The defaults of PyTorch's `NAdam`.
    pub const fn pytorch() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, momentum_decay: 4e-3 }
    }

    /// The numbers of step `t`, counted from 1; `mu_product` becomes the product of the momenta up to it.
    pub(super) fn coefficients(&self, t: f64, learning_rate: f64, mu_product: &mut f64) -> Coefficients {
        let Self { beta1, beta2, epsilon, weight_decay, momentum_decay } = *self;
        let mu_at = |t: f64| beta1 * (1.0 - 0.5 * 0.96_f64.powf(t * momentum_decay));
        let (mu, next_mu) = (mu_at(t), mu_at(t + 1.0));
        *mu_product *= mu;
        Coefficients {
            gradient_decay: weight_decay as f32,
            gradient_step: (learning_rate * (1.0 - mu) / (1.0 - *mu_product)) as f32,
            mean_step: (learning_rate * next_mu / (1.0 - *mu_product * next_mu)) as f32,
            ..Coefficients::of_moments(beta1, beta2, epsilon, t)
        }
    }
}
