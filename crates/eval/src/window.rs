//! Moments of two images in a sliding window: what SSIM is made of.
//!
//! The window is a product of the same weights along each axis, so an output row is made in three steps, along k, j and i,
//! each from lines that are still in the cache. Every window is summed directly, not by adding and taking away, so that
//! no rounding error travels.

use std::ops::Range;

use rayon::prelude::*;

use crate::inputs::Sum;

/// Voxels of a line that are summed at once: what fits the registers.
const LANES: usize = 8;

/// Means and (co)variances of x and y in one window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) mean_x: f64,
    pub(crate) mean_y: f64,
    pub(crate) variance_x: f64,
    pub(crate) variance_y: f64,
    pub(crate) covariance: f64,
}

impl Moments {
    /// The structural similarity with the constants C1 and C2 (Wang et al. 2004, eq. 13).
    #[inline]
    pub(crate) fn similarity(&self, [c1, c2]: [f64; 2]) -> f64 {
        (2.0 * self.mean_x * self.mean_y + c1) * (2.0 * self.covariance + c2)
            / ((self.mean_x * self.mean_x + self.mean_y * self.mean_y + c1)
                * (self.variance_x + self.variance_y + c2))
    }
}

/// A stack of values of shape `[k, j, i]` in C order.
pub(crate) struct Stack<'a, T> {
    pub(crate) shape_kji: [usize; 3],
    pub(crate) values: &'a [T],
}

/// The weights of a window along each axis, an odd number that sum to one, and what (co)variances are multiplied by.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    weights: Vec<f64>,
    covariance_factor: f64,
}

impl Window {
    /// The same weight for `size`³ voxels.
    pub(crate) fn uniform(size: usize) -> Self {
        Self { weights: vec![1.0 / size as f64; size], covariance_factor: 1.0 }
    }

    /// A Gaussian of `sigma` voxels, cut off at `truncate` sigma.
    pub(crate) fn gaussian(sigma: f64, truncate: f64) -> Self {
        let radius = (truncate * sigma + 0.5) as i64;
        let mut weights: Vec<f64> =
            (-radius..=radius).map(|m| (-0.5 * (m as f64 / sigma).powi(2)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= sum;
        }
        Self { weights, covariance_factor: 1.0 }
    }

    /// The window with sample (co)variances: n / (n − 1) times as large, n the number of voxels.
    pub(crate) fn with_sample_covariance(self) -> Self {
        let n = self.size().pow(3) as f64;
        Self { covariance_factor: n / (n - 1.0), ..self }
    }

    /// The window's edge in voxels.
    pub(crate) fn size(&self) -> usize {
        self.weights.len()
    }

    /// The border without a full window.
    pub(crate) fn border(&self) -> usize {
        self.size() / 2
    }

    fn moments(&self, [mean_x, mean_y, xx, yy, xy]: [f64; 5]) -> Moments {
        Moments {
            mean_x,
            mean_y,
            variance_x: self.covariance_factor * (xx - mean_x * mean_x),
            variance_y: self.covariance_factor * (yy - mean_y * mean_y),
            covariance: self.covariance_factor * (xy - mean_x * mean_y),
        }
    }
}

/// One row of moments.
pub(crate) struct Row<'a> {
    /// The row's position.
    pub(crate) j: usize,
    window: &'a Window,
    /// The means of x, y, x², y² and xy for every voxel of the row.
    means: &'a Lines,
}

impl Row<'_> {
    /// The moments in the window about voxel `i`.
    #[inline]
    pub(crate) fn at(&self, i: usize) -> Moments {
        self.window.moments(std::array::from_fn(|m| self.means[m][i]))
    }
}

/// A line for each of x, y, x², y², xy.
type Lines = [Vec<f64>; 5];

