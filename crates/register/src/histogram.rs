//! Joint histograms of two images, their information, and its derivative by each moving value.

/// Half the weight of the moving image's own entropy in mutual information, for the finest maps.
///
/// H(m) grows where the samples see more of the moving image's variety, so its full weight draws a map towards the
/// richer part of that image and makes it zoom in; without it, −H(m | f) zooms out.
/// In a registration with the roles exchanged the pulls are the opposite ones; half way, they cancel to first order.
pub(crate) const BALANCED: f64 = 0.5;

/// The range of values that bins of equal width share out.
///
/// The fixed image takes part with whole samples, each in one bin; the moving image with a cubic B-spline window over
/// four bins (Parzen), which makes the histogram, and all that follows from it, differentiable by the moving values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binning {
    low: f32,
    per_unit_fixed: f32,
    per_unit_moving: f32,
    n_bins: usize,
}

impl Binning {
    /// `n_bins` bins over `window` (low, high); values beyond it count as its ends.
    pub(crate) fn new(window: [f32; 2], n_bins: usize) -> Self {
        let [low, high] = window;
        let width = high - low;
        Self {
            low,
            per_unit_fixed: n_bins as f32 / width,
            // One bin below and two above the range, into which the windows of its ends reach.
            per_unit_moving: (n_bins - 3) as f32 / width,
            n_bins,
        }
    }

    /// The number of bins.
    pub(crate) const fn n_bins(&self) -> usize {
        self.n_bins
    }

    /// The bin of a fixed value.
    #[inline]
    pub(crate) fn bin(&self, value: f32) -> usize {
        (((value - self.low) * self.per_unit_fixed).max(0.0) as usize).min(self.n_bins - 1)
    }

    /// The position of a moving value on the axis of bins, in [1, n − 2).
    #[inline]
    pub(crate) fn position(&self, value: f32) -> f32 {
        // A hair below n − 2, so that the window of the highest value ends with the last bin.
        (1.0 + (value - self.low) * self.per_unit_moving).max(1.0).min((self.n_bins - 2) as f32 - 1e-3)
    }

    /// How fast [`Binning::position`] changes with the value, within the range.
    pub(crate) const fn per_unit_moving(&self) -> f32 {
        self.per_unit_moving
    }
}

/// The first of the four bins that a moving position reaches, and the position within the middle pair, in [0, 1].
#[inline]
pub(crate) fn reach(position: f32) -> (usize, f32) {
    let floor = position as usize;
    (floor - 1, position - floor as f32)
}

/// The cubic B-spline window over four bins; sums to one.
#[inline]
pub(crate) fn window(t: f32) -> [f32; 4] {
    let u = 1.0 - t;
    let (t2, u2) = (t * t, u * u);
    [
        u2 * u * (1.0 / 6.0),
        2.0 / 3.0 - t2 * (1.0 - 0.5 * t),
        2.0 / 3.0 - u2 * (1.0 - 0.5 * u),
        t2 * t * (1.0 / 6.0),
    ]
}

/// The derivative of [`window`] by the position; sums to zero.
#[inline]
pub(crate) fn window_slope(t: f32) -> [f32; 4] {
    let u = 1.0 - t;
    [-0.5 * u * u, t * (1.5 * t - 2.0), u * (2.0 - 1.5 * u), 0.5 * t * t]
}

/// Counts while they are collected, in 32 bits: for at most some millions of samples, from one thread.
///
/// One row for each fixed bin; one more row takes what is to be forgotten, so that loops need no branch.
#[derive(Clone, Debug)]
pub(crate) struct PartialHistogram {
    counts: Vec<f32>,
}

impl PartialHistogram {
    /// No samples yet.
    pub(crate) fn new(n_fixed: usize, n_moving: usize) -> Self {
        Self { counts: vec![0.0; (n_fixed + 1) * n_moving] }
    }

    /// Forgets all samples.
    pub(crate) fn clear(&mut self) {
        self.counts.fill(0.0);
    }

