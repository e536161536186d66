//! The cervical spine.

use super::face::NearestBone;
use crate::bone::BoneKind;
use crate::shape::{Position, ellipse, ellipsoid, mirrored, round_cone, smooth_max, smooth_min};

/// Height of the middle of the second vertebra and the distance from one to the next.
const AXIS_Z: f64 = -106.0;
const PITCH: f64 = 19.0;

const VERTEBRA: BoneKind = BoneKind { rim: 1.4, rim_hu: 950.0, middle_hu: 380.0 };

/// Distances to the vertebrae and to the discs between them, negative inside.
pub(crate) fn spine(p: Position) -> (NearestBone, f64) {
    let m = mirrored(p);
    let [x, y, z] = [m[0], p[1], p[2]];
    let atlas = atlas(p, m);
    let dens = smooth_min(
        ellipsoid(p, [0.0, 24.0, AXIS_Z], [13.0, 10.0, 10.0]),
        round_cone(p, [0.0, 24.0, AXIS_Z], [0.0, 23.0, -82.0], 7.0, 5.0),
        4.0,
    );
    // From the second vertebra down one is like the other; spines hang down behind.
    let level = ((AXIS_Z - z) / PITCH).round().max(0.0);
    let middle = AXIS_Z - PITCH * level;
    let height = z - middle;
    let body = smooth_max(ellipse(x, y - 23.0, 14.5, 10.0), height.abs() - 7.6, 2.0);
    let body = if level > 0.5 { body } else { dens };
    let disc = smooth_max(
        ellipse(x, y - 23.0, 14.0, 9.5),
        ((AXIS_Z - z) / PITCH - 0.5 - ((AXIS_Z - z) / PITCH - 0.5).round()).abs() * PITCH - 2.4,
        1.0,
    )
    .max(z - AXIS_Z + 6.0);
    let canal = ellipse(x, y - 43.0, 12.5, 11.0);
    let arch = smooth_max((canal - 2.2).abs() - 2.2, height.abs() - 5.5, 2.0);
    let mass = ellipsoid(m, [20.0, 36.0, middle], [7.0, 8.0, 8.0]);
    let transverse = round_cone(m, [14.0, 26.0, middle], [28.0, 30.0, middle - 2.0], 3.5, 3.2);
    let spine = round_cone(p, [0.0, 56.0, middle - 1.0], [0.0, 80.0, middle - 10.0], 3.4, 4.2);
    let posterior = smooth_min(smooth_min(arch, mass, 3.0), smooth_min(transverse, spine, 2.0), 3.0);
    let vertebra = smooth_min(body, posterior, 3.0).max(-canal);
    let bone = NearestBone { distance: vertebra, kind: VERTEBRA }.or(atlas, VERTEBRA).or(dens, VERTEBRA);
    (bone, disc)
}

/// The first vertebra: a ring with two lateral masses.
fn atlas(p: Position, m: Position) -> f64 {
    let z = -86.0;
    let ring = smooth_max(ellipse(p[0], p[1] - 38.0, 25.0, 25.0).abs() - 2.8, (p[2] - z).abs() - 4.6, 2.0);
    let mass = ellipsoid(m, [21.5, 32.0, z], [8.0, 10.0, 7.5]);
    let transverse = round_cone(m, [24.0, 34.0, z], [40.0, 36.0, z - 1.0], 4.5, 4.0);
    smooth_min(smooth_min(ring, mass, 3.0), transverse, 3.0)
}
