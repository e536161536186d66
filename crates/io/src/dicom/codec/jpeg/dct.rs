//! Sequential JPEG with 8 or 12 bits (ISO/IEC 10918-1 annexes A.3 and F).

use std::f32::consts::PI;

use super::huffman::Bits;
use super::{Scan, Table, Tables};

/// Row of each coefficient times 8 plus its column, in the order of the stream (figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The samples of a sequential scan, each rounded from the exact inverse transform.
pub(super) fn decode(
    tables: &Tables,
    precision: u8,
    quantization: usize,
    scan: Scan,
    data: &[u8],
    rows: usize,
    columns: usize,
) -> Result<Vec<u16>, String> {
    const LACKS: &str = "its JPEG image lacks a table";
    let steps = tables.quantization.get(quantization).copied().flatten().ok_or(LACKS)?;
    let dc = tables.dc[scan.dc_table].as_ref().ok_or(LACKS)?;
    let ac = tables.ac[scan.ac_table].as_ref().ok_or(LACKS)?;
    let cosines = cosines();
    let mut bits = Bits::new(data);
    let mut samples = vec![0_u16; rows * columns];
    let (mut previous, mut n_blocks) = (0, 0);
    for top in (0..rows).step_by(8) {
        for left in (0..columns).step_by(8) {
            let damaged = || format!("its JPEG data is damaged or ends in row {top} of {rows}");
            let interval = tables.restart_interval;
            if interval > 0 && n_blocks > 0 && n_blocks % interval == 0 {
                bits.restart(n_blocks / interval - 1).ok_or_else(damaged)?;
                previous = 0;
            }
            n_blocks += 1;
            let block = coefficients(&mut bits, dc, ac, &steps, &mut previous).ok_or_else(damaged)?;
            let values = inverse(&cosines, &block);
            let (shift, largest) = ((1 << (precision - 1)) as f32, ((1 << precision) - 1) as f32);
            for (y, line) in samples[top * columns..].chunks_mut(columns).take(8).enumerate() {
                let end = (left + 8).min(columns);
                for (sample, value) in std::iter::zip(&mut line[left..end], &values[8 * y..]) {
                    *sample = (value + shift).round().clamp(0.0, largest) as u16;
                }
            }
        }
    }
    Ok(samples)
}

/// The dequantized coefficients of a block, row by row (clause F.2.2); none if the data ends or is no code.
fn coefficients(
    bits: &mut Bits,
    dc: &Table,
    ac: &Table,
    steps: &[u16; 64],
    previous: &mut i32,
) -> Option<[f32; 64]> {
    let mut block = [0.0; 64];
    let size = bits.symbol(dc)?;
    if size > 15 {
        return None;
    }
    // A sum of differences that leaves 16 bits is damage, and would leave 32 in the end.
    *previous = Some(*previous + bits.signed(size.into())?).filter(|sum| sum.abs() < 1 << 16)?;
    block[0] = *previous as f32 * f32::from(steps[0]);
    let mut at = 1;
    while at < 64 {
        let (n_zeros, size) = match bits.symbol(ac)? {
            0 => break,
            0xF0 => {
                at += 16;
                continue;
            }
            symbol => (usize::from(symbol >> 4), symbol & 0x0F),
        };
        at += n_zeros;
        let (&place, &step) = (ZIGZAG.get(at)?, steps.get(at)?);
        block[usize::from(place)] = bits.signed(size.into())? as f32 * f32::from(step);
        at += 1;
    }
    Some(block)
}

/// `cosines[x][u]` = ½ C(u) cos((2x + 1) u π / 16), the one-dimensional inverse transform (clause A.3.3).
fn cosines() -> [[f32; 8]; 8] {
    std::array::from_fn(|x| {
        std::array::from_fn(|u| {
            let scale = if u == 0 { 0.5_f32.sqrt() } else { 1.0 };
            0.5 * scale * ((2 * x + 1) as f32 * u as f32 * PI / 16.0).cos()
        })
    })
}

fn inverse(cosines: &[[f32; 8]; 8], block: &[f32; 64]) -> [f32; 64] {
    let dot =
        |x: usize, values: [f32; 8]| std::iter::zip(cosines[x], values).map(|(c, v)| c * v).sum::<f32>();
    let mut columns = [0.0; 64];
    for u in 0..8 {
        let values = std::array::from_fn(|v| block[8 * v + u]);
        for y in 0..8 {
            columns[8 * y + u] = dot(y, values);
        }
    }
    std::array::from_fn(|n| dot(n % 8, std::array::from_fn(|u| columns[n / 8 * 8 + u])))
}
