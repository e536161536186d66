//! Axial slices of prepared cases, in batches.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use synthct_image::{Interpolation, Mask, Volume, resample};

use crate::random::{Purpose, stream};
use crate::{Augmentation, Case, CaseProblem, ModelError, Preprocessing};

/// CT values are clipped to this range before a network learns them, HU.
pub(crate) const CT_RANGE_HU: [f32; 2] = [-1000.0, 3000.0];
/// Bone is what is inside the body and has at least this CT value, HU.
pub(crate) const BONE_FROM_HU: f32 = 250.0;
const AIR_HU: f32 = -1000.0;
const AIR_KHU: f32 = -1.0;

/// A case on the model grid.
pub(crate) struct PreparedCase {
    pub(crate) id: String,
    /// Normalized MR channels.
    pub(crate) channels: Vec<Volume<f32>>,
    zero_signal: Vec<f32>,
    /// HU, clipped to [`CT_RANGE_HU`].
    pub(crate) ct: Volume<f32>,
    pub(crate) body: Mask,
}

/// One axial slice of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceRef {
    case: usize,
    k: usize,
}

/// The slices of some cases.
pub(crate) struct Dataset {
    cases: Vec<PreparedCase>,
    slices: Vec<SliceRef>,
    size_multiple: usize,
}

/// Slices of one size, as tensors `[N, C, H, W]` and `[N, 1, H, W]`.
pub(crate) struct Batch {
    pub(crate) mr: Tensor,
    /// Thousands of HU.
    pub(crate) ct_khu: Tensor,
    /// 1 inside, 0 outside.
    pub(crate) body: Tensor,
    /// 1 in bone, 0 elsewhere.
    pub(crate) bone: Tensor,
}

/// Prepares a case for learning.
pub(crate) fn prepare_case(case: &Case, preprocessing: &Preprocessing) -> Result<PreparedCase, ModelError> {
    let prepared = preprocessing.prepare(&case.mr)?;
    let ct = resample(&case.ct, &prepared.grid, None, Interpolation::Linear, AIR_HU)?
        .map(|hu| hu.clamp(CT_RANGE_HU[0], CT_RANGE_HU[1]));
    let body = case.body.resampled(&prepared.grid, None)?;
    if body.count() == 0 {
        let what = format!("no voxel of the body mask is left on the model grid {}", prepared.grid);
        return Err(ModelError::Cases { problems: vec![CaseProblem { id: case.id.clone(), what }] });
    }
    Ok(PreparedCase {
        id: case.id.clone(),
        channels: prepared.channels,
        zero_signal: prepared.zero_signal,
        ct,
        body,
    })
}

impl Dataset {
    /// The slices of `cases`, those without body left out if asked.
    pub(crate) fn new(
        cases: Vec<PreparedCase>,
        size_multiple: usize,
        skip_slices_without_body: bool,
    ) -> Self {
        let mut slices = Vec::new();
        for (n, case) in cases.iter().enumerate() {
            let [ni, nj, _] = case.ct.grid().size_ijk();
            for (k, body) in case.body.as_slice().chunks_exact(ni * nj).enumerate() {
                if !skip_slices_without_body || body.contains(&true) {
                    slices.push(SliceRef { case: n, k });
                }
            }
        }
        Self { cases, slices, size_multiple }
    }

    /// The number of slices.
    pub(crate) const fn n_slices(&self) -> usize {
        self.slices.len()
    }

    /// All slices once, in the order of cases, in batches of slices of one padded size.
    pub(crate) fn batches_in_order(&self, batch_size: usize) -> Vec<Vec<SliceRef>> {
        self.batches_of(&self.slices, batch_size)
    }

    /// All slices once, in an order that depends on the seed and the epoch alone.
    ///
    /// Slices are shuffled, sorted by padded size, cut into batches, and the batches shuffled.
    pub(crate) fn shuffled_batches(&self, batch_size: usize, seed: u64, epoch: usize) -> Vec<Vec<SliceRef>> {
        let mut rng = stream(seed, Purpose::Order, epoch, 0);
        let mut slices = self.slices.clone();
        slices.shuffle(&mut rng);
        let mut batches = self.batches_of(&slices, batch_size);
        batches.shuffle(&mut rng);
        batches
    }

