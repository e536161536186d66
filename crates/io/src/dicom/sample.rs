//! Stored samples and what they stand for.

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SampleFormat {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) bytes_per_sample: usize,
    pub(super) bits_stored: u32,
    /// Bits below the stored ones.
    pub(super) shift: u32,
    pub(super) is_signed: bool,
}

impl SampleFormat {
    pub(super) fn n_samples(self) -> usize {
        self.rows * self.columns
    }

    pub(super) fn n_bytes(self) -> usize {
        self.n_samples() * self.bytes_per_sample
    }

    /// The stored value: the bits from `shift` on, extended by their sign if they have one.
    pub(super) fn value(self, word: u32) -> i64 {
        let unused = u32::BITS - self.bits_stored;
        let left_aligned = (word >> self.shift) << unused;
        if self.is_signed {
            i64::from(left_aligned as i32 >> unused)
        } else {
            i64::from(left_aligned >> unused)
        }
    }
}

/// `value · slope + intercept` (PS3.3 section C.11.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rescale {
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

impl Rescale {
    pub(super) fn apply(self, value: i64) -> f64 {
        value as f64 * self.slope + self.intercept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bits_stored: u32, shift: u32, is_signed: bool, word: u32, expected: i64) {
        let format = SampleFormat { rows: 1, columns: 1, bytes_per_sample: 2, bits_stored, shift, is_signed };
        assert_eq!(format.value(word), expected);
    }

    #[test]
    fn unused_bits_are_masked_and_signs_extended() {
        check(16, 0, false, 0xFFFF, 65535);
        check(16, 0, true, 0xFFFF, -1);
        check(12, 0, false, 0xF123, 0x123);
        check(12, 0, true, 0x0FFF, -1);
        check(12, 0, true, 0x0800, -2048);
        check(12, 0, true, 0xF7FF, 2047);
        check(12, 4, false, 0xABC7, 0xABC);
        check(12, 4, true, 0xFFF0, -1);
        check(32, 0, true, 0xFFFF_FFFE, -2);
        check(1, 0, false, 3, 1);
    }
}
