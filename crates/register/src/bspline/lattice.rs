//! The lattice of control points over an image, and the way between it and the image's voxels.

use std::borrow::Cow;

use rayon::prelude::*;
use synthct_image::{BSplineTransform, ContinuousIndex, Grid, ImageError, Volume, VoxelIndex};

/// Coefficients of three components, and a fourth that is always zero: four lanes of one vector register.
pub(super) type Lanes = [f32; 4];

/// The layers of control points along each face that stay zero, so that the map is continuous everywhere.
const FROZEN_LAYERS: usize = 3;
/// How far the splines reach beyond the image, in control spacings: enough that all voxels can move.
const MARGIN: f64 = 2.0;

/// The lattice with a control point every `spacing_mm`, one of them at the middle of `image`, that covers the image and a
/// margin around it. Of two such lattices, the one with twice the spacing has every second control point of the other.
///
/// # Errors
/// [`ImageError::GridSize`] if the lattice would be too large.
pub(super) fn lattice_over(image: &Grid, spacing_mm: f64) -> Result<Grid, ImageError> {
    let (size, own) = (image.size_ijk(), image.spacing_mm());
    let n_to_face = [0, 1, 2].map(|axis| (0.5 * size[axis] as f64 * own[axis] / spacing_mm).ceil() + MARGIN);
    let [i, j, k] = [0, 1, 2].map(|axis| {
        // One control point more, because splines reach from the second to the last but one.
        0.5 * (size[axis] - 1) as f64 - (n_to_face[axis] + 1.0) * spacing_mm / own[axis]
    });
    Grid::new(
        n_to_face.map(|n| 2 * n as usize + 3),
        [spacing_mm; 3],
        image.lps_from_index(ContinuousIndex::new(i, j, k)),
        *image.direction(),
    )
}

/// The coefficients (x, y, z of each control point in turn) on `lattice` of a map on the same lattice, or on one of two,
/// four, … times the spacing that [`lattice_over`] made for the same image. Beyond the reach of the other, they are zero.
///
/// # Errors
/// [`ImageError::GridSize`] if a lattice in between would be too large.
pub(super) fn carried_over(coarse: &BSplineTransform, lattice: &Grid) -> Result<Vec<f64>, ImageError> {
    let mut spline = Cow::Borrowed(coarse);
    while spline.grid().spacing_mm()[0] > 1.5 * lattice.spacing_mm()[0] {
        spline = Cow::Owned(spline.refined()?);
    }
    let offset = spline.grid().index_from_lps(lattice.origin_lps());
    let offset = [offset.i, offset.j, offset.k].map(|steps| steps.round() as i64);
    let vectors = Volume::from_index_fn(lattice, |VoxelIndex { i, j, k }| {
        let [i, j, k] = [(i, offset[0]), (j, offset[1]), (k, offset[2])]
            .map(|(n, offset)| usize::try_from(n as i64 + offset));
        match (i, j, k) {
            (Ok(i), Ok(j), Ok(k)) => {
                spline.control_points().get(VoxelIndex::new(i, j, k)).copied().unwrap_or([0.0; 3])
            }
            _ => [0.0; 3],
        }
    });
    Ok(vectors.as_slice().as_flattened().to_vec())
}

/// Whether each control point of a lattice may move: all but those of the outermost layers.
pub(super) fn free_controls(lattice: &Grid) -> Vec<bool> {
    let [ni, nj, nk] = lattice.size_ijk();
    let is_inner = |at: usize, n: usize| at >= FROZEN_LAYERS && at + FROZEN_LAYERS < n;
    (0..ni * nj * nk)
        .map(|n| is_inner(n % ni, ni) && is_inner(n / ni % nj, nj) && is_inner(n / (ni * nj), nk))
        .collect()
}

/// Zero for the components (x, y, z of each control point in turn) of control points that may not move.
pub(super) fn freeze(components: &mut [f64], is_free: &[bool]) {
    for (vector, is_free) in std::iter::zip(components.chunks_exact_mut(3), is_free) {
        if !is_free {
            vector.fill(0.0);
        }
    }
}

/// One axis of an image in a lattice: for each voxel, its four control points and their weights.
struct Axis {
    first: Vec<usize>,
    weights: Vec<Lanes>,
}

/// A lattice seen from the voxels of an image with the same axes.
pub(super) struct LatticeOnImage {
    size: [usize; 3],
    axes: [Axis; 3],
}

/// Buffers for one slice of the image.
pub(super) struct SliceScratch {
    plane: Vec<Lanes>,
    line: Vec<Lanes>,
    forces: Vec<Lanes>,
}

impl LatticeOnImage {
    /// The view of `lattice`, which [`lattice_over`] made for an image with the axes of `image`.
    pub(super) fn new(lattice: &Grid, image: &Grid) -> Result<Self, ImageError> {
        let spline = BSplineTransform::new(Volume::filled(lattice, [0.0; 3]))?;
        let axes = spline.axes_on(image).expect("because levels of an image share its axes");
        Ok(Self {
            size: lattice.size_ijk(),
            axes: axes.map(|axis| Axis {
                first: axis.first,
                weights: axis.weights.iter().map(|weights| weights.map(|weight| weight as f32)).collect(),
            }),
        })
    }

