//! Where energy goes.

/// Energy in whole steps of 2⁻³² MeV: sums of whole numbers do not depend on their order.
pub(super) const STEPS_PER_MEV: f64 = (1_u64 << 32) as f64;

/// What one worker has counted.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Energy laid down in each voxel, in steps.
    pub(super) voxels: Vec<u64>,
    /// Energy that came from the source, and energy that left, in steps.
    pub(super) emitted: u64,
    pub(super) escaped: u64,
}

impl Tally {
    pub(super) fn new(n_voxels: usize) -> Self {
        Self { voxels: vec![0; n_voxels], emitted: 0, escaped: 0 }
    }

    #[inline]
    pub(super) fn deposit(&mut self, voxel: usize, energy_mev: f64) {
        self.voxels[voxel] += steps(energy_mev);
    }

    #[inline]
    pub(super) fn escape(&mut self, energy_mev: f64) {
        self.escaped += steps(energy_mev);
    }

    #[inline]
    pub(super) fn emit(&mut self, energy_mev: f64) {
        self.emitted += steps(energy_mev);
    }
}

#[inline]
fn steps(energy_mev: f64) -> u64 {
    (energy_mev * STEPS_PER_MEV + 0.5) as u64
}
