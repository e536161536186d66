//! The window of values in which an image is compared.

use synthct_image::{Mask, Volume};

use super::config::IntensityWindow;
use crate::intensity::robust_window;
use crate::{ImageRole, RegisterError};

/// Fat is about -100 HU, soft bone begins at about 250 HU.
const SOFT_TISSUE_HU: [f32; 2] = [-150.0, 250.0];
/// Air is -1000 HU; with an image of lung alone, noise and partial volume reach up to here.
const AIR_BELOW_HU: f32 = -700.0;
/// The part of an image's voxels that must be soft tissue.
const SOFT_TISSUE_FRACTION: f64 = 0.05;

/// The low and high end.
///
/// # Errors
/// [`RegisterError::NoContrast`] if no value lies within the window or the image has the same value everywhere;
/// [`RegisterError::NotFinite`], [`RegisterError::EmptyMask`] and [`RegisterError::Image`] for an unusable image or mask.
pub(super) fn window_of(
    volume: &Volume<f32>,
    mask: Option<&Mask>,
    image: ImageRole,
    wanted: IntensityWindow,
) -> Result<[f32; 2], RegisterError> {
    let [low, high] = robust_window(volume, mask, image)?;
    let window = match wanted {
        IntensityWindow::Percentiles => return Ok([low, high]),
        IntensityWindow::Auto if !looks_like_hu(volume, low) => return Ok([low, high]),
        IntensityWindow::Auto | IntensityWindow::SoftTissueHu => SOFT_TISSUE_HU,
        IntensityWindow::Between { low, high } => [low, high],
    };
    let held = [low.max(window[0]), high.min(window[1])];
    if held[0] < held[1] { Ok(held) } else { Err(RegisterError::NoContrast { image, low, high }) }
}

/// Whether an image with the given low percentile has the air and the soft tissue of a CT.
fn looks_like_hu(volume: &Volume<f32>, low: f32) -> bool {
    let values = volume.as_slice();
    let stride = (values.len() / 200_000) | 1;
    let chosen = || values.iter().step_by(stride);
    let is_soft_tissue = |value: &&f32| (SOFT_TISSUE_HU[0]..=SOFT_TISSUE_HU[1]).contains(*value);
    low < AIR_BELOW_HU
        && chosen().filter(is_soft_tissue).count() as f64 >= SOFT_TISSUE_FRACTION * chosen().count() as f64
}
