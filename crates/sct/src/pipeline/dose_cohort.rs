//! One plan for each held-out case, and its dose on the CT and on every method's synthetic CT.

mod store;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use synthct_dose::{TargetDose, Template};
use synthct_eval::{MeanSd, PairedTests, paired_tests};
use synthct_image::{Mask, Volume};
use synthct_model::Case;

use super::{
    ArmResult, Arrangement, DoseComparison, DoseSettings, DoseSummary, Observer, PipelineError, PlanFigures,
    Treatment, compared_doses, planned_dose, recomputed_dose,
};

/// What one case is to receive, and whose doses are compared.
#[derive(Clone, Debug)]
pub struct CaseTreatment {
    /// The arrangement of beams.
    pub template: Template,
    /// The target.
    pub target: Mask,
    /// What it is, in words.
    pub target_is: String,
    /// What it is to receive, Gy.
    pub prescription_gy: f64,
    /// A part of the target that is to receive more, and how much, Gy.
    pub boost: Option<(Mask, f64)>,
    /// Other structures by name.
    pub organs: Vec<(String, Mask)>,
}

impl CaseTreatment {
    fn treatment(&self) -> Treatment<'_> {
        let boost = self.boost.as_ref();
        Treatment {
            arrangement: Arrangement::Template(self.template),
            target: &self.target,
            prescription_gy: self.prescription_gy,
            boost: boost.map(|(target, dose_gy)| TargetDose { target, dose_gy: *dose_gy }),
        }
    }
}

/// The doses of several methods on the same held-out cases.
#[derive(Clone, Debug)]
pub struct CohortDoses {
    /// One a method, in the order of the methods.
    pub arms: Vec<DoseArm>,
    /// Paired tests between every two methods.
    pub tests: Vec<DoseTest>,
    /// The first case, to be shown.
    pub shown: Option<ShownCase>,
}

/// One method's doses.
#[derive(Clone, Debug)]
pub struct DoseArm {
    /// The method's name.
    pub name: String,
    /// The figures of each case by its name.
    pub cases: Vec<(String, DoseSummary)>,
    /// Mean and standard deviation over the cases.
    pub summary: DoseCohortSummary,
}

/// The doses of one case in full.
#[derive(Clone, Debug)]
pub struct ShownCase {
    /// The case's name.
    pub id: String,
    /// Its treatment.
    pub treatment: CaseTreatment,
    /// One comparison a method.
    pub comparisons: Vec<DoseComparison>,
}

/// The figures of a [`DoseSummary`] over the cases that have them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DoseCohortSummary {
    /// Passing rates in percent, by criterion and cut-off, such as `1/1>10`.
    pub gamma_percent: BTreeMap<String, MeanSd>,
    /// The target's differences, sCT − CT, in percent of its prescription.
    pub dvh_percent: BTreeMap<String, MeanSd>,
    /// The boost's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub boost_dvh_percent: BTreeMap<String, MeanSd>,
    /// The other structures', in percent of the highest prescription.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub organs_dvh_percent: BTreeMap<String, BTreeMap<String, MeanSd>>,
    /// The challenge's `mae_dose` (a fraction of the prescription) and `dvh`.
    pub synthrad_dose: BTreeMap<String, MeanSd>,
}

/// Whether two methods differ in a figure of dose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DoseTest {
    /// The figure.
    pub figure: String,
    /// The first method.
    pub first: String,
    /// The second method.
    pub second: String,
    /// The tests of first − second.
    #[serde(flatten)]
    pub tests: PairedTests,
}

/// Plans each case on its CT, computes the plan's dose there and on every method's synthetic CT, and compares.
///
/// The doses of a case are kept in a folder of its name below `out`, written aside and renamed, and are not computed again
/// for the same images, treatment and settings. `treatments` are in the order of the cases.
///
/// # Grid
/// Synthetic CTs are on the grid of their case.
///
/// # Errors
/// [`PipelineError::Stopped`] if the observer asked for it, else the error of the step that failed.
pub fn cohort_doses(
    cases: &[Case],
    treatments: &[CaseTreatment],
    arms: &[ArmResult],
    settings: &DoseSettings,
    out: &Path,
    observer: &mut dyn Observer,
) -> Result<CohortDoses, PipelineError> {
    observer.stage("dose", Some(cases.len()));
    let mut of_arms: Vec<Vec<(String, DoseSummary)>> = vec![Vec::new(); arms.len()];
    let mut shown = None;
    for (n, (case, treatment)) in std::iter::zip(cases, treatments).enumerate() {
        let scts: Vec<(&str, &Volume<f32>)> =
            (arms.iter()).filter_map(|arm| Some((arm.name.as_str(), &arm.cases.get(n)?.sct))).collect();
        let doses = case_doses(case, treatment, &scts, settings, &out.join(&case.id))?;
        let mut comparisons = Vec::new();
        for (evaluated_gy, figures) in std::iter::zip(doses.evaluated_gy, &mut of_arms) {
            let comparison = compared_doses(
                doses.plan.clone(),
                doses.reference_gy.clone(),
                evaluated_gy,
                None,
                &case.body,
                &treatment.treatment(),
                &treatment.organs,
            )?;
            figures.push((case.id.clone(), comparison.summary()?));
            if n == 0 {
                comparisons.push(comparison);
            }
        }
        if n == 0 {
            shown = Some(ShownCase { id: case.id.clone(), treatment: treatment.clone(), comparisons });
        }
        if observer.done(1).is_break() {
            return Err(PipelineError::Stopped);
        }
    }
    let arms: Vec<DoseArm> = std::iter::zip(arms, of_arms)
        .map(|(arm, cases)| DoseArm {
            name: arm.name.clone(),
            summary: summarize(cases.iter().map(|(_, summary)| summary)),
            cases,
        })
        .collect();
    let tests = tests(&arms);
    Ok(CohortDoses { arms, tests, shown })
}

