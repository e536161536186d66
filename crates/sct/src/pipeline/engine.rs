//! Which engine computes doses, and what its noise allows to be said.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use synthct_dose::{
    CollapsedCone, Cones, DensityVolume, DoseEngine, Field, Machine, MonteCarlo, MonteCarloDose,
    MonteCarloProgress, MonteCarloStop,
};
use synthct_eval::GammaCriterion;
use synthct_image::Volume;

use super::PipelineError;

/// The engine that computes doses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Engine {
    /// Collapsed cones: quick and without noise.
    #[default]
    CollapsedCones,
    /// Monte Carlo: independent, slow and noisy.
    MonteCarlo {
        /// How long it goes on; a synthetic CT gets as many histories as its CT did.
        stop: MonteCarloStop,
        /// Its random numbers, the same on both images.
        seed: u64,
    },
}

/// Who hears how far Monte Carlo is.
#[derive(Clone, Default)]
pub struct DoseProgress(Option<Arc<dyn Fn(MonteCarloProgress) + Send + Sync>>);

impl DoseProgress {
    /// Calls a function after every batch.
    pub fn new(hears: impl Fn(MonteCarloProgress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hears)))
    }
}

impl fmt::Debug for DoseProgress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "DoseProgress(heard)" } else { "DoseProgress(unheard)" })
    }
}

/// The noise of a dose by Monte Carlo.
#[derive(Clone, Debug)]
pub struct DoseNoise {
    /// The standard deviation of each voxel, Gy.
    pub sigma_gy: Volume<f32>,
    /// See [`MonteCarloDose::uncertainty_percent`].
    pub uncertainty_percent: f64,
    /// Histories.
    pub n_histories: u64,
    /// The seed.
    pub seed: u64,
}

/// A γ that noise would decide.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusedGamma {
    /// The criterion, such as `1/1`.
    pub criterion: String,
    /// The noise of the doses, in per cent of the dose.
    pub uncertainty_percent: f64,
    /// The most noise with which it would be computed, in per cent of the dose.
    pub allowed_percent: f64,
    /// About how many histories have that little.
    pub n_histories: u64,
}

impl fmt::Display for RefusedGamma {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "refused: the doses' noise of {:.2} % would decide it; at most {:.2} % is allowed, which takes about {:.1e} histories",
            self.uncertainty_percent, self.allowed_percent, self.n_histories as f64
        )
    }
}

impl DoseNoise {
    /// The most noise that a γ is computed with, as a part of its difference of dose.
    ///
    /// Noise of the evaluated dose raises passing rates and noise of the reference lowers them (Graves, Jia, Jiang 2013,
    /// doi:10.1088/0031-9155/58/6/1839); with half of the difference both are of the order of what is looked for.
    const ALLOWED_PART: f64 = 0.5;

    /// Why a criterion's γ is not computed, if so.
    pub fn refuses(&self, criterion: &GammaCriterion) -> Option<RefusedGamma> {
        let allowed_percent = Self::ALLOWED_PART * criterion.dose_percent;
        let ratio = self.uncertainty_percent / allowed_percent;
        (ratio > 1.0).then(|| RefusedGamma {
            criterion: format!("{}/{}", criterion.dose_percent, criterion.distance_mm),
            uncertainty_percent: self.uncertainty_percent,
            allowed_percent,
            n_histories: (self.n_histories as f64 * ratio * ratio).ceil() as u64,
        })
    }
}

/// A dose as an engine gives it.
#[derive(Clone, Debug)]
pub struct ComputedDose {
    /// The dose, Gy.
    pub dose_gy: Volume<f32>,
    /// Its noise, if it has any.
    pub noise: Option<DoseNoise>,
}

/// An engine at work.
#[derive(Debug)]
pub(super) struct EngineRun<'a> {
    pub(super) engine: Engine,
    pub(super) machine: &'a Machine,
    pub(super) cones: Cones,
    pub(super) progress: &'a DoseProgress,
}

impl EngineRun<'_> {
    /// The dose of fields.
    pub(super) fn dose(
        &self,
        density: &DensityVolume,
        fields: &[Field],
    ) -> Result<ComputedDose, PipelineError> {
        self.normalized(density, fields.to_vec(), |_| Ok(1.0)).map(|(dose, _)| dose)
    }

    /// The dose of fields whose weights are multiplied by a factor that follows from their dose, and these fields.
    ///
    /// On an equal image the fields have the same dose to the bit.
    pub(super) fn normalized(
        &self,
        density: &DensityVolume,
        mut fields: Vec<Field>,
        factor: impl FnOnce(&Volume<f32>) -> Result<f64, PipelineError>,
    ) -> Result<(ComputedDose, Vec<Field>), PipelineError> {
        let multiply = |fields: &mut [Field], factor: f64| {
            for field in fields {
                field.weight *= factor;
            }
        };
        match self.engine {
            Engine::CollapsedCones => {
                let engine = CollapsedCone::new(self.machine, self.cones);
                let mut dose_gy = engine.dose(density, &fields)?;
                let factor = factor(&dose_gy)?;
                if factor.to_bits() != 1.0_f64.to_bits() {
                    multiply(&mut fields, factor);
                    // Computed again rather than scaled.
                    dose_gy = engine.dose(density, &fields)?;
                }
                Ok((ComputedDose { dose_gy, noise: None }, fields))
            }
            Engine::MonteCarlo { stop, seed } => {
                let hears = |progress| {
                    if let Some(hears) = &self.progress.0 {
                        hears(progress);
                    }
                };
                let computed = MonteCarlo::new(self.machine, stop, seed)?.compute(density, &fields, hears)?;
                multiply(&mut fields, factor(&computed.dose_gy)?);
                let MonteCarloDose { dose_gy, sigma_gy, n_histories, uncertainty_percent, .. } =
                    computed.of_fields(&fields);
                let noise = DoseNoise { sigma_gy, uncertainty_percent, n_histories, seed };
                Ok((ComputedDose { dose_gy, noise: Some(noise) }, fields))
            }
        }
    }

    /// The dose of fields with as many histories as another dose had.
    pub(super) fn dose_like(
        &self,
        noise: Option<&DoseNoise>,
        density: &DensityVolume,
        fields: &[Field],
    ) -> Result<ComputedDose, PipelineError> {
        let engine = match (self.engine, noise) {
            (Engine::MonteCarlo { seed, .. }, Some(noise)) => {
                Engine::MonteCarlo { stop: MonteCarloStop::Histories(noise.n_histories), seed }
            }
            (engine, _) => engine,
        };
        EngineRun { engine, ..*self }.dose(density, fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, ImageError, PointLps};

    #[test]
    fn noise_refuses_what_it_would_decide() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([1; 3], [1.0; 3], PointLps::ORIGIN)?;
        let noise = DoseNoise {
            sigma_gy: Volume::filled(&grid, 0.0),
            uncertainty_percent: 0.9,
            n_histories: 1_000_000,
            seed: 1,
        };
        let of =
            |dose_percent: f64| noise.refuses(&GammaCriterion { dose_percent, distance_mm: dose_percent });
        // Half of 1 % is 1.8 times less: 3.24 times the histories.
        assert!(
            of(1.0).is_some_and(|refused| refused.n_histories == 3_240_000 && refused.criterion == "1/1")
        );
        assert!(of(2.0).is_none() && of(3.0).is_none());
        Ok(())
    }
}
