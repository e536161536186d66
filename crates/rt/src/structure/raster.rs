//! From contours to voxels.

use rayon::prelude::*;
use synthct_image::{ContinuousIndex, Grid, PointLps, VectorLps, Volume};

use super::Roi;
use crate::RtError;

/// A point may be this far off its contour's plane, mm: coordinates are often stored with two decimals.
const OFF_PLANE_MM: f64 = 0.1;
/// Contours nearer than this along the normal are of one plane, mm.
const SAME_PLANE_MM: f64 = 0.2;
/// Planes farther apart than this many of the smallest distance have a gap between them.
const GAP: f64 = 3.0;

/// How many of `n`³ points in each voxel are inside.
pub(super) fn samples_inside(roi: &Roi, grid: &Grid, n: usize) -> Result<Volume<u16>, RtError> {
    let planes = Planes::new(roi, grid)?;
    planes.require_overlap(roi, grid)?;
    let [ni, nj, _] = grid.size_ijk();
    let mut inside = Volume::filled(grid, 0_u16);
    let offset = |sample: usize| (sample as f64 + 0.5) / n as f64 - 0.5;
    inside.as_mut_slice().par_chunks_mut(ni).enumerate().for_each(|(row, inside)| {
        let (j, k) = ((row % nj) as f64, (row / nj) as f64);
        let mut crossings = Vec::new();
        for (sk, sj) in (0..n).flat_map(|sk| (0..n).map(move |sj| (sk, sj))) {
            let at = |i: f64| {
                planes.plane_coordinates(grid.lps_from_index(ContinuousIndex::new(
                    i,
                    j + offset(sj),
                    k + offset(sk),
                )))
            };
            // Along a row that runs in the planes, edges are crossed at the same places by all its points.
            if planes.rows_in_plane {
                let [_, v, w] = at(0.0);
                planes.crossings_at(v, w, &mut crossings);
                if crossings.is_empty() {
                    continue;
                }
            }
            for (i, inside) in inside.iter_mut().enumerate() {
                for si in 0..n {
                    let [u, v, w] = at(i as f64 + offset(si));
                    if !planes.rows_in_plane {
                        planes.crossings_at(v, w, &mut crossings);
                    }
                    *inside += u16::from(crossings.partition_point(|&crossing| crossing <= u) % 2 == 1);
                }
            }
        }
    });
    Ok(inside)
}

/// The corners of the boxes of all slabs, in voxels of the grid.
pub(super) fn extent(roi: &Roi, grid: &Grid) -> Result<Vec<ContinuousIndex>, RtError> {
    let planes = Planes::new(roi, grid)?;
    let [u_axis, v_axis, w_axis] = planes.axes;
    let mut corners = Vec::new();
    for slab in &planes.slabs {
        let [u, v] = [0, 1].map(|axis| {
            slab.edges.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], [from, _]| {
                [low.min(from[axis]), high.max(from[axis])]
            })
        });
        for (u, v, w) in (0..8).map(|at| (u[at % 2], v[at / 2 % 2], [slab.from_mm, slab.to_mm][at / 4])) {
            let point = planes.origin + u_axis * u + v_axis * v + w_axis * w;
            corners.push(grid.index_from_lps(point));
        }
    }
    Ok(corners)
}

/// The contours of a region, sorted into planes.
struct Planes {
    origin: PointLps,
    /// Axes of the plane coordinates: two in the planes, the first along the grid's rows if these run in the planes, and
    /// the normal.
    axes: [VectorLps; 3],
    rows_in_plane: bool,
    /// Rising along the normal.
    slabs: Vec<Slab>,
}

/// What one plane stands for.
struct Slab {
    /// Where it begins and ends along the normal, mm.
    from_mm: f64,
    to_mm: f64,
    /// Edges, each from (u, v) to (u, v).
    edges: Vec<[[f64; 2]; 2]>,
}

