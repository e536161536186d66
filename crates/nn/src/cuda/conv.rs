//! Convolution and its gradients on a GPU.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaStorage, Result, Shape, Tensor};

use super::geometry::{ConvGeometry, PlanKey};
use super::launch::Segments;
use super::raw;
use super::raw::cudnn::{self, Bf16};
use super::tensor::{Argument, tensor, view, with_storages};
use crate::ops::CudaMath;

/// Convolves `x` with `weight` and adds the bias, if there is one.
pub(crate) fn forward(
    geometry: ConvGeometry,
    math: CudaMath,
    x: Argument,
    weight: Argument,
    bias: Option<Argument>,
) -> Result<(CudaStorage, Shape)> {
    let device = &x.0.device;
    let shape = geometry.output()?;
    let key = PlanKey { geometry, math };
    let (x, weight) = (view(x)?, view(weight)?);
    let mut y = match math {
        CudaMath::Full | CudaMath::Tf32 => cudnn::forward(device, key, &x, &weight)?,
        CudaMath::Bf16 => {
            let x = channels_last(device, &x, geometry.input)?;
            let weight = channels_last(device, &weight, geometry.weight)?;
            channels_first(device, &cudnn::forward(device, key, &x.as_view(), &weight.as_view())?, shape)?
        }
    };
    if let Some(bias) = bias {
        raw::add_bias(device, &view(bias)?, Segments::new(shape)?, &mut y)?;
    }
    Ok((CudaStorage::wrap_cuda_slice(y, device.clone()), Shape::from(&shape[..])))
}

/// The gradient of x from `weight` and y's `gradient`, which is also the transposed convolution of `gradient`.
pub(crate) fn input_gradient(
    geometry: ConvGeometry,
    math: CudaMath,
    weight: Argument,
    gradient: Argument,
) -> Result<CudaSlice<f32>> {
    let device = &weight.0.device;
    let key = PlanKey { geometry, math };
    let (weight, gradient) = (view(weight)?, view(gradient)?);
    match math {
        CudaMath::Full | CudaMath::Tf32 => cudnn::input_gradient(device, key, &weight, &gradient),
        CudaMath::Bf16 => {
            let weight = channels_last(device, &weight, geometry.weight)?;
            let gradient = channels_last(device, &gradient, geometry.output()?)?;
            let x = cudnn::input_gradient(device, key, &weight.as_view(), &gradient.as_view())?;
            channels_first(device, &x, geometry.input)
        }
    }
}

/// The gradient of the weight from `x` and y's `gradient`.
pub(crate) fn weight_gradient(
    geometry: ConvGeometry,
    math: CudaMath,
    x: Argument,
    gradient: Argument,
) -> Result<CudaSlice<f32>> {
    let device = &x.0.device;
    let key = PlanKey { geometry, math };
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

/// The gradients of x, where it needs one, and of the weight; all tensors contiguous.
pub(crate) fn gradients(
    geometry: ConvGeometry,
    math: CudaMath,
    x: &Tensor,
    weight: &Tensor,
    gradient: &Tensor,
) -> Result<(Option<Tensor>, Tensor)> {
    with_storages([x, weight, gradient], |[x_argument, weight_argument, gradient]| {
        let device = &x_argument.0.device;
        let gradient_x = if x.track_op() {
            let values = input_gradient(geometry, math, weight_argument, gradient)?;
            Some(tensor(values, device, x.shape()))
        } else {
            None
        };
        let values = weight_gradient(geometry, math, x_argument, gradient)?;
        Ok((gradient_x, tensor(values, device, weight.shape())))
    })
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
