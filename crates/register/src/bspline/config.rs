//! What a deformable registration can be told.

use serde::{Deserialize, Serialize};

use crate::RegisterError;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SimilarityMetric {
    /// Mutual information with half the weight of the moving image's own entropy, ½ H(m) − H(m | f), which does not pull
    /// towards its richer part: for images of different kinds, as MR and CT.
    MutualInformation,
    /// The mean squared difference over the fixed image's variance: for images that give the same tissue the same value,
    /// as CT and CT.
    MeanSquares,
    /// The mean squared correlation within boxes: for images whose values are related linearly in each place.
    LocalCrossCorrelation,
}

/// The values of an image between which it is compared; beyond, values count as the window's ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntensityWindow {
    /// Soft tissue for what looks like Hounsfield units, percentiles for all else.
    ///
    /// An image looks like Hounsfield units if its 0.1th percentile is air (below -700) and a twentieth of its voxels is
    /// soft tissue (-150 to 250). MR is not negative, so it never does.
    Auto,
    /// From the 0.1th to the 99.9th percentile.
    Percentiles,
    /// From -150 to 250 HU: what is darker counts as fat, what is brighter as soft bone.
    ///
    /// Over the whole range of a CT, from air to teeth, soft tissues would share a few bins of a histogram, or a small
    /// part of a difference, and would not be aligned.
    SoftTissueHu,
    /// From `low` to `high`.
    Between {
        /// The low end.
        low: f32,
        /// The high end.
        high: f32,
    },
}

/// One stage: images of one spacing, a lattice of one spacing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BSplineStage {
    /// The spacing of both images, in mm; an image that is coarser keeps its own.
    pub image_spacing_mm: f64,
    /// The width σ of the Gaussian that smooths both images after averaging, in voxels of the stage.
    pub smoothing_voxels: f64,
    /// The distance between control points, in mm: that of the stage before, or half of it, a quarter and so on.
    pub control_spacing_mm: f64,
    /// The most steps of the optimiser. Few regularise: the first steps move what moves together, late ones fit single
    /// control points to noise.
    pub iterations: usize,
    /// The weight beside the metric of the bending energy: the mean over the image of the sum of all squared second
    /// derivatives of the displacement, in mm⁻².
    pub bending_weight: f64,
}

/// Settings of [`register_bspline`](crate::register_bspline).
///
/// | field | unit | mono | multi | allowed |
/// |---|---|---|---|---|
/// | `metric` | | mean squares | mutual information | |
/// | `stages` | | see [`BSplineConfig::mono`] | see [`BSplineConfig::multi`] | at least one |
/// | `fixed_window`, `moving_window` | image's | auto | auto | low below high |
/// | `n_bins` | | 128 | 128 | 8 to 512 |
/// | `correlation_radius_voxels` | voxels of a stage | 2 | 2 | 1 to 16 |
/// | `tolerance` | | 2e-3 | 2e-3 | 0 to 1 |
/// | `smallest_jacobian` | | 0.05 | 0.05 | 0 to 1 |
///
/// All defaults are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BSplineConfig {
    /// What is compared.
    pub metric: SimilarityMetric,
    /// Stages, coarse to fine.
    pub stages: Vec<BSplineStage>,
    /// The window of fixed values.
    pub fixed_window: IntensityWindow,
    /// The window of moving values.
    pub moving_window: IntensityWindow,
    /// The bins of the joint histogram, along each axis, for mutual information; coarse stages take fewer, so that a bin
    /// holds 40 samples on average.
    pub n_bins: usize,
    /// The boxes of local cross-correlation have 2 · radius + 1 voxels along each axis.
    pub correlation_radius_voxels: usize,
    /// A stage ends once two steps in a row each gain less than this part of what the stage has gained.
    pub tolerance: f64,
    /// A stage that leaves a Jacobian determinant below this at any voxel is made again with more bending energy.
    pub smallest_jacobian: f64,
}

