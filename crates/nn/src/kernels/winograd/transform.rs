//! From rows to the values of polynomials at points, and back.

use super::TILE_ROWS;
use crate::kernels::strip::Strip;
use crate::simd::{Kernel, MAX_LANES, Simd, prefetch};

/// Pairs of opposite points of the wide kernel, of five rows.
const WIDE: usize = 3;
/// Pairs of opposite points of the narrow kernel, of three rows.
const NARROW: usize = 2;
/// Input rows of a tile for the wide kernel, of which the narrow one reads all but the first and the last.
pub(super) const WIDE_ROWS: usize = 2 * WIDE + 2;

/// The positive points of the wide kernel: of 120 choices those of the smallest error.
const WIDE_POINTS: [f64; WIDE] = [1.0, 2.0, 0.5];
/// The positive points of the narrow kernel: of 55 choices those of the smallest error.
const NARROW_POINTS: [f64; NARROW] = [0.75, 1.5];

/// The transforms of a kernel: its points are 0, pairs ±a, and infinity.
///
/// With p(x) = Π (x² − b²) over all pairs and pₐ(x) the same without a, the transformed input is the sum of its rows
/// times the coefficients of xᵏ in p at 0, in x·p at infinity, and in x·(x ± a)·pₐ at ±a.
pub(super) struct Transform {
    positive: &'static [f64],
    /// Coefficients of p, of 1, x², …, without the last, which is 1.
    all: [f32; WIDE],
    /// Coefficients of each pₐ, likewise.
    others: [[f32; WIDE]; WIDE],
    /// Powers of each a for the rows of a tile.
    powers: [[f32; TILE_ROWS]; WIDE],
}

impl Transform {
    /// The transforms of a kernel of 3 or 5 rows.
    pub(super) fn new(kernel: usize) -> Self {
        let positive: &[f64] = match kernel {
            3 => &NARROW_POINTS,
            5 => &WIDE_POINTS,
            _ => unreachable!("kernels of 3 and 5 rows are transformed, not of {kernel}"),
        };
        let mut others = [[0.0; WIDE]; WIDE];
        let mut powers = [[0.0; TILE_ROWS]; WIDE];
        for (idx, point) in positive.iter().enumerate() {
            let rest = [&positive[..idx], &positive[idx + 1..]].concat();
            others[idx] = coefficients(&rest);
            powers[idx] = std::array::from_fn(|power| point.powi(power as i32) as f32);
        }
        Self { positive, all: coefficients(positive), others, powers }
    }

    /// True for a kernel of five rows.
    pub(super) fn is_wide(&self) -> bool {
        self.positive.len() == WIDE
    }

    /// The number of points, which is also that of the input's rows in a tile.
    pub(super) fn points(&self) -> usize {
        2 * self.positive.len() + 2
    }

    /// What the kernel's rows are multiplied with at a point; the points are 0, a, −a, …, infinity.
    pub(super) fn weight_factors(&self, point: usize) -> Vec<f64> {
        let rows = 0..(self.points() + 1 - TILE_ROWS) as i32;
        let others = |a: f64| {
            self.positive
                .iter()
                .map(move |b| a * a - b * b)
                .filter(|factor| factor.abs() > 0.0)
                .product::<f64>()
        };
        if point == 0 {
            let scale = others(0.0);
            return rows.map(|row| if row == 0 { 1.0 / scale } else { 0.0 }).collect();
        }
        let Some(&a) = self.positive.get((point - 1) / 2) else {
            return rows.clone().map(|row| if row + 1 == rows.end { 1.0 } else { 0.0 }).collect();
        };
        let scale = 2.0 * a * a * others(a);
        let a = if point % 2 == 1 { a } else { -a };
        rows.map(|row| a.powi(row) / scale).collect()
    }
}

/// Coefficients of Π (x² − b²), of 1, x², …, without the last.
fn coefficients(points: &[f64]) -> [f32; WIDE] {
    let mut product = [1.0, 0.0, 0.0, 0.0];
    for b in points {
        for power in (0..product.len()).rev() {
            let shifted = if power > 0 { product[power - 1] } else { 0.0 };
            product[power] = shifted - b * b * product[power];
        }
    }
    std::array::from_fn(|power| product[power] as f32)
}

/// The transformed rows of one plane: a row for each point, `point_len` apart.
pub(super) struct Points<'a> {
    pub(super) transform: &'a Transform,
    pub(super) values: &'a mut [f32],
    pub(super) point_len: usize,
}

/// Transforms the rows of a tile in one plane for one or both kernels.
pub(super) struct InputKernel<'a> {
    /// The tile's rows.
    pub(super) sources: [&'a [f32]; WIDE_ROWS],
    /// The rows that will be transformed next, which are fetched.
    pub(super) ahead: [&'a [f32]; WIDE_ROWS],
    /// Values of a row, in whole vectors.
    pub(super) len: usize,
    pub(super) narrow: Option<Points<'a>>,
    pub(super) wide: Option<Points<'a>>,
}

impl Kernel for InputKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let sources = self.sources.map(|source| &source[..self.len]);
        let mut at = 0;
        while at < self.len {
            let mut rows = [simd.zero(); WIDE_ROWS];
            for row in 0..WIDE_ROWS {
                rows[row] = simd.load(sources[row], at);
                prefetch(self.ahead[row], at);
            }
            if let Some(points) = &mut self.wide {
                points.store::<S, WIDE>(simd, &rows, 0, at);
            }
            if let Some(points) = &mut self.narrow {
                points.store::<S, NARROW>(simd, &rows, 1, at);
            }
            at += S::LANES;
        }
    }
}