    fn batches_of(&self, slices: &[SliceRef], batch_size: usize) -> Vec<Vec<SliceRef>> {
        let mut by_size: BTreeMap<[usize; 2], Vec<SliceRef>> = BTreeMap::new();
        for &slice in slices {
            by_size.entry(self.padded_size(slice)).or_default().push(slice);
        }
        by_size.values().flat_map(|slices| slices.chunks(batch_size).map(<[_]>::to_vec)).collect()
    }

    /// Height and width after padding.
    fn padded_size(&self, slice: SliceRef) -> [usize; 2] {
        let [ni, nj, _] = self.cases[slice.case].ct.grid().size_ijk();
        [nj, ni].map(|n| n.next_multiple_of(self.size_multiple))
    }

    /// What to call a slice in a message.
    pub(crate) fn name(&self, slice: SliceRef) -> String {
        let case = &self.cases[slice.case];
        let z_mm = case.ct.grid().origin_lps().z + slice.k as f64 * case.ct.grid().spacing_mm()[2];
        format!("`{}` slice {} (z {z_mm:.1} mm)", case.id, slice.k)
    }

    /// Slices of one padded size as tensors, changed at random if asked.
    pub(crate) fn batch(
        &self,
        slices: &[SliceRef],
        augmentation: Option<(&Augmentation, &mut dyn Rng)>,
        device: &Device,
    ) -> Result<Batch, ModelError> {
        let size = slices.first().map_or([0, 0], |&slice| self.padded_size(slice));
        let n_channels = slices.first().map_or(0, |slice| self.cases[slice.case].channels.len());
        let n = slices.len() * size[0] * size[1];
        let mut mr = Vec::with_capacity(n * n_channels);
        let (mut ct, mut body, mut bone) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        let mut changes = augmentation;
        for slice in slices {
            let case = &self.cases[slice.case];
            let mirror = match &mut changes {
                Some((config, rng)) => config.mirror && rng.random_bool(0.5),
                None => false,
            };
            for (channel, &zero) in case.channels.iter().zip(&case.zero_signal) {
                let from = mr.len();
                push_slice(&mut mr, channel, slice.k, size, mirror, zero, |&value| value);
                if let Some((config, rng)) = &mut changes {
                    disturb(&mut mr[from..], config, *rng);
                }
            }
            let from = ct.len();
            push_slice(&mut ct, &case.ct, slice.k, size, mirror, AIR_KHU, |hu| hu / 1000.0);
            push_slice(&mut body, case.body.volume(), slice.k, size, mirror, 0.0, |&inside| {
                if inside { 1.0 } else { 0.0 }
            });
            bone.extend(
                ct[from..]
                    .iter()
                    .zip(&body[from..])
                    .map(|(&khu, &inside)| if khu >= BONE_FROM_HU / 1000.0 { inside } else { 0.0_f32 }),
            );
        }
        let shape = |channels: usize| (slices.len(), channels, size[0], size[1]);
        Ok(Batch {
            mr: Tensor::from_vec(mr, shape(n_channels), device)?,
            ct_khu: Tensor::from_vec(ct, shape(1), device)?,
            body: Tensor::from_vec(body, shape(1), device)?,
            bone: Tensor::from_vec(bone, shape(1), device)?,
        })
    }
}

/// Appends slice `k`, mirrored along i if asked, padded at the far ends to `size` (height, width).
pub(crate) fn push_slice<T>(
    into: &mut Vec<f32>,
    volume: &Volume<T>,
    k: usize,
    size: [usize; 2],
    mirror: bool,
    fill: f32,
    value_of: impl Fn(&T) -> f32,
) {
    let [ni, nj, _] = volume.grid().size_ijk();
    let start = into.len();
    for row in volume.as_slice()[k * ni * nj..(k + 1) * ni * nj].chunks_exact(ni) {
        if mirror {
            into.extend(row.iter().rev().map(&value_of));
        } else {
            into.extend(row.iter().map(&value_of));
        }
        into.resize(into.len() + size[1] - ni, fill);
    }
    into.resize(start + size[0] * size[1], fill);
}

