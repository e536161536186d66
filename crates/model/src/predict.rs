//! A package applied to an MR.

use std::fmt;
use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use synthct_image::{Grid, Interpolation, Mask, Volume, morphology, resample};
use synthct_nn::Precision;

use crate::ahead::made_ahead;
use crate::case::count_not_finite;
use crate::computed_on::computed_on;
use crate::dataset::push_slice;
use crate::network::Network;
use crate::preprocessing::{PreparedMr, spacing_along_lps};
use crate::{ModelError, ModelPackage, PackagedModel};

/// Synthetic CT values are clipped to this range, HU.
pub const SCT_RANGE_HU: [f32; 2] = [-1000.0, 3000.0];
const AIR_HU: f32 = SCT_RANGE_HU[0];
/// An image this many times coarser than the model's grid along two patient axes or more is refused.
const COARSEST_RATIO: f64 = 4.0;
/// From this ratio on, along any axis, a prediction carries a warning.
const COARSE_RATIO: f64 = 2.0;
/// Below this ratio, along any axis, a prediction carries a warning: values between model voxels are not looked at.
const FINE_RATIO: f64 = 0.5;

/// How a package is applied.
///
/// | field | unit | [`PredictOptions::standard`] | range | source |
/// |---|---|---|---|---|
/// | `outside_body` | – | air beyond 5 mm | – | ours |
/// | `batch_size` | slices | 4 | ≥ 1 | ours; memory grows with it, results do not depend on it |
/// | `keep_heads` | – | false | – | – |
/// | `precision` | – | [`Precision::F32`] | `f32`, `bf16` | ours; no effect on baselines |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PredictOptions {
    /// What is outside the body.
    pub outside_body: OutsideBody,
    /// Slices that go through the network together.
    pub batch_size: usize,
    /// Whether each head's image is returned as well.
    pub keep_heads: bool,
    /// The numbers that a network computes in, whatever it was trained in.
    ///
    /// In bfloat16 a small network's heads differ by up to 10 HU and the synthetic CT by 1 HU on average, more in single
    /// voxels whose bone mask is at the threshold.
    pub precision: Precision,
}

/// What a synthetic CT has outside the body that was found in the MR.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutsideBody {
    /// -1000 HU beyond a margin around the body: noise of the MR's background is no matter.
    Air {
        /// How far from the body the model's values are kept, in mm: room for skin without signal.
        margin_mm: f64,
    },
    /// What the model gives; where it does not look (beyond its crop, and slices without body), -1000 HU.
    AsPredicted,
}

impl PredictOptions {
    /// Air beyond 5 mm from the body, four slices at a time, the synthetic CT alone, in 32-bit floats.
    pub const fn standard() -> Self {
        Self {
            outside_body: OutsideBody::Air { margin_mm: 5.0 },
            batch_size: 4,
            keep_heads: false,
            precision: Precision::F32,
        }
    }
}

/// A synthetic CT and what belongs to it, all on the first MR channel's grid.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The synthetic CT, HU, clipped to [`SCT_RANGE_HU`].
    pub sct: Volume<f32>,
    /// The body as found in the first MR channel.
    pub body: Mask,
    /// What each head of a network gives, if asked for; none for baselines.
    pub heads: Option<HeadImages>,
    /// What about the input may make the result worse.
    pub warnings: Vec<PredictWarning>,
    /// What it was computed on, for instance `cpu, avx512-bf16, f32`; for baselines the kind of device alone.
    pub computed_on: String,
}

/// The images of a network's heads before they are put together.
#[derive(Clone, Debug)]
pub struct HeadImages {
    /// The whole-image head, HU; -1000 where the model does not look.
    pub whole_hu: Volume<f32>,
    /// The bone head, HU; 0 where the model does not look.
    pub bone_hu: Option<Volume<f32>>,
    /// The bone mask's probability; 0 where the model does not look.
    pub bone_mask: Option<Volume<f32>>,
}

