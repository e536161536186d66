//! Constants of nature (CODATA 2018).

/// The rest energy of an electron, MeV.
pub(super) const ELECTRON_MEV: f64 = 0.510_998_95;
/// The classical radius of an electron, cm.
pub(super) const ELECTRON_RADIUS_CM: f64 = 2.817_940_326_2e-13;
/// Avogadro's number, 1/mol.
pub(super) const AVOGADRO_PER_MOL: f64 = 6.022_140_76e23;
/// Planck's reduced constant times the speed of light, MeV cm.
pub(super) const HBAR_C_MEV_CM: f64 = 1.973_269_804e-11;
/// The Bohr radius, cm.
pub(super) const BOHR_RADIUS_CM: f64 = 5.291_772_109_03e-9;
/// The fine-structure constant.
pub(super) const FINE_STRUCTURE: f64 = 7.297_352_569_3e-3;

/// β² of an electron of some kinetic energy.
pub(super) fn beta_squared(kinetic_mev: f64) -> f64 {
    let tau = kinetic_mev / ELECTRON_MEV;
    tau * (tau + 2.0) / ((tau + 1.0) * (tau + 1.0))
}

/// The momentum of an electron of some kinetic energy, times the speed of light, MeV.
pub(super) fn momentum_mev(kinetic_mev: f64) -> f64 {
    (kinetic_mev * (kinetic_mev + 2.0 * ELECTRON_MEV)).sqrt()
}