/// Scales the values and adds noise.
fn disturb(values: &mut [f32], config: &Augmentation, rng: &mut dyn Rng) {
    if config.scale > 0.0 {
        let factor = rng.random_range(1.0 - config.scale..=1.0 + config.scale);
        for value in values.iter_mut() {
            *value *= factor;
        }
    }
    if config.noise_sd > 0.0 {
        for value in values {
            let normal: f32 = StandardNormal.sample(rng);
            *value += config.noise_sd * normal;
        }
    }
}

#[cfg(test)]
mod tests {
    use synthct_image::{Grid, PointLps, VoxelIndex};

    use super::*;

    /// MR values tell their place: hundreds k, tens j, ones i; a body, with bone at one voxel and in one place outside.
    fn case(id: &str, size_ijk: [usize; 3]) -> Result<PreparedCase, Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned(size_ijk, [1.0, 2.0, 3.0], PointLps::new(0.0, 0.0, 50.0))?;
        let mr = Volume::from_index_fn(&grid, |VoxelIndex { i, j, k }| (100 * k + 10 * j + i) as f32);
        let bone = [VoxelIndex::new(1, 2, 1), VoxelIndex::new(0, 0, 1)];
        let ct = Volume::from_index_fn(&grid, |index| if bone.contains(&index) { 700.0 } else { 40.0 });
        let body = Volume::from_index_fn(&grid, |VoxelIndex { i, j, k }| k > 0 && i >= 1 && j >= 1);
        Ok(PreparedCase {
            id: id.to_owned(),
            channels: vec![mr.clone(), mr.map(|value| -value)],
            zero_signal: vec![-5.0, -6.0],
            ct,
            body: Mask::new(body),
        })
    }

    fn plane(tensor: &Tensor, n: usize, channel: usize) -> Result<Vec<Vec<f32>>, candle_core::Error> {
        tensor.get(n)?.get(channel)?.to_vec2()
    }

    #[test]
    fn slices_are_padded_at_their_far_ends_and_regions_lie_where_they_belong()
    -> Result<(), Box<dyn std::error::Error>> {
        let dataset = Dataset::new(vec![case("a", [3, 4, 3])?], 5, true);
        assert_eq!(dataset.n_slices(), 2, "the slice without body is left out");
        let batches = dataset.batches_in_order(8);
        assert_eq!(batches, [[SliceRef { case: 0, k: 1 }, SliceRef { case: 0, k: 2 }]]);
        assert_eq!(dataset.name(batches[0][0]), "`a` slice 1 (z 53.0 mm)");
        let batch = dataset.batch(&batches[0], None, &Device::Cpu)?;
        assert_eq!(batch.mr.dims(), [2, 2, 5, 5]);
        assert_eq!(batch.bone.dims(), [2, 1, 5, 5]);
        let (mr, second) = (plane(&batch.mr, 0, 0)?, plane(&batch.mr, 1, 1)?);
        let (ct, body, bone) =
            (plane(&batch.ct_khu, 0, 0)?, plane(&batch.body, 0, 0)?, plane(&batch.bone, 0, 0)?);
        for (j, i) in (0..5).flat_map(|j| (0..5).map(move |i| (j, i))) {
            let is_inside = i < 3 && j < 4;
            let is_body = is_inside && i >= 1 && j >= 1;
            let expected_ct = match (i, j) {
                (1, 2) | (0, 0) => 0.7,
                _ if is_inside => 0.04,
                _ => -1.0,
            };
            let number = (10 * j + i) as f32;
            let expected = [
                if is_inside { 100.0 + number } else { -5.0 },
                if is_inside { -200.0 - number } else { -6.0 },
                expected_ct,
                f32::from(u8::from(is_body)),
                f32::from(u8::from((i, j) == (1, 2))),
            ];
            let found = [mr[j][i], second[j][i], ct[j][i], body[j][i], bone[j][i]];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "column {i}, row {j}: {found} not {expected}");
            }
        }
        Ok(())
    }

    #[test]
    fn mirroring_turns_image_and_truth_together() -> Result<(), Box<dyn std::error::Error>> {
        let dataset = Dataset::new(vec![case("a", [3, 4, 2])?], 5, true);
        let slices = &dataset.batches_in_order(1)[0];
        let config = Augmentation { mirror: true, noise_sd: 0.0, scale: 0.0 };
        let plain = dataset.batch(slices, None, &Device::Cpu)?;
        let mut n_mirrored = 0;
        for step in 0..20 {
            let mut rng = stream(1, Purpose::Augmentation, 1, step);
            let batch = dataset.batch(slices, Some((&config, &mut rng)), &Device::Cpu)?;
            let is_mirrored = plane(&batch.mr, 0, 0)?[0][0] > 100.5;
            n_mirrored += usize::from(is_mirrored);
            for (found, plain) in [
                (&batch.mr, &plain.mr),
                (&batch.ct_khu, &plain.ct_khu),
                (&batch.body, &plain.body),
                (&batch.bone, &plain.bone),
            ] {
                for channel in 0..plain.dim(1)? {
                    let (found, mut expected) = (plane(found, 0, channel)?, plane(plain, 0, channel)?);
                    if is_mirrored {
                        for row in &mut expected {
                            row[..3].reverse();
                        }
                    }
                    assert_eq!(found, expected, "step {step}");
                }
            }
        }
        assert!((4..=16).contains(&n_mirrored), "{n_mirrored} of 20 mirrored");
        Ok(())
    }

    #[test]
    fn noise_and_scale_have_the_size_asked_for() {
        let mut rng = stream(3, Purpose::Augmentation, 1, 1);
        let moments = |values: &[f32]| {
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
            let variance =
                values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / values.len() as f64;
            (mean, variance.sqrt())
        };
        let mut noise = vec![2.0; 100_000];
        disturb(&mut noise, &Augmentation { mirror: false, noise_sd: 0.5, scale: 0.0 }, &mut rng);
        let (mean, sd) = moments(&noise);
        // Five standard errors.
        assert!((mean - 2.0).abs() < 0.008 && (sd - 0.5).abs() < 0.006, "mean {mean}, sd {sd}");
        let factors: Vec<f32> = (0..1000)
            .map(|_| {
                let mut values = [2.0, -4.0];
                disturb(&mut values, &Augmentation { mirror: false, noise_sd: 0.0, scale: 0.1 }, &mut rng);
                assert!((values[1] / values[0] + 2.0).abs() < 1e-5, "one factor for a slice: {values:?}");
                values[0] / 2.0
            })
            .collect();
        let (mean, sd) = moments(&factors);
        assert!(
            (mean - 1.0).abs() < 0.01 && (sd - 0.1 / 3.0_f64.sqrt()).abs() < 0.005,
            "mean {mean}, sd {sd}"
        );
        assert!(factors.iter().all(|factor| (0.9..=1.1).contains(factor)));
    }

    #[test]
    fn every_slice_comes_once_an_epoch_with_others_of_its_size() -> Result<(), Box<dyn std::error::Error>> {
        let cases = vec![case("a", [3, 4, 9])?, case("b", [3, 6, 6])?, case("c", [2, 5, 7])?];
        let dataset = Dataset::new(cases, 5, true);
        let all: Vec<_> = dataset.batches_in_order(100).concat();
        assert_eq!(all.len(), 8 + 5 + 6);
        let mut orders = Vec::new();
        for epoch in 1..=3 {
            let batches = dataset.shuffled_batches(4, 11, epoch);
            assert_eq!(batches, dataset.shuffled_batches(4, 11, epoch), "the same place, the same order");
            // 14 slices of 5×5 and 5 of 10×5.
            assert_eq!(batches.len(), 4 + 2);
            for batch in &batches {
                let sizes: Vec<_> = batch.iter().map(|&slice| dataset.padded_size(slice)).collect();
                assert!(sizes.windows(2).all(|pair| pair[0] == pair[1]), "{sizes:?}");
            }
            let mut seen = batches.concat();
            orders.push(seen.clone());
            seen.sort_by_key(|slice| (slice.case, slice.k));
            let mut expected = all.clone();
            expected.sort_by_key(|slice| (slice.case, slice.k));
            assert_eq!(seen, expected);
        }
        assert_ne!(orders[0], orders[1]);
        assert_ne!(orders[1], orders[2]);
        Ok(())
    }
}
