//! Huffman codes and the bits of a scan (ISO/IEC 10918-1 annexes C and F.2.2).

/// Codes up to this length are looked up at once.
const LOOKUP_BITS: u32 = 9;

/// A Huffman code.
pub(super) struct Table {
    /// For each start of a code: its length and symbol, or length 0 if it is longer.
    lookup: Vec<(u8, u8)>,
    /// The largest code of each length, −1 if there is none.
    largest: [i32; 17],
    /// What to add to a code of each length to get its symbol's place.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// The code with `counts[n]` codes of length n + 1; none if there are more codes than that length has room for.
    pub(super) fn new(counts: [u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            lookup: vec![(0, 0); 1 << LOOKUP_BITS],
            largest: [-1; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &count) in (1_u32..).zip(&counts) {
            if code + u32::from(count) > 1 << length {
                return None;
            }
            table.offset[length as usize] = place as i32 - code as i32;
            for &symbol in symbols.get(place..place + usize::from(count))? {
                if length <= LOOKUP_BITS {
                    let first = (code << (LOOKUP_BITS - length)) as usize;
                    table.lookup[first..first + (1 << (LOOKUP_BITS - length))].fill((length as u8, symbol));
                }
                code += 1;
            }
            if count > 0 {
                table.largest[length as usize] = code as i32 - 1;
            }
            place += usize::from(count);
            code <<= 1;
        }
        Some(table)
    }
}

/// A reader of a scan's bits, most significant first; a byte FF is followed by a stuffed 00 (clause B.1.1.5).
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

    /// Tops the buffer up as far as the data goes: to its end or to a marker.
    fn fill(&mut self) {
        while self.n_buffered <= 56 {
            let byte = match self.data.get(self.position..) {
                Some([0xFF, 0x00, ..]) => {
                    self.position += 2;
                    0xFF
                }
                Some([0xFF, ..] | []) | None => return,
                Some([byte, ..]) => {
                    self.position += 1;
                    *byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.n_buffered);
            self.n_buffered += 8;
        }
    }

    fn take(&mut self, n: u32) -> Option<u32> {
        if self.n_buffered < n {
            return None;
        }
        let value = if n == 0 { 0 } else { (self.buffer >> (64 - n)) as u32 };
        self.buffer <<= n;
        self.n_buffered -= n;
        Some(value)
    }

    /// The next symbol; none at the end of the data or if the bits are no code.
    pub(super) fn symbol(&mut self, table: &Table) -> Option<u8> {
        if self.n_buffered < 32 {
            self.fill();
        }
        let (length, symbol) = table.lookup[(self.buffer >> (64 - LOOKUP_BITS)) as usize];
        if length > 0 {
            self.take(length.into())?;
            return Some(symbol);
        }
        for length in LOOKUP_BITS + 1..=16 {
            let code = (self.buffer >> (64 - length)) as i32;
            if code <= table.largest[length as usize] {
                self.take(length)?;
                return table.symbols.get((code + table.offset[length as usize]) as usize).copied();
            }
        }
        None
    }

    /// `n` bits, at most 16, as a signed number (clause F.2.2.1, EXTEND).
    pub(super) fn signed(&mut self, n: u32) -> Option<i32> {
        if n == 0 {
            return Some(0);
        }
        if self.n_buffered < n {
            self.fill();
        }
        let value = self.take(n)? as i32;
        Some(if value < 1 << (n - 1) { value - (1 << n) + 1 } else { value })
    }

    /// Moves behind the next restart marker, which must be number `n` modulo 8; none if it is not there.
    pub(super) fn restart(&mut self, n: usize) -> Option<()> {
        (self.buffer, self.n_buffered) = (0, 0);
        while let Some([0xFF, 0xFF, ..]) = self.data.get(self.position..) {
            self.position += 1;
        }
        let marker = 0xD0 + (n % 8) as u8;
        match self.data.get(self.position..) {
            Some([0xFF, found, ..]) if *found == marker => {
                self.position += 2;
                Some(())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_up_within_each_length() -> Result<(), &'static str> {
        // Codes 0, 10, 110, and one of 10 bits: 1110000000.
        let mut counts = [0; 16];
        (counts[0], counts[1], counts[2], counts[9]) = (1, 1, 1, 1);
        let table = Table::new(counts, &[7, 8, 9, 10]).ok_or("a good code")?;
        // 0, 10, 110, 1110000000, then 13 as a signed number of 4 bits and −13.
        let mut bits = Bits::new(&[0b0101_1011, 0b1000_0000, 0b1101_0010]);
        let symbols: Vec<_> = (0..4).map(|_| bits.symbol(&table)).collect();
        assert_eq!(symbols, [Some(7), Some(8), Some(9), Some(10)]);
        assert_eq!((bits.signed(4), bits.signed(4), bits.signed(1)), (Some(13), Some(-13), None));
        assert!(Table::new([3; 16], &[0; 48]).is_none(), "three codes of one bit");
        Ok(())
    }
}
