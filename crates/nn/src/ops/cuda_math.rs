//! How exact convolutions on a GPU are.

/// What a GPU multiplies with when it convolves; sums are `f32` in any case, and so are tensors and weights.
///
/// It has no effect on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CudaMath {
    /// `f32` throughout.
    #[default]
    Full,
    /// Factors rounded to the 10 bits of TF32, on the tensor cores of compute capability 8.0 and later.
    Tf32,
    /// Factors and results rounded to the 7 bits of bfloat16, channels last in memory.
    Bf16,
}
