//! What one stage minimises: a metric at one level, and the bending energy.

use synthct_image::{Grid, ImageError};

use super::bending::BendingEnergy;
use super::config::{BSplineConfig, BSplineStage, SimilarityMetric};
use super::lattice::{LatticeOnImage, free_controls, freeze};
use super::preconditioner::Preconditioner;
use super::warp::ImagePair;
use crate::dissimilarity::{Dissimilarity, LocalCorrelation, MeanSquares, MutualInformation, Sample};

/// Samples of a joint histogram for each of its bins, at least.
const SAMPLES_PER_BIN: f64 = 40.0;
/// The fewest bins along an axis: the Parzen window takes four.
const FEWEST_BINS: usize = 8;

/// Metric + weight · bending energy, as a function of the coefficients: x, y, z of each control point in turn, in mm.
pub(super) struct Objective<'a> {
    pair: &'a ImagePair,
    view: LatticeOnImage,
    metric: Box<dyn Dissimilarity + 'a>,
    bending: BendingEnergy,
    bending_weight: f64,
    is_free: Vec<bool>,
    samples: Vec<Sample>,
    slopes: Vec<f32>,
}

impl<'a> Objective<'a> {
    /// The objective of a stage; `windows` are those of fixed and moving values.
    pub(super) fn new(
        pair: &'a ImagePair,
        lattice: &Grid,
        config: &BSplineConfig,
        stage: &BSplineStage,
        windows: [[f32; 2]; 2],
    ) -> Result<Self, ImageError> {
        let grid = pair.fixed_grid();
        let [ni, nj, _] = grid.size_ijk();
        let fixed = pair.fixed();
        let metric: Box<dyn Dissimilarity> = match config.metric {
            SimilarityMetric::MutualInformation => {
                let n_bins = bins_for(pair.n_inside(), config.n_bins);
                Box::new(MutualInformation::new(fixed, ni * nj, windows, n_bins))
            }
            SimilarityMetric::MeanSquares => Box::new(MeanSquares::new(fixed, ni)),
            SimilarityMetric::LocalCrossCorrelation => {
                Box::new(LocalCorrelation::new(fixed, grid.size_ijk(), [config.correlation_radius_voxels; 3]))
            }
        };
        let image_mm3 = grid.voxel_volume_mm3() * grid.n_voxels() as f64;
        Ok(Self {
            pair,
            view: LatticeOnImage::new(lattice, grid)?,
            metric,
            bending: BendingEnergy::new(lattice, image_mm3),
            bending_weight: stage.bending_weight,
            is_free: free_controls(lattice),
            samples: vec![[0.0; 4]; grid.n_voxels()],
            slopes: vec![0.0; grid.n_voxels()],
        })
    }

    /// Changes the weight of the bending energy.
    pub(super) fn set_bending_weight(&mut self, weight: f64) {
        self.bending_weight = weight;
    }

    /// The metric's value alone, and the fixed voxels that the moving image covers.
    pub(super) fn metric_value(&mut self, coefficients: &[f64]) -> (f64, usize) {
        self.pair.sample_all(&self.view, coefficients, &mut self.samples);
        let value = self.metric.evaluate(&self.samples, &mut self.slopes);
        (value.value, value.n_samples)
    }

    /// The value and its gradient.
    pub(super) fn value_and_gradient(&mut self, coefficients: &[f64]) -> (f64, Vec<f64>) {
        let (value, _) = self.metric_value(coefficients);
        let mut gradient = self.pair.gradient(&self.view, &self.samples, &self.slopes);
        let (energy, slopes) = self.bending.energy_and_gradient(coefficients);
        for (sum, slope) in std::iter::zip(&mut gradient, slopes) {
            *sum += self.bending_weight * slope;
        }
        freeze(&mut gradient, &self.is_free);
        (value + self.bending_weight * energy, gradient)
    }

    /// About the inverse of the second derivatives at the coefficients of the last evaluation.
    pub(super) fn preconditioner(&self) -> Preconditioner {
        let mut curvatures = vec![0.0; self.slopes.len()];
        self.metric.curvatures(&self.samples, &self.slopes, &mut curvatures);
        Preconditioner::new(
            self.pair.stiffness(&self.view, &self.samples, &curvatures),
            self.bending.clone(),
            self.bending_weight,
            self.is_free.clone(),
        )
    }

    /// Whether the metric does not change with any moving value, from the last evaluation.
    pub(super) fn is_flat(&self) -> bool {
        std::iter::zip(&self.slopes, &self.samples)
            .all(|(slope, sample)| sample[..3].iter().all(|component| slope * component == 0.0))
    }

    /// The moving image's samples of the last evaluation.
    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The fixed voxels that count.
    pub(super) fn n_inside(&self) -> usize {
        self.pair.n_inside()
    }
}

