//! How unlike two images are, voxel by voxel, as far as an optimiser wants to know.

mod local_correlation;
mod mean_squares;
mod mutual_information;

pub(crate) use local_correlation::LocalCorrelation;
pub(crate) use mean_squares::MeanSquares;
pub(crate) use mutual_information::MutualInformation;

/// The moving image at a voxel of the fixed one: slope by the moving index (i, j, k), then the value.
/// The value is NaN outside the moving image, where slopes are zero.
pub(crate) type Sample = [f32; 4];

/// A metric's value, to be minimised, and the voxels that it saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) value: f64,
    pub(crate) n_samples: usize,
}

/// A metric between a fixed image, which it keeps, and the moving image's values at the fixed voxels.
///
/// Voxels whose fixed or moving value is NaN take no part; their slope and curvature are zero.
pub(crate) trait Dissimilarity {
    /// The value, and in `slopes` its derivative by the moving value at every voxel, the number of samples held fixed.
    fn evaluate(&mut self, samples: &[Sample], slopes: &mut [f32]) -> Value;

    /// About the second derivative by the moving value at every voxel, from the last evaluation's samples and slopes:
    /// never negative, and without what voxels do to each other.
    fn curvatures(&self, samples: &[Sample], slopes: &[f32], curvatures: &mut [f32]);
}

/// Slices of the fixed image whose sums one thread makes. Fixed, so that sums do not depend on the number of threads.
const SLICES_TOGETHER: usize = 8;

/// Mean and standard deviation of the values that are numbers; 0 and 1 if there is nothing to tell.
fn mean_and_deviation(values: impl Iterator<Item = f32> + Clone) -> [f32; 2] {
    let known = values.filter(|value| !value.is_nan()).map(f64::from);
    let (n, sum) = known.clone().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    let mean = sum / f64::max(n, 1.0);
    let squares: f64 = known.map(|value| (value - mean) * (value - mean)).sum();
    let deviation = (squares / f64::max(n, 1.0)).sqrt();
    if deviation > 0.0 { [mean as f32, deviation as f32] } else { [mean as f32, 1.0] }
}
