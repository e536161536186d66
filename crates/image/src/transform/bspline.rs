//! Displacements made of cubic B-splines.

use rayon::prelude::*;

use super::spline_axis::{SplineAxis, cubic_slopes, cubic_weights, span_of};
use crate::{DisplacementField, Grid, ImageError, Matrix3, PointLps, VectorLps, Volume, VoxelIndex};

/// The map x ↦ x + u(x), with u(x) = Σ c(a, b, c) B(i − a) B(j − b) B(k − c): uniform cubic B-splines B on a lattice of
/// control points, (i, j, k) the position of x in the lattice.
///
/// u is twice continuously differentiable from control point 1 to the last but one along each axis, and *zero*
/// elsewhere: there the map is the identity. These are the rules of ITK's `BSplineTransform` of order 3, whose fixed
/// parameters are the size, origin, spacing and direction of [`BSplineTransform::grid`], and whose parameters are all x,
/// then all y, then all z components of [`BSplineTransform::control_points`] in memory order.
///
/// A map whose outermost three layers of control points are zero is continuous everywhere.
///
/// Vectors are in mm along the LPS axes, whatever the lattice's direction.
///
/// ```
/// use synthct_image::{BSplineTransform, Grid, PointLps, Volume};
/// let lattice = Grid::axis_aligned([6, 7, 8], [20.0; 3], PointLps::new(-20.0, -20.0, -20.0))?;
/// let shift = BSplineTransform::new(Volume::filled(&lattice, [1.0, -2.0, 0.5]))?;
/// assert!(shift.apply(PointLps::ORIGIN).distance_mm(PointLps::new(1.0, -2.0, 0.5)) < 1e-12);
/// # Ok::<(), synthct_image::ImageError>(())
/// ```
///
/// # References
/// Rueckert et al. (1999), doi:10.1109/42.796284, for the use of such lattices in registration.
#[derive(Clone, Debug, PartialEq)]
pub struct BSplineTransform {
    control_points: Volume<[f64; 3]>,
    index_from_lps: Matrix3,
}

impl BSplineTransform {
    /// The fewest control points along an axis: one span of a cubic spline.
    pub const MIN_CONTROL_POINTS: usize = 4;

    /// The map with the given coefficients (x, y, z in LPS mm) at the control points.
    ///
    /// # Errors
    /// [`ImageError::Parameter`] for a lattice of fewer than [`BSplineTransform::MIN_CONTROL_POINTS`] along an axis,
    /// [`ImageError::NotFinite`] for a coefficient that is NaN or infinite.
    pub fn new(control_points: Volume<[f64; 3]>) -> Result<Self, ImageError> {
        if let Some(&n) = control_points.grid().size_ijk().iter().find(|&&n| n < Self::MIN_CONTROL_POINTS) {
            return Err(ImageError::Parameter {
                name: "number of control points along an axis",
                value: n as f64,
                allowed: "at least 4",
            });
        }
        for (index_kji, vector) in control_points.array().indexed_iter() {
            if let Some(&value) = vector.iter().find(|component| !component.is_finite()) {
                return Err(ImageError::NotFinite {
                    what: "a B-spline transform",
                    index_kji: index_kji.into(),
                    value,
                });
            }
        }
        let index_from_lps = control_points.grid().index_from_lps_matrix();
        Ok(Self { control_points, index_from_lps })
    }

    /// Where the control points are.
    pub const fn grid(&self) -> &Grid {
        self.control_points.grid()
    }

    /// The coefficients: x, y, z in LPS mm.
    pub const fn control_points(&self) -> &Volume<[f64; 3]> {
        &self.control_points
    }

    /// The displacement at a point; zero outside the lattice.
    pub fn displacement_at(&self, point: PointLps) -> VectorLps {
        let position = self.index_from_lps.apply((point - self.grid().origin_lps()).to_array());
        match self.spans_of(position) {
            Some(spans) => self.combined(spans.map(|(first, t)| (first, cubic_weights(t)))).into(),
            None => VectorLps::new(0.0, 0.0, 0.0),
        }
    }

    /// The image of a point: x + u(x).
    pub fn apply(&self, point: PointLps) -> PointLps {
        point + self.displacement_at(point)
    }

