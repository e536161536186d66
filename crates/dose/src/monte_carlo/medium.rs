//! The voxels that particles travel through.

use synthct_image::{Grid, PointLps};

use super::interaction::PhotonTables;
use super::material::{TISSUES, composition, mixture};
use super::table::EnergyTable;
use crate::DensityVolume;

/// Matter in one voxel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matter {
    /// Electron density relative to water.
    pub(super) electron: f32,
    /// What it is made of, see [`composition`].
    pub(super) composition: f32,
}

/// Matter on a grid in coordinates of its own: cm along the grid's axes from the outer corner of the first voxel.
#[derive(Clone, Debug)]
pub(super) struct Medium {
    pub(super) size: [usize; 3],
    pub(super) spacing_cm: [f64; 3],
    per_cm: [f64; 3],
    matter: Vec<Matter>,
    grid: Grid,
}

/// A voxel by its indices along the axes, and by its place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) at: [u32; 3],
    pub(super) voxel: usize,
}

impl Medium {
    pub(super) fn new(density: &DensityVolume) -> Self {
        let grid = density.grid();
        let matter =
            std::iter::zip(density.relative_electron().as_slice(), density.mass_g_per_cm3().as_slice())
                .map(|(&electron, &mass)| Matter { electron, composition: composition(f64::from(mass)) })
                .collect();
        let spacing_cm = grid.spacing_mm().map(|mm| 0.1 * mm);
        Self {
            size: grid.size_ijk(),
            spacing_cm,
            per_cm: spacing_cm.map(|cm| 1.0 / cm),
            matter,
            grid: grid.clone(),
        }
    }

    /// A point of the patient in the medium's coordinates.
    pub(super) fn medium_from_lps(&self, point: PointLps) -> [f64; 3] {
        let at = self.grid.index_from_lps(point);
        let indices = [at.i, at.j, at.k];
        std::array::from_fn(|axis| (indices[axis] + 0.5) * self.spacing_cm[axis])
    }

    #[inline]
    pub(super) fn matter(&self, voxel: usize) -> Matter {
        self.matter[voxel]
    }

    /// The voxel at a position, if it is inside.
    #[inline]
    pub(super) fn cell(&self, position: [f64; 3]) -> Option<Cell> {
        let mut at = [0; 3];
        for axis in 0..3 {
            let index = position[axis] * self.per_cm[axis];
            if !(index >= 0.0 && index < self.size[axis] as f64) {
                return None;
            }
            at[axis] = index as u32;
        }
        Some(Cell { at, voxel: self.voxel(at) })
    }

    #[inline]
    pub(super) fn voxel(&self, [i, j, k]: [u32; 3]) -> usize {
        (k as usize * self.size[1] + j as usize) * self.size[0] + i as usize
    }

    /// Where a ray from outside enters: the distance along it, or none if it misses.
    pub(super) fn entry(&self, from: [f64; 3], direction: [f64; 3]) -> Option<f64> {
        let (mut enter, mut leave) = (0.0_f64, f64::INFINITY);
        for axis in 0..3 {
            let end = self.size[axis] as f64 * self.spacing_cm[axis];
            if direction[axis].abs() < 1e-12 {
                if !(0.0..end).contains(&from[axis]) {
                    return None;
                }
                continue;
            }
            let (near, far) = (-from[axis] / direction[axis], (end - from[axis]) / direction[axis]);
            enter = enter.max(near.min(far));
            leave = leave.min(near.max(far));
        }
        (enter < leave).then_some(enter)
    }

    /// The most interactions a cm anywhere in the medium, by energy.
    ///
    /// Densities are rounded up, soft tissue's to 0.1 and bone's to 0.5, so that images which differ a little have it in
    /// common: their histories then try the same places.
    pub(super) fn majorant(&self, photons: &PhotonTables) -> EnergyTable<1, 1> {
        const BONE: usize = TISSUES.len() - 1;
        let mut densest = [0.0_f32; TISSUES.len()];
        for matter in &self.matter {
            let (low, part) = mixture(matter.composition);
            for tissue in [low, low + usize::from(part > 0.0)] {
                densest[tissue] = densest[tissue].max(matter.electron);
            }
        }
        let soft = densest[..BONE].iter().copied().fold(0.0, f32::max);
        let up_to = |density: f32, step: f32| (density / step - 1e-4).ceil() * step;
        densest[..BONE].fill(up_to(soft, 0.1));
        densest[BONE] = up_to(densest[BONE], 0.5);
        photons.majorant(densest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{ImageError, Matrix3, Volume, VoxelIndex};

    #[test]
    fn voxels_lie_where_the_grid_says() -> Result<(), Box<dyn std::error::Error>> {
        let (s, c) = 0.4_f64.sin_cos();
        let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        let grid = Grid::new([3, 4, 5], [2.0, 3.0, 4.0], PointLps::new(5.0, -7.0, 11.0), direction)?;
        let density = DensityVolume::new(Volume::filled(&grid, 1.0), Volume::filled(&grid, 1.0))?;
        let medium = Medium::new(&density);
        for (n, index) in [(0, [0, 0, 0]), (1, [1, 0, 0]), (3, [0, 1, 0]), (12, [0, 0, 1]), (59, [2, 3, 4])] {
            let point = grid.point_of(VoxelIndex::new(index[0], index[1], index[2]));
            let cell = medium.cell(medium.medium_from_lps(point)).ok_or("outside")?;
            assert_eq!((cell.voxel, cell.at.map(|at| at as usize)), (n, index));
        }
        assert!(medium.cell([0.3, -1e-9, 0.3]).is_none() && medium.cell([0.6, 0.3, 0.3]).is_none());
        Ok(())
    }

    #[test]
    fn rays_enter_at_the_face() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([4; 3], [10.0; 3], PointLps::new(-15.0, -15.0, -15.0))?;
        let filled = || Volume::filled(&grid, 1.0_f32);
        let Ok(density) = DensityVolume::new(filled(), filled()) else { unreachable!() };
        let medium = Medium::new(&density);
        assert_eq!(medium.entry([2.0, -96.0, 2.0], [0.0, 1.0, 0.0]), Some(96.0));
        assert_eq!(medium.entry([2.0, -96.0, 2.0], [0.0, -1.0, 0.0]), None);
        assert_eq!(medium.entry([5.0, -96.0, 2.0], [0.0, 1.0, 0.0]), None);
        let slant = medium.entry([-1.0, -1.0, 2.0], [0.6, 0.8, 0.0]);
        assert!(slant.is_some_and(|distance| (distance - 1.0 / 0.6).abs() < 1e-12));
        Ok(())
    }
}
