//! Transformed values in the order in which products read them.

use rayon::prelude::*;

use super::matrices::{Matrix, POINTS};
use crate::kernels::product::tile_rows;
use crate::kernels::scratch::Scratch;
use crate::simd::{Kernel, Level, MAX_LANES, Simd, dispatch};

/// Rows of a panel that one task makes.
const TASK_ROWS: usize = 32;
/// Lanes of the widest panel.
pub(super) const MAX_WIDTH: usize = 2 * MAX_LANES;

/// The elements of squares of any side, row by row, of as many lanes as a panel has at most.
pub(super) type Lanes = [[f32; MAX_WIDTH]; POINTS * POINTS];

/// Panels `[panel, row, lane]` at each point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Lanes in all panels that hold something; the last panel's others are zero.
    pub(super) lanes: usize,
    /// Lanes of a panel.
    pub(super) width: usize,
    pub(super) rows: usize,
}

impl Shape {
    /// Panels of two vectors.
    pub(super) fn wide(level: Level, lanes: usize, rows: usize) -> Self {
        Self { lanes, width: 2 * level.lanes(), rows }
    }

    /// Panels of as many lanes as a register tile has beside two vectors.
    pub(super) fn narrow(level: Level, lanes: usize, rows: usize) -> Self {
        let panels = lanes.div_ceil(tile_rows(level));
        Self { lanes, width: lanes.div_ceil(panels), rows }
    }

    pub(super) fn panels(self) -> usize {
        self.lanes.div_ceil(self.width)
    }

    /// Values of a panel.
    pub(super) fn panel_len(self) -> usize {
        self.rows * self.width
    }
}

/// Transformed values `[point, panel, row, lane]`.
pub(super) struct Panels {
    pub(super) shape: Shape,
    /// Points of a square.
    pub(super) points: usize,
    values: Scratch,
}

impl Panels {
    /// Transforms what `copy(lane of all panels, row, lane of the panel, out)` writes: the elements of a square.
    pub(super) fn new(
        level: Level,
        shape: Shape,
        matrix: &Matrix,
        copy: impl Fn(usize, usize, usize, &mut Lanes) + Sync,
    ) -> Self {
        let points = matrix.rows * matrix.rows;
        let mut values = Scratch::new(points * shape.panels() * shape.panel_len());
        // One task for each panel and some of its rows, with these rows at all points.
        let chunks = shape.rows.div_ceil(TASK_ROWS);
        let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
        tasks.resize_with(shape.panels() * chunks, || Vec::with_capacity(points));
        for (panel, values) in values.chunks_exact_mut(shape.panel_len()).enumerate() {
            for (chunk, values) in values.chunks_mut(TASK_ROWS * shape.width).enumerate() {
                tasks[panel % shape.panels() * chunks + chunk].push(values);
            }
        }
        tasks.par_iter_mut().enumerate().for_each(|(task, points)| {
            let (panel, first_row) = (task / chunks, task % chunks * TASK_ROWS);
            let first = panel * shape.width;
            let lanes = shape.width.min(shape.lanes - first);
            let mut square = [[0.0f32; MAX_WIDTH]; POINTS * POINTS];
            for row in 0..points[0].len() / shape.width {
                for lane in 0..lanes {
                    copy(first + lane, first_row + row, lane, &mut square);
                }
                dispatch(
                    level,
                    TransformKernel {
                        matrix,
                        square: &square,
                        points,
                        at: row * shape.width,
                        width: shape.width,
                    },
                );
            }
        });
        Self { shape, points, values }
    }

    /// The panels of a point.
    pub(super) fn point(&self, point: usize) -> &[f32] {
        let len = self.shape.panels() * self.shape.panel_len();
        &self.values[point * len..(point + 1) * len]
    }
}

/// Transforms squares into a row of each point.
struct TransformKernel<'a, 'b> {
    matrix: &'a Matrix,
    square: &'a Lanes,
    points: &'a mut [&'b mut [f32]],
    at: usize,
    width: usize,
}

impl Kernel for TransformKernel<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut from = 0;
        while from < self.width {
            let mut out = [simd.zero(); POINTS * POINTS];
            transform(simd, self.matrix, &self.square.as_flattened()[from..], MAX_WIDTH, &mut out);
            for point in 0..self.points.len() {
                let row = &mut self.points[point][self.at + from..];
                if row.len() >= S::LANES {
                    // What lies past the panel's width is overwritten by the next row.
                    simd.store(out[point], row, 0);
                } else {
                    let mut buffer = [0.0f32; MAX_LANES];
                    simd.store(out[point], &mut buffer, 0);
                    row.copy_from_slice(&buffer[..row.len()]);
                }
            }
            from += S::LANES;
        }
    }
}

