//! MR signal equations, and what a contrast makes of a tissue.

use serde::{Deserialize, Serialize};

use crate::relaxation::{Pool, Species, pools};
use crate::{Sample, Tissue};

/// A kind of MR image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Contrast {
    /// Zero echo time, proton-density weighted: bone has signal.
    Zte,
    /// T1-weighted spoiled gradient echo.
    T1w,
    /// T2-weighted (fast) spin echo.
    T2w,
    /// T2-weighted with the signal of fluid inverted to null.
    Flair,
    /// Dixon, water and fat in phase.
    DixonInPhase,
    /// Dixon, water alone.
    DixonWater,
    /// Dixon, fat alone.
    DixonFat,
}

impl Contrast {
    /// A name fit for a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zte => "zte",
            Self::T1w => "t1w",
            Self::T2w => "t2w",
            Self::Flair => "flair",
            Self::DixonInPhase => "dixon-in-phase",
            Self::DixonWater => "dixon-water",
            Self::DixonFat => "dixon-fat",
        }
    }
}

/// A pulse sequence with its timing; times in ms, flip angle in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "sequence", deny_unknown_fields)]
#[non_exhaustive]
pub enum Sequence {
    /// Spoiled gradient echo; zero-TE imaging is one with a very short TE.
    SpoiledGradientEcho {
        /// Repetition time.
        tr_ms: f64,
        /// Echo time.
        te_ms: f64,
        /// Flip angle.
        flip_deg: f64,
    },
    /// Spin echo; of a fast spin echo, TE is the effective one.
    SpinEcho {
        /// Repetition time.
        tr_ms: f64,
        /// Echo time.
        te_ms: f64,
    },
    /// Inversion recovery with spin-echo readout.
    InversionRecovery {
        /// Repetition time.
        tr_ms: f64,
        /// Echo time.
        te_ms: f64,
        /// Inversion time.
        ti_ms: f64,
    },
}

impl Sequence {
    /// The sequence by which a contrast is made at a field strength.
    ///
    /// Typical clinical timings, ours: zero TE TR 1.2 ms, effective TE 0.02 ms, 0.8°; T1w TR 20, TE 2.5 ms, 27°;
    /// T2w TR 5000, TE 95 ms; FLAIR TR 9000, TE 90 ms with TI where fluid (T1 4300 ms) is null;
    /// Dixon TR 6 ms, 10° with TE one water-fat period (3.4 ppm), 2.3 ms at 3 T.
    pub fn typical(contrast: Contrast, field_strength_t: f64) -> Self {
        match contrast {
            Contrast::Zte => Self::SpoiledGradientEcho { tr_ms: 1.2, te_ms: 0.02, flip_deg: 0.8 },
            Contrast::T1w => Self::SpoiledGradientEcho { tr_ms: 20.0, te_ms: 2.5, flip_deg: 27.0 },
            Contrast::T2w => Self::SpinEcho { tr_ms: 5000.0, te_ms: 95.0 },
            Contrast::Flair => {
                let (tr_ms, t1_ms) = (9000.0_f64, 4300.0_f64);
                let ti_ms = -t1_ms * f64::midpoint(1.0, (-tr_ms / t1_ms).exp()).ln();
                Self::InversionRecovery { tr_ms, te_ms: 90.0, ti_ms }
            }
            Contrast::DixonInPhase | Contrast::DixonWater | Contrast::DixonFat => {
                let shift_hz = 3.4e-6 * 42.577e6 * field_strength_t;
                Self::SpoiledGradientEcho { tr_ms: 6.0, te_ms: 1000.0 / shift_hz, flip_deg: 10.0 }
            }
        }
    }

