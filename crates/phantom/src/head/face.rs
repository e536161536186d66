//! The face: orbits, sinuses, nose, jaws, teeth and the air ways.

use super::Head;
use super::cranium::{Cranial, petrous_ridge};
use crate::bone::BoneKind;
use crate::shape::{Position, ellipse, ellipsoid, mirrored, round_cone, smooth_max, smooth_min, smooth_step};
use crate::{Sample, Tissue};

/// The middle of the left eye.
pub(crate) const GLOBE_CENTER: Position = [33.0, -61.0, -38.0];
/// Radius of the eye, 12 mm at the mean head size.
const GLOBE_RADIUS: f64 = 13.2;
/// Middle and semi-axes of the dental arch, as an ellipse in the occlusal plane.
const ARCH_Y: f64 = -43.0;
const ARCH_RADII: [f64; 2] = [29.0, 36.0];
/// Height of the occlusal plane of the upper teeth.
const OCCLUSAL_Z: f64 = -114.0;

/// The bone nearest to a position: distance (negative inside) and make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearestBone {
    pub distance: f64,
    pub kind: BoneKind,
}

impl NearestBone {
    pub(crate) fn or(self, distance: f64, kind: BoneKind) -> Self {
        if distance < self.distance { Self { distance, kind } } else { self }
    }
}

const THIN: BoneKind = BoneKind { rim: 1.0, rim_hu: 900.0, middle_hu: 600.0 };
const FACIAL: BoneKind = BoneKind { rim: 1.6, rim_hu: 1300.0, middle_hu: 480.0 };
const JAW: BoneKind = BoneKind { rim: 2.4, rim_hu: 1650.0, middle_hu: 520.0 };
const PETROUS: BoneKind = BoneKind { rim: 3.0, rim_hu: 1750.0, middle_hu: 1550.0 };
const SPHENOID: BoneKind = BoneKind { rim: 1.5, rim_hu: 1150.0, middle_hu: 420.0 };

impl Head {
    /// The orbit's contents, or nothing outside it; `orbit` is the distance to its wall, negative within.
    pub(crate) fn eye(p: Position, orbit: f64) -> Option<Tissue> {
        let m = mirrored(p);
        let globe = ellipsoid(m, GLOBE_CENTER, [GLOBE_RADIUS; 3]);
        let cornea = ellipsoid(m, [33.0, -67.5, -38.0], [8.6; 3]);
        if smooth_min(globe, cornea, 1.5) < 0.0 {
            let lens = ellipsoid(m, [33.0, -69.0, -38.0], [5.0, 2.3, 5.0]);
            let sclera = globe > -1.1 && cornea > -0.8;
            return Some(if lens < 0.0 {
                Tissue::Lens
            } else if sclera {
                Tissue::Muscle
            } else {
                Tissue::Vitreous
            });
        }
        if orbit >= 0.0 || p[1] < -66.0 {
            return None;
        }
        let nerve = round_cone(m, [31.5, -48.0, -38.5], [20.0, -20.0, -34.0], 2.3, 2.0);
        if nerve < 0.0 {
            return Some(Tissue::Nerve);
        }
        // Four straight muscles run from the apex to beside the globe.
        let muscle = [[33.0, -52.0, -27.0], [34.0, -52.0, -50.0], [44.5, -52.0, -39.0], [21.5, -52.0, -39.0]]
            .into_iter()
            .map(|insertion| round_cone(m, insertion, [20.5, -24.0, -36.0], 2.2, 1.6))
            .fold(f64::INFINITY, f64::min);
        Some(if muscle < 0.0 { Tissue::Muscle } else { Tissue::Fat })
    }

    /// Distance to the wall of the orbit, negative within.
    pub(crate) fn orbit(p: Position) -> f64 {
        round_cone(mirrored(p), [20.0, -20.0, -36.0], [34.5, -60.0, -38.5], 4.0, 20.0)
    }

