//! Lossless JPEG (ISO/IEC 10918-1 annex H), processes 14 with any predictor.

use super::huffman::Bits;
use super::{Scan, Tables};

/// The samples of a lossless scan.
pub(super) fn decode(
    tables: &Tables,
    precision: u8,
    scan: Scan,
    data: &[u8],
    rows: usize,
    columns: usize,
) -> Result<Vec<u16>, String> {
    let table = tables.dc[scan.dc_table].as_ref().ok_or("its JPEG image lacks a Huffman table")?;
    let Scan { predictor, point_transform, .. } = scan;
    if !(1..=7).contains(&predictor) {
        return Err(format!("its lossless JPEG predictor is {predictor}, not 1 to 7"));
    }
    if point_transform >= precision {
        return Err(format!(
            "its lossless JPEG point transform {point_transform} leaves nothing of {precision} bits"
        ));
    }
    // Prediction starts anew at a restart, which must be at the start of a line (clause H.1.1).
    let interval = tables.restart_interval;
    if !interval.is_multiple_of(columns) {
        return Err(format!(
            "lossless JPEG with restart intervals of {interval} samples, no whole lines, is not supported"
        ));
    }
    let restart_rows = interval / columns;
    let start = 1_i32 << (precision - point_transform - 1);
    let mut bits = Bits::new(data);
    let mut samples = vec![0_u16; rows * columns];
    for row in 0..rows {
        let is_restart = restart_rows > 0 && row > 0 && row % restart_rows == 0;
        let damaged = || format!("its lossless JPEG data is damaged or ends in row {row} of {rows}");
        if is_restart {
            bits.restart(row / restart_rows - 1).ok_or_else(damaged)?;
        }
        let (above, line) = samples.split_at_mut(row * columns);
        let above = &above[(row * columns).saturating_sub(columns)..];
        let is_first = row == 0 || is_restart;
        decode_line(&mut bits, table, predictor, start, is_first, above, &mut line[..columns])
            .ok_or_else(damaged)?;
    }
    for sample in &mut samples {
        *sample <<= point_transform;
    }
    Ok(samples)
}

/// One line; none if the data ends or is no code.
fn decode_line(
    bits: &mut Bits,
    table: &super::Table,
    predictor: u8,
    start: i32,
    is_first: bool,
    above: &[u16],
    line: &mut [u16],
) -> Option<()> {
    let above_at = |at: usize| above.get(at).copied().map_or(0, i32::from);
    let mut left = 0;
    let mut above_left = 0;
    for (at, sample) in line.iter_mut().enumerate() {
        let over = above_at(at);
        let prediction = match (is_first, at) {
            (true, 0) => start,
            (true, _) => left,
            (false, 0) => over,
            (false, _) => match predictor {
                1 => left,
                2 => over,
                3 => above_left,
                4 => left + over - above_left,
                5 => left + ((over - above_left) >> 1),
                6 => over + ((left - above_left) >> 1),
                _ => (left + over) >> 1,
            },
        };
        let difference = match bits.symbol(table)? {
            n @ 0..=15 => bits.signed(n.into())?,
            // 2¹⁵ has no further bits (table H.2).
            16 => 1 << 15,
            _ => return None,
        };
        // Modulo 2¹⁶ (clause H.1.2.1).
        *sample = (prediction + difference) as u16;
        left = i32::from(*sample);
        above_left = over;
    }
    Some(())
}
