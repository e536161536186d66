//! Bulk densities from Dixon images.

use serde::{Deserialize, Serialize};
use synthct_image::{ImageError, Mask, Volume, morphology};

use super::BulkDensityTable;
use crate::dataset::{BONE_FROM_HU, PreparedCase};

/// One HU for each tissue class, the class told by in-phase, water and fat images.
///
/// Definition, with I, W and F the in-phase, water and fat signal of a voxel, and Ī the mean of I in the body:
/// - outside the body: air;
/// - dark: deeper than `skin_mm` under the body's surface, and I < `dark_below`·Ī;
/// - bone: dark, or enclosed by dark voxels of its axial slice and more fat than water (marrow);
/// - else fat where F > W, and muscle.
///
/// `dark_below` is the one of 0.05, 0.10 … 0.95 with the largest bone Dice coefficient over the training cases.
/// Gas inside the body is as dark as cortical bone and counts as bone.
///
/// # References
/// The commercial image that the pelvic paper compares with takes bone from the in-phase image and soft tissue from water
/// and fat; how it tells bone is not published (it has a shape model), so that these rules are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DixonBulkDensity {
    table: BulkDensityTable,
    skin_mm: f64,
    dark_below: f32,
}

impl DixonBulkDensity {
    /// What its channels are, in order.
    pub const CHANNELS: [&'static str; 3] = ["dixon-in-phase", "dixon-water", "dixon-fat"];

    /// The rule with the threshold that suits some cases best.
    pub(crate) fn fit(
        cases: &[PreparedCase],
        table: BulkDensityTable,
        skin_mm: f64,
    ) -> Result<Self, ImageError> {
        let (mut best, mut best_dice) = (0.5, -1.0);
        for step in 1..20_u8 {
            let dark_below = f32::from(step) * 0.05;
            let model = Self { table, skin_mm, dark_below };
            let (mut both, mut sum) = (0_usize, 0_usize);
            for case in cases {
                let bone = model.bone(&case.channels, &case.body)?;
                let voxels = bone.as_slice().iter().zip(case.ct.as_slice()).zip(case.body.as_slice());
                for ((&found, &hu), _) in voxels.filter(|(_, inside)| **inside) {
                    let is_bone = hu >= BONE_FROM_HU;
                    both += usize::from(found && is_bone);
                    sum += usize::from(found) + usize::from(is_bone);
                }
            }
            let dice = if sum == 0 { 0.0 } else { 2.0 * both as f64 / sum as f64 };
            if dice > best_dice {
                (best, best_dice) = (dark_below, dice);
            }
        }
        Ok(Self { table, skin_mm, dark_below: best })
    }

    /// The synthetic CT of in-phase, water and fat images, HU, on their grid.
    pub(crate) fn sct(&self, channels: &[Volume<f32>], body: &Mask) -> Result<Volume<f32>, ImageError> {
        let bone = self.bone(channels, body)?;
        let mut sct = Volume::filled(body.grid(), self.table.air_hu);
        let (water, fat) = (channels[1].as_slice(), channels[2].as_slice());
        for (idx, hu) in sct.as_mut_slice().iter_mut().enumerate() {
            if !body.as_slice()[idx] {
                continue;
            }
            *hu = if bone.as_slice()[idx] {
                self.table.bone_hu
            } else if fat[idx] > water[idx] {
                self.table.fat_hu
            } else {
                self.table.muscle_hu
            };
        }
        Ok(sct)
    }

    fn bone(&self, channels: &[Volume<f32>], body: &Mask) -> Result<Mask, ImageError> {
        let in_phase = &channels[0];
        let inside = in_phase.as_slice().iter().zip(body.as_slice()).filter(|(_, inside)| **inside);
        let sum: f64 = inside.map(|(&signal, _)| f64::from(signal)).sum();
        let dark_below = f64::from(self.dark_below) * sum / body.count().max(1) as f64;
        let dark = Mask::from_values(in_phase, |&signal| f64::from(signal) < dark_below)
            .and(&morphology::erode(body, self.skin_mm)?)?;
        let enclosed = morphology::fill_holes_per_slice(&dark);
        let (water, fat) = (channels[1].as_slice(), channels[2].as_slice());
        let is_bone =
            |idx: usize| dark.as_slice()[idx] || (enclosed.as_slice()[idx] && fat[idx] > water[idx]);
        let values = (0..dark.as_slice().len()).map(is_bone).collect();
        Ok(Mask::new(Volume::from_vec(body.grid().clone(), values)?))
    }

    /// What is wrong with the stored numbers, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let fits = self.table.is_ascending()
            && self.skin_mm.is_finite()
            && self.skin_mm >= 0.0
            && (0.0..=1.0).contains(&self.dark_below);
        if fits { Ok(()) } else { Err("the Dixon bulk densities' numbers are out of range".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use synthct_image::{Grid, PointLps, VoxelIndex};

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;
    /// The channels, the body and the CT.
    type Images = (Vec<Volume<f32>>, Mask, Volume<f32>);

    /// A cylinder of muscle in fat, with a bone whose marrow is fat, and water enclosed by another bone.
    fn images() -> Result<Images, Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned([60, 60, 3], [2.0; 3], PointLps::new(-59.0, -59.0, 0.0))?;
        let tissue = |index: VoxelIndex| {
            let point = grid.point_of(index);
            let from = |x: f64| (point.x - x).hypot(point.y);
            match (from(0.0), from(-20.0), from(20.0)) {
                (r, _, _) if r > 56.0 => 'o',
                (_, b, c) if (6.0..11.0).contains(&b) || (6.0..11.0).contains(&c) => 'b',
                (_, b, _) if b < 6.0 => 'm',
                (_, _, c) if c < 6.0 => 'w',
                (r, _, _) if r > 44.0 => 'f',
                _ => 'w',
            }
        };
        let of = |values: fn(char) -> f32| Volume::from_index_fn(&grid, |index| values(tissue(index)));
        let water = of(|tissue| match tissue {
            'w' => 90.0,
            'f' | 'm' => 10.0,
            'b' => 4.0,
            _ => 1.0,
        });
        let fat = of(|tissue| match tissue {
            'w' => 5.0,
            'f' | 'm' => 110.0,
            'b' => 4.0,
            _ => 1.0,
        });
        let in_phase = Volume::from_index_fn(&grid, |index| water[index] + fat[index]);
        let ct = of(|tissue| match tissue {
            'b' => 900.0,
            'm' => 300.0,
            'f' => -100.0,
            'w' => 30.0,
            _ => -1000.0,
        });
        let body = Mask::new(Volume::from_index_fn(&grid, |index| tissue(index) != 'o'));
        Ok((vec![in_phase, water, fat], body, ct))
    }

    #[test]
    fn each_tissue_gets_its_density() -> TestResult {
        let (channels, body, ct) = images()?;
        let table = BulkDensityTable::pmc6783518();
        let case = PreparedCase::for_test("a", channels.clone(), ct.clone(), body.clone());
        let model = DixonBulkDensity::fit(&[case], table, 4.0)?;
        assert!(model.check().is_ok());
        let sct = model.sct(&channels, &body)?;
        for (idx, (found, ct)) in sct.as_slice().iter().zip(ct.as_slice()).enumerate() {
            let expected = match *ct {
                hu if hu >= 250.0 => table.bone_hu,
                hu if hu > 0.0 => table.muscle_hu,
                hu if hu > -500.0 => table.fat_hu,
                _ => table.air_hu,
            };
            assert!((found - expected).abs() < 1e-3, "voxel {idx}, CT {ct}: {found}");
        }
        Ok(())
    }

    #[test]
    fn a_dark_skin_is_no_bone() -> TestResult {
        let (mut channels, body, ct) = images()?;
        let rim = morphology::erode(&body, 3.0)?;
        for (signal, (inside, deep)) in
            channels[0].as_mut_slice().iter_mut().zip(body.as_slice().iter().zip(rim.as_slice()))
        {
            if *inside && !deep {
                *signal = 2.0;
            }
        }
        let case = PreparedCase::for_test("a", channels.clone(), ct, body.clone());
        let model = DixonBulkDensity::fit(&[case], BulkDensityTable::pmc6783518(), 4.0)?;
        let sct = model.sct(&channels, &body)?;
        let bone = BulkDensityTable::pmc6783518().bone_hu;
        let n_bone = |of: &Volume<f32>| of.as_slice().iter().filter(|hu| (**hu - bone).abs() < 1e-3).count();
        assert!(n_bone(&sct) > 0);
        for (hu, deep) in sct.as_slice().iter().zip(rim.as_slice()) {
            assert!(*deep || (*hu - bone).abs() > 1.0);
        }
        Ok(())
    }
}
