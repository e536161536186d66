//! All `unsafe` code of the CUDA path.
//!
//! Calls into kernels and cuDNN take pointers, and nothing checks that what they point at is long enough or of the
//! right type. What is here is sound because of these rules, which can be checked in this module alone:
//!
//! 1. Every function compares the lengths of all memory it passes on with what the kernel reads and writes, before
//!    it launches; the types are fixed by the functions' signatures.
//! 2. Memory that is allocated without being set is wholly written by the launch that follows in the same
//!    function, and leaves that function only then.
//! 3. Everything runs on the device's own stream, in the order of the calls, so that a result is complete before
//!    what is launched next reads it. Freeing is ordered on that stream too.
//! 4. The arguments of a launch are in the order and of the types of the kernel's declaration in `kernels.cu`;
//!    the test of the emulation compares the two.
#![expect(unsafe_code, reason = "the audited module: launches on the GPU behind length checks")]

#[cfg(feature = "cudnn")]
pub(super) mod cudnn;
mod kernels;

pub(super) use kernels::{Coefficients, gradient_input, gradient_parts, moment_parts, normalize, sum_parts};
#[cfg(feature = "cudnn")]
pub(super) use kernels::{add_bias, channels_first_f32, channels_last_bf16};

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
use candle_core::cuda_backend::{CudaDevice, WrapErr as _};
use candle_core::{Result, bail};

/// Memory without values, for a launch that writes all of them.
fn uninitialized<T: DeviceRepr>(device: &CudaDevice, length: usize) -> Result<CudaSlice<T>> {
    // SAFETY: rule 2; the types are plain numbers, and the stream's order keeps the memory until its last use.
    unsafe { device.cuda_stream().alloc::<T>(length) }.w()
}

/// Fails where memory is not as long as a launch needs it.
fn check_lengths(what: &str, lengths: &[(usize, usize)]) -> Result<()> {
    if lengths.iter().any(|(found, expected)| found != expected) {
        bail!("{what}: memory of (found, needed) values {lengths:?}");
    }
    Ok(())
}
