//! Walking the target grid row by row.
//!
//! Along a row of an affine map the position in the volume moves on a straight line, so that the stretch inside the
//! volume, and the stretch where no neighbour is missing, are found once a row; between their ends nothing is checked.

use std::ops::Range;

use rayon::prelude::*;

use super::index_map::IndexMap;
use crate::{Grid, Transform, Volume};

/// Positions that should lie on an outer face, or halfway between voxels, are off by rounding errors; this much of a
/// voxel makes them all fall on the same side.
pub(super) const EDGE: f64 = 1e-9;

/// The values of a volume between its voxels.
pub(super) trait Sampler: Sync {
    type Value: Copy + Send + Sync;

    /// How far within the outermost centres, in voxels, a position must be for [`Sampler::at_core`].
    const MARGIN: f64;

    /// The value at a position, in voxels, within the volume's faces.
    fn at(&self, index: [f64; 3]) -> Self::Value;

    /// The same value, bit by bit, where on every axis `MARGIN <= index < n - 1 - MARGIN`.
    fn at_core(&self, index: [f64; 3]) -> Self::Value;
}

/// The whole part of a position that is at or above zero and below 2³¹.
#[inline]
pub(super) fn whole(position: f64) -> usize {
    // By way of a signed 32-bit number, which a processor converts to in one step.
    position as i32 as usize
}

/// A box of positions: at or above the first corner and below the second.
#[derive(Clone, Copy)]
struct Bounds {
    low: [f64; 3],
    high: [f64; 3],
}

impl Bounds {
    /// From face to face of a volume.
    fn faces(size_ijk: [usize; 3]) -> Self {
        Self { low: [-0.5 - EDGE; 3], high: size_ijk.map(|n| n as f64 - 0.5 - EDGE) }
    }

    /// Where `S` may take [`Sampler::at_core`].
    fn core<S: Sampler>(size_ijk: [usize; 3]) -> Self {
        Self { low: [S::MARGIN; 3], high: size_ijk.map(|n| n as f64 - 1.0 - S::MARGIN) }
    }

    /// Whether a position is inside; NaN compares false and so is not.
    #[inline]
    fn contain(&self, index: [f64; 3]) -> bool {
        (0..3).all(|axis| index[axis] >= self.low[axis] && index[axis] < self.high[axis])
    }

    /// The numbers `i` in `among` for which `start + step · i` is inside.
    fn on_line(&self, start: [f64; 3], step: [f64; 3], among: Range<usize>) -> Range<usize> {
        (0..3).fold(among, |among, axis| {
            stretch(start[axis], step[axis], self.low[axis], self.high[axis], among)
        })
    }
}

/// The numbers `i` in `among` for which `low <= start + step · i < high`.
///
/// Rounded or not, `start + step · i` does not turn back, so the numbers are in one stretch, which ends where the
/// comparison itself, not a quotient, says.
fn stretch(start: f64, step: f64, low: f64, high: f64, among: Range<usize>) -> Range<usize> {
    let at = |i: usize| start + step * i as f64;
    if step < 0.0 {
        let first = boundary(among.clone(), (high - start) / step, |i| at(i) >= high);
        let last = boundary(first..among.end, (low - start) / step, |i| at(i) >= low);
        return first..last;
    }
    // A step of zero or NaN: all the row, or none of it.
    let first = boundary(among.clone(), (low - start) / step, |i| at(i) < low || at(i).is_nan());
    let last = boundary(first..among.end, (high - start) / step, |i| at(i) < high);
    first..last
}

/// The first number in `among` for which `is_before`, true up to some number and false from there on, is false.
///
/// It is near `guess`, from where it is searched; a `guess` that is NaN costs steps, not the result.
fn boundary(among: Range<usize>, guess: f64, is_before: impl Fn(usize) -> bool) -> usize {
    let mut at = (guess.max(0.0) as usize).clamp(among.start, among.end);
    while at > among.start && !is_before(at - 1) {
        at -= 1;
    }
    while at < among.end && is_before(at) {
        at += 1;
    }
    at
}