/// The bins along each axis of a joint histogram of `n_samples`: at most `wanted`, and so few that a bin holds
/// [`SAMPLES_PER_BIN`] on average. With fewer, information grows most by moving single voxels into bins of their own.
fn bins_for(n_samples: usize, wanted: usize) -> usize {
    let affordable = (n_samples as f64 / SAMPLES_PER_BIN).sqrt() as usize;
    affordable.clamp(FEWEST_BINS, wanted.max(FEWEST_BINS))
}

#[cfg(test)]
mod tests {
    use synthct_image::{AffineTransform, Mask, Matrix3, PointLps, VectorLps, Volume, VoxelIndex};

    use super::super::lattice::lattice_over;
    use super::*;

    /// A pair of smooth images on different, oblique grids, with a mask and an affine start. The moving image covers the
    /// fixed one: a metric jumps where a voxel leaves it.
    fn pair() -> Result<ImagePair, ImageError> {
        let texture = |p: PointLps| {
            100.0 * (p.x / 9.0).sin() * (p.y / 7.0).cos() + 60.0 * (p.z / 8.0 + p.x / 15.0).sin()
        };
        let (s, c) = 20_f64.to_radians().sin_cos();
        let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        let grid = Grid::new([20, 18, 16], [2.0, 2.2, 2.5], PointLps::new(-15.0, -22.0, -20.0), direction)?;
        let fixed = Volume::from_point_fn(&grid, |p| texture(p) as f32);
        let grid = Grid::axis_aligned([34, 34, 26], [2.1, 1.9, 2.4], PointLps::new(-34.0, -30.0, -30.0))?;
        let moving = Volume::from_point_fn(&grid, |p| {
            let value = texture(p + VectorLps::new(0.7, -0.4, 0.5));
            (0.8 * value + 0.001 * value * value) as f32
        });
        let mask = Mask::new(Volume::from_index_fn(fixed.grid(), |VoxelIndex { i, j, k }| i + j + k > 8));
        let start = AffineTransform::rotation_about(PointLps::ORIGIN, VectorLps::new(0.2, 1.0, 0.3), 0.05)?;
        Ok(ImagePair::new(fixed, Some(&mask), moving, &start))
    }

    /// Compares the gradient with finite differences along directions.
    #[track_caller]
    fn check(metric: SimilarityMetric, bending_weight: f64) -> Result<(), ImageError> {
        let pair = pair()?;
        let lattice = lattice_over(pair.fixed_grid(), 14.0)?;
        let config = BSplineConfig { metric, n_bins: 24, ..BSplineConfig::mono() };
        let stage = BSplineStage { bending_weight, ..config.stages[0] };
        let mut objective = Objective::new(&pair, &lattice, &config, &stage, [[-170.0, 170.0]; 2])?;
        let wave = |n: usize, step: usize| (0.37 * (n * n % 997) as f64 + step as f64).sin();
        let mut coefficients: Vec<f64> = (0..3 * lattice.n_voxels()).map(|n| 0.3 * wave(n, 0)).collect();
        freeze(&mut coefficients, &free_controls(&lattice));
        let (_, gradient) = objective.value_and_gradient(&coefficients);
        // Directions that are smooth, so that differences of the whole sum stand out of 32-bit rounding, and one single
        // control point in the middle.
        for turn in 0..4 {
            let mut direction: Vec<f64> = (0..3 * lattice.n_voxels())
                .map(|n| if turn < 3 { f64::from(u8::from(n % 3 == turn)) } else { 0.0 })
                .collect();
            if turn == 3 {
                direction[3 * (lattice.n_voxels() / 2) + 1] = 3.0;
            }
            freeze(&mut direction, &free_controls(&lattice));
            let step = 2e-3;
            let mut at = |by: f64| {
                let moved: Vec<f64> =
                    std::iter::zip(&coefficients, &direction).map(|(c, d)| c + by * d).collect();
                objective.value_and_gradient(&moved).0
            };
            let expected = (at(step) - at(-step)) / (2.0 * step);
            let got: f64 = std::iter::zip(&gradient, &direction).map(|(g, d)| g * d).sum();
            assert!(
                (got - expected).abs() < 0.02 * expected.abs() + 2e-5,
                "{metric:?}, direction {turn}: {got}, expected {expected}"
            );
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_finite_differences() -> Result<(), ImageError> {
        check(SimilarityMetric::MeanSquares, 0.0)?;
        check(SimilarityMetric::MutualInformation, 0.0)?;
        check(SimilarityMetric::LocalCrossCorrelation, 0.0)?;
        check(SimilarityMetric::MeanSquares, 50.0)
    }
}
