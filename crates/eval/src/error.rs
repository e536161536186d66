//! What can go wrong when two images are compared.

use synthct_image::{ImageError, PointLps, VoxelIndex};

/// Why a metric could not be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// An image or mask does not lie on the reference's grid.
    #[error("the {image} is not on the grid of the {reference}; resample it first")]
    GridMismatch {
        /// The image that is compared.
        image: &'static str,
        /// The image whose grid counts.
        reference: &'static str,
        /// Both grids.
        source: Box<ImageError>,
    },
    /// The mask has no voxel, so that there is nothing to average.
    #[error("the mask is empty: none of its {n_voxels} voxels is inside")]
    EmptyMask {
        /// The number of voxels of the grid.
        n_voxels: usize,
    },
    /// NaN or infinite values.
    #[error(
        "the {image} has {count} values {place}that are NaN or infinite, the first at voxel i={}, j={}, k={}, which is \
         ({:.2}, {:.2}, {:.2}) mm LPS",
        first.i, first.j, first.k, first_lps.x, first_lps.y, first_lps.z
    )]
    NotFinite {
        /// The image that has them.
        image: &'static str,
        /// Where they were looked for, followed by a blank; empty for the whole image.
        place: &'static str,
        /// How many.
        count: usize,
        /// The first in memory order.
        first: VoxelIndex,
        /// Where the first is.
        first_lps: PointLps,
    },
    /// The grid is smaller than the SSIM window on some axis.
    #[error("the grid of {size_ijk:?} voxels is too small: the window of SSIM needs {window} on every axis")]
    GridSmallerThanWindow {
        /// The grid's size.
        size_ijk: [usize; 3],
        /// The window's edge in voxels.
        window: usize,
    },
    /// All masked voxels are in the border that SSIM leaves out.
    #[error(
        "no masked voxel remains at scale {scale} after the border of {border} voxels is left out, so that the \
         structural similarity has no value"
    )]
    NoVoxelInsideBorder {
        /// The scale: 1 is full resolution.
        scale: usize,
        /// The border's width in voxels of that scale.
        border: usize,
    },
    /// A cut-off above every dose that could be compared.
    #[error("no reference dose reaches the cut-off of {cutoff_gy} Gy where doses are compared")]
    NoDoseAboveCutoff {
        /// The cut-off in Gy.
        cutoff_gy: f64,
    },
    /// Two doses that have nothing in common.
    #[error(
        "the doses do not meet: none of the {n_points} compared voxels of the reference, {reference}, lies in or near the \
         evaluated dose, {evaluated}; check that both are of one patient and in one frame"
    )]
    DosesApart {
        /// How many voxels were to be compared.
        n_points: usize,
        /// The reference's grid, described.
        reference: String,
        /// The evaluated dose's grid, described.
        evaluated: String,
    },
    /// A configuration with unusable fields.
    #[error("the evaluation's configuration is not usable: {}", problems.join("; "))]
    Config {
        /// Every unusable field and what would be accepted.
        problems: Vec<String>,
    },
}
