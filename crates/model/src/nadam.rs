//! Nadam: Adam with Nesterov momentum.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var, backprop::GradStore};

use crate::ModelError;

/// The settings of [`Nadam`].
///
/// | field | unit | default | range | source |
/// |---|---|---|---|---|
/// | `learning_rate` | – | 1e-3 | > 0 | the paper's |
/// | `beta1`, `beta2` | – | 0.9, 0.999 | [0, 1) | PyTorch's `NAdam` |
/// | `epsilon` | – | 1e-8 | > 0 | PyTorch's `NAdam` |
/// | `momentum_decay` | – | 4e-3 | ≥ 0 | PyTorch's `NAdam` |
/// | `max_gradient_norm` | – | none | > 0 | ours |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NadamConfig {
    /// The step size.
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// How fast the momentum approaches `beta1`.
    pub momentum_decay: f64,
    /// If given, all gradients are scaled down together when their Euclidean norm is above this.
    pub max_gradient_norm: Option<f64>,
}

impl NadamConfig {
    /// The defaults of PyTorch's `NAdam` at a learning rate.
    pub const fn pytorch(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            momentum_decay: 4e-3,
            max_gradient_norm: None,
        }
    }
}

/// The optimizer Nadam, as PyTorch's `NAdam` computes it.
///
/// Step t with gradient g: μ_t = β₁ (1 − ½·0.96^(t·ψ)), m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
/// m̂ = μ_{t+1} m / (1 − Π_{i≤t+1} μ_i) + (1 − μ_t) g / (1 − Π_{i≤t} μ_i), v̂ = v / (1 − β₂^t),
/// θ ← θ − γ m̂ / (√v̂ + ε).
///
/// A parameter without a gradient in a step (its head had no region to learn from) is updated as with a gradient of zero.
///
/// # References
/// Dozat (2016), "Incorporating Nesterov momentum into Adam", ICLR workshop; PyTorch documentation of `torch.optim.NAdam`.
#[derive(Clone, Debug)]
pub struct Nadam {
    config: NadamConfig,
    n_steps: u64,
    mu_product: f64,
    moments: BTreeMap<String, Moments>,
}

#[derive(Clone, Debug)]
struct Moments {
    shape: Vec<usize>,
    mean: Vec<f32>,
    square: Vec<f32>,
}

/// The scalars of [`Nadam`]'s state; the moments are tensors.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NadamProgress {
    /// The number of steps made.
    pub n_steps: u64,
    /// The product of the momenta of all steps made.
    pub mu_product: f64,
}

