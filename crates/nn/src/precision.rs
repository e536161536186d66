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

impl Precision {
    /// The names that [`Precision::named`] knows.
    pub const NAMES: [&str; 2] = ["f32", "bf16"];

    /// The precision of a name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        [Self::F32, Self::Bf16].into_iter().find(|precision| precision.name() == name)
    }

    /// The name: `f32` or `bf16`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => Self::NAMES[0],
            Self::Bf16 => Self::NAMES[1],
        }
    }
}
