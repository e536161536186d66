//! What is treated, and how doses are computed: arguments that `dose` and `compare-dose` share.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use sct::dose::{Cones, DensityCurve, Machine, MonteCarloStop, TargetDose, Template};
use sct::image::{Mask, PointLps, Volume};
use sct::io::dicom::{PlanFile, read_plan};
use sct::io::{Image, IoError, read_mask};
use sct::pipeline::{Arrangement, DoseSettings, Engine, Structures, Treatment, load_structures_near};

use super::{Modality, mask_or_body};

#[derive(Args)]
pub(super) struct TreatmentArguments {
    /// The arrangement of beams: brain-3d, brain-vmat, pelvis-7f or pelvis-vmat
    #[arg(long, value_name = "NAME", required_unless_present = "plan", conflicts_with = "plan")]
    template: Option<Template>,
    /// An RT Plan of photons, or a folder that holds one, instead of a template: its beams and monitor units as they are
    #[arg(long, value_name = "RTPLAN")]
    plan: Option<PathBuf>,
    /// The target, above zero inside
    #[arg(long, value_name = "MASK", required_unless_present_any = ["ptv_sphere", "plan"], conflicts_with = "ptv_sphere")]
    ptv: Option<PathBuf>,
    /// A sphere as target: its middle in mm LPS and its radius in mm
    #[arg(long, value_name = "X,Y,Z,R", value_delimiter = ',', allow_negative_numbers = true)]
    ptv_sphere: Option<Vec<f64>>,
    /// The structure that is the target; without it the plan's target, or the one structure of type PTV
    #[arg(long, value_name = "NAME", requires = "structures", conflicts_with_all = ["ptv", "ptv_sphere"])]
    target: Option<String>,
    /// The target's dose, Gy: its mean without a boost; with a plan only what percentages refer to, by default the plan's own prescription
    #[arg(long, value_name = "G", required_unless_present = "plan")]
    prescription_gy: Option<f64>,
    /// A part of the target that is to get more at once (simultaneous integrated boost), above zero inside
    #[arg(long, value_name = "MASK", requires = "boost_gy", conflicts_with = "plan")]
    boost: Option<PathBuf>,
    /// The boost's mean dose, Gy
    #[arg(long, value_name = "G", requires = "boost")]
    boost_gy: Option<f64>,
    /// Structures: an RT Structure Set, a mask, or a folder that holds one or the other
    #[arg(long, value_name = "RTSTRUCT|MASK|DIR")]
    structures: Option<PathBuf>,
    /// The body, above zero inside; without it the structure of type EXTERNAL, or else the body that is found on the CT
    #[arg(long, value_name = "M")]
    body: Option<PathBuf>,
    /// The spacing of the dose grid, mm
    #[arg(long, value_name = "MM", default_value_t = 2.5)]
    spacing_mm: f64,
    /// HU, mass density in g/cm³ and relative electron density in a CSV file with a heading; without it a generic curve
    #[arg(long, value_name = "CSV")]
    density: Option<PathBuf>,
    /// The machine as JSON; without it a generic one of 6 MV, with or without a flattening filter as the plan says
    #[arg(long, value_name = "JSON")]
    machine: Option<PathBuf>,
    /// 52 instead of 88 directions: half the time, doses differ by 0.5 %
    #[arg(long)]
    fast: bool,
    /// Take coordinates for those of one space although the files name different frames of reference
    #[arg(long)]
    trust_frames: bool,
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

/// What was asked for, read and checked.
pub(super) struct Prepared {
    pub(super) plan: Option<PlanFile>,
    pub(super) structures: Option<Structures>,
    pub(super) body: Mask,
    /// None for a plan without structures.
    pub(super) target: Option<Mask>,
    /// The boost, and its dose.
    pub(super) boost: Option<(Mask, f64)>,
    pub(super) prescription_gy: f64,
    pub(super) settings: DoseSettings,
    template: Option<Template>,
}

impl TreatmentArguments {
    /// Reads everything around a CT.
    pub(super) fn prepare(&self, ct: &Image) -> Result<Prepared> {
        let plan = self.plan.as_deref().map(read_plan).transpose()?;
        warn_all(plan.iter().flat_map(|plan| &plan.notes));
        let structures = match &self.structures {
            Some(path) => Some(load_structures_near(path, ct.volume.grid())?),
            None => None,
        };
        warn_all(structures.iter().flat_map(|structures| &structures.notes));
        if let Some(file) = &plan {
            self.require_frame("the plan's beams", file.frame_of_reference_uid.as_deref(), ct)?;
        }
        if let Some(set) = structures.as_ref().and_then(|structures| structures.contours.as_ref()) {
            self.require_frame("the structures", set.frame_of_reference_uid.as_deref(), ct)?;
        }
        let settings = self.settings(plan.as_ref())?;
        let target = self.target(&ct.volume, plan.as_ref(), structures.as_ref())?;
        let prescribed = plan.as_ref().and_then(|file| file.plan.prescription.as_ref());
        let prescription_gy = self.prescription_gy.or(prescribed.map(|prescription| prescription.dose_gy)).context(
            "the plan prescribes no dose to a target (TargetPrescriptionDose (300A,0026)); give --prescription-gy",
        )?;
        let body = self.body(&ct.volume, structures.as_ref())?;
        let boost = self.boost.as_deref().map(read_mask).transpose()?.zip(self.boost_gy);
        let template = self.template;
        Ok(Prepared { plan, structures, body, target, boost, prescription_gy, settings, template })
    }