    /// The displacements at the voxel centres of `grid`.
    ///
    /// It is fast where the axes of `grid` are those of the lattice, because weights then are a matter of one axis.
    ///
    /// # Errors
    /// [`ImageError::NotFinite`] for displacements beyond the range of 32-bit numbers.
    pub fn displacement_on(&self, grid: &Grid) -> Result<DisplacementField, ImageError> {
        let Some([along_i, along_j, along_k]) = self.axes_on(grid) else {
            return DisplacementField::from_fn(grid, |point| self.displacement_at(point));
        };
        let [ni, nj, _] = grid.size_ijk();
        let mut field = Volume::filled(grid, [0.0_f32; 3]);
        field.as_mut_slice().par_chunks_mut(ni * nj).enumerate().for_each(|(k, slice)| {
            let plane = self.plane(along_k.first[k], along_k.weights[k]);
            for (j, row) in slice.chunks_exact_mut(ni).enumerate() {
                let line = self.line(&plane, along_j.first[j], along_j.weights[j]);
                for (i, vector) in row.iter_mut().enumerate() {
                    *vector =
                        at(&line, along_i.first[i], along_i.weights[i]).map(|component| component as f32);
                }
            }
        });
        DisplacementField::new(field)
    }

    /// det(I + ∂u/∂x) at the voxel centres of `grid`, from the splines' own derivatives: the local change of volume, at
    /// or below zero where the map folds.
    pub fn jacobian_determinant(&self, grid: &Grid) -> Volume<f32> {
        let Some([along_i, along_j, along_k]) = self.axes_on(grid) else {
            return Volume::from_point_fn(grid, |point| self.jacobian_at(point).determinant() as f32);
        };
        let [ni, nj, _] = grid.size_ijk();
        let mut determinant = Volume::filled(grid, 0.0_f32);
        determinant.as_mut_slice().par_chunks_mut(ni * nj).enumerate().for_each(|(k, slice)| {
            let plane = self.plane(along_k.first[k], along_k.weights[k]);
            let plane_dk = self.plane(along_k.first[k], along_k.slopes[k]);
            for (j, row) in slice.chunks_exact_mut(ni).enumerate() {
                let line = self.line(&plane, along_j.first[j], along_j.weights[j]);
                let line_dj = self.line(&plane, along_j.first[j], along_j.slopes[j]);
                let line_dk = self.line(&plane_dk, along_j.first[j], along_j.weights[j]);
                for (i, value) in row.iter_mut().enumerate() {
                    let first = along_i.first[i];
                    let per_step = Matrix3::from_columns(
                        at(&line, first, along_i.slopes[i]),
                        at(&line_dj, first, along_i.weights[i]),
                        at(&line_dk, first, along_i.weights[i]),
                    );
                    *value = self.jacobian(per_step).determinant() as f32;
                }
            }
        });
        determinant
    }

    /// I + ∂u/∂x at a point: rows are the components of the image, columns x, y, z.
    pub fn jacobian_at(&self, point: PointLps) -> Matrix3 {
        let position = self.index_from_lps.apply((point - self.grid().origin_lps()).to_array());
        let Some(spans) = self.spans_of(position) else {
            return Matrix3::IDENTITY;
        };
        let columns = [0, 1, 2].map(|axis| {
            let mut weighted = spans.map(|(first, t)| (first, cubic_weights(t)));
            weighted[axis].1 = cubic_slopes(spans[axis].1);
            self.combined(weighted)
        });
        self.jacobian(Matrix3::from_columns(columns[0], columns[1], columns[2]))
    }

    /// The map back, sampled on `grid`; see [`DisplacementField::inverse`].
    ///
    /// # Errors
    /// [`ImageError::NoInverse`] if the map folds, is too steep, or is not continuous at the edge of its lattice;
    /// [`ImageError::Parameter`] for a tolerance that is not above zero.
    pub fn inverse(&self, grid: &Grid, tolerance_mm: f64) -> Result<DisplacementField, ImageError> {
        DisplacementField::inverse_of(grid, tolerance_mm, |point| self.displacement_at(point))
    }

    /// The grid on which [`Transform::inverse`](crate::Transform::inverse) samples the map back: what the splines reach,
    /// and half a control spacing around it, at an eighth of the control spacing.
    ///
    /// # Errors
    /// [`ImageError::GridSize`] if the grid would be too large.
    pub fn inverse_grid(&self) -> Result<Grid, ImageError> {
        const STEPS: usize = 8;
        let lattice = self.grid();
        Grid::new(
            lattice.size_ijk().map(|n| STEPS * (n - 2) + 1),
            lattice.spacing_mm().map(|spacing| spacing / STEPS as f64),
            lattice.lps_from_index(crate::ContinuousIndex::new(0.5, 0.5, 0.5)),
            *lattice.direction(),
        )
    }

