//! The two-scale block of the 3TN as one piece: forward, backward and evaluation on pooled planes.
//!
//! A block is two branches, 5×5 and 3×3, of the same input: dilated convolution → batch normalization → ELU → spatial
//! dropout; both are joined in the channels and mixed by a 1×1 convolution.
//! Between blocks values live in [`features::Features`] as `f32` or bfloat16 ([`format::Format`]), and so does what the
//! way back keeps; sums, normalization, and the gradients of parameters and blocks are `f32` and `f64` in both.
//!
//! Forward keeps what the two convolutions give and nothing else: the activations are computed again on the way back,
//! a band of rows at a time, which costs less than the memory traffic of keeping them.
//! Work is cut into bands of rows whose borders depend on the image alone, so that the number of threads changes no bit.

#![expect(
    clippy::inline_always,
    reason = "a kernel must be inlined into the function that enables the vector instructions"
)]
#![expect(
    clippy::too_many_arguments,
    reason = "sizes and places of several tensors; a struct a call would hide them"
)]

pub(crate) mod block;
pub(crate) mod features;
pub(crate) mod format;
pub(crate) mod gradient;
pub(crate) mod head;
pub(crate) mod parameters;
pub(crate) mod rows;
mod spatial;
