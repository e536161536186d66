//! How a model is trained.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use synthct_loss::RoiLossWeights;
use synthct_nn::{BackboneConfig, DiscriminatorConfig, Precision, UNetConfig};
use synthct_prep::{AugmentationConfig, N4Config, NyulConfig};

use crate::{
    AdamConfig, Architecture, BulkDensityTable, BulkDensityTraining, CascadeTraining, DixonBulkDensity,
    DixonBulkDensityTraining, FieldProblem, LearningRateSchedule, LossWeighting, ModelError,
    NormalizationMethod, OptimizerConfig, Pix2PixTraining, RoiNetTraining, RoiVariant,
    VoxelRegressionTraining,
};

/// The settings of a training.
///
/// | field | unit | preset | range | source |
/// |---|---|---|---|---|
/// | `architecture` | – | by preset | – | methods of the RoI-focused multi-task paper, or a baseline |
/// | `channels` | – | `["mr"]` | ≥ 1, distinct | ours |
/// | `spacing_mm` | mm | none: the first training case's | > 0 | ours |
/// | `size_multiple` | voxels | 8 | ≥ 1 | ours |
/// | `crop_margin_mm` | mm | none: whole slices | ≥ 0 | ours |
/// | `epochs` | – | 300 | ≥ 1 | the paper's |
/// | `batch_size` | slices | 8 | ≥ 1 | ours |
/// | `optimizer` | – | [`OptimizerConfig::nadam`] | – | the paper's |
/// | `learning_rate` | – | 1e-3 | > 0 | the paper's |
/// | `max_gradient_norm` | – | none | > 0 | ours |
/// | `precision` | – | [`Precision::F32`] | `f32`, `bf16` | ours |
/// | `seed` | – | 0 | any | – |
/// | `bias_correction` | – | N4's defaults | none, [`N4Config`] | ours |
/// | `normalization` | – | z-score in the body | [`NormalizationMethod`] | ours |
/// | `augmentation` | – | [`AugmentationConfig::mirror_and_noise`] | [`AugmentationConfig`] | noise and mirroring are the paper's, their size ours |
/// | `skip_slices_without_body` | – | true | – | ours |
/// | `checkpoint_every_steps` | steps | none: every epoch | ≥ 1 | ours |
/// | `context_slices` | slices | 0; pix2pix 1 | any | 2.5-D input is the pelvic paper's |
/// | `schedule` | – | constant | [`LearningRateSchedule`] | the papers name none |
/// | `early_stopping_epochs` | epochs | none | ≥ 1 | ours |
/// | `average_decay` | – | none | [0, 1) | ours |
///
/// The preset `pix2pix` takes its epochs (100), batch size (3), Adam and learning rate (2e-4), and intensities from −1 to 1
/// (Nyúl) from the pelvic paper; that Adam's β₁ is 0.5 is from Isola et al. (2017), arXiv:1611.07004.
/// A `cascade` trains each stage for `epochs` epochs.
///
/// The baselines use `architecture`, `channels` and what concerns the MR's preparation (`spacing_mm`, `crop_margin_mm`,
/// `bias_correction`, `normalization`); the rest has no effect on them.
/// A stored configuration without `optimizer`, `precision`, `bias_correction` or `normalization` is of a version that knew
/// Nadam, `f32`, no correction or z-scores only, and means it; one with `augmentation` in the three fields of earlier
/// versions (`mirror`, `noise_sd`, `scale`) means their changes.
/// Slices are rotated and scaled in their own plane.
/// Validation slices are not augmented (the paper augments them with noise and mirroring), so that epochs are compared
/// on the same images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// What is trained.
    pub architecture: Architecture,
    /// What each MR channel is, in order, for instance `["zte"]`; the first one shows the body.
    pub channels: Vec<String>,
    /// The model grid's spacing along patient x, y, z in mm; none takes the first training case's.
    pub spacing_mm: Option<[f64; 3]>,
    /// Slices are padded to a multiple of this many voxels.
    pub size_multiple: usize,
    /// If given, images are cropped to the body found in the MR and this margin, in training and prediction alike.
    ///
    /// It saves time, but a crop also lowers the share of background, and with it the weight of the body in the weighted MAE.
    pub crop_margin_mm: Option<f64>,
    /// How often every slice is seen.
    pub epochs: usize,
    /// Slices a step.
    pub batch_size: usize,
    /// What moves the weights down their gradients.
    #[serde(default = "OptimizerConfig::nadam")]
    pub optimizer: OptimizerConfig,
    /// The optimizer's step size.
    pub learning_rate: f64,
    /// If given, gradients are scaled down to this norm.
    pub max_gradient_norm: Option<f64>,
    /// The numbers that the network computes in, in training and validation; weights and optimizer keep `f32`.
    #[serde(default)]
    pub precision: Precision,
    /// The seed of all random numbers.
    pub seed: u64,
    /// If given, bias fields are taken out of the MR channels, once for each case.
    #[serde(default)]
    pub bias_correction: Option<N4Config>,
    /// How the MR channels are brought to one intensity scale.
    #[serde(default)]
    pub normalization: NormalizationMethod,
    /// Random changes of training slices, after normalization.
    #[serde(deserialize_with = "augmentation_of_any_version")]
    pub augmentation: AugmentationConfig,
    /// Whether slices without body are left out of training and validation.
    pub skip_slices_without_body: bool,
    /// If given, a checkpoint is also written after this many steps within an epoch.
    pub checkpoint_every_steps: Option<usize>,
    /// Slices above and below each slice that are shown as further channels: 1 is "2.5-D" with three slices.
    ///
    /// At the ends of an image its last slice is repeated.
    #[serde(default)]
    pub context_slices: usize,
    /// How the step size changes with the epochs.
    #[serde(default)]
    pub schedule: LearningRateSchedule,
    /// If given, a training ends after this many epochs without a new best one.
    #[serde(default)]
    pub early_stopping_epochs: Option<usize>,
    /// If given, an exponential moving average of the weights with this decay is validated and kept instead of the weights.
    ///
    /// In step t the decay is at most (1 + t) / (10 + t), so that the first weights are soon forgotten.
    #[serde(default)]
    pub average_decay: Option<f64>,
}

