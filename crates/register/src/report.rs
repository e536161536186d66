//! What a registration says about itself, while it runs and afterwards.

use serde::Serialize;

/// A part of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// The search for a start.
    Start,
    /// Rotation and translation.
    Rigid,
    /// All twelve numbers of an affine map.
    Affine,
    /// A B-spline displacement.
    Bspline,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Mattes mutual information, in nats; larger is better.
    MutualInformation,
    /// Mean squared local cross-correlation; larger is better.
    LocalCrossCorrelation,
    /// Mean squared difference; smaller is better.
    MeanSquares,
}

/// The start that the search chose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Start {
    /// The transform that the caller gave.
    Given,
    /// The images as their headers place them.
    Header,
    /// The middles of both grids on each other.
    Centers,
    /// The centres of mass on each other.
    CentersOfMass,
    /// The centres of mass and the principal axes on each other.
    Moments,
    /// The centres on each other, and a turn.
    Turned {
        /// The angle of the turn, in degrees.
        angle_deg: f64,
    },
}

/// One level of one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelReport {
    /// The stage that the level belongs to.
    pub stage: Stage,
    /// The spacing of the images at this level, in mm.
    pub spacing_mm: f64,
    /// What was compared.
    pub metric: Metric,
    /// The metric where the level began.
    pub value_before: f64,
    /// The metric where it ended.
    pub value_after: f64,
    /// The steps that the optimiser took.
    pub iterations: usize,
    /// The points at which the images were compared.
    pub samples: usize,
}

/// What a registration says about itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegistrationReport {
    /// The start that was chosen.
    pub start: Start,
    /// Every level of every stage, in the order in which they ran.
    pub levels: Vec<LevelReport>,
    /// The fraction of the fixed samples that the result takes into the moving image.
    pub overlap_fraction: f64,
    /// Normalised mutual information, (H(f) + H(m)) / H(f, m), where the headers (or the given start) place the images;
    /// none if they do not meet there.
    pub nmi_before: Option<f64>,
    /// Normalised mutual information of the result; 1 is independence.
    pub nmi_after: f64,
    /// The smallest Jacobian determinant of the transform; none for a rigid one, which has 1 everywhere.
    pub min_jacobian: Option<f64>,
}

/// A sign of life from a running registration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegisterProgress {
    /// What is going on.
    pub stage: Stage,
    /// The level within the whole registration, from 0.
    pub level: usize,
    /// The number of levels of the whole registration.
    pub n_levels: usize,
    /// The spacing of the level, in mm.
    pub spacing_mm: f64,
    /// The optimiser's step within the level, from 0.
    pub iteration: usize,
    /// The metric's value.
    pub value: f64,
}
