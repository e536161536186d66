//! The information of an affine map, and its derivative.

use rayon::prelude::*;
use synthct_image::{Grid, Matrix3, Volume};

use super::map::{CenteredMap, N_COORDINATES};
use super::samples::{FixedSamples, IndexMap, Region};
use crate::histogram::{Binning, JointHistogram, PartialHistogram, slope_at};
use crate::sampler::Sampler;

/// Samples that one thread takes at once; it fixes the order of sums, and so the bits of the result.
const CHUNK: usize = 4096;
const LANES: usize = 8;

/// What is compared under an affine map, as far as an uphill walk wants to know.
pub(crate) trait AffineMetric {
    /// What an evaluation finds.
    type Evaluation: Clone + AsRef<Standing>;

    /// E[X Xᵀ], X = (1, x, y, z), over the points that are compared: how far a step of an affine map moves them.
    fn second_moments(&self) -> [[f64; 4]; 4];

    /// The metric of a map about the centre of the points, and its derivative.
    fn evaluate_with_slope(&mut self, map: &CenteredMap, with_curvature: bool) -> (Self::Evaluation, Slope);
}

/// Where a map stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// The metric; larger is better.
    pub(crate) value: f64,
    /// The points inside the moving image (and its mask).
    pub(crate) n_inside: usize,
}

impl AsRef<Self> for Standing {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// What an evaluation of the information found.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    /// The information, weighted as asked for, in nats, and the samples inside.
    pub(crate) standing: Standing,
    /// Mutual information, in nats.
    pub(crate) mutual: f64,
    /// Normalised mutual information.
    pub(crate) normalized: f64,
}

impl AsRef<Standing> for Evaluation {
    fn as_ref(&self) -> &Standing {
        &self.standing
    }
}

/// The derivative of a metric by the twelve coordinates of a map.
#[derive(Clone, Debug)]
pub(crate) struct Slope {
    pub(crate) gradient: [f64; N_COORDINATES],
    /// About the negative second derivative near the optimum, never negative itself, if it was asked for: of the
    /// information the mean outer product of the samples' own gradients, as with a likelihood; of the correlation
    /// Gauss-Newton's.
    pub(crate) curvature: Option<[[f64; N_COORDINATES]; N_COORDINATES]>,
}

/// What one chunk of samples keeps between the two passes of an evaluation.
struct Chunk {
    histogram: PartialHistogram,
    rows: Vec<u32>,
    positions: Vec<f32>,
    /// Derivatives of the position on the axis of bins by the index along i, j, k.
    slopes: [Vec<f32>; 3],
    n_inside: usize,
}

/// The information between fixed samples and a moving image under an affine map.
pub(crate) struct AffineInformation<'a> {
    samples: &'a FixedSamples,
    moving: Sampler<'a>,
    moving_grid: &'a Grid,
    mask: Option<(Region<'a>, IndexMap)>,
    binning: Binning,
    /// The weight of the moving image's own entropy; 1 is mutual information.
    moving_weight: f64,
    chunks: Vec<Chunk>,
}

