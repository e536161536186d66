//! What can go wrong when a phantom is made.

use synthct_image::ImageError;

/// Why a phantom could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhantomError {
    /// One or more fields of the configuration are out of range; every one is named.
    #[error("phantom configuration: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The grid is too large for a phantom.
    #[error(
        "a phantom of {n_voxels} voxels is beyond the limit of {limit}; use a coarser spacing or a smaller field of view"
    )]
    TooLarge {
        /// The number of voxels asked for.
        n_voxels: usize,
        /// The largest number accepted.
        limit: usize,
    },
    /// Tissues in which a target cannot be placed.
    #[error(
        "the phantom's tissues have no {missing}, so that no target can be placed; are they of another site?"
    )]
    NoTarget {
        /// What was looked for.
        missing: &'static str,
    },
    /// The grid could not be made.
    #[error("the phantom's grid could not be made")]
    Grid(#[from] ImageError),
}
