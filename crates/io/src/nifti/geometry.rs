//! Where a NIfTI file's voxels are: sform, qform, and the way from RAS to LPS and back.

use std::path::Path;

use synthct_image::{Grid, Matrix3};

use super::header::Header;
use crate::geometry::{grid_from_axes, nearest_rotation};
use crate::{IoError, MissingGeometry};

/// sform and qform are said to disagree when a corner differs by more than this.
///
/// A quaternion of 32-bit floats alone, of which the largest part is not stored, may differ by some hundredths of a millimetre.
const FORMS_DISAGREE_MM: f64 = 0.1;

/// The grid of a header, by the rules of the standard.
///
/// The sform counts if its code is above zero, else the qform if its code is above zero, else there is no geometry.
/// If both count and disagree by more than 0.1 mm, the sform is taken, as nibabel does, and a warning added.
/// An sform that is present but unusable (sheared, singular) is an error: the qform does not step in quietly.
pub(super) fn read_grid(
    path: &Path,
    header: &Header,
    size_ijk: [usize; 3],
    missing_geometry: MissingGeometry,
    warnings: &mut Vec<String>,
) -> Result<Grid, IoError> {
    let mm = header.mm_per_unit(path)?;
    let (has_sform, has_qform) = (header.sform_code > 0, header.qform_code > 0);
    if has_sform {
        let columns = Matrix3(header.srow.map(|row| [row[0] * mm, row[1] * mm, row[2] * mm]));
        let grid = lps_grid(path, size_ijk, &columns, header.srow.map(|row| row[3] * mm))?;
        if has_qform {
            warnings.extend(disagreement(&grid, qform_grid(path, header, size_ijk, mm)));
        }
        return Ok(grid);
    }
    if has_qform {
        return qform_grid(path, header, size_ijk, mm);
    }
    let [_, di, dj, dk, ..] = header.pixdim;
    match missing_geometry {
        MissingGeometry::Refuse => Err(IoError::MissingGeometry {
            path: path.to_owned(),
            what: format!(
                "`sform_code` is {} and `qform_code` is {}; if the orientation does not matter, ask for geometry from \
                 the voxel size {:?} alone",
                header.sform_code,
                header.qform_code,
                [di, dj, dk]
            ),
        }),
        MissingGeometry::FromPixdim => {
            warnings.push("the file has no orientation or position: right, anterior, superior from the world origin is assumed".to_owned());
            lps_grid(path, size_ijk, &Matrix3::diagonal([di * mm, dj * mm, dk * mm]), [0.0; 3])
        }
    }
}

/// The qform's grid ("method 2" of the standard).
fn qform_grid(path: &Path, header: &Header, size_ijk: [usize; 3], mm: f64) -> Result<Grid, IoError> {
    let rotation = rotation_from_quaternion(header.quaternion).ok_or_else(|| {
        let what = format!("the quaternion {:?} of its qform is longer than 1", header.quaternion);
        IoError::malformed(path, "NIfTI", what)
    })?;
    let [qfac, di, dj, dk, ..] = header.pixdim;
    if !(di > 0.0 && dj > 0.0 && dk > 0.0) {
        let what =
            format!("its voxel size (`pixdim`) is {:?}, but its qform needs one above zero", [di, dj, dk]);
        return Err(IoError::malformed(path, "NIfTI", what));
    }
    // The standard: any qfac that is not -1 counts as 1.
    let handedness = if qfac < 0.0 { -1.0 } else { 1.0 };
    let columns = rotation * Matrix3::diagonal([di * mm, dj * mm, dk * mm * handedness]);
    lps_grid(path, size_ijk, &columns, header.qoffset.map(|c| c * mm))
}

/// The grid with `columns` (mm a voxel) and origin given in RAS.
fn lps_grid(
    path: &Path,
    size_ijk: [usize; 3],
    columns_ras: &Matrix3,
    origin_ras: [f64; 3],
) -> Result<Grid, IoError> {
    grid_from_axes(path, size_ijk, &flipped_xy(columns_ras), flip_xy(origin_ras))
}

/// RAS to LPS, or back: x and y change sign.
pub(super) fn flip_xy([x, y, z]: [f64; 3]) -> [f64; 3] {
    // 0.0 - x keeps a zero free of a sign.
    [0.0 - x, 0.0 - y, z]
}

/// RAS to LPS, or back, for a matrix whose rows are x, y, z.
pub(super) fn flipped_xy(matrix: &Matrix3) -> Matrix3 {
    Matrix3([matrix.0[0].map(|c| 0.0 - c), matrix.0[1].map(|c| 0.0 - c), matrix.0[2]])
}

