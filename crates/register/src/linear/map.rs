//! The affine map that is being improved, and the steps that a model allows it.

use synthct_image::{AffineTransform, ImageError, Matrix3, PointLps, VectorLps};

use super::config::LinearModel;

/// x ↦ matrix · (x − center) + image: an affine map written about the middle of the fixed samples, so that turning and
/// shifting hardly depend on each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CenteredMap {
    pub(crate) matrix: Matrix3,
    pub(crate) center: PointLps,
    pub(crate) image: PointLps,
}

/// The number of an affine map's coordinates: for each row r of its output, first the shift, then the matrix row.
pub(crate) const N_COORDINATES: usize = 12;

impl CenteredMap {
    /// The map `transform` about `center`.
    pub(crate) fn new(transform: &AffineTransform, center: PointLps) -> Self {
        Self { matrix: *transform.matrix(), center, image: transform.apply(center) }
    }

    /// The root mean square distance between the images of points, whose second moments E[X Xᵀ], X = (1, x, y, z), about
    /// the centre are given, under two maps about one centre.
    pub(crate) fn distance_mm(&self, other: &Self, moments: &[[f64; 4]; 4]) -> f64 {
        let shift = (self.image - other.image).to_array();
        let squares = (0..3).map(|row| {
            let (a, b) = (self.matrix.0[row], other.matrix.0[row]);
            let entries = [shift[row], a[0] - b[0], a[1] - b[1], a[2] - b[2]];
            let along =
                moments.map(|moments| std::iter::zip(moments, entries).map(|(m, e)| m * e).sum::<f64>());
            std::iter::zip(along, entries).map(|(m, e)| m * e).sum::<f64>()
        });
        squares.sum::<f64>().max(0.0).sqrt()
    }

    /// The map as a transform of patient space.
    ///
    /// # Errors
    /// [`ImageError::AffineMatrix`] if an entry is not finite.
    pub(crate) fn to_transform(self) -> Result<AffineTransform, ImageError> {
        let kept: PointLps = self.matrix.apply(self.center.to_array()).into();
        AffineTransform::new(self.matrix, self.image - kept)
    }

    /// The map after a step; `step` has as many numbers as the model has parameters.
    ///
    /// Rigid: a rotation vector in radians, which acts after the map's own matrix, then a shift in mm.
    /// Affine: the twelve coordinates.
    pub(crate) fn stepped(&self, model: LinearModel, step: &[f64]) -> Self {
        let mut next = *self;
        let shift = match model {
            LinearModel::Rigid => {
                next.matrix = rotation([step[0], step[1], step[2]]) * self.matrix;
                [step[3], step[4], step[5]]
            }
            LinearModel::Affine => {
                for row in 0..3 {
                    for column in 0..3 {
                        next.matrix.0[row][column] += step[4 * row + 1 + column];
                    }
                }
                [step[0], step[4], step[8]]
            }
        };
        next.image = next.image + VectorLps::from(shift);
        next
    }

    /// The derivative of the twelve coordinates by each of the model's parameters, one row a parameter.
    pub(crate) fn tangents(&self, model: LinearModel) -> Vec<[f64; N_COORDINATES]> {
        let mut tangents = vec![[0.0; N_COORDINATES]; model.n_parameters()];
        match model {
            LinearModel::Rigid => {
                for axis in 0..3 {
                    // The cross product with the unit vector, column by column.
                    let (next, after) = ((axis + 1) % 3, (axis + 2) % 3);
                    for column in 0..3 {
                        tangents[axis][4 * next + 1 + column] = -self.matrix.0[after][column];
                        tangents[axis][4 * after + 1 + column] = self.matrix.0[next][column];
                    }
                    tangents[3 + axis][4 * axis] = 1.0;
                }
            }
            LinearModel::Affine => {
                for (n, tangent) in tangents.iter_mut().enumerate() {
                    tangent[n] = 1.0;
                }
            }
        }
        tangents
    }
}