impl<'a> AffineInformation<'a> {
    /// `binning` is the moving image's, with as many bins as the samples were sorted into; samples that fall outside `mask` (with its map from the moving indices) count
    /// as outside.
    pub(crate) fn new(
        samples: &'a FixedSamples,
        moving: &'a Volume<f32>,
        mask: Option<(Region<'a>, IndexMap)>,
        binning: Binning,
        moving_weight: f64,
    ) -> Self {
        let n_bins = binning.n_bins();
        let chunk = |start: usize| {
            let n = CHUNK.min(samples.len() - start);
            // Whole blocks of lanes; what is beyond the samples counts nothing.
            let padded = n.div_ceil(LANES) * LANES;
            Chunk {
                histogram: PartialHistogram::new(n_bins, n_bins),
                rows: vec![0; padded],
                positions: vec![1.0; padded],
                slopes: [const { Vec::new() }; 3].map(|_: Vec<f32>| vec![0.0; padded]),
                n_inside: 0,
            }
        };
        let chunks = (0..samples.len()).step_by(CHUNK).map(chunk).collect();
        let moving_grid = moving.grid();
        let moving = Sampler::new(moving.as_slice(), moving_grid.size_ijk());
        Self { samples, moving, moving_grid, mask, binning, moving_weight, chunks }
    }

    /// The number of bins on either axis.
    pub(crate) const fn n_bins(&self) -> usize {
        self.binning.n_bins()
    }

    /// The information of a map, which must be about the samples' centre.
    pub(crate) fn evaluate(&mut self, map: &CenteredMap) -> Evaluation {
        self.collect(map).0
    }

    /// The first pass: values at the mapped samples, and their joint histogram.
    fn collect(&mut self, map: &CenteredMap) -> (Evaluation, JointHistogram) {
        let index_from_lps = self.moving_grid.index_from_lps_matrix();
        let first = index_from_lps.apply((map.image - self.moving_grid.origin_lps()).to_array());
        let index_from_offset = IndexMap::new(index_from_lps * map.matrix, first);
        let (samples, moving, mask, binning) = (self.samples, self.moving, self.mask, self.binning);
        let forgotten = (binning.n_bins() * binning.n_bins()) as u32;
        self.chunks.par_iter_mut().enumerate().for_each(|(n, chunk)| {
            let start = n * CHUNK;
            chunk.histogram.clear();
            chunk.n_inside = 0;
            let [xs, ys, zs] = &samples.offsets_mm;
            let len = CHUNK.min(samples.len() - start);
            for at in 0..len {
                let offset = [xs[start + at], ys[start + at], zs[start + at]];
                let index = index_from_offset.apply(offset);
                let is_masked = mask.is_some_and(|(region, map)| !region.contains(map.apply(index)));
                let found = if is_masked { None } else { moving.value_and_slope(index) };
                if let Some((value, slope)) = found {
                    let position = binning.position(value);
                    let row = samples.row_starts[start + at];
                    chunk.rows[at] = row;
                    chunk.positions[at] = position;
                    for (slopes, slope) in std::iter::zip(&mut chunk.slopes, slope) {
                        slopes[at] = slope * binning.per_unit_moving();
                    }
                    chunk.histogram.add(row as usize, position);
                    chunk.n_inside += 1;
                } else {
                    chunk.rows[at] = forgotten;
                    chunk.positions[at] = 1.0;
                    for slopes in &mut chunk.slopes {
                        slopes[at] = 0.0;
                    }
                }
            }
        });
        let parts = self.chunks.iter().map(|chunk| &chunk.histogram);
        let histogram = JointHistogram::from_parts(binning.n_bins(), binning.n_bins(), parts);
        let evaluation = Evaluation {
            standing: Standing {
                value: histogram.weighted_information(self.moving_weight),
                n_inside: self.chunks.iter().map(|chunk| chunk.n_inside).sum(),
            },
            mutual: histogram.mutual_information(),
            normalized: histogram.normalized_mutual_information(),
        };
        (evaluation, histogram)
    }
}

impl AffineMetric for AffineInformation<'_> {
    type Evaluation = Evaluation;

    fn second_moments(&self) -> [[f64; 4]; 4] {
        self.samples.second_moments()
    }

