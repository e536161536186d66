//! Proton density and relaxation times of the tissues at a field strength.

use crate::Tissue;

/// The field strength of the reference values in T.
const REFERENCE_FIELD_T: f64 = 3.0;

/// Which resonance a pool of protons belongs to: Dixon methods tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Species {
    /// Water.
    Water,
    /// Fat.
    Fat,
}

/// Protons with one set of relaxation times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool {
    /// Water or fat.
    pub species: Species,
    /// Density of protons relative to pure water.
    pub proton_density: f64,
    /// Longitudinal relaxation time in ms.
    pub t1_ms: f64,
    /// Transverse relaxation time in ms.
    pub t2_ms: f64,
    /// Transverse relaxation time with static dephasing, in ms.
    pub t2_star_ms: f64,
}

/// One row of the table: values at 3 T and how they change with the field.
struct Row {
    t1_3t_ms: f64,
    /// B in T1 ∝ ν^B.
    t1_exponent: f64,
    t2_3t_ms: f64,
    /// R2′ per tesla, 1/(s·T).
    r2_prime_per_s_t: f64,
}

// T1 follows Bottomley's power law T1 = A·ν^B (Bottomley et al. 1984, doi:10.1118/1.595535).
//
// Brain: the exponents fit 646, 838, 1126 ms (white) and 1197, 1607, 1939 ms (grey) at 1.5, 3, 7 T of Wright et al. 2008
// (doi:10.1007/s10334-008-0104-8) to 6 %; fluid does not depend on the field.
// Body: fat 382/68, muscle T2 29, marrow 586/49, prostate 1597/74 ms at 3 T of de Bazelaire et al. 2004
// (doi:10.1148/radiol.2303021331); muscle T1 and the exponents of muscle and fat after Stanisz et al. 2005
// (doi:10.1002/mrm.20605) and Bottomley.
// Bone water: T2* near 0.4 ms and T1 near 0.2 s, after the review by Ma et al. 2020 (doi:10.3389/fendo.2020.567417).
// R2′ and the rows not named here are ours: plausible, not measured.
const WHITE: Row = Row { t1_3t_ms: 838.0, t1_exponent: 0.36, t2_3t_ms: 69.0, r2_prime_per_s_t: 2.5 };
const GREY: Row = Row { t1_3t_ms: 1550.0, t1_exponent: 0.33, t2_3t_ms: 95.0, r2_prime_per_s_t: 2.5 };
const FLUID: Row = Row { t1_3t_ms: 4300.0, t1_exponent: 0.0, t2_3t_ms: 1800.0, r2_prime_per_s_t: 1.0 };
const MUSCLE: Row = Row { t1_3t_ms: 1412.0, t1_exponent: 0.42, t2_3t_ms: 29.0, r2_prime_per_s_t: 3.0 };
const ADIPOSE: Row = Row { t1_3t_ms: 382.0, t1_exponent: 0.17, t2_3t_ms: 68.0, r2_prime_per_s_t: 6.0 };
const MARROW_WATER: Row = Row { t1_3t_ms: 1000.0, t1_exponent: 0.35, t2_3t_ms: 40.0, r2_prime_per_s_t: 20.0 };
const MARROW_FAT: Row = Row { t1_3t_ms: 365.0, t1_exponent: 0.17, t2_3t_ms: 68.0, r2_prime_per_s_t: 20.0 };
const SKIN: Row = Row { t1_3t_ms: 900.0, t1_exponent: 0.35, t2_3t_ms: 25.0, r2_prime_per_s_t: 5.0 };
const CARTILAGE: Row = Row { t1_3t_ms: 1170.0, t1_exponent: 0.30, t2_3t_ms: 37.0, r2_prime_per_s_t: 5.0 };
const LENS: Row = Row { t1_3t_ms: 1000.0, t1_exponent: 0.35, t2_3t_ms: 25.0, r2_prime_per_s_t: 3.0 };
const NERVE: Row = Row { t1_3t_ms: 1083.0, t1_exponent: 0.36, t2_3t_ms: 78.0, r2_prime_per_s_t: 3.0 };
const MUCOSA: Row = Row { t1_3t_ms: 1400.0, t1_exponent: 0.35, t2_3t_ms: 110.0, r2_prime_per_s_t: 8.0 };
const GLAND: Row = Row { t1_3t_ms: 1200.0, t1_exponent: 0.35, t2_3t_ms: 75.0, r2_prime_per_s_t: 3.0 };
const BLOOD: Row = Row { t1_3t_ms: 1932.0, t1_exponent: 0.40, t2_3t_ms: 60.0, r2_prime_per_s_t: 6.0 };
const PROSTATE: Row = Row { t1_3t_ms: 1597.0, t1_exponent: 0.28, t2_3t_ms: 74.0, r2_prime_per_s_t: 3.0 };
const BOWEL: Row = Row { t1_3t_ms: 1300.0, t1_exponent: 0.30, t2_3t_ms: 60.0, r2_prime_per_s_t: 10.0 };
const SCAR: Row = Row { t1_3t_ms: 1200.0, t1_exponent: 0.35, t2_3t_ms: 60.0, r2_prime_per_s_t: 4.0 };
const BOUND_WATER: Row = Row { t1_3t_ms: 200.0, t1_exponent: 0.30, t2_3t_ms: 0.4, r2_prime_per_s_t: 20.0 };

