//! How likely photons interact, and in what way.

use super::material::{TISSUES, mixture};
use super::table::{EnergyTable, HIGHEST_MEV, Position, locate, log_log};

/// What photons do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interaction {
    Compton,
    Photoelectric,
    Pair,
}

/// Interactions of photons a cm, in matter of water's electron density, by tissue.
///
/// Coherent scatter is left out: at megavolts it turns photons by less than a degree and gives off nothing.
///
/// # References
/// NIST XCOM, doi:10.18434/T48G6X; incoherent scatter with the binding of electrons, pairs in the fields of nuclei and
/// of electrons together.
#[derive(Clone, Debug)]
pub(super) struct PhotonTables {
    /// All interactions, photoelectric ones and pairs.
    tissues: EnergyTable<3, { TISSUES.len() }>,
}

impl PhotonTables {
    pub(super) fn new() -> Self {
        let columns = TISSUES.map(|tissue| {
            let rows = tissue.rows::<4>(include_str!("../../data/photon_cross_sections.csv"));
            let column = |n: usize| -> Vec<[f64; 2]> { rows.iter().map(|row| [row[0], row[n]]).collect() };
            ([column(1), column(2), column(3)], tissue.per_unit_electron_density())
        });
        let tissues = EnergyTable::new(|tissue, energy| {
            let (columns, scale) = &columns[tissue];
            let [incoherent, photoelectric, pair] =
                [0, 1, 2].map(|column| scale * log_log(&columns[column], energy));
            [incoherent + photoelectric + pair, photoelectric, pair]
        });
        Self { tissues }
    }

    /// Interactions a cm of matter of water's electron density.
    #[inline]
    pub(super) fn total_per_cm(&self, composition: f32, energy: Position) -> f32 {
        let (tissue, part) = mixture(composition);
        let (low, high) = (self.tissues.one(energy, tissue, 0), self.tissues.one(energy, tissue + 1, 0));
        low + part * (high - low)
    }

    /// The kind of interaction for a number in [0, 1).
    #[inline]
    pub(super) fn kind(&self, composition: f32, energy: Position, uniform: f64) -> Interaction {
        let [all, photoelectric, pair] = self.tissues.mixed(energy, mixture(composition));
        let at = uniform as f32 * all;
        if at < photoelectric {
            Interaction::Photoelectric
        } else if at < photoelectric + pair {
            Interaction::Pair
        } else {
            Interaction::Compton
        }
    }

    /// The most interactions a cm of any matter in which each tissue occurs up to some electron density.
    pub(super) fn majorant(&self, densest: [f32; TISSUES.len()]) -> EnergyTable<1, 1> {
        EnergyTable::new(|_, energy| {
            // The table ends where the energies do.
            let position = locate(energy.min(HIGHEST_MEV * (1.0 - 1e-9)));
            let of =
                |(tissue, density): (usize, f32)| f64::from(density * self.tissues.one(position, tissue, 0));
            [densest.into_iter().enumerate().map(of).fold(0.0, f64::max) * (1.0 + 1e-5)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monte_carlo::material::{WATER, composition};

    #[test]
    fn water_attenuates_as_nist_says() {
        let tables = PhotonTables::new();
        // Total attenuation without coherent scatter, cm²/g, of XCOM's own energies, which lie between our points.
        for (energy, expected) in [
            (0.03, 0.328_64),
            (0.1, 0.165_36),
            (0.5, 0.096_636),
            (1.0, 0.070_659),
            (2.0, 0.049_399),
            (6.0, 0.027_696),
        ] {
            let found = f64::from(tables.total_per_cm(WATER as f32, locate(energy)));
            assert!((found / expected - 1.0).abs() < 2e-3, "{energy} MeV: {found} instead of {expected}");
        }
    }

    #[test]
    fn the_majorant_is_never_below() {
        let tables = PhotonTables::new();
        let mut densest = [0.0_f32; TISSUES.len()];
        let voxels: Vec<(f32, f32)> =
            [0.0012_f64, 0.3, 0.97, 1.3, 1.9].map(|density| (composition(density), density as f32)).to_vec();
        for &(composition, electron) in &voxels {
            let (low, _) = mixture(composition);
            for tissue in [low, low + 1] {
                densest[tissue] = densest[tissue].max(electron);
            }
        }
        let majorant = tables.majorant(densest);
        for step in 0..400 {
            let position = locate(0.02 * 1.016_f64.powi(step));
            for &(composition, electron) in &voxels {
                assert!(
                    electron * tables.total_per_cm(composition, position) <= majorant.one(position, 0, 0)
                );
            }
        }
    }
}
