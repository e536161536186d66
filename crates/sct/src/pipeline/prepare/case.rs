//! One case from raw images to images on one grid.

use synthct_eval::dice;
use synthct_image::morphology::dilate;
use synthct_image::{Grid, Interpolation, Mask, Transform, Volume, resample};
use synthct_prep::{N4Config, N4Progress, body_mask_ct, body_mask_mr, n4};
use synthct_register::{InitialAlignment, LinearConfig, LinearModel, Stage};
use synthct_report::centroid_lps;

use super::super::{AlignConfig, Alignment, LinearNumbers, LinearStep, PipelineError, align};
use super::report::{BiasNumbers, BodyNumbers, RegistrationNumbers};
use super::{BiasField, LinearAlignment, PrepareConfig};

/// What a CT has where there is none.
pub(crate) const AIR_HU: f32 = -1024.0;
/// Below this a CT's value is padding outside the reconstruction circle, not air.
const PADDING_HU: f32 = -1200.0;
/// The distance of the voxels that N4 looks at.
const N4_SPACING_MM: f64 = 6.0;
/// What registration sees around the body: skin against air tells much.
const REGISTRATION_MARGIN_MM: f64 = 15.0;

/// The raw images of one case.
pub(crate) struct RawImages {
    pub(crate) mr: Volume<f32>,
    pub(crate) ct: Volume<f32>,
    /// A body mask that was given, on the MR's grid.
    pub(crate) mask: Option<Mask>,
    /// A transform from MR to CT points to start from.
    pub(crate) initial: Option<Transform>,
}

/// Images on one grid, and what they went through.
pub(crate) struct PreparedImages {
    /// The MR as it is stored.
    pub(crate) mr: Volume<f32>,
    /// The CT on the MR.
    pub(crate) ct: Volume<f32>,
    /// The CT as the headers place it; none if nothing was registered.
    pub(crate) ct_before: Option<Volume<f32>>,
    /// The body, as far as the CT covers it.
    pub(crate) mask: Mask,
    /// The bias field and the MR with and without it.
    pub(crate) bias: Option<Bias>,
    /// Takes a point of the MR to that of the CT.
    pub(crate) ct_from_mr: Transform,
    pub(crate) registration: Option<RegistrationNumbers>,
    pub(crate) body: BodyNumbers,
    pub(crate) warnings: Vec<String>,
}

/// An MR with and without its bias field.
pub(crate) struct Bias {
    pub(crate) scanned: Volume<f32>,
    pub(crate) field: Volume<f32>,
    pub(crate) corrected: Volume<f32>,
    pub(crate) numbers: BiasNumbers,
}

/// Prepares one case; `doing` is told what goes on.
pub(crate) fn prepare_case(
    raw: &RawImages,
    config: &PrepareConfig,
    doing: &mut dyn FnMut(&str),
) -> Result<PreparedImages, PipelineError> {
    doing("finding the body");
    let body = match &raw.mask {
        Some(mask) => {
            mask.grid().require_match(raw.mr.grid())?;
            mask.clone()
        }
        None => body_mask_mr(&raw.mr)?,
    };
    let correction = match config.bias_field {
        BiasField::Ignore => None,
        BiasField::Show | BiasField::Correct => {
            let shrink_factor = N4Config::shrink_for(raw.mr.grid(), N4_SPACING_MM);
            let n4_config = N4Config { shrink_factor, ..N4Config::default() };
            let mut on_progress = |progress: N4Progress| {
                doing(&format!("N4, level {} of {}", progress.level + 1, progress.levels));
            };
            Some(n4(&raw.mr, &body, None, &n4_config, &mut on_progress)?)
        }
    };
    let alignment = align_case(raw, &body, config, doing)?;

    doing("resampling");
    let target = target_grid(raw.mr.grid(), &body, config)?;
    let onto = |volume: &Volume<f32>, transform: Option<&Transform>, outside: f32| {
        resample(volume, &target, transform, Interpolation::Linear, outside)
    };
    let ct_from_mr = &alignment.moving_from_fixed;
    let covered = Mask::from_values(&raw.ct, |&hu| hu > PADDING_HU);
    let ct = raw.ct.map(|&hu| hu.max(AIR_HU));
    let scanned = onto(&raw.mr, None, 0.0)?;
    let bias = match &correction {
        None => None,
        Some(correction) => {
            let (field, corrected) =
                (onto(&correction.field, None, 1.0)?, onto(&correction.corrected, None, 0.0)?);
            let inside =
                std::iter::zip(correction.field.as_slice(), body.as_slice()).filter(|(_, inside)| **inside);
            let (min, max) = inside.fold((f64::INFINITY, 0.0_f64), |(min, max), (&value, _)| {
                (min.min(f64::from(value)), max.max(f64::from(value)))
            });
            let is_corrected = config.bias_field == BiasField::Correct;
            let numbers = BiasNumbers { min, max, is_corrected };
            Some(Bias { scanned: scanned.clone(), field, corrected, numbers })
        }
    };
    let mr = match &bias {
        Some(bias) if bias.numbers.is_corrected => bias.corrected.clone(),
        _ => scanned,
    };
    let ct_on_mr = onto(&ct, Some(ct_from_mr), AIR_HU)?;
    let ct_before = if config.registers() { Some(onto(&ct, None, AIR_HU)?) } else { None };
    let body = body.resampled(&target, None)?;
    let covered = covered.resampled(&target, Some(ct_from_mr))?;
    let mask = body.and(&covered)?;
    let body_of_ct = body_mask_ct(&ct_on_mr).ok();
    let numbers = BodyNumbers {
        volume_cm3: mask.volume_cm3(),
        covered_by_ct_percent: 100.0 * mask.count() as f64 / body.count().max(1) as f64,
        dice_mr_ct: match &body_of_ct {
            Some(of_ct) => dice(of_ct, &mask)?,
            None => None,
        },
    };
    if mask.count() == 0 {
        return Err(PipelineError::NoCommonBody);
    }
    let registration = config.registers().then(|| registration_numbers(&alignment, &mask)).transpose()?;
    let mut warnings = Vec::new();
    warn(&mut warnings, &numbers, registration.as_ref());
    Ok(PreparedImages {
        mr,
        ct: ct_on_mr,
        ct_before,
        mask,
        bias,
        ct_from_mr: alignment.moving_from_fixed,
        registration,
        body: numbers,
        warnings,
    })
}

