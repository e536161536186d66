//! The whole network: PyTorch as an oracle, configurations, dropout, threads, training.

use candle_core::{Device, Tensor, Var};
use synthct_nn::{NnError, ParameterStore, Precision, RoiNet, RoiNetConfig, RoiNetOutput};

use crate::support::{bits, close, flat, golden, golden_weights, same_bits_on_any_thread_count, values};

type Result<T> = std::result::Result<T, NnError>;

/// `provenance.toml` gives the reason.
const TOLERANCE: f32 = 1e-5;

fn build(config: &RoiNetConfig, seed: u64) -> Result<(RoiNet, ParameterStore)> {
    let mut store = ParameterStore::new(seed, &Device::Cpu);
    Ok((RoiNet::new(config, &mut store)?, store))
}

fn small(config: &RoiNetConfig) -> RoiNetConfig {
    RoiNetConfig { filters: 4, dropout: 0.0, ..config.clone() }
}

fn outputs(output: &RoiNetOutput) -> Vec<(&'static str, &Tensor)> {
    let mut outputs = vec![("whole_hu", &output.whole_hu)];
    outputs.extend(output.bone_hu.as_ref().map(|tensor| ("bone_hu", tensor)));
    outputs.extend(output.bone_mask.as_ref().map(|tensor| ("bone_mask", tensor)));
    outputs
}

/// Σ coefficient · output.
fn loss(output: &RoiNetOutput) -> Result<Tensor> {
    let mut loss = Tensor::new(0.0f32, &Device::Cpu)?;
    for (name, tensor) in outputs(output) {
        let coefficients = values(&format!("coefficient.{name}"), tensor.dims())?;
        loss = (loss + (tensor * coefficients)?.sum_all()?)?;
    }
    Ok(loss)
}

/// Compares with a golden folder, which holds every `step`-th value of each gradient.
fn check_golden(filters: usize, shape: [usize; 4], step: usize) -> Result<()> {
    let golden = golden(&format!("roi_net_f{filters}"))?;
    let config = RoiNetConfig { filters, ..small(&RoiNetConfig::three_task()) };
    let (net, store) = build(&config, 0)?;
    store.load_tensors(&golden_weights(&store)?)?;
    let x = Var::from_tensor(&values("x", &shape)?)?;

    let evaluated = net.forward(&x, Precision::F32)?;
    for (name, tensor) in outputs(&evaluated) {
        close(&format!("eval.{name}"), tensor, &golden[&format!("eval.{name}")], TOLERANCE, 0.0);
    }

    let trained = net.forward_train(&x, Precision::F32, 0)?;
    for (name, tensor) in outputs(&trained) {
        close(&format!("train.{name}"), tensor, &golden[&format!("train.{name}")], TOLERANCE, 0.0);
    }
    let gradients = loss(&trained)?.backward()?;
    let keys: Vec<&String> = golden.keys().filter(|key| key.starts_with("gradient.")).collect();
    assert_eq!(
        keys.len(),
        store.trainable().count() + 1,
        "both sides have the same parameters, and the input"
    );
    let largest = keys.iter().map(|key| flat(&golden[*key])).collect::<candle_core::Result<Vec<_>>>()?;
    let largest = largest.iter().flatten().fold(0.0f32, |largest, value| largest.max(value.abs()));
    for (name, var) in store.trainable().chain(std::iter::once(("x", &x))) {
        let gradient = flat(gradients.get(var).expect("everything has a gradient"))?;
        let kept: Vec<f32> = gradient.into_iter().step_by(step).collect();
        let gradient = Tensor::new(kept, &Device::Cpu)?;
        let key = format!("gradient.{name}");
        close(&key, &gradient, &golden[&key], TOLERANCE, TOLERANCE * 0.1 * largest);
    }
    for (name, var) in store.buffers() {
        close(name, var, &golden[&format!("buffer.{name}")], TOLERANCE, 0.0);
    }
    Ok(())
}

#[test]
fn pytorch_agrees_on_outputs_gradients_and_statistics() -> Result<()> {
    check_golden(4, [2, 1, 24, 20], 1)?;
    check_golden(16, [1, 1, 13, 29], 13)
}

