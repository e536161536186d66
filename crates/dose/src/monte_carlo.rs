//! Monte Carlo transport of photons and electrons.

mod compton;
mod constants;
mod deflection;
mod direction;
mod interaction;
mod material;
mod medium;
mod shower;
mod source;
mod statistics;
mod stopping;
mod stream;
mod table;
mod tally;

pub use statistics::{EnergyBalance, MonteCarloDose, MonteCarloProgress};

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use synthct_image::Volume;

use crate::collapsed_cone::require_source_outside;
use crate::{DensityVolume, DoseEngine, DoseError, Field, Machine};
use medium::Medium;
use shower::{Physics, Shower};
use source::{Source, n_photons};
use statistics::Batches;
use stream::Stream;
use table::{HIGHEST_MEV, LOWEST_MEV};
use tally::Tally;

/// How long a Monte Carlo computation goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MonteCarloStop {
    /// So many histories.
    Histories(u64),
    /// Until the mean standard deviation where the dose is at least half of the largest is so many per cent of the dose.
    Uncertainty {
        /// Per cent, one standard deviation.
        percent: f64,
    },
}

/// Dose by Monte Carlo: the independent second engine.
///
/// Photons fly through voxels by Woodcock tracking and scatter (Klein and Nishina, on electrons at rest), are absorbed or
/// make pairs, with cross sections of NIST XCOM. Electrons and positrons lose energy continuously (NIST ESTAR, below the
/// cut-off) and turn at a random hinge in each step; electrons knocked out above 0.2 MeV and bremsstrahlung above 0.02 MeV
/// are particles of their own, and positrons annihilate at rest. Electrons stop below 0.2 MeV, photons below 0.02 MeV.
/// Left out: coherent scatter, Doppler broadening, fluorescence, spin in deflections, annihilation in flight; positrons
/// lose energy and turn like electrons.
///
/// Composition follows mass density: air, lung, adipose tissue, water, muscle and cortical bone (ICRP), mixed by volume
/// between; cross sections and stopping powers scale with the voxel's electron density.
/// The dose is dose to the medium: energy deposited per mass.
///
/// A history's random numbers depend on the seed and its number alone, and energies are summed in whole steps, so that the
/// same bits come from any number of threads. Two images with one seed and one number of histories share the numbers, which
/// lowers the noise of their difference.
///
/// # References
/// Woodcock et al. (1965), ANL-7050; Kawrakow and Fippel (2000), doi:10.1088/0031-9155/45/8/308, for photons and electrons
/// in voxels. `docs/VALIDATION.md` compares with EGSnrc.
///
/// # Examples
/// ```
/// use synthct_dose::{DensityVolume, DoseEngine, Field, Fluence, Machine, MonteCarlo, MonteCarloStop};
/// use synthct_image::{Grid, PointLps, Volume, VoxelIndex};
/// use synthct_rt::{BeamAngles, BeamFrame, Jaws, PatientPosition};
/// // A water tank of 20 cm whose surface is at y = 0, and a beam from above.
/// let grid = Grid::axis_aligned([10; 3], [20.0; 3], PointLps::new(-90.0, 10.0, -90.0))?;
/// let water = DensityVolume::new(Volume::filled(&grid, 1.0), Volume::filled(&grid, 1.0))?;
/// let machine = Machine::generic_6mv();
/// let angles = BeamAngles { gantry_deg: 0.0, collimator_deg: 0.0, couch_deg: 0.0 };
/// let field = Field {
///     frame: BeamFrame::new(PatientPosition::Hfs, PointLps::ORIGIN, angles, 1000.0),
///     fluence: Fluence::new(&machine, &Jaws { x_mm: [-50.0, 50.0], y_mm: [-50.0, 50.0] }, None),
///     weight: 1e10,
/// };
/// let engine = MonteCarlo::new(&machine, MonteCarloStop::Histories(100_000), 1)?;
/// let dose = engine.compute(&water, &[field], |_| ())?;
/// let at = |depth: usize| dose.dose_gy[VoxelIndex::new(5, depth, 5)];
/// assert!(at(2) > 1.3 * at(7), "5 and 15 cm deep");
/// let balance = dose.energy;
/// assert!((balance.deposited_mev + balance.escaped_mev - balance.emitted_mev).abs() < 1e-6 * balance.emitted_mev);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MonteCarlo {
    machine: Machine,
    stop: MonteCarloStop,
    seed: u64,
}

impl MonteCarlo {
    /// The fewest batches: from their spread come the standard deviations.
    pub const FEWEST_BATCHES: u64 = 20;
    /// Histories of each of the first batches, where there are enough.
    const FIRST_BATCH: u64 = 50_000;
    /// Histories that a thread takes at a time.
    const CHUNK: u64 = 2_000;

