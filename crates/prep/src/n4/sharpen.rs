//! The histogram of log intensities, and what it would be without a bias field.

use std::f64::consts::{LN_2, PI};

use super::fft::{Complex, Fft};

/// Counts below this part of the largest are rounding errors of the Fourier transform.
const NEGLIGIBLE: f64 = 1e-10;

/// Equally spaced bins of log intensity; the first and the last centre are the smallest and the largest value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bins {
    n: usize,
    min: f64,
    width: f64,
}

impl Bins {
    pub(super) fn new(n: usize, min: f64, max: f64) -> Self {
        Self { n, min, width: (max - min) / (n - 1) as f64 }
    }

    /// The distance between neighbouring centres.
    pub(super) const fn width(&self) -> f64 {
        self.width
    }

    /// The histogram of values, each shared between the two nearest bin centres (a triangular Parzen window).
    pub(super) fn histogram(&self, values: impl Iterator<Item = f32>) -> Vec<f64> {
        let mut histogram = vec![0.0; self.n];
        for value in values {
            let (low, fraction) = self.locate(value);
            histogram[low] += 1.0 - fraction;
            histogram[low + 1] += fraction;
        }
        histogram
    }

    /// The bin whose centre is at or below a value, and how far the value is on the way to the next.
    fn locate(&self, value: f32) -> (usize, f64) {
        let position = ((f64::from(value) - self.min) / self.width).clamp(0.0, (self.n - 1) as f64);
        let low = (position as usize).min(self.n - 2);
        (low, position - low as f64)
    }
}

/// The expected log intensity without bias for each log intensity with bias.
#[derive(Debug)]
pub(super) struct Sharpening {
    bins: Bins,
    /// E(true | seen) at the centres of the bins.
    expected: Vec<f64>,
}

impl Sharpening {
    /// E(u | v) for a histogram of v (Sled 1998, equations 9 to 14).
    ///
    /// The histogram V of the biased image is taken for the convolution of the true one, U, with a Gaussian F, the
    /// distribution of the log bias.
    /// U is found by a Wiener filter and kept from falling below zero; then E(u | v) = (F * (u U)) / (F * U).
    pub(super) fn new(bins: Bins, histogram: &[f64], full_width_at_half_maximum: f64, noise: f64) -> Self {
        let length = 2 * bins.n.next_power_of_two();
        let offset = (length - bins.n) / 2;
        let fft = Fft::new(length);
        let mut padded = vec![0.0; length];
        padded[offset..offset + bins.n].copy_from_slice(histogram);
        let seen = fft.forward(Complex::from_real(padded));

        let width_bins = full_width_at_half_maximum / bins.width;
        let gaussian = (0..length).map(|n| {
            let distance = n.min(length - n) as f64 / width_bins;
            2.0 * (LN_2 / PI).sqrt() / width_bins * (-4.0 * LN_2 * distance * distance).exp()
        });
        let blur = fft.forward(Complex::from_real(gaussian.collect()));
        let wiener = std::iter::zip(&blur.re, &blur.im).map(|(re, im)| re / (re * re + im * im + noise));
        let wiener = Complex::from_real(wiener.collect());
        let mut sharp = fft.inverse_real(seen.times(&wiener));
        for count in &mut sharp {
            *count = count.max(0.0);
        }
        let center = |n: usize| bins.min + (n as f64 - offset as f64) * bins.width;
        let blurred = |series| fft.inverse_real(fft.forward(Complex::from_real(series)).times(&blur));
        let moment = sharp.iter().enumerate().map(|(n, count)| center(n) * count).collect();
        let (moment, sharp) = (blurred(moment), blurred(sharp));
        let rounding = NEGLIGIBLE * sharp.iter().copied().fold(0.0, f64::max);
        let expected = (offset..offset + bins.n)
            .map(|n| if sharp[n] > rounding { moment[n] / sharp[n] } else { center(n) })
            .collect();
        Self { bins, expected }
    }

    /// The log intensity to expect where `value` is seen.
    pub(super) fn expected(&self, value: f32) -> f32 {
        let (low, fraction) = self.bins.locate(value);
        (self.expected[low] + (self.expected[low + 1] - self.expected[low]) * fraction) as f32
    }
}
