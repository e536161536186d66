//! Regression of HU on the intensity of a voxel.

use serde::{Deserialize, Serialize};

use super::{Sample, quantile_bins};

/// A curve of HU over normalized MR intensity of the first channel.
///
/// Definition: voxels inside the training bodies are sorted by intensity and cut into bins of about equal numbers; each
/// bin gives a knot at its median intensity and its median HU; HU are interpolated linearly between knots and constant
/// beyond the first and last.
/// The conditional median minimizes the mean absolute error among all functions of the voxel's intensity, up to the bins'
/// width, so this is the best that can be done without looking at neighbors.
/// Further channels are not looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoxelRegression {
    /// The knots' normalized intensities, strictly ascending.
    mr: Vec<f32>,
    /// The knots' HU.
    hu: Vec<f32>,
}

impl VoxelRegression {
    /// The curve through sorted samples, of which there is at least one.
    pub(crate) fn fit(samples: &[Sample], n_bins: usize) -> Self {
        let (mr, hu) = quantile_bins(samples, n_bins)
            .into_iter()
            .map(|bin| {
                let mut hu: Vec<f32> = bin.iter().map(|sample| sample.hu).collect();
                let middle = hu.len() / 2;
                let (_, median, _) = hu.select_nth_unstable_by(middle, f32::total_cmp);
                (bin[bin.len() / 2].mr, *median)
            })
            .unzip();
        Self { mr, hu }
    }

    /// HU at a normalized intensity.
    pub fn hu_at(&self, mr: f32) -> f32 {
        let above = self.mr.partition_point(|&knot| knot <= mr);
        match (above.checked_sub(1), self.mr.get(above)) {
            (Some(below), Some(&mr_above)) => {
                let share = (mr - self.mr[below]) / (mr_above - self.mr[below]);
                self.hu[below] + share * (self.hu[above] - self.hu[below])
            }
            (None, _) => self.hu[0],
            (Some(last), None) => self.hu[last],
        }
    }

    /// What is wrong with the knots, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let ascending = self.mr.windows(2).all(|pair| pair[0] < pair[1]);
        let finite = self.mr.iter().chain(&self.hu).all(|value| value.is_finite());
        if self.mr.is_empty() || self.mr.len() != self.hu.len() || !ascending || !finite {
            return Err("the regression's knots are not finite, paired and ascending".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_recovered_and_outliers_do_not_pull() {
        // HU = 10 mr, and one voxel in ten is far off.
        let samples: Vec<_> = (0..10_000_u16)
            .map(|n| Sample {
                mr: f32::from(n / 10),
                hu: if n % 10 == 0 { 3000.0 } else { f32::from(n / 10) * 10.0 },
            })
            .collect();
        let model = VoxelRegression::fit(&samples, 100);
        assert!(model.check().is_ok());
        // A bin spans 100 HU; one value in ten on one side moves its median by less than a tenth of that, and by another
        // tenth through the knot's place. The mean would be off by up to 900 HU.
        for mr in [5.0, 123.25, 500.0, 990.0] {
            assert!((model.hu_at(mr) - 10.0 * mr).abs() < 20.0, "at {mr}: {}", model.hu_at(mr));
        }
        let ends = (model.hu_at(-50.0), model.hu_at(5000.0));
        assert!((ends.0 - 50.0).abs() < 10.0 && (ends.1 - 9950.0).abs() < 20.0, "{ends:?}");
    }

    #[test]
    fn values_at_knots_and_between_are_exact() {
        let model = VoxelRegression { mr: vec![-1.0, 0.0, 2.0], hu: vec![100.0, 0.0, 40.0] };
        let at = [-2.0, -1.0, -0.5, 0.0, 1.0, 2.0, 3.0].map(|mr| model.hu_at(mr));
        assert_eq!(at.map(|hu| hu.round() as i32), [100, 100, 50, 0, 20, 40, 40]);
    }
}