/// A plan and its doses.
struct CaseDoses {
    plan: PlanFigures,
    reference_gy: Volume<f32>,
    /// In the order of the methods.
    evaluated_gy: Vec<Volume<f32>>,
}

fn case_doses(
    case: &Case,
    treatment: &CaseTreatment,
    scts: &[(&str, &Volume<f32>)],
    settings: &DoseSettings,
    folder: &Path,
) -> Result<CaseDoses, PipelineError> {
    let inputs = store::fingerprint(case, treatment, scts, settings);
    let names: Vec<&str> = scts.iter().map(|(name, _)| *name).collect();
    if let Some(doses) = store::load(folder, &inputs, &names)? {
        return Ok(doses);
    }
    let planned = planned_dose(&case.ct, &case.body, &treatment.treatment(), settings)?;
    let evaluated_gy = (scts.iter())
        .map(|(_, sct)| {
            case.body.grid().require_match(sct.grid())?;
            recomputed_dose(sct, &case.body, &planned, settings)
        })
        .collect::<Result<_, PipelineError>>()?;
    let doses =
        CaseDoses { plan: PlanFigures::new(&planned.plan), reference_gy: planned.dose_gy, evaluated_gy };
    store::save(folder, &inputs, &names, &doses)?;
    Ok(doses)
}

fn summarize<'a>(cases: impl Iterator<Item = &'a DoseSummary>) -> DoseCohortSummary {
    let mut all: BTreeMap<[String; 3], Vec<f64>> = BTreeMap::new();
    for case in cases {
        for (path, value) in figures(case) {
            all.entry(path).or_default().push(value);
        }
    }
    let mut summary = DoseCohortSummary::default();
    for ([group, of, figure], values) in all {
        let Some(value) = MeanSd::of(&values) else { continue };
        let into = match group.as_str() {
            "gamma" => &mut summary.gamma_percent,
            "target" => &mut summary.dvh_percent,
            "boost" => &mut summary.boost_dvh_percent,
            "organ" => summary.organs_dvh_percent.entry(of).or_default(),
            _ => &mut summary.synthrad_dose,
        };
        into.insert(figure, value);
    }
    summary
}

/// Every figure of a case: its group, the structure it is of, and its name.
fn figures(case: &DoseSummary) -> Vec<([String; 3], f64)> {
    let path = |group: &str, of: &str, figure: &str| [group, of, figure].map(str::to_owned);
    let mut all = Vec::new();
    all.extend(case.gamma_percent.iter().map(|(name, &value)| (path("gamma", "", name), value)));
    all.extend(case.dvh_percent.iter().map(|(name, &value)| (path("target", "", name), value)));
    all.extend(case.boost_dvh_percent.iter().map(|(name, &value)| (path("boost", "", name), value)));
    for (organ, differences) in &case.organs_dvh_percent {
        all.extend(differences.iter().map(|(name, &value)| (path("organ", organ, name), value)));
    }
    let synthrad = &case.synthrad_dose;
    let challenge = [("mae_dose", synthrad.mae_dose), ("dvh", synthrad.dvh.as_ref().map(|dvh| dvh.value))];
    all.extend(challenge.into_iter().filter_map(|(name, value)| Some((path("synthrad", "", name), value?))));
    all
}

/// Paired tests of the main figures between every two methods.
fn tests(arms: &[DoseArm]) -> Vec<DoseTest> {
    type Pick = fn(&DoseSummary) -> Option<f64>;
    const FIGURES: [(&str, Pick); 6] = [
        ("γ 1/1>10 (%)", |case| case.gamma_percent.get("1/1>10").copied()),
        ("γ 1/1>60 (%)", |case| case.gamma_percent.get("1/1>60").copied()),
        ("γ 2/2>10 (%)", |case| case.gamma_percent.get("2/2>10").copied()),
        ("|Δ D_avg| of the target (%)", |case| case.dvh_percent.get("davg").map(|d| d.abs())),
        ("|Δ D98| of the target (%)", |case| case.dvh_percent.get("d98").map(|d| d.abs())),
        ("SynthRAD DVH", |case| case.synthrad_dose.dvh.as_ref().map(|dvh| dvh.value)),
    ];
    let mut tests = Vec::new();
    for (n, first) in arms.iter().enumerate() {
        for second in &arms[n + 1..] {
            for (figure, pick) in FIGURES {
                // A case counts if both have the figure.
                let pairs = std::iter::zip(&first.cases, &second.cases)
                    .filter_map(|((_, a), (_, b))| Some((pick(a)?, pick(b)?)));
                let (a, b): (Vec<f64>, Vec<f64>) = pairs.unzip();
                tests.extend(paired_tests(&a, &b).map(|tests| DoseTest {
                    figure: figure.to_owned(),
                    first: first.name.clone(),
                    second: second.name.clone(),
                    tests,
                }));
            }
        }
    }
    tests
}
