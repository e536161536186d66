//! What differs between heads.

use crate::config::{Pathology, Side};
use crate::draws::Draws;
use crate::shape::Position;

/// One head's measures, drawn from its seed. Lengths are canonical: divided by `scale`, see [`super`].
#[derive(Clone, Debug)]
pub(crate) struct HeadParameters {
    /// Millimetres per canonical unit.
    pub scale: f64,
    /// Boxiness of the braincase.
    pub vault_exponent: f64,
    /// Semi-axes of the braincase.
    pub vault_radii: Position,
    /// Mean thickness of the vault's bone.
    pub skull_thickness: f64,
    /// Thickness of a table of the skull.
    pub table_thickness: f64,
    /// HU of the diploe before the subject's density: its share of bone.
    pub diploe_hu: f64,
    pub skin_thickness: f64,
    /// Skin, fat and galea together over the vault.
    pub scalp_thickness: f64,
    pub scalp_fat: f64,
    pub face_fat: f64,
    /// Width of the fatty planes between muscles.
    pub marbling: f64,
    /// Size of the frontal sinuses, left and right; zero where there is none.
    pub frontal_sinus: [f64; 2],
    pub sinus_size: f64,
    /// How much of the mastoid is air, 0 to 1.
    pub mastoid_air: f64,
    pub septum_deviation: f64,
    pub nose_size: f64,
    /// How far the jaw is open, canonical length at the incisors.
    pub jaw_opening: f64,
    /// Bit n is set where tooth n is there: 16 upper, then 16 lower, each from right to left.
    pub teeth: u32,
    pub csf_thickness: f64,
    pub sulcus_width: f64,
    pub ventricle_size: f64,
    pub pathology: Option<PathologyShape>,
}

/// A pathology with its place and size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PathologyShape {
    /// Thickening of the inner frontal table.
    Hyperostosis { amount: f64 },
    /// A hole through the vault about the ray from the center of the braincase.
    BurrHole { direction: Position, radius: f64 },
    /// A saw cut about the ray.
    Craniotomy { direction: Position, radius: f64, kerf: f64 },
}

impl HeadParameters {
    pub(crate) fn draw(draws: &Draws, pathology: Option<Pathology>) -> Self {
        let scale = draws.normal("head size", 0.905, 0.025);
        let mm = 1.0 / scale;
        let sinus = draws.normal("sinus size", 1.0, 0.13);
        let frontal = |name| {
            if draws.chance(name, 0.08) { 0.0 } else { sinus * draws.normal(name, 1.0, 0.25) }
        };
        let mut teeth = u32::MAX;
        let missing = draws.uniform("share of missing teeth", 0.0, 1.0).powi(2) * 0.5;
        for tooth in 0..32 {
            // Wisdom teeth are often gone.
            let share = if matches!(tooth % 16, 0 | 15) { 0.7 } else { missing };
            if draws.chance(&format!("tooth {tooth} is missing"), share) {
                teeth &= !(1 << tooth);
            }
        }
        let direction = |side: Side| {
            let towards_left = match side {
                Side::Left => 1.0,
                Side::Right => -1.0,
            };
            let azimuth = draws.uniform("trepanation azimuth", -0.9, 0.9);
            let elevation = draws.uniform("trepanation elevation", 0.45, 0.95);
            [towards_left * azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()]
        };
        let pathology = pathology.map(|pathology| match pathology {
            Pathology::Hyperostosis => {
                PathologyShape::Hyperostosis { amount: draws.uniform("hyperostosis", 4.0, 9.0) * mm }
            }
            Pathology::BurrHole { side } => PathologyShape::BurrHole {
                direction: direction(side),
                radius: draws.uniform("burr hole radius", 5.5, 7.5) * mm,
            },
            Pathology::Craniotomy { side } => PathologyShape::Craniotomy {
                direction: direction(side),
                radius: draws.uniform("craniotomy radius", 22.0, 34.0) * mm,
                kerf: draws.uniform("craniotomy kerf", 1.5, 2.5) * mm,
            },
        });
        Self {
            scale,
            vault_exponent: draws.normal("vault exponent", 2.28, 0.08),
            vault_radii: [
                68.0 * draws.normal("vault width", 1.0, 0.025),
                88.0 * draws.normal("vault length", 1.0, 0.022),
                71.5 * draws.normal("vault height", 1.0, 0.022),
            ],
            skull_thickness: draws.normal("skull thickness", 6.6, 0.8) * mm,
            table_thickness: draws.normal("table thickness", 1.5, 0.18) * mm,
            diploe_hu: draws.normal("diploe", 620.0, 110.0),
            skin_thickness: draws.normal("skin", 1.8, 0.2) * mm,
            scalp_thickness: draws.normal("scalp", 6.3, 0.7) * mm,
            scalp_fat: draws.normal("scalp fat", 2.6, 0.5) * mm,
            face_fat: draws.normal("face fat", 4.5, 1.2) * mm,
            marbling: draws.normal("marbling", 1.0, 0.25),
            frontal_sinus: [frontal("left frontal sinus"), frontal("right frontal sinus")],
            sinus_size: sinus,
            mastoid_air: draws.uniform("mastoid air", 0.35, 1.0),
            septum_deviation: draws.normal("septum", 0.0, 1.5),
            nose_size: draws.normal("nose", 1.0, 0.08),
            jaw_opening: draws.uniform("jaw opening", 1.0, 5.0),
            teeth,
            csf_thickness: draws.normal("subarachnoid space", 2.0, 0.45) * mm,
            sulcus_width: draws.normal("sulci", 0.75, 0.25).max(0.3) * mm,
            ventricle_size: draws.normal("ventricles", 1.0, 0.18),
            pathology,
        }
    }
}
