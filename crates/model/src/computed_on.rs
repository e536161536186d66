//! What a network computes on, in words.

use candle_core::Device;
use synthct_nn::{CpuPath, Precision};

/// `cpu`, `cuda` or `metal`.
pub const fn device_kind(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

/// The device and, for networks, the CPU's vector instructions and the precision: `cpu, avx512-bf16, f32`.
pub(crate) fn computed_on(device: &Device, precision: Option<Precision>) -> String {
    let kind = device_kind(device);
    match precision {
        None => kind.to_owned(),
        Some(precision) if device.is_cpu() => {
            format!("{kind}, {}, {}", CpuPath::best().name(), precision.name())
        }
        Some(precision) => format!("{kind}, {}", precision.name()),
    }
}
