//! The exact Euclidean distance transform.

use ndarray::parallel::prelude::*;
use ndarray::{ArrayViewMut2, Axis};

use crate::{Mask, Volume};

/// The distance in mm from each voxel centre to the nearest voxel centre inside; zero inside, infinite if the mask is
/// empty.
///
/// # References
/// Felzenszwalb, Huttenlocher (2012), doi:10.4086/toc.2012.v008a019, section 2, with the spacing of each axis.
pub fn distance_to_mm(mask: &Mask) -> Volume<f32> {
    squared_distance_mm2(mask).map(|distance| distance.sqrt())
}

/// The square of [`distance_to_mm`].
pub(super) fn squared_distance_mm2(mask: &Mask) -> Volume<f32> {
    let [si, sj, sk] = mask.grid().spacing_mm();
    let mut squared = mask.volume().map(|&inside| if inside { 0.0 } else { f32::INFINITY });
    let mut array = squared.array_mut();
    // Along i and j within each slice, then along k within each plane of constant j.
    array.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut slice| {
        lower_envelopes(slice.view_mut().reversed_axes(), si);
        lower_envelopes(slice, sj);
    });
    array.axis_iter_mut(Axis(1)).into_par_iter().for_each(|plane| lower_envelopes(plane, sk));
    squared
}

/// Replaces each line f along the first axis by min over q of f(q) + ((p − q)·spacing)².
fn lower_envelopes(mut plane: ArrayViewMut2<'_, f32>, spacing_mm: f64) {
    let n = plane.dim().0;
    let step2 = spacing_mm * spacing_mm;
    // The parabolas of the envelope: apex position, apex height, and from where on each is the lowest.
    let mut envelope: Vec<(usize, f64, f64)> = Vec::with_capacity(n);
    for mut line in plane.columns_mut() {
        envelope.clear();
        for (q, &height) in line.iter().enumerate() {
            let height = f64::from(height);
            if height.is_infinite() {
                continue;
            }
            let mut from = f64::NEG_INFINITY;
            while let Some(&(apex, apex_height, apex_from)) = envelope.last() {
                // Where the two parabolas cross, in voxels.
                let (p, q) = (apex as f64, q as f64);
                from = ((height - apex_height) / step2 + q * q - p * p) / (2.0 * (q - p));
                if from > apex_from {
                    break;
                }
                envelope.pop();
                from = f64::NEG_INFINITY;
            }
            envelope.push((q, height, from));
        }
        let mut lowest = 0;
        if envelope.is_empty() {
            continue;
        }
        for (p, value) in line.iter_mut().enumerate() {
            while envelope.get(lowest + 1).is_some_and(|&(_, _, from)| from < p as f64) {
                lowest += 1;
            }
            let (apex, height, _) = envelope[lowest];
            let steps = p as f64 - apex as f64;
            *value = (height + steps * steps * step2) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, ImageError, PointLps, VoxelIndex};

    #[test]
    fn distances_equal_a_search_over_all_pairs() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([9, 8, 7], [0.7, 1.9, 3.1], PointLps::new(5.0, -3.0, 1.0))?;
        let is_seed = |index: VoxelIndex| (index.i * 31 + index.j * 17 + index.k * 7) % 23 == 3;
        let mask = Mask::new(Volume::from_index_fn(&grid, is_seed));
        let points = Volume::from_point_fn(&grid, |point| point);
        let seeds: Vec<PointLps> = std::iter::zip(points.as_slice(), mask.as_slice())
            .filter_map(|(&point, &inside)| inside.then_some(point))
            .collect();
        assert!(seeds.len() > 5, "the test must bite");
        for (&point, &got) in std::iter::zip(points.as_slice(), distance_to_mm(&mask).as_slice()) {
            let expected = seeds.iter().fold(f64::INFINITY, |near, seed| near.min(seed.distance_mm(point)));
            assert!((f64::from(got) - expected).abs() < 1e-5, "{got} mm at {point:?}, expected {expected}");
        }
        Ok(())
    }

    #[test]
    fn nothing_is_near_an_empty_mask() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::ORIGIN)?;
        let distance = distance_to_mm(&Mask::full(&grid).complement());
        assert!(distance.as_slice().iter().all(|&value| value == f32::INFINITY));
        Ok(())
    }
}