    /// The signal of a pool, signed, relative to pure water fully relaxed and undecayed.
    ///
    /// With `M` the proton density and `E1 = exp(−TR/T1)`:
    /// spoiled gradient echo `M sin α (1 − E1)/(1 − E1 cos α) exp(−TE/T2*)` (Ernst);
    /// spin echo `M (1 − E1) exp(−TE/T2)`;
    /// inversion recovery `M (1 − 2 exp(−TI/T1) + E1) exp(−TE/T2)`.
    ///
    /// The three leave out terms of the order of TE/TR, stimulated echoes and magnetization transfer.
    pub fn signal(&self, pool: &Pool) -> f64 {
        match *self {
            Self::SpoiledGradientEcho { tr_ms, te_ms, flip_deg } => {
                let e1 = (-tr_ms / pool.t1_ms).exp();
                let (sin, cos) = flip_deg.to_radians().sin_cos();
                pool.proton_density * sin * (1.0 - e1) / (1.0 - e1 * cos) * (-te_ms / pool.t2_star_ms).exp()
            }
            Self::SpinEcho { tr_ms, te_ms } => {
                pool.proton_density * (1.0 - (-tr_ms / pool.t1_ms).exp()) * (-te_ms / pool.t2_ms).exp()
            }
            Self::InversionRecovery { tr_ms, te_ms, ti_ms } => {
                let recovered = 1.0 - 2.0 * (-ti_ms / pool.t1_ms).exp() + (-tr_ms / pool.t1_ms).exp();
                pool.proton_density * recovered * (-te_ms / pool.t2_ms).exp()
            }
        }
    }
}

/// The signal of a tissue in a contrast at a field strength, signed, relative to pure water.
///
/// `hu` matters for mineralized tissue only.
pub fn tissue_signal(contrast: Contrast, tissue: Tissue, hu: f64, field_strength_t: f64) -> f64 {
    let sequence = Sequence::typical(contrast, field_strength_t);
    let counts = |species| match contrast {
        Contrast::DixonWater => species == Species::Water,
        Contrast::DixonFat => species == Species::Fat,
        _ => true,
    };
    pools(tissue, hu, field_strength_t)
        .iter()
        .filter(|pool| counts(pool.species))
        .map(|pool| sequence.signal(pool))
        .sum()
}

/// A contrast's signals for all tissues, and for bone by HU, tabulated.
#[derive(Clone, Debug)]
pub(crate) struct SignalTable {
    soft: [f64; Tissue::ALL.len()],
    bone: Vec<f64>,
}

impl SignalTable {
    const BONE_FROM_HU: f64 = 250.0;
    const BONE_TO_HU: f64 = 3000.0;
    const BONE_STEPS: usize = 275;

    /// The table, with signals multiplied by `gain`.
    pub(crate) fn new(contrast: Contrast, field_strength_t: f64, gain: f64) -> Self {
        let soft = Tissue::ALL
            .map(|tissue| gain * tissue_signal(contrast, tissue, tissue.typical_hu(), field_strength_t));
        let bone = (0..=Self::BONE_STEPS)
            .map(|step| {
                let hu = Self::BONE_FROM_HU
                    + (Self::BONE_TO_HU - Self::BONE_FROM_HU) * step as f64 / Self::BONE_STEPS as f64;
                gain * tissue_signal(contrast, Tissue::CorticalBone, hu, field_strength_t)
            })
            .collect();
        Self { soft, bone }
    }

