//! A network's parameters by name.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::NnError;
use crate::ops::CudaMath;
use crate::random::NamedRng;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every value the same.
    Constant(f32),
    /// Uniform in ±1/√`fan_in`, drawn from the store's seed and the parameter's name.
    ///
    /// That is PyTorch's default for convolutions: Kaiming-uniform with a = √5 (He et al. 2015,
    /// arXiv:1502.01852), and the same bound for the bias.
    UniformFanIn {
        /// Inputs of one output: input channels × kernel height × kernel width.
        fan_in: usize,
    },
}

/// The parameters of one network, ordered by name: weights, which training changes, and buffers, which it does
/// not (running means and variances).
///
/// Networks hold the same variables; setting one here changes the network.
/// A parameter's first values depend on the seed and its own name only, so that networks which share a part start
/// it alike.
#[derive(Debug)]
pub struct ParameterStore {
    seed: u64,
    device: Device,
    cuda_math: CudaMath,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    var: Var,
    trainable: bool,
}

impl ParameterStore {
    /// An empty store on `device`, whose parameters will start from `seed`.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { seed, device: device.clone(), cuda_math: CudaMath::Full, entries: BTreeMap::new() }
    }

    /// With this arithmetic for the convolutions of networks that are built on the store, where it is on a GPU and
    /// [`Precision::F32`](crate::Precision::F32) is asked for.
    pub fn with_cuda_math(mut self, math: CudaMath) -> Self {
        self.cuda_math = math;
        self
    }

    /// How networks on this store convolve on a GPU.
    pub fn cuda_math(&self) -> CudaMath {
        self.cuda_math
    }

    /// Adds a parameter that training changes.
    ///
    /// # Errors
    /// [`NnError::DuplicateParameter`]; [`NnError::Tensor`] if the device has no room.
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Var, NnError> {
        self.add(name, shape, init, true)
    }

    /// Adds a buffer: saved with the weights, but not trained.
    ///
    /// # Errors
    /// As [`Self::parameter`].
    pub fn buffer(&mut self, name: &str, shape: &[usize], value: f32) -> Result<Var, NnError> {
        self.add(name, shape, Init::Constant(value), false)
    }

    fn add(&mut self, name: &str, shape: &[usize], init: Init, trainable: bool) -> Result<Var, NnError> {
        if self.entries.contains_key(name) {
            return Err(NnError::DuplicateParameter { name: name.to_owned() });
        }
        let count = shape.iter().product();
        let values = match init {
            Init::Constant(value) => vec![value; count],
            Init::UniformFanIn { fan_in } => {
                let bound = (fan_in as f32).sqrt().recip();
                let mut rng = NamedRng::new(self.seed, name);
                (0..count).map(|_| (2.0 * rng.uniform() - 1.0) * bound).collect()
            }
        };
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, &self.device)?)?;
        self.entries.insert(name.to_owned(), Entry { var: var.clone(), trainable });
        Ok(var)
    }

    /// Names and variables that training changes, ordered by name.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.trainable)
            .map(|(name, entry)| (name.as_str(), &entry.var))
    }

    /// Names and variables that are saved but not trained, ordered by name.
    pub fn buffers(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.entries
            .iter()
            .filter(|(_, entry)| !entry.trainable)
            .map(|(name, entry)| (name.as_str(), &entry.var))
    }

    /// The variable of a parameter or buffer.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.entries.get(name).map(|entry| &entry.var)
    }

    /// The number of trainable values.
    pub fn trainable_count(&self) -> usize {
        self.trainable().map(|(_, var)| var.elem_count()).sum()
    }

    /// The device of all parameters.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Copies of all parameters and buffers, as they are now; later training does not change them.
    ///
    /// The names are those of the safetensors file.
    ///
    /// # Errors
    /// [`NnError::Tensor`] if there is no room for the copies.
    pub fn to_tensors(&self) -> Result<BTreeMap<String, Tensor>, NnError> {
        self.entries
            .iter()
            .map(|(name, entry)| Ok((name.clone(), entry.var.as_detached_tensor().copy()?.detach())))
            .collect()
    }

    /// Sets all parameters and buffers, or none: nothing may be missing, unexpected, of another shape or type, or
    /// not finite.
    ///
    /// # Errors
    /// [`NnError::MissingParameters`], [`NnError::UnexpectedParameters`], [`NnError::ParameterShape`],
    /// [`NnError::ParameterType`], [`NnError::NonFinite`]; then the store is as before.
    pub fn load_tensors(&self, tensors: &BTreeMap<String, Tensor>) -> Result<(), NnError> {
        let missing: Vec<String> =
            self.entries.keys().filter(|name| !tensors.contains_key(*name)).cloned().collect();
        if !missing.is_empty() {
            return Err(NnError::MissingParameters { names: missing });
        }
        let unexpected: Vec<String> =
            tensors.keys().filter(|name| !self.entries.contains_key(*name)).cloned().collect();
        if !unexpected.is_empty() {
            return Err(NnError::UnexpectedParameters { names: unexpected });
        }
        for ((name, entry), tensor) in self.entries.iter().zip(tensors.values()) {
            if tensor.dims() != entry.var.dims() {
                return Err(NnError::ParameterShape {
                    name: name.clone(),
                    found: tensor.dims().to_vec(),
                    expected: entry.var.dims().to_vec(),
                });
            }
            if tensor.dtype() != DType::F32 {
                return Err(NnError::ParameterType { name: name.clone(), found: tensor.dtype().as_str() });
            }
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(NnError::NonFinite { name: name.clone(), value: values[index], index });
            }
        }
        for (entry, tensor) in self.entries.values().zip(tensors.values()) {
            entry.var.set(&tensor.to_device(&self.device)?.contiguous()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(seed: u64) -> Result<ParameterStore, NnError> {
        let mut store = ParameterStore::new(seed, &Device::Cpu);
        store.parameter("b.weight", &[4, 3, 5, 5], Init::UniformFanIn { fan_in: 75 })?;
        store.parameter("a.weight", &[2], Init::Constant(0.5))?;
        store.buffer("a.running_mean", &[2], 0.0)?;
        Ok(store)
    }

    #[test]
    fn names_are_ordered_and_kinds_apart() -> Result<(), NnError> {
        let store = store(1)?;
        assert_eq!(store.trainable().map(|(name, _)| name).collect::<Vec<_>>(), ["a.weight", "b.weight"]);
        assert_eq!(store.buffers().map(|(name, _)| name).collect::<Vec<_>>(), ["a.running_mean"]);
        assert_eq!(store.trainable_count(), 302);
        Ok(())
    }

    #[test]
    fn values_follow_seed_and_name_within_the_bound() -> Result<(), NnError> {
        let values = |seed| -> Result<Vec<f32>, NnError> {
            Ok(store(seed)?.to_tensors()?["b.weight"].flatten_all()?.to_vec1::<f32>()?)
        };
        assert_eq!(values(1)?, values(1)?);
        assert_ne!(values(1)?, values(2)?);
        let bound = 1.0 / 75.0f32.sqrt();
        assert!(values(1)?.iter().all(|value| value.abs() <= bound));
        let spread = values(1)?.iter().map(|value| value * value).sum::<f32>() / 300.0;
        assert!((spread / (bound * bound / 3.0) - 1.0).abs() < 0.15, "{spread}");
        Ok(())
    }

    type Tensors = BTreeMap<String, Tensor>;

    #[test]
    fn loading_takes_all_or_nothing() -> Result<(), NnError> {
        let store_a = store(1)?;
        let good = store(2)?.to_tensors()?;
        let before = store_a.to_tensors()?;
        let damaged = |change: &dyn Fn(&mut Tensors) -> Result<(), NnError>| {
            let mut tensors = good.clone();
            change(&mut tensors)?;
            let error = store_a.load_tensors(&tensors).expect_err("damaged weights are refused").to_string();
            for (name, tensor) in store_a.to_tensors()? {
                let [now, then] = [&tensor, &before[&name]].map(|t| t.flatten_all()?.to_vec1::<f32>());
                assert_eq!(now?, then?, "`{name}` changed");
            }
            Ok::<_, NnError>(error)
        };
        let missing = damaged(&|tensors| {
            tensors.remove("a.weight");
            Ok(())
        })?;
        assert!(missing.contains("`a.weight`"), "{missing}");
        let unexpected = damaged(&|tensors| {
            tensors.insert("c".into(), Tensor::zeros(1, DType::F32, &Device::Cpu)?);
            Ok(())
        })?;
        assert!(unexpected.contains("`c`"), "{unexpected}");
        let shape = damaged(&|tensors| {
            tensors.insert("a.weight".into(), Tensor::zeros(3, DType::F32, &Device::Cpu)?);
            Ok(())
        })?;
        assert!(shape.contains("[3]") && shape.contains("[2]"), "{shape}");
        let dtype = damaged(&|tensors| {
            tensors.insert("a.weight".into(), Tensor::zeros(2, DType::F64, &Device::Cpu)?);
            Ok(())
        })?;
        assert!(dtype.contains("f64"), "{dtype}");
        let non_finite = damaged(&|tensors| {
            tensors.insert("a.running_mean".into(), Tensor::new(&[0.0, f32::NAN], &Device::Cpu)?);
            Ok(())
        })?;
        assert!(non_finite.contains("NaN at index 1"), "{non_finite}");

        store_a.load_tensors(&good)?;
        let [found, expected] = [store_a.to_tensors()?, good].map(|tensors| {
            tensors.into_values().map(|t| t.flatten_all()?.to_vec1::<f32>()).collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(found?, expected?);
        Ok(())
    }

    #[test]
    fn a_copy_does_not_follow_training() -> Result<(), NnError> {
        let store = store(1)?;
        let copy = store.to_tensors()?;
        let var = store.get("a.weight").expect("the store has it");
        var.set(&Tensor::new(&[7.0f32, 8.0], &Device::Cpu)?)?;
        assert_eq!(copy["a.weight"].to_vec1::<f32>()?, [0.5, 0.5]);
        assert_eq!(store.to_tensors()?["a.weight"].to_vec1::<f32>()?, [7.0, 8.0]);
        Ok(())
    }

    #[test]
    fn a_name_is_given_once() -> Result<(), NnError> {
        let error = store(1)?.buffer("b.weight", &[1], 0.0).expect_err("the name is taken");
        assert!(matches!(error, NnError::DuplicateParameter { .. }), "{error}");
        Ok(())
    }
}
