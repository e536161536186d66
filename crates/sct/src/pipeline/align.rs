//! One image brought onto another: a rigid or affine map, then a deformation where one is wanted.

use serde::{Deserialize, Serialize};
use synthct_image::{AffineTransform, ImageError, Mask, PointLps, Transform, Volume};
use synthct_register::{
    BSplineConfig, LinearConfig, RegisterProgress, RegistrationReport, register_bspline, register_linear,
};

use super::PipelineError;

/// How the moving image is brought onto the fixed one.
#[derive(Clone, Debug)]
pub struct AlignConfig {
    /// What comes first.
    pub linear: LinearStep,
    /// The deformation that follows, if one is wanted.
    pub deformation: Option<BSplineConfig>,
}

/// The part of an alignment that keeps straight lines straight.
#[derive(Clone, Debug)]
pub enum LinearStep {
    /// A rigid or affine map is searched.
    Search(LinearConfig),
    /// This map, `moving_from_fixed`, stays as it is.
    Given(Transform),
}

/// A found alignment.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// Takes a point of the fixed image to that of the moving image.
    pub moving_from_fixed: Transform,
    /// The rigid or affine part: all of it where there is no deformation, and none if what was given is not affine.
    pub linear: Option<AffineTransform>,
    /// What each step said about itself, in their order.
    pub steps: Vec<RegistrationReport>,
}

impl Alignment {
    /// The rigid or affine part, if there is one, in numbers; the shift is that of `middle`.
    ///
    /// # Errors
    /// [`ImageError::Singular`] for a linear part without inverse.
    pub fn numbers_at(&self, middle: PointLps) -> Result<Option<LinearNumbers>, ImageError> {
        self.linear
            .map(|linear| {
                Ok(LinearNumbers {
                    rotation_deg: linear.rotation_angle_deg()?,
                    shift_mm: linear.apply(middle).distance_mm(middle),
                    volume_ratio: linear.matrix().determinant(),
                })
            })
            .transpose()
    }
}

/// A rigid or affine map in numbers that a reader can picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearNumbers {
    /// The angle of its rotation, degrees.
    pub rotation_deg: f64,
    /// How far it moves the middle of the body, mm.
    pub shift_mm: f64,
    /// The volume of what it makes of a unit volume: 1 for a rigid map.
    pub volume_ratio: f64,
}

/// Brings `moving` onto `fixed` step by step.
///
/// Masks lie on their images' grids and say where they are compared; see
/// [`register_linear`](fn@synthct_register::register_linear) and [`register_bspline`](fn@synthct_register::register_bspline).
///
/// # Errors
/// [`PipelineError::Register`] with the step's own error.
pub fn align(
    fixed: &Volume<f32>,
    moving: &Volume<f32>,
    [fixed_mask, moving_mask]: [Option<&Mask>; 2],
    config: &AlignConfig,
    observe: &mut dyn FnMut(RegisterProgress),
) -> Result<Alignment, PipelineError> {
    let mut steps = Vec::new();
    let start = match &config.linear {
        LinearStep::Search(config) => {
            let (found, report) = register_linear(fixed, moving, fixed_mask, moving_mask, config, observe)?;
            steps.push(report);
            Transform::from(found)
        }
        LinearStep::Given(transform) => transform.clone(),
    };
    let linear = start.as_affine();
    let moving_from_fixed = match &config.deformation {
        Some(config) => {
            let (found, report) = register_bspline(fixed, moving, fixed_mask, Some(&start), config, observe)?;
            steps.push(report);
            found
        }
        None => start,
    };
    Ok(Alignment { moving_from_fixed, linear, steps })
}
