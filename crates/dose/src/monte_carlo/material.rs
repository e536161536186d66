//! What matter is made of, by its density.

use crate::table::rows_of;

/// A tissue between whose neighbours compositions are mixed.
#[derive(Debug)]
pub(super) struct Tissue {
    /// Its name in the tables of cross sections and stopping powers.
    pub(super) name: &'static str,
    /// The mass density at which matter is this tissue alone, g/cm³.
    pub(super) density_g_per_cm3: f64,
    /// The mass density that the tables of stopping powers are for, g/cm³.
    pub(super) table_density_g_per_cm3: f64,
    /// Mass fractions of elements.
    pub(super) elements: &'static [(Element, f64)],
}

/// An element, by atomic number and molar mass in g/mol.
pub(super) type Element = (f64, f64);

const H: Element = (1.0, 1.007_94);
const C: Element = (6.0, 12.010_7);
const N: Element = (7.0, 14.006_7);
const O: Element = (8.0, 15.999_4);
const NA: Element = (11.0, 22.989_77);
const MG: Element = (12.0, 24.305);
const P: Element = (15.0, 30.973_762);
const S: Element = (16.0, 32.065);
const CL: Element = (17.0, 35.453);
const AR: Element = (18.0, 39.948);
const K: Element = (19.0, 39.098_3);
const CA: Element = (20.0, 40.078);
const FE: Element = (26.0, 55.845);
const ZN: Element = (30.0, 65.38);

/// Tissues from light to dense, with the compositions of ICRP Publication 23 as NIST ESTAR has them.
///
/// Lung lies at the density of inflated lung, of which the tables have the tissue alone.
pub(super) const TISSUES: [Tissue; 6] = [
    Tissue {
        name: "air",
        density_g_per_cm3: 0.0012,
        table_density_g_per_cm3: 0.001_205,
        elements: &[(C, 0.000_124), (N, 0.755_267), (O, 0.231_781), (AR, 0.012_827)],
    },
    Tissue {
        name: "lung",
        density_g_per_cm3: 0.26,
        table_density_g_per_cm3: 1.05,
        elements: &[
            (H, 0.101_278),
            (C, 0.102_310),
            (N, 0.028_650),
            (O, 0.757_072),
            (NA, 0.001_84),
            (MG, 0.000_73),
            (P, 0.000_8),
            (S, 0.002_25),
            (CL, 0.002_66),
            (K, 0.001_94),
            (CA, 0.000_09),
            (FE, 0.000_37),
            (ZN, 0.000_01),
        ],
    },
    Tissue {
        name: "adipose",
        density_g_per_cm3: 0.92,
        table_density_g_per_cm3: 0.92,
        elements: &[
            (H, 0.119_477),
            (C, 0.637_240),
            (N, 0.007_970),
            (O, 0.232_333),
            (NA, 0.000_5),
            (MG, 0.000_02),
            (P, 0.000_16),
            (S, 0.000_73),
            (CL, 0.001_19),
            (K, 0.000_32),
            (CA, 0.000_02),
            (FE, 0.000_02),
            (ZN, 0.000_02),
        ],
    },
    Tissue {
        name: "water",
        density_g_per_cm3: 1.0,
        table_density_g_per_cm3: 1.0,
        elements: &[(H, 0.111_894), (O, 0.888_106)],
    },
    Tissue {
        name: "muscle",
        density_g_per_cm3: 1.04,
        table_density_g_per_cm3: 1.04,
        elements: &[
            (H, 0.100_637),
            (C, 0.107_830),
            (N, 0.027_680),
            (O, 0.754_773),
            (NA, 0.000_75),
            (MG, 0.000_19),
            (P, 0.001_8),
            (S, 0.002_41),
            (CL, 0.000_79),
            (K, 0.003_02),
            (CA, 0.000_03),
            (FE, 0.000_04),
            (ZN, 0.000_05),
        ],
    },
    Tissue {
        name: "bone",
        density_g_per_cm3: 1.85,
        table_density_g_per_cm3: 1.85,
        elements: &[
            (H, 0.047_234),
            (C, 0.144_330),
            (N, 0.041_990),
            (O, 0.446_096),
            (MG, 0.002_20),
            (P, 0.104_970),
            (S, 0.003_15),
            (CA, 0.209_930),
            (ZN, 0.000_1),
        ],
    },
];