    /// The same map on a lattice of half the spacing.
    ///
    /// Exact: a cubic B-spline is the sum of five of half the width, with weights (1, 4, 6, 4, 1)/8.
    /// Along each axis n control points become 2n − 3.
    ///
    /// # Errors
    /// [`ImageError::GridSize`] if the lattice would be too large.
    pub fn refined(&self) -> Result<Self, ImageError> {
        let lattice = self.grid();
        let size = lattice.size_ijk();
        let fine = Grid::new(
            size.map(|n| 2 * n - 3),
            lattice.spacing_mm().map(|spacing| spacing / 2.0),
            lattice.lps_from_index(crate::ContinuousIndex::new(0.5, 0.5, 0.5)),
            *lattice.direction(),
        )?;
        // Fine control point m lies at coarse position (m + 1) / 2.
        let parents = |m: usize| -> ([usize; 3], [f64; 3]) {
            let lower = m / 2;
            if m.is_multiple_of(2) {
                ([lower, lower + 1, lower + 1], [0.5, 0.5, 0.0])
            } else {
                ([lower, lower + 1, lower + 2], [0.125, 0.75, 0.125])
            }
        };
        let coarse = self.control_points.as_slice();
        let control_points = Volume::from_index_fn(&fine, |VoxelIndex { i, j, k }| {
            let ((ai, wi), (aj, wj), (ak, wk)) = (parents(i), parents(j), parents(k));
            let mut sum = [0.0; 3];
            for (k, wk) in std::iter::zip(ak, wk) {
                for (j, wj) in std::iter::zip(aj, wj) {
                    for (i, wi) in std::iter::zip(ai, wi) {
                        for (sum, c) in std::iter::zip(&mut sum, coarse[(k * size[1] + j) * size[0] + i]) {
                            *sum += wk * wj * wi * c;
                        }
                    }
                }
            }
            sum
        });
        Self::new(control_points)
    }

    /// The tables of `grid`'s axes in this lattice, if the two have the same axes.
    pub fn axes_on(&self, grid: &Grid) -> Option<[SplineAxis; 3]> {
        // The corner of the largest grid must stay within this part of a control spacing.
        const TOLERANCE: f64 = 1e-6;
        let step = self.index_from_lps * grid.lps_from_index_matrix();
        let size = grid.size_ijk();
        for row in 0..3 {
            for column in (0..3).filter(|&column| column != row) {
                if step.0[row][column].abs() * size[column] as f64 > TOLERANCE {
                    return None;
                }
            }
        }
        let start = self.index_from_lps.apply((grid.origin_lps() - self.grid().origin_lps()).to_array());
        let n_controls = self.grid().size_ijk();
        Some(
            [0, 1, 2]
                .map(|axis| SplineAxis::new(n_controls[axis], start[axis], step.0[axis][axis], size[axis])),
        )
    }

    /// The spans of a position in the lattice, or none outside.
    fn spans_of(&self, position: [f64; 3]) -> Option<[(usize, f64); 3]> {
        let [ni, nj, nk] = self.grid().size_ijk();
        Some([span_of(position[0], ni)?, span_of(position[1], nj)?, span_of(position[2], nk)?])
    }

    /// The sum of the 4×4×4 coefficients from `first` on with products of `weights`, for i, j, k.
    fn combined(&self, [(i, wi), (j, wj), (k, wk)]: [(usize, [f64; 4]); 3]) -> [f64; 3] {
        let [ni, nj, _] = self.grid().size_ijk();
        let coefficients = self.control_points.as_slice();
        let mut sum = [0.0; 3];
        for (step_k, wk) in wk.into_iter().enumerate() {
            for (step_j, wj) in wj.into_iter().enumerate() {
                let line = &coefficients[((k + step_k) * nj + j + step_j) * ni..][..ni];
                for (sum, component) in std::iter::zip(&mut sum, at(line, i, wi)) {
                    *sum += wk * wj * component;
                }
            }
        }
        sum
    }

    /// The weighted sum of four planes of coefficients from `first` on.
    pub(super) fn plane(&self, first: usize, weights: [f64; 4]) -> Vec<[f64; 3]> {
        let [ni, nj, _] = self.grid().size_ijk();
        weighted_sum(&self.control_points.as_slice()[first * nj * ni..], nj * ni, weights)
    }

    /// The weighted sum of four lines of a plane from `first` on.
    pub(super) fn line(&self, plane: &[[f64; 3]], first: usize, weights: [f64; 4]) -> Vec<[f64; 3]> {
        let ni = self.grid().size_ijk()[0];
        weighted_sum(&plane[first * ni..], ni, weights)
    }

