//! JPEG of one component: sequential with 8 or 12 bits, and lossless (ISO/IEC 10918-1; PS3.5 section 8.2.1).
//!
//! Own code because clinical files need what kept libraries lack: 12 bits, and lossless images with point transform or
//! restart intervals. Arithmetic coding, progressive and hierarchical images are refused.

mod dct;
mod huffman;
mod lossless;

use self::huffman::Table;
use super::Decoded;

/// The frame header (clause B.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    /// Last nibble of the start-of-frame marker: 0 baseline, 1 extended, 3 lossless.
    process: u8,
    precision: u8,
    height: u16,
    width: u16,
    n_components: u8,
    quantization_table: u8,
}

/// What precedes a scan.
#[derive(Default)]
struct Tables {
    /// In zigzag order.
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    /// Blocks or samples between restart markers, 0 for none.
    restart_interval: usize,
}

/// The part of a scan header that a single component needs (clause B.2.3).
#[derive(Clone, Copy, Debug)]
struct Scan {
    dc_table: usize,
    ac_table: usize,
    /// The predictor of a lossless image, 1 to 7.
    predictor: u8,
    point_transform: u8,
}

/// The samples of one frame.
pub(super) fn decode(stream: &[u8], rows: usize, columns: usize) -> Result<Decoded, String> {
    const DAMAGED: &str = "its JPEG header is damaged";
    let mut rest = stream.strip_prefix(&[0xFF, 0xD8]).ok_or(DAMAGED)?;
    let mut frame = None;
    let mut tables = Tables::default();
    loop {
        let (marker, segment, tail) = super::segment(rest).ok_or(DAMAGED)?;
        rest = tail;
        match marker {
            0xDB => {
                read_quantization(segment, &mut tables).ok_or("its JPEG quantization table is damaged")?;
            }
            0xC4 => read_huffman(segment, &mut tables).ok_or("its JPEG Huffman table is damaged")?,
            0xDD => {
                let interval = segment.first_chunk::<2>().ok_or(DAMAGED)?;
                tables.restart_interval = usize::from(u16::from_be_bytes(*interval));
            }
            // Frame headers: all of C0-CF but DHT (C4), JPG (C8) and DAC (CC).
            0xC0..=0xCF if !matches!(marker, 0xC8 | 0xCC) => {
                let [precision, h1, h0, w1, w0, n_components, _, _, quantization_table, ..] = *segment else {
                    return Err(DAMAGED.to_owned());
                };
                frame = Some(Frame {
                    process: marker & 0x0F,
                    precision,
                    height: u16::from_be_bytes([h1, h0]),
                    width: u16::from_be_bytes([w1, w0]),
                    n_components,
                    quantization_table,
                });
            }
            0xDA => {
                let frame = frame.ok_or("its JPEG image has no frame header")?;
                check_frame(frame, rows, columns)?;
                // One component: Ns, Cs, tables, then Ss, Se, and Ah with Al.
                let [1, _, selected, predictor, _, approximation, ..] = *segment else {
                    return Err(DAMAGED.to_owned());
                };
                let scan = Scan {
                    dc_table: usize::from(selected >> 4 & 3),
                    ac_table: usize::from(selected & 3),
                    predictor,
                    point_transform: approximation & 0x0F,
                };
                let precision = frame.precision;
                let samples = if frame.process == 3 {
                    lossless::decode(&tables, precision, scan, rest, rows, columns)?
                } else {
                    let quantization = usize::from(frame.quantization_table);
                    dct::decode(&tables, precision, quantization, scan, rest, rows, columns)?
                };
                return Ok(Decoded { samples, precision });
            }
            _ => {}
        }
    }
}

fn check_frame(frame: Frame, rows: usize, columns: usize) -> Result<(), String> {
    if (usize::from(frame.height), usize::from(frame.width)) != (rows, columns) {
        return Err(format!(
            "its JPEG image has {} rows and {} columns, but DICOM says {rows} and {columns}",
            frame.height, frame.width
        ));
    }
    if frame.n_components != 1 {
        return Err(format!("its JPEG image has {} components where 1 is needed", frame.n_components));
    }
    match (frame.process, frame.precision) {
        (0, 8) | (1, 8 | 12) | (3, 2..=16) => Ok(()),
        (process, precision) => Err(format!(
            "JPEG process SOF{process} with {precision} bits is not supported; convert the file to an uncompressed transfer syntax"
        )),
    }
}

/// One or more quantization tables (clause B.2.4.1); none if they are cut off.
fn read_quantization(mut segment: &[u8], tables: &mut Tables) -> Option<()> {
    while let Some((&head, tail)) = segment.split_first() {
        let is_wide = head >> 4 == 1;
        let (values, rest) = tail.split_at_checked(if is_wide { 128 } else { 64 })?;
        let table = std::array::from_fn(|n| {
            if is_wide { u16::from_be_bytes([values[2 * n], values[2 * n + 1]]) } else { values[n].into() }
        });
        *tables.quantization.get_mut(usize::from(head & 0x0F))? = Some(table);
        segment = rest;
    }
    Some(())
}

