//! The points of the fixed image at which it is compared.

use synthct_image::{Grid, Mask, Matrix3, PointLps, Volume};

use crate::histogram::Binning;
use crate::sampler::Sampler;

/// A map from one index space to another: matrix · index + offset, in 32 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexMap {
    matrix: [[f32; 3]; 3],
    offset: [f32; 3],
}

impl IndexMap {
    /// matrix · v + offset.
    pub(crate) fn new(matrix: Matrix3, offset: [f64; 3]) -> Self {
        Self {
            matrix: matrix.0.map(|row| row.map(|entry| entry as f32)),
            offset: offset.map(|entry| entry as f32),
        }
    }

    /// From the indices of one grid to those of another.
    pub(crate) fn between(from: &Grid, to: &Grid) -> Self {
        let index_from_lps = to.index_from_lps_matrix();
        let shift = index_from_lps.apply((from.origin_lps() - to.origin_lps()).to_array());
        Self::new(index_from_lps * from.lps_from_index_matrix(), shift)
    }

    #[inline]
    pub(crate) fn apply(&self, v: [f32; 3]) -> [f32; 3] {
        let row = |r: usize| {
            let m = &self.matrix[r];
            m[0] * v[0] + m[1] * v[1] + m[2] * v[2] + self.offset[r]
        };
        [row(0), row(1), row(2)]
    }
}

/// A region by its nearest voxel.
#[derive(Clone, Copy)]
pub(crate) struct Region<'a> {
    inside: &'a [bool],
    size_ijk: [usize; 3],
}

impl<'a> Region<'a> {
    /// The region of a mask.
    pub(crate) fn new(mask: &'a Mask) -> Self {
        Self { inside: mask.as_slice(), size_ijk: mask.grid().size_ijk() }
    }

    /// Whether the nearest voxel is inside; outside the grid nothing is.
    #[inline]
    pub(crate) fn contains(&self, position: [f32; 3]) -> bool {
        let [ni, nj, nk] = self.size_ijk;
        let nearest = |at: f32, n: usize| (at >= -0.5 && at < n as f32 - 0.5).then_some((at + 0.5) as usize);
        match (nearest(position[0], ni), nearest(position[1], nj), nearest(position[2], nk)) {
            (Some(i), Some(j), Some(k)) => self.inside[(k * nj + j) * ni + i],
            _ => false,
        }
    }
}

/// Points of the fixed image, about their centre, and the bins of their values.
#[derive(Clone, Debug)]
pub(crate) struct FixedSamples {
    /// Offsets from `center` along x, y, z in mm.
    pub(crate) offsets_mm: [Vec<f32>; 3],
    /// Where the row of the sample's bin starts in a joint histogram.
    pub(crate) row_starts: Vec<u32>,
    /// The mean of the points.
    pub(crate) center: PointLps,
}

/// The steps of a sequence that fills the unit cube evenly: powers of the inverse of the root of x⁴ = x + 1.
///
/// # References
/// Roberts (2018), "The unreasonable effectiveness of quasirandom sequences".
const EVEN_STEPS: [f64; 3] = [0.819_172_513_396_164_5, 0.671_043_606_703_789_3, 0.549_700_477_901_970_2];