impl Row {
    fn pool(&self, species: Species, proton_density: f64, field_strength_t: f64) -> Pool {
        let ratio = field_strength_t / REFERENCE_FIELD_T;
        // T2 hardly depends on the field up to 3 T (Bottomley); above it falls, white matter to 47 ms at 7 T.
        let t2_ms = self.t2_3t_ms * ratio.max(1.0).powf(-0.4);
        let r2_star_per_ms = 1.0 / t2_ms + self.r2_prime_per_s_t * field_strength_t / 1000.0;
        Pool {
            species,
            proton_density,
            t1_ms: self.t1_3t_ms * ratio.powf(self.t1_exponent),
            t2_ms,
            t2_star_ms: 1.0 / r2_star_per_ms,
        }
    }
}

/// The proton pools of a tissue at a field strength; none for air.
///
/// For mineralized tissue the pools depend on its HU: see [`bone_water_fraction`].
/// Proton densities: white 0.70, grey 0.82, fluid 1.0 as commonly tabulated; the others are ours, chosen so that
/// a proton-density weighted image of soft tissue is nearly flat, as zero-TE images are.
pub fn pools(tissue: Tissue, hu: f64, field_strength_t: f64) -> Vec<Pool> {
    let water = |row: &Row, density: f64| row.pool(Species::Water, density, field_strength_t);
    let fat = |row: &Row, density: f64| row.pool(Species::Fat, density, field_strength_t);
    match tissue {
        Tissue::OutsideAir | Tissue::InnerAir => Vec::new(),
        Tissue::Skin => vec![water(&SKIN, 0.66), fat(&ADIPOSE, 0.06)],
        Tissue::Fat => vec![water(&MUSCLE, 0.08), fat(&ADIPOSE, 0.70)],
        Tissue::Muscle => vec![water(&MUSCLE, 0.78), fat(&ADIPOSE, 0.02)],
        Tissue::Marrow => vec![water(&MARROW_WATER, 0.14), fat(&MARROW_FAT, 0.62)],
        Tissue::Cartilage => vec![water(&CARTILAGE, 0.70)],
        Tissue::GreyMatter | Tissue::Cerebellum => vec![water(&GREY, 0.82)],
        Tissue::WhiteMatter => vec![water(&WHITE, 0.70)],
        Tissue::Csf | Tissue::Vitreous | Tissue::Urine => vec![water(&FLUID, 1.0)],
        Tissue::Lens => vec![water(&LENS, 0.62)],
        Tissue::Nerve => vec![water(&NERVE, 0.72)],
        Tissue::Mucosa => vec![water(&MUCOSA, 0.82)],
        Tissue::Gland => vec![water(&GLAND, 0.66), fat(&ADIPOSE, 0.16)],
        Tissue::Blood => vec![water(&BLOOD, 0.80)],
        Tissue::Prostate => vec![water(&PROSTATE, 0.84)],
        Tissue::BowelContent => vec![water(&BOWEL, 0.74), fat(&ADIPOSE, 0.03)],
        Tissue::Scar => vec![water(&SCAR, 0.76)],
        Tissue::CorticalBone | Tissue::CancellousBone | Tissue::Tooth => {
            let density = SOFT_TISSUE_DENSITY * bone_water_fraction(hu);
            // The denser the bone, the fewer of its protons are in marrow and the more are bound to collagen.
            let marrow = density * ((MARROWLESS_HU - hu) / MARROWLESS_HU).clamp(0.0, 1.0);
            vec![
                water(&BOUND_WATER, density - marrow),
                water(&MARROW_WATER, 0.4 * marrow),
                fat(&MARROW_FAT, 0.6 * marrow),
            ]
        }
    }
}