/// A value for each voxel of `target`: the sampler's at the position in the volume, if that is inside.
pub(super) fn sample_at_centers<S: Sampler>(
    volume: &Volume<S::Value>,
    sampler: &S,
    target: &Grid,
    moving_from_fixed: Option<&Transform>,
    outside: S::Value,
) -> Volume<S::Value> {
    let size = volume.grid().size_ijk();
    let (faces, core) = (Bounds::faces(size), Bounds::core::<S>(size));
    let [ni, nj, _] = target.size_ijk();
    let mut result = Volume::filled(target, outside);
    let map = IndexMap::new(volume.grid(), target, moving_from_fixed);
    result.as_mut_slice().par_chunks_mut(ni * nj).enumerate().for_each(|(k, slice)| {
        let rows = slice.chunks_exact_mut(ni).enumerate();
        match &map {
            IndexMap::Copy { matrix, offset } => {
                for (j, values) in rows {
                    let start: [i64; 3] = std::array::from_fn(|axis| {
                        matrix[axis][1] * j as i64 + matrix[axis][2] * k as i64 + offset[axis]
                    });
                    copy_row(volume, start, matrix.map(|row| row[0]), values);
                }
            }
            IndexMap::Affine { matrix, offset } => {
                let step = matrix.column(0);
                for (j, values) in rows {
                    let [x, y, z] = matrix.apply([0.0, j as f64, k as f64]);
                    let start = [x + offset[0], y + offset[1], z + offset[2]];
                    let inside = faces.on_line(start, step, 0..ni);
                    let undisturbed = core.on_line(start, step, inside.clone());
                    // A product, not a running sum: rounding errors must not grow along the row.
                    let index_of = |i: usize| {
                        let i = i as f64;
                        [start[0] + step[0] * i, start[1] + step[1] * i, start[2] + step[2] * i]
                    };
                    for i in (inside.start..undisturbed.start).chain(undisturbed.end..inside.end) {
                        values[i] = sampler.at(index_of(i));
                    }
                    for (value, i) in std::iter::zip(&mut values[undisturbed.clone()], undisturbed) {
                        *value = sampler.at_core(index_of(i));
                    }
                }
            }
            IndexMap::Any(map) => {
                let plane = map.plane(k);
                let mut positions = vec![[0.0; 3]; ni];
                for (j, values) in rows {
                    plane.row(j, &mut positions);
                    for (value, &index) in std::iter::zip(values, &positions) {
                        if core.contain(index) {
                            *value = sampler.at_core(index);
                        } else if faces.contain(index) {
                            *value = sampler.at(index);
                        }
                    }
                }
            }
        }
    });
    result
}

