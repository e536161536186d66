//! The same plan on a CT and on a synthetic CT, and the difference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use synthct_dose::{
    CollapsedCone, Cones, DensityCurve, DensityVolume, Field, Machine, TargetDose, Template, dose_grid,
    plan_fields, template_plan,
};
use synthct_eval::{
    Dvh, DvhFigures, DvhMetric, DvhPair, EvalError, GammaConfig, GammaCriterion, GammaMap, GammaSummary,
    dose_mae, dvh_metric, gamma,
};
use synthct_image::{Interpolation, Mask, Volume, resample};
use synthct_rt::Plan;

use super::engine::EngineRun;
use super::{ComputedDose, DoseNoise, DoseProgress, Engine, PipelineError, RefusedGamma};

/// How doses are computed; the same on both images.
#[derive(Clone, Debug)]
pub struct DoseSettings {
    /// The dose grid's spacing, mm.
    pub spacing_mm: f64,
    /// Air around the body that belongs to the dose grid, mm.
    pub margin_mm: f64,
    /// From HU to densities.
    pub curve: DensityCurve,
    /// The machine.
    pub machine: Machine,
    /// The engine.
    pub engine: Engine,
    /// How finely collapsed cones divide directions.
    pub cones: Cones,
    /// Who hears how far Monte Carlo is.
    pub progress: DoseProgress,
}

impl Default for DoseSettings {
    /// 2.5 mm, 20 mm, the generic curve and machine, collapsed cones, fine ones.
    fn default() -> Self {
        Self {
            spacing_mm: 2.5,
            margin_mm: 20.0,
            curve: DensityCurve::generic_120_kvp(),
            machine: Machine::generic_6mv(),
            engine: Engine::CollapsedCones,
            cones: Cones::Fine,
            progress: DoseProgress::default(),
        }
    }
}

impl DoseSettings {
    /// The engine, ready to run.
    const fn engine(&self) -> EngineRun<'_> {
        let Self { machine, engine, cones, progress, .. } = self;
        EngineRun { engine: *engine, machine, cones: *cones, progress }
    }
}

/// Where beams and monitor units come from.
#[derive(Clone, Copy, Debug)]
pub enum Arrangement<'a> {
    /// A template, planned on the reference CT and scaled to the prescription.
    Template(Template),
    /// A plan of a planning system, delivered as it is.
    Plan(&'a Plan),
}

/// What a target is to receive.
#[derive(Clone, Copy, Debug)]
pub struct Treatment<'a> {
    /// The beams.
    pub arrangement: Arrangement<'a>,
    /// The target, on any grid of the patient's frame.
    pub target: &'a Mask,
    /// What it is to receive, Gy; for a template without a boost its mean dose on the reference CT.
    pub prescription_gy: f64,
    /// A part of the target that is to receive more, and its mean dose on the reference CT, Gy.
    pub boost: Option<TargetDose<'a>>,
}

impl Treatment<'_> {
    /// The highest dose that is prescribed, Gy: what γ and isodoses are relative to.
    pub fn highest_gy(&self) -> f64 {
        self.boost.map_or(self.prescription_gy, |boost| boost.dose_gy.max(self.prescription_gy))
    }

    /// The targets by name, each with its dose; with a boost, the target is what lies around it.
    fn targets(&self) -> Result<Vec<(&'static str, Mask, f64)>, PipelineError> {
        let Some(boost) = self.boost else {
            return Ok(vec![("target", self.target.clone(), self.prescription_gy)]);
        };
        let inner = boost.target.resampled(self.target.grid(), None)?;
        let around = self.target.and(&inner.complement())?;
        Ok(vec![("target", around, self.prescription_gy), ("boost", inner, boost.dose_gy)])
    }
}

/// A dose and the plan it is of.
#[derive(Clone, Debug)]
pub struct PlannedDose {
    /// The dose of the whole course, Gy.
    pub dose_gy: Volume<f32>,
    /// The plan.
    pub plan: Plan,
    /// The plan as the fields that were computed.
    pub fields: Vec<Field>,
    /// The noise of the dose, if it has any.
    pub noise: Option<DoseNoise>,
}

