//! Values, comparisons and thread pools for the tests.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Result, Tensor};
use synthct_nn::ParameterStore;

/// Reproducible values in [-1, 1), a function of the name and the position; the same as in `make_goldens.py`.
pub(crate) fn values(name: &str, shape: &[usize]) -> Result<Tensor> {
    let key = name.bytes().fold(0u32, |key, byte| key.wrapping_mul(31).wrapping_add(byte.into()));
    let values: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|idx| {
            let mut h = (idx as u32).wrapping_mul(2_654_435_761).wrapping_add(key);
            h = (h ^ (h >> 15)).wrapping_mul(2_246_822_519);
            h = (h ^ (h >> 13)).wrapping_mul(3_266_489_917);
            h ^= h >> 16;
            (f64::from(h) / f64::from(1u32 << 31) - 1.0) as f32
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// The weights of `make_goldens.py`.
pub(crate) fn golden_weights(store: &ParameterStore) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for (name, var) in store.trainable().chain(store.buffers()) {
        let value = values(name, var.dims())?;
        let value = if var.rank() == 4 {
            let fan_in: usize = var.dims()[1..].iter().product();
            (value / (fan_in as f64).sqrt())?
        } else if name.ends_with("running_var") || (name.contains(".bn") && name.ends_with("weight")) {
            value.affine(0.5, 1.0)?
        } else {
            (value * 0.5)?
        };
        tensors.insert(name.to_owned(), value);
    }
    Ok(tensors)
}

/// All values, row by row.
pub(crate) fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// The bits of all values.
pub(crate) fn bits(tensor: &Tensor) -> Result<Vec<u32>> {
    Ok(flat(tensor)?.into_iter().map(f32::to_bits).collect())
}

/// The reference values of a golden folder.
pub(crate) fn golden(name: &str) -> Result<HashMap<String, Tensor>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    candle_core::safetensors::load(folder.join("values.safetensors"), &Device::Cpu)
}

/// Fails if a value differs by more than `tolerance` × the largest expected value, or `floor` if that is more.
#[track_caller]
pub(crate) fn close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f32, floor: f32) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let [found, expected] = [found, expected].map(|t| flat(t).expect("tests compare f32 tensors"));
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let allowed = (tolerance * largest).max(floor);
    for (idx, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (found - expected).abs() <= allowed,
            "{what}, value {idx}: {found} for {expected} ± {allowed:e} (largest {largest})"
        );
    }
}

/// Runs `f` with one, two and three threads and fails if any bit of the tensors it returns differs.
#[track_caller]
pub(crate) fn same_bits_on_any_thread_count(f: impl Fn() -> Result<Vec<Tensor>> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a small thread pool can be made");
        pool.install(|| f().and_then(|tensors| tensors.iter().map(bits).collect::<Result<Vec<_>>>()))
            .expect("the operation succeeds")
    };
    let single = run(1);
    for threads in [2, 3] {
        assert!(run(threads) == single, "{threads} threads give other bits than one");
    }
}
