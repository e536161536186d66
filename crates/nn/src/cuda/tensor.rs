//! From candle's tensors to device memory and back.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Layout, Result, Shape, Storage, Tensor, bail};

/// An operation's argument, as candle hands it over.
pub(crate) type Argument<'a> = (&'a CudaStorage, &'a Layout);

/// Runs `f` on the memory of tensors on a GPU.
pub(crate) fn with_storages<const N: usize, T>(
    tensors: [&Tensor; N],
    f: impl FnOnce([Argument; N]) -> Result<T>,
) -> Result<T> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut arguments = Vec::with_capacity(N);
    for (storage, layout) in &guards {
        let Storage::Cuda(storage) = &**storage else {
            bail!("the arguments of an operation must be on one device; one is not on the GPU");
        };
        arguments.push((storage, *layout));
    }
    f(arguments.try_into().unwrap_or_else(|_| unreachable!("there is one argument a tensor")))
}

/// The values of an argument.
pub(super) fn view((storage, layout): Argument<'_>) -> Result<CudaView<'_, f32>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the argument of shape {:?} is not contiguous", layout.shape());
    };
    match storage.as_cuda_slice::<f32>()?.try_slice(start..end) {
        Some(view) => Ok(view),
        None => bail!("the argument of shape {:?} reaches beyond its storage", layout.shape()),
    }
}

/// A tensor of its own, outside of any graph.
pub(crate) fn tensor(values: CudaSlice<f32>, device: &CudaDevice, shape: impl Into<Shape>) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(values, device.clone());
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}
