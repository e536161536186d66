//! Cubic B-splines along one axis, tabulated for evenly spaced positions.

/// The values of the four cubic B-splines that reach a position `t` (0 to 1) between two control points.
///
/// The first belongs to the control point before the lower one, the last to the one after the upper one.
#[inline]
pub(crate) fn cubic_weights(t: f64) -> [f64; 4] {
    let u = 1.0 - t;
    [
        u * u * u / 6.0,
        2.0 / 3.0 - t * t * (2.0 - t) / 2.0,
        2.0 / 3.0 - u * u * (2.0 - u) / 2.0,
        t * t * t / 6.0,
    ]
}

/// The derivatives of [`cubic_weights`] with respect to `t`.
#[inline]
pub(crate) fn cubic_slopes(t: f64) -> [f64; 4] {
    let u = 1.0 - t;
    [-u * u / 2.0, t * (1.5 * t - 2.0), u * (2.0 - 1.5 * u), t * t / 2.0]
}

/// The four control points that reach each of a row of evenly spaced positions, and how much each counts.
///
/// It is what makes a B-spline lattice fast on a grid: weights are a matter of one axis each.
#[derive(Clone, Debug, PartialEq)]
pub struct SplineAxis {
    /// For each position, the first of its four control points.
    pub first: Vec<usize>,
    /// For each position, the weights of its four control points; all zero outside the lattice.
    pub weights: Vec<[f64; 4]>,
    /// For each position, the derivatives of the weights per step from one control point to the next.
    pub slopes: Vec<[f64; 4]>,
}

impl SplineAxis {
    /// The table for `n` positions `start`, `start + step`, …, in steps from control point to control point, of which
    /// there are `n_controls` (at least four).
    ///
    /// The splines reach from control point 1 to the last but one; positions elsewhere have no weight.
    pub fn new(n_controls: usize, start: f64, step: f64, n: usize) -> Self {
        let mut axis = Self { first: vec![0; n], weights: vec![[0.0; 4]; n], slopes: vec![[0.0; 4]; n] };
        for sample in 0..n {
            if let Some((first, t)) = span_of(start + step * sample as f64, n_controls) {
                axis.first[sample] = first;
                axis.weights[sample] = cubic_weights(t);
                axis.slopes[sample] = cubic_slopes(t);
            }
        }
        axis
    }
}

/// The first of the four control points that reach a position, and how far (0 to 1) it is from the second to the third;
/// none outside the lattice.
#[inline]
pub(crate) fn span_of(position: f64, n_controls: usize) -> Option<(usize, f64)> {
    // Positions that should lie on the last face are off by rounding errors.
    const EDGE: f64 = 1e-9;
    let last = n_controls as f64 - 2.0;
    if !(position >= 1.0 - EDGE && position <= last + EDGE) {
        return None;
    }
    let lower = (position.floor().max(1.0) as usize).min(n_controls - 3);
    Some((lower - 1, position - lower as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_cubic_b_spline_and_slopes_its_derivative() {
        // B(0) = 2/3, B(±1) = 1/6, B(±1/2) = 23/48.
        let close = |got: [f64; 4], want: [f64; 4]| {
            assert!(
                std::iter::zip(got, want).all(|(a, b)| (a - b).abs() < 1e-9),
                "{got:?}, expected {want:?}"
            );
        };
        close(cubic_weights(0.0), [1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0, 0.0]);
        close(cubic_weights(0.5), [1.0 / 48.0, 23.0 / 48.0, 23.0 / 48.0, 1.0 / 48.0]);
        for t in [0.1, 0.35, 0.8] {
            let (below, above) = (cubic_weights(t - 1e-5), cubic_weights(t + 1e-5));
            close(cubic_slopes(t), [0, 1, 2, 3].map(|n| (above[n] - below[n]) / 2e-5));
        }
    }

    #[test]
    fn the_last_position_inside_is_the_last_control_point_but_one() {
        let axis = SplineAxis::new(5, 0.5, 0.5, 8);
        assert_eq!(axis.first, [0, 0, 0, 1, 1, 1, 0, 0]);
        let sums: Vec<f64> = axis.weights.iter().map(|weights| weights.iter().sum()).collect();
        let expected = [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
        assert!(std::iter::zip(&sums, expected).all(|(a, b)| (a - b).abs() < 1e-12), "{sums:?}");
    }
}
