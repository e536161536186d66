//! Every number of a study.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use synthct_eval::{ImageMetrics, ImageSummary, MeanSd, Reliability, summarize};
use synthct_model::{Case, CaseIdentity, TrainConfig};

use super::{StudyConfig, StudyUncertainty};
use crate::pipeline::summary::main_figures;

/// What one arm with one seed made of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRecord {
    /// The image figures.
    pub metrics: ImageMetrics,
    /// Errors by uncertainty, if the arm gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
}

/// A case's record and where it belongs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyRecord {
    /// The arm.
    pub arm: String,
    /// The fold.
    pub fold: String,
    /// The seed of the training.
    pub seed: u64,
    /// The case.
    pub id: String,
    /// The case's group.
    pub group: String,
    /// Its figures.
    #[serde(flatten)]
    pub record: CaseRecord,
}

/// Two arms on the same cases, by one figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The first arm.
    pub first: String,
    /// The second arm.
    pub second: String,
    /// The figure: its name in an arm's summary, with the region after a dot.
    pub figure: String,
    /// Mean and standard deviation, over cases, of first − second; a case's value is its mean over the seeds.
    pub difference: MeanSd,
    /// On how many cases the first arm's value is the smaller one.
    pub n_first_smaller: usize,
}

/// What `summary.json` of a study holds. A number that was not computed is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudySummary {
    /// The study file.
    pub study: StudyConfig,
    /// Mean and standard deviation over cases, of each case's mean over the seeds, by arm.
    pub arms: BTreeMap<String, ImageSummary>,
    /// Mean and standard deviation over cases, by arm and seed.
    pub by_seed: BTreeMap<String, BTreeMap<u64, ImageSummary>>,
    /// As `arms`, by arm and group.
    pub by_group: BTreeMap<String, BTreeMap<String, ImageSummary>>,
    /// The first arm with each other one.
    pub comparisons: Vec<Comparison>,
    /// Errors by uncertainty over all cases and seeds, of the arms that give one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reliability: BTreeMap<String, Reliability>,
    /// Every case with every arm and seed.
    pub cases: Vec<StudyRecord>,
    /// The device: `cpu`, `cuda` or `metal`.
    pub device: String,
    /// What each arm's training computed on, by name.
    pub computed_on: BTreeMap<String, String>,
    /// The version of this crate.
    pub version: &'static str,
}

/// A figure by the name it has in `summary.json`.
type Figure = (&'static str, fn(&ImageMetrics) -> Option<f64>);

/// The figures that arms are compared by.
pub(super) const FIGURES: [Figure; 11] = [
    ("mae_hu.body", |metrics| metrics.mae_hu.body),
    ("mae_hu.bone", |metrics| metrics.mae_hu.bone),
    ("mae_hu.soft_tissue", |metrics| metrics.mae_hu.soft_tissue),
    ("mae_hu.air", |metrics| metrics.mae_hu.air),
    ("dice.body", |metrics| metrics.dice.body),
    ("dice.bone", |metrics| metrics.dice.bone),
    ("dice.soft_tissue", |metrics| metrics.dice.soft_tissue),
    ("dice.air", |metrics| metrics.dice.air),
    ("ssim", |metrics| metrics.ssim),
    ("ms_ssim", |metrics| metrics.ms_ssim),
    ("psnr_db", |metrics| metrics.psnr_db),
];

impl StudySummary {
    /// The main figures as lines of text.
    pub fn table(&self) -> String {
        let arms = self.study.arms.iter();
        main_figures(arms.filter_map(|arm| Some((arm.name.as_str(), self.arms.get(&arm.name)?, None))))
    }

    pub(super) fn new(
        study: &StudyConfig,
        cases: Vec<StudyRecord>,
        computed_on: BTreeMap<String, String>,
        device: &str,
    ) -> Self {
        let mut summary = Self {
            study: study.clone(),
            arms: BTreeMap::new(),
            by_seed: BTreeMap::new(),
            by_group: BTreeMap::new(),
            comparisons: Vec::new(),
            reliability: BTreeMap::new(),
            cases,
            device: device.to_owned(),
            computed_on,
            version: env!("CARGO_PKG_VERSION"),
        };
        let mut by_case = BTreeMap::new();
        for arm in &study.arms {
            let name = arm.name.clone();
            let of_arm: Vec<&StudyRecord> =
                summary.cases.iter().filter(|record| record.arm == name).collect();
            let means = means_by_case(&of_arm);
            let metrics: Vec<ImageMetrics> = means.values().map(|(_, metrics)| metrics.clone()).collect();
            summary.arms.insert(name.clone(), summarize(&metrics));
            let of_seed = |seed: u64| {
                let of_seed = of_arm.iter().filter(|record| record.seed == seed);
                summarize(&of_seed.map(|record| record.record.metrics.clone()).collect::<Vec<_>>())
            };
            let by_seed = study.seeds.iter().map(|&seed| (seed, of_seed(seed))).collect();
            let mut groups: BTreeMap<String, Vec<ImageMetrics>> = BTreeMap::new();
            for (group, metrics) in means.values() {
                groups.entry(group.clone()).or_default().push(metrics.clone());
            }
            let by_group = groups.into_iter().map(|(group, metrics)| (group, summarize(&metrics))).collect();
            let reliabilities: Vec<&Reliability> =
                of_arm.iter().filter_map(|record| record.record.reliability.as_ref()).collect();
            summary.reliability.extend(Reliability::pooled(&reliabilities).map(|all| (name.clone(), all)));
            summary.by_seed.insert(name.clone(), by_seed);
            summary.by_group.insert(name.clone(), by_group);
            by_case.insert(name, means);
        }
        if let Some((first, others)) = study.arms.split_first() {
            for other in others {
                let pair = [&first.name, &other.name];
                summary.comparisons.extend(compare(pair, pair.map(|name| &by_case[name])));
            }
        }
        summary
    }
}

/// Each case's group and its mean over the seeds, by name.
type ByCase = BTreeMap<String, (String, ImageMetrics)>;

fn means_by_case(records: &[&StudyRecord]) -> ByCase {
    let mut by_case: BTreeMap<&String, Vec<&StudyRecord>> = BTreeMap::new();
    for record in records {
        by_case.entry(&record.id).or_default().push(record);
    }
    let mean = |(id, records): (&String, Vec<&StudyRecord>)| {
        let metrics: Vec<ImageMetrics> = records.iter().map(|record| record.record.metrics.clone()).collect();
        (id.clone(), (records[0].group.clone(), summarize(&metrics).means()))
    };
    by_case.into_iter().map(mean).collect()
}

fn compare([first, second]: [&String; 2], [of_first, of_second]: [&ByCase; 2]) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for (figure, pick) in FIGURES {
        let pairs: Vec<(f64, f64)> = of_first
            .iter()
            .filter_map(|(id, (_, metrics))| Some((pick(metrics)?, pick(&of_second.get(id)?.1)?)))
            .collect();
        let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
        let Some(difference) = MeanSd::of(&differences) else { continue };
        comparisons.push(Comparison {
            first: first.clone(),
            second: second.clone(),
            figure: figure.to_owned(),
            difference,
            n_first_smaller: differences.iter().filter(|difference| **difference < 0.0).count(),
        });
    }
    comparisons
}

