//! Positions: voxel indices and points of patient space, as types that cannot be mixed up.

use std::ops::{Add, Mul, Sub};

/// A voxel: `i` along a row (fastest in memory), `j` the row, `k` the slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VoxelIndex {
    /// Column, fastest in memory.
    pub i: usize,
    /// Row.
    pub j: usize,
    /// Slice.
    pub k: usize,
}

/// A position between voxels, in voxel units; whole numbers are voxel centres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContinuousIndex {
    /// Along a row.
    pub i: f64,
    /// Across rows.
    pub j: f64,
    /// Across slices.
    pub k: f64,
}

/// A point of DICOM patient space, in mm: x to the left, y to posterior, z to superior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointLps {
    /// To the patient's left, mm.
    pub x: f64,
    /// To posterior, mm.
    pub y: f64,
    /// To superior, mm.
    pub z: f64,
}

/// A displacement or direction in DICOM patient space, in mm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorLps {
    /// To the patient's left, mm.
    pub x: f64,
    /// To posterior, mm.
    pub y: f64,
    /// To superior, mm.
    pub z: f64,
}

impl VoxelIndex {
    /// The voxel at column `i`, row `j`, slice `k`.
    pub const fn new(i: usize, j: usize, k: usize) -> Self {
        Self { i, j, k }
    }

    /// `[k, j, i]`, the order of array subscripts.
    pub const fn kji(self) -> [usize; 3] {
        [self.k, self.j, self.i]
    }
}

impl From<VoxelIndex> for ContinuousIndex {
    fn from(index: VoxelIndex) -> Self {
        Self { i: index.i as f64, j: index.j as f64, k: index.k as f64 }
    }
}

impl ContinuousIndex {
    /// The position at `i`, `j`, `k` voxels from the centre of the first voxel.
    pub const fn new(i: f64, j: f64, k: f64) -> Self {
        Self { i, j, k }
    }
}

impl PointLps {
    /// The patient-space origin.
    pub const ORIGIN: Self = Self::new(0.0, 0.0, 0.0);

    /// The point at `x`, `y`, `z` mm.
    pub const fn new(x: f64, y: f64, z: f64) -> Self {
        Self { x, y, z }
    }

    /// `[x, y, z]` in mm.
    pub const fn to_array(self) -> [f64; 3] {
        [self.x, self.y, self.z]
    }

    /// Euclidean distance in mm.
    pub fn distance_mm(self, other: Self) -> f64 {
        (self - other).norm_mm()
    }
}

impl From<[f64; 3]> for PointLps {
    fn from([x, y, z]: [f64; 3]) -> Self {
        Self { x, y, z }
    }
}

impl VectorLps {
    /// The displacement by `x`, `y`, `z` mm.
    pub const fn new(x: f64, y: f64, z: f64) -> Self {
        Self { x, y, z }
    }

    /// `[x, y, z]` in mm.
    pub const fn to_array(self) -> [f64; 3] {
        [self.x, self.y, self.z]
    }

    /// Length in mm.
    pub fn norm_mm(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The inner product.
    pub fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// The vector product, right-handed.
    pub fn cross(self, other: Self) -> Self {
        Self {
            x: self.y * other.z - self.z * other.y,
            y: self.z * other.x - self.x * other.z,
            z: self.x * other.y - self.y * other.x,
        }
    }
}

impl From<[f64; 3]> for VectorLps {
    fn from([x, y, z]: [f64; 3]) -> Self {
        Self { x, y, z }
    }
}

impl Sub for PointLps {
    type Output = VectorLps;
    fn sub(self, other: Self) -> VectorLps {
        VectorLps { x: self.x - other.x, y: self.y - other.y, z: self.z - other.z }
    }
}

impl Add<VectorLps> for PointLps {
    type Output = Self;
    fn add(self, step: VectorLps) -> Self {
        Self { x: self.x + step.x, y: self.y + step.y, z: self.z + step.z }
    }
}

impl Add for VectorLps {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y, z: self.z + other.z }
    }
}

impl Mul<f64> for VectorLps {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self { x: self.x * factor, y: self.y * factor, z: self.z * factor }
    }
}
