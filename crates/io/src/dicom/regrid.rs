//! Slices that make no grid, resampled onto one: a tilted stack upright, uneven spacing even.

use std::path::Path;

use rayon::prelude::*;
use synthct_image::{Grid, Matrix3, PointLps, VectorLps, Volume};

use super::geometry::{MAX_SHEAR, POSITION_TOLERANCE_MM, Plane};
use super::image::ImageHeader;
use super::pixels::AIR_HU;
use super::problem::SeriesProblem;
use crate::IoError;

/// A resampled volume and what was done.
pub(super) struct Regridded {
    pub(super) volume: Volume<f32>,
    pub(super) problems: Vec<SeriesProblem>,
}

/// How many times more slices than were given may be made: beyond that the spacing is no spacing but an accident.
const MAX_GROWTH: usize = 16;
/// Positions this near to the edge of what is known, in voxels, count as within.
const EDGE: f64 = 1e-6;

/// How far beyond the first or last slice still counts as on it: rounding, not extrapolation.
const BEYOND_MM: f64 = 1e-4;

/// Parallel slices with their values, one after the other in the order of their positions.
struct Stack<'a> {
    planes: Vec<Plane>,
    normal: VectorLps,
    /// The direction from position to position; the normal unless the stack leans.
    along: VectorLps,
    is_tilted: bool,
    /// Positions along the normal from the first slice, in mm.
    depths_mm: Vec<f64>,
    size_ij: [usize; 2],
    values: &'a [f32],
}

/// Resamples slices that share size, orientation and spacing, sorted along their normal.
///
/// New slices are parallel to the old ones, unless the stack leans: then they are at right angles to the line through the
/// positions (the table's way), and the grid spans all that the old ones cover. A value is interpolated linearly within the
/// two old slices next to it and along their normal between these; beyond them and beside them is air (CT) or 0 (MR).
///
/// # Errors
/// [`IoError::Unsupported`] if the grid would have far more slices than were given, [`IoError::Geometry`] if the axes make
/// no grid.
pub(super) fn regrid(path: &Path, headers: &[ImageHeader], values: &[f32]) -> Result<Regridded, IoError> {
    let mut planes = headers.iter().map(Plane::of).collect::<Result<Vec<Plane>, IoError>>()?;
    let format = headers[0].sample_format()?;
    let normal = planes[0].normal();
    let first_mm = planes[0].depth_mm(normal);
    let depths_mm: Vec<f64> = planes.iter().map(|plane| plane.depth_mm(normal) - first_mm).collect();
    let whole = planes[planes.len() - 1].position - planes[0].position;
    let sideways = whole + normal * -whole.dot(normal);
    let is_tilted = sideways.norm_mm() > MAX_SHEAR * whole.norm_mm();
    let along = if is_tilted { whole * (1.0 / whole.norm_mm()) } else { normal };
    // Positions are rounded: onto the line with them, or voxels at the edge would fall beside their slice.
    let origin = planes[0].position;
    for (plane, depth_mm) in std::iter::zip(&mut planes, &depths_mm) {
        plane.position = origin + along * (depth_mm / along.dot(normal));
    }
    let size_ij = [format.columns, format.rows];
    let stack = Stack { planes, normal, along, is_tilted, depths_mm, size_ij, values };
    let outside = if headers[0].modality == "CT" { AIR_HU as f32 } else { 0.0 };
    stack.regrid(path, &headers[0].series_uid, outside)
}