/// What a report tells of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFigures {
    /// Its name.
    pub label: String,
    /// The number of its beams.
    pub n_beams: usize,
    /// Monitor units of a fraction.
    pub monitor_units: f64,
}

impl PlanFigures {
    /// Of this plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            label: plan.label.clone(),
            n_beams: plan.beams.len(),
            monitor_units: plan.beams.iter().map(|beam| beam.meterset_mu).sum(),
        }
    }
}

/// The dose of a plan on a CT, with the plan's own monitor units.
///
/// # Grid
/// `body` shares the CT's grid. The dose grid covers the body and a margin.
///
/// # Errors
/// [`PipelineError::Dose`].
pub fn delivered_dose(
    ct: &Volume<f32>,
    body: &Mask,
    plan: &Plan,
    settings: &DoseSettings,
) -> Result<PlannedDose, PipelineError> {
    let grid = dose_grid(body, settings.spacing_mm, settings.margin_mm)?;
    let density = DensityVolume::from_ct(ct, body, &settings.curve, &grid)?;
    let fields = plan_fields(plan, &settings.machine, &grid, Template::GANTRY_STEP_DEG)?;
    let ComputedDose { dose_gy, noise } = settings.engine().dose(&density, &fields)?;
    Ok(PlannedDose { dose_gy, plan: plan.clone(), fields, noise })
}

/// A plan for a target and its dose on a CT: a template's is made there, any other is delivered as it is.
///
/// # Grid
/// `body` shares the CT's grid. The dose grid covers the body and a margin.
///
/// # Errors
/// [`PipelineError::Dose`].
pub fn planned_dose(
    ct: &Volume<f32>,
    body: &Mask,
    treatment: &Treatment<'_>,
    settings: &DoseSettings,
) -> Result<PlannedDose, PipelineError> {
    let template = match treatment.arrangement {
        Arrangement::Plan(plan) => return delivered_dose(ct, body, plan, settings),
        Arrangement::Template(template) => template,
    };
    let grid = dose_grid(body, settings.spacing_mm, settings.margin_mm)?;
    let density = DensityVolume::from_ct(ct, body, &settings.curve, &grid)?;
    let target = treatment.target.resampled(&grid, None)?;
    let mut levels = vec![TargetDose { target: &target, dose_gy: treatment.prescription_gy }];
    let inner = treatment.boost.map(|boost| boost.target.resampled(&grid, None)).transpose()?;
    if let (Some(target), Some(boost)) = (&inner, treatment.boost) {
        levels.push(TargetDose { target, dose_gy: boost.dose_gy });
    }
    // Weights need no fine cones: they are an arrangement, and the scale is set by the dose itself.
    let quick = CollapsedCone::new(&settings.machine, Cones::Fast);
    let mut plan = template_plan(template, &levels, &density, &settings.machine, &quick)?;
    let fields = plan_fields(&plan, &settings.machine, &grid, Template::GANTRY_STEP_DEG)?;
    let highest = levels.iter().fold(levels[0], |a, &b| if b.dose_gy > a.dose_gy { b } else { a });
    let mut scale = 1.0;
    let (ComputedDose { dose_gy, noise }, fields) =
        settings.engine().normalized(&density, fields, |dose_gy| {
            scale = highest.dose_gy / Dvh::new(dose_gy, highest.target)?.mean_gy();
            Ok(scale)
        })?;
    for beam in &mut plan.beams {
        beam.meterset_mu *= scale;
    }
    Ok(PlannedDose { dose_gy, plan, fields, noise })
}

/// The dose of a plan on an image, on the grid of another dose, by as many histories if by any.
///
/// # Grid
/// `body` shares the image's grid.
///
/// # Errors
/// [`PipelineError::Dose`].
pub fn recomputed_dose(
    image: &Volume<f32>,
    body: &Mask,
    planned: &PlannedDose,
    settings: &DoseSettings,
) -> Result<Volume<f32>, PipelineError> {
    let grid = planned.dose_gy.grid();
    let density = DensityVolume::from_ct(image, body, &settings.curve, grid)?;
    Ok(settings.engine().dose_like(planned.noise.as_ref(), &density, &planned.fields)?.dose_gy)
}