impl Planes {
    fn new(roi: &Roi, grid: &Grid) -> Result<Self, RtError> {
        let normal = common_normal(roi)?;
        let origin = roi.contours[0].points_lps()[0];
        let direction = grid.direction();
        let along_rows = VectorLps::from(direction.column(0));
        let off_plane = along_rows.dot(normal);
        let rows_in_plane = off_plane.abs() < 1e-6;
        // Where rows leave the planes, any axis in the plane does: that of the grid which is the farthest from the normal.
        let start =
            (0..3).map(|axis| VectorLps::from(direction.column(axis))).fold(along_rows, |best, axis| {
                if !rows_in_plane && axis.dot(normal).abs() < best.dot(normal).abs() { axis } else { best }
            });
        let u = start + normal * -start.dot(normal);
        let u = canonical(u * (1.0 / u.norm_mm()));
        let axes = [u, normal.cross(u), normal];
        let mut planes = Self { origin, axes, rows_in_plane, slabs: Vec::new() };

        let mut contours = Vec::with_capacity(roi.contours.len());
        for (n, contour) in roi.contours.iter().enumerate() {
            let points: Vec<[f64; 3]> =
                contour.points_lps().iter().map(|&point| planes.plane_coordinates(point)).collect();
            let height_mm = points.iter().map(|p| p[2]).sum::<f64>() / points.len() as f64;
            let off_mm = points.iter().fold(0.0_f64, |off, p| off.max((p[2] - height_mm).abs()));
            if off_mm > OFF_PLANE_MM {
                let roi = roi.name.clone();
                return Err(RtError::ContourPlanes { roi, contour: n, off_mm, allowed_mm: OFF_PLANE_MM });
            }
            contours.push((height_mm, points));
        }
        contours.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut heights_mm: Vec<f64> = Vec::new();
        for (height_mm, points) in &contours {
            if heights_mm.last().is_none_or(|last| height_mm - last > SAME_PLANE_MM) {
                heights_mm.push(*height_mm);
                planes.slabs.push(Slab { from_mm: *height_mm, to_mm: *height_mm, edges: Vec::new() });
            }
            let ends = points.iter().cycle().skip(1);
            let edges = std::iter::zip(points, ends).map(|(a, b)| [[a[0], a[1]], [b[0], b[1]]]);
            if let Some(slab) = planes.slabs.last_mut() {
                slab.edges.extend(edges);
            }
        }
        let smallest = heights_mm.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let thickness_mm = if smallest.is_finite() { smallest } else { extent_along(grid, normal) };
        for (n, slab) in planes.slabs.iter_mut().enumerate() {
            let half_to = |neighbour: Option<f64>| {
                let distance_mm = neighbour.map_or(f64::INFINITY, |height| (height - heights_mm[n]).abs());
                0.5 * if distance_mm <= GAP * thickness_mm { distance_mm } else { thickness_mm }
            };
            slab.from_mm = heights_mm[n] - half_to(n.checked_sub(1).map(|n| heights_mm[n]));
            slab.to_mm = heights_mm[n] + half_to(heights_mm.get(n + 1).copied());
        }
        Ok(planes)
    }

    /// A point in mm along the plane axes.
    fn plane_coordinates(&self, point: PointLps) -> [f64; 3] {
        let offset = point - self.origin;
        self.axes.map(|axis| offset.dot(axis))
    }

    /// The u at which the line of constant v crosses edges of the slab at w, rising.
    fn crossings_at(&self, v: f64, w: f64, crossings: &mut Vec<f64>) {
        crossings.clear();
        // Slabs are half open, as pixels are: a point on the border of two belongs to the upper one.
        let n = self.slabs.partition_point(|slab| slab.from_mm <= w);
        let Some(slab) = n.checked_sub(1).map(|n| &self.slabs[n]) else { return };
        if w >= slab.to_mm {
            return;
        }
        for [[u0, v0], [u1, v1]] in &slab.edges {
            if (*v0 <= v) != (*v1 <= v) {
                crossings.push(u0 + (v - v0) / (v1 - v0) * (u1 - u0));
            }
        }
        crossings.sort_unstable_by(f64::total_cmp);
    }

