//! The log intensities that N4 looks at: one voxel of each block.

use rayon::prelude::*;
use synthct_image::{Mask, Volume};

use super::lattice::{Approximation, AxisWeights, Lattice};
use super::sharpen::{Bins, Sharpening};

/// Voxels of a volume on a coarser grid, and their log intensities.
#[derive(Debug)]
pub(super) struct Samples {
    /// Where samples lie along i, j, k: 0 is the first voxel of the volume, 1 the last.
    positions_ijk: [Vec<f64>; 3],
    planes: Vec<Plane>,
}

/// Samples of one k, `[j, i]`.
#[derive(Debug)]
struct Plane {
    /// The logarithm of the intensity; 0 where the weight is 0.
    log_input: Vec<f32>,
    /// The same less the log bias found so far.
    log_uncorrected: Vec<f32>,
    /// How much the sample counts in the fit; 0 outside.
    weights: Vec<f32>,
}

/// The voxel in the middle of each block of `factor` voxels along an axis of `n`; the last block may be shorter.
fn middle_voxels(n: usize, factor: usize) -> Vec<usize> {
    (0..n).step_by(factor).map(|start| start + factor.min(n - start) / 2).collect()
}

/// Where a voxel lies along an axis of `n` voxels: 0 at the first, 1 at the last.
pub(super) fn position(voxel: usize, n: usize) -> f64 {
    voxel as f64 / (n - 1).max(1) as f64
}

impl Samples {
    /// Samples with positive intensity and weight, inside the mask; all other voxels have weight 0.
    pub(super) fn new(
        mr: &Volume<f32>,
        mask: &Mask,
        weights: Option<&Volume<f32>>,
        shrink_factors_ijk: [usize; 3],
    ) -> Self {
        let size_ijk = mr.grid().size_ijk();
        let [ni, nj, _] = size_ijk;
        let voxels_ijk = [0, 1, 2].map(|axis| middle_voxels(size_ijk[axis], shrink_factors_ijk[axis]));
        let positions_ijk = [0, 1, 2]
            .map(|axis| voxels_ijk[axis].iter().map(|&voxel| position(voxel, size_ijk[axis])).collect());
        let [voxels_i, voxels_j, voxels_k] = &voxels_ijk;
        let of_voxel = |at: usize| {
            let (value, weight) = (mr.as_slice()[at], weights.map_or(1.0, |weights| weights.as_slice()[at]));
            let is_used = mask.as_slice()[at] && value > 0.0 && value.is_finite() && weight > 0.0;
            if is_used { (f64::from(value).ln() as f32, weight) } else { (0.0, 0.0) }
        };
        let plane_of = |&k: &usize| {
            let rows = voxels_j.iter().map(|j| (k * nj + j) * ni);
            let (log_input, weights): (Vec<f32>, Vec<f32>) =
                rows.flat_map(|row| voxels_i.iter().map(move |i| of_voxel(row + i))).unzip();
            Plane { log_uncorrected: log_input.clone(), log_input, weights }
        };
        Self { positions_ijk, planes: voxels_k.par_iter().map(plane_of).collect() }
    }

    /// The number of samples that count.
    pub(super) fn count(&self) -> usize {
        self.planes.iter().map(|plane| plane.weights.iter().filter(|&&weight| weight > 0.0).count()).sum()
    }

    /// The weights of a lattice's control points at the samples.
    pub(super) fn axes(&self, size_ijk: [usize; 3]) -> [AxisWeights; 3] {
        [0, 1, 2].map(|axis| AxisWeights::new(&self.positions_ijk[axis], size_ijk[axis]))
    }

    /// What approximates values at the samples by a lattice.
    pub(super) fn approximation(&self, axes: &[AxisWeights; 3]) -> Approximation {
        let weights: Vec<&[f32]> = self.planes.iter().map(|plane| plane.weights.as_slice()).collect();
        Approximation::new(axes, &weights)
    }

