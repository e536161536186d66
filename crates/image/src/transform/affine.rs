//! Affine maps of patient space.

use std::ops::Mul;

use crate::{ImageError, Matrix3, PointLps, VectorLps};

/// The map x ↦ matrix · x + translation of DICOM patient space, in mm.
///
/// Name a value by what it takes to what: with `moving_from_fixed`, `moving_from_fixed.apply(fixed_point)` is the
/// point of the moving image.
/// Products read the same way: `a_from_b * b_from_c` is `a_from_c`.
///
/// Note that a resampling function wants the map *from the target grid to the source volume*, which is the direction
/// that SimpleITK and elastix transforms have, too.
///
/// ```
/// use synthct_image::{AffineTransform, PointLps, VectorLps};
/// let quarter_turn = AffineTransform::rotation_about(
///     PointLps::new(10.0, 0.0, 0.0),
///     VectorLps::new(0.0, 0.0, 1.0),
///     std::f64::consts::FRAC_PI_2,
/// )?;
/// let moved = quarter_turn.apply(PointLps::new(11.0, 0.0, 5.0));
/// assert!(moved.distance_mm(PointLps::new(10.0, 1.0, 5.0)) < 1e-12);
/// # Ok::<(), synthct_image::ImageError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineTransform {
    matrix: Matrix3,
    translation_mm: VectorLps,
}

impl AffineTransform {
    /// The map that leaves every point where it is.
    pub const IDENTITY: Self =
        Self { matrix: Matrix3::IDENTITY, translation_mm: VectorLps::new(0.0, 0.0, 0.0) };

    /// The map x ↦ `matrix` · x + `translation_mm`.
    ///
    /// # Errors
    /// [`ImageError::AffineMatrix`] if an entry is not finite.
    pub fn new(matrix: Matrix3, translation_mm: VectorLps) -> Result<Self, ImageError> {
        let transform = Self { matrix, translation_mm };
        let finite =
            matrix.0.iter().flatten().chain(&translation_mm.to_array()).all(|entry| entry.is_finite());
        if finite {
            Ok(transform)
        } else {
            Err(ImageError::AffineMatrix { matrix: Box::new(transform.to_matrix4()) })
        }
    }

    /// The shift by `translation_mm`.
    ///
    /// # Errors
    /// [`ImageError::AffineMatrix`] if a component is not finite.
    pub fn translation(translation_mm: VectorLps) -> Result<Self, ImageError> {
        Self::new(Matrix3::IDENTITY, translation_mm)
    }

    /// The map x ↦ `matrix` · (x − `center`) + `center`.
    ///
    /// # Errors
    /// [`ImageError::AffineMatrix`] if an entry is not finite.
    pub fn linear_about(center: PointLps, matrix: Matrix3) -> Result<Self, ImageError> {
        let kept: PointLps = matrix.apply(center.to_array()).into();
        Self::new(matrix, center - kept)
    }

    /// The right-handed rotation by `angle_rad` about the line through `center` along `axis`.
    ///
    /// The axis need not have unit length.
    ///
    /// # Errors
    /// [`ImageError::Parameter`] if the axis has no direction, [`ImageError::AffineMatrix`] if the centre or the angle
    /// is not finite.
    pub fn rotation_about(center: PointLps, axis: VectorLps, angle_rad: f64) -> Result<Self, ImageError> {
        let length = axis.norm_mm();
        if !(length.is_finite() && length > 0.0) {
            return Err(ImageError::Parameter {
                name: "length of the rotation axis",
                value: length,
                allowed: "finite and above zero",
            });
        }
        let [x, y, z] = (axis * (1.0 / length)).to_array();
        let (s, c) = angle_rad.sin_cos();
        let v = 1.0 - c;
        // Rodrigues: R = c·I + s·[u]× + (1 − c)·u uᵀ.
        let rotation = Matrix3([
            [c + v * x * x, v * x * y - s * z, v * x * z + s * y],
            [v * y * x + s * z, c + v * y * y, v * y * z - s * x],
            [v * z * x - s * y, v * z * y + s * x, c + v * z * z],
        ]);
        Self::linear_about(center, rotation)
    }

