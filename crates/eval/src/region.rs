//! Regions of a CT: air, soft tissue and bone by their HU.

use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};

/// A closed range of HU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HuRange {
    /// The smallest value inside, HU.
    pub lower_hu: f64,
    /// The largest value inside, HU.
    pub upper_hu: f64,
}

impl HuRange {
    /// The range from `lower_hu` to `upper_hu`, both inside.
    pub const fn new(lower_hu: f64, upper_hu: f64) -> Self {
        Self { lower_hu, upper_hu }
    }

    /// Whether the value is inside.
    pub fn contains(&self, hu: f64) -> bool {
        self.lower_hu <= hu && hu <= self.upper_hu
    }
}

/// The regions that errors are reported for, each inside the body mask.
///
/// For membership, and only for membership, a value is first clipped to [`Regions::scale`]: the noise of a CT in air
/// falls below -1000 HU and metal lies above 3000 HU, and both belong to the region at their end of the scale.
/// Values between two regions (-400 to -250 HU) are in none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regions {
    /// Gas and everything darker.
    pub air: HuRange,
    /// Muscle, fat, brain, organs.
    pub soft_tissue: HuRange,
    /// Bone and everything brighter.
    pub bone: HuRange,
    /// The scale to which values are clipped before they are looked up.
    pub scale: HuRange,
}

impl Regions {
    /// Air [-1000, -400], soft tissue [-250, 250], bone [250, 3000] HU.
    ///
    /// # References
    /// The thresholds are those of the RoI-focused multi-task network for zero-echo-time MR, in which the network's HU
    /// range is [-1000, 3000].
    /// Clipping to that scale before the look-up is ours: the paper does not say what becomes of values outside.
    pub const fn roi_focused() -> Self {
        Self {
            air: HuRange::new(-1000.0, -400.0),
            soft_tissue: HuRange::new(-250.0, 250.0),
            bone: HuRange::new(250.0, 3000.0),
            scale: HuRange::new(-1000.0, 3000.0),
        }
    }

    /// Whether a voxel of this value is in `range`, after clipping to the scale.
    pub fn is_in(&self, range: HuRange, hu: f64) -> bool {
        range.contains(hu.clamp(self.scale.lower_hu, self.scale.upper_hu))
    }

    /// The voxels of `ct` in `range`, after clipping to the scale; NaN is in no region.
    ///
    /// # Grid
    /// The grid of `ct`.
    pub fn mask(&self, range: HuRange, ct: &Volume<f32>) -> Mask {
        Mask::from_values(ct, |&hu| self.is_in(range, f64::from(hu)))
    }

    /// What is wrong with these regions: one sentence for each unusable field.
    pub(crate) fn problems(&self) -> Vec<String> {
        [("air", self.air), ("soft_tissue", self.soft_tissue), ("bone", self.bone), ("scale", self.scale)]
            .into_iter()
            .filter(|(_, range)| {
                !(range.lower_hu.is_finite() && range.upper_hu.is_finite() && range.lower_hu < range.upper_hu)
            })
            .map(|(name, range)| {
                format!(
                    "`{name}` is [{}, {}] HU, but must be finite and rise from lower to upper",
                    range.lower_hu, range.upper_hu
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_and_ends_of_the_scale() {
        #[track_caller]
        fn check(regions: &Regions, hu: f64, expected: [bool; 3]) {
            let got = [regions.air, regions.soft_tissue, regions.bone].map(|range| regions.is_in(range, hu));
            assert_eq!(got, expected, "{hu} HU in [air, soft tissue, bone]");
        }
        let regions = Regions::roi_focused();
        check(&regions, -1024.0, [true, false, false]);
        check(&regions, -1000.0, [true, false, false]);
        check(&regions, -400.0, [true, false, false]);
        check(&regions, -399.9, [false, false, false]);
        check(&regions, -250.0, [false, true, false]);
        check(&regions, 0.0, [false, true, false]);
        // Both ranges are closed in the paper, so that exactly 250 HU is in both.
        check(&regions, 250.0, [false, true, true]);
        check(&regions, 3000.0, [false, false, true]);
        check(&regions, 3071.0, [false, false, true]);
        check(&regions, f64::NAN, [false, false, false]);
    }
}
