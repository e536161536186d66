//! Coarser versions of an image: block means, then a little smoothing.

use rayon::prelude::*;
use synthct_image::{ContinuousIndex, Grid, ImageError, Volume, gaussian_smooth};

/// The whole numbers by which to shrink each axis (i, j, k) so that its spacing comes near `spacing_mm`.
///
/// Axes that are coarse already keep their spacing, so that a level of an anisotropic image is about isotropic.
pub(crate) fn shrink_factors(grid: &Grid, spacing_mm: f64) -> [usize; 3] {
    let (own, size) = (grid.spacing_mm(), grid.size_ijk());
    [0, 1, 2].map(|axis| ((spacing_mm / own[axis]).round() as usize).clamp(1, size[axis]))
}

/// The grid of [`block_means`]: a voxel for each block, at the block's middle; a last, incomplete block counts.
pub(crate) fn shrunk_grid(grid: &Grid, factors: [usize; 3]) -> Result<Grid, ImageError> {
    let size = [0, 1, 2].map(|axis| grid.size_ijk()[axis].div_ceil(factors[axis]));
    let spacing = [0, 1, 2].map(|axis| grid.spacing_mm()[axis] * factors[axis] as f64);
    let [i, j, k] = factors.map(|factor| (factor - 1) as f64 / 2.0);
    Grid::new(size, spacing, grid.lps_from_index(ContinuousIndex::new(i, j, k)), *grid.direction())
}

/// The means of blocks of `factors` voxels (i, j, k), each value held within `window` (low, high) first.
///
/// Where the last block leaves the grid, the outermost values are repeated.
/// Sums run in a fixed order, in 32 bits: a block is small.
pub(crate) fn block_means(
    volume: &Volume<f32>,
    factors: [usize; 3],
    window: [f32; 2],
) -> Result<Volume<f32>, ImageError> {
    let grid = shrunk_grid(volume.grid(), factors)?;
    let [ni, nj, nk] = volume.grid().size_ijk();
    let [mi, mj, _] = grid.size_ijk();
    let [fi, fj, fk] = factors;
    let [low, high] = window;
    let source = volume.as_slice();
    let scale = 1.0 / (fi * fj * fk) as f32;
    let mut means = vec![0.0_f32; grid.n_voxels()];
    means.par_chunks_mut(mi).with_min_len(16).enumerate().for_each_init(
        || vec![0.0_f32; mi * fi],
        |sums, (row, out)| {
            let (j, k) = (row % mj, row / mj);
            sums.fill(0.0);
            for step in 0..fj * fk {
                let from_j = (j * fj + step % fj).min(nj - 1);
                let from_k = (k * fk + step / fj).min(nk - 1);
                let line = &source[(from_k * nj + from_j) * ni..][..ni];
                for (sum, &value) in std::iter::zip(&mut sums[..ni], line) {
                    *sum += value.max(low).min(high);
                }
            }
            let outermost = sums[ni - 1];
            sums[ni..].fill(outermost);
            for (mean, block) in std::iter::zip(out, sums.chunks_exact(fi)) {
                *mean = block.iter().sum::<f32>() * scale;
            }
        },
    );
    Volume::from_vec(grid, means)
}

/// The image at about `spacing_mm`: values held within `window`, block means, and a Gaussian of `sigma_voxels` of the
/// coarser grid's finest spacing, against the aliasing that block means leave.
///
/// # Errors
/// [`ImageError`] for a window or width that is not usable.
pub(crate) fn coarser(
    volume: &Volume<f32>,
    spacing_mm: f64,
    window: [f32; 2],
    sigma_voxels: f64,
) -> Result<Volume<f32>, ImageError> {
    let means = block_means(volume, shrink_factors(volume.grid(), spacing_mm), window)?;
    if sigma_voxels <= 0.0 {
        return Ok(means);
    }
    let finest = means.grid().spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    gaussian_smooth(&means, sigma_voxels * finest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Matrix3, PointLps, VoxelIndex};

    const ALL: [f32; 2] = [f32::MIN, f32::MAX];

    #[test]
    fn a_linear_image_keeps_its_values_at_the_blocks_middles() -> Result<(), ImageError> {
        let direction = Matrix3([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
        let grid = Grid::new([12, 8, 6], [0.5, 1.0, 2.0], PointLps::new(3.0, -7.0, 11.0), direction)?;
        let height = |p: PointLps| (2.0 * p.x - 3.0 * p.y + 5.0 * p.z) as f32;
        let factors = shrink_factors(&grid, 2.0);
        assert_eq!(factors, [4, 2, 1]);
        let means = block_means(&Volume::from_point_fn(&grid, height), factors, ALL)?;
        let expected = Volume::from_point_fn(means.grid(), height);
        assert_eq!(means.grid().size_ijk(), [3, 4, 6]);
        for (got, want) in std::iter::zip(means.as_slice(), expected.as_slice()) {
            assert!((got - want).abs() < 1e-4, "{got}, expected {want}");
        }
        Ok(())
    }

    #[test]
    fn an_incomplete_block_repeats_the_outermost_values_and_the_window_holds() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([5, 1, 1], [1.0; 3], PointLps::ORIGIN)?;
        let line = Volume::from_vec(grid, vec![-2048.0, 0.0, 10.0, 30.0, 400.0])?;
        let means = block_means(&line, [2, 1, 1], [-1000.0, 100.0])?;
        assert_eq!(means.as_slice(), [-500.0, 20.0, 100.0]);
        assert_eq!(means.grid().point_of(VoxelIndex::new(0, 0, 0)), PointLps::new(0.5, 0.0, 0.0));
        Ok(())
    }
}
