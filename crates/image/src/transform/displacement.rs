//! Dense displacement fields.

use rayon::prelude::*;

use crate::{Grid, ImageError, Matrix3, PointLps, VectorLps, Volume, VoxelIndex};

/// The map x ↦ x + u(x), with the displacement u sampled on a grid.
///
/// Between voxel centres u is trilinear, in the outer half voxel it is held, and outside the grid's voxels it is
/// *zero*: there the map is the identity, as in ITK's `DisplacementFieldTransform`.
/// A field that should be continuous, or have an inverse, must therefore fade out towards the edge of its grid.
///
/// Vectors are in mm along the LPS axes, whatever the grid's direction.
#[derive(Clone, Debug, PartialEq)]
pub struct DisplacementField {
    displacement_mm: Volume<[f32; 3]>,
    index_from_lps: Matrix3,
}

impl DisplacementField {
    /// The residual that [`Transform::inverse`](crate::Transform::inverse) accepts, in mm: far below any voxel size,
    /// well above the rounding of 32-bit displacements.
    pub const INVERSE_TOLERANCE_MM: f64 = 1e-3;
    const MAX_ITERATIONS: usize = 200;

    /// The field with the given displacements (x, y, z in LPS mm).
    ///
    /// # Errors
    /// [`ImageError::NotFinite`] if a component is NaN or infinite.
    pub fn new(displacement_mm: Volume<[f32; 3]>) -> Result<Self, ImageError> {
        for (index_kji, vector) in displacement_mm.array().indexed_iter() {
            if let Some(&component) = vector.iter().find(|component| !component.is_finite()) {
                return Err(ImageError::NotFinite {
                    what: "a displacement field",
                    index_kji: index_kji.into(),
                    value: f64::from(component),
                });
            }
        }
        let index_from_lps = displacement_mm.grid().index_from_lps_matrix();
        Ok(Self { displacement_mm, index_from_lps })
    }

    /// The field that samples `displacement_at` at the voxel centres of `grid`.
    ///
    /// # Errors
    /// [`ImageError::NotFinite`] if a component is NaN or infinite.
    pub fn from_fn(
        grid: &Grid,
        displacement_at: impl Fn(PointLps) -> VectorLps + Sync,
    ) -> Result<Self, ImageError> {
        Self::new(Volume::from_point_fn(grid, |point| {
            displacement_at(point).to_array().map(|component| component as f32)
        }))
    }

    /// The field that goes on where this one ends: x + u(x) is taken to `next`(x + u(x)), at the same voxel centres.
    ///
    /// # Errors
    /// [`ImageError::NotFinite`] if a component of the sum is NaN or infinite.
    pub(crate) fn followed_by(
        mut self,
        next: impl Fn(PointLps) -> PointLps + Sync,
    ) -> Result<Self, ImageError> {
        let grid = self.grid().clone();
        let [ni, nj, _] = grid.size_ijk();
        self.displacement_mm.as_mut_slice().par_chunks_mut(ni).enumerate().for_each(|(row, vectors)| {
            for (i, vector) in vectors.iter_mut().enumerate() {
                let point = grid.point_of(VoxelIndex::new(i, row % nj, row / nj));
                let moved = next(point + vector.map(f64::from).into()) - point;
                *vector = moved.to_array().map(|component| component as f32);
            }
        });
        Self::new(self.displacement_mm)
    }

    /// Where the field is sampled.
    pub const fn grid(&self) -> &Grid {
        self.displacement_mm.grid()
    }

    /// The displacements at the voxel centres: x, y, z in LPS mm.
    pub const fn displacement_mm(&self) -> &Volume<[f32; 3]> {
        &self.displacement_mm
    }

    /// The displacement at a point; zero outside the grid.
    pub fn displacement_at(&self, point: PointLps) -> VectorLps {
        let grid = self.grid();
        let size = grid.size_ijk();
        let index = self.index_from_lps.apply((point - grid.origin_lps()).to_array());
        if !(0..3).all(|axis| index[axis] >= -0.5 && index[axis] < size[axis] as f64 - 0.5) {
            return VectorLps::new(0.0, 0.0, 0.0);
        }
        let [(i, di, ti), (j, dj, tj), (k, dk, tk)] = [0, 1, 2].map(|axis| {
            let position = index[axis].clamp(0.0, (size[axis] - 1) as f64);
            let lower = position as usize;
            (lower, usize::from(lower + 1 < size[axis]), position - lower as f64)
        });
        let vectors = self.displacement_mm.as_slice();
        let [ni, nj, _] = size;
        let first = (k * nj + j) * ni + i;
        let mut sum = [0.0; 3];
        for (at_k, wk) in [(first, 1.0 - tk), (first + dk * ni * nj, tk)] {
            for (at_j, wj) in [(at_k, wk * (1.0 - tj)), (at_k + dj * ni, wk * tj)] {
                for (at, weight) in [(at_j, wj * (1.0 - ti)), (at_j + di, wj * ti)] {
                    for (sum, component) in std::iter::zip(&mut sum, vectors[at]) {
                        *sum += weight * f64::from(component);
                    }
                }
            }
        }
        sum.into()
    }

