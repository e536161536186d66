//! Hip bones, femora, sacrum and the last lumbar vertebra.

use super::Pelvis;
use crate::bone::BoneKind;
use crate::shape::{
    Position, dot, ellipse, ellipsoid, mirrored, norm, round_cone, smooth_max, smooth_min, smooth_step, sub,
};

/// What the skeleton has at a position.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Skeletal {
    /// Bone at a depth below its surface.
    Bone { depth: f64, kind: BoneKind },
    /// Fatty marrow in a shaft.
    Marrow,
    /// Cartilage or disc.
    Cartilage,
}

/// Middle of the left femoral head.
pub(crate) const FEMORAL_HEAD: Position = [88.0, 0.0, 0.0];

impl Pelvis {
    /// Bone or cartilage at a position.
    pub(crate) fn skeletal(&self, p: Position) -> Option<Skeletal> {
        let m = mirrored(p);
        let (femur, marrow) =
            if m[0] > 56.0 && p[2] < 32.0 { self.femur(m) } else { (f64::INFINITY, f64::INFINITY) };
        if marrow < 0.0 {
            return Some(Skeletal::Marrow);
        }
        let parameters = &self.parameters;
        let kind = BoneKind { rim: parameters.cortex, rim_hu: 1180.0, middle_hu: parameters.spongy_hu };
        if femur < 0.0 {
            // The shaft's cortex is the thickest: all bone outside the marrow is compact.
            let shaft = smooth_step(-40.0, -75.0, p[2]);
            let kind = BoneKind {
                rim: kind.rim * (1.0 + 2.5 * shaft),
                rim_hu: 1180.0 + 330.0 * shaft,
                middle_hu: parameters.spongy_hu * 1.15,
            };
            return Some(Skeletal::Bone { depth: (-femur).min(marrow.max(0.0) + 0.5 * kind.rim), kind });
        }
        let sacrum = if m[0] < 64.0 && p[1] > 28.0 { sacrum(p, m) } else { f64::INFINITY };
        let hip = self.hip_bone(m);
        // The sacro-iliac joints: the two bones never touch.
        let joint = 1.4;
        if sacrum < 0.0 {
            if hip < joint && -sacrum < joint {
                return Some(Skeletal::Cartilage);
            }
            return Some(Skeletal::Bone { depth: -sacrum, kind: BoneKind { rim: 0.7 * kind.rim, ..kind } });
        }
        if hip < 0.0 {
            return Some(Skeletal::Bone { depth: -hip, kind });
        }
        let (lumbar, disc) =
            if p[2] > 92.0 && m[0] < 56.0 { lumbar(p, m) } else { (f64::INFINITY, f64::INFINITY) };
        if lumbar < 0.0 {
            return Some(Skeletal::Bone { depth: -lumbar, kind: BoneKind { rim: 0.7 * kind.rim, ..kind } });
        }
        let symphysis = ellipsoid(p, [0.0, -40.0, -20.0], [4.0, 10.0, 21.0]);
        let joint_space = norm(sub(m, FEMORAL_HEAD)) - parameters.head_radius - 3.2;
        (symphysis < 0.0 || disc < 0.0 || joint_space < 0.0 && hip < 4.0).then_some(Skeletal::Cartilage)
    }

    /// Distance to the femur and to its marrow cavity, negative inside.
    fn femur(&self, m: Position) -> (f64, f64) {
        let parameters = &self.parameters;
        let turn = parameters.hip_turn;
        let head = norm(sub(m, FEMORAL_HEAD)) - parameters.head_radius;
        let neck = round_cone(m, [92.0, 1.0, -3.0], [124.0 + turn * 0.3, 8.0 + turn, -32.0], 15.5, 17.0);
        let shaft_from = [128.0, 9.0 + turn, -45.0];
        let shaft_to = [112.0, 2.0 + 0.5 * turn, -210.0];
        let shaft = round_cone(m, shaft_from, shaft_to, 16.5, 14.0);
        let greater = ellipsoid(m, [135.0, 16.0 + turn, -18.0], [13.0, 17.0, 23.0]);
        let lesser = ellipsoid(m, [114.0, 24.0 + turn, -58.0], [10.0, 9.0, 13.0]);
        let neck = smooth_min(head, neck, 3.0);
        let bone = smooth_min(smooth_min(neck, shaft, 9.0), smooth_min(greater, lesser, 4.0), 6.0);
        let cavity = round_cone(m, [125.0, 9.0 + turn, -62.0], shaft_to, 5.5, 8.0);
        (bone, cavity)
    }

