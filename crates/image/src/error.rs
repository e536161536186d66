//! What can go wrong with geometry.

use crate::Grid;

/// Why a grid, volume or transform could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A grid axis has no voxels, or the grid has more voxels than can be addressed.
    #[error("grid size {size_ijk:?} is empty or beyond {limit} voxels")]
    GridSize {
        /// The size asked for.
        size_ijk: [usize; 3],
        /// The largest number of voxels a grid may have.
        limit: usize,
    },
    /// A spacing that is not a finite positive length.
    #[error("grid spacing {spacing_mm:?} mm must be finite and above zero on every axis")]
    GridSpacing {
        /// The spacing asked for.
        spacing_mm: [f64; 3],
    },
    /// An origin with an infinite or NaN coordinate.
    #[error("grid origin {origin_lps:?} mm is not finite")]
    GridOrigin {
        /// The origin asked for.
        origin_lps: [f64; 3],
    },
    /// Axes that are not orthonormal: the image is sheared, or its axes have wrong lengths.
    #[error(
        "grid direction {direction:?} is not orthonormal: it departs by {departure:.3e} (allowed: {allowed:.0e})"
    )]
    GridDirection {
        /// The direction asked for, as rows.
        direction: [[f64; 3]; 3],
        /// The largest entry of |DᵀD − I|.
        departure: f64,
        /// The largest entry that is accepted.
        allowed: f64,
    },
    /// The array's shape is not the grid's.
    #[error("array shape [k, j, i] = {shape_kji:?} does not fit the grid, which has {expected_kji:?}")]
    ShapeMismatch {
        /// The array's shape.
        shape_kji: [usize; 3],
        /// The grid's shape.
        expected_kji: [usize; 3],
    },
    /// Two images that must share a grid do not.
    #[error("the two images must share one grid, but one has {left} and the other {right}")]
    GridMismatch {
        /// The grid of the first image.
        left: Box<Grid>,
        /// The grid of the second image.
        right: Box<Grid>,
    },
    /// A matrix without an inverse.
    #[error("matrix {matrix:?} is singular (determinant {determinant:.3e})")]
    Singular {
        /// The matrix, as rows.
        matrix: [[f64; 3]; 3],
        /// Its determinant.
        determinant: f64,
    },
    /// A parameter out of its range.
    #[error("`{name}` is {value}, but must be {allowed}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What would be accepted.
        allowed: &'static str,
    },
}