    /// The map of a homogeneous 4×4 matrix, given as rows.
    ///
    /// # Errors
    /// [`ImageError::AffineMatrix`] if an entry is not finite or the last row is not (0, 0, 0, 1).
    pub fn from_matrix4(matrix: [[f64; 4]; 4]) -> Result<Self, ImageError> {
        let [x, y, z, last] = matrix;
        let is_affine =
            std::iter::zip(last, [0.0, 0.0, 0.0, 1.0]).all(|(got, want)| (got - want).abs() < 1e-12);
        if !is_affine {
            return Err(ImageError::AffineMatrix { matrix: Box::new(matrix) });
        }
        Self::new(Matrix3([x, y, z].map(|row| [row[0], row[1], row[2]])), VectorLps::new(x[3], y[3], z[3]))
    }

    /// The homogeneous 4×4 matrix, as rows.
    pub fn to_matrix4(&self) -> [[f64; 4]; 4] {
        let t = self.translation_mm.to_array();
        let [x, y, z] = [0, 1, 2].map(|r| {
            let row = self.matrix.0[r];
            [row[0], row[1], row[2], t[r]]
        });
        [x, y, z, [0.0, 0.0, 0.0, 1.0]]
    }

    /// The linear part.
    pub const fn matrix(&self) -> &Matrix3 {
        &self.matrix
    }

    /// The image of the patient-space origin, in mm.
    pub const fn translation_mm(&self) -> VectorLps {
        self.translation_mm
    }

    /// The angle of the rotation nearest to the linear part, in degrees, 0 to 180.
    ///
    /// The rotation R is the orthogonal factor of the polar decomposition, found by Newton's iteration
    /// R ← (R + R⁻ᵀ) / 2 from the linear part; its angle θ has 2 sin θ = |(R₃₂ − R₂₃, R₁₃ − R₃₁, R₂₁ − R₁₂)| and
    /// 2 cos θ = tr R − 1.
    /// A map that mirrors has no rotation near it; its angle is that of the improper one.
    ///
    /// # Errors
    /// [`ImageError::Singular`] if the linear part has no inverse.
    ///
    /// # References
    /// Higham (1986), doi:10.1137/0907079.
    pub fn rotation_angle_deg(&self) -> Result<f64, ImageError> {
        /// Quadratic convergence: even stretches of a thousand need no more.
        const ITERATIONS: usize = 20;
        let mut rotation = self.matrix;
        for _ in 0..ITERATIONS {
            let inverse = rotation.inverse()?.transposed();
            rotation = Matrix3([0, 1, 2].map(|row| {
                [0, 1, 2].map(|column| f64::midpoint(rotation.0[row][column], inverse.0[row][column]))
            }));
        }
        let r = rotation.0;
        let twice_sine = VectorLps::new(r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]).norm_mm();
        Ok(twice_sine.atan2(r[0][0] + r[1][1] + r[2][2] - 1.0).to_degrees())
    }

    /// The image of a point.
    pub fn apply(&self, point: PointLps) -> PointLps {
        PointLps::from(self.matrix.apply(point.to_array())) + self.translation_mm
    }

    /// The image of a displacement, which the translation does not touch.
    pub fn apply_to_vector(&self, vector: VectorLps) -> VectorLps {
        self.matrix.apply(vector.to_array()).into()
    }

    /// The map back.
    ///
    /// # Errors
    /// [`ImageError::Singular`] if the matrix has no inverse.
    pub fn inverse(&self) -> Result<Self, ImageError> {
        let matrix = self.matrix.inverse()?;
        let back: VectorLps = matrix.apply(self.translation_mm.to_array()).into();
        Self::new(matrix, back * -1.0)
    }
}

