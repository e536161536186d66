//! The transforms to five or six points and back, along one axis.

/// Points at most, which are also the input positions of a tile.
pub(super) const POINTS: usize = 6;
/// Six points: 0, ±3/4, ±3/2 and infinity; of 55 choices of two pairs those of the smallest error.
const FINITE_OF_SIX: [f64; 5] = [0.0, 0.75, -0.75, 1.5, -1.5];
/// Five points: ±1/2, ±5/4 and infinity; of 140 choices those of the smallest error for two taps.
const FINITE_OF_FIVE: [f64; 4] = [0.5, -0.5, 1.25, -1.25];

/// The finite ones of so many points.
fn finite(points: usize) -> &'static [f64] {
    match points {
        5 => &FINITE_OF_FIVE,
        6 => &FINITE_OF_SIX,
        _ => unreachable!("tiles have five or six points a side, not {points}"),
    }
}

/// A matrix of at most 6 × 6, applied along rows and along columns.
pub(super) struct Matrix {
    pub(super) values: [[f32; POINTS]; POINTS],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Matrix {
    fn new([rows, columns]: [usize; 2], value: impl Fn(usize, usize) -> f64) -> Self {
        let mut values = [[0.0; POINTS]; POINTS];
        for (row, values) in values[..rows].iter_mut().enumerate() {
            for (column, element) in values[..columns].iter_mut().enumerate() {
                *element = value(row, column) as f32;
            }
        }
        Self { values, rows, columns }
    }

    /// From input positions to as many points: coefficients of Π (x − b) over the other finite points, and over all.
    pub(super) fn input(points: usize) -> Self {
        Self::new([points; 2], |point, power| {
            let mut product = [0.0; POINTS];
            product[0] = 1.0;
            for (_, b) in finite(points).iter().enumerate().filter(|(idx, _)| *idx != point) {
                for power in (0..points).rev() {
                    product[power] = if power > 0 { product[power - 1] } else { 0.0 } - b * product[power];
                }
            }
            product[power]
        })
    }

    /// From a kernel of `taps` taps to the points.
    pub(super) fn kernel(points: usize, taps: usize) -> Self {
        let finite = finite(points);
        Self::new([points, taps], |point, power| match finite.get(point) {
            Some(a) => {
                let others = finite.iter().enumerate().filter(|(idx, _)| *idx != point);
                a.powi(power as i32) / others.map(|(_, b)| a - b).product::<f64>()
            }
            None => f64::from(u8::from(power == taps - 1)),
        })
    }

    /// From the points to `outputs` outputs.
    pub(super) fn output(points: usize, outputs: usize) -> Self {
        Self::new([outputs, points], |power, point| match finite(points).get(point) {
            Some(a) => a.powi(power as i32),
            None => f64::from(u8::from(power == outputs - 1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Transform, multiply, transform back: the sums of products.
    #[test]
    fn transforms_are_a_convolution() {
        let input = [0.5f64, -1.0, 2.0, 0.25, -0.75, 1.5];
        let kernel = [1.0f64, -0.5, 0.25, 2.0, -1.5];
        let apply = |matrix: &Matrix, values: &[f64]| -> Vec<f64> {
            assert_eq!(values.len(), matrix.columns);
            let rows = matrix.values[..matrix.rows].iter();
            rows.map(|row| row.iter().zip(values).map(|(a, b)| f64::from(*a) * b).sum()).collect()
        };
        for (count, taps) in [5, 6].into_iter().flat_map(|count| (2..count).map(move |taps| (count, taps))) {
            let points = apply(&Matrix::input(count), &input[..count]);
            let weights = apply(&Matrix::kernel(count, taps), &kernel[..taps]);
            let products: Vec<f64> = points.iter().zip(&weights).map(|(a, b)| a * b).collect();
            let found = apply(&Matrix::output(count, count + 1 - taps), &products);
            for (position, found) in found.iter().enumerate() {
                let expected: f64 = input[position..].iter().zip(&kernel[..taps]).map(|(x, w)| x * w).sum();
                assert!((found - expected).abs() < 1e-5, "{taps} taps, {position}: {found} for {expected}");
            }
        }
    }
}