    /// Adds a sample of a row (fixed bin · number of moving bins) and a moving position.
    #[inline]
    pub(crate) fn add(&mut self, row_start: usize, position: f32) {
        let (first, t) = reach(position);
        let weights = window(t);
        if let Some(bins) = self.counts[row_start + first..].first_chunk_mut::<4>() {
            for (bin, weight) in std::iter::zip(bins, weights) {
                *bin += weight;
            }
        }
    }
}

/// A joint histogram p(f, m) of fixed and moving values.
#[derive(Clone, Debug)]
pub(crate) struct JointHistogram {
    /// p(f, m), moving bins fastest.
    joint: Vec<f64>,
    fixed: Vec<f64>,
    moving: Vec<f64>,
    /// The number of samples.
    total: f64,
}

impl JointHistogram {
    /// The sum of parts, taken in their order.
    pub(crate) fn from_parts<'a>(
        n_fixed: usize,
        n_moving: usize,
        parts: impl IntoIterator<Item = &'a PartialHistogram>,
    ) -> Self {
        let mut joint = vec![0.0_f64; n_fixed * n_moving];
        for part in parts {
            for (sum, &count) in std::iter::zip(&mut joint, &part.counts) {
                *sum += f64::from(count);
            }
        }
        let total: f64 = joint.iter().sum();
        let mut fixed = vec![0.0; n_fixed];
        let mut moving = vec![0.0; n_moving];
        if total > 0.0 {
            for (row, sum) in std::iter::zip(joint.chunks_exact_mut(n_moving), &mut fixed) {
                for (p, column) in std::iter::zip(row, &mut moving) {
                    *p /= total;
                    *sum += *p;
                    *column += *p;
                }
            }
        }
        Self { joint, fixed, moving, total }
    }

    /// The number of samples.
    pub(crate) const fn total(&self) -> f64 {
        self.total
    }

    /// Mutual information, Σ p(f, m) ln(p(f, m) / p(f) p(m)), in nats.
    pub(crate) fn mutual_information(&self) -> f64 {
        self.weighted_information(1.0)
    }

    /// `moving_weight` · H(m) − H(m | f), in nats; with a weight of 1, it is mutual information.
    pub(crate) fn weighted_information(&self, moving_weight: f64) -> f64 {
        moving_weight * entropy(&self.moving) + entropy(&self.fixed) - entropy(&self.joint)
    }

    /// Normalised mutual information, (H(f) + H(m)) / H(f, m): 1 for independent images, 2 for a one-to-one relation.
    ///
    /// # References
    /// Studholme, Hill, Hawkes (1999), doi:10.1016/S0031-3203(98)00091-0.
    pub(crate) fn normalized_mutual_information(&self) -> f64 {
        let joint = entropy(&self.joint);
        if joint > 0.0 { (entropy(&self.fixed) + entropy(&self.moving)) / joint } else { 1.0 }
    }

    /// ln(p(f, m) / p(m)^w) of every bin, to be read by [`slope_at`]; with one more row of zeros, as the parts have.
    ///
    /// It is what a sample adds to the information, weighted as in [`JointHistogram::weighted_information`], with each
    /// unit of weight in that bin, but for terms that do not change as weight moves along the moving axis.
    pub(crate) fn log_ratios(&self, moving_weight: f64) -> Vec<f32> {
        let n_moving = self.moving.len();
        let mut ratios = vec![0.0_f32; self.joint.len() + n_moving];
        for (ratios, row) in
            std::iter::zip(ratios.chunks_exact_mut(n_moving), self.joint.chunks_exact(n_moving))
        {
            for ((ratio, &joint), &moving) in ratios.iter_mut().zip(row).zip(&self.moving) {
                // A bin that no sample reaches is read by no sample.
                if joint > 0.0 {
                    *ratio = (joint.ln() - moving_weight * moving.ln()) as f32;
                }
            }
        }
        ratios
    }
}

