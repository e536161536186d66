//! What can go wrong while preparing images.

use synthct_image::ImageError;

/// Why an image could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepError {
    /// Grids that differ, or another fault of geometry.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A mask without a voxel inside.
    #[error("the mask is empty, so there is nothing to take statistics of")]
    EmptyMask,
    /// No mask, and no voxel above zero to take statistics of.
    #[error("{what} without a mask takes voxels above zero, but there are none")]
    NothingAboveZero {
        /// What was to be done.
        what: &'static str,
    },
    /// A value that is NaN or infinite.
    #[error("{what} needs finite values, but voxel [k, j, i] = {index_kji:?} is {value}")]
    NotFinite {
        /// What was to be done.
        what: &'static str,
        /// The first such voxel.
        index_kji: [usize; 3],
        /// Its value.
        value: f32,
    },
    /// An image, or the part inside the mask, that has the same value everywhere.
    #[error("{what} needs an image with contrast, but every value is {value}")]
    NoContrast {
        /// What was to be done.
        what: &'static str,
        /// The value.
        value: f64,
    },
    /// An image in which no body was found.
    #[error("no body found: nothing that is {criterion} is larger than {smallest_cm3} cm³")]
    NoBody {
        /// What a body's voxels would have had in common.
        criterion: String,
        /// The smallest body looked for.
        smallest_cm3: f64,
    },
    /// Parameters of a normalisation that cannot be used.
    #[error("z-score parameters mean {mean}, sd {sd} are not usable: both must be finite, and sd above zero")]
    ZScore {
        /// The mean given.
        mean: f64,
        /// The standard deviation given.
        sd: f64,
    },
    /// Percentiles that cannot be 0 and 1 of a scale.
    #[error("percentiles {low_percent} and {high_percent} are not usable: they must ascend within 0 and 100")]
    Percentiles {
        /// The one that was to become 0.
        low_percent: f64,
        /// The one that was to become 1.
        high_percent: f64,
    },
    /// Values that cannot be 0 and 1 of a scale.
    #[error("the range {low} to {high} is not usable: both must be finite, and the second above the first")]
    PercentileRange {
        /// What was to become 0.
        low: f64,
        /// What was to become 1.
        high: f64,
    },
    /// Landmarks of a cohort that cannot be used.
    #[error("Nyúl's landmarks are not usable: {problem}")]
    Nyul {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A setting of the augmentation that is out of its range.
    #[error("`{field}` is {value}, but must be {allowed}")]
    Augmentation {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// An image in which tissue is not brighter than zero signal.
    #[error(
        "{what} is for magnitude images, but here the body's mean is {mean} and zero signal {zero_signal}"
    )]
    NotMagnitude {
        /// What was to be done.
        what: &'static str,
        /// The mean inside the body.
        mean: f64,
        /// The value of a voxel without signal.
        zero_signal: f64,
    },
    /// Settings of N4 that cannot be used.
    #[error("N4 cannot be run: {}", problems.join("; "))]
    N4Config {
        /// What is wrong with each, a sentence each.
        problems: Vec<String>,
    },
    /// A weight below zero.
    #[error("weights must not be negative, but that of voxel [k, j, i] = {index_kji:?} is {value}")]
    NegativeWeight {
        /// The first such voxel.
        index_kji: [usize; 3],
        /// Its weight.
        value: f32,
    },
    /// A mask with too few positive voxels to fit a bias field to.
    #[error(
        "N4 needs {needed} voxels of positive intensity inside the mask, but {n} are left at shrink factor {shrink_factor}"
    )]
    TooFewSamples {
        /// How many there are.
        n: usize,
        /// How many there must be.
        needed: usize,
        /// The shrink factor.
        shrink_factor: usize,
    },
}
