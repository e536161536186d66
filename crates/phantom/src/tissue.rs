//! The tissues, their labels and their Hounsfield units.

use serde::{Deserialize, Serialize};

/// A tissue class; its discriminant is the value in a phantom's label map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u16)]
#[non_exhaustive]
pub enum Tissue {
    /// Air outside the body.
    OutsideAir = 0,
    /// Air or gas inside the body: sinuses, airways, mastoid cells, bowel gas.
    InnerAir = 1,
    /// Skin.
    Skin = 2,
    /// Adipose tissue.
    Fat = 3,
    /// Skeletal and smooth muscle.
    Muscle = 4,
    /// Dense bone: tables of the skull, cortices.
    CorticalBone = 5,
    /// Spongy bone: diploe, vertebral bodies, epiphyses.
    CancellousBone = 6,
    /// Teeth: dentine and enamel.
    Tooth = 7,
    /// Fatty marrow in a shaft, without bone.
    Marrow = 8,
    /// Cartilage and intervertebral disc.
    Cartilage = 9,
    /// Grey matter of the cerebrum.
    GreyMatter = 10,
    /// White matter, brainstem and spinal cord.
    WhiteMatter = 11,
    /// Grey matter of the cerebellum.
    Cerebellum = 12,
    /// Cerebrospinal fluid.
    Csf = 13,
    /// Vitreous and aqueous humour.
    Vitreous = 14,
    /// Lens of the eye.
    Lens = 15,
    /// Optic nerve.
    Nerve = 16,
    /// Mucous membrane.
    Mucosa = 17,
    /// Glandular tissue: parotid, seminal vesicles.
    Gland = 18,
    /// Blood in large vessels.
    Blood = 19,
    /// Urine in the bladder.
    Urine = 20,
    /// Prostate.
    Prostate = 21,
    /// Contents of bowel and rectum.
    BowelContent = 22,
    /// Scar and granulation tissue, as in a burr hole.
    Scar = 23,
}

impl Tissue {
    /// Every tissue, in the order of its label.
    pub const ALL: [Self; 24] = [
        Self::OutsideAir,
        Self::InnerAir,
        Self::Skin,
        Self::Fat,
        Self::Muscle,
        Self::CorticalBone,
        Self::CancellousBone,
        Self::Tooth,
        Self::Marrow,
        Self::Cartilage,
        Self::GreyMatter,
        Self::WhiteMatter,
        Self::Cerebellum,
        Self::Csf,
        Self::Vitreous,
        Self::Lens,
        Self::Nerve,
        Self::Mucosa,
        Self::Gland,
        Self::Blood,
        Self::Urine,
        Self::Prostate,
        Self::BowelContent,
        Self::Scar,
    ];

    /// The value that stands for the tissue in a label map.
    pub const fn label(self) -> u16 {
        self as u16
    }

    /// The tissue that a label stands for.
    pub const fn from_label(label: u16) -> Option<Self> {
        if (label as usize) < Self::ALL.len() { Some(Self::ALL[label as usize]) } else { None }
    }

    /// Whether the tissue is mineralized: its HU follows a density, not this table.
    pub const fn is_bone(self) -> bool {
        matches!(self, Self::CorticalBone | Self::CancellousBone | Self::Tooth)
    }

    /// Whether the tissue is air or gas.
    pub const fn is_air(self) -> bool {
        matches!(self, Self::OutsideAir | Self::InnerAir)
    }

    /// Whether the tissue belongs to the brain, without the fluid around it.
    pub const fn is_brain(self) -> bool {
        matches!(self, Self::GreyMatter | Self::WhiteMatter | Self::Cerebellum)
    }

    /// The mean HU of a tissue without mineral; of mineralized tissue, a typical value.
    ///
    /// Grey 37, white 30, fluid 8, muscle 50, fat -100, lens 70 HU are textbook values at 120 kVp; the others are ours.
    pub const fn typical_hu(self) -> f64 {
        match self {
            Self::OutsideAir | Self::InnerAir => -1000.0,
            Self::Skin => 20.0,
            Self::Fat => -100.0,
            Self::Muscle => 50.0,
            Self::CorticalBone => 1400.0,
            Self::CancellousBone => 500.0,
            Self::Tooth => 2200.0,
            Self::Marrow => -30.0,
            Self::Cartilage => 85.0,
            Self::GreyMatter => 37.0,
            Self::WhiteMatter => 30.0,
            Self::Cerebellum => 36.0,
            Self::Csf => 8.0,
            Self::Vitreous => 14.0,
            Self::Lens => 70.0,
            Self::Nerve => 32.0,
            Self::Mucosa => 38.0,
            Self::Gland => 22.0,
            Self::Blood => 45.0,
            Self::Urine => 6.0,
            Self::Prostate => 42.0,
            Self::BowelContent => 31.0,
            Self::Scar => 28.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_tissues_are_one_to_one() {
        for (label, tissue) in Tissue::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(tissue.label()), label);
            assert_eq!(Tissue::from_label(label as u16), Some(tissue));
        }
        assert_eq!(Tissue::from_label(Tissue::ALL.len() as u16), None);
    }
}