/// The rotation about a vector by its length in radians.
pub(crate) fn rotation(vector: [f64; 3]) -> Matrix3 {
    let angle = vector.iter().map(|c| c * c).sum::<f64>().sqrt();
    // sin(a)/a and (1 − cos a)/a², by their series where the quotients lose digits.
    let (a, b) = if angle < 1e-4 {
        (1.0 - angle * angle / 6.0, 0.5 - angle * angle / 24.0)
    } else {
        (angle.sin() / angle, (1.0 - angle.cos()) / (angle * angle))
    };
    let [x, y, z] = vector;
    let cross = Matrix3([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]);
    let square = cross * cross;
    let entry = |row: usize, column: usize| {
        f64::from(u8::from(row == column)) + a * cross.0[row][column] + b * square.0[row][column]
    };
    Matrix3([0, 1, 2].map(|row| [0, 1, 2].map(|column| entry(row, column))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> CenteredMap {
        let matrix = Matrix3([[1.1, -0.2, 0.05], [0.3, 0.9, -0.1], [0.0, 0.15, 1.2]]);
        let (center, image) = (PointLps::new(3.0, -7.0, 11.0), PointLps::new(1.0, 2.0, -5.0));
        CenteredMap { matrix, center, image }
    }

    #[test]
    fn the_centre_is_only_a_way_of_writing() -> Result<(), ImageError> {
        let map = sample();
        let transform = map.to_transform()?;
        assert!(transform.apply(map.center).distance_mm(map.image) < 1e-12);
        let again = CenteredMap::new(&transform, PointLps::new(-40.0, 2.0, 9.0)).to_transform()?;
        let at = PointLps::new(20.0, 30.0, -10.0);
        assert!(again.apply(at).distance_mm(transform.apply(at)) < 1e-12);
        Ok(())
    }

    #[test]
    fn the_distance_of_maps_is_that_of_their_points() {
        let (map, mut other) = (sample(), sample());
        other.image = other.image + VectorLps::new(3.0, 0.0, -4.0);
        // Two points at ±(2, 0, 0): second moments 1 for the constant, 4 for x.
        let mut moments = [[0.0; 4]; 4];
        (moments[0][0], moments[1][1]) = (1.0, 4.0);
        assert!((map.distance_mm(&other, &moments) - 5.0).abs() < 1e-12);
        other.matrix.0[1][0] += 6.0;
        assert!((map.distance_mm(&other, &moments) - 13.0).abs() < 1e-12, "5 mm and 6 · 2 mm across");
    }

    #[test]
    fn tangents_are_the_derivatives_of_steps() {
        let map = sample();
        let coordinates = |map: &CenteredMap| {
            let shift = map.image.to_array();
            let row = |r: usize| [shift[r], map.matrix.0[r][0], map.matrix.0[r][1], map.matrix.0[r][2]];
            [row(0), row(1), row(2)].concat()
        };
        for model in [LinearModel::Rigid, LinearModel::Affine] {
            for (parameter, tangent) in map.tangents(model).iter().enumerate() {
                let moved = |by: f64| {
                    let mut step = vec![0.0; model.n_parameters()];
                    step[parameter] = by;
                    coordinates(&map.stepped(model, &step))
                };
                let (ahead, behind) = (moved(1e-5), moved(-1e-5));
                for n in 0..N_COORDINATES {
                    let difference = (ahead[n] - behind[n]) / 2e-5;
                    assert!((difference - tangent[n]).abs() < 1e-8, "{model:?} {parameter} {n}");
                }
            }
        }
    }

    #[test]
    fn a_rotation_vector_turns_right_handed_and_keeps_lengths() {
        let quarter = rotation([0.0, 0.0, std::f64::consts::FRAC_PI_2]);
        let turned = quarter.apply([1.0, 0.0, 0.0]);
        assert!((turned[1] - 1.0).abs() < 1e-15 && turned[0].abs() < 1e-15);
        for vector in [[1e-5, 2e-5, -1e-5], [0.3, -2.0, 1.0]] {
            let matrix = rotation(vector);
            assert!((matrix.determinant() - 1.0).abs() < 1e-12);
            let kept = matrix.apply(vector);
            assert!(std::iter::zip(kept, vector).all(|(a, b)| (a - b).abs() < 1e-12), "the axis stays");
        }
    }
}
