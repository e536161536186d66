//! The grid: which point of patient space each voxel is.

use std::fmt;

use crate::{ContinuousIndex, ImageError, Matrix3, PointLps, VoxelIndex};

/// A regular lattice of voxels in DICOM patient space.
///
/// Voxel (i, j, k) has its centre at `origin + direction · diag(spacing) · (i, j, k)`, as in ITK.
/// The axes are orthonormal; they may be left-handed (a mirrored storage order), which is a matter of storage only.
///
/// ```
/// use synthct_image::{Grid, Matrix3, PointLps, VoxelIndex};
/// let grid = Grid::new([3, 4, 5], [1.0, 2.0, 4.0], PointLps::new(-10.0, 0.0, 7.0), Matrix3::IDENTITY)?;
/// assert_eq!(grid.point_of(VoxelIndex::new(2, 1, 1)), PointLps::new(-8.0, 2.0, 11.0));
/// # Ok::<(), synthct_image::ImageError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    size_ijk: [usize; 3],
    spacing_mm: [f64; 3],
    origin_lps: PointLps,
    direction: Matrix3,
}

impl Grid {
    /// The largest number of voxels a grid may have: 2³² keeps byte counts of every voxel type addressable.
    pub const MAX_VOXELS: usize = 1 << 32;
    /// How far |DᵀD − I| may be from zero: room for directions that were stored as 32-bit floats.
    pub const DIRECTION_TOLERANCE: f64 = 1e-3;
    /// Two grids match when no corner differs by more than this, in mm.
    pub const MATCH_TOLERANCE_MM: f64 = 0.01;

    /// A grid of `size_ijk` voxels.
    ///
    /// `origin_lps` is the centre of voxel (0, 0, 0); the columns of `direction` are the i, j and k axes in LPS.
    ///
    /// # Errors
    /// [`ImageError::GridSize`], [`ImageError::GridSpacing`], [`ImageError::GridOrigin`] or
    /// [`ImageError::GridDirection`] for the part that is not usable.
    pub fn new(
        size_ijk: [usize; 3],
        spacing_mm: [f64; 3],
        origin_lps: PointLps,
        direction: Matrix3,
    ) -> Result<Self, ImageError> {
        let n_voxels = size_ijk.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
        if !n_voxels.is_some_and(|n| (1..=Self::MAX_VOXELS).contains(&n)) {
            return Err(ImageError::GridSize { size_ijk, limit: Self::MAX_VOXELS });
        }
        if !spacing_mm.iter().all(|&s| s.is_finite() && s > 0.0) {
            return Err(ImageError::GridSpacing { spacing_mm });
        }
        if !origin_lps.to_array().iter().all(|c| c.is_finite()) {
            return Err(ImageError::GridOrigin { origin_lps: origin_lps.to_array() });
        }
        let gram = direction.transposed() * direction;
        let mut departure = 0.0_f64;
        for (row, gram_row) in gram.0.iter().enumerate() {
            for (column, entry) in gram_row.iter().enumerate() {
                let off = (entry - if row == column { 1.0 } else { 0.0 }).abs();
                departure = if off.is_nan() { f64::INFINITY } else { departure.max(off) };
            }
        }
        if departure > Self::DIRECTION_TOLERANCE {
            return Err(ImageError::GridDirection {
                direction: direction.0,
                departure,
                allowed: Self::DIRECTION_TOLERANCE,
            });
        }
        Ok(Self { size_ijk, spacing_mm, origin_lps, direction })
    }

    /// A grid with identity direction.
    ///
    /// # Errors
    /// As [`Grid::new`].
    pub fn axis_aligned(
        size_ijk: [usize; 3],
        spacing_mm: [f64; 3],
        origin_lps: PointLps,
    ) -> Result<Self, ImageError> {
        Self::new(size_ijk, spacing_mm, origin_lps, Matrix3::IDENTITY)
    }

    /// The number of voxels along i, j, k.
    pub const fn size_ijk(&self) -> [usize; 3] {
        self.size_ijk
    }

    /// The shape of an array on this grid, `[k, j, i]`.
    pub const fn shape_kji(&self) -> [usize; 3] {
        [self.size_ijk[2], self.size_ijk[1], self.size_ijk[0]]
    }

