//! What can be wrong with radiotherapy objects.

use synthct_image::ImageError;

/// Why a structure, plan or beam could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RtError {
    /// A fault of geometry.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A word that is not one of DICOM's patient positions.
    #[error("`{found}` is not a patient position; DICOM knows {known}")]
    PatientPosition {
        /// The word.
        found: String,
        /// The words that would be accepted.
        known: String,
    },
    /// A contour with fewer than three points, or with a point that is not finite.
    #[error("contour {contour} of `{roi}` is not a polygon: {problem}")]
    Contour {
        /// The region's name.
        roi: String,
        /// The contour's place in the region, from 0.
        contour: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Contours that do not lie in parallel planes.
    #[error(
        "the contours of `{roi}` do not lie in parallel planes: contour {contour} has a point {off_mm:.3} mm off its \
         plane (allowed: {allowed_mm} mm)"
    )]
    ContourPlanes {
        /// The region's name.
        roi: String,
        /// The first such contour, from 0.
        contour: usize,
        /// The distance of its farthest point from the plane, mm.
        off_mm: f64,
        /// The distance that is accepted, mm.
        allowed_mm: f64,
    },
    /// A region without contours.
    #[error("`{roi}` has no contour, so it has no extent")]
    NoContour {
        /// The region's name.
        roi: String,
    },
    /// A structure set without the region asked for.
    #[error("there is no structure `{wanted}`; there are {present}")]
    NoSuchRoi {
        /// The name asked for.
        wanted: String,
        /// The names that there are.
        present: String,
    },
    /// A contour that lies outside the grid.
    #[error("`{roi}` does not meet the grid at all: it lies {distance_mm:.1} mm away from it")]
    OutsideGrid {
        /// The region's name.
        roi: String,
        /// The distance from its box to the grid's, mm.
        distance_mm: f64,
    },
    /// A plan that cannot be delivered as it is described.
    #[error("the plan is not usable: {}", problems.join("; "))]
    Plan {
        /// Every fault found.
        problems: Vec<String>,
    },
}
