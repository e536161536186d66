//! A package applied to an MR.

use std::fmt;
use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use synthct_image::{Grid, Interpolation, Mask, Volume, morphology, resample};
use synthct_nn::{Precision, RoiNetOutput};

use crate::ahead::made_ahead;
use crate::case::count_not_finite;
use crate::computed_on::computed_on;
use crate::dataset::push_slice;
use crate::network::Network;
use crate::preprocessing::{PreparedMr, neighbors, spacing_along_lps};
use crate::random::{Purpose, number};
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
/// | `precision` | – | [`Precision::F32`] | `f32`, `bf16` | ours; no effect on baselines, the generator and the cascade |
/// | `mirror` | – | false | – | ours |
/// | `dropout_samples` | – | 0 | any | Gal and Ghahramani (2016), arXiv:1506.02142 |
/// | `seed` | – | 0 | any | – |
///
/// With `mirror`, with two or more `dropout_samples` or with both, a network looks at the MR several times; the synthetic CT
/// is the mean of what it gives, and the standard deviation is the uncertainty. Baselines are not changed by them.
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
    /// Whether the network also looks at the MR mirrored left to right.
    pub mirror: bool,
    /// If above 0, dropout stays on, and the network looks at each image so many times.
    pub dropout_samples: usize,
    /// Decides which channels are dropped.
    pub seed: u64,
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
            mirror: false,
            dropout_samples: 0,
            seed: 0,
        }
    }

    /// How often, and how, a network looks at the MR.
    fn views(&self) -> Vec<View> {
        let seeds: Vec<Option<usize>> = match self.dropout_samples {
            0 => vec![None],
            n => (0..n).map(Some).collect(),
        };
        let sides: &[bool] = if self.mirror { &[false, true] } else { &[false] };
        let views =
            sides.iter().flat_map(|&is_mirrored| seeds.iter().map(move |&sample| (is_mirrored, sample)));
        views.map(|(is_mirrored, sample)| View { is_mirrored, sample }).collect()
    }
}

/// One look at an MR.
#[derive(Clone, Copy)]
struct View {
    is_mirrored: bool,
    /// Which sample of dropout, if there is any.
    sample: Option<usize>,
}

