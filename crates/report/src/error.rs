//! What can go wrong when a picture is drawn.

use synthct_image::{ImageError, PointLps};

use crate::Plane;

/// Why a picture or page could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A mask or image does not lie on the picture's grid.
    #[error("the {image} is not on the grid of the {reference}; resample it first")]
    GridMismatch {
        /// The image that does not fit.
        image: String,
        /// The image whose grid counts.
        reference: String,
        /// Both grids.
        source: Box<ImageError>,
    },
    /// The point to cut at lies outside the grid.
    #[error(
        "the {plane} slice through ({:.1}, {:.1}, {:.1}) mm LPS would be slice {slice}, but the volume has {n_slices} \
         in that direction",
        point.x, point.y, point.z
    )]
    OutsideGrid {
        /// The plane asked for.
        plane: Plane,
        /// The point asked for.
        point: PointLps,
        /// The slice it would be.
        slice: i64,
        /// The number of slices there are.
        n_slices: usize,
    },
    /// A window that no value can be mapped with.
    #[error("window level {level}, width {width} must be finite and the width above zero")]
    Window {
        /// The level.
        level: f64,
        /// The width.
        width: f64,
    },
    /// A percentile outside 0 to 100, or a lower one that is not below the upper.
    #[error("percentiles {lower} and {upper} must rise within 0 to 100")]
    Percentiles {
        /// The lower one.
        lower: f64,
        /// The upper one.
        upper: f64,
    },
    /// A region without voxels, or without a finite value.
    #[error("the {region} has no {wanted}")]
    Empty {
        /// The region.
        region: &'static str,
        /// What it should have.
        wanted: &'static str,
    },
    /// Two pictures that should be mixed, but are not of one size.
    #[error(
        "pictures of {left:?} and {right:?} pixels cannot be mixed: they must show the same slice at the same scale"
    )]
    PictureSizes {
        /// Width and height of the one in pixels.
        left: [usize; 2],
        /// Width and height of the other in pixels.
        right: [usize; 2],
    },
    /// The picture could not be encoded.
    #[error("a picture of {width}×{height} pixels could not be encoded as PNG")]
    Png {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// What the encoder says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
