//! The dose metrics of the SynthRAD challenges.

use serde::{Deserialize, Serialize};
use synthct_image::Volume;

use crate::inputs::{require_all_finite, require_grid};
use crate::{Dvh, EvalError};

/// The part of the prescription from which on a reference voxel counts in [`dose_mae`].
const HIGH_DOSE: f64 = 0.9;
/// The part of the prescription whose isodose the conformity index is of.
const CONFORMITY_DOSE: f64 = 0.95;
/// How many organs count in [`dvh_metric`].
const MOST_ORGANS: usize = 3;

/// The mean absolute difference of dose where the reference has high dose, as a fraction of the prescription.
///
/// Definition: mean over {D_ref ≥ 0.9 D_p} of |D_ref − D_eval| / D_p.
///
/// # Grid
/// Both doses share one.
///
/// # Errors
/// [`EvalError::GridMismatch`], [`EvalError::NotFinite`], [`EvalError::Config`] for a prescription that is not above zero,
/// [`EvalError::NoDoseAboveCutoff`] if no voxel has so much.
///
/// # References
/// SynthRAD2023 and SynthRAD2025 challenges, `DoseMetrics.mae_dose` with the threshold 0.9.
pub fn dose_mae(
    reference_gy: &Volume<f32>,
    evaluated_gy: &Volume<f32>,
    prescription_gy: f64,
) -> Result<f64, EvalError> {
    require_grid(evaluated_gy.grid(), reference_gy.grid(), "evaluated dose", "reference dose")?;
    require_all_finite(reference_gy, "reference dose")?;
    require_all_finite(evaluated_gy, "evaluated dose")?;
    require_prescription(prescription_gy)?;
    let cutoff_gy = HIGH_DOSE * prescription_gy;
    let (sum, n) = std::iter::zip(reference_gy.as_slice(), evaluated_gy.as_slice())
        .map(|(a, b)| (f64::from(*a), f64::from(*b)))
        .filter(|(reference, _)| *reference >= cutoff_gy)
        .fold((0.0, 0_usize), |(sum, n), (reference, evaluated)| {
            (sum + (reference - evaluated).abs(), n + 1)
        });
    if n == 0 {
        return Err(EvalError::NoDoseAboveCutoff { cutoff_gy });
    }
    Ok(sum / n as f64 / prescription_gy)
}

fn require_prescription(prescription_gy: f64) -> Result<(), EvalError> {
    if prescription_gy.is_finite() && prescription_gy > 0.0 {
        return Ok(());
    }
    let problem = format!("`prescription_gy` is {prescription_gy}, but must be finite and above zero");
    Err(EvalError::Config { problems: vec![problem] })
}

/// One structure's histograms on the reference and on the evaluated image.
#[derive(Clone, Copy, Debug)]
pub struct DvhPair<'a> {
    /// On the reference.
    pub reference: &'a Dvh,
    /// On the evaluated image.
    pub evaluated: &'a Dvh,
}

/// What [`dvh_metric`] is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DvhMetric {
    /// The metric: the sum of the parts.
    pub value: f64,
    /// |ΔD98| / D98 of the target.
    pub target_d98: f64,
    /// |ΔCI| / CI of the target.
    pub target_ci: f64,
    /// Mean of |ΔD2| / D2 over the organs; zero without organs.
    pub organs_d2: f64,
    /// Mean of |ΔD_mean| / D_mean over the organs; zero without organs.
    pub organs_mean: f64,
    /// The places of the organs that count, those of the highest dose first.
    pub organs: Vec<usize>,
}

