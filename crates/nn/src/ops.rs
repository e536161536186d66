//! Differentiable operations on candle tensors, with their own backward passes.
//!
//! All take and return contiguous-or-not `f32` tensors of shape `[N, C, H, W]` on the CPU, or on an NVIDIA GPU in
//! a build with the feature `cudnn`, and fail with candle's error on anything else. An input that needs no gradient is found out by [`candle_core::Tensor::track_op`] and
//! costs none.

mod conv;
mod cuda_math;
mod norm;
pub(crate) mod tensor;

pub use conv::{conv2d, conv2d_pair, conv2d_with};
pub use cuda_math::CudaMath;
pub use norm::{BatchNorm, BatchNormOptions, batch_norm, channel_moments};

pub use crate::kernels::norm::{Activation, ChannelMoments};