    pub(super) fn n_controls(&self) -> usize {
        self.size.iter().product()
    }

    /// Buffers for [`LatticeOnImage::start_slice`].
    pub(super) fn scratch(&self) -> SliceScratch {
        let [ni, nj, _] = self.size;
        let zero = [0.0; 4];
        SliceScratch { plane: vec![zero; ni * nj], line: vec![zero; ni], forces: vec![zero; ni * nj] }
    }

    /// The coefficients that reach slice `k`, weighted for it.
    pub(super) fn start_slice(&self, k: usize, coefficients: &[Lanes], scratch: &mut SliceScratch) {
        let stride = self.size[0] * self.size[1];
        let from = &coefficients[self.axes[2].first[k] * stride..];
        scratch.plane.fill([0.0; 4]);
        for (plane, weight) in std::iter::zip(from.chunks_exact(stride), self.axes[2].weights[k]) {
            add_scaled(&mut scratch.plane, plane, weight);
        }
    }

    /// The displacements of the voxels `from..from + out.len()` of row `j`.
    pub(super) fn row(&self, j: usize, from: usize, scratch: &mut SliceScratch, out: &mut [Lanes]) {
        let ni = self.size[0];
        let lines = &scratch.plane[self.axes[1].first[j] * ni..];
        scratch.line.fill([0.0; 4]);
        for (line, weight) in std::iter::zip(lines.chunks_exact(ni), self.axes[1].weights[j]) {
            add_scaled(&mut scratch.line, line, weight);
        }
        let along = std::iter::zip(&self.axes[0].first[from..], &self.axes[0].weights[from..]);
        for (value, (&first, weights)) in std::iter::zip(out, along) {
            let mut sum = [0.0; 4];
            for (control, &weight) in std::iter::zip(&scratch.line[first..first + 4], weights) {
                for lane in 0..4 {
                    sum[lane] += weight * control[lane];
                }
            }
            *value = sum;
        }
    }

    /// Adds the forces on the voxels `from..from + forces.len()` of row `j` to those of the slice's control points.
    pub(super) fn add_row_forces(&self, j: usize, from: usize, forces: &[Lanes], scratch: &mut SliceScratch) {
        let ni = self.size[0];
        scratch.line.fill([0.0; 4]);
        let along = std::iter::zip(&self.axes[0].first[from..], &self.axes[0].weights[from..]);
        for (force, (&first, weights)) in std::iter::zip(forces, along) {
            for (control, &weight) in std::iter::zip(&mut scratch.line[first..first + 4], weights) {
                for lane in 0..4 {
                    control[lane] += weight * force[lane];
                }
            }
        }
        let lines = &mut scratch.forces[self.axes[1].first[j] * ni..];
        for (line, weight) in std::iter::zip(lines.chunks_exact_mut(ni), self.axes[1].weights[j]) {
            add_scaled(line, &scratch.line, weight);
        }
    }

    /// The sum of the slices' forces on every control point, in the order of the slices.
    ///
    /// `slices` holds the forces of each slice's plane of control points, one after the other.
    pub(super) fn gathered(&self, slices: &[Lanes]) -> Vec<[f64; 4]> {
        let stride = self.size[0] * self.size[1];
        let mut sums = vec![[0.0; 4]; self.n_controls()];
        sums.par_chunks_mut(stride).enumerate().for_each(|(control_k, plane)| {
            for (k, forces) in slices.chunks_exact(stride).enumerate() {
                let Some(step) = control_k.checked_sub(self.axes[2].first[k]).filter(|&step| step < 4) else {
                    continue;
                };
                let weight = f64::from(self.axes[2].weights[k][step]);
                for (sum, force) in std::iter::zip(plane.iter_mut(), forces) {
                    for lane in 0..4 {
                        sum[lane] += weight * f64::from(force[lane]);
                    }
                }
            }
        });
        sums
    }

    /// The number of control points in a plane: the length of a slice's forces.
    pub(super) fn plane_len(&self) -> usize {
        self.size[0] * self.size[1]
    }
}

impl SliceScratch {
    /// Forgets the forces of the slice before.
    pub(super) fn clear_forces(&mut self) {
        self.forces.fill([0.0; 4]);
    }

    /// The forces on the slice's plane of control points.
    pub(super) fn forces(&self) -> &[Lanes] {
        &self.forces
    }
}