/// The place of water in [`TISSUES`].
pub(super) const WATER: usize = 3;

impl Tissue {
    /// Moles of electrons in a gram: the mean of Z/A.
    pub(super) fn electrons_mol_per_g(&self) -> f64 {
        self.elements.iter().map(|((z, a), fraction)| fraction * z / a).sum()
    }

    /// What turns values per g/cm² of this tissue into values per cm of matter of this composition with water's electron
    /// density.
    pub(super) fn per_unit_electron_density(&self) -> f64 {
        TISSUES[WATER].electrons_mol_per_g() / self.electrons_mol_per_g()
    }

    /// The rows of this tissue in one of the crate's tables.
    pub(super) fn rows<const N: usize>(&self, text: &str) -> Vec<[f64; N]> {
        rows_of(text, self.name)
    }
}

/// The composition of matter of some mass density: the place of a tissue in [`TISSUES`] and, as the fraction, the part of
/// the electrons that belong to the next one.
///
/// Between two tissues matter is a mixture by volume, as in a voxel that holds both; beyond the ends it is the last one.
pub(super) fn composition(density_g_per_cm3: f64) -> f32 {
    let above = TISSUES.iter().position(|tissue| tissue.density_g_per_cm3 > density_g_per_cm3);
    match above {
        Some(0) => 0.0,
        None => (TISSUES.len() - 1) as f32,
        Some(high) => {
            let (light, dense) = (&TISSUES[high - 1], &TISSUES[high]);
            let volume = (density_g_per_cm3 - light.density_g_per_cm3)
                / (dense.density_g_per_cm3 - light.density_g_per_cm3);
            let electrons = |tissue: &Tissue, volume: f64| {
                volume * tissue.density_g_per_cm3 * tissue.electrons_mol_per_g()
            };
            let (of_light, of_dense) = (electrons(light, 1.0 - volume), electrons(dense, volume));
            // A fraction of one would name the next pair.
            ((high - 1) as f64 + (of_dense / (of_light + of_dense)).min(1.0 - 1e-6)) as f32
        }
    }
}

/// A composition as the place of a tissue in [`TISSUES`] and the part of the next one.
#[inline]
pub(super) fn mixture(composition: f32) -> (usize, f32) {
    let low = (composition as usize).min(TISSUES.len() - 2);
    (low, composition - low as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tissues_are_whole_and_as_dense_in_electrons_as_published() {
        // Z/A of NIST (XCOM and ESTAR).
        let published = [0.499_19, 0.549_65, 0.558_47, 0.555_08, 0.549_38, 0.521_30];
        for (tissue, published) in std::iter::zip(&TISSUES, published) {
            let sum: f64 = tissue.elements.iter().map(|(_, fraction)| fraction).sum();
            assert!((sum - 1.0).abs() < 2e-6, "{}: {sum}", tissue.name);
            let found = tissue.electrons_mol_per_g();
            assert!((found / published - 1.0).abs() < 2e-4, "{}: {found}", tissue.name);
        }
    }

    #[test]
    fn compositions_are_continuous_in_density() {
        for (place, tissue) in TISSUES.iter().enumerate() {
            let at = |density: f64| f64::from(composition(density));
            let density = tissue.density_g_per_cm3;
            assert!((at(density) - place as f64).abs() < 2e-6, "{}", tissue.name);
            assert!((at(density * (1.0 + 1e-7)) - at(density * (1.0 - 1e-7))).abs() < 1e-3);
        }
        assert!(composition(0.0001).abs() < 1e-6 && (composition(4.0) - 5.0).abs() < 1e-6);
        // Half bone by volume has 1.85 × 0.5213 of 1.85 × 0.5213 + 1.04 × 0.5494 of its electrons in bone.
        let half = composition(0.5 * (1.04 + 1.85));
        assert!((half - 4.6280).abs() < 1e-3, "{half}");
    }
}
