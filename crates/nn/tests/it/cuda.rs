//! The operations on a GPU against the same on the CPU; skipped where there is none.

use candle_core::{Device, Result, Tensor, Var};
use synthct_nn::ops::{
    Activation, BatchNorm, BatchNormOptions, Conv2dOptions, Conv3dOptions, ConvTranspose2dOptions, CudaMath,
    avg_pool2d, batch_norm, channel_moments, conv_transpose2d, conv2d, conv3d, max_pool2d,
    upsample_bilinear2d, upsample_nearest2d,
};
use synthct_nn::{NnError, ParameterStore, Precision, RoiNet, RoiNetConfig, RoiNetOutput};

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

/// Compares values and gradients of x, weight and bias with the CPU's, and two runs with each other.
fn check_convolution(
    gpu: &Device,
    what: &str,
    shapes: [&[usize]; 3],
    convolve: impl Fn(&[Var], CudaMath) -> Result<Tensor>,
) -> Result<()> {
    let arguments = [values("x", shapes[0])?, values("w", shapes[1])?, values("b", shapes[2])?];
    // Rounding of the factors: to 24, 11 and 8 bits.
    for (math, tolerance) in [(CudaMath::Full, 1e-5), (CudaMath::Tf32, 3e-3), (CudaMath::Bf16, 3e-2)] {
        let convolve = |v: &[Var]| convolve(v, math);
        let expected = with_gradients(&Device::Cpu, &arguments, convolve)?;
        let found = with_gradients(gpu, &arguments, convolve)?;
        let again = with_gradients(gpu, &arguments, convolve)?;
        for (idx, (found, expected)) in found.iter().zip(&expected).enumerate() {
            close(&format!("{math:?} {what}, tensor {idx}"), found, expected, tolerance, 1e-6);
            assert_eq!(bits(found)?, bits(&again[idx])?, "{math:?} {what}, tensor {idx} again");
        }
    }
    Ok(())
}

#[test]
fn convolution_agrees_with_the_cpu() -> Result<()> {
    let Some(gpu) = gpu("convolution on a GPU") else { return Ok(()) };
    let same = Conv2dOptions::same;
    let down = Conv2dOptions { stride: [2; 2], padding: [1; 2], ..Conv2dOptions::default() };
    for (shape, outputs, kernel, options) in [
        ([1, 1, 1, 1], 1, [5, 5], same(5, 1)),
        ([2, 3, 9, 1], 4, [3, 3], same(3, 2)),
        ([2, 5, 33, 32], 7, [5, 5], same(5, 8)),
        ([3, 6, 8, 10], 40, [1, 1], same(1, 1)),
        ([2, 16, 65, 70], 24, [5, 5], same(5, 4)),
        ([2, 3, 64, 48], 16, [4, 4], down),
        // The last row and the last two columns are not read.
        ([2, 3, 18, 13], 5, [3, 2], Conv2dOptions { stride: [2, 3], padding: [0, 0], ..down }),
        ([1, 4, 17, 20], 6, [3, 2], Conv2dOptions { stride: [1, 2], dilation: [3, 2], ..down }),
    ] {
        let weight = [outputs, shape[1], kernel[0], kernel[1]];
        let shapes = [&shape[..], &weight, &[outputs]];
        check_convolution(&gpu, &format!("{shape:?} {options:?}"), shapes, |v, math| {
            conv2d(&v[0], &v[1], Some(&v[2]), &Conv2dOptions { math, ..options })
        })?;
    }
    Ok(())
}

#[test]
fn transposed_convolution_agrees_with_the_cpu() -> Result<()> {
    let Some(gpu) = gpu("transposed convolution on a GPU") else { return Ok(()) };
    let up = ConvTranspose2dOptions { stride: [2; 2], padding: [1; 2], ..ConvTranspose2dOptions::default() };
    for (shape, outputs, kernel, options) in [
        ([2, 3, 5, 7], 4, [3, 2], ConvTranspose2dOptions::default()),
        ([2, 16, 24, 20], 3, [4, 4], up),
        ([1, 5, 9, 8], 6, [3, 3], ConvTranspose2dOptions { output_padding: [1, 0], ..up }),
        ([2, 2, 6, 5], 3, [2, 3], ConvTranspose2dOptions { stride: [3, 4], padding: [0, 1], ..up }),
        ([1, 4, 6, 7], 2, [3, 2], ConvTranspose2dOptions { dilation: [3, 2], ..up }),
    ] {
        let weight = [shape[1], outputs, kernel[0], kernel[1]];
        let shapes = [&shape[..], &weight, &[outputs]];
        check_convolution(&gpu, &format!("{shape:?} {options:?}"), shapes, |v, math| {
            conv_transpose2d(&v[0], &v[1], Some(&v[2]), &ConvTranspose2dOptions { math, ..options })
        })?;
    }
    Ok(())
}

