//! Every metric against float64 reference values of numpy, scipy and scikit-image.

use serde::Deserialize;
use synthct_eval::{EvaluateConfig, ImageMetrics, RegionValues, evaluate_sct};

use crate::pair::pair;

#[derive(Deserialize)]
struct Case {
    size_ijk: [usize; 3],
    seed: u32,
    whole_mask: bool,
    sum_ct: f64,
    sum_sct: f64,
    n_mask: usize,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    mae_hu: RegionValues<f64>,
    mean_error_hu: RegionValues<f64>,
    dice: RegionValues<f64>,
    bone_dice_by_threshold: Vec<AtThreshold>,
    ssim: f64,
    ms_ssim: f64,
    psnr_db: f64,
    psnr_synthrad2025_db: f64,
}

#[derive(Deserialize)]
struct AtThreshold {
    threshold_hu: f64,
    dice: f64,
}

/// See `provenance.toml`.
const TOLERANCE: f64 = 1e-9;

#[track_caller]
fn check(case: &str, name: &str, got: Option<f64>, expected: Option<f64>) {
    let agrees = match (got, expected) {
        (Some(got), Some(expected)) => (got - expected).abs() <= TOLERANCE * expected.abs(),
        (got, expected) => got == expected,
    };
    assert!(
        agrees,
        "{case}: {name} is {got:?}, the reference gives {expected:?} (relative tolerance {TOLERANCE:e})"
    );
}

#[track_caller]
fn check_regions(case: &str, name: &str, got: &RegionValues<f64>, expected: &RegionValues<f64>) {
    for ((region, got), (_, expected)) in std::iter::zip(got.named(), expected.named()) {
        assert!(expected.is_some(), "{case}: the reference has no {name} in {region}");
        check(case, &format!("{name} in {region}"), got.copied(), expected.copied());
    }
}

#[test]
fn metrics_equal_numpy_scipy_and_scikit_image() -> Result<(), Box<dyn std::error::Error>> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/metrics/expected.json"))?;
    assert_eq!(cases.len(), 4);
    for case in cases {
        let name = format!("{:?} seed {}", case.size_ijk, case.seed);
        let (ct, sct, mask) = pair(case.size_ijk, case.seed, case.whole_mask)?;
        let sum = |values: &[f32]| values.iter().map(|&hu| f64::from(hu)).sum::<f64>();
        check(&name, "the sum of the ct", Some(sum(ct.as_slice())), Some(case.sum_ct));
        check(&name, "the sum of the sct", Some(sum(sct.as_slice())), Some(case.sum_sct));
        assert_eq!(mask.count(), case.n_mask, "{name}");
        let expected = case.expected;
        let got: ImageMetrics = evaluate_sct(&ct, &sct, &mask)?;
        assert_eq!(got.notes, [""; 0], "{name}");
        check_regions(&name, "MAE", &got.mae_hu, &expected.mae_hu);
        check_regions(&name, "mean error", &got.mean_error_hu, &expected.mean_error_hu);
        check_regions(&name, "Dice", &got.dice, &expected.dice);
        let thresholds = EvaluateConfig::roi_focused().bone_thresholds_hu;
        assert_eq!(expected.bone_dice_by_threshold.len(), thresholds.len(), "{name}");
        assert_eq!(got.bone_dice_by_threshold.len(), thresholds.len(), "{name}");
        for (got, expected) in std::iter::zip(&got.bone_dice_by_threshold, &expected.bone_dice_by_threshold) {
            check(&name, "a threshold", Some(got.threshold_hu), Some(expected.threshold_hu));
            check(
                &name,
                &format!("bone Dice from {}", got.threshold_hu),
                Some(got.dice),
                Some(expected.dice),
            );
        }
        check(&name, "SSIM 2023", got.ssim, Some(expected.ssim));
        check(&name, "MS-SSIM 2025", got.ms_ssim, Some(expected.ms_ssim));
        check(&name, "PSNR 2023", got.psnr_db, Some(expected.psnr_db));
        check(&name, "PSNR 2025", got.psnr_synthrad2025_db, Some(expected.psnr_synthrad2025_db));
    }
    Ok(())
}