/// The histogram of a dose in Gy inside a structure on a grid of its own, onto which the dose is interpolated; beyond the
/// dose's grid it is zero.
///
/// # Errors
/// [`PipelineError::Eval`] for a structure without a voxel, [`PipelineError::StructureOutside`] for one that lies wholly beyond
/// the dose's grid.
pub fn structure_dvh(dose_gy: &Volume<f32>, structure: &Mask) -> Result<Dvh, PipelineError> {
    let covered = Mask::full(dose_gy.grid()).resampled(structure.grid(), None)?;
    let n_voxels = structure.count();
    if n_voxels > 0 && structure.and(&covered)?.count() == 0 {
        return Err(PipelineError::StructureOutside { n_voxels, dose: dose_gy.grid().to_string() });
    }
    let on_structure = resample(dose_gy, structure.grid(), None, Interpolation::Linear, 0.0)?;
    Ok(Dvh::new(&on_structure, structure)?)
}

/// One structure's histograms on both images.
#[derive(Clone, Debug)]
pub struct StructureDvh {
    /// The structure's name.
    pub name: String,
    /// What is prescribed to it, Gy, if it is a target.
    pub prescription_gy: Option<f64>,
    /// On the reference CT.
    pub reference: Dvh,
    /// On the synthetic CT.
    pub evaluated: Dvh,
}

/// The doses of one plan on a CT and on a synthetic CT.
#[derive(Clone, Debug)]
pub struct DoseComparison {
    /// The plan.
    pub plan: PlanFigures,
    /// Its dose on the CT, Gy.
    pub reference_gy: Volume<f32>,
    /// Its dose on the synthetic CT, Gy, on the same grid.
    pub evaluated_gy: Volume<f32>,
    /// γ at 1 %/1 mm, 2 %/2 mm and 3 %/3 mm of the prescription from 10 % of it on, but for those that are refused.
    pub gamma: Vec<GammaMap>,
    /// γ that noise would decide.
    pub gamma_refused: Vec<RefusedGamma>,
    /// The noise of the doses, if they have any.
    pub noise: Option<DoseNoise>,
    /// The target first, then the boost if there is one, then the other structures.
    pub dvh: Vec<StructureDvh>,
    /// The challenge's figures.
    pub synthrad: SynthRadDose,
    /// The highest dose that is prescribed, Gy.
    pub prescription_gy: f64,
}

/// The dose figures of the SynthRAD challenges; gamma at 2 %/2 mm above 10 % is among the other passing rates.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SynthRadDose {
    /// The mean absolute difference where the CT has 90 % of the prescription, as a fraction of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mae_dose: Option<f64>,
    /// The figure of histograms and its parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dvh: Option<DvhMetric>,
}

/// Cut-offs of the passing rates, in percent of the prescription.
const CUTOFFS_PERCENT: [f64; 2] = [10.0, 60.0];

/// Plans on the CT, computes the dose on both images with the same body, grid, plan and monitor units, and compares.
///
/// # Grid
/// `body` shares the CT's grid; the synthetic CT and the structures may have others of the same frame.
///
/// # Errors
/// [`PipelineError::Dose`], [`PipelineError::Eval`].
pub fn compare_dose(
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    body: &Mask,
    treatment: &Treatment<'_>,
    structures: &[(String, Mask)],
    settings: &DoseSettings,
) -> Result<DoseComparison, PipelineError> {
    let planned = planned_dose(ct, body, treatment, settings)?;
    let body_on_sct = body.resampled(sct.grid(), None)?;
    let evaluated_gy = recomputed_dose(sct, &body_on_sct, &planned, settings)?;
    compared_doses(
        PlanFigures::new(&planned.plan),
        planned.dose_gy,
        evaluated_gy,
        planned.noise,
        body,
        treatment,
        structures,
    )
}

