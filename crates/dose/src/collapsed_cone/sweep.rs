//! Transport along one direction after the other, plane by plane.

use rayon::prelude::*;
use synthct_image::Volume;

use super::cones::Direction;

/// Directions swept together, so that they share the planes they read.
const BATCH: usize = 8;

/// Lays energy down along directions.
///
/// For each grid axis there is a copy of the electron densities in which that axis is the slowest: directions are swept
/// along the axis they follow most closely.
pub(super) struct Sweeper {
    layouts: [Layout; 3],
    electron: [Vec<f32>; 3],
}

/// The order of axes in memory, slowest first.
#[derive(Clone, Copy)]
struct Layout {
    axes: [usize; 3],
    size: [usize; 3],
    spacing_cm: [f64; 3],
    /// The distance in the grid's own order from one voxel to the next along each axis of the layout.
    strides: [usize; 3],
}

impl Layout {
    fn new(axes: [usize; 3], size_ijk: [usize; 3], spacing_mm: [f64; 3]) -> Self {
        let strides_ijk = [1, size_ijk[0], size_ijk[0] * size_ijk[1]];
        Self {
            axes,
            size: axes.map(|axis| size_ijk[axis]),
            spacing_cm: axes.map(|axis| 0.1 * spacing_mm[axis]),
            strides: axes.map(|axis| strides_ijk[axis]),
        }
    }

    /// Values in this order from values in the grid's order.
    fn permuted(&self, values: &[f32]) -> Vec<f32> {
        let [_, nb, nc] = self.size;
        let mut out = vec![0.0; values.len()];
        out.par_chunks_mut(nc).enumerate().for_each(|(row, out)| {
            let first = row / nb * self.strides[0] + row % nb * self.strides[1];
            for (c, out) in out.iter_mut().enumerate() {
                *out = values[first + c * self.strides[2]];
            }
        });
        out
    }
}

impl Sweeper {
    pub(super) fn new(electron: &Volume<f32>) -> Self {
        let (size, spacing) = (electron.grid().size_ijk(), electron.grid().spacing_mm());
        let layouts = [[0, 2, 1], [1, 2, 0], [2, 1, 0]].map(|axes| Layout::new(axes, size, spacing));
        let electron = [0, 1, 2].map(|axis| layouts[axis].permuted(electron.as_slice()));
        Self { layouts, electron }
    }

    /// Adds what all directions lay down, MeV/cm³, to `energy`; everything in the grid's order.
    pub(super) fn deposit(
        &self,
        directions: &[Direction],
        primary: &[f32],
        scatter: &[f32],
        energy: &mut [f32],
    ) {
        let stays: f64 = directions.iter().map(|direction| direction.stays).sum();
        energy.par_iter_mut().zip(primary).for_each(|(energy, &source)| *energy += stays as f32 * source);
        for axis in 0..3 {
            let layout = &self.layouts[axis];
            let own: Vec<&Direction> =
                directions.iter().filter(|direction| self.main_axis(direction) == axis).collect();
            if own.is_empty() {
                continue;
            }
            let (primary, scatter) = (layout.permuted(primary), layout.permuted(scatter));
            let electron = &self.electron[axis];
            let parts: Vec<Vec<f32>> = own
                .par_chunks(BATCH)
                .map(|batch| {
                    let mut deposited = vec![0.0_f32; primary.len()];
                    for direction in batch {
                        sweep(layout, direction, electron, &primary, &scatter, &mut deposited);
                    }
                    deposited
                })
                .collect();
            let [_, nb, nc] = layout.size;
            // Batches are added in their order, so that the sum does not depend on the number of threads.
            let mut sum = vec![0.0_f32; primary.len()];
            sum.par_iter_mut().enumerate().for_each(|(n, sum)| *sum = parts.iter().map(|part| part[n]).sum());
            for (row, sums) in sum.chunks(nc).enumerate() {
                let first = row / nb * layout.strides[0] + row % nb * layout.strides[1];
                for (c, value) in sums.iter().enumerate() {
                    energy[first + c * layout.strides[2]] += value;
                }
            }
        }
    }

    /// The axis along which the direction crosses most voxels.
    fn main_axis(&self, direction: &Direction) -> usize {
        let crossings = |axis: usize| direction.along_ijk[axis].abs() / self.layouts[axis].spacing_cm[0];
        // Directions halfway between two axes go with the first, however they are rounded: mirror images stay alike.
        (0..3)
            .fold(0, |best, axis| if crossings(axis) > crossings(best) * (1.0 + 1e-9) { axis } else { best })
    }
}