fn disagreement(sform: &Grid, qform: Result<Grid, IoError>) -> Option<String> {
    let qform = match qform {
        Ok(grid) => grid,
        Err(error) => {
            return Some(format!(
                "the qform is unusable ({}); the sform is taken",
                crate::error::chain(&error)
            ));
        }
    };
    let distance_mm = std::iter::zip(sform.corner_points(), qform.corner_points())
        .fold(0.0_f64, |farthest, (a, b)| farthest.max(a.distance_mm(b)));
    (distance_mm > FORMS_DISAGREE_MM)
        .then(|| format!("sform and qform disagree by up to {distance_mm:.3} mm; the sform is taken"))
}

/// The rotation of the unit quaternion (a, b, c, d) with a ≥ 0, of which b, c, d are given; none if they are too long.
fn rotation_from_quaternion([b, c, d]: [f64; 3]) -> Option<Matrix3> {
    let rest = 1.0 - (b * b + c * c + d * d);
    // Rounding to 32-bit floats may leave the three slightly longer than 1.
    if rest.is_nan() || rest < -1e-5 {
        return None;
    }
    let a = rest.max(0.0).sqrt();
    let norm = (a * a + b * b + c * c + d * d).sqrt();
    let [a, b, c, d] = [a, b, c, d].map(|part| part / norm);
    Some(Matrix3([
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ]))
}

/// b, c, d of the rotation nearest to `direction_ras`, and qfac: -1 for left-handed axes, whose third is turned round.
pub(super) fn quaternion_of(direction_ras: &Matrix3) -> ([f64; 3], f64) {
    let qfac = if direction_ras.determinant() < 0.0 { -1.0 } else { 1.0 };
    let m = (nearest_rotation(direction_ras) * Matrix3::diagonal([1.0, 1.0, qfac])).0;
    // Each of these is four times the square of a part; the largest is far from zero, so dividing by it is safe.
    let squares = [
        1.0 + m[0][0] + m[1][1] + m[2][2],
        1.0 + m[0][0] - m[1][1] - m[2][2],
        1.0 - m[0][0] + m[1][1] - m[2][2],
        1.0 - m[0][0] - m[1][1] + m[2][2],
    ];
    let largest = (1..4).fold(0, |best, n| if squares[n] > squares[best] { n } else { best });
    let s = 2.0 * squares[largest].max(0.0).sqrt();
    let [a, b, c, d] = match largest {
        0 => [s / 4.0, (m[2][1] - m[1][2]) / s, (m[0][2] - m[2][0]) / s, (m[1][0] - m[0][1]) / s],
        1 => [(m[2][1] - m[1][2]) / s, s / 4.0, (m[0][1] + m[1][0]) / s, (m[0][2] + m[2][0]) / s],
        2 => [(m[0][2] - m[2][0]) / s, (m[0][1] + m[1][0]) / s, s / 4.0, (m[1][2] + m[2][1]) / s],
        _ => [(m[1][0] - m[0][1]) / s, (m[0][2] + m[2][0]) / s, (m[1][2] + m[2][1]) / s, s / 4.0],
    };
    let sign = if a < 0.0 { -1.0 } else { 1.0 };
    ([b * sign, c * sign, d * sign], qfac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quaternions_and_rotations_are_each_others_inverse() {
        // All four branches: a, b, c or d the largest part.
        for quaternion in
            [[0.1, -0.2, 0.3], [0.9, 0.1, -0.2], [0.1, 0.9, 0.2], [-0.3, 0.1, 0.9], [0.0, 1.0, 0.0]]
        {
            let rotation = rotation_from_quaternion(quaternion).expect("because each is shorter than 1");
            for qfac in [1.0, -1.0] {
                let (found, found_qfac) = quaternion_of(&(rotation * Matrix3::diagonal([1.0, 1.0, qfac])));
                assert!((found_qfac - qfac).abs() < 1e-12);
                let error = std::iter::zip(found, quaternion).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
                assert!(error < 1e-12, "{quaternion:?} came back as {found:?}");
            }
        }
    }

    #[test]
    fn a_quarter_turn_about_superior_takes_right_to_anterior() {
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let rotation = rotation_from_quaternion([0.0, 0.0, half]).expect("because it is shorter than 1");
        let [x, y, z] = rotation.apply([1.0, 0.0, 0.0]);
        assert!(x.abs() < 1e-12 && (y - 1.0).abs() < 1e-12 && z.abs() < 1e-12, "{x} {y} {z}");
    }

    #[test]
    fn a_long_quaternion_is_no_rotation() {
        assert_eq!(rotation_from_quaternion([0.8, 0.8, 0.0]), None);
        assert_eq!(rotation_from_quaternion([f64::NAN, 0.0, 0.0]), None);
    }
}
