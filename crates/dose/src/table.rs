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
#[derive(Clone, Debug)]
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

/// Piecewise linear functions of x through points that rise in x, held beyond both ends; `point` gives a point's x and
/// the functions' values there.
pub(crate) fn piecewise<T, const N: usize>(
    points: &[T],
    x: f64,
    point: impl Fn(&T) -> (f64, [f64; N]),
) -> [f64; N] {
    let n = points.partition_point(|p| point(p).0 <= x);
    if n == 0 {
        return point(&points[0]).1;
    }
    if n == points.len() {
        return point(&points[n - 1]).1;
    }
    let ((x0, low), (x1, high)) = (point(&points[n - 1]), point(&points[n]));
    let part = (x - x0) / (x1 - x0);
    std::array::from_fn(|value| low[value] + part * (high[value] - low[value]))
}

/// The numbers of those rows of a comma-separated file with one heading whose first field is `name`.
pub(crate) fn rows_of<const N: usize>(text: &str, name: &str) -> Vec<[f64; N]> {
    let own = |line: &str| {
        line.split_once(',').filter(|(first, _)| *first == name).map(|(_, rest)| rest.to_owned())
    };
    let lines: Vec<String> = text.lines().filter_map(own).collect();
    rows(&format!("\n{}", lines.join("\n")))
}
