//! γ over samples on spheres around the point, as `pymedphys.gamma` takes them.

use std::f64::consts::{PI, TAU};

use super::Search;
use super::lattice::EvaluatedDose;

/// Looks at the points of one sphere after the other, and ends when the distance alone is as large as γ.
pub(super) struct ShellSearch<'a> {
    dose: &'a EvaluatedDose<'a>,
    distance_mm: f64,
    cap: f64,
    shells: Vec<Shell>,
}

struct Shell {
    radius_mm: f64,
    /// In voxels of the evaluated dose.
    offsets: Vec<[f64; 3]>,
}

impl<'a> ShellSearch<'a> {
    pub(super) fn new(dose: &'a EvaluatedDose<'a>, distance_mm: f64, cap: f64, interp_fraction: f64) -> Self {
        let in_plane = dose.cell_width(2) == 0.0;
        let mut shells = Vec::new();
        let (mut radius_mm, mut step_mm) = (0.0_f64, distance_mm / interp_fraction);
        let mut is_criterion_ahead = true;
        while radius_mm <= cap * distance_mm {
            let offsets_mm = if in_plane { circle(radius_mm, step_mm) } else { sphere(radius_mm, step_mm) };
            let offsets =
                offsets_mm.iter().map(|r| [0, 1, 2].map(|axis| r[axis] / dose.spacing_mm[axis])).collect();
            shells.push(Shell { radius_mm, offsets });
            step_mm = (radius_mm / interp_fraction / cap).max(distance_mm / interp_fraction);
            radius_mm += step_mm;
            // The criterion's own distance is always among the radii.
            if is_criterion_ahead && radius_mm >= distance_mm {
                radius_mm = distance_mm;
                is_criterion_ahead = false;
            }
        }
        Self { dose, distance_mm, cap, shells }
    }
}

impl Search for ShellSearch<'_> {
    fn gamma_at(&self, at: [f64; 3], dose_gy: f64, tolerance_gy: f64) -> f64 {
        let mut best = f64::INFINITY;
        for shell in &self.shells {
            let difference = shell
                .offsets
                .iter()
                .filter_map(|offset| self.dose.at([0, 1, 2].map(|axis| at[axis] + offset[axis])))
                .fold(f64::INFINITY, |least, evaluated| least.min((evaluated - dose_gy).abs()));
            let distance = shell.radius_mm / self.distance_mm;
            best = best.min((difference / tolerance_gy).hypot(distance));
            if best <= distance {
                break;
            }
        }
        best.min(self.cap)
    }
}

/// Points on a sphere, no farther apart than `step_mm`: rows of one angle to the i axis, `[i, j, k]` in mm.
fn sphere(radius_mm: f64, step_mm: f64) -> Vec<[f64; 3]> {
    let n_rows = (PI * radius_mm / step_mm).ceil() as usize + 1;
    let mut points = Vec::new();
    for row in 0..n_rows {
        let elevation = if n_rows > 1 { PI * row as f64 / (n_rows - 1) as f64 } else { 0.0 };
        let row_radius_mm = radius_mm * elevation.sin();
        let n_points = (TAU * row_radius_mm / step_mm).ceil() as usize + 1;
        points.extend((0..n_points).map(|n| {
            let azimuth = TAU * n as f64 / n_points as f64;
            [radius_mm * elevation.cos(), row_radius_mm * azimuth.sin(), row_radius_mm * azimuth.cos()]
        }));
    }
    points
}

/// Points on a circle in the plane of i and j, no farther apart than `step_mm`.
fn circle(radius_mm: f64, step_mm: f64) -> Vec<[f64; 3]> {
    let n_points = (TAU * radius_mm / step_mm).ceil() as usize + 1;
    (0..n_points)
        .map(|n| {
            let angle = TAU * n as f64 / n_points as f64;
            [radius_mm * angle.sin(), radius_mm * angle.cos(), 0.0]
        })
        .collect()
}