/// A synthetic CT and what belongs to it, all on the first MR channel's grid.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The synthetic CT, HU, clipped to [`SCT_RANGE_HU`].
    pub sct: Volume<f32>,
    /// The standard deviation of the synthetic CTs that `sct` is the mean of, HU; none if there was one alone.
    ///
    /// It is 0 where all are air.
    pub uncertainty_hu: Option<Volume<f32>>,
    /// How many synthetic CTs `sct` is the mean of.
    pub n_views: usize,
    /// The body as found in the first MR channel.
    pub body: Mask,
    /// What each head of a network gives at its first look, if asked for; none for baselines.
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
    let network = Network::new(package.model(), options.precision, package.weights(), device)?;
    let precision = match package.model() {
        PackagedModel::RoiNet(_) => Some(options.precision),
        PackagedModel::Pix2Pix { .. } | PackagedModel::Cascade(_) => Some(Precision::F32),
        PackagedModel::VoxelRegression(_)
        | PackagedModel::BulkDensity(_)
        | PackagedModel::DixonBulkDensity(_) => None,
    };
    let computed_on = computed_on(device, precision);
    let warnings = check_input(package, mr)?;
    let native_grid = mr[0].grid();
    let mut prepared = package.preprocessing().prepare(mr)?;
    let mut n_views = 1;
    let images = match package.model() {
        PackagedModel::RoiNet(_) | PackagedModel::Pix2Pix { .. } | PackagedModel::Cascade(_) => {
            let network = network.expect("because these models are networks");
            let views = options.views();
            n_views = views.len();
            look(package, &network, &mut prepared, &views, options, device, on_progress)?
        }
        PackagedModel::VoxelRegression(model) => {
            Images::from_sct(prepared.channels[0].map(|&value| model.hu_at(value)))
        }
        PackagedModel::BulkDensity(model) => {
            Images::from_sct(prepared.channels[0].map(|&value| model.hu_at(value)))
        }
        PackagedModel::DixonBulkDensity(model) => {
            Images::from_sct(model.sct(&prepared.channels, &prepared.body_on_model_grid)?)
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
    let mut uncertainty_hu = images.sd.map(onto_native).transpose()?;
    if let OutsideBody::Air { margin_mm } = options.outside_body {
        let kept = morphology::dilate(&prepared.body, margin_mm)?;
        let clear = |volume: &mut Volume<f32>, value: f32| {
            for (hu, &is_kept) in volume.as_mut_slice().iter_mut().zip(kept.as_slice()) {
                if !is_kept {
                    *hu = value;
                }
            }
        };
        clear(&mut sct, AIR_HU);
        if let Some(uncertainty_hu) = &mut uncertainty_hu {
            clear(uncertainty_hu, 0.0);
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
    Ok(Prediction { sct, uncertainty_hu, n_views, body: prepared.body, heads, warnings, computed_on })
}

/// Makes a synthetic CT with several models, for instance of several seeds or folds: the mean of what they give.
///
/// Every look of every model counts alike; the standard deviation is that of all looks together.
/// The body, the heads and the warnings are those of the first model.
///
/// # Errors
/// [`ModelError::EmptyEnsemble`] without a model, else as [`predict`].
pub fn predict_ensemble(
    packages: &[ModelPackage],
    mr: &[Volume<f32>],
    options: &PredictOptions,
    device: &Device,
    on_progress: &mut dyn FnMut(PredictProgress) -> ControlFlow<()>,
) -> Result<Prediction, ModelError> {
    let (first, others) = packages.split_first().ok_or(ModelError::EmptyEnsemble)?;
    let mut prediction = predict(first, mr, options, device, on_progress)?;
    for package in others {
        let other = predict(package, mr, options, device, on_progress)?;
        pool(&mut prediction, &other);
    }
    Ok(prediction)
}

/// Takes another model's looks into the mean and the standard deviation.
fn pool(into: &mut Prediction, other: &Prediction) {
    let (m, n) = (into.n_views as f64, other.n_views as f64);
    let mut uncertainty = into.uncertainty_hu.take().unwrap_or_else(|| Volume::filled(into.sct.grid(), 0.0));
    let theirs = other.uncertainty_hu.as_ref().map(Volume::as_slice);
    let values = into.sct.as_mut_slice().iter_mut().zip(uncertainty.as_mut_slice());
    for (idx, ((mean, sd), &theirs_mean)) in values.zip(other.sct.as_slice()).enumerate() {
        let theirs_sd = theirs.map_or(0.0, |sds| f64::from(sds[idx]));
        let difference = f64::from(theirs_mean) - f64::from(*mean);
        // Sums of squares about each mean, and what the means' difference adds (Chan et al. 1979).
        let squares = (m - 1.0) * f64::from(*sd).powi(2)
            + (n - 1.0) * theirs_sd.powi(2)
            + difference.powi(2) * m * n / (m + n);
        *mean = (f64::from(*mean) + difference * n / (m + n)) as f32;
        *sd = (squares / (m + n - 1.0)).sqrt() as f32;
    }
    into.uncertainty_hu = Some(uncertainty);
    into.n_views += other.n_views;
}

/// What a network gives, and how much it varies from look to look.
fn look(
    package: &ModelPackage,
    network: &Network,
    prepared: &mut PreparedMr,
    views: &[View],
    options: &PredictOptions,
    device: &Device,
    on_progress: &mut dyn FnMut(PredictProgress) -> ControlFlow<()>,
) -> Result<Images, ModelError> {
    let mut images = Images::new(&prepared.grid, options.keep_heads.then_some(package.model()));
    let mut spread = (views.len() > 1).then(|| Spread::new(images.sct.values.as_slice().len()));
    let mut is_mirrored = false;
    for (n, view) in views.iter().enumerate() {
        if view.is_mirrored != is_mirrored {
            prepared.channels.iter_mut().for_each(mirror_rows);
            is_mirrored = view.is_mirrored;
        }
        let slices = Slices::new(package, prepared, options);
        let n_slices = slices.ks.len();
        let mut report = |progress: PredictProgress| {
            on_progress(PredictProgress {
                n_done: n * n_slices + progress.n_done,
                n_slices: views.len() * n_slices,
            })
        };
        slices.run(device, &mut report, |input, ks| {
            let output = match view.sample {
                None => network.forward(input, None)?,
                Some(sample) => sampled(network, input, ks, options.seed, sample)?,
            };
            images.sct.put(&(output.aggregate()? * 1000.0)?, ks)?;
            if n > 0 {
                return Ok(());
            }
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
        if let Some(spread) = &mut spread {
            if is_mirrored {
                mirror_rows(&mut images.sct.values);
            }
            spread.add(images.sct.values.as_slice());
        }
    }
    if let Some(spread) = spread {
        images.sd = Some(Image { values: images.sct.values.clone(), outside: 0.0 });
        spread.finish(&mut images);
    }
    Ok(images)
}

/// The outputs with dropout, image by image, so that they depend on the slice and not on its batch.
fn sampled(
    network: &Network,
    input: &Tensor,
    ks: &[usize],
    seed: u64,
    sample: usize,
) -> Result<RoiNetOutput, ModelError> {
    let mut outputs = Vec::with_capacity(ks.len());
    for (n, &k) in ks.iter().enumerate() {
        let seed = number(seed, Purpose::Sample, sample, k);
        outputs.push(network.forward(&input.narrow(0, n, 1)?, Some(seed))?);
    }
    let joined = |of: &dyn Fn(&RoiNetOutput) -> Option<Tensor>| -> Result<Option<Tensor>, ModelError> {
        let parts: Vec<Tensor> = outputs.iter().filter_map(of).collect();
        Ok(if parts.is_empty() { None } else { Some(Tensor::cat(&parts, 0)?) })
    };
    Ok(RoiNetOutput {
        whole_hu: joined(&|output| Some(output.whole_hu.clone()))?
            .ok_or_else(|| candle_core::Error::Msg("a batch without slices".to_owned()))?,
        bone_hu: joined(&|output| output.bone_hu.clone())?,
        bone_mask: joined(&|output| output.bone_mask.clone())?,
    })
}

/// Reverses the rows of a volume: left and right change places.
fn mirror_rows(volume: &mut Volume<f32>) {
    let [ni, _, _] = volume.grid().size_ijk();
    volume.as_mut_slice().chunks_exact_mut(ni).for_each(<[f32]>::reverse);
}

/// Running mean and sum of squares about it, voxel by voxel (Welford 1962).
struct Spread {
    n: usize,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Spread {
    fn new(n_voxels: usize) -> Self {
        Self { n: 0, mean: vec![0.0; n_voxels], squares: vec![0.0; n_voxels] }
    }

    fn add(&mut self, values: &[f32]) {
        self.n += 1;
        let n = self.n as f64;
        for ((mean, squares), &value) in self.mean.iter_mut().zip(&mut self.squares).zip(values) {
            let difference = f64::from(value) - *mean;
            *mean += difference / n;
            *squares += difference * (f64::from(value) - *mean);
        }
    }

    fn finish(self, images: &mut Images) {
        for (into, mean) in images.sct.values.as_mut_slice().iter_mut().zip(self.mean) {
            *into = mean as f32;
        }
        let Some(sd) = &mut images.sd else { return };
        for (into, squares) in sd.values.as_mut_slice().iter_mut().zip(self.squares) {
            *into = (squares / (self.n as f64 - 1.0)).sqrt() as f32;
        }
    }
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
    sd: Option<Image>,
    whole_hu: Option<Image>,
    bone_hu: Option<Image>,
    bone_mask: Option<Image>,
}

impl Images {
    /// Empty images, of the heads as well if their model is given.
    fn new(grid: &Grid, heads: Option<&PackagedModel>) -> Self {
        let (bone_hu, bone_mask) = match heads {
            Some(PackagedModel::RoiNet(config)) => (config.bone_hu, config.bone_mask),
            Some(PackagedModel::Cascade(_)) => (true, true),
            _ => (false, false),
        };
        Self {
            sct: Image::new(grid, AIR_HU),
            sd: None,
            whole_hu: heads.map(|_| Image::new(grid, AIR_HU)),
            bone_hu: bone_hu.then(|| Image::new(grid, 0.0)),
            bone_mask: bone_mask.then(|| Image::new(grid, 0.0)),
        }
    }

    const fn from_sct(values: Volume<f32>) -> Self {
        let sct = Image { values, outside: AIR_HU };
        Self { sct, sd: None, whole_hu: None, bone_hu: None, bone_mask: None }
    }
}

/// The slices of a prepared MR that go through a network.
struct Slices<'a> {
    prepared: &'a PreparedMr,
    ks: Vec<usize>,
    /// Height and width after padding.
    size: [usize; 2],
    batch_size: usize,
    context: usize,
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
            context: package.preprocessing().context_slices,
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
        let [_, _, n_slices] = self.prepared.grid.size_ijk();
        let chunks: Vec<&[usize]> = self.ks.chunks(self.batch_size).collect();
        let make = |n: usize| {
            let ks = chunks[n];
            let n_channels = channels.len() * (2 * self.context + 1);
            let mut values = Vec::with_capacity(ks.len() * n_channels * self.size[0] * self.size[1]);
            for &k in ks {
                for (channel, scale) in channels.iter().zip(&self.prepared.scales) {
                    let zero = scale.zero_signal as f32;
                    for k in neighbors(k, self.context, n_slices) {
                        push_slice(&mut values, channel, k, self.size, zero, |&value| value);
                    }
                }
            }
            let shape = (ks.len(), n_channels, self.size[0], self.size[1]);
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
