//! The fused engine against the network run layer by layer.

use candle_core::{Device, Var};

use super::*;
use crate::kernels::tests::values;

type Result<T> = std::result::Result<T, NnError>;

const SEED: u64 = 5;

/// A network, its parameters and what came of a step.
struct Step {
    net: RoiNet,
    store: ParameterStore,
    /// Names and values of outputs, gradients and buffers.
    results: Vec<(String, Vec<f32>)>,
}

fn input(config: &RoiNetConfig, [images, height, width]: [usize; 3]) -> Result<Var> {
    let shape = (images, config.in_channels, height, width);
    let count = images * config.in_channels * height * width;
    Ok(Var::from_vec(values(count, 1), shape, &Device::Cpu)?)
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

fn outputs(output: &RoiNetOutput) -> Vec<&Tensor> {
    [Some(&output.whole_hu), output.bone_hu.as_ref(), output.bone_mask.as_ref()]
        .into_iter()
        .flatten()
        .collect()
}

/// Runs forward and backward in training.
fn step(
    config: &RoiNetConfig,
    path: CpuPath,
    size: [usize; 3],
    forward: impl Fn(&RoiNet, &Tensor) -> Result<RoiNetOutput>,
) -> Result<Step> {
    let mut store = ParameterStore::new(SEED, &Device::Cpu);
    let net = RoiNet::new(config, &mut store)?.with_cpu_path(path)?;
    let x = input(config, size)?;
    let output = forward(&net, &x)?;
    let mut loss = Tensor::new(0.0f32, &Device::Cpu)?;
    let mut results = Vec::new();
    for (idx, out) in outputs(&output).into_iter().enumerate() {
        let coefficient =
            Tensor::from_vec(values(out.elem_count(), 2 + idx as u64), out.dims(), &Device::Cpu)?;
        loss = (loss + (out * coefficient)?.sum_all()?)?;
        results.push((format!("output {idx}"), flat(out)?));
    }
    let gradients = loss.backward()?;
    let gradient = |var: &Var| flat(gradients.get(var).expect("everything has a gradient"));
    results.push(("gradient of x".to_owned(), gradient(&x)?));
    for (name, var) in store.trainable() {
        results.push((format!("gradient of {name}"), gradient(var)?));
    }
    for (name, var) in store.buffers() {
        results.push((name.to_owned(), flat(var)?));
    }
    Ok(Step { net, store, results })
}

/// Fails if a value differs by more than `tolerance` of the largest expected one; for gradients that are zero but for
/// rounding and epsilon, such as that of a bias or of a head's only weight before a normalization, of three hundredths of
/// the largest of all gradients.
#[track_caller]
fn close(what: &str, found: &[(String, Vec<f32>)], expected: &[(String, Vec<f32>)], tolerance: f32) {
    let largest_of = |values: &[f32]| values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let gradients = expected.iter().filter(|(name, _)| name.starts_with("gradient"));
    let floor = 0.03 * gradients.map(|(_, values)| largest_of(values)).fold(0.0, f32::max);
    assert_eq!(found.len(), expected.len(), "{what}");
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{name} of {what}");
        let floor = if name.starts_with("gradient") { floor } else { 0.0 };
        let largest = largest_of(expected).max(floor);
        for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() <= tolerance * largest,
                "{name} of {what}, value {idx}: {found} for {expected} (largest {largest})"
            );
        }
    }
}

fn configs() -> Vec<(RoiNetConfig, [usize; 3])> {
    let config = |config: RoiNetConfig, filters, in_channels, dropout| RoiNetConfig {
        in_channels,
        filters,
        dropout,
        ..config
    };
    vec![
        (config(RoiNetConfig::three_task(), 4, 1, 0.2), [1, 13, 29]),
        (config(RoiNetConfig::three_task(), 5, 3, 0.0), [2, 31, 17]),
        (config(RoiNetConfig::two_task(), 3, 2, 0.3), [1, 33, 5]),
        (config(RoiNetConfig::one_task(), 1, 4, 0.0), [3, 9, 33]),
        (config(RoiNetConfig::one_task(), 2, 1, 0.1), [1, 40, 3]),
    ]
}

