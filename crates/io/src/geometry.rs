//! From the axes that a file gives to a grid.

use std::path::Path;

use synthct_image::{Grid, Matrix3, PointLps};

use crate::IoError;

/// The grid whose voxel (i, j, k) is at `origin + columns · (i, j, k)`, in LPS mm.
///
/// Axes that are not at right angles, beyond [`Grid::DIRECTION_TOLERANCE`], are an error: no grid represents them.
pub(crate) fn grid_from_axes(
    path: &Path,
    size_ijk: [usize; 3],
    columns: &Matrix3,
    origin: [f64; 3],
) -> Result<Grid, IoError> {
    let axes = [0, 1, 2].map(|axis| columns.column(axis));
    let spacing_mm = axes.map(|[x, y, z]| x.hypot(y).hypot(z));
    let unit: [[f64; 3]; 3] = std::array::from_fn(|axis| axes[axis].map(|c| c / spacing_mm[axis]));
    let direction = Matrix3::from_columns(unit[0], unit[1], unit[2]);
    require_right_angles(path, size_ijk, spacing_mm, &direction)?;
    Grid::new(size_ijk, spacing_mm, PointLps::from(origin), direction).map_err(IoError::geometry(path))
}

/// Nothing if the unit vectors in the columns of `direction` are at right angles.
///
/// Columns that are not numbers pass: the grid's constructor says what is wrong with the spacing they come from.
pub(crate) fn require_right_angles(
    path: &Path,
    size_ijk: [usize; 3],
    spacing_mm: [f64; 3],
    direction: &Matrix3,
) -> Result<(), IoError> {
    let cosine = |a: usize, b: usize| {
        std::iter::zip(direction.column(a), direction.column(b)).map(|(p, q)| p * q).sum::<f64>()
    };
    let (axes, worst) = [("i and j", cosine(0, 1)), ("i and k", cosine(0, 2)), ("j and k", cosine(1, 2))]
        .into_iter()
        .fold(("", 0.0_f64), |worst, pair| if pair.1.abs() > worst.1.abs() { pair } else { worst });
    if worst.abs() <= Grid::DIRECTION_TOLERANCE {
        return Ok(());
    }
    let rotation = nearest_rotation(direction);
    // The farthest corner seen from the middle of the grid, where both sets of axes agree.
    let displacement_mm = (0..8).fold(0.0_f64, |farthest, corner| {
        let half: [f64; 3] = std::array::from_fn(|axis| {
            let sign = if corner >> axis & 1 == 1 { 0.5 } else { -0.5 };
            sign * size_ijk[axis].saturating_sub(1) as f64 * spacing_mm[axis]
        });
        let [x, y, z]: [f64; 3] =
            std::array::from_fn(|row| direction.apply(half)[row] - rotation.apply(half)[row]);
        farthest.max(x.hypot(y).hypot(z))
    });
    Err(IoError::Sheared {
        path: path.to_owned(),
        axes,
        angle_deg: worst.clamp(-1.0, 1.0).acos().to_degrees(),
        displacement_mm,
    })
}

/// The orthogonal matrix nearest to `matrix`: its polar factor, by Newton's iteration M ← (M + M⁻ᵀ) / 2.
///
/// # References
/// Higham (1986), Computing the polar decomposition, doi:10.1137/0907079.
pub(crate) fn nearest_rotation(matrix: &Matrix3) -> Matrix3 {
    let mut nearest = *matrix;
    // Quadratic convergence: 30 steps are enough from any matrix whose inverse exists in double precision.
    for _ in 0..30 {
        let Ok(inverse) = nearest.inverse() else { return nearest };
        let transposed = inverse.transposed();
        nearest = Matrix3(std::array::from_fn(|row| {
            std::array::from_fn(|column| 0.5 * (nearest.0[row][column] + transposed.0[row][column]))
        }));
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shear_is_named_with_its_angle_and_its_size() {
        // k leans 1 mm in x for every 10 mm in z: atan(0.1) = 5.711°.
        let columns = Matrix3::from_columns([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 10.0]);
        let result = grid_from_axes(Path::new("leaning"), [1, 1, 11], &columns, [0.0; 3]);
        let Err(IoError::Sheared { axes, angle_deg, displacement_mm, .. }) = result else {
            panic!("expected a shear, got {result:?}");
        };
        assert_eq!(axes, "i and k");
        assert!((angle_deg - (90.0 - 5.710_593_137)).abs() < 1e-6, "{angle_deg}");
        // The polar factor shares the shear between both axes: the k axis, 50.25 mm from the middle, turns by half.
        let expected = 2.0 * 50.0 * 1.01_f64.sqrt() * (5.710_593_137_f64.to_radians() / 4.0).sin();
        assert!((displacement_mm - expected).abs() < 1e-6, "{displacement_mm} {expected}");
    }

    #[test]
    fn left_handed_axes_are_kept() -> Result<(), IoError> {
        let columns = Matrix3::from_columns([-2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]);
        let grid = grid_from_axes(Path::new("mirrored"), [3, 4, 5], &columns, [10.0, 0.0, 0.0])?;
        assert!((grid.direction().determinant() + 1.0).abs() < 1e-15);
        assert_eq!(grid.corner_points()[1], PointLps::new(6.0, 0.0, 0.0));
        Ok(())
    }
}
