//! How much matter lies between the source and a point.

use rayon::prelude::*;
use synthct_image::{ContinuousIndex, Grid, VectorLps, Volume};
use synthct_rt::BeamFrame;

/// Radiological depth, in cm of water, along rays that fan out from the source.
///
/// Rays pass the isocenter's plane on a lattice; on each, depth is known at planes across the axis, from exact lengths
/// in every voxel (Siddon 1985, doi:10.1118/1.595715), and read linearly between rays and planes.
pub(crate) struct RadiologicalDepth {
    /// The first ray in the isocenter's plane, x and y, mm.
    start_mm: [f64; 2],
    ray_step_mm: f64,
    /// The first plane's distance from the source along the axis, mm.
    start_distance_mm: f64,
    plane_step_mm: f64,
    size: [usize; 3],
    /// `[plane, y, x]`.
    depths_cm: Vec<f32>,
}

impl RadiologicalDepth {
    /// Traces the rays through `extent_mm` (x and y in the isocenter's plane) and the whole grid.
    pub(crate) fn new(electron: &Volume<f32>, frame: &BeamFrame, extent_mm: [[f64; 2]; 2]) -> Self {
        let grid = electron.grid();
        let step_mm = grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
        let axis_distance_mm = frame.source_axis_distance_mm();
        let reach_mm = VectorLps::from(grid.spacing_mm()).norm_mm();
        let distances = grid.corner_points().map(|corner| axis_distance_mm - frame.beam_from_lps(corner)[2]);
        let first = distances.into_iter().fold(f64::INFINITY, f64::min) - reach_mm;
        let last = distances.into_iter().fold(f64::NEG_INFINITY, f64::max) + reach_mm;
        let first = first.max(step_mm);
        let rays = |axis: usize| ((extent_mm[axis][1] - extent_mm[axis][0]) / step_mm).ceil() as usize + 2;
        let n_planes = ((last - first) / step_mm).ceil() as usize + 2;
        let size = [rays(0), rays(1), n_planes];
        let mut depth = Self {
            // Half a step off the middle, where a ray could run along the faces between voxels.
            start_mm: [0, 1].map(|axis| extent_mm[axis][0] - 0.5 * step_mm),
            ray_step_mm: step_mm,
            start_distance_mm: first,
            plane_step_mm: step_mm,
            size,
            depths_cm: vec![0.0; size.iter().product()],
        };
        // Rays are traced one after the other into rows of planes, then put into planes of rays.
        let [nx, ny, nz] = size;
        let by_ray: Vec<Vec<f32>> = (0..nx * ny)
            .into_par_iter()
            .map(|ray| depth.trace(electron, frame, [ray % nx, ray / nx]))
            .collect();
        let planes = depth.depths_cm.par_chunks_mut(nx * ny).take(nz).enumerate();
        planes.for_each(|(plane, depths)| {
            for (depth, ray) in std::iter::zip(depths, &by_ray) {
                *depth = ray[plane];
            }
        });
        depth
    }

    /// Depth at each plane along one ray.
    fn trace(&self, electron: &Volume<f32>, frame: &BeamFrame, ray: [usize; 2]) -> Vec<f32> {
        let grid = electron.grid();
        let axis_distance_mm = frame.source_axis_distance_mm();
        let [x, y] = [0, 1].map(|axis| self.start_mm[axis] + ray[axis] as f64 * self.ray_step_mm);
        let slope = [x / axis_distance_mm, y / axis_distance_mm];
        // Position in voxels at a distance s along the axis: source + s · per_mm.
        let index =
            |s: f64| voxels(grid, frame.lps_from_beam([slope[0] * s, slope[1] * s, axis_distance_mm - s]));
        let (source, one) = (index(0.0), index(1.0));
        let per_mm = [0, 1, 2].map(|axis| one[axis] - source[axis]);
        let length_per_mm = (1.0 + slope[0] * slope[0] + slope[1] * slope[1]).sqrt();
        let mut depths = vec![0.0_f32; self.size[2]];
        let plane_at = |plane: usize| self.start_distance_mm + plane as f64 * self.plane_step_mm;

        let (mut enter, mut leave) = (0.0_f64, f64::INFINITY);
        for axis in 0..3 {
            let last = grid.size_ijk()[axis] as f64 - 0.5;
            if per_mm[axis].abs() < 1e-12 {
                if source[axis] < -0.5 || source[axis] >= last {
                    return depths;
                }
                continue;
            }
            let crossings = [(-0.5 - source[axis]) / per_mm[axis], (last - source[axis]) / per_mm[axis]];
            enter = enter.max(crossings[0].min(crossings[1]));
            leave = leave.min(crossings[0].max(crossings[1]));
        }
        if enter >= leave {
            return depths;
        }
        let [ni, nj, _] = grid.size_ijk();
        let size = grid.size_ijk();
        let mut voxel = [0, 1, 2].map(|axis| {
            // A hair inside, so that the voxel entered is the first one.
            let at = source[axis] + (enter + 1e-9) * per_mm[axis];
            ((at + 0.5).floor().max(0.0) as usize).min(size[axis] - 1)
        });
        let mut next = [0, 1, 2].map(|axis| {
            let face = voxel[axis] as f64 + if per_mm[axis] > 0.0 { 0.5 } else { -0.5 };
            if per_mm[axis].abs() < 1e-12 { f64::INFINITY } else { (face - source[axis]) / per_mm[axis] }
        });
        let step = per_mm.map(|rate| if rate.abs() < 1e-12 { f64::INFINITY } else { 1.0 / rate.abs() });
        let (mut at, mut depth_cm) = (enter, 0.0_f64);
        let mut plane = 0;
        while plane < depths.len() && plane_at(plane) <= enter {
            plane += 1;
        }
        let values = electron.as_slice();
        loop {
            let axis = (0..3).fold(0, |best, axis| if next[axis] < next[best] { axis } else { best });
            let to = next[axis].min(leave).max(at);
            let per_axis_mm =
                f64::from(values[(voxel[2] * nj + voxel[1]) * ni + voxel[0]]) * length_per_mm * 0.1;
            while plane < depths.len() && plane_at(plane) <= to {
                depths[plane] = (depth_cm + (plane_at(plane) - at) * per_axis_mm) as f32;
                plane += 1;
            }
            depth_cm += (to - at) * per_axis_mm;
            at = to;
            let moved = voxel[axis] as i64 + if per_mm[axis] > 0.0 { 1 } else { -1 };
            if at >= leave || moved < 0 || moved >= size[axis] as i64 {
                break;
            }
            voxel[axis] = moved as usize;
            next[axis] += step[axis];
        }
        depths[plane..].fill(depth_cm as f32);
        depths
    }

