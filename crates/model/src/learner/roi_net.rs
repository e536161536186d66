//! The RoI-focused multi-task network and its variants' losses.

use candle_core::{Device, Tensor};
use synthct_loss::{TaskLikelihood, dice_loss, region_mae, uncertainty_weighted, weighted_mae};
use synthct_nn::{Init, ParameterStore, Precision, RoiNet, RoiNetOutput};

use super::{Learner, Part, all_finite, values, weighted_sum};
use crate::dataset::Batch;
use crate::random::{Purpose, number};
use crate::{LossWeighting, ModelError, RoiNetTraining, RoiVariant, TrainConfig};

/// What the learnt log-variances' names begin with.
const LOG_VARIANCE: &str = "loss.log_variance.";

/// A RoI network, and with learnt weights each task's s = log σ².
pub(crate) struct RoiNetLearner {
    training: RoiNetTraining,
    precision: Precision,
    net: RoiNet,
    /// The network, then the log-variances if they are learnt.
    parts: Vec<Part>,
    names: Vec<&'static str>,
}

impl RoiNetLearner {
    pub(crate) fn new(
        training: &RoiNetTraining,
        in_channels: usize,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut store = ParameterStore::new(number(config.seed, Purpose::Weights, 0, 0), device);
        let net = RoiNet::new(&training.network(in_channels), &mut store)?;
        let mut parts = vec![Part::new(store, config)];
        let mut names: Vec<_> = tasks(training.variant).iter().map(|task| task.name).collect();
        if training.weighting == LossWeighting::Uncertainty {
            let mut store = ParameterStore::new(0, device);
            for task in tasks(training.variant) {
                store.parameter(&format!("{LOG_VARIANCE}{}", task.name), &[1], Init::Constant(0.0))?;
                names.push(task.log_variance);
            }
            parts.push(Part::new(store, config));
        }
        Ok(Self { training: training.clone(), precision: config.precision, net, parts, names })
    }

    /// The combined loss, each task's loss without its weight, and the log-variances if they are learnt.
    fn losses(&self, output: &RoiNetOutput, batch: &Batch) -> Result<Vec<Tensor>, ModelError> {
        let terms = task_losses(&self.training, output, batch)?;
        let mut log_variances = Vec::new();
        let total = if let Some(learnt) = self.parts.get(1) {
            let mut weighted = Vec::new();
            for (task, (_, term)) in tasks(self.training.variant).iter().zip(&terms) {
                let name = format!("{LOG_VARIANCE}{}", task.name);
                let s = learnt.store.get(&name).expect("because it was made for each task");
                log_variances.push(s.as_detached_tensor().reshape(())?);
                weighted.push((1.0, uncertainty_weighted(term, s.as_tensor(), task.likelihood)?));
            }
            weighted_sum(&weighted)?
        } else {
            weighted_sum(&terms)?
        };
        let terms = terms.into_iter().map(|(_, term)| term);
        Ok(std::iter::once(total).chain(terms).chain(log_variances).collect())
    }
}

impl Learner for RoiNetLearner {
    fn loss_names(&self) -> &[&'static str] {
        &self.names
    }

    fn train_step(&mut self, batch: &Batch, dropout_seed: u64) -> Result<Vec<f64>, ModelError> {
        let output = self.net.forward_train(&batch.mr, self.precision, dropout_seed)?;
        let losses = self.losses(&output, batch)?;
        let values = values(&losses)?;
        if all_finite(&values) {
            let gradients = losses[0].backward()?;
            self.parts.iter_mut().try_for_each(|part| part.step(&gradients))?;
        }
        Ok(values)
    }

    fn validate(&self, batch: &Batch) -> Result<Vec<f64>, ModelError> {
        let output = self.net.forward(&batch.mr, self.precision)?;
        values(&self.losses(&output, batch)?)
    }

    fn parts(&self) -> Vec<&Part> {
        self.parts.iter().collect()
    }