/// Reads the augmentation, also as versions before rotation and scaling stored it.
fn augmentation_of_any_version<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<AugmentationConfig, D::Error> {
    /// What earlier versions knew.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Before {
        mirror: bool,
        noise_sd: f64,
        scale: f64,
    }
    let value = serde_json::Value::deserialize(deserializer)?;
    if value.get("mirror").is_none() {
        return serde_json::from_value(value).map_err(D::Error::custom);
    }
    let Before { mirror, noise_sd, scale } = serde_json::from_value(value).map_err(D::Error::custom)?;
    Ok(AugmentationConfig {
        mirror_probability: if mirror { 0.5 } else { 0.0 },
        noise_probability: 1.0,
        noise_sd: [noise_sd; 2],
        stretch_probability: 1.0,
        stretch: scale,
        ..AugmentationConfig::neutral()
    })
}

impl TrainConfig {
    /// The names that [`TrainConfig::preset`] knows.
    pub const PRESETS: [&str; 10] = [
        "3tn",
        "2tn",
        "1tn-fl",
        "1tn-gl",
        "3tn-uncertainty",
        "pix2pix",
        "cascade",
        "regression",
        "bulk-density",
        "dixon-bulk-density",
    ];

    /// The settings of a preset: the paper's where it gives them, else ours.
    ///
    /// ```
    /// use synthct_model::TrainConfig;
    /// let config = TrainConfig { epochs: 20, ..TrainConfig::preset("3tn")? };
    /// assert_eq!(config.batch_size, 8);
    /// # Ok::<(), synthct_model::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelError::UnknownPreset`] with all names.
    pub fn preset(name: &str) -> Result<Self, ModelError> {
        let weighted = |variant, weighting| {
            Architecture::RoiNet(RoiNetTraining {
                variant,
                filters: 16,
                dropout: 0.1,
                loss_weights: RoiLossWeights::paper(),
                weighting,
            })
        };
        let network = |variant| weighted(variant, LossWeighting::Fixed);
        let architecture = match name {
            "3tn" => network(RoiVariant::ThreeTask),
            "2tn" => network(RoiVariant::TwoTask),
            "1tn-fl" => network(RoiVariant::OneTaskFocused),
            "1tn-gl" => network(RoiVariant::OneTaskGlobal),
            "3tn-uncertainty" => weighted(RoiVariant::ThreeTask, LossWeighting::Uncertainty),
            "pix2pix" => Architecture::Pix2Pix(Pix2PixTraining {
                generator: BackboneConfig::UNet(UNetConfig::pix2pix()),
                discriminator: DiscriminatorConfig { filters: 32 },
                l1_weight: 1.0,
                adversarial_weight: 1.0,
            }),
            "cascade" => Architecture::Cascade(CascadeTraining {
                segmentation: BackboneConfig::UNet(UNetConfig::plain()),
                regression: BackboneConfig::UNet(UNetConfig::plain()),
                loss_weights: RoiLossWeights::paper(),
            }),
            "regression" => Architecture::VoxelRegression(VoxelRegressionTraining { n_bins: 256 }),
            "bulk-density" => Architecture::BulkDensity(BulkDensityTraining {
                n_bins: 256,
                table: BulkDensityTable::pmc6783518(),
            }),
            "dixon-bulk-density" => Architecture::DixonBulkDensity(DixonBulkDensityTraining {
                table: BulkDensityTable::pmc6783518(),
                skin_mm: 4.0,
            }),
            _ => {
                return Err(ModelError::UnknownPreset {
                    name: name.to_owned(),
                    known: Self::PRESETS.to_vec(),
                });
            }
        };
        let paper_a = Self {
            architecture,
            channels: vec!["mr".to_owned()],
            spacing_mm: None,
            size_multiple: 8,
            crop_margin_mm: None,
            epochs: 300,
            batch_size: 8,
            optimizer: OptimizerConfig::nadam(),
            learning_rate: 1e-3,
            max_gradient_norm: None,
            precision: Precision::F32,
            seed: 0,
            bias_correction: Some(N4Config::default()),
            normalization: NormalizationMethod::default(),
            augmentation: AugmentationConfig::mirror_and_noise(),
            skip_slices_without_body: true,
            checkpoint_every_steps: None,
            context_slices: 0,
            schedule: LearningRateSchedule::Constant,
            early_stopping_epochs: None,
            average_decay: None,
        };
        Ok(match name {
            "pix2pix" => Self {
                epochs: 100,
                batch_size: 3,
                optimizer: OptimizerConfig::Adam(AdamConfig { beta1: 0.5, ..AdamConfig::pytorch() }),
                learning_rate: 2e-4,
                normalization: NormalizationMethod::NyulInBody(NyulConfig {
                    output_range: [-1.0, 1.0],
                    ..NyulConfig::intensity_normalization()
                }),
                context_slices: 1,
                ..paper_a
            },
            "dixon-bulk-density" => Self {
                channels: DixonBulkDensity::CHANNELS.map(str::to_owned).to_vec(),
                bias_correction: None,
                normalization: NormalizationMethod::AsAcquired,
                ..paper_a
            },
            _ => paper_a,
        })
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ModelError::Config`] with every field that is out of range.
    pub fn validate(&self) -> Result<(), ModelError> {
        let mut problems = Vec::new();
        let mut require = |ok: bool, field: &'static str, value: String, allowed: &'static str| {
            if !ok {
                problems.push(FieldProblem { field, value, allowed });
            }
        };
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let mut names = self.channels.clone();
        names.sort();
        names.dedup();
        require(
            !names.is_empty()
                && names.len() == self.channels.len()
                && names.iter().all(|name| !name.is_empty()),
            "channels",
            format!("{:?}", self.channels),
            "one or more distinct names",
        );
        if let Some(spacing_mm) = self.spacing_mm {
            require(
                spacing_mm.into_iter().all(positive),
                "spacing_mm",
                format!("{spacing_mm:?}"),
                "finite and above zero",
            );
        }
        if let Some(margin) = self.crop_margin_mm {
            require(
                margin.is_finite() && margin >= 0.0,
                "crop_margin_mm",
                margin.to_string(),
                "finite and zero or more",
            );
        }
        for (field, value) in
            [("size_multiple", self.size_multiple), ("epochs", self.epochs), ("batch_size", self.batch_size)]
        {
            require(value >= 1, field, value.to_string(), "one or more");
        }
        for (field, value, ok, allowed) in self.optimizer.fields() {
            require(ok, field, value.to_string(), allowed);
        }
        require(
            positive(self.learning_rate),
            "learning_rate",
            self.learning_rate.to_string(),
            "finite and above zero",
        );
        if let Some(norm) = self.max_gradient_norm {
            require(positive(norm), "max_gradient_norm", norm.to_string(), "finite and above zero");
        }
        for (field, value) in [
            ("checkpoint_every_steps", self.checkpoint_every_steps),
            ("early_stopping_epochs", self.early_stopping_epochs),
        ] {
            if let Some(value) = value {
                require(value >= 1, field, value.to_string(), "one or more");
            }
        }
        require(
            self.schedule.is_usable(self.epochs),
            "schedule",
            format!("{:?}", self.schedule),
            "a final factor in [0, 1], or a first epoch of the decay from 1 to `epochs`",
        );
        if let Some(decay) = self.average_decay {
            require((0.0..1.0).contains(&decay), "average_decay", decay.to_string(), "in [0, 1)");
        }
        let found = self.bias_correction.as_ref().map(N4Config::problems).unwrap_or_default();
        require(found.is_empty(), "bias_correction", found.join("; "), "usable");
        for (field, value, ok, allowed) in
            self.normalization.fields().into_iter().chain(self.augmentation.fields())
        {
            require(ok, field, value, allowed);
        }
        problems.extend(self.architecture.problems());
        if let Architecture::DixonBulkDensity(_) = self.architecture {
            let compares_channels =
                self.bias_correction.is_none() && self.normalization == NormalizationMethod::AsAcquired;
            for (ok, field, value, allowed) in [
                (
                    self.channels.len() == 3,
                    "channels",
                    format!("{:?}", self.channels),
                    "in-phase, water and fat",
                ),
                (
                    compares_channels,
                    "normalization, bias_correction",
                    "a change of each channel by itself".to_owned(),
                    "as-acquired and none: this method compares channels with each other",
                ),
            ] {
                if !ok {
                    problems.push(FieldProblem { field, value, allowed });
                }
            }
        }
        if self.precision != Precision::F32 && !self.architecture.computes_in_bf16() {
            problems.push(FieldProblem {
                field: "precision",
                value: self.precision.name().to_owned(),
                allowed: "f32 for this architecture",
            });
        }
        if problems.is_empty() { Ok(()) } else { Err(ModelError::Config { problems }) }
    }
}

#[cfg(test)]
mod tests {
    use synthct_prep::PercentileConfig;

    use super::*;
    use crate::NadamConfig;

    #[test]
    fn every_preset_is_valid_and_comes_back_from_json() -> Result<(), Box<dyn std::error::Error>> {
        for name in TrainConfig::PRESETS {
            let config = TrainConfig::preset(name)?;
            config.validate()?;
            let text = serde_json::to_string(&config)?;
            assert_eq!(serde_json::from_str::<TrainConfig>(&text)?, config, "{name}");
        }
        let Err(error) = TrainConfig::preset("4tn") else {
            return Err("an unknown preset was accepted".into());
        };
        assert!(TrainConfig::PRESETS.iter().all(|name| error.to_string().contains(name)), "{error}");
        Ok(())
    }

    #[test]
    fn every_bad_field_is_reported() -> Result<(), Box<dyn std::error::Error>> {
        let mut config = TrainConfig::preset("3tn")?;
        config.channels = vec!["zte".to_owned(), "zte".to_owned()];
        config.spacing_mm = Some([1.0, 0.0, 1.0]);
        config.crop_margin_mm = Some(-1.0);
        config.size_multiple = 0;
        config.epochs = 0;
        config.batch_size = 0;
        config.optimizer = OptimizerConfig::Nadam(NadamConfig {
            beta1: 1.0,
            beta2: -0.1,
            epsilon: 0.0,
            weight_decay: -1.0,
            momentum_decay: f64::INFINITY,
        });
        config.learning_rate = f64::NAN;
        config.max_gradient_norm = Some(0.0);
        config.checkpoint_every_steps = Some(0);
        config.early_stopping_epochs = Some(0);
        config.schedule = LearningRateSchedule::Cosine { final_factor: 2.0 };
        config.average_decay = Some(1.0);
        config.bias_correction = Some(N4Config { shrink_factor: 0, ..N4Config::default() });
        config.normalization = NormalizationMethod::PercentileInBody(PercentileConfig {
            low_percent: 50.0,
            high_percent: 50.0,
            clip: false,
        });
        config.augmentation.noise_sd = [0.0, f64::INFINITY];
        config.augmentation.stretch = 1.0;
        config.architecture = Architecture::RoiNet(RoiNetTraining {
            variant: RoiVariant::ThreeTask,
            filters: 0,
            dropout: 1.0,
            loss_weights: RoiLossWeights { body: 0.0, bone_mask: 1.0, bone_hu: 1.0 },
            weighting: LossWeighting::Fixed,
        });
        let Err(ModelError::Config { problems }) = config.validate() else {
            return Err("a bad configuration was accepted".into());
        };
        let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
        let expected = [
            "channels",
            "spacing_mm",
            "crop_margin_mm",
            "size_multiple",
            "epochs",
            "batch_size",
            "optimizer.beta1",
            "optimizer.beta2",
            "optimizer.epsilon",
            "optimizer.weight_decay",
            "optimizer.momentum_decay",
            "learning_rate",
            "max_gradient_norm",
            "checkpoint_every_steps",
            "early_stopping_epochs",
            "schedule",
            "average_decay",
            "bias_correction",
            "normalization",
            "augmentation.stretch",
            "augmentation.noise_sd",
            "architecture.filters",
            "architecture.dropout",
            "architecture.loss_weights",
        ];
        assert_eq!(fields, expected);
        Ok(())
    }

    #[test]
    fn configurations_of_before_there_was_a_choice_mean_what_there_was()
    -> Result<(), Box<dyn std::error::Error>> {
        let config = TrainConfig { bias_correction: None, ..TrainConfig::preset("3tn")? };
        let mut value = serde_json::to_value(&config)?;
        let fields = value.as_object_mut().ok_or("no object")?;
        assert_eq!(fields.remove("optimizer").ok_or("no field `optimizer`")?["kind"], "nadam");
        assert_eq!(fields.remove("precision").ok_or("no field `precision`")?, "f32");
        assert_eq!(fields.remove("normalization").ok_or("no field `normalization`")?, "zscore-in-body");
        fields.remove("bias_correction").ok_or("no field `bias_correction`")?;
        for field in ["context_slices", "schedule", "early_stopping_epochs", "average_decay"] {
            fields.remove(field).ok_or(field)?;
        }
        let network = fields["architecture"].as_object_mut().ok_or("no object")?;
        network.remove("weighting").ok_or("no field `weighting`")?;
        fields.insert(
            "augmentation".to_owned(),
            serde_json::json!({ "mirror": true, "noise_sd": 0.03, "scale": 0.05 }),
        );
        assert_eq!(serde_json::from_str::<TrainConfig>(&value.to_string())?, config);
        Ok(())
    }

    #[test]
    fn misspelled_fields_are_refused() -> Result<(), Box<dyn std::error::Error>> {
        let text = serde_json::to_string(&TrainConfig::preset("3tn")?)?;
        for (from, to) in [
            ("\"blur_mm\"", "\"blur\""),
            ("\"epochs\"", "\"epoch\""),
            ("\"filters\"", "\"filter\""),
            ("\"3tn\"", "\"5tn\""),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from} occurs");
            assert!(serde_json::from_str::<TrainConfig>(&changed).is_err(), "{to}");
        }
        Ok(())
    }
}