/// The mark of an arm that is done, and what it was done with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finished {
    pub(super) config: TrainConfig,
    pub(super) uncertainty: StudyUncertainty,
    pub(super) train: Vec<CaseIdentity>,
    pub(super) validation: Vec<CaseIdentity>,
    pub(super) test: Vec<CaseIdentity>,
    pub(super) computed_on: String,
}

impl Finished {
    /// Whether both are of one configuration and the same data; what they computed on does not matter.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        // By way of text: a 32-bit float has other digits as a 64-bit one.
        let text = |of: &Self| {
            serde_json::to_string(&Self { computed_on: String::new(), ..of.clone() }).unwrap_or_default()
        };
        text(self) == text(other)
    }
}

pub(super) fn identities(cases: &[Case]) -> Vec<CaseIdentity> {
    cases.iter().map(|case| CaseIdentity { id: case.id.clone(), sha256: case.fingerprint() }).collect()
}

#[cfg(test)]
mod tests {
    use synthct_eval::evaluate_sct;
    use synthct_image::{Grid, Mask, PointLps, Volume};

    use super::*;

    fn record(arm: &str, seed: u64, id: &str, error: f32) -> Result<StudyRecord, Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned([9, 9, 9], [1.0; 3], PointLps::ORIGIN)?;
        let ct = Volume::filled(&grid, 40.0);
        let metrics = evaluate_sct(&ct, &ct.map(|hu| hu + error), &Mask::full(&grid))?;
        Ok(StudyRecord {
            arm: arm.to_owned(),
            fold: "f".to_owned(),
            seed,
            id: id.to_owned(),
            group: if id == "c" { "two".to_owned() } else { "one".to_owned() },
            record: CaseRecord { metrics, reliability: None },
        })
    }

    #[test]
    fn cases_count_once_whatever_the_number_of_seeds() -> Result<(), Box<dyn std::error::Error>> {
        let study: StudyConfig = serde_json::from_value(serde_json::json!({
            "title": "t", "cohorts": [], "seeds": [1, 2], "split": { "kind": "named", "validation": [], "test": [] },
            "arms": [{ "name": "x", "preset": "3tn" }, { "name": "y", "preset": "2tn" }]
        }))?;
        // Means over seeds: x has 2, 4, 9; y has 3, 3, 3.
        let mut records = Vec::new();
        for (id, of_x) in [("a", [1.0, 3.0]), ("b", [2.0, 6.0]), ("c", [8.0, 10.0])] {
            for (seed, error) in [1, 2].into_iter().zip(of_x) {
                records.push(record("x", seed, id, error)?);
                records.push(record("y", seed, id, 3.0)?);
            }
        }
        let found = StudySummary::new(&study, records, BTreeMap::new(), "cpu");
        let body = |summary: &ImageSummary| summary.mae_hu.body.map(|value| (value.mean, value.n));
        assert_eq!(body(&found.arms["x"]), Some((5.0, 3)));
        assert_eq!(found.arms["x"].mae_hu.body.and_then(|value| value.sd), Some(13.0_f64.sqrt()));
        assert_eq!(body(&found.by_seed["x"][&1]), Some((11.0 / 3.0, 3)));
        assert_eq!(body(&found.by_group["x"]["one"]), Some((3.0, 2)));
        let comparison = found.comparisons.iter().find(|c| c.figure == "mae_hu.body").ok_or("body")?;
        assert_eq!((comparison.difference.mean, comparison.n_first_smaller), (2.0, 1));
        assert!(found.comparisons.iter().all(|c| c.first == "x" && c.second == "y"));
        let json = serde_json::to_value(&found)?;
        assert_eq!(json["arms"]["x"]["mae_hu"]["body"]["mean"], 5.0);
        assert_eq!(json["cases"].as_array().map(Vec::len), Some(12));
        assert!(!serde_json::to_string(&found.cases)?.contains("null"));
        Ok(())
    }
}
