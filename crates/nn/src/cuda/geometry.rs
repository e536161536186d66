//! What defines a convolution: shapes, stride, padding and dilation.

use candle_core::{Result, bail};

use crate::ops::CudaMath;

/// One 2-D convolution, in the numbers that cuDNN wants.
///
/// Also that of a transposed convolution: there `input` is the shape of the result, and [`Self::output`] that of
/// the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvGeometry {
    /// `[N, I, H, W]`.
    pub(crate) input: [usize; 4],
    /// `[O, I, U, V]`.
    pub(crate) weight: [usize; 4],
    /// Rows and columns from one output pixel to the next.
    pub(crate) stride: [usize; 2],
    /// Rows above and below, columns left and right.
    pub(crate) padding: [usize; 2],
    /// Rows and columns from one tap to the next.
    pub(crate) dilation: [usize; 2],
}

/// A geometry and how to compute it: what decides which algorithm is the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    pub(crate) geometry: ConvGeometry,
    pub(crate) math: CudaMath,
}

impl ConvGeometry {
    /// The shape `[N, O, H′, W′]` of the result: H′ = ⌊(H + 2p − (U − 1)·d − 1) / s⌋ + 1, and so the width.
    ///
    /// # Errors
    /// Channels that do not fit, a dimension, stride or dilation of zero, a kernel larger than the padded image.
    pub(crate) fn output(&self) -> Result<[usize; 4]> {
        let Self { input, weight, stride, padding, dilation } = *self;
        if input[1] != weight[1] {
            bail!("conv2d: weight [O, I, U, V] = {weight:?} does not fit input [N, C, H, W] = {input:?}");
        }
        if [input, weight].concat().contains(&0) || [stride, dilation].concat().contains(&0) {
            bail!(
                "conv2d: input {input:?}, weight {weight:?}, stride {stride:?} and dilation {dilation:?} must not hold a zero"
            );
        }
        let mut output = [input[0], weight[0], 0, 0];
        for axis in 0..2 {
            let padded =
                padding[axis].checked_mul(2).and_then(|padding| padding.checked_add(input[2 + axis]));
            let reach = (weight[2 + axis] - 1).checked_mul(dilation[axis]);
            output[2 + axis] = match (padded, reach) {
                (Some(padded), Some(reach)) if reach < padded => (padded - reach - 1) / stride[axis] + 1,
                _ => bail!(
                    "conv2d: a kernel {:?} with dilation {dilation:?} is larger than the input {input:?} with padding {padding:?}",
                    &weight[2..]
                ),
            };
        }
        Ok(output)
    }
}

/// Sizes as cuDNN takes them.
///
/// # Errors
/// More values in all than 2³¹ − 1, which is what cuDNN can count.
pub(crate) fn c_ints<const N: usize>(sizes: [usize; N]) -> Result<[i32; N]> {
    let total = sizes.iter().try_fold(1usize, |total, size| total.checked_mul((*size).max(1)));
    if total.is_none_or(|total| i32::try_from(total).is_err()) {
        bail!("{sizes:?} is larger than cuDNN can count; make the batch smaller");
    }
    Ok(sizes.map(|size| size as i32))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const SAME: ConvGeometry = ConvGeometry {
        input: [2, 3, 33, 20],
        weight: [7, 3, 5, 3],
        stride: [1, 1],
        padding: [8, 4],
        dilation: [4, 4],
    };

    #[test]
    fn output_follows_the_formula_on_each_axis() -> Result<()> {
        assert_eq!(SAME.output()?, [2, 7, 33, 20]);
        assert_eq!(ConvGeometry { stride: [2, 3], ..SAME }.output()?, [2, 7, 17, 7]);
        assert_eq!(ConvGeometry { padding: [0, 0], ..SAME }.output()?, [2, 7, 17, 12]);
        // Every output pixel starts inside the padded image, and the next one would not end in it.
        for height in 1..40 {
            for (kernel, stride, padding, dilation) in
                [(4, 2, 1, 1), (3, 1, 0, 2), (5, 3, 2, 4), (1, 2, 0, 9)]
            {
                let geometry = ConvGeometry {
                    input: [1, 1, height, 8],
                    weight: [1, 1, kernel, 1],
                    stride: [stride, 1],
                    padding: [padding, 0],
                    dilation: [dilation, 1],
                };
                let reach = (kernel - 1) * dilation;
                let fitting = (0..height + 2 * padding).step_by(stride);
                let expected = fitting.filter(|first| first + reach < height + 2 * padding).count();
                assert_eq!(geometry.output().map_or(0, |output| output[2]), expected, "{geometry:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for geometry in [
            ConvGeometry { weight: [7, 4, 5, 3], ..SAME },
            ConvGeometry { stride: [0, 1], ..SAME },
            ConvGeometry { dilation: [1, 0], ..SAME },
            ConvGeometry { input: [0, 3, 33, 20], ..SAME },
            ConvGeometry { dilation: [100, 1], ..SAME },
            ConvGeometry { dilation: [usize::MAX, 1], ..SAME },
            ConvGeometry { padding: [usize::MAX, 1], ..SAME },
        ] {
            assert!(geometry.output().is_err(), "{geometry:?}");
        }
    }

    #[test]
    fn sizes_beyond_c_int_are_an_error() -> Result<()> {
        assert_eq!(c_ints([8, 32, 256, 256])?, [8, 32, 256, 256]);
        assert_eq!(c_ints([0, 4])?, [0, 4]);
        assert!(c_ints([1 << 16, 1 << 15]).is_err());
        assert!(c_ints([usize::MAX, 2]).is_err());
        Ok(())
    }

    #[test]
    fn a_plan_belongs_to_one_geometry_and_math() {
        let key = |geometry, math| PlanKey { geometry, math };
        let mut plans = HashMap::from([(key(SAME, CudaMath::Full), 1)]);
        for other in [
            key(SAME, CudaMath::Tf32),
            key(SAME, CudaMath::Bf16),
            key(ConvGeometry { stride: [1, 2], ..SAME }, CudaMath::Full),
            key(ConvGeometry { stride: [2, 1], ..SAME }, CudaMath::Full),
            key(ConvGeometry { input: [1, 3, 33, 20], ..SAME }, CudaMath::Full),
        ] {
            assert_eq!(plans.insert(other, 2), None, "{other:?}");
        }
        assert_eq!(plans.get(&key(SAME, CudaMath::Full)), Some(&1));
    }
}