    /// The image of a point: x + u(x).
    pub fn apply(&self, point: PointLps) -> PointLps {
        point + self.displacement_at(point)
    }

    /// The map back, sampled on `grid` (usually this field's own).
    ///
    /// At each voxel centre y the fixed point of v ↦ −u(y + v) is iterated until y + v + u(y + v) is within
    /// `tolerance_mm` of y; it converges where u changes by less than 1 mm a mm.
    /// Between centres the inverse is interpolated, which is as exact as the grid is fine.
    ///
    /// # Errors
    /// [`ImageError::NoInverse`] with the worst voxel if the residual stays above `tolerance_mm`, which also bounds how
    /// far a displacement may point out of `grid` unnoticed;
    /// [`ImageError::Parameter`] for a tolerance that is not above zero.
    pub fn inverse(&self, grid: &Grid, tolerance_mm: f64) -> Result<Self, ImageError> {
        Self::inverse_of(grid, tolerance_mm, |point| self.displacement_at(point))
    }

    /// [`DisplacementField::inverse`] of any displacement.
    pub(super) fn inverse_of(
        grid: &Grid,
        tolerance_mm: f64,
        displacement_at: impl Fn(PointLps) -> VectorLps + Sync,
    ) -> Result<Self, ImageError> {
        if !(tolerance_mm.is_finite() && tolerance_mm > 0.0) {
            return Err(ImageError::Parameter {
                name: "tolerance_mm",
                value: tolerance_mm,
                allowed: "finite and above zero",
            });
        }
        let solved = Volume::from_point_fn(grid, |point| {
            let mut back = displacement_at(point) * -1.0;
            let mut residual_mm = f64::INFINITY;
            for _ in 0..Self::MAX_ITERATIONS {
                let next = displacement_at(point + back) * -1.0;
                // point + back + u(point + back) − point
                residual_mm = (back + next * -1.0).norm_mm();
                if residual_mm <= tolerance_mm {
                    break;
                }
                back = next;
            }
            (back.to_array().map(|component| component as f32), residual_mm)
        });
        let (worst, residual_mm) =
            solved.as_slice().iter().enumerate().fold((0, 0.0_f64), |worst, (n, &(_, residual_mm))| {
                if residual_mm > worst.1 { (n, residual_mm) } else { worst }
            });
        if residual_mm > tolerance_mm {
            return Err(ImageError::NoInverse {
                point_lps: nth_point(grid, worst).to_array(),
                residual_mm,
                tolerance_mm,
                iterations: Self::MAX_ITERATIONS,
            });
        }
        Self::new(solved.map(|&(vector, _)| vector))
    }

    /// det(I + ∂u/∂x) at the voxel centres: the local change of volume, at or below zero where the map folds.
    ///
    /// Derivatives are central differences, one-sided at the edge of the grid, zero along an axis of one voxel.
    pub fn jacobian_determinant(&self) -> Volume<f32> {
        let size = self.grid().size_ijk();
        let [ni, nj, _] = size;
        let strides = [1, ni, ni * nj];
        let vectors = self.displacement_mm.as_slice();
        Volume::from_index_fn(self.grid(), |index| {
            let at = index.i + ni * (index.j + nj * index.k);
            let here = [index.i, index.j, index.k];
            // Column `axis`: the change of u for one voxel along that axis.
            let per_voxel = [0, 1, 2].map(|axis| {
                let (below, above) = (usize::from(here[axis] > 0), usize::from(here[axis] + 1 < size[axis]));
                let steps = (below + above).max(1) as f64;
                let (low, high) = (vectors[at - below * strides[axis]], vectors[at + above * strides[axis]]);
                [0, 1, 2].map(|c| (f64::from(high[c]) - f64::from(low[c])) / steps)
            });
            let gradient =
                Matrix3::from_columns(per_voxel[0], per_voxel[1], per_voxel[2]) * self.index_from_lps;
            let jacobian = Matrix3([0, 1, 2].map(|row| {
                [0, 1, 2].map(|column| gradient.0[row][column] + if row == column { 1.0 } else { 0.0 })
            }));
            jacobian.determinant() as f32
        })
    }

    /// Nothing if the field folds nowhere, that is, if its Jacobian determinant is above zero at every voxel.
    ///
    /// # Errors
    /// [`ImageError::Folded`] with the number of voxels and the worst one.
    pub fn require_unfolded(&self) -> Result<(), ImageError> {
        let determinant = self.jacobian_determinant();
        let n_voxels = determinant.as_slice().par_iter().filter(|&&value| value <= 0.0).count();
        if n_voxels == 0 {
            return Ok(());
        }
        let (worst, smallest) =
            determinant.as_slice().iter().enumerate().fold((0, f32::INFINITY), |worst, (n, &value)| {
                if value < worst.1 { (n, value) } else { worst }
            });
        Err(ImageError::Folded {
            n_voxels,
            smallest: f64::from(smallest),
            point_lps: nth_point(self.grid(), worst).to_array(),
        })
    }
}

