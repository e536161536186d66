//! What can go wrong while a dose is computed.

use synthct_image::ImageError;
use synthct_rt::RtError;

/// Why a dose could not be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoseError {
    /// A fault of geometry.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A fault of the plan.
    #[error(transparent)]
    Rt(#[from] RtError),
    /// HU that are NaN or infinite inside the body.
    #[error(
        "the CT has {count} values that are NaN or infinite, the first at voxel [k, j, i] = {first_kji:?}"
    )]
    NotFinite {
        /// How many.
        count: usize,
        /// The first.
        first_kji: [usize; 3],
    },
    /// A density curve that cannot be used.
    #[error("the density curve is not usable: {problem}")]
    DensityCurve {
        /// What is wrong.
        problem: String,
    },
    /// A setting out of its range.
    #[error("`{name}` is {value}, but must be {allowed}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be accepted.
        allowed: &'static str,
    },
    /// A source inside the dose grid.
    #[error("the source at {source_lps:?} mm LPS lies inside the dose grid, so that there is no way in")]
    SourceInside {
        /// The source.
        source_lps: [f64; 3],
    },
}