impl Points<'_> {
    /// Transforms a vector of each row from `first` on.
    #[inline(always)]
    fn store<S: Simd, const PAIRS: usize>(
        &mut self,
        simd: S,
        rows: &[S::Vector; WIDE_ROWS],
        first: usize,
        at: usize,
    ) {
        let Self { transform, ref mut values, point_len } = *self;
        let mut zero = rows[first + 2 * PAIRS];
        let mut infinity = rows[first + 2 * PAIRS + 1];
        for k in 0..PAIRS {
            let factor = simd.splat(transform.all[k]);
            zero = simd.mul_add(rows[first + 2 * k], factor, zero);
            infinity = simd.mul_add(rows[first + 2 * k + 1], factor, infinity);
        }
        simd.store(zero, values, at);
        simd.store(infinity, values, (2 * PAIRS + 1) * point_len + at);
        for pair in 0..PAIRS {
            let [mut odd, mut even] = [rows[first + 2 * PAIRS - 1], rows[first + 2 * PAIRS]];
            for k in 0..PAIRS - 1 {
                let factor = simd.splat(transform.others[pair][k]);
                odd = simd.mul_add(rows[first + 2 * k + 1], factor, odd);
                even = simd.mul_add(rows[first + 2 * k + 2], factor, even);
            }
            let a = transform.powers[pair][1];
            let plus = simd.mul_add(odd, simd.splat(a), even);
            let minus = simd.mul_add(odd, simd.splat(-a), even);
            simd.store(plus, values, (2 * pair + 1) * point_len + at);
            simd.store(minus, values, (2 * pair + 2) * point_len + at);
        }
    }
}

/// Transforms the products of one output channel back to the rows of a tile.
pub(super) struct OutputKernel<'a> {
    pub(super) transform: &'a Transform,
    /// A row for each point, `point_len` apart, of whole vectors.
    pub(super) products: &'a [f32],
    pub(super) point_len: usize,
    /// What the sums begin with, or none for what is in the output.
    pub(super) start: Option<f32>,
    /// The columns to write.
    pub(super) columns: std::ops::Range<usize>,
    /// Columns of the output.
    pub(super) width: usize,
    /// The rows to write.
    pub(super) rows: Strip,
    pub(super) output: &'a mut [f32],
}

impl Kernel for OutputKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if self.transform.is_wide() {
            self.transform_rows::<S, WIDE>(simd);
        } else {
            self.transform_rows::<S, NARROW>(simd);
        }
    }
}

impl OutputKernel<'_> {
    #[inline(always)]
    fn transform_rows<S: Simd, const PAIRS: usize>(self, simd: S) {
        let len = self.columns.len();
        let mut at = 0;
        while at < len {
            let sums = self.sums::<S, PAIRS>(simd, at);
            for (idx, row) in self.rows.rows().enumerate() {
                let place = row * self.width + self.columns.start + at;
                let out = &mut self.output[place..place + (len - at).min(S::LANES)];
                let mut buffer = [0.0f32; MAX_LANES];
                let values: &mut [f32] = if out.len() == S::LANES {
                    out
                } else {
                    buffer[..out.len()].copy_from_slice(out);
                    &mut buffer
                };
                let start = match self.start {
                    Some(start) => simd.splat(start),
                    None => simd.load(values, 0),
                };
                simd.store(simd.mul_add(sums[idx], simd.splat(1.0), start), values, 0);
                if len - at < S::LANES {
                    let out = &mut self.output[place..place + len - at];
                    out.copy_from_slice(&buffer[..out.len()]);
                }
            }
            at += S::LANES;
        }
    }

    /// A vector of each row of the tile.
    #[inline(always)]
    fn sums<S: Simd, const PAIRS: usize>(&self, simd: S, at: usize) -> [S::Vector; TILE_ROWS] {
        let mut products = [simd.zero(); WIDE_ROWS];
        for point in 0..2 * PAIRS + 2 {
            products[point] = simd.load(self.products, point * self.point_len + at);
        }
        let [one, minus_one] = [simd.splat(1.0), simd.splat(-1.0)];
        // Even rows are of the sums of opposite points, odd ones of the differences.
        let mut parts = [[simd.zero(); PAIRS]; 2];
        for pair in 0..PAIRS {
            let [plus, minus] = [products[2 * pair + 1], products[2 * pair + 2]];
            parts[0][pair] = simd.mul_add(minus, one, plus);
            parts[1][pair] = simd.mul_add(minus, minus_one, plus);
        }
        let mut sums = [products[0], simd.zero(), simd.zero(), products[2 * PAIRS + 1]];
        for row in 0..TILE_ROWS {
            for pair in 0..PAIRS {
                let power = simd.splat(self.transform.powers[pair][row]);
                sums[row] = simd.mul_add(parts[row % 2][pair], power, sums[row]);
            }
        }
        sums
    }
}
