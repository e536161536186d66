//! The directions in which energy travels, and how far.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};
use synthct_image::{Grid, VectorLps};
use synthct_rt::BeamFrame;

use crate::table::rows;

/// How finely directions are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cones {
    /// Twelve bands of angles to the beam, 88 directions.
    Fine,
    /// Seven bands, 52 directions: differs from the finer set by 0.5 % at most beyond the first millimetres.
    Fast,
}

/// One cone: where its axis points on the dose grid, and what travels along it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direction {
    /// A unit vector along i, j, k, where the beam's axis is.
    pub(crate) along_ijk: [f64; 3],
    /// The beam's axis, a unit vector along i, j, k.
    pub(crate) axis_ijk: [f64; 3],
    /// The source, in voxels: elsewhere the cone is turned as the ray from there is turned from the axis.
    pub(crate) source_ijk: [f64; 3],
    /// What electrons carry.
    pub(crate) electrons: Electrons,
    /// What scattered photons carry.
    pub(crate) photons: Photons,
}

/// Energy of electrons along a cone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Electrons {
    /// Their part of the collision kerma.
    pub(crate) fraction: f64,
    /// The part of that which they leave where they were set free.
    pub(crate) stays: f64,
    /// How fast the rest is laid down, per cm of water.
    pub(crate) per_cm: f64,
}

/// Energy of scattered photons along a cone, in two generations.
///
/// Photons that were scattered once are stopped exponentially; a part of their energy stays there, the rest goes on as photons
/// that are scattered again, of which nothing is lost either. So scatter builds up before it falls, as it does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Photons {
    /// Their part of TERMA less collision kerma.
    pub(crate) fraction: f64,
    /// How fast photons of one scattering are stopped, per cm of water.
    pub(crate) first_per_cm: f64,
    /// The part of their energy that stays where they are stopped.
    pub(crate) first_stays: f64,
    /// How fast the energy of the others is laid down, per cm of water.
    pub(crate) rest_per_cm: f64,
    /// How much faster cortical bone takes that, electron by electron, relative to water: photons scattered often are soft.
    pub(crate) bone_excess: f64,
}

impl Cones {
    /// All directions of a beam.
    pub(crate) fn directions(self, grid: &Grid, frame: &BeamFrame) -> Vec<Direction> {
        let table = match self {
            Self::Fine => include_str!("../../data/cones_88.csv"),
            Self::Fast => include_str!("../../data/cones_52.csv"),
        };
        let bands = bands(table);
        // The bands next to the axis are narrow and get half as many directions.
        let n_narrow = if self == Self::Fine { 2 } else { 1 };
        let axes = frame.lps_from_beam_matrix();
        let [x, y, z] = [0, 1, 2].map(|axis| VectorLps::from(axes.column(axis)));
        let at = grid.index_from_lps(frame.source_lps());
        let source_ijk = [at.i, at.j, at.k];
        let in_grid =
            |v: VectorLps| [0, 1, 2].map(|axis| VectorLps::from(grid.direction().column(axis)).dot(v));
        let axis_ijk = in_grid(frame.direction());
        let mut directions = Vec::new();
        for (n, band) in bands.iter().enumerate() {
            let n_azimuths = if n < n_narrow { 4 } else { 8 };
            let (s, c) = band.theta_deg.to_radians().sin_cos();
            // Every other band is turned by half a step, so that bands do not line up; all of them stay symmetric about
            // the beam's x and y axes, and with them the dose.
            let turn = 0.5 * (n % 2) as f64;
            for azimuth in 0..n_azimuths {
                let (sin, cos) = (TAU * (azimuth as f64 + turn) / n_azimuths as f64).sin_cos();
                let along = x * (s * cos) + y * (s * sin) + z * -c;
                let share = 1.0 / n_azimuths as f64;
                let Band { electrons, photons, .. } = *band;
                directions.push(Direction {
                    along_ijk: in_grid(along),
                    axis_ijk,
                    source_ijk,
                    electrons: Electrons { fraction: share * electrons.fraction, ..electrons },
                    photons: Photons { fraction: share * photons.fraction, ..photons },
                });
            }
        }
        directions
    }
}

/// The cones of one angle to the beam.
struct Band {
    theta_deg: f64,
    electrons: Electrons,
    photons: Photons,
}

/// The bands of a table.
///
/// Fractions and constants are fits to point kernels in water (EDKnrc, 0.25 to 6 MeV) for the 6 MV spectrum, of photons as it
/// is 5 cm deep: what they lay down within a distance agrees to 4 % of its own value from 1 to 60 cm.
/// The last column is how much of photons that were scattered more than once cortical bone takes relative to water, electron
/// by electron, as a mean over what they lay down within 10 cm (a simulation of the spectrum's photons in water, by Klein and
/// Nishina and XCOM); of photons of one scattering it takes 1 to 3 % more up to 90°, which is left out.
fn bands(table: &str) -> Vec<Band> {
    let band = |row: [f64; 9]| {
        let [theta_deg, electrons, stays, per_cm, photons, first_per_cm, first_stays, rest_per_cm, bone] =
            row;
        Band {
            theta_deg,
            electrons: Electrons { fraction: electrons, stays, per_cm },
            photons: Photons {
                fraction: photons,
                first_per_cm,
                first_stays,
                rest_per_cm,
                bone_excess: bone - 1.0,
            },
        }
    };
    rows::<9>(table).into_iter().map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_energy_is_carried_by_some_cone() {
        for (table, n) in
            [(include_str!("../../data/cones_88.csv"), 12), (include_str!("../../data/cones_52.csv"), 7)]
        {
            let bands = bands(table);
            assert_eq!(bands.len(), n);
            let electrons: f64 = bands.iter().map(|band| band.electrons.fraction).sum();
            let photons: f64 = bands.iter().map(|band| band.photons.fraction).sum();
            assert!((electrons - 1.0).abs() < 1e-5, "{electrons}");
            assert!((photons - 1.0).abs() < 1e-5, "{photons}");
        }
    }
}
