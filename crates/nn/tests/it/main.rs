//! The engine and the network against closed forms, finite differences, candle and PyTorch.

mod conv;
mod golden;
mod norm;
mod roi_net;
mod support;
