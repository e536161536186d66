//! Moments of two images in a sliding 7³ window: what SSIM is made of.

use std::collections::VecDeque;

use rayon::prelude::*;

use crate::inputs::Sum;

/// The window's edge, voxels.
pub(crate) const WINDOW: usize = 7;
/// Half the window, rounded down: the border without a full window.
pub(crate) const BORDER: usize = WINDOW / 2;
/// Slices a task takes at once: enough that the six slices it shares with its neighbour weigh little.
const SLICES_PER_TASK: usize = 16;

/// Means and sample (co)variances of x and y in one window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) mean_x: f64,
    pub(crate) mean_y: f64,
    pub(crate) variance_x: f64,
    pub(crate) variance_y: f64,
    pub(crate) covariance: f64,
}

/// A stack of values of shape `[k, j, i]` in C order.
pub(crate) struct Stack<'a, T> {
    pub(crate) shape_kji: [usize; 3],
    pub(crate) values: &'a [T],
}

/// The sum of `statistic` over the masked voxels that have a full window, which are those at least [`BORDER`] away
/// from every face.
///
/// Each window is summed directly, not by adding and taking away, so that no rounding error travels; the sums of
/// slices are added in order.
pub(crate) fn masked_window_sum(
    x: &Stack<'_, f64>,
    y: &Stack<'_, f64>,
    mask: &[bool],
    statistic: impl Fn(Moments) -> f64 + Sync,
) -> Sum {
    let [nk, nj, ni] = x.shape_kji;
    if [nk, nj, ni].iter().any(|&n| n < WINDOW) {
        return Sum::default();
    }
    let slice_len = nj * ni;
    let (row_len, n_rows) = (ni - 2 * BORDER, nj - 2 * BORDER);
    let first_slices: Vec<usize> = (BORDER..nk - BORDER).step_by(SLICES_PER_TASK).collect();
    let of_slices: Vec<Vec<Sum>> = first_slices
        .par_iter()
        .map(|&first| {
            let last = (first + SLICES_PER_TASK).min(nk - BORDER);
            let plane_sums = |k: usize| {
                let range = k * slice_len..(k + 1) * slice_len;
                plane_window_sums(&x.values[range.clone()], &y.values[range], nj, ni)
            };
            let mut planes: VecDeque<Planes> = (first - BORDER..first + BORDER).map(plane_sums).collect();
            let mut sums = Vec::with_capacity(last - first);
            let mut row: [Vec<f64>; 5] = std::array::from_fn(|_| vec![0.0; row_len]);
            for k in first..last {
                planes.push_back(plane_sums(k + BORDER));
                let mut sum = Sum::default();
                for j in 0..n_rows {
                    let from = k * slice_len + (j + BORDER) * ni + BORDER;
                    let mask_row = &mask[from..from + row_len];
                    if !mask_row.contains(&true) {
                        continue;
                    }
                    for (moment, total) in row.iter_mut().enumerate() {
                        total.fill(0.0);
                        for plane in &planes {
                            let terms = &plane[moment][j * row_len..(j + 1) * row_len];
                            for (total, term) in std::iter::zip(&mut *total, terms) {
                                *total += term;
                            }
                        }
                    }
                    for (i, _) in mask_row.iter().enumerate().filter(|&(_, &inside)| inside) {
                        sum.total += statistic(moments_of_sums(std::array::from_fn(|m| row[m][i])));
                        sum.n += 1;
                    }
                }
                sums.push(sum);
                planes.pop_front();
            }
            sums
        })
        .collect();
    of_slices.iter().flatten().fold(Sum::default(), |a, b| Sum { total: a.total + b.total, n: a.n + b.n })
}

/// Sums of x, y, x², y², xy in the 7×7 windows of a slice: one value for each full window.
type Planes = [Vec<f64>; 5];

