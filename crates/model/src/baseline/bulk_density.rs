//! Bulk densities: one HU for each tissue class.

use serde::{Deserialize, Serialize};

use super::{Sample, quantile_bins};

/// The HU that a bulk-density image gives to each tissue class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkDensityTable {
    /// Air.
    pub air_hu: f32,
    /// Fat.
    pub fat_hu: f32,
    /// Muscle and other soft tissue.
    pub muscle_hu: f32,
    /// Bone.
    pub bone_hu: f32,
}

/// A tissue class of a bulk-density image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TissueClass {
    Air,
    Fat,
    Muscle,
    Bone,
}

/// One HU for each tissue class, the class told by the normalized MR intensity of the first channel.
///
/// Definition: voxels inside the training bodies are sorted by intensity and cut into bins of about equal numbers; each
/// bin takes the class that most of its voxels have in the CT, and an image gets the HU of the class of each voxel's bin.
/// CT classes: air up to -400 HU, bone from 250 HU, soft tissue from -250 to 250 HU, the latter parted into fat and
/// muscle halfway between the table's two values; voxels from -400 to -250 HU have no class and no vote.
/// This one sees the intensity alone, so it cannot tell bone from air where an MR shows both dark;
/// [`DixonBulkDensity`](super::DixonBulkDensity) sees more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkDensity {
    /// The HU of each class.
    table: BulkDensityTable,
    /// Bin n reaches from edge n-1 to below edge n; the first and last bins are open.
    edges: Vec<f32>,
    /// The class of each bin, one more than edges.
    classes: Vec<TissueClass>,
}

impl BulkDensityTable {
    /// Bone 365.5, fat -109.5, muscle 23.3 HU, and air -1000 HU by definition of the unit.
    ///
    /// # References
    /// PubMed Central article PMC6783518.
    pub const fn pmc6783518() -> Self {
        Self { air_hu: -1000.0, fat_hu: -109.5, muscle_hu: 23.3, bone_hu: 365.5 }
    }

    /// Whether the values are finite and ascend from air to bone.
    pub(crate) fn is_ascending(&self) -> bool {
        let values = [self.air_hu, self.fat_hu, self.muscle_hu, self.bone_hu];
        values.iter().all(|hu| hu.is_finite()) && values.windows(2).all(|pair| pair[0] < pair[1])
    }

    const fn hu(&self, class: TissueClass) -> f32 {
        match class {
            TissueClass::Air => self.air_hu,
            TissueClass::Fat => self.fat_hu,
            TissueClass::Muscle => self.muscle_hu,
            TissueClass::Bone => self.bone_hu,
        }
    }

    fn class_of(&self, hu: f32) -> Option<TissueClass> {
        let fat_below_hu = f32::midpoint(self.fat_hu, self.muscle_hu);
        match hu {
            hu if hu <= -400.0 => Some(TissueClass::Air),
            hu if hu < -250.0 => None,
            hu if hu < fat_below_hu => Some(TissueClass::Fat),
            hu if hu < 250.0 => Some(TissueClass::Muscle),
            _ => Some(TissueClass::Bone),
        }
    }
}

impl BulkDensity {
    /// The classes of bins of sorted samples, of which there is at least one.
    pub(crate) fn fit(samples: &[Sample], n_bins: usize, table: BulkDensityTable) -> Self {
        const CLASSES: [TissueClass; 4] =
            [TissueClass::Muscle, TissueClass::Fat, TissueClass::Bone, TissueClass::Air];
        let bins = quantile_bins(samples, n_bins);
        let classes = bins
            .iter()
            .map(|bin| {
                let votes = CLASSES.map(|class| {
                    bin.iter().filter(|sample| table.class_of(sample.hu) == Some(class)).count()
                });
                // The first of equals, so a bin without votes is muscle.
                let most = votes.iter().max().copied().unwrap_or(0);
                CLASSES[votes.iter().position(|&n| n == most).unwrap_or(0)]
            })
            .collect();
        let edges = bins.windows(2).map(|pair| edge_between(pair[0], pair[1])).collect();
        Self { table, edges, classes }
    }

    /// HU at a normalized intensity.
    pub fn hu_at(&self, mr: f32) -> f32 {
        self.table.hu(self.classes[self.edges.partition_point(|&edge| edge <= mr)])
    }

    /// What is wrong with the bins, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let ascending = self.edges.windows(2).all(|pair| pair[0] < pair[1]);
        let finite = self.edges.iter().all(|edge| edge.is_finite());
        if self.classes.len() != self.edges.len() + 1 || !ascending || !finite || !self.table.is_ascending() {
            return Err("the bulk-density bins or HU table are not finite and ascending".to_owned());
        }
        Ok(())
    }
}

/// An intensity above all of one bin and not above any of the next.
fn edge_between(below: &[Sample], above: &[Sample]) -> f32 {
    let (last, first) = (below[below.len() - 1].mr, above[0].mr);
    let middle = f32::midpoint(last, first);
    if middle > last { middle } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intensities_get_the_hu_of_their_majority() {
        // Dark: bone, with some air; medium: muscle; bright: fat.
        let mut samples = Vec::new();
        for n in 0..300_u16 {
            let hu = match n / 100 {
                0 if n % 5 == 0 => -900.0,
                0 => 700.0,
                1 => 40.0,
                _ => -90.0,
            };
            samples.push(Sample { mr: f32::from(n), hu });
        }
        let model = BulkDensity::fit(&samples, 30, BulkDensityTable::pmc6783518());
        assert!(model.check().is_ok());
        let check =
            |mr: f32, hu: f32| assert!((model.hu_at(mr) - hu).abs() < 1e-6, "at {mr}: {}", model.hu_at(mr));
        for (mr, hu) in [(-10.0, 365.5), (50.0, 365.5), (99.0, 365.5), (100.0, 23.3), (150.0, 23.3)] {
            check(mr, hu);
        }
        for (mr, hu) in [(199.0, 23.3), (200.0, -109.5), (1000.0, -109.5)] {
            check(mr, hu);
        }
    }

    #[test]
    fn classes_meet_at_the_ranges_of_the_regions() {
        let table = BulkDensityTable::pmc6783518();
        let check = |hu: f32, class: Option<TissueClass>| assert_eq!(table.class_of(hu), class, "{hu} HU");
        check(-1000.0, Some(TissueClass::Air));
        check(-400.0, Some(TissueClass::Air));
        check(-300.0, None);
        check(-250.0, Some(TissueClass::Fat));
        check(-44.0, Some(TissueClass::Fat));
        check(-43.0, Some(TissueClass::Muscle));
        check(249.0, Some(TissueClass::Muscle));
        check(250.0, Some(TissueClass::Bone));
    }
}
