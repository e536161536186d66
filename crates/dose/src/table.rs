//! Numbers from the data files of this crate, and tables read between their entries.

/// The rows of a comma-separated file of numbers with one heading.
///
/// The files are part of the crate, so that a row which is not of `N` numbers is a fault of the crate.
pub(crate) fn rows<const N: usize>(text: &str) -> Vec<[f64; N]> {
    text.lines()
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let mut row = [0.0; N];
            let mut fields = line.split(',');
            for value in &mut row {
                *value = fields
                    .next()
                    .and_then(|field| field.trim().parse().ok())
                    .expect("the crate's own tables hold numbers");
            }
            row
        })
        .collect()
}

/// A function at evenly spaced points from 0, read linearly between them and held beyond the last.
#[derive(Debug)]
pub(crate) struct EvenTable {
    step: f64,
    values: Vec<f32>,
}

impl EvenTable {
    pub(crate) fn new(step: f64, n: usize, value: impl Fn(f64) -> f64) -> Self {
        Self { step, values: (0..n).map(|at| value(at as f64 * step) as f32).collect() }
    }

    pub(crate) fn at(&self, x: f64) -> f32 {
        let position = (x / self.step).clamp(0.0, (self.values.len() - 1) as f64);
        let low = (position as usize).min(self.values.len() - 2);
        let part = (position - low as f64) as f32;
        self.values[low] + part * (self.values[low + 1] - self.values[low])
    }
}

/// A piecewise linear function through `[x, y]` points that rise in x, held beyond both ends.
pub(crate) fn piecewise(points: &[[f64; 2]], x: f64) -> f64 {
    let n = points.partition_point(|point| point[0] <= x);
    if n == 0 {
        return points[0][1];
    }
    if n == points.len() {
        return points[n - 1][1];
    }
    let ([x0, y0], [x1, y1]) = (points[n - 1], points[n]);
    y0 + (x - x0) / (x1 - x0) * (y1 - y0)
}
