//! Boxes of voxels: cropping and padding.

use ndarray::s;

use crate::{ContinuousIndex, Grid, ImageError, Mask, Volume, VoxelIndex};

impl Grid {
    /// The part of the grid from voxel `start` on, `size_ijk` voxels long; its voxels stay where they are.
    ///
    /// # Errors
    /// [`ImageError::Box`] if the box is empty or leaves the grid.
    pub fn crop(&self, start: VoxelIndex, size_ijk: [usize; 3]) -> Result<Self, ImageError> {
        let start_ijk = [start.i, start.j, start.k];
        let fits = (0..3).all(|axis| {
            size_ijk[axis] > 0
                && start_ijk[axis].checked_add(size_ijk[axis]).is_some_and(|end| end <= self.size_ijk()[axis])
        });
        if !fits {
            return Err(ImageError::Box { start_ijk, size_ijk, grid_size_ijk: self.size_ijk() });
        }
        Self::new(size_ijk, self.spacing_mm(), self.point_of(start), *self.direction())
    }

    /// The part of the grid that holds a box of voxels, as of [`Mask::bounding_box`], and a margin around it, as far as
    /// there are voxels.
    ///
    /// # Errors
    /// [`ImageError::Box`] if the box is empty or leaves the grid, [`ImageError::Parameter`] for a margin that is
    /// negative or not finite.
    pub fn crop_around(
        &self,
        start: VoxelIndex,
        size_ijk: [usize; 3],
        margin_mm: f64,
    ) -> Result<Self, ImageError> {
        if !(margin_mm.is_finite() && margin_mm >= 0.0) {
            let allowed = "finite and at least zero";
            return Err(ImageError::Parameter { name: "margin_mm", value: margin_mm, allowed });
        }
        // What must hold of the box itself.
        self.crop(start, size_ijk)?;
        let margin = self.spacing_mm().map(|spacing| (margin_mm / spacing).ceil() as usize);
        let box_start = [start.i, start.j, start.k];
        let start = [0, 1, 2].map(|axis| box_start[axis].saturating_sub(margin[axis]));
        let end = [0, 1, 2].map(|axis| {
            (box_start[axis] + size_ijk[axis]).saturating_add(margin[axis]).min(self.size_ijk()[axis])
        });
        let [i, j, k] = start;
        self.crop(VoxelIndex::new(i, j, k), [0, 1, 2].map(|axis| end[axis] - start[axis]))
    }

    /// The grid with `margin_ijk` more voxels at either end of each axis; its own voxels stay where they are.
    ///
    /// # Errors
    /// [`ImageError::GridSize`] if that is too large.
    pub fn padded(&self, margin_ijk: [usize; 3]) -> Result<Self, ImageError> {
        let [i, j, k] = margin_ijk.map(|margin| -(margin as f64));
        let size = self.size_ijk();
        let size_ijk = [0, 1, 2].map(|axis| size[axis].saturating_add(margin_ijk[axis].saturating_mul(2)));
        let origin = self.lps_from_index(ContinuousIndex::new(i, j, k));
        Self::new(size_ijk, self.spacing_mm(), origin, *self.direction())
    }
}

impl<T: Clone> Volume<T> {
    /// The values from voxel `start` on, `size_ijk` voxels long; they stay where they are in patient space.
    ///
    /// # Errors
    /// [`ImageError::Box`] if the box is empty or leaves the grid.
    pub fn crop(&self, start: VoxelIndex, size_ijk: [usize; 3]) -> Result<Self, ImageError> {
        let grid = self.grid().crop(start, size_ijk)?;
        let [ni, nj, nk] = size_ijk;
        let part =
            self.array().slice_move(s![start.k..start.k + nk, start.j..start.j + nj, start.i..start.i + ni]);
        Self::new(grid, part.to_owned())
    }

    /// The values with `margin_ijk` voxels of `value` added at either end of each axis.
    ///
    /// # Errors
    /// [`ImageError::GridSize`] if that is too large.
    pub fn padded(&self, margin_ijk: [usize; 3], value: T) -> Result<Self, ImageError> {
        let mut padded = Self::filled(&self.grid().padded(margin_ijk)?, value);
        let [[i, j, k], [ni, nj, nk]] = [margin_ijk, self.grid().size_ijk()];
        padded.array_mut().slice_mut(s![k..k + nk, j..j + nj, i..i + ni]).assign(&self.array());
        Ok(padded)
    }
}

impl Mask {
    /// The region from voxel `start` on, `size_ijk` voxels long.
    ///
    /// # Errors
    /// [`ImageError::Box`] if the box is empty or leaves the grid.
    pub fn crop(&self, start: VoxelIndex, size_ijk: [usize; 3]) -> Result<Self, ImageError> {
        self.volume().crop(start, size_ijk).map(Self::new)
    }

    /// The region on a grid with `margin_ijk` more voxels at either end of each axis, which are outside.
    ///
    /// # Errors
    /// [`ImageError::GridSize`] if that is too large.
    pub fn padded(&self, margin_ijk: [usize; 3]) -> Result<Self, ImageError> {
        self.volume().padded(margin_ijk, false).map(Self::new)
    }

