//! The engine and the network against closed forms, finite differences, candle and PyTorch.

mod conv;
#[cfg(feature = "cudnn")]
mod cuda;
mod golden;
mod norm;
mod roi_net;
mod support;
