//! Overlap of regions.

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
    let mut counts = OverlapCounts::default();
    for (&in_a, &in_b) in std::iter::zip(a.as_slice(), b.as_slice()) {
        counts.add(in_a, in_b);
    }
    Ok(counts.dice())
}

/// How many voxels two regions have, and share.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct OverlapCounts {
    a: usize,
    b: usize,
    both: usize,
}

impl OverlapCounts {
    pub(crate) fn add(&mut self, in_a: bool, in_b: bool) {
        self.a += usize::from(in_a);
        self.b += usize::from(in_b);
        self.both += usize::from(in_a && in_b);
    }

    pub(crate) fn dice(self) -> Option<f64> {
        let both_sizes = self.a + self.b;
        (both_sizes > 0).then(|| 2.0 * self.both as f64 / both_sizes as f64)
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
}
