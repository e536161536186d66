//! All image metrics of one case.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};

use crate::dice::OverlapCounts;
use crate::inputs::{check, masked_sum};
use crate::region::HuRange;
use crate::{
    Definition, EvalError, EvaluateConfig, mae_hu, mean_error_hu, ms_ssim_synthrad2025, psnr_db,
    ssim_synthrad2023,
};

/// A value for each region; none where it was not computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionValues<V> {
    /// The whole mask (for Dice: what is above the body threshold in it).
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub body: Option<V>,
    /// Bone.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub bone: Option<V>,
    /// Soft tissue.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub soft_tissue: Option<V>,
    /// Air.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub air: Option<V>,
}

fn none<V>() -> Option<V> {
    None
}

impl<V> RegionValues<V> {
    /// The regions' names, as in JSON, with their values.
    pub fn named(&self) -> [(&'static str, Option<&V>); 4] {
        [
            ("body", self.body.as_ref()),
            ("bone", self.bone.as_ref()),
            ("soft_tissue", self.soft_tissue.as_ref()),
            ("air", self.air.as_ref()),
        ]
    }
}

/// Bone Dice from one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoneDice<V> {
    /// Bone is what is at or above this value, HU.
    pub threshold_hu: f64,
    /// Its Dice coefficient.
    pub dice: V,
}

/// The image metrics of one case (`V = f64`), or of a cohort (`V =` [`MeanSd`](crate::MeanSd): see
/// [`ImageSummary`](crate::ImageSummary)).
///
/// In JSON, a number that was not computed is absent; `notes` says why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageMetrics<V = f64> {
    /// Mean absolute error by region of the CT, HU.
    pub mae_hu: RegionValues<V>,
    /// Mean of sCT − CT by region of the CT, HU.
    pub mean_error_hu: RegionValues<V>,
    /// Dice coefficient of the region in the CT and in the sCT, inside the mask.
    pub dice: RegionValues<V>,
    /// Bone Dice by threshold, from the lowest.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub bone_dice_by_threshold: Vec<BoneDice<V>>,
    /// Structural similarity, SynthRAD2023.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub ssim: Option<V>,
    /// Multi-scale structural similarity, SynthRAD2025.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub ms_ssim: Option<V>,
    /// Peak signal-to-noise ratio, SynthRAD2023, dB.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub psnr_db: Option<V>,
    /// Peak signal-to-noise ratio, SynthRAD2025, dB.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub psnr_synthrad2025_db: Option<V>,
    /// The number of cases: 1, or the size of the cohort.
    pub n: usize,
    /// Which definition each number follows.
    pub definitions: BTreeMap<String, String>,
    /// Why numbers are absent, and what looks wrong with the input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Every image metric of one case, as [`EvaluateConfig::roi_focused`] defines them.
///
/// # Grid
/// All three share one grid.
///
/// # Errors
/// As [`evaluate_sct_with`].
///
/// # Examples
/// ```
/// use synthct_eval::{evaluate_sct, summarize};
/// use synthct_image::{Grid, Mask, PointLps, Volume};
/// let grid = Grid::axis_aligned([9, 8, 7], [1.0; 3], PointLps::ORIGIN)?;
/// let ct = Volume::from_index_fn(&grid, |index| if index.i < 3 { 900.0 } else { 40.0_f32 });
/// let sct = ct.map(|hu| hu + 10.0);
/// let metrics = evaluate_sct(&ct, &sct, &Mask::full(&grid))?;
/// assert_eq!(metrics.mae_hu.bone, Some(10.0));
/// assert_eq!(metrics.mae_hu.air, None);
/// assert_eq!(metrics.dice.bone, Some(1.0));
/// let summary = summarize(&[metrics]);
/// assert_eq!(summary.n, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate_sct(ct: &Volume<f32>, sct: &Volume<f32>, body: &Mask) -> Result<ImageMetrics, EvalError> {
    evaluate_sct_with(ct, sct, body, &EvaluateConfig::roi_focused())
}

