//! What masks need: distances, dilation and erosion by a radius in mm, holes, connected components.
//!
//! Radii are Euclidean and in mm, so that anisotropic voxels are treated as they lie in the patient.
//! They come from an exact distance transform, which costs the same whatever the radius.
//!
//! What lies beyond the grid is unknown, so nothing enters from there: [`dilate`] sees it as outside, [`erode`] as inside.
//! A body that is cut off by the field of view is therefore not eroded at the cut.
//! [`close`] only adds, [`open`] only removes, and doing either twice changes nothing more.

mod components;
mod distance;
mod holes;

pub use components::{Components, Connectivity, connected_components, largest_component};
pub use distance::distance_to_mm;
pub use holes::{SliceAxis, fill_holes, fill_holes_per_slice, fill_holes_per_slice_along};

use ndarray::s;

use crate::{ImageError, Mask, Volume, VoxelIndex};

/// The voxels whose centre is within `radius_mm` of the centre of a voxel inside (a ball, the radius included).
///
/// # Errors
/// [`ImageError::Parameter`] if the radius is negative or not finite.
pub fn dilate(mask: &Mask, radius_mm: f64) -> Result<Mask, ImageError> {
    require_radius(radius_mm)?;
    // A radius that is a whole number of spacings must not lose its last voxel to rounding.
    let squared_mm2 = (radius_mm * radius_mm * (1.0 + 1e-5)) as f32;
    Ok(Mask::from_values(&distance::squared_distance_mm2(mask), |&distance| distance <= squared_mm2))
}

/// The voxels whose whole ball of `radius_mm` is inside, as far as it lies on the grid.
///
/// # Errors
/// [`ImageError::Parameter`] if the radius is negative or not finite.
pub fn erode(mask: &Mask, radius_mm: f64) -> Result<Mask, ImageError> {
    dilate(&mask.complement(), radius_mm).map(|outside| outside.complement())
}

/// Gaps and bays narrower than the ball are filled: dilation, then erosion.
///
/// Both happen on a grid that is larger by the radius, so that a body near the edge of the field of view is closed as
/// if there were air beyond, and nothing is filled between it and the edge.
///
/// # Errors
/// [`ImageError::Parameter`] if the radius is negative or not finite, [`ImageError::GridSize`] if the larger grid would
/// have too many voxels.
pub fn close(mask: &Mask, radius_mm: f64) -> Result<Mask, ImageError> {
    require_radius(radius_mm)?;
    // A closing stays within the box around the mask.
    let Some((start, size_ijk)) = mask.bounding_box() else { return Ok(mask.clone()) };
    let margin_ijk = mask.grid().spacing_mm().map(|spacing_mm| (radius_mm / spacing_mm) as usize + 1);
    let padded = mask.crop(start, size_ijk)?.padded(margin_ijk)?;
    let closed = erode(&dilate(&padded, radius_mm)?, radius_mm)?;
    let [mi, mj, mk] = margin_ijk;
    let closed = closed.crop(VoxelIndex::new(mi, mj, mk), size_ijk)?;
    let mut whole = Volume::filled(mask.grid(), false);
    whole
        .array_mut()
        .slice_mut(s![
            start.k..start.k + size_ijk[2],
            start.j..start.j + size_ijk[1],
            start.i..start.i + size_ijk[0]
        ])
        .assign(&closed.volume().array());
    Ok(Mask::new(whole))
}

/// [`erode`], then [`dilate`]: bridges and spurs narrower than the ball are removed.
///
/// # Errors
/// [`ImageError::Parameter`] if the radius is negative or not finite.
pub fn open(mask: &Mask, radius_mm: f64) -> Result<Mask, ImageError> {
    dilate(&erode(mask, radius_mm)?, radius_mm)
}

fn require_radius(radius_mm: f64) -> Result<(), ImageError> {
    if radius_mm.is_finite() && radius_mm >= 0.0 {
        return Ok(());
    }
    Err(ImageError::Parameter { name: "radius_mm", value: radius_mm, allowed: "finite and at least zero" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, Matrix3, PointLps};

    fn grid() -> Result<Grid, ImageError> {
        let direction = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]);
        Grid::new([17, 15, 11], [0.5, 1.0, 2.0], PointLps::new(3.0, -2.0, 9.0), direction)
    }

    /// A ragged region that reaches the edge of the grid.
    fn ragged(grid: &Grid) -> Mask {
        Mask::new(Volume::from_index_fn(grid, |VoxelIndex { i, j, k }| {
            (i * 7 + j * 3 + k * 5) % 11 < 4 && (i + 2 * j + k) % 7 > 1 || (i < 6 && j > 9)
        }))
    }

    #[test]
    fn a_dilated_voxel_is_a_ball_in_mm() -> Result<(), ImageError> {
        let grid = grid()?;
        let center = VoxelIndex::new(8, 7, 5);
        let mut seed = Volume::filled(&grid, false);
        seed[center] = true;
        for radius_mm in [0.0, 0.4, 0.5, 2.0, 3.3, 4.0] {
            let ball = dilate(&Mask::new(seed.clone()), radius_mm)?;
            let expected = Volume::from_point_fn(&grid, |point| {
                point.distance_mm(grid.point_of(center)) <= radius_mm + 1e-9
            });
            assert_eq!(ball.as_slice(), expected.as_slice(), "radius {radius_mm} mm");
        }
        Ok(())
    }

    #[test]
    fn erosion_is_dilation_of_the_outside() -> Result<(), ImageError> {
        let mask = ragged(&grid()?);
        let expected = dilate(&mask.complement(), 1.1)?.complement();
        assert_eq!(erode(&mask, 1.1)?, expected);
        assert_eq!(
            erode(&Mask::full(mask.grid()), 5.0)?,
            Mask::full(mask.grid()),
            "nothing enters from beyond"
        );
        Ok(())
    }

    #[test]
    fn closing_adds_opening_removes_and_both_do_so_once() -> Result<(), ImageError> {
        let mask = ragged(&grid()?);
        let (closed, opened) = (close(&mask, 1.2)?, open(&mask, 1.2)?);
        assert_eq!(mask.and(&closed)?, mask);
        assert_eq!(mask.or(&opened)?, mask);
        assert!(opened.count() < mask.count() && mask.count() < closed.count(), "the test must bite");
        assert_eq!(close(&closed, 1.2)?, closed);
        assert_eq!(open(&opened, 1.2)?, opened);
        Ok(())
    }

    #[test]
    fn closing_fills_nothing_between_the_region_and_the_edge() -> Result<(), ImageError> {
        let grid = grid()?;
        let cube = Mask::new(Volume::from_index_fn(&grid, |VoxelIndex { i, j, k }| {
            (2..9).contains(&i) && (1..9).contains(&j) && (1..8).contains(&k)
        }));
        assert_eq!(close(&cube, 4.0)?, cube);
        Ok(())
    }

    #[test]
    fn empty_masks_stay_empty_and_bad_radii_are_refused() -> Result<(), ImageError> {
        let empty = Mask::full(&grid()?).complement();
        assert_eq!(dilate(&empty, 100.0)?, empty);
        assert_eq!(close(&empty, 100.0)?, empty);
        for radius_mm in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(dilate(&empty, radius_mm), Err(ImageError::Parameter { .. })), "{radius_mm}");
        }
        Ok(())
    }
}
