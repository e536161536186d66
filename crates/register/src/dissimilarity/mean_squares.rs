//! The mean squared difference.

use rayon::prelude::*;

use super::{Dissimilarity, Sample, Value, mean_and_deviation};

/// Σ (m − f)² / (samples · s²), with s² the variance of the fixed values, so that the value knows no units.
pub(crate) struct MeanSquares<'a> {
    fixed: &'a [f32],
    row_len: usize,
    variance: f64,
    per_sample: f32,
}

impl<'a> MeanSquares<'a> {
    /// For rows of `row_len` fixed voxels.
    pub(crate) fn new(fixed: &'a [f32], row_len: usize) -> Self {
        let [_, deviation] = mean_and_deviation(fixed.iter().copied());
        Self { fixed, row_len, variance: f64::from(deviation).powi(2), per_sample: 0.0 }
    }
}

impl Dissimilarity for MeanSquares<'_> {
    fn evaluate(&mut self, samples: &[Sample], slopes: &mut [f32]) -> Value {
        let rows: Vec<(f64, usize)> = self
            .fixed
            .par_chunks(self.row_len)
            .with_min_len(64)
            .zip(samples.par_chunks(self.row_len))
            .zip(slopes.par_chunks_mut(self.row_len))
            .map(|((fixed, samples), slopes)| {
                let (mut sum, mut n) = (0.0_f32, 0);
                for ((fixed, sample), slope) in fixed.iter().zip(samples).zip(slopes) {
                    let difference = sample[3] - fixed;
                    *slope = if difference.is_nan() { 0.0 } else { difference };
                    sum += *slope * *slope;
                    n += usize::from(!difference.is_nan());
                }
                (f64::from(sum), n)
            })
            .collect();
        let (sum, n_samples) = rows.iter().fold((0.0, 0), |(sum, n), row| (sum + row.0, n + row.1));
        let per_sample = 1.0 / (self.variance * n_samples.max(1) as f64);
        self.per_sample = 2.0 * per_sample as f32;
        slopes.par_chunks_mut(1 << 16).for_each(|slopes| {
            for slope in slopes {
                *slope *= self.per_sample;
            }
        });
        Value { value: sum * per_sample, n_samples }
    }

    fn curvatures(&self, samples: &[Sample], _slopes: &[f32], curvatures: &mut [f32]) {
        let voxels = std::iter::zip(self.fixed, samples);
        for (curvature, (fixed, sample)) in std::iter::zip(curvatures, voxels) {
            *curvature = if (sample[3] - fixed).is_nan() { 0.0 } else { self.per_sample };
        }
    }
}
