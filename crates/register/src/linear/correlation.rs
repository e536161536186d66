//! The local correlation of an affine map, and its derivative.

use rayon::prelude::*;
use synthct_image::{Mask, Matrix3, PointLps, Volume};

use super::level::{Input, located};
use super::map::{CenteredMap, N_COORDINATES};
use super::metric::{AffineMetric, PAIRS_OF_4, Slope, Standing, by_lps, unfold};
use super::samples::{IndexMap, Region};
use crate::RegisterError;
use crate::dissimilarity::{Dissimilarity, LocalCorrelation, Sample};
use crate::pyramid::coarser;
use crate::sampler::Sampler;

/// The smoothing of both images, in voxels: without, voxel centres that fall on voxel centres correlate best, because no
/// interpolation takes noise away there.
const SMOOTHING_VOXELS: f64 = 0.7;

/// The squared correlation within boxes around all fixed voxels, under an affine map.
pub(crate) struct AffineCorrelation<'a> {
    fixed: Volume<f32>,
    moving: Volume<f32>,
    moving_mask: Option<&'a Mask>,
    /// The middle of the fixed voxels that count.
    center: PointLps,
    n_fixed: usize,
    moments: [[f64; 4]; 4],
    metric: LocalCorrelation,
    samples: Vec<Sample>,
    slopes: Vec<f32>,
}

impl<'a> AffineCorrelation<'a> {
    /// The images at about `spacing_mm`, compared in boxes that reach `radius_mm` along each axis; along an axis whose
    /// voxels are further apart than that, boxes are one voxel thick.
    pub(crate) fn new(
        fixed: Input<'_>,
        moving: Input<'a>,
        spacing_mm: f64,
        radius_mm: f64,
    ) -> Result<Self, RegisterError> {
        let at_level = |input: Input<'_>| coarser(input.volume, spacing_mm, input.window, SMOOTHING_VOXELS);
        let (fixed_level, moving_level) = rayon::join(|| at_level(fixed), || at_level(moving));
        let (mut fixed_level, moving_level) = (fixed_level?, moving_level?);
        if let Some(mask) = fixed.mask {
            let mask = mask.resampled(fixed_level.grid(), None)?;
            for (value, &is_inside) in std::iter::zip(fixed_level.as_mut_slice(), mask.as_slice()) {
                if !is_inside {
                    *value = f32::NAN;
                }
            }
        }
        let grid = fixed_level.grid();
        let radius_ijk = grid.spacing_mm().map(|spacing| (radius_mm / spacing).round() as usize);
        let metric = LocalCorrelation::new(fixed_level.as_slice(), grid.size_ijk(), radius_ijk);
        let counted = Mask::from_values(&fixed_level, |value| !value.is_nan());
        let center = counted.centroid_lps().unwrap_or_else(|| grid.center_lps());
        let n = grid.n_voxels();
        Ok(Self {
            moments: second_moments(&counted, center),
            n_fixed: counted.count(),
            center,
            metric,
            samples: vec![[0.0; 4]; n],
            slopes: vec![0.0; n],
            fixed: fixed_level,
            moving: moving_level,
            moving_mask: moving.mask,
        })
    }

    /// The middle of the fixed voxels, about which maps are written.
    pub(crate) const fn center(&self) -> PointLps {
        self.center
    }

    /// The number of fixed voxels that count.
    pub(crate) const fn n_fixed(&self) -> usize {
        self.n_fixed
    }

