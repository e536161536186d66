//! Collapsed-cone convolution by plane sweeps.

mod cones;
mod sweep;

pub use cones::Cones;

use rayon::prelude::*;
use synthct_image::{Volume, VoxelIndex};

use crate::composition::bone_content;
use crate::depth::RadiologicalDepth;
use crate::machine::{Machine, Released};
use crate::{DensityVolume, DoseEngine, DoseError, Field};
use sweep::Sweeper;

/// Gy g per MeV.
const GY_G_PER_MEV: f64 = 1.602_176_634e-10;

/// Dose by collapsed-cone convolution.
///
/// Photons release energy along rays from the source, in exact proportion to what they lose, as energy of electrons
/// (collision kerma) and of scattered photons (TERMA less collision kerma).
/// Each travels away from its place along the axes of cones around the beam's axis and is laid down exponentially in
/// electron density, with constants fitted to Monte Carlo kernels of the spectrum in water, and what leaves a voxel enters
/// the next: along parallel lines no energy is lost, whatever the voxels hold.
/// Cones stand about the diverging rays: lines part from each other as rays do, and what flows along them thins out.
/// Where they part, energy is kept only as well as voxels resolve the flow; at an edge per cents of it can be lost.
/// Transport is swept plane by plane, so that each voxel is crossed once for each cone.
/// Bone, known by its mass density, attenuates, releases and absorbs more per electron than water, by its cross sections.
///
/// The dose is dose to the medium: energy deposited per mass.
///
/// # References
/// Ahnesjö (1989), doi:10.1118/1.596360, for collapsed cones and kernels of exponentials.
/// The plane sweep, the split of the sources and the constants are ours; `docs/VALIDATION.md` compares with Monte Carlo.
///
/// # Examples
/// ```
/// use synthct_dose::{CollapsedCone, Cones, DensityVolume, DoseEngine, Field, Fluence, Machine};
/// use synthct_image::{Grid, PointLps, Volume, VoxelIndex};
/// use synthct_rt::{BeamAngles, BeamFrame, Jaws, PatientPosition};
/// // A water tank of 20 cm whose surface is at y = 0, and a beam from above.
/// let grid = Grid::axis_aligned([20; 3], [10.0; 3], PointLps::new(-95.0, 5.0, -95.0))?;
/// let water = DensityVolume::new(Volume::filled(&grid, 1.0), Volume::filled(&grid, 1.0))?;
/// let machine = Machine::generic_6mv();
/// let angles = BeamAngles { gantry_deg: 0.0, collimator_deg: 0.0, couch_deg: 0.0 };
/// let field = Field {
///     frame: BeamFrame::new(PatientPosition::Hfs, PointLps::ORIGIN, angles, 1000.0),
///     fluence: Fluence::new(&machine, &Jaws { x_mm: [-50.0, 50.0], y_mm: [-50.0, 50.0] }, None),
///     weight: 1e10,
/// };
/// let dose_gy = CollapsedCone::new(&machine, Cones::Fast).dose(&water, &[field])?;
/// let at = |depth: usize| dose_gy[VoxelIndex::new(10, depth, 10)];
/// assert!(at(5) > 1.3 * at(14), "5.5 and 14.5 cm deep");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CollapsedCone {
    released: Released,
    cones: Cones,
    sector_deg: f64,
}

impl CollapsedCone {
    /// The width of a sector if nothing else is said: the axis is off by half of it at most, which changes doses by no more
    /// than the stepping from voxel to voxel does.
    pub const SECTOR_DEG: f64 = 5.0;

    /// The engine for a machine, with sectors of [`SECTOR_DEG`](Self::SECTOR_DEG).
    pub fn new(machine: &Machine, cones: Cones) -> Self {
        Self { released: machine.released(), cones, sector_deg: Self::SECTOR_DEG }
    }

    /// The same engine with sectors of another width: successive fields whose axes lie within it release their energy each
    /// from its own direction, but share the cones of the field in their middle. At 0° every field has its own.
    pub fn with_sectors(self, sector_deg: f64) -> Self {
        Self { sector_deg, ..self }
    }
}

impl DoseEngine for CollapsedCone {
    fn dose(&self, density: &DensityVolume, fields: &[Field]) -> Result<Volume<f32>, DoseError> {
        let grid = density.grid();
        let matter = Matter::new(density, self.released.bone_attenuation)?;
        let sweeper = Sweeper::new(density.relative_electron(), &matter.bone);
        let mut energy = Volume::filled(grid, 0.0_f32);
        for field in fields {
            require_source_outside(density, field)?;
        }
        let mut primary = vec![0.0_f32; grid.n_voxels()];
        let mut scatter = vec![0.0_f32; grid.n_voxels()];
        for sector in self.sectors(fields) {
            primary.fill(0.0);
            scatter.fill(0.0);
            for field in sector {
                self.release(&matter, field, &mut primary, &mut scatter);
            }
            let directions = self.cones.directions(grid, &sector[sector.len() / 2].frame);
            sweeper.deposit(&directions, &primary, &scatter, energy.as_mut_slice());
        }
        Ok(energy.zip_map(density.mass_g_per_cm3(), |&energy, &mass| {
            (f64::from(energy) / f64::from(mass) * GY_G_PER_MEV) as f32
        })?)
    }
}

