//! The angle after many soft collisions.

use super::stream::Stream;

/// Draws (1 - cos θ)/2 of all soft deflections of a step together.
///
/// Mean and mean square are exact for the screened Rutherford cross section (Lewis 1950, doi:10.1103/PhysRev.78.526):
/// with μ = (1 - cos θ)/2, ⟨μ⟩ = (1 - e^(-s/λ1))/2 and ⟨μ²⟩ = ⟨μ⟩ - (1 - e^(-s/λ2))/6.
/// The shape is a mixture of an exponential in μ, which is a Gaussian in small angles, and of the single-scatter shape
/// 1/(μ + A)², both with the mean ⟨μ⟩: core and tail of Molière's distribution.
#[derive(Clone, Debug)]
pub(super) struct Deflections {
    /// A over ⟨μ⟩, by octaves of ⟨μ⟩.
    screenings: Vec<f32>,
}

/// Means below 2 to this power are treated as it.
const LOWEST_LOG2: i32 = -40;
const POINTS_LOG2: u32 = 4;
const REST: u32 = 52 - POINTS_LOG2;
/// Steps are short enough that no mean is larger.
const LARGEST_MEAN: f64 = 0.25;

const fn lowest() -> f64 {
    1.0 / (1_u64 << -LOWEST_LOG2) as f64
}

/// 1 - e^(-x), by its series where steps are short.
#[inline]
fn one_less_exp(x: f64) -> f64 {
    if x > 0.5 {
        return -(-x).exp_m1();
    }
    x * (1.0
        - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0 * (1.0 - x / 6.0 * (1.0 - x / 7.0))))))
}

/// The mean of A (1 + A)/(μ + A)².
fn single_mean(screening: f64) -> f64 {
    screening * ((1.0 + screening) * (1.0 / screening).ln_1p() - 1.0)
}

impl Deflections {
    pub(super) fn new() -> Self {
        let first = lowest().to_bits() >> REST;
        let last = LARGEST_MEAN.to_bits() >> REST;
        let of_row = |row: u64| {
            let mean = f64::from_bits(row << REST);
            // The mean rises with A: bisection in its logarithm.
            let (mut low, mut high) = (1e-18_f64, 1e3_f64);
            for _ in 0..80 {
                let middle = (low * high).sqrt();
                if single_mean(middle) < mean { low = middle } else { high = middle }
            }
            (low / mean) as f32
        };
        Self { screenings: (first..=last + 1).map(of_row).collect() }
    }

    fn screening(&self, mean: f64) -> f64 {
        let bits = mean.to_bits();
        let row = ((bits >> REST) - (lowest().to_bits() >> REST)) as usize;
        let part = (bits & ((1 << REST) - 1)) as f32 / (1_u64 << REST) as f32;
        let (low, high) = (self.screenings[row], self.screenings[row + 1]);
        mean * f64::from(low + part * (high - low))
    }

    /// (1 - cos θ)/2 after a step of so many transport mean free paths.
    pub(super) fn draw(&self, [first, second]: [f64; 2], stream: &mut Stream) -> f64 {
        let mean = (0.5 * one_less_exp(first)).clamp(lowest(), LARGEST_MEAN);
        let mean_square = mean - one_less_exp(second) / 6.0;
        let screening = self.screening(mean);
        let one = 1.0 + screening;
        let logarithm = (mean / screening + 1.0) / one;
        let single_square = screening * one * (1.0 - 2.0 * screening * logarithm + screening / one);
        let core_square = 2.0 * mean * mean;
        let tail = (mean_square - core_square) / (single_square - core_square);
        if stream.uniform() < tail {
            let uniform = stream.uniform();
            screening * uniform / (one - uniform)
        } else {
            loop {
                let drawn = mean * stream.exponential();
                if drawn <= 1.0 {
                    return drawn;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monte_carlo::material::WATER;
    use crate::monte_carlo::stopping::ElectronTables;
    use crate::monte_carlo::table::locate;

    #[test]
    fn the_series_is_the_exponential() {
        for x in [0.0, 1e-9, 0.01, 0.3, 0.499, 0.501, 2.0] {
            let off = one_less_exp(x) + f64::exp_m1(-x);
            assert!(off.abs() <= 1e-6 * x, "{x}: {off:.1e}");
        }
    }

    #[test]
    fn both_moments_are_those_of_the_cross_section() {
        let deflections = Deflections::new();
        let tables = ElectronTables::new(7.0);
        for (energy, length_cm) in [(0.3, 0.005), (1.0, 0.001), (1.0, 0.05), (5.0, 0.2)] {
            let along = tables.along(WATER as f32, locate(energy));
            let paths = along.transport.map(|transport| transport * length_cm);
            let mean = 0.5 * (1.0 - (-paths[0]).exp());
            let mean_square = mean - (1.0 - (-paths[1]).exp()) / 6.0;
            let mut stream = Stream::of_history(4, 1);
            let n = 1_000_000;
            let (mut first, mut second, mut fourth) = (0.0, 0.0, 0.0);
            for _ in 0..n {
                let drawn = deflections.draw(paths, &mut stream);
                assert!((0.0..=1.0).contains(&drawn));
                first += drawn;
                second += drawn.powi(2);
                fourth += drawn.powi(4);
            }
            let n = f64::from(n);
            let (first, second, fourth) = (first / n, second / n, fourth / n);
            let sigmas = [(second - first * first) / n, (fourth - second * second) / n].map(f64::sqrt);
            let context = format!("{energy} MeV, {length_cm} cm: {first} {second}, {mean} {mean_square}");
            assert!((first - mean).abs() < 4.0 * sigmas[0] + 2e-3 * mean, "{context}");
            assert!((second - mean_square).abs() < 4.0 * sigmas[1] + 1e-2 * mean_square, "{context}");
        }
    }
}