/// One direction through the whole grid.
fn sweep(
    layout: &Layout,
    direction: &Direction,
    electron: &[f32],
    primary: &[f32],
    scatter: &[f32],
    deposited: &mut [f32],
) {
    let [na, nb, nc] = layout.size;
    let along = layout.axes.map(|axis| direction.along_ijk[axis]);
    let step_cm = layout.spacing_cm[0] / along[0].abs();
    // Voxels crossed along the other axes for each plane.
    let shift = [1, 2].map(|axis| along[axis] * step_cm / layout.spacing_cm[axis]);
    let coefficients = Coefficients {
        primary_per_eta: (direction.primary.per_cm * step_cm) as f32,
        scatter_per_eta: (direction.scatter.per_cm * step_cm) as f32,
        primary_fraction: direction.primary.fraction as f32,
        scatter_fraction: direction.scatter.fraction as f32,
    };
    let plane = nb * nc;
    let mut flows = [vec![0.0_f32; plane], vec![0.0_f32; plane]];
    let mut flows_next = flows.clone();
    let mut entering = [vec![0.0_f32; nc], vec![0.0_f32; nc]];
    for n in 0..na {
        let a = if along[0] > 0.0 { n } else { na - 1 - n };
        // Whole voxels, so that the positions of all planes together follow the direction.
        let position = |plane: usize, per_plane: f64| (plane as f64 * per_plane).round() as i64;
        let moved = shift.map(|per_plane| position(n, per_plane) - position(n.saturating_sub(1), per_plane));
        for b in 0..nb {
            let from_row = b as i64 - moved[0];
            let has_row = n > 0 && (0..nb as i64).contains(&from_row);
            for (entering, flow) in std::iter::zip(&mut entering, &flows) {
                if has_row {
                    let row = &flow[from_row as usize * nc..][..nc];
                    shifted_into(row, moved[1], entering);
                } else {
                    entering.fill(0.0);
                }
            }
            let at = a * plane + b * nc;
            let [next_primary, next_scatter] = &mut flows_next;
            coefficients.cross(
                &Row {
                    electron: &electron[at..][..nc],
                    primary: &primary[at..][..nc],
                    scatter: &scatter[at..][..nc],
                    entering: [&entering[0], &entering[1]],
                },
                &mut next_primary[b * nc..][..nc],
                &mut next_scatter[b * nc..][..nc],
                &mut deposited[at..][..nc],
            );
        }
        std::mem::swap(&mut flows, &mut flows_next);
    }
}

/// A row moved by some voxels; what comes from beyond its ends is zero.
fn shifted_into(row: &[f32], by: i64, out: &mut [f32]) {
    let n = row.len();
    let by_abs = (by.unsigned_abs() as usize).min(n);
    if by >= 0 {
        out[..by_abs].fill(0.0);
        out[by_abs..].copy_from_slice(&row[..n - by_abs]);
    } else {
        out[..n - by_abs].copy_from_slice(&row[by_abs..]);
        out[n - by_abs..].fill(0.0);
    }
}

/// What one direction does to every voxel.
struct Coefficients {
    primary_per_eta: f32,
    scatter_per_eta: f32,
    primary_fraction: f32,
    scatter_fraction: f32,
}

/// A row of voxels, and what flows into them.
struct Row<'a> {
    electron: &'a [f32],
    primary: &'a [f32],
    scatter: &'a [f32],
    entering: [&'a [f32]; 2],
}

impl Coefficients {
    /// Energy through one row: what leaves each voxel, and what it keeps.
    ///
    /// With u = a η L a flow G leaves as G e⁻ᵘ and the voxel's own source S as S (1 − e⁻ᵘ) / u; the rest stays.
    /// e⁻ᵘ is a ratio of polynomials (Padé) that is never below zero; since what leaves is what enters the next voxel, its
    /// error moves energy by less than 1e-3 of a voxel's share and loses none.
    fn cross(
        &self,
        row: &Row<'_>,
        next_primary: &mut [f32],
        next_scatter: &mut [f32],
        deposited: &mut [f32],
    ) {
        /// Below this a flow is nothing; it keeps numbers from becoming denormal, which are slow.
        const NOTHING: f32 = 1e-30;
        let n = deposited.len();
        let (electron, primary, scatter) = (&row.electron[..n], &row.primary[..n], &row.scatter[..n]);
        let (enter_primary, enter_scatter) = (&row.entering[0][..n], &row.entering[1][..n]);
        let (next_primary, next_scatter) = (&mut next_primary[..n], &mut next_scatter[..n]);
        for c in 0..n {
            let u = self.primary_per_eta * electron[c];
            let even = 1.0 + 0.1 * u * u;
            let odd = u * (0.5 + u * u * (1.0 / 120.0));
            let inverse = 1.0 / (even + odd);
            let passes = ((even - odd) * inverse).max(0.0);
            let own = (1.0 + u * u * (1.0 / 60.0)) * inverse;
            let leaves = enter_primary[c] * passes + primary[c] * own;
            let leaves = if leaves < NOTHING { 0.0 } else { leaves };
            next_primary[c] = leaves;
            let kept_primary = primary[c] - (leaves - enter_primary[c]);

            let half = 0.5 * self.scatter_per_eta * electron[c];
            let inverse = 1.0 / (1.0 + half);
            let leaves = (enter_scatter[c] * (1.0 - half) + scatter[c]) * inverse;
            let leaves = if leaves < NOTHING { 0.0 } else { leaves };
            next_scatter[c] = leaves;
            let kept_scatter = scatter[c] - (leaves - enter_scatter[c]);

            deposited[c] += self.primary_fraction * kept_primary + self.scatter_fraction * kept_scatter;
        }
    }
}