    /// The distance between neighbouring voxel centres along i, j, k, in mm.
    pub const fn spacing_mm(&self) -> [f64; 3] {
        self.spacing_mm
    }

    /// The centre of voxel (0, 0, 0).
    pub const fn origin_lps(&self) -> PointLps {
        self.origin_lps
    }

    /// The axes: column 0 is the direction of i in LPS, column 1 of j, column 2 of k.
    pub const fn direction(&self) -> &Matrix3 {
        &self.direction
    }

    /// The number of voxels.
    pub const fn n_voxels(&self) -> usize {
        self.size_ijk[0] * self.size_ijk[1] * self.size_ijk[2]
    }

    /// The volume of one voxel in mm³.
    pub fn voxel_volume_mm3(&self) -> f64 {
        self.spacing_mm.iter().product()
    }

    /// The matrix that takes index differences to LPS differences in mm: `direction · diag(spacing)`.
    pub fn lps_from_index_matrix(&self) -> Matrix3 {
        self.direction * Matrix3::diagonal(self.spacing_mm)
    }

    /// The matrix that takes LPS differences in mm to index differences.
    pub fn index_from_lps_matrix(&self) -> Matrix3 {
        self.lps_from_index_matrix().inverse().expect("because the constructor checked spacing and direction")
    }

    /// The centre of a voxel.
    pub fn point_of(&self, index: VoxelIndex) -> PointLps {
        self.lps_from_index(index.into())
    }

    /// The point at a position between voxels.
    pub fn lps_from_index(&self, index: ContinuousIndex) -> PointLps {
        let [x, y, z] = self.lps_from_index_matrix().apply([index.i, index.j, index.k]);
        PointLps::new(self.origin_lps.x + x, self.origin_lps.y + y, self.origin_lps.z + z)
    }

    /// The position between voxels at a point.
    ///
    /// For many points take [`Grid::index_from_lps_matrix`] once.
    pub fn index_from_lps(&self, point: PointLps) -> ContinuousIndex {
        let [i, j, k] = self.index_from_lps_matrix().apply((point - self.origin_lps).to_array());
        ContinuousIndex::new(i, j, k)
    }

    /// The centres of the eight corner voxels, i fastest.
    pub fn corner_points(&self) -> [PointLps; 8] {
        let last = self.size_ijk.map(|n| n - 1);
        std::array::from_fn(|corner| {
            let pick = |axis: usize| if corner >> axis & 1 == 1 { last[axis] } else { 0 };
            self.point_of(VoxelIndex::new(pick(0), pick(1), pick(2)))
        })
    }

    /// The middle of the grid.
    pub fn center_lps(&self) -> PointLps {
        let [i, j, k] = self.size_ijk.map(|n| (n - 1) as f64 / 2.0);
        self.lps_from_index(ContinuousIndex::new(i, j, k))
    }

    /// Whether both grids have the same size and no corner differs by more than [`Grid::MATCH_TOLERANCE_MM`].
    pub fn matches(&self, other: &Self) -> bool {
        self.size_ijk == other.size_ijk
            && std::iter::zip(self.corner_points(), other.corner_points())
                .all(|(a, b)| a.distance_mm(b) <= Self::MATCH_TOLERANCE_MM)
    }

    /// Nothing if the grids match.
    ///
    /// # Errors
    /// [`ImageError::GridMismatch`] with both grids.
    pub fn require_match(&self, other: &Self) -> Result<(), ImageError> {
        if self.matches(other) {
            return Ok(());
        }
        Err(ImageError::GridMismatch { left: Box::new(self.clone()), right: Box::new(other.clone()) })
    }

