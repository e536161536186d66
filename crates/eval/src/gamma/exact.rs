//! γ over the trilinear dose itself, by boxes and bounds.

use super::Search;
use super::lattice::EvaluatedDose;
use super::patch::{Patch, distance2};

/// Looks through the boxes between voxel centres from near to far; a box whose bound cannot improve γ is left out, one
/// whose linear part settles γ is done, any other is halved.
pub(super) struct ExactSearch<'a> {
    dose: &'a EvaluatedDose<'a>,
    distance_mm: f64,
    cap: f64,
    tolerance: f64,
    /// Boxes relative to the one that holds the point, with a distance in mm that theirs is not below, rising.
    offsets: Vec<([i64; 3], f64)>,
}

impl<'a> ExactSearch<'a> {
    pub(super) fn new(dose: &'a EvaluatedDose<'a>, distance_mm: f64, cap: f64, tolerance: f64) -> Self {
        let reach_mm = cap * distance_mm;
        let reach = dose.spacing_mm.map(|spacing| (reach_mm / spacing).ceil() as i64 + 1);
        let reach = [0, 1, 2].map(|axis| reach[axis].min(dose.n_cells(axis) as i64));
        let mut offsets = Vec::new();
        for k in -reach[2]..=reach[2] {
            for j in -reach[1]..=reach[1] {
                for i in -reach[0]..=reach[0] {
                    let offset = [i, j, k];
                    // The point is somewhere in box 0, so at least |offset| − 1 widths away.
                    let gap = |axis: usize| (offset[axis].abs() - 1).max(0) as f64 * dose.spacing_mm[axis];
                    let nearest_mm = (gap(0).powi(2) + gap(1).powi(2) + gap(2).powi(2)).sqrt();
                    if nearest_mm <= reach_mm {
                        offsets.push((offset, nearest_mm));
                    }
                }
            }
        }
        let size = |offset: &[i64; 3]| offset.iter().map(|n| n * n).sum::<i64>();
        offsets.sort_by(|(a, a_mm), (b, b_mm)| a_mm.total_cmp(b_mm).then_with(|| size(a).cmp(&size(b))));
        Self { dose, distance_mm, cap, tolerance, offsets }
    }
}

impl Search for ExactSearch<'_> {
    fn gamma_at(&self, at: [f64; 3], dose_gy: f64, tolerance_gy: f64) -> f64 {
        let here =
            self.dose.at(at).map_or(f64::INFINITY, |evaluated| (evaluated - dose_gy).abs() / tolerance_gy);
        let mut best = here.min(self.cap);
        let n_cells = [0, 1, 2].map(|axis| self.dose.n_cells(axis));
        // A point outside the dose starts from the outermost box.
        let start = [0, 1, 2].map(|axis| at[axis].floor().clamp(0.0, (n_cells[axis] - 1) as f64));
        let beyond = [0, 1, 2].map(|axis| {
            let over = (start[axis] - at[axis]).max(at[axis] - start[axis] - 1.0).max(0.0);
            over * self.dose.spacing_mm[axis]
        });
        let is_outside = beyond.iter().any(|&mm| mm > 0.0);
        let half = [0, 1, 2].map(|axis| 0.5 * self.dose.cell_width(axis) * self.dose.spacing_mm[axis]);
        let per_distance2 = self.distance_mm.powi(-2);
        let mut pieces: Vec<Patch> = Vec::new();
        for &(offset, nearest_mm) in &self.offsets {
            // The offsets' distances hold for points inside; from outside all boxes within reach are looked at.
            if !is_outside && nearest_mm >= best * self.distance_mm {
                break;
            }
            let cell = [0, 1, 2].map(|axis| start[axis] as i64 + offset[axis]);
            if (0..3).any(|axis| cell[axis] < 0 || cell[axis] >= n_cells[axis] as i64) {
                continue;
            }
            let cell = cell.map(|n| n as usize);
            let middle = [0, 1, 2].map(|axis| {
                let center = cell[axis] as f64 + 0.5 * self.dose.cell_width(axis);
                (center - at[axis]) * self.dose.spacing_mm[axis]
            });
            let corners = self.dose.corners(cell).map(|corner| corner - dose_gy);
            let (low, high) = corners[1..]
                .iter()
                .fold((corners[0], corners[0]), |(low, high), &corner| (low.min(corner), high.max(corner)));
            let gap = low.max(-high).max(0.0) / tolerance_gy;
            let limit = (best - self.tolerance).max(0.0);
            if distance2(middle, half) * per_distance2 + gap * gap >= limit * limit {
                continue;
            }
            pieces.push(Patch::new(middle, half, corners));
            while let Some(piece) = pieces.pop() {
                let limit = (best - self.tolerance).max(0.0);
                if piece.distance2_mm2() * per_distance2 >= limit * limit {
                    continue;
                }
                let Some(bounds) = piece.bounds(self.distance_mm, tolerance_gy, limit) else { continue };
                best = best.min(bounds.upper);
                if bounds.lower < best - self.tolerance {
                    let [near, far] = piece.halves();
                    pieces.extend([far, near]);
                }
            }
        }
        best
    }
}