    fn evaluate_with_slope(&mut self, map: &CenteredMap, with_curvature: bool) -> (Evaluation, Slope) {
        let (evaluation, histogram) = self.collect(map);
        let ratios = histogram.log_ratios(self.moving_weight);
        let samples = self.samples;
        let sums: Vec<ChunkSums> = self
            .chunks
            .par_iter()
            .enumerate()
            .map(|(n, chunk)| chunk_sums(chunk, samples, n * CHUNK, &ratios, with_curvature))
            .collect();
        let mut gradient = [0.0; N_COORDINATES];
        let mut products = [[0.0; 10]; 6];
        for sum in &sums {
            for (total, part) in std::iter::zip(&mut gradient, sum.gradient) {
                *total += part;
            }
            if let Some(parts) = &sum.products {
                for (totals, parts) in std::iter::zip(&mut products, parts) {
                    for (total, part) in std::iter::zip(totals, parts) {
                        *total += part;
                    }
                }
            }
        }
        let n = histogram.total().max(1.0);
        // From slopes by index to slopes by mm: ∇ₓ = Aᵀ ∇ᵢ with index = A x.
        let index_from_lps = self.moving_grid.index_from_lps_matrix();
        let to_lps = index_from_lps.transposed();
        let slope = Slope {
            gradient: by_lps(&to_lps, &gradient).map(|entry| entry / n),
            curvature: with_curvature.then(|| unfold(&products, &to_lps, n)),
        };
        (evaluation, slope)
    }
}

/// One chunk's part of a derivative, by index rather than mm.
struct ChunkSums {
    gradient: [f64; N_COORDINATES],
    /// Sums of w² ∂ₐ∂ᵦ (6 pairs) times X X (10 pairs).
    products: Option<[[f64; 10]; 6]>,
}

const PAIRS_OF_3: [(usize, usize); 6] = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];
pub(crate) const PAIRS_OF_4: [(usize, usize); 10] =
    [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)];

/// The second pass over one chunk: each sample's weight, times its slope, times where it is.
fn chunk_sums(
    chunk: &Chunk,
    samples: &FixedSamples,
    start: usize,
    ratios: &[f32],
    with_products: bool,
) -> ChunkSums {
    let n = CHUNK.min(samples.len() - start);
    let mut gradient = [[0.0_f32; LANES]; N_COORDINATES];
    let mut products = [[[0.0_f32; LANES]; 10]; 6];
    for block in (0..n).step_by(LANES) {
        let len = LANES.min(n - block);
        let mut weights = [0.0_f32; LANES];
        for (lane, weight) in weights.iter_mut().enumerate().take(len) {
            *weight = slope_at(ratios, chunk.rows[block + lane] as usize, chunk.positions[block + lane]);
        }
        let mut x = [[1.0_f32; LANES]; 4];
        for (x, offsets) in std::iter::zip(&mut x[1..], &samples.offsets_mm) {
            x[..len].copy_from_slice(&offsets[start + block..][..len]);
        }
        let mut slopes = [[0.0_f32; LANES]; 3];
        for (slopes, all) in std::iter::zip(&mut slopes, &chunk.slopes) {
            for lane in 0..LANES {
                slopes[lane] = weights[lane] * all[block + lane];
            }
        }
        for row in 0..3 {
            for column in 0..4 {
                for lane in 0..LANES {
                    gradient[4 * row + column][lane] += slopes[row][lane] * x[column][lane];
                }
            }
        }
        if with_products {
            let mut places = [[0.0_f32; LANES]; 10];
            for (place, (a, b)) in std::iter::zip(&mut places, PAIRS_OF_4) {
                for lane in 0..LANES {
                    place[lane] = x[a][lane] * x[b][lane];
                }
            }
            for (sums, (a, b)) in std::iter::zip(&mut products, PAIRS_OF_3) {
                let mut slope = [0.0_f32; LANES];
                for lane in 0..LANES {
                    slope[lane] = slopes[a][lane] * slopes[b][lane];
                }
                for (sum, place) in std::iter::zip(sums, &places) {
                    for lane in 0..LANES {
                        sum[lane] += slope[lane] * place[lane];
                    }
                }
            }
        }
    }
    let total = |lanes: [f32; LANES]| lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    ChunkSums {
        gradient: gradient.map(total),
        products: with_products.then(|| products.map(|row| row.map(total))),
    }
}

