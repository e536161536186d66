//! Maps of patient space.

mod affine;
mod bspline;
mod bspline_rows;
mod displacement;
mod spline_axis;

pub use affine::AffineTransform;
pub use bspline::BSplineTransform;
pub(crate) use bspline_rows::BSplineRows;
pub use displacement::DisplacementField;
pub use spline_axis::SplineAxis;
pub(crate) use spline_axis::cubic_weights;

use std::ops::Mul;

use crate::{Grid, ImageError, PointLps, VectorLps};

/// A map of DICOM patient space onto itself, named `to_from` after what it takes to what.
///
/// ```
/// use synthct_image::{AffineTransform, PointLps, Transform, VectorLps};
/// let b_from_c: Transform = AffineTransform::translation(VectorLps::new(0.0, 2.0, 0.0))?.into();
/// let a_from_b: Transform = AffineTransform::translation(VectorLps::new(1.0, 0.0, 0.0))?.into();
/// let a_from_c = a_from_b * b_from_c;
/// assert_eq!(a_from_c.apply(PointLps::ORIGIN), PointLps::new(1.0, 2.0, 0.0));
/// assert_eq!(a_from_c.inverse()?.apply(PointLps::new(1.0, 2.0, 0.0)), PointLps::ORIGIN);
/// # Ok::<(), synthct_image::ImageError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Transform {
    /// An affine map.
    Affine(AffineTransform),
    /// A displacement at every point.
    Displacement(DisplacementField),
    /// A displacement made of cubic B-splines.
    BSpline(BSplineTransform),
    /// A product, written as it is in mathematics: the *last* map acts first. Empty, it is the identity.
    Composite(Vec<Transform>),
}

impl Transform {
    /// The map that leaves every point where it is.
    pub const IDENTITY: Self = Self::Affine(AffineTransform::IDENTITY);

    /// The image of a point.
    pub fn apply(&self, point: PointLps) -> PointLps {
        match self {
            Self::Affine(affine) => affine.apply(point),
            Self::Displacement(field) => field.apply(point),
            Self::BSpline(spline) => spline.apply(point),
            Self::Composite(factors) => factors.iter().rev().fold(point, |point, factor| factor.apply(point)),
        }
    }

    /// The map back: exact for affine factors, to [`DisplacementField::INVERSE_TOLERANCE_MM`] for displacements, which
    /// become fields on their own grid or, from B-splines, on [`BSplineTransform::inverse_grid`].
    ///
    /// # Errors
    /// [`ImageError::Singular`] or [`ImageError::NoInverse`] from the factor that has no inverse.
    pub fn inverse(&self) -> Result<Self, ImageError> {
        match self {
            Self::Affine(affine) => affine.inverse().map(Self::Affine),
            Self::Displacement(field) => {
                field.inverse(field.grid(), DisplacementField::INVERSE_TOLERANCE_MM).map(Self::Displacement)
            }
            Self::BSpline(spline) => {
                let inverse =
                    spline.inverse(&spline.inverse_grid()?, DisplacementField::INVERSE_TOLERANCE_MM)?;
                Ok(Self::Displacement(inverse))
            }
            Self::Composite(factors) => {
                factors.iter().rev().map(Self::inverse).collect::<Result<_, _>>().map(Self::Composite)
            }
        }
    }

    /// The map as one affine map, if all its factors are affine.
    pub fn as_affine(&self) -> Option<AffineTransform> {
        match self {
            Self::Affine(affine) => Some(*affine),
            Self::Displacement(_) | Self::BSpline(_) => None,
            Self::Composite(factors) => {
                factors.iter().try_fold(AffineTransform::IDENTITY, |product, factor| {
                    factor.as_affine().map(|affine| product * affine)
                })
            }
        }
    }

    /// The map as a displacement at every voxel centre of `grid`.
    ///
    /// B-splines that act first are sampled fast where the grid's axes are theirs.
    ///
    /// # Errors
    /// [`ImageError::NotFinite`] for displacements beyond the range of 32-bit numbers.
    pub fn displacement_on(&self, grid: &Grid) -> Result<DisplacementField, ImageError> {
        match self {
            Self::Displacement(field) if field.grid() == grid => Ok(field.clone()),
            Self::BSpline(spline) => spline.displacement_on(grid),
            Self::Composite(factors) => match factors.split_last() {
                Some((first, others)) => {
                    let begun = first.displacement_on(grid)?;
                    let others = Self::Composite(others.to_vec());
                    begun.followed_by(|point| others.apply(point))
                }
                None => DisplacementField::from_fn(grid, |_| VectorLps::new(0.0, 0.0, 0.0)),
            },
            _ => DisplacementField::from_fn(grid, |point| self.apply(point) - point),
        }
    }

    /// The factors of a product; of anything else, itself.
    fn into_factors(self) -> Vec<Self> {
        match self {
            Self::Composite(factors) => factors,
            single => vec![single],
        }
    }
}

