//! What a beam is made of, as data.

use serde::{Deserialize, Serialize};
use synthct_rt::PhotonEnergy;

use crate::composition::Bone;
use crate::table::{EvenTable, rows};

/// Photons of one energy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectralLine {
    /// Energy, MeV.
    pub energy_mev: f64,
    /// The part of all photons that have it.
    pub weight: f64,
    /// Mass attenuation coefficient of water without coherent scatter, cm²/g.
    pub attenuation_cm2_per_g: f64,
    /// Mass energy-absorption coefficient of water, cm²/g.
    pub absorption_cm2_per_g: f64,
}

/// A photon machine.
///
/// | field | unit | source of the generic 6 MV value |
/// |---|---|---|
/// | `photons_per_cm2_per_mu` | 1/cm² | 1 cGy/MU at the maximum of a 10 × 10 cm field, surface at 100 cm, by the collapsed cones |
/// | `spectrum` | | Mohan, Chui, Lidofsky (1985), doi:10.1118/1.595680; coefficients of NIST XCOM and XAAMDI |
/// | `source_sigma_mm` | mm | 1: usual for the focal spot seen from the isocenter |
/// | `head_scatter_fraction`, `head_scatter_sigma_mm` | , mm | 0.08 and 25: usual, of no particular machine |
/// | `leaf_transmission`, `jaw_transmission` | | 0.015 and 0.005: usual, of no particular machine |
/// | `off_axis` | mm, | flat fields rise by 4 to 8 % towards their edge; FFF fields fall |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// What it is called.
    pub name: String,
    /// Nominal energy, MV; a plan's beams must have it.
    pub nominal_mv: f64,
    /// Whether there is no flattening filter.
    pub flattening_filter_free: bool,
    /// The photons.
    pub spectrum: Vec<SpectralLine>,
    /// Photons per cm² at the isocenter for one monitor unit.
    pub photons_per_cm2_per_mu: f64,
    /// The standard deviation of the source's image at the isocenter, mm.
    pub source_sigma_mm: f64,
    /// The part of the fluence that was scattered in the head.
    pub head_scatter_fraction: f64,
    /// The standard deviation of the head scatter's spread at the isocenter, mm.
    pub head_scatter_sigma_mm: f64,
    /// What closed leaves let through.
    pub leaf_transmission: f64,
    /// What jaws let through.
    pub jaw_transmission: f64,
    /// Fluence over radius at the isocenter: `[mm, relative to the axis]`, rising in mm.
    pub off_axis: Vec<[f64; 2]>,
}

impl Machine {
    /// The generic machine of an energy, if there is one: 6 MV with and without a flattening filter.
    pub fn generic(energy: PhotonEnergy) -> Option<Self> {
        let machine =
            if energy.flattening_filter_free { Self::generic_6mv_fff() } else { Self::generic_6mv() };
        ((energy.nominal_mv - machine.nominal_mv).abs() < 0.05).then_some(machine)
    }

    /// A generic 6 MV machine with a flattening filter.
    pub fn generic_6mv() -> Self {
        Self {
            name: "generic 6 MV".to_owned(),
            source_sigma_mm: 1.0,
            head_scatter_fraction: 0.08,
            head_scatter_sigma_mm: 25.0,
            leaf_transmission: 0.015,
            jaw_transmission: 0.005,
            off_axis: vec![
                [0.0, 1.0],
                [42.0, 1.04],
                [85.0, 1.052],
                [127.0, 1.0745],
                [170.0, 1.075],
                [212.0, 0.838],
            ],
            ..Self::point_source_6mv()
        }
    }

    /// A generic 6 MV machine without a flattening filter: fluence falls off the axis; the spectrum is that of the axis of a
    /// filtered beam, which is harder than a real one's.
    pub fn generic_6mv_fff() -> Self {
        Self {
            name: "generic 6 MV FFF".to_owned(),
            flattening_filter_free: true,
            head_scatter_fraction: 0.04,
            off_axis: vec![[0.0, 1.0], [50.0, 0.93], [100.0, 0.86], [150.0, 0.78], [200.0, 0.70]],
            ..Self::generic_6mv()
        }
    }

