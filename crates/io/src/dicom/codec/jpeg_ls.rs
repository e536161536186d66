//! JPEG-LS, lossless and near-lossless, of one component (ISO/IEC 14495-1 = ITU-T T.87; PS3.5 section 8.2.3).
//!
//! Written from the standard. Names of variables are the standard's (A, B, C, N, `T1` to `T3`, J, k), clause numbers
//! are given where a rule is used. Restart intervals, mapping tables (palettes) and several components are refused.

mod bits;
mod context;

use self::bits::Bits;
use self::context::{Coding, Regular, Run};
use super::Decoded;

/// The frame header and the coding parameters that precede the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    precision: u8,
    height: u16,
    width: u16,
    n_components: u8,
}

/// The preset coding parameters of an LSE segment (clause C.2.4.1.1); zero stands for the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Preset {
    max_value: u16,
    thresholds: [u16; 3],
    reset: u16,
}

/// The samples of one frame.
pub(super) fn decode(stream: &[u8], rows: usize, columns: usize) -> Result<Decoded, String> {
    let mut rest = stream.strip_prefix(&[0xFF, 0xD8]).ok_or("its JPEG-LS image does not start with SOI")?;
    let mut frame = None;
    let mut preset = Preset::default();
    loop {
        let (marker, segment, tail) = super::segment(rest).ok_or("its JPEG-LS header is damaged")?;
        rest = tail;
        match marker {
            0xF7 => {
                let [precision, h1, h0, w1, w0, n_components, ..] = *segment else {
                    return Err("its JPEG-LS frame header is damaged".to_owned());
                };
                frame = Some(Frame {
                    precision,
                    height: u16::from_be_bytes([h1, h0]),
                    width: u16::from_be_bytes([w1, w0]),
                    n_components,
                });
            }
            0xF8 => match *segment {
                [1, m1, m0, a1, a0, b1, b0, c1, c0, r1, r0, ..] => {
                    preset = Preset {
                        max_value: u16::from_be_bytes([m1, m0]),
                        thresholds: [[a1, a0], [b1, b0], [c1, c0]].map(u16::from_be_bytes),
                        reset: u16::from_be_bytes([r1, r0]),
                    };
                }
                [kind, ..] => {
                    return Err(format!(
                        "JPEG-LS parameters of type {kind} (palette, large size) are not supported"
                    ));
                }
                [] => return Err("its JPEG-LS parameters are damaged".to_owned()),
            },
            0xDD if segment.iter().any(|&byte| byte != 0) => {
                return Err("JPEG-LS with restart intervals is not supported".to_owned());
            }
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                return Err(format!("its image is JPEG (SOF{}), not JPEG-LS", marker & 0x0F));
            }
            0xDA => {
                let frame = frame.ok_or("its JPEG-LS image has no frame header")?;
                check_frame(frame, rows, columns)?;
                // One component: Ns, Cs, Tm, then NEAR, ILV and the point transform.
                let [1, _, table, near, _, transform, ..] = *segment else {
                    return Err("its JPEG-LS scan header is damaged".to_owned());
                };
                if table != 0 {
                    return Err("a JPEG-LS palette is not supported".to_owned());
                }
                let coding =
                    Coding::new(frame.precision, near, preset.max_value, preset.thresholds, preset.reset)?;
                let mut samples = scan(coding, rest, rows, columns)?;
                match transform & 0x0F {
                    0 => {}
                    shift => samples.iter_mut().for_each(|sample| *sample <<= shift),
                }
                return Ok(Decoded { samples, precision: frame.precision });
            }
            _ => {}
        }
    }
}

fn check_frame(frame: Frame, rows: usize, columns: usize) -> Result<(), String> {
    if (usize::from(frame.height), usize::from(frame.width)) != (rows, columns) {
        return Err(format!(
            "its JPEG-LS image has {} rows and {} columns, but DICOM says {rows} and {columns}",
            frame.height, frame.width
        ));
    }
    if frame.n_components != 1 {
        return Err(format!("its JPEG-LS image has {} components where 1 is needed", frame.n_components));
    }
    if !(2..=16).contains(&frame.precision) {
        return Err(format!("its JPEG-LS image has {} bits a sample", frame.precision));
    }
    Ok(())
}

