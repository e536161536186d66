//! What a phantom shall be.

use serde::{Deserialize, Serialize};

use crate::{Contrast, PhantomError};

/// The part of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Site {
    /// Head and upper neck.
    Head,
    /// Male pelvis with the proximal femora.
    Pelvis,
}

/// A side of the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The patient's left, +x.
    Left,
    /// The patient's right, −x.
    Right,
}

/// A change of the skull; heads only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Pathology {
    /// Thickening of the inner frontal table by 4 to 9 mm.
    Hyperostosis,
    /// A round hole in the vault of 11 to 15 mm diameter, filled with scar.
    BurrHole {
        /// Where it is.
        side: Side,
    },
    /// A round bone flap of 44 to 68 mm diameter in its place, with a saw cut around it.
    Craniotomy {
        /// Where it is.
        side: Side,
    },
}

/// A rigid displacement of the patient between the MR and the CT.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Misalignment {
    /// A given displacement: `ct = R·mr + t` with R = Rz·Ry·Rx about the world origin.
    Exact {
        /// Angles about the x, y and z axes, degrees, right-handed.
        rotation_deg: [f64; 3],
        /// Shift along x, y, z, mm.
        translation_mm: [f64; 3],
    },
    /// A displacement drawn from the subject's seed, each angle and shift evenly within ± its bound.
    Random {
        /// Bound of each angle, degrees.
        max_rotation_deg: f64,
        /// Bound of each shift, mm.
        max_translation_mm: f64,
    },
}

/// What a phantom shall be; [`PhantomConfig::head`] and [`PhantomConfig::pelvis`] are complete ones.
///
/// | field | unit | default (head / pelvis) | range | where the default comes from |
/// |---|---|---|---|---|
/// | `spacing_mm` | mm | 1.5 / 2.5 | 0.3–20 | head: resolution of the ZTE scans in the multi-task paper; pelvis: ours |
/// | `field_of_view_mm` | mm | 200×240×250 / 440×330×260 | 20–1000 | ours: holds every subject |
/// | `contrasts` | – | ZTE / the three Dixon images | at least one | ours |
/// | `field_strength_t` | T | 3 / 1.5 | 0.1–12 | ours; the tissue table covers 0.35–7 T |
/// | `bias_amplitude` | – | 0.25 / 0.35 | 0–0.9 | ours: the B1 field spans `1/(1+a)` to `1+a` |
/// | `mr_snr` | – | 40 / 35 | above 0 or none | ours: signal of white matter (head) or prostate (pelvis) over σ; Dixon images share the in-phase one |
/// | `ct_noise_hu` | HU | 12 / 12 | 0–500 | ours |
/// | `ct_psf_fwhm_mm` | mm | 1.2 / 1.5 | 0–20 | ours: a soft reconstruction kernel |
/// | `supersampling` | – | 2 | 1–6 | ours: samples a voxel along each axis |
/// | `misalignment` | – | none | – | none is exact alignment |
/// | `pathology` | – | none | heads only | – |
/// | `position_jitter` | – | 1 | 0–3 | ours: 1 is up to ± 6 mm along and ± 6° about an axis |
/// | `body_margin_mm` | mm | 8 | 0–100 | ours: how far the dilated body mask reaches past the skin |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhantomConfig {
    /// Part of the body.
    pub site: Site,
    /// Distance of voxels along x, y, z (i, j, k), mm.
    pub spacing_mm: [f64; 3],
    /// Extent of the grid along x, y, z, mm.
    pub field_of_view_mm: [f64; 3],
    /// The MR images to make, in this order.
    pub contrasts: Vec<Contrast>,
    /// Field strength of the MR scanner, T.
    pub field_strength_t: f64,
    /// How strong the B1 field's shading is: it spans 1/(1 + a) to 1 + a.
    pub bias_amplitude: f64,
    /// Signal of the reference tissue over the noise's σ in each channel; without it there is no noise.
    pub mr_snr: Option<f64>,
    /// Standard deviation of the CT's noise, HU.
    pub ct_noise_hu: f64,
    /// Full width at half maximum of the CT's point spread function, mm.
    pub ct_psf_fwhm_mm: f64,
    /// Samples in a voxel along each axis, whose mean is the voxel: partial volume.
    pub supersampling: usize,
    /// Displacement of the patient between MR and CT.
    pub misalignment: Option<Misalignment>,
    /// Change of the skull.
    pub pathology: Option<Pathology>,
    /// How much position and tilt of the patient in the MR scanner vary.
    pub position_jitter: f64,
    /// How far the dilated body mask reaches past the skin, mm.
    pub body_margin_mm: f64,
}

