//! Positions in the volume through patient space, for transforms that are not affine.

use crate::transform::BSplineRows;
use crate::{Grid, Matrix3, PointLps, Transform};

/// From the voxels of a target grid through a transform to positions in a volume.
pub(super) struct PointMap<'a> {
    lps_from_target_index: Matrix3,
    target_origin: PointLps,
    /// A B-spline transform that acts first, if the target grid has its axes: a matter of tables.
    first: Option<BSplineRows<'a>>,
    /// What acts after it, in the order of acting.
    factors: Vec<&'a Transform>,
    index_from_lps: Matrix3,
    origin: PointLps,
}

/// One slice of the target grid.
pub(super) struct PlaneMap<'a> {
    map: &'a PointMap<'a>,
    k: usize,
    first: Option<(&'a BSplineRows<'a>, Vec<[f64; 3]>)>,
}

impl<'a> PointMap<'a> {
    pub(super) fn new(volume: &Grid, target: &Grid, transform: &'a Transform) -> Self {
        let mut factors = Vec::new();
        push_in_order(transform, &mut factors);
        let first = match factors[..] {
            [Transform::BSpline(spline), ..] => BSplineRows::new(spline, target),
            _ => None,
        };
        if first.is_some() {
            factors.remove(0);
        }
        Self {
            lps_from_target_index: target.lps_from_index_matrix(),
            target_origin: target.origin_lps(),
            first,
            factors,
            index_from_lps: volume.index_from_lps_matrix(),
            origin: volume.origin_lps(),
        }
    }

    /// What slice `k` of the target grid needs.
    pub(super) fn plane(&self, k: usize) -> PlaneMap<'_> {
        PlaneMap { map: self, k, first: self.first.as_ref().map(|rows| (rows, rows.plane(k))) }
    }
}

impl PlaneMap<'_> {
    /// The positions in the volume of the voxels of row `j`.
    pub(super) fn row(&self, j: usize, positions: &mut [[f64; 3]]) {
        let map = self.map;
        for (i, point) in positions.iter_mut().enumerate() {
            let step = map.lps_from_target_index.apply([i as f64, j as f64, self.k as f64]);
            *point = (map.target_origin + step.into()).to_array();
        }
        if let Some((rows, plane)) = &self.first {
            rows.displace(plane, j, positions);
        }
        for factor in &map.factors {
            match factor {
                Transform::Affine(affine) => apply_to_all(positions, |point| affine.apply(point)),
                Transform::Displacement(field) => apply_to_all(positions, |point| field.apply(point)),
                Transform::BSpline(spline) => apply_to_all(positions, |point| spline.apply(point)),
                Transform::Composite(_) => apply_to_all(positions, |point| factor.apply(point)),
            }
        }
        for position in positions {
            *position = map.index_from_lps.apply((PointLps::from(*position) - map.origin).to_array());
        }
    }
}

fn apply_to_all(points: &mut [[f64; 3]], map: impl Fn(PointLps) -> PointLps) {
    for point in points {
        *point = map((*point).into()).to_array();
    }
}

/// The factors of a transform that are no composites, the one that acts first at the front.
fn push_in_order<'a>(transform: &'a Transform, factors: &mut Vec<&'a Transform>) {
    match transform {
        Transform::Composite(product) => {
            product.iter().rev().for_each(|factor| push_in_order(factor, factors));
        }
        single => factors.push(single),
    }
}
