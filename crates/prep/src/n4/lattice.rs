//! Cubic B-splines on a lattice of control points, fitted to and evaluated at points that lie on a grid.
//!
//! Because the points are a grid's, each weight is a product of one weight an axis, which is tabulated, and every sum over
//! points is taken axis by axis.

use rayon::prelude::*;

/// The number of control points that a position depends on along one axis: one more than the spline order, 3.
pub(super) const SUPPORT: usize = 4;

/// The weights of the control points at each position along one axis.
#[derive(Clone, Debug)]
pub(super) struct AxisWeights {
    /// The first of the [`SUPPORT`] control points.
    first: Vec<usize>,
    weights: Vec<[f64; SUPPORT]>,
    n_control: usize,
}

impl AxisWeights {
    /// Weights at positions in [0, 1] for a spline whose spans divide that range equally.
    pub(super) fn new(positions: &[f64], n_control: usize) -> Self {
        let n_spans = n_control - (SUPPORT - 1);
        let (first, weights) = positions
            .iter()
            .map(|position| {
                let at = position * n_spans as f64;
                let span = (at as usize).min(n_spans - 1);
                let u = at - span as f64;
                let w = [
                    (1.0 - u).powi(3),
                    (3.0 * u - 6.0) * u * u + 4.0,
                    ((-3.0 * u + 3.0) * u + 3.0) * u + 1.0,
                    u.powi(3),
                ];
                (span, w.map(|w| w / 6.0))
            })
            .unzip();
        Self { first, weights, n_control }
    }

    /// The number of positions.
    pub(super) const fn n_positions(&self) -> usize {
        self.first.len()
    }

    /// The same table with each position's weights passed through `f`.
    fn map(&self, f: impl Fn([f64; SUPPORT]) -> [f64; SUPPORT]) -> Self {
        Self { weights: self.weights.iter().map(|&w| f(w)).collect(), ..self.clone() }
    }
}

/// Control points of a function of three variables, `[k, j, i]`, i fastest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lattice {
    size_ijk: [usize; 3],
    values: Vec<f64>,
}

impl Lattice {
    pub(super) fn zeros(size_ijk: [usize; 3]) -> Self {
        Self { size_ijk, values: vec![0.0; size_ijk.iter().product()] }
    }

    /// The number of control points along i, j, k.
    pub(super) const fn size_ijk(&self) -> [usize; 3] {
        self.size_ijk
    }

    /// Adds another function.
    pub(super) fn add(&mut self, other: &Self) {
        for (value, other) in std::iter::zip(&mut self.values, &other.values) {
            *value += other;
        }
    }

    /// This function times a factor.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        for value in &mut self.values {
            *value *= factor;
        }
        self
    }

    /// The same function with twice as many spans along each axis (the two-scale relation of cubic B-splines).
    pub(super) fn refined(&self) -> Self {
        // An axis at a time; the strides are those of [k, j, i].
        let mut lattice = self.clone();
        for axis in 0..3 {
            let [ni, nj, nk] = lattice.size_ijk;
            let (n, inner) = [(ni, 1), (nj, ni), (nk, ni * nj)][axis];
            let outer = lattice.values.len() / (n * inner);
            let doubled = 2 * (n - (SUPPORT - 1)) + SUPPORT - 1;
            let mut values = Vec::with_capacity(outer * doubled * inner);
            for block in lattice.values.chunks_exact(n * inner) {
                for new in 0..doubled {
                    let row = |old: usize| &block[old * inner..(old + 1) * inner];
                    let old = new / 2;
                    // Control point c lies at the knot c − 1: an odd new one on an old knot, an even one between two.
                    if new % 2 == 1 {
                        let (a, b, c) = (row(old), row(old + 1), row(old + 2));
                        values.extend((0..inner).map(|n| (a[n] + 6.0 * b[n] + c[n]) / 8.0));
                    } else {
                        let (a, b) = (row(old), row(old + 1));
                        values.extend((0..inner).map(|n| f64::midpoint(a[n], b[n])));
                    }
                }
            }
            lattice.size_ijk[axis] = doubled;
            lattice.values = values;
        }
        lattice
    }

    /// The function at one position along k, still control points along j and i: `[j, i]`.
    fn at_k(&self, along_k: &AxisWeights, k: usize) -> Vec<f64> {
        let [ni, nj, _] = self.size_ijk;
        let plane = ni * nj;
        let mut sum = vec![0.0; plane];
        for (n, weight) in along_k.weights[k].iter().enumerate() {
            let from = (along_k.first[k] + n) * plane;
            for (sum, value) in std::iter::zip(&mut sum, &self.values[from..from + plane]) {
                *sum += weight * value;
            }
        }
        sum
    }

    /// Calls `row_of(j, values along i)` for each row of the plane at the k-th position along k.
    pub(super) fn rows_at_k(&self, axes: &[AxisWeights; 3], k: usize, mut row_of: impl FnMut(usize, &[f32])) {
        let [along_i, along_j, along_k] = axes;
        let [n_control_i, ..] = self.size_ijk;
        let n = along_i.first.len();
        let mut strips = Vec::with_capacity(along_j.n_control * n);
        for controls in self.at_k(along_k, k).chunks_exact(n_control_i) {
            strips.extend(std::iter::zip(&along_i.first, &along_i.weights).map(|(&first, weights)| {
                let values = std::iter::zip(&controls[first..first + SUPPORT], weights);
                values.map(|(value, weight)| value * weight).sum::<f64>() as f32
            }));
        }
        let mut row = vec![0.0; n];
        for (j, (&first, weights)) in std::iter::zip(&along_j.first, &along_j.weights).enumerate() {
            let [w0, w1, w2, w3] = weights.map(|w| w as f32);
            let mut strip = strips[first * n..].chunks_exact(n);
            let mut next = || strip.next().expect("because each position has four control points");
            let (a, b, c, d) = (next(), next(), next(), next());
            for (i, value) in row.iter_mut().enumerate() {
                *value = (w0 * a[i] + w1 * b[i]) + (w2 * c[i] + w3 * d[i]);
            }
            row_of(j, &row);
        }
    }
}