/// A gradient by index as one by mm.
pub(crate) fn by_lps(to_lps: &Matrix3, gradient: &[f64; N_COORDINATES]) -> [f64; N_COORDINATES] {
    let mut result = [0.0; N_COORDINATES];
    for column in 0..4 {
        let by_index = [gradient[column], gradient[4 + column], gradient[8 + column]];
        for (row, entry) in to_lps.apply(by_index).into_iter().enumerate() {
            result[4 * row + column] = entry;
        }
    }
    result
}

/// The full matrix of mean outer products by mm from the sums of pairs by index.
pub(crate) fn unfold(
    products: &[[f64; 10]; 6],
    to_lps: &Matrix3,
    n: f64,
) -> [[f64; N_COORDINATES]; N_COORDINATES] {
    let mut by_index = [[0.0; N_COORDINATES]; N_COORDINATES];
    for (sums, (a, b)) in std::iter::zip(products, PAIRS_OF_3) {
        for (sum, (c, d)) in std::iter::zip(sums, PAIRS_OF_4) {
            for (row, column) in [
                (4 * a + c, 4 * b + d),
                (4 * a + d, 4 * b + c),
                (4 * b + c, 4 * a + d),
                (4 * b + d, 4 * a + c),
            ] {
                by_index[row][column] = sum / n;
            }
        }
    }
    // K M Kᵀ with K = to_lps on the rows of each column: once on columns, once on rows.
    let half = by_index.map(|row| by_lps(to_lps, &row));
    let mut result = [[0.0; N_COORDINATES]; N_COORDINATES];
    for column in 0..N_COORDINATES {
        let entries = by_lps(to_lps, &std::array::from_fn(|row| half[row][column]));
        for (row, entry) in entries.into_iter().enumerate() {
            result[row][column] = entry;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::reach;
    use crate::linear::config::LinearModel;
    use synthct_image::{AffineTransform, ImageError, PointLps, VectorLps};

    /// Two blobs on an oblique grid of three different spacings, with a margin of voxels all around.
    fn blobs(gain: f64, margin: usize) -> Result<Volume<f32>, ImageError> {
        let (s, c) = 0.3_f64.sin_cos();
        let direction = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        let spacing_mm = [2.0, 2.5, 3.0];
        let [x, y, z] = direction.apply(spacing_mm.map(|spacing| spacing * margin as f64));
        let origin = PointLps::new(-20.0 - x, -35.0 - y, -28.0 - z);
        let grid = Grid::new([30, 24, 20].map(|n| n + 2 * margin), spacing_mm, origin, direction)?;
        Ok(Volume::from_point_fn(&grid, |p| {
            let first = (p.x.powi(2) + p.y.powi(2) + p.z.powi(2)) / 300.0;
            let second = ((p.x - 12.0).powi(2) + (p.y + 9.0).powi(2) + (p.z - 7.0).powi(2)) / 80.0;
            (100.0 * (-first).exp() + gain * (-second).exp()) as f32
        }))
    }

    fn binning(volume: &Volume<f32>) -> Binning {
        let values = volume.as_slice().iter();
        let (low, high) = values.fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        Binning::new([low, high], 16)
    }

    fn near() -> Result<AffineTransform, ImageError> {
        let turn = AffineTransform::rotation_about(PointLps::ORIGIN, VectorLps::new(1.0, -1.0, 2.0), 0.1)?;
        Ok(AffineTransform::translation(VectorLps::new(1.0, -0.6, 0.8))? * turn)
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() -> Result<(), ImageError> {
        let (fixed, moving) = (blobs(80.0, 0)?, blobs(-60.0, 6)?);
        let samples = FixedSamples::draw(&fixed, &binning(&fixed), None, 1.0, 9000, 3);
        let mut information = AffineInformation::new(&samples, &moving, None, binning(&moving), 0.5);
        let map = CenteredMap::new(&near()?, samples.center);
        let (here, slope) = information.evaluate_with_slope(&map, false);
        assert_eq!(here.standing.n_inside, samples.len());
        for n in 0..N_COORDINATES {
            // Coordinates of the matrix act on offsets of some 20 mm.
            let size = if n % 4 == 0 { 0.02 } else { 0.001 };
            let mut value = |by: f64| {
                let mut step = [0.0; N_COORDINATES];
                step[n] = by;
                information.evaluate(&map.stepped(LinearModel::Affine, &step)).standing.value
            };
            let expected = (value(size) - value(-size)) / (2.0 * size);
            let got = slope.gradient[n];
            let tolerance = if n % 4 == 0 { 1e-4 } else { 2e-3 };
            assert!((got - expected).abs() < tolerance, "coordinate {n}: {got}, expected {expected}");
        }
        Ok(())
    }

    #[test]
    fn sums_by_lanes_and_chunks_are_those_of_a_plain_loop() -> Result<(), ImageError> {
        // Without a margin, so that some samples are outside, and with a mask.
        let (fixed, moving) = (blobs(80.0, 0)?, blobs(-60.0, 0)?);
        let mask = synthct_image::Mask::new(Volume::from_point_fn(moving.grid(), |p| p.x > -10.0));
        let (fixed_binning, moving_binning) = (binning(&fixed), binning(&moving));
        let samples = FixedSamples::draw(&fixed, &fixed_binning, None, 1.0, 9000, 3);
        let region = (Region::new(&mask), IndexMap::between(moving.grid(), mask.grid()));
        let mut information = AffineInformation::new(&samples, &moving, Some(region), moving_binning, 1.0);
        let transform = near()?;
        let map = CenteredMap::new(&transform, samples.center);
        let (here, slope) = information.evaluate_with_slope(&map, true);

        let sampler = Sampler::new(moving.as_slice(), moving.grid().size_ijk());
        let to_lps = moving.grid().index_from_lps_matrix().transposed();
        let mut histogram = PartialHistogram::new(16, 16);
        let mut inside = Vec::new();
        for n in 0..samples.len() {
            let offset = [0, 1, 2].map(|axis| f64::from(samples.offsets_mm[axis][n]));
            let index = moving.grid().index_from_lps(transform.apply(samples.center + offset.into()));
            let index = [index.i, index.j, index.k].map(|c| c as f32);
            if let (true, Some((value, slope))) = (region.0.contains(index), sampler.value_and_slope(index)) {
                let (row, position) = (samples.row_starts[n] as usize, moving_binning.position(value));
                histogram.add(row, position);
                inside.push((offset, row, position, to_lps.apply(slope.map(f64::from))));
            }
        }
        assert_eq!(here.standing.n_inside, inside.len());
        assert!((1000..samples.len() - 1000).contains(&inside.len()), "{}", inside.len());
        let ratios = JointHistogram::from_parts(16, 16, [&histogram]).log_ratios(1.0);
        let mut gradient = [0.0; N_COORDINATES];
        let mut curvature = [[0.0; N_COORDINATES]; N_COORDINATES];
        for (offset, row, position, slope) in &inside {
            assert!(reach(*position).0 + 4 <= 16);
            let weight = f64::from(slope_at(&ratios, *row, *position) * moving_binning.per_unit_moving());
            let x = [1.0, offset[0], offset[1], offset[2]];
            let own: [f64; N_COORDINATES] = std::array::from_fn(|n| weight * slope[n / 4] * x[n % 4]);
            for a in 0..N_COORDINATES {
                gradient[a] += own[a] / inside.len() as f64;
                for b in 0..N_COORDINATES {
                    curvature[a][b] += own[a] * own[b] / inside.len() as f64;
                }
            }
        }
        let got_curvature = slope.curvature.unwrap_or_default();
        for a in 0..N_COORDINATES {
            let scale = curvature[a][a].sqrt();
            assert!((slope.gradient[a] - gradient[a]).abs() < 1e-4 * scale, "coordinate {a}");
            for b in 0..N_COORDINATES {
                let off = (got_curvature[a][b] - curvature[a][b]).abs();
                assert!(off < 1e-3 * scale * curvature[b][b].sqrt(), "coordinates {a}, {b}: off by {off}");
            }
        }
        Ok(())
    }
}
