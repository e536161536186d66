//! Optimizers with moments, each as one fused pass over parameter, gradient and moments.

mod adam;
mod nadam;
#[cfg(test)]
mod tests;
mod update;

pub use adam::AdamConfig;
pub use nadam::NadamConfig;

use std::collections::BTreeMap;

use candle_core::{Device, Error, Tensor, Var, backprop::GradStore};
use serde::{Deserialize, Serialize};

use self::update::{Coefficients, Moments, sum_of_squares};
use crate::ModelError;

/// Which optimizer, and its settings but for the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OptimizerConfig {
    /// Adam with Nesterov momentum.
    Nadam(NadamConfig),
    /// Adam; weight decay, if any, goes through the moments.
    Adam(AdamConfig),
    /// Adam whose weight decay goes beside the moments.
    #[serde(rename = "adamw")]
    AdamW(AdamConfig),
}

impl OptimizerConfig {
    /// The names that [`OptimizerConfig::named`] knows.
    pub const NAMES: [&str; 3] = ["nadam", "adam", "adamw"];

    /// Nadam with PyTorch's defaults: the paper's optimizer, and the only one of configurations that name none.
    pub const fn nadam() -> Self {
        Self::Nadam(NadamConfig::pytorch())
    }

    /// An optimizer with PyTorch's defaults by its name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "nadam" => Some(Self::nadam()),
            "adam" => Some(Self::Adam(AdamConfig::pytorch())),
            "adamw" => Some(Self::AdamW(AdamConfig::pytorch_adamw())),
            _ => None,
        }
    }

    /// Each field's name, its value, whether it is allowed, and what would be.
    pub(crate) fn fields(&self) -> Vec<(&'static str, f64, bool, &'static str)> {
        let (beta1, beta2, epsilon, weight_decay, momentum_decay) = match *self {
            Self::Nadam(NadamConfig { beta1, beta2, epsilon, weight_decay, momentum_decay }) => {
                (beta1, beta2, epsilon, weight_decay, Some(momentum_decay))
            }
            Self::Adam(config) | Self::AdamW(config) => {
                (config.beta1, config.beta2, config.epsilon, config.weight_decay, None)
            }
        };
        let decay = |name, beta: f64| (name, beta, (0.0..1.0).contains(&beta), "in [0, 1)");
        let amount =
            |name, value: f64| (name, value, value.is_finite() && value >= 0.0, "finite and zero or more");
        let is_positive = epsilon.is_finite() && epsilon > 0.0;
        let mut fields = vec![
            decay("optimizer.beta1", beta1),
            decay("optimizer.beta2", beta2),
            ("optimizer.epsilon", epsilon, is_positive, "finite and above zero"),
            amount("optimizer.weight_decay", weight_decay),
        ];
        fields.extend(momentum_decay.map(|value| amount("optimizer.momentum_decay", value)));
        fields
    }
}

/// An optimizer with its moments.
///
/// A parameter without a gradient in a step (its head had no region to learn from) is updated as with a gradient of zero.
/// If a limit is given, all gradients are scaled down together when their Euclidean norm is above it.
/// Parameters on the CPU are changed in their own memory, in parallel; the same gradients give the same bits on any
/// number of threads.
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    learning_rate: f64,
    max_gradient_norm: Option<f64>,
    progress: OptimizerProgress,
    moments: BTreeMap<String, Moments>,
}

/// The scalars of an optimizer's state; the moments are tensors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerProgress {
    /// The number of steps made.
    pub n_steps: u64,
    /// The product of Nadam's momenta of all steps made; 1 for other optimizers.
    pub mu_product: f64,
}

