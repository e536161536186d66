//! The male pelvis, as tissue at a position.
//!
//! Its canonical frame has axes left, posterior, superior with the origin midway between the femoral heads; a canonical
//! unit is `scale` mm, about one.

mod bones;
mod parameters;

pub(crate) use bones::FEMORAL_HEAD;
pub(crate) use parameters::PelvisParameters;

use crate::bone::BoneDensity;
use crate::draws::Draws;
use crate::random::SmoothNoise;
use crate::shape::{
    Position, bump, ellipse, ellipsoid, mirrored, round_cone, smooth_max, smooth_min, smooth_step,
};
use crate::{Sample, Tissue};
use bones::Skeletal;

/// One pelvis.
#[derive(Clone, Debug)]
pub(crate) struct Pelvis {
    pub(crate) parameters: PelvisParameters,
    bone: BoneDensity,
    planes: SmoothNoise,
    bowel: SmoothNoise,
    contour: SmoothNoise,
    texture: SmoothNoise,
}

impl Pelvis {
    pub(crate) fn new(draws: &Draws) -> Self {
        Self {
            parameters: PelvisParameters::draw(draws),
            bone: BoneDensity::new(draws),
            planes: SmoothNoise::anisotropic(draws.seed("pelvis planes"), [26.0, 26.0, 60.0]),
            bowel: SmoothNoise::new(draws.seed("bowel"), 34.0),
            contour: SmoothNoise::new(draws.seed("pelvis contour"), 90.0),
            texture: SmoothNoise::new(draws.seed("pelvis texture"), 30.0),
        }
    }

    /// Distance to the skin, negative inside.
    pub(crate) fn skin_distance(&self, p: Position) -> f64 {
        let m = mirrored(p);
        let fat = self.parameters.fat;
        let [x, y, z] = p;
        // The hips are widest at the trochanters; above lies the waist, below part the thighs.
        let waist = smooth_step(10.0, 120.0, z);
        let half_width = 152.0 + fat - 12.0 * waist;
        let half_depth = 92.0 + 0.8 * fat - 4.0 * waist;
        // Flatter in front and behind than an ellipse.
        let flat = (1.0 - 0.2 * ((y - 8.0) / half_depth).powi(2)).max(0.7);
        let trunk = ellipse(x * flat.sqrt(), y - 8.0, half_width, half_depth);
        let trunk = smooth_max(trunk, -88.0 - z, 30.0);
        let buttock = ellipsoid(m, [62.0, 62.0, -18.0], [64.0, 50.0 + 0.5 * fat, 72.0]);
        let thigh = ellipse(m[0] - 92.0, y - 6.0, 76.0 + 0.5 * fat, 80.0 + 0.5 * fat);
        let thigh = smooth_max(thigh, z + 20.0, 30.0);
        let body = smooth_min(smooth_min(trunk, buttock, 22.0), thigh, 14.0);
        // The cleft between the buttocks.
        let cleft = 15.0 * bump([m[0], y, z], [0.0, 120.0, -38.0], [15.0, 58.0, 70.0]);
        body + cleft + 2.5 * self.contour.at(p)
    }

    pub(crate) fn sample(&self, p: Position) -> Sample {
        let skin = self.skin_distance(p);
        if skin > 0.0 {
            return Sample::AIR;
        }
        let parameters = &self.parameters;
        if skin > -parameters.skin_thickness {
            return self.soft(p, Tissue::Skin);
        }
        match self.skeletal(p) {
            Some(Skeletal::Bone { depth, kind }) => return self.bone.sample(p, depth, kind),
            Some(Skeletal::Marrow) => return self.soft(p, Tissue::Marrow),
            Some(Skeletal::Cartilage) => return self.soft(p, Tissue::Cartilage),
            None => {}
        }
        let m = mirrored(p);
        let [_, y, z] = p;
        // Subcutaneous fat: thick behind, at the sides and low on the belly, thin over the groins.
        let fat = parameters.fat
            * (0.75 + 0.75 * smooth_step(20.0, 95.0, y) + 0.25 * smooth_step(-60.0, -95.0, y))
            * (1.0 - 0.45 * bump(m, [70.0, -90.0, 10.0], [60.0, 50.0, 70.0]));
        let under_fat = -skin - parameters.skin_thickness - fat;
        let tissue = self.organ(p, m).unwrap_or_else(|| {
            if under_fat < 0.0 {
                Tissue::Fat
            } else if z < -30.0
                && m[0] < 14.0 + 0.3 * (z + 120.0).max(0.0)
                && y < 70.0
                && y > -60.0
                && z < -95.0
            {
                // Between the thighs, below the perineum.
                Tissue::Fat
            } else {
                self.flesh(p, m, under_fat)
            }
        });
        self.soft(p, tissue)
    }