    /// The moving image at all mapped fixed voxels.
    fn sample(&mut self, map: &CenteredMap) {
        let (fixed, moving) = (self.fixed.grid(), self.moving.grid());
        let index_from_lps = moving.index_from_lps_matrix();
        let origin = map.image + map.matrix.apply((fixed.origin_lps() - map.center).to_array()).into();
        let start = index_from_lps.apply((origin - moving.origin_lps()).to_array());
        let index_from_index =
            IndexMap::new(index_from_lps * map.matrix * fixed.lps_from_index_matrix(), start);
        let [ni, nj, _] = fixed.size_ijk();
        let sampler = Sampler::new(self.moving.as_slice(), moving.size_ijk());
        let mask: Option<(Region<'_>, IndexMap)> = self.moving_mask.map(|mask| located(mask, &self.moving));
        let fixed_values = self.fixed.as_slice();
        self.samples.par_chunks_mut(ni).with_min_len(16).enumerate().for_each(|(row, samples)| {
            let (j, k) = (row % nj, row / nj);
            for (i, sample) in samples.iter_mut().enumerate() {
                *sample = [0.0, 0.0, 0.0, f32::NAN];
                if fixed_values[row * ni + i].is_nan() {
                    continue;
                }
                let index = index_from_index.apply([i, j, k].map(|n| n as f32));
                if mask.is_some_and(|(region, map)| !region.contains(map.apply(index))) {
                    continue;
                }
                if let Some((value, [i, j, k])) = sampler.value_and_slope(index) {
                    *sample = [i, j, k, value];
                }
            }
        });
    }

    /// Sums over one row of what each voxel's force, or product of slopes, gives: times 1, times i, and times i².
    fn row_sums<const N: usize>(&self, row: usize, of_voxel: impl Fn(usize) -> [f32; N]) -> [[f64; N]; 3] {
        let ni = self.fixed.grid().size_ijk()[0];
        let mut sums = [[0.0; N]; 3];
        for i in 0..ni {
            let force = of_voxel(row * ni + i);
            for (n, part) in force.into_iter().map(f64::from).enumerate() {
                let along = part * i as f64;
                sums[0][n] += part;
                sums[1][n] += along;
                sums[2][n] += along * i as f64;
            }
        }
        sums
    }

    /// Σ over the voxels of `of_voxel` times the products X Xᵀ of [`PAIRS_OF_4`], X = (1, x, y, z) about the centre.
    fn products<const N: usize>(&self, of_voxel: impl Fn(usize) -> [f32; N] + Sync) -> [[f64; 10]; N] {
        let grid = self.fixed.grid();
        let [_, nj, nk] = grid.size_ijk();
        let matrix = grid.lps_from_index_matrix();
        let first = grid.origin_lps() - self.center;
        let step = matrix.column(0);
        let step = [0.0, step[0], step[1], step[2]];
        let rows: Vec<[[f64; 10]; N]> = (0..nj * nk)
            .into_par_iter()
            .with_min_len(16)
            .map(|row| {
                let [sums, along, squares] = self.row_sums(row, &of_voxel);
                let offset = matrix.apply([0.0, (row % nj) as f64, (row / nj) as f64]);
                let start = first.to_array();
                let start = [1.0, start[0] + offset[0], start[1] + offset[1], start[2] + offset[2]];
                std::array::from_fn(|n| {
                    PAIRS_OF_4.map(|(a, b)| {
                        sums[n] * start[a] * start[b]
                            + along[n] * (start[a] * step[b] + step[a] * start[b])
                            + squares[n] * step[a] * step[b]
                    })
                })
            })
            .collect();
        total(&rows)
    }
}

impl AffineMetric for AffineCorrelation<'_> {
    type Evaluation = Standing;

    fn second_moments(&self) -> [[f64; 4]; 4] {
        self.moments
    }

    fn evaluate_with_slope(&mut self, map: &CenteredMap, with_curvature: bool) -> (Standing, Slope) {
        self.sample(map);
        let found = self.metric.evaluate(&self.samples, &mut self.slopes);
        let standing = Standing { value: -found.value, n_inside: found.n_samples };
        let to_lps: Matrix3 = self.moving.grid().index_from_lps_matrix().transposed();
        let forces = self.products(|voxel| {
            let [i, j, k, _] = self.samples[voxel];
            [i, j, k].map(|slope| -self.slopes[voxel] * slope)
        });
        let mut gradient = [0.0; N_COORDINATES];
        for (axis, products) in forces.iter().enumerate() {
            // The products with the constant, which come first, are the sums over X itself.
            gradient[4 * axis..][..4].copy_from_slice(&products[..4]);
        }
        let curvature = with_curvature.then(|| {
            let mut curvatures = vec![0.0; self.slopes.len()];
            self.metric.curvatures(&self.samples, &self.slopes, &mut curvatures);
            let products = self.products(|voxel| {
                let [i, j, k, _] = self.samples[voxel];
                [i * i, i * j, i * k, j * j, j * k, k * k].map(|product| curvatures[voxel] * product)
            });
            unfold(&products, &to_lps, 1.0)
        });
        (standing, Slope { gradient: by_lps(&to_lps, &gradient), curvature })
    }
}

/// E[X Xᵀ] over the voxels inside, X = (1, x, y, z) about `center`.
fn second_moments(inside: &Mask, center: PointLps) -> [[f64; 4]; 4] {
    let grid = inside.grid();
    let [ni, nj, _] = grid.size_ijk();
    let matrix = grid.lps_from_index_matrix();
    let first = (grid.origin_lps() - center).to_array();
    let rows: Vec<[[f64; 4]; 4]> = inside
        .as_slice()
        .par_chunks(ni)
        .enumerate()
        .map(|(row, values)| {
            let mut sums = [[0.0; 4]; 4];
            for i in values.iter().enumerate().filter_map(|(i, &inside)| inside.then_some(i)) {
                let step = matrix.apply([i as f64, (row % nj) as f64, (row / nj) as f64]);
                let x = [1.0, first[0] + step[0], first[1] + step[1], first[2] + step[2]];
                for (sums, a) in std::iter::zip(&mut sums, x) {
                    for (sum, b) in std::iter::zip(sums, x) {
                        *sum += a * b;
                    }
                }
            }
            sums
        })
        .collect();
    let n = inside.count().max(1) as f64;
    total(&rows).map(|row| row.map(|sum| sum / n))
}

