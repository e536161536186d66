//! A grid with a value at every voxel.

use ndarray::{Array3, ArrayView3, ArrayViewMut3, Zip};
use rayon::prelude::*;

use crate::{Grid, ImageError, PointLps, VoxelIndex};

/// Values on a [`Grid`], as an array of shape `[k, j, i]` in C order.
///
/// ```
/// use synthct_image::{Grid, PointLps, Volume, VoxelIndex};
/// let grid = Grid::axis_aligned([3, 4, 5], [1.0, 2.0, 4.0], PointLps::ORIGIN)?;
/// let height_mm = Volume::from_point_fn(&grid, |point| point.z as f32);
/// assert_eq!(height_mm[VoxelIndex::new(1, 1, 3)], 12.0);
/// # Ok::<(), synthct_image::ImageError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Volume<T> {
    grid: Grid,
    values: Array3<T>,
}

impl<T> Volume<T> {
    /// Values on a grid; the array has shape `[k, j, i]`.
    ///
    /// An array in another memory order is brought into C order.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] if the array's shape is not the grid's.
    pub fn new(grid: Grid, values: Array3<T>) -> Result<Self, ImageError>
    where
        T: Clone,
    {
        let shape_kji: [usize; 3] = values.dim().into();
        if shape_kji != grid.shape_kji() {
            return Err(ImageError::ShapeMismatch { shape_kji, expected_kji: grid.shape_kji() });
        }
        let values =
            if values.is_standard_layout() { values } else { values.as_standard_layout().into_owned() };
        Ok(Self { grid, values })
    }

    /// Values in C order (i fastest) on a grid.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] if there are not as many values as voxels.
    pub fn from_vec(grid: Grid, values: Vec<T>) -> Result<Self, ImageError> {
        let n = values.len();
        match Array3::from_shape_vec(grid.shape_kji(), values) {
            Ok(values) => Ok(Self { grid, values }),
            Err(_) => Err(ImageError::ShapeMismatch { shape_kji: [1, 1, n], expected_kji: grid.shape_kji() }),
        }
    }

    /// The same value everywhere.
    pub fn filled(grid: &Grid, value: T) -> Self
    where
        T: Clone,
    {
        Self { values: Array3::from_elem(grid.shape_kji(), value), grid: grid.clone() }
    }

    /// A value for each voxel, computed in parallel.
    pub fn from_index_fn(grid: &Grid, value_of: impl Fn(VoxelIndex) -> T + Sync) -> Self
    where
        T: Send,
    {
        let [ni, nj, _] = grid.size_ijk();
        let values: Vec<T> = (0..grid.n_voxels())
            .into_par_iter()
            .with_min_len(ni)
            .map(|n| value_of(VoxelIndex::new(n % ni, n / ni % nj, n / (ni * nj))))
            .collect();
        let values =
            Array3::from_shape_vec(grid.shape_kji(), values).expect("because there is one value a voxel");
        Self { grid: grid.clone(), values }
    }

    /// A value for each voxel from the position of its centre, computed in parallel.
    pub fn from_point_fn(grid: &Grid, value_of: impl Fn(PointLps) -> T + Sync) -> Self
    where
        T: Send,
    {
        let matrix = grid.lps_from_index_matrix();
        let origin = grid.origin_lps();
        Self::from_index_fn(grid, |index| {
            let [x, y, z] = matrix.apply([index.i as f64, index.j as f64, index.k as f64]);
            value_of(PointLps::new(origin.x + x, origin.y + y, origin.z + z))
        })
    }

    /// Where the voxels are.
    pub const fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The values, `[k, j, i]`.
    pub fn array(&self) -> ArrayView3<'_, T> {
        self.values.view()
    }

    /// The values, `[k, j, i]`, to change.
    pub fn array_mut(&mut self) -> ArrayViewMut3<'_, T> {
        self.values.view_mut()
    }

    /// The values in memory order: i fastest, then j, then k.
    pub fn as_slice(&self) -> &[T] {
        self.values.as_slice().expect("because the constructors keep C order")
    }

    /// The values in memory order, to change.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.values.as_slice_mut().expect("because the constructors keep C order")
    }

    /// The grid and the array of shape `[k, j, i]`.
    pub fn into_parts(self) -> (Grid, Array3<T>) {
        (self.grid, self.values)
    }

    /// The value of a voxel, or none outside the grid.
    pub fn get(&self, index: VoxelIndex) -> Option<&T> {
        self.values.get(index.kji())
    }

    /// A volume on the same grid with each value passed through `f`.
    pub fn map<U: Send>(&self, f: impl Fn(&T) -> U + Sync + Send) -> Volume<U>
    where
        T: Sync,
    {
        Volume { grid: self.grid.clone(), values: Zip::from(&self.values).par_map_collect(f) }
    }

    /// A volume on the same grid from the values of two volumes voxel by voxel.
    ///
    /// # Errors
    /// [`ImageError::GridMismatch`] if the grids differ.
    pub fn zip_map<U: Sync, V: Send>(
        &self,
        other: &Volume<U>,
        f: impl Fn(&T, &U) -> V + Sync + Send,
    ) -> Result<Volume<V>, ImageError>
    where
        T: Sync,
    {
        self.grid.require_match(&other.grid)?;
        let values = Zip::from(&self.values).and(&other.values).par_map_collect(f);
        Ok(Volume { grid: self.grid.clone(), values })
    }
}

impl<T> std::ops::Index<VoxelIndex> for Volume<T> {
    type Output = T;
    fn index(&self, index: VoxelIndex) -> &T {
        &self.values[index.kji()]
    }
}

impl<T> std::ops::IndexMut<VoxelIndex> for Volume<T> {
    fn index_mut(&mut self, index: VoxelIndex) -> &mut T {
        &mut self.values[index.kji()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_in_another_order_keep_their_values() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::ORIGIN)?;
        let by_kji = |k: usize, j: usize, i: usize| 100 * k + 10 * j + i;
        let fortran = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| by_kji(k, j, i)).reversed_axes();
        let volume = Volume::new(grid, fortran)?;
        assert_eq!(volume[VoxelIndex::new(2, 3, 4)], 432);
        assert_eq!(volume.as_slice()[..4], [0, 1, 2, 10]);
        Ok(())
    }

    #[test]
    fn a_transposed_shape_is_refused() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::ORIGIN)?;
        let transposed = Volume::new(grid, Array3::from_elem((3, 4, 5), 0.0));
        assert!(matches!(transposed, Err(ImageError::ShapeMismatch { .. })));
        Ok(())
    }

    #[test]
    fn index_and_point_functions_agree() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([3, 4, 5], [0.5, 2.0, 3.0], PointLps::new(1.0, -1.0, 4.0))?;
        let by_point = Volume::from_point_fn(&grid, |p| p);
        let by_index = Volume::from_index_fn(&grid, |index| grid.point_of(index));
        assert_eq!(by_point, by_index);
        Ok(())
    }
}
