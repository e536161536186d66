//! What a plane is made of, and what one multiply-add of a vector does with it.

use crate::simd::Simd;

/// One element of a plane: a float, or several bfloat16 whose products are summed in `f32`.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// Pixels that one lane of a vector covers.
    const PIXELS: usize;
    /// True if matrix tiles multiply such elements.
    const IN_TILES: bool = false;

    /// The elements of a whole vector from `start`; panics if they are not there.
    fn load<S: Simd>(simd: S, elements: &[Self], start: usize) -> S::Vector;
    /// A vector with this element in all lanes.
    fn splat<S: Simd>(self, simd: S) -> S::Vector;
    /// c + a · b, summed over what a lane holds.
    fn mul_add<S: Simd>(simd: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector;
}

impl Element for f32 {
    const PIXELS: usize = 1;

    #[inline(always)]
    fn load<S: Simd>(simd: S, elements: &[Self], start: usize) -> S::Vector {
        simd.load(elements, start)
    }
    #[inline(always)]
    fn splat<S: Simd>(self, simd: S) -> S::Vector {
        simd.splat(self)
    }
    #[inline(always)]
    fn mul_add<S: Simd>(simd: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        simd.mul_add(a, b, c)
    }
}

/// What values are stored as, one element a value.
pub(crate) trait Stored: Copy {
    /// The value.
    fn value(self) -> f32;
}

impl Stored for f32 {
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

impl Stored for Half {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }
}

/// Two channels of one pixel as bfloat16, the first in the low half.
pub(crate) type ChannelPair = u32;

impl Element for ChannelPair {
    const PIXELS: usize = 1;
    const IN_TILES: bool = true;

    #[inline(always)]
    fn load<S: Simd>(simd: S, elements: &[Self], start: usize) -> S::Vector {
        simd.load_pairs(elements, start)
    }
    #[inline(always)]
    fn splat<S: Simd>(self, simd: S) -> S::Vector {
        simd.splat_pair(self)
    }
    #[inline(always)]
    fn mul_add<S: Simd>(simd: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        simd.dot_add(a, b, c)
    }
}

/// One channel of one pixel as bfloat16; a lane holds two neighboring pixels.
pub(crate) type Half = u16;

impl Element for Half {
    const PIXELS: usize = 2;

    #[inline(always)]
    fn load<S: Simd>(simd: S, elements: &[Self], start: usize) -> S::Vector {
        simd.load_halves(elements, start)
    }
    #[inline(always)]
    fn splat<S: Simd>(self, simd: S) -> S::Vector {
        simd.splat_pair(u32::from(self) * 0x1_0001)
    }
    #[inline(always)]
    fn mul_add<S: Simd>(simd: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        simd.dot_add(a, b, c)
    }
}

/// The bfloat16 nearest to `value`, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn half(value: f32) -> Half {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if value.is_nan() { quiet } else { rounded }) as Half
}

/// Two channels of a pixel, each rounded to the nearest bfloat16.
#[inline(always)]
pub(crate) fn channel_pair(first: f32, second: f32) -> ChannelPair {
    u32::from(half(first)) | u32::from(half(second)) << 16
}

/// The value of the first (0) or second (1) channel of a pixel.
#[inline(always)]
pub(crate) fn channel_of_pair(pair: ChannelPair, idx: usize) -> f32 {
    f32::from_bits(if idx == 0 { pair << 16 } else { pair & 0xffff_0000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_even() {
        let near = |bits: u32| half(f32::from_bits(bits));
        assert_eq!(near(0x3f80_0000), 0x3f80);
        assert_eq!(near(0x3f80_7fff), 0x3f80);
        assert_eq!(near(0x3f80_8000), 0x3f80, "a tie goes to the even one");
        assert_eq!(near(0x3f81_8000), 0x3f82, "a tie goes to the even one");
        assert_eq!(near(0x3f80_8001), 0x3f81);
        assert_eq!(near(0xbf80_8001), 0xbf81);
        assert_eq!(near(0x7f7f_ffff), 0x7f80, "what is too large becomes infinite");
        assert_eq!(near(0x7f80_0000), 0x7f80);
        assert!(f32::from_bits(u32::from(near(0x7f80_0001)) << 16).is_nan());
        assert_eq!(channel_pair(1.0, -2.0), 0xc000_3f80);
        assert_eq!(
            [0, 1].map(|idx| channel_of_pair(0xc000_3f80, idx).to_bits()),
            [1.0f32, -2.0].map(f32::to_bits)
        );
    }
}
