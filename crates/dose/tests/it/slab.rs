//! Fields on phantoms made of slabs.

use synthct_dose::{CollapsedCone, Cones, DensityVolume, DoseEngine, DoseError, Field, Fluence, Machine};
use synthct_image::{Grid, PointLps, Volume, VoxelIndex};
use synthct_rt::{BeamAngles, BeamFrame, Jaws, PatientPosition};

/// A slab from one depth to another, in cm, with mass density and relative electron density.
pub(crate) struct Slab {
    pub(crate) from_cm: f64,
    pub(crate) to_cm: f64,
    pub(crate) densities: [f32; 2],
}

/// ICRP cortical bone of 1.85 g/cm³ (Z/A 0.5213 beside water's 0.5551).
pub(crate) const BONE: [f32; 2] = [1.85, 1.737];
/// Lung of 0.26 g/cm³.
pub(crate) const LUNG: [f32; 2] = [0.26, 0.258];

/// A cube of water with slabs across y, whose anterior face is at y = 0.
pub(crate) fn phantom(n: usize, spacing_mm: f64, slabs: &[Slab]) -> Result<DensityVolume, DoseError> {
    let half_mm = 0.5 * (n - 1) as f64 * spacing_mm;
    let origin = PointLps::new(-half_mm, 0.5 * spacing_mm, -half_mm);
    let grid = Grid::axis_aligned([n; 3], [spacing_mm; 3], origin)?;
    let density = |which: usize| {
        Volume::from_point_fn(&grid, |point| {
            let depth_cm = 0.1 * point.y;
            let slab = slabs.iter().find(|slab| depth_cm > slab.from_cm && depth_cm < slab.to_cm);
            slab.map_or(1.0, |slab| slab.densities[which])
        })
    };
    DensityVolume::new(density(0), density(1))
}

/// A square field from a gantry angle, isocenter at `isocenter_lps`.
pub(crate) fn field(gantry_deg: f64, isocenter_lps: PointLps, width_mm: f64, distance_mm: f64) -> Field {
    let angles = BeamAngles { gantry_deg, collimator_deg: 0.0, couch_deg: 0.0 };
    let edges = [-0.5 * width_mm, 0.5 * width_mm];
    Field {
        frame: BeamFrame::new(PatientPosition::Hfs, isocenter_lps, angles, distance_mm),
        fluence: Fluence::new(&Machine::point_source_6mv(), &Jaws { x_mm: edges, y_mm: edges }, None),
        weight: 1.0,
    }
}

pub(crate) fn dose(density: &DensityVolume, fields: &[Field]) -> Result<Volume<f32>, DoseError> {
    CollapsedCone::new(&Machine::point_source_6mv(), Cones::Fine).dose(density, fields)
}

/// The mean over the central 15 × 15 mm at each depth.
pub(crate) fn central_axis(dose: &Volume<f32>) -> Vec<f64> {
    let [ni, nj, nk] = dose.grid().size_ijk();
    (0..nj)
        .map(|j| {
            let (mut sum, mut count) = (0.0, 0);
            for (k, i) in (0..nk).flat_map(|k| (0..ni).map(move |i| (k, i))) {
                let point = dose.grid().point_of(VoxelIndex::new(i, j, k));
                if point.x.abs() < 7.5 && point.z.abs() < 7.5 {
                    sum += f64::from(dose[VoxelIndex::new(i, j, k)]);
                    count += 1;
                }
            }
            sum / f64::from(count)
        })
        .collect()
}
