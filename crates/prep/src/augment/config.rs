//! What may be changed, how much and how often.

use serde::{Deserialize, Serialize};

use super::intensity::MrScale;
use crate::PrepError;

/// How images are changed at random; each change has a probability of its own, and its size is drawn uniformly.
///
/// Mirroring, rotation and scaling move MR, CT and masks alike; the other changes are of the MR alone.
///
/// | field | unit | neutral | range | what is drawn |
/// |---|---|---|---|---|
/// | `mirror_probability` | – | 0 | [0, 1] | whether left and right change places |
/// | `rotation_probability` | – | 0 | [0, 1] | |
/// | `rotation_deg` | ° | 0, 0, 0 | [0, 180] | angles in ± about the grid's axes i, j, k through its centre; of a single slice, the one about its normal |
/// | `scaling_probability` | – | 0 | [0, 1] | |
/// | `scaling` | – | 0 | [0, 0.5] | a factor of size in 1 ± this, about the grid's centre |
/// | `bias_field_probability` | – | 0 | [0, 1] | |
/// | `bias_field` | – | 0 | [0, 2] | a smooth field with at most this ∣ln∣, which multiplies the signal |
/// | `gamma_probability` | – | 0 | [0, 1] | |
/// | `gamma` | – | 0 | [0, 2] | ln of an exponent, in ±; zero signal and the body's mean stay |
/// | `stretch_probability` | – | 0 | [0, 1] | |
/// | `stretch` | – | 0 | [0, 1) | a factor in 1 ± this, about the body's mean |
/// | `blur_probability` | – | 0 | [0, 1] | |
/// | `blur_mm` | mm | 0 | [0, 20] | the standard deviation of a Gaussian, from 0 to this |
/// | `noise_probability` | – | 0 | [0, 1] | |
/// | `noise_sd` | SD of the body | 0, 0 | [0, 10], ascending | the noise's standard deviation, between the two |
/// | `noise` | – | Gaussian | – | |
///
/// The ranges are ours: what lies beyond is no image of a patient any more.
/// A stored configuration may leave out what is neutral.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentationConfig {
    /// How often left and right change places.
    pub mirror_probability: f64,
    /// How often the image is rotated.
    pub rotation_probability: f64,
    /// The largest angles about the grid's axes i, j, k, in degrees.
    pub rotation_deg: [f64; 3],
    /// How often the image is scaled.
    pub scaling_probability: f64,
    /// The largest change of size, as a share.
    pub scaling: f64,
    /// How often the signal is multiplied by a smooth field.
    pub bias_field_probability: f64,
    /// The largest ∣ln∣ of that field.
    pub bias_field: f64,
    /// How often the signal is raised to a power.
    pub gamma_probability: f64,
    /// The largest ∣ln∣ of the exponent.
    pub gamma: f64,
    /// How often intensities are stretched about the body's mean.
    pub stretch_probability: f64,
    /// The largest stretch, as a share.
    pub stretch: f64,
    /// How often the MR is blurred.
    pub blur_probability: f64,
    /// The largest standard deviation of the blur, in mm.
    pub blur_mm: f64,
    /// How often noise is added.
    pub noise_probability: f64,
    /// The least and the largest standard deviation of the noise, in standard deviations of the body.
    pub noise_sd: [f64; 2],
    /// The kind of noise.
    pub noise: NoiseKind,
}

/// How noise enters an MR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseKind {
    /// Normally distributed, added.
    #[default]
    Gaussian,
    /// As in magnitude images: normally distributed noise in the real and the imaginary part, counted from zero signal.
    Rician,
}

impl AugmentationConfig {
    /// No changes.
    pub fn neutral() -> Self {
        Self::default()
    }

    /// Half mirrored, noise of 0.03 and a stretch by ±5 % always; the MR-to-CT paper that the networks are from names
    /// mirroring and noise without their size, the numbers are ours.
    pub fn mirror_and_noise() -> Self {
        Self {
            mirror_probability: 0.5,
            stretch_probability: 1.0,
            stretch: 0.05,
            noise_probability: 1.0,
            noise_sd: [0.03; 2],
            ..Self::neutral()
        }
    }

    /// Each field with its value and the values it may have.
    ///
    /// The names begin with `augmentation.`, for messages about a larger configuration.
    pub fn fields(&self) -> Vec<(&'static str, String, bool, &'static str)> {
        let mut fields = Vec::new();
        for (name, value) in [
            ("augmentation.mirror_probability", self.mirror_probability),
            ("augmentation.rotation_probability", self.rotation_probability),
            ("augmentation.scaling_probability", self.scaling_probability),
            ("augmentation.bias_field_probability", self.bias_field_probability),
            ("augmentation.gamma_probability", self.gamma_probability),
            ("augmentation.stretch_probability", self.stretch_probability),
            ("augmentation.blur_probability", self.blur_probability),
            ("augmentation.noise_probability", self.noise_probability),
        ] {
            fields.push((name, value.to_string(), (0.0..=1.0).contains(&value), "in [0, 1]"));
        }
        for (name, value, largest, allowed) in [
            ("augmentation.scaling", self.scaling, 0.5, "in [0, 0.5]"),
            ("augmentation.bias_field", self.bias_field, 2.0, "in [0, 2]"),
            ("augmentation.gamma", self.gamma, 2.0, "in [0, 2]"),
            ("augmentation.blur_mm", self.blur_mm, 20.0, "in [0, 20]"),
        ] {
            fields.push((name, value.to_string(), (0.0..=largest).contains(&value), allowed));
        }
        let (angles, sds) = (self.rotation_deg, self.noise_sd);
        fields.extend([
            (
                "augmentation.rotation_deg",
                format!("{angles:?}"),
                angles.iter().all(|angle| (0.0..=180.0).contains(angle)),
                "in [0, 180]",
            ),
            (
                "augmentation.stretch",
                self.stretch.to_string(),
                (0.0..1.0).contains(&self.stretch),
                "in [0, 1)",
            ),
            (
                "augmentation.noise_sd",
                format!("{sds:?}"),
                0.0 <= sds[0] && sds[0] <= sds[1] && sds[1] <= 10.0,
                "in [0, 10], the first not above the second",
            ),
        ]);
        fields
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`PrepError::Augmentation`] with the first field that is out of range.
    pub fn validate(&self) -> Result<(), PrepError> {
        match self.fields().into_iter().find(|(_, _, ok, _)| !ok) {
            None => Ok(()),
            Some((field, value, _, allowed)) => Err(PrepError::Augmentation { field, value, allowed }),
        }
    }

    /// Checks that an MR suits the changes, before a training begins that would meet them by chance.
    ///
    /// # Errors
    /// [`PrepError::NotMagnitude`] if a change may be drawn that takes tissue to be brighter than zero signal, and it is not.
    pub fn require_suited(&self, scale: &MrScale) -> Result<(), PrepError> {
        let may_raise = self.gamma_probability > 0.0 && self.gamma > 0.0;
        let may_shade = self.bias_field_probability > 0.0 && self.bias_field > 0.0;
        let may_be_rician = self.noise_probability > 0.0 && self.noise == NoiseKind::Rician;
        if may_raise || may_shade || may_be_rician {
            scale.brightness("this augmentation").map(|_| ())
        } else {
            Ok(())
        }
    }
}
