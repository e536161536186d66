//! The head, as tissue at a position.
//!
//! Its canonical frame has axes left, posterior, superior with the origin between the hemispheres, near the anterior
//! commissure; a canonical unit is `scale` mm, about 0.9, so that landmarks lie where brain atlases have them.

mod brain;
mod cranium;
mod face;
mod neck;
mod parameters;

pub(crate) use parameters::HeadParameters;

use crate::bone::BoneDensity;
use crate::config::Pathology;
use crate::draws::Draws;
use crate::random::SmoothNoise;
use crate::shape::{Position, bump, ellipsoid, mirrored, round_cone, smooth_step};
use crate::{Sample, Tissue};
pub(crate) use face::GLOBE_CENTER;

/// One head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) parameters: HeadParameters,
    bone: BoneDensity,
    thickness_noise: SmoothNoise,
    folds: SmoothNoise,
    folia: SmoothNoise,
    cells: SmoothNoise,
    planes: SmoothNoise,
    texture: SmoothNoise,
}

impl Head {
    /// Distance between neighboring folds of the cortex, canonical.
    const FOLD_LENGTH: f64 = 16.5;

    pub(crate) fn new(draws: &Draws, pathology: Option<Pathology>) -> Self {
        Self {
            parameters: HeadParameters::draw(draws, pathology),
            bone: BoneDensity::new(draws),
            thickness_noise: SmoothNoise::new(draws.seed("skull thickness, local"), 34.0),
            folds: SmoothNoise::new(draws.seed("folds"), Self::FOLD_LENGTH),
            folia: SmoothNoise::anisotropic(draws.seed("folia"), [16.0, 7.0, 5.5]),
            cells: SmoothNoise::new(draws.seed("cells"), 6.5),
            planes: SmoothNoise::anisotropic(draws.seed("muscle planes"), [15.0, 15.0, 34.0]),
            texture: SmoothNoise::new(draws.seed("texture"), 21.0),
        }
    }

    /// Distance to the skin in canonical units, negative inside.
    pub(crate) fn skin_distance(&self, p: Position) -> f64 {
        self.skin(p, &self.cranial(p))
    }

    /// The distance beyond which a position cannot be inside, whatever the first-order distances say.
    pub(crate) fn is_far_outside(p: Position, margin: f64) -> bool {
        // Holds skin, nose, ears and neck of every subject.
        let r = 22.0 + margin;
        p[2] > 96.0 + r || p[0].abs() > 76.0 + 16.0 + margin || p[1] > 108.0 + r || p[1] < -104.0 - r
    }

    pub(crate) fn sample(&self, p: Position) -> Sample {
        if Self::is_far_outside(p, 0.0) {
            return Sample::AIR;
        }
        let cranial = self.cranial(p);
        // The vertebral canal leaves the body at no place that a grid can reach.
        if cranial.inner.min(cranial.canal) < 0.0 {
            return self.soft(p, self.brain(p, &cranial));
        }
        let skin = self.skin(p, &cranial);
        if skin > 0.0 {
            return Sample::AIR;
        }
        let below_brow = p[2] < 12.0;
        let (air, is_lined) = if below_brow { self.airways(p, &cranial) } else { (f64::INFINITY, false) };
        if let Some(tooth) = self.tooth(p) {
            return tooth;
        }
        if air < 0.0 {
            return Sample::soft(Tissue::InnerAir, 0.0);
        }
        if skin > -self.parameters.skin_thickness {
            return self.soft(p, Tissue::Skin);
        }
        if let Some(tissue) = self.bone_or_near(p, &cranial, air) {
            return tissue;
        }
        if is_lined && air < 1.3 {
            return self.soft(p, Tissue::Mucosa);
        }
        self.soft(p, self.flesh(p, skin))
    }

    /// Bone, the contents of the orbits and discs.
    fn bone_or_near(&self, p: Position, cranial: &cranium::Cranial, air: f64) -> Option<Sample> {
        let (shell, skull_kind) = self.skull_bone(cranial);
        let mut bone = face::NearestBone { distance: shell, kind: skull_kind };
        if p[2] < 4.0 {
            let orbit = if p[1] < -8.0 { Self::orbit(p) } else { f64::INFINITY };
            if let Some(tissue) = Self::eye(p, orbit) {
                return Some(self.soft(p, tissue));
            }
            let facial = self.facial_bone(p, orbit);
            bone = bone.or(facial.distance, facial.kind);
            if p[2] < -72.0 && p[1] > 2.0 {
                let (vertebra, disc) = neck::spine(p);
                bone = bone.or(vertebra.distance, vertebra.kind);
                if disc < 0.0 && vertebra.distance > 0.0 {
                    return Some(self.soft(p, Tissue::Cartilage));
                }
            }
        }
        if bone.distance >= 0.0 {
            return None;
        }
        if self.surgical_gap(p).is_some_and(|gap| gap < 0.0) && p[2] > 0.0 {
            return Some(self.soft(p, Tissue::Scar));
        }
        Some(self.bone.sample(p, (-bone.distance).min(air), bone.kind))
    }

    /// Skin aside, what is neither bone nor air outside the braincase.
    fn flesh(&self, p: Position, skin: f64) -> Tissue {
        let m = mirrored(p);
        let parameters = &self.parameters;
        let is_face = smooth_step(4.0, -34.0, p[2]);
        let fat = parameters.scalp_fat
            + (parameters.face_fat - parameters.scalp_fat) * is_face
            + 6.0 * bump(m, [46.0, -50.0, -94.0], [30.0, 34.0, 32.0])
            + 5.0 * bump(p, [0.0, 96.0, -110.0], [60.0, 40.0, 60.0]);
        if -skin < parameters.skin_thickness + fat {
            return Tissue::Fat;
        }
        if p[2] > -20.0 {
            return Tissue::Muscle;
        }
        let vessel = round_cone(m, [30.0, 16.0, -70.0], [34.0, 6.0, -210.0], 3.6, 3.8).min(round_cone(
            m,
            [37.0, 22.0, -66.0],
            [43.0, 8.0, -210.0],
            4.6,
            6.0,
        ));
        if vessel < 0.0 {
            return Tissue::Blood;
        }
        if ellipsoid(m, [60.0, 6.0, -88.0], [11.0, 14.0, 21.0]) < 0.0 {
            return Tissue::Gland;
        }
        // The tongue is one muscle; elsewhere fatty planes part the muscles, more of them in the cheeks.
        let tongue = ellipsoid(p, [0.0, -42.0, -114.0], [21.0, 32.0, 17.0]);
        if tongue < 0.0 {
            return Tissue::Muscle;
        }
        let cheek = bump(m, [36.0, -52.0, -86.0], [34.0, 40.0, 44.0]);
        let spacing = parameters.marbling * (0.06 + 0.30 * cheek);
        if self.planes.at(p).abs() < spacing { Tissue::Fat } else { Tissue::Muscle }
    }

    fn soft(&self, p: Position, tissue: Tissue) -> Sample {
        Sample::soft(tissue, self.texture.at(p))
    }
}