impl PhantomConfig {
    /// A head: one ZTE image at 3 T, 1.5 mm.
    pub fn head() -> Self {
        Self {
            site: Site::Head,
            spacing_mm: [1.5; 3],
            field_of_view_mm: [200.0, 240.0, 250.0],
            contrasts: vec![Contrast::Zte],
            field_strength_t: 3.0,
            bias_amplitude: 0.25,
            mr_snr: Some(40.0),
            ct_noise_hu: 12.0,
            ct_psf_fwhm_mm: 1.2,
            supersampling: 2,
            misalignment: None,
            pathology: None,
            position_jitter: 1.0,
            body_margin_mm: 8.0,
        }
    }

    /// A pelvis: Dixon in-phase, water and fat at 1.5 T, 2.5 mm.
    pub fn pelvis() -> Self {
        Self {
            site: Site::Pelvis,
            spacing_mm: [2.5; 3],
            field_of_view_mm: [440.0, 330.0, 260.0],
            contrasts: vec![Contrast::DixonInPhase, Contrast::DixonWater, Contrast::DixonFat],
            field_strength_t: 1.5,
            bias_amplitude: 0.35,
            mr_snr: Some(35.0),
            ct_psf_fwhm_mm: 1.5,
            ..Self::head()
        }
    }

    /// Nothing if every field is in range.
    ///
    /// # Errors
    /// [`PhantomError::Config`] with one line for every field that is not.
    pub fn check(&self) -> Result<(), PhantomError> {
        let mut faults = Vec::new();
        let mut within = |name: &str, value: f64, low: f64, high: f64| {
            if !(low..=high).contains(&value) {
                faults.push(format!("`{name}` is {value}, but must be from {low} to {high}"));
            }
        };
        for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
            within(&format!("spacing_mm ({name})"), self.spacing_mm[axis], 0.3, 20.0);
            within(&format!("field_of_view_mm ({name})"), self.field_of_view_mm[axis], 20.0, 1000.0);
        }
        within("field_strength_t", self.field_strength_t, 0.1, 12.0);
        within("bias_amplitude", self.bias_amplitude, 0.0, 0.9);
        within("ct_noise_hu", self.ct_noise_hu, 0.0, 500.0);
        within("ct_psf_fwhm_mm", self.ct_psf_fwhm_mm, 0.0, 20.0);
        within("supersampling", self.supersampling as f64, 1.0, 6.0);
        within("position_jitter", self.position_jitter, 0.0, 3.0);
        within("body_margin_mm", self.body_margin_mm, 0.0, 100.0);
        match self.misalignment {
            Some(Misalignment::Exact { rotation_deg, translation_mm }) => {
                for axis in 0..3 {
                    within("rotation_deg", rotation_deg[axis], -180.0, 180.0);
                    within("translation_mm", translation_mm[axis], -1000.0, 1000.0);
                }
            }
            Some(Misalignment::Random { max_rotation_deg, max_translation_mm }) => {
                within("max_rotation_deg", max_rotation_deg, 0.0, 180.0);
                within("max_translation_mm", max_translation_mm, 0.0, 1000.0);
            }
            None => {}
        }
        if let Some(snr) = self.mr_snr
            && !(snr.is_finite() && snr > 0.0)
        {
            faults.push(format!("`mr_snr` is {snr}, but must be above 0; leave it out for no noise"));
        }
        if self.contrasts.is_empty() {
            faults.push("`contrasts` is empty, but at least one MR image is needed".to_owned());
        }
        if let (Site::Pelvis, Some(pathology)) = (self.site, self.pathology) {
            faults.push(format!("`pathology` is {pathology:?}, which only a head can have"));
        }
        if faults.is_empty() { Ok(()) } else { Err(PhantomError::Config(faults)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_configurations_are_in_range() -> Result<(), PhantomError> {
        PhantomConfig::head().check()?;
        PhantomConfig::pelvis().check()
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let config = PhantomConfig {
            spacing_mm: [1.0, f64::NAN, 0.0],
            mr_snr: Some(0.0),
            contrasts: Vec::new(),
            pathology: Some(Pathology::Hyperostosis),
            ..PhantomConfig::pelvis()
        };
        let message = config.check().expect_err("because four fields are out of range").to_string();
        for fault in ["spacing_mm (y)", "spacing_mm (z)", "mr_snr", "contrasts", "pathology"] {
            assert!(message.contains(fault), "{message}");
        }
        assert!(!message.contains("spacing_mm (x)"), "{message}");
    }
}
