//! One draw of random changes, and what it does to images.

use rand::{Rng, RngExt};
use synthct_image::{
    AffineTransform, Grid, ImageError, Interpolation, LabelMap, Mask, Matrix3, Transform, Volume,
    gaussian_smooth, resample,
};

use super::config::{AugmentationConfig, NoiseKind};
use super::intensity::{BiasField, MrScale, add_noise, raise, shade, stretch_about_mean};
use crate::PrepError;

/// One draw of random changes, for the MR channels, the CT and the masks of one case or slice.
///
/// A slice is a grid with a single k; a volume and its slices are changed by the same code.
/// The same generator gives the same draw, and a draw gives the same bits on any number of threads.
///
/// # Examples
/// ```
/// use rand::SeedableRng;
/// use synthct_image::{Grid, Mask, PointLps, Volume};
/// use synthct_prep::{AugmentationConfig, AugmentationDraw};
/// let grid = Grid::axis_aligned([32, 40, 1], [2.0, 2.0, 3.0], PointLps::ORIGIN)?;
/// let ct = Volume::from_index_fn(&grid, |index| if index.i > 20 { 40.0 } else { -1000.0 });
/// let body = Mask::from_values(&ct, |&hu| hu > -400.0);
/// let config = AugmentationConfig {
///     rotation_probability: 1.0,
///     rotation_deg: [0.0, 0.0, 10.0],
///     ..AugmentationConfig::neutral()
/// };
/// let draw = AugmentationDraw::sample(&config, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1))?;
/// let (ct, body) = (draw.apply_to_image(&ct, -1000.0)?, draw.apply_to_mask(&body)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AugmentationDraw {
    is_mirrored: bool,
    rotation_deg: [f64; 3],
    size_factor: f64,
    bias_field: Option<BiasField>,
    exponent: f64,
    stretch: f64,
    blur_mm: f64,
    noise: NoiseKind,
    noise_sd: f64,
    noise_seed: u64,
}

impl AugmentationDraw {
    /// Draws the changes.
    ///
    /// Every draw takes the same numbers from the generator, whichever changes are switched on, so that one setting does
    /// not change what another draws.
    ///
    /// # Errors
    /// [`PrepError::Augmentation`] for a setting out of range.
    pub fn sample(config: &AugmentationConfig, rng: &mut impl Rng) -> Result<Self, PrepError> {
        config.validate()?;
        let happens = |probability: f64, rng: &mut _| uniform(rng) < probability;
        let is_mirrored = happens(config.mirror_probability, rng);
        let is_rotated = happens(config.rotation_probability, rng);
        let rotation_deg =
            config.rotation_deg.map(|limit| symmetric(rng) * if is_rotated { limit } else { 0.0 });
        let is_scaled = happens(config.scaling_probability, rng);
        let size_factor = 1.0 + symmetric(rng) * if is_scaled { config.scaling } else { 0.0 };
        let is_shaded = happens(config.bias_field_probability, rng);
        let field = BiasField::sample(config.bias_field, rng);
        let is_raised = happens(config.gamma_probability, rng);
        let exponent = (symmetric(rng) * if is_raised { config.gamma } else { 0.0 }).exp();
        let is_stretched = happens(config.stretch_probability, rng);
        let stretch = 1.0 + symmetric(rng) * if is_stretched { config.stretch } else { 0.0 };
        let is_blurred = happens(config.blur_probability, rng);
        let blur_mm = uniform(rng) * if is_blurred { config.blur_mm } else { 0.0 };
        let is_noisy = happens(config.noise_probability, rng);
        let [least, largest] = config.noise_sd;
        let noise_sd = (least + uniform(rng) * (largest - least)) * f64::from(u8::from(is_noisy));
        Ok(Self {
            is_mirrored,
            rotation_deg,
            size_factor,
            bias_field: (is_shaded && config.bias_field > 0.0).then_some(field),
            exponent,
            stretch,
            blur_mm,
            noise: config.noise,
            noise_sd,
            noise_seed: rng.random(),
        })
    }

    /// An MR channel: mirrored, rotated and scaled, then with bias field, contrast change, blur and noise, in this order.
    ///
    /// What comes into view from outside is zero signal.
    /// Channels are changed alike but for their noise, which differs from channel to channel.
    /// Negative signal (below `scale.zero_signal`) is left as it is by the change of contrast.
    ///
    /// # Errors
    /// [`PrepError::NotMagnitude`] if the draw has a bias field, an exponent or Rician noise, but the body's mean does not
    /// lie above zero signal.
    pub fn apply_to_mr(
        &self,
        mr: &Volume<f32>,
        scale: &MrScale,
        channel: usize,
    ) -> Result<Volume<f32>, PrepError> {
        let mut mr = self.apply_to_image(mr, scale.zero_signal as f32)?;
        if let Some(field) = &self.bias_field {
            shade(&mut mr, field, scale)?;
        }
        if is_change(self.exponent) {
            raise(&mut mr, self.exponent, scale)?;
        }
        if is_change(self.stretch) {
            stretch_about_mean(&mut mr, self.stretch, scale);
        }
        if self.blur_mm > 0.0 {
            mr = gaussian_smooth(&mr, self.blur_mm)?;
        }
        if self.noise_sd > 0.0 {
            add_noise(&mut mr, self.noise, self.noise_sd, scale, self.noise_seed, channel)?;
        }
        Ok(mr)
    }