    /// Fails if an object says that it lies in another space than the CT.
    pub(super) fn require_frame(&self, what: &str, uid: Option<&str>, ct: &Image) -> Result<()> {
        let of_ct = ct.info.series.as_ref().and_then(|series| series.frame_of_reference_uid.as_deref());
        let (Some(uid), Some(reference_uid)) = (uid, of_ct) else { return Ok(()) };
        if uid == reference_uid {
            return Ok(());
        }
        let error = IoError::FrameOfReference {
            what: what.to_owned(),
            uid: uid.to_owned(),
            reference: "the CT".to_owned(),
            reference_uid: reference_uid.to_owned(),
        };
        if self.trust_frames {
            tracing::warn!("{error}; taken for one space as asked");
            return Ok(());
        }
        Err(error).context("if they were registered and resampled into one space, add --trust-frames")
    }

    fn settings(&self, plan: Option<&PlanFile>) -> Result<DoseSettings> {
        let text_of = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
        };
        let curve = match &self.density {
            None => DensityCurve::generic_120_kvp(),
            Some(path) => {
                DensityCurve::from_csv(&text_of(path)?).with_context(|| format!("`{}`", path.display()))?
            }
        };
        let energy = plan.and_then(|file| file.plan.beams.first()).map(|beam| beam.energy);
        let machine = match (&self.machine, energy) {
            (Some(path), _) => serde_json::from_str(&text_of(path)?)
                .with_context(|| format!("`{}` is no machine", path.display()))?,
            (None, None) => Machine::generic_6mv(),
            (None, Some(energy)) => Machine::generic(energy).with_context(|| {
                format!(
                    "the plan's beams have {} MV{}, for which there is no generic machine (6 MV, with and without filter); \
                     give one with --machine",
                    energy.nominal_mv,
                    if energy.flattening_filter_free { " without flattening filter" } else { "" }
                )
            })?,
        };
        let cones = if self.fast { Cones::Fast } else { Cones::Fine };
        let engine = self.engine.engine()?;
        let defaults = DoseSettings::default();
        Ok(DoseSettings { spacing_mm: self.spacing_mm, curve, engine, cones, machine, ..defaults })
    }

    fn body(&self, ct: &Volume<f32>, structures: Option<&Structures>) -> Result<Mask> {
        match structures.and_then(Structures::external) {
            Some(external) if self.body.is_none() => {
                tracing::info!("the body is the structure `{}`", external.name);
                Ok(external.mask(ct.grid())?)
            }
            _ => mask_or_body(self.body.as_deref(), ct, Modality::Ct),
        }
    }

    /// The target; a sphere lies on the CT's grid.
    fn target(
        &self,
        ct: &Volume<f32>,
        plan: Option<&PlanFile>,
        structures: Option<&Structures>,
    ) -> Result<Option<Mask>> {
        if let Some(path) = &self.ptv {
            return Ok(Some(read_mask(path)?));
        }
        match self.ptv_sphere.as_deref() {
            Some(&[x, y, z, radius_mm]) => {
                let middle = PointLps::new(x, y, z);
                let inside = |point: PointLps| point.distance_mm(middle) <= radius_mm;
                return Ok(Some(Mask::new(Volume::from_point_fn(ct.grid(), inside))));
            }
            Some(_) => bail!("--ptv-sphere wants four numbers: the middle in mm LPS and the radius in mm"),
            None => {}
        }
        let Some(structures) = structures else { return Ok(None) };
        let names =
            || structures.masks.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if let Some(name) = &self.target {
            let mask = structures.mask(name);
            return Ok(Some(
                mask.with_context(|| format!("there is no structure `{name}`; there are {}", names()))?
                    .clone(),
            ));
        }
        let prescription = plan.and_then(|file| file.plan.prescription.as_ref());
        match structures.targets(prescription.and_then(|prescription| prescription.target_roi)).as_slice() {
            [name] => {
                tracing::info!("the target is the structure `{name}`");
                Ok(structures.mask(name).cloned())
            }
            [] => bail!(
                "no structure is of type PTV: say which is the target with --target; there are {}",
                names()
            ),
            several => bail!(
                "several structures are of type PTV: say which is meant with --target: {}",
                several.join(", ")
            ),
        }
    }
}

impl Prepared {
    /// The treatment of a target.
    pub(super) fn treatment<'a>(&'a self, target: &'a Mask) -> Result<Treatment<'a>> {
        let arrangement = match (&self.plan, self.template) {
            (Some(file), _) => Arrangement::Plan(&file.plan),
            (None, Some(template)) => Arrangement::Template(template),
            (None, None) => bail!("neither a plan nor a template is given"),
        };
        let boost = self.boost.as_ref().map(|(target, dose_gy)| TargetDose { target, dose_gy: *dose_gy });
        Ok(Treatment { arrangement, target, prescription_gy: self.prescription_gy, boost })
    }

    /// The structures, without the target itself.
    pub(super) fn others(&self) -> Vec<(String, Mask)> {
        let masks = self.structures.iter().flat_map(|structures| &structures.masks);
        masks.filter(|(_, mask)| self.target.as_ref() != Some(mask)).cloned().collect()
    }
}

fn warn_all<'a>(notes: impl Iterator<Item = &'a String>) {
    for note in notes {
        tracing::warn!("{note}");
    }
}
