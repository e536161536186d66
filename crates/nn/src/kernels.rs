//! The numerical kernels, on plain slices: no tensors, no allocation policy, no device.
//!
//! Every kernel splits its work so that one task sums an output value from start to end in a fixed order; the
//! number of threads never changes a bit of the result.

pub(crate) mod conv;
pub(crate) mod norm;
pub(crate) mod planes;
pub(crate) mod taps;
pub(crate) mod weight_gradient;

#[cfg(test)]
mod tests;
