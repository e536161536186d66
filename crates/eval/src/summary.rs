//! The metrics of a cohort.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BoneDice, ImageMetrics, RegionValues};

/// The image metrics of a cohort.
pub type ImageSummary = ImageMetrics<MeanSd>;

/// The mean and the sample standard deviation of the cases that have a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanSd {
    /// The mean.
    pub mean: f64,
    /// The standard deviation with n − 1; none for a single case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// The number of cases that have this value.
    pub n: usize,
}

impl MeanSd {
    /// Of these values; none of nothing.
    ///
    /// ```
    /// use synthct_eval::MeanSd;
    /// let of_three = MeanSd::of(&[1.0, 2.0, 3.0]);
    /// assert_eq!(of_three, Some(MeanSd { mean: 2.0, sd: Some(1.0), n: 3 }));
    /// assert_eq!(MeanSd::of(&[]), None);
    /// ```
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
    }
}

impl ImageSummary {
    /// The means alone, as if of one case: the average of one case's results, for instance over seeds.
    pub fn means(&self) -> ImageMetrics {
        let mean = |value: &Option<MeanSd>| value.map(|value| value.mean);
        let by_region = |values: &RegionValues<MeanSd>| RegionValues {
            body: mean(&values.body),
            bone: mean(&values.bone),
            soft_tissue: mean(&values.soft_tissue),
            air: mean(&values.air),
        };
        ImageMetrics {
            mae_hu: by_region(&self.mae_hu),
            mean_error_hu: by_region(&self.mean_error_hu),
            dice: by_region(&self.dice),
            bone_dice_by_threshold: (self.bone_dice_by_threshold.iter())
                .map(|entry| BoneDice { threshold_hu: entry.threshold_hu, dice: entry.dice.mean })
                .collect(),
            ssim: mean(&self.ssim),
            ms_ssim: mean(&self.ms_ssim),
            psnr_db: mean(&self.psnr_db),
            psnr_synthrad2025_db: mean(&self.psnr_synthrad2025_db),
            n: 1,
            definitions: self.definitions.clone(),
            notes: self.notes.clone(),
        }
    }
}

/// The mean and standard deviation of each metric over the cases that have it.
///
/// Definitions on which the cases do not agree are joined by " / "; notes of cases are kept with the case's number from 1.
pub fn summarize(cases: &[ImageMetrics]) -> ImageSummary {
    let summary = |pick: &dyn Fn(&ImageMetrics) -> Option<f64>| {
        MeanSd::of(&cases.iter().filter_map(pick).collect::<Vec<_>>())
    };
    let by_region = |pick: fn(&ImageMetrics) -> &RegionValues<f64>| RegionValues {
        body: summary(&|case| pick(case).body),
        bone: summary(&|case| pick(case).bone),
        soft_tissue: summary(&|case| pick(case).soft_tissue),
        air: summary(&|case| pick(case).air),
    };
    let mut thresholds: Vec<f64> =
        cases.iter().flat_map(|case| &case.bone_dice_by_threshold).map(|entry| entry.threshold_hu).collect();
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup_by(|a, b| a.total_cmp(b).is_eq());
    let bone_dice_by_threshold = (thresholds.into_iter())
        .filter_map(|threshold_hu| {
            let at_threshold = |case: &ImageMetrics| {
                (case.bone_dice_by_threshold.iter())
                    .find(|entry| entry.threshold_hu.total_cmp(&threshold_hu).is_eq())
                    .map(|entry| entry.dice)
            };
            summary(&at_threshold).map(|dice| BoneDice { threshold_hu, dice })
        })
        .collect();
    let mut definitions = BTreeMap::<String, Vec<&str>>::new();
    for (name, definition) in cases.iter().flat_map(|case| &case.definitions) {
        let known = definitions.entry(name.clone()).or_default();
        if !known.contains(&definition.as_str()) {
            known.push(definition);
        }
    }
    ImageMetrics {
        mae_hu: by_region(|case| &case.mae_hu),
        mean_error_hu: by_region(|case| &case.mean_error_hu),
        dice: by_region(|case| &case.dice),
        bone_dice_by_threshold,
        ssim: summary(&|case| case.ssim),
        ms_ssim: summary(&|case| case.ms_ssim),
        psnr_db: summary(&|case| case.psnr_db),
        psnr_synthrad2025_db: summary(&|case| case.psnr_synthrad2025_db),
        n: cases.len(),
        definitions: definitions.into_iter().map(|(name, all)| (name, all.join(" / "))).collect(),
        notes: (cases.iter().enumerate())
            .flat_map(|(n, case)| {
                let prefix = if cases.len() > 1 { format!("case {}: ", n + 1) } else { String::new() };
                case.notes.iter().map(move |note| format!("{prefix}{note}"))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate_sct;
    use synthct_image::{Grid, Mask, PointLps, Volume};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn summary_keeps_the_contract_and_reads_back() -> TestResult {
        let grid = Grid::axis_aligned([12, 8, 9], [1.0, 2.0, 3.0], PointLps::ORIGIN)?;
        let ct = Volume::from_index_fn(&grid, |index| [-900.0, 40.0, 1000.0_f32][index.i % 3]);
        let body = Mask::full(&grid);
        let cases = [1.0, 2.0, 6.0].map(|error| evaluate_sct(&ct, &ct.map(|hu| hu + error), &body));
        let cases: Vec<ImageMetrics> = cases.into_iter().collect::<Result<_, _>>()?;
        let summary = summarize(&cases);
        let expected = MeanSd { mean: 3.0, sd: Some(7.0_f64.sqrt()), n: 3 };
        assert_eq!(summary.mae_hu.body, Some(expected));
        let json = serde_json::to_string(&summary)?;
        let value: serde_json::Value = serde_json::from_str(&json)?;
        assert_eq!(value["mae_hu"]["bone"]["mean"], 3.0);
        assert_eq!(value["n"], 3);
        let means = summary.means();
        assert_eq!((means.mae_hu.bone, means.n), (Some(3.0), 1));
        assert_eq!(summarize(std::slice::from_ref(&means)).means(), means);
        assert!(value["ssim"]["mean"].is_number() && value["psnr_db"]["sd"].is_number());
        assert!(!json.contains("null"));
        let back: ImageSummary = serde_json::from_str(&json)?;
        assert_eq!((back.mae_hu, back.definitions), (summary.mae_hu, summary.definitions));
        let one: ImageMetrics = serde_json::from_str(&serde_json::to_string(&cases[0])?)?;
        assert_eq!(
            (one.dice, one.bone_dice_by_threshold, one.n),
            (cases[0].dice, cases[0].bone_dice_by_threshold.clone(), 1)
        );
        Ok(())
    }
}
