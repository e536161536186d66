//! Convolution and its gradients on a GPU.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaStorage, Result, Shape, Tensor};

use super::geometry::PlanKey;
use super::launch::Segments;
use super::raw;
use super::raw::cudnn::{self, Bf16};
use super::tensor::{Argument, tensor, view, with_storages};
use crate::ops::CudaMath;

/// y from `x` and `weight`.
pub(crate) fn convolve(key: PlanKey, x: Argument, weight: Argument) -> Result<CudaSlice<f32>> {
    let PlanKey { geometry, math } = key;
    let device = &x.0.device;
    let (x, weight) = (view(x)?, view(weight)?);
    match math {
        CudaMath::Full | CudaMath::Tf32 => cudnn::forward(device, key, &x, &weight),
        CudaMath::Bf16 => {
            let x = channels_last(device, &x, geometry.input)?;
            let weight = channels_last(device, &weight, geometry.weight)?;
            let y = cudnn::forward(device, key, &x.as_view(), &weight.as_view())?;
            channels_first(device, &y, geometry.output()?)
        }
    }
}

/// The transpose: a tensor of x's shape from `weight` and one of y's shape, such as the gradient of x from y's.
pub(crate) fn transpose(key: PlanKey, weight: Argument, y: Argument) -> Result<CudaSlice<f32>> {
    let PlanKey { geometry, math } = key;
    let device = &weight.0.device;
    let (weight, y) = (view(weight)?, view(y)?);
    match math {
        CudaMath::Full | CudaMath::Tf32 => cudnn::input_gradient(device, key, &weight, &y),
        CudaMath::Bf16 => {
            let weight = channels_last(device, &weight, geometry.weight)?;
            let y = channels_last(device, &y, geometry.output()?)?;
            let x = cudnn::input_gradient(device, key, &weight.as_view(), &y.as_view())?;
            channels_first(device, &x, geometry.input)
        }
    }
}

/// The gradient of the weight from `x` and y's `gradient`.
pub(crate) fn weight_gradient(key: PlanKey, x: Argument, gradient: Argument) -> Result<CudaSlice<f32>> {
    let PlanKey { geometry, math } = key;
    let device = &x.0.device;
    let (x, gradient) = (view(x)?, view(gradient)?);
    match math {
        CudaMath::Full | CudaMath::Tf32 => cudnn::weight_gradient(device, key, &x, &gradient),
        CudaMath::Bf16 => {
            let x = channels_last(device, &x, geometry.input)?;
            let gradient = channels_last(device, &gradient, geometry.output()?)?;
            let weight = cudnn::weight_gradient(device, key, &x.as_view(), &gradient.as_view())?;
            channels_first(device, &weight, geometry.weight)
        }
    }
}

/// Values of this shape with the bias added, if there is one.
pub(crate) fn with_bias(
    device: &CudaDevice,
    mut values: CudaSlice<f32>,
    shape: [usize; 4],
    bias: Option<Argument>,
) -> Result<(CudaStorage, Shape)> {
    if let Some(bias) = bias {
        raw::add_bias(device, &view(bias)?, Segments::new(shape)?, &mut values)?;
    }
    Ok((CudaStorage::wrap_cuda_slice(values, device.clone()), Shape::from(&shape[..])))
}

/// The gradient of a bias `[C]`: the sums of `gradient` `[N, C, H, W]` over the pixels of all images.
pub(crate) fn bias_gradient(gradient: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = gradient.dims4()?;
    let segments = Segments::new([n, c, h, w])?;
    with_storages([gradient], |[gradient]| {
        let device = &gradient.0.device;
        let (_, parts) = raw::moment_parts(device, &view(gradient)?, segments, false)?;
        Ok(tensor(raw::sum_parts(device, &parts, segments)?.first, device, c))
    })
}

fn channels_last(
    device: &CudaDevice,
    x: &CudaView<f32>,
    [n, c, h, w]: [usize; 4],
) -> Result<CudaSlice<Bf16>> {
    raw::channels_last_bf16(device, x, [n, c, h * w])
}

fn channels_first(
    device: &CudaDevice,
    x: &CudaSlice<Bf16>,
    [n, c, h, w]: [usize; 4],
) -> Result<CudaSlice<f32>> {
    raw::channels_first_f32(device, x, [n, c, h * w])
}