    /// I + ∂u/∂x from the change of u per step of the lattice.
    fn jacobian(&self, per_step: Matrix3) -> Matrix3 {
        let gradient = per_step * self.index_from_lps;
        Matrix3([0, 1, 2].map(|row| {
            [0, 1, 2].map(|column| gradient.0[row][column] + if row == column { 1.0 } else { 0.0 })
        }))
    }
}

/// The weighted sum of the first four stretches of `length` vectors.
fn weighted_sum(vectors: &[[f64; 3]], length: usize, weights: [f64; 4]) -> Vec<[f64; 3]> {
    let mut sums = vec![[0.0; 3]; length];
    for (stretch, weight) in std::iter::zip(vectors.chunks_exact(length), weights) {
        for (sum, vector) in std::iter::zip(&mut sums, stretch) {
            for axis in 0..3 {
                sum[axis] += weight * vector[axis];
            }
        }
    }
    sums
}

/// The weighted sum of four vectors of a line from `first` on.
#[inline]
pub(super) fn at(line: &[[f64; 3]], first: usize, weights: [f64; 4]) -> [f64; 3] {
    let mut sum = [0.0; 3];
    for (vector, weight) in std::iter::zip(&line[first..first + 4], weights) {
        for axis in 0..3 {
            sum[axis] += weight * vector[axis];
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An oblique lattice of three different spacings around the origin, with coefficients without any pattern.
    fn sample() -> Result<BSplineTransform, ImageError> {
        let (s, c) = 25_f64.to_radians().sin_cos();
        let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        let lattice = Grid::new([6, 7, 5], [11.0, 9.0, 13.0], PointLps::new(-10.0, -40.0, -25.0), direction)?;
        BSplineTransform::new(Volume::from_index_fn(&lattice, |VoxelIndex { i, j, k }| {
            [1.0, 2.0, 3.0]
                .map(|part| 2.0 * (part * 1.7 * i as f64 + 2.9 * j as f64 - part * 4.1 * k as f64).sin())
        }))
    }

    /// A grid with the lattice's axes that leaves the lattice on every side.
    fn aligned(transform: &BSplineTransform) -> Result<Grid, ImageError> {
        let lattice = transform.grid();
        let start = lattice.lps_from_index(crate::ContinuousIndex::new(0.3, 0.4, 0.2));
        Grid::new([25, 30, 24], [2.0, 2.0, 2.5], start, *lattice.direction())
    }

    /// The textbook piecewise definition, for comparison.
    fn cubic(x: f64) -> f64 {
        let x = x.abs();
        if x < 1.0 {
            2.0 / 3.0 - x * x + x * x * x / 2.0
        } else if x < 2.0 {
            (2.0 - x).powi(3) / 6.0
        } else {
            0.0
        }
    }

    #[test]
    fn the_displacement_is_the_sum_over_all_control_points() -> Result<(), ImageError> {
        let transform = sample()?;
        for index in [[1.0, 1.0, 1.0], [2.3, 4.9, 1.7], [3.999, 2.5, 2.0], [4.0, 5.0, 3.0]] {
            let point =
                transform.grid().lps_from_index(crate::ContinuousIndex::new(index[0], index[1], index[2]));
            let mut expected = [0.0; 3];
            for ((k, j, i), vector) in transform.control_points().array().indexed_iter() {
                let weight =
                    cubic(index[0] - i as f64) * cubic(index[1] - j as f64) * cubic(index[2] - k as f64);
                for axis in 0..3 {
                    expected[axis] += weight * vector[axis];
                }
            }
            let error = transform.displacement_at(point) + VectorLps::from(expected) * -1.0;
            assert!(error.norm_mm() < 1e-9, "at {index:?}: off by {error:?}");
        }
        Ok(())
    }

    #[test]
    fn the_displacement_is_zero_outside_the_lattice() -> Result<(), ImageError> {
        let transform = sample()?;
        for index in [[0.99, 2.0, 2.0], [2.0, 5.01, 2.0], [2.0, 2.0, 3.01], [f64::NAN, 2.0, 2.0]] {
            let point =
                transform.grid().lps_from_index(crate::ContinuousIndex::new(index[0], index[1], index[2]));
            assert_eq!(transform.displacement_at(point), VectorLps::new(0.0, 0.0, 0.0), "at {index:?}");
        }
        Ok(())
    }

    #[test]
    fn the_separable_field_is_the_pointwise_one() -> Result<(), ImageError> {
        let transform = sample()?;
        let grid = aligned(&transform)?;
        assert!(transform.axes_on(&grid).is_some());
        let field = transform.displacement_on(&grid)?;
        let other_axes = Grid::axis_aligned([7, 8, 6], [6.0; 3], PointLps::new(-20.0, -20.0, -20.0))?;
        assert!(transform.axes_on(&other_axes).is_none());
        let other_field = transform.displacement_on(&other_axes)?;
        for field in [field, other_field] {
            let expected = Volume::from_point_fn(field.grid(), |point| transform.displacement_at(point));
            for (got, want) in std::iter::zip(field.displacement_mm().as_slice(), expected.as_slice()) {
                let error = VectorLps::from(got.map(f64::from)) + *want * -1.0;
                assert!(error.norm_mm() < 1e-5, "{got:?}, expected {want:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn the_jacobian_is_the_derivative_of_the_map() -> Result<(), ImageError> {
        let transform = sample()?;
        let grid = aligned(&transform)?;
        let determinant = transform.jacobian_determinant(&grid);
        for index in [VoxelIndex::new(10, 12, 9), VoxelIndex::new(5, 20, 14), VoxelIndex::new(0, 0, 0)] {
            let point = grid.point_of(index);
            let columns = [[1e-4, 0.0, 0.0], [0.0, 1e-4, 0.0], [0.0, 0.0, 1e-4]].map(|step| {
                let step = VectorLps::from(step);
                let change = transform.apply(point + step) - transform.apply(point + step * -1.0);
                (change * (1.0 / 2e-4)).to_array()
            });
            let expected = Matrix3::from_columns(columns[0], columns[1], columns[2]);
            let got = transform.jacobian_at(point);
            for (got, want) in std::iter::zip(got.0.iter().flatten(), expected.0.iter().flatten()) {
                assert!((got - want).abs() < 1e-6, "{got}, expected {want} at {index:?}");
            }
            assert!((f64::from(determinant[index]) - expected.determinant()).abs() < 1e-5);
        }
        Ok(())
    }

    #[test]
    fn refining_keeps_the_map() -> Result<(), ImageError> {
        let transform = sample()?;
        let refined = transform.refined()?;
        assert_eq!(refined.grid().size_ijk(), [9, 11, 7]);
        let expected = transform.displacement_on(&aligned(&transform)?)?;
        let got = refined.displacement_on(&aligned(&transform)?)?;
        for (got, want) in
            std::iter::zip(got.displacement_mm().as_slice(), expected.displacement_mm().as_slice())
        {
            let off = std::iter::zip(got, want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "{got:?}, expected {want:?}");
        }
        Ok(())
    }

    #[test]
    fn the_inverse_undoes_a_bump_and_a_fold_has_none() -> Result<(), ImageError> {
        let lattice = Grid::axis_aligned([8, 8, 8], [10.0; 3], PointLps::new(-35.0, -35.0, -35.0))?;
        let bump = |height_mm: f64| {
            BSplineTransform::new(Volume::from_index_fn(&lattice, |VoxelIndex { i, j, k }| {
                let is_inner = [i, j, k].iter().all(|n| (3..5).contains(n));
                if is_inner { [height_mm, -height_mm, 0.5 * height_mm] } else { [0.0; 3] }
            }))
        };
        let there = crate::Transform::from(bump(2.0)?);
        let back = there.inverse()?;
        for n in 0..200_u32 {
            let at = PointLps::from([7, 11, 13].map(|step| f64::from(n * step % 200) / 4.0 - 25.0));
            let residual_mm = back.apply(there.apply(at)).distance_mm(at);
            assert!(residual_mm < 0.02, "{residual_mm} mm at {at:?}");
        }
        let folding = bump(60.0)?;
        assert!(folding.jacobian_determinant(&folding.inverse_grid()?).as_slice().iter().any(|&d| d < 0.0));
        let inverse = folding.inverse(&folding.inverse_grid()?, 1e-3);
        assert!(matches!(inverse, Err(ImageError::NoInverse { .. })));
        Ok(())
    }

    #[test]
    fn small_lattices_and_nan_are_refused() -> Result<(), ImageError> {
        let small = Grid::axis_aligned([4, 3, 4], [1.0; 3], PointLps::ORIGIN)?;
        let refused = BSplineTransform::new(Volume::filled(&small, [0.0; 3]));
        assert!(matches!(refused, Err(ImageError::Parameter { .. })));
        let mut vectors = Volume::filled(sample()?.grid(), [0.0; 3]);
        vectors[VoxelIndex::new(1, 2, 3)] = [0.0, f64::NAN, 0.0];
        let refused = BSplineTransform::new(vectors);
        assert!(matches!(refused, Err(ImageError::NotFinite { index_kji: [3, 2, 1], .. })));
        Ok(())
    }
}
