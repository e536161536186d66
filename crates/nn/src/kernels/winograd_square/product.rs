//! Products of matrices at each point.

use rayon::prelude::*;

use super::matrices::{Matrix, POINTS};
use super::panels::{Lanes, MAX_WIDTH, Panels, Shape, transform};
use crate::kernels::scratch::Scratch;
use crate::simd::{Kernel, Level, Simd, dispatch};

/// Rows of panels that are multiplied at once, so that a wide and a narrow panel of them fit the first cache.
const PANEL_ROWS: usize = 256;

/// Products `[point, wide panel, narrow lane, wide lane]`.
pub(super) struct Products {
    values: Scratch,
    /// Of the wide panels.
    wide: Shape,
    /// Narrow lanes, with those that fill the last panel.
    lanes: usize,
}

impl Products {
    /// Room for the products of panels of these shapes; their values are whatever they are.
    pub(super) fn new(narrow: &Panels, wide: &Panels) -> Self {
        let lanes = narrow.shape.panels() * narrow.shape.width;
        let len = wide.points * wide.shape.panels() * lanes * wide.shape.width;
        Self { values: Scratch::new(len), wide: wide.shape, lanes }
    }

    /// For each point, narrow lane a and wide lane b: sets, if `is_first`, or adds to
    /// Σ over rows of narrow\[row, a\] · wide\[row, b\].
    pub(super) fn add(&mut self, level: Level, narrow: &Panels, wide: &Panels, is_first: bool) {
        let Shape { rows, .. } = wide.shape;
        let (panels, panel_len) = (wide.shape.panels(), wide.shape.panel_len());
        self.values.par_chunks_exact_mut(self.lanes * wide.shape.width).enumerate().for_each(
            |(task, sums)| {
                let (point, panel) = (task / panels, task % panels);
                let kernel = ProductKernel {
                    narrow: narrow.point(point),
                    narrow_width: narrow.shape.width,
                    wide: &wide.point(point)[panel * panel_len..(panel + 1) * panel_len],
                    rows,
                    is_first,
                    sums,
                };
                dispatch(level, kernel);
            },
        );
    }

    /// Transforms the products of a narrow lane, and calls `write(wide lane, lane of the panel, squares)` for each wide
    /// lane.
    pub(super) fn transform(
        &self,
        level: Level,
        lane: usize,
        matrix: &Matrix,
        mut write: impl FnMut(usize, usize, &Lanes),
    ) {
        let width = self.wide.width;
        let len = self.lanes * width;
        let point_len = self.wide.panels() * len;
        let mut square = [[0.0f32; MAX_WIDTH]; POINTS * POINTS];
        for panel in 0..self.wide.panels() {
            let products = &self.values[panel * len + lane * width..];
            dispatch(level, BackKernel { matrix, products, point_len, width, square: &mut square });
            let first = panel * width;
            for lane in 0..width.min(self.wide.lanes - first) {
                write(first + lane, lane, &square);
            }
        }
    }
}

/// One wide panel times all narrow ones.
struct ProductKernel<'a> {
    narrow: &'a [f32],
    narrow_width: usize,
    wide: &'a [f32],
    rows: usize,
    is_first: bool,
    sums: &'a mut [f32],
}

impl Kernel for ProductKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        macro_rules! for_width {
            ($($width:literal)*) => {
                match self.narrow_width {
                    $($width => self.panels::<S, $width>(simd),)*
                    width => unreachable!("a narrow panel has at most 12 lanes, this one {width}"),
                }
            };
        }
        if S::REGISTERS >= 32 {
            for_width!(1 2 3 4 5 6 7 8 9 10 11 12);
        } else {
            for_width!(1 2 3 4 5 6);
        }
    }
}

impl ProductKernel<'_> {
    #[inline(always)]
    fn panels<S: Simd, const WIDTH: usize>(self, simd: S) {
        let wide_width = 2 * S::LANES;
        let mut first = 0;
        while first < self.rows {
            let rows = first..(first + PANEL_ROWS).min(self.rows);
            let wide = &self.wide[rows.start * wide_width..rows.end * wide_width];
            let panels = self.narrow.chunks_exact(self.rows * WIDTH);
            for (panel, sums) in panels.zip(self.sums.chunks_exact_mut(WIDTH * wide_width)) {
                let narrow = &panel[rows.start * WIDTH..rows.end * WIDTH];
                tile::<S, WIDTH>(simd, narrow, wide, sums, self.is_first && first == 0);
            }
            first = rows.end;
        }
    }
}

/// Sets or adds the sums of one narrow panel.
#[inline(always)]
fn tile<S: Simd, const WIDTH: usize>(simd: S, narrow: &[f32], wide: &[f32], out: &mut [f32], is_first: bool) {
    let lanes = S::LANES;
    let mut sums = [[simd.zero(); 2]; WIDTH];
    if !is_first {
        for lane in 0..WIDTH {
            sums[lane] = [simd.load(out, 2 * lane * lanes), simd.load(out, (2 * lane + 1) * lanes)];
        }
    }
    let (narrow, _) = narrow.as_chunks::<WIDTH>();
    for (factors, row) in narrow.iter().zip(wide.chunks_exact(2 * lanes)) {
        let values = [simd.load(row, 0), simd.load(row, lanes)];
        for lane in 0..WIDTH {
            let factor = simd.splat(factors[lane]);
            sums[lane][0] = simd.mul_add(values[0], factor, sums[lane][0]);
            sums[lane][1] = simd.mul_add(values[1], factor, sums[lane][1]);
        }
    }
    for lane in 0..WIDTH {
        simd.store(sums[lane][0], out, 2 * lane * lanes);
        simd.store(sums[lane][1], out, (2 * lane + 1) * lanes);
    }
}

/// Transforms the products of one narrow lane and one wide panel.
struct BackKernel<'a> {
    matrix: &'a Matrix,
    products: &'a [f32],
    point_len: usize,
    width: usize,
    square: &'a mut Lanes,
}

impl Kernel for BackKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut from = 0;
        while from < self.width {
            let mut out = [simd.zero(); POINTS * POINTS];
            transform(simd, self.matrix, &self.products[from..], self.point_len, &mut out);
            for element in 0..self.matrix.rows * self.matrix.rows {
                simd.store(out[element], &mut self.square[element], from);
            }
            from += S::LANES;
        }
    }
}