impl Mul for AffineTransform {
    type Output = Self;
    /// `a_from_b * b_from_c` is `a_from_c`: the right factor acts first.
    fn mul(self, b_from_c: Self) -> Self {
        Self {
            matrix: self.matrix * b_from_c.matrix,
            translation_mm: self.apply_to_vector(b_from_c.translation_mm) + self.translation_mm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Result<AffineTransform, ImageError> {
        let matrix = Matrix3([[1.1, -0.2, 0.05], [0.3, 0.9, -0.1], [0.0, 0.15, 1.2]]);
        AffineTransform::new(matrix, VectorLps::new(3.0, -7.0, 11.0))
    }

    #[track_caller]
    fn check_near(got: PointLps, expected: PointLps) {
        assert!(got.distance_mm(expected) < 1e-12, "{got:?}, expected {expected:?}");
    }

    #[test]
    fn the_angle_of_a_rotation_is_found_under_a_stretch() -> Result<(), ImageError> {
        let stretch = AffineTransform::linear_about(PointLps::ORIGIN, Matrix3::diagonal([1.1, 0.9, 1.02]))?;
        for angle_deg in [0.0_f64, 1e-5, 12.0, 90.0, 179.9, 180.0] {
            let axis = VectorLps::new(1.0, -2.0, 0.5);
            let turn = AffineTransform::rotation_about(PointLps::ORIGIN, axis, angle_deg.to_radians())?;
            // The polar factor of R · P with P symmetric and positive is R itself.
            let found = (turn * stretch).rotation_angle_deg()?;
            assert!((found - angle_deg).abs() < 1e-9, "{found}, expected {angle_deg}");
        }
        Ok(())
    }

    #[test]
    fn the_translation_acts_after_the_matrix() -> Result<(), ImageError> {
        // By hand: 1.1·1 − 0.2·2 + 0.05·3 + 3 and so on.
        check_near(sample()?.apply(PointLps::new(1.0, 2.0, 3.0)), PointLps::new(3.85, -5.2, 14.9));
        Ok(())
    }

    #[test]
    fn a_product_applies_its_right_factor_first() -> Result<(), ImageError> {
        let a_from_b = AffineTransform::translation(VectorLps::new(1.0, 0.0, 0.0))?;
        let b_from_c = AffineTransform::linear_about(PointLps::ORIGIN, Matrix3::diagonal([2.0, 2.0, 2.0]))?;
        let at = PointLps::new(5.0, 6.0, 7.0);
        check_near((a_from_b * b_from_c).apply(at), PointLps::new(11.0, 12.0, 14.0));
        check_near((b_from_c * a_from_b).apply(at), PointLps::new(12.0, 12.0, 14.0));
        Ok(())
    }

    #[test]
    fn the_inverse_undoes_on_either_side() -> Result<(), ImageError> {
        let at = PointLps::new(-4.0, 55.0, 0.25);
        let (there, back) = (sample()?, sample()?.inverse()?);
        check_near((there * back).apply(at), at);
        check_near(back.apply(there.apply(at)), at);
        Ok(())
    }

    #[test]
    fn positive_rotation_about_x_takes_y_to_z() -> Result<(), ImageError> {
        let turn = AffineTransform::rotation_about(
            PointLps::ORIGIN,
            VectorLps::new(4.0, 0.0, 0.0),
            90_f64.to_radians(),
        )?;
        check_near(turn.apply(PointLps::new(1.0, 2.0, 0.0)), PointLps::new(1.0, 0.0, 2.0));
        Ok(())
    }

    #[test]
    fn homogeneous_matrices_round_trip_and_projections_are_refused() -> Result<(), ImageError> {
        let transform = sample()?;
        let mut matrix = transform.to_matrix4();
        assert_eq!(matrix[1].map(f64::to_bits), [0.3, 0.9, -0.1, -7.0].map(f64::to_bits));
        assert_eq!(AffineTransform::from_matrix4(matrix)?, transform);
        matrix[3][0] = 0.01;
        assert!(matches!(AffineTransform::from_matrix4(matrix), Err(ImageError::AffineMatrix { .. })));
        matrix[3][0] = f64::NAN;
        assert!(matches!(AffineTransform::from_matrix4(matrix), Err(ImageError::AffineMatrix { .. })));
        Ok(())
    }
}
