//! Whether two methods differ on the same cases.

mod shapiro_wilk;
mod wilcoxon;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::MeanSd;

pub use shapiro_wilk::{ShapiroWilk, shapiro_wilk};
pub use wilcoxon::{WilcoxonSignedRank, wilcoxon_signed_rank};

/// The level below which the differences count as not normal.
const NORMALITY_LEVEL: f64 = 0.05;

/// What paired tests say about the differences of two methods on the same cases.
///
/// A value that cannot be had is absent: a standard deviation of one case, tests of differences that are all equal, of
/// fewer cases than they need, or that the differences rule out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedTests {
    /// Mean and standard deviation of first − second.
    pub difference: MeanSd,
    /// Normality of the differences: Shapiro and Wilk's p; from three cases on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normality_p: Option<f64>,
    /// Student's paired t-test, two-sided; absent if normality is rejected at 5 %, or could not be tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_p: Option<f64>,
    /// Wilcoxon's signed-rank test, two-sided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wilcoxon_p: Option<f64>,
}

/// Paired tests of two methods' values on the same cases, in the same order; none of nothing.
///
/// Definition: d = first − second; t = mean(d) / (sd(d) / √n) with n − 1 degrees of freedom.
/// With few cases a large p says nothing: of three, Wilcoxon's smallest p is 0.25.
///
/// # References
/// Student (1908), doi:10.1093/biomet/6.1.1; the distribution is that of the library `statrs`. For the others see
/// [`shapiro_wilk`] and [`wilcoxon_signed_rank`].
///
/// # Examples
/// ```
/// use synthct_eval::paired_tests;
/// let tests = paired_tests(&[5.1, 4.8, 6.0, 5.5], &[4.1, 4.2, 4.9, 4.8]).ok_or("four cases")?;
/// assert!((tests.difference.mean - 0.85).abs() < 1e-12);
/// assert!(tests.t_p.is_some_and(|p| p < 0.01));
/// assert_eq!(tests.wilcoxon_p, Some(0.125));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn paired_tests(first: &[f64], second: &[f64]) -> Option<PairedTests> {
    let differences: Vec<f64> = std::iter::zip(first, second).map(|(a, b)| a - b).collect();
    let difference = MeanSd::of(&differences)?;
    let normality_p = shapiro_wilk(&differences).map(|test| test.p);
    let is_normal = normality_p.is_some_and(|p| p >= NORMALITY_LEVEL);
    Some(PairedTests {
        difference,
        normality_p,
        t_p: if is_normal { student_p(&difference) } else { None },
        wilcoxon_p: wilcoxon_signed_rank(&differences).map(|test| test.p),
    })
}

/// The two-sided p of a mean that is zero by chance.
fn student_p(difference: &MeanSd) -> Option<f64> {
    let sd = difference.sd.filter(|sd| *sd > 0.0)?;
    let t = difference.mean / (sd / (difference.n as f64).sqrt());
    let distribution = StudentsT::new(0.0, 1.0, (difference.n - 1) as f64).ok()?;
    Some((2.0 * distribution.sf(t.abs())).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn the_t_test_equals_scipy() -> TestResult {
        // scipy.stats.ttest_rel 1.17.
        let a = [98.71, 97.9, 99.2, 98.1, 96.8, 99.0, 98.4, 97.7, 98.9, 99.3];
        let b = [97.84, 97.1, 98.9, 96.6, 96.9, 97.2, 98.0, 96.5, 97.3, 98.8];
        let tests = paired_tests(&a, &b).ok_or("ten cases")?;
        let expected = 0.001_534_059_788_326_123_5;
        let found = tests.t_p.ok_or("a p")?;
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
        Ok(())
    }

    #[test]
    fn what_cannot_be_tested_is_absent() -> TestResult {
        assert_eq!(paired_tests(&[], &[]), None);
        let same = paired_tests(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]).ok_or("three cases")?;
        assert_eq!((same.normality_p, same.t_p, same.wilcoxon_p), (None, None, None));
        let one = paired_tests(&[1.0], &[0.5]).ok_or("one case")?;
        assert_eq!((one.difference.sd, one.t_p, one.wilcoxon_p), (None, None, Some(1.0)));
        // One case far off the others: not normal, so there is no t-test.
        let a: Vec<f64> = (0..12).map(|n| if n == 11 { 50.0 } else { 0.1 * f64::from(n) }).collect();
        let skewed = paired_tests(&a, &[0.0; 12]).ok_or("twelve cases")?;
        assert!(skewed.normality_p.is_some_and(|p| p < 1e-4) && skewed.t_p.is_none());
        assert!(skewed.wilcoxon_p.is_some_and(|p| p < 0.01));
        Ok(())
    }
}
