//! What can be trained, and the settings of each.

use serde::{Deserialize, Serialize};
use synthct_loss::RoiLossWeights;
use synthct_nn::{BackboneConfig, CascadeConfig, DiscriminatorConfig, RoiNetConfig};

use crate::{BulkDensityTable, FieldProblem};

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Architecture {
    /// The RoI-focused multi-task network.
    RoiNet(RoiNetTraining),
    /// A generator that learns against a discriminator.
    #[serde(rename = "pix2pix")]
    Pix2Pix(Pix2PixTraining),
    /// Segmentation of bone, then regression that knows where bone is.
    Cascade(CascadeTraining),
    /// A curve of HU over MR intensity.
    VoxelRegression(VoxelRegressionTraining),
    /// One HU for each tissue class, the class told by MR intensity.
    BulkDensity(BulkDensityTraining),
    /// One HU for each tissue class, the class told by Dixon images.
    DixonBulkDensity(DixonBulkDensityTraining),
}

/// The settings of the RoI-focused multi-task network.
///
/// | field | unit | preset | range | source |
/// |---|---|---|---|---|
/// | `variant` | – | by preset | – | the paper's |
/// | `filters` | – | 16 | ≥ 1 | ours |
/// | `dropout` | – | 0.1 | [0, 1) | ours |
/// | `loss_weights` | – | 1.0, 1.5, 1.3 | ≥ 0, one > 0 | the paper's |
/// | `weighting` | – | fixed | fixed, uncertainty | the paper's; learnt ones: Kendall et al. 2018, arXiv:1705.07115 |
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
    /// Whether these weights are used or learnt.
    #[serde(default)]
    pub weighting: LossWeighting,
}

/// How the tasks' losses are weighted against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossWeighting {
    /// By the weights of the configuration.
    #[default]
    Fixed,
    /// By each task's learnt uncertainty ([`synthct_loss::uncertainty_weighted`]): the Laplace form for mean absolute
    /// errors, the categorical one for the Dice loss. The combined loss, also in validation, is then the weighted one.
    Uncertainty,
}

/// The settings of the pix2pix pair.
///
/// | field | unit | preset | range | source |
/// |---|---|---|---|---|
/// | `generator` | – | [`UNetConfig::pix2pix`](synthct_nn::UNetConfig::pix2pix) | – | the pelvic paper's kind, our size |
/// | `discriminator` | – | 32 filters | – | the same |
/// | `l1_weight`, `adversarial_weight` | – | 1, 1 | > 0, ≥ 0 | the pelvic paper's |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pix2PixTraining {
    /// The generator's backbone.
    pub generator: BackboneConfig,
    /// The discriminator.
    pub discriminator: DiscriminatorConfig,
    /// The weight of the mean absolute error, of images scaled from −1000 … 3000 HU to −1 … 1.
    pub l1_weight: f64,
    /// The weight of the discriminator's judgement.
    pub adversarial_weight: f64,
}

/// The settings of the cascade.
///
/// The segmentation learns by the Dice loss of bone, the regression by w₁·wMAE(body) + w₃·MAE(bone).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeTraining {
    /// The backbone that finds bone.
    pub segmentation: BackboneConfig,
    /// The backbone that gives CT numbers.
    pub regression: BackboneConfig,
    /// The weights of the regression's losses; the bone mask's has no effect.
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

/// The settings of the bulk-density baseline from Dixon images, whose channels are
/// [`DixonBulkDensity::CHANNELS`](crate::DixonBulkDensity::CHANNELS), as acquired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DixonBulkDensityTraining {
    /// The HU of each tissue class.
    pub table: BulkDensityTable,
    /// Bone is looked for deeper than this under the body's surface, mm; ours: 4, zero or more.
    pub skin_mm: f64,
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

impl CascadeTraining {
    /// The networks for a number of channels.
    pub fn network(&self, in_channels: usize) -> CascadeConfig {
        CascadeConfig {
            in_channels,
            segmentation: self.segmentation.clone(),
            regression: self.regression.clone(),
        }
    }
}

/// What the losses' weights may be.
const WEIGHTS: &str = "finite, zero or more, and above zero for the body";

impl Architecture {
    /// Whether this is a network, and no baseline.
    pub const fn is_network(&self) -> bool {
        matches!(self, Self::RoiNet(_) | Self::Pix2Pix(_) | Self::Cascade(_))
    }