/// The values of the voxels `start`, `start + step`, … as far as they are in the volume.
fn copy_row<T: Copy>(volume: &Volume<T>, start: [i64; 3], step: [i64; 3], values: &mut [T]) {
    let size = volume.grid().size_ijk();
    let voxels = Bounds { low: [0.0; 3], high: size.map(|n| n as f64) };
    // Whole numbers of this size are exact as floating-point numbers.
    let inside = voxels.on_line(start.map(|n| n as f64), step.map(|n| n as f64), 0..values.len());
    let strides = [1, size[0] as i64, (size[0] * size[1]) as i64];
    let dot = |index: [i64; 3]| -> i64 { std::iter::zip(index, strides).map(|(n, stride)| n * stride).sum() };
    let source = volume.as_slice();
    let values = &mut values[inside.clone()];
    let Some(first) = (!values.is_empty()).then(|| (dot(start) + dot(step) * inside.start as i64) as usize)
    else {
        return;
    };
    match dot(step) {
        1 => values.copy_from_slice(&source[first..first + values.len()]),
        step => {
            for (n, value) in values.iter_mut().enumerate() {
                *value = source[(first as i64 + step * n as i64) as usize];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bspline::BSplineCoefficients;
    use super::super::neighbors::{Linear, Nearest, Voxels};
    use super::*;
    use crate::{AffineTransform, BSplineTransform, ImageError, Matrix3, PointLps, VectorLps, VoxelIndex};

    /// Numbers from -1 to 1 without any pattern (a linear congruence; the upper bits are the good ones).
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        }

        fn below(&mut self, n: usize) -> usize {
            (f64::midpoint(self.next(), 1.0) * n as f64) as usize
        }

        /// An affine map: anything, or a permutation of axes with flips, scaled or not.
        fn affine(&mut self) -> Result<AffineTransform, ImageError> {
            let mut matrix = Matrix3([0; 3].map(|_: i32| [0; 3].map(|_: i32| 1.5 * self.next())));
            if self.below(2) == 0 {
                let shift = self.below(3);
                let scale = [1.0, 0.5, 1.0 / 3.0][self.below(3)];
                matrix = Matrix3([0, 1, 2].map(|row| {
                    let mut entries = [0.0; 3];
                    entries[(row + shift) % 3] = if self.below(2) == 0 { scale } else { -scale };
                    entries
                }));
            }
            let whole = self.below(2) == 0;
            let shift = [0; 3].map(|_| 6.0 * self.next()).map(|mm| if whole { mm.round() } else { mm });
            AffineTransform::new(matrix, shift.into())
        }

        fn grid(&mut self) -> Result<Grid, ImageError> {
            let size = [0; 3].map(|_| [1, 2, 3, 5, 9, 17][self.below(6)]);
            Grid::axis_aligned(size, [1.0, 0.5, 2.0], PointLps::new(-3.0, -2.0, -5.0))
        }
    }

    /// The plain way: every voxel on its own, nothing known about its neighbours.
    fn plain<S: Sampler>(
        size_ijk: [usize; 3],
        sampler: &S,
        target: &Grid,
        position_of: impl Fn(VoxelIndex) -> [f64; 3] + Sync,
        outside: S::Value,
    ) -> Volume<S::Value> {
        Volume::from_index_fn(target, |voxel| {
            let index = position_of(voxel);
            if Bounds::faces(size_ijk).contain(index) { sampler.at(index) } else { outside }
        })
    }

    #[track_caller]
    fn check_bits(what: &str, got: &Volume<f32>, expected: &Volume<f32>) {
        for ((at, got), want) in std::iter::zip(got.array().indexed_iter(), expected.array()) {
            assert_eq!(got.to_bits(), want.to_bits(), "{what} at {at:?}: {got} instead of {want}");
        }
    }

    /// How many voxels were inside.
    fn check_sampler<S: Sampler<Value = f32>>(
        name: &str,
        sampler: &S,
        (volume, target, transform): (&Volume<f32>, &Grid, &Transform),
        position_of: impl Fn(VoxelIndex) -> [f64; 3] + Sync,
    ) -> usize {
        let got = sample_at_centers(volume, sampler, target, Some(transform), f32::INFINITY);
        let size_ijk = volume.grid().size_ijk();
        check_bits(name, &got, &plain(size_ijk, sampler, target, position_of, f32::INFINITY));
        got.as_slice().iter().filter(|value| value.is_finite()).count()
    }

    /// How many voxels were inside.
    fn check_samplers(
        volume: &Volume<f32>,
        target: &Grid,
        transform: &Transform,
        position_of: impl Fn(VoxelIndex) -> [f64; 3] + Sync,
    ) -> usize {
        let size_ijk = volume.grid().size_ijk();
        let voxels = || Voxels { values: volume.as_slice(), size_ijk };
        let case = (volume, target, transform);
        check_sampler("nearest", &Nearest(voxels()), case, &position_of);
        // Copies need no spline.
        if !matches!(IndexMap::new(volume.grid(), target, Some(transform)), IndexMap::Copy { .. }) {
            check_sampler("spline", &BSplineCoefficients::new(volume), case, &position_of);
        }
        check_sampler("linear", &Linear(voxels()), case, &position_of)
    }

    #[test]
    fn rows_equal_single_voxels_for_any_affine_map() -> Result<(), ImageError> {
        let mut numbers = Numbers(5);
        let (mut n_inside, mut n_all) = (0, 0);
        for _ in 0..400 {
            let (grid, target, affine) = (numbers.grid()?, numbers.grid()?, numbers.affine()?);
            let volume = Volume::from_index_fn(&grid, |VoxelIndex { i, j, k }| {
                ((i * 131 + j * 57 + k * 911) % 1009) as f32 - 300.0
            });
            let transform = Transform::from(affine);
            let (matrix, offset) = match IndexMap::new(&grid, &target, Some(&transform)) {
                IndexMap::Affine { matrix, offset } => (matrix, offset),
                IndexMap::Copy { matrix, offset } => {
                    (Matrix3(matrix.map(|row| row.map(|n| n as f64))), offset.map(|n| n as f64))
                }
                IndexMap::Any(_) => unreachable!("because the transform is affine"),
            };
            n_inside += check_samplers(&volume, &target, &transform, |voxel| {
                let [x, y, z] = matrix.apply([0.0, voxel.j as f64, voxel.k as f64]);
                let start = [x + offset[0], y + offset[1], z + offset[2]];
                [0, 1, 2].map(|axis| start[axis] + matrix.0[axis][0] * voxel.i as f64)
            });
            n_all += target.n_voxels();
        }
        assert!(
            n_inside > 2000 && n_all - n_inside > 2000,
            "{n_inside} of {n_all} inside: the test must bite"
        );
        Ok(())
    }

    #[test]
    fn rows_equal_single_points_for_any_transform() -> Result<(), ImageError> {
        let mut numbers = Numbers(9);
        let grid = Grid::axis_aligned([17, 13, 11], [1.0, 1.5, 2.0], PointLps::new(-8.0, -9.0, -10.0))?;
        let volume =
            Volume::from_index_fn(&grid, |n| ((n.i * 131 + n.j * 57 + n.k * 911) % 1009) as f32 - 300.0);
        let turned =
            *AffineTransform::rotation_about(PointLps::ORIGIN, VectorLps::new(1.0, 2.0, 3.0), 0.3)?.matrix();
        let target = Grid::new([12, 14, 9], [1.5, 1.0, 2.0], PointLps::new(-9.0, -7.0, -9.0), turned)?;
        let coarse = Grid::axis_aligned([6, 6, 6], [5.0; 3], PointLps::new(-12.0, -12.0, -12.0))?;
        let mut vectors = || [0; 3].map(|_| 2.0 * numbers.next());
        let random: Vec<[f64; 3]> = (0..216).map(|_| vectors()).collect();
        let field = Volume::from_vec(coarse.clone(), random.clone())?.map(|v| v.map(|c| c as f32));
        let field = Transform::from(crate::DisplacementField::new(field)?);
        let spline = Transform::from(BSplineTransform::new(Volume::from_vec(coarse, random)?)?);
        let affine = Transform::from(AffineTransform::translation(VectorLps::new(0.5, -0.25, 1.0))?);
        let nested = Transform::Composite(vec![affine.clone() * spline.clone(), field.clone()]);
        for transform in [field.clone(), spline, nested, affine * field] {
            let n_inside = check_samplers(&volume, &target, &transform, |voxel| {
                let step =
                    target.lps_from_index_matrix().apply([voxel.i as f64, voxel.j as f64, voxel.k as f64]);
                let point = transform.apply(target.origin_lps() + step.into());
                grid.index_from_lps_matrix().apply((point - grid.origin_lps()).to_array())
            });
            assert!((300..target.n_voxels() - 100).contains(&n_inside), "{n_inside} inside");
        }
        Ok(())
    }

    #[test]
    fn tables_of_a_spline_give_the_positions_of_its_points() -> Result<(), ImageError> {
        let mut numbers = Numbers(2);
        let lattice = Grid::axis_aligned([6, 7, 8], [6.0; 3], PointLps::new(-14.0, -15.0, -16.0))?;
        let spline = BSplineTransform::new(Volume::from_vec(
            lattice,
            (0..336).map(|_| [0; 3].map(|_| 3.0 * numbers.next())).collect(),
        )?)?;
        let grid = Grid::axis_aligned([15, 13, 11], [2.0; 3], PointLps::new(-13.0, -11.0, -12.0))?;
        let shift = Transform::from(AffineTransform::translation(VectorLps::new(0.5, -0.25, 1.0))?);
        let transform = shift * spline.into();
        let IndexMap::Any(map) = IndexMap::new(&grid, &grid, Some(&transform)) else {
            unreachable!("because a spline is not affine")
        };
        let mut positions = vec![[0.0; 3]; 15];
        for (j, k) in [(0, 0), (7, 3), (12, 10)] {
            map.plane(k).row(j, &mut positions);
            for (i, got) in positions.iter().enumerate() {
                let expected = grid.index_from_lps(transform.apply(grid.point_of(VoxelIndex::new(i, j, k))));
                let off = std::iter::zip(got, [expected.i, expected.j, expected.k])
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f64::max);
                assert!(off < 1e-9, "({i}, {j}, {k}): {got:?} instead of {expected:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn the_stretch_inside_ends_where_the_comparison_says() {
        for (start, step, expected) in [
            (0.0, 1.0, 2..5),
            (0.0, 0.5, 4..10),
            (9.0, -1.0, 5..8),
            (3.0, 0.0, 0..10),
            (7.0, 0.0, 10..10),
            (f64::NAN, 1.0, 10..10),
            (3.0, f64::NAN, 10..10),
            (1e300, -1e-300, 0..0),
            (2.0 - 1e-16, 1e-17, 0..10),
        ] {
            let got = stretch(start, step, 2.0, 5.0, 0..10);
            let by_hand: Vec<usize> =
                (0..10).filter(|&i| (2.0..5.0).contains(&(start + step * i as f64))).collect();
            assert!(got.clone().eq(by_hand), "{start} {step}: {got:?}");
            assert!(got.is_empty() || got == expected, "{start} {step}: {got:?} instead of {expected:?}");
        }
    }
}