    fn parts_mut(&mut self) -> Vec<&mut Part> {
        self.parts.iter_mut().collect()
    }

    fn is_packaged(&self, name: &str) -> bool {
        !name.starts_with(LOG_VARIANCE)
    }
}

/// A task's loss.
struct Task {
    name: &'static str,
    log_variance: &'static str,
    likelihood: TaskLikelihood,
}

const BODY: Task =
    Task { name: "body", log_variance: "log_variance_body", likelihood: TaskLikelihood::Laplace };
const WHOLE: Task =
    Task { name: "whole", log_variance: "log_variance_whole", likelihood: TaskLikelihood::Laplace };
const BONE_MASK: Task = Task {
    name: "bone_mask",
    log_variance: "log_variance_bone_mask",
    likelihood: TaskLikelihood::Categorical,
};
const BONE_HU: Task =
    Task { name: "bone_hu", log_variance: "log_variance_bone_hu", likelihood: TaskLikelihood::Laplace };

/// A variant's tasks, in the order of [`task_losses`].
const fn tasks(variant: RoiVariant) -> &'static [Task] {
    match variant {
        RoiVariant::ThreeTask => &[BODY, BONE_MASK, BONE_HU],
        RoiVariant::TwoTask => &[BODY, BONE_HU],
        RoiVariant::OneTaskFocused => &[BODY],
        RoiVariant::OneTaskGlobal => &[WHOLE],
    }
}