/// Something about an input that may make a prediction worse.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum PredictWarning {
    /// The image is much coarser than the model's grid: what is between its voxels is interpolated.
    Coarse {
        /// `x`, `y` or `z`.
        axis: char,
        /// The image's spacing along it, mm.
        found_mm: f64,
        /// The model's, mm.
        expected_mm: f64,
    },
    /// The image is much finer than the model's grid: only voxels next to the grid's are looked at.
    Fine {
        /// `x`, `y` or `z`.
        axis: char,
        /// The image's spacing along it, mm.
        found_mm: f64,
        /// The model's, mm.
        expected_mm: f64,
    },
}

impl fmt::Display for PredictWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, axis, found_mm, expected_mm) = match self {
            Self::Coarse { axis, found_mm, expected_mm } => ("coarser", axis, found_mm, expected_mm),
            Self::Fine { axis, found_mm, expected_mm } => ("finer", axis, found_mm, expected_mm),
        };
        write!(
            f,
            "along patient {axis} the image is much {word} ({found_mm:.2} mm) than the model's grid ({expected_mm:.2} mm)"
        )
    }
}

/// How far a prediction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredictProgress {
    /// The number of slices done.
    pub n_done: usize,
    /// The number of all slices.
    pub n_slices: usize,
}

/// Makes a synthetic CT from an MR, one image a channel, all on one grid.
///
/// The MR is prepared as the package says, goes through the model in batches of axial slices, and the result is
/// resampled linearly onto the MR's grid (an MR whose voxels are the model's is only reordered).
/// A network's heads are put together by its aggregate rule: inside the thresholded bone mask the bone head, elsewhere
/// the whole-image head.
/// `on_progress` is called after each batch and may stop the prediction.
/// Besides volumes (the prepared channels, masks and results) it holds one batch in the network and the next one's input.
///
/// # Errors
/// [`ModelError::ChannelCount`], [`ModelError::NotFinite`], [`ModelError::TooCoarse`] (more than four times the model's
/// spacing along two patient axes or more) or [`ModelError::EmptyBody`] for an MR that does not fit the package;
/// [`ModelError::Image`] if the channels' grids differ; [`ModelError::Config`] for options out of range;
/// [`ModelError::Stopped`] if `on_progress` said so.
pub fn predict(
    package: &ModelPackage,
    mr: &[Volume<f32>],
    options: &PredictOptions,
    device: &Device,
    on_progress: &mut dyn FnMut(PredictProgress) -> ControlFlow<()>,
) -> Result<Prediction, ModelError> {
    options.validate()?;
    let precision = matches!(package.model(), PackagedModel::RoiNet(_)).then_some(options.precision);
    let computed_on = computed_on(device, precision);
    let warnings = check_input(package, mr)?;
    let native_grid = mr[0].grid();
    let prepared = package.preprocessing().prepare(mr)?;
    let images = match package.model() {
        PackagedModel::RoiNet(config) => {
            let network = Network::with_weights(config, options.precision, package.weights(), device)?;
            let slices = Slices::new(package, &prepared, options);
            let mut images =
                Images::new(&prepared.grid, options.keep_heads, config.bone_hu, config.bone_mask);
            slices.run(device, on_progress, |input, ks| {
                let output = network.forward(input)?;
                images.sct.put(&(output.aggregate()? * 1000.0)?, ks)?;
                if let Some(whole_hu) = &mut images.whole_hu {
                    whole_hu.put(&(&output.whole_hu * 1000.0)?, ks)?;
                }
                if let (Some(into), Some(head)) = (&mut images.bone_hu, &output.bone_hu) {
                    into.put(&(head * 1000.0)?, ks)?;
                }
                if let (Some(into), Some(head)) = (&mut images.bone_mask, &output.bone_mask) {
                    into.put(head, ks)?;
                }
                Ok(())
            })?;
            images
        }
        PackagedModel::VoxelRegression(model) => {
            Images::from_sct(prepared.channels[0].map(|&value| model.hu_at(value)))
        }
        PackagedModel::BulkDensity(model) => {
            Images::from_sct(prepared.channels[0].map(|&value| model.hu_at(value)))
        }
    };
    // What the model saw is not needed any more; the images on the MR's grid take its room.
    drop(prepared.channels);
    let onto_native =
        |image: Image| resample(&image.values, native_grid, None, Interpolation::Linear, image.outside);
    let mut sct = onto_native(images.sct)?;
    for hu in sct.as_mut_slice() {
        *hu = hu.clamp(SCT_RANGE_HU[0], SCT_RANGE_HU[1]);
    }
    if let OutsideBody::Air { margin_mm } = options.outside_body {
        let kept = morphology::dilate(&prepared.body, margin_mm)?;
        for (hu, &is_kept) in sct.as_mut_slice().iter_mut().zip(kept.as_slice()) {
            if !is_kept {
                *hu = AIR_HU;
            }
        }
    }
    let heads = match images.whole_hu {
        None => None,
        Some(whole_hu) => Some(HeadImages {
            whole_hu: onto_native(whole_hu)?,
            bone_hu: images.bone_hu.map(onto_native).transpose()?,
            bone_mask: images.bone_mask.map(onto_native).transpose()?,
        }),
    };
    Ok(Prediction { sct, body: prepared.body, heads, warnings, computed_on })
}

