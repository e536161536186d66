//! Panels `[channel and tap, position]` of what neighboring positions of a grid read.

use std::ops::Range;

use super::phases::{Phases, Region};
use super::window::WindowTap;
use crate::simd::{MAX_LANES, Simd};

/// Some rows of some slices of a grid, whose positions are counted in one line; slices are counted through all images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GridRows {
    pub(crate) slices: Range<usize>,
    pub(crate) rows: Range<usize>,
}

/// Neighboring positions of one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) slice: usize,
    /// The first position, counted from the slice's first.
    pub(crate) from: usize,
    pub(crate) len: usize,
}

impl GridRows {
    /// Positions in the line.
    pub(crate) fn positions(&self, width: usize) -> usize {
        self.slices.len() * self.rows.len() * width
    }

    /// A part of the line, slice by slice.
    pub(crate) fn pieces(&self, width: usize, line: Range<usize>) -> Vec<Piece> {
        let slice = self.rows.len() * width;
        let mut pieces = Vec::new();
        let mut at = line.start;
        while at < line.end {
            let from = at % slice;
            let len = (slice - from).min(line.end - at);
            pieces.push(Piece {
                slice: self.slices.start + at / slice,
                from: self.rows.start * width + from,
                len,
            });
            at += len;
        }
        pieces
    }
}

impl Piece {
    /// The piece row by row: the row, its columns, and the positions of the piece before it.
    pub(crate) fn rows(self, width: usize) -> impl Iterator<Item = (usize, Range<usize>, usize)> {
        let end = self.from + self.len;
        (self.from / width..end.div_ceil(width)).map(move |row| {
            let columns = self.from.max(row * width) - row * width..end.min((row + 1) * width) - row * width;
            (row, columns.clone(), (row * width + columns.start) - self.from)
        })
    }
}

/// How the values of a panel are fetched, for some positions in a line; the same for all channels.
pub(crate) struct Reads {
    pieces: Vec<PieceReads>,
    /// Values stored between.
    stored: usize,
}

struct PieceReads {
    image: usize,
    region: Region,
    /// Where the region is stored.
    base: usize,
    /// From and to where vectors are copied, from a tap's first value and within a row of the panels.
    vectors: Vec<[usize; 2]>,
    /// Pairs of vectors, all of which belongs there.
    pairs: Vec<[usize; 2]>,
}

/// The tensor that panels are made of: `values` `[images, channels, ..]`.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) phases: &'a Phases,
    pub(crate) values: &'a [f32],
    pub(crate) channels: usize,
}

impl Reads {
    /// For `pieces`, one after the other, with `lanes` values in a vector.
    ///
    /// A panel holds `width` positions in each row; the next begins `panel_len` values further on.
    pub(crate) fn new(
        phases: &Phases,
        pieces: &[Piece],
        lanes: usize,
        [width, panel_len]: [usize; 2],
    ) -> Self {
        let [depth, _, columns] = phases.grid;
        let mut reads = Self { pieces: Vec::with_capacity(pieces.len()), stored: 0 };
        let mut start = 0;
        for piece in pieces {
            let rows = piece.from / columns..(piece.from + piece.len).div_ceil(columns);
            let region = phases.region(piece.slice % depth, rows);
            let (mut vectors, mut pairs) = (Vec::new(), Vec::with_capacity(piece.len / (2 * lanes)));
            for (row, columns, before) in piece.rows(columns) {
                let mut done = 0;
                while done < columns.len() {
                    let at = start + before + done;
                    // Not beyond the panel; shorter copies are whole vectors all the same.
                    let len = (columns.len() - done).min(width - at % width).min(2 * lanes);
                    let copies = if len == 2 * lanes { &mut pairs } else { &mut vectors };
                    let len = if len == 2 * lanes { len } else { len.min(lanes) };
                    let to = at / width * panel_len + at % width;
                    copies.push([region.place(row, columns.start + done), to]);
                    done += len;
                }
            }
            let base = reads.stored;
            reads.stored += phases.stored(&region);
            start += piece.len;
            reads.pieces.push(PieceReads { image: piece.slice / depth, region, base, vectors, pairs });
        }
        reads
    }

    /// Values that must fit between; whole vectors are read beyond the last.
    pub(crate) fn stored(&self) -> usize {
        self.stored + MAX_LANES
    }

    /// Where the reads of each tap begin, piece by piece.
    pub(crate) fn offsets(&self, phases: &Phases, taps: &[WindowTap]) -> Vec<usize> {
        let of_piece = |piece: &PieceReads| {
            let base = piece.base;
            taps.iter().map(|tap| base + phases.offset(&piece.region, tap)).collect::<Vec<_>>()
        };
        self.pieces.iter().flat_map(of_piece).collect()
    }

