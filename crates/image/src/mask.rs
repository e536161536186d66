//! A region: true or false at every voxel.

use crate::{ContinuousIndex, Grid, ImageError, PointLps, Volume};

/// A region on a grid.
///
/// It is a type of its own so that it resamples by nearest neighbour without a caller having to remember.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask(Volume<bool>);

impl Mask {
    /// The region where `volume` is true.
    pub const fn new(volume: Volume<bool>) -> Self {
        Self(volume)
    }

    /// The region where `is_inside` holds for the value.
    pub fn from_values<T: Sync>(volume: &Volume<T>, is_inside: impl Fn(&T) -> bool + Sync + Send) -> Self {
        Self(volume.map(is_inside))
    }

    /// The whole grid.
    pub fn full(grid: &Grid) -> Self {
        Self(Volume::filled(grid, true))
    }

    /// Where the voxels are.
    pub const fn grid(&self) -> &Grid {
        self.0.grid()
    }

    /// The region as a volume of truth values.
    pub const fn volume(&self) -> &Volume<bool> {
        &self.0
    }

    /// The region as a volume of truth values.
    pub fn into_volume(self) -> Volume<bool> {
        self.0
    }

    /// The truth values in memory order: i fastest.
    pub fn as_slice(&self) -> &[bool] {
        self.0.as_slice()
    }

    /// The number of voxels inside.
    pub fn count(&self) -> usize {
        self.0.as_slice().iter().filter(|&&inside| inside).count()
    }

    /// The volume inside, in cm³.
    pub fn volume_cm3(&self) -> f64 {
        self.count() as f64 * self.grid().voxel_volume_mm3() / 1000.0
    }

    /// The middle of the region: the mean of its voxels' centres, or none of nothing.
    pub fn centroid_lps(&self) -> Option<PointLps> {
        let [ni, nj, _] = self.grid().size_ijk();
        let (mut sums, mut n) = ([0_u64; 3], 0_u64);
        for (at, _) in self.as_slice().iter().enumerate().filter(|&(_, &inside)| inside) {
            n += 1;
            for (sum, index) in std::iter::zip(&mut sums, [at % ni, at / ni % nj, at / (ni * nj)]) {
                *sum += index as u64;
            }
        }
        let [i, j, k] = sums.map(|sum| sum as f64 / n as f64);
        (n > 0).then(|| self.grid().lps_from_index(ContinuousIndex::new(i, j, k)))
    }

    /// The voxels in both regions.
    ///
    /// # Errors
    /// [`ImageError::GridMismatch`] if the grids differ.
    pub fn and(&self, other: &Self) -> Result<Self, ImageError> {
        self.0.zip_map(&other.0, |&a, &b| a && b).map(Self)
    }

    /// The voxels in either region.
    ///
    /// # Errors
    /// [`ImageError::GridMismatch`] if the grids differ.
    pub fn or(&self, other: &Self) -> Result<Self, ImageError> {
        self.0.zip_map(&other.0, |&a, &b| a || b).map(Self)
    }

    /// The voxels outside.
    pub fn complement(&self) -> Self {
        Self(self.0.map(|&inside| !inside))
    }
}
