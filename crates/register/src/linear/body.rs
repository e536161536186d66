//! Where the body is in an image, roughly: its centre and principal axes.

use synthct_image::{Mask, Matrix3, PointLps, Volume, otsu_threshold};

use super::samples::{IndexMap, Region};

/// The bins among which Otsu's threshold is chosen.
const THRESHOLD_BINS: usize = 256;

/// The foreground of an image as one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    /// The centre of the foreground.
    pub(crate) center: PointLps,
    /// Principal axes as columns, longest first, right-handed.
    pub(crate) axes: Matrix3,
}

impl Body {
    /// The body of a coarse image: its voxels brighter than Otsu's threshold, inside the mask if there is one.
    ///
    /// Every voxel counts the same, because how bright a tissue is says nothing across modalities.
    /// Without a voxel inside, the middle of the grid stands in.
    pub(crate) fn find(coarse: &Volume<f32>, mask: Option<&Mask>) -> Self {
        let grid = coarse.grid();
        let [ni, nj, _] = grid.size_ijk();
        let map = mask.map(|mask| (Region::new(mask), IndexMap::between(grid, mask.grid())));
        let index_of = |n: usize| [n % ni, n / ni % nj, n / (ni * nj)].map(|c| c as f32);
        let is_inside = |n: usize| map.is_none_or(|(region, map)| region.contains(map.apply(index_of(n))));
        let inside: Vec<usize> = (0..grid.n_voxels()).filter(|&n| is_inside(n)).collect();
        let values = coarse.as_slice();
        // Without two classes nothing lies above.
        let threshold =
            otsu_threshold(inside.iter().map(|&n| values[n]), THRESHOLD_BINS).unwrap_or(f32::INFINITY);
        let matrix = grid.lps_from_index_matrix();
        let middle = grid.center_lps();
        let shift = grid.origin_lps() - middle;
        // Sums of 1, x and x xᵀ about the grid's middle.
        let (mut count, mut sum, mut squares) = (0.0, [0.0; 3], [[0.0; 3]; 3]);
        for &n in inside.iter().filter(|&&n| values[n] > threshold) {
            let step = matrix.apply(index_of(n).map(f64::from));
            let x: [f64; 3] = std::array::from_fn(|axis| step[axis] + shift.to_array()[axis]);
            count += 1.0;
            for row in 0..3 {
                sum[row] += x[row];
                for column in 0..3 {
                    squares[row][column] += x[row] * x[column];
                }
            }
        }
        if count == 0.0 {
            return Self { center: middle, axes: Matrix3::IDENTITY };
        }
        let mean = sum.map(|entry| entry / count);
        let covariance = [0, 1, 2]
            .map(|row| [0, 1, 2].map(|column| squares[row][column] / count - mean[row] * mean[column]));
        Self { center: middle + mean.into(), axes: principal_axes(covariance) }
    }
}

/// The eigenvectors of a symmetric matrix as columns of a rotation, largest eigenvalue first, by Jacobi's rotations.
fn principal_axes(mut a: [[f64; 3]; 3]) -> Matrix3 {
    let mut v = Matrix3::IDENTITY.0;
    for _ in 0..20 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            if a[p][q].abs() <= 1e-15 * (a[p][p].abs() + a[q][q].abs()) {
                continue;
            }
            let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let c = 1.0 / (t * t + 1.0).sqrt();
            let s = t * c;
            for row in &mut a {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
            let rows = (a[p], a[q]);
            a[p] = [0, 1, 2].map(|n| c * rows.0[n] - s * rows.1[n]);
            a[q] = [0, 1, 2].map(|n| s * rows.0[n] + c * rows.1[n]);
            for row in &mut v {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&m, &n| a[n][n].total_cmp(&a[m][m]));
    let column = |n: usize| [v[0][n], v[1][n], v[2][n]];
    let [long, middle] = [column(order[0]), column(order[1])];
    let short = [0, 1, 2].map(|n| {
        let (m, l) = ((n + 1) % 3, (n + 2) % 3);
        long[m] * middle[l] - long[l] * middle[m]
    });
    Matrix3::from_columns(long, middle, short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, ImageError};

    #[test]
    fn the_axes_of_a_box_are_found_whatever_their_signs() -> Result<(), ImageError> {
        let (s, c) = 0.4_f64.sin_cos();
        let grid = Grid::axis_aligned([40, 40, 40], [4.0; 3], PointLps::new(-78.0, -78.0, -78.0))?;
        // Half lengths 60, 30, 15 mm along (c, s, 0), (−s, c, 0), z, about (5, −8, 10).
        let image = Volume::from_point_fn(&grid, |p| {
            let (x, y, z) = (p.x - 5.0, p.y + 8.0, p.z - 10.0);
            let inside = (c * x + s * y).abs() < 60.0 && (c * y - s * x).abs() < 30.0 && z.abs() < 15.0;
            if inside { 300.0 } else { 20.0 }
        });
        let body = Body::find(&image, None);
        assert!(body.center.distance_mm(PointLps::new(5.0, -8.0, 10.0)) < 0.5, "{body:?}");
        for (axis, expected) in [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]].into_iter().enumerate() {
            let along: f64 = std::iter::zip(body.axes.column(axis), expected).map(|(a, b)| a * b).sum();
            assert!(along.abs() > 0.9999, "axis {axis}: {body:?}");
        }
        assert!((body.axes.determinant() - 1.0).abs() < 1e-12);
        let left = Mask::new(Volume::from_point_fn(&grid, |p| p.x < 5.0));
        assert!(Body::find(&image, Some(&left)).center.x < 0.0);
        Ok(())
    }

    #[test]
    fn a_flat_image_has_its_middle() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([4, 4, 4], [4.0; 3], PointLps::new(1.0, 2.0, 3.0))?;
        assert_eq!(Body::find(&Volume::filled(&grid, 7.0), None).center, grid.center_lps());
        Ok(())
    }
}
