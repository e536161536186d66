//! Transport along one direction after the other, plane by plane.

use rayon::prelude::*;
use synthct_image::Volume;

use super::cones::Direction;

/// Directions swept together, so that they share the planes they read.
const BATCH: usize = 8;

/// Lays energy down along directions.
///
/// For each grid axis there is a copy of the densities in which that axis is the slowest: directions are swept
/// along the axis they follow most closely.
pub(super) struct Sweeper {
    layouts: [Layout; 3],
    electron: [Vec<f32>; 3],
    /// Electron density times the content of bone.
    bone: [Vec<f32>; 3],
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
    pub(super) fn new(electron: &Volume<f32>, bone: &Volume<f32>) -> Self {
        let (size, spacing) = (electron.grid().size_ijk(), electron.grid().spacing_mm());
        let layouts = [[0, 2, 1], [1, 2, 0], [2, 1, 0]].map(|axes| Layout::new(axes, size, spacing));
        let permuted = |volume: &Volume<f32>| [0, 1, 2].map(|axis| layouts[axis].permuted(volume.as_slice()));
        let (electron, bone) = (permuted(electron), permuted(bone));
        Self { layouts, electron, bone }
    }

    /// Adds what all directions lay down, MeV/cm³, to `energy`; everything in the grid's order.
    pub(super) fn deposit(
        &self,
        directions: &[Direction],
        primary: &[f32],
        scatter: &[f32],
        energy: &mut [f32],
    ) {
        let stays: f64 =
            directions.iter().map(|direction| direction.electrons.fraction * direction.electrons.stays).sum();
        energy.par_iter_mut().zip(primary).for_each(|(energy, &source)| *energy += stays as f32 * source);
        for axis in 0..3 {
            let layout = &self.layouts[axis];
            let own: Vec<&Direction> =
                directions.iter().filter(|direction| self.main_axis(direction) == axis).collect();
            if own.is_empty() {
                continue;
            }
            let (primary, scatter) = (layout.permuted(primary), layout.permuted(scatter));
            let matter = [&self.electron[axis][..], &self.bone[axis][..]];
            let parts: Vec<Vec<f32>> = own
                .par_chunks(BATCH)
                .map(|batch| {
                    let mut deposited = vec![0.0_f32; primary.len()];
                    for direction in batch {
                        sweep(layout, direction, matter, [&primary, &scatter], &mut deposited);
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
///
/// Energy follows lines that part from each other; where they do, it is spread over the larger area.
fn sweep(
    layout: &Layout,
    direction: &Direction,
    [electron, bone]: [&[f32]; 2],
    [primary, scatter]: [&[f32]; 2],
    deposited: &mut [f32],
) {
    let [na, nb, nc] = layout.size;
    let lines = Lines::new(layout, direction);
    let step_cm = 0.1 * lines.step_mm;
    let (electrons, photons) = (direction.electrons, direction.photons);
    let coefficients = Coefficients {
        electrons_per_eta: (electrons.per_cm * step_cm) as f32,
        first_per_eta: (photons.first_per_cm * step_cm) as f32,
        rest_per_eta: (photons.rest_per_cm * step_cm) as f32,
        rest_per_bone: (photons.rest_per_cm * photons.bone_excess * step_cm) as f32,
        first_stays: photons.first_stays as f32,
        electrons_fraction: (electrons.fraction * (1.0 - electrons.stays)) as f32,
        photons_fraction: photons.fraction as f32,
    };
    let plane = nb * nc;
    let mut flows = [(); N_FLOWS].map(|()| vec![0.0_f32; plane]);
    let mut flows_next = flows.clone();
    let mut entering = [(); N_FLOWS].map(|()| vec![0.0_f32; nc]);
    for n in 0..na {
        let a = if lines.along[0] > 0.0 { n } else { na - 1 - n };
        let moved = [1, 2].map(|axis| lines.moved(axis, a, n, layout.size));
        let runs = runs(&moved[1]);
        let thinned = lines.thinned(a, layout.size);
        for b in 0..nb {
            let from_row = b as i64 - moved[0][b];
            let has_row = n > 0 && (0..nb as i64).contains(&from_row);
            for (entering, flow) in std::iter::zip(&mut entering, &flows) {
                if has_row {
                    moved_into(&flow[from_row as usize * nc..][..nc], &runs, entering);
                } else {
                    entering.fill(0.0);
                }
            }
            let at = a * plane + b * nc;
            coefficients.cross(
                &Row {
                    electron: &electron[at..][..nc],
                    bone: &bone[at..][..nc],
                    primary: &primary[at..][..nc],
                    scatter: &scatter[at..][..nc],
                    entering: entering.each_ref().map(|row| &row[..]),
                    thinned,
                },
                flows_next.each_mut().map(|flow| &mut flow[b * nc..][..nc]),
                &mut deposited[at..][..nc],
            );
        }
        std::mem::swap(&mut flows, &mut flows_next);
    }
}

/// The lines of one direction through the voxels of a layout, along whose axes all vectors here are.
///
/// A cone m about the beam's axis is turned, at a point x, as the ray there is turned from the axis: with
/// w = (x − source, across the axis) / (x − source, along it), its direction is m + (m · axis) w − (m · w) axis, to first
/// order. Lines part from each other, by 2 (m · axis) / (x − source, along the axis) of an area for each length.
struct Lines {
    along: [f64; 3],
    axis: [f64; 3],
    source: [f64; 3],
    spacing_mm: [f64; 3],
    /// From one plane to the next along the direction.
    step_mm: f64,
}

impl Lines {
    fn new(layout: &Layout, direction: &Direction) -> Self {
        let of = |ijk: [f64; 3]| layout.axes.map(|axis| ijk[axis]);
        let along = of(direction.along_ijk);
        let spacing_mm = layout.spacing_cm.map(|cm| 10.0 * cm);
        Self {
            along,
            axis: of(direction.axis_ijk),
            source: of(direction.source_ijk),
            spacing_mm,
            step_mm: spacing_mm[0] / along[0].abs(),
        }
    }

    /// Where the beam's axis, or else the point of it next to the grid's middle, is in a plane, in voxels.
    fn middle(&self, a: usize, size: [usize; 3]) -> [f64; 3] {
        let grid_middle = [a as f64, 0.5 * (size[1] - 1) as f64, 0.5 * (size[2] - 1) as f64];
        let from_source = [0, 1, 2].map(|n| (grid_middle[n] - self.source[n]) * self.spacing_mm[n]);
        let distance_mm = dot(from_source, self.axis);
        let on_axis = [0, 1, 2].map(|n| self.source[n] + distance_mm * self.axis[n] / self.spacing_mm[n]);
        [a as f64, on_axis[1], on_axis[2]]
    }

    /// How much of a flow per area is left from the plane before.
    fn thinned(&self, a: usize, size: [usize; 3]) -> f32 {
        let middle = self.middle(a, size);
        let distance_mm =
            dot([0, 1, 2].map(|n| (middle[n] - self.source[n]) * self.spacing_mm[n]), self.axis);
        let parting = dot(self.along, self.axis) * self.step_mm / distance_mm;
        (1.0 - parting).powi(2) as f32
    }

    /// For each voxel of plane `a` along an axis: by how many voxels its line moved since the plane before, which is the
    /// `n`th that is swept.
    ///
    /// Movements are rounded to whole voxels so that those of all planes together follow the line.
    fn moved(&self, axis: usize, a: usize, n: usize, size: [usize; 3]) -> Vec<i64> {
        /// Multiples of these fill the unit interval evenly, each by itself and both together (roots of x³ = x + 1).
        const EVEN: [f64; 2] = [0.754_877_666_246_692_8, 0.569_840_290_998_053_2];
        let per_plane = self.along[axis] * self.step_mm / self.spacing_mm[axis];
        let position = |plane: usize| (plane as f64 * per_plane).round() as i64;
        let straight = position(n) - position(n.saturating_sub(1));
        let chance = (0.5 + n as f64 * EVEN[axis - 1]).fract();
        let mut point = self.middle(a, size);
        (0..size[axis])
            .map(|at| {
                point[axis] = at as f64;
                let turned = self.turned(axis, point);
                straight + turned.signum() as i64 * (turned.abs() + chance).floor() as i64
            })
            .collect()
    }

    /// What turning the cone adds to the movement along an axis, in voxels.
    fn turned(&self, axis: usize, point: [f64; 3]) -> f64 {
        let from_source = [0, 1, 2].map(|n| (point[n] - self.source[n]) * self.spacing_mm[n]);
        let distance_mm = dot(from_source, self.axis);
        let across = [0, 1, 2].map(|n| from_source[n] / distance_mm - self.axis[n]);
        let (cosine, toward) = (dot(self.along, self.axis), dot(self.along, across));
        let added = [0, 1, 2].map(|n| cosine * across[n] - toward * self.axis[n]);
        let in_plane = added[axis] - self.along[axis] / self.along[0] * added[0];
        in_plane * self.step_mm / self.spacing_mm[axis]
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Runs of equal values: where each begins and ends, and its value.
fn runs(values: &[i64]) -> Vec<(usize, usize, i64)> {
    let mut runs: Vec<(usize, usize, i64)> = Vec::new();
    for (at, &value) in values.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.2 == value => run.1 = at + 1,
            _ => runs.push((at, at + 1, value)),
        }
    }
    runs
}

/// A row moved by some voxels, run by run; what comes from beyond its ends is zero.
fn moved_into(row: &[f32], runs: &[(usize, usize, i64)], out: &mut [f32]) {
    let n = row.len() as i64;
    for &(start, end, by) in runs {
        // The part of the run that comes from inside.
        let from = (start as i64).max(by).clamp(start as i64, end as i64);
        let to = (end as i64).min(n + by).clamp(from, end as i64);
        out[start..from as usize].fill(0.0);
        out[to as usize..end].fill(0.0);
        if from < to {
            out[from as usize..to as usize].copy_from_slice(&row[(from - by) as usize..(to - by) as usize]);
        }
    }
}

/// What flows along a direction: electrons, photons of one scattering, photons of more.
const N_FLOWS: usize = 3;

/// What one direction does to every voxel.
struct Coefficients {
    electrons_per_eta: f32,
    /// Photons of one scattering.
    first_per_eta: f32,
    /// Photons of more, per electron density and per what bone adds to it.
    rest_per_eta: f32,
    rest_per_bone: f32,
    first_stays: f32,
    electrons_fraction: f32,
    photons_fraction: f32,
}

/// A row of voxels, and what flows into them.
struct Row<'a> {
    electron: &'a [f32],
    bone: &'a [f32],
    primary: &'a [f32],
    scatter: &'a [f32],
    entering: [&'a [f32]; N_FLOWS],
    /// What is left per area of what enters.
    thinned: f32,
}

impl Coefficients {
    /// Energy through one row: what leaves each voxel, and what it keeps.
    ///
    /// With u = a η L a flow G leaves as G e⁻ᵘ and the voxel's own source S as S (1 − e⁻ᵘ) / u; the rest stays.
    /// e⁻ᵘ is a ratio of polynomials (Padé) that is never below zero; since what leaves is what enters the next voxel, its
    /// error moves energy by less than 1e-3 of a voxel's share and loses none.
    /// Of photons of one scattering, what goes on after they are stopped is the source of the others.
    fn cross(&self, row: &Row<'_>, next: [&mut [f32]; N_FLOWS], deposited: &mut [f32]) {
        /// Below this a flow is nothing; it keeps numbers from becoming denormal, which are slow.
        const NOTHING: f32 = 1e-30;
        let n = deposited.len();
        let (electron, bone) = (&row.electron[..n], &row.bone[..n]);
        let (primary, scatter) = (&row.primary[..n], &row.scatter[..n]);
        let [enter_electrons, enter_first, enter_rest] = row.entering.map(|flow| &flow[..n]);
        let [next_electrons, next_first, next_rest] = next.map(|flow| &mut flow[..n]);
        // Photons are stopped slowly: a ratio of lower order does.
        let through = |enter: f32, source: f32, u: f32| {
            let half = 0.5 * u;
            let leaves = (enter * (1.0 - half).max(0.0) + source) / (1.0 + half);
            if leaves < NOTHING { 0.0 } else { leaves }
        };
        for c in 0..n {
            let u = self.electrons_per_eta * electron[c];
            let even = 1.0 + 0.1 * u * u;
            let odd = u * (0.5 + u * u * (1.0 / 120.0));
            let inverse = 1.0 / (even + odd);
            let passes = ((even - odd) * inverse).max(0.0);
            let own = (1.0 + u * u * (1.0 / 60.0)) * inverse;
            let enter = row.thinned * enter_electrons[c];
            let leaves = enter * passes + primary[c] * own;
            let leaves = if leaves < NOTHING { 0.0 } else { leaves };
            next_electrons[c] = leaves;
            let kept_electrons = primary[c] - (leaves - enter);

            let enter = row.thinned * enter_first[c];
            let leaves = through(enter, scatter[c], self.first_per_eta * electron[c]);
            next_first[c] = leaves;
            let stopped = scatter[c] - (leaves - enter);
            let kept = self.first_stays * stopped;
            let goes_on = stopped - kept;
            let enter = row.thinned * enter_rest[c];
            let u = self.rest_per_eta * electron[c] + self.rest_per_bone * bone[c];
            let leaves = through(enter, goes_on, u);
            next_rest[c] = leaves;
            let kept_photons = kept + (goes_on - (leaves - enter));

            deposited[c] += self.electrons_fraction * kept_electrons + self.photons_fraction * kept_photons;
        }
    }
}

#[cfg(test)]
mod tests {
    use synthct_image::{Grid, ImageError, PointLps};

    use super::super::cones::{Electrons, Photons};
    use super::*;

    /// Densities that differ from voxel to voxel, high enough that nothing reaches the edge from the middle.
    fn thick() -> Result<Volume<f32>, ImageError> {
        let grid = Grid::axis_aligned([31, 33, 35], [2.0, 3.0, 4.0], PointLps::ORIGIN)?;
        Ok(Volume::from_index_fn(&grid, |at| 3.0 + ((at.i * 7 + at.j * 5 + at.k * 3) % 11) as f32 * 0.5))
    }

    fn direction(along_ijk: [f64; 3]) -> Direction {
        let photons = Photons {
            fraction: 0.5,
            first_per_cm: 2.0,
            first_stays: 0.3,
            rest_per_cm: 2.5,
            bone_excess: 0.4,
        };
        Direction {
            along_ijk,
            axis_ijk: along_ijk,
            // So far away that lines are parallel.
            source_ijk: along_ijk.map(|along| -1e12 * along),
            electrons: Electrons { fraction: 1.0, stays: 0.25, per_cm: 4.0 },
            photons,
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
        let sweeper = Sweeper::new(&electron, &electron.map(|eta| 0.3 * eta));
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
        Sweeper::new(&electron, &electron.map(|_| 0.0)).deposit(
            &[along],
            source.as_slice(),
            &none,
            energy.as_mut_slice(),
        );
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

    #[test]
    fn lines_part_from_the_source_and_lose_nothing() -> Result<(), ImageError> {
        // A plane source of 40 × 40 voxels whose lines come from 100 mm before it: after 100 mm its flow covers four times the area.
        let grid = Grid::axis_aligned([101, 101, 101], [1.0; 3], PointLps::ORIGIN)?;
        let electron = Volume::from_index_fn(&grid, |at| if at.k == 100 { 1e4_f32 } else { 1e-6 });
        let in_source =
            |at: synthct_image::VoxelIndex| at.k == 0 && (30..70).contains(&at.i) && (30..70).contains(&at.j);
        let source = Volume::from_index_fn(&grid, |at| if in_source(at) { 1.0_f32 } else { 0.0 });
        let mut along = direction([0.0, 0.0, 1.0]);
        along.source_ijk = [49.5, 49.5, -100.0];
        along.electrons.stays = 0.0;
        let none = vec![0.0; grid.n_voxels()];
        let mut energy = Volume::filled(&grid, 0.0_f32);
        Sweeper::new(&electron, &electron.map(|_| 0.0)).deposit(
            &[along],
            source.as_slice(),
            &none,
            energy.as_mut_slice(),
        );
        let total: f64 = energy.as_slice().iter().map(|&e| f64::from(e)).sum();
        // Edges lie within a voxel of where they should.
        assert!((total / 1600.0 - 1.0).abs() < 0.06, "{total} of 1600");
        let row = |i: usize| energy[synthct_image::VoxelIndex::new(i, 49, 100)];
        assert!(
            (row(49) - 0.25).abs() < 0.01 && (row(12) - 0.25).abs() < 0.01 && row(7) < 0.01,
            "{}",
            row(49)
        );
        Ok(())
    }

    #[test]
    fn scatter_builds_up_and_falls_as_two_generations_do() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([200, 3, 3], [1.0; 3], PointLps::ORIGIN)?;
        let electron = Volume::filled(&grid, 1.0_f32);
        let mut source = Volume::filled(&grid, 0.0_f32);
        source[synthct_image::VoxelIndex::new(5, 1, 1)] = 1.0;
        let none = vec![0.0; grid.n_voxels()];
        let mut energy = Volume::filled(&grid, 0.0_f32);
        let mut along = direction([1.0, 0.0, 0.0]);
        along.photons = Photons { first_per_cm: 0.5, first_stays: 0.2, rest_per_cm: 0.8, ..along.photons };
        Sweeper::new(&electron, &electron.map(|_| 0.0)).deposit(
            &[along],
            &none,
            source.as_slice(),
            energy.as_mut_slice(),
        );
        // The solution of dG1/dx = −a G1, dG2/dx = (1 − f) a G1 − b G2, energy f a G1 + b G2, in the middle of voxels.
        let (a, b, f) = (0.5_f64, 0.8_f64, 0.2_f64);
        let at = |i: usize| f64::from(energy[synthct_image::VoxelIndex::new(i, 1, 1)]);
        for i in (15..190).step_by(25) {
            let x = 0.1 * (i as f64 - 5.0);
            let (first, second) = ((-a * x).exp(), (-b * x).exp());
            let rest = (1.0 - f) * a / (b - a) * (first - second);
            let expected = 0.5 * 0.1 * (f * a * first + b * rest);
            assert!((at(i) / expected - 1.0).abs() < 2e-3, "voxel {i}: {} instead of {expected}", at(i));
        }
        Ok(())
    }
}
