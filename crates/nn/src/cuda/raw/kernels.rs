//! The launches of the kernels in `kernels.cu`; what each computes is said there.

use std::sync::OnceLock;

use candle_core::Result;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, LaunchConfig, PushKernelArg as _};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDevice, WrapErr as _};

#[cfg(feature = "cudnn")]
use super::cudnn::Bf16;
use super::{check_lengths, uninitialized};
#[cfg(feature = "cudnn")]
use crate::cuda::launch::tiles;
use crate::cuda::launch::{Segments, THREADS, definitions};

/// The compiled kernels, which every device loads for itself.
fn ptx() -> Result<&'static str> {
    static PTX: OnceLock<String> = OnceLock::new();
    if PTX.get().is_none() {
        let options = CompileOptions { options: definitions(), ..CompileOptions::default() };
        let ptx = compile_ptx_with_opts(include_str!("../kernels.cu"), options).w()?;
        PTX.get_or_init(|| ptx.to_src());
    }
    Ok(PTX.get().expect("because it was put there"))
}

fn grid(blocks: [u32; 3]) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks[0], blocks[1], blocks[2]),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// A launch with the function, the grid and the arguments in order.
macro_rules! launch {
    ($device:expr, $name:literal, $blocks:expr, $($argument:expr),* $(,)?) => {{
        let function = $device.get_or_load_custom_func($name, "synthct-nn", ptx()?)?;
        // SAFETY: the caller has checked the lengths, and the arguments are the kernel's (rules 1 and 4).
        unsafe { function.builder()$(.arg($argument))*.launch(grid($blocks)) }.w()?;
    }};
}

/// Sums over each block's segment of x − p and (x − p)², and p of each channel: its first value, or zero.
pub(in crate::cuda) fn moment_parts(
    device: &CudaDevice,
    x: &CudaView<f32>,
    segments: Segments,
    use_pivot: bool,
) -> Result<(CudaSlice<f32>, CudaSlice<f64>)> {
    check_lengths("moment_parts", &[(x.len(), segments.values())])?;
    let mut pivots = uninitialized::<f32>(device, segments.channels as usize)?;
    let mut parts = uninitialized::<f64>(device, 2 * segments.blocks() as usize)?;
    launch!(
        device,
        "moment_parts",
        [segments.blocks(), 1, 1],
        x,
        &segments.channels,
        &segments.plane,
        &segments.per_plane,
        &i32::from(use_pivot),
        &mut pivots,
        &mut parts,
    );
    Ok((pivots, parts))
}

/// Two sums of each channel.
pub(in crate::cuda) struct Sums {
    /// Both, channel by channel.
    pub(in crate::cuda) both: CudaSlice<f64>,
    /// The first sums, rounded.
    pub(in crate::cuda) first: CudaSlice<f32>,
    /// The second sums, rounded.
    pub(in crate::cuda) second: CudaSlice<f32>,
}

/// Adds up what [`moment_parts`] or [`gradient_parts`] found.
pub(in crate::cuda) fn sum_parts(
    device: &CudaDevice,
    parts: &CudaSlice<f64>,
    segments: Segments,
) -> Result<Sums> {
    check_lengths("sum_parts", &[(parts.len(), 2 * segments.blocks() as usize)])?;
    let channels = segments.channels as usize;
    let mut sums = Sums {
        both: uninitialized(device, 2 * channels)?,
        first: uninitialized(device, channels)?,
        second: uninitialized(device, channels)?,
    };
    launch!(
        device,
        "sum_parts",
        [segments.channels, 1, 1],
        parts,
        &segments.images,
        &segments.channels,
        &segments.per_plane,
        &mut sums.both,
        &mut sums.first,
        &mut sums.second,
    );
    Ok(sums)
}

/// What normalization, activation and dropout multiply and add.
pub(in crate::cuda) struct Coefficients<'a> {
    /// Mean and inverse standard deviation of each channel.
    pub(in crate::cuda) moments: CudaSlice<f32>,
    /// Of each channel.
    pub(in crate::cuda) gain: CudaView<'a, f32>,
    /// Of each channel.
    pub(in crate::cuda) bias: CudaView<'a, f32>,
    /// The factor of each plane.
    pub(in crate::cuda) dropout: CudaSlice<f32>,
    /// The number that `kernels.cu` gives the activation.
    pub(in crate::cuda) activation: i32,
}

impl Coefficients<'_> {
    /// Their lengths, and what they have to be.
    fn lengths(&self, segments: Segments) -> [(usize, usize); 4] {
        let channels = segments.channels as usize;
        [
            (self.moments.len(), 2 * channels),
            (self.gain.len(), channels),
            (self.bias.len(), channels),
            (self.dropout.len(), segments.planes()),
        ]
    }
}

