//! The same plan on a CT and on a synthetic CT, and the difference.

use std::collections::BTreeMap;

use serde::Serialize;
use synthct_dose::{
    CollapsedCone, Cones, DensityCurve, DensityVolume, DoseEngine, Field, Machine, Template, dose_grid,
    plan_fields, template_plan,
};
use synthct_eval::{Dvh, DvhFigures, GammaConfig, GammaMap, GammaSummary, gamma};
use synthct_image::{Interpolation, Mask, Volume, resample};
use synthct_rt::Plan;

use super::PipelineError;

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
    /// How finely directions are divided.
    pub cones: Cones,
}

impl Default for DoseSettings {
    /// 2.5 mm, 20 mm, the generic curve and machine, the fine cones.
    fn default() -> Self {
        Self {
            spacing_mm: 2.5,
            margin_mm: 20.0,
            curve: DensityCurve::generic_120_kvp(),
            machine: Machine::generic_6mv(),
            cones: Cones::Fine,
        }
    }
}

/// What a target is to receive.
#[derive(Clone, Copy, Debug)]
pub struct Treatment<'a> {
    /// The arrangement of beams.
    pub template: Template,
    /// The target, on any grid of the patient's frame.
    pub target: &'a Mask,
    /// The mean dose of the target on the reference CT, Gy.
    pub prescription_gy: f64,
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
}

/// A plan for a target made on a CT, and its dose there.
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
    let grid = dose_grid(body, settings.spacing_mm, settings.margin_mm)?;
    let density = DensityVolume::from_ct(ct, body, &settings.curve, &grid)?;
    let target = treatment.target.resampled(&grid, None)?;
    let engine = CollapsedCone::new(&settings.machine, settings.cones);
    // Weights need no fine cones: they are an arrangement, and the scale is set by the dose itself.
    let quick = CollapsedCone::new(&settings.machine, Cones::Fast);
    let mut plan = template_plan(
        treatment.template,
        &target,
        &density,
        treatment.prescription_gy,
        &settings.machine,
        &quick,
    )?;
    let mut fields = plan_fields(&plan, &settings.machine, &grid, Template::GANTRY_STEP_DEG)?;
    let scale = treatment.prescription_gy / Dvh::new(&engine.dose(&density, &fields)?, &target)?.mean_gy();
    for beam in &mut plan.beams {
        beam.meterset_mu *= scale;
    }
    for field in &mut fields {
        field.weight *= scale;
    }
    // Computed again rather than scaled: on an equal image the fields then give the same bits.
    let dose_gy = engine.dose(&density, &fields)?;
    Ok(PlannedDose { dose_gy, plan, fields })
}

/// The dose of a plan on an image, on the grid of another dose.
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
    Ok(CollapsedCone::new(&settings.machine, settings.cones).dose(&density, &planned.fields)?)
}

/// The histogram of a dose in Gy inside a structure on a grid of its own, onto which the dose is interpolated; beyond the
/// dose's grid it is zero.
///
/// # Errors
/// [`PipelineError::Eval`] for a structure without a voxel.
pub fn structure_dvh(dose_gy: &Volume<f32>, structure: &Mask) -> Result<Dvh, PipelineError> {
    let on_structure = resample(dose_gy, structure.grid(), None, Interpolation::Linear, 0.0)?;
    Ok(Dvh::new(&on_structure, structure)?)
}

/// One structure's histograms on both images.
#[derive(Clone, Debug)]
pub struct StructureDvh {
    /// The structure's name.
    pub name: String,
    /// On the reference CT.
    pub reference: Dvh,
    /// On the synthetic CT.
    pub evaluated: Dvh,
}

/// The doses of one plan on a CT and on a synthetic CT.
#[derive(Clone, Debug)]
pub struct DoseComparison {
    /// The plan, and its dose on the CT, Gy.
    pub planned: PlannedDose,
    /// The dose on the synthetic CT, Gy, on the same grid.
    pub evaluated_gy: Volume<f32>,
    /// γ at 1 %/1 mm, 2 %/2 mm and 3 %/3 mm of the prescription from 10 % of it on.
    pub gamma: Vec<GammaMap>,
    /// The target first, then the other structures.
    pub dvh: Vec<StructureDvh>,
    /// The prescription, Gy.
    pub prescription_gy: f64,
}

/// Cut-offs of the passing rates, in percent of the prescription.
const CUTOFFS_PERCENT: [f64; 2] = [10.0, 60.0];

/// Plans on the CT, computes the dose on both images with the same body, grid, plan and monitor units, and compares.
///
/// γ is global, relative to the prescription, of the reference CT's voxels inside the body, exact to 0.002, capped at 2.
/// Histograms are taken on the structures' own grids, onto which doses are interpolated.
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
    let config = GammaConfig::global(treatment.prescription_gy, &[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]);
    let body_on_dose = body.resampled(planned.dose_gy.grid(), None)?;
    let gamma = gamma(&planned.dose_gy, &evaluated_gy, Some(&body_on_dose), &config)?;
    let target = [("target".to_owned(), treatment.target.clone())];
    let dvh = target
        .iter()
        .chain(structures)
        .map(|(name, structure)| {
            Ok(StructureDvh {
                name: name.clone(),
                reference: structure_dvh(&planned.dose_gy, structure)?,
                evaluated: structure_dvh(&evaluated_gy, structure)?,
            })
        })
        .collect::<Result<_, PipelineError>>()?;
    Ok(DoseComparison { planned, evaluated_gy, gamma, dvh, prescription_gy: treatment.prescription_gy })
}

/// The figures of a [`DoseComparison`], as `summary.json` has them.
#[derive(Clone, Debug, Serialize)]
pub struct DoseSummary {
    /// Passing rates in percent, by criterion and cut-off, such as `1/1>10`.
    pub gamma_percent: BTreeMap<String, f64>,
    /// What each passing rate is of.
    pub gamma: BTreeMap<String, GammaSummary>,
    /// The target's D98, mean and D2 on the synthetic CT less those on the CT, in percent of the prescription.
    pub dvh_percent: BTreeMap<&'static str, f64>,
    /// The figures of every structure on both images.
    pub structures: BTreeMap<String, [DvhFigures; 2]>,
    /// Cases; here one.
    pub n: usize,
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
                gamma.insert(name, map.summary_above(&self.planned.dose_gy, cutoff_gy)?);
            }
        }
        let percent = |difference_gy: f64| 100.0 * difference_gy / self.prescription_gy;
        let mut dvh_percent = BTreeMap::new();
        if let Some(target) = self.dvh.first() {
            let (ct, sct) = (target.reference.figures(), target.evaluated.figures());
            dvh_percent.insert("d98", percent(sct.d98_gy - ct.d98_gy));
            dvh_percent.insert("davg", percent(sct.mean_gy - ct.mean_gy));
            dvh_percent.insert("d2", percent(sct.d2_gy - ct.d2_gy));
        }
        Ok(DoseSummary {
            gamma_percent: gamma.iter().map(|(name, summary)| (name.clone(), summary.pass_percent)).collect(),
            gamma,
            dvh_percent,
            structures: (self.dvh.iter())
                .map(|dvh| (dvh.name.clone(), [dvh.reference.figures(), dvh.evaluated.figures()]))
                .collect(),
            n: 1,
        })
    }
}