/// Every image metric of one case.
///
/// MAE and mean error are means over the voxels of `body` that lie in a region of the **CT**; Dice compares the region of
/// the CT with the same region of the sCT, both inside `body`.
/// The body region of an image is what is above `body_threshold_hu` inside `body`.
///
/// # Grid
/// All three share one grid.
///
/// # Errors
/// [`EvalError::Config`], [`EvalError::GridMismatch`], [`EvalError::EmptyMask`], or [`EvalError::NotFinite`] for NaN
/// inside the mask.
/// A metric that this case cannot have (no bone in the CT, a mask too small for a similarity window) is none, with a
/// note.
pub fn evaluate_sct_with(
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    body: &Mask,
    config: &EvaluateConfig,
) -> Result<ImageMetrics, EvalError> {
    config.validate()?;
    check(ct, sct, body)?;
    let regions = &config.regions;
    let mut notes = Vec::new();
    let n_padding = masked_sum(ct, sct, body, |y, _| (y < config.padding_below_hu).then_some(0.0)).n;
    if n_padding > 0 {
        notes.push(format!(
            "{n_padding} voxels of the ct inside the mask are below {} HU, which looks like padding; they count as air",
            config.padding_below_hu
        ));
    }

    let mut error_in = |name: &str, range: HuRange, term: fn(f64, f64) -> f64| {
        let sum = masked_sum(ct, sct, body, |y, x| regions.is_in(range, y).then(|| term(y, x)));
        let mean = sum.mean();
        if mean.is_none() {
            let note = format!(
                "no voxel of the ct inside the mask is {name} ([{}, {}] HU), so that its errors are absent",
                range.lower_hu, range.upper_hu
            );
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        mean
    };
    let absolute = |y: f64, x: f64| (y - x).abs();
    let signed = |y: f64, x: f64| x - y;
    let mae = RegionValues {
        body: Some(mae_hu(ct, sct, body)?),
        bone: error_in("bone", regions.bone, absolute),
        soft_tissue: error_in("soft tissue", regions.soft_tissue, absolute),
        air: error_in("air", regions.air, absolute),
    };
    let mean_error = RegionValues {
        body: Some(mean_error_hu(ct, sct, body)?),
        bone: error_in("bone", regions.bone, signed),
        soft_tissue: error_in("soft tissue", regions.soft_tissue, signed),
        air: error_in("air", regions.air, signed),
    };

    let dice_of = |is_in: &dyn Fn(f64) -> bool| {
        let mut counts = OverlapCounts::default();
        for ((&y, &x), &inside) in ct.as_slice().iter().zip(sct.as_slice()).zip(body.as_slice()) {
            if inside {
                counts.count(is_in(f64::from(y)), is_in(f64::from(x)));
            }
        }
        counts.dice()
    };
    let dice = RegionValues {
        body: dice_of(&|hu| hu > config.body_threshold_hu),
        bone: dice_of(&|hu| regions.is_in(regions.bone, hu)),
        soft_tissue: dice_of(&|hu| regions.is_in(regions.soft_tissue, hu)),
        air: dice_of(&|hu| regions.is_in(regions.air, hu)),
    };
    let bone_dice_by_threshold = (config.bone_thresholds_hu.iter())
        .filter_map(|&threshold_hu| {
            dice_of(&|hu| hu >= threshold_hu).map(|dice| BoneDice { threshold_hu, dice })
        })
        .collect();

    let ssim = unless_undefined("ssim", ssim_synthrad2023(ct, sct, body), &mut notes)?;
    let ms_ssim = unless_undefined("ms_ssim", ms_ssim_synthrad2025(ct, sct, body), &mut notes)?;
    let mut finite_psnr = |name: &str, definition: Definition| {
        let value = psnr_db(ct, sct, body, definition)?;
        if !value.is_finite() {
            notes.push(format!("`{name}` is infinite: ct and sct are equal inside the mask"));
        }
        Ok::<_, EvalError>(value.is_finite().then_some(value))
    };
    let psnr_2023 = finite_psnr("psnr_db", Definition::SynthRad2023)?;
    let psnr_2025 = finite_psnr("psnr_synthrad2025_db", Definition::SynthRad2025)?;
    Ok(ImageMetrics {
        mae_hu: mae,
        mean_error_hu: mean_error,
        dice,
        bone_dice_by_threshold,
        ssim,
        ms_ssim,
        psnr_db: psnr_2023,
        psnr_synthrad2025_db: psnr_2025,
        n: 1,
        definitions: definitions(config),
        notes,
    })
}

/// The value, or none with a note if the case is too small to have one.
fn unless_undefined(
    name: &str,
    result: Result<f64, EvalError>,
    notes: &mut Vec<String>,
) -> Result<Option<f64>, EvalError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ (EvalError::NoVoxelInsideBorder { .. } | EvalError::GridSmallerThanWindow { .. })) => {
            notes.push(format!("`{name}` is absent: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn definitions(config: &EvaluateConfig) -> BTreeMap<String, String> {
    let regions = &config.regions;
    let range = |range: HuRange| format!("[{}, {}]", range.lower_hu, range.upper_hu);
    let by_region = format!(
        "bone {}, soft tissue {}, air {} HU inside the mask, HU clipped to {} for the look-up",
        range(regions.bone),
        range(regions.soft_tissue),
        range(regions.air),
        range(regions.scale)
    );
    [
        ("mae_hu", format!("mean |CT − sCT| over the mask, not clipped (SynthRAD); regions of the CT: {by_region}")),
        ("mean_error_hu", "mean of sCT − CT over the mask and the same regions, not clipped".to_owned()),
        (
            "dice",
            format!(
                "region of the CT against the same region of the sCT: {by_region}; body: above {} HU inside the mask",
                config.body_threshold_hu
            ),
        ),
        ("bone_dice_by_threshold", "voxels at or above the threshold inside the mask, CT against sCT".to_owned()),
        ("ssim", "SynthRAD2023: clip [-1024, 3000] HU, 7³ uniform window, R = 4024, masked mean".to_owned()),
        (
            "ms_ssim",
            "SynthRAD2025: clip [-1024, 3071] HU, 7³ uniform window, R = 4095, five scales, masked mean".to_owned(),
        ),
        ("psnr_db", "SynthRAD2023: clip [-1024, 3000] HU, R = 4024, over the mask".to_owned()),
        ("psnr_synthrad2025_db", "SynthRAD2025: clip [-1024, 3071] HU, R = 4095, over the mask".to_owned()),
    ]
    .into_iter()
    .map(|(name, definition)| (name.to_owned(), definition))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summarize;
    use synthct_image::{Grid, PointLps, VoxelIndex};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// A CT of slabs along i: air, gap, soft tissue, bone, dense bone, noise below the scale.
    fn slabs() -> Result<(Volume<f32>, Mask), Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned([12, 8, 9], [1.0, 2.0, 3.0], PointLps::new(5.0, 6.0, 7.0))?;
        let hu = [-1000.0, -900.0, -300.0, -100.0, 0.0, 40.0, 100.0, 260.0, 700.0, 1600.0, 3050.0, -1010.0];
        let ct = Volume::from_index_fn(&grid, |index| hu[index.i]);
        let body = Mask::new(Volume::from_index_fn(&grid, |index| index.j > 0));
        Ok((ct, body))
    }

    #[test]
    fn errors_by_region_in_closed_form() -> TestResult {
        let (ct, body) = slabs()?;
        // The error of slab i is i HU, with a sign that alternates; outside the mask the sCT is far off.
        let sct = Volume::from_index_fn(ct.grid(), |n| {
            let sign = if n.i % 2 == 0 { 1.0 } else { -1.0 };
            if n.j == 0 { 9e9 } else { ct[n] + sign * n.i as f32 }
        });
        let metrics = evaluate_sct(&ct, &sct, &body)?;
        assert_eq!(metrics.mae_hu.body, Some(66.0 / 12.0));
        assert_eq!(metrics.mae_hu.air, Some((0.0 + 1.0 + 11.0) / 3.0));
        assert_eq!(metrics.mae_hu.soft_tissue, Some((3.0 + 4.0 + 5.0 + 6.0) / 4.0));
        assert_eq!(metrics.mae_hu.bone, Some((7.0 + 8.0 + 9.0 + 10.0) / 4.0));
        assert_eq!(metrics.mean_error_hu.bone, Some((-7.0 + 8.0 - 9.0 + 10.0) / 4.0));
        assert_eq!(metrics.mean_error_hu.body, Some(-6.0 / 12.0));
        assert_eq!(metrics.dice.body, Some(1.0));
        assert_eq!(metrics.dice.bone, Some(1.0));
        let thresholds: Vec<f64> =
            metrics.bone_dice_by_threshold.iter().map(|entry| entry.threshold_hu).collect();
        assert_eq!((thresholds[0], thresholds[12], thresholds[13]), (250.0, 1450.0, 1500.0));
        // 260 HU became 253 HU: bone at both thresholds that it passes.
        let dice: Vec<f64> = metrics.bone_dice_by_threshold.iter().map(|entry| entry.dice).collect();
        assert_eq!(dice, [1.0; 14]);
        assert!(metrics.ms_ssim.is_some() && metrics.ssim.is_some() && metrics.notes.is_empty());
        Ok(())
    }

    #[test]
    fn dice_by_threshold_counts_what_crosses() -> TestResult {
        let (ct, body) = slabs()?;
        // Bone loses 20 HU: the slab at 260 HU leaves bone, the others stay.
        let sct = ct.map(|&hu| if hu > 250.0 { hu - 20.0 } else { hu });
        let metrics = evaluate_sct(&ct, &sct, &body)?;
        let expected = 2.0 * 3.0 / (4.0 + 3.0);
        assert_eq!(metrics.dice.bone, Some(expected));
        let by_threshold = &metrics.bone_dice_by_threshold;
        assert_eq!(
            [by_threshold[0], by_threshold[1]].map(|entry| Some(entry.dice)),
            [Some(expected), Some(1.0)]
        );
        Ok(())
    }

    #[test]
    fn what_is_not_computed_is_absent_with_a_note() -> TestResult {
        let (ct, _) = slabs()?;
        let ct = ct.map(|hu| hu.clamp(-200.0, 200.0));
        // One row away from the middle: halving the scale loses it.
        let body = Mask::new(Volume::from_index_fn(ct.grid(), |index| index.j == 3));
        let metrics = evaluate_sct(&ct, &ct, &body)?;
        assert_eq!((metrics.mae_hu.bone, metrics.mae_hu.air), (None, None));
        assert_eq!((metrics.dice.bone, metrics.dice.air), (None, None));
        assert!(metrics.bone_dice_by_threshold.is_empty());
        assert_eq!((metrics.psnr_db, metrics.ssim.map(f64::round)), (None, Some(1.0)));
        for what in ["is bone", "is air", "`psnr_db` is infinite", "`ms_ssim` is absent"] {
            assert_eq!(metrics.notes.iter().filter(|note| note.contains(what)).count(), 1, "{what}");
        }
        let json = serde_json::to_value(summarize(&[metrics]))?;
        assert!(json["mae_hu"].get("bone").is_none() && json.get("psnr_db").is_none());
        assert!(json["mae_hu"]["body"].get("sd").is_none());
        assert_eq!(json["mae_hu"]["body"]["mean"], 0.0);
        Ok(())
    }

    #[test]
    fn unusable_input_is_an_error_that_says_where() -> TestResult {
        let (ct, body) = slabs()?;
        let mut broken = ct.clone();
        broken[VoxelIndex::new(2, 3, 4)] = f32::NAN;
        broken[VoxelIndex::new(3, 3, 4)] = f32::INFINITY;
        // Outside the mask it does no harm.
        broken[VoxelIndex::new(0, 0, 0)] = f32::NAN;
        let message = evaluate_sct(&ct, &broken, &body).err().ok_or("accepted NaN")?.to_string();
        let expected = "the sct has 2 values inside the mask that are NaN or infinite, the first at voxel i=2, j=3, k=4, \
                        which is (7.00, 12.00, 19.00) mm LPS";
        assert_eq!(message, expected);
        let empty = Mask::full(ct.grid()).complement();
        assert!(matches!(evaluate_sct(&ct, &ct, &empty), Err(EvalError::EmptyMask { n_voxels: 864 })));
        let shifted = Grid::axis_aligned([12, 8, 9], [1.0, 2.0, 3.0], PointLps::ORIGIN)?;
        let error =
            evaluate_sct(&ct, &Volume::filled(&shifted, 0.0), &body).err().ok_or("accepted a shift")?;
        let source = std::error::Error::source(&error).ok_or("no source")?.to_string();
        assert!(
            source.contains("(5.000, 6.000, 7.000)") && source.contains("(0.000, 0.000, 0.000)"),
            "{source}"
        );
        let mut config = EvaluateConfig::roi_focused();
        config.bone_thresholds_hu = vec![300.0, 250.0];
        config.regions.air = HuRange::new(0.0, f64::NAN);
        let error = evaluate_sct_with(&ct, &ct, &body, &config);
        assert!(matches!(error, Err(EvalError::Config { problems }) if problems.len() == 2));
        Ok(())
    }

    #[test]
    fn padding_inside_the_mask_is_noted() -> TestResult {
        let (mut ct, body) = slabs()?;
        ct[VoxelIndex::new(1, 1, 1)] = -2048.0;
        let metrics = evaluate_sct(&ct, &ct.map(|hu| hu + 1.0), &body)?;
        assert!(metrics.notes.iter().any(|note| note.starts_with("1 voxels") && note.contains("padding")));
        Ok(())
    }
}
