//! Convolution engine and networks for MR-to-CT synthesis, on candle.
//!
//! Start with [`RoiNet`], the RoI-focused multi-task network, and [`ParameterStore`], which holds its weights;
//! [`Generator`] and [`Discriminator`] are a pix2pix-like pair, [`Cascade`] segments bone before it gives CT numbers, and
//! both are built on a [`Backbone`]; the differentiable operations all are made of are in [`ops`].
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

mod backbone;
mod cascade;
#[cfg(any(feature = "cuda", test))]
mod cuda;
mod error;
mod fused;
mod kernels;
mod layers;
pub mod ops;
mod pix2pix;
mod precision;
mod random;
mod roi_net;
mod simd;
mod store;
mod unet;

pub use candle_core;

pub use backbone::{Backbone, BackboneConfig};
pub use cascade::{Cascade, CascadeConfig};
pub use error::NnError;
pub use layers::Mode;
pub use pix2pix::{Discriminator, DiscriminatorConfig, Generator};
pub use precision::Precision;
pub use roi_net::{RoiNet, RoiNetConfig, RoiNetOutput};
pub use simd::CpuPath;
pub use store::{Init, ParameterStore};
pub use unet::{UNet, UNetConfig};
