//! Where voxels are: grids in DICOM patient space, volumes, masks, label maps, transforms and resampling.
//!
//! There is one world frame: DICOM patient **LPS** (x to the patient's left, y to posterior, z to superior) in
//! **millimetres**, as `f64`.
//! Indices count `i` fastest (a DICOM column), then `j` (row), then `k` (slice); arrays have the shape `[k, j, i]` in C
//! order, which is a tensor's depth, height, width.
//!
//! Start here: [`Grid`] (where voxels are), [`Volume`] (a grid with values), [`resample`] (values on another grid),
//! [`morphology`] (what masks need).
//!
//! This crate knows no file format, no intensity convention (MR or CT) and no tensor library.

mod crop;
mod error;
mod grid;
mod label_map;
mod mask;
mod matrix;
pub mod morphology;
mod otsu;
mod point;
mod resampling;
mod smooth;
mod transform;
mod volume;

pub use error::ImageError;
pub use grid::Grid;
pub use label_map::LabelMap;
pub use mask::Mask;
pub use matrix::Matrix3;
pub use ndarray;
pub use otsu::{otsu_bin, otsu_threshold};
pub use point::{ContinuousIndex, PointLps, VectorLps, VoxelIndex};
pub use resampling::{Interpolation, resample, resample_nearest};
pub use smooth::gaussian_smooth;
pub use transform::{AffineTransform, BSplineTransform, DisplacementField, SplineAxis, Transform};
pub use volume::Volume;