    /// Distance to the air of sinuses, nose and throat, negative within; and whether mucosa lines it.
    pub(crate) fn airways(&self, p: Position, cranial: &Cranial) -> (f64, bool) {
        let m = mirrored(p);
        let [x, y, z] = p;
        let parameters = &self.parameters;
        let mut air = f64::INFINITY;
        let mut lined = f64::INFINITY;

        // Frontal sinuses lie between the tables, each with its own size, beside a septum.
        let size = parameters.frontal_sinus[usize::from(x < 0.0)];
        if size > 0.0 && y < -40.0 && z > -45.0 {
            let edge = ellipse(m[0] - 11.0 * size, z + 15.0, 15.0 * size, 14.0 * size);
            let wavy = edge + 2.5 * self.cells.at([x * 0.5, y * 0.3, z * 0.5]);
            let between = (2.3 - cranial.inner).max(cranial.inner - cranial.thickness + 2.3);
            air = air.min(smooth_max(wavy, between, 2.0).max(0.8 - m[0]));
        }
        if z > -22.0 {
            return (air, false);
        }
        let s = parameters.sinus_size;
        if z > -60.0 && y < 12.0 {
            air = air.min(ellipsoid(m, [9.5, -9.0, -43.0], [8.5 * s, 13.0 * s, 9.5 * s]).max(0.8 - m[0]));
            // Ethmoid cells: walls are the sheets where a noise vanishes.
            let labyrinth = ellipsoid(m, [7.5, -46.0, -40.0], [7.5, 25.0, 9.0]);
            if labyrinth < 0.0 {
                air = air.min(labyrinth.max(0.9 - 8.0 * self.cells.at(p).abs()));
            }
        }
        if y < -12.0 && z > -104.0 {
            let maxillary = maxillary_sinus(m, s);
            if maxillary < 4.0 {
                let under_orbit = maxillary.max(1.5 - Self::orbit(p));
                air = air.min(under_orbit + 1.2 * self.thickness_noise.at(p));
            }
            // Nose: two passages beside the septum, with turbinates on the outer wall.
            let nasal = Self::nasal_cavity(p);
            if nasal < 2.0 {
                let septum = (x - parameters.septum_deviation * smooth_step(-30.0, -60.0, y)).abs() - 1.2;
                let inferior = round_cone(m, [9.0, -80.0, -80.0], [9.0, -36.0, -80.0], 4.0, 4.6);
                let middle = round_cone(m, [7.5, -70.0, -64.0], [7.5, -36.0, -64.0], 2.8, 3.4);
                lined = lined.min(nasal.max(-septum).max(-inferior.min(middle)));
            }
            lined = lined.min(round_cone(m, [7.5, -84.0, -82.0], [8.0, -92.0, -90.0], 3.4, 3.8));
            if z < -94.0 && y < -20.0 {
                let over_tongue = ellipsoid(p, [0.0, -48.0, -99.5], [15.0, 21.0, 1.7]);
                lined = lined.min(over_tongue + 1.0 * self.cells.at(p));
            }
        }
        if m[0] < 24.0 && z < -58.0 {
            let vault = ellipsoid(p, [0.0, -14.0, -78.0], [13.0, 12.0, 13.0]);
            let throat = ellipse(x, y - 2.0 - 0.10 * (-100.0 - z), 11.0, 6.5).max(z + 84.0);
            lined = lined.min(smooth_min(vault, throat, 6.0));
        }
        if m[0] > 36.0 && z > -90.0 {
            // The ear: canal and middle ear.
            let canal = round_cone(m, [54.0, 20.0, -50.0], [92.0, 24.0, -48.0], 3.2, 4.2);
            air = air.min(canal).min(ellipsoid(m, [51.0, 20.0, -49.0], [4.0, 5.5, 5.5]));
            // Mastoid cells: a fine mixture of air and bone.
            let mastoid = mastoid(p);
            if mastoid < -2.0 {
                let open = 0.10 + 0.25 * (1.0 - parameters.mastoid_air);
                air = air.min((mastoid + 2.2).max(6.0 * (open - self.cells.at(p).abs())));
            }
        }
        if lined < air { (lined, true) } else { (air, false) }
    }

