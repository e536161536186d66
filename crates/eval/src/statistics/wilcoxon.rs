//! Are differences as often, and as far, above zero as below?

use statrs::distribution::{ContinuousCDF as _, Normal};

/// What Wilcoxon's signed-rank test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WilcoxonSignedRank {
    /// The smaller of the sums of ranks of positive and of negative differences.
    pub statistic: f64,
    /// Differences that are not zero.
    pub n: usize,
    /// The two-sided probability of a statistic as small as this by chance.
    pub p: f64,
}

/// The largest number of differences whose distribution is counted out.
const MOST_EXACT: usize = 50;

/// Wilcoxon's signed-rank test, two-sided; none if no difference is left after zeros are dropped, or if one is not finite.
///
/// Equal sizes share the mean of their ranks. Up to 50 differences p is exact, also with equal sizes: of all signs, each as
/// likely as the other, those with a sum of ranks as small are counted. Beyond, the normal approximation with the variance
/// that equal sizes leave, without correction for continuity.
///
/// # References
/// Wilcoxon (1945), doi:10.2307/3001968. Zeros are dropped as there.
///
/// # Examples
/// ```
/// let test = synthct_eval::wilcoxon_signed_rank(&[0.4, 0.1, -0.2, 0.8, 0.5]).ok_or("five differences")?;
/// assert_eq!((test.statistic, test.p), (2.0, 0.1875));
/// # Ok::<(), &str>(())
/// ```
pub fn wilcoxon_signed_rank(differences: &[f64]) -> Option<WilcoxonSignedRank> {
    if differences.iter().any(|d| !d.is_finite()) {
        return None;
    }
    let mut sorted: Vec<f64> = differences.iter().copied().filter(|d| d.abs() > 0.0).collect();
    sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = sorted.len();
    if n == 0 {
        return None;
    }
    // Ranks are doubled, so that halves of shared ranks are whole numbers.
    let mut doubled_ranks = vec![0_usize; n];
    let mut start = 0;
    while start < n {
        let end = start + sorted[start..].partition_point(|d| d.abs() <= sorted[start].abs());
        doubled_ranks[start..end].fill(start + 1 + end);
        start = end;
    }
    let sum_of = |is_wanted: fn(f64) -> bool| -> usize {
        std::iter::zip(&sorted, &doubled_ranks).filter(|(d, _)| is_wanted(**d)).map(|(_, rank)| rank).sum()
    };
    let smaller = sum_of(|d| d > 0.0).min(sum_of(|d| d < 0.0));
    let one_sided = if n <= MOST_EXACT {
        counted(&doubled_ranks, smaller)
    } else {
        approximated(&doubled_ranks, smaller)
    };
    Some(WilcoxonSignedRank { statistic: 0.5 * smaller as f64, n, p: (2.0 * one_sided).min(1.0) })
}

/// The part of all choices of signs whose positive ranks sum to `largest` at most.
fn counted(ranks: &[usize], largest: usize) -> f64 {
    // After each rank: the part of the choices with each sum.
    let mut parts = vec![0.0_f64; largest + 1];
    parts[0] = 1.0;
    for &rank in ranks {
        for sum in (0..=largest).rev() {
            let with = if sum >= rank { parts[sum - rank] } else { 0.0 };
            parts[sum] = 0.5 * (parts[sum] + with);
        }
    }
    parts.iter().sum()
}

/// The same by the normal distribution with the sum's mean and variance.
fn approximated(ranks: &[usize], largest: usize) -> f64 {
    let squares: f64 = ranks.iter().map(|&rank| (rank as f64).powi(2)).sum();
    let mean = 0.5 * ranks.iter().sum::<usize>() as f64;
    Normal::standard().cdf((largest as f64 - mean) / (0.25 * squares).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(differences: &[f64], statistic: f64, p: f64) {
        let found = wilcoxon_signed_rank(differences);
        let agrees = found.is_some_and(|found| {
            (found.statistic - statistic).abs() < 1e-12 && (found.p / p - 1.0).abs() < 1e-9
        });
        assert!(agrees, "{found:?} instead of {statistic} and {p}");
    }

    #[test]
    fn statistic_and_p_equal_scipy() {
        // scipy.stats.wilcoxon 1.17; with equal sizes scipy counts out all signs for few differences.
        check(&[0.87, 0.8, 0.3, 1.5, -0.1, 1.8, 0.4, 1.2, 1.6, 0.5], 1.0, 0.003_906_25);
        check(&[1.0, 1.0, -1.0, 2.0, 2.0, 3.0, -2.0, 0.0, 4.0], 7.0, 0.164_062_5);
        let many: Vec<f64> = (0..80).map(|i| f64::from(i * i).sin() + 0.2).collect();
        check(&many, 1098.0, 0.012_291_542_496_679_487);
    }

    #[test]
    fn the_normal_p_nears_the_exact_one() {
        let ranks: Vec<usize> = (1..=50).map(|rank| 2 * rank).collect();
        // From far in the tail to the middle, 1275 of 2550.
        for smaller in [600, 800, 1000, 1200] {
            let (exact, normal) = (counted(&ranks, smaller), approximated(&ranks, smaller));
            assert!((exact - normal).abs() < 0.004, "{smaller}: {exact}, {normal}");
        }
    }

    #[test]
    fn signs_are_alike_and_nothing_has_no_p() {
        let of = |n: i32| -> Vec<f64> { (0..n).map(|i| f64::from(i * i).sin() + 0.1).collect() };
        let exact = wilcoxon_signed_rank(&of(50));
        let turned: Vec<f64> = of(50).iter().map(|d| -d).collect();
        assert_eq!(wilcoxon_signed_rank(&turned), exact);
        assert_eq!(wilcoxon_signed_rank(&[0.0, 0.0]), None);
        assert_eq!(wilcoxon_signed_rank(&[1.0, f64::INFINITY]), None);
        let all_above = wilcoxon_signed_rank(&[1.0, 2.0, 3.0]);
        assert!(all_above.is_some_and(|test| (test.p - 0.25).abs() < 1e-12));
    }
}
