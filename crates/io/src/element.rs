//! Stored voxels: their types, byte orders and scaling, and how bytes become `f32` values and back.

use std::fmt;

use rayon::prelude::*;

use crate::Storage;

/// The number type of a stored voxel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// Unsigned, 8 bit.
    U8,
    /// Signed, 8 bit.
    I8,
    /// Unsigned, 16 bit.
    U16,
    /// Signed, 16 bit.
    I16,
    /// Unsigned, 32 bit.
    U32,
    /// Signed, 32 bit.
    I32,
    /// Unsigned, 64 bit.
    U64,
    /// Signed, 64 bit.
    I64,
    /// IEEE 754, 32 bit.
    F32,
    /// IEEE 754, 64 bit.
    F64,
}

/// The order of a number's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// A linear map from stored to true value: `slope · stored + intercept`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// The factor.
    pub slope: f64,
    /// The value of a stored zero.
    pub intercept: f64,
}

impl ElementType {
    /// The size of one voxel in bytes.
    pub const fn n_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

impl Storage {
    /// Appends the values of `bytes`, a whole number of voxels, to `values`.
    ///
    /// The scaling is computed in `f64`; the result is rounded to `f32`, so integers above 2²⁴ lose their last digits.
    /// NaN and infinities pass. A finite value beyond the range of `f32` becomes infinite, and `true` is returned.
    pub(crate) fn decode(self, bytes: &[u8], values: &mut Vec<f32>) -> bool {
        macro_rules! integers {
            ($number:ty) => {
                match (self.byte_order, self.scaling) {
                    (ByteOrder::Little, None) => {
                        extend(bytes, values, |b| <$number>::from_le_bytes(b) as f32)
                    }
                    (ByteOrder::Big, None) => extend(bytes, values, |b| <$number>::from_be_bytes(b) as f32),
                    (ByteOrder::Little, Some(s)) => {
                        return extend_wide(bytes, values, |b| s.apply(<$number>::from_le_bytes(b) as f64));
                    }
                    (ByteOrder::Big, Some(s)) => {
                        return extend_wide(bytes, values, |b| s.apply(<$number>::from_be_bytes(b) as f64));
                    }
                }
            };
        }
        match self.element_type {
            ElementType::U8 => integers!(u8),
            ElementType::I8 => integers!(i8),
            ElementType::U16 => integers!(u16),
            ElementType::I16 => integers!(i16),
            ElementType::U32 => integers!(u32),
            ElementType::I32 => integers!(i32),
            ElementType::U64 => integers!(u64),
            ElementType::I64 => integers!(i64),
            ElementType::F32 => integers!(f32),
            ElementType::F64 => {
                let scaling = self.scaling.unwrap_or(Scaling { slope: 1.0, intercept: 0.0 });
                return match self.byte_order {
                    ByteOrder::Little => extend_wide(bytes, values, |b| scaling.apply(f64::from_le_bytes(b))),
                    ByteOrder::Big => extend_wide(bytes, values, |b| scaling.apply(f64::from_be_bytes(b))),
                };
            }
        }
        false
    }
}

impl Scaling {
    fn apply(self, stored: f64) -> f64 {
        self.slope * stored + self.intercept
    }
}

fn extend<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, value_of: impl Fn([u8; N]) -> f32) {
    values.extend(bytes.as_chunks::<N>().0.iter().map(|&chunk| value_of(chunk)));
}

fn extend_wide<const N: usize>(
    bytes: &[u8],
    values: &mut Vec<f32>,
    value_of: impl Fn([u8; N]) -> f64,
) -> bool {
    let mut overflows = false;
    values.extend(bytes.as_chunks::<N>().0.iter().map(|&chunk| {
        let wide = value_of(chunk);
        let narrow = wide as f32;
        overflows |= wide.is_finite() && narrow.is_infinite();
        narrow
    }));
    overflows
}

/// The number type in which [`write_volume`](crate::write_volume) stores values.
///
/// Integers are rounded to the nearest, halves away from zero.
/// A value that the type cannot hold (out of range, or NaN) is an error, never clipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutputType {
    /// What loses nothing: signed 16 bit if every value is a whole number that they hold, else 32-bit floats.
    #[default]
    Auto,
    /// Unsigned, 8 bit.
    U8,
    /// Unsigned, 16 bit.
    U16,
    /// Signed, 16 bit: usual for CT numbers in HU.
    I16,
    /// Signed, 32 bit.
    I32,
    /// IEEE 754, 32 bit.
    F32,
}

impl OutputType {
    /// The type that [`Self::Auto`] stands for with these values.
    pub(crate) fn resolved(self, values: &[f32]) -> Self {
        // The sign of a negative zero would be lost.
        let is_exact = |&value: &f32| f32::from(value as i16).to_bits() == value.to_bits();
        match self {
            Self::Auto if values.par_chunks(1 << 16).all(|chunk| chunk.iter().all(is_exact)) => Self::I16,
            Self::Auto => Self::F32,
            other => other,
        }
    }

    /// The type of the stored voxels.
    pub(crate) const fn element_type(self) -> ElementType {
        match self {
            Self::U8 => ElementType::U8,
            Self::U16 => ElementType::U16,
            Self::I16 => ElementType::I16,
            Self::I32 => ElementType::I32,
            Self::Auto | Self::F32 => ElementType::F32,
        }
    }