    fn nasal_cavity(p: Position) -> f64 {
        let m = mirrored(p);
        let half_width = 5.0 + 9.5 * smooth_step(-44.0, -82.0, p[2]);
        let sides = m[0] - half_width;
        let ends = (-83.0 - p[1]).max(p[1] + 22.0);
        let roof = (p[2] + 42.0).max(-88.5 - p[2]);
        // The front slopes with the bridge of the nose.
        let bridge = 0.9 * (-p[1] - 82.0) + 0.45 * (p[2] + 62.0);
        smooth_max(smooth_max(sides, ends, 3.0), smooth_max(roof, bridge, 3.0), 3.0)
    }

    /// The facial skeleton and the base of the skull without the teeth.
    ///
    /// Distances matter inside bone only, so that shapes are left out where they cannot be.
    pub(crate) fn facial_bone(&self, p: Position, orbit: f64) -> NearestBone {
        let m = mirrored(p);
        let [_, y, z] = p;
        let mut bone = NearestBone { distance: f64::INFINITY, kind: THIN };
        if z > -100.0 && y > -45.0 {
            bone = skull_base(p, m, bone);
        }
        if y < 14.0 && z > -76.0 && m[0] > 30.0 {
            bone = bone.or(zygoma(m), FACIAL);
        }
        if y < -8.0 && z > -66.0 {
            // Walls of the orbit, thin inside and stout at the rim; open in front.
            let rim = smooth_step(-46.0, -58.0, y);
            let wall = (-orbit).max(orbit - 1.7 - 3.3 * rim).max(-64.0 - y);
            bone = bone.or(wall, if rim > 0.4 { FACIAL } else { THIN });
            // Walls between the cells of the labyrinth show where those are not air.
            bone = bone.or(ellipsoid(m, [7.5, -46.0, -40.0], [8.5, 26.0, 10.0]), THIN);
            let bridge = round_cone(m, [4.0, -80.0, -34.0], [5.0, -88.0, -54.0], 3.4, 2.0);
            bone = bone.or(bridge, FACIAL);
        }
        if y < -14.0 && z < -36.0 && z > -112.0 {
            bone = self.maxilla(p, m, bone);
        }
        if y < 12.0 && z < -56.0 {
            bone = bone.or(self.mandible(m), JAW);
        }
        if z < -142.0 {
            let hyoid = ellipse(m[0], y + 14.0, 17.0, 17.0).abs().max(y + 12.0).hypot(z + 150.0) - 3.0;
            bone = bone.or(hyoid, FACIAL);
        }
        bone
    }

    /// The upper jaw: the sinus with its walls, the nose with its septum, the alveolar arch and the palate.
    fn maxilla(&self, p: Position, m: Position, bone: NearestBone) -> NearestBone {
        let [x, y, z] = p;
        let sinus = maxillary_sinus(m, self.parameters.sinus_size);
        let front = ellipsoid(m, [18.0, -69.0, -80.0], [12.0, 7.0, 20.0]);
        let mut bone = bone.or(smooth_min(sinus - 1.9, front, 5.0), FACIAL);
        let nasal = Self::nasal_cavity(p);
        bone = bone.or((nasal - 1.3).max(-y - 84.0).max(y + 31.0), THIN);
        let septum = (x - self.parameters.septum_deviation * smooth_step(-30.0, -60.0, y)).abs() - 0.8;
        bone = bone.or(septum.max(nasal).max(-y - 62.0).max(y + 31.0), THIN);
        let arch = arch_distance(m, ARCH_RADII);
        let alveolus = smooth_max(smooth_max(arch.abs() - 5.0, (z + 99.0).abs() - 9.0, 3.0), y + 36.0, 3.0);
        bone = bone.or(alveolus, FACIAL);
        let palate = smooth_max((z + 91.5).abs() - 2.0, arch, 2.0).max(y + 34.0);
        bone.or(palate, THIN)
    }

