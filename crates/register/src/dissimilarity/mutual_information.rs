//! Balanced mutual information of all voxels.

use rayon::prelude::*;

use super::{Dissimilarity, SLICES_TOGETHER, Sample, Value};
use crate::histogram::{BALANCED, Binning, JointHistogram, PartialHistogram, slope_at};

/// Minus the balanced information ½ H(m) − H(m | f) of all voxels, in nats, from a joint histogram with a Parzen window over
/// moving values.
///
/// Whole mutual information goes on growing as the field draws more of the moving image's richer parts into view: on a
/// head with known deformation its error rose from 0.9 to 1.3 mm as the optimum was approached; this one's did not.
///
/// # References
/// Mattes et al. (2003), doi:10.1109/TMI.2003.809072, on all voxels instead of samples.
pub(crate) struct MutualInformation {
    /// For each fixed voxel, the start of its bin's row of the histogram; the row beyond the last outside the mask.
    row_starts: Vec<u32>,
    /// Voxels of the slices that one thread takes.
    together: usize,
    n_bins: usize,
    moving: Binning,
    n_samples: usize,
}

impl MutualInformation {
    /// For slices of `slice_len` fixed voxels, and `n_bins` bins over each window (fixed, moving).
    pub(crate) fn new(
        fixed: &[f32],
        slice_len: usize,
        [fixed_window, moving_window]: [[f32; 2]; 2],
        n_bins: usize,
    ) -> Self {
        let binning = Binning::new(fixed_window, n_bins);
        let row_starts = fixed
            .par_iter()
            .map(|&value| if value.is_nan() { n_bins * n_bins } else { binning.bin(value) * n_bins } as u32)
            .collect();
        Self {
            row_starts,
            together: SLICES_TOGETHER * slice_len,
            n_bins,
            moving: Binning::new(moving_window, n_bins),
            n_samples: 0,
        }
    }

    /// The joint histogram of the fixed image and these samples.
    pub(crate) fn histogram(&self, samples: &[Sample]) -> JointHistogram {
        let parts: Vec<PartialHistogram> = self
            .row_starts
            .par_chunks(self.together)
            .zip(samples.par_chunks(self.together))
            .map(|(row_starts, samples)| {
                let mut part = PartialHistogram::new(self.n_bins, self.n_bins);
                for (&row_start, sample) in std::iter::zip(row_starts, samples) {
                    if !sample[3].is_nan() {
                        part.add(row_start as usize, self.moving.position(sample[3]));
                    }
                }
                part
            })
            .collect();
        JointHistogram::from_parts(self.n_bins, self.n_bins, &parts)
    }
}

impl Dissimilarity for MutualInformation {
    fn evaluate(&mut self, samples: &[Sample], slopes: &mut [f32]) -> Value {
        let histogram = self.histogram(samples);
        self.n_samples = histogram.total().round() as usize;
        let ratios = histogram.log_ratios(BALANCED);
        let per_sample = -self.moving.per_unit_moving() / histogram.total().max(1.0) as f32;
        slopes
            .par_chunks_mut(self.together)
            .zip(self.row_starts.par_chunks(self.together))
            .zip(samples.par_chunks(self.together))
            .for_each(|((slopes, row_starts), samples)| {
                for ((slope, &row_start), sample) in slopes.iter_mut().zip(row_starts).zip(samples) {
                    *slope = if sample[3].is_nan() {
                        0.0
                    } else {
                        per_sample * slope_at(&ratios, row_start as usize, self.moving.position(sample[3]))
                    };
                }
            });
        Value { value: -histogram.weighted_information(BALANCED), n_samples: self.n_samples }
    }

    /// The Fisher information of the likelihood that the histogram is: −Σ ln p(f, m)/p(m) / samples has second
    /// derivatives whose mean is that of the squared first ones.
    fn curvatures(&self, _samples: &[Sample], slopes: &[f32], curvatures: &mut [f32]) {
        for (curvature, slope) in std::iter::zip(curvatures, slopes) {
            *curvature = self.n_samples as f32 * slope * slope;
        }
    }
}
