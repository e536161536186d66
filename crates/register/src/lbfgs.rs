//! Limited-memory BFGS, small and repeatable.

use std::collections::VecDeque;

/// Settings of [`minimize`].
pub(crate) struct Settings {
    /// The most steps.
    pub(crate) iterations: usize,
    /// The largest change of any parameter in any step.
    pub(crate) largest_step: f64,
    /// Steps end once one lowers the value by less than this part of what all steps before lowered it.
    pub(crate) tolerance: f64,
}

/// How many steps the estimate of curvature remembers.
const MEMORY: usize = 8;
/// Sufficient decrease of the line search (Armijo).
const DECREASE: f64 = 1e-4;
/// Halvings of a step before the search gives up.
const MAX_BACKTRACKS: usize = 8;

/// Lowers `value_and_gradient` from `parameters` on, in place.
///
/// The line search only shortens steps; a pair enters the memory if curvature along it is positive.
/// `precondition` is about the product with the inverse of the second derivatives, linear, symmetric and positive; its
/// scale does not matter after the first step.
/// `observe` is told of every step: its number and the value reached. Returns the number of steps.
///
/// # References
/// Nocedal, Wright (2006), Numerical Optimization, algorithms 7.4 and 3.1.
pub(crate) fn minimize(
    parameters: &mut [f64],
    settings: &Settings,
    mut value_and_gradient: impl FnMut(&[f64]) -> (f64, Vec<f64>),
    precondition: impl Fn(&[f64]) -> Vec<f64>,
    mut observe: impl FnMut(usize, f64),
) -> usize {
    let (mut value, mut gradient) = value_and_gradient(parameters);
    let value_before = value;
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    let mut small_steps = 0;
    for iteration in 0..settings.iterations {
        let mut direction = descent(&gradient, &memory, &precondition);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 && !memory.is_empty() {
            memory.clear();
            direction = descent(&gradient, &memory, &precondition);
            slope = dot(&direction, &gradient);
        }
        let largest = direction.iter().fold(0.0_f64, |largest, d| largest.max(d.abs()));
        if slope >= 0.0 || largest == 0.0 {
            return iteration;
        }
        let mut step = (settings.largest_step / largest).min(1.0);
        let mut accepted = None;
        for _ in 0..MAX_BACKTRACKS {
            let trial: Vec<f64> =
                std::iter::zip(&*parameters, &direction).map(|(p, d)| p + step * d).collect();
            let (trial_value, trial_gradient) = value_and_gradient(&trial);
            if trial_value <= value + DECREASE * step * slope {
                accepted = Some((trial, trial_value, trial_gradient));
                break;
            }
            // The minimum of the parabola through what is known, within bounds.
            let parabola = -slope * step * step / (2.0 * (trial_value - value - step * slope));
            step = parabola.clamp(0.1 * step, 0.5 * step);
        }
        let Some((trial, trial_value, trial_gradient)) = accepted else {
            if memory.is_empty() {
                return iteration;
            }
            memory.clear();
            continue;
        };
        let change: Vec<f64> = std::iter::zip(&trial, &*parameters).map(|(a, b)| a - b).collect();
        let turn: Vec<f64> = std::iter::zip(&trial_gradient, &gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&change, &turn);
        if curvature > 1e-10 * dot(&turn, &turn).sqrt() * dot(&change, &change).sqrt() {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((change, turn, 1.0 / curvature));
        }
        let gain = value - trial_value;
        parameters.copy_from_slice(&trial);
        (value, gradient) = (trial_value, trial_gradient);
        observe(iteration, value);
        small_steps = if gain < settings.tolerance * (value_before - value) { small_steps + 1 } else { 0 };
        if small_steps == 2 {
            return iteration + 1;
        }
    }
    settings.iterations
}

/// The quasi-Newton direction of descent (two-loop recursion), which starts from `precondition`.
fn descent(
    gradient: &[f64],
    memory: &VecDeque<(Vec<f64>, Vec<f64>, f64)>,
    precondition: impl Fn(&[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut parts = Vec::with_capacity(memory.len());
    for (change, turn, inverse_curvature) in memory.iter().rev() {
        let part = inverse_curvature * dot(change, &direction);
        add_scaled(&mut direction, turn, -part);
        parts.push(part);
    }
    if let Some((_, turn, inverse_curvature)) = memory.back() {
        let scale = 1.0 / (inverse_curvature * dot(turn, &precondition(turn)));
        for part in &mut direction {
            *part *= scale;
        }
    }
    direction = precondition(&direction);
    for ((change, turn, inverse_curvature), part) in std::iter::zip(memory, parts.into_iter().rev()) {
        let back = inverse_curvature * dot(turn, &direction);
        add_scaled(&mut direction, change, part - back);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    std::iter::zip(a, b).map(|(a, b)| a * b).sum()
}

fn add_scaled(sums: &mut [f64], values: &[f64], scale: f64) {
    for (sum, value) in std::iter::zip(sums, values) {
        *sum += scale * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bent_valley_is_walked_to_its_end() {
        // Rosenbrock's function has its minimum, 0, at (1, 1).
        let valley = |p: &[f64]| {
            let (a, b) = (1.0 - p[0], p[1] - p[0] * p[0]);
            (a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * b * p[0], 200.0 * b])
        };
        let mut parameters = [-1.2, 1.0];
        let settings = Settings { iterations: 200, largest_step: 1.0, tolerance: 1e-12 };
        let mut values = Vec::new();
        let steps =
            minimize(&mut parameters, &settings, valley, <[f64]>::to_vec, |_, value| values.push(value));
        assert!(parameters.iter().all(|p| (p - 1.0).abs() < 1e-4), "{parameters:?} after {steps} steps");
        assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
        assert_eq!(values.len(), steps);
    }

    #[test]
    fn the_right_preconditioner_needs_two_steps() {
        let scales = [1.0, 1e3, 1e-3, 50.0];
        let bowl = |p: &[f64]| {
            let gradient: Vec<f64> = std::iter::zip(p, scales).map(|(p, scale)| scale * (p - 0.5)).collect();
            (std::iter::zip(&gradient, p).map(|(g, p)| 0.5 * g * (p - 0.5)).sum(), gradient)
        };
        let mut parameters = [0.0; 4];
        let settings = Settings { iterations: 2, largest_step: 1.0, tolerance: 0.0 };
        let inverse = |g: &[f64]| std::iter::zip(g, scales).map(|(g, scale)| g / scale).collect();
        minimize(&mut parameters, &settings, bowl, inverse, |_, _| {});
        assert!(parameters.iter().all(|p| (p - 0.5).abs() < 1e-9), "{parameters:?}");
    }
}
