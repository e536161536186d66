use super::*;

type TestResult = Result<(), Box<dyn std::error::Error>>;

#[derive(Deserialize)]
struct Golden {
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    runs: Vec<GoldenRun>,
}

#[derive(Deserialize)]
struct GoldenRun {
    optimizer: String,
    learning_rate: f64,
    weight_decay: Option<f64>,
    beta1: Option<f64>,
    after: Vec<Vec<f32>>,
}

impl GoldenRun {
    fn config(&self) -> Result<OptimizerConfig, String> {
        let mut config = OptimizerConfig::named(&self.optimizer).ok_or_else(|| self.optimizer.clone())?;
        let (beta1, weight_decay) = match &mut config {
            OptimizerConfig::Nadam(config) => (&mut config.beta1, &mut config.weight_decay),
            OptimizerConfig::Adam(config) | OptimizerConfig::AdamW(config) => {
                (&mut config.beta1, &mut config.weight_decay)
            }
        };
        *beta1 = self.beta1.unwrap_or(*beta1);
        *weight_decay = self.weight_decay.unwrap_or(*weight_decay);
        Ok(config)
    }
}

fn golden() -> Result<Golden, serde_json::Error> {
    serde_json::from_str(include_str!("../../tests/golden/optimizers/steps.json"))
}

/// Gradients of `Σ parameter · gradient` with respect to the parameter: the gradient itself.
fn backward(var: &Var, gradient: &[f32]) -> Result<GradStore, ModelError> {
    let gradient = Tensor::new(gradient, &Device::Cpu)?;
    Ok(var.as_tensor().mul(&gradient)?.sum_all()?.backward()?)
}

#[test]
fn steps_are_those_of_pytorch() -> TestResult {
    let golden = golden()?;
    for (run_idx, run) in golden.runs.iter().enumerate() {
        let var = Var::new(golden.start.as_slice(), &Device::Cpu)?;
        let mut optimizer = Optimizer::new(run.config()?, run.learning_rate, None, [("p", &var)]);
        for (step, (gradient, after)) in golden.gradients.iter().zip(&run.after).enumerate() {
            optimizer.step([("p", &var)], &backward(&var, gradient)?)?;
            for (n, (got, expected)) in var.to_vec1::<f32>()?.iter().zip(after).enumerate() {
                assert!(
                    (got - expected).abs() < 1e-6,
                    "run {run_idx} ({}), step {step}, parameter {n}: {got} not {expected}",
                    run.optimizer
                );
            }
        }
    }
    let names: Vec<_> = golden.runs.iter().map(|run| run.optimizer.as_str()).collect();
    assert!(OptimizerConfig::NAMES.iter().all(|name| names.contains(name)), "{names:?}");
    Ok(())
}

#[test]
fn a_restored_state_continues_bit_for_bit() -> TestResult {
    let golden = golden()?;
    for name in OptimizerConfig::NAMES {
        let config = OptimizerConfig::named(name).ok_or(name)?;
        let start = Var::new(golden.start.as_slice(), &Device::Cpu)?;
        let optimizer = |var: &Var| Optimizer::new(config, 1e-2, Some(5.0), [("p", var)]);
        let mut whole = optimizer(&start);
        let mut resumed = None;
        for (step, gradient) in golden.gradients.iter().enumerate() {
            if step == 9 {
                let (progress, tensors) = whole.state()?;
                let progress = serde_json::from_str(&serde_json::to_string(&progress)?)?;
                let copy = Var::new(start.to_vec1::<f32>()?.as_slice(), &Device::Cpu)?;
                let mut fresh = optimizer(&copy);
                fresh.set_state(progress, tensors)?;
                resumed = Some((copy, fresh));
            }
            whole.step([("p", &start)], &backward(&start, gradient)?)?;
            if let Some((copy, fresh)) = &mut resumed {
                fresh.step([("p", &*copy)], &backward(copy, gradient)?)?;
            }
        }
        let (copy, _) = resumed.ok_or("the golden has fewer than ten steps")?;
        assert_eq!(copy.to_vec1::<f32>()?, start.to_vec1::<f32>()?, "{name}");
    }
    Ok(())
}

#[test]
fn large_parameters_get_the_same_bits_on_any_number_of_threads() -> TestResult {
    let n = 3 * (1 << 14) + 5;
    let values = |factor: f32| (0..n).map(|i| (i as f32 * factor).sin()).collect::<Vec<_>>();
    for name in OptimizerConfig::NAMES {
        let config = OptimizerConfig::named(name).ok_or(name)?;
        let mut expected = None;
        for n_threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
            let found = pool.install(|| -> Result<Vec<f32>, ModelError> {
                let var = Var::from_vec(values(0.7), n, &Device::Cpu)?;
                let mut optimizer = Optimizer::new(config, 1e-2, Some(0.5), [("p", &var)]);
                for step in 1..4 {
                    optimizer.step([("p", &var)], &backward(&var, &values(0.3 * step as f32))?)?;
                }
                Ok(var.to_vec1()?)
            })?;
            assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{name}, {n_threads} threads");
        }
    }
    Ok(())
}

