//! The operations on a GPU against the same on the CPU; skipped where there is none.

use candle_core::{Device, Result, Tensor, Var};
use synthct_nn::ops::{
    Activation, BatchNorm, BatchNormOptions, CudaMath, batch_norm, channel_moments, conv2d_with,
};
use synthct_nn::{NnError, ParameterStore, RoiNet, RoiNetConfig};

use crate::support::{bits, close, values};

/// The first GPU, or none after saying so.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn gpu(test: &str) -> Option<Device> {
    match Device::new_cuda(0) {
        Ok(device) => Some(device),
        Err(error) => {
            eprintln!("skipped: {test}, since there is no GPU: {error}");
            None
        }
    }
}

/// The result of `f` for variables of these values on a device, and its gradients, all on the CPU.
fn with_gradients(
    device: &Device,
    arguments: &[Tensor],
    f: impl Fn(&[Var]) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let vars = arguments
        .iter()
        .map(|argument| Var::from_tensor(&argument.to_device(device)?))
        .collect::<Result<Vec<_>>>()?;
    let out = f(&vars)?;
    let coefficients = values("coefficient", out.dims())?.to_device(device)?;
    let gradients = (&out * coefficients)?.sum_all()?.backward()?;
    let mut tensors = vec![out.detach()];
    for var in &vars {
        tensors.push(gradients.get(var).expect("every input has a gradient").clone());
    }
    tensors.iter().map(|tensor| tensor.to_device(&Device::Cpu)).collect()
}

#[test]
fn convolution_agrees_with_the_cpu() -> Result<()> {
    let Some(gpu) = gpu("convolution on a GPU") else { return Ok(()) };
    for (shape, outputs, kernel, dilation) in [
        ([1, 1, 1, 1], 1, 5, 1),
        ([2, 3, 9, 1], 4, 3, 2),
        ([2, 5, 33, 32], 7, 5, 8),
        ([3, 6, 8, 10], 40, 1, 1),
        ([2, 16, 65, 70], 24, 5, 4),
    ] {
        let arguments = [
            values("x", &shape)?,
            values("w", &[outputs, shape[1], kernel, kernel])?,
            values("b", &[outputs])?,
        ];
        // Rounding of the factors: to 24, 11 and 8 bits.
        for (math, tolerance) in [(CudaMath::Full, 1e-5), (CudaMath::Tf32, 3e-3), (CudaMath::Bf16, 3e-2)] {
            let convolve = |v: &[Var]| conv2d_with(&v[0], &v[1], Some(&v[2]), dilation, math);
            let expected = with_gradients(&Device::Cpu, &arguments, convolve)?;
            let found = with_gradients(&gpu, &arguments, convolve)?;
            let again = with_gradients(&gpu, &arguments, convolve)?;
            for (idx, (found, expected)) in found.iter().zip(&expected).enumerate() {
                close(&format!("{math:?} {shape:?}, tensor {idx}"), found, expected, tolerance, 1e-6);
                assert_eq!(bits(found)?, bits(&again[idx])?, "{math:?} {shape:?}, tensor {idx} again");
            }
        }
    }
    Ok(())
}

#[test]
fn batch_norm_agrees_with_the_cpu() -> Result<()> {
    let Some(gpu) = gpu("batch normalization on a GPU") else { return Ok(()) };
    for shape in [[2, 3, 5, 7], [3, 5, 130, 150]] {
        let arguments = [values("x", &shape)?, values("gain", &shape[1..2])?, values("bias", &shape[1..2])?];
        let dropout: Vec<f32> = (0..shape[0] * shape[1]).map(|plane| [1.25, 0.0][plane % 2]).collect();
        for activation in [Activation::Linear, Activation::Elu, Activation::Relu, Activation::Sigmoid] {
            for dropout in [None, Some(dropout.clone())] {
                let options = BatchNormOptions { activation, epsilon: 1e-5, dropout };
                let normalize = |v: &[Var]| {
                    let moments = channel_moments(&v[0])?;
                    batch_norm(&v[0], &v[1], &v[2], BatchNorm::Batch(&moments), &options)
                };
                let expected = with_gradients(&Device::Cpu, &arguments, normalize)?;
                let found = with_gradients(&gpu, &arguments, normalize)?;
                for (idx, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    close(&format!("{activation:?} {shape:?}, tensor {idx}"), found, expected, 3e-6, 1e-6);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_network_agrees_with_the_cpu() -> std::result::Result<(), NnError> {
    let Some(gpu) = gpu("the network on a GPU") else { return Ok(()) };
    let config = RoiNetConfig { filters: 4, ..RoiNetConfig::three_task() };
    let mr = values("mr", &[2, 1, 37, 30])?;
    let run = |device: &Device| -> std::result::Result<Vec<(String, Tensor)>, NnError> {
        let mut store = ParameterStore::new(7, device);
        let net = RoiNet::new(&config, &mut store)?;
        let sct = net.forward_train(&mr.to_device(device)?, 3)?.aggregate()?;
        let gradients = sct.sqr()?.mean_all()?.backward()?;
        let mut tensors = vec![("sct".to_owned(), sct.detach().to_device(&Device::Cpu)?)];
        for (name, var) in store.trainable() {
            if let Some(gradient) = gradients.get(var) {
                tensors.push((name.to_owned(), gradient.to_device(&Device::Cpu)?));
            }
        }
        Ok(tensors)
    };
    for ((name, found), (expected_name, expected)) in run(&gpu)?.iter().zip(&run(&Device::Cpu)?) {
        assert_eq!(name, expected_name);
        close(name, found, expected, 1e-3, 1e-6);
    }
    Ok(())
}
