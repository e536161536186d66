//! What shapes a beam, in mm at the isocenter, in the coordinates of [`BeamFrame`](crate::BeamFrame).

use serde::{Deserialize, Serialize};

/// The rectangle that the jaws leave open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jaws {
    /// The X jaws, lower and upper, mm.
    pub x_mm: [f64; 2],
    /// The Y jaws, lower and upper, mm.
    pub y_mm: [f64; 2],
}

/// The direction in which leaves travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MlcAxis {
    /// Along x (DICOM's MLCX); leaf pairs are stacked along y.
    X,
    /// Along y (DICOM's MLCY); leaf pairs are stacked along x.
    Y,
}

/// A multileaf collimator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlc {
    /// The direction in which leaves travel.
    pub axis: MlcAxis,
    /// Where leaf pairs begin and end across their travel, rising, mm: one more than there are pairs.
    pub boundaries_mm: Vec<f64>,
}

/// The leaf tips of a [`Mlc`], one of each bank for each pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafPositions {
    /// The bank on the lower side (DICOM's first half: X1 or Y1), mm.
    pub low_mm: Vec<f64>,
    /// The bank on the upper side (X2 or Y2), mm.
    pub high_mm: Vec<f64>,
}

impl Jaws {
    /// Jaws between these and others.
    pub(super) fn mixed(&self, other: &Self, part: f64) -> Self {
        let mix = |a: [f64; 2], b: [f64; 2]| [0, 1].map(|side| a[side] + part * (b[side] - a[side]));
        Self { x_mm: mix(self.x_mm, other.x_mm), y_mm: mix(self.y_mm, other.y_mm) }
    }
}

impl Mlc {
    /// The number of leaf pairs.
    pub fn n_pairs(&self) -> usize {
        self.boundaries_mm.len().saturating_sub(1)
    }
}

impl LeafPositions {
    /// Leaves between these and others.
    pub(super) fn mixed(&self, other: &Self, part: f64) -> Self {
        let mix = |a: &[f64], b: &[f64]| std::iter::zip(a, b).map(|(a, b)| a + part * (b - a)).collect();
        Self { low_mm: mix(&self.low_mm, &other.low_mm), high_mm: mix(&self.high_mm, &other.high_mm) }
    }
}