/// Calls `visit` for each of the `rows` of slice `k`, in their order.
///
/// Where the window leaves the stack the values are mirrored about its faces (`… b a | a b …`).
pub(crate) fn each_row<T: Copy + Into<f64>>(
    x: &Stack<'_, T>,
    y: &Stack<'_, T>,
    window: &Window,
    k: usize,
    rows: Range<usize>,
    mut visit: impl FnMut(Row<'_>),
) {
    let [nk, nj, ni] = x.shape_kji;
    let (size, border) = (window.size(), window.border());
    let lines = |length: usize| -> Lines { std::array::from_fn(|_| vec![0.0; length]) };
    // The lines along k of the rows that the window holds now, each at its row's number modulo the window's size.
    let mut along_k: Vec<Lines> = (0..size).map(|_| lines(ni)).collect();
    let mut along_j = lines(ni + 2 * border);
    let mut means = lines(ni);
    let slices: Vec<usize> = (0..size).map(|dk| mirrored(k + dk, border, nk)).collect();
    for j in rows.clone() {
        // The first row needs all lines of its window, every further row one more.
        for dj in if j == rows.start { 0 } else { size - 1 }..size {
            let row = mirrored(j + dj, border, nj);
            let [x, y] = [x, y].map(|stack| -> Vec<&[T]> {
                slices.iter().map(|k| &stack.values[(k * nj + row) * ni..][..ni]).collect()
            });
            sum_along_k(&x, &y, &window.weights, &mut along_k[(j + dj) % size]);
        }
        let in_order: Vec<&Lines> = (0..size).map(|dj| &along_k[(j + dj) % size]).collect();
        for moment in 0..5 {
            let padded = &mut along_j[moment];
            weighted_sum(&mut padded[border..][..ni], &window.weights, |dj| &in_order[dj][moment]);
            for beyond in 0..border {
                // Before the first voxel, and after the last.
                padded[border - 1 - beyond] = padded[border + mirrored(beyond, 0, ni)];
                padded[border + ni + beyond] = padded[border + mirrored(ni + beyond, 0, ni)];
            }
            weighted_sum(&mut means[moment], &window.weights, |di| &padded[di..][..ni]);
        }
        visit(Row { j, window, means: &means });
    }
}

/// The voxel that stands at a position `before` voxels before `at` when an axis of `n` voxels is mirrored about its faces.
fn mirrored(at: usize, before: usize, n: usize) -> usize {
    let period = 2 * n as i64;
    let position = (at as i64 - before as i64).rem_euclid(period);
    position.min(period - 1 - position) as usize
}

/// The weighted sums of x, y, x², y², xy over some lines.
fn sum_along_k<T: Copy + Into<f64>>(x: &[&[T]], y: &[&[T]], weights: &[f64], sums: &mut Lines) {
    // As many as leave five sums in the registers.
    const LANES: usize = 4;
    let ni = sums[0].len();
    let n_whole = ni / LANES * LANES;
    for start in (0..n_whole).step_by(LANES) {
        let of_lanes = products::<T, LANES>(x, y, weights, start);
        for (sum, of_lanes) in std::iter::zip(&mut *sums, of_lanes) {
            sum[start..start + LANES].copy_from_slice(&of_lanes);
        }
    }
    for i in n_whole..ni {
        let of_voxel = products::<T, 1>(x, y, weights, i);
        for (sum, [value]) in std::iter::zip(&mut *sums, of_voxel) {
            sum[i] = value;
        }
    }
}

/// The weighted sums of x, y, x², y², xy over some lines for `N` voxels from `start` on.
#[inline]
fn products<T: Copy + Into<f64>, const N: usize>(
    x: &[&[T]],
    y: &[&[T]],
    weights: &[f64],
    start: usize,
) -> [[f64; N]; 5] {
    let mut sums = [[0.0_f64; N]; 5];
    for (&weight, (x, y)) in std::iter::zip(weights, std::iter::zip(x, y)) {
        let (x, y): (&[T; N], &[T; N]) = match (x[start..].first_chunk(), y[start..].first_chunk()) {
            (Some(x), Some(y)) => (x, y),
            _ => unreachable!("because the lines are as long as the sums"),
        };
        for lane in 0..N {
            let (x, y): (f64, f64) = (x[lane].into(), y[lane].into());
            let (weighted_x, weighted_y) = (weight * x, weight * y);
            sums[0][lane] += weighted_x;
            sums[1][lane] += weighted_y;
            sums[2][lane] += weighted_x * x;
            sums[3][lane] += weighted_y * y;
            sums[4][lane] += weighted_x * y;
        }
    }
    sums
}

/// The weighted sum of lines that are as long as `sums`.
fn weighted_sum<'a>(sums: &mut [f64], weights: &[f64], line_of: impl Fn(usize) -> &'a [f64]) {
    let n_whole = sums.len() / LANES * LANES;
    let (whole, rest) = sums.split_at_mut(n_whole);
    for (n, run) in whole.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut sum = [0.0; LANES];
        for (step, weight) in weights.iter().enumerate() {
            let terms = line_of(step)[n * LANES..].first_chunk::<LANES>();
            let terms = terms.expect("because a line is as long as the sums");
            for lane in 0..LANES {
                sum[lane] += weight * terms[lane];
            }
        }
        *run = sum;
    }
    for (n, sum) in rest.iter_mut().enumerate() {
        *sum = weights.iter().enumerate().map(|(step, weight)| weight * line_of(step)[n_whole + n]).sum();
    }
}

