//! The moving image where a displacement takes the fixed image's voxels.

use std::ops::Range;

use rayon::prelude::*;
use synthct_image::{AffineTransform, Grid, Mask, Matrix3, Volume};

use super::lattice::{Lanes, LatticeOnImage};
use crate::dissimilarity::Sample;
use crate::sampler::Sampler;

/// Both images at one level, and how a displacement in mm becomes one in voxels of the moving image.
pub(super) struct ImagePair {
    /// Fixed values; NaN outside the mask.
    fixed: Volume<f32>,
    /// Moving values; NaN where there are none.
    moving: Volume<f32>,
    /// For each row of the fixed image, the voxels from the first to the last one in the mask.
    runs: Vec<Range<usize>>,
    moving_index_from_lps: Matrix3,
    /// The moving index of fixed voxel (0, 0, 0) without displacement, and its change for a step along i, j, k.
    start: [f64; 3],
    steps: Matrix3,
}

impl ImagePair {
    /// The pair, with the map from which the displacement starts.
    pub(super) fn new(
        mut fixed: Volume<f32>,
        mask: Option<&Mask>,
        moving: Volume<f32>,
        moving_from_fixed: &AffineTransform,
    ) -> Self {
        if let Some(mask) = mask {
            for (value, &is_inside) in std::iter::zip(fixed.as_mut_slice(), mask.as_slice()) {
                if !is_inside {
                    *value = f32::NAN;
                }
            }
        }
        let row_len = fixed.grid().size_ijk()[0];
        let runs = fixed
            .as_slice()
            .chunks_exact(row_len)
            .map(|row| {
                let first = row.iter().position(|value| !value.is_nan());
                let last = row.iter().rposition(|value| !value.is_nan());
                first.zip(last).map_or(0..0, |(first, last)| first..last + 1)
            })
            .collect();
        let moving_index_from_lps = moving.grid().index_from_lps_matrix() * *moving_from_fixed.matrix();
        let origin = moving_from_fixed.apply(fixed.grid().origin_lps()) - moving.grid().origin_lps();
        let start = moving.grid().index_from_lps_matrix().apply(origin.to_array());
        let steps = moving_index_from_lps * fixed.grid().lps_from_index_matrix();
        Self { fixed, moving, runs, moving_index_from_lps, start, steps }
    }

    pub(super) const fn fixed_grid(&self) -> &Grid {
        self.fixed.grid()
    }

    pub(super) fn fixed(&self) -> &[f32] {
        self.fixed.as_slice()
    }

    /// The number of fixed voxels in the mask.
    pub(super) fn n_inside(&self) -> usize {
        self.fixed().iter().filter(|value| !value.is_nan()).count()
    }

    /// The voxels of row `row` (of all slices) that count.
    pub(super) fn run(&self, row: usize) -> Range<usize> {
        self.runs[row].clone()
    }

    /// Coefficients in voxels of the moving image from coefficients in mm.
    fn in_moving_voxels(&self, coefficients_mm: &[f64]) -> Vec<Lanes> {
        let (vectors, _) = coefficients_mm.as_chunks::<3>();
        vectors
            .iter()
            .map(|vector| {
                let [i, j, k] = self.moving_index_from_lps.apply(*vector);
                [i as f32, j as f32, k as f32, 0.0]
            })
            .collect()
    }

    /// The moving image at the voxels `run` of row `j` of slice `k`, whose displacements stand in `samples`.
    pub(super) fn sample_row(&self, j: usize, k: usize, run: Range<usize>, samples: &mut [Sample]) {
        let sampler = Sampler::new(self.moving.as_slice(), self.moving.grid().size_ijk());
        let along_row = self.steps.apply([run.start as f64, j as f64, k as f64]);
        let start = [0, 1, 2].map(|axis| (self.start[axis] + along_row[axis]) as f32);
        let step = self.steps.column(0).map(|component| component as f32);
        for (n, sample) in samples.iter_mut().enumerate() {
            let position = [0, 1, 2].map(|axis| start[axis] + n as f32 * step[axis] + sample[axis]);
            *sample = match sampler.value_and_slope(position) {
                Some((value, [i, j, k])) if !value.is_nan() => [i, j, k, value],
                _ => [0.0, 0.0, 0.0, f32::NAN],
            };
        }
    }