impl PredictOptions {
    fn validate(&self) -> Result<(), ModelError> {
        let mut problems = Vec::new();
        if self.batch_size == 0 {
            problems.push(crate::FieldProblem {
                field: "batch_size",
                value: "0".to_owned(),
                allowed: "one or more",
            });
        }
        if let OutsideBody::Air { margin_mm } = self.outside_body
            && !(margin_mm.is_finite() && margin_mm >= 0.0)
        {
            problems.push(crate::FieldProblem {
                field: "outside_body.margin_mm",
                value: margin_mm.to_string(),
                allowed: "finite and zero or more",
            });
        }
        if problems.is_empty() { Ok(()) } else { Err(ModelError::Config { problems }) }
    }
}

/// Refuses an input that does not fit the package; says what may make the result worse.
fn check_input(package: &ModelPackage, mr: &[Volume<f32>]) -> Result<Vec<PredictWarning>, ModelError> {
    let preprocessing = package.preprocessing();
    let channels = &preprocessing.channels;
    if mr.is_empty() || mr.len() != channels.len() {
        return Err(ModelError::ChannelCount { channels: channels.clone(), found: mr.len() });
    }
    for (volume, channel) in mr.iter().zip(channels) {
        mr[0].grid().require_match(volume.grid())?;
        let n_voxels = count_not_finite(volume);
        if n_voxels > 0 {
            return Err(ModelError::NotFinite { channel: channel.clone(), n_voxels });
        }
    }
    let found_mm = spacing_along_lps(mr[0].grid());
    let expected_mm = preprocessing.spacing_mm;
    let ratios = [0, 1, 2].map(|axis| found_mm[axis] / expected_mm[axis]);
    if ratios.iter().filter(|&&ratio| ratio > COARSEST_RATIO).count() >= 2 {
        return Err(ModelError::TooCoarse { found_mm, expected_mm, limit: COARSEST_RATIO });
    }
    let mut warnings = Vec::new();
    for (n, axis) in ['x', 'y', 'z'].into_iter().enumerate() {
        let (found_mm, expected_mm) = (found_mm[n], expected_mm[n]);
        if ratios[n] > COARSE_RATIO {
            warnings.push(PredictWarning::Coarse { axis, found_mm, expected_mm });
        } else if ratios[n] < FINE_RATIO {
            warnings.push(PredictWarning::Fine { axis, found_mm, expected_mm });
        }
    }
    Ok(warnings)
}

/// An image on the model grid that is filled slice by slice.
struct Image {
    values: Volume<f32>,
    /// What is where the model does not look.
    outside: f32,
}

impl Image {
    fn new(grid: &Grid, outside: f32) -> Self {
        Self { values: Volume::filled(grid, outside), outside }
    }