    /// The histogram of the uncorrected log intensities.
    pub(super) fn histogram(&self, bins: &Bins) -> Vec<f64> {
        let parts: Vec<Vec<f64>> = self
            .planes
            .par_iter()
            .map(|plane| bins.histogram(plane.counted().map(|(value, _)| value)))
            .collect();
        let mut sum = bins.histogram(std::iter::empty());
        for part in parts {
            for (sum, count) in std::iter::zip(&mut sum, part) {
                *sum += count;
            }
        }
        sum
    }

    /// The lattice nearest to what the sharpened histogram takes for bias.
    pub(super) fn fit(&self, approximation: &Approximation, sharpening: &Sharpening) -> Lattice {
        approximation.fit(|k, j, row| {
            let Plane { log_uncorrected, weights, .. } = &self.planes[k];
            let range = j * row.len()..(j + 1) * row.len();
            for ((out, &value), &weight) in
                row.iter_mut().zip(&log_uncorrected[range.clone()]).zip(&weights[range])
            {
                *out = if weight > 0.0 { weight * (value - sharpening.expected(value)) } else { 0.0 };
            }
        })
    }

    /// Sets the uncorrected log intensities to the input's less a log bias.
    pub(super) fn correct(&mut self, axes: &[AxisWeights; 3], log_field: &Lattice) -> Change {
        self.change(axes, log_field, |plane| &plane.log_input)
    }

    /// Takes a further log bias off the uncorrected log intensities.
    pub(super) fn subtract(&mut self, axes: &[AxisWeights; 3], step: &Lattice) -> Change {
        self.change(axes, step, |plane| &plane.log_uncorrected)
    }

    fn change(
        &mut self,
        axes: &[AxisWeights; 3],
        log_bias: &Lattice,
        from: impl Fn(&Plane) -> &Vec<f32> + Sync,
    ) -> Change {
        let parts: Vec<Change> = self
            .planes
            .par_iter_mut()
            .enumerate()
            .map(|(k, plane)| {
                let mut values = Vec::with_capacity(plane.weights.len());
                let mut change = Change::NONE;
                log_bias.rows_at_k(axes, k, |j, row| {
                    let range = j * row.len()..(j + 1) * row.len();
                    let before = from(plane)[range.clone()].iter().zip(&plane.weights[range]);
                    values.extend(before.zip(row).map(|((before, &weight), bias)| {
                        let value = before - bias;
                        if weight > 0.0 {
                            change.add(value, *bias);
                        }
                        value
                    }));
                });
                plane.log_uncorrected = values;
                change
            })
            .collect();
        parts.into_iter().fold(Change::NONE, Change::and)
    }
}

impl Plane {
    /// Uncorrected log intensities and weights of the samples that count.
    fn counted(&self) -> impl Iterator<Item = (f32, f32)> {
        let samples = std::iter::zip(&self.log_uncorrected, &self.weights);
        samples.filter(|(_, weight)| **weight > 0.0).map(|(&value, &weight)| (value, weight))
    }
}

/// How samples have changed, and the range in which they are now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    n: usize,
    /// Σ (exp(−change of the log bias) − 1), and of its square.
    sum: f64,
    squares: f64,
    pub(super) min: f32,
    pub(super) max: f32,
}

impl Change {
    const NONE: Self = Self { n: 0, sum: 0.0, squares: 0.0, min: f32::INFINITY, max: f32::NEG_INFINITY };

    fn add(&mut self, value: f32, bias: f32) {
        let ratio_less_one = f64::from((-bias).exp_m1());
        self.n += 1;
        self.sum += ratio_less_one;
        self.squares += ratio_less_one * ratio_less_one;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    fn and(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// The standard deviation of the ratio of the old field to the new over its mean.
    pub(super) fn convergence(&self) -> f64 {
        let n = self.n as f64;
        let mean = self.sum / n;
        ((self.squares - mean * self.sum) / (n - 1.0)).max(0.0).sqrt() / (1.0 + mean)
    }
}
