//! Leaves around a target's projection.

use rayon::prelude::*;
use synthct_image::{Mask, PointLps, VoxelIndex};
use synthct_rt::{BeamFrame, Jaws, LeafPositions, Mlc, MlcAxis};

/// The width of a leaf at the isocenter, mm.
const LEAF_MM: f64 = 5.0;

/// One collimator for all frames, and for each frame the jaws and leaves that leave the target and a margin open.
///
/// Leaves travel along x; a pair opens to the outermost projected voxels of the target within `margin_mm` of its width,
/// and the margin beyond them. Pairs without target are closed in the middle of the others.
pub(super) fn around(
    target: &Mask,
    frames: &[BeamFrame],
    margin_mm: f64,
) -> (Mlc, Vec<(Jaws, LeafPositions)>) {
    let surface = surface_points(target);
    let projected: Vec<Vec<[f64; 2]>> = frames
        .par_iter()
        .map(|frame| surface.iter().filter_map(|&point| frame.projected(point)).collect())
        .collect();
    let reach = projected.iter().flatten().fold(0.0_f64, |reach, [_, y]| reach.max(y.abs())) + margin_mm;
    let half = (reach / LEAF_MM).ceil().max(1.0) as i32;
    let boundaries_mm: Vec<f64> = (-half..=half).map(|n| f64::from(n) * LEAF_MM).collect();
    let apertures = projected.iter().map(|points| aperture(points, &boundaries_mm, margin_mm)).collect();
    (Mlc { axis: MlcAxis::X, boundaries_mm }, apertures)
}

fn aperture(points: &[[f64; 2]], boundaries_mm: &[f64], margin_mm: f64) -> (Jaws, LeafPositions) {
    let spans: Vec<Option<[f64; 2]>> = boundaries_mm
        .windows(2)
        .map(|edges| {
            let near = |y: f64| y >= edges[0] - margin_mm && y <= edges[1] + margin_mm;
            let xs = points.iter().filter(|[_, y]| near(*y)).map(|[x, _]| *x);
            let [low, high] =
                xs.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| [low.min(x), high.max(x)]);
            (low <= high).then_some([low - margin_mm, high + margin_mm])
        })
        .collect();
    let open = || spans.iter().flatten();
    let low = open().fold(f64::INFINITY, |low, span| low.min(span[0]));
    let high = open().fold(f64::NEG_INFINITY, |high, span| high.max(span[1]));
    let rows: Vec<usize> = (0..spans.len()).filter(|&pair| spans[pair].is_some()).collect();
    let (first, last) = (rows.first().copied().unwrap_or(0), rows.last().copied().unwrap_or(0));
    let jaws = Jaws { x_mm: [low, high], y_mm: [boundaries_mm[first], boundaries_mm[last + 1]] };
    let middle = 0.5 * (low + high);
    let leaf = |side: usize| spans.iter().map(|span| span.map_or(middle, |span| span[side])).collect();
    (jaws, LeafPositions { low_mm: leaf(0), high_mm: leaf(1) })
}

/// The centres of the target's voxels that have a neighbour outside: their projections hold those of all others.
fn surface_points(target: &Mask) -> Vec<PointLps> {
    let volume = target.volume();
    let [ni, nj, nk] = volume.grid().size_ijk();
    let inside =
        |i: usize, j: usize, k: usize| volume.get(VoxelIndex::new(i, j, k)).copied().unwrap_or(false);
    let mut points = Vec::new();
    for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
        if !inside(i, j, k) {
            continue;
        }
        let is_inner = i > 0
            && j > 0
            && k > 0
            && inside(i - 1, j, k)
            && inside(i + 1, j, k)
            && inside(i, j - 1, k)
            && inside(i, j + 1, k)
            && inside(i, j, k - 1)
            && inside(i, j, k + 1);
        if !is_inner {
            points.push(volume.grid().point_of(VoxelIndex::new(i, j, k)));
        }
    }
    points
}
