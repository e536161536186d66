//! What differs between pelves.

use crate::draws::Draws;

/// One pelvis' measures, drawn from its seed. Lengths are canonical: divided by `scale`.
#[derive(Clone, Debug)]
pub(crate) struct PelvisParameters {
    /// Millimetres per canonical unit.
    pub scale: f64,
    pub skin_thickness: f64,
    /// Thickness of subcutaneous fat at the sides.
    pub fat: f64,
    /// Width of the fatty planes between muscles.
    pub marbling: f64,
    /// Thickness of compact bone.
    pub cortex: f64,
    /// HU of spongy bone before the subject's density.
    pub spongy_hu: f64,
    pub head_radius: f64,
    /// How far the bladder is filled.
    pub bladder: f64,
    /// Radius of the rectum and the share of gas in it.
    pub rectum: f64,
    pub rectal_gas: f64,
    pub prostate: f64,
    /// How much gas the bowel holds, 0 to 1.
    pub bowel_gas: f64,
    /// Turn of the thighs about their axes, as a shift of the shafts to the side.
    pub hip_turn: f64,
}

impl PelvisParameters {
    pub(crate) fn draw(draws: &Draws) -> Self {
        let scale = draws.normal("pelvis size", 1.0, 0.035);
        let mm = 1.0 / scale;
        Self {
            scale,
            skin_thickness: draws.normal("pelvis skin", 2.0, 0.2) * mm,
            fat: draws.normal("pelvis fat", 21.0, 6.0) * mm,
            marbling: draws.normal("pelvis marbling", 1.0, 0.25),
            cortex: draws.normal("pelvis cortex", 2.3, 0.3) * mm,
            spongy_hu: draws.normal("pelvis spongy", 330.0, 45.0),
            head_radius: draws.normal("femoral head", 24.0, 1.0),
            bladder: draws.normal("bladder", 1.0, 0.16),
            rectum: draws.normal("rectum", 15.5, 2.5),
            rectal_gas: draws.uniform("rectal gas", 0.0, 0.9),
            prostate: draws.normal("prostate", 1.0, 0.12),
            bowel_gas: draws.uniform("bowel gas", 0.1, 0.8),
            hip_turn: draws.normal("hip turn", 0.0, 4.0),
        }
    }
}
