//! Axial slices of prepared cases, in batches.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use synthct_image::{ImageError, Interpolation, Mask, Volume, VoxelIndex, resample};
use synthct_prep::{AugmentationConfig, AugmentationDraw, MrScale};

use crate::preprocessing::{PlacedMr, PreparedMr, neighbors};
use crate::random::{Purpose, stream};
use crate::{Case, CaseProblem, ModelError, Normalization, Preprocessing};

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
    scales: Vec<MrScale>,
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
    context: usize,
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

/// A case on the model grid, with its MR not yet on a common intensity scale.
pub(crate) struct PlacedCase {
    id: String,
    mr: PlacedMr,
    ct: Volume<f32>,
    body: Mask,
}

/// Brings a case onto the model grid.
pub(crate) fn place_case(case: &Case, preprocessing: &Preprocessing) -> Result<PlacedCase, ModelError> {
    let mr = preprocessing.place(&case.mr)?;
    let ct = resample(&case.ct, &mr.grid, None, Interpolation::Linear, AIR_HU)?
        .map(|hu| hu.clamp(CT_RANGE_HU[0], CT_RANGE_HU[1]));
    let body = case.body.resampled(&mr.grid, None)?;
    if body.count() == 0 {
        let what = format!("no voxel of the body mask is left on the model grid {}", mr.grid);
        return Err(ModelError::Cases { problems: vec![CaseProblem { id: case.id.clone(), what }] });
    }
    Ok(PlacedCase { id: case.id.clone(), mr, ct, body })
}

impl PlacedCase {
    /// What a normalization learns from: the channels and the body that was found in them.
    pub(crate) fn mr(&self) -> (&[Volume<f32>], &Mask) {
        (&self.mr.channels, &self.mr.body_on_model_grid)
    }

    /// Brings the MR onto the common scale.
    pub(crate) fn normalized(self, normalization: &Normalization) -> Result<PreparedCase, ModelError> {
        let Self { id, mr, ct, body } = self;
        match mr.normalized(normalization) {
            Ok(PreparedMr { channels, scales, .. }) => Ok(PreparedCase { id, channels, scales, ct, body }),
            Err(error) => Err(ModelError::InCase { id, source: Box::new(error.into()) }),
        }
    }
}

impl PreparedCase {
    /// A case whose channels are taken as they are.
    #[cfg(test)]
    pub(crate) fn for_test(id: &str, channels: Vec<Volume<f32>>, ct: Volume<f32>, body: Mask) -> Self {
        let scales = vec![MrScale { zero_signal: 0.0, mean: 0.0, sd: 1.0 }; channels.len()];
        Self { id: id.to_owned(), channels, scales, ct, body }
    }

    /// Checks that the MR suits the augmentation.
    pub(crate) fn require_suited(&self, augmentation: &AugmentationConfig) -> Result<(), ModelError> {
        let mut scales = self.scales.iter();
        scales
            .try_for_each(|scale| augmentation.require_suited(scale))
            .map_err(|error| ModelError::InCase { id: self.id.clone(), source: Box::new(error.into()) })
    }
}