    fn mandible(&self, m: Position) -> f64 {
        let drop = self.parameters.jaw_opening;
        let [x, y, z] = [m[0], m[1], m[2] + drop];
        let curve = ellipse(x, y + 10.0, 41.0, 66.0);
        // The lower border rises from the chin to the angle.
        let height = -136.0 + 0.13 * (y + 76.0);
        let body = smooth_max(smooth_max(curve.abs() - 5.2, (z - height).abs() - 12.0, 5.0), y + 12.0, 5.0);
        // The ramus: a plate that ends in the processes of joint and temporal muscle.
        let lean = 0.12 * (z + 105.0);
        let plate = smooth_max((y + 9.0 - lean).abs() - 15.0, (z + 107.0).abs() - 21.0, 8.0);
        let processes = smooth_min(
            round_cone([x, y, z], [47.0, -1.0, -92.0], [49.0, 3.0, -66.0], 6.5, 4.5),
            round_cone([x, y, z], [45.0, -18.0, -96.0], [47.0, -21.0, -74.0], 7.0, 2.4),
            6.0,
        );
        let side = (x - 42.5 - 0.10 * (z + 126.0)).abs() - 4.2;
        let ramus = smooth_max(smooth_min(plate, processes, 4.0), side, 2.0);
        let condyle = ellipsoid([x, y, z], [50.0, 3.0, -64.0], [8.5, 4.8, 5.0]);
        let chin = ellipsoid([x, y, z], [0.0, -75.0, -143.0], [13.0, 7.0, 8.0]);
        let arch = arch_distance([x, y, z], [30.5, 34.0]);
        let alveolus = smooth_max(smooth_max(arch.abs() - 4.6, (z + 129.0).abs() - 8.0, 3.0), y + 34.0, 3.0);
        smooth_min(
            smooth_min(smooth_min(body, ramus, 8.0), alveolus, 7.0),
            smooth_min(condyle, chin, 3.0),
            4.0,
        )
    }

    /// A tooth, if there is one at a position.
    pub(crate) fn tooth(&self, p: Position) -> Option<Sample> {
        let [x, y, z] = p;
        if !(-146.0..=-92.0).contains(&z) || y > -30.0 || x.abs() > 38.0 {
            return None;
        }
        let upper = self.tooth_of_row(p, ARCH_RADII, OCCLUSAL_Z, 1.0, 0);
        let lower_plane = OCCLUSAL_Z - 0.6 - self.parameters.jaw_opening;
        upper.or_else(|| self.tooth_of_row(p, [28.5, 34.5], lower_plane, -1.0, 16))
    }

    fn tooth_of_row(&self, p: Position, radii: [f64; 2], plane: f64, up: f64, first: u32) -> Option<Sample> {
        // Height above the occlusal plane towards the root: crown to 8, root to 20.
        let height = up * (p[2] - plane);
        if !(0.0..=20.0).contains(&height) {
            return None;
        }
        let (u, v) = (p[0], p[1] - ARCH_Y);
        let across = ellipse(u, v, radii[0], radii[1]);
        if across.abs() > 5.5 {
            return None;
        }
        // 16 teeth over ±100°, right to left.
        let angle = (u / radii[0]).atan2(-v / radii[1]);
        let step = 200_f64.to_radians() / 16.0;
        let place = angle / step + 8.0;
        if !(0.0..16.0).contains(&place) {
            return None;
        }
        let index = place as u32;
        if self.parameters.teeth >> (first + index) & 1 == 0 {
            return None;
        }
        let along = (place - f64::from(index) - 0.5) * step * u.hypot(v);
        let is_molar = !(4..12).contains(&index);
        let half = if is_molar { 4.3 } else { 3.4 };
        let root = smooth_step(8.0, 19.0, height);
        let shrink = 1.0 - 0.65 * root;
        let thick = if is_molar { 4.5 } else { 2.6 + 1.2 * smooth_step(0.0, 6.0, height) };
        let side = (along / (half * shrink)).hypot(across / (thick * shrink));
        let side = (side - 1.0) * thick * shrink;
        let d = smooth_max(side, (height - 19.0).max(-height), 1.5);
        if d >= 0.0 {
            return None;
        }
        let enamel = (1.0 - smooth_step(6.5, 9.0, height)) * (1.0 - smooth_step(0.9, 1.8, -d));
        let dentine = 1750.0 + 160.0 * self.cells.at(p);
        let hu = (dentine + (2780.0 - dentine) * enamel).clamp(1200.0, crate::bone::MAX_BONE_HU);
        Some(Sample { tissue: Tissue::Tooth, hu, texture: 0.0 })
    }
}

