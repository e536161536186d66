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
    /// A 4×4 matrix that is not a finite affine map.
    #[error("matrix {matrix:?} is not a finite affine map with last row (0, 0, 0, 1)")]
    AffineMatrix {
        /// The matrix, as rows.
        matrix: Box<[[f64; 4]; 4]>,
    },
    /// A value that is NaN or infinite where only numbers are of use.
    #[error("{what} needs finite values, but voxel [k, j, i] = {index_kji:?} is {value}")]
    NotFinite {
        /// What was to be done.
        what: &'static str,
        /// The first such voxel.
        index_kji: [usize; 3],
        /// Its value.
        value: f64,
    },
    /// A displacement field whose inverse could not be found.
    #[error(
        "the displacement field could not be inverted: at {point_lps:?} mm LPS the residual is {residual_mm:.3e} mm \
         after {iterations} iterations (allowed: {tolerance_mm:.0e} mm); it folds, is too steep, or does not fade out \
         towards the edge of its grid"
    )]
    NoInverse {
        /// The point with the largest residual.
        point_lps: [f64; 3],
        /// The residual there, in mm.
        residual_mm: f64,
        /// The residual that would have been accepted, in mm.
        tolerance_mm: f64,
        /// The iterations made.
        iterations: usize,
    },
    /// A displacement field that folds space onto itself.
    #[error(
        "the displacement field folds at {n_voxels} voxels; the smallest Jacobian determinant is {smallest:.3} at \
         {point_lps:?} mm LPS"
    )]
    Folded {
        /// The number of voxels with a determinant of zero or less.
        n_voxels: usize,
        /// The smallest determinant.
        smallest: f64,
        /// The voxel centre where it is smallest.
        point_lps: [f64; 3],
    },
    /// A box of voxels that is empty or leaves the grid.
    #[error(
        "box of {size_ijk:?} voxels from {start_ijk:?} (i, j, k) is empty or leaves a grid of {grid_size_ijk:?}"
    )]
    Box {
        /// The first voxel.
        start_ijk: [usize; 3],
        /// The number of voxels along i, j, k.
        size_ijk: [usize; 3],
        /// The grid's size.
        grid_size_ijk: [usize; 3],
    },
}
