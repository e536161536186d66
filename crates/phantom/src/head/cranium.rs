//! The braincase, its bone, and the skin over the whole head.

use super::Head;
use super::parameters::PathologyShape;
use crate::bone::BoneKind;
use crate::shape::{
    Position, bump, dot, ellipse, ellipsoid, mirrored, norm, round_cone, smooth_max, smooth_min, smooth_step,
    sub, superellipsoid,
};

/// Where a position lies in relation to the braincase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cranial {
    /// Distance to the inner surface of the skull, negative within.
    pub inner: f64,
    /// Thickness of the skull here.
    pub thickness: f64,
    /// Distance to the wall of the vertebral canal, negative within.
    pub canal: f64,
}

/// The middle of the braincase.
pub(crate) const VAULT_CENTER: Position = [0.0, 13.5, 12.0];

/// Middle and semi-axes of the left middle fossa, which holds the temporal lobe.
pub(crate) const TEMPORAL_FOSSA: (Position, Position) = ([41.5, -3.0, -26.0], [25.0, 28.0, 26.0]);

/// Middle and semi-axes of the posterior fossa, which holds the cerebellum.
pub(crate) const POSTERIOR_FOSSA: (Position, Position) = ([0.0, 55.0, -36.0], [58.0, 39.0, 33.0]);

/// The ridge of the temporal bone between middle and posterior fossa.
pub(crate) fn petrous_ridge(p: Position) -> f64 {
    round_cone(mirrored(p), [18.0, 11.0, -46.0], [53.0, 28.0, -48.0], 5.0, 9.5)
}

impl Head {
    /// The braincase at a position.
    pub(crate) fn cranial(&self, p: Position) -> Cranial {
        let m = mirrored(p);
        let parameters = &self.parameters;
        let vault = superellipsoid(p, VAULT_CENTER, parameters.vault_radii, parameters.vault_exponent);
        // The floor of the anterior fossa rises over the orbits.
        let floor = -27.5 + 9.0 * bump(m, [33.0, -50.0, -20.0], [27.0, 34.0, 60.0])
            - 4.0 * bump(m, [0.0, -50.0, -28.0], [11.0, 26.0, 40.0]);
        let vault = smooth_max(vault, floor - p[2], 6.0);
        let canal = round_cone(p, [0.0, 39.0, -60.0], [0.0, 44.0, -210.0], 13.0, 10.5);
        let far_above = p[2] > 35.0;
        let mut inner = if far_above {
            vault
        } else {
            let temporal = ellipsoid(m, TEMPORAL_FOSSA.0, TEMPORAL_FOSSA.1);
            let posterior = ellipsoid(p, POSTERIOR_FOSSA.0, POSTERIOR_FOSSA.1);
            let clivus = round_cone(p, [0.0, 15.0, -18.0], [0.0, 38.0, -64.0], 16.0, 13.0);
            let all = smooth_min(smooth_min(vault, temporal, 7.0), smooth_min(posterior, clivus, 6.0), 7.0);
            smooth_max(all, -petrous_ridge(p), 4.0)
        };
        let mut thickness = self.skull_thickness(p, m);
        if let Some(PathologyShape::Hyperostosis { amount }) = parameters.pathology {
            // The outer surface stays; the inner table grows inwards, in waves.
            let grown = amount * bump(m, [24.0, -58.0, 24.0], [40.0, 44.0, 42.0]);
            let grown = grown * (1.0 + 0.5 * self.thickness_noise.at([p[1], p[2], p[0] * 1.7]));
            inner += grown;
            thickness += grown;
        }
        Cranial { inner, thickness, canal }
    }

    fn skull_thickness(&self, p: Position, m: Position) -> f64 {
        let parameters = &self.parameters;
        let mut t = parameters.skull_thickness * (1.0 + 0.28 * self.thickness_noise.at(p));
        t *= 1.0 - 0.48 * bump(m, [66.0, -6.0, -14.0], [42.0, 52.0, 50.0]);
        t += 5.0 * bump(p, [0.0, 102.0, -12.0], [46.0, 40.0, 32.0]);
        // The base is thinner than the vault, thinnest in the roofs of the orbits.
        t *= 1.0 - 0.35 * smooth_step(-18.0, -34.0, p[2]);
        t *= 1.0 - 0.5 * bump(m, [33.0, -46.0, -24.0], [24.0, 26.0, 18.0]);
        let brow = parameters.frontal_sinus[0].max(parameters.frontal_sinus[1]).max(0.5);
        t += 9.5 * brow.min(1.4) * bump(m, [12.0, -78.0, -13.0], [38.0, 28.0, 27.0]);
        t.max(2.4)
    }