    /// Distance to the hip bone, negative inside.
    fn hip_bone(&self, m: Position) -> f64 {
        let radius = self.parameters.head_radius;
        // The wing: a curved plate through the sacro-iliac joint, the anterior spine and the roof of the socket.
        let center = [84.0, 18.0, 72.0];
        let (normal, along) = ([0.843, 0.536, -0.033], [-0.536, 0.844, 0.0]);
        let q = sub(m, center);
        let (u, w) = (dot(q, along), dot(q, normal));
        let v = q[2] + 0.04 * w;
        let bent = w - 0.0016 * (u - 8.0) * (u - 8.0) + 5.0 + 0.0011 * v * v * v.signum();
        let edge = ellipse(u, v + 8.0, 77.0, 63.0);
        // Thin in the middle of the wing, stout at the crest, at the joint and towards the socket.
        let half = 3.0
            + 3.6 * smooth_step(-20.0, -4.0, edge)
            + 5.5 * smooth_step(22.0, 62.0, u)
            + 7.0 * smooth_step(-14.0, -42.0, v);
        let wing = smooth_max(bent.abs() - half, edge, 4.0);
        // The socket: half a shell about the femoral head, open to the side, front and below.
        let from_head = sub(m, FEMORAL_HEAD);
        let to_head = norm(from_head);
        let opening = dot(from_head, [0.70, -0.35, -0.62]) - 3.0;
        let socket = smooth_max(to_head - radius - 9.5, opening, 4.0);
        let column = round_cone(m, [84.0, 16.0, 22.0], [66.0, 56.0, 52.0], 14.0, 10.5);
        let front = round_cone(m, [90.0, -10.0, 24.0], [108.0, -30.0, 56.0], 12.0, 7.0);
        let ischium = smooth_min(
            round_cone(m, [76.0, 24.0, -10.0], [60.0, 36.0, -42.0], 15.0, 13.5),
            round_cone(m, [60.0, 34.0, -46.0], [52.0, 26.0, -58.0], 13.0, 9.0),
            6.0,
        );
        let upper_ramus = round_cone(m, [74.0, -16.0, 2.0], [16.0, -40.0, -8.0], 12.0, 8.0);
        let lower_ramus = round_cone(m, [50.0, 20.0, -58.0], [12.0, -32.0, -36.0], 7.5, 6.0);
        let pubis = ellipsoid(m, [11.0, -40.0, -20.0], [11.0, 9.0, 20.0]);
        let ring = smooth_min(
            smooth_min(ischium, smooth_min(upper_ramus, pubis, 6.0), 6.0),
            smooth_min(lower_ramus, smooth_min(column, front, 8.0), 6.0),
            7.0,
        );
        let bone = smooth_min(smooth_min(wing, socket, 9.0), ring, 8.0);
        // Room for the femoral head with its cartilage, and a gap at the symphysis.
        smooth_max(bone, -(to_head - radius - 3.2), 1.5).max(2.2 - m[0])
    }
}

