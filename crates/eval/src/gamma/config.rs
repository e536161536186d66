//! What a gamma analysis depends on; every one of these moves a passing rate by points.

use serde::{Deserialize, Serialize};
use synthct_image::{PointLps, Volume};

use super::lattice::EvaluatedDose;
use crate::EvalError;

/// A dose difference and a distance to agreement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaCriterion {
    /// The dose difference, in percent of the dose that [`GammaMode`] says.
    pub dose_percent: f64,
    /// The distance to agreement, in mm.
    pub distance_mm: f64,
}

/// What the percentage of a criterion's dose difference refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GammaMode {
    /// The normalization dose, everywhere.
    Global,
    /// The reference dose at each voxel.
    Local,
}

/// The dose that the cut-off, and in global mode the dose difference, are percentages of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoseNormalization {
    /// A given dose, such as the prescription, in Gy.
    Gy(f64),
    /// The largest dose of the reference.
    ReferenceMaximum,
    /// The reference dose at a point of patient space, `[x, y, z]` in mm LPS, interpolated trilinearly.
    ReferenceAt([f64; 3]),
}

/// How the smallest distance in the space of dose and position is found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GammaSearch {
    /// The minimum over the trilinear dose itself: γ is too large by at most `tolerance`, and never too small.
    Exact {
        /// The largest error of γ.
        tolerance: f64,
    },
    /// The smallest value over points on spheres of growing radius, as `pymedphys.gamma` takes it: radii and points are
    /// the distance criterion divided by `interp_fraction` apart, radii farther out than that times the cap more widely.
    /// γ is too large where the best point lies between samples.
    ///
    /// The poles of the spheres lie along i, as for pymedphys with a DICOM dose in its usual order of axes (z, y, x).
    /// In a plane (one slice) the spheres are circles. Unlike pymedphys, a point without any evaluated dose within
    /// reach is not left out: it fails.
    Shells {
        /// Samples per distance criterion; pymedphys recommends 10.
        interp_fraction: f64,
    },
}

/// What [`gamma`](crate::gamma) computes.
///
/// | field | unit | allowed |
/// |---|---|---|
/// | `criteria` | percent, mm | one or more, each above zero |
/// | `mode` | | |
/// | `normalization` | Gy | a dose above zero |
/// | `cutoff_percent` | percent of the normalization dose | 0 to 100, above 0 in local mode |
/// | `cap` | | above 1 |
/// | `search` | | tolerance in (0, 0.1], interp_fraction in [1, 100] |
///
/// There is no `Default`: passing rates with different settings are not comparable, so that each is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaConfig {
    /// The criteria; each gives a map.
    pub criteria: Vec<GammaCriterion>,
    /// What the dose difference is a percentage of.
    pub mode: GammaMode,
    /// What the cut-off, and in global mode the dose difference, are percentages of.
    pub normalization: DoseNormalization,
    /// Reference voxels below this percentage of the normalization dose are not compared.
    pub cutoff_percent: f64,
    /// The largest γ that is told apart: nothing is searched beyond this times the distance.
    pub cap: f64,
    /// How the minimum is found.
    pub search: GammaSearch,
}

impl GammaConfig {
    /// The cut-off of [`global`](Self::global) and [`local`](Self::local), in percent (TG-218).
    pub const CUTOFF_PERCENT: f64 = 10.0;
    /// The cap of [`global`](Self::global) and [`local`](Self::local).
    pub const CAP: f64 = 2.0;
    /// The exact search to 0.002, with which passing rates of clinical doses are settled to 0.1 point.
    pub const EXACT: GammaSearch = GammaSearch::Exact { tolerance: 0.002 };

    /// Global gamma relative to a dose in Gy (the prescription), criteria as (percent, mm); cut-off 10 %, cap 2, exact.
    pub fn global(prescription_gy: f64, criteria: &[(f64, f64)]) -> Self {
        Self {
            criteria: criteria
                .iter()
                .map(|&(dose_percent, distance_mm)| GammaCriterion { dose_percent, distance_mm })
                .collect(),
            mode: GammaMode::Global,
            normalization: DoseNormalization::Gy(prescription_gy),
            cutoff_percent: Self::CUTOFF_PERCENT,
            cap: Self::CAP,
            search: Self::EXACT,
        }
    }

