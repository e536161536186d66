//! What is treated, and how doses are computed: arguments that `dose` and `compare-dose` share.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use sct::dose::{Cones, DensityCurve, MonteCarloStop, TargetDose, Template};
use sct::image::{Mask, PointLps, Volume};
use sct::io::read_mask;
use sct::pipeline::{DoseSettings, Engine, Treatment};

use super::{Modality, mask_or_body};

#[derive(Args)]
pub(super) struct TreatmentArguments {
    /// The arrangement of beams: brain-3d, brain-vmat, pelvis-7f or pelvis-vmat
    #[arg(long, value_name = "NAME")]
    template: Template,
    /// The target, above zero inside
    #[arg(long, value_name = "MASK", required_unless_present = "ptv_sphere", conflicts_with = "ptv_sphere")]
    ptv: Option<PathBuf>,
    /// A sphere as target: its middle in mm LPS and its radius in mm
    #[arg(long, value_name = "X,Y,Z,R", value_delimiter = ',', allow_negative_numbers = true)]
    ptv_sphere: Option<Vec<f64>>,
    /// The target's dose, Gy: its mean without a boost
    #[arg(long, value_name = "G")]
    prescription_gy: f64,
    /// A part of the target that is to get more at once (simultaneous integrated boost), above zero inside
    #[arg(long, value_name = "MASK", requires = "boost_gy")]
    boost: Option<PathBuf>,
    /// The boost's mean dose, Gy
    #[arg(long, value_name = "G", requires = "boost")]
    boost_gy: Option<f64>,
    /// The body, above zero inside; without it the body is found on the CT
    #[arg(long, value_name = "M")]
    body: Option<PathBuf>,
    /// The spacing of the dose grid, mm
    #[arg(long, value_name = "MM", default_value_t = 2.5)]
    spacing_mm: f64,
    /// HU, mass density in g/cm³ and relative electron density in a CSV file with a heading; without it a generic curve
    #[arg(long, value_name = "CSV")]
    density: Option<PathBuf>,
    /// 52 instead of 88 directions: half the time, doses differ by 0.5 %
    #[arg(long)]
    fast: bool,
    #[command(flatten)]
    engine: EngineArguments,
}

/// The engine that computes doses.
#[derive(Args)]
struct EngineArguments {
    /// The engine that computes doses
    #[arg(long = "engine", value_enum, value_name = "NAME", default_value_t = EngineName::CollapsedCones)]
    name: EngineName,
    /// Monte Carlo: so many histories on each image
    #[arg(long, value_name = "N", conflicts_with = "uncertainty")]
    histories: Option<u64>,
    /// Monte Carlo: as many histories as bring the noise to this percentage of the dose (one standard deviation, where the
    /// dose is half of the largest or more)
    #[arg(long, value_name = "PERCENT")]
    uncertainty: Option<f64>,
    /// Monte Carlo: the random numbers, the same on both images
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineName {
    /// Collapsed-cone convolution: quick, without noise
    #[value(alias = "ccc")]
    CollapsedCones,
    /// Monte Carlo of photons and electrons: independent, minutes, with noise
    #[value(alias = "mc")]
    MonteCarlo,
}

impl EngineArguments {
    fn engine(&self) -> Result<Engine> {
        let stop = match (self.histories, self.uncertainty) {
            (Some(n), _) => Some(MonteCarloStop::Histories(n)),
            (None, percent) => percent.map(|percent| MonteCarloStop::Uncertainty { percent }),
        };
        match (self.name, stop) {
            (EngineName::CollapsedCones, None) => Ok(Engine::CollapsedCones),
            (EngineName::CollapsedCones, Some(_)) => {
                bail!("--histories and --uncertainty are for --engine monte-carlo")
            }
            (EngineName::MonteCarlo, Some(stop)) => Ok(Engine::MonteCarlo { stop, seed: self.seed }),
            (EngineName::MonteCarlo, None) => {
                bail!(
                    "--engine monte-carlo wants --histories N or --uncertainty PERCENT, such as --uncertainty 1"
                )
            }
        }
    }
}

impl TreatmentArguments {
    pub(super) fn settings(&self) -> Result<DoseSettings> {
        let curve = match &self.density {
            None => DensityCurve::generic_120_kvp(),
            Some(path) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
                DensityCurve::from_csv(&text).with_context(|| format!("`{}`", path.display()))?
            }
        };
        let cones = if self.fast { Cones::Fast } else { Cones::Fine };
        let engine = self.engine.engine()?;
        Ok(DoseSettings { spacing_mm: self.spacing_mm, curve, engine, cones, ..DoseSettings::default() })
    }

    /// The treatment of a target and of its boost.
    pub(super) fn of<'a>(&self, target: &'a Mask, boost: Option<&'a Mask>) -> Treatment<'a> {
        let boost = boost.zip(self.boost_gy).map(|(target, dose_gy)| TargetDose { target, dose_gy });
        Treatment { template: self.template, target, prescription_gy: self.prescription_gy, boost }
    }

    /// The boost, if there is one.
    pub(super) fn boost(&self) -> Result<Option<Mask>> {
        Ok(self.boost.as_deref().map(read_mask).transpose()?)
    }

    pub(super) fn body(&self, ct: &Volume<f32>) -> Result<Mask> {
        mask_or_body(self.body.as_deref(), ct, Modality::Ct)
    }

    /// The target; a sphere lies on the CT's grid.
    pub(super) fn target(&self, ct: &Volume<f32>) -> Result<Mask> {
        if let Some(path) = &self.ptv {
            return Ok(read_mask(path)?);
        }
        match self.ptv_sphere.as_deref() {
            Some(&[x, y, z, radius_mm]) => {
                let middle = PointLps::new(x, y, z);
                Ok(Mask::new(Volume::from_point_fn(ct.grid(), |point| {
                    point.distance_mm(middle) <= radius_mm
                })))
            }
            _ => bail!("--ptv-sphere wants four numbers: the middle in mm LPS and the radius in mm"),
        }
    }
}