#[test]
fn layer_by_layer_agrees() -> Result<()> {
    for (config, size) in configs() {
        let what = format!("{config:?} {size:?}");
        let best = CpuPath::best();
        let fused = step(&config, best, size, |net, x| net.train_fused(x, Precision::F32, SEED))?;
        let plain = step(&config, best, size, |net, x| {
            net.run(x, Mode::Train { dropout_seed: SEED }, Precision::F32)
        })?;
        close(&what, &fused.results, &plain.results, 1e-5);

        // With the same running statistics.
        fused.store.load_tensors(&plain.store.to_tensors()?)?;
        let x = input(&config, size)?.as_detached_tensor();
        let evaluated = fused.net.evaluate_fused(&x, Precision::F32)?;
        let expected = plain.net.run(&x, Mode::Evaluate, Precision::F32)?;
        for (found, expected) in outputs(&evaluated).into_iter().zip(outputs(&expected)) {
            let [found, expected] =
                [found, expected].map(|out| flat(out).map(|out| vec![(String::new(), out)]));
            close(&format!("evaluation of {what}"), &found?, &expected?, 1e-5);
        }
    }
    Ok(())
}

/// ‖found − expected‖ / ‖expected‖ over all results whose names begin so.
fn relative_difference(name: &str, found: &Step, expected: &Step) -> f32 {
    let mut sums = [0.0f64; 2];
    for ((key, found), (_, expected)) in found.results.iter().zip(&expected.results) {
        if key.starts_with(name) {
            for (found, expected) in found.iter().zip(expected) {
                sums[0] += f64::from(found - expected).powi(2);
                sums[1] += f64::from(*expected).powi(2);
            }
        }
    }
    (sums[0] / sums[1]).sqrt() as f32
}

/// A wrong pairing of the channels of parts that are read together would be off by as much as the values are large.
///
/// Norms are compared: where a ReLU opens for one of both and not for the other a single value is far off.
#[test]
fn bfloat16_is_near_single_precision() -> Result<()> {
    for (config, size) in configs() {
        let run =
            |precision| step(&config, CpuPath::best(), size, |net, x| net.train_fused(x, precision, SEED));
        let [single, brain] = [run(Precision::F32)?, run(Precision::Bf16)?];
        for (name, bound) in
            [("output", 0.01), ("gradient of x", 0.06), ("gradient of c", 0.06), ("gradient of head", 0.04)]
        {
            let found = relative_difference(name, &brain, &single);
            assert!(found < bound, "{name} of {config:?} {size:?}: {found}");
        }
    }
    Ok(())
}

#[test]
fn every_path_agrees_with_the_portable_one() -> Result<()> {
    let (config, size) = configs().swap_remove(1);
    for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.05)] {
        let run = |path| step(&config, path, size, |net, x| net.train_fused(x, precision, SEED));
        let portable = run(CpuPath::Portable)?;
        for path in CpuPath::ALL.into_iter().filter(|path| path.is_supported()) {
            close(&format!("{path:?}"), &run(path)?.results, &portable.results, tolerance);
        }
    }
    Ok(())
}

#[test]
fn memory_does_not_grow() -> Result<()> {
    let config = RoiNetConfig { filters: 4, ..RoiNetConfig::three_task() };
    let run = || -> Result<()> {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut store = ParameterStore::new(SEED, &Device::Cpu);
            let net = RoiNet::new(&config, &mut store)?;
            let mut kept = Vec::new();
            for _ in 0..8 {
                for size in [[2, 24, 20], [1, 40, 33], [1, 7, 5]] {
                    let x = input(&config, size)?;
                    net.forward_train(&x, precision, SEED)?.whole_hu.sum_all()?.backward()?;
                    net.forward(&x, precision)?;
                }
                kept.push(net.context.pool.free_bytes());
            }
            assert_eq!(kept[2], kept[7], "{precision:?}: {kept:?}");
        }
        Ok(())
    };
    // One thread: how many buffers are in use at once does not hang on who comes first.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(candle_core::Error::wrap)?;
    threads.install(run)
}