impl Nadam {
    /// A fresh optimizer for the named parameters.
    pub fn new<'a>(config: NadamConfig, parameters: impl IntoIterator<Item = (&'a str, &'a Var)>) -> Self {
        let moments = parameters
            .into_iter()
            .map(|(name, var)| {
                let n = var.elem_count();
                let moments =
                    Moments { shape: var.dims().to_vec(), mean: vec![0.0; n], square: vec![0.0; n] };
                (name.to_owned(), moments)
            })
            .collect();
        Self { config, n_steps: 0, mu_product: 1.0, moments }
    }

    /// One step of all parameters down their gradients.
    ///
    /// The arithmetic runs on the host, one parameter after the other in the order of names.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a parameter is unknown to the optimizer or a tensor cannot be read or written.
    pub fn step<'a>(
        &mut self,
        parameters: impl IntoIterator<Item = (&'a str, &'a Var)>,
        gradients: &GradStore,
    ) -> Result<(), ModelError> {
        let mut work = Vec::new();
        let mut norm_squared = 0.0_f64;
        for (name, var) in parameters {
            let gradient = match gradients.get(var.as_tensor()) {
                Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>()?,
                None => vec![0.0; var.elem_count()],
            };
            norm_squared += gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
            work.push((name, var, gradient));
        }
        let shrink = match self.config.max_gradient_norm {
            Some(limit) if norm_squared.sqrt() > limit => limit / norm_squared.sqrt(),
            _ => 1.0,
        };
        let coefficients = self.advance();
        for (name, var, mut gradient) in work {
            if shrink < 1.0 {
                for g in &mut gradient {
                    *g = (f64::from(*g) * shrink) as f32;
                }
            }
            let Some(moments) = self.moments.get_mut(name) else {
                return Err(
                    candle_core::Error::Msg(format!("no optimizer state for parameter `{name}`")).into()
                );
            };
            let mut values = var.as_tensor().flatten_all()?.to_vec1::<f32>()?;
            update(&mut values, &gradient, &mut moments.mean, &mut moments.square, coefficients);
            var.set(&Tensor::from_vec(values, var.dims(), var.device())?)?;
        }
        Ok(())
    }

    /// The state as scalars and named tensors: `mean/<parameter>` and `square/<parameter>`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a tensor cannot be made.
    pub fn state(&self) -> Result<(NadamProgress, BTreeMap<String, Tensor>), ModelError> {
        let mut tensors = BTreeMap::new();
        for (name, moments) in &self.moments {
            for (kind, values) in [("mean", &moments.mean), ("square", &moments.square)] {
                let tensor = Tensor::from_slice(values, moments.shape.as_slice(), &candle_core::Device::Cpu)?;
                tensors.insert(format!("{kind}/{name}"), tensor);
            }
        }
        Ok((NadamProgress { n_steps: self.n_steps, mu_product: self.mu_product }, tensors))
    }

    /// Takes up a state that [`Nadam::state`] gave, for the same parameters.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a moment is missing, has another shape, or one is left over.
    pub fn set_state(
        &mut self,
        progress: NadamProgress,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<(), ModelError> {
        for (name, moments) in &mut self.moments {
            for (kind, values) in [("mean", &mut moments.mean), ("square", &mut moments.square)] {
                let tensor = tensors
                    .remove(&format!("{kind}/{name}"))
                    .ok_or_else(|| candle_core::Error::Msg(format!("no optimizer state {kind}/{name}")))?;
                if tensor.dims() != moments.shape {
                    let (found, expected) = (tensor.dims(), &moments.shape);
                    let message =
                        format!("optimizer state {kind}/{name} has shape {found:?}, expected {expected:?}");
                    return Err(candle_core::Error::Msg(message).into());
                }
                *values = tensor.flatten_all()?.to_vec1()?;
            }
        }
        if let Some(name) = tensors.keys().next() {
            return Err(candle_core::Error::Msg(format!("unexpected optimizer state {name}")).into());
        }
        self.n_steps = progress.n_steps;
        self.mu_product = progress.mu_product;
        Ok(())
    }

    /// Counts a step and returns its coefficients.
    fn advance(&mut self) -> Coefficients {
        let NadamConfig { learning_rate, beta1, beta2, epsilon, momentum_decay, .. } = self.config;
        self.n_steps += 1;
        let t = self.n_steps as f64;
        let mu_at = |t: f64| beta1 * (1.0 - 0.5 * 0.96_f64.powf(t * momentum_decay));
        let mu = mu_at(t);
        self.mu_product *= mu;
        Coefficients {
            mean_keep: beta1 as f32,
            mean_add: (1.0 - beta1) as f32,
            square_keep: beta2 as f32,
            square_add: (1.0 - beta2) as f32,
            square_correction: (1.0 / (1.0 - beta2.powf(t))) as f32,
            gradient_step: (learning_rate * (1.0 - mu) / (1.0 - self.mu_product)) as f32,
            mean_step: (learning_rate * mu_at(t + 1.0) / (1.0 - self.mu_product * mu_at(t + 1.0))) as f32,
            epsilon: epsilon as f32,
        }
    }
}

#[derive(Clone, Copy)]
struct Coefficients {
    mean_keep: f32,
    mean_add: f32,
    square_keep: f32,
    square_add: f32,
    square_correction: f32,
    gradient_step: f32,
    mean_step: f32,
    epsilon: f32,
}

