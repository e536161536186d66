//! B-spline displacements along the rows of a grid that has the lattice's axes.

use super::bspline::at;
use super::{BSplineTransform, SplineAxis};
use crate::Grid;

/// The displacements of a transform at the voxels of a grid, for which weights are a matter of one axis each.
pub(crate) struct BSplineRows<'a> {
    spline: &'a BSplineTransform,
    axes: [SplineAxis; 3],
}

impl<'a> BSplineRows<'a> {
    /// None if the axes of `grid` are not those of the lattice.
    pub(crate) fn new(spline: &'a BSplineTransform, grid: &Grid) -> Option<Self> {
        spline.axes_on(grid).map(|axes| Self { spline, axes })
    }

    /// The lattice's lines j, weighted for slice `k` of the grid.
    pub(crate) fn plane(&self, k: usize) -> Vec<[f64; 3]> {
        let axis = &self.axes[2];
        self.spline.plane(axis.first[k], axis.weights[k])
    }

    /// Moves the voxel centres of row `j` by their displacements.
    pub(crate) fn displace(&self, plane: &[[f64; 3]], j: usize, points: &mut [[f64; 3]]) {
        let [along_i, along_j, _] = &self.axes;
        let line = self.spline.line(plane, along_j.first[j], along_j.weights[j]);
        for (i, point) in points.iter_mut().enumerate() {
            let displacement = at(&line, along_i.first[i], along_i.weights[i]);
            for (coordinate, change) in std::iter::zip(point, displacement) {
                *coordinate += change;
            }
        }
    }
}