    /// Photons of a 6 MV spectrum from a point, evenly spread, with collimators that let nothing through: the source of
    /// the Monte Carlo reference doses.
    pub fn point_source_6mv() -> Self {
        let spectrum = rows::<4>(include_str!("../data/spectrum_6mv.csv"))
            .into_iter()
            .map(|[energy_mev, weight, attenuation_cm2_per_g, absorption_cm2_per_g]| SpectralLine {
                energy_mev,
                weight,
                attenuation_cm2_per_g,
                absorption_cm2_per_g,
            })
            .collect();
        Self {
            name: "6 MV point source".to_owned(),
            nominal_mv: 6.0,
            flattening_filter_free: false,
            spectrum,
            photons_per_cm2_per_mu: 1.376e9,
            source_sigma_mm: 0.0,
            head_scatter_fraction: 0.0,
            head_scatter_sigma_mm: 1.0,
            leaf_transmission: 0.0,
            jaw_transmission: 0.0,
            off_axis: vec![[0.0, 1.0]],
        }
    }

    /// Energy released in water of unit density per unit fluence, MeV/cm, over the radiological depth in cm.
    pub(crate) fn released(&self) -> Released {
        const STEP_CM: f64 = 0.02;
        const N: usize = 4001;
        /// Where the mean attenuation of bone is taken; over 0 to 20 cm it changes by 0.3 %.
        const TYPICAL_DEPTH_CM: f64 = 5.0;
        let bone = Bone::cortical();
        let excess: Vec<[f64; 2]> = self.spectrum.iter().map(|line| bone.excess(line.energy_mev)).collect();
        let sum = |depth_cm: f64, coefficient: &dyn Fn(&SpectralLine, [f64; 2]) -> f64| -> f64 {
            std::iter::zip(&self.spectrum, &excess)
                .map(|(line, excess)| {
                    let left = (-line.attenuation_cm2_per_g * depth_cm).exp();
                    line.weight * line.energy_mev * coefficient(line, *excess) * left
                })
                .sum()
        };
        let kerma = |depth: f64| sum(depth, &|line, _| line.absorption_cm2_per_g);
        let terma = |depth: f64| sum(depth, &|line, _| line.attenuation_cm2_per_g);
        let bone_kerma =
            |depth: f64| sum(depth, &|line, [_, absorption]| absorption * line.absorption_cm2_per_g);
        let bone_terma =
            |depth: f64| sum(depth, &|line, [attenuation, _]| attenuation * line.attenuation_cm2_per_g);
        Released {
            primary: EvenTable::new(STEP_CM, N, kerma),
            scatter: EvenTable::new(STEP_CM, N, |depth| terma(depth) - kerma(depth)),
            bone_primary: EvenTable::new(STEP_CM, N, bone_kerma),
            bone_scatter: EvenTable::new(STEP_CM, N, |depth| bone_terma(depth) - bone_kerma(depth)),
            bone_attenuation: (bone_terma(TYPICAL_DEPTH_CM) / terma(TYPICAL_DEPTH_CM)) as f32,
        }
    }
}

/// Energy that photons release, by what carries it on.
#[derive(Clone, Debug)]
pub(crate) struct Released {
    /// To electrons: collision kerma.
    pub(crate) primary: EvenTable,
    /// To scattered photons: TERMA less collision kerma.
    pub(crate) scatter: EvenTable,
    /// What cortical bone of the same electron density releases more to electrons.
    pub(crate) bone_primary: EvenTable,
    /// What it releases more to scattered photons.
    pub(crate) bone_scatter: EvenTable,
    /// How much more it attenuates, per electron.
    pub(crate) bone_attenuation: f32,
}