    /// The smallest box that holds every voxel inside, as first voxel and size along i, j, k; none for an empty mask.
    pub fn bounding_box(&self) -> Option<(VoxelIndex, [usize; 3])> {
        let [ni, nj, _] = self.grid().size_ijk();
        let mut low = [usize::MAX; 3];
        let mut high = [0; 3];
        for (row, values) in self.as_slice().chunks_exact(ni).enumerate() {
            let Some(first) = values.iter().position(|&inside| inside) else { continue };
            let last = values.iter().rposition(|&inside| inside).unwrap_or(first);
            for (axis, (a, b)) in
                [(first, last), (row % nj, row % nj), (row / nj, row / nj)].into_iter().enumerate()
            {
                low[axis] = low[axis].min(a);
                high[axis] = high[axis].max(b);
            }
        }
        (low[0] <= high[0]).then(|| {
            (VoxelIndex::new(low[0], low[1], low[2]), [0, 1, 2].map(|axis| high[axis] - low[axis] + 1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matrix3, PointLps};

    fn positions() -> Result<Volume<PointLps>, ImageError> {
        let direction = Matrix3::from_columns([0.0, 0.8, 0.6], [1.0, 0.0, 0.0], [0.0, 0.6, -0.8]);
        let grid = Grid::new([5, 6, 7], [1.0, 2.0, 4.0], PointLps::new(1.0, 2.0, 3.0), direction)?;
        Ok(Volume::from_point_fn(&grid, |point| point))
    }

    #[test]
    fn a_margin_ends_at_the_edge_of_the_grid() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([10, 12, 8], [1.0, 2.0, 4.0], PointLps::new(5.0, 6.0, 7.0))?;
        let part = grid.crop_around(VoxelIndex::new(4, 1, 3), [3, 2, 2], 3.0)?;
        // 3 mm are three voxels along i, two along j of which one is there, and one along k.
        assert_eq!(part.size_ijk(), [9, 5, 4]);
        assert_eq!(part.origin_lps(), grid.point_of(VoxelIndex::new(1, 0, 2)));
        let none = grid.crop_around(VoxelIndex::new(4, 1, 3), [3, 2, 2], 0.0)?;
        assert_eq!(none, grid.crop(VoxelIndex::new(4, 1, 3), [3, 2, 2])?);
        for margin_mm in [-1.0, f64::NAN] {
            let refused = grid.crop_around(VoxelIndex::new(4, 1, 3), [3, 2, 2], margin_mm);
            assert!(matches!(refused, Err(ImageError::Parameter { .. })));
        }
        let outside = grid.crop_around(VoxelIndex::new(4, 1, 7), [3, 2, 2], 3.0);
        assert!(matches!(outside, Err(ImageError::Box { .. })));
        Ok(())
    }

    #[test]
    fn cropped_values_keep_their_places() -> Result<(), ImageError> {
        let part = positions()?.crop(VoxelIndex::new(1, 2, 3), [2, 3, 4])?;
        assert_eq!(part.grid().size_ijk(), [2, 3, 4]);
        for (index_kji, point) in part.array().indexed_iter() {
            let (k, j, i) = index_kji;
            let place = part.grid().point_of(VoxelIndex::new(i, j, k));
            assert!(place.distance_mm(*point) < 1e-12, "{index_kji:?}: {point:?} at {place:?}");
        }
        Ok(())
    }

    #[test]
    fn padding_undoes_cropping() -> Result<(), ImageError> {
        let volume = positions()?;
        let padded = volume.padded([1, 2, 3], PointLps::ORIGIN)?;
        assert_eq!(padded.grid().size_ijk(), [7, 10, 13]);
        assert_eq!(padded[VoxelIndex::new(0, 9, 12)], PointLps::ORIGIN);
        let back = padded.crop(VoxelIndex::new(1, 2, 3), [5, 6, 7])?;
        back.grid().require_match(volume.grid())?;
        assert_eq!(back.as_slice(), volume.as_slice());
        Ok(())
    }

    #[test]
    fn boxes_that_leave_the_grid_are_refused() -> Result<(), ImageError> {
        let volume = positions()?;
        for (start, size_ijk) in [
            (VoxelIndex::new(0, 0, 0), [5, 6, 8]),
            (VoxelIndex::new(4, 0, 0), [2, 1, 1]),
            (VoxelIndex::new(0, 0, 0), [1, 0, 1]),
            (VoxelIndex::new(0, usize::MAX, 0), [1, 1, 1]),
        ] {
            assert!(
                matches!(volume.crop(start, size_ijk), Err(ImageError::Box { .. })),
                "{start:?} {size_ijk:?}"
            );
        }
        Ok(())
    }

    #[test]
    fn the_bounding_box_is_tight() -> Result<(), ImageError> {
        let volume = positions()?;
        let two = [VoxelIndex::new(1, 4, 2), VoxelIndex::new(3, 2, 5)];
        let mut inside = Volume::filled(volume.grid(), false);
        assert_eq!(Mask::new(inside.clone()).bounding_box(), None);
        for index in two {
            inside[index] = true;
        }
        assert_eq!(Mask::new(inside).bounding_box(), Some((VoxelIndex::new(1, 2, 2), [3, 3, 4])));
        Ok(())
    }
}
