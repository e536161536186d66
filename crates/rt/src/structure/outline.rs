//! From voxels to contours.

use std::collections::BTreeMap;

use rayon::prelude::*;
use synthct_image::{ContinuousIndex, Mask, VoxelIndex};

use super::Contour;
use crate::RtError;

/// A corner of an outline in half voxels: even numbers are voxel centres.
type Corner = [i32; 2];

/// The outlines of a mask in the planes of its slices, slice by slice.
///
/// An outline passes halfway between centres inside and centres outside (marching squares; Lorensen and Cline (1987),
/// doi:10.1145/37401.37422, in two dimensions); voxels that touch at a corner only are apart.
/// A hole is joined to the outline around it by a keyhole: a cut that is walked forth and back.
pub(super) fn outlines(mask: &Mask) -> Result<Vec<Contour>, RtError> {
    let grid = mask.grid();
    let [_, _, nk] = grid.size_ijk();
    let slices: Vec<Vec<Vec<Corner>>> =
        (0..nk).into_par_iter().map(|k| Slice { mask, k }.polygons()).collect();
    let mut contours = Vec::new();
    for (k, polygons) in slices.into_iter().enumerate() {
        for polygon in polygons {
            let point = |[i, j]: Corner| {
                grid.lps_from_index(ContinuousIndex::new(0.5 * f64::from(i), 0.5 * f64::from(j), k as f64))
            };
            contours.push(Contour::new(polygon.into_iter().map(point).collect())?);
        }
    }
    Ok(contours)
}

struct Slice<'a> {
    mask: &'a Mask,
    k: usize,
}

impl Slice<'_> {
    fn is_inside(&self, i: i32, j: i32) -> bool {
        i >= 0
            && j >= 0
            && self
                .mask
                .volume()
                .get(VoxelIndex::new(i as usize, j as usize, self.k))
                .is_some_and(|&inside| inside)
    }

    /// Closed polygons, holes joined to what is around them.
    fn polygons(&self) -> Vec<Vec<Corner>> {
        let mut next = self.edges();
        let mut rings: Vec<Vec<Corner>> = Vec::new();
        while let Some((&start, _)) = next.first_key_value() {
            let mut ring = Vec::new();
            let mut at = start;
            while let Some(to) = next.remove(&at) {
                ring.push(at);
                at = to;
            }
            rings.push(ring);
        }
        let (mut outer, mut holes): (Vec<_>, Vec<_>) =
            rings.into_iter().partition(|ring| doubled_area(ring) > 0);
        // From left to right: whatever a hole is joined to has been joined itself.
        holes.sort_by_key(|ring| leftmost(ring).1);
        for hole in &holes {
            self.join(hole, &mut outer);
        }
        for ring in &mut outer {
            drop_straight(ring);
        }
        outer
    }

    /// From each corner to the next one, with the inside on the left in the (i, j) plane.
    fn edges(&self) -> BTreeMap<Corner, Corner> {
        let [ni, nj, _] = self.mask.grid().size_ijk();
        let mut edges = BTreeMap::new();
        for j in -1..nj as i32 {
            for i in -1..ni as i32 {
                let at = |di: i32, dj: i32| self.is_inside(i + di, j + dj);
                let (a, b, c, d) = (at(0, 0), at(1, 0), at(1, 1), at(0, 1));
                let (low_j, high_i, high_j, low_i) =
                    ([2 * i + 1, 2 * j], [2 * i + 2, 2 * j + 1], [2 * i + 1, 2 * j + 2], [2 * i, 2 * j + 1]);
                let mut add = |from: Corner, to: Corner| edges.insert(from, to);
                // One edge for each run of inside corners around the cell.
                match (a, b, c, d) {
                    (true, true, true, true) | (false, false, false, false) => {}
                    (true, false, true, false) => {
                        add(low_j, low_i);
                        add(high_j, high_i);
                    }
                    (false, true, false, true) => {
                        add(high_i, low_j);
                        add(low_i, high_j);
                    }
                    _ => {
                        // Walking around the cell: where the inside ends, and where it begins.
                        let sides = [(a, b, low_j), (b, c, high_i), (c, d, high_j), (d, a, low_i)];
                        let ends = sides.iter().find(|(from, to, _)| *from && !*to).map(|side| side.2);
                        let begins = sides.iter().find(|(from, to, _)| !*from && *to).map(|side| side.2);
                        if let (Some(ends), Some(begins)) = (ends, begins) {
                            add(ends, begins);
                        }
                    }
                }
            }
        }
        edges
    }

    /// Joins a hole to the ring that is to the left of its leftmost corner.
    fn join(&self, hole: &[Corner], outer: &mut [Vec<Corner>]) {
        let (start, [i, j]) = leftmost(hole);
        // The corner lies between the voxel on its left, which is inside, and one in the hole.
        let (mut left, row) = ((i - 1) / 2, j / 2);
        while self.is_inside(left, row) {
            left -= 1;
        }
        let meets: Corner = [2 * left + 1, j];
        let place = outer
            .iter()
            .enumerate()
            .find_map(|(n, ring)| Some((n, ring.iter().position(|corner| *corner == meets)?)));
        let Some((n, at)) = place else { return };
        let rest = outer[n].split_off(at + 1);
        outer[n].extend(hole[start..].iter().chain(&hole[..=start]).copied().chain([meets]).chain(rest));
    }
}

/// The corner of a ring that is farthest to the left, of several the one with the lowest j: its place and itself.
fn leftmost(ring: &[Corner]) -> (usize, Corner) {
    let first = ring.iter().copied().enumerate().min_by_key(|(_, corner)| *corner);
    first.expect("because a ring has corners")
}

/// Twice the area, above zero if the inside is on the left.
fn doubled_area(ring: &[Corner]) -> i64 {
    let ends = ring.iter().cycle().skip(1);
    std::iter::zip(ring, ends)
        .map(|(a, b)| i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1]))
        .sum()
}

/// Drops corners at which the outline goes straight on.
fn drop_straight(ring: &mut Vec<Corner>) {
    let n = ring.len();
    let step = |from: Corner, to: Corner| [i64::from(to[0] - from[0]), i64::from(to[1] - from[1])];
    let bends: Vec<Corner> = (0..n)
        .filter(|&at| {
            let before = step(ring[(at + n - 1) % n], ring[at]);
            let after = step(ring[at], ring[(at + 1) % n]);
            let cross = before[0] * after[1] - before[1] * after[0];
            let dot = before[0] * after[0] + before[1] * after[1];
            cross != 0 || dot < 0
        })
        .map(|at| ring[at])
        .collect();
    *ring = bends;
}