    /// Fetches `rows` of `[channel, tap]` into rows of the panels, which are `pitch` values apart.
    ///
    /// Whole vectors are copied: what they bring too much is overwritten by a later copy or row, or lies behind the last
    /// row, where there must be room for it. `stored` must hold zeros, or what an earlier call left.
    #[inline(always)]
    pub(crate) fn gather<S: Simd>(
        &self,
        simd: S,
        source: Source,
        offsets: &[usize],
        rows: Range<usize>,
        pitch: usize,
        stored: &mut [f32],
        panels: &mut [f32],
    ) {
        let taps = offsets.len() / self.pieces.len();
        let plane_len = source.phases.plane_len();
        let (mut channel, mut tap) = (rows.start / taps, rows.start % taps);
        for idx in 0..rows.len() {
            if idx == 0 || tap == 0 {
                for piece in &self.pieces {
                    let plane = &source.values[(piece.image * source.channels + channel) * plane_len..];
                    source.phases.fill(&piece.region, &plane[..plane_len], &mut stored[piece.base..]);
                }
            }
            let panels = &mut panels[idx * pitch..];
            for (piece, offsets) in self.pieces.iter().zip(offsets.chunks_exact(taps)) {
                let stored = &stored[offsets[tap]..];
                for &[from, to] in &piece.vectors {
                    simd.store(simd.load(stored, from), panels, to);
                }
            }
            for (piece, offsets) in self.pieces.iter().zip(offsets.chunks_exact(taps)) {
                let stored = &stored[offsets[tap]..];
                for &[from, to] in &piece.pairs {
                    let pair = [simd.load(stored, from), simd.load(stored, from + S::LANES)];
                    simd.store(pair[0], panels, to);
                    simd.store(pair[1], panels, to + S::LANES);
                }
            }
            tap += 1;
            if tap == taps {
                tap = 0;
                channel += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::window::ConvShape;
    use crate::simd::Portable;

    /// Every row of every position holds the value that the definition names, or zero outside.
    #[test]
    fn panels_hold_what_the_definition_says() {
        for (kernel, stride, padding, dilation) in [
            ([1, 4, 4], [1, 2, 2], [0, 1, 1], [1, 1, 1]),
            ([3, 3, 2], [2, 1, 3], [1, 2, 0], [1, 2, 1]),
            ([1, 3, 5], [1, 1, 1], [0, 1, 2], [1, 1, 1]),
            ([2, 1, 3], [3, 4, 2], [2, 0, 3], [1, 1, 4]),
        ] {
            let conv = ConvShape { kernel, stride, padding, dilation };
            let size = [4, 7, 9];
            let grid = conv.output(size).expect("the kernel fits");
            let window = conv.window(size, grid);
            let phases = Phases::new(size, grid, stride, std::slice::from_ref(&window));
            let plane = size.iter().product::<usize>();
            let values: Vec<f32> = (1..=2 * 3 * plane).map(|v| v as f32).collect();
            let source = Source { phases: &phases, values: &values, channels: 3 };
            let (rows, first_row) = (3 * window.taps.len() - 1, 1);

            let [depth, height, width] = grid;
            let all = GridRows { slices: 0..2 * depth, rows: 0..height };
            let some = GridRows { slices: 1..2 * depth, rows: height / 2..height };
            for (lines, from) in [(&all, 0), (&some, 2)] {
                let line = from..lines.positions(width);
                let panel_len = rows * 16 + MAX_LANES;
                let reads = Reads::new(&phases, &lines.pieces(width, line.clone()), 8, [16, panel_len]);
                let mut stored = vec![0.0; reads.stored()];
                let mut panels = vec![f32::NAN; line.len().div_ceil(16) * panel_len];
                let (offsets, rows) = (reads.offsets(&phases, &window.taps), first_row..first_row + rows);
                reads.gather(Portable, source, &offsets, rows.clone(), 16, &mut stored, &mut panels);
                for (idx, position) in line.enumerate() {
                    let slice = lines.slices.start + position / (lines.rows.len() * width);
                    let place = [
                        slice % depth,
                        lines.rows.start + position / width % lines.rows.len(),
                        position % width,
                    ];
                    for row in rows.clone() {
                        let (channel, tap) = (row / window.taps.len(), window.taps[row % window.taps.len()]);
                        let read: [isize; 3] = std::array::from_fn(|axis| {
                            (place[axis] * stride[axis]) as isize + tap.offset[axis]
                        });
                        let inside = (0..3).all(|axis| (0..size[axis] as isize).contains(&read[axis]));
                        let at = (read[0] * 7 + read[1]) * 9 + read[2];
                        let first = (slice / depth * 3 + channel) * plane;
                        let expected = if inside { values[first + at as usize] } else { 0.0 };
                        let found = panels[idx / 16 * panel_len + (row - first_row) * 16 + idx % 16];
                        assert!(
                            (found - expected).abs() < 1e-6,
                            "{conv:?} {lines:?} {place:?} row {row}: {found} for {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_line_falls_into_pieces_and_rows() {
        let lines = GridRows { slices: 3..6, rows: 1..3 };
        assert_eq!(lines.positions(5), 30);
        let pieces = lines.pieces(5, 8..23);
        let piece = |slice, from, len| Piece { slice, from, len };
        assert_eq!(pieces, [piece(3, 13, 2), piece(4, 5, 10), piece(5, 5, 3)]);
        let rows: Vec<_> = piece(0, 13, 9).rows(5).collect();
        assert_eq!(rows, [(2, 3..5, 0), (3, 0..5, 2), (4, 0..2, 7)]);
    }
}
