//! Implicit shapes: distances that are negative inside, in the units of their arguments.
//!
//! Ellipsoid and superellipsoid distances are first-order estimates, exact on the surface and close to it.

/// A position in a subject's canonical frame: left, posterior, superior.
pub(crate) type Position = [f64; 3];

pub(crate) fn sub(a: Position, b: Position) -> Position {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn dot(a: Position, b: Position) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn norm(a: Position) -> f64 {
    dot(a, a).sqrt()
}

/// The position on the left side that mirrors `p`, and `p` itself when it is there.
pub(crate) fn mirrored(p: Position) -> Position {
    [p[0].abs(), p[1], p[2]]
}

/// Distance to an ellipsoid with semi-axes `radii` about `center`.
pub(crate) fn ellipsoid(p: Position, center: Position, radii: Position) -> f64 {
    let q = sub(p, center);
    let scaled = [q[0] / radii[0], q[1] / radii[1], q[2] / radii[2]];
    let k0 = norm(scaled);
    let k1 = norm([scaled[0] / radii[0], scaled[1] / radii[1], scaled[2] / radii[2]]);
    if k1 < 1e-12 {
        return -radii[0].min(radii[1]).min(radii[2]);
    }
    k0 * (k0 - 1.0) / k1
}

/// Distance to the superellipsoid Σ|q/r|ⁿ = 1: n = 2 is an ellipsoid, larger n is boxier.
pub(crate) fn superellipsoid(p: Position, center: Position, radii: Position, exponent: f64) -> f64 {
    let q = sub(p, center);
    let scaled = [0, 1, 2].map(|axis| (q[axis] / radii[axis]).abs());
    let powers = scaled.map(|s| if s > 1e-9 { s.powf(exponent) } else { 0.0 });
    let sum = powers[0] + powers[1] + powers[2];
    if sum < 1e-6 {
        return -radii[0].min(radii[1]).min(radii[2]);
    }
    // f = sum^(1/n) is homogeneous of degree one; its gradient turns f − 1 into a length.
    let f = sum.powf(1.0 / exponent);
    let gradient = [0, 1, 2]
        .map(|axis| if scaled[axis] > 1e-9 { powers[axis] / (scaled[axis] * radii[axis]) } else { 0.0 })
        .map(|g| g * f / sum);
    (f - 1.0) / norm(gradient).max(1e-6)
}

/// Distance to an ellipse in the plane, from coordinates relative to its center.
pub(crate) fn ellipse(u: f64, v: f64, ru: f64, rv: f64) -> f64 {
    let (a, b) = (u / ru, v / rv);
    let k0 = a.hypot(b);
    let k1 = (a / ru).hypot(b / rv);
    if k1 < 1e-12 { -ru.min(rv) } else { k0 * (k0 - 1.0) / k1 }
}

/// Distance to a segment from `a` to `b` whose radius goes linearly from `ra` to `rb`.
pub(crate) fn round_cone(p: Position, a: Position, b: Position, ra: f64, rb: f64) -> f64 {
    let along = sub(b, a);
    let from_a = sub(p, a);
    let t = (dot(from_a, along) / dot(along, along)).clamp(0.0, 1.0);
    let nearest = [from_a[0] - t * along[0], from_a[1] - t * along[1], from_a[2] - t * along[2]];
    norm(nearest) - (ra + t * (rb - ra))
}

/// The union of two shapes, rounded over a length `k`.
pub(crate) fn smooth_min(a: f64, b: f64, k: f64) -> f64 {
    let h = (k - (a - b).abs()).max(0.0) / k;
    a.min(b) - h * h * k * 0.25
}

/// The intersection of two shapes, rounded over a length `k`.
pub(crate) fn smooth_max(a: f64, b: f64, k: f64) -> f64 {
    -smooth_min(-a, -b, k)
}

/// 0 below `from`, 1 above `to`, a cubic between.
pub(crate) fn smooth_step(from: f64, to: f64, x: f64) -> f64 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A bump of height 1 about `center`, zero beyond the ellipsoid of semi-axes `radii`: (1 − s²)².
pub(crate) fn bump(p: Position, center: Position, radii: Position) -> f64 {
    let q = sub(p, center);
    let s2 = (0..3).map(|axis| (q[axis] / radii[axis]).powi(2)).sum::<f64>();
    if s2 >= 1.0 { 0.0 } else { (1.0 - s2).powi(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: f64, expected: f64, tolerance: f64) {
        assert!((got - expected).abs() <= tolerance, "{got} instead of {expected}");
    }

    #[test]
    fn distances_to_round_shapes_are_exact() {
        check(ellipsoid([3.0, 4.0, 0.0], [0.0; 3], [2.0; 3]), 3.0, 1e-12);
        check(superellipsoid([3.0, 4.0, 0.0], [0.0; 3], [2.0; 3], 2.0), 3.0, 1e-9);
        check(ellipse(0.0, -7.0, 4.0, 4.0), 3.0, 1e-12);
        check(round_cone([5.0, 2.0, 0.0], [0.0; 3], [10.0, 0.0, 0.0], 1.0, 3.0), 0.0, 1e-12);
        check(round_cone([-4.0, 3.0, 0.0], [0.0; 3], [10.0, 0.0, 0.0], 1.0, 3.0), 4.0, 1e-12);
    }

    #[test]
    fn superellipsoid_surface_is_where_the_formula_says() {
        let (radii, n) = ([60.0, 80.0, 70.0], 2.6);
        for direction in [[1.0, 0.2, 0.4], [-0.3, 1.0, 0.9], [0.1, -0.5, -1.0]] {
            let scale = (0..3)
                .map(|axis: usize| (f64::abs(direction[axis]) / radii[axis]).powf(n))
                .sum::<f64>()
                .powf(-1.0 / n);
            let on_surface = direction.map(|d| d * scale);
            check(superellipsoid(on_surface, [0.0; 3], radii, n), 0.0, 1e-9);
            check(
                superellipsoid(on_surface.map(|c| c * 1.01), [0.0; 3], radii, n),
                0.01 * norm(on_surface),
                0.3,
            );
        }
    }

    #[test]
    fn smooth_union_lies_below_both_and_equals_the_nearer_far_from_the_seam() {
        check(smooth_min(1.0, 9.0, 4.0), 1.0, 0.0);
        check(smooth_min(2.0, 2.0, 4.0), 1.0, 1e-12);
        check(smooth_max(2.0, 2.0, 4.0), 3.0, 1e-12);
    }
}
