//! Nearest neighbour and trilinear interpolation.

use super::rows::{EDGE, Sampler, whole};

/// A volume's values in memory order, and its size.
pub(super) struct Voxels<'a, T> {
    pub(super) values: &'a [T],
    pub(super) size_ijk: [usize; 3],
}

/// The nearest voxel; halfway between two, the one with the larger index.
pub(super) struct Nearest<'a, T>(pub(super) Voxels<'a, T>);

/// Trilinear interpolation, in 64-bit arithmetic, holding the outermost values.
pub(super) struct Linear<'a>(pub(super) Voxels<'a, f32>);

impl<T: Copy + Send + Sync> Sampler for Nearest<'_, T> {
    type Value = T;
    const MARGIN: f64 = 0.0;

    #[inline]
    fn at(&self, index: [f64; 3]) -> T {
        let size = &self.0.size_ijk;
        let nearest = |axis: usize| whole((index[axis] + 0.5 + EDGE).max(0.0)).min(size[axis] - 1);
        self.0.values[(nearest(2) * size[1] + nearest(1)) * size[0] + nearest(0)]
    }

    #[expect(
        clippy::inline_always,
        reason = "a call costs as much as the work, which the loop of a row then overlaps"
    )]
    #[inline(always)]
    fn at_core(&self, [x, y, z]: [f64; 3]) -> T {
        let [ni, nj, _] = self.0.size_ijk;
        let nearest = |position: f64| whole(position + 0.5 + EDGE);
        self.0.values[(nearest(z) * nj + nearest(y)) * ni + nearest(x)]
    }
}

impl Sampler for Linear<'_> {
    type Value = f32;
    const MARGIN: f64 = 0.0;

    #[inline]
    fn at(&self, index: [f64; 3]) -> f32 {
        let size = &self.0.size_ijk;
        let held = |axis: usize| index[axis].clamp(0.0, (size[axis] - 1) as f64);
        self.between([held(0), held(1), held(2)])
    }

    #[expect(
        clippy::inline_always,
        reason = "a call costs as much as the work, which the loop of a row then overlaps"
    )]
    #[inline(always)]
    fn at_core(&self, index: [f64; 3]) -> f32 {
        self.between(index)
    }
}

impl Linear<'_> {
    /// The value at a position between the outermost centres.
    #[expect(
        clippy::inline_always,
        reason = "a call costs as much as the work, which the loop of a row then overlaps"
    )]
    #[inline(always)]
    fn between(&self, [x, y, z]: [f64; 3]) -> f32 {
        let [ni, nj, _] = self.0.size_ijk;
        let (i, j, k) = (whole(x), whole(y), whole(z));
        let (ti, tj, tk) = (x - i as f64, y - j as f64, z - k as f64);
        // At a voxel centre there is no step to the upper neighbour, so that a NaN with weight zero is not read.
        let step = |weight: f64, stride: usize| if weight > 0.0 { stride } else { 0 };
        let (di, dj, dk) = (step(ti, 1), step(tj, ni), step(tk, nj * ni));
        let first = (k * nj + j) * ni + i;
        let pair = |at: usize| [f64::from(self.0.values[at]), f64::from(self.0.values[at + di])];
        let mix = |[a, b]: [f64; 2], [c, d]: [f64; 2], t: f64| [a + t * (c - a), b + t * (d - b)];
        let lower = mix(pair(first), pair(first + dj), tj);
        let upper = mix(pair(first + dk), pair(first + dk + dj), tj);
        let [a, b] = mix(lower, upper, tk);
        (a + ti * (b - a)) as f32
    }
}