    /// Local gamma; the cut-off is relative to a dose in Gy (the prescription); otherwise as [`global`](Self::global).
    pub fn local(prescription_gy: f64, criteria: &[(f64, f64)]) -> Self {
        Self { mode: GammaMode::Local, ..Self::global(prescription_gy, criteria) }
    }

    /// The settings of `pymedphys.gamma` with `interp_fraction=10` and `max_gamma=2`: relative to the largest reference
    /// dose, sampled on shells; `cutoff_percent` is its `lower_percent_dose_cutoff`, 20 by its default.
    pub fn pymedphys(mode: GammaMode, criteria: &[(f64, f64)], cutoff_percent: f64) -> Self {
        Self {
            mode,
            normalization: DoseNormalization::ReferenceMaximum,
            cutoff_percent,
            search: GammaSearch::Shells { interp_fraction: 10.0 },
            ..Self::global(1.0, criteria)
        }
    }

    /// Every unusable field at once.
    pub(super) fn validate(&self) -> Result<(), EvalError> {
        let mut problems = Vec::new();
        let mut require = |ok: bool, field: &str, value: String, allowed: &str| {
            if !ok {
                problems.push(format!("`{field}` is {value}, but must be {allowed}"));
            }
        };
        let above_zero = |value: f64| value.is_finite() && value > 0.0;
        require(!self.criteria.is_empty(), "criteria", "empty".into(), "one or more");
        for criterion in &self.criteria {
            let ok = above_zero(criterion.dose_percent) && above_zero(criterion.distance_mm);
            require(ok, "criteria", format!("{criterion:?}"), "finite and above zero");
        }
        if let DoseNormalization::Gy(dose_gy) = self.normalization {
            require(above_zero(dose_gy), "normalization", format!("{dose_gy} Gy"), "finite and above zero");
        }
        let cutoff = self.cutoff_percent;
        require((0.0..=100.0).contains(&cutoff), "cutoff_percent", cutoff.to_string(), "from 0 to 100");
        require(
            self.mode == GammaMode::Global || cutoff > 0.0,
            "cutoff_percent",
            cutoff.to_string(),
            "above zero in local mode, where a dose of zero has no percentage",
        );
        require(self.cap.is_finite() && self.cap > 1.0, "cap", self.cap.to_string(), "finite and above 1");
        match self.search {
            GammaSearch::Exact { tolerance } => {
                let ok = tolerance > 0.0 && tolerance <= 0.1;
                require(ok, "tolerance", tolerance.to_string(), "above zero, 0.1 at most");
            }
            GammaSearch::Shells { interp_fraction } => {
                let ok = (1.0..=100.0).contains(&interp_fraction);
                require(ok, "interp_fraction", interp_fraction.to_string(), "from 1 to 100");
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(EvalError::Config { problems }) }
    }
}

impl DoseNormalization {
    /// The dose in Gy.
    pub(super) fn dose_gy(self, reference: &Volume<f32>) -> Result<f64, EvalError> {
        let (dose_gy, what) = match self {
            Self::Gy(dose_gy) => (dose_gy, String::new()),
            Self::ReferenceMaximum => {
                let largest = reference.as_slice().iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                (f64::from(largest), "the largest reference dose".to_owned())
            }
            Self::ReferenceAt(lps_mm) => {
                let dose = EvaluatedDose::new(reference);
                let at = dose.index_of(PointLps::from(lps_mm));
                let what = format!("the reference dose at {lps_mm:?} mm LPS");
                (dose.at(at).unwrap_or(f64::NAN), what)
            }
        };
        if dose_gy.is_finite() && dose_gy > 0.0 {
            return Ok(dose_gy);
        }
        let value = if dose_gy.is_nan() { "outside its grid".to_owned() } else { format!("{dose_gy} Gy") };
        Err(EvalError::Config { problems: vec![format!("{what} is {value}, but must be above zero")] })
    }
}