impl BSplineConfig {
    /// For images of one kind, such as CT and CT: mean squares, control points 25 mm apart in the end.
    pub fn mono() -> Self {
        Self {
            metric: SimilarityMetric::MeanSquares,
            stages: stages([0.7, 0.8], 6.0, 15),
            fixed_window: IntensityWindow::Auto,
            moving_window: IntensityWindow::Auto,
            n_bins: 128,
            correlation_radius_voxels: 2,
            tolerance: 2e-3,
            smallest_jacobian: 0.05,
        }
    }

    /// For images of different kinds, such as MR and CT: mutual information, control points 25 mm apart in the end.
    pub fn multi() -> Self {
        Self {
            metric: SimilarityMetric::MutualInformation,
            stages: stages([0.7, 0.4], 100.0, 25),
            ..Self::mono()
        }
    }

    /// Nothing if every setting is in its range.
    ///
    /// # Errors
    /// [`RegisterError::Config`] for the first that is not.
    pub(crate) fn check(&self) -> Result<(), RegisterError> {
        let require = |is_good: bool, name, value, allowed| {
            if is_good { Ok(()) } else { Err(RegisterError::Config { name, value, allowed }) }
        };
        require(!self.stages.is_empty(), "number of stages", 0.0, "at least 1")?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        for stage in &self.stages {
            let spacing = stage.image_spacing_mm;
            require(positive(spacing), "image_spacing_mm", spacing, "finite and above zero")?;
            let sigma = stage.smoothing_voxels;
            require(not_negative(sigma), "smoothing_voxels", sigma, "finite and at least zero")?;
            let spacing = stage.control_spacing_mm;
            require(positive(spacing), "control_spacing_mm", spacing, "finite and above zero")?;
            let weight = stage.bending_weight;
            require(not_negative(weight), "bending_weight", weight, "finite and at least zero")?;
        }
        for pair in self.stages.windows(2) {
            let halvings = (pair[0].control_spacing_mm / pair[1].control_spacing_mm).log2();
            require(
                halvings > -1e-9 && (halvings - halvings.round()).abs() < 1e-9,
                "control_spacing_mm",
                pair[1].control_spacing_mm,
                "that of the stage before, or half of it, a quarter and so on",
            )?;
        }
        for window in [self.fixed_window, self.moving_window] {
            if let IntensityWindow::Between { low, high } = window {
                let width = f64::from(high) - f64::from(low);
                require(positive(width), "width of an intensity window", width, "finite and above zero")?;
            }
        }
        require((8..=512).contains(&self.n_bins), "n_bins", self.n_bins as f64, "8 to 512")?;
        let radius = self.correlation_radius_voxels;
        require((1..=16).contains(&radius), "correlation_radius_voxels", radius as f64, "1 to 16")?;
        require((0.0..=1.0).contains(&self.tolerance), "tolerance", self.tolerance, "0 to 1")?;
        let jacobian = self.smallest_jacobian;
        require((0.0..=1.0).contains(&jacobian), "smallest_jacobian", jacobian, "0 to 1")
    }
}

/// Images of 6, 3, 3 and 1.5 mm, control points 100, 50, 25 and 25 mm apart; smoothing for all stages but the last, and
/// for the last.
fn stages(
    [coarse_smoothing, fine_smoothing]: [f64; 2],
    bending_weight: f64,
    iterations: usize,
) -> Vec<BSplineStage> {
    [
        (6.0, coarse_smoothing, 100.0),
        (3.0, coarse_smoothing, 50.0),
        (3.0, coarse_smoothing, 25.0),
        (1.5, fine_smoothing, 25.0),
    ]
    .map(|(image_spacing_mm, smoothing_voxels, control_spacing_mm)| BSplineStage {
        image_spacing_mm,
        smoothing_voxels,
        control_spacing_mm,
        iterations,
        bending_weight,
    })
    .to_vec()
}
