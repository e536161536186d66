//! How electrons lose energy and turn: tables of what happens along a cm.

use super::constants::{
    AVOGADRO_PER_MOL, BOHR_RADIUS_CM, ELECTRON_MEV, ELECTRON_RADIUS_CM, FINE_STRUCTURE, HBAR_C_MEV_CM,
    beta_squared, momentum_mev,
};
use super::material::{TISSUES, Tissue, WATER, mixture};
use super::table::{EnergyTable, HIGHEST_MEV, Position, locate, log_log};
use crate::table::piecewise;

/// Electrons below this kinetic energy stop where they are: 0.45 mm of water at most.
pub(super) const ELECTRON_CUTOFF_MEV: f64 = 0.2;
/// Photons below this energy are absorbed where they are; bremsstrahlung below it is part of the stopping power.
pub(super) const PHOTON_CUTOFF_MEV: f64 = 0.02;

/// What happens to an electron along a cm of matter of water's electron density.
#[derive(Clone, Copy, Debug)]
pub(super) struct Along {
    /// The energy lost to transfers below the cut-offs, MeV.
    pub(super) stopping_mev: f64,
    /// Electrons knocked out above the cut-off.
    pub(super) knock_ons: f64,
    /// Photons radiated above the cut-off.
    pub(super) photons: f64,
    /// The first and second inverse transport mean free paths of soft deflections: the mean of 1 - cos θ, and of
    /// 3/2 sin² θ.
    pub(super) transport: [f64; 2],
}

/// [`Along`] over energy, by tissue.
///
/// # References
/// Collision and radiative stopping powers of NIST ESTAR, doi:10.18434/T4NC7P, less what knock-on electrons above the
/// cut-off take (Møller 1932, doi:10.1002/andp.19324060506).
/// Deflections of the screened Rutherford cross section with Molière's angle of screening (Bethe 1953,
/// doi:10.1103/PhysRev.89.1256), Z² for nuclei and Z for electrons up to the angle of a knock-on at the cut-off. No spin.
#[derive(Clone, Debug)]
pub(super) struct ElectronTables {
    tissues: EnergyTable<5, { TISSUES.len() }>,
    /// No matter has more hard events for each MeV of soft loss, 1/MeV.
    pub(super) hard_per_mev: f64,
}

impl ElectronTables {
    /// Tables for electrons up to some energy.
    pub(super) fn new(highest_mev: f64) -> Self {
        let rows =
            TISSUES.map(|tissue| tissue.rows::<4>(include_str!("../../data/electron_stopping_powers.csv")));
        let tissues = EnergyTable::new(|place, energy| {
            let (tissue, rows) = (&TISSUES[place], &rows[place]);
            let column = |n: usize| -> Vec<[f64; 2]> { rows.iter().map(|row| [row[0], row[n]]).collect() };
            let density = tissue.per_unit_electron_density();
            let collision = log_log(&column(1), energy) + less_dense(tissue, &column(3), energy);
            let (collision, radiative) = (density * collision, density * log_log(&column(2), energy));
            let (photons, soft_radiative) = bremsstrahlung(radiative, energy);
            let (knock_ons, hard_collision) = knock_ons(energy);
            let [first, second] = transport(tissue, density, energy);
            [collision - hard_collision + soft_radiative, knock_ons, photons, first, second]
        });
        let mut tables = Self { tissues, hard_per_mev: 0.0 };
        let highest_mev = highest_mev.min(HIGHEST_MEV * (1.0 - 1e-9));
        let (n, mut most) = (2000, 0.0_f64);
        for step in 0..=n {
            let ratio = (highest_mev / ELECTRON_CUTOFF_MEV).powf(f64::from(step) / f64::from(n));
            let energy = (ELECTRON_CUTOFF_MEV * ratio).min(highest_mev);
            for tissue in 0..TISSUES.len() {
                let along = tables.along(tissue as f32, locate(energy));
                most = most.max((along.knock_ons + along.photons) / along.stopping_mev);
            }
        }
        tables.hard_per_mev = 1.001 * most;
        tables
    }

    #[inline]
    pub(super) fn along(&self, composition: f32, energy: Position) -> Along {
        let [stopping, knock_ons, photons, first, second] =
            self.tissues.mixed(energy, mixture(composition)).map(f64::from);
        Along { stopping_mev: stopping, knock_ons, photons, transport: [first, second] }
    }

    /// The energy lost softly in a cm, MeV.
    #[inline]
    pub(super) fn stopping_mev(&self, composition: f32, energy: Position) -> f64 {
        let (tissue, part) = mixture(composition);
        let (low, high) = (self.tissues.one(energy, tissue, 0), self.tissues.one(energy, tissue + 1, 0));
        f64::from(low + part * (high - low))
    }
}