/// Decodes the entropy-coded data of a scan (annex A).
fn scan(coding: Coding, data: &[u8], rows: usize, columns: usize) -> Result<Vec<u16>, String> {
    let mut bits = Bits::new(data);
    let mut contexts = vec![Regular::new(&coding); Regular::N_CONTEXTS];
    let mut run = Run::new(&coding);
    let mut samples = Vec::with_capacity(rows * columns);
    // A line with a sample before its first and one behind its last (clause A.2.1).
    let mut above = vec![0_i32; columns + 2];
    let mut line = above.clone();
    for row in 0..rows {
        above[columns + 1] = above[columns];
        line[0] = above[1];
        decode_line(&coding, &mut bits, &mut contexts, &mut run, &above, &mut line)
            .ok_or_else(|| format!("its JPEG-LS data is damaged or ends in row {row} of {rows}"))?;
        samples.extend(line[1..=columns].iter().map(|&sample| sample as u16));
        std::mem::swap(&mut above, &mut line);
    }
    Ok(samples)
}

/// One line; none if the data ends or makes no sense.
fn decode_line(
    coding: &Coding,
    bits: &mut Bits,
    contexts: &mut [Regular],
    run: &mut Run,
    above: &[i32],
    line: &mut [i32],
) -> Option<()> {
    let columns = line.len() - 2;
    let mut at = 1;
    let (mut c, mut b) = (above[0], above[1]);
    while at <= columns {
        // The neighbors a (left), b (above), c (above left) and d (above right).
        let a = line[at - 1];
        let d = above[at + 1];
        let gradients = [d - b, b - c, c - a].map(|gradient| coding.quantized(gradient));
        if gradients == [0; 3] {
            let n = run.length(bits, columns + 1 - at)?;
            line[at..at + n].fill(a);
            at += n;
            if at > columns {
                break;
            }
            line[at] = run.interruption(coding, bits, a, above[at])?;
        } else {
            let signed = 81 * gradients[0] + 9 * gradients[1] + gradients[2];
            let context = &mut contexts[signed.unsigned_abs() as usize];
            line[at] = context.sample(coding, bits, signed < 0, predicted(a, b, c))?;
        }
        c = above[at];
        b = above[at + 1];
        at += 1;
    }
    Some(())
}

/// The median edge detector (clause A.4.1).
fn predicted(a: i32, b: i32, c: i32) -> i32 {
    if c >= a.max(b) {
        a.min(b)
    } else if c <= a.min(b) {
        a.max(b)
    } else {
        a + b - c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the standard (clause H.3).
    const EXAMPLE: [u8; 56] = [
        0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00, 0xFF, 0xDA,
        0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0,
        0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6E, 0xE6, 0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8,
        0x00, 0x00, 0x91, 0x60, 0xFF,
    ];

    #[test]
    fn the_example_of_the_standard_is_decoded() -> Result<(), String> {
        let expected = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];
        assert_eq!(decode(&EXAMPLE, 4, 4)?.samples, expected);
        Ok(())
    }

    #[test]
    fn what_is_not_read_is_named() {
        let check = |at: usize, byte: u8, what: &str| {
            let mut changed = EXAMPLE;
            changed[at] = byte;
            let error = decode(&changed, 4, 4).map(|_| ()).expect_err("something unsupported");
            assert!(error.contains(what), "{error}");
        };
        check(3, 0xC0, "JPEG (SOF0), not JPEG-LS");
        check(6, 17, "17 bits a sample");
        check(8, 5, "has 5 rows and 4 columns, but DICOM says 4 and 4");
        check(11, 3, "3 components where 1 is needed");
        check(21, 1, "palette");
        check(22, 200, "MAXVAL = 255 and NEAR = 200");
        let error = decode(&EXAMPLE[..40], 4, 4).map(|_| ()).expect_err("it breaks off");
        assert!(error.contains("ends in row"), "{error}");
    }
}