    /// Organs of the true pelvis, and great vessels.
    fn organ(&self, p: Position, m: Position) -> Option<Tissue> {
        let parameters = &self.parameters;
        let [x, y, z] = p;
        if let Some(tissue) = canal_content(p) {
            return Some(tissue);
        }
        let fill = parameters.bladder;
        let bladder = ellipsoid(p, [0.0, -12.0, 12.0 + 14.0 * fill], [40.0 * fill, 30.0 * fill, 24.0 * fill]);
        if bladder < 0.0 {
            return Some(if bladder > -3.5 { Tissue::Muscle } else { Tissue::Urine });
        }
        let size = parameters.prostate;
        let gland = ellipsoid(p, [0.0, 2.0, -18.0], [24.0 * size, 17.0 * size, 19.0 * size]);
        if gland < 0.0 {
            return Some(Tissue::Prostate);
        }
        let vesicle = round_cone(m, [3.0, 18.0, 3.0], [27.0, 24.0, 10.0], 5.0, 4.0);
        if vesicle < 0.0 {
            return Some(Tissue::Gland);
        }
        // The rectum follows the sacrum down, then turns back to the anus; above it the sigmoid goes to the left.
        let r = parameters.rectum;
        let tube = smooth_min(
            smooth_min(
                round_cone(p, [26.0, 48.0, 70.0], [6.0, 62.0, 44.0], r * 0.85, r),
                round_cone(p, [6.0, 62.0, 44.0], [0.0, 44.0, 2.0], r, r * 1.08),
                8.0,
            ),
            round_cone(p, [0.0, 44.0, 2.0], [0.0, 36.0, -26.0], r * 1.08, r * 0.75),
            8.0,
        );
        let anal = round_cone(p, [0.0, 36.0, -26.0], [0.0, 58.0, -64.0], 9.0, 8.0);
        if tube < 0.0 {
            if tube > -3.0 {
                return Some(Tissue::Muscle);
            }
            // Gas rises to the front.
            let axis_y = 44.0 + 0.43 * (z - 2.0).clamp(-20.0, 42.0);
            let level = axis_y - r * (1.0 - 1.7 * parameters.rectal_gas) + 5.0 * self.bowel.at([x, z, 0.0]);
            return Some(if y < level { Tissue::InnerAir } else { Tissue::BowelContent });
        }
        if anal < 0.0 {
            return Some(Tissue::Muscle);
        }
        if m[0] < 18.0 || y > 36.0 {
            return None;
        }
        let femoral = round_cone(m, [58.0, -40.0, 30.0], [82.0, -62.0, -40.0], 4.6, 4.4)
            .min(round_cone(m, [49.0, -32.0, 34.0], [70.0, -58.0, -40.0], 5.8, 5.2))
            .min(round_cone(m, [82.0, -62.0, -40.0], [76.0, -46.0, -200.0], 4.4, 3.6))
            .min(round_cone(m, [58.0, -40.0, 30.0], [30.0, 14.0, 130.0], 4.6, 5.6))
            .min(round_cone(m, [49.0, -32.0, 34.0], [26.0, 24.0, 130.0], 5.8, 7.0));
        (femoral < 0.0).then_some(Tissue::Blood)
    }

    /// Muscles, the fat between them, and the cavity with the bowel.
    fn flesh(&self, p: Position, m: Position, under_fat: f64) -> Tissue {
        let [_, y, z] = p;
        let psoas = smooth_min(
            round_cone(m, [42.0, 34.0, 150.0], [72.0, -22.0, 40.0], 23.0, 20.0),
            round_cone(m, [72.0, -22.0, 40.0], [108.0, 6.0, -48.0], 19.0, 10.0),
            8.0,
        );
        let cavity = smooth_min(
            ellipsoid(p, [0.0, 14.0, 22.0], [52.0, 52.0, 62.0]),
            ellipsoid(p, [0.0, -36.0, 128.0], [118.0, 64.0, 108.0]),
            24.0,
        );
        let wall = 9.0;
        if psoas > 0.0 && cavity < 0.0 && under_fat > wall && y < 74.0 {
            // Loops of bowel fill the upper cavity; below them there is fat about the organs.
            let finer = self.bowel.at([1.9 * p[0] + 70.0, 1.9 * y - 30.0, 1.9 * z]);
            let loops = (self.bowel.at(p) + 0.35 * finer) * smooth_step(24.0, 44.0, z);
            let is_bowel = loops.abs() > 0.10 && z > 30.0;
            if !is_bowel {
                return Tissue::Fat;
            }
            let depth = loops.abs() - 0.10;
            if depth < 0.06 {
                return Tissue::Muscle;
            }
            let gas = loops > 0.46 - 0.28 * self.parameters.bowel_gas && y < -30.0;
            return if gas { Tissue::InnerAir } else { Tissue::BowelContent };
        }
        let sheet = self.planes.at(p);
        let gluteal = smooth_step(20.0, 60.0, y);
        let width = self.parameters.marbling * (0.035 + 0.03 * gluteal);
        // The ischio-anal fossa and the space before the sacrum are fat.
        let fossa = ellipsoid(m, [30.0, 52.0, -42.0], [17.0, 26.0, 26.0]);
        if fossa < 0.0 || sheet.abs() < width && psoas > 0.0 { Tissue::Fat } else { Tissue::Muscle }
    }

    fn soft(&self, p: Position, tissue: Tissue) -> Sample {
        Sample::soft(tissue, self.texture.at(p))
    }
}

/// What fills the vertebral canal: the dural sac, which ends in the sacrum, and fat about it.
fn canal_content(p: Position) -> Option<Tissue> {
    let center = bones::canal_center(p[2])?;
    let around = (p[0] / 13.0).hypot((p[1] - center) / 9.0);
    if around > 1.0 {
        return None;
    }
    Some(if around < 0.75 && p[2] > 62.0 { Tissue::Csf } else { Tissue::Fat })
}