/// The CT brought onto the MR as it was scanned: what N4 takes for a bias field must not move a CT.
fn align_case(
    raw: &RawImages,
    body: &Mask,
    config: &PrepareConfig,
    doing: &mut dyn FnMut(&str),
) -> Result<Alignment, PipelineError> {
    let model = match config.linear {
        LinearAlignment::None => None,
        LinearAlignment::Rigid => Some(LinearModel::Rigid),
        LinearAlignment::Affine => Some(LinearModel::Affine),
    };
    let linear = match (model, &raw.initial) {
        (None, initial) => LinearStep::Given(initial.clone().unwrap_or(Transform::IDENTITY)),
        (Some(model), None) => LinearStep::Search(LinearConfig { model, ..LinearConfig::default() }),
        (Some(model), Some(initial)) => {
            let initial = initial.as_affine().ok_or(PipelineError::NotAffine)?;
            let init = InitialAlignment::Given(initial);
            LinearStep::Search(LinearConfig { model, init, ..LinearConfig::default() })
        }
    };
    let deformation = config.deformable.then(super::deformation_of_ct);
    let around = dilate(body, REGISTRATION_MARGIN_MM)?;
    let mut on_progress = |progress: synthct_register::RegisterProgress| {
        let stage = match progress.stage {
            Stage::Start => "start",
            Stage::Rigid => "rigid",
            Stage::Affine => "affine",
            _ => "deformable",
        };
        doing(&format!("registering, {stage}, {:.1} mm", progress.spacing_mm));
    };
    align(&raw.mr, &raw.ct, [Some(&around), None], &AlignConfig { linear, deformation }, &mut on_progress)
}

/// The grid of the prepared images: the MR's, or an axial one of the wanted spacing, cut to the body and a margin.
fn target_grid(mr: &Grid, body: &Mask, config: &PrepareConfig) -> Result<Grid, PipelineError> {
    let whole = match config.spacing_mm {
        Some(spacing_mm) => mr.axis_aligned_cover(spacing_mm)?,
        None => mr.clone(),
    };
    let (start, size) = body.resampled(&whole, None)?.bounding_box().ok_or(PipelineError::NoCommonBody)?;
    Ok(whole.crop_around(start, size, config.margin_mm)?)
}

fn registration_numbers(alignment: &Alignment, mask: &Mask) -> Result<RegistrationNumbers, PipelineError> {
    let (first, last) = (alignment.steps.first(), alignment.steps.last());
    let last = last.expect("because a registration has a step");
    let steps = serde_json::to_value(&alignment.steps)
        .map_err(|error| PipelineError::file(std::path::Path::new("report.json"))(error.into()))?;
    Ok(RegistrationNumbers {
        nmi_before: first.and_then(|step| step.nmi_before),
        nmi_after: last.nmi_after,
        overlap_percent: 100.0 * last.overlap_fraction,
        linear: alignment.numbers_at(centroid_lps(mask)?)?,
        min_jacobian: last.min_jacobian,
        steps,
    })
}

/// What a reader of the report should look at before training on the case.
fn warn(warnings: &mut Vec<String>, body: &BodyNumbers, registration: Option<&RegistrationNumbers>) {
    let mut warn_if = |is_odd: bool, text: String| {
        if is_odd {
            warnings.push(text);
        }
    };
    let covered = body.covered_by_ct_percent;
    warn_if(covered < 90.0, format!("the CT covers {covered:.0} % of the MR's body; the mask is that part"));
    match body.dice_mr_ct {
        Some(dice) => warn_if(
            dice < 0.9,
            format!(
                "the bodies on MR and CT overlap by a Dice coefficient of {dice:.2} only: look at the overlay"
            ),
        ),
        None => warn_if(true, "no body was found on the CT: check that it is one, in HU".to_owned()),
    }
    let Some(registration) = registration else { return };
    if let Some(before) = registration.nmi_before {
        let after = registration.nmi_after;
        warn_if(
            after <= before,
            format!(
                "registration did not raise the mutual information ({before:.4} to {after:.4}): look at the overlay"
            ),
        );
    }
    if let Some(linear) = &registration.linear {
        let LinearNumbers { rotation_deg, volume_ratio, .. } = *linear;
        warn_if(
            rotation_deg > 30.0,
            format!(
                "the CT is turned by {rotation_deg:.0}° against the MR: check that both are of one patient position"
            ),
        );
        warn_if(
            (volume_ratio - 1.0).abs() > 0.1,
            format!("the affine map changes volumes by a factor of {volume_ratio:.2}"),
        );
    }
    if let Some(min_jacobian) = registration.min_jacobian {
        warn_if(
            min_jacobian < 0.2,
            format!("the deformation squeezes tissue to {min_jacobian:.2} of its volume somewhere"),
        );
    }
}
