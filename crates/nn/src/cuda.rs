//! The operations on an NVIDIA GPU, behind the features `cuda` and `cudnn`.
//!
//! Convolution and its gradients are cuDNN's, with algorithm and workspace kept for each geometry; it needs the
//! feature `cudnn`, since candle's own gradients of a convolution are slow on a GPU, and wrong for some strides.
//! Batch normalization with activation and dropout, sums over channels and changes of memory order are kernels of
//! our own (`kernels.cu`), compiled when they are first needed.
//!
//! The files divide the work so that most of it can be tested without a GPU: [`geometry`] and [`launch`] are plain
//! arithmetic, `kernels.cu` is also C and runs in a test on the CPU, and `raw` alone holds `unsafe` code.

#[cfg(feature = "cudnn")]
pub(crate) mod conv;
#[cfg(test)]
mod emulation;
#[cfg(any(feature = "cudnn", test))]
pub(crate) mod geometry;
mod launch;
#[cfg(feature = "cuda")]
pub(crate) mod norm;
#[cfg(feature = "cuda")]
mod raw;
#[cfg(feature = "cuda")]
pub(crate) mod tensor;