/// Density of protons in soft tissue beside bone.
const SOFT_TISSUE_DENSITY: f64 = 0.78;
/// Bone at least this dense has no marrow (ours).
const MARROWLESS_HU: f64 = 1200.0;

/// The protons of bone of a given HU relative to those of soft tissue.
///
/// Up to 1542 HU it is 1 − (HU − 42)/2000, the inverse of the linear rule HU = 42 − 2000·(ZTE − 1) by which zero-TE images
/// of bone are turned into CT (Wiesinger et al. 2018, doi:10.1002/mrm.27134); beyond, where that line would run to zero,
/// it goes on as 0.25·exp(−(HU − 1542)/500) with the same slope (ours).
pub fn bone_water_fraction(hu: f64) -> f64 {
    if hu < 1542.0 { (1.0 - (hu - 42.0) / 2000.0).min(1.0) } else { 0.25 * (-(hu - 1542.0) / 500.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_t1(tissue: Tissue, field_strength_t: f64, expected_ms: f64, relative: f64) {
        let t1_ms = pools(tissue, 0.0, field_strength_t)[0].t1_ms;
        assert!(
            (t1_ms / expected_ms - 1.0).abs() < relative,
            "{tissue:?}: {t1_ms} ms instead of {expected_ms}"
        );
    }

    #[test]
    fn brain_t1_agrees_with_measurements_at_every_field() {
        for (field, white, grey) in [(1.5, 646.0, 1197.0), (3.0, 838.0, 1607.0), (7.0, 1126.0, 1939.0)] {
            check_t1(Tissue::WhiteMatter, field, white, 0.06);
            check_t1(Tissue::GreyMatter, field, grey, 0.06);
        }
    }

    #[test]
    fn bone_protons_fall_with_density_without_a_step() {
        let mut previous = bone_water_fraction(42.0);
        assert!((previous - 1.0).abs() < 1e-12);
        for step in 1..=2958 {
            let fraction = bone_water_fraction(42.0 + f64::from(step));
            assert!(fraction < previous && fraction > 0.0 && previous - fraction < 6e-4, "at step {step}");
            previous = fraction;
        }
    }

    #[test]
    fn every_tissue_but_air_has_protons_and_t2_star_is_below_t2() {
        for tissue in Tissue::ALL {
            for field in [0.35, 1.5, 3.0, 7.0] {
                let pools = pools(tissue, tissue.typical_hu(), field);
                assert_eq!(pools.is_empty(), tissue.is_air());
                for pool in pools {
                    assert!(pool.proton_density >= 0.0 && pool.proton_density <= 1.0, "{tissue:?}");
                    assert!(
                        pool.t2_star_ms < pool.t2_ms && pool.t2_ms < pool.t1_ms,
                        "{tissue:?} at {field} T"
                    );
                }
            }
        }
    }
}
