//! Values on another grid.

mod bspline;
mod index_map;
mod neighbors;
mod point_map;
mod rows;

use crate::{Grid, ImageError, LabelMap, Mask, Transform, Volume};
use bspline::BSplineCoefficients;
use index_map::IndexMap;
use neighbors::{Linear, Nearest, Voxels};
use rows::sample_at_centers;

/// How a value between voxels is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The value of the nearest voxel; halfway between two, the one with the larger index.
    Nearest,
    /// Trilinear.
    Linear,
    /// Cubic B-spline through the voxel values, mirrored about the outermost voxel centres (`… c b | a b c …`).
    ///
    /// It overshoots beside sharp edges, so values outside the range of the input occur.
    CubicBSpline,
}

/// A volume's values at the voxel centres of another grid.
///
/// `moving_from_fixed` takes a point of `target` (fixed) to the point of `volume` (moving) whose value belongs there;
/// without it the two share the world frame.
///
/// Rules, which are those of ITK's `ResampleImageFilter`:
/// - A point is inside the volume if its index is in [−0.5, n − 0.5) on every axis, which is the box of the voxels'
///   outer faces; elsewhere the value is `outside`.
/// - In the half voxel between the outermost centres and the faces, linear interpolation holds the outermost value and
///   the cubic B-spline continues into its mirror image.
/// - Nothing is averaged: onto a much coarser grid, smooth first ([`gaussian_smooth`](crate::gaussian_smooth)).
///
/// Beyond ITK: where all target centres are voxel centres of the volume (to 1e-4 voxel, so that directions stored as
/// 32-bit floats qualify), values are copied bit by bit, whatever the interpolation.
///
/// NaN and infinity are data: nearest copies them, linear makes every value not finite that gives such a voxel a
/// weight above zero.
/// The cubic B-spline refuses them, because its prefilter would carry one such voxel through the whole volume.
///
/// The result does not depend on the number of threads.
///
/// # Errors
/// [`ImageError::NotFinite`] from the cubic B-spline.
///
/// # References
/// Unser, Aldroubi, Eden (1993), doi:10.1109/78.193221, for the B-spline prefilter.
///
/// # Examples
/// ```
/// use synthct_image::{Grid, Interpolation, PointLps, Volume, VoxelIndex, resample};
/// let grid = Grid::axis_aligned([3, 4, 5], [1.0, 2.0, 4.0], PointLps::ORIGIN)?;
/// let height_mm = Volume::from_point_fn(&grid, |point| point.z as f32);
/// let finer = Grid::axis_aligned([3, 4, 9], [1.0, 2.0, 2.0], PointLps::ORIGIN)?;
/// let resampled = resample(&height_mm, &finer, None, Interpolation::Linear, f32::NAN)?;
/// assert_eq!(resampled[VoxelIndex::new(2, 3, 5)], 10.0);
/// # Ok::<(), synthct_image::ImageError>(())
/// ```
pub fn resample(
    volume: &Volume<f32>,
    target: &Grid,
    moving_from_fixed: Option<&Transform>,
    interpolation: Interpolation,
    outside: f32,
) -> Result<Volume<f32>, ImageError> {
    match interpolation {
        Interpolation::Nearest => Ok(resample_nearest(volume, target, moving_from_fixed, outside)),
        Interpolation::Linear => {
            let linear = Linear(Voxels { values: volume.as_slice(), size_ijk: volume.grid().size_ijk() });
            Ok(sample_at_centers(volume, &linear, target, moving_from_fixed, outside))
        }
        Interpolation::CubicBSpline => {
            let map = IndexMap::new(volume.grid(), target, moving_from_fixed);
            if let Some((index_kji, value)) =
                volume.array().indexed_iter().find(|(_, value)| !value.is_finite())
            {
                return Err(ImageError::NotFinite {
                    what: "cubic B-spline interpolation",
                    index_kji: index_kji.into(),
                    value: f64::from(*value),
                });
            }
            if matches!(map, IndexMap::Copy { .. }) {
                return Ok(resample_nearest(volume, target, moving_from_fixed, outside));
            }
            let spline = BSplineCoefficients::new(volume);
            Ok(sample_at_centers(volume, &spline, target, moving_from_fixed, outside))
        }
    }
}

/// The values of the nearest voxels, for values of any type; the rules are those of [`resample`](fn@resample).
pub fn resample_nearest<T: Copy + Send + Sync>(
    volume: &Volume<T>,
    target: &Grid,
    moving_from_fixed: Option<&Transform>,
    outside: T,
) -> Volume<T> {
    let nearest = Nearest(Voxels { values: volume.as_slice(), size_ijk: volume.grid().size_ijk() });
    sample_at_centers(volume, &nearest, target, moving_from_fixed, outside)
}

impl Mask {
    /// The region on another grid, by nearest neighbour; what the mask's grid does not cover is outside.
    ///
    /// `moving_from_fixed` takes a point of `target` to a point of the mask; see [`resample`](fn@resample).
    ///
    /// # Errors
    /// None at present.
    pub fn resampled(
        &self,
        target: &Grid,
        moving_from_fixed: Option<&Transform>,
    ) -> Result<Self, ImageError> {
        Ok(Self::new(resample_nearest(self.volume(), target, moving_from_fixed, false)))
    }
}

impl LabelMap {
    /// The labels on another grid, by nearest neighbour; what the map's grid does not cover is background (0).
    ///
    /// `moving_from_fixed` takes a point of `target` to a point of the label map; see [`resample`](fn@resample).
    ///
    /// # Errors
    /// None at present.
    pub fn resampled(
        &self,
        target: &Grid,
        moving_from_fixed: Option<&Transform>,
    ) -> Result<Self, ImageError> {
        Ok(Self::new(resample_nearest(self.volume(), target, moving_from_fixed, 0)))
    }
}
