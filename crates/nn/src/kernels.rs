//! The numerical kernels, on plain slices: no tensors, no allocation policy, no device.
//!
//! Every kernel splits its work so that one task sums an output value from start to end in a fixed order; the
//! number of threads never changes a bit of the result.

#![expect(
    clippy::inline_always,
    reason = "a kernel must be inlined into the function that enables the vector instructions"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "lanes, channels and taps are indices of several arrays at once"
)]
#![expect(
    clippy::too_many_arguments,
    reason = "sizes and places of several tensors; a struct a call would hide them"
)]

pub(crate) mod amx;
pub(crate) mod canvas;
pub(crate) mod conv;
pub(crate) mod convolution;
mod correlate;
mod direct;
pub(crate) mod element;
pub(crate) mod norm;
mod panel;
mod phases;
pub(crate) mod planes;
pub(crate) mod pool;
mod product;
mod scratch;
pub(crate) mod strip;
mod tap_gradient;
pub(crate) mod taps;
pub(crate) mod tile;
pub(crate) mod weight_gradient;
pub(crate) mod window;
pub(crate) mod winograd;
mod winograd_square;

#[cfg(test)]
pub(crate) mod tests;