/// The comparison of two doses of one plan, both with this noise if they have any.
///
/// γ is global, relative to the highest prescription, of the reference's voxels inside the body, exact to 0.002, capped at 2.
/// Histograms are taken on the structures' own grids, onto which doses are interpolated.
///
/// # Grid
/// Doses share theirs; `body` and the structures may have others of the same frame.
///
/// # Errors
/// [`PipelineError::Eval`].
pub fn compared_doses(
    plan: PlanFigures,
    reference_gy: Volume<f32>,
    evaluated_gy: Volume<f32>,
    noise: Option<DoseNoise>,
    body: &Mask,
    treatment: &Treatment<'_>,
    structures: &[(String, Mask)],
) -> Result<DoseComparison, PipelineError> {
    let prescription_gy = treatment.highest_gy();
    let mut config = GammaConfig::global(prescription_gy, &[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]);
    let refuses = |criterion: &GammaCriterion| noise.as_ref().and_then(|noise| noise.refuses(criterion));
    let gamma_refused = config.criteria.iter().filter_map(refuses).collect();
    config.criteria.retain(|criterion| refuses(criterion).is_none());
    let body_on_dose = body.resampled(reference_gy.grid(), None)?;
    let gamma = if config.criteria.is_empty() {
        Vec::new()
    } else {
        gamma(&reference_gy, &evaluated_gy, Some(&body_on_dose), &config)?
    };
    let of = |name: &str, structure: &Mask, prescription_gy: Option<f64>| -> Result<_, PipelineError> {
        Ok(StructureDvh {
            name: name.to_owned(),
            prescription_gy,
            reference: structure_dvh(&reference_gy, structure)?,
            evaluated: structure_dvh(&evaluated_gy, structure)?,
        })
    };
    let mut dvh = Vec::new();
    for (name, mask, dose_gy) in &treatment.targets()? {
        dvh.push(of(name, mask, Some(*dose_gy))?);
    }
    for (name, structure) in structures {
        dvh.push(of(name, structure, None)?);
    }
    let in_body = [Dvh::new(&reference_gy, &body_on_dose)?, Dvh::new(&evaluated_gy, &body_on_dose)?];
    let synthrad = synthrad_figures(&reference_gy, &evaluated_gy, &dvh, &in_body, prescription_gy)?;
    Ok(DoseComparison {
        plan,
        reference_gy,
        evaluated_gy,
        gamma,
        gamma_refused,
        noise,
        dvh,
        synthrad,
        prescription_gy,
    })
}