    /// Fails if the region's box and the grid's, both along the plane axes, are apart.
    fn require_overlap(&self, roi: &Roi, grid: &Grid) -> Result<(), RtError> {
        let spans = |points: &mut dyn Iterator<Item = [f64; 3]>| {
            points.fold([[f64::INFINITY, f64::NEG_INFINITY]; 3], |spans, point| {
                [0, 1, 2].map(|axis| [spans[axis][0].min(point[axis]), spans[axis][1].max(point[axis])])
            })
        };
        let centers = spans(&mut grid.corner_points().into_iter().map(|p| self.plane_coordinates(p)));
        let of_grid = [0, 1, 2].map(|axis| {
            let half_mm = 0.5 * extent_along(grid, self.axes[axis]);
            [centers[axis][0] - half_mm, centers[axis][1] + half_mm]
        });
        let of_roi = spans(&mut self.slabs.iter().flat_map(|slab| {
            (slab.edges.iter()).flat_map(|[a, _]| [[a[0], a[1], slab.from_mm], [a[0], a[1], slab.to_mm]])
        }));
        let gaps = [0, 1, 2].map(|axis| {
            (of_roi[axis][0] - of_grid[axis][1]).max(of_grid[axis][0] - of_roi[axis][1]).max(0.0)
        });
        let distance_mm = VectorLps::from(gaps).norm_mm();
        if distance_mm > 0.0 {
            return Err(RtError::OutsideGrid { roi: roi.name.clone(), distance_mm });
        }
        Ok(())
    }
}

/// The unit normal of the contour with the largest area (Newell's sum of cross products).
fn common_normal(roi: &Roi) -> Result<VectorLps, RtError> {
    if roi.contours.is_empty() {
        return Err(RtError::NoContour { roi: roi.name.clone() });
    }
    let area = |points: &[PointLps]| {
        let first = points[0];
        points.windows(2).fold(VectorLps::new(0.0, 0.0, 0.0), |sum, pair| {
            sum + (pair[0] - first).cross(pair[1] - first) * 0.5
        })
    };
    let largest = roi.contours.iter().map(|contour| area(contour.points_lps())).fold(
        VectorLps::new(0.0, 0.0, 0.0),
        |best, area| {
            if area.norm_mm() > best.norm_mm() { area } else { best }
        },
    );
    let length = largest.norm_mm();
    if length <= 0.0 {
        let problem = "no contour encloses an area".to_owned();
        return Err(RtError::Contour { roi: roi.name.clone(), contour: 0, problem });
    }
    // A normal that is an axis but for rounding is that axis, so that planes at equal heights are equal.
    let normal = [largest.x, largest.y, largest.z].map(|c| {
        let c = c / length;
        if c.abs() < 1e-9 { 0.0 } else { c }
    });
    let normal = VectorLps::from(normal);
    Ok(canonical(normal * (1.0 / normal.norm_mm())))
}

/// The direction or its opposite, whichever has its largest component above zero: neither the order of a contour's points
/// nor that of a grid's voxels decides to which side a point on an edge belongs.
fn canonical(direction: VectorLps) -> VectorLps {
    let largest =
        direction.to_array().into_iter().fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 { direction * -1.0 } else { direction }
}

/// How far a voxel reaches along a direction, mm.
fn extent_along(grid: &Grid, direction: VectorLps) -> f64 {
    let spacing_mm = grid.spacing_mm();
    (0..3)
        .map(|axis| {
            let along = VectorLps::from(grid.direction().column(axis)).dot(direction).abs();
            along * spacing_mm[axis]
        })
        .sum()
}
