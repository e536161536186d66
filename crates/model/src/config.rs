//! How a model is trained.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use synthct_loss::RoiLossWeights;
use synthct_nn::{Precision, RoiNetConfig};
use synthct_prep::{AugmentationConfig, N4Config};

use crate::{BulkDensityTable, FieldProblem, ModelError, NormalizationMethod, OptimizerConfig};

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
///
/// The baselines use `architecture`, `channels` and `spacing_mm` alone; the rest has no effect on them.
/// A stored configuration without `optimizer`, `precision`, `bias_correction` or `normalization` is of a version that knew
/// Nadam, `f32`, no correction or z-scores only, and means it; one with `augmentation` in the three fields of earlier versions means their changes.
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
}

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Architecture {
    /// The RoI-focused multi-task network.
    RoiNet(RoiNetTraining),
    /// A curve of HU over MR intensity.
    VoxelRegression(VoxelRegressionTraining),
    /// One HU for each tissue class, the class told by MR intensity.
    BulkDensity(BulkDensityTraining),
}

/// The settings of the RoI-focused multi-task network.
///
/// | field | unit | preset | range | source |
/// |---|---|---|---|---|
/// | `variant` | – | by preset | – | the paper's |
/// | `filters` | – | 16 | ≥ 1 | ours |
/// | `dropout` | – | 0.1 | [0, 1) | ours |
/// | `loss_weights` | – | 1.0, 1.5, 1.3 | ≥ 0, one > 0 | the paper's |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoiNetTraining {
    /// Which heads and losses.
    pub variant: RoiVariant,
    /// Filters of the first block.
    pub filters: usize,
    /// The share of feature maps dropped in training.
    pub dropout: f32,
    /// The weights of the tasks' losses; the ones of absent heads have no effect.
    pub loss_weights: RoiLossWeights,
}

/// The four networks of the paper's ablation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoiVariant {
    /// Whole-image HU (weighted MAE of the body), bone HU (MAE in bone), bone mask (Dice loss).
    #[serde(rename = "3tn")]
    ThreeTask,
    /// Whole-image HU (weighted MAE of the body) and bone HU (MAE in bone).
    #[serde(rename = "2tn")]
    TwoTask,
    /// Whole-image HU with the weighted MAE of the body.
    #[serde(rename = "1tn-fl")]
    OneTaskFocused,
    /// Whole-image HU with the plain MAE of the whole image.
    #[serde(rename = "1tn-gl")]
    OneTaskGlobal,
}

/// The settings of the voxel-wise regression baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoxelRegressionTraining {
    /// The number of intensity bins with about as many voxels each; ours: 256, from 2 to 65536.
    pub n_bins: usize,
}

/// The settings of the bulk-density baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkDensityTraining {
    /// The number of intensity bins with about as many voxels each; ours: 256, from 2 to 65536.
    pub n_bins: usize,
    /// The HU of each tissue class.
    pub table: BulkDensityTable,
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

impl RoiNetTraining {
    /// The network for a number of channels.
    pub fn network(&self, in_channels: usize) -> RoiNetConfig {
        let (bone_hu, bone_mask) = match self.variant {
            RoiVariant::ThreeTask => (true, true),
            RoiVariant::TwoTask => (true, false),
            RoiVariant::OneTaskFocused | RoiVariant::OneTaskGlobal => (false, false),
        };
        RoiNetConfig { in_channels, filters: self.filters, dropout: self.dropout, bone_hu, bone_mask }
    }
}

impl TrainConfig {
    /// The names that [`TrainConfig::preset`] knows.
    pub const PRESETS: [&str; 6] = ["3tn", "2tn", "1tn-fl", "1tn-gl", "regression", "bulk-density"];

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
        let network = |variant| {
            Architecture::RoiNet(RoiNetTraining {
                variant,
                filters: 16,
                dropout: 0.1,
                loss_weights: RoiLossWeights::paper(),
            })
        };
        let architecture = match name {
            "3tn" => network(RoiVariant::ThreeTask),
            "2tn" => network(RoiVariant::TwoTask),
            "1tn-fl" => network(RoiVariant::OneTaskFocused),
            "1tn-gl" => network(RoiVariant::OneTaskGlobal),
            "regression" => Architecture::VoxelRegression(VoxelRegressionTraining { n_bins: 256 }),
            "bulk-density" => Architecture::BulkDensity(BulkDensityTraining {
                n_bins: 256,
                table: BulkDensityTable::pmc6783518(),
            }),
            _ => {
                return Err(ModelError::UnknownPreset {
                    name: name.to_owned(),
                    known: Self::PRESETS.to_vec(),
                });
            }
        };
        Ok(Self {
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
        if let Some(steps) = self.checkpoint_every_steps {
            require(steps >= 1, "checkpoint_every_steps", steps.to_string(), "one or more");
        }
        let found = self.bias_correction.as_ref().map(N4Config::problems).unwrap_or_default();
        require(found.is_empty(), "bias_correction", found.join("; "), "usable");
        for (field, value, ok, allowed) in
            self.normalization.fields().into_iter().chain(self.augmentation.fields())
        {
            require(ok, field, value, allowed);
        }
        match &self.architecture {
            Architecture::RoiNet(network) => {
                require(
                    network.filters >= 1,
                    "architecture.filters",
                    network.filters.to_string(),
                    "one or more",
                );
                require(
                    (0.0..1.0).contains(&network.dropout),
                    "architecture.dropout",
                    network.dropout.to_string(),
                    "in [0, 1)",
                );
                let RoiLossWeights { body, bone_mask, bone_hu } = network.loss_weights;
                require(
                    [body, bone_mask, bone_hu].iter().all(|w| w.is_finite() && *w >= 0.0) && body > 0.0,
                    "architecture.loss_weights",
                    format!("{:?}", network.loss_weights),
                    "finite, zero or more, and above zero for the body",
                );
            }
            Architecture::VoxelRegression(VoxelRegressionTraining { n_bins })
            | Architecture::BulkDensity(BulkDensityTraining { n_bins, .. }) => {
                require(
                    (2..=65536).contains(n_bins),
                    "architecture.n_bins",
                    n_bins.to_string(),
                    "from 2 to 65536",
                );
            }
        }
        if let Architecture::BulkDensity(BulkDensityTraining { table, .. }) = &self.architecture {
            require(
                table.is_ascending(),
                "architecture.table",
                format!("{table:?}"),
                "finite and ascending: air, fat, muscle, bone",
            );
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