/// Sphenoid, clivus, condyles, and the temporal bones below the braincase.
fn skull_base(p: Position, m: Position, bone: NearestBone) -> NearestBone {
    let body = smooth_min(
        ellipsoid(p, [0.0, -6.0, -42.0], [21.0, 21.0, 15.0]),
        round_cone(p, [0.0, 8.0, -44.0], [0.0, 23.0, -68.0], 9.0, 5.0),
        5.0,
    );
    let pterygoid = round_cone(m, [14.0, -16.0, -54.0], [17.0, -22.0, -88.0], 3.2, 2.2);
    let inner_ear = ellipsoid(m, [36.0, 19.0, -47.0], [4.0, 3.0, 3.0]);
    bone.or(body, SPHENOID)
        .or(ellipsoid(m, [18.0, 34.0, -75.0], [7.0, 11.0, 6.0]), FACIAL)
        .or(pterygoid, THIN)
        .or(petrous_ridge(p).max(-inner_ear), PETROUS)
        .or(mastoid(p), BoneKind { rim: 1.8, rim_hu: 1150.0, middle_hu: 560.0 })
}

/// Distance to the cheek bone with its arch and the outer rim of the orbit.
fn zygoma(m: Position) -> f64 {
    let body = smooth_min(
        round_cone(m, [45.0, -57.0, -63.0], [55.0, -45.0, -62.0], 6.0, 4.5),
        round_cone(m, [55.0, -45.0, -62.0], [66.0, -18.0, -58.0], 4.0, 2.6),
        4.0,
    );
    let arch = round_cone(m, [66.0, -18.0, -58.0], [66.0, 10.0, -54.0], 2.6, 4.0);
    let rim = round_cone(m, [52.0, -52.0, -56.0], [52.0, -55.0, -24.0], 4.4, 4.4);
    smooth_min(smooth_min(body, arch, 3.0), rim, 4.0)
}

/// Distance to the mastoid part of the temporal bone.
pub(super) fn mastoid(p: Position) -> f64 {
    let m = mirrored(p);
    ellipsoid([m[0] - 0.1 * (p[2] + 58.0), m[1], m[2]], [58.0, 35.0, -58.0], [11.5, 17.0, 23.0])
}

/// Distance to the wall of the maxillary sinus of size `s`, negative within: a rounded pyramid with its point to the side.
fn maxillary_sinus(m: Position, s: f64) -> f64 {
    let body = ellipsoid(m, [30.0, -45.0, -74.0], [19.0 * s, 22.0 * s, 21.0 * s]);
    let inner_wall = 17.0 - m[0] + 0.12 * (m[2] + 70.0);
    // The outer wall runs from the cheek backwards and inwards.
    let outer_wall = 0.80 * (m[0] - 30.0) + 0.60 * (m[1] + 45.0) - 13.0 * s;
    smooth_max(smooth_max(body, inner_wall, 3.0), outer_wall, 5.0)
}

/// Signed distance to the dental arch, an ellipse seen from above.
fn arch_distance(m: Position, radii: [f64; 2]) -> f64 {
    ellipse(m[0], m[1] - ARCH_Y, radii[0], radii[1])
}
