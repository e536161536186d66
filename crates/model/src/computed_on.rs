//! What a network computes on, in words.

use candle_core::Device;
use synthct_nn::{CpuPath, Precision};

use crate::ModelError;

/// The device and, for networks, the CPU's vector instructions and the precision: `cpu, avx512-bf16, f32`.
///
/// # Errors
/// [`ModelError::Precision`] if the device does not compute in this precision.
pub(crate) fn computed_on(device: &Device, precision: Option<Precision>) -> Result<String, ModelError> {
    let kind = match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    };
    let Some(precision) = precision else {
        return Ok(kind.to_owned());
    };
    if device.is_cpu() {
        return Ok(format!("{kind}, {}, {}", CpuPath::best().name(), precision.name()));
    }
    // Elsewhere the network runs layer by layer, which knows one precision.
    if precision != Precision::F32 {
        return Err(ModelError::Precision { precision: precision.name(), device: kind });
    }
    Ok(format!("{kind}, {}", precision.name()))
}
