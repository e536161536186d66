//! The grid that a dose is computed on.

use synthct_image::{Grid, ImageError, Mask, PointLps, VoxelIndex};

use crate::DoseError;

/// A grid along patient axes that covers a body and a margin, with cubic voxels.
///
/// It depends on the body alone, so that a CT and a synthetic CT that share a body get the same grid.
///
/// # Errors
/// [`DoseError::Target`] for an empty body, [`DoseError::Image`] for a spacing or a size that no grid can have.
pub fn dose_grid(body: &Mask, spacing_mm: f64, margin_mm: f64) -> Result<Grid, DoseError> {
    let Some((first, size)) = body.bounding_box() else {
        return Err(DoseError::Target { problem: "has no body around it: the body mask is empty" });
    };
    let corner = |at: usize| {
        let pick =
            |axis: usize, first: usize| if at >> axis & 1 == 1 { first + size[axis] - 1 } else { first };
        body.grid().point_of(VoxelIndex::new(pick(0, first.i), pick(1, first.j), pick(2, first.k)))
    };
    let corners: Vec<[f64; 3]> = (0..8).map(|at| corner(at).to_array()).collect();
    let start =
        [0, 1, 2].map(|axis| corners.iter().map(|c| c[axis]).fold(f64::INFINITY, f64::min) - margin_mm);
    let end =
        [0, 1, 2].map(|axis| corners.iter().map(|c| c[axis]).fold(f64::NEG_INFINITY, f64::max) + margin_mm);
    if !(spacing_mm.is_finite() && spacing_mm > 0.0) {
        return Err(DoseError::Image(ImageError::GridSpacing { spacing_mm: [spacing_mm; 3] }));
    }
    let size = [0, 1, 2].map(|axis| ((end[axis] - start[axis]) / spacing_mm).ceil() as usize + 1);
    Ok(Grid::axis_aligned(size, [spacing_mm; 3], PointLps::from(start))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Matrix3, Volume};

    #[test]
    fn an_oblique_body_is_covered() -> Result<(), DoseError> {
        let (s, c) = 0.4_f64.sin_cos();
        let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        let grid = Grid::new([20, 30, 10], [2.0, 3.0, 4.0], PointLps::new(5.0, -7.0, 11.0), direction)?;
        let body = Mask::new(Volume::from_index_fn(&grid, |at| at.i > 3 && at.j > 10 && at.k < 7));
        let dose = dose_grid(&body, 2.5, 20.0)?;
        let inside = |point: PointLps| {
            let at = dose.index_from_lps(point);
            std::iter::zip([at.i, at.j, at.k], dose.size_ijk())
                .all(|(at, n)| at >= 7.9 && at <= n as f64 - 8.9 + 0.1)
        };
        for (i, j, k) in [(4, 11, 0), (19, 11, 0), (4, 29, 6), (19, 29, 6)] {
            assert!(inside(grid.point_of(VoxelIndex::new(i, j, k))), "{i}, {j}, {k}");
        }
        assert!(matches!(
            dose_grid(&body.and(&body.complement())?, 2.5, 20.0),
            Err(DoseError::Target { .. })
        ));
        assert!(matches!(dose_grid(&body, 0.0, 20.0), Err(DoseError::Image(_))));
        Ok(())
    }
}