impl Optimizer {
    /// A fresh optimizer for the named parameters.
    pub fn new<'a>(
        config: OptimizerConfig,
        learning_rate: f64,
        max_gradient_norm: Option<f64>,
        parameters: impl IntoIterator<Item = (&'a str, &'a Var)>,
    ) -> Self {
        let moments =
            parameters.into_iter().map(|(name, var)| (name.to_owned(), Moments::new(var))).collect();
        let progress = OptimizerProgress { n_steps: 0, mu_product: 1.0 };
        Self { config, learning_rate, max_gradient_norm, progress, moments }
    }

    /// Changes the step size of the steps to come.
    pub const fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    /// One step of all parameters down their gradients.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a parameter is unknown to the optimizer or a tensor cannot be read or written.
    pub fn step<'a>(
        &mut self,
        parameters: impl IntoIterator<Item = (&'a str, &'a Var)>,
        gradients: &GradStore,
    ) -> Result<(), ModelError> {
        let mut work = Vec::new();
        for (name, var) in parameters {
            if !self.moments.contains_key(name) {
                return Err(Error::Msg(format!("no optimizer state for parameter `{name}`")).into());
            }
            let gradient = match gradients.get(var.as_tensor()) {
                Some(gradient) => gradient.contiguous()?,
                None => var.zeros_like()?,
            };
            work.push((name, var, gradient));
        }
        let gradient_scale = match self.max_gradient_norm {
            None => 1.0,
            Some(limit) => {
                let mut square = 0.0;
                for (_, _, gradient) in &work {
                    square += sum_of_squares(gradient)?;
                }
                (limit / square.sqrt()).min(1.0) as f32
            }
        };
        let coefficients = Coefficients { gradient_scale, ..self.next_coefficients() };
        for (name, var, gradient) in work {
            if let Some(moments) = self.moments.get_mut(name) {
                moments.step(var, &gradient, coefficients)?;
            }
        }
        Ok(())
    }

    /// Counts a step and gives its numbers.
    fn next_coefficients(&mut self) -> Coefficients {
        self.progress.n_steps += 1;
        let (t, learning_rate) = (self.progress.n_steps as f64, self.learning_rate);
        match self.config {
            OptimizerConfig::Nadam(config) => {
                config.coefficients(t, learning_rate, &mut self.progress.mu_product)
            }
            OptimizerConfig::Adam(config) => config.coefficients(t, learning_rate),
            OptimizerConfig::AdamW(config) => config.decoupled_coefficients(t, learning_rate),
        }
    }

    /// The state as scalars and named tensors: `mean/<parameter>` and `square/<parameter>`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a tensor cannot be made.
    pub fn state(&self) -> Result<(OptimizerProgress, BTreeMap<String, Tensor>), ModelError> {
        let mut tensors = BTreeMap::new();
        for (name, moments) in &self.moments {
            for (kind, values) in [("mean", &moments.mean), ("square", &moments.square)] {
                let tensor = Tensor::from_slice(values, moments.shape.as_slice(), &Device::Cpu)?;
                tensors.insert(format!("{kind}/{name}"), tensor);
            }
        }
        Ok((self.progress, tensors))
    }

    /// Takes up a state that [`Optimizer::state`] gave, for the same parameters.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a moment is missing, has another shape, or one is left over.
    pub fn set_state(
        &mut self,
        progress: OptimizerProgress,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<(), ModelError> {
        for (name, moments) in &mut self.moments {
            for (kind, values) in [("mean", &mut moments.mean), ("square", &mut moments.square)] {
                let tensor = tensors
                    .remove(&format!("{kind}/{name}"))
                    .ok_or_else(|| Error::Msg(format!("no optimizer state {kind}/{name}")))?;
                if tensor.dims() != moments.shape {
                    let (found, expected) = (tensor.dims(), &moments.shape);
                    let message =
                        format!("optimizer state {kind}/{name} has shape {found:?}, expected {expected:?}");
                    return Err(Error::Msg(message).into());
                }
                *values = tensor.flatten_all()?.to_vec1()?;
            }
        }
        if let Some(name) = tensors.keys().next() {
            return Err(Error::Msg(format!("unexpected optimizer state {name}")).into());
        }
        self.progress = progress;
        Ok(())
    }
}
