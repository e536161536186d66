//! Why two images could not be registered.

use std::fmt;

use synthct_image::ImageError;

/// Which of the two images something is said about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRole {
    /// The image that stays where it is, on whose grid the result is wanted.
    Fixed,
    /// The image that is brought to the fixed one.
    Moving,
}

impl fmt::Display for ImageRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed => "fixed",
            Self::Moving => "moving",
        })
    }
}

/// Why two images could not be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// A mask on another grid than its image, or another fault of geometry.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A setting out of its range.
    #[error("`{name}` is {value}, but must be {allowed}")]
    Config {
        /// The field of the configuration.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What would be accepted.
        allowed: &'static str,
    },
    /// A value that is NaN or infinite.
    #[error(
        "the {image} image needs finite values, but voxel [k, j, i] = {index_kji:?} is {value}; replace such voxels, \
         for instance by the value of air"
    )]
    NotFinite {
        /// The image.
        image: ImageRole,
        /// The first such voxel.
        index_kji: [usize; 3],
        /// Its value.
        value: f32,
    },
    /// A mask without a voxel inside.
    #[error(
        "the mask of the {image} image is empty, so there is nothing to register; leave it out or draw it anew"
    )]
    EmptyMask {
        /// The image.
        image: ImageRole,
    },
    /// An image, or the part inside its mask, that has (nearly) the same value everywhere.
    #[error(
        "the {image} image has no contrast: its values range from {low} to {high}; check that it is the image meant, \
         and that its mask covers more than one tissue"
    )]
    NoContrast {
        /// The image.
        image: ImageRole,
        /// The low end of its values.
        low: f32,
        /// The high end of its values.
        high: f32,
    },
    /// Images that do not meet where the start puts them.
    #[error(
        "the images do not overlap: {overlap_percent:.1} % of the fixed image's samples fall into the moving image, \
         but {needed_percent:.0} % are needed; start from the images' centres or moments or give a transform, and \
         check that both files and masks belong to one patient"
    )]
    NoOverlap {
        /// The percentage of fixed samples that the moving image covers.
        overlap_percent: f64,
        /// The percentage that would have been enough.
        needed_percent: f64,
    },
    /// A metric that tells nothing about the alignment: it has no slope, or the images share no information.
    #[error(
        "the {metric} of the images is flat ({value:.3e} at {spacing_mm} mm), so it cannot say how they lie to each \
         other; give masks around the anatomy, another start, or images that show the same body"
    )]
    FlatMetric {
        /// The metric's name.
        metric: &'static str,
        /// Its value.
        value: f64,
        /// The spacing of the level, in mm.
        spacing_mm: f64,
    },
    /// A deformation by mutual information under which the images tell less about each other than before.
    #[error(
        "the deformation lowers normalised mutual information from {before:.4} to {after:.4}, so that it is not to be \
         trusted; leave the mask out or widen it by some millimetres of air, or bend more stiffly"
    )]
    Worse {
        /// Before the deformation.
        before: f64,
        /// After it.
        after: f64,
    },
}
