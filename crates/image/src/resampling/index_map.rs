//! From target voxel to position in the volume, in the cheapest form that is exact.

use super::point_map::PointMap;
use crate::{AffineTransform, Grid, Matrix3, Transform, VectorLps};

/// Where in the volume the centre of a target voxel lies.
pub(super) enum IndexMap<'a> {
    /// At a voxel centre, always: index = matrix · target index + offset.
    Copy { matrix: [[i64; 3]; 3], offset: [i64; 3] },
    /// index = matrix · target index + offset.
    Affine { matrix: Matrix3, offset: [f64; 3] },
    /// Through patient space, point by point.
    Any(Box<PointMap<'a>>),
}

impl<'a> IndexMap<'a> {
    /// How far from a voxel centre, in voxels, a position may be and still count as that centre.
    const COPY_TOLERANCE: f64 = 1e-4;
    /// Offsets beyond this many voxels are outside any grid, and integer arithmetic might overflow.
    const FARTHEST: f64 = 1e12;

    pub(super) fn new(volume: &Grid, target: &Grid, moving_from_fixed: Option<&'a Transform>) -> Self {
        let affine = match moving_from_fixed {
            None => AffineTransform::IDENTITY,
            Some(transform) => match transform.as_affine() {
                Some(affine) => affine,
                None => {
                    return Self::Any(Box::new(PointMap::new(volume, target, transform)));
                }
            },
        };
        let index_from_lps = volume.index_from_lps_matrix();
        let matrix = index_from_lps * *affine.matrix() * target.lps_from_index_matrix();
        let first: VectorLps = affine.apply(target.origin_lps()) - volume.origin_lps();
        let offset = index_from_lps.apply(first.to_array());
        let size = target.size_ijk();
        let is_copy = (0..3).all(|axis| {
            let off_at_last: f64 = (0..3)
                .map(|c| (matrix.0[axis][c] - matrix.0[axis][c].round()).abs() * (size[c] - 1) as f64)
                .sum();
            offset[axis].abs() < Self::FARTHEST
                && (0..3).all(|c| matrix.0[axis][c].abs() * (size[c] as f64) < Self::FARTHEST)
                && off_at_last + (offset[axis] - offset[axis].round()).abs() < Self::COPY_TOLERANCE
        });
        if is_copy {
            Self::Copy {
                matrix: matrix.0.map(|row| row.map(|entry| entry.round() as i64)),
                offset: offset.map(|entry| entry.round() as i64),
            }
        } else {
            Self::Affine { matrix, offset }
        }
    }
}
