//! Are these values normally distributed?

use statrs::distribution::{ContinuousCDF as _, Normal};

/// What Shapiro and Wilk's test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShapiroWilk {
    /// The statistic: near 1 for normal values.
    pub w: f64,
    /// How likely a W as small as this is for normal values.
    pub p: f64,
}

/// Shapiro and Wilk's test of normality; none of fewer than 3 or more than 5000 values, of values that are all equal, or
/// that are not finite.
///
/// Definition: W = (Σ a_i x_(i))² / Σ (x_i − mean)², with weights a from the expected normal order statistics in Royston's
/// approximation; p from his normalising transformations, exact for three values.
///
/// # References
/// Shapiro, Wilk (1965), doi:10.1093/biomet/52.3-4.591; Royston (1992), doi:10.1007/BF01891203, and (1995), algorithm
/// AS R94, doi:10.2307/2986146: its polynomials.
///
/// # Examples
/// ```
/// let test = synthct_eval::shapiro_wilk(&[1.0, 2.0, 3.0, 4.0, 50.0]).ok_or("five values")?;
/// assert!(test.p < 0.01);
/// # Ok::<(), &str>(())
/// ```
pub fn shapiro_wilk(values: &[f64]) -> Option<ShapiroWilk> {
    let n = values.len();
    if !(3..=5000).contains(&n) || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let range = sorted[n - 1] - sorted[0];
    if range <= 0.0 {
        return None;
    }
    let normal = Normal::standard();
    let weights = weights(n, &normal);
    let mean = sorted.iter().map(|value| value / range).sum::<f64>() / n as f64;
    let squares: f64 = sorted.iter().map(|value| (value / range - mean).powi(2)).sum();
    let ordered: f64 =
        weights.iter().enumerate().map(|(i, a)| a * (sorted[n - 1 - i] - sorted[i]) / range).sum();
    let w = (ordered * ordered / squares).min(1.0);
    Some(ShapiroWilk { w, p: p_of(w, n, &normal) })
}

/// c_0 + c_1 x + c_2 x² + …
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// The weights of the largest value less the smallest, of the next ones, and so on.
fn weights(n: usize, normal: &Normal) -> Vec<f64> {
    const LARGEST: [f64; 6] = [0.0, 0.221_157, -0.147_981, -2.071_19, 4.434_685, -2.706_056];
    const SECOND: [f64; 6] = [0.0, 0.042_981, -0.293_762, -1.752_461, 5.682_633, -3.582_633];
    if n == 3 {
        return vec![0.5_f64.sqrt()];
    }
    // Expected order statistics of the upper half, largest first.
    let expected: Vec<f64> =
        (0..n / 2).map(|i| -normal.inverse_cdf((i as f64 + 1.0 - 0.375) / (n as f64 + 0.25))).collect();
    let squares = 2.0 * expected.iter().map(|m| m * m).sum::<f64>();
    let per_root = 1.0 / (n as f64).sqrt();
    let largest = polynomial(&LARGEST, per_root) + expected[0] / squares.sqrt();
    let mut given = vec![largest];
    if n > 5 {
        given.push(polynomial(&SECOND, per_root) + expected[1] / squares.sqrt());
    }
    let twice = |values: &[f64]| 2.0 * values.iter().map(|value| value * value).sum::<f64>();
    let scale = ((squares - twice(&expected[..given.len()])) / (1.0 - twice(&given))).sqrt();
    let rest = expected[given.len()..].iter().map(|m| m / scale);
    given.iter().copied().chain(rest).collect()
}

/// The probability of a W at most this large.
fn p_of(w: f64, n: usize, normal: &Normal) -> f64 {
    const SMALL_MEAN: [f64; 4] = [0.544, -0.399_78, 0.025_054, -6.714e-4];
    const SMALL_SD: [f64; 4] = [1.3822, -0.778_57, 0.062_767, -0.002_032_2];
    const LARGE_MEAN: [f64; 4] = [-1.5861, -0.310_82, -0.083_751, 0.003_891_5];
    const LARGE_SD: [f64; 3] = [-0.4803, -0.082_676, 0.003_030_2];
    let of_n = n as f64;
    if n == 3 {
        let p = 6.0 / std::f64::consts::PI * (w.sqrt().asin() - 0.75_f64.sqrt().asin());
        return p.clamp(0.0, 1.0);
    }
    let y = (1.0 - w).ln();
    let (y, mean, sd) = if n <= 11 {
        let gamma = 0.459 * of_n - 2.273;
        if y >= gamma {
            return 0.0;
        }
        (-(gamma - y).ln(), polynomial(&SMALL_MEAN, of_n), polynomial(&SMALL_SD, of_n).exp())
    } else {
        let log = of_n.ln();
        (y, polynomial(&LARGE_MEAN, log), polynomial(&LARGE_SD, log).exp())
    };
    normal.sf((y - mean) / sd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], w: f64, p: f64) {
        let found = shapiro_wilk(values);
        let agrees =
            found.is_some_and(|found| (found.w - w).abs() < 1e-6 && (found.p / p - 1.0).abs() < 2e-5);
        assert!(agrees, "{found:?} instead of {w} and {p}");
    }

    #[test]
    fn w_and_p_equal_scipy() {
        // scipy.stats.shapiro 1.17.
        let of = |n: u32, f: fn(f64) -> f64| -> Vec<f64> { (0..n).map(|i| f(f64::from(i))).collect() };
        check(&[1.0, 2.0, 4.0], 0.964_285_714_285_714_2, 0.636_886_845_028_968_9);
        check(&[1.0, 2.0, 4.0, 8.0], 0.920_202_678_880_602_6, 0.538_083_777_775_902_5);
        check(&[0.3, -1.2, 0.8, 2.5, 0.1], 0.961_977_769_212_906_7, 0.821_684_379_301_943_6);
        check(&of(9, |i| (3.0 * i * i + 1.0).sin()), 0.871_299_613_977_436_7, 0.126_956_048_676_351_2);
        check(&of(11, |i| (5.0 * i).sin().exp()), 0.848_515_593_127_270_1, 0.040_815_257_787_609_73);
        check(
            &of(30, |i| (0.9 * (7.0 * i + 0.5).sin()).tan()),
            0.928_408_297_580_097_7,
            0.044_555_648_893_618_21,
        );
        check(
            &of(200, |i| (i * i).sin() + (3.0 * i).cos()),
            0.980_385_675_187_612_2,
            0.006_747_781_281_769_491,
        );
    }

    #[test]
    fn scale_and_shift_do_not_matter_and_nothing_is_made_up() {
        let values = [0.3, -1.2, 0.8, 2.5, 0.1, 1.9];
        let moved = values.map(|v| 1e6 - 250.0 * v);
        let (a, b) = (shapiro_wilk(&values), shapiro_wilk(&moved));
        assert!(a.zip(b).is_some_and(|(a, b)| (a.w - b.w).abs() < 1e-9 && (a.p - b.p).abs() < 1e-7));
        for values in [&[1.0, 2.0][..], &[3.0; 5], &[1.0, f64::NAN, 2.0]] {
            assert_eq!(shapiro_wilk(values), None);
        }
    }
}