/// The approximation of values at a grid's points by a lattice of one size (Lee 1997, equations 3 to 5).
///
/// A point p with weights w_c of its control points would, alone, be met best by φ_c = w_c r_p / Σ_a w_a².
/// A control point takes the mean of what its points ask for, weighted by w_c² and by the point's own weight ω_p:
/// φ_c = Σ_p ω_p w_c² (w_c r_p / Σ_a w_a²) / Σ_p ω_p w_c².
#[derive(Debug)]
pub(super) struct Approximation {
    /// w³ / Σ w² along i, j, k.
    numerator_weights: [AxisWeights; 3],
    denominator: Lattice,
}

impl Approximation {
    /// `plane_weights`: one plane `[j, i]` of ω for each position along k.
    pub(super) fn new(axes: &[AxisWeights; 3], plane_weights: &[&[f32]]) -> Self {
        let squares = axes.each_ref().map(|axis| axis.map(|w| w.map(|w| w * w)));
        let numerator_weights = axes.each_ref().map(|axis| {
            axis.map(|w| {
                let sum: f64 = w.iter().map(|w| w * w).sum();
                w.map(|w| w * w * w / sum)
            })
        });
        let n = axes[0].n_positions();
        let denominator =
            contract(&squares, |k, j, row| row.copy_from_slice(&plane_weights[k][j * n..(j + 1) * n]));
        Self { numerator_weights, denominator }
    }

    /// The lattice for values ω r, a row at a time: `row_of(k, j, row)` writes one.
    ///
    /// Control points without a point near them are 0.
    pub(super) fn fit(&self, row_of: impl Fn(usize, usize, &mut [f32]) + Sync) -> Lattice {
        let mut lattice = contract(&self.numerator_weights, row_of);
        for (value, &denominator) in std::iter::zip(&mut lattice.values, &self.denominator.values) {
            *value = if denominator > 0.0 { *value / denominator } else { 0.0 };
        }
        lattice
    }
}

/// Σ weight(k, c) weight(j, b) weight(i, a) value(k, j, i) for each control point (c, b, a).
///
/// Planes are summed in parallel, each in its own order, and then added in theirs.
fn contract(axes: &[AxisWeights; 3], row_of: impl Fn(usize, usize, &mut [f32]) + Sync) -> Lattice {
    let [along_i, along_j, along_k] = axes;
    let planes: Vec<Vec<f64>> = (0..along_k.n_positions())
        .into_par_iter()
        .map(|k| contract_plane(along_i, along_j, |j, row| row_of(k, j, row)))
        .collect();
    contract_planes(axes, &planes)
}

/// Σ weight(j, b) weight(i, a) value(j, i) over a plane of values `[j, i]`, for each control point (b, a): `[j, i]`.
///
/// `row_of(j, row)` writes the values of a row.
fn contract_plane(
    along_i: &AxisWeights,
    along_j: &AxisWeights,
    mut row_of: impl FnMut(usize, &mut [f32]),
) -> Vec<f64> {
    let n = along_i.first.len();
    let mut strips = vec![0.0_f32; along_j.n_control * n];
    let mut row = vec![0.0_f32; n];
    for (j, (&first, weights)) in std::iter::zip(&along_j.first, &along_j.weights).enumerate() {
        row_of(j, &mut row);
        for (strip, &weight) in std::iter::zip(strips[first * n..].chunks_exact_mut(n), weights) {
            for (sum, value) in std::iter::zip(strip, &row) {
                *sum += weight as f32 * value;
            }
        }
    }
    let mut controls = vec![0.0; along_j.n_control * along_i.n_control];
    for (strip, controls) in
        std::iter::zip(strips.chunks_exact(n), controls.chunks_exact_mut(along_i.n_control))
    {
        for ((value, &first), weights) in strip.iter().zip(&along_i.first).zip(&along_i.weights) {
            for (sum, weight) in std::iter::zip(&mut controls[first..first + SUPPORT], weights) {
                *sum += weight * f64::from(*value);
            }
        }
    }
    controls
}

/// Σ weight(k, c) plane(k) over planes of control points `[j, i]`: a lattice.
fn contract_planes(axes: &[AxisWeights; 3], planes: &[Vec<f64>]) -> Lattice {
    let [_, _, along_k] = axes;
    let mut lattice = Lattice::zeros([0, 1, 2].map(|axis| axes[axis].n_control));
    for ((plane, &first), weights) in planes.iter().zip(&along_k.first).zip(&along_k.weights) {
        let lattice_planes = lattice.values[first * plane.len()..].chunks_exact_mut(plane.len());
        for (sums, weight) in std::iter::zip(lattice_planes, weights) {
            for (sum, value) in std::iter::zip(sums, plane) {
                *sum += weight * value;
            }
        }
    }
    lattice
}
