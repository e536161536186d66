//! A box of trilinear dose, and the smallest γ in it.

/// A box of trilinear dose around or beside a reference point.
///
/// Positions are in mm from the reference point, doses relative to the reference dose.
/// With u ∈ [−1, 1]³ across the box, the dose is Σ c_s Π u_a over the axes a in the bit set s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch {
    /// The middle of the box, mm.
    middle: [f64; 3],
    /// Half its width, mm; 0 along an axis on which the dose has one voxel.
    half: [f64; 3],
    /// The coefficients c_s.
    coefficients: [f64; 8],
}

/// What is known of γ in a box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// γ is nowhere smaller.
    pub(super) lower: f64,
    /// γ at a point of the box.
    pub(super) upper: f64,
}

impl Patch {
    /// The box with these corner doses, i fastest.
    pub(super) fn new(middle: [f64; 3], half: [f64; 3], corners: [f64; 8]) -> Self {
        let mut c = corners;
        // Along each axis: half the sum and half the difference of the two ends.
        for bit in [1, 2, 4] {
            for low in (0..8).filter(|s| s & bit == 0) {
                let (a, b) = (c[low], c[low | bit]);
                (c[low], c[low | bit]) = (0.5 * (a + b), 0.5 * (b - a));
            }
        }
        Self { middle, half, coefficients: c }
    }

    /// The square of the distance of the box from the reference point, mm².
    pub(super) fn distance2_mm2(&self) -> f64 {
        distance2(self.middle, self.half)
    }

    /// How far the dose may be from linear, in Gy.
    fn bend(&self) -> f64 {
        let c = &self.coefficients;
        c[3].abs() + c[5].abs() + c[6].abs() + c[7].abs()
    }

    /// Bounds of γ from the linear part of the dose, for which the minimum over the box is found exactly; none if γ is
    /// certainly not below `limit`.
    ///
    /// γ is a norm of (position / DTA, dose / ΔD), and the dose differs from its linear part by [`bend`](Self::bend) at
    /// most; so γ differs from that of the linear part by bend / ΔD at most.
    pub(super) fn bounds(&self, distance_mm: f64, tolerance_gy: f64, limit: f64) -> Option<Bounds> {
        let gradient = [0, 1, 2].map(|axis| {
            if self.half[axis] > 0.0 { self.coefficients[1 << axis] / self.half[axis] } else { 0.0 }
        });
        let at_reference = self.coefficients[0] - dot(gradient, self.middle);
        let bend = self.bend() / tolerance_gy;
        let k = (tolerance_gy / distance_mm).powi(2);
        // Without the box's faces the minimum of the linear part is the distance from a plane.
        let mu = at_reference / (k + dot(gradient, gradient));
        if mu.abs() * (k * (k + dot(gradient, gradient))).sqrt() >= (limit + bend) * tolerance_gy {
            return None;
        }
        let position = self.nearest(at_reference, gradient, k, mu);
        let distance2 = dot(position, position) / distance_mm.powi(2);
        let linear = (at_reference + dot(gradient, position)) / tolerance_gy;
        let lower = (distance2 + linear * linear).sqrt() - bend;
        let dose = self.dose_at(position) / tolerance_gy;
        (lower < limit).then(|| Bounds { lower, upper: (distance2 + dose * dose).sqrt() })
    }

    /// The point of the box where |r|² k + (e + g·r)² is smallest.
    ///
    /// There r = clamp(−μ g) to the box, with μ k = e + g·r: the root of a continuous, rising, piecewise linear function
    /// of μ, found by Newton steps, which end exactly once the clamped axes are right, kept inside a shrinking bracket.
    /// `mu` is the root if no axis is clamped.
    fn nearest(&self, e: f64, gradient: [f64; 3], k: f64, mut mu: f64) -> [f64; 3] {
        const MOST_STEPS: usize = 40;
        let (mut below, mut above) = (f64::NEG_INFINITY, f64::INFINITY);
        let mut free_before = [true; 3];
        let mut r = [0.0; 3];
        for _ in 0..MOST_STEPS {
            let mut free = [true; 3];
            for axis in 0..3 {
                let offset = -mu * gradient[axis] - self.middle[axis];
                free[axis] = offset.abs() <= self.half[axis];
                r[axis] = self.middle[axis] + offset.clamp(-self.half[axis], self.half[axis]);
            }
            if free == free_before {
                break;
            }
            free_before = free;
            let value = mu * k - e - dot(gradient, r);
            if value > 0.0 {
                above = mu;
            } else {
                below = mu;
            }
            let slope =
                (0..3).fold(k, |slope, axis| slope + if free[axis] { gradient[axis].powi(2) } else { 0.0 });
            let next = mu - value / slope;
            if (next > below && next < above) || !(below.is_finite() && above.is_finite()) {
                mu = next;
            } else {
                mu = 0.5 * (below + above);
                // A step that is not Newton's does not end the search.
                free_before = [!free[0]; 3];
            }
        }
        r
    }

    /// The dose at a position of the box, relative to the reference dose.
    fn dose_at(&self, position: [f64; 3]) -> f64 {
        let [u, v, w] = [0, 1, 2].map(|axis| {
            if self.half[axis] > 0.0 { (position[axis] - self.middle[axis]) / self.half[axis] } else { 0.0 }
        });
        let c = &self.coefficients;
        let low = c[0] + c[1] * u + (c[2] + c[3] * u) * v;
        let high = c[4] + c[5] * u + (c[6] + c[7] * u) * v;
        low + high * w
    }