/// The derivative of total · information by the moving position of one sample of a row.
///
/// # References
/// Mattes et al. (2003), doi:10.1109/TMI.2003.809072, equation 19, for one sample.
#[inline]
pub(crate) fn slope_at(log_ratios: &[f32], row_start: usize, position: f32) -> f32 {
    let (first, t) = reach(position);
    match log_ratios[row_start + first..].first_chunk::<4>() {
        Some(ratios) => std::iter::zip(ratios, window_slope(t)).map(|(ratio, slope)| ratio * slope).sum(),
        None => 0.0,
    }
}

fn entropy(probabilities: &[f64]) -> f64 {
    probabilities.iter().filter(|&&p| p > 0.0).map(|&p| -p * p.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 16;

    /// The histogram of pairs of values, all weights one.
    fn histogram(binning: &Binning, pairs: &[(f32, f32)]) -> JointHistogram {
        let mut part = PartialHistogram::new(N, N);
        for &(fixed, moving) in pairs {
            part.add(binning.bin(fixed) * N, binning.position(moving));
        }
        JointHistogram::from_parts(N, N, [&part])
    }

    /// Pairs with a noisy relation, from a linear congruence.
    fn pairs() -> Vec<(f32, f32)> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        (0..500)
            .map(|_| {
                let fixed = next();
                (fixed, 0.05 + 0.6 * fixed * fixed + 0.3 * next())
            })
            .collect()
    }

    #[test]
    fn windows_sum_to_one_and_their_slopes_to_zero() {
        for step in 0..=20 {
            let t = step as f32 / 20.0;
            assert!((window(t).iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(window_slope(t).iter().sum::<f32>().abs() < 1e-6);
            // The mean of the window is the position.
            let mean: f32 = std::iter::zip(window(t), [-1.0, 0.0, 1.0, 2.0]).map(|(w, at)| w * at).sum();
            assert!((mean - t).abs() < 1e-6, "{mean} at {t}");
        }
    }

    #[test]
    fn values_at_and_beyond_the_ends_stay_in_the_histogram() {
        let binning = Binning::new([-1.0, 1.0], N);
        for value in [-5.0, -1.0, 1.0, 5.0] {
            let (first, t) = reach(binning.position(value));
            assert!(first + 3 < N && (0.0..=1.0).contains(&t), "{value}: {first}, {t}");
            assert!(binning.bin(value) < N);
        }
    }

    #[test]
    fn independent_images_share_nothing_and_equal_ones_everything() {
        let binning = Binning::new([0.0, 1.0], N);
        let grid: Vec<(f32, f32)> =
            (0..400).map(|n| ((n % 20) as f32 / 19.0, (n / 20) as f32 / 19.0)).collect();
        let independent = histogram(&binning, &grid);
        assert!(independent.mutual_information().abs() < 1e-6, "{}", independent.mutual_information());
        assert!((independent.normalized_mutual_information() - 1.0).abs() < 1e-6);
        // Two equally frequent values in far bins: one bit.
        let two: Vec<(f32, f32)> = (0..100).map(|n| ((n % 2) as f32, 1.0 - (n % 2) as f32)).collect();
        let bit = histogram(&binning, &two).mutual_information();
        assert!((bit - 2_f64.ln()).abs() < 1e-6, "{bit}");
    }

    #[test]
    fn the_slope_is_that_of_finite_differences() {
        let binning = Binning::new([0.0, 1.0], N);
        let pairs = pairs();
        let here = histogram(&binning, &pairs);
        for (at, weight) in [(0, 1.0), (17, 1.0), (123, 0.5), (400, 0.0)] {
            let ratios = here.log_ratios(weight);
            let step = 2e-3;
            let shifted = |by: f32| {
                let mut pairs = pairs.clone();
                pairs[at].1 += by;
                histogram(&binning, &pairs).weighted_information(weight)
            };
            let expected = (shifted(step) - shifted(-step)) / f64::from(2.0 * step);
            let (fixed, moving) = pairs[at];
            let slope = slope_at(&ratios, binning.bin(fixed) * N, binning.position(moving));
            let got = f64::from(slope * binning.per_unit_moving()) / here.total();
            assert!(
                (got - expected).abs() < 0.02 * expected.abs() + 2e-5,
                "sample {at}: {got}, expected {expected}"
            );
        }
    }
}