/// Each task's weight and loss, as scalars; the domain is the batch.
///
/// 3TN: w₁·wMAE(body) + w₂·Dice(bone) + w₃·MAE(bone); 2TN: w₁·wMAE(body) + w₃·MAE(bone); 1TN-FL: w₁·wMAE(body);
/// 1TN-GL: w₁·MAE over all voxels of the slices.
fn task_losses(
    training: &RoiNetTraining,
    output: &RoiNetOutput,
    batch: &Batch,
) -> Result<Vec<(f64, Tensor)>, ModelError> {
    let weights = training.loss_weights;
    let head = |head: &Option<Tensor>, name: &str| {
        head.clone().ok_or_else(|| candle_core::Error::Msg(format!("the network has no head `{name}`")))
    };
    let mut weighted = Vec::new();
    if training.variant == RoiVariant::OneTaskGlobal {
        let everywhere = batch.body.ones_like()?;
        weighted.push((weights.body, region_mae(&output.whole_hu, &batch.ct_khu, &everywhere)?));
    } else {
        weighted.push((weights.body, weighted_mae(&output.whole_hu, &batch.ct_khu, &batch.body)?));
    }
    if training.variant == RoiVariant::ThreeTask {
        weighted.push((weights.bone_mask, dice_loss(&head(&output.bone_mask, "bone_mask")?, &batch.bone)?));
    }
    if matches!(training.variant, RoiVariant::ThreeTask | RoiVariant::TwoTask) {
        let bone_hu = head(&output.bone_hu, "bone_hu")?;
        weighted.push((weights.bone_hu, region_mae(&bone_hu, &batch.ct_khu, &batch.bone)?));
    }
    Ok(weighted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;

    use super::*;
    use crate::Architecture;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    const SHAPE: [usize; 4] = [2, 1, 24, 20];
    /// Every so many values of a parameter are in the golden file.
    const STEP: usize = 31;

    /// The integer hash of `make_goldens.py`, in [-1, 1).
    fn values_of(name: &str, shape: &[usize]) -> candle_core::Result<Tensor> {
        let key = name.bytes().fold(0_u32, |key, byte| key.wrapping_mul(31).wrapping_add(byte.into()));
        let value = |idx: usize| {
            let mut h = (idx as u32).wrapping_mul(2_654_435_761).wrapping_add(key);
            h = (h ^ (h >> 15)).wrapping_mul(2_246_822_519);
            h = (h ^ (h >> 13)).wrapping_mul(3_266_489_917);
            h ^= h >> 16;
            (f64::from(h) / f64::from(1_u32 << 31) - 1.0) as f32
        };
        let count = shape.iter().product();
        Tensor::from_vec((0..count).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu)
    }

    /// The weights that `make_goldens.py` gives a network.
    fn weights(learner: &RoiNetLearner) -> Result<BTreeMap<String, Tensor>, candle_core::Error> {
        let store = &learner.parts[0].store;
        let weight = |(name, var): (&str, &candle_core::Var)| {
            let value = values_of(name, var.dims())?;
            let value = if var.rank() == 4 {
                let fan_in: usize = var.dims()[1..].iter().product();
                (value / (fan_in as f64).sqrt())?
            } else if name.ends_with("running_var") || (name.contains(".bn") && name.ends_with("weight")) {
                value.affine(0.5, 1.0)?
            } else {
                (value * 0.5)?
            };
            Ok((name.to_owned(), value))
        };
        store.trainable().chain(store.buffers()).map(weight).collect()
    }

    fn batch() -> candle_core::Result<Batch> {
        let mask = |mask: Tensor| mask.to_dtype(candle_core::DType::F32);
        let ct_khu = values_of("ct", &SHAPE)?;
        let body = mask(values_of("body", &SHAPE)?.gt(-0.5)?)?;
        let bone = mask(ct_khu.ge(0.25)?)?.mul(&body)?;
        Ok(Batch { mr: values_of("x", &SHAPE)?, ct_khu, body, bone })
    }

    #[test]
    fn the_first_step_of_every_variant_equals_pytorch() -> TestResult {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/first_step/values.safetensors");
        let golden = candle_core::safetensors::load(path, &Device::Cpu)?;
        let sampled = |tensor: &Tensor| -> candle_core::Result<Vec<f32>> {
            Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().step_by(STEP).collect())
        };
        for variant in ["3tn", "2tn", "1tn-fl", "1tn-gl"] {
            let mut config = TrainConfig::preset(variant)?;
            let Architecture::RoiNet(training) = &mut config.architecture else {
                return Err("no RoI network".into());
            };
            (training.filters, training.dropout) = (4, 0.0);
            let mut learner = RoiNetLearner::new(&training.clone(), 1, &config, &Device::Cpu)?;
            learner.parts[0].store.load_tensors(&weights(&learner)?)?;
            let found = learner.train_step(&batch()?, 0)?;
            let expected: Vec<f32> = golden[&format!("{variant}.losses")].to_vec1()?;
            assert_eq!(found.len(), expected.len(), "{variant}");
            for (found, expected) in found.iter().zip(expected) {
                let expected = f64::from(expected);
                assert!(
                    (found - expected).abs() < 1e-5 * expected,
                    "{variant}: {found} instead of {expected}"
                );
            }
            let gradient_of = |name: &str| golden[&format!("{variant}.gradient.{name}")].to_vec1::<f32>();
            let names: Vec<&str> = learner.parts[0].store.trainable().map(|(name, _)| name).collect();
            let mut largest = 0.0_f32;
            for name in &names {
                largest = gradient_of(name)?.iter().fold(largest, |largest, value| largest.max(value.abs()));
            }
            let mut n_compared = 0;
            for (name, var) in learner.parts[0].store.trainable() {
                let (found, expected) =
                    (sampled(var)?, golden[&format!("{variant}.stepped.{name}")].to_vec1::<f32>()?);
                for ((found, expected), gradient) in found.iter().zip(&expected).zip(gradient_of(name)?) {
                    if gradient.abs() > 1e-3 * largest {
                        n_compared += 1;
                        assert!(
                            (found - expected).abs() < 1e-5,
                            "{variant}, {name}: {found} instead of {expected}"
                        );
                    }
                }
            }
            assert!(n_compared > 80, "{variant}: {n_compared} values");
        }
        Ok(())
    }
}
