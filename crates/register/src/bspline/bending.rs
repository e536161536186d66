//! The bending energy of a B-spline displacement, in closed form.

use synthct_image::Grid;

/// ∫ Σ_c (∂²u_c/∂x∂x)² + … + 2 (∂²u_c/∂x∂y)² + … over the reach of a lattice's splines, divided by a given volume: for
/// the volume of the image, the image's mean plus what the margin adds. The unit is mm⁻².
///
/// The integral of products of derivatives of two splines is a product of one integral per axis, so that energy and
/// gradient are products with banded matrices along the axes of the lattice.
///
/// # References
/// Rueckert et al. (1999), doi:10.1109/42.796284, eq. 7; elastix's `TransformBendingEnergyPenalty` is the same integrand.
#[derive(Clone)]
pub(super) struct BendingEnergy {
    size: [usize; 3],
    /// For each axis, the bands for derivatives of order 0, 1 and 2, and the scale of both splines' derivatives in it.
    bands: [[Bands; 3]; 3],
    scale: f64,
}

/// A symmetric matrix whose row n holds columns n − 3 to n + 3.
type Bands = Vec<[f64; 7]>;

impl BendingEnergy {
    /// The energy for coefficients on `lattice`, as a mean over `volume_mm3`.
    pub(super) fn new(lattice: &Grid, volume_mm3: f64) -> Self {
        let (size, spacing) = (lattice.size_ijk(), lattice.spacing_mm());
        let bands = [0, 1, 2].map(|axis| {
            [0, 1, 2].map(|order: usize| {
                let per_mm = spacing[axis].powi(-2 * order as i32);
                bands(size[axis], order).into_iter().map(|row| row.map(|entry| entry * per_mm)).collect()
            })
        });
        Self { size, bands, scale: lattice.voxel_volume_mm3() / volume_mm3 }
    }

    /// The energy of coefficients (x, y, z of each control point in turn), and its gradient.
    pub(super) fn energy_and_gradient(&self, coefficients: &[f64]) -> (f64, Vec<f64>) {
        let gradient = self.gradient(coefficients);
        let energy = 0.5 * std::iter::zip(&gradient, coefficients).map(|(g, c)| g * c).sum::<f64>();
        (energy, gradient)
    }

    /// The gradient of the energy, which is linear in the coefficients: the product with its second derivatives.
    pub(super) fn gradient(&self, coefficients: &[f64]) -> Vec<f64> {
        let along = |axis: usize, order: usize, values: &[f64]| self.product(axis, order, values);
        let sum = |terms: &[(f64, &[f64])]| {
            let mut sums = vec![0.0; coefficients.len()];
            for (weight, term) in terms {
                for (sum, value) in std::iter::zip(&mut sums, *term) {
                    *sum += weight * value;
                }
            }
            sums
        };
        let [i0, i1, i2] = [0, 1, 2].map(|order| along(0, order, coefficients));
        // Orders of derivative along i, then j; what shares its order along k is added before.
        let (i0j0, i0j1, i0j2) = (along(1, 0, &i0), along(1, 1, &i0), along(1, 2, &i0));
        let (i1j0, i1j1, i2j0) = (along(1, 0, &i1), along(1, 1, &i1), along(1, 0, &i2));
        let k0 = along(2, 0, &sum(&[(1.0, &i2j0), (1.0, &i0j2), (2.0, &i1j1)]));
        let k1 = along(2, 1, &sum(&[(2.0, &i1j0), (2.0, &i0j1)]));
        let k2 = along(2, 2, &i0j0);
        sum(&[(2.0 * self.scale, &k0), (2.0 * self.scale, &k1), (2.0 * self.scale, &k2)])
    }

    /// The diagonal of the second derivatives, one number for each control point: it is the same for x, y and z.
    pub(super) fn diagonal(&self) -> Vec<f64> {
        let [ni, nj, nk] = self.size;
        let mut diagonal = Vec::with_capacity(ni * nj * nk);
        for k in 0..nk {
            for j in 0..nj {
                for i in 0..ni {
                    let at = |order_i: usize, order_j: usize, order_k: usize| {
                        self.bands[0][order_i][i][3]
                            * self.bands[1][order_j][j][3]
                            * self.bands[2][order_k][k][3]
                    };
                    let pure = at(2, 0, 0) + at(0, 2, 0) + at(0, 0, 2);
                    let mixed = at(1, 1, 0) + at(1, 0, 1) + at(0, 1, 1);
                    diagonal.push(2.0 * self.scale * (pure + 2.0 * mixed));
                }
            }
        }
        diagonal
    }

    /// The banded matrix of one axis and order, applied to all lines along that axis.
    fn product(&self, axis: usize, order: usize, values: &[f64]) -> Vec<f64> {
        let n = self.size[axis];
        // Runs of numbers that belong to one control point of the axis.
        let run: usize = 3 * self.size[..axis].iter().product::<usize>();
        let mut result = vec![0.0; values.len()];
        for (out, block) in std::iter::zip(result.chunks_exact_mut(n * run), values.chunks_exact(n * run)) {
            for (row, out) in out.chunks_exact_mut(run).enumerate() {
                let bands = &self.bands[axis][order][row];
                for column in row.saturating_sub(3)..(row + 4).min(n) {
                    let weight = bands[column + 3 - row];
                    for (sum, value) in std::iter::zip(&mut *out, &block[column * run..][..run]) {
                        *sum += weight * value;
                    }
                }
            }
        }
        result
    }
}