    /// The moving image at all voxels of the fixed one, displaced by coefficients in mm (x, y, z of each control point in
    /// turn); NaN outside the mask.
    ///
    /// Writes into `samples`, which has room for one a voxel.
    pub(super) fn sample_all(
        &self,
        lattice: &LatticeOnImage,
        coefficients_mm: &[f64],
        samples: &mut [Sample],
    ) {
        let coefficients = self.in_moving_voxels(coefficients_mm);
        let [ni, nj, _] = self.fixed_grid().size_ijk();
        samples.par_chunks_mut(ni * nj).enumerate().for_each_init(
            || lattice.scratch(),
            |scratch, (k, slice)| {
                lattice.start_slice(k, &coefficients, scratch);
                for (j, row) in slice.chunks_exact_mut(ni).enumerate() {
                    let run = self.run(k * nj + j);
                    row[..run.start].fill([0.0, 0.0, 0.0, f32::NAN]);
                    row[run.end..].fill([0.0, 0.0, 0.0, f32::NAN]);
                    let row = &mut row[run.clone()];
                    lattice.row(j, run.start, scratch, row);
                    self.sample_row(j, k, run, row);
                }
            },
        );
    }

    /// The gradient by the coefficients (in mm, x, y, z of each control point in turn) of a metric with the derivatives
    /// `slopes` by the moving values.
    pub(super) fn gradient(&self, lattice: &LatticeOnImage, samples: &[Sample], slopes: &[f32]) -> Vec<f64> {
        let by_index = self.gathered(lattice, |voxel| {
            let [i, j, k, _] = samples[voxel];
            [i, j, k, 0.0].map(|slope| slopes[voxel] * slope)
        });
        let transposed = self.moving_index_from_lps.transposed();
        by_index.iter().flat_map(|&[i, j, k, _]| transposed.apply([i, j, k])).collect()
    }

    /// For each control point, about the second derivatives of a metric by a shift in mm (x, y, z) of the whole
    /// neighbourhood, from its second derivatives `curvatures` by the moving values.
    pub(super) fn stiffness(
        &self,
        lattice: &LatticeOnImage,
        samples: &[Sample],
        curvatures: &[f32],
    ) -> Vec<Matrix3> {
        let diagonal = self.gathered(lattice, |voxel| {
            let [i, j, k, _] = samples[voxel];
            [i * i, j * j, k * k, 0.0].map(|product| curvatures[voxel] * product)
        });
        let mixed = self.gathered(lattice, |voxel| {
            let [i, j, k, _] = samples[voxel];
            [i * j, i * k, j * k, 0.0].map(|product| curvatures[voxel] * product)
        });
        let (matrix, transposed) = (self.moving_index_from_lps, self.moving_index_from_lps.transposed());
        std::iter::zip(diagonal, mixed)
            .map(|([ii, jj, kk, _], [ij, ik, jk, _])| {
                transposed * Matrix3([[ii, ij, ik], [ij, jj, jk], [ik, jk, kk]]) * matrix
            })
            .collect()
    }

    /// Σ over the voxels of `force_of` (voxel) times the weight of the control point there, for every control point.
    fn gathered(&self, lattice: &LatticeOnImage, force_of: impl Fn(usize) -> Lanes + Sync) -> Vec<[f64; 4]> {
        let [ni, nj, nk] = self.fixed_grid().size_ijk();
        let mut planes = vec![[0.0; 4]; lattice.plane_len() * nk];
        planes.par_chunks_mut(lattice.plane_len()).enumerate().for_each_init(
            || (lattice.scratch(), vec![[0.0; 4]; ni]),
            |(scratch, forces), (k, plane)| {
                scratch.clear_forces();
                for j in 0..nj {
                    let row = k * nj + j;
                    let run = self.run(row);
                    let forces = &mut forces[..run.len()];
                    for (n, force) in forces.iter_mut().enumerate() {
                        *force = force_of(row * ni + run.start + n);
                    }
                    lattice.add_row_forces(j, run.start, forces, scratch);
                }
                plane.copy_from_slice(scratch.forces());
            },
        );
        lattice.gathered(&planes)
    }
}
