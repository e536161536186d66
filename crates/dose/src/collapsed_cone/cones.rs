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
    /// A unit vector along i, j, k.
    pub(crate) along_ijk: [f64; 3],
    /// What electrons carry, of the collision kerma.
    pub(crate) primary: Travel,
    /// What scattered photons carry, of TERMA less collision kerma.
    pub(crate) scatter: Travel,
    /// What electrons leave where they were set free, of the collision kerma.
    pub(crate) stays: f64,
}

/// A part of the energy that is laid down exponentially.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Travel {
    /// The part of all energy of its kind.
    pub(crate) fraction: f64,
    /// How fast it is laid down, per cm of water.
    pub(crate) per_cm: f64,
}

/// Above this a part is laid down within a voxel, per cm.
const STAYS_PER_CM: f64 = 10.0;

impl Cones {
    /// All directions of a beam.
    pub(crate) fn directions(self, grid: &Grid, frame: &BeamFrame) -> Vec<Direction> {
        let table = match self {
            Self::Fine => include_str!("../../data/cones_88.csv"),
            Self::Fast => include_str!("../../data/cones_52.csv"),
        };
        let bands = bands(&rows::<4>(table));
        // The bands next to the axis are narrow and get half as many directions.
        let n_narrow = if self == Self::Fine { 2 } else { 1 };
        let axes = frame.lps_from_beam_matrix();
        let [x, y, z] = [0, 1, 2].map(|axis| VectorLps::from(axes.column(axis)));
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
                let along_ijk =
                    [0, 1, 2].map(|axis| VectorLps::from(grid.direction().column(axis)).dot(along));
                let share = 1.0 / n_azimuths as f64;
                let of = |travel: Travel| Travel { fraction: travel.fraction * share, ..travel };
                directions.push(Direction {
                    along_ijk,
                    primary: of(band.primary),
                    scatter: of(band.scatter),
                    stays: band.stays * share,
                });
            }
        }
        directions
    }
}

/// The cones of one angle to the beam.
#[derive(Default)]
struct Band {
    theta_deg: f64,
    primary: Travel,
    scatter: Travel,
    stays: f64,
}

fn bands(rows: &[[f64; 4]]) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for &[theta_deg, part, fraction, per_cm] in rows {
        if bands.last().is_none_or(|band| (band.theta_deg - theta_deg).abs() > 1e-9) {
            bands.push(Band { theta_deg, ..Band::default() });
        }
        let Some(band) = bands.last_mut() else { continue };
        if part > 0.5 {
            band.scatter = Travel { fraction, per_cm };
        } else if per_cm > STAYS_PER_CM {
            band.stays += fraction;
        } else {
            // Of two slow parts the larger one's constant stands for both.
            let per_cm = if fraction > band.primary.fraction { per_cm } else { band.primary.per_cm };
            band.primary = Travel { fraction: band.primary.fraction + fraction, per_cm };
        }
    }
    bands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_add_up() {
        for (table, n) in
            [(include_str!("../../data/cones_88.csv"), 12), (include_str!("../../data/cones_52.csv"), 7)]
        {
            let bands = bands(&rows::<4>(table));
            assert_eq!(bands.len(), n);
            let electrons: f64 = bands.iter().map(|band| band.primary.fraction + band.stays).sum();
            let photons: f64 = bands.iter().map(|band| band.scatter.fraction).sum();
            assert!((electrons - 1.0).abs() < 0.01, "{electrons}");
            assert!((photons - 0.91).abs() < 0.01, "{photons}");
        }
    }
}