/// ∫ B⁽ᵒ⁾(x − a) B⁽ᵒ⁾(x − b) dx from control point 1 to n − 2, for control points a and b at most three apart.
fn bands(n: usize, order: usize) -> Bands {
    // On a span, splines are polynomials in t: coefficients of 1, t, t², t³ of the four that reach it, times 6.
    const SPLINES: [[f64; 4]; 4] =
        [[1.0, -3.0, 3.0, -1.0], [4.0, 0.0, -6.0, 3.0], [1.0, 3.0, 3.0, -3.0], [0.0, 0.0, 0.0, 1.0]];
    let derived = SPLINES.map(|mut polynomial| {
        for _ in 0..order {
            polynomial = [polynomial[1], 2.0 * polynomial[2], 3.0 * polynomial[3], 0.0];
        }
        polynomial
    });
    let integral = |a: usize, b: usize| {
        let mut sum = 0.0;
        for (p, left) in derived[a].iter().enumerate() {
            for (q, right) in derived[b].iter().enumerate() {
                sum += left * right / (36.0 * (p + q + 1) as f64);
            }
        }
        sum
    };
    let mut rows = vec![[0.0; 7]; n];
    for span in 0..n - 3 {
        for a in 0..4 {
            for b in 0..4 {
                rows[span + a][3 + b - a] += integral(a, b);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{BSplineTransform, ContinuousIndex, ImageError, PointLps, Volume, VoxelIndex};

    /// A lattice of three different spacings, and coefficients without any pattern.
    fn sample() -> Result<(Grid, Vec<f64>), ImageError> {
        let lattice = Grid::axis_aligned([6, 5, 7], [11.0, 9.0, 13.0], PointLps::ORIGIN)?;
        let coefficients = (0..3 * lattice.n_voxels()).map(|n| (1.7 * (n * n % 101) as f64).sin()).collect();
        Ok((lattice, coefficients))
    }

    #[test]
    fn the_energy_is_the_integral_of_squared_second_derivatives() -> Result<(), ImageError> {
        let (lattice, coefficients) = sample()?;
        let (vectors, _) = coefficients.as_chunks::<3>();
        let spline = BSplineTransform::new(Volume::from_vec(lattice.clone(), vectors.to_vec())?)?;
        // Midpoints of 12 parts of each span; second derivatives as central differences of the Jacobian.
        let parts = 12;
        let [ni, nj, nk] = lattice.size_ijk().map(|n| parts * (n - 3));
        let mut integral = 0.0;
        for n in 0..ni * nj * nk {
            let [i, j, k] =
                [n % ni, n / ni % nj, n / (ni * nj)].map(|at| 1.0 + (at as f64 + 0.5) / parts as f64);
            let point = lattice.lps_from_index(ContinuousIndex::new(i, j, k));
            for step in [[1e-4, 0.0, 0.0], [0.0, 1e-4, 0.0], [0.0, 0.0, 1e-4]] {
                let step = synthct_image::VectorLps::from(step);
                let (low, high) = (spline.jacobian_at(point + step * -1.0), spline.jacobian_at(point + step));
                for (low, high) in std::iter::zip(low.0.iter().flatten(), high.0.iter().flatten()) {
                    integral += ((high - low) / 2e-4).powi(2);
                }
            }
        }
        integral *= lattice.voxel_volume_mm3() / (parts * parts * parts) as f64;
        let (energy, _) = BendingEnergy::new(&lattice, 1000.0).energy_and_gradient(&coefficients);
        let expected = integral / 1000.0;
        assert!((energy - expected).abs() < 0.005 * expected, "{energy}, expected {expected}");
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences_and_the_diagonal_its_change() -> Result<(), ImageError> {
        let (lattice, coefficients) = sample()?;
        let bending = BendingEnergy::new(&lattice, 500.0);
        let (_, gradient) = bending.energy_and_gradient(&coefficients);
        let diagonal = bending.diagonal();
        for at in [0, 100, 317, 3 * lattice.n_voxels() - 1] {
            let shifted = |by: f64| {
                let mut coefficients = coefficients.clone();
                coefficients[at] += by;
                bending.energy_and_gradient(&coefficients)
            };
            let (low, high) = (shifted(-1e-3), shifted(1e-3));
            let expected = (high.0 - low.0) / 2e-3;
            assert!((gradient[at] - expected).abs() < 1e-8 + 1e-6 * expected.abs(), "{at}: {}", gradient[at]);
            let expected = (high.1[at] - low.1[at]) / 2e-3;
            assert!((diagonal[at / 3] - expected).abs() < 1e-6 * expected, "{at}: {}", diagonal[at / 3]);
        }
        Ok(())
    }

    #[test]
    fn an_affine_displacement_bends_nothing() -> Result<(), ImageError> {
        let (lattice, _) = sample()?;
        let linear = Volume::from_index_fn(&lattice, |VoxelIndex { i, j, k }| {
            [i as f64 - 2.0 * j as f64, 0.3 * k as f64 + 1.0, j as f64]
        });
        let (energy, _) =
            BendingEnergy::new(&lattice, 1.0).energy_and_gradient(linear.as_slice().as_flattened());
        assert!(energy.abs() < 1e-9, "{energy}");
        Ok(())
    }
}
