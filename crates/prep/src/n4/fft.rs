//! A Fourier transform that is as long as N4's padded histogram.

use std::f64::consts::PI;

/// A complex series, its parts apart.
#[derive(Clone, Debug)]
pub(super) struct Complex {
    pub(super) re: Vec<f64>,
    pub(super) im: Vec<f64>,
}

impl Complex {
    /// A real series.
    pub(super) fn from_real(re: Vec<f64>) -> Self {
        let im = vec![0.0; re.len()];
        Self { re, im }
    }

    /// The product, element by element.
    pub(super) fn times(&self, other: &Self) -> Self {
        let parts = || std::iter::zip(&self.re, &self.im).zip(std::iter::zip(&other.re, &other.im));
        Self {
            re: parts().map(|((a, b), (c, d))| a * c - b * d).collect(),
            im: parts().map(|((a, b), (c, d))| a * d + b * c).collect(),
        }
    }
}

/// Discrete Fourier transforms of one length, a power of two (Cooley and Tukey 1965, decimation in time).
#[derive(Debug)]
pub(super) struct Fft {
    /// exp(−2πi n / length) for the first half of n.
    roots: Vec<(f64, f64)>,
}

impl Fft {
    pub(super) fn new(length: usize) -> Self {
        debug_assert!(length.is_power_of_two() && length > 1);
        let angle = |n: usize| -2.0 * PI * n as f64 / length as f64;
        Self { roots: (0..length / 2).map(|n| (angle(n).cos(), angle(n).sin())).collect() }
    }

    /// X(f) = Σ x(n) exp(−2πi f n / length).
    pub(super) fn forward(&self, mut series: Complex) -> Complex {
        let length = 2 * self.roots.len();
        let Complex { re, im } = &mut series;
        let shift = usize::BITS - length.trailing_zeros();
        for n in 0..length {
            let reversed = n.reverse_bits() >> shift;
            if n < reversed {
                re.swap(n, reversed);
                im.swap(n, reversed);
            }
        }
        let mut half = 1;
        while half < length {
            let stride = self.roots.len() / half;
            for start in (0..length).step_by(2 * half) {
                for n in 0..half {
                    let (c, s) = self.roots[n * stride];
                    let (low, high) = (start + n, start + n + half);
                    let (a, b) = (re[high] * c - im[high] * s, re[high] * s + im[high] * c);
                    (re[high], im[high]) = (re[low] - a, im[low] - b);
                    (re[low], im[low]) = (re[low] + a, im[low] + b);
                }
            }
            half *= 2;
        }
        series
    }

    /// The real part of the inverse transform.
    pub(super) fn inverse_real(&self, series: Complex) -> Vec<f64> {
        // The inverse is the forward transform with real and imaginary part exchanged, before and after.
        let length = series.re.len() as f64;
        let swapped = self.forward(Complex { re: series.im, im: series.re });
        swapped.im.into_iter().map(|value| value / length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum_it_stands_for() {
        let length = 16;
        let series = Complex {
            re: (0..length).map(|n| f64::from(n * n % 7)).collect(),
            im: (0..length).map(|n| f64::from(n * 3 % 5)).collect(),
        };
        let transformed = Fft::new(16).forward(series.clone());
        for f in 0..16 {
            let (mut re, mut im) = (0.0, 0.0);
            for n in 0..16 {
                let (s, c) = (-2.0 * PI * (f * n) as f64 / 16.0).sin_cos();
                re += series.re[n] * c - series.im[n] * s;
                im += series.re[n] * s + series.im[n] * c;
            }
            assert!((transformed.re[f] - re).abs() < 1e-12 && (transformed.im[f] - im).abs() < 1e-12, "{f}");
        }
        let back = Fft::new(16).inverse_real(transformed);
        for (n, (got, expected)) in std::iter::zip(back, series.re).enumerate() {
            assert!((got - expected).abs() < 1e-13, "{n}");
        }
    }
}