    /// Sets the filters of a network's first layers, of all its parts; false for baselines, which have none.
    pub fn set_filters(&mut self, filters: usize) -> bool {
        let of = |backbone: &mut BackboneConfig| match backbone {
            BackboneConfig::UNet(config) => config.filters = filters,
        };
        match self {
            Self::RoiNet(training) => training.filters = filters,
            Self::Pix2Pix(training) => {
                of(&mut training.generator);
                training.discriminator.filters = filters;
            }
            Self::Cascade(training) => {
                of(&mut training.segmentation);
                of(&mut training.regression);
            }
            Self::VoxelRegression(_) | Self::BulkDensity(_) | Self::DixonBulkDensity(_) => return false,
        }
        true
    }

    /// Whether there is a bfloat16 way to compute it.
    pub(crate) const fn computes_in_bf16(&self) -> bool {
        !matches!(self, Self::Pix2Pix(_) | Self::Cascade(_))
    }

    /// Every field that is out of range.
    pub(crate) fn problems(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        let mut require = |ok: bool, field: &'static str, value: String, allowed: &'static str| {
            if !ok {
                problems.push(FieldProblem { field, value, allowed });
            }
        };
        let mut backbones = Vec::new();
        let weights = |weights: &RoiLossWeights| {
            let RoiLossWeights { body, bone_mask, bone_hu } = *weights;
            [body, bone_mask, bone_hu].iter().all(|w| w.is_finite() && *w >= 0.0) && body > 0.0
        };
        match self {
            Self::RoiNet(network) => {
                let RoiNetTraining { filters, dropout, loss_weights, .. } = network;
                require(*filters >= 1, "architecture.filters", filters.to_string(), "one or more");
                let is_share = (0.0..1.0).contains(dropout);
                require(is_share, "architecture.dropout", dropout.to_string(), "in [0, 1)");
                let shown = format!("{loss_weights:?}");
                require(weights(loss_weights), "architecture.loss_weights", shown, WEIGHTS);
            }
            Self::Pix2Pix(Pix2PixTraining { generator, discriminator, l1_weight, adversarial_weight }) => {
                backbones.push(("architecture.generator", generator));
                let filters = discriminator.filters;
                require(
                    filters >= 1,
                    "architecture.discriminator.filters",
                    filters.to_string(),
                    "one or more",
                );
                require(
                    l1_weight.is_finite() && *l1_weight > 0.0,
                    "architecture.l1_weight",
                    l1_weight.to_string(),
                    "finite and above zero",
                );
                require(
                    adversarial_weight.is_finite() && *adversarial_weight >= 0.0,
                    "architecture.adversarial_weight",
                    adversarial_weight.to_string(),
                    "finite and zero or more",
                );
            }
            Self::Cascade(CascadeTraining { segmentation, regression, loss_weights }) => {
                backbones.push(("architecture.segmentation", segmentation));
                backbones.push(("architecture.regression", regression));
                let shown = format!("{loss_weights:?}");
                require(weights(loss_weights), "architecture.loss_weights", shown, WEIGHTS);
            }
            Self::DixonBulkDensity(DixonBulkDensityTraining { skin_mm, .. }) => require(
                skin_mm.is_finite() && *skin_mm >= 0.0,
                "architecture.skin_mm",
                skin_mm.to_string(),
                "finite and zero or more",
            ),
            Self::VoxelRegression(VoxelRegressionTraining { n_bins })
            | Self::BulkDensity(BulkDensityTraining { n_bins, .. }) => {
                let is_usable = (2..=65536).contains(n_bins);
                require(is_usable, "architecture.n_bins", n_bins.to_string(), "from 2 to 65536");
            }
        }
        for (field, backbone) in backbones {
            let found = backbone.problems();
            require(found.is_empty(), field, found.join("; "), "usable");
        }
        if let Self::BulkDensity(BulkDensityTraining { table, .. })
        | Self::DixonBulkDensity(DixonBulkDensityTraining { table, .. }) = self
        {
            require(
                table.is_ascending(),
                "architecture.table",
                format!("{table:?}"),
                "finite and ascending: air, fat, muscle, bone",
            );
        }
        problems
    }
}
