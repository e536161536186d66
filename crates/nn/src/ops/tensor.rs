//! From candle's tensors to slices and back.

use candle_core::{CpuStorage, Device, Layout, Result, Storage, Tensor, bail};

/// The values of an operation's argument.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the argument of shape {:?} is not contiguous", layout.shape());
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Runs `f` on the values of contiguous CPU tensors.
pub(crate) fn with_slices<const N: usize, T>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<T>,
) -> Result<T> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slot, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            bail!("the arguments of an operation must be on one device, and of a kind it runs on");
        };
        *slot = slice(storage, layout)?;
    }
    f(slices)
}

/// Fails for a tensor that is not on the CPU, and says where it is.
pub(crate) fn require_cpu(op: &str, device: &Device) -> Result<()> {
    let name = match device {
        Device::Cpu => return Ok(()),
        Device::Cuda(_) => "CUDA",
        Device::Metal(_) => "Metal",
    };
    bail!("{op}: it does not run on the device {name}; move the tensors to the CPU")
}

/// The shape `[N, C, H, W]` of an image tensor, none of whose dimensions is zero.
pub(crate) fn image_shape(op: &str, layout: &Layout) -> Result<[usize; 4]> {
    let (n, c, h, w) = layout.shape().dims4()?;
    if [n, c, h, w].contains(&0) {
        bail!("{op}: the input [N, C, H, W] = {:?} has no values", [n, c, h, w]);
    }
    Ok([n, c, h, w])
}
