//! A dose between its voxel centres.

use synthct_image::{Grid, PointLps, Volume};

/// A dose, interpolated trilinearly between voxel centres and undefined outside them.
pub(super) struct EvaluatedDose<'a> {
    values: &'a [f32],
    grid: &'a Grid,
    size: [usize; 3],
    pub(super) spacing_mm: [f64; 3],
}

impl<'a> EvaluatedDose<'a> {
    pub(super) fn new(dose: &'a Volume<f32>) -> Self {
        let grid = dose.grid();
        Self { values: dose.as_slice(), grid, size: grid.size_ijk(), spacing_mm: grid.spacing_mm() }
    }

    /// A point in voxels. A position that differs from a voxel centre by rounding alone is that centre, so that equal
    /// grids are compared at the voxels themselves.
    pub(super) fn index_of(&self, point: PointLps) -> [f64; 3] {
        const ROUNDING: f64 = 1e-6;
        let index = self.grid.index_from_lps(point);
        [index.i, index.j, index.k].map(|x| if (x - x.round()).abs() < ROUNDING { x.round() } else { x })
    }

    /// Whether a position lies between the outermost voxel centres.
    pub(super) fn covers(&self, at: [f64; 3]) -> bool {
        // Room for what rounding adds to an offset of a voxel centre.
        const EDGE: f64 = 1e-9;
        std::iter::zip(at, self.size).all(|(x, n)| x >= -EDGE && x <= (n - 1) as f64 + EDGE)
    }

    /// The dose at a position in voxels, none outside.
    pub(super) fn at(&self, at: [f64; 3]) -> Option<f64> {
        if !self.covers(at) {
            return None;
        }
        let cell = [0, 1, 2].map(|axis| (at[axis].max(0.0) as usize).min(self.n_cells(axis) - 1));
        let corners = self.corners(cell);
        let [u, v, w] = [0, 1, 2].map(|axis| (at[axis] - cell[axis] as f64).clamp(0.0, 1.0));
        let mix = |a: f64, b: f64, t: f64| if t == 0.0 { a } else { a + (b - a) * t };
        let rows = [0, 2, 4, 6].map(|first| mix(corners[first], corners[first + 1], u));
        Some(mix(mix(rows[0], rows[1], v), mix(rows[2], rows[3], v), w))
    }

    /// The number of boxes between voxel centres along an axis; of a single voxel, one of no width.
    pub(super) fn n_cells(&self, axis: usize) -> usize {
        self.size[axis].max(2) - 1
    }

    /// The width of a box in voxels: 0 along an axis of a single voxel.
    pub(super) fn cell_width(&self, axis: usize) -> f64 {
        if self.size[axis] > 1 { 1.0 } else { 0.0 }
    }

    /// The doses at the corners of a box, i fastest.
    pub(super) fn corners(&self, cell: [usize; 3]) -> [f64; 8] {
        let [ni, nj, nk] = self.size;
        let [i, j, k] = cell;
        let next_i = usize::from(ni > 1);
        let next_j = if nj > 1 { ni } else { 0 };
        let next_k = if nk > 1 { ni * nj } else { 0 };
        let first = (k * nj + j) * ni + i;
        let at = |offset: usize| f64::from(self.values[first + offset]);
        [
            at(0),
            at(next_i),
            at(next_j),
            at(next_j + next_i),
            at(next_k),
            at(next_k + next_i),
            at(next_k + next_j),
            at(next_k + next_j + next_i),
        ]
    }
}