impl Stack<'_> {
    fn regrid(&self, path: &Path, series_uid: &str, outside: f32) -> Result<Regridded, IoError> {
        let first = &self.planes[0];
        let along = self.along;
        // The old in-plane axes as they are, or the nearest at right angles to the line of the positions.
        let (i_axis, j_axis, k_axis) = if self.is_tilted {
            let across = first.along_row + along * -first.along_row.dot(along);
            let i_axis = across * (1.0 / across.norm_mm());
            (i_axis, along.cross(i_axis), along)
        } else {
            (first.along_row, first.along_column, self.normal)
        };
        let (step_mm, is_even) = self.step_mm();
        let spacing_k_mm = step_mm / k_axis.dot(self.normal);
        let spacing_mm = [first.spacing_ij_mm[0], first.spacing_ij_mm[1], spacing_k_mm];
        let (origin, size_ijk) = self.extent([i_axis, j_axis, k_axis], spacing_mm);
        let n_allowed = MAX_GROWTH * self.planes.len() + 2 * self.size_ij[0].max(self.size_ij[1]);
        if size_ijk[2] > n_allowed || size_ijk[0] > 4 * self.size_ij[0] || size_ijk[1] > 4 * self.size_ij[1] {
            return Err(IoError::unsupported(
                path,
                format!(
                    "resampling series `{series_uid}` from {} to {} slices {step_mm:.3} mm apart",
                    self.planes.len(),
                    size_ijk[2]
                ),
            ));
        }
        let direction = Matrix3::from_columns(i_axis.to_array(), j_axis.to_array(), k_axis.to_array());
        let grid = Grid::new(size_ijk, spacing_mm, origin, direction).map_err(IoError::geometry(path))?;
        let mut values = vec![outside; grid.n_voxels()];
        let steps = [i_axis * spacing_mm[0], j_axis * spacing_mm[1], k_axis * spacing_mm[2]];
        values.par_chunks_exact_mut(size_ijk[0]).enumerate().for_each(|(row, line)| {
            let (j, k) = (row % size_ijk[1], row / size_ijk[1]);
            let start = origin + steps[1] * j as f64 + steps[2] * k as f64;
            for (i, value) in line.iter_mut().enumerate() {
                if let Some(interpolated) = self.value_at(start + steps[0] * i as f64) {
                    *value = interpolated as f32;
                }
            }
        });
        let mut problems = Vec::new();
        if self.is_tilted {
            let tilt_deg = along.dot(self.normal).clamp(-1.0, 1.0).acos().to_degrees();
            problems.push(SeriesProblem::TiltRemoved { tilt_deg, spacing_mm: spacing_k_mm });
        }
        if !is_even {
            let widest_mm = self.depths_mm.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            problems.push(SeriesProblem::GapsFilled { spacing_mm: step_mm, widest_mm });
        }
        let volume = Volume::from_vec(grid, values).map_err(IoError::geometry(path))?;
        Ok(Regridded { volume, problems })
    }

    /// The distance of new slices along the old normal, and whether the old ones have it throughout.
    ///
    /// The median distance if all are multiples of it, else the smallest, so that nothing that was measured is lost.
    fn step_mm(&self) -> (f64, bool) {
        let mut distances: Vec<f64> = self.depths_mm.windows(2).map(|pair| pair[1] - pair[0]).collect();
        distances.sort_by(f64::total_cmp);
        let (smallest, median) = (distances[0], distances[(distances.len() - 1) / 2]);
        let whole_mm = self.depths_mm[self.depths_mm.len() - 1];
        let multiple = |step: f64| (whole_mm / step).round().max(1.0);
        // The whole extent in equal steps: rounding of single positions does not add up.
        let step = whole_mm / multiple(median);
        let is_multiple =
            |&depth_mm: &f64| (depth_mm - (depth_mm / step).round() * step).abs() <= POSITION_TOLERANCE_MM;
        if self.depths_mm.iter().all(is_multiple) {
            (step, multiple(median) as usize + 1 == self.depths_mm.len())
        } else {
            (smallest, false)
        }
    }

    /// The first voxel and the size of the smallest grid along these axes that covers all slices.
    fn extent(&self, axes: [VectorLps; 3], spacing_mm: [f64; 3]) -> (PointLps, [usize; 3]) {
        let first = &self.planes[0];
        let far = [0, 1].map(|axis| (self.size_ij[axis] - 1) as f64 * first.spacing_ij_mm[axis]);
        let (mut least, mut largest) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
        for plane in &self.planes {
            for corner in 0..4 {
                let point = plane.position
                    + plane.along_row * (far[0] * f64::from(corner & 1))
                    + plane.along_column * (far[1] * f64::from(corner >> 1));
                for axis in 0..3 {
                    let at = (point - first.position).dot(axes[axis]);
                    least[axis] = least[axis].min(at);
                    largest[axis] = largest[axis].max(at);
                }
            }
        }
        let origin = first.position + axes[0] * least[0] + axes[1] * least[1] + axes[2] * least[2];
        // A sliver of less than a tenth of a voxel is not worth a further slice.
        let size =
            |axis: usize| ((largest[axis] - least[axis]) / spacing_mm[axis] + 0.9).floor() as usize + 1;
        (origin, [size(0), size(1), size(2)])
    }

    /// The value at a point, or none beyond and beside the slices.
    fn value_at(&self, point: PointLps) -> Option<f64> {
        let depth_mm = (point - self.planes[0].position).dot(self.normal);
        // The last slice that is not above the point.
        let upper = self.depths_mm.partition_point(|&slice_mm| slice_mm <= depth_mm);
        let lower = upper.saturating_sub(1);
        let upper = upper.min(self.depths_mm.len() - 1);
        let step_mm = self.depths_mm[upper] - self.depths_mm[lower];
        let within_mm = depth_mm - self.depths_mm[lower];
        if step_mm <= 0.0 {
            return (within_mm.abs() <= BEYOND_MM).then(|| self.value_in(lower, point))?;
        }
        let weight = within_mm / step_mm;
        // Where a new slice is an old one there is nothing to interpolate.
        if weight < EDGE {
            return self.value_in(lower, point);
        }
        if weight > 1.0 - EDGE {
            return self.value_in(upper, point);
        }
        let (below, above) = (self.value_in(lower, point)?, self.value_in(upper, point)?);
        Some(below + weight * (above - below))
    }

    /// The value where a point falls onto a slice along the normal, or none beside it.
    fn value_in(&self, slice: usize, point: PointLps) -> Option<f64> {
        let plane = &self.planes[slice];
        let from_first = point - plane.position;
        let at = [from_first.dot(plane.along_row), from_first.dot(plane.along_column)];
        let [ni, nj] = self.size_ij;
        let [(i, u), (j, v)] =
            [neighbor(at[0] / plane.spacing_ij_mm[0], ni)?, neighbor(at[1] / plane.spacing_ij_mm[1], nj)?];
        let values = &self.values[slice * ni * nj..][..ni * nj];
        let value = |i: usize, j: usize| f64::from(values[j * ni + i]);
        let line =
            |j: usize| if u == 0.0 { value(i, j) } else { value(i, j) * (1.0 - u) + value(i + 1, j) * u };
        Some(if v == 0.0 { line(j) } else { line(j) * (1.0 - v) + line(j + 1) * v })
    }
}

/// The voxel below a position along an axis of `n` voxels, and how far the position is from it; none beside the axis.
fn neighbor(position: f64, n: usize) -> Option<(usize, f64)> {
    let nearest = position.round();
    let position = if (position - nearest).abs() < EDGE { nearest } else { position };
    if !(0.0..=(n - 1) as f64).contains(&position) {
        return None;
    }
    Some((position as usize, position.fract()))
}