    /// The axis-aligned LPS grid of the given spacing that covers this grid's voxels, edges included.
    ///
    /// When this grid already has that spacing along LPS axes, in whatever storage order, the new grid's voxel centres
    /// coincide with its voxel centres, so that resampling between the two only reorders values.
    ///
    /// # Errors
    /// As [`Grid::new`]: a spacing that is not positive, or so fine that the grid would be too large.
    pub fn axis_aligned_cover(&self, spacing_mm: [f64; 3]) -> Result<Self, ImageError> {
        if !spacing_mm.iter().all(|&s| s.is_finite() && s > 0.0) {
            return Err(ImageError::GridSpacing { spacing_mm });
        }
        let matrix = self.lps_from_index_matrix();
        let center = self.center_lps().to_array();
        // Half the extent of the voxels' bounding box along each LPS axis.
        let half_extent_mm = [0, 1, 2]
            .map(|axis| (0..3).map(|c| matrix.0[axis][c].abs() * self.size_ijk[c] as f64).sum::<f64>() / 2.0);
        // Rounding errors of directions stored as 32-bit floats must not add a layer of voxels.
        let size_ijk = [0, 1, 2]
            .map(|axis| (2.0 * half_extent_mm[axis] / spacing_mm[axis] - 1e-2).ceil().max(1.0) as usize);
        let origin =
            [0, 1, 2].map(|axis| center[axis] - (size_ijk[axis] - 1) as f64 / 2.0 * spacing_mm[axis]);
        Self::axis_aligned(size_ijk, spacing_mm, origin.into())
    }

