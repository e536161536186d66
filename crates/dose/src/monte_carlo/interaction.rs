//! How likely photons interact, and in what way.

use super::material::{TISSUES, Tissue, mixture};
use super::table::{EnergyTable, Position, log_log};

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
    /// All; photoelectric and pair as parts of all.
    tissues: Vec<EnergyTable<3>>,
}

impl PhotonTables {
    pub(super) fn new() -> Self {
        let of = |tissue: &Tissue| {
            let rows = tissue.rows::<4>(include_str!("../../data/photon_cross_sections.csv"));
            let column = |n: usize| -> Vec<[f64; 2]> { rows.iter().map(|row| [row[0], row[n]]).collect() };
            let (incoherent, photoelectric, pair) = (column(1), column(2), column(3));
            let scale = tissue.per_unit_electron_density();
            EnergyTable::new(|energy| {
                let [i, p, k] = [&incoherent, &photoelectric, &pair].map(|points| log_log(points, energy));
                let all = i + p + k;
                [all * scale, p / all, k / all]
            })
        };
        Self { tissues: TISSUES.iter().map(of).collect() }
    }

    /// Interactions a cm of matter of water's electron density.
    #[inline]
    pub(super) fn total_per_cm(&self, composition: f32, energy: Position) -> f32 {
        let (tissue, part) = mixture(composition);
        let low = self.tissues[tissue].one(energy, 0);
        let high = self.tissues[tissue + 1].one(energy, 0);
        low + part * (high - low)
    }

    /// The kind of interaction for a number in [0, 1).
    pub(super) fn kind(&self, composition: f32, energy: Position, uniform: f64) -> Interaction {
        let (tissue, part) = mixture(composition);
        let [all_low, photoelectric_low, pair_low] = self.tissues[tissue].at(energy);
        let [all_high, photoelectric_high, pair_high] = self.tissues[tissue + 1].at(energy);
        let (weight_low, weight_high) = ((1.0 - part) * all_low, part * all_high);
        let at = uniform as f32 * (weight_low + weight_high);
        let photoelectric = weight_low * photoelectric_low + weight_high * photoelectric_high;
        let pair = weight_low * pair_low + weight_high * pair_high;
        if at < photoelectric {
            Interaction::Photoelectric
        } else if at < photoelectric + pair {
            Interaction::Pair
        } else {
            Interaction::Compton
        }
    }

    /// The most interactions a cm of any matter in which each tissue occurs up to some electron density.
    pub(super) fn majorant(&self, densest: [f32; TISSUES.len()]) -> EnergyTable<1> {
        EnergyTable::new(|energy| {
            let position = super::table::locate(energy.min(super::table::HIGHEST_MEV * (1.0 - 1e-9)));
            let of = |(table, density): (&EnergyTable<3>, f32)| f64::from(density * table.one(position, 0));
            [std::iter::zip(&self.tissues, densest).map(of).fold(0.0, f64::max) * (1.0 + 1e-5)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monte_carlo::material::{WATER, composition};
    use crate::monte_carlo::table::locate;

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
                assert!(electron * tables.total_per_cm(composition, position) <= majorant.one(position, 0));
            }
        }
    }
}