/// The centre of the `n`-th voxel in memory order.
fn nth_point(grid: &Grid, n: usize) -> PointLps {
    let [ni, nj, _] = grid.size_ijk();
    grid.point_of(VoxelIndex::new(n % ni, n / ni % nj, n / (ni * nj)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An oblique grid around the origin.
    fn grid() -> Result<Grid, ImageError> {
        let (s, c) = 25_f64.to_radians().sin_cos();
        let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        Grid::new([31, 29, 23], [1.0, 1.2, 1.5], PointLps::new(-7.0, -21.0, -16.0), direction)
    }

    /// A displacement that is affine in position.
    fn affine_displacement(p: PointLps) -> VectorLps {
        VectorLps::new(0.1 * p.x + 0.02 * p.y + 1.0, -0.05 * p.z, 0.2 * p.z - 0.03 * p.x - 2.0)
    }

    #[test]
    fn affine_displacements_are_interpolated_exactly() -> Result<(), ImageError> {
        let grid = grid()?;
        let field = DisplacementField::from_fn(&grid, affine_displacement)?;
        let at = grid.lps_from_index(crate::ContinuousIndex::new(3.3, 17.8, 5.1));
        let error = field.displacement_at(at) + affine_displacement(at) * -1.0;
        assert!(error.norm_mm() < 1e-5, "{error:?}");
        Ok(())
    }

    #[test]
    fn the_displacement_is_held_to_the_face_and_zero_beyond() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([4, 5, 6], [1.0, 2.0, 3.0], PointLps::ORIGIN)?;
        let field = DisplacementField::from_fn(&grid, |p| VectorLps::new(p.x + 1.0, 0.0, 0.0))?;
        assert_eq!(field.displacement_at(PointLps::new(3.4, 4.0, 6.0)), VectorLps::new(4.0, 0.0, 0.0));
        assert_eq!(field.displacement_at(PointLps::new(3.6, 4.0, 6.0)), VectorLps::new(0.0, 0.0, 0.0));
        assert_eq!(field.displacement_at(PointLps::new(-0.4, 4.0, 6.0)), VectorLps::new(1.0, 0.0, 0.0));
        assert_eq!(field.apply(PointLps::new(-9.0, 4.0, 6.0)), PointLps::new(-9.0, 4.0, 6.0));
        Ok(())
    }

    #[test]
    fn the_jacobian_of_an_affine_displacement_is_its_determinant() -> Result<(), ImageError> {
        let field = DisplacementField::from_fn(&grid()?, affine_displacement)?;
        let matrix = Matrix3([[1.1, 0.02, 0.0], [0.0, 1.0, -0.05], [-0.03, 0.0, 1.2]]);
        let expected = matrix.determinant();
        for &got in field.jacobian_determinant().as_slice() {
            assert!((f64::from(got) - expected).abs() < 1e-4, "{got}, expected {expected}");
        }
        field.require_unfolded()
    }

    #[test]
    fn a_fold_is_found() -> Result<(), ImageError> {
        let folding = DisplacementField::from_fn(&grid()?, |p| {
            VectorLps::new(-8.0 * (-p.x * p.x / 8.0).exp() * p.x.signum(), 0.0, 0.0)
        })?;
        assert!(matches!(folding.require_unfolded(), Err(ImageError::Folded { n_voxels: 1.., .. })));
        let inverse = folding.inverse(folding.grid(), 1e-3);
        assert!(matches!(inverse, Err(ImageError::NoInverse { .. })));
        Ok(())
    }

    #[test]
    fn the_inverse_undoes_a_smooth_bump() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([61, 61, 61], [0.5; 3], PointLps::new(-15.0, -15.0, -15.0))?;
        let field = DisplacementField::from_fn(&grid, |p| {
            let r = (p - PointLps::ORIGIN).norm_mm() / 14.0;
            VectorLps::new(2.0, 1.0, -1.5) * if r < 1.0 { (1.0 - r * r).powi(3) } else { 0.0 }
        })?;
        let inverse = field.inverse(&grid, 1e-4)?;
        for n in 0..200_u32 {
            let at = PointLps::from([7, 11, 13].map(|step| f64::from(n * step % 200) / 10.0 - 10.0));
            let residual_mm = inverse.apply(field.apply(at)).distance_mm(at);
            assert!(residual_mm < 0.01, "{residual_mm} mm at {at:?}");
        }
        Ok(())
    }

    #[test]
    fn nan_displacements_are_refused() -> Result<(), ImageError> {
        let mut vectors = Volume::filled(&grid()?, [0.0_f32; 3]);
        vectors[VoxelIndex::new(1, 2, 3)] = [0.0, f32::NAN, 0.0];
        let refused = DisplacementField::new(vectors);
        assert!(matches!(refused, Err(ImageError::NotFinite { index_kji: [3, 2, 1], .. })));
        Ok(())
    }
}
