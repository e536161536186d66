//! In which numbers a network computes.

use serde::{Deserialize, Serialize};

/// The numbers that features and convolution weights are rounded to; parameters, sums, normalization and gradients of
/// parameters are 32-bit floats in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16: the exponent of a 32-bit float with 8 bits of mantissa, about twice as fast where the processor
    /// multiplies it.
    Bf16,
}
