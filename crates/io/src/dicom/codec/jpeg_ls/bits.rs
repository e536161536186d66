//! The bits of an entropy-coded segment of JPEG-LS, most significant first.

/// A reader of bits. After a byte FF the next one has 7 bits, its first being a stuffed zero (clause A.1);
/// FF and a byte with the first bit set is a marker, where the data ends.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    position: usize,
    /// Bits that are read but not used yet, left-aligned.
    buffer: u64,
    n_buffered: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0, buffer: 0, n_buffered: 0 }
    }

    /// Tops the buffer up to at least 32 bits, as far as the data goes.
    fn fill(&mut self) {
        while self.n_buffered <= 56 {
            let Some(&byte) = self.data.get(self.position) else { return };
            let follows_ff = self.position > 0 && self.data[self.position - 1] == 0xFF;
            // FF begins a marker if the next byte has its first bit set.
            if byte == 0xFF && self.data.get(self.position + 1).is_none_or(|&next| next >= 0x80) {
                return;
            }
            let n_bits = if follows_ff { 7 } else { 8 };
            self.buffer |= u64::from(byte) << (64 - n_bits - self.n_buffered);
            self.n_buffered += n_bits;
            self.position += 1;
        }
    }

    /// The next `n` bits, at most 32; none at the end of the data.
    pub(super) fn read(&mut self, n: u32) -> Option<u32> {
        if n == 0 {
            return Some(0);
        }
        if self.n_buffered < n {
            self.fill();
            if self.n_buffered < n {
                return None;
            }
        }
        let value = (self.buffer >> (64 - n)) as u32;
        self.buffer <<= n;
        self.n_buffered -= n;
        Some(value)
    }

    /// The number of zeros before the next one, which is passed over; none if there are more than `limit` or the data ends.
    pub(super) fn zeros(&mut self, limit: u32) -> Option<u32> {
        let mut n_zeros = 0;
        loop {
            if self.n_buffered == 0 {
                self.fill();
                if self.n_buffered == 0 {
                    return None;
                }
            }
            let leading = self.buffer.leading_zeros().min(self.n_buffered);
            n_zeros += leading;
            if n_zeros > limit {
                return None;
            }
            if leading < self.n_buffered {
                self.buffer = self.buffer << leading << 1;
                self.n_buffered -= leading + 1;
                return Some(n_zeros);
            }
            self.buffer = 0;
            self.n_buffered = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn the_bit_after_ff_is_stuffed() {
        let mut bits = Bits::new(&[0xFF, 0x7F, 0x80, 0xFF, 0xD9]);
        // 8 + 7 + 8 bits, all ones up to bit 16, then seven zeros.
        assert_eq!(bits.read(16), Some(0xFFFF));
        assert_eq!(bits.read(7), Some(0));
        assert_eq!(bits.read(1), None);
    }

    #[test]
    fn zeros_are_counted_over_bytes() {
        let mut bits = Bits::new(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x40]);
        assert_eq!(bits.zeros(79), Some(79));
        assert_eq!(bits.zeros(0), None);
        let mut bits = Bits::new(&[0, 1]);
        assert_eq!(bits.zeros(14), None);
    }
}