/// Applies a matrix along the columns and then along the rows of a square of vectors, whose elements are `pitch` apart.
#[inline(always)]
pub(super) fn transform<S: Simd>(
    simd: S,
    matrix: &Matrix,
    square: &[f32],
    pitch: usize,
    out: &mut [S::Vector; POINTS * POINTS],
) {
    macro_rules! for_sizes {
        ($(($rows:literal, $columns:literal))*) => {
            match (matrix.rows, matrix.columns) {
                $(($rows, $columns) => both::<S, $rows, $columns>(simd, &matrix.values, square, pitch, out),)*
                sizes => unreachable!("a transform is from or to five or six points, this one {sizes:?}"),
            }
        };
    }
    for_sizes!((6, 6)(6, 2)(6, 3)(6, 4)(6, 5)(2, 6)(3, 6)(4, 6)(5, 6)(5, 5)(5, 2)(5, 4)(2, 5)(4, 5));
}

#[inline(always)]
fn both<S: Simd, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    matrix: &[[f32; POINTS]; POINTS],
    square: &[f32],
    pitch: usize,
    out: &mut [S::Vector; POINTS * POINTS],
) {
    let mut half = [[simd.zero(); COLUMNS]; ROWS];
    for column in 0..COLUMNS {
        let mut values = [simd.zero(); COLUMNS];
        for row in 0..COLUMNS {
            values[row] = simd.load(square, (row * COLUMNS + column) * pitch);
        }
        let transformed = along::<S, ROWS, COLUMNS>(simd, matrix, &values);
        for row in 0..ROWS {
            half[row][column] = transformed[row];
        }
    }
    for row in 0..ROWS {
        let transformed = along::<S, ROWS, COLUMNS>(simd, matrix, &half[row]);
        out[row * ROWS..(row + 1) * ROWS].copy_from_slice(&transformed);
    }
}

/// The product with one of the matrices of `matrices`, whose points come in pairs ±a: what they share is found once.
#[inline(always)]
fn along<S: Simd, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    matrix: &[[f32; POINTS]; POINTS],
    values: &[S::Vector; COLUMNS],
) -> [S::Vector; ROWS] {
    if ROWS < COLUMNS {
        from_points::<S, ROWS, COLUMNS>(simd, matrix, values)
    } else {
        to_points::<S, ROWS, COLUMNS>(simd, matrix, values)
    }
}

/// The rows of −a are those of a with other signs in every second column; that of 0 has only even columns, that of
/// infinity every second one up to the last.
#[inline(always)]
fn to_points<S: Simd, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    matrix: &[[f32; POINTS]; POINTS],
    values: &[S::Vector; COLUMNS],
) -> [S::Vector; ROWS] {
    let (plus, minus) = (simd.splat(1.0), simd.splat(-1.0));
    let mut out = [simd.zero(); ROWS];
    let first_pair = (ROWS - 1) % 2;
    if first_pair == 1 {
        out[0] = every_second::<S, COLUMNS>(simd, &matrix[0], values, 0);
    }
    for pair in 0..(ROWS - 1) / 2 {
        let row = first_pair + 2 * pair;
        let even = every_second::<S, COLUMNS>(simd, &matrix[row], values, 0);
        let odd = every_second::<S, COLUMNS>(simd, &matrix[row], values, 1);
        out[row] = simd.mul_add(even, plus, odd);
        out[row + 1] =
            if first_pair == 1 { simd.mul_add(odd, minus, even) } else { simd.mul_add(even, minus, odd) };
    }
    out[ROWS - 1] = every_second::<S, COLUMNS>(simd, &matrix[ROWS - 1], values, (COLUMNS - 1) % 2);
    out
}

/// Σ over every second column from `first` on.
#[inline(always)]
fn every_second<S: Simd, const COLUMNS: usize>(
    simd: S,
    factors: &[f32; POINTS],
    values: &[S::Vector; COLUMNS],
    first: usize,
) -> S::Vector {
    let mut sum = simd.zero();
    for column in (first..COLUMNS).step_by(2) {
        sum = simd.mul_add(values[column], simd.splat(factors[column]), sum);
    }
    sum
}

/// Even powers of a and −a are the same, odd ones opposite; 0 has only the power 0, infinity only the last.
#[inline(always)]
fn from_points<S: Simd, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    matrix: &[[f32; POINTS]; POINTS],
    values: &[S::Vector; COLUMNS],
) -> [S::Vector; ROWS] {
    let (plus, minus) = (simd.splat(1.0), simd.splat(-1.0));
    let mut out = [simd.zero(); ROWS];
    let first_pair = (COLUMNS - 1) % 2;
    if first_pair == 1 {
        out[0] = values[0];
    }
    for pair in 0..(COLUMNS - 1) / 2 {
        let column = first_pair + 2 * pair;
        let sum = simd.mul_add(values[column + 1], plus, values[column]);
        let difference = simd.mul_add(values[column + 1], minus, values[column]);
        for row in 0..ROWS {
            let shared = if row % 2 == 0 { sum } else { difference };
            out[row] = simd.mul_add(shared, simd.splat(matrix[row][column]), out[row]);
        }
    }
    out[ROWS - 1] = simd.mul_add(values[COLUMNS - 1], plus, out[ROWS - 1]);
    out
}