/// One or more Huffman tables (clause B.2.4.2); none if they make no code.
fn read_huffman(mut segment: &[u8], tables: &mut Tables) -> Option<()> {
    while let Some((&head, tail)) = segment.split_first() {
        let (counts, tail) = tail.split_first_chunk::<16>()?;
        let n_symbols = counts.iter().map(|&count| usize::from(count)).sum();
        let (symbols, rest) = tail.split_at_checked(n_symbols)?;
        let class = match head >> 4 {
            0 => &mut tables.dc,
            1 => &mut tables.ac,
            _ => return None,
        };
        *class.get_mut(usize::from(head & 0x0F))? = Some(Table::new(*counts, symbols)?);
        segment = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits, most significant first, with a stuffed zero byte after FF.
    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        pending: u32,
        n_pending: u32,
    }

    impl Writer {
        fn put(&mut self, value: u32, n: u32) {
            for bit in (0..n).rev() {
                self.pending = self.pending << 1 | value >> bit & 1;
                self.n_pending += 1;
                if self.n_pending == 8 {
                    self.bytes.push(self.pending as u8);
                    if self.pending == 0xFF {
                        self.bytes.push(0);
                    }
                    (self.pending, self.n_pending) = (0, 0);
                }
            }
        }

        fn restart(&mut self, n: u8) {
            while self.n_pending > 0 {
                self.put(1, 1);
            }
            self.bytes.extend([0xFF, 0xD0 + n % 8]);
        }
    }

    /// A lossless image, predictor 1, of two lines in each restart interval; all 17 codes have 5 bits.
    fn lossless(samples: &[u16], columns: usize, point_transform: u8) -> Vec<u8> {
        let rows = samples.len() / columns;
        let mut bits = Writer::default();
        for (at, &sample) in samples.iter().enumerate() {
            let (row, column) = (at / columns, at % columns);
            if row > 0 && row % 2 == 0 && column == 0 {
                bits.restart((row / 2 - 1) as u8);
            }
            let prediction = match (row % 2, column) {
                (0, 0) => 1 << (15 - point_transform),
                (1, 0) => samples[at - columns] >> point_transform,
                _ => samples[at - 1] >> point_transform,
            };
            let difference = (sample >> point_transform).wrapping_sub(prediction) as i16;
            let size = u32::BITS - i32::from(difference).unsigned_abs().leading_zeros();
            bits.put(size, 5);
            if size < 16 {
                let value = i32::from(difference);
                bits.put((if value < 0 { value - 1 } else { value }) as u32, size);
            }
        }
        bits.restart(0);
        bits.bytes.truncate(bits.bytes.len() - 2);
        let interval = (2 * columns) as u8;
        let mut stream =
            vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 11, 16, 0, rows as u8, 0, columns as u8, 1, 1, 0x11, 0];
        stream.extend([0xFF, 0xC4, 0, 19 + 17, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        stream.extend(0..17);
        stream.extend([0xFF, 0xDD, 0, 4, 0, interval, 0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0, point_transform]);
        stream.extend(bits.bytes);
        stream.extend([0xFF, 0xD9]);
        stream
    }

    #[test]
    fn restart_intervals_and_point_transforms_are_undone() -> Result<(), String> {
        let columns = 7;
        let samples: Vec<u16> = (0..7 * 9).map(|n| (n * n * 2741 % 65536) as u16).collect();
        for point_transform in [0, 3] {
            let stream = lossless(&samples, columns, point_transform);
            let expected: Vec<u16> =
                samples.iter().map(|sample| sample >> point_transform << point_transform).collect();
            assert_eq!(decode(&stream, 9, columns)?.samples, expected);
        }
        // A difference of exactly −32768 has the size 16, without further bits.
        assert_eq!(decode(&lossless(&[32768, 0, 32768, 1], 2, 0), 2, 2)?.samples, [32768, 0, 32768, 1]);
        let mut stream = lossless(&samples, columns, 0);
        let second = stream.windows(2).position(|pair| pair == [0xFF, 0xD1]).ok_or("a restart marker")?;
        stream[second + 1] = 0xD5;
        let error = decode(&stream, 9, columns).map(|_| ()).expect_err("a marker is missing");
        assert!(error.contains("in row 4 of 9"), "{error}");
        Ok(())
    }

    #[test]
    fn what_is_not_read_is_named() {
        let stream = lossless(&[1, 2, 3, 4], 2, 0);
        let check = |at: usize, byte: u8, what: &str| {
            let mut changed = stream.clone();
            changed[at] = byte;
            let error = decode(&changed, 2, 2).map(|_| ()).expect_err("something unsupported");
            assert!(error.contains(what), "{error}");
        };
        check(3, 0xC2, "JPEG process SOF2 with 16 bits is not supported");
        check(3, 0xC9, "JPEG process SOF9");
        check(6, 17, "SOF3 with 17 bits");
        check(8, 3, "has 3 rows and 2 columns, but DICOM says 2 and 2");
        check(11, 3, "3 components where 1 is needed");
    }
}