/// Moments and parameters in one pass.
fn update(values: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32], c: Coefficients) {
    for (((value, &g), m), v) in values.iter_mut().zip(gradient).zip(mean).zip(square) {
        *m = c.mean_keep * *m + c.mean_add * g;
        *v = c.square_keep * *v + c.square_add * g * g;
        let scale = (*v * c.square_correction).sqrt() + c.epsilon;
        *value -= (c.gradient_step * g + c.mean_step * *m) / scale;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        learning_rate: f64,
        start: Vec<f32>,
        gradients: Vec<Vec<f32>>,
        after: Vec<Vec<f32>>,
    }

    /// Gradients of `Σ parameter · gradient` with respect to the parameter: the gradient itself.
    fn backward(var: &Var, gradient: &[f32]) -> Result<GradStore, ModelError> {
        let gradient = Tensor::new(gradient, &Device::Cpu)?;
        Ok(var.as_tensor().mul(&gradient)?.sum_all()?.backward()?)
    }

    fn golden() -> Result<Golden, serde_json::Error> {
        serde_json::from_str(include_str!("../tests/golden/nadam/steps.json"))
    }

    #[test]
    fn steps_are_those_of_pytorch() -> Result<(), Box<dyn std::error::Error>> {
        let golden = golden()?;
        let var = Var::new(golden.start.as_slice(), &Device::Cpu)?;
        let mut nadam = Nadam::new(NadamConfig::pytorch(golden.learning_rate), [("p", &var)]);
        for (step, (gradient, after)) in golden.gradients.iter().zip(&golden.after).enumerate() {
            nadam.step([("p", &var)], &backward(&var, gradient)?)?;
            for (n, (got, expected)) in var.to_vec1::<f32>()?.iter().zip(after).enumerate() {
                assert!((got - expected).abs() < 1e-6, "step {step}, parameter {n}: {got} not {expected}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_restored_state_continues_bit_for_bit() -> Result<(), Box<dyn std::error::Error>> {
        let golden = golden()?;
        let config = NadamConfig::pytorch(golden.learning_rate);
        let var = Var::new(golden.start.as_slice(), &Device::Cpu)?;
        let mut nadam = Nadam::new(config, [("p", &var)]);
        let mut resumed = None;
        for (step, gradient) in golden.gradients.iter().enumerate() {
            if step == 9 {
                let (progress, tensors) = nadam.state()?;
                let progress = serde_json::from_str(&serde_json::to_string(&progress)?)?;
                let copy = Var::new(var.to_vec1::<f32>()?.as_slice(), &Device::Cpu)?;
                let mut fresh = Nadam::new(config, [("p", &copy)]);
                fresh.set_state(progress, tensors)?;
                resumed = Some((copy, fresh));
            }
            nadam.step([("p", &var)], &backward(&var, gradient)?)?;
            if let Some((copy, fresh)) = &mut resumed {
                fresh.step([("p", &*copy)], &backward(copy, gradient)?)?;
            }
        }
        let (copy, _) = resumed.ok_or("the golden has fewer than ten steps")?;
        assert_eq!(copy.to_vec1::<f32>()?, var.to_vec1::<f32>()?);
        Ok(())
    }

    #[test]
    fn clipping_keeps_the_direction_and_limits_the_norm() -> Result<(), Box<dyn std::error::Error>> {
        // With epsilon far above the gradients, the first step is proportional to the clipped gradient.
        let config = NadamConfig { epsilon: 1e6, max_gradient_norm: Some(1.0), ..NadamConfig::pytorch(1e6) };
        let step = |gradient: &[f32]| -> Result<Vec<f32>, ModelError> {
            let var = Var::new(&[0.0_f32, 0.0], &Device::Cpu)?;
            Nadam::new(config, [("p", &var)]).step([("p", &var)], &backward(&var, gradient)?)?;
            Ok(var.to_vec1()?)
        };
        let (clipped, unit) = (step(&[30.0, 40.0])?, step(&[0.6, 0.8])?);
        let (within, half) = (step(&[0.3, 0.4])?, unit.iter().map(|x| x / 2.0).collect::<Vec<_>>());
        for (got, expected) in clipped.iter().zip(&unit).chain(within.iter().zip(&half)) {
            assert!((got - expected).abs() < 1e-5 * expected.abs(), "{got} not {expected}");
        }
        assert!(unit[0] < -0.1, "a step was made: {unit:?}");
        Ok(())
    }

    #[test]
    fn foreign_state_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let var = Var::new(&[0.0_f32, 0.0], &Device::Cpu)?;
        let other = Var::new(&[0.0_f32, 0.0, 0.0], &Device::Cpu)?;
        let mut nadam = Nadam::new(NadamConfig::pytorch(1e-3), [("p", &var)]);
        for (name, foreign) in [("q", &var), ("p", &other)] {
            let (progress, tensors) = Nadam::new(NadamConfig::pytorch(1e-3), [(name, foreign)]).state()?;
            assert!(nadam.set_state(progress, tensors).is_err(), "{name}");
        }
        Ok(())
    }
}
