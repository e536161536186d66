//! The uphill walk on one level.

use super::config::LinearModel;
use super::map::{CenteredMap, N_COORDINATES};
use super::metric::{AffineMetric, Slope};

/// When a walk ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalkLimits {
    /// The most steps.
    pub(crate) max_iterations: usize,
    /// The longest step, as the root mean square shift of the samples, in mm.
    pub(crate) longest_step_mm: f64,
    /// Steps shorter than this end the walk, in mm.
    pub(crate) tolerance_mm: f64,
    /// The fewest samples that must stay inside the moving image.
    pub(crate) min_inside: usize,
}

/// Where a walk ended.
#[derive(Clone, Debug)]
pub(crate) struct WalkEnd<E> {
    pub(crate) map: CenteredMap,
    pub(crate) before: E,
    pub(crate) after: E,
    pub(crate) iterations: usize,
}

/// Climbs the metric from `map` by BFGS with a backtracking line search.
///
/// The first curvature is the metric's own estimate, for information the mean outer product of the samples' gradients
/// (Berndt et al. 1974), which already knows how rotation, shift and shear compare; the length of a step is what it moves
/// the samples by, in mm.
/// Each step's parameters are those about the current map, so that rotations compose exactly.
pub(crate) fn climb<M: AffineMetric>(
    metric: &mut M,
    model: LinearModel,
    map: CenteredMap,
    limits: &WalkLimits,
    observe: &mut dyn FnMut(usize, f64),
) -> WalkEnd<M::Evaluation> {
    let moments = metric.second_moments();
    let mut map = map;
    let (before, mut slope) = metric.evaluate_with_slope(&map, true);
    let mut here = before.clone();
    observe(0, here.as_ref().value);
    let mut curvature = projected_curvature(&map, model, &slope, &moments);
    let mut is_fresh = true;
    let mut iterations = 0;
    while iterations < limits.max_iterations {
        let gradient = projected_gradient(&map, model, &slope);
        let Some(mut step) = solve(&curvature, &gradient) else { break };
        let shift_metric = shift_metric(&map, model, &moments);
        let length_mm = quadratic(&shift_metric, &step).sqrt();
        if length_mm > limits.longest_step_mm {
            let scale = limits.longest_step_mm / length_mm;
            for entry in &mut step {
                *entry *= scale;
            }
        }
        let length_mm = length_mm.min(limits.longest_step_mm);
        let rise = dot(&gradient, &step);
        let mut fraction = 1.0;
        let mut found = None;
        while fraction * length_mm >= 0.1 * limits.tolerance_mm && fraction > 1e-4 {
            let tried: Vec<f64> = step.iter().map(|entry| entry * fraction).collect();
            let next = map.stepped(model, &tried);
            let (there, slope) = metric.evaluate_with_slope(&next, false);
            let gain = there.as_ref().value - here.as_ref().value;
            if there.as_ref().n_inside >= limits.min_inside && gain >= 1e-4 * fraction * rise {
                found = Some((next, there, slope, tried));
                break;
            }
            // The top of the parabola through the value and slope here and the value there.
            let top = 0.5 * fraction * rise / (fraction * rise - gain);
            fraction *= if top.is_finite() { top.clamp(0.1, 0.5) } else { 0.1 };
        }
        let Some((next, there, next_slope, taken)) = found else {
            if is_fresh {
                break;
            }
            // The curvature has gone astray; begin anew from here.
            let (_, fresh) = metric.evaluate_with_slope(&map, true);
            curvature = projected_curvature(&map, model, &fresh, &moments);
            is_fresh = true;
            continue;
        };
        let next_gradient = projected_gradient(&next, model, &next_slope);
        let bend: Vec<f64> = std::iter::zip(&gradient, &next_gradient).map(|(a, b)| a - b).collect();
        update(&mut curvature, &taken, &bend);
        is_fresh = false;
        (map, here, slope) = (next, there, next_slope);
        iterations += 1;
        observe(iterations, here.as_ref().value);
        if quadratic(&shift_metric, &taken).sqrt() < limits.tolerance_mm {
            break;
        }
    }
    WalkEnd { map, before, after: here, iterations }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    std::iter::zip(a, b).map(|(a, b)| a * b).sum()
}

