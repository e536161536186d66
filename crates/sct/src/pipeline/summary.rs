//! The numbers of a comparison as one JSON file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use synthct_eval::{ImageSummary, MeanSd};

use super::{ArmResult, CohortDoses, DoseCohortSummary, DoseTest, PipelineError};

/// What `summary.json` holds: for every arm the mean and standard deviation of each figure over the test cases.
///
/// A number that was not computed is absent.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The figures of each arm, by name.
    pub arms: BTreeMap<String, ArmSummary>,
    /// The device: `cpu`, `cuda` or `metal`.
    pub device: String,
    /// What each arm's training computed on, by name, for instance `cpu, avx512-bf16, f32`.
    pub computed_on: BTreeMap<String, String>,
    /// Paired tests of figures of dose between the arms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dose_tests: Vec<DoseTest>,
    /// The version of this crate.
    pub version: &'static str,
}

/// The figures of one arm.
#[derive(Clone, Debug, Serialize)]
pub struct ArmSummary {
    /// Of the images.
    #[serde(flatten)]
    pub images: ImageSummary,
    /// Of the doses, if any were computed.
    #[serde(flatten)]
    pub doses: Option<DoseCohortSummary>,
}

impl Summary {
    /// Gathers the arms' figures, with those of their doses if there are any.
    pub fn new(arms: &[ArmResult], doses: Option<&CohortDoses>, device: impl Into<String>) -> Self {
        let doses_of = |name: &str| {
            let arm = doses?.arms.iter().find(|arm| arm.name == name)?;
            Some(arm.summary.clone())
        };
        let summary =
            |arm: &ArmResult| ArmSummary { images: arm.summary.clone(), doses: doses_of(&arm.name) };
        Self {
            device: device.into(),
            arms: arms.iter().map(|arm| (arm.name.clone(), summary(arm))).collect(),
            computed_on: arms.iter().map(|arm| (arm.name.clone(), arm.computed_on.clone())).collect(),
            dose_tests: doses.map(|doses| doses.tests.clone()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The main figures of some arms as lines of text, those of doses if there are any.
pub(super) fn main_figures<'a>(
    arms: impl IntoIterator<Item = (&'a str, &'a ImageSummary, Option<&'a DoseCohortSummary>)>,
) -> String {
    let figure = |value: Option<&MeanSd>, digits: usize| {
        value.map_or("–".to_owned(), |value| match value.sd {
            Some(sd) => format!("{:.digits$} ± {sd:.digits$}", value.mean),
            None => format!("{:.digits$}", value.mean),
        })
    };
    let arms: Vec<_> = arms.into_iter().collect();
    let mut text = String::from("method              MAE body (HU)   MAE bone (HU)         Dice bone");
    if arms.iter().any(|(_, _, doses)| doses.is_some()) {
        text.push_str("     γ 1/1>10 (%)  Δ target mean (%)");
    }
    text.push('\n');
    for (name, images, doses) in arms {
        let body = figure(images.mae_hu.body.as_ref(), 1);
        let bone = figure(images.mae_hu.bone.as_ref(), 1);
        let dice = figure(images.dice.bone.as_ref(), 3);
        let _ = write!(text, "{name:<18}{body:>15}{bone:>16}{dice:>18}");
        if let Some(doses) = doses {
            let gamma = figure(doses.gamma_percent.get("1/1>10"), 2);
            let mean = figure(doses.dvh_percent.get("davg"), 2);
            let _ = write!(text, "{gamma:>17}{mean:>19}");
        }
        text.push('\n');
    }
    text
}

/// Writes `value` as JSON: aside first, then renamed.
///
/// # Errors
/// [`PipelineError::File`] if the file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), PipelineError> {
    let mut text =
        serde_json::to_string_pretty(value).map_err(|error| PipelineError::file(path)(error.into()))?;
    text.push('\n');
    write_text(path, &text)
}

/// Writes text: aside first, then renamed.
///
/// # Errors
/// [`PipelineError::File`] if the file cannot be written.
pub fn write_text(path: &Path, text: &str) -> Result<(), PipelineError> {
    let write = || -> std::io::Result<()> {
        let mut file = atomic_write_file::AtomicWriteFile::open(path)?;
        file.write_all(text.as_bytes())?;
        file.commit()
    };
    write().map_err(PipelineError::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_scripts_read_stay() -> Result<(), serde_json::Error> {
        let value = serde_json::to_value(Summary::new(&[], None, "cpu"))?;
        assert!(["arms", "device", "version"].into_iter().all(|name| value.get(name).is_some()), "{value}");
        assert_eq!(value["device"], "cpu");
        Ok(())
    }
}