#[test]
fn frozen_weights_get_no_gradient_on_a_gpu() -> Result<()> {
    let Some(gpu) = gpu("gradients of some arguments on a GPU") else { return Ok(()) };
    let on_gpu = |name: &str, shape: &[usize]| values(name, shape)?.to_device(&gpu);
    let x = Var::from_tensor(&on_gpu("x", &[1, 2, 8, 8])?)?;
    let (w, b) = (on_gpu("w", &[3, 2, 3, 3])?, on_gpu("b", &[3])?);
    let gradients = conv2d(&x, &w, Some(&b), &Conv2dOptions::same(3, 1))?.sum_all()?.backward()?;
    assert!(gradients.get(&x).is_some() && gradients.get(&w).is_none() && gradients.get(&b).is_none());
    Ok(())
}

#[test]
fn what_does_not_run_on_a_gpu_says_so() -> Result<()> {
    let Some(gpu) = gpu("operations that a GPU does not run") else { return Ok(()) };
    let image = values("x", &[1, 2, 6, 8])?.to_device(&gpu)?;
    let (volume, kernel) = (image.unsqueeze(2)?, values("w", &[3, 2, 1, 3, 3])?.to_device(&gpu)?);
    for (name, result) in [
        ("conv3d", conv3d(&volume, &kernel, None, &Conv3dOptions::default())),
        ("max_pool2d", max_pool2d(&image, [2, 2], [2, 2])),
        ("avg_pool2d", avg_pool2d(&image, [2, 2], [2, 2])),
        ("upsample_nearest2d", upsample_nearest2d(&image, [12, 16])),
        ("upsample_bilinear2d", upsample_bilinear2d(&image, [12, 16], false)),
    ] {
        let error = result.expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("CUDA"), "{name}: {error}");
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

/// All outputs in the channels: unlike the sCT, which is one head's or another's, they change smoothly.
fn heads(output: &RoiNetOutput) -> Result<Tensor> {
    let heads = [Some(&output.whole_hu), output.bone_hu.as_ref(), output.bone_mask.as_ref()];
    Tensor::cat(&heads.into_iter().flatten().collect::<Vec<_>>(), 1)
}

/// What a new network makes of `mr` in training and after it, and the gradients of its parameters, on the CPU.
fn network(
    device: &Device,
    precision: Precision,
    mr: &Tensor,
) -> std::result::Result<Vec<(String, Tensor)>, NnError> {
    let config = RoiNetConfig { filters: 4, ..RoiNetConfig::three_task() };
    let mut store = ParameterStore::new(7, device);
    let net = RoiNet::new(&config, &mut store)?;
    let mr = mr.to_device(device)?;
    let trained = heads(&net.forward_train(&mr, precision, 3)?)?;
    let gradients = trained.sqr()?.mean_all()?.backward()?;
    let evaluated = heads(&net.forward(&mr, precision)?)?;
    let mut tensors = vec![("trained".to_owned(), trained.detach()), ("evaluated".to_owned(), evaluated)];
    for (name, var) in store.trainable() {
        let gradient = gradients.get(var).expect("every parameter has a gradient");
        tensors.push((format!("gradient of {name}"), gradient.clone()));
    }
    for (_, tensor) in &mut tensors {
        *tensor = tensor.to_device(&Device::Cpu)?;
    }
    Ok(tensors)
}

#[test]
fn the_network_agrees_with_the_cpu() -> std::result::Result<(), NnError> {
    let Some(gpu) = gpu("the network on a GPU") else { return Ok(()) };
    let mr = values("mr", &[2, 1, 37, 30])?;
    let expected = network(&Device::Cpu, Precision::F32, &mr)?;
    let single = network(&gpu, Precision::F32, &mr)?;
    for ((name, found), (_, expected)) in single.iter().zip(&expected) {
        close(name, found, expected, 1e-3, 1e-6);
    }
    // Where a gradient's terms cancel, bfloat16 leaves no correct bit of it.
    let brain = network(&gpu, Precision::Bf16, &mr)?;
    for ((name, found), (_, expected)) in brain.iter().zip(&expected) {
        let (tolerance, floor) = if name.starts_with("gradient") { (0.2, 1e-5) } else { (0.03, 0.0) };
        close(&format!("{name} in bfloat16"), found, expected, tolerance, floor);
    }
    assert_ne!(bits(&brain[0].1)?, bits(&single[0].1)?, "the precision changes nothing in training");
    assert_ne!(bits(&brain[1].1)?, bits(&single[1].1)?, "the precision changes nothing in evaluation");
    Ok(())
}