/// The sum of matrices, in their order.
fn total<const M: usize, const N: usize>(parts: &[[[f64; M]; N]]) -> [[f64; M]; N] {
    let mut sums = [[0.0; M]; N];
    for part in parts {
        for (sums, part) in std::iter::zip(&mut sums, part) {
            for (sum, part) in std::iter::zip(sums, part) {
                *sum += part;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::config::LinearModel;
    use synthct_image::{AffineTransform, Grid, ImageError, VectorLps};

    /// Smooth texture on oblique grids, and the same with other contrast on a larger one.
    fn pair() -> Result<[Volume<f32>; 2], ImageError> {
        let texture = |p: PointLps| {
            100.0 * (p.x / 9.0).sin() * (p.y / 7.0).cos() + 60.0 * (p.z / 8.0 + p.x / 15.0).sin()
        };
        let (s, c) = 0.3_f64.sin_cos();
        let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        let grid = Grid::new([26, 24, 14], [2.0, 2.2, 4.5], PointLps::new(-25.0, -32.0, -28.0), direction)?;
        let fixed = Volume::from_point_fn(&grid, |p| texture(p) as f32);
        let grid = Grid::axis_aligned([54, 54, 46], [2.1, 1.9, 2.4], PointLps::new(-62.0, -52.0, -56.0))?;
        let moving = Volume::from_point_fn(&grid, |p| {
            let value = texture(p + VectorLps::new(0.7, -0.4, 0.5));
            (-0.8 * value + 0.001 * value * value) as f32
        });
        Ok([fixed, moving])
    }

    fn input<'a>(volume: &'a Volume<f32>, mask: Option<&'a Mask>) -> Input<'a> {
        Input { volume, mask, window: [-500.0, 500.0] }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() -> Result<(), Box<dyn std::error::Error>> {
        let [fixed, moving] = pair()?;
        let fixed_mask = Mask::new(Volume::from_point_fn(fixed.grid(), |p| p.x + p.y > -30.0));
        let moving_mask = Mask::new(Volume::from_point_fn(moving.grid(), |p| p.x < 60.0));
        for masks in [[None, None], [Some(&fixed_mask), Some(&moving_mask)]] {
            let mut correlation =
                AffineCorrelation::new(input(&fixed, masks[0]), input(&moving, masks[1]), 2.0, 4.0)?;
            let turn =
                AffineTransform::rotation_about(PointLps::ORIGIN, VectorLps::new(1.0, -1.0, 2.0), 0.04)?;
            let map = CenteredMap::new(&turn, correlation.center());
            let (here, slope) = correlation.evaluate_with_slope(&map, true);
            assert_eq!(here.n_inside, correlation.n_fixed(), "the moving image covers the fixed one");
            assert!((0.1..0.999).contains(&here.value), "{here:?}");
            for n in 0..N_COORDINATES {
                let size = if n % 4 == 0 { 0.02 } else { 0.001 };
                let mut value = |by: f64| {
                    let mut step = [0.0; N_COORDINATES];
                    step[n] = by;
                    correlation.evaluate_with_slope(&map.stepped(LinearModel::Affine, &step), false).0.value
                };
                let expected = (value(size) - value(-size)) / (2.0 * size);
                let got = slope.gradient[n];
                let tolerance = if n % 4 == 0 { 2e-4 } else { 4e-3 };
                assert!(
                    (got - expected).abs() < tolerance + 0.01 * expected.abs(),
                    "coordinate {n}: {got}, expected {expected}"
                );
            }
            let curvature = slope.curvature.unwrap_or_default();
            assert!((0..N_COORDINATES).all(|n| curvature[n][n] > 0.0), "{curvature:?}");
        }
        Ok(())
    }

    #[test]
    fn the_moments_are_those_of_the_voxels_that_count() -> Result<(), Box<dyn std::error::Error>> {
        let [fixed, moving] = pair()?;
        let mask = Mask::new(Volume::from_point_fn(fixed.grid(), |p| p.x + p.y > -30.0));
        let correlation = AffineCorrelation::new(input(&fixed, Some(&mask)), input(&moving, None), 1.0, 4.0)?;
        let points = Volume::from_point_fn(fixed.grid(), |p| p);
        let mut expected = [[0.0; 4]; 4];
        for (p, _) in std::iter::zip(points.as_slice(), mask.as_slice()).filter(|(_, inside)| **inside) {
            let d = *p - correlation.center();
            let x = [1.0, d.x, d.y, d.z];
            for (row, a) in std::iter::zip(&mut expected, x) {
                for (entry, b) in std::iter::zip(row, x) {
                    *entry += a * b / mask.count() as f64;
                }
            }
        }
        let got = correlation.second_moments();
        for (got, expected) in std::iter::zip(got.as_flattened(), expected.as_flattened()) {
            assert!((got - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{got}, expected {expected}");
        }
        Ok(())
    }
}