#[cfg(test)]
mod tests {
    use synthct_image::{Grid, ImageError, PointLps};

    use super::super::cones::Travel;
    use super::*;

    /// Densities that differ from voxel to voxel, high enough that nothing reaches the edge from the middle.
    fn thick() -> Result<Volume<f32>, ImageError> {
        let grid = Grid::axis_aligned([31, 33, 35], [2.0, 3.0, 4.0], PointLps::ORIGIN)?;
        Ok(Volume::from_index_fn(&grid, |at| 3.0 + ((at.i * 7 + at.j * 5 + at.k * 3) % 11) as f32 * 0.5))
    }

    fn direction(along_ijk: [f64; 3]) -> Direction {
        Direction {
            along_ijk,
            primary: Travel { fraction: 0.75, per_cm: 4.0 },
            scatter: Travel { fraction: 0.5, per_cm: 2.0 },
            stays: 0.25,
        }
    }

    #[test]
    fn energy_is_conserved_whatever_the_voxels_hold() -> Result<(), ImageError> {
        let electron = thick()?;
        let n = electron.grid().n_voxels();
        let middle = electron.grid().size_ijk().map(|n| n / 2);
        let mut source = Volume::filled(electron.grid(), 0.0_f32);
        source[synthct_image::VoxelIndex::new(middle[0], middle[1], middle[2])] = 1.0;
        let none = vec![0.0; n];
        let sweeper = Sweeper::new(&electron);
        let (s, c) = 0.6_f64.sin_cos();
        for along in [
            [1.0, 0.0, 0.0],
            [0.0, -1.0, 0.0],
            [s * c, s * s, c],
            [-c, s * c, -s * s],
            [0.3, 0.9, -0.316_227_766],
        ] {
            let total = |primary: &[f32], scatter: &[f32]| -> f64 {
                let mut energy = vec![0.0; n];
                sweeper.deposit(&[direction(along)], primary, scatter, &mut energy);
                energy.iter().map(|&e| f64::from(e)).sum()
            };
            let electrons = total(source.as_slice(), &none);
            assert!((electrons - 1.0).abs() < 1e-5, "{along:?}: {electrons} of 0.75 + 0.25");
            let photons = total(&none, source.as_slice());
            assert!((photons - 0.5).abs() < 2e-3, "{along:?}: {photons} of 0.5");
        }
        Ok(())
    }

    #[test]
    fn a_straight_direction_is_an_exponential() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([40, 3, 3], [2.0; 3], PointLps::ORIGIN)?;
        let electron = Volume::filled(&grid, 1.0_f32);
        let mut source = Volume::filled(&grid, 0.0_f32);
        source[synthct_image::VoxelIndex::new(5, 1, 1)] = 1.0;
        let none = vec![0.0; grid.n_voxels()];
        let mut energy = Volume::filled(&grid, 0.0_f32);
        let along = direction([1.0, 0.0, 0.0]);
        Sweeper::new(&electron).deposit(&[along], source.as_slice(), &none, energy.as_mut_slice());
        // 4 per cm and voxels of 0.2 cm: u = 0.8. A voxel's own source is spread over it, and the rest decays.
        let u = 0.8_f64;
        let leaves = (1.0 - (-u).exp()) / u;
        let at = |i: usize| f64::from(energy[synthct_image::VoxelIndex::new(i, 1, 1)]);
        assert!((at(5) - (0.25 + 0.75 * (1.0 - leaves))).abs() < 1e-5, "{}", at(5));
        for i in 6..20 {
            let expected = 0.75 * leaves * (1.0 - (-u).exp()) * (-u * (i as f64 - 6.0)).exp();
            assert!((at(i) - expected).abs() < 1e-5, "voxel {i}: {} instead of {expected}", at(i));
        }
        assert!(at(4).abs() < 1e-12, "nothing goes back");
        Ok(())
    }
}
