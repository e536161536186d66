//! Baselines that learn a curve or a threshold: what a network has to beat.

mod bulk_density;
mod dixon;
mod voxel_regression;

pub use bulk_density::{BulkDensity, BulkDensityTable};
pub use dixon::DixonBulkDensity;
pub use voxel_regression::VoxelRegression;

use rayon::prelude::*;

use crate::dataset::PreparedCase;

/// Normalized MR of the first channel and CT in HU of one voxel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) mr: f32,
    pub(crate) hu: f32,
}

/// All voxels inside the bodies, by ascending MR, then ascending CT.
pub(crate) fn sorted_samples(cases: &[PreparedCase]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for case in cases {
        let mr = case.channels[0].as_slice();
        let voxels = mr.iter().zip(case.ct.as_slice()).zip(case.body.as_slice());
        samples.extend(voxels.filter(|&(_, &inside)| inside).map(|((&mr, &hu), _)| Sample { mr, hu }));
    }
    // Equal under this order means equal bits, so the unstable sort has one result.
    samples.par_sort_unstable_by(|a, b| a.mr.total_cmp(&b.mr).then(a.hu.total_cmp(&b.hu)));
    samples
}

/// Cuts sorted samples into at most `n_bins` runs of about equal length; equal MR values stay together.
pub(crate) fn quantile_bins(samples: &[Sample], n_bins: usize) -> Vec<&[Sample]> {
    let mut bins = Vec::new();
    let mut start = 0;
    for bin in 1..=n_bins {
        let mut end = (samples.len() * bin / n_bins).max(start);
        while end > start && end < samples.len() && samples[end].mr <= samples[end - 1].mr {
            end += 1;
        }
        if end > start {
            bins.push(&samples[start..end]);
            start = end;
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_every_sample_once_and_do_not_split_ties() {
        let samples: Vec<_> =
            [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0].map(|mr| Sample { mr, hu: 0.0 }).to_vec();
        let lengths =
            |n_bins| quantile_bins(&samples, n_bins).iter().map(|bin| bin.len()).collect::<Vec<_>>();
        assert_eq!(lengths(2), [6, 4]);
        assert_eq!(lengths(5), [6, 2, 2]);
        assert_eq!(lengths(10), [1, 5, 1, 1, 2]);
        assert_eq!(lengths(1), [10]);
    }
}