/// The challenge's figure of histograms: relative differences of the target's D98 and conformity, and of up to three
/// organs' D2 and mean dose.
///
/// Definition: |ΔD98|/D98 + |ΔCI|/CI + mean |ΔD2|/D2 + mean |ΔD_mean|/D_mean, each relative to the reference; the means are
/// over the three organs with the largest (D5 + D_mean)/2 on the reference. CI is Paddick's at 95 % of the prescription, as
/// matRad gives it: (volume of the target with that dose)² / (volume of the target · volume with that dose).
///
/// `body` holds the histograms of the whole body, of which the volume with that dose is taken.
///
/// None if a dose or the index of the reference is zero, so that nothing is relative to it.
///
/// # Errors
/// [`EvalError::Config`] for a prescription that is not above zero.
///
/// # References
/// SynthRAD2023 and SynthRAD2025 challenges, `DoseMetrics.dvh_metric`; matRad, `matRad_calcQualityIndicators`.
pub fn dvh_metric(
    target: DvhPair<'_>,
    organs: &[DvhPair<'_>],
    body: DvhPair<'_>,
    prescription_gy: f64,
) -> Result<Option<DvhMetric>, EvalError> {
    require_prescription(prescription_gy)?;
    let relative =
        |reference: f64, evaluated: f64| (reference > 0.0).then(|| (reference - evaluated).abs() / reference);
    let conformity = |target: &Dvh, body: &Dvh| {
        let dose_gy = CONFORMITY_DOSE * prescription_gy;
        target.paddick_index(dose_gy, body.volume_cm3_at_dose(dose_gy)).unwrap_or(0.0)
    };
    let mut ranked = Vec::with_capacity(organs.len());
    for (n, organ) in organs.iter().enumerate() {
        let rank = 0.5 * (organ.reference.dose_at_volume_percent(5.0)? + organ.reference.mean_gy());
        ranked.push((rank, n));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.truncate(MOST_ORGANS);
    let counted: Vec<usize> = ranked.into_iter().map(|(_, n)| n).collect();
    let of = |pair: DvhPair<'_>, pick: fn(&Dvh) -> f64| relative(pick(pair.reference), pick(pair.evaluated));
    let mean_over_organs = |pick: fn(&Dvh) -> f64| -> Option<f64> {
        let parts: Option<Vec<f64>> = counted.iter().map(|&n| of(organs[n], pick)).collect();
        // A sum of nothing is −0, which would show.
        parts.map(|parts| (0.0 + parts.iter().sum::<f64>()) / parts.len().max(1) as f64)
    };
    let parts = (
        of(target, |dvh| dvh.figures().d98_gy),
        relative(conformity(target.reference, body.reference), conformity(target.evaluated, body.evaluated)),
        mean_over_organs(|dvh| dvh.figures().d2_gy),
        mean_over_organs(Dvh::mean_gy),
    );
    let (Some(target_d98), Some(target_ci), Some(organs_d2), Some(organs_mean)) = parts else {
        return Ok(None);
    };
    let value = target_d98 + target_ci + organs_d2 + organs_mean;
    Ok(Some(DvhMetric { value, target_d98, target_ci, organs_d2, organs_mean, organs: counted }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, Mask, PointLps};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn ramp(scale: f32) -> Result<Volume<f32>, synthct_image::ImageError> {
        // 0.5, 1.5, … 99.5 Gy along i.
        let grid = Grid::axis_aligned([100, 2, 3], [2.0, 5.0, 10.0], PointLps::ORIGIN)?;
        Ok(Volume::from_index_fn(&grid, |at| scale * (at.i as f32 + 0.5)))
    }

    #[test]
    fn the_mean_difference_is_of_high_doses_only() -> TestResult {
        let reference = ramp(1.0)?;
        // Voxels from 90 Gy on: 90.5 to 99.5, mean 95; one percent of them.
        let mae = dose_mae(&reference, &ramp(1.01)?, 100.0)?;
        assert!((mae - 0.0095).abs() < 1e-7, "{mae}");
        assert!(dose_mae(&reference, &reference, 100.0)?.abs() < 1e-30);
        assert!(matches!(dose_mae(&reference, &reference, 200.0), Err(EvalError::NoDoseAboveCutoff { .. })));
        assert!(matches!(dose_mae(&reference, &reference, 0.0), Err(EvalError::Config { .. })));
        Ok(())
    }

    #[test]
    fn the_histogram_metric_has_a_closed_form() -> TestResult {
        let (reference, evaluated) = (ramp(1.0)?, ramp(0.98)?);
        let part = |from: usize, to: usize| {
            Mask::new(Volume::from_index_fn(reference.grid(), |at| (from..to).contains(&at.i)))
        };
        let pair = |mask: &Mask| -> Result<[Dvh; 2], EvalError> {
            Ok([Dvh::new(&reference, mask)?, Dvh::new(&evaluated, mask)?])
        };
        let (target, body) = (pair(&part(80, 100))?, pair(&part(0, 100))?);
        let organs = [pair(&part(0, 10))?, pair(&part(60, 80))?, pair(&part(20, 40))?, pair(&part(40, 60))?];
        let of = |dvh: &[Dvh; 2]| -> (Dvh, Dvh) { (dvh[0].clone(), dvh[1].clone()) };
        let pairs: Vec<(Dvh, Dvh)> = organs.iter().map(of).collect();
        let organs: Vec<DvhPair<'_>> =
            pairs.iter().map(|(reference, evaluated)| DvhPair { reference, evaluated }).collect();
        let metric = dvh_metric(
            DvhPair { reference: &target[0], evaluated: &target[1] },
            &organs,
            DvhPair { reference: &body[0], evaluated: &body[1] },
            90.0,
        )?
        .ok_or("the reference has doses")?;
        // Everything falls by 2 %; the organs of the highest dose come first and the coldest does not count.
        assert_eq!(metric.organs, [1, 3, 2]);
        assert!((metric.target_d98 - 0.02).abs() < 1e-6);
        assert!((metric.organs_d2 - 0.02).abs() < 1e-6 && (metric.organs_mean - 0.02).abs() < 1e-6);
        // The index is proportional to the volume with 85.5 Gy, all of which lies in the target. On the reference it ends in
        // the middle of the last of the 15 planes' 90 voxels; at 0.98 of the dose beyond that of the 78th, on the way to the
        // next plane's dose.
        let (reference, evaluated) = (89.5, 77.5 + (0.98 * 87.5 - 85.5) / 0.98);
        let expected = (reference - evaluated) / reference;
        assert!((metric.target_ci - expected).abs() < 1e-5, "{} {expected}", metric.target_ci);
        let parts = metric.target_d98 + metric.target_ci + metric.organs_d2 + metric.organs_mean;
        assert!((metric.value - parts).abs() < 1e-15);
        let too_high = dvh_metric(
            DvhPair { reference: &target[0], evaluated: &target[1] },
            &[],
            DvhPair { reference: &body[0], evaluated: &body[1] },
            200.0,
        );
        assert!(matches!(too_high, Ok(None)));
        Ok(())
    }
}