#[test]
fn clipping_keeps_the_direction_and_limits_the_norm_of_all_gradients_together() -> TestResult {
    // With epsilon far above the gradients, the first step is proportional to the clipped gradient.
    for name in OptimizerConfig::NAMES {
        let mut config = OptimizerConfig::named(name).ok_or(name)?;
        match &mut config {
            OptimizerConfig::Nadam(config) => config.epsilon = 1e6,
            OptimizerConfig::Adam(config) | OptimizerConfig::AdamW(config) => config.epsilon = 1e6,
        }
        // Two parameters of one value each: the norm is taken over both.
        let step = |gradient: [f32; 2]| -> Result<Vec<f32>, ModelError> {
            let vars = [Var::new(0.0_f32, &Device::Cpu)?, Var::new(0.0_f32, &Device::Cpu)?];
            let named = || [("p", &vars[0]), ("q", &vars[1])];
            let loss = ((vars[0].as_tensor() * f64::from(gradient[0]))?
                + (vars[1].as_tensor() * f64::from(gradient[1]))?)?;
            Optimizer::new(config, 1e6, Some(1.0), named()).step(named(), &loss.backward()?)?;
            Ok(vars.iter().map(|var| var.to_scalar()).collect::<Result<_, _>>()?)
        };
        let (clipped, unit) = (step([30.0, 40.0])?, step([0.6, 0.8])?);
        let (within, half) = (step([0.3, 0.4])?, unit.iter().map(|x| x / 2.0).collect::<Vec<_>>());
        for (got, expected) in clipped.iter().zip(&unit).chain(within.iter().zip(&half)) {
            assert!((got - expected).abs() < 1e-5 * expected.abs(), "{name}: {got} not {expected}");
        }
        assert!(unit[0] < -0.05, "{name}: a step was made: {unit:?}");
        let still = step([0.0, 0.0])?;
        assert!(still.iter().all(|value| *value == 0.0), "{name}: {still:?} without a gradient");
    }
    Ok(())
}

#[test]
fn a_parameter_without_a_gradient_moves_on_as_with_zero() -> TestResult {
    let config = OptimizerConfig::nadam();
    let vars = [Var::new(&[1.0_f32, 2.0], &Device::Cpu)?, Var::new(&[1.0_f32, 2.0], &Device::Cpu)?];
    let mut optimizers = [0, 1].map(|n| Optimizer::new(config, 1e-2, None, [("p", &vars[n])]));
    let other = Var::new(&[1.0_f32], &Device::Cpu)?;
    for (optimizer, var) in optimizers.iter_mut().zip(&vars) {
        optimizer.step([("p", var)], &backward(var, &[0.5, -0.5])?)?;
    }
    optimizers[0].step([("p", &vars[0])], &backward(&vars[0], &[0.0, 0.0])?)?;
    optimizers[1].step([("p", &vars[1])], &backward(&other, &[1.0])?)?;
    assert_eq!(vars[0].to_vec1::<f32>()?, vars[1].to_vec1::<f32>()?);
    Ok(())
}

#[test]
fn foreign_state_and_parameters_are_refused() -> TestResult {
    let var = Var::new(&[0.0_f32, 0.0], &Device::Cpu)?;
    let other = Var::new(&[0.0_f32, 0.0, 0.0], &Device::Cpu)?;
    let fresh = |name, var| Optimizer::new(OptimizerConfig::nadam(), 1e-3, None, [(name, var)]);
    let mut optimizer = fresh("p", &var);
    for (name, foreign) in [("q", &var), ("p", &other)] {
        let (progress, tensors) = fresh(name, foreign).state()?;
        assert!(optimizer.set_state(progress, tensors).is_err(), "{name}");
    }
    let error = optimizer.step([("q", &var)], &backward(&var, &[1.0, 1.0])?).expect_err("`q` is unknown");
    assert!(crate::error::chain(&error).contains("`q`"), "{error}");
    Ok(())
}

#[test]
fn configurations_come_back_from_json_and_strangers_are_refused() -> TestResult {
    for name in OptimizerConfig::NAMES {
        let config = OptimizerConfig::named(name).ok_or(name)?;
        let text = serde_json::to_string(&config)?;
        assert!(text.contains(&format!("\"kind\":\"{name}\"")), "{text}");
        assert_eq!(serde_json::from_str::<OptimizerConfig>(&text)?, config);
        let misspelled = text.replace("beta1", "beta_1");
        assert!(serde_json::from_str::<OptimizerConfig>(&misspelled).is_err(), "{misspelled}");
    }
    assert!(OptimizerConfig::named("sgd").is_none());
    Ok(())
}