    /// What the type holds, for messages; none if every `f32`.
    pub(crate) const fn allowed(self) -> &'static str {
        match self {
            Self::U8 => "u8 holds 0 to 255",
            Self::U16 => "u16 holds 0 to 65535",
            Self::I16 => "i16 holds -32768 to 32767",
            Self::I32 => "i32 holds -2147483648 to 2147483647",
            Self::Auto | Self::F32 => "f32 holds every value",
        }
    }

    /// Nothing if every value fits, else the index of the first that does not.
    pub(crate) fn check(self, values: &[f32]) -> Result<(), usize> {
        let (low, high) = match self {
            Self::U8 => (0.0, f64::from(u8::MAX)),
            Self::U16 => (0.0, f64::from(u16::MAX)),
            Self::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
            Self::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::Auto | Self::F32 => return Ok(()),
        };
        // What rounds to a number of the range; halves are rounded away from zero.
        let fits = |&value: &f32| low - 0.5 < f64::from(value) && f64::from(value) < high + 0.5;
        match values.iter().position(|value| !fits(value)) {
            Some(first) => Err(first),
            None => Ok(()),
        }
    }

    /// Appends `values`, which were checked, to `bytes`, little endian.
    pub(crate) fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        // Rounding by an addition in double precision, which is exact: `f32::round` is a call of the C library.
        let rounded = |value: f32| (f64::from(value) + 0.5_f64.copysign(f64::from(value))) as i32;
        macro_rules! integers {
            ($number:ty) => {
                bytes.extend(values.iter().flat_map(|&value| (rounded(value) as $number).to_le_bytes()))
            };
        }
        match self {
            Self::U8 => integers!(u8),
            Self::U16 => integers!(u16),
            Self::I16 => integers!(i16),
            Self::I32 => integers!(i32),
            Self::Auto | Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(element_type: ElementType, little: &[u8], expected: &[f32]) {
        let mut big = little.to_vec();
        big.chunks_mut(element_type.n_bytes()).for_each(<[u8]>::reverse);
        for (byte_order, bytes) in [(ByteOrder::Little, little), (ByteOrder::Big, &big)] {
            let mut values = Vec::new();
            let storage = Storage { element_type, byte_order, scaling: None, is_compressed: false };
            let overflows = storage.decode(bytes, &mut values);
            assert!(!overflows);
            assert_eq!(values, expected, "{element_type} {byte_order:?}");

            let scaling = Some(Scaling { slope: 0.5, intercept: -3.0 });
            let mut scaled = Vec::new();
            let overflows = Storage { scaling, ..storage }.decode(bytes, &mut scaled);
            assert!(!overflows);
            let expected: Vec<f32> = expected.iter().map(|v| (f64::from(*v) * 0.5 - 3.0) as f32).collect();
            assert_eq!(scaled, expected, "scaled {element_type} {byte_order:?}");
        }
    }

    #[test]
    fn every_type_is_decoded_in_both_orders() {
        check(ElementType::U8, &[0, 1, 255], &[0.0, 1.0, 255.0]);
        check(ElementType::I8, &[0x80, 0xff, 0x7f], &[-128.0, -1.0, 127.0]);
        check(ElementType::U16, &[0xff, 0xff, 0x02, 0x01], &[65535.0, 258.0]);
        check(ElementType::I16, &[0x00, 0x80, 0x02, 0x01], &[-32768.0, 258.0]);
        check(ElementType::U32, &[0, 0, 0, 0x80, 3, 0, 1, 0], &[2_147_483_648.0, 65539.0]);
        check(ElementType::I32, &[0, 0, 0, 0x80, 3, 0, 1, 0], &[-2_147_483_648.0, 65539.0]);
        check(ElementType::U64, &(1_u64 << 63).to_le_bytes(), &[9_223_372_036_854_775_808.0]);
        check(ElementType::I64, &(-5_i64).to_le_bytes(), &[-5.0]);
        check(ElementType::F32, &(-1.5_f32).to_le_bytes(), &[-1.5]);
        check(ElementType::F64, &(1e3_f64).to_le_bytes(), &[1000.0]);
    }

    #[test]
    fn a_double_beyond_the_range_of_f32_is_noticed() {
        let storage = Storage {
            element_type: ElementType::F64,
            byte_order: ByteOrder::Little,
            scaling: None,
            is_compressed: false,
        };
        let mut values = Vec::new();
        assert!(storage.decode(&1e300_f64.to_le_bytes(), &mut values));
        assert!(!storage.decode(&f64::INFINITY.to_le_bytes(), &mut values));
        assert!(!storage.decode(&f64::NAN.to_le_bytes(), &mut values));
    }

    #[test]
    fn integers_are_rounded_but_never_clipped() {
        let values = [-1000.4, 0.5, -0.5, 32767.4];
        assert_eq!(OutputType::I16.check(&values), Ok(()));
        let mut bytes = Vec::new();
        OutputType::I16.encode(&values, &mut bytes);
        let stored: Vec<i16> = bytes.as_chunks::<2>().0.iter().map(|&b| i16::from_le_bytes(b)).collect();
        assert_eq!(stored, [-1000, 1, -1, 32767]);
        assert_eq!(OutputType::I16.check(&[0.0, 32767.5]), Err(1));
        assert_eq!(OutputType::U8.check(&[f32::NAN]), Err(0));
        assert_eq!(OutputType::U8.check(&[-0.4, 255.4]), Ok(()));
        assert_eq!(OutputType::I32.check(&[2_147_483_648.0]), Err(0));
    }
}