/// Normalizes, activates and drops.
pub(in crate::cuda) fn normalize(
    device: &CudaDevice,
    x: &CudaView<f32>,
    segments: Segments,
    coefficients: &Coefficients,
) -> Result<CudaSlice<f32>> {
    check_lengths("normalize", &coefficients.lengths(segments))?;
    check_lengths("normalize", &[(x.len(), segments.values())])?;
    let mut out = uninitialized::<f32>(device, segments.values())?;
    launch!(
        device,
        "normalize",
        [segments.blocks(), 1, 1],
        x,
        &segments.channels,
        &segments.plane,
        &segments.per_plane,
        &coefficients.moments,
        &coefficients.gain,
        &coefficients.bias,
        &coefficients.dropout,
        &coefficients.activation,
        &mut out,
    );
    Ok(out)
}

/// Sums over each block's segment of the gradient after the normalization, and of its product with the normalized
/// value; `x`, `out` and `gradient` are the argument, the result and the result's gradient.
pub(in crate::cuda) fn gradient_parts(
    device: &CudaDevice,
    [x, out, gradient]: [&CudaView<f32>; 3],
    segments: Segments,
    coefficients: &Coefficients,
) -> Result<CudaSlice<f64>> {
    check_lengths("gradient_parts", &coefficients.lengths(segments))?;
    check_lengths("gradient_parts", &[x, out, gradient].map(|view| (view.len(), segments.values())))?;
    let mut parts = uninitialized::<f64>(device, 2 * segments.blocks() as usize)?;
    launch!(
        device,
        "gradient_parts",
        [segments.blocks(), 1, 1],
        x,
        out,
        gradient,
        &segments.channels,
        &segments.plane,
        &segments.per_plane,
        &coefficients.moments,
        &coefficients.dropout,
        &coefficients.activation,
        &mut parts,
    );
    Ok(parts)
}

/// The gradient with respect to the argument; `share` is one over a channel's values, or zero for constant statistics.
pub(in crate::cuda) fn gradient_input(
    device: &CudaDevice,
    [x, out, gradient]: [&CudaView<f32>; 3],
    segments: Segments,
    coefficients: &Coefficients,
    sums: &Sums,
    share: f64,
) -> Result<CudaSlice<f32>> {
    check_lengths("gradient_input", &coefficients.lengths(segments))?;
    check_lengths("gradient_input", &[(sums.both.len(), 2 * segments.channels as usize)])?;
    check_lengths("gradient_input", &[x, out, gradient].map(|view| (view.len(), segments.values())))?;
    let mut gradient_x = uninitialized::<f32>(device, segments.values())?;
    launch!(
        device,
        "gradient_input",
        [segments.blocks(), 1, 1],
        x,
        out,
        gradient,
        &segments.channels,
        &segments.plane,
        &segments.per_plane,
        &coefficients.moments,
        &coefficients.gain,
        &coefficients.dropout,
        &coefficients.activation,
        &sums.both,
        &share,
        &mut gradient_x,
    );
    Ok(gradient_x)
}

/// Adds each channel's bias to `y`, in place.
#[cfg(feature = "cudnn")]
pub(in crate::cuda) fn add_bias(
    device: &CudaDevice,
    bias: &CudaView<f32>,
    segments: Segments,
    y: &mut CudaSlice<f32>,
) -> Result<()> {
    check_lengths("add_bias", &[(bias.len(), segments.channels as usize), (y.len(), segments.values())])?;
    launch!(
        device,
        "add_bias",
        [segments.blocks(), 1, 1],
        bias,
        &segments.channels,
        &segments.plane,
        &segments.per_plane,
        y,
    );
    Ok(())
}

/// From `f32` `[N, C, plane]` to bfloat16 `[N, plane, C]`.
#[cfg(feature = "cudnn")]
pub(in crate::cuda) fn channels_last_bf16(
    device: &CudaDevice,
    x: &CudaView<f32>,
    [images, channels, plane]: [usize; 3],
) -> Result<CudaSlice<Bf16>> {
    check_lengths("channels_last_bf16", &[(x.len(), images * channels * plane)])?;
    let blocks = tiles(images, channels, plane)?;
    let mut out = uninitialized::<Bf16>(device, x.len())?;
    launch!(device, "channels_last_bf16", blocks, x, &(channels as u32), &(plane as u32), &mut out);
    Ok(out)
}

/// From bfloat16 `[N, plane, C]` to `f32` `[N, C, plane]`.
#[cfg(feature = "cudnn")]
pub(in crate::cuda) fn channels_first_f32(
    device: &CudaDevice,
    x: &CudaSlice<Bf16>,
    [images, channels, plane]: [usize; 3],
) -> Result<CudaSlice<f32>> {
    check_lengths("channels_first_f32", &[(x.len(), images * channels * plane)])?;
    let blocks = tiles(images, channels, plane)?;
    let mut out = uninitialized::<f32>(device, x.len())?;
    launch!(device, "channels_first_f32", blocks, x, &(channels as u32), &(plane as u32), &mut out);
    Ok(out)
}
