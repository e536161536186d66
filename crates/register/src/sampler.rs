//! Values and slopes of an image between its voxels.

/// Trilinear interpolation with its exact derivative, in 32-bit arithmetic.
///
/// Positions are in voxels (i, j, k).
/// Inside is [−0.5, n − 0.5] on every axis, the box of the voxels' outer faces; beyond the outermost centres the value
/// is held and the slope across is zero.
#[derive(Clone, Copy)]
pub(crate) struct Sampler<'a> {
    values: &'a [f32],
    size_ijk: [usize; 3],
}

/// Where a position lies on one axis.
#[derive(Clone, Copy)]
struct Place {
    /// The lower neighbour.
    lower: usize,
    /// The weight of the upper neighbour.
    weight: f32,
    /// 1 where the value follows the position, 0 where it is held.
    moves: f32,
}

impl<'a> Sampler<'a> {
    /// The image with these values in memory order.
    pub(crate) fn new(values: &'a [f32], size_ijk: [usize; 3]) -> Self {
        debug_assert_eq!(values.len(), size_ijk.iter().product::<usize>());
        Self { values, size_ijk }
    }

    /// The value at a position, or none outside.
    #[inline]
    pub(crate) fn value(&self, position: [f32; 3]) -> Option<f32> {
        self.value_and_slope(position).map(|(value, _)| value)
    }

    /// The value at a position and its derivative by each coordinate, per voxel, or none outside.
    #[inline]
    pub(crate) fn value_and_slope(&self, position: [f32; 3]) -> Option<(f32, [f32; 3])> {
        let [ni, nj, nk] = self.size_ijk;
        let i = place(position[0], ni)?;
        let j = place(position[1], nj)?;
        let k = place(position[2], nk)?;
        let first = (k.lower * nj + j.lower) * ni + i.lower;
        let step_i = usize::from(ni > 1);
        let step_j = if nj > 1 { ni } else { 0 };
        let step_k = if nk > 1 { ni * nj } else { 0 };
        // Differences along i, then j, then k.
        let pair = |at: usize| {
            let (low, high) = (self.values[at], self.values[at + step_i]);
            (low + i.weight * (high - low), high - low)
        };
        let (v00, d00) = pair(first);
        let (v10, d10) = pair(first + step_j);
        let (v01, d01) = pair(first + step_k);
        let (v11, d11) = pair(first + step_j + step_k);
        let (v0, v1) = (v00 + j.weight * (v10 - v00), v01 + j.weight * (v11 - v01));
        let (di0, di1) = (d00 + j.weight * (d10 - d00), d01 + j.weight * (d11 - d01));
        let (dj0, dj1) = (v10 - v00, v11 - v01);
        let value = v0 + k.weight * (v1 - v0);
        let slope = [
            i.moves * (di0 + k.weight * (di1 - di0)),
            j.moves * (dj0 + k.weight * (dj1 - dj0)),
            k.moves * (v1 - v0),
        ];
        Some((value, slope))
    }
}

#[inline]
fn place(position: f32, n: usize) -> Option<Place> {
    let last = (n - 1) as f32;
    // NaN compares false and so is outside.
    if !(position >= -0.5 && position <= last + 0.5) {
        return None;
    }
    let held = position.max(0.0).min(last);
    let lower = (held as usize).min(n.saturating_sub(2));
    let moves = f32::from(u8::from(position >= 0.0 && position <= last && n > 1));
    Some(Place { lower, weight: held - lower as f32, moves })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes, and values that are a trilinear polynomial of the position.
    fn polynomial([i, j, k]: [f32; 3]) -> f32 {
        1.0 + 2.0 * i - 3.0 * j + 0.5 * k + 0.25 * i * j - 0.125 * j * k + 0.0625 * i * j * k
    }

    fn values([ni, nj, nk]: [usize; 3]) -> Vec<f32> {
        (0..ni * nj * nk)
            .map(|n| polynomial([n % ni, n / ni % nj, n / (ni * nj)].map(|c| c as f32)))
            .collect()
    }

    #[test]
    fn a_trilinear_polynomial_and_its_derivative_come_back() {
        let size = [3, 4, 5];
        let values = values(size);
        let sampler = Sampler::new(&values, size);
        for at in [[0.0, 0.0, 0.0], [0.25, 2.5, 3.75], [1.999, 0.125, 1.0], [2.0, 3.0, 4.0]] {
            let [i, j, k] = at;
            let slope = [
                2.0 + 0.25 * j + 0.0625 * j * k,
                -3.0 + 0.25 * i - 0.125 * k + 0.0625 * i * k,
                0.5 - 0.125 * j + 0.0625 * i * j,
            ];
            let got = sampler.value_and_slope(at);
            assert!(got.is_some(), "{at:?} is inside");
            let Some((value, got)) = got else { return };
            assert!((value - polynomial(at)).abs() < 1e-5, "{at:?}: {value}");
            for axis in 0..3 {
                assert!((got[axis] - slope[axis]).abs() < 1e-5, "{at:?}: {got:?}, expected {slope:?}");
            }
        }
    }

    #[test]
    fn the_outer_half_voxel_holds_the_value_and_beyond_is_nothing() {
        let size = [3, 4, 5];
        let values = values(size);
        let sampler = Sampler::new(&values, size);
        assert_eq!(sampler.value([-0.5, 1.0, 4.5]), Some(polynomial([0.0, 1.0, 4.0])));
        let slope = sampler.value_and_slope([-0.25, 1.0, 2.0]).map(|(_, slope)| slope[0].to_bits());
        assert_eq!(slope, Some(0));
        for outside in [[-0.51, 1.0, 1.0], [1.0, 3.51, 1.0], [1.0, 1.0, f32::NAN], [f32::INFINITY, 0.0, 0.0]]
        {
            assert_eq!(sampler.value(outside), None, "{outside:?}");
        }
    }

    #[test]
    fn a_single_slice_is_held_across_itself() {
        let values = values([3, 4, 1]);
        let sampler = Sampler::new(&values, [3, 4, 1]);
        let at = [1.5, 2.5, 0.25];
        let got = sampler.value_and_slope(at);
        assert_eq!(got.map(|(value, slope)| (value, slope[2])), Some((polynomial([1.5, 2.5, 0.0]), 0.0)));
    }
}