    /// The two halves across the axis that bends the dose most, the nearer one first.
    pub(super) fn halves(&self) -> [Self; 2] {
        let c = &self.coefficients;
        let bend_of = [c[3].abs() + c[5].abs(), c[3].abs() + c[6].abs(), c[5].abs() + c[6].abs()];
        let axis = (0..3).fold(0, |best, axis| if bend_of[axis] > bend_of[best] { axis } else { best });
        let bit = 1 << axis;
        let part = |side: f64| {
            let mut half = *self;
            half.half[axis] *= 0.5;
            half.middle[axis] += side * half.half[axis];
            for low in (0..8).filter(|s| s & bit == 0) {
                half.coefficients[low] += side * 0.5 * half.coefficients[low | bit];
                half.coefficients[low | bit] *= 0.5;
            }
            half
        };
        let side = if self.middle[axis] > 0.0 { -1.0 } else { 1.0 };
        [part(side), part(-side)]
    }
}

/// The square of the distance of a box from the origin.
pub(super) fn distance2(middle: [f64; 3], half: [f64; 3]) -> f64 {
    let beyond = |axis: usize| (middle[axis].abs() - half[axis]).max(0.0);
    beyond(0).powi(2) + beyond(1).powi(2) + beyond(2).powi(2)
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch() -> Patch {
        Patch::new([1.0, -0.5, 2.0], [0.5, 1.0, 1.5], [0.3, -0.2, 0.5, 0.1, -0.4, 0.7, 0.2, 0.9])
    }

    /// γ on a fine lattice of positions in the box.
    fn smallest_by_trial(patch: &Patch, distance_mm: f64, tolerance_gy: f64) -> f64 {
        const N: i32 = 60;
        let mut smallest = f64::INFINITY;
        for n in 0..(N + 1).pow(3) {
            let u = [n % (N + 1), n / (N + 1) % (N + 1), n / (N + 1).pow(2)];
            let r = [0, 1, 2]
                .map(|a| patch.middle[a] + patch.half[a] * (2.0 * f64::from(u[a]) / f64::from(N) - 1.0));
            let gamma = (dot(r, r).sqrt() / distance_mm).hypot(patch.dose_at(r) / tolerance_gy);
            smallest = smallest.min(gamma);
        }
        smallest
    }

    #[test]
    fn corners_are_met() {
        let patch = patch();
        let corners = [0.3, -0.2, 0.5, 0.1, -0.4, 0.7, 0.2, 0.9];
        for (n, expected) in corners.into_iter().enumerate() {
            let r =
                [0, 1, 2].map(|a| patch.middle[a] + patch.half[a] * if n >> a & 1 == 1 { 1.0 } else { -1.0 });
            assert!((patch.dose_at(r) - expected).abs() < 1e-14, "corner {n}");
        }
    }

    #[test]
    fn halves_are_the_same_dose() {
        let patch = patch();
        for half in patch.halves() {
            for shift in [[0.3, -0.2, 0.6], [-1.0, 1.0, 0.0]] {
                let r = [0, 1, 2].map(|a| half.middle[a] + shift[a] * half.half[a]);
                assert!((patch.dose_at(r) - half.dose_at(r)).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn bounds_hold_and_close_up() -> Result<(), &'static str> {
        for (distance_mm, tolerance_gy) in [(1.0, 0.1), (3.0, 0.05), (0.5, 2.0)] {
            let patch = patch();
            let trial = smallest_by_trial(&patch, distance_mm, tolerance_gy);
            let bounds = patch.bounds(distance_mm, tolerance_gy, f64::INFINITY).ok_or("no bounds")?;
            assert!(bounds.lower <= trial && trial <= bounds.upper + 1e-3, "{bounds:?} against {trial}");
            // The best of the pieces after some halvings: their bounds meet at the minimum.
            let mut pieces = vec![patch];
            for _ in 0..9 {
                pieces = pieces.iter().flat_map(Patch::halves).collect();
            }
            let of_pieces =
                pieces.iter().filter_map(|piece| piece.bounds(distance_mm, tolerance_gy, trial + 1e-9));
            let upper = of_pieces.fold(f64::INFINITY, |best, bounds| best.min(bounds.upper));
            assert!(upper <= trial + 1e-12, "{upper} against {trial}");
            assert!(upper > trial - 0.05, "{upper} against {trial}");
        }
        Ok(())
    }

    #[test]
    fn linear_dose_has_a_closed_form() -> Result<(), &'static str> {
        // Dose 0.2 + 0.3 x around the reference: γ = |0.2| / √(ΔD² + g² DTA²).
        let corners = [-1.3, 1.7, -1.3, 1.7, -1.3, 1.7, -1.3, 1.7];
        let patch = Patch::new([0.0; 3], [5.0; 3], corners);
        let bounds = patch.bounds(2.0, 0.5, f64::INFINITY).ok_or("no bounds")?;
        let expected = 0.2 / 0.5_f64.hypot(0.3 * 2.0);
        assert!(
            (bounds.lower - expected).abs() < 1e-12 && (bounds.upper - expected).abs() < 1e-12,
            "{bounds:?}"
        );
        assert!(patch.bounds(2.0, 0.5, 0.99 * expected).is_none());
        Ok(())
    }
}