    /// Takes slices `ks` from a tensor `[N, 1, H, W]`, without its padding.
    fn put(&mut self, tensor: &Tensor, ks: &[usize]) -> Result<(), ModelError> {
        let [ni, nj, _] = self.values.grid().size_ijk();
        let slices = tensor.narrow(3, 0, ni)?.narrow(2, 0, nj)?.flatten_all()?.to_vec1::<f32>()?;
        for (&k, slice) in ks.iter().zip(slices.chunks_exact(ni * nj)) {
            self.values.as_mut_slice()[k * ni * nj..(k + 1) * ni * nj].copy_from_slice(slice);
        }
        Ok(())
    }
}

/// What a model gives, on the model grid.
struct Images {
    sct: Image,
    whole_hu: Option<Image>,
    bone_hu: Option<Image>,
    bone_mask: Option<Image>,
}

impl Images {
    fn new(grid: &Grid, keep_heads: bool, bone_hu: bool, bone_mask: bool) -> Self {
        Self {
            sct: Image::new(grid, AIR_HU),
            whole_hu: keep_heads.then(|| Image::new(grid, AIR_HU)),
            bone_hu: (keep_heads && bone_hu).then(|| Image::new(grid, 0.0)),
            bone_mask: (keep_heads && bone_mask).then(|| Image::new(grid, 0.0)),
        }
    }

    const fn from_sct(values: Volume<f32>) -> Self {
        let sct = Image { values, outside: AIR_HU };
        Self { sct, whole_hu: None, bone_hu: None, bone_mask: None }
    }
}

/// The slices of a prepared MR that go through a network.
struct Slices<'a> {
    prepared: &'a PreparedMr,
    ks: Vec<usize>,
    /// Height and width after padding.
    size: [usize; 2],
    batch_size: usize,
}

impl<'a> Slices<'a> {
    /// The slices with body, and those near it where its margin may reach.
    fn new(package: &ModelPackage, prepared: &'a PreparedMr, options: &PredictOptions) -> Self {
        let [ni, nj, nk] = prepared.grid.size_ijk();
        let has_body: Vec<bool> = prepared
            .body_on_model_grid
            .as_slice()
            .chunks_exact(ni * nj)
            .map(|slice| slice.contains(&true))
            .collect();
        let margin_mm = match options.outside_body {
            OutsideBody::Air { margin_mm } => margin_mm,
            OutsideBody::AsPredicted => 0.0,
        };
        // One more slice, for the interpolation onto the MR's grid.
        let margin = (margin_mm / prepared.grid.spacing_mm()[2]).ceil() as usize + 1;
        let is_near = |k: usize| has_body[k.saturating_sub(margin)..nk.min(k + margin + 1)].contains(&true);
        let multiple = package.preprocessing().size_multiple;
        Self {
            prepared,
            ks: (0..nk).filter(|&k| is_near(k)).collect(),
            size: [nj, ni].map(|n| n.next_multiple_of(multiple)),
            batch_size: options.batch_size,
        }
    }

    /// Hands the slices out as tensors `[N, C, H, W]` with their k; the next ones are made meanwhile.
    fn run(
        &self,
        device: &Device,
        on_progress: &mut dyn FnMut(PredictProgress) -> ControlFlow<()>,
        mut take: impl FnMut(&Tensor, &[usize]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let channels = &self.prepared.channels;
        let chunks: Vec<&[usize]> = self.ks.chunks(self.batch_size).collect();
        let make = |n: usize| {
            let ks = chunks[n];
            let mut values = Vec::with_capacity(ks.len() * channels.len() * self.size[0] * self.size[1]);
            for &k in ks {
                for (channel, scale) in channels.iter().zip(&self.prepared.scales) {
                    let zero = scale.zero_signal as f32;
                    push_slice(&mut values, channel, k, self.size, zero, |&value| value);
                }
            }
            let shape = (ks.len(), channels.len(), self.size[0], self.size[1]);
            Ok(Tensor::from_vec(values, shape, device)?)
        };
        let mut n_done = 0;
        let outcome = made_ahead(0..chunks.len(), make, |n, input| {
            take(&input, chunks[n])?;
            n_done += chunks[n].len();
            Ok(on_progress(PredictProgress { n_done, n_slices: self.ks.len() }))
        })?;
        if outcome.is_break() { Err(ModelError::Stopped) } else { Ok(()) }
    }
}
