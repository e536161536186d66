//! Dose in a density volume from photon beams: collapsed-cone convolution and Monte Carlo.
//!
//! Start here: [`DensityCurve`] (HU to densities), [`DensityVolume`] (what a beam travels through), [`Machine`] (what the
//! beam is), [`CollapsedCone`] and [`MonteCarlo`] (the engines, each a [`DoseEngine`]), [`plan_fields`] (a plan as fields),
//! [`template_plan`] (a plan for a target when there is none).
//!
//! Research software: the machine is generic, and nothing here is commissioned or fit for clinical use.
//!
//! This crate reads no file, knows no intensity but HU, and draws random numbers from an explicit seed alone; results do not
//! depend on the number of threads.

mod collapsed_cone;
mod composition;
mod density;
mod depth;
mod engine;
mod error;
mod fluence;
mod grid;
mod machine;
mod monte_carlo;
mod plan_fields;
mod table;
mod template;

pub use collapsed_cone::{CollapsedCone, Cones};
pub use density::{DensityCurve, DensityPoint, DensityVolume};
pub use engine::{DoseEngine, Field};
pub use error::DoseError;
pub use fluence::Fluence;
pub use grid::dose_grid;
pub use machine::{Machine, SpectralLine};
pub use monte_carlo::{EnergyBalance, MonteCarlo, MonteCarloDose, MonteCarloProgress, MonteCarloStop};
pub use plan_fields::plan_fields;
pub use template::{TargetDose, Template, template_plan};
