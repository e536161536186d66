//! Three-by-three matrices, as much of them as geometry needs.

use std::ops::Mul;

use crate::ImageError;

/// A 3×3 matrix, stored as rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matrix3(pub [[f64; 3]; 3]);

impl Matrix3 {
    /// The identity.
    pub const IDENTITY: Self = Self::diagonal([1.0, 1.0, 1.0]);

    /// The matrix with `d` on its diagonal and zeros elsewhere.
    pub const fn diagonal(d: [f64; 3]) -> Self {
        Self([[d[0], 0.0, 0.0], [0.0, d[1], 0.0], [0.0, 0.0, d[2]]])
    }

    /// The matrix whose columns are `a`, `b`, `c`.
    pub const fn from_columns(a: [f64; 3], b: [f64; 3], c: [f64; 3]) -> Self {
        Self([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [a[2], b[2], c[2]]])
    }

    /// Column `axis`.
    pub const fn column(&self, axis: usize) -> [f64; 3] {
        [self.0[0][axis], self.0[1][axis], self.0[2][axis]]
    }

    /// The transpose.
    pub const fn transposed(&self) -> Self {
        Self::from_columns(self.0[0], self.0[1], self.0[2])
    }

    /// The product with a column vector.
    pub fn apply(&self, v: [f64; 3]) -> [f64; 3] {
        self.0.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
    }

    /// The determinant.
    pub fn determinant(&self) -> f64 {
        let m = &self.0;
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    }

    /// The inverse, by cofactors.
    ///
    /// # Errors
    /// [`ImageError::Singular`] if the determinant is zero, not finite, or vanishes beside the matrix's entries.
    pub fn inverse(&self) -> Result<Self, ImageError> {
        let determinant = self.determinant();
        let scale = self.0.iter().flatten().fold(0.0_f64, |largest, entry| largest.max(entry.abs()));
        if !determinant.is_finite() || determinant.abs() <= 1e-14 * scale.powi(3) {
            return Err(ImageError::Singular { matrix: self.0, determinant });
        }
        let m = &self.0;
        // Entry (row, column) of the adjugate: the cofactor of (column, row), with cyclic indices carrying the sign.
        let adjugate = |row: usize, column: usize| {
            let (r0, r1) = ((column + 1) % 3, (column + 2) % 3);
            let (c0, c1) = ((row + 1) % 3, (row + 2) % 3);
            m[r0][c0] * m[r1][c1] - m[r0][c1] * m[r1][c0]
        };
        Ok(Self([0, 1, 2].map(|row| [0, 1, 2].map(|column| adjugate(row, column) / determinant))))
    }
}

impl Mul for Matrix3 {
    type Output = Self;
    fn mul(self, right: Self) -> Self {
        let columns = [0, 1, 2].map(|axis| self.apply(right.column(axis)));
        Self::from_columns(columns[0], columns[1], columns[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes_a_general_matrix() -> Result<(), ImageError> {
        let matrix = Matrix3([[2.0, -1.0, 0.5], [0.25, 3.0, -2.0], [1.5, 0.75, 4.0]]);
        let product = matrix.inverse()? * matrix;
        for row in 0..3 {
            for column in 0..3 {
                let expected = if row == column { 1.0 } else { 0.0 };
                assert!((product.0[row][column] - expected).abs() < 1e-14, "{product:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn dependent_rows_have_no_inverse() {
        let matrix = Matrix3([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1.0, 1.0]]);
        assert!(matches!(matrix.inverse(), Err(ImageError::Singular { .. })));
    }
}