impl CollapsedCone {
    /// Successive fields whose axes lie within a sector of the first.
    fn sectors<'a>(&self, fields: &'a [Field]) -> Vec<&'a [Field]> {
        let widest = self.sector_deg.to_radians().cos();
        let mut sectors = Vec::new();
        let mut rest = fields;
        while let Some(first) = rest.first() {
            let axis = first.frame.direction();
            // Equal axes count as one sector even if it has no width, but for rounding.
            let n =
                rest.iter().take_while(|field| field.frame.direction().dot(axis) >= widest - 1e-12).count();
            let (sector, others) = rest.split_at(n.max(1));
            sectors.push(sector);
            rest = others;
        }
        sectors
    }

    /// Adds the energy that a field releases in each voxel, MeV/cm³: to electrons, and to scattered photons.
    fn release(&self, matter: &Matter<'_>, field: &Field, primary: &mut [f32], scatter: &mut [f32]) {
        let grid = matter.electron.grid();
        let (electron, bone) = (matter.electron.as_slice(), matter.bone.as_slice());
        let frame = &field.frame;
        let depth = RadiologicalDepth::new(&matter.attenuating, frame, field.fluence.extent_mm());
        let [ni, nj, _] = grid.size_ijk();
        let axis_distance_mm = frame.source_axis_distance_mm();
        let half_voxel_mm = 0.5 * grid.voxel_volume_mm3().cbrt();
        let rows = primary.par_chunks_mut(ni).zip(scatter.par_chunks_mut(ni)).enumerate();
        rows.for_each(|(row, (primary, scatter))| {
            let (j, k) = (row % nj, row / nj);
            let start = frame.beam_from_lps(grid.point_of(VoxelIndex::new(0, j, k)));
            let second = frame.beam_from_lps(grid.point_of(VoxelIndex::new(ni.min(2) - 1, j, k)));
            let step = [0, 1, 2].map(|axis| second[axis] - start[axis]);
            for i in 0..ni {
                let [x, y, z] = [0, 1, 2].map(|axis| start[axis] + i as f64 * step[axis]);
                let distance_mm = axis_distance_mm - z;
                let magnification = axis_distance_mm / distance_mm;
                let projected = [x * magnification, y * magnification];
                let fluence = field.fluence.mean_around(projected, half_voxel_mm * magnification);
                if fluence <= 0.0 {
                    continue;
                }
                let spread = axis_distance_mm.powi(2) / (x * x + y * y + distance_mm * distance_mm);
                let fluence = (field.weight * fluence * spread) as f32;
                let depth_cm = depth.at(projected, distance_mm);
                let at = row * ni + i;
                primary[i] += fluence * electron[at] * self.released.primary.at(depth_cm);
                scatter[i] += fluence * electron[at] * self.released.scatter.at(depth_cm);
                if bone[at] > 0.0 {
                    primary[i] += fluence * bone[at] * self.released.bone_primary.at(depth_cm);
                    scatter[i] += fluence * bone[at] * self.released.bone_scatter.at(depth_cm);
                }
            }
        });
    }
}

/// What photons meet.
struct Matter<'a> {
    /// Electron density relative to water.
    electron: &'a Volume<f32>,
    /// Electron density times the content of bone ([`bone_content`]).
    bone: Volume<f32>,
    /// Electrons of water that would attenuate as much.
    attenuating: Volume<f32>,
}

impl<'a> Matter<'a> {
    fn new(density: &'a DensityVolume, bone_attenuation: f32) -> Result<Self, DoseError> {
        let electron = density.relative_electron();
        let bone =
            electron.zip_map(density.mass_g_per_cm3(), |electron, &mass| electron * bone_content(mass))?;
        let attenuating = electron.zip_map(&bone, |electron, bone| electron + bone_attenuation * bone)?;
        Ok(Self { electron, bone, attenuating })
    }
}

/// Fails if the source is not in front of the whole grid.
pub(crate) fn require_source_outside(density: &DensityVolume, field: &Field) -> Result<(), DoseError> {
    let farthest = (density.grid().corner_points().iter())
        .map(|&corner| field.frame.beam_from_lps(corner)[2])
        .fold(f64::NEG_INFINITY, f64::max);
    if farthest >= field.frame.source_axis_distance_mm() {
        return Err(DoseError::SourceInside { source_lps: field.frame.source_lps().to_array() });
    }
    Ok(())
}