/// The challenge's figures, of the target with the highest prescription.
fn synthrad_figures(
    reference_gy: &Volume<f32>,
    evaluated_gy: &Volume<f32>,
    dvh: &[StructureDvh],
    [reference, evaluated]: &[Dvh; 2],
    prescription_gy: f64,
) -> Result<SynthRadDose, PipelineError> {
    const fn pair(dvh: &StructureDvh) -> DvhPair<'_> {
        DvhPair { reference: &dvh.reference, evaluated: &dvh.evaluated }
    }
    let target = (dvh.iter()).filter(|dvh| dvh.prescription_gy.is_some()).max_by(|a, b| {
        a.prescription_gy.partial_cmp(&b.prescription_gy).unwrap_or(std::cmp::Ordering::Equal)
    });
    let organs: Vec<DvhPair<'_>> = dvh.iter().filter(|dvh| dvh.prescription_gy.is_none()).map(pair).collect();
    let mae_dose = match dose_mae(reference_gy, evaluated_gy, prescription_gy) {
        Ok(mae) => Some(mae),
        // A plan that gives no voxel so much has no such figure.
        Err(EvalError::NoDoseAboveCutoff { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let metric = match target {
        Some(target) => dvh_metric(pair(target), &organs, DvhPair { reference, evaluated }, prescription_gy)?,
        None => None,
    };
    Ok(SynthRadDose { mae_dose, dvh: metric })
}

/// The figures of a [`DoseComparison`], as `summary.json` has them.
#[derive(Clone, Debug, Serialize)]
pub struct DoseSummary {
    /// Passing rates in percent, by criterion and cut-off, such as `1/1>10`.
    pub gamma_percent: BTreeMap<String, f64>,
    /// What each passing rate is of.
    pub gamma: BTreeMap<String, GammaSummary>,
    /// Passing rates that noise would decide, and why they are not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gamma_refused: Vec<RefusedGamma>,
    /// The noise of Monte Carlo, in per cent of the dose, where that is at least half of the largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty_percent: Option<f64>,
    /// The target's D98, D95, D50, mean and D2 on the synthetic CT less those on the CT, in percent of its prescription.
    pub dvh_percent: BTreeMap<&'static str, f64>,
    /// The same of a boost, in percent of its own prescription; empty without one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub boost_dvh_percent: BTreeMap<&'static str, f64>,
    /// The other structures' differences of the same figures, in percent of the highest prescription.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub organs_dvh_percent: BTreeMap<String, BTreeMap<&'static str, f64>>,
    /// The challenge's figures.
    pub synthrad_dose: SynthRadDose,
    /// The figures of every structure on both images.
    pub structures: BTreeMap<String, [DvhFigures; 2]>,
    /// Cases; here one.
    pub n: usize,
}

/// Differences of the usual figures, sCT − CT, in percent of a dose.
fn differences_percent(dvh: &StructureDvh, of_gy: f64) -> BTreeMap<&'static str, f64> {
    let (ct, sct) = (dvh.reference.figures(), dvh.evaluated.figures());
    let percent = |reference: f64, evaluated: f64| 100.0 * (evaluated - reference) / of_gy;
    BTreeMap::from([
        ("d98", percent(ct.d98_gy, sct.d98_gy)),
        ("d95", percent(ct.d95_gy, sct.d95_gy)),
        ("d50", percent(ct.d50_gy, sct.d50_gy)),
        ("davg", percent(ct.mean_gy, sct.mean_gy)),
        ("d2", percent(ct.d2_gy, sct.d2_gy)),
    ])
}

impl DoseComparison {
    /// The figures.
    ///
    /// # Errors
    /// [`PipelineError::Eval`] if no voxel reaches a cut-off.
    pub fn summary(&self) -> Result<DoseSummary, PipelineError> {
        let mut gamma = BTreeMap::new();
        for map in &self.gamma {
            for cutoff in CUTOFFS_PERCENT {
                let criterion = map.criterion;
                let name = format!("{}/{}>{cutoff}", criterion.dose_percent, criterion.distance_mm);
                let cutoff_gy = cutoff / 100.0 * self.prescription_gy;
                gamma.insert(name, map.summary_above(&self.reference_gy, cutoff_gy)?);
            }
        }
        let of_target = |n: usize| {
            let target = self.dvh.get(n).and_then(|dvh| Some((dvh, dvh.prescription_gy?)));
            target.map(|(dvh, of_gy)| differences_percent(dvh, of_gy)).unwrap_or_default()
        };
        let organs = self.dvh.iter().filter(|dvh| dvh.prescription_gy.is_none());
        Ok(DoseSummary {
            gamma_percent: gamma.iter().map(|(name, summary)| (name.clone(), summary.pass_percent)).collect(),
            gamma,
            gamma_refused: self.gamma_refused.clone(),
            uncertainty_percent: self.noise.as_ref().map(|noise| noise.uncertainty_percent),
            dvh_percent: of_target(0),
            boost_dvh_percent: of_target(1),
            organs_dvh_percent: organs
                .map(|dvh| (dvh.name.clone(), differences_percent(dvh, self.prescription_gy)))
                .collect(),
            synthrad_dose: self.synthrad.clone(),
            structures: (self.dvh.iter())
                .map(|dvh| (dvh.name.clone(), [dvh.reference.figures(), dvh.evaluated.figures()]))
                .collect(),
            n: 1,
        })
    }
}
