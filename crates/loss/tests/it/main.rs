//! The losses against PyTorch, closed forms and finite differences.

use std::error::Error;

use candle_core::{Device, Result as TensorResult, Tensor, Var};
use serde_json::Value;
use synthct_loss::{
    TaskLikelihood, adversarial_loss, dice_loss, region_mae, uncertainty_weighted, weighted_mae,
};

/// A loss of one prediction.
type Loss<'a> = Box<dyn Fn(&Tensor) -> TensorResult<Tensor> + 'a>;
type Outcome = Result<(), Box<dyn Error>>;

const SHAPE: [usize; 4] = [2, 1, 5, 7];

fn golden() -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_str(include_str!("../golden/torch/losses.json"))?)
}

fn numbers(values: &Value) -> Vec<f32> {
    values.as_array().into_iter().flatten().filter_map(Value::as_f64).map(|value| value as f32).collect()
}

fn tensor(values: &Value) -> TensorResult<Tensor> {
    Tensor::from_vec(numbers(values), &SHAPE[..], &Device::Cpu)
}

/// The loss at `x` and its gradient.
fn differentiate(
    x: &Tensor,
    loss: impl Fn(&Tensor) -> TensorResult<Tensor>,
) -> TensorResult<(f32, Vec<f32>)> {
    let x = Var::from_tensor(x)?;
    let value = loss(&x)?;
    let gradients = value.backward()?;
    let gradient = gradients.get(&x).map_or_else(|| x.zeros_like(), |gradient| Ok(gradient.clone()))?;
    Ok((value.to_scalar()?, gradient.flatten_all()?.to_vec1()?))
}

#[test]
fn values_and_gradients_equal_pytorch() -> Outcome {
    let golden = golden()?;
    let [prediction, target, probability, region] =
        ["prediction", "target", "probability", "region"].map(|name| tensor(&golden[name]));
    let (prediction, target, probability, region) = (prediction?, target?, probability?, region?);
    let logits = tensor(&golden["logits"])?;
    let results = [
        ("adversarial_real", differentiate(&logits, |z| adversarial_loss(z, true))?),
        ("adversarial_generated", differentiate(&logits, |z| adversarial_loss(z, false))?),
        ("region_mae", differentiate(&prediction, |x| region_mae(x, &target, &region))?),
        ("weighted_mae", differentiate(&prediction, |x| weighted_mae(x, &target, &region))?),
        ("dice_loss", differentiate(&probability, |x| dice_loss(x, &region))?),
    ];
    for (name, (value, gradient)) in results {
        let expected = golden[name]["value"].as_f64().ok_or("a value")?;
        let tolerance = 1e-6 * expected.abs().max(1.0);
        assert!((f64::from(value) - expected).abs() < tolerance, "{name}: {value} instead of {expected}");
        let expected = numbers(&golden[name]["gradient"]);
        assert_eq!(gradient.len(), expected.len());
        for (n, (got, expected)) in std::iter::zip(&gradient, &expected).enumerate() {
            assert!((got - expected).abs() < 1e-6, "{name}, gradient {n}: {got} instead of {expected}");
        }
    }
    Ok(())
}

const LIKELIHOODS: [(&str, TaskLikelihood); 2] =
    [("laplace", TaskLikelihood::Laplace), ("categorical", TaskLikelihood::Categorical)];

