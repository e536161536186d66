//! The engine and the network against closed forms, finite differences, candle and PyTorch.

mod backbones;
mod canaries;
mod conformance;
mod conv;
mod conv_norm;
#[cfg(feature = "cudnn")]
mod cuda;
mod golden;
mod naive;
mod norm;
mod resample;
mod roi_net;
mod support;
mod two_scale;