impl FixedSamples {
    /// About `n_wanted` points in the region (with its map from the indices of `fixed`), or anywhere, one in each cell of
    /// a regular lattice, at an evenly distributed place within its cell.
    ///
    /// Points off the voxel grid, because a metric at voxel centres prefers transforms that put grid on grid, where no
    /// interpolation smooths the noise away.
    /// `region_fraction` is the part of the grid that the region covers.
    ///
    /// # References
    /// Pluim, Maintz, Viergever (2000), doi:10.1006/cviu.1999.0816, on that preference.
    pub(crate) fn draw(
        fixed: &Volume<f32>,
        binning: &Binning,
        region: Option<(Region<'_>, IndexMap)>,
        region_fraction: f64,
        n_wanted: usize,
        seed: u64,
    ) -> Self {
        let grid = fixed.grid();
        let size = grid.size_ijk();
        let spacing = grid.spacing_mm();
        let extents = [0, 1, 2].map(|axis| size[axis].saturating_sub(1) as f64 * spacing[axis]);
        let dimensions = extents.iter().filter(|&&extent| extent > 0.0).count();
        let measure: f64 = extents.iter().filter(|&&extent| extent > 0.0).product();
        let edge_mm = (measure * region_fraction / n_wanted as f64).powf(1.0 / dimensions.max(1) as f64);
        let cells = extents.map(|extent| ((extent / edge_mm).round() as usize).max(1));
        let widths = [0, 1, 2].map(|axis| size[axis].saturating_sub(1) as f64 / cells[axis] as f64);
        let mut jitter = [1, 2, 3].map(|axis| fraction_of(seed, axis));
        let sampler = Sampler::new(fixed.as_slice(), size);
        let lps_from_index = grid.lps_from_index_matrix();
        let origin = grid.center_lps();
        let from_origin = IndexMap::new(lps_from_index, (grid.origin_lps() - origin).to_array());
        let mut offsets_mm = [const { Vec::new() }; 3];
        let mut row_starts = Vec::new();
        for cell_k in 0..cells[2] {
            for cell_j in 0..cells[1] {
                for cell_i in 0..cells[0] {
                    for (jitter, step) in std::iter::zip(&mut jitter, EVEN_STEPS) {
                        *jitter += step;
                        *jitter -= jitter.floor();
                    }
                    let cell = [cell_i, cell_j, cell_k];
                    let index =
                        [0, 1, 2].map(|axis| ((cell[axis] as f64 + jitter[axis]) * widths[axis]) as f32);
                    if region.is_some_and(|(region, map)| !region.contains(map.apply(index))) {
                        continue;
                    }
                    if let Some(value) = sampler.value(index) {
                        let point = from_origin.apply(index);
                        for (offsets, coordinate) in std::iter::zip(&mut offsets_mm, point) {
                            offsets.push(coordinate);
                        }
                        row_starts.push((binning.bin(value) * binning.n_bins()) as u32);
                    }
                }
            }
        }
        let n = row_starts.len().max(1) as f64;
        let mean = [0, 1, 2].map(|axis| offsets_mm[axis].iter().map(|&c| f64::from(c)).sum::<f64>() / n);
        for (offsets, mean) in std::iter::zip(&mut offsets_mm, mean) {
            for offset in offsets {
                *offset -= mean as f32;
            }
        }
        // The mean as it was taken away, in 32 bits.
        let center = origin + mean.map(|c| f64::from(c as f32)).into();
        Self { offsets_mm, row_starts, center }
    }

    /// The number of points.
    pub(crate) fn len(&self) -> usize {
        self.row_starts.len()
    }

    /// E[X Xᵀ] over the samples, X = (1, x, y, z): how far a step of an affine map moves points.
    pub(crate) fn second_moments(&self) -> [[f64; 4]; 4] {
        let mut sums = [[0.0; 4]; 4];
        for n in 0..self.len() {
            let x = [
                1.0,
                self.offsets_mm[0][n].into(),
                self.offsets_mm[1][n].into(),
                self.offsets_mm[2][n].into(),
            ];
            for (row, sums) in sums.iter_mut().enumerate() {
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum += x[row] * x[column];
                }
            }
        }
        sums.map(|row| row.map(|sum: f64| sum / self.len().max(1) as f64))
    }
}

/// A number in [0, 1) from a seed and a stream, by the finaliser of MurmurHash3.
fn fraction_of(seed: u64, stream: u64) -> f64 {
    let mut bits =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(stream.wrapping_mul(0xd1b5_4a32_d192_ed03));
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    ((bits ^ (bits >> 33)) >> 11) as f64 / (1_u64 << 53) as f64
}