    /// Distance to the skin, negative inside the body.
    pub(crate) fn skin(&self, p: Position, cranial: &Cranial) -> f64 {
        let m = mirrored(p);
        let parameters = &self.parameters;
        let scalp = parameters.scalp_thickness + 6.0 * bump(m, [66.0, -14.0, -8.0], [40.0, 46.0, 52.0]);
        let cap = cranial.inner - cranial.thickness - scalp;
        if p[2] > 40.0 {
            return cap;
        }
        // The face narrows towards the chin.
        let taper = 1.0 + 0.0042 * (-78.0 - p[2]).max(0.0);
        let face = superellipsoid([p[0] * taper, p[1], p[2]], [0.0, -20.0, -70.0], [70.0, 61.0, 72.0], 2.5);
        let mut d = smooth_min(cap, face, 16.0);
        let jaw = round_cone(m, [36.0, -18.0, -122.0], [13.0, -64.0, -134.0], 21.0, 19.0);
        d = smooth_min(d, jaw, 14.0);
        d = smooth_min(d, ellipsoid(p, [0.0, -72.0, -142.0], [19.0, 16.0, 15.0]), 10.0);
        d = smooth_min(d, ellipsoid(p, [0.0, -64.0, -106.0], [38.0, 27.0, 34.0]), 10.0);
        let n = parameters.nose_size;
        let nose = round_cone(p, [0.0, -78.0, -34.0], [0.0, -80.0 - 19.0 * n, -71.0], 7.0, 8.5 * n);
        let wings = ellipsoid(m, [8.0, -86.0, -76.0], [10.5 * n, 13.0, 9.5]);
        // The flesh around the opening of the nose.
        let base = ellipsoid(p, [0.0, -72.0, -74.0], [27.0, 20.0, 30.0]);
        d = smooth_min(d, smooth_min(smooth_min(nose, wings, 6.0), base, 8.0), 9.0);
        d = smooth_min(d, ellipsoid(m, super::face::GLOBE_CENTER, [17.0, 16.2, 15.5]), 6.0);
        // Lids part over nothing: the orbit's front is closed by skin.
        let neck = ellipse(p[0], p[1] - 38.0 - 0.05 * (p[2] + 100.0), 62.0, 57.0);
        d = smooth_min(d, smooth_max(neck, p[2] + 48.0, 18.0), 22.0);
        d = smooth_min(d, super::face::mastoid(p) - 9.0, 14.0);
        // The ear is a thin plate that stands off the head behind its root.
        let q = [m[0] - 0.25 * (m[1] - 24.0).max(0.0), m[1], m[2]];
        let ear = ellipsoid(q, [79.0, 31.0, -44.0], [4.2, 15.0, 26.0]);
        let root = ellipsoid(m, [75.0, 24.0, -46.0], [8.0, 7.0, 14.0]);
        smooth_min(d, smooth_min(ear, root, 6.0), 7.0)
    }

    /// Distance to the bone of the braincase (negative inside) and its make.
    pub(crate) fn skull_bone(&self, cranial: &Cranial) -> (f64, BoneKind) {
        let shell = (-cranial.inner).max(cranial.inner - cranial.thickness);
        let parameters = &self.parameters;
        let mut kind =
            BoneKind { rim: parameters.table_thickness, rim_hu: 1480.0, middle_hu: parameters.diploe_hu };
        if let Some(PathologyShape::Hyperostosis { .. }) = parameters.pathology {
            kind.middle_hu *= 1.35;
        }
        (shell.max(-cranial.canal), kind)
    }

    /// Distance to the gap that surgery left in the bone, negative within; none without one.
    pub(crate) fn surgical_gap(&self, p: Position) -> Option<f64> {
        let from_center = sub(p, VAULT_CENTER);
        let off_axis = |direction: Position| {
            let along = dot(from_center, direction);
            let across = norm(sub(from_center, direction.map(|c| c * along)));
            (along > 0.0).then_some(across)
        };
        match self.parameters.pathology {
            Some(PathologyShape::BurrHole { direction, radius }) => {
                off_axis(direction).map(|across| across - radius)
            }
            Some(PathologyShape::Craniotomy { direction, radius, kerf }) => {
                off_axis(direction).map(|across| (across - radius).abs() - kerf / 2.0)
            }
            _ => None,
        }
    }
}
