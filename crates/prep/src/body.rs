//! Where the patient is.

use synthct_image::morphology::{
    SliceAxis, close, dilate, erode, fill_holes, fill_holes_per_slice_along, largest_component,
};
use synthct_image::{Mask, Volume, gaussian_smooth, otsu_bin};

use crate::PrepError;

/// Bays narrower than twice this (nostrils, ear canals, skin folds) belong to the body.
const CLOSING_MM: f64 = 8.0;
/// Nothing smaller is a body: a fingertip has about this volume.
const SMALLEST_BODY_CM3: f64 = 1.0;

/// The body in an MR of any contrast, cavities included.
///
/// The MR is smoothed by 1 mm, scaled to its 99.5th percentile (so that a few bright vessels do not matter), and
/// compressed by log(1 + 30 x), so that muscle and marrow are nearer to fat than to air.
/// Otsu's threshold on that scale, holes filled in space and in axial slices, the largest component that survives an
/// opening by 2 mm, a closing by 8 mm (nostrils, ear canals, skin folds), and holes filled once more follow.
///
/// It expects air somewhere in the field of view, and magnitude images, in which air is near zero.
/// The numbers above were chosen on T1-, T2-, T2*-weighted, FLAIR and simulated ZTE heads; they are ours.
///
/// # Grid
/// That of `mr`.
///
/// # Errors
/// [`PrepError::NotFinite`], [`PrepError::NoContrast`] for an image without positive contrast, [`PrepError::NoBody`] if
/// nothing larger than 1 cm³ stands out.
///
/// # References
/// Otsu (1979), doi:10.1109/TSMC.1979.4310076.
pub fn body_mask_mr(mr: &Volume<f32>) -> Result<Mask, PrepError> {
    const SMOOTHING_MM: f64 = 1.0;
    const OPENING_MM: f64 = 2.0;
    require_finite(mr, "an MR body mask")?;
    let smoothed = gaussian_smooth(mr, SMOOTHING_MM)?;
    let threshold = otsu_log_threshold(smoothed.as_slice())?;
    let above = Mask::from_values(&smoothed, |&value| value > threshold);
    // Filled before pieces are compared: skull without signal may part the brain from the scalp all around.
    let body = main_piece(&with_cavities_filled(&above), OPENING_MM)?;
    require_body(&body, || format!("brighter than {threshold:.3e}"))?;
    Ok(with_cavities_filled(&close(&body, CLOSING_MM)?))
}

/// The body in a CT in HU, cavities included, without the couch.
///
/// Voxels above −400 HU, the largest component that survives an opening by 3 mm (which cuts the thin shells of couch and
/// accessories off, but no chest wall), a closing by 8 mm (nostrils, ear canals, skin folds), and holes filled in space and in axial slices.
/// Where a table or a box touches the body over a large area, some millimetres of it remain.
/// Padding outside the reconstruction circle, whatever its value below −400 HU (−1024, −1500, −2048), counts as air.
///
/// # Grid
/// That of `ct`.
///
/// # Errors
/// [`PrepError::NotFinite`], or [`PrepError::NoBody`] if nothing larger than 1 cm³ is denser than −400 HU.
pub fn body_mask_ct(ct: &Volume<f32>) -> Result<Mask, PrepError> {
    const THRESHOLD_HU: f32 = -400.0;
    const OPENING_MM: f64 = 3.0;
    require_finite(ct, "a CT body mask")?;
    let dense = Mask::from_values(ct, |&hu| hu > THRESHOLD_HU);
    let body = main_piece(&dense, OPENING_MM)?;
    require_body(&body, || format!("denser than {THRESHOLD_HU} HU"))?;
    Ok(with_cavities_filled(&close(&body, CLOSING_MM)?))
}

/// The largest piece of a mask once bridges thinner than twice the radius are cut, with its fine detail kept.
fn main_piece(mask: &Mask, radius_mm: f64) -> Result<Mask, PrepError> {
    let core = largest_component(&erode(mask, radius_mm)?);
    // Twice the radius back brings detail that the erosion has removed, such as an ear, but cuts what is farther away.
    let near = dilate(&core, 2.0 * radius_mm)?.and(mask)?;
    Ok(largest_component(&near))
}

/// Holes filled in space, then in axial slices, where cavities that are cut by the edge of the scan are holes, too.
fn with_cavities_filled(mask: &Mask) -> Mask {
    let axis = SliceAxis::most_axial(mask.grid());
    fill_holes_per_slice_along(&fill_holes(mask), axis)
}

fn require_finite(volume: &Volume<f32>, what: &'static str) -> Result<(), PrepError> {
    match volume.array().indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((index_kji, &value)) => Err(PrepError::NotFinite { what, index_kji: index_kji.into(), value }),
    }
}

fn require_body(body: &Mask, criterion: impl FnOnce() -> String) -> Result<(), PrepError> {
    if body.volume_cm3() >= SMALLEST_BODY_CM3 {
        return Ok(());
    }
    Err(PrepError::NoBody { criterion: criterion(), smallest_cm3: SMALLEST_BODY_CM3 })
}

/// Otsu's threshold of log(1 + gain · value / scale), back in the values' own unit.
///
/// The scale is the 99.5th percentile; values are clipped to [0, scale].
fn otsu_log_threshold(values: &[f32]) -> Result<f32, PrepError> {
    const GAIN: f64 = 30.0;
    const BINS: usize = 1024;
    let mut sorted = values.to_vec();
    let at = (0.995 * (sorted.len() - 1) as f64) as usize;
    let (_, &mut scale, _) = sorted.select_nth_unstable_by(at, f32::total_cmp);
    let scale = f64::from(scale);
    if scale <= 0.0 {
        return Err(PrepError::NoContrast { what: "an MR body mask", value: scale });
    }
    let full = GAIN.ln_1p();
    let mut histogram = vec![0_u64; BINS];
    for &value in values {
        let level = (GAIN * (f64::from(value) / scale).clamp(0.0, 1.0)).ln_1p() / full;
        histogram[((level * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    let Some(bin) = otsu_bin(&histogram) else {
        return Err(PrepError::NoContrast { what: "an MR body mask", value: scale });
    };
    let level = (bin + 1) as f64 / BINS as f64;
    Ok(((level * full).exp_m1() / GAIN * scale) as f32)
}
