//! The block on every path of this processor, and the memory it keeps.

use candle_core::Var;

use super::*;
use crate::kernels::tests::values;

const FILTERS: usize = 5;
/// Enough for tiles of fewer multiplications.
const INPUTS: usize = 5;

fn parameters() -> Result<TwoScaleBlockParameters> {
    let f = FILTERS;
    let tensor = |shape: &[usize], seed: u64| -> Result<Tensor> {
        let values = values(shape.iter().product(), seed);
        Ok(Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)?.into_inner())
    };
    Ok(TwoScaleBlockParameters {
        conv5: tensor(&[f, INPUTS, 5, 5], 1)?,
        conv3: tensor(&[f, INPUTS, 3, 3], 2)?,
        gain: tensor(&[2 * f], 3)?,
        bias: tensor(&[2 * f], 4)?,
        conv1: tensor(&[f, 2 * f, 1, 1], 5)?,
        bias1: tensor(&[f], 6)?,
    })
}

/// Output, all gradients and the output in evaluation.
fn run<F: Format>(
    context: &Context,
    [images, height, width]: [usize; 3],
    dilation: usize,
) -> Result<Vec<Vec<f32>>> {
    let parameters = parameters()?;
    let shape = (images, INPUTS, height, width);
    let x = Var::from_vec(values(images * INPUTS * height * width, 7), shape, &Device::Cpu)?;
    let options = TwoScaleBlockOptions { dilation, epsilon: 1e-5, dropout: None, precision: Precision::F32 };
    let (out, moments) = train::<F>(&x, &parameters, &options, context)?;
    let coefficient = Tensor::from_vec(values(out.elem_count(), 8), out.dims(), &Device::Cpu)?;
    let gradients = (&out * coefficient)?.sum_all()?.backward()?;
    let TwoScaleBlockParameters { conv5, conv3, gain, bias, conv1, bias1 } = &parameters;
    let mut results = vec![out, evaluate::<F>(&x, &parameters, &moments, &options, context)?];
    for argument in [x.as_tensor(), conv5, conv3, gain, bias, conv1, bias1] {
        results.push(gradients.get(argument).cloned().expect("every argument has a gradient"));
    }
    results.iter().map(|tensor| tensor.flatten_all()?.to_vec1()).collect()
}

fn context(level: Level) -> Context {
    Context { level, pool: Arc::default() }
}

/// The largest difference as a part of the largest expected value, over all results.
fn distance(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    let of_result = |(found, expected): (&Vec<f32>, &Vec<f32>)| {
        let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        let differences = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
        differences.fold(0.0, f32::max) / largest
    };
    found.iter().zip(expected).map(of_result).fold(0.0, f32::max)
}

/// Paths sum in other orders and with other roundings; in bfloat16 a value on the border may then round the other way.
#[test]
fn every_path_agrees_with_the_portable_one() -> Result<()> {
    let paths = [Level::Avx2, Level::Avx512, Level::Avx512Bf16];
    for (size, dilation) in [
        ([2, 9, 17], 1),
        ([1, 40, 33], 8),
        ([3, 5, 5], 2),
        ([1, 31, 65], 3),
        ([2, 40, 1], 1),
        ([1, 1, 31], 2),
        ([1, 6, 7], usize::MAX),
    ] {
        let single = run::<Single>(&context(Level::Portable), size, dilation)?;
        let brain = run::<Brain>(&context(Level::Portable), size, dilation)?;
        for level in paths.into_iter().filter(|level| level.is_supported()) {
            let found = distance(&run::<Single>(&context(level), size, dilation)?, &single);
            assert!(found < 2e-6, "f32 of {size:?} on {level:?}: {found:e}");
            let found = distance(&run::<Brain>(&context(level), size, dilation)?, &brain);
            assert!(found < 5e-3, "bfloat16 of {size:?} on {level:?}: {found:e}");
        }
    }
    Ok(())
}

/// What buffers held before must not matter: stale values there would show as NaN.
#[test]
fn used_memory_gives_the_same_bits() -> Result<()> {
    fn check<F: Format>() -> Result<()> {
        let size = [2, 13, 29];
        let bits = |results: Vec<Vec<f32>>| -> Vec<u32> {
            results.into_iter().flatten().map(f32::to_bits).collect()
        };
        for level in [Level::Portable, Level::best()] {
            let fresh = bits(run::<F>(&context(level), size, 2)?);
            let context = context(level);
            let parameters = parameters()?;
            let options =
                TwoScaleBlockOptions { dilation: 2, epsilon: 1e-5, dropout: None, precision: Precision::F32 };
            let bad = Tensor::full(f32::NAN, (2, INPUTS, 14, 30), &Device::Cpu)?;
            train::<F>(&bad, &parameters, &options, &context)?.0.sum_all()?.backward()?;
            assert!(bits(run::<F>(&context, size, 2)?) == fresh, "{level:?}");
        }
        Ok(())
    }
    check::<Single>()?;
    check::<Brain>()
}

#[test]
fn memory_does_not_grow() -> Result<()> {
    fn check<F: Format>() -> Result<()> {
        let context = context(Level::best());
        let mut kept = Vec::new();
        for _ in 0..6 {
            for size in [[1, 20, 30], [2, 40, 60], [1, 5, 7], [2, 33, 65]] {
                run::<F>(&context, size, 1)?;
            }
            kept.push(context.pool.free_bytes());
        }
        assert_eq!(kept[1], kept[5], "{kept:?}");
        Ok(())
    }
    // One thread: how many buffers are in use at once does not hang on who comes first.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(candle_core::Error::wrap)?;
    threads.install(|| check::<Single>().and_then(|()| check::<Brain>()))
}