#[test]
fn uncertainty_weighting_equals_pytorch() -> Outcome {
    let golden = golden()?;
    for (name, likelihood) in LIKELIHOODS {
        let rows = golden[name].as_array().ok_or("rows")?;
        assert_eq!(rows.len(), 3);
        for row in rows {
            let row: Vec<f64> = row.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            let var = |value: f64| Var::from_tensor(&Tensor::new(&[value], &Device::Cpu)?);
            let (loss, s) = (var(row[0])?, var(row[1])?);
            let value = uncertainty_weighted(&loss, &s, likelihood)?;
            let gradients = value.backward()?;
            let slope = |var: &Var| {
                gradients
                    .get(var)
                    .ok_or("a gradient")?
                    .get(0)?
                    .to_scalar::<f64>()
                    .map_err(Box::<dyn Error>::from)
            };
            for (found, expected) in
                [(value.to_scalar()?, row[2]), (slope(&loss)?, row[3]), (slope(&s)?, row[4])]
            {
                let found: f64 = found;
                assert!(
                    (found - expected).abs() < 1e-6 * expected.abs().max(1.0),
                    "{name}: {found} instead of {expected}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn the_best_uncertainty_is_the_maximum_likelihood_one() -> Outcome {
    let weighted = |likelihood, loss: f64, s: f64| -> TensorResult<f64> {
        let at = |value: f64| Tensor::new(value, &Device::Cpu);
        uncertainty_weighted(&at(loss)?, &at(s)?, likelihood)?.to_scalar()
    };
    for loss in [0.01, 0.3, 2.0_f64] {
        // b = σ/√2 = L for the Laplace distribution; σ² = 2L.
        for (likelihood, best) in [
            (TaskLikelihood::Laplace, (2.0 * loss * loss).ln()),
            (TaskLikelihood::Categorical, (2.0 * loss).ln()),
        ] {
            let least = weighted(likelihood, loss, best)?;
            for s in [best - 0.1, best + 0.1] {
                assert!(weighted(likelihood, loss, s)? > least + 1e-4, "{likelihood:?} at {loss}");
            }
        }
    }
    let pair = Tensor::new(&[1.0, 2.0], &Device::Cpu)?;
    assert!(uncertainty_weighted(&pair, &Tensor::new(0.0, &Device::Cpu)?, TaskLikelihood::Laplace).is_err());
    Ok(())
}

#[test]
fn an_empty_region_has_no_loss_and_no_gradient() -> Outcome {
    let golden = golden()?;
    let (prediction, target) = (tensor(&golden["prediction"])?, tensor(&golden["target"])?);
    let nowhere = prediction.zeros_like()?;
    let everywhere = prediction.ones_like()?;
    for (value, gradient) in [
        differentiate(&prediction, |x| region_mae(x, &target, &nowhere))?,
        // Nothing inside: the complement's weight is N_k / N = 0; nothing outside: the region's weight is 0.
        differentiate(&prediction, |x| weighted_mae(x, &target, &nowhere))?,
        differentiate(&prediction, |x| weighted_mae(x, &target, &everywhere))?,
        differentiate(&nowhere, |x| dice_loss(x, &nowhere))?,
    ] {
        assert!(value.abs() <= 0.0 && gradient.iter().all(|g| g.abs() <= 0.0), "{value}, {gradient:?}");
    }
    Ok(())
}

#[test]
fn what_lies_outside_the_region_does_not_matter() -> Outcome {
    let at = |values: [f32; 4]| Tensor::new(&values, &Device::Cpu);
    let (target, region) = (at([0.0, 4.0, 5.0, 1.0])?, at([1.0, 1.0, 0.0, 1.0])?);
    let (value, gradient) =
        differentiate(&at([1.0, 2.0, f32::NAN, 1.0])?, |x| region_mae(x, &target, &region))?;
    assert!((value - 1.0).abs() < 1e-7, "{value}");
    for (got, expected) in gradient.iter().zip([1.0 / 3.0, -1.0 / 3.0, 0.0, 0.0]) {
        assert!((got - expected).abs() < 1e-7, "{gradient:?}");
    }
    Ok(())
}

#[test]
fn the_small_region_has_the_large_weight() -> Outcome {
    // One voxel of four inside, errors 2 inside and 1 outside: 3/4 · 2 + 1/4 · 1.
    let at = |values: [f32; 4]| Tensor::new(&values, &Device::Cpu);
    let loss = weighted_mae(&at([2.0, 1.0, -1.0, 1.0])?, &at([0.0; 4])?, &at([1.0, 0.0, 0.0, 0.0])?)?;
    assert!((loss.to_scalar::<f32>()? - 1.75).abs() < 1e-6);
    Ok(())
}

#[test]
fn dice_loss_runs_from_right_to_wrong() -> Outcome {
    let at = |values: [f32; 4]| Tensor::new(&values, &Device::Cpu);
    let region = at([1.0, 1.0, 0.0, 0.0])?;
    assert!(dice_loss(&region, &region)?.to_scalar::<f32>()?.abs() < 1e-6);
    // No overlap: 1 − (0 + 1) / (2 + 2 + 1).
    let wrong = dice_loss(&at([0.0, 0.0, 1.0, 1.0])?, &region)?;
    assert!((wrong.to_scalar::<f32>()? - 0.8).abs() < 1e-6);
    Ok(())
}

#[test]
fn gradients_equal_finite_differences() -> Outcome {
    let golden = golden()?;
    let (target, probability, region) =
        (tensor(&golden["target"])?, tensor(&golden["probability"])?, tensor(&golden["region"])?);
    let losses: [(&str, Loss); 5] = [
        ("adversarial_real", Box::new(|x| adversarial_loss(x, true))),
        ("adversarial_generated", Box::new(|x| adversarial_loss(x, false))),
        ("region_mae", Box::new(|x| region_mae(x, &target, &region))),
        ("weighted_mae", Box::new(|x| weighted_mae(x, &target, &region))),
        ("dice_loss", Box::new(|x| dice_loss(x, &region))),
    ];
    for (name, loss) in &losses {
        let (_, gradient) = differentiate(&probability, loss)?;
        let values: Vec<f32> = probability.flatten_all()?.to_vec1()?;
        for n in [0, 9, 33, 69] {
            let moved = |step: f32| -> TensorResult<f32> {
                let mut values = values.clone();
                values[n] += step;
                loss(&Tensor::from_vec(values, &SHAPE[..], &Device::Cpu)?)?.to_scalar()
            };
            let slope = (moved(1e-3)? - moved(-1e-3)?) / 2e-3;
            assert!(
                (slope - gradient[n]).abs() < 2e-4,
                "{name}, voxel {n}: {slope} instead of {}",
                gradient[n]
            );
        }
    }
    Ok(())
}

#[test]
fn shapes_must_agree() -> Outcome {
    let (small, large) = (
        Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu)?,
        Tensor::zeros(4, candle_core::DType::F32, &Device::Cpu)?,
    );
    assert!(region_mae(&small, &large, &small).is_err());
    assert!(weighted_mae(&small, &small, &large).is_err());
    assert!(dice_loss(&small, &large).is_err());
    Ok(())
}