/// Distance to the sacrum and coccyx, negative inside.
fn sacrum(p: Position, m: Position) -> f64 {
    let z = p[2];
    // From the promontory down: the middle runs backwards, then forwards again.
    let t = ((96.0 - z) / 100.0).clamp(0.0, 1.2);
    let middle_y = sacral_middle(z);
    let half_width = 54.0 - 6.0 * t - 40.0 * t * t * smooth_step(0.2, 0.9, t);
    let half_depth = (17.0 - 11.0 * t).max(4.5);
    let wing = ellipse(m[0], p[1] - middle_y - 0.10 * m[0], half_width.max(7.0), half_depth);
    let body = smooth_max(wing, (z - 46.0).abs() - 51.0, 6.0);
    let promontory = smooth_max(ellipse(p[0], p[1] - 54.0, 26.0, 17.0), (z - 88.0).abs() - 10.0, 4.0);
    let coccyx = round_cone(p, [0.0, 58.0 + 6.0, -6.0], [0.0, 54.0, -24.0], 6.0, 3.0);
    let crest = round_cone(p, [0.0, 84.0, 84.0], [0.0, 96.0, 30.0], 6.0, 5.0);
    let solid = smooth_min(smooth_min(body, promontory, 8.0), smooth_min(coccyx, crest, 3.0), 6.0);
    // Four pairs of foramina, and the canal behind the bodies.
    let level = ((80.0 - z) / 18.0).round().clamp(0.0, 3.0);
    let hole_x = 25.0 - 3.5 * level;
    let foramen = (m[0] - hole_x).hypot(z - (80.0 - 18.0 * level)) - 4.6 + 0.5 * level;
    let canal =
        ellipse(p[0], p[1] - middle_y - 9.0 + 6.0 * t, 12.0 - 7.0 * t.min(1.0), 5.5 - 2.5 * t.min(1.0))
            .max(20.0 - z);
    solid.max(-foramen).max(-canal)
}

/// How far behind the origin the middle of the sacrum lies at a height.
fn sacral_middle(z: f64) -> f64 {
    let t = ((96.0 - z) / 100.0).clamp(0.0, 1.2);
    62.0 + 66.0 * t - 62.0 * t * t
}

/// How far behind the origin the middle of the vertebral canal lies at a height; none below the canal.
pub(crate) fn canal_center(z: f64) -> Option<f64> {
    let t = ((96.0 - z) / 100.0).clamp(0.0, 1.2);
    let sacral = sacral_middle(z) + 9.0 - 6.0 * t;
    let lumbar = 68.0 - 6.0 * ((z - 124.0) / 37.0).max(0.0).round();
    (z > 20.0).then(|| sacral + (lumbar - sacral) * smooth_step(88.0, 112.0, z))
}

/// Distance to the last lumbar vertebrae and to the discs, negative inside.
fn lumbar(p: Position, m: Position) -> (f64, f64) {
    let [x, y, z] = p;
    // The lumbar curve: higher vertebrae lie further in front.
    let (pitch, first) = (37.0, 124.0);
    let level = ((z - first) / pitch).round().max(0.0);
    let middle = first + pitch * level;
    let height = z - middle;
    let body_y = 42.0 - 6.0 * level;
    let body = smooth_max(ellipse(x, y - body_y, 26.0, 18.0), height.abs() - 13.5, 3.0);
    let canal = ellipse(x, y - body_y - 26.0, 12.0, 8.5);
    let arch = smooth_max((canal - 3.0).abs() - 3.2, height.abs() - 10.0, 3.0);
    let transverse =
        round_cone(m, [16.0, body_y + 18.0, middle], [44.0, body_y + 26.0, middle + 2.0], 6.0, 4.0);
    let spine =
        round_cone(p, [0.0, body_y + 38.0, middle - 2.0], [0.0, body_y + 60.0, middle - 10.0], 4.5, 5.5);
    let facet = ellipsoid(m, [20.0, body_y + 30.0, middle - 8.0], [7.0, 7.0, 14.0]);
    let posterior = smooth_min(smooth_min(arch, facet, 4.0), smooth_min(transverse, spine, 3.0), 4.0);
    let bone = smooth_min(body, posterior, 4.0).max(-canal);
    let lowest = smooth_max(ellipse(x, y - 48.0, 25.0, 17.0), (z - 104.5).abs() - 5.5, 2.0);
    let between = smooth_max(
        ellipse(x, y - body_y + 3.0, 25.0, 17.5),
        (z - first - pitch * (0.5 + ((z - first) / pitch - 0.5).round())).abs() - 4.5,
        2.0,
    )
    .max(first - z);
    (bone, lowest.min(between))
}