fn plane_window_sums(x: &[f64], y: &[f64], nj: usize, ni: usize) -> Planes {
    let (row_len, n_rows) = (ni - 2 * BORDER, nj - 2 * BORDER);
    let mut products = vec![0.0; ni];
    std::array::from_fn(|moment| {
        // First along rows, for every row; then across rows.
        let mut along_rows = vec![0.0; nj * row_len];
        for j in 0..nj {
            let (x, y) = (&x[j * ni..(j + 1) * ni], &y[j * ni..(j + 1) * ni]);
            for (product, (&x, &y)) in std::iter::zip(&mut products, std::iter::zip(x, y)) {
                *product = match moment {
                    0 => x,
                    1 => y,
                    2 => x * x,
                    3 => y * y,
                    _ => x * y,
                };
            }
            let row = &mut along_rows[j * row_len..(j + 1) * row_len];
            for offset in 0..WINDOW {
                for (total, term) in std::iter::zip(&mut *row, &products[offset..]) {
                    *total += term;
                }
            }
        }
        let mut sums = vec![0.0; n_rows * row_len];
        for j in 0..n_rows {
            let row = &mut sums[j * row_len..(j + 1) * row_len];
            for offset in 0..WINDOW {
                for (total, term) in std::iter::zip(&mut *row, &along_rows[(j + offset) * row_len..]) {
                    *total += term;
                }
            }
        }
        sums
    })
}

fn moments_of_sums([sum_x, sum_y, sum_xx, sum_yy, sum_xy]: [f64; 5]) -> Moments {
    const N: f64 = (WINDOW * WINDOW * WINDOW) as f64;
    const SAMPLE: f64 = N / (N - 1.0);
    let (mean_x, mean_y) = (sum_x / N, sum_y / N);
    Moments {
        mean_x,
        mean_y,
        variance_x: SAMPLE * (sum_xx / N - mean_x * mean_x),
        variance_y: SAMPLE * (sum_yy / N - mean_y * mean_y),
        covariance: SAMPLE * (sum_xy / N - mean_x * mean_y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: Sum, expected: f64) {
        assert_eq!(got.n, 1);
        assert!((got.total - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{got:?} {expected}");
    }

    #[test]
    fn windows_equal_their_plain_sums_in_every_axis() {
        // Different sizes, so that swapped axes show; more slices than one task takes.
        let shape_kji = [31, 9, 12];
        let [nk, nj, ni] = shape_kji;
        let at = |k: usize, j: usize, i: usize| (k * nj + j) * ni + i;
        let x: Vec<f64> = (0..nk * nj * ni).map(|n| ((n * 7919) % 1009) as f64).collect();
        let y: Vec<f64> = (0..nk * nj * ni).map(|n| ((n * 104_729) % 2003) as f64 - 900.0).collect();
        let (x_stack, y_stack) = (Stack { shape_kji, values: &x }, Stack { shape_kji, values: &y });
        for k in BORDER..nk - BORDER {
            for j in BORDER..nj - BORDER {
                for i in BORDER..ni - BORDER {
                    let mut mask = vec![false; x.len()];
                    mask[at(k, j, i)] = true;
                    let mut window = Vec::new();
                    for dk in 0..WINDOW {
                        for dj in 0..WINDOW {
                            for di in 0..WINDOW {
                                let n = at(k + dk - BORDER, j + dj - BORDER, i + di - BORDER);
                                window.push((x[n], y[n]));
                            }
                        }
                    }
                    let n = window.len() as f64;
                    let mean_x = window.iter().map(|w| w.0).sum::<f64>() / n;
                    let mean_y = window.iter().map(|w| w.1).sum::<f64>() / n;
                    let covariance =
                        window.iter().map(|w| (w.0 - mean_x) * (w.1 - mean_y)).sum::<f64>() / (n - 1.0);
                    let variance_x = window.iter().map(|w| (w.0 - mean_x).powi(2)).sum::<f64>() / (n - 1.0);
                    check(masked_window_sum(&x_stack, &y_stack, &mask, |m| m.mean_y), mean_y);
                    check(masked_window_sum(&x_stack, &y_stack, &mask, |m| m.variance_x), variance_x);
                    check(masked_window_sum(&x_stack, &y_stack, &mask, |m| m.covariance), covariance);
                    if (k + j + i) % 5 != 0 {
                        // One window in five also has its last two moments looked at.
                        continue;
                    }
                    check(masked_window_sum(&x_stack, &y_stack, &mask, |m| m.mean_x), mean_x);
                    let variance_y = window.iter().map(|w| (w.1 - mean_y).powi(2)).sum::<f64>() / (n - 1.0);
                    check(masked_window_sum(&x_stack, &y_stack, &mask, |m| m.variance_y), variance_y);
                }
            }
        }
    }
}