#[test]
fn the_published_width_has_the_expected_number_of_weights() -> Result<()> {
    // Weights of each block: 5×5 and 3×3 branches, two normalizations, 1×1 with bias.
    let block = |inputs: usize, f: usize| 34 * inputs * f + 4 * f + 2 * f * f + f;
    let head = |f: usize| f + 2;
    for f in [8, 16] {
        let trunk = block(1, f)
            + block(f, f + 4)
            + block(f + 4, f + 8)
            + block(f + 8, f + 16)
            + block(f + 16, f + 16)
            + block(2 * f + 24, f + 8)
            + block(2 * f + 12, f + 4);
        let task = block(2 * f + 4, f) + head(f);
        for (config, tasks) in
            [(RoiNetConfig::three_task(), 3), (RoiNetConfig::two_task(), 2), (RoiNetConfig::one_task(), 1)]
        {
            let (_, store) = build(&RoiNetConfig { filters: f, ..config }, 0)?;
            assert_eq!(store.trainable_count(), trunk + tasks * task);
        }
    }
    Ok(())
}

#[test]
fn networks_share_the_start_of_what_they_share() -> Result<()> {
    let (_, three) = build(&RoiNetConfig::three_task(), 5)?;
    let (_, one) = build(&RoiNetConfig::one_task(), 5)?;
    let three = three.to_tensors()?;
    for (name, tensor) in one.to_tensors()? {
        assert_eq!(bits(&tensor)?, bits(&three[&name])?, "`{name}`");
    }
    let (net, _) = build(&small(&RoiNetConfig::one_task()), 5)?;
    let output = net.forward(&values("x", &[1, 1, 5, 7])?, Precision::F32)?;
    assert!(output.bone_hu.is_none() && output.bone_mask.is_none());
    Ok(())
}

#[test]
fn weights_of_another_configuration_are_refused() -> Result<()> {
    let (_, three) = build(&small(&RoiNetConfig::three_task()), 0)?;
    let (_, one) = build(&small(&RoiNetConfig::one_task()), 0)?;
    let (_, wide) = build(&RoiNetConfig { filters: 5, ..RoiNetConfig::three_task() }, 0)?;
    assert!(matches!(three.load_tensors(&one.to_tensors()?), Err(NnError::MissingParameters { .. })));
    assert!(matches!(one.load_tensors(&three.to_tensors()?), Err(NnError::UnexpectedParameters { .. })));
    assert!(matches!(wide.load_tensors(&three.to_tensors()?), Err(NnError::ParameterShape { .. })));
    Ok(())
}

#[test]
fn dropout_follows_its_seed() -> Result<()> {
    let config = RoiNetConfig { dropout: 0.4, ..small(&RoiNetConfig::three_task()) };
    let x = values("x", &[2, 1, 9, 11])?;
    let run = |seed| -> Result<Vec<u32>> {
        let (net, _) = build(&config, 1)?;
        Ok(bits(&net.forward_train(&x, Precision::F32, seed)?.whole_hu)?)
    };
    assert_eq!(run(1)?, run(1)?);
    assert_ne!(run(1)?, run(2)?);
    // Evaluation drops nothing and forgets nothing.
    let (net, store) = build(&config, 1)?;
    let before = store.to_tensors()?;
    assert_eq!(
        bits(&net.forward(&x, Precision::F32)?.whole_hu)?,
        bits(&net.forward(&x, Precision::F32)?.whole_hu)?
    );
    for (name, tensor) in store.to_tensors()? {
        assert_eq!(bits(&tensor)?, bits(&before[&name])?, "`{name}`");
    }
    Ok(())
}

/// Outputs, the gradients of all parameters and all tensors after a step.
fn step(net: &RoiNet, store: &ParameterStore, x: &Tensor, precision: Precision) -> Result<Vec<Tensor>> {
    let output = net.forward_train(x, precision, 11)?;
    let gradients = loss(&output)?.backward()?;
    let mut tensors: Vec<Tensor> = outputs(&output).into_iter().map(|(_, t)| t.clone()).collect();
    tensors.extend(store.trainable().filter_map(|(_, var)| gradients.get(var).cloned()));
    tensors.extend(store.to_tensors()?.into_values());
    Ok(tensors)
}

#[test]
fn threads_do_not_change_a_bit() {
    for precision in [Precision::F32, Precision::Bf16] {
        same_bits_on_any_thread_count(|| {
            let run = || -> Result<Vec<Tensor>> {
                let config = RoiNetConfig { dropout: 0.2, ..small(&RoiNetConfig::three_task()) };
                let (net, store) = build(&config, 3)?;
                let x = values("x", &[3, 1, 40, 37])?;
                let mut tensors = step(&net, &store, &x, precision)?;
                let output = net.forward(&x, precision)?;
                tensors.extend(outputs(&output).into_iter().map(|(_, t)| t.clone()));
                Ok(tensors)
            };
            run().map_err(candle_core::Error::wrap)
        });
    }
}

