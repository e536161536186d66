//! Hounsfield units inside bone: a dense rim about a spongy middle, with density that drifts smoothly.

use crate::draws::Draws;
use crate::random::SmoothNoise;
use crate::shape::{Position, smooth_step};
use crate::{Sample, Tissue};

/// The smallest HU that bone has here; what is sparser counts as marrow or soft tissue.
pub(crate) const MIN_BONE_HU: f64 = 250.0;
/// The largest HU that bone or tooth has here.
pub(crate) const MAX_BONE_HU: f64 = 3000.0;

/// What kind of bone: its rim and its middle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoneKind {
    /// Thickness of the dense rim, in the units of the distances.
    pub rim: f64,
    /// HU of the rim, before the subject's density.
    pub rim_hu: f64,
    /// HU of the middle, before the subject's density.
    pub middle_hu: f64,
}

/// A subject's bone density and its variation in space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoneDensity {
    scale: f64,
    coarse: SmoothNoise,
    fine: SmoothNoise,
}

impl BoneDensity {
    pub(crate) fn new(draws: &Draws) -> Self {
        Self {
            scale: draws.normal("bone density", 1.0, 0.12),
            coarse: SmoothNoise::new(draws.seed("bone density, coarse"), 26.0),
            fine: SmoothNoise::new(draws.seed("bone density, fine"), 7.0),
        }
    }

    /// Bone at depth `depth` below its nearest surface.
    pub(crate) fn sample(&self, p: Position, depth: f64, kind: BoneKind) -> Sample {
        let rim = 1.0 - smooth_step(0.6 * kind.rim, 1.5 * kind.rim, depth);
        let (coarse, fine) = (self.coarse.at(p), self.fine.at(p));
        let rim_hu = kind.rim_hu * (1.0 + 0.28 * coarse + 0.12 * fine);
        let middle_hu = kind.middle_hu * (1.0 + 0.40 * coarse + 0.45 * fine);
        let hu = self.scale * (middle_hu + (rim_hu - middle_hu) * rim);
        let tissue = if rim > 0.5 { Tissue::CorticalBone } else { Tissue::CancellousBone };
        Sample { tissue, hu: hu.clamp(MIN_BONE_HU, MAX_BONE_HU), texture: 0.0 }
    }
}
