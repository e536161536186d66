//! Batches, and what their spread says.

use rayon::prelude::*;
use synthct_image::Volume;

use super::tally::{STEPS_PER_MEV, Tally};
use crate::DensityVolume;

/// Gy g per MeV.
const GY_G_PER_MEV: f64 = 1.602_176_634e-10;

/// How far a Monte Carlo computation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonteCarloProgress {
    /// Histories done.
    pub n_done: u64,
    /// Histories that there will be: an estimate where an uncertainty is wanted.
    pub n_expected: u64,
    /// The present mean standard deviation, as in [`MonteCarloDose`]; infinite as long as there is none.
    pub uncertainty_percent: f64,
}

/// Where the energy of a Monte Carlo computation went, MeV for each history.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EnergyBalance {
    /// What photons had at the source.
    pub emitted_mev: f64,
    /// What stayed in voxels.
    pub deposited_mev: f64,
    /// What left the grid, or missed it.
    pub escaped_mev: f64,
}

/// A dose with its statistical uncertainty.
#[derive(Clone, Debug)]
pub struct MonteCarloDose {
    /// The dose, Gy.
    pub dose_gy: Volume<f32>,
    /// Its standard deviation, Gy, from the spread of batches.
    pub sigma_gy: Volume<f32>,
    /// Histories.
    pub n_histories: u64,
    /// The root mean square of the relative standard deviation, in per cent, over voxels of at least half of the largest
    /// dose and 0.1 g/cm³.
    pub uncertainty_percent: f64,
    /// Where the energy went.
    pub energy: EnergyBalance,
    /// What it was made of.
    pub(super) batches: Batches,
}

/// Sums over batches.
#[derive(Clone, Debug)]
pub(super) struct Batches {
    mass_g_per_cm3: Volume<f32>,
    /// Energy of each voxel, MeV: the sum over batches, and the sum of squares, each over the batch's histories.
    sums: Vec<[f64; 2]>,
    emitted: u128,
    deposited: u128,
    escaped: u128,
    n_added: u64,
    n_histories: u64,
}

impl Batches {
    pub(super) fn new(density: &DensityVolume) -> Self {
        let mass_g_per_cm3 = density.mass_g_per_cm3().clone();
        let sums = vec![[0.0; 2]; mass_g_per_cm3.grid().n_voxels()];
        Self { mass_g_per_cm3, sums, emitted: 0, deposited: 0, escaped: 0, n_added: 0, n_histories: 0 }
    }

    /// Takes what all workers counted in one batch, and clears it.
    pub(super) fn add(&mut self, tallies: &mut [&mut Tally], n_histories: u64) {
        const PART: usize = 1 << 14;
        for tally in tallies.iter_mut() {
            self.emitted += u128::from(std::mem::take(&mut tally.emitted));
            self.escaped += u128::from(std::mem::take(&mut tally.escaped));
        }
        let per_history = 1.0 / n_histories as f64;
        let mut parts: Vec<Vec<&mut [u64]>> = Vec::new();
        for tally in tallies {
            for (n, part) in tally.voxels.chunks_mut(PART).enumerate() {
                if parts.len() <= n {
                    parts.push(Vec::new());
                }
                parts[n].push(part);
            }
        }
        self.deposited += self
            .sums
            .par_chunks_mut(PART)
            .zip(parts)
            .map(|(sums, mut workers)| {
                let mut total = 0_u128;
                for (n, sum) in sums.iter_mut().enumerate() {
                    let steps: u64 = workers.iter_mut().map(|voxels| std::mem::take(&mut voxels[n])).sum();
                    total += u128::from(steps);
                    let energy = steps as f64 / STEPS_PER_MEV;
                    sum[0] += energy;
                    sum[1] += energy * energy * per_history;
                }
                total
            })
            .sum::<u128>();
        self.n_added += 1;
        self.n_histories += n_histories;
    }

    /// The relative standard deviation of a voxel's sum: batches of n histories spread about their share of it with a
    /// variance proportional to n.
    fn relative_sigma(&self, [sum, squares]: [f64; 2]) -> f64 {
        if self.n_added < 2 || sum <= 0.0 {
            return f64::INFINITY;
        }
        let spread = (self.n_histories as f64 * squares / (sum * sum) - 1.0).max(0.0);
        (spread / (self.n_added - 1) as f64).sqrt()
    }

    /// See [`MonteCarloDose::uncertainty_percent`].
    pub(super) fn uncertainty_percent(&self) -> f64 {
        const LIGHTEST_G_PER_CM3: f32 = 0.1;
        let doses = || {
            std::iter::zip(&self.sums, self.mass_g_per_cm3.as_slice())
                .filter(|(_, mass)| **mass >= LIGHTEST_G_PER_CM3)
                .map(|(sums, mass)| (*sums, sums[0] / f64::from(*mass)))
        };
        let largest = doses().fold(0.0_f64, |largest, (_, dose)| largest.max(dose));
        let (n, squares) = doses()
            .filter(|(_, dose)| *dose > 0.0 && *dose >= 0.5 * largest)
            .fold((0.0, 0.0), |(n, squares), (sums, _)| {
                (n + 1.0, squares + self.relative_sigma(sums).powi(2))
            });
        if n > 0.0 { 100.0 * (squares / n).sqrt() } else { f64::INFINITY }
    }

    /// How many histories would bring the uncertainty down to some per cent.
    pub(super) fn histories_for(&self, percent: f64) -> u64 {
        (self.n_histories as f64 * (self.uncertainty_percent() / percent).powi(2)).ceil() as u64
    }

    /// The dose of so many photons.
    pub(super) fn dose(self, n_photons: f64) -> MonteCarloDose {
        let grid = self.mass_g_per_cm3.grid();
        let histories = (self.n_histories as f64).max(1.0);
        let cm3 = 1e-3 * grid.voxel_volume_mm3();
        let gy = |[sum, _]: [f64; 2], mass: f32| {
            sum * (n_photons / histories) * (GY_G_PER_MEV / (f64::from(mass) * cm3))
        };
        let of = |value: &dyn Fn([f64; 2], f32) -> f64| {
            let values = std::iter::zip(&self.sums, self.mass_g_per_cm3.as_slice());
            let mut volume = Volume::filled(grid, 0.0_f32);
            for (voxel, (sums, mass)) in std::iter::zip(volume.as_mut_slice(), values) {
                *voxel = value(*sums, *mass) as f32;
            }
            volume
        };
        let sigma = |sums: [f64; 2], mass: f32| {
            if sums[0] > 0.0 { self.relative_sigma(sums) * gy(sums, mass) } else { 0.0 }
        };
        let mean = |steps: u128| steps as f64 / STEPS_PER_MEV / histories;
        let (dose_gy, sigma_gy) = (of(&gy), of(&sigma));
        MonteCarloDose {
            dose_gy,
            sigma_gy,
            n_histories: self.n_histories,
            uncertainty_percent: if n_photons > 0.0 { self.uncertainty_percent() } else { 0.0 },
            energy: EnergyBalance {
                emitted_mev: mean(self.emitted),
                deposited_mev: mean(self.deposited),
                escaped_mev: mean(self.escaped),
            },
            batches: self,
        }
    }
}