/// What a tissue's collision stopping power gains at the density at which it occurs, MeV cm²/g, for the density effect δ of
/// the table.
///
/// Matter in a voxel counts as homogeneous, and inflated lung is polarized less than lung tissue: δ depends on momentum and
/// density by p √ρ alone (Sternheimer, Berger, Seltzer 1984, doi:10.1016/0092-640X(84)90002-0, on gases).
fn less_dense(tissue: &Tissue, density_effect: &[[f64; 2]], kinetic_mev: f64) -> f64 {
    let effect = |kinetic_mev: f64| {
        let [effect] = piecewise(density_effect, kinetic_mev, |&[energy, effect]| (energy, [effect]));
        effect
    };
    let momentum =
        momentum_mev(kinetic_mev) * (tissue.density_g_per_cm3 / tissue.table_density_g_per_cm3).sqrt();
    let alike = momentum.hypot(ELECTRON_MEV) - ELECTRON_MEV;
    let scale = 2.0 * std::f64::consts::PI * ELECTRON_RADIUS_CM.powi(2) * ELECTRON_MEV * AVOGADRO_PER_MOL;
    scale * tissue.electrons_mol_per_g() / beta_squared(kinetic_mev) * (effect(kinetic_mev) - effect(alike))
}

/// Photons radiated above the cut-off, and energy radiated below it, for a radiative stopping power.
///
/// The spectrum is (1 - x + 3/4 x²)/k with x = k/T: that of the complete-screening formula, here of the kinetic energy, so
/// scaled that it radiates as much as the stopping power says.
fn bremsstrahlung(radiative_mev: f64, kinetic_mev: f64) -> (f64, f64) {
    let scale = radiative_mev / (0.75 * kinetic_mev);
    let cut = PHOTON_CUTOFF_MEV.min(kinetic_mev);
    let x = cut / kinetic_mev;
    let photons = scale * (-x.ln() - (1.0 - x) + 0.375 * (1.0 - x * x));
    (photons, scale * cut * (1.0 - 0.5 * x + 0.25 * x * x))
}

/// Møller's cross section of the part ε of the kinetic energy that an electron at rest gets, relative to its scale.
pub(super) fn moller(part: f64, kinetic_mev: f64) -> f64 {
    let gamma = 1.0 + kinetic_mev / ELECTRON_MEV;
    let left = 1.0 - part;
    1.0 / (part * part) + 1.0 / (left * left) + ((gamma - 1.0) / gamma).powi(2)
        - (2.0 * gamma - 1.0) / (gamma * gamma * part * left)
}

/// Electrons knocked out above the cut-off in a cm of water, and the energy that they take, MeV.
fn knock_ons(kinetic_mev: f64) -> (f64, f64) {
    const STEPS: usize = 400;
    let from = ELECTRON_CUTOFF_MEV / kinetic_mev;
    if from >= 0.5 {
        return (0.0, 0.0);
    }
    let electrons = AVOGADRO_PER_MOL * TISSUES[WATER].electrons_mol_per_g();
    let scale = 2.0 * std::f64::consts::PI * ELECTRON_RADIUS_CM.powi(2) * ELECTRON_MEV * electrons
        / (beta_squared(kinetic_mev) * kinetic_mev);
    // Simpson's rule in ln ε.
    let width = (0.5 / from).ln() / STEPS as f64;
    let (mut number, mut energy) = (0.0, 0.0);
    for step in 0..=STEPS {
        let part = from * (step as f64 * width).exp();
        let simpson = match step {
            0 | STEPS => 1.0,
            _ if step % 2 == 1 => 4.0,
            _ => 2.0,
        };
        let value = simpson * width / 3.0 * part * moller(part, kinetic_mev);
        number += value;
        energy += value * part * kinetic_mev;
    }
    (scale * number, scale * energy)
}

/// (1 - cos θ)/2 of an electron that has lost some energy to one at rest.
pub(super) fn deflection_of_loss(kinetic_mev: f64, lost_mev: f64) -> f64 {
    let left = kinetic_mev - lost_mev;
    let squared = left * (kinetic_mev + 2.0 * ELECTRON_MEV) / (kinetic_mev * (left + 2.0 * ELECTRON_MEV));
    0.5 * (1.0 - squared.min(1.0).sqrt())
}

