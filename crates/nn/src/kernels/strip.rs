//! How an image's rows are shared: bands, each of which is a task, and in them strips that are computed together.

use std::ops::Range;

/// Some rows, `step` apart from `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strip {
    pub(crate) first: usize,
    pub(crate) step: usize,
    pub(crate) count: usize,
}

impl Strip {
    /// Neighboring rows.
    pub(crate) fn neighbors(rows: Range<usize>) -> Self {
        Self { first: rows.start, step: 1, count: rows.len() }
    }

    /// The rows in order.
    pub(crate) fn rows(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |idx| self.first + idx * self.step)
    }
}

/// Strips of so many rows, `step` apart, so that as many strips interlace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strips {
    pub(crate) rows: usize,
    pub(crate) step: usize,
}

impl Strips {
    /// Rows of a band of at least `pixels` pixels in images of `width` columns: whole groups of interlaced strips.
    pub(crate) fn band_rows(self, pixels: usize, width: usize) -> usize {
        let group = self.rows * self.step;
        pixels.div_ceil(width * group) * group
    }

    /// The strips of a band of `rows` rows, counted from its first.
    pub(crate) fn of_band(self, rows: usize) -> impl Iterator<Item = Strip> {
        let Self { rows: count, step } = self;
        let groups = (0..rows).step_by(count * step);
        groups.flat_map(move |group| {
            let firsts = group..(group + step).min(rows);
            firsts.map(move |first| Strip { first, step, count: (rows - first).div_ceil(step).min(count) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_hold_every_row_of_a_band_once() {
        for (rows, step, band) in [(1, 1, 7), (4, 1, 9), (4, 8, 64), (4, 3, 31), (4, 8, 5), (3, 2, 1)] {
            let strips = Strips { rows, step };
            let mut found: Vec<usize> = strips.of_band(band).flat_map(Strip::rows).collect();
            assert!(strips.of_band(band).all(|strip| (1..=rows).contains(&strip.count)), "{strips:?}");
            found.sort_unstable();
            assert_eq!(found, (0..band).collect::<Vec<_>>(), "{strips:?}");
        }
        assert_eq!(Strips { rows: 4, step: 8 }.band_rows(2048, 256), 32);
        assert_eq!(Strips { rows: 1, step: 1 }.band_rows(2048, 256), 8);
    }
}