    /// A CT or another image: mirrored, rotated and scaled, interpolated linearly; `outside` comes into view.
    ///
    /// # Errors
    /// None for a draw from a valid configuration.
    pub fn apply_to_image(&self, image: &Volume<f32>, outside: f32) -> Result<Volume<f32>, PrepError> {
        match self.moving_from_fixed(image.grid())? {
            None => Ok(image.clone()),
            Some(transform) => {
                Ok(resample(image, image.grid(), Some(&transform), Interpolation::Linear, outside)?)
            }
        }
    }

    /// A mask: mirrored, rotated and scaled, by nearest neighbour; what comes into view is outside.
    ///
    /// # Errors
    /// None for a draw from a valid configuration.
    pub fn apply_to_mask(&self, mask: &Mask) -> Result<Mask, PrepError> {
        let transform = self.moving_from_fixed(mask.grid())?;
        Ok(mask.resampled(mask.grid(), transform.as_ref())?)
    }

    /// A label map: mirrored, rotated and scaled, by nearest neighbour; what comes into view is background.
    ///
    /// # Errors
    /// None for a draw from a valid configuration.
    pub fn apply_to_labels(&self, labels: &LabelMap) -> Result<LabelMap, PrepError> {
        let transform = self.moving_from_fixed(labels.grid())?;
        Ok(labels.resampled(labels.grid(), transform.as_ref())?)
    }

    /// Where what is seen at a point was before; none if nothing moves.
    ///
    /// Something at offset d from the grid's centre, in mm along the grid's axes, goes to s R M d: mirrored (M), turned
    /// about i, then j, then k (R), and scaled (s).
    /// Mirroring is along the grid axis that runs most from right to left.
    fn moving_from_fixed(&self, grid: &Grid) -> Result<Option<Transform>, ImageError> {
        // A turn moves along the two other axes; a slice is not turned out of its plane.
        let size = grid.size_ijk();
        let angles = [0, 1, 2].map(|axis| {
            let leaves_slice = (0..3).any(|other| other != axis && size[other] == 1);
            if leaves_slice { 0.0 } else { self.rotation_deg[axis].to_radians() }
        });
        let is_turned = angles.iter().any(|angle| *angle != 0.0);
        if !self.is_mirrored && !is_turned && !is_change(self.size_factor) {
            return Ok(None);
        }
        let [[si, ci], [sj, cj], [sk, ck]] = angles.map(|angle| [angle.sin(), angle.cos()]);
        let about_i = Matrix3([[1.0, 0.0, 0.0], [0.0, ci, -si], [0.0, si, ci]]);
        let about_j = Matrix3([[cj, 0.0, sj], [0.0, 1.0, 0.0], [-sj, 0.0, cj]]);
        let about_k = Matrix3([[ck, -sk, 0.0], [sk, ck, 0.0], [0.0, 0.0, 1.0]]);
        let turn = about_k * about_j * about_i;
        let mut signs = [1.0; 3];
        if self.is_mirrored {
            signs[left_axis(grid)] = -1.0;
        }
        let shrink = Matrix3::diagonal([1.0 / self.size_factor; 3]);
        let direction = *grid.direction();
        let matrix =
            direction * Matrix3::diagonal(signs) * turn.transposed() * shrink * direction.transposed();
        Ok(Some(Transform::from(AffineTransform::linear_about(grid.center_lps(), matrix)?)))
    }
}

/// The grid axis that runs most from right to left.
fn left_axis(grid: &Grid) -> usize {
    let along_x = grid.direction().0[0].map(f64::abs);
    (0..3).fold(0, |best, axis| if along_x[axis] > along_x[best] { axis } else { best })
}

/// Whether a factor or an exponent changes anything.
fn is_change(factor: f64) -> bool {
    (factor - 1.0).abs() > 0.0
}

/// Uniform in [0, 1).
pub(super) fn uniform(rng: &mut impl Rng) -> f64 {
    rng.random()
}

/// Uniform in [−1, 1).
pub(super) fn symmetric(rng: &mut impl Rng) -> f64 {
    2.0 * uniform(rng) - 1.0
}