#[test]
fn a_graph_can_be_differentiated_twice_and_beside_another() -> Result<()> {
    let config = RoiNetConfig { filters: 3, ..small(&RoiNetConfig::two_task()) };
    for precision in [Precision::F32, Precision::Bf16] {
        let (net, store) = build(&config, 3)?;
        let gradients = |loss: &Tensor| -> Result<Vec<Vec<u32>>> {
            let gradients = loss.backward()?;
            let of_parameters = store.trainable().filter_map(|(_, var)| gradients.get(var));
            Ok(of_parameters.map(bits).collect::<candle_core::Result<_>>()?)
        };
        let run = |shape: [usize; 4]| loss(&net.forward_train(&values("x", &shape)?, precision, 1)?);
        let shapes = [[1, 1, 13, 29], [2, 1, 16, 11]];
        let alone = [gradients(&run(shapes[0])?)?, gradients(&run(shapes[1])?)?];
        let together = [run(shapes[0])?, run(shapes[1])?];
        for _ in 0..2 {
            for (loss, alone) in together.iter().zip(&alone) {
                assert_eq!(alone.len(), store.trainable().count());
                assert!(gradients(loss)? == *alone, "{precision:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn bad_pixels_reach_every_output() -> Result<()> {
    let (net, _) = build(&small(&RoiNetConfig::three_task()), 3)?;
    for precision in [Precision::F32, Precision::Bf16] {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = flat(&values("x", &[1, 1, 13, 29])?)?;
            x[100] = bad;
            let x = Tensor::from_vec(x, (1, 1, 13, 29), &Device::Cpu)?;
            for (name, output) in outputs(&net.forward(&x, precision)?) {
                assert!(flat(output)?[100].is_nan(), "{name} of {bad}, {precision:?}");
            }
            // Last, because they spoil the running statistics.
            let (net, _) = build(&small(&RoiNetConfig::three_task()), 3)?;
            let trained = net.forward_train(&x, precision, 0)?;
            for (name, output) in outputs(&trained) {
                assert!(flat(output)?.iter().all(|value| value.is_nan()), "{name} of {bad}, {precision:?}");
            }
            loss(&trained)?.backward()?;
        }
    }
    Ok(())
}

#[test]
fn outputs_start_where_ct_values_lie() -> Result<()> {
    let (net, _) = build(&RoiNetConfig::three_task(), 2)?;
    let output = net.forward_train(&values("x", &[2, 1, 32, 32])?, Precision::F32, 1)?;
    let mean = |tensor: &Tensor| -> Result<f32> { Ok(tensor.mean_all()?.to_scalar::<f32>()?) };
    assert!((mean(&output.whole_hu)? + 0.5).abs() < 1e-3);
    let [bone_hu, bone_mask] = [&output.bone_hu, &output.bone_mask]
        .map(|tensor| tensor.as_ref().expect("the three-task network has it"));
    assert!((mean(bone_hu)? - 1.0).abs() < 0.1);
    assert!((0.05..0.3).contains(&mean(bone_mask)?));
    assert!(flat(bone_hu)?.iter().filter(|value| **value > 0.0).count() > 1800);
    Ok(())
}

/// A few steps of plain gradient descent on one image bring its error down.
#[test]
fn the_gradient_points_downhill() -> Result<()> {
    let (net, store) = build(&small(&RoiNetConfig::one_task()), 4)?;
    let x = values("x", &[1, 1, 16, 16])?;
    let target = (values("y", &[1, 1, 16, 16])? * 0.2)?;
    let mut errors = Vec::new();
    for _ in 0..15 {
        let error = (net.forward_train(&x, Precision::F32, 0)?.whole_hu - &target)?.sqr()?.mean_all()?;
        errors.push(error.to_scalar::<f32>()?);
        let gradients = error.backward()?;
        for (_, var) in store.trainable() {
            let gradient = gradients.get(var).expect("every parameter has a gradient");
            var.set(&(var.as_detached_tensor() - (gradient * 0.05)?)?)?;
        }
    }
    assert!(errors[14] < 0.5 * errors[0], "{errors:?}");
    Ok(())
}

#[test]
fn unfit_input_is_refused() -> Result<()> {
    let (net, _) = build(&small(&RoiNetConfig::three_task()), 0)?;
    let x = values("x", &[1, 2, 8, 8])?;
    assert!(matches!(net.forward(&x, Precision::F32), Err(NnError::Input { .. })));
    assert!(matches!(
        net.forward(&x.narrow(1, 0, 1)?.squeeze(0)?, Precision::F32),
        Err(NnError::Input { .. })
    ));
    let pixel = values("x", &[1, 1, 1, 1])?;
    assert!(net.forward(&pixel, Precision::F32).is_ok());
    assert!(matches!(net.forward_train(&pixel, Precision::F32, 0), Err(NnError::SinglePixelBatch { .. })));
    Ok(())
}
