//! Overlap of regions.

use std::ops::Add;

use rayon::prelude::*;
use synthct_image::Mask;

use crate::EvalError;
use crate::inputs::require_grid;

/// The Dice coefficient of two regions: 2 |A ∩ B| / (|A| + |B|), or none if both are empty.
///
/// # Grid
/// Both share one grid.
///
/// # Errors
/// [`EvalError::GridMismatch`].
///
/// # References
/// Dice (1945), doi:10.2307/1932409.
///
/// # Examples
/// ```
/// use synthct_eval::dice;
/// use synthct_image::{Grid, Mask, PointLps, Volume};
/// let grid = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::ORIGIN)?;
/// let left = Mask::new(Volume::from_index_fn(&grid, |index| index.i <= 1));
/// let right = Mask::new(Volume::from_index_fn(&grid, |index| index.i >= 1));
/// assert_eq!(dice(&left, &right)?, Some(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dice(a: &Mask, b: &Mask) -> Result<Option<f64>, EvalError> {
    require_grid(a.grid(), b.grid(), "second region", "first region")?;
    Ok(OverlapCounts::of(a.as_slice(), b.as_slice()).dice())
}

/// How many voxels two regions have, and share.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct OverlapCounts {
    a: usize,
    b: usize,
    both: usize,
}

impl OverlapCounts {
    /// The counts of two regions of one grid.
    fn of(a: &[bool], b: &[bool]) -> Self {
        // Counters of 8 bits, side by side, which a processor steps 16 at a time, and which hold for 255 steps.
        const LANES: usize = 32;
        const STEPS: usize = 255;
        const VOXELS_PER_TASK: usize = 32 * LANES * STEPS;
        let of_block = |a: &[bool], b: &[bool]| {
            let mut lanes = [[0_u8; LANES]; 3];
            let ((a_whole, a_rest), (b_whole, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            for (a, b) in std::iter::zip(a_whole, b_whole) {
                for n in 0..LANES {
                    lanes[0][n] += u8::from(a[n]);
                    lanes[1][n] += u8::from(b[n]);
                    lanes[2][n] += u8::from(a[n] & b[n]);
                }
            }
            let [a, b, both] = lanes.map(|lanes| lanes.iter().map(|&count| usize::from(count)).sum());
            let mut counts = Self { a, b, both };
            for (&in_a, &in_b) in std::iter::zip(a_rest, b_rest) {
                counts.count(in_a, in_b);
            }
            counts
        };
        let blocks = a.par_chunks(VOXELS_PER_TASK).zip(b.par_chunks(VOXELS_PER_TASK)).map(|(a, b)| {
            std::iter::zip(a.chunks(LANES * STEPS), b.chunks(LANES * STEPS))
                .fold(Self::default(), |sum, (a, b)| sum + of_block(a, b))
        });
        // Whole numbers add up in any order.
        blocks.reduce(Self::default, Add::add)
    }

    pub(crate) fn count(&mut self, in_a: bool, in_b: bool) {
        self.a += usize::from(in_a);
        self.b += usize::from(in_b);
        self.both += usize::from(in_a && in_b);
    }

    pub(crate) fn dice(self) -> Option<f64> {
        let both_sizes = self.a + self.b;
        (both_sizes > 0).then(|| 2.0 * self.both as f64 / both_sizes as f64)
    }
}

impl Add for OverlapCounts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { a: self.a + other.a, b: self.b + other.b, both: self.both + other.both }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, PointLps, Volume};

    #[test]
    fn empty_equal_and_disjoint_regions() -> Result<(), Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::ORIGIN)?;
        let region =
            |holds: fn(usize) -> bool| Mask::new(Volume::from_index_fn(&grid, |index| holds(index.k)));
        let (empty, low, high) = (region(|_| false), region(|k| k < 2), region(|k| k >= 2));
        assert_eq!(dice(&empty, &empty)?, None);
        assert_eq!(dice(&empty, &low)?, Some(0.0));
        assert_eq!(dice(&low, &high)?, Some(0.0));
        assert_eq!(dice(&low, &low)?, Some(1.0));
        let other = Grid::axis_aligned([3, 4, 5], [1.0, 1.0, 2.0], PointLps::ORIGIN)?;
        let error = dice(&low, &Mask::full(&other));
        assert!(matches!(error, Err(EvalError::GridMismatch { .. })));
        Ok(())
    }

    #[test]
    fn counts_hold_beyond_the_range_of_their_lanes() {
        // All inside, and patterns whose periods are no factors of any block; more than one task.
        for n in [1, 63, 64 * 255, 64 * 255 * 64 * 2 + 17] {
            let regions = [1, 2, 3, 7].map(|period| (0..n).map(|at| at % period == 0).collect::<Vec<bool>>());
            for (a, b) in [(0, 0), (0, 1), (1, 2), (2, 3)] {
                let mut expected = OverlapCounts::default();
                for (&in_a, &in_b) in std::iter::zip(&regions[a], &regions[b]) {
                    expected.count(in_a, in_b);
                }
                assert_eq!(OverlapCounts::of(&regions[a], &regions[b]), expected);
            }
        }
    }
}