/// The sum of `statistic` over the masked voxels that have a full window, which are those at least the window's border
/// away from every face; the sums of slices are added in order.
pub(crate) fn masked_window_sum(
    x: &Stack<'_, f64>,
    y: &Stack<'_, f64>,
    window: &Window,
    mask: &[bool],
    statistic: impl Fn(Moments) -> f64 + Sync,
) -> Sum {
    let [nk, nj, ni] = x.shape_kji;
    let border = window.border();
    if [nk, nj, ni].iter().any(|&n| n < window.size()) {
        return Sum::default();
    }
    let mask_row = |k: usize, j: usize| &mask[(k * nj + j) * ni..][border..ni - border];
    let of_slices: Vec<Sum> = (border..nk - border)
        .into_par_iter()
        .map(|k| {
            let mut sum = Sum::default();
            let mut masked = (border..nj - border).filter(|&j| mask_row(k, j).contains(&true));
            let Some(first) = masked.next() else { return sum };
            let last = masked.next_back().unwrap_or(first);
            each_row(x, y, window, k, first..last + 1, |row| {
                for (i, _) in mask_row(k, row.j).iter().enumerate().filter(|&(_, &inside)| inside) {
                    sum.total += statistic(row.at(i + border));
                    sum.n += 1;
                }
            });
            sum
        })
        .collect();
    of_slices.iter().fold(Sum::default(), |a, b| Sum { total: a.total + b.total, n: a.n + b.n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{got} instead of {expected}");
    }

    /// The moments by their definition, values beyond a face mirrored.
    fn plain(x: &[f64], y: &[f64], shape_kji: [usize; 3], window: &Window, at_kji: [usize; 3]) -> Moments {
        let [nk, nj, ni] = shape_kji;
        let reflected = |n: i64, size: usize| {
            let size = size as i64;
            // One reflection suffices for a window no larger than the stack.
            (if n < 0 {
                -1 - n
            } else if n >= size {
                2 * size - 1 - n
            } else {
                n
            }) as usize
        };
        let mut terms = Vec::new();
        let border = window.border() as i64;
        for (dk, wk) in window.weights.iter().enumerate() {
            for (dj, wj) in window.weights.iter().enumerate() {
                for (di, wi) in window.weights.iter().enumerate() {
                    let [k, j, i] = [(0, dk, nk), (1, dj, nj), (2, di, ni)]
                        .map(|(axis, step, n)| reflected(at_kji[axis] as i64 + step as i64 - border, n));
                    let at = (k * nj + j) * ni + i;
                    terms.push((wk * wj * wi, x[at], y[at]));
                }
            }
        }
        let mean =
            |value: &dyn Fn(f64, f64) -> f64| terms.iter().map(|&(w, x, y)| w * value(x, y)).sum::<f64>();
        let (mean_x, mean_y) = (mean(&|x, _| x), mean(&|_, y| y));
        let n = terms.len() as f64;
        let factor = if window.covariance_factor > 1.0 { n / (n - 1.0) } else { 1.0 };
        Moments {
            mean_x,
            mean_y,
            variance_x: factor * mean(&|x, _| (x - mean_x).powi(2)),
            variance_y: factor * mean(&|_, y| (y - mean_y).powi(2)),
            covariance: factor * mean(&|x, y| (x - mean_x) * (y - mean_y)),
        }
    }

    #[test]
    fn moments_equal_their_definition_in_every_window() {
        // Different sizes, so that swapped axes show.
        let shape_kji = [8, 9, 13];
        let [nk, nj, ni] = shape_kji;
        let x: Vec<f64> = (0..nk * nj * ni).map(|n| ((n * 7919) % 1009) as f64).collect();
        let y: Vec<f64> = (0..nk * nj * ni).map(|n| ((n * 104_729) % 2003) as f64 - 900.0).collect();
        let (x_stack, y_stack) = (Stack { shape_kji, values: &x }, Stack { shape_kji, values: &y });
        for window in [Window::uniform(7).with_sample_covariance(), Window::gaussian(0.8, 3.5)] {
            assert_eq!(window.size(), 7);
            for k in 0..nk {
                let mut n_rows = 0;
                each_row(&x_stack, &y_stack, &window, k, 0..nj, |row| {
                    n_rows += 1;
                    for i in 0..ni {
                        let got = row.at(i);
                        let want = plain(&x, &y, shape_kji, &window, [k, row.j, i]);
                        check(got.mean_x, want.mean_x);
                        check(got.mean_y, want.mean_y);
                        check(got.variance_x, want.variance_x);
                        check(got.variance_y, want.variance_y);
                        check(got.covariance, want.covariance);
                    }
                });
                assert_eq!(n_rows, nj);
            }
        }
    }

    #[test]
    fn only_masked_voxels_with_a_full_window_count() {
        let shape_kji = [9, 10, 11];
        let x: Vec<f64> = (0..990).map(|n| ((n * 7919) % 1009) as f64).collect();
        let stack = Stack { shape_kji, values: &x };
        let window = Window::uniform(7);
        let mask: Vec<bool> = (0..990).map(|n| n % 3 == 0).collect();
        let got = masked_window_sum(&stack, &stack, &window, &mask, |m| m.mean_x);
        let mut expected = Sum::default();
        for n in (0..990).filter(|n| n % 3 == 0) {
            let [k, j, i] = [n / 110, n / 11 % 10, n % 11];
            if (3..6).contains(&k) && (3..7).contains(&j) && (3..8).contains(&i) {
                expected.total += plain(&x, &x, shape_kji, &window, [k, j, i]).mean_x;
                expected.n += 1;
            }
        }
        assert_eq!(got.n, expected.n);
        check(got.total, expected.total);
        assert_eq!(masked_window_sum(&stack, &stack, &window, &[false; 990], |m| m.mean_x), Sum::default());
    }
}