    /// The depth at a point: where its ray crosses the isocenter's plane, and its distance from the source along the axis.
    pub(crate) fn at(&self, [x_mm, y_mm]: [f64; 2], distance_mm: f64) -> f64 {
        let [nx, ny, nz] = self.size;
        let place = |position: f64, n: usize| {
            let position = position.clamp(0.0, (n - 1) as f64);
            let low = (position as usize).min(n - 2);
            (low, (position - low as f64) as f32)
        };
        let (x, u) = place((x_mm - self.start_mm[0]) / self.ray_step_mm, nx);
        let (y, v) = place((y_mm - self.start_mm[1]) / self.ray_step_mm, ny);
        let (z, w) = place((distance_mm - self.start_distance_mm) / self.plane_step_mm, nz);
        let first = (z * ny + y) * nx + x;
        let along_x = |at: usize| {
            let (low, high) = (self.depths_cm[at], self.depths_cm[at + 1]);
            low + u * (high - low)
        };
        let plane = |at: usize| {
            let (low, high) = (along_x(at), along_x(at + nx));
            low + v * (high - low)
        };
        let (low, high) = (plane(first), plane(first + nx * ny));
        f64::from(low + w * (high - low))
    }
}

/// A point in voxels of a grid.
fn voxels(grid: &Grid, point: synthct_image::PointLps) -> [f64; 3] {
    let ContinuousIndex { i, j, k } = grid.index_from_lps(point);
    [i, j, k]
}

#[cfg(test)]
mod tests {
    use synthct_image::{ImageError, PointLps};
    use synthct_rt::{BeamAngles, PatientPosition};

    use super::*;

    #[test]
    fn depth_in_water_is_the_length_of_the_way() -> Result<(), ImageError> {
        // A box of water; from any side depth is the length from its face along the ray.
        let grid = Grid::axis_aligned([40, 50, 60], [3.0, 2.0, 2.5], PointLps::new(-58.5, -49.0, -73.75))?;
        let water = Volume::filled(&grid, 1.0_f32);
        for (gantry_deg, couch_deg) in [(0.0, 0.0), (90.0, 0.0), (213.0, 0.0), (40.0, 30.0)] {
            let angles = BeamAngles { gantry_deg, collimator_deg: 15.0, couch_deg };
            let frame = BeamFrame::new(PatientPosition::Hfs, PointLps::ORIGIN, angles, 1000.0);
            let depth = RadiologicalDepth::new(&water, &frame, [[-60.0, 60.0]; 2]);
            for point in [PointLps::new(1.0, 2.0, -3.0), PointLps::new(20.0, -15.0, 10.0)] {
                let [x, y, z] = frame.beam_from_lps(point);
                let magnification = 1000.0 / (1000.0 - z);
                let found = depth.at([x * magnification, y * magnification], 1000.0 - z);
                // Back along the ray to the face of the box.
                let ray = point - frame.source_lps();
                let way = ray.norm_mm();
                let inside = |part: f64| {
                    let p = frame.source_lps() + ray * part;
                    p.x.abs() < 60.0 && p.y.abs() < 50.0 && p.z.abs() < 75.0
                };
                let steps = 40_000;
                let count = (0..steps).filter(|n| inside((f64::from(*n) + 0.5) / f64::from(steps))).count();
                let expected_cm = 0.1 * way * count as f64 / f64::from(steps);
                let context = format!("gantry {gantry_deg}, couch {couch_deg}, {point:?}");
                assert!((found - expected_cm).abs() < 0.02, "{context}: {found} instead of {expected_cm}");
            }
        }
        Ok(())
    }
}