    /// The engine for a machine.
    ///
    /// # Errors
    /// [`DoseError::Setting`] for no history, an uncertainty that is not above zero, or energies beyond the tables.
    pub fn new(machine: &Machine, stop: MonteCarloStop, seed: u64) -> Result<Self, DoseError> {
        match stop {
            MonteCarloStop::Histories(0) => {
                return Err(DoseError::Setting { name: "histories", value: 0.0, allowed: "at least 1" });
            }
            MonteCarloStop::Uncertainty { percent } if !(percent.is_finite() && percent > 0.0) => {
                let allowed = "finite and above zero, in per cent";
                return Err(DoseError::Setting { name: "uncertainty", value: percent, allowed });
            }
            _ => {}
        }
        for line in &machine.spectrum {
            if !(LOWEST_MEV..HIGHEST_MEV).contains(&line.energy_mev) {
                let (name, value) = ("energy_mev", line.energy_mev);
                return Err(DoseError::Setting {
                    name,
                    value,
                    allowed: "from 1/64 to 16 MeV for Monte Carlo",
                });
            }
        }
        Ok(Self { machine: machine.clone(), stop, seed })
    }

    /// The dose with its uncertainty. `progress` hears of every batch.
    ///
    /// Dose is proportional to the fields' weights, exactly for one factor of all.
    ///
    /// # Errors
    /// [`DoseError::SourceInside`] if a source is not in front of the grid.
    pub fn compute(
        &self,
        density: &DensityVolume,
        fields: &[Field],
        mut progress: impl FnMut(MonteCarloProgress),
    ) -> Result<MonteCarloDose, DoseError> {
        for field in fields {
            require_source_outside(density, field)?;
        }
        let medium = Medium::new(density);
        let source = Source::new(&self.machine, fields, &medium);
        let mut batches = Batches::new(density);
        if source.n_photons <= 0.0 {
            return Ok(batches.dose(source.n_photons));
        }
        let highest_mev = self.machine.spectrum.iter().map(|line| line.energy_mev).fold(0.0, f64::max);
        let physics = Physics::new(highest_mev);
        let majorant = medium.majorant(&physics.photons);
        let mut workers: Vec<Shower<'_>> =
            (0..rayon::current_num_threads()).map(|_| Shower::new(&physics, &medium, &majorant)).collect();
        let mut n_done = 0;
        loop {
            let uncertainty_percent = batches.uncertainty_percent();
            let fewest = Self::FEWEST_BATCHES * Self::FIRST_BATCH;
            let n_expected = match self.stop {
                MonteCarloStop::Histories(n) => n,
                MonteCarloStop::Uncertainty { .. } if n_done < fewest => fewest,
                MonteCarloStop::Uncertainty { percent } => batches.histories_for(percent),
            };
            if n_done > 0 {
                progress(MonteCarloProgress {
                    n_done,
                    n_expected: n_expected.max(n_done),
                    uncertainty_percent,
                });
            }
            if n_done >= n_expected {
                break;
            }
            // Batches grow with what is done, in the same way whatever ends it: as many histories are the same histories.
            let n_batch = match self.stop {
                MonteCarloStop::Histories(n) if n < fewest => {
                    n.div_ceil(Self::FEWEST_BATCHES).min(n - n_done)
                }
                MonteCarloStop::Histories(n) => Self::batch_after(n_done).min(n - n_done),
                MonteCarloStop::Uncertainty { .. } => Self::batch_after(n_done),
            };
            let next = AtomicU64::new(0);
            workers.par_iter_mut().for_each(|shower| {
                loop {
                    let start = next.fetch_add(Self::CHUNK, Ordering::Relaxed);
                    if start >= n_batch {
                        break;
                    }
                    for within in start..(start + Self::CHUNK).min(n_batch) {
                        let mut stream = Stream::of_history(self.seed, n_done + within);
                        // Fields take turns evenly within each batch, so that their shares add no noise.
                        let part = (within as f64 + stream.uniform()) / n_batch as f64;
                        let photon = source.emit(part, &mut stream);
                        shower.run(photon, stream);
                    }
                }
            });
            let mut tallies: Vec<&mut Tally> = workers.iter_mut().map(|shower| &mut shower.tally).collect();
            batches.add(&mut tallies, n_batch);
            n_done += n_batch;
        }
        Ok(batches.dose(source.n_photons))
    }
}

impl MonteCarlo {
    /// Histories of the batch that follows so many.
    fn batch_after(n_done: u64) -> u64 {
        Self::FIRST_BATCH.max(n_done / Self::FEWEST_BATCHES)
    }
}

impl MonteCarloDose {
    /// The dose of the same histories for fields that differ from those computed by one factor of all weights: as if they
    /// had been computed, to the bit.
    pub fn of_fields(self, fields: &[Field]) -> Self {
        self.batches.dose(n_photons(fields).iter().fold(0.0, |sum, photons| sum + photons))
    }
}

impl DoseEngine for MonteCarlo {
    fn dose(&self, density: &DensityVolume, fields: &[Field]) -> Result<Volume<f32>, DoseError> {
        Ok(self.compute(density, fields, |_| ())?.dose_gy)
    }
}