impl Dataset {
    /// The slices of `cases`, those without body left out if asked; their sizes are padded to the multiple, and so many
    /// neighbours on each side are shown beside them.
    pub(crate) fn new(
        cases: Vec<PreparedCase>,
        [size_multiple, context]: [usize; 2],
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
        Self { cases, slices, size_multiple, context }
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

    /// Slices of one padded size as tensors, changed at random if asked, one after the other.
    pub(crate) fn batch(
        &self,
        slices: &[SliceRef],
        augmentation: Option<(&AugmentationConfig, &mut ChaCha8Rng)>,
        device: &Device,
    ) -> Result<Batch, ModelError> {
        let size = slices.first().map_or([0, 0], |&slice| self.padded_size(slice));
        let n_channels =
            slices.first().map_or(0, |slice| self.cases[slice.case].channels.len() * (2 * self.context + 1));
        let n = slices.len() * size[0] * size[1];
        let mut mr = Vec::with_capacity(n * n_channels);
        let (mut ct, mut body, mut bone) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        let mut changes = augmentation;
        for slice in slices {
            let mut images = self.slice_images(*slice)?;
            if let Some((config, rng)) = &mut changes {
                images.change(&AugmentationDraw::sample(config, *rng)?)?;
            }
            for (channel, scale) in &images.channels {
                push_slice(&mut mr, channel, 0, size, scale.zero_signal as f32, |&value| value);
            }
            let from = ct.len();
            push_slice(&mut ct, &images.ct, 0, size, AIR_KHU, |hu| hu / 1000.0);
            push_slice(&mut body, images.body.volume(), 0, size, 0.0, |&inside| f32::from(u8::from(inside)));
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

    fn slice_images(&self, slice: SliceRef) -> Result<SliceImages, ModelError> {
        let case = &self.cases[slice.case];
        let mut channels = Vec::with_capacity(case.channels.len());
        let [_, _, n_slices] = case.ct.grid().size_ijk();
        for (channel, &scale) in case.channels.iter().zip(&case.scales) {
            for k in neighbors(slice.k, self.context, n_slices) {
                channels.push((one_slice(channel, k)?, scale));
            }
        }
        let body = Mask::new(one_slice(case.body.volume(), slice.k)?);
        Ok(SliceImages { channels, ct: one_slice(&case.ct, slice.k)?, body })
    }
}

/// The images of one slice, on a grid with a single k.
struct SliceImages {
    /// Each MR channel's neighbours, the slice itself among them.
    channels: Vec<(Volume<f32>, MrScale)>,
    ct: Volume<f32>,
    body: Mask,
}

impl SliceImages {
    fn change(&mut self, draw: &AugmentationDraw) -> Result<(), ModelError> {
        for (n, (channel, scale)) in self.channels.iter_mut().enumerate() {
            *channel = draw.apply_to_mr(channel, scale, n)?;
        }
        self.ct = draw.apply_to_image(&self.ct, AIR_HU)?;
        self.body = draw.apply_to_mask(&self.body)?;
        Ok(())
    }
}

/// Slice `k` as a volume of its own.
fn one_slice<T: Copy>(volume: &Volume<T>, k: usize) -> Result<Volume<T>, ImageError> {
    let [ni, nj, _] = volume.grid().size_ijk();
    let grid = volume.grid().crop(VoxelIndex::new(0, 0, k), [ni, nj, 1])?;
    Volume::from_vec(grid, volume.as_slice()[k * ni * nj..(k + 1) * ni * nj].to_vec())
}

/// Appends slice `k`, padded at the far ends to `size` (height, width).
pub(crate) fn push_slice<T>(
    into: &mut Vec<f32>,
    volume: &Volume<T>,
    k: usize,
    size: [usize; 2],
    fill: f32,
    value_of: impl Fn(&T) -> f32,
) {
    let [ni, nj, _] = volume.grid().size_ijk();
    let start = into.len();
    for row in volume.as_slice()[k * ni * nj..(k + 1) * ni * nj].chunks_exact(ni) {
        into.extend(row.iter().map(&value_of));
        into.resize(into.len() + size[1] - ni, fill);
    }
    into.resize(start + size[0] * size[1], fill);
}

#[cfg(test)]
mod tests {
    use synthct_image::{Grid, PointLps};

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
            scales: [-5.0, -6.0].map(|zero_signal| MrScale { zero_signal, mean: 0.0, sd: 1.0 }).to_vec(),
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
        let dataset = Dataset::new(vec![case("a", [3, 4, 3])?], [5, 0], true);
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
    fn neighbors_are_channels_and_change_alike() -> Result<(), Box<dyn std::error::Error>> {
        let dataset = Dataset::new(vec![case("a", [3, 4, 3])?], [5, 1], true);
        let slices = &dataset.batches_in_order(8)[0];
        let batch = dataset.batch(slices, None, &Device::Cpu)?;
        assert_eq!(batch.mr.dims(), [2, 6, 5, 5]);
        // Slices 1 and 2 of three; of each channel the slice below, the slice, the slice above or the last one again.
        for (n, hundreds) in [[0.0, 100.0, 200.0], [100.0, 200.0, 200.0]].into_iter().enumerate() {
            for (channel, expected) in hundreds.iter().chain(&hundreds.map(|value| -value)).enumerate() {
                let sign = if channel < 3 { 1.0 } else { -1.0 };
                let found = plane(&batch.mr, n, channel)?[3][2];
                assert!(
                    (found - (expected + 32.0 * sign)).abs() < 1e-6,
                    "slice {n}, channel {channel}: {found}"
                );
            }
        }
        let config = AugmentationConfig { mirror_probability: 1.0, ..AugmentationConfig::neutral() };
        let mut rng = stream(1, Purpose::Augmentation, 1, 1);
        let mirrored = dataset.batch(slices, Some((&config, &mut rng)), &Device::Cpu)?;
        for channel in 0..6 {
            let (found, plain) = (plane(&mirrored.mr, 0, channel)?, plane(&batch.mr, 0, channel)?);
            assert!((found[1][0] - plain[1][2]).abs() < 1e-6 && (found[1][1] - plain[1][1]).abs() < 1e-6);
        }
        Ok(())
    }

    #[test]
    fn mirroring_turns_image_and_truth_together() -> Result<(), Box<dyn std::error::Error>> {
        let dataset = Dataset::new(vec![case("a", [3, 4, 2])?], [5, 0], true);
        let slices = &dataset.batches_in_order(1)[0];
        let config = AugmentationConfig { mirror_probability: 0.5, ..AugmentationConfig::neutral() };
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
    fn rotation_moves_image_and_truth_together() -> Result<(), Box<dyn std::error::Error>> {
        // A bright square of bone off the middle in a dark square of soft tissue.
        let grid = Grid::axis_aligned([40, 40, 1], [1.0, 1.0, 3.0], PointLps::ORIGIN)?;
        let within = |index: VoxelIndex, from: usize, to: usize| {
            (from..to).contains(&index.i) && (from..to).contains(&index.j)
        };
        let ct = Volume::from_index_fn(&grid, |index| match index {
            _ if within(index, 22, 28) => 1000.0,
            _ if within(index, 10, 30) => 0.0,
            _ => AIR_HU,
        });
        let case = PreparedCase {
            id: "square".to_owned(),
            channels: vec![ct.map(|hu| hu / 1000.0)],
            scales: vec![MrScale { zero_signal: -1.0, mean: 0.0, sd: 1.0 }],
            body: Mask::from_values(&ct, |&hu| hu > -500.0),
            ct,
        };
        let dataset = Dataset::new(vec![case], [8, 0], true);
        let slices = &dataset.batches_in_order(1)[0];
        let config = AugmentationConfig {
            rotation_probability: 1.0,
            rotation_deg: [0.0, 0.0, 40.0],
            scaling_probability: 1.0,
            scaling: 0.2,
            ..AugmentationConfig::neutral()
        };
        let plain = dataset.batch(slices, None, &Device::Cpu)?.mr.flatten_all()?.to_vec1::<f32>()?;
        for step in 0..6 {
            let mut rng = stream(5, Purpose::Augmentation, 1, step);
            let batch = dataset.batch(slices, Some((&config, &mut rng)), &Device::Cpu)?;
            let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
            let (mr, ct) = (flat(&batch.mr)?, flat(&batch.ct_khu)?);
            assert_ne!(mr, plain, "step {step}");
            assert!(mr.iter().zip(&ct).all(|(mr, khu)| (mr - khu).abs() < 1e-6), "step {step}");
            let (body, bone) = (flat(&batch.body)?, flat(&batch.bone)?);
            let of_ct = |from: f32| ct.iter().map(|&khu| f32::from(u8::from(khu > from))).collect::<Vec<_>>();
            let differ =
                |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| (*a - *b).abs() > 0.5).count();
            // Nearest and linear agree but for voxels on the edges.
            assert!(differ(&body, &of_ct(-0.5)) <= 12, "step {step}: {}", differ(&body, &of_ct(-0.5)));
            assert_eq!(differ(&bone, &of_ct(0.25)), 0, "step {step}");
        }
        Ok(())
    }

    #[test]
    fn every_slice_comes_once_an_epoch_with_others_of_its_size() -> Result<(), Box<dyn std::error::Error>> {
        let cases = vec![case("a", [3, 4, 9])?, case("b", [3, 6, 6])?, case("c", [2, 5, 7])?];
        let dataset = Dataset::new(cases, [5, 0], true);
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