impl From<AffineTransform> for Transform {
    fn from(affine: AffineTransform) -> Self {
        Self::Affine(affine)
    }
}

impl From<DisplacementField> for Transform {
    fn from(field: DisplacementField) -> Self {
        Self::Displacement(field)
    }
}

impl From<BSplineTransform> for Transform {
    fn from(spline: BSplineTransform) -> Self {
        Self::BSpline(spline)
    }
}

impl Mul for Transform {
    type Output = Self;
    /// `a_from_b * b_from_c` is `a_from_c`: the right factor acts first.
    fn mul(self, b_from_c: Self) -> Self {
        if let (Self::Affine(left), Self::Affine(right)) = (&self, &b_from_c) {
            return Self::Affine(*left * *right);
        }
        let mut factors = self.into_factors();
        factors.extend(b_from_c.into_factors());
        Self::Composite(factors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, Matrix3, VectorLps};

    fn stretch() -> Result<Transform, ImageError> {
        Ok(AffineTransform::linear_about(PointLps::ORIGIN, Matrix3::diagonal([2.0, 1.0, 1.0]))?.into())
    }

    /// A bump of at most 2 mm that has faded out at the edge of its grid.
    fn bump() -> Result<Transform, ImageError> {
        let grid = Grid::axis_aligned([41, 41, 41], [1.0; 3], PointLps::new(-20.0, -20.0, -20.0))?;
        let field = DisplacementField::from_fn(&grid, |point| {
            let r = (point - PointLps::ORIGIN).norm_mm() / 20.0;
            let height = if r < 1.0 { (1.0 - r * r).powi(2) } else { 0.0 };
            VectorLps::new(2.0, -1.0, 0.5) * height
        })?;
        Ok(field.into())
    }

    #[test]
    fn a_composite_applies_its_last_factor_first() -> Result<(), ImageError> {
        let at = PointLps::new(3.0, 4.0, 5.0);
        let by_hand = stretch()?.apply(bump()?.apply(at));
        assert_eq!((stretch()? * bump()?).apply(at), by_hand);
        let other_way = (bump()? * stretch()?).apply(at);
        assert!(other_way.distance_mm(by_hand) > 0.1, "{other_way:?} and {by_hand:?} must differ");
        Ok(())
    }

    #[test]
    fn the_inverse_of_a_composite_undoes_it() -> Result<(), ImageError> {
        let there = stretch()? * bump()? * stretch()?;
        let back = there.inverse()?;
        for at in [PointLps::new(1.0, 2.0, 3.0), PointLps::new(-4.0, 7.0, 0.0), PointLps::new(90.0, 0.0, 0.0)]
        {
            let again = back.apply(there.apply(at));
            assert!(again.distance_mm(at) < 0.01, "{at:?} came back as {again:?}");
        }
        Ok(())
    }

    #[test]
    fn a_map_as_displacements_goes_where_the_map_goes() -> Result<(), ImageError> {
        let (s, c) = 20_f64.to_radians().sin_cos();
        let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        let grid = Grid::new([5, 6, 7], [3.0, 2.0, 4.0], PointLps::new(-6.0, -5.0, -12.0), direction)?;
        let lattice = Grid::new([12, 12, 12], [6.0; 3], PointLps::new(-33.0, -33.0, -33.0), direction)?;
        let spline: Transform = BSplineTransform::new(crate::Volume::from_point_fn(&lattice, |p| {
            [0.05 * p.x, 0.03 * p.y - 0.02 * p.z, 0.001 * p.x * p.y]
        }))?
        .into();
        for map in [
            Transform::IDENTITY,
            Transform::Composite(vec![]),
            stretch()?,
            bump()?,
            spline.clone(),
            stretch()? * spline.clone(),
            bump()? * stretch()? * spline,
        ] {
            let field = map.displacement_on(&grid)?;
            for (n, vector) in field.displacement_mm().as_slice().iter().enumerate() {
                let at = grid.point_of(crate::VoxelIndex::new(n % 5, n / 5 % 6, n / 30));
                let there = at + vector.map(f64::from).into();
                let expected = map.apply(at);
                assert!(there.distance_mm(expected) < 1e-5, "{there:?}, expected {expected:?}");
            }
        }
        let own = bump()?.displacement_on(&grid)?;
        assert_eq!(Transform::from(own.clone()).displacement_on(&grid)?, own);
        Ok(())
    }

    #[test]
    fn only_products_of_affine_maps_are_affine() -> Result<(), ImageError> {
        let product = Transform::Composite(vec![stretch()?, stretch()?]);
        let at = PointLps::new(3.0, 4.0, 5.0);
        assert_eq!(product.as_affine().map(|affine| affine.apply(at)), Some(PointLps::new(12.0, 4.0, 5.0)));
        assert_eq!((stretch()? * bump()?).as_affine(), None);
        assert_eq!(Transform::Composite(vec![]).as_affine(), Some(AffineTransform::IDENTITY));
        Ok(())
    }
}
