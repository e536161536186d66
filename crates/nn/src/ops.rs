//! Differentiable operations on candle tensors, with their own backward passes.
//!
//! All take and return contiguous-or-not `f32` tensors of shape `[N, C, H, W]`, or `[N, C, D, H, W]`, and fail with
//! candle's error on anything else. An input that needs no gradient is found out by
//! [`candle_core::Tensor::track_op`] and costs none.
//!
//! All run on the CPU. [`conv2d`], [`conv_transpose2d`], [`batch_norm`] and [`channel_moments`] also run on an NVIDIA
//! GPU in a build with the feature `cudnn`.

mod convolution;
mod cuda_math;
mod max_pool;
mod norm;
mod resample;
pub(crate) mod tensor;
mod two_scale;

pub use convolution::{
    Conv2dOptions, Conv3dOptions, ConvTranspose2dOptions, conv_transpose2d, conv_transpose2d_batch_norm,
    conv2d, conv2d_batch_norm, conv3d,
};
pub use cuda_math::CudaMath;
pub use max_pool::max_pool2d;
pub use norm::{BatchNorm, BatchNormOptions, batch_norm, channel_moments};
pub use resample::{avg_pool2d, upsample_bilinear2d, upsample_nearest2d};
pub use two_scale::{
    Scratch, TwoScaleBlockOptions, TwoScaleBlockParameters, two_scale_block, two_scale_block_evaluate,
};

pub use crate::kernels::norm::{Activation, ChannelMoments};
