//! What every dose engine does.

use synthct_image::Volume;
use synthct_rt::BeamFrame;

use crate::{DensityVolume, DoseError, Fluence};

/// Fluence from one direction.
#[derive(Clone, Debug)]
pub struct Field {
    /// Where it comes from.
    pub frame: BeamFrame,
    /// Its fluence, relative to `weight`.
    pub fluence: Fluence,
    /// Photons per cm² at the isocenter where the fluence is 1.
    pub weight: f64,
}

/// Something that computes dose.
pub trait DoseEngine {
    /// The dose of all fields together, in Gy, on the grid of `density`.
    ///
    /// # Errors
    /// [`DoseError`], by the engine.
    fn dose(&self, density: &DensityVolume, fields: &[Field]) -> Result<Volume<f32>, DoseError>;
}
