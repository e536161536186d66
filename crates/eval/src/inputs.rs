//! The checks that every metric makes before it computes, and the sums it computes with.

use rayon::prelude::*;
use synthct_image::{Grid, Mask, Volume, VoxelIndex};

use crate::EvalError;

/// Voxels that one thread looks at before it asks for more.
const VOXELS_PER_TASK: usize = 1 << 16;

/// Fails unless both images and the mask share one grid, the mask has a voxel, and no masked value is NaN or infinite.
pub(crate) fn check(ct: &Volume<f32>, sct: &Volume<f32>, mask: &Mask) -> Result<(), EvalError> {
    require_grid(ct.grid(), sct.grid(), "sct", "ct")?;
    require_grid(ct.grid(), mask.grid(), "mask", "ct")?;
    if !mask.as_slice().contains(&true) {
        return Err(EvalError::EmptyMask { n_voxels: mask.grid().n_voxels() });
    }
    require_finite(ct, mask, "ct")?;
    require_finite(sct, mask, "sct")
}

/// Fails with both grids unless they match.
pub(crate) fn require_grid(
    expected: &Grid,
    grid: &Grid,
    image: &'static str,
    reference: &'static str,
) -> Result<(), EvalError> {
    expected.require_match(grid).map_err(|source| EvalError::GridMismatch {
        image,
        reference,
        source: Box::new(source),
    })
}

fn require_finite(volume: &Volume<f32>, mask: &Mask, image: &'static str) -> Result<(), EvalError> {
    let is_bad = |(value, &inside): (&f32, &bool)| inside & !value.is_finite();
    let is_clean = (volume.as_slice().par_chunks(VOXELS_PER_TASK))
        .zip(mask.as_slice().par_chunks(VOXELS_PER_TASK))
        .all(|(values, mask)| !std::iter::zip(values, mask).fold(false, |found, pair| found | is_bad(pair)));
    if is_clean {
        return Ok(());
    }
    require_none(volume, image, "inside the mask ", || {
        std::iter::zip(volume.as_slice(), mask.as_slice()).map(is_bad)
    })
}

/// Fails if any value is NaN or infinite.
pub(crate) fn require_all_finite(volume: &Volume<f32>, image: &'static str) -> Result<(), EvalError> {
    require_none(volume, image, "", || volume.as_slice().iter().map(|value| !value.is_finite()))
}

/// Fails with the first voxel and the number of those that are bad.
fn require_none<I: Iterator<Item = bool>>(
    volume: &Volume<f32>,
    image: &'static str,
    place: &'static str,
    is_bad: impl Fn() -> I,
) -> Result<(), EvalError> {
    let Some(n) = is_bad().position(|bad| bad) else { return Ok(()) };
    let [ni, nj, _] = volume.grid().size_ijk();
    let first = VoxelIndex::new(n % ni, n / ni % nj, n / (ni * nj));
    Err(EvalError::NotFinite {
        image,
        place,
        count: is_bad().filter(|&bad| bad).count(),
        first,
        first_lps: volume.grid().point_of(first),
    })
}

/// A sum and the number of its terms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) total: f64,
    pub(crate) n: usize,
}

impl Sum {
    /// The mean, or none of nothing.
    pub(crate) fn mean(self) -> Option<f64> {
        (self.n > 0).then(|| self.total / self.n as f64)
    }
}

/// The sum of `term(ct, sct)` over the voxels of `mask` where it has a value.
///
/// Slices are summed in parallel and their sums added in order, so that the result does not depend on the number of
/// threads.
pub(crate) fn masked_sum(
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    mask: &Mask,
    term: impl Fn(f64, f64) -> Option<f64> + Sync,
) -> Sum {
    let [ni, nj, _] = ct.grid().size_ijk();
    let of_slice: Vec<Sum> = (ct.as_slice().par_chunks(ni * nj))
        .zip(sct.as_slice().par_chunks(ni * nj))
        .zip(mask.as_slice().par_chunks(ni * nj))
        .map(|((ct, sct), mask)| {
            let mut sum = Sum::default();
            for ((&y, &x), &inside) in ct.iter().zip(sct).zip(mask) {
                if inside && let Some(value) = term(f64::from(y), f64::from(x)) {
                    sum.total += value;
                    sum.n += 1;
                }
            }
            sum
        })
        .collect();
    of_slice.iter().fold(Sum::default(), |a, b| Sum { total: a.total + b.total, n: a.n + b.n })
}
