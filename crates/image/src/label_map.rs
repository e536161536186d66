//! A partition: one label at every voxel.

use crate::{Grid, Mask, Volume};

/// One label a voxel, 0 for background.
///
/// It is a type of its own so that it resamples by nearest neighbour without a caller having to remember.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelMap(Volume<u16>);

impl LabelMap {
    /// The partition that `volume` gives.
    pub const fn new(volume: Volume<u16>) -> Self {
        Self(volume)
    }

    /// Where the voxels are.
    pub const fn grid(&self) -> &Grid {
        self.0.grid()
    }

    /// The labels as a volume.
    pub const fn volume(&self) -> &Volume<u16> {
        &self.0
    }

    /// The labels as a volume.
    pub fn into_volume(self) -> Volume<u16> {
        self.0
    }

    /// The region that carries `label`.
    pub fn region(&self, label: u16) -> Mask {
        Mask::from_values(&self.0, |&value| value == label)
    }
}