    /// The signal of a sample, its texture included.
    pub(crate) fn of(&self, sample: &Sample) -> f64 {
        let plain = if sample.tissue.is_bone() {
            let span = (Self::BONE_TO_HU - Self::BONE_FROM_HU) / Self::BONE_STEPS as f64;
            let at = ((sample.hu - Self::BONE_FROM_HU) / span).clamp(0.0, Self::BONE_STEPS as f64);
            let below = (at as usize).min(Self::BONE_STEPS - 1);
            let t = at - below as f64;
            self.bone[below] * (1.0 - t) + self.bone[below + 1] * t
        } else {
            self.soft[usize::from(sample.tissue.label())]
        };
        plain * (1.0 + sample.texture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(t1_ms: f64, t2_ms: f64, t2_star_ms: f64) -> Pool {
        Pool { species: Species::Water, proton_density: 0.8, t1_ms, t2_ms, t2_star_ms }
    }

    #[track_caller]
    fn check(sequence: Sequence, pool: &Pool, expected: f64) {
        let got = sequence.signal(pool);
        assert!((got - expected).abs() < 1e-9, "{sequence:?}: {got} instead of {expected}");
    }

    #[test]
    fn signals_equal_closed_forms() {
        let ln2 = std::f64::consts::LN_2;
        // E1 = 1/2, α = 90°: sin α (1 − E1) = 1/2; TE = T2* ln 2 halves it.
        let gradient_echo =
            Sequence::SpoiledGradientEcho { tr_ms: 100.0 * ln2, te_ms: 10.0 * ln2, flip_deg: 90.0 };
        check(gradient_echo, &pool(100.0, 50.0, 10.0), 0.8 * 0.25);
        // At the Ernst angle, cos α = E1, the signal is M tan(α/2).
        let ernst_deg = 0.5_f64.acos().to_degrees();
        let at_ernst = Sequence::SpoiledGradientEcho { tr_ms: 100.0 * ln2, te_ms: 0.0, flip_deg: ernst_deg };
        check(at_ernst, &pool(100.0, 50.0, 10.0), 0.8 * (ernst_deg / 2.0).to_radians().tan());
        check(
            Sequence::SpinEcho { tr_ms: 200.0 * ln2, te_ms: 50.0 * ln2 },
            &pool(100.0, 50.0, 10.0),
            0.8 * 0.375,
        );
        // TI = T1 ln 2 nulls a fully relaxed pool; TI = 0 inverts it.
        let nulled = Sequence::InversionRecovery { tr_ms: 1e6, te_ms: 0.0, ti_ms: 100.0 * ln2 };
        check(nulled, &pool(100.0, 50.0, 10.0), 0.0);
        let inverted = Sequence::InversionRecovery { tr_ms: 1e6, te_ms: 0.0, ti_ms: 0.0 };
        check(inverted, &pool(100.0, 50.0, 10.0), -0.8);
    }

    #[test]
    fn bone_signal_falls_with_hu_and_air_has_none() {
        let signal = |hu| tissue_signal(Contrast::Zte, Tissue::CorticalBone, hu, 3.0);
        let mut previous = signal(250.0);
        let soft = tissue_signal(Contrast::Zte, Tissue::Muscle, 50.0, 3.0);
        assert!(previous > 0.7 * soft && previous < 1.1 * soft, "sparse bone {previous} beside soft {soft}");
        for hu in (260..=3000).step_by(10) {
            let here = signal(f64::from(hu));
            assert!(here < previous, "at {hu} HU");
            previous = here;
        }
        assert!(previous > 0.0 && previous < 0.05 * soft);
        for contrast in [Contrast::Zte, Contrast::T1w, Contrast::T2w, Contrast::Flair, Contrast::DixonInPhase]
        {
            assert!(tissue_signal(contrast, Tissue::InnerAir, -1000.0, 3.0).abs() < 1e-12);
        }
    }

    #[test]
    fn contrasts_order_tissues_as_radiologists_expect() {
        use Tissue::{CorticalBone, Csf, Fat, GreyMatter, Muscle, WhiteMatter};
        for field in [0.35, 1.5, 3.0, 7.0] {
            let s = |contrast, tissue: Tissue| tissue_signal(contrast, tissue, tissue.typical_hu(), field);
            assert!(s(Contrast::T1w, Fat) > s(Contrast::T1w, WhiteMatter), "at {field} T");
            assert!(s(Contrast::T1w, WhiteMatter) > s(Contrast::T1w, GreyMatter), "at {field} T");
            assert!(s(Contrast::T1w, GreyMatter) > s(Contrast::T1w, Csf), "at {field} T");
            assert!(s(Contrast::T2w, Csf) > s(Contrast::T2w, GreyMatter), "at {field} T");
            assert!(s(Contrast::T2w, GreyMatter) > s(Contrast::T2w, WhiteMatter), "at {field} T");
            assert!(s(Contrast::T2w, WhiteMatter) > s(Contrast::T2w, Muscle), "at {field} T");
            assert!(s(Contrast::Flair, Csf).abs() < 0.05 * s(Contrast::Flair, GreyMatter), "at {field} T");
            assert!(s(Contrast::T1w, CorticalBone) < 0.1 * s(Contrast::T1w, Muscle), "at {field} T");
            let in_phase = s(Contrast::DixonInPhase, Fat);
            assert!((s(Contrast::DixonWater, Fat) + s(Contrast::DixonFat, Fat) - in_phase).abs() < 1e-12);
            assert!(s(Contrast::DixonFat, Fat) > 5.0 * s(Contrast::DixonWater, Fat));
            assert!(s(Contrast::DixonWater, Muscle) > 5.0 * s(Contrast::DixonFat, Muscle));
        }
    }
}