/// The inverse transport mean free paths, 1/cm, of soft deflections at a mass density in g/cm³.
fn transport(tissue: &Tissue, density_g_per_cm3: f64, kinetic_mev: f64) -> [f64; 2] {
    let beta2 = beta_squared(kinetic_mev);
    let momentum = momentum_mev(kinetic_mev);
    let gamma = 1.0 + kinetic_mev / ELECTRON_MEV;
    let rutherford = std::f64::consts::PI * ELECTRON_RADIUS_CM.powi(2) / (beta2 * gamma).powi(2);
    let lost = ELECTRON_CUTOFF_MEV.min(0.5 * kinetic_mev);
    let widest_soft = deflection_of_loss(kinetic_mev, lost);
    let mut sums = [0.0; 2];
    for &((z, a), fraction) in tissue.elements {
        let atoms = AVOGADRO_PER_MOL * density_g_per_cm3 * fraction / a;
        let radius_cm = 0.885 * BOHR_RADIUS_CM / z.cbrt();
        let screening = (HBAR_C_MEV_CM / (momentum * radius_cm)).powi(2)
            * (1.13 + 3.76 * (FINE_STRUCTURE * z).powi(2) / beta2)
            / 4.0;
        for (charges, widest) in [(z * z, 1.0), (z, widest_soft)] {
            let logarithm = ((widest + screening) / screening).ln();
            let rest = widest / (widest + screening);
            let mean = logarithm - rest;
            let mean_square = widest - 2.0 * screening * logarithm + screening * rest;
            sums[0] += 2.0 * atoms * rutherford * charges * mean;
            sums[1] += 6.0 * atoms * rutherford * charges * (mean - mean_square);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The range of electrons that lose all energy continuously, cm of water, from one energy down to another.
    fn range_cm(from_mev: f64, to_mev: f64, stopping: impl Fn(f64) -> f64) -> f64 {
        let n = 4000;
        let width = (from_mev - to_mev) / f64::from(n);
        (0..n).map(|step| width / stopping(to_mev + (f64::from(step) + 0.5) * width)).sum()
    }

    #[test]
    fn soft_and_hard_losses_together_give_the_ranges_of_estar() {
        let tables = ElectronTables::new(7.0);
        let total = |energy: f64| {
            let along = tables.along(WATER as f32, locate(energy));
            // What is radiated above the cut-off, by the shape of the spectrum.
            let n = 2000;
            let width = (energy / PHOTON_CUTOFF_MEV).ln() / f64::from(n);
            let (mut number, mut radiated) = (0.0, 0.0);
            for step in 0..n {
                let k = PHOTON_CUTOFF_MEV * ((f64::from(step) + 0.5) * width).exp();
                let shape = 1.0 - k / energy + 0.75 * (k / energy).powi(2);
                number += width * shape;
                radiated += width * shape * k;
            }
            along.stopping_mev + knock_ons(energy).1 + along.photons * radiated / number
        };
        // CSDA ranges in water, g/cm², of NIST ESTAR.
        let estar = [(0.2, 0.044_88), (0.5, 0.176_6), (1.0, 0.436_7), (2.0, 0.978_5), (6.0, 3.052)];
        for pair in estar.windows(2) {
            let found = range_cm(pair[1].0, pair[0].0, total);
            let expected = pair[1].1 - pair[0].1;
            assert!((found / expected - 1.0).abs() < 3e-3, "{pair:?}: {found} instead of {expected}");
        }
    }

    #[test]
    fn knock_ons_become_rutherfords_far_below_the_energy() {
        // For W << T the cross section is that of 1/W²: 0.1535 MeV cm²/g Z/A /β² (1/W_c - 1/W_max) and so on.
        let (number, energy) = knock_ons(15.0);
        let scale = 0.153_54 * TISSUES[WATER].electrons_mol_per_g() / beta_squared(15.0);
        let rutherford = scale * (1.0 / ELECTRON_CUTOFF_MEV - 1.0 / 7.5);
        assert!((number / rutherford - 1.0).abs() < 0.03, "{number} {rutherford}");
        let logarithm = scale * (7.5 / ELECTRON_CUTOFF_MEV).ln();
        assert!((energy / logarithm - 1.0).abs() < 0.25, "{energy} {logarithm}");
        assert!(knock_ons(0.4).0.abs() < 1e-12 && knock_ons(0.41).0 > 0.0);
    }

    #[test]
    fn inflated_lung_stops_more_than_its_tissue() {
        let tables = ElectronTables::new(7.0);
        // Water's and lung tissue's stopping powers differ by 1 % at most for each electron.
        let ratio = |energy: f64| {
            let [lung, water] =
                [1, WATER].map(|tissue| tables.along(tissue as f32, locate(energy)).stopping_mev);
            lung / water - 1.0
        };
        assert!(ratio(0.3).abs() < 0.01, "no density effect at low energies: {}", ratio(0.3));
        // Far above all binding δ falls by ln(1.05/0.26) = 1.4, times 0.0852 MeV/cm of 1.95 or less what is hard.
        assert!((0.05..0.09).contains(&ratio(15.0)), "{}", ratio(15.0));
        assert!((0.015..0.05).contains(&ratio(2.0)), "{}", ratio(2.0));
    }

    #[test]
    fn scattering_is_of_the_known_size() {
        let tables = ElectronTables::new(7.0);
        // Twice the mean of 1 - cos θ is the scattering power. Rossi's formula, (21.2 MeV/pβ)²/X0 in space, is
        // an upper bound at small depths and right within a third.
        for energy in [1.0, 3.0, 6.0] {
            let power = 2.0 * tables.along(WATER as f32, locate(energy)).transport[0];
            let rossi = (21.2 / (momentum_mev(energy) * beta_squared(energy).sqrt())).powi(2) / 36.08;
            assert!((0.5..1.0).contains(&(power / rossi)), "{energy} MeV: {power} beside {rossi}");
        }
        // Bone turns electrons more than water of as many electrons does, nearly as its mean Z + 1.
        let [water, bone] =
            [WATER, WATER + 2].map(|tissue| tables.along(tissue as f32, locate(1.0)).transport[0]);
        assert!((1.3..1.7).contains(&(bone / water)), "{}", bone / water);
    }
}
