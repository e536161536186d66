//! Values on another grid.

mod bspline;
mod index_map;

use rayon::prelude::*;

use crate::{Grid, ImageError, LabelMap, Mask, Transform, Volume};
use bspline::BSplineCoefficients;
use index_map::IndexMap;

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
            let linear = Linear { values: volume.as_slice(), size_ijk: volume.grid().size_ijk() };
            Ok(sample_at_centers(volume, target, moving_from_fixed, outside, |index| linear.at(index)))
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
            Ok(sample_at_centers(volume, target, moving_from_fixed, outside, |index| spline.at(index)))
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
    let size = volume.grid().size_ijk();
    let values = volume.as_slice();
    sample_at_centers(volume, target, moving_from_fixed, outside, |index| {
        let [i, j, k] =
            [0, 1, 2].map(|axis| ((index[axis] + 0.5 + EDGE).max(0.0) as usize).min(size[axis] - 1));
        values[(k * size[1] + j) * size[0] + i]
    })
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

/// Positions that should lie on an outer face, or halfway between voxels, are off by rounding errors; this much of a
/// voxel makes them all fall on the same side.
const EDGE: f64 = 1e-9;

/// A value for each voxel of `target`: `sample` at the position in the volume, if that is inside.
fn sample_at_centers<T: Copy + Send + Sync>(
    volume: &Volume<T>,
    target: &Grid,
    moving_from_fixed: Option<&Transform>,
    outside: T,
    sample: impl Fn([f64; 3]) -> T + Sync,
) -> Volume<T> {
    let size = volume.grid().size_ijk();
    let upper = size.map(|n| n as f64 - 0.5 - EDGE);
    let sample_if_inside = |index: [f64; 3]| {
        // NaN compares false and so is outside.
        let is_inside = (0..3).all(|axis| index[axis] >= -0.5 - EDGE && index[axis] < upper[axis]);
        if is_inside { sample(index) } else { outside }
    };
    let [ni, nj, _] = target.size_ijk();
    let mut result = Volume::filled(target, outside);
    let map = IndexMap::new(volume.grid(), target, moving_from_fixed);
    result.as_mut_slice().par_chunks_mut(ni).enumerate().for_each(|(row, values)| {
        let (j, k) = (row % nj, row / nj);
        match &map {
            IndexMap::Copy { matrix, offset } => {
                let start = [0, 1, 2]
                    .map(|axis| matrix[axis][1] * j as i64 + matrix[axis][2] * k as i64 + offset[axis]);
                let source = volume.as_slice();
                for (i, value) in values.iter_mut().enumerate() {
                    let index = [0, 1, 2].map(|axis| start[axis] + matrix[axis][0] * i as i64);
                    if (0..3).all(|axis| (0..size[axis] as i64).contains(&index[axis])) {
                        let [i, j, k] = index.map(|n| n as usize);
                        *value = source[(k * size[1] + j) * size[0] + i];
                    }
                }
            }
            IndexMap::Affine { matrix, offset } => {
                let start = matrix.apply([0.0, j as f64, k as f64]);
                let start = [0, 1, 2].map(|axis| start[axis] + offset[axis]);
                let step = matrix.column(0);
                for (i, value) in values.iter_mut().enumerate() {
                    // A product, not a running sum: rounding errors must not grow along the row.
                    *value = sample_if_inside([0, 1, 2].map(|axis| start[axis] + step[axis] * i as f64));
                }
            }
            IndexMap::Any { transform, lps_from_target_index, target_origin, index_from_lps, origin } => {
                for (i, value) in values.iter_mut().enumerate() {
                    let step = lps_from_target_index.apply([i as f64, j as f64, k as f64]);
                    let point = transform.apply(*target_origin + step.into());
                    *value = sample_if_inside(index_from_lps.apply((point - *origin).to_array()));
                }
            }
        }
    });
    result
}

/// Trilinear interpolation, in 64-bit arithmetic, holding the outermost values.
struct Linear<'a> {
    values: &'a [f32],
    size_ijk: [usize; 3],
}

impl Linear<'_> {
    #[inline]
    fn at(&self, index: [f64; 3]) -> f32 {
        // Lower neighbour, step to the upper neighbour, and the upper neighbour's weight. At a voxel centre there is no
        // step, so that a NaN with weight zero is not read.
        let [(i, di, ti), (j, dj, tj), (k, dk, tk)] = [0, 1, 2].map(|axis| {
            let position = index[axis].clamp(0.0, (self.size_ijk[axis] - 1) as f64);
            let lower = position as usize;
            let weight = position - lower as f64;
            (lower, usize::from(weight > 0.0), weight)
        });
        let [ni, nj, _] = self.size_ijk;
        let first = (k * nj + j) * ni + i;
        let along_i = |at: usize| {
            let (a, b) = (f64::from(self.values[at]), f64::from(self.values[at + di]));
            a + ti * (b - a)
        };
        let along_j = |at: usize| {
            let (a, b) = (along_i(at), along_i(at + dj * ni));
            a + tj * (b - a)
        };
        let (a, b) = (along_j(first), along_j(first + dk * nj * ni));
        (a + tk * (b - a)) as f32
    }
}
