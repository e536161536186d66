//! Where a step should go that the gradient asks for: stiffness of images and bending, inverted.

use synthct_image::Matrix3;

use super::bending::BendingEnergy;

/// About the inverse of the second derivatives of metric + weight · bending.
///
/// The metric's part is a 3×3 block for each control point, as if neighbours moved alike; the bending energy's is exact.
/// Where images say nothing, the bending energy alone makes a step smooth; where they say much, it is Gauss-Newton's.
pub(super) struct Preconditioner {
    stiffness: Vec<Matrix3>,
    /// The inverses of the whole operator's diagonal blocks.
    block_inverses: Vec<Matrix3>,
    bending: BendingEnergy,
    bending_weight: f64,
    /// Whether each control point moves.
    is_free: Vec<bool>,
}

/// Conjugate gradients stop here: a rough step is good enough, as the optimiser corrects it.
const MAX_ITERATIONS: usize = 30;
const TOLERANCE: f64 = 0.02;

impl Preconditioner {
    pub(super) fn new(
        stiffness: Vec<Matrix3>,
        bending: BendingEnergy,
        bending_weight: f64,
        is_free: Vec<bool>,
    ) -> Self {
        let diagonal = bending.diagonal();
        let largest = stiffness
            .iter()
            .zip(&diagonal)
            .map(|(block, bending)| {
                block.0[0][0].max(block.0[1][1]).max(block.0[2][2]) + bending_weight * bending
            })
            .fold(f64::MIN_POSITIVE, f64::max);
        // So that a control point without any image and without bending has an inverse, too.
        let floor = 1e-6 * largest;
        let block_inverses = std::iter::zip(&stiffness, diagonal)
            .map(|(block, bending)| {
                let more = bending_weight * bending + floor;
                let block = Matrix3([0, 1, 2].map(|row| {
                    [0, 1, 2].map(|column| block.0[row][column] + if row == column { more } else { 0.0 })
                }));
                block.inverse().unwrap_or(Matrix3::diagonal([1.0 / more; 3]))
            })
            .collect();
        Self { stiffness, block_inverses, bending, bending_weight, is_free }
    }

    /// The step whose change of gradient is about `gradient`.
    pub(super) fn solve(&self, gradient: &[f64]) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| std::iter::zip(a, b).map(|(a, b)| a * b).sum::<f64>();
        let mut step = vec![0.0; gradient.len()];
        let mut residual = gradient.to_vec();
        let mut scaled = self.by_blocks(&self.block_inverses, &residual);
        let mut direction = scaled.clone();
        let mut size = dot(&residual, &scaled);
        let enough = TOLERANCE * TOLERANCE * size;
        for _ in 0..MAX_ITERATIONS {
            if size <= enough || size <= 0.0 {
                break;
            }
            let turned = self.product(&direction);
            let length = size / dot(&direction, &turned);
            for n in 0..step.len() {
                step[n] += length * direction[n];
                residual[n] -= length * turned[n];
            }
            scaled = self.by_blocks(&self.block_inverses, &residual);
            let before = std::mem::replace(&mut size, dot(&residual, &scaled));
            for (direction, scaled) in std::iter::zip(&mut direction, &scaled) {
                *direction = scaled + size / before * *direction;
            }
        }
        step
    }

    /// The product with the second derivatives.
    fn product(&self, step: &[f64]) -> Vec<f64> {
        let mut product = self.by_blocks(&self.stiffness, step);
        let bending = self.bending.gradient(step);
        for ((product, bending), is_free) in
            product.chunks_exact_mut(3).zip(bending.chunks_exact(3)).zip(&self.is_free)
        {
            for axis in 0..3 {
                product[axis] =
                    if *is_free { product[axis] + self.bending_weight * bending[axis] } else { 0.0 };
            }
        }
        product
    }

    fn by_blocks(&self, blocks: &[Matrix3], vectors: &[f64]) -> Vec<f64> {
        let (vectors, _) = vectors.as_chunks::<3>();
        blocks
            .iter()
            .zip(vectors)
            .zip(&self.is_free)
            .flat_map(|((block, vector), is_free)| if *is_free { block.apply(*vector) } else { [0.0; 3] })
            .collect()
    }
}
