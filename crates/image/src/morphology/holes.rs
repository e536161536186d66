//! Holes: what is outside but cannot be reached from the edge of the grid.

use rayon::prelude::*;

use crate::{Grid, Mask, Volume};

/// The storage axis that slices are counted along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SliceAxis {
    /// Slices of constant i.
    I,
    /// Slices of constant j.
    J,
    /// Slices of constant k, as they are stored.
    K,
}

impl SliceAxis {
    /// The storage axis closest to superior-inferior, whose slices are the most nearly axial ones.
    pub fn most_axial(grid: &Grid) -> Self {
        let along_z = [0, 1, 2].map(|axis| grid.direction().column(axis)[2].abs());
        let [i, j, k] = along_z;
        if k >= i && k >= j {
            Self::K
        } else if j >= i {
            Self::J
        } else {
            Self::I
        }
    }
}

/// The mask with its holes filled: outside voxels that no path over voxel faces joins to the edge of the grid.
///
/// A cavity that is cut by the edge of the grid (the airway at the neck) is no hole in three dimensions;
/// see [`fill_holes_per_slice`].
pub fn fill_holes(mask: &Mask) -> Mask {
    let size = mask.grid().size_ijk();
    let mut filled = mask.as_slice().to_vec();
    fill(&mut filled, size);
    wrap(mask.grid(), filled)
}

/// The mask with the holes of each slice of constant k filled: outside pixels that no path over pixel edges joins to
/// the edge of the slice.
pub fn fill_holes_per_slice(mask: &Mask) -> Mask {
    fill_holes_per_slice_along(mask, SliceAxis::K)
}

/// As [`fill_holes_per_slice`], for slices across any storage axis.
pub fn fill_holes_per_slice_along(mask: &Mask, axis: SliceAxis) -> Mask {
    let [ni, nj, nk] = mask.grid().size_ijk();
    let (n_slices, slice_stride) = match axis {
        SliceAxis::I => (ni, 1),
        SliceAxis::J => (nj, ni),
        SliceAxis::K => (nk, ni * nj),
    };
    // Within a slice: the number of pixels and the memory step along both of its axes.
    let ((n_columns, column_stride), (n_rows, row_stride)) = match axis {
        SliceAxis::I => ((nj, ni), (nk, ni * nj)),
        SliceAxis::J => ((ni, 1), (nk, ni * nj)),
        SliceAxis::K => ((ni, 1), (nj, ni)),
    };
    let source = mask.as_slice();
    let slices: Vec<Vec<bool>> = (0..n_slices)
        .into_par_iter()
        .map(|slice| {
            let mut pixels = Vec::with_capacity(n_columns * n_rows);
            for row in 0..n_rows {
                let start = slice * slice_stride + row * row_stride;
                pixels.extend((0..n_columns).map(|column| source[start + column * column_stride]));
            }
            fill(&mut pixels, [n_columns, n_rows, 1]);
            pixels
        })
        .collect();
    let mut filled = vec![false; source.len()];
    for (slice, pixels) in slices.iter().enumerate() {
        for (n, &inside) in pixels.iter().enumerate() {
            filled[slice * slice_stride + n / n_columns * row_stride + n % n_columns * column_stride] =
                inside;
        }
    }
    wrap(mask.grid(), filled)
}

/// Sets every voxel that face-to-face steps through unset voxels cannot reach from the edge.
///
/// An axis of one voxel has no edge: a single slice is a plane.
fn fill(values: &mut [bool], size_ijk: [usize; 3]) {
    let [ni, nj, nk] = size_ijk;
    let strides = [1, ni, ni * nj];
    let mut is_reached = vec![false; values.len()];
    let mut to_visit = Vec::new();
    for row in 0..nj * nk {
        let (j, k) = (row % nj, row / nj);
        let is_edge_row = (nj > 1 && (j == 0 || j + 1 == nj)) || (nk > 1 && (k == 0 || k + 1 == nk));
        for i in 0..ni {
            let at = row * ni + i;
            if (is_edge_row || (ni > 1 && (i == 0 || i + 1 == ni))) && !values[at] {
                is_reached[at] = true;
                to_visit.push(at);
            }
        }
    }
    while let Some(at) = to_visit.pop() {
        let index = [at % ni, at / ni % nj, at / (ni * nj)];
        for axis in 0..3 {
            let below = (index[axis] > 0).then(|| at - strides[axis]);
            let above = (index[axis] + 1 < size_ijk[axis]).then(|| at + strides[axis]);
            for next in below.into_iter().chain(above) {
                if !values[next] && !is_reached[next] {
                    is_reached[next] = true;
                    to_visit.push(next);
                }
            }
        }
    }
    for (value, reached) in std::iter::zip(values, is_reached) {
        *value = !reached;
    }
}

fn wrap(grid: &Grid, values: Vec<bool>) -> Mask {
    Mask::new(Volume::from_vec(grid.clone(), values).expect("because there is one value a voxel"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageError, Matrix3, PointLps, VoxelIndex};

    /// A box with a cavity, and a shaft from the cavity to the edge of the grid along k.
    fn bored_box() -> Result<Mask, ImageError> {
        let grid = Grid::axis_aligned([8, 9, 10], [1.0; 3], PointLps::ORIGIN)?;
        Ok(Mask::new(Volume::from_index_fn(&grid, |VoxelIndex { i, j, k }| {
            let in_box = (1..7).contains(&i) && (1..8).contains(&j) && k < 9;
            let in_cavity = (3..5).contains(&i) && (3..6).contains(&j) && (3..6).contains(&k);
            let in_shaft = i == 3 && j == 4 && k < 4;
            in_box && !in_cavity && !in_shaft
        })))
    }

    #[test]
    fn a_cavity_open_to_the_edge_is_only_filled_slice_by_slice() -> Result<(), ImageError> {
        let mask = bored_box()?;
        assert_eq!(fill_holes(&mask), mask);
        let whole = 6 * 7 * 9;
        assert_eq!(fill_holes_per_slice(&mask).count(), whole);
        // Across i, the shaft's slice is open at k = 0; the cavity's other slice is closed.
        let across_i = fill_holes_per_slice_along(&mask, SliceAxis::I);
        assert_eq!(across_i.count(), whole - 3 * 3 - 3);
        Ok(())
    }

    #[test]
    fn a_closed_cavity_is_filled() -> Result<(), ImageError> {
        let mask = bored_box()?;
        let mut volume = mask.into_volume();
        volume[VoxelIndex::new(3, 4, 0)] = true;
        let filled = fill_holes(&Mask::new(volume));
        assert_eq!(filled.count(), 6 * 7 * 9);
        Ok(())
    }

    #[test]
    fn a_single_slice_is_a_plane() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([5, 5, 1], [1.0; 3], PointLps::ORIGIN)?;
        let ring = Mask::new(Volume::from_index_fn(&grid, |VoxelIndex { i, j, .. }| {
            (1..4).contains(&i) && (1..4).contains(&j) && (i, j) != (2, 2)
        }));
        assert_eq!(fill_holes(&ring).count(), 9);
        Ok(())
    }

    #[test]
    fn the_axial_axis_follows_the_direction() -> Result<(), ImageError> {
        let sagittal = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]);
        let sagittal = Grid::new([4, 5, 6], [1.0; 3], PointLps::ORIGIN, sagittal)?;
        assert_eq!(SliceAxis::most_axial(&sagittal), SliceAxis::J);
        Ok(())
    }
}
