//! A threshold between two classes of values.

/// The last bin of the lower class of a histogram: Otsu's threshold lies at that bin's upper end.
///
/// Definition: it maximises n₀ n₁ (μ₀ − μ₁)², the variance between classes of n₀ and n₁ counts with means μ₀ and μ₁; of
/// equals, the first. None if there is one class at most.
///
/// # References
/// Otsu (1979), doi:10.1109/TSMC.1979.4310076.
pub fn otsu_bin(counts: &[u64]) -> Option<usize> {
    let total = counts.iter().sum::<u64>() as f64;
    let total_sum: f64 = counts.iter().enumerate().map(|(bin, &n)| bin as f64 * n as f64).sum();
    let (mut below, mut below_sum, mut best, mut best_bin) = (0.0, 0.0, 0.0, None);
    for (bin, &n) in counts.iter().enumerate() {
        below += n as f64;
        below_sum += bin as f64 * n as f64;
        let above = total - below;
        if below > 0.0 && above > 0.0 {
            let gap = below_sum / below - (total_sum - below_sum) / above;
            let between = below * above * gap * gap;
            if between > best {
                (best, best_bin) = (between, Some(bin));
            }
        }
    }
    best_bin
}

/// Otsu's threshold of finite values, from `n_bins` bins of equal width between the smallest and the largest: values above
/// it are the upper class. None if all values are the same, or there is none.
///
/// # References
/// Otsu (1979), doi:10.1109/TSMC.1979.4310076.
///
/// # Examples
/// ```
/// use synthct_image::otsu_threshold;
/// let threshold = otsu_threshold([0.0, 1.0, 2.0, 9.0, 10.0].into_iter(), 100);
/// assert!(threshold.is_some_and(|threshold| (2.0..9.0).contains(&threshold)));
/// assert_eq!(otsu_threshold([7.0; 5].into_iter(), 100), None);
/// ```
pub fn otsu_threshold(values: impl Iterator<Item = f32> + Clone, n_bins: usize) -> Option<f32> {
    let (low, high) = values.clone().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)));
    if low >= high {
        return None;
    }
    let mut counts = vec![0; n_bins];
    for value in values {
        counts[(((value - low) / (high - low) * n_bins as f32) as usize).min(n_bins - 1)] += 1;
    }
    otsu_bin(&counts).map(|bin| low + (bin + 1) as f32 / n_bins as f32 * (high - low))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best split by the definition, from the values of both classes.
    fn by_definition(counts: &[u64]) -> Option<usize> {
        let of = |bins: std::ops::Range<usize>| {
            let n: f64 = counts[bins.clone()].iter().map(|&n| n as f64).sum();
            (n, bins.map(|bin| bin as f64 * counts[bin] as f64).sum::<f64>() / n)
        };
        let mut best = (0.0, None);
        for bin in 0..counts.len() - 1 {
            let ((n0, mean0), (n1, mean1)) = (of(0..bin + 1), of(bin + 1..counts.len()));
            let between = n0 * n1 * (mean0 - mean1).powi(2);
            if between > best.0 * (1.0 + 1e-12) {
                best = (between, Some(bin));
            }
        }
        best.1
    }

    #[test]
    fn the_split_is_the_best_of_all() {
        for counts in
            [&[5, 3, 0, 0, 1, 9][..], &[1, 1, 1, 1], &[0, 7, 0, 2, 0], &[100, 4, 3, 2, 1, 1, 1, 1, 30]]
        {
            assert_eq!(otsu_bin(counts), by_definition(counts), "{counts:?}");
        }
        assert_eq!(otsu_bin(&[0, 7, 0, 2, 0]), Some(1), "of equals, the first");
        assert_eq!(otsu_bin(&[0, 7, 0]), None);
        assert_eq!(otsu_bin(&[]), None);
    }
}
