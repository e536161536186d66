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
    /// A beam of another energy than the machine's.
    #[error(
        "beam `{beam}` has {plan_mv} MV{}, but the machine is `{machine}`; give a machine of that energy",
        if *plan_is_fff { " without flattening filter" } else { "" }
    )]
    Energy {
        /// The beam's name.
        beam: String,
        /// Its nominal energy.
        plan_mv: f64,
        /// Whether it has no flattening filter.
        plan_is_fff: bool,
        /// The machine's name.
        machine: String,
    },
    /// A beam whose isocenter lies outside the dose grid.
    #[error("the isocenter of beam `{beam}`, {isocenter_lps:?} mm LPS, lies outside the dose grid of {grid}")]
    IsocenterOutside {
        /// The beam's name.
        beam: String,
        /// The isocenter.
        isocenter_lps: [f64; 3],
        /// The dose grid, described.
        grid: String,
    },
    /// A word that names no template.
    #[error("`{found}` is not a template; there are {known}")]
    Template {
        /// The word.
        found: String,
        /// The names that there are.
        known: String,
    },
    /// A target that is empty or receives no dose.
    #[error("the target {problem}")]
    Target {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A source inside the dose grid.
    #[error("the source at {source_lps:?} mm LPS lies inside the dose grid, so that there is no way in")]
    SourceInside {
        /// The source.
        source_lps: [f64; 3],
    },
}