    /// The grid of another spacing with the same axes and the same middle, which covers this grid's voxels, edges included.
    ///
    /// # Errors
    /// As [`Grid::new`]: a spacing that is not positive, or so fine that the grid would be too large.
    pub fn respaced(&self, spacing_mm: [f64; 3]) -> Result<Self, ImageError> {
        if !spacing_mm.iter().all(|&s| s.is_finite() && s > 0.0) {
            return Err(ImageError::GridSpacing { spacing_mm });
        }
        // As in `axis_aligned_cover`, rounding errors must not add a layer of voxels.
        let size_ijk = [0, 1, 2].map(|axis| {
            let extent_mm = self.size_ijk[axis] as f64 * self.spacing_mm[axis];
            (extent_mm / spacing_mm[axis] - 1e-2).ceil().max(1.0) as usize
        });
        // From the middle, half the way between the outermost centres back along each axis.
        let half_mm = [0, 1, 2].map(|axis| (size_ijk[axis] - 1) as f64 / 2.0 * spacing_mm[axis]);
        let [x, y, z] = self.direction.apply(half_mm);
        let center = self.center_lps();
        let origin = PointLps::new(center.x - x, center.y - y, center.z - z);
        Self::new(size_ijk, spacing_mm, origin, self.direction)
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ni, nj, nk] = self.size_ijk;
        let [si, sj, sk] = self.spacing_mm;
        let PointLps { x, y, z } = self.origin_lps;
        write!(
            f,
            "{ni}×{nj}×{nk} voxels of {si:.4}×{sj:.4}×{sk:.4} mm, origin ({x:.3}, {y:.3}, {z:.3}) mm LPS, axes"
        )?;
        for axis in 0..3 {
            let [x, y, z] = self.direction.column(axis);
            write!(f, " {}=({x:.4}, {y:.4}, {z:.4})", ["i", "j", "k"][axis])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A right-handed rotation by 30° about z, then 20° about x.
    fn oblique() -> Matrix3 {
        let (s, c) = 30_f64.to_radians().sin_cos();
        let about_z = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        let (s, c) = 20_f64.to_radians().sin_cos();
        Matrix3([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]) * about_z
    }

    #[test]
    fn every_voxel_lies_where_the_axes_say() -> Result<(), ImageError> {
        let origin = PointLps::new(-13.5, 7.25, 101.0);
        let direction = oblique();
        let spacing_mm = [0.7, 1.3, 2.9];
        let grid = Grid::new([3, 4, 5], spacing_mm, origin, direction)?;
        for k in 0..5 {
            for j in 0..4 {
                for i in 0..3 {
                    let point = grid.point_of(VoxelIndex::new(i, j, k));
                    let steps = [i as f64 * 0.7, j as f64 * 1.3, k as f64 * 2.9];
                    for axis in 0..3 {
                        let expected = origin.to_array()[axis]
                            + (0..3).map(|c| direction.column(c)[axis] * steps[c]).sum::<f64>();
                        assert!((point.to_array()[axis] - expected).abs() < 1e-12, "voxel ({i}, {j}, {k})");
                    }
                    let back = grid.index_from_lps(point);
                    for (got, expected) in [(back.i, i), (back.j, j), (back.k, k)] {
                        assert!((got - expected as f64).abs() < 1e-12, "voxel ({i}, {j}, {k})");
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn unusable_parts_are_named() {
        let identity = Matrix3::IDENTITY;
        let at = PointLps::ORIGIN;
        assert!(matches!(Grid::new([0, 1, 1], [1.0; 3], at, identity), Err(ImageError::GridSize { .. })));
        assert!(matches!(
            Grid::new([usize::MAX, 2, 2], [1.0; 3], at, identity),
            Err(ImageError::GridSize { .. })
        ));
        assert!(matches!(
            Grid::new([1; 3], [1.0, f64::NAN, 1.0], at, identity),
            Err(ImageError::GridSpacing { .. })
        ));
        assert!(matches!(
            Grid::new([1; 3], [1.0; 3], PointLps::new(f64::INFINITY, 0.0, 0.0), identity),
            Err(ImageError::GridOrigin { .. })
        ));
        let sheared = Matrix3([[1.0, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        assert!(matches!(Grid::new([1; 3], [1.0; 3], at, sheared), Err(ImageError::GridDirection { .. })));
        let nan = Matrix3([[f64::NAN, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        assert!(matches!(Grid::new([1; 3], [1.0; 3], at, nan), Err(ImageError::GridDirection { .. })));
    }

    #[test]
    fn a_moved_grid_does_not_match() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::ORIGIN)?;
        let near = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::new(0.0, 0.005, 0.0))?;
        let far = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::new(0.0, 0.02, 0.0))?;
        assert!(grid.matches(&near) && !grid.matches(&far));
        assert!(matches!(grid.require_match(&far), Err(ImageError::GridMismatch { .. })));
        Ok(())
    }

    #[test]
    fn a_respaced_grid_keeps_the_axes_and_the_extent() -> Result<(), ImageError> {
        let grid = Grid::new([20, 30, 10], [1.0, 0.5, 3.0], PointLps::new(1.0, 2.0, 3.0), oblique())?;
        let finer = grid.respaced([0.5, 0.5, 1.0])?;
        assert_eq!(finer.size_ijk(), [40, 30, 30]);
        assert_eq!(finer.direction(), grid.direction());
        // Voxel 0 of the finer grid lies in the corner of voxel 0: a quarter of 1 mm along i, a third of 3 mm along k.
        let corner = grid.lps_from_index(ContinuousIndex::new(-0.25, 0.0, -1.0 / 3.0));
        assert!(finer.origin_lps().distance_mm(corner) < 1e-9);
        assert!(grid.respaced(grid.spacing_mm())?.matches(&grid));
        assert_eq!(grid.respaced([6.0, 5.0, 7.0])?.size_ijk(), [4, 3, 5]);
        assert!(matches!(grid.respaced([1.0, 0.0, 1.0]), Err(ImageError::GridSpacing { .. })));
        assert!(matches!(grid.respaced([1e-9; 3]), Err(ImageError::GridSize { .. })));
        Ok(())
    }

    #[test]
    fn cover_of_a_reordered_grid_keeps_its_voxel_centres() -> Result<(), ImageError> {
        // i runs to inferior, j to the right, k to posterior.
        let direction = Matrix3::from_columns([0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        let grid = Grid::new([5, 3, 4], [3.0, 1.0, 2.0], PointLps::new(9.0, 8.0, 7.0), direction)?;
        let cover = grid.axis_aligned_cover([1.0, 2.0, 3.0])?;
        assert_eq!(cover.size_ijk(), [3, 4, 5]);
        for k in 0..5 {
            for j in 0..4 {
                for i in 0..3 {
                    let index = grid.index_from_lps(cover.point_of(VoxelIndex::new(i, j, k)));
                    let expected = [(4 - k) as f64, (2 - i) as f64, j as f64];
                    for (got, expected) in std::iter::zip([index.i, index.j, index.k], expected) {
                        assert!((got - expected).abs() < 1e-12);
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn cover_of_an_oblique_grid_holds_every_corner() -> Result<(), ImageError> {
        let grid = Grid::new([20, 30, 10], [1.1, 0.9, 3.0], PointLps::new(1.0, 2.0, 3.0), oblique())?;
        let cover = grid.axis_aligned_cover([1.5; 3])?;
        let size = cover.size_ijk();
        for corner in grid.corner_points() {
            let at = cover.index_from_lps(corner);
            for (position, n) in [(at.i, size[0]), (at.j, size[1]), (at.k, size[2])] {
                assert!(position > -0.5 && position < n as f64 - 0.5, "{position} of {n}");
            }
        }
        Ok(())
    }
}