#[inline]
fn add_scaled(sums: &mut [Lanes], values: &[Lanes], weight: f32) {
    for (sum, value) in std::iter::zip(sums, values) {
        for lane in 0..4 {
            sum[lane] += weight * value[lane];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Matrix3, PointLps};

    fn image() -> Result<Grid, ImageError> {
        let direction = Matrix3([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
        Grid::new([13, 9, 7], [2.0, 3.0, 4.0], PointLps::new(5.0, -7.0, 30.0), direction)
    }

    /// Coefficients without any pattern.
    fn spline_on(lattice: &Grid) -> Result<BSplineTransform, ImageError> {
        let is_free = free_controls(lattice);
        let mut components: Vec<f64> =
            (0..3 * lattice.n_voxels()).map(|n| (1.7 * (n * n % 101) as f64).sin()).collect();
        freeze(&mut components, &is_free);
        let (vectors, _) = components.as_chunks::<3>();
        BSplineTransform::new(Volume::from_vec(lattice.clone(), vectors.to_vec())?)
    }

    #[test]
    fn every_voxel_can_move_and_the_lattice_ends_in_zero() -> Result<(), ImageError> {
        let image = image()?;
        for spacing_mm in [5.0, 8.5, 40.0, 300.0] {
            let lattice = lattice_over(&image, spacing_mm)?;
            let mut ones = vec![1.0; 3 * lattice.n_voxels()];
            freeze(&mut ones, &free_controls(&lattice));
            let (vectors, _) = ones.as_chunks::<3>();
            let spline = BSplineTransform::new(Volume::from_vec(lattice.clone(), vectors.to_vec())?)?;
            for corner in image.corner_points() {
                let moved = spline.displacement_at(corner).to_array();
                assert!(moved.iter().all(|&part| part > 0.1), "{spacing_mm} mm: {moved:?} at {corner:?}");
            }
            // On the faces of what the splines reach.
            for (axis, n) in lattice.size_ijk().into_iter().enumerate() {
                for at in [1.0, n as f64 - 2.0] {
                    let mut index = lattice.size_ijk().map(|n| (n - 1) as f64 / 2.0 + 0.3);
                    index[axis] = at;
                    let point = lattice.lps_from_index(ContinuousIndex::new(index[0], index[1], index[2]));
                    assert!(spline.displacement_at(point).norm_mm() < 1e-9, "{spacing_mm} mm, axis {axis}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_map_carried_over_stays_itself_in_the_image() -> Result<(), ImageError> {
        let image = image()?;
        let coarse = spline_on(&lattice_over(&image, 24.0)?)?;
        for fine_mm in [24.0, 12.0, 6.0] {
            let lattice = lattice_over(&image, fine_mm)?;
            let carried = carried_over(&coarse, &lattice)?;
            let (vectors, _) = carried.as_chunks::<3>();
            let fine = BSplineTransform::new(Volume::from_vec(lattice, vectors.to_vec())?)?;
            for corner in image.corner_points().into_iter().chain([image.center_lps()]) {
                let (got, want) = (fine.apply(corner), coarse.apply(corner));
                assert!(
                    got.distance_mm(want) < 1e-9,
                    "{fine_mm} mm at {corner:?}: {got:?}, expected {want:?}"
                );
            }
        }
        Ok(())
    }

    #[test]
    fn rows_hold_the_displacements_and_forces_are_their_transpose() -> Result<(), ImageError> {
        let image = image()?;
        let lattice = lattice_over(&image, 11.0)?;
        let spline = spline_on(&lattice)?;
        let view = LatticeOnImage::new(&lattice, &image)?;
        let coefficients: Vec<Lanes> = spline
            .control_points()
            .as_slice()
            .iter()
            .map(|c| [c[0] as f32, c[1] as f32, c[2] as f32, 0.0])
            .collect();
        let [ni, nj, nk] = image.size_ijk();
        let mut scratch = view.scratch();
        let mut planes = Vec::new();
        // Forces that are a function of the voxel; their work on the displacements, by voxels.
        let force = |n: usize| [(n % 7) as f32 - 3.0, (n % 5) as f32 - 2.0, (n % 3) as f32 - 1.0, 0.0];
        let mut work = 0.0;
        for k in 0..nk {
            view.start_slice(k, &coefficients, &mut scratch);
            scratch.clear_forces();
            for j in 0..nj {
                let from = j % 3;
                let mut row = vec![[0.0; 4]; ni - from];
                view.row(j, from, &mut scratch, &mut row);
                let forces: Vec<Lanes> = (0..row.len()).map(|n| force(k * 100 + j * 10 + n)).collect();
                for (n, (moved, force)) in std::iter::zip(&row, &forces).enumerate() {
                    let want =
                        spline.displacement_at(image.point_of(VoxelIndex::new(from + n, j, k))).to_array();
                    for axis in 0..3 {
                        assert!(
                            (f64::from(moved[axis]) - want[axis]).abs() < 1e-5,
                            "{moved:?}, expected {want:?}"
                        );
                        work += f64::from(force[axis]) * want[axis];
                    }
                }
                view.add_row_forces(j, from, &forces, &mut scratch);
            }
            planes.extend_from_slice(scratch.forces());
        }
        let by_controls: f64 = std::iter::zip(view.gathered(&planes), spline.control_points().as_slice())
            .map(|(force, c)| force[0] * c[0] + force[1] * c[1] + force[2] * c[2])
            .sum();
        assert!((by_controls - work).abs() < 1e-4 * work.abs(), "{by_controls}, expected {work}");
        Ok(())
    }
}
