//! Least squares without negative weights.

/// The weights w ≥ 0 for which |Σ w_n column_n − wanted|² is smallest.
///
/// Coordinate descent on the normal equations: each weight in turn goes to its best value with the others held, not below
/// zero. The problem is convex, so that the end does not depend on the way; rounds are counted and end when no weight moves
/// by more than 1e-9 of the largest.
///
/// # References
/// Franc, Hlaváč, Navara (2005), doi:10.1007/11556121_50.
pub(super) fn nonnegative_least_squares(columns: &[Vec<f64>], wanted: &[f64]) -> Vec<f64> {
    const MOST_ROUNDS: usize = 10_000;
    let dot = |a: &[f64], b: &[f64]| std::iter::zip(a, b).map(|(a, b)| a * b).sum::<f64>();
    let gram: Vec<Vec<f64>> = columns.iter().map(|a| columns.iter().map(|b| dot(a, b)).collect()).collect();
    let aim: Vec<f64> = columns.iter().map(|a| dot(a, wanted)).collect();
    let mut weights = vec![0.0_f64; columns.len()];
    for _ in 0..MOST_ROUNDS {
        let mut moved = 0.0_f64;
        for n in 0..weights.len() {
            if gram[n][n] <= 0.0 {
                continue;
            }
            let slope = aim[n] - dot(&gram[n], &weights);
            let next = (weights[n] + slope / gram[n][n]).max(0.0);
            moved = moved.max((next - weights[n]).abs());
            weights[n] = next;
        }
        let largest = weights.iter().fold(0.0_f64, |largest, &weight| largest.max(weight));
        if moved <= 1e-9 * largest {
            break;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_solutions_are_found_and_negative_ones_held_at_zero() {
        let columns = vec![vec![1.0, 0.0, 2.0, 1.0], vec![0.0, 1.0, 1.0, -1.0], vec![1.0, 1.0, 0.0, 0.5]];
        let of = |weights: [f64; 3]| -> Vec<f64> {
            (0..4).map(|row| (0..3).map(|n| weights[n] * columns[n][row]).sum()).collect()
        };
        let found = nonnegative_least_squares(&columns, &of([0.5, 2.0, 1.0]));
        assert!(std::iter::zip(&found, [0.5, 2.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        // With a negative ideal the gradient at the zero weight points outward (Karush, Kuhn, Tucker).
        let wanted = of([0.5, -2.0, 1.0]);
        let found = nonnegative_least_squares(&columns, &wanted);
        let made = of([found[0], found[1], found[2]]);
        for n in 0..3 {
            let slope: f64 = (0..4).map(|row| columns[n][row] * (wanted[row] - made[row])).sum();
            assert!(
                if found[n] > 0.0 { slope.abs() < 1e-6 } else { slope <= 1e-9 },
                "{n}: {found:?}, {slope}"
            );
        }
        assert!(found[1] <= 0.0);
    }
}
