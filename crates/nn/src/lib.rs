//! Convolution engine and networks for MR-to-CT synthesis, on candle.
//!
//! Start with [`RoiNet`], the RoI-focused multi-task network, and [`ParameterStore`], which holds its weights;
//! the differentiable operations it is made of are in [`ops`].
//!
//! The operations exist because candle 0.11 convolves on the CPU by way of a column matrix, an order of magnitude
//! slower than the processor can.
//! What is not here: volumes (tensors only), losses, optimizers, files, and devices other than the CPU and NVIDIA
//! GPUs; these need a build with the feature `cudnn`, and with it CUDA and cuDNN 9.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use synthct_nn::{ParameterStore, Precision, RoiNet, RoiNetConfig};
//!
//! let config = RoiNetConfig { filters: 4, ..RoiNetConfig::three_task() };
//! let mut store = ParameterStore::new(7, &Device::Cpu);
//! let net = RoiNet::new(&config, &mut store)?;
//! let mr = Tensor::zeros((1, 1, 24, 20), DType::F32, &Device::Cpu)?;
//! let sct_khu = net.forward(&mr, Precision::F32)?.aggregate()?;
//! assert_eq!(sct_khu.dims(), [1, 1, 24, 20]);
//! # Ok::<(), synthct_nn::NnError>(())
//! ```

#[cfg(any(feature = "cuda", test))]
mod cuda;
mod error;
mod fused;
mod kernels;
mod layers;
pub mod ops;
mod precision;
mod random;
mod roi_net;
mod simd;
mod store;

pub use candle_core;

pub use error::NnError;
pub use precision::Precision;
pub use roi_net::{RoiNet, RoiNetConfig, RoiNetOutput};
pub use simd::CpuPath;
pub use store::{Init, ParameterStore};