fn quadratic(matrix: &[Vec<f64>], v: &[f64]) -> f64 {
    std::iter::zip(matrix, v).map(|(row, entry)| entry * dot(row, v)).sum::<f64>().max(0.0)
}

fn projected_gradient(map: &CenteredMap, model: LinearModel, slope: &Slope) -> Vec<f64> {
    map.tangents(model).iter().map(|tangent| dot(tangent, &slope.gradient)).collect()
}

/// The matrix S for which the mean squared shift of the samples by a step p is pᵀ S p, in mm².
fn shift_metric(map: &CenteredMap, model: LinearModel, moments: &[[f64; 4]; 4]) -> Vec<Vec<f64>> {
    let tangents = map.tangents(model);
    let product = |a: &[f64; N_COORDINATES], b: &[f64; N_COORDINATES]| -> f64 {
        (0..3)
            .map(|row| {
                let (a, b) = (&a[4 * row..4 * row + 4], &b[4 * row..4 * row + 4]);
                std::iter::zip(a, moments).map(|(entry, moments)| entry * dot(moments, b)).sum::<f64>()
            })
            .sum()
    };
    tangents.iter().map(|a| tangents.iter().map(|b| product(a, b)).collect()).collect()
}

/// The curvature in the model's parameters, with a thousandth of a multiple of the shift metric added, so
/// that directions in which the images show nothing do not run away.
fn projected_curvature(
    map: &CenteredMap,
    model: LinearModel,
    slope: &Slope,
    moments: &[[f64; 4]; 4],
) -> Vec<Vec<f64>> {
    let tangents = map.tangents(model);
    let shift = shift_metric(map, model, moments);
    let n = tangents.len();
    let mut curvature = vec![vec![0.0; n]; n];
    if let Some(full) = &slope.curvature {
        for (a, row) in curvature.iter_mut().enumerate() {
            let along: Vec<f64> = (0..N_COORDINATES).map(|c| dot(&tangents[a], &full[c])).collect();
            for (b, entry) in row.iter_mut().enumerate() {
                *entry = dot(&along, &tangents[b]);
            }
        }
    }
    // How the two compare on average, parameter by parameter.
    let ratio = (0..n).map(|a| curvature[a][a] / shift[a][a].max(1e-300)).sum::<f64>() / n as f64;
    for (row, shift) in std::iter::zip(&mut curvature, &shift) {
        for (entry, shift) in std::iter::zip(row, shift) {
            *entry += 1e-3 * ratio * shift;
        }
    }
    curvature
}

/// The BFGS update of a curvature by a step and the fall of the gradient along it; left out where the fall is none.
fn update(curvature: &mut [Vec<f64>], step: &[f64], bend: &[f64]) {
    let along: Vec<f64> = curvature.iter().map(|row| dot(row, step)).collect();
    let (old, new) = (dot(step, &along), dot(step, bend));
    if !(old > 0.0 && new > 1e-2 * old) {
        return;
    }
    for (a, row) in curvature.iter_mut().enumerate() {
        for (b, entry) in row.iter_mut().enumerate() {
            *entry += bend[a] * bend[b] / new - along[a] * along[b] / old;
        }
    }
}

/// The solution of a symmetric positive definite system, by Cholesky; none if it is not positive definite.
fn solve(matrix: &[Vec<f64>], right: &[f64]) -> Option<Vec<f64>> {
    let n = right.len();
    let mut lower = vec![vec![0.0; n]; n];
    for row in 0..n {
        for column in 0..=row {
            let rest = matrix[row][column] - dot(&lower[row][..column], &lower[column][..column]);
            if row == column {
                if rest.is_nan() || rest <= 1e-14 * matrix[row][row] {
                    return None;
                }
                lower[row][row] = rest.sqrt();
            } else {
                lower[row][column] = rest / lower[column][column];
            }
        }
    }
    let mut solution = right.to_vec();
    for row in 0..n {
        solution[row] = (solution[row] - dot(&lower[row][..row], &solution[..row])) / lower[row][row];
    }
    for row in (0..n).rev() {
        let above: f64 = (row + 1..n).map(|m| lower[m][row] * solution[m]).sum();
        solution[row] = (solution[row] - above) / lower[row][row];
    }
    Some(solution)
}
