//! The sections that show what several methods' synthetic CTs do to doses.

use std::collections::BTreeMap;

use synthct_eval::MeanSd;
use synthct_model::Case;
use synthct_report::{Better, Cell, Column, Plane, Section, Table, centroid_lps};

use super::dose_page::{PictureRow, conditions, dose_panel, histograms};
use super::{ArmResult, CohortDoses, DoseCohortSummary, DoseSettings, PipelineError, ShownCase};

/// The differences of histograms that are shown, and their names.
const DIFFERENCES: [(&str, &str); 5] =
    [("d98", "D98"), ("d95", "D95"), ("d50", "D50"), ("davg", "mean"), ("d2", "D2")];

/// Tables over the cohort, tests between the methods, and the first case in pictures, for [`comparison_page`].
///
/// # Errors
/// [`PipelineError::Report`], [`PipelineError::Eval`].
///
/// [`comparison_page`]: super::comparison_page
pub fn cohort_dose_sections(
    doses: &CohortDoses,
    cases: &[Case],
    arms: &[ArmResult],
    settings: &DoseSettings,
) -> Result<Vec<Section>, PipelineError> {
    let mut sections = vec![figures(doses), tests(doses)];
    if let (Some(shown), Some(case)) = (&doses.shown, cases.first()) {
        sections.push(case_in_pictures(shown, case, arms)?);
        if let Some(comparison) = shown.comparisons.first() {
            sections.push(conditions(comparison, settings));
        }
    }
    Ok(sections)
}

fn figures(doses: &CohortDoses) -> Section {
    let mut section = Section::new("Dose");
    if let Some(shown) = &doses.shown {
        let treatment = &shown.treatment;
        let boost =
            treatment.boost.as_ref().map_or(String::new(), |(_, gy)| format!(", {gy} Gy in the boost"));
        section = section.paragraph(format!(
            "A {} plan of {} Gy{boost} is made and normalised on each held-out CT and computed unchanged on every method's sCT: \
             same body, dose grid, beams and monitor units. The target is {}.",
            treatment.template.name(),
            treatment.prescription_gy,
            treatment.target_is
        ));
    }
    section = section
        .table(by_arm(
            doses,
            "Gamma passing rate",
            "Global, in % of the highest prescription, on the CT's dose inside the body; γ by exact search, 2 at most. Names are \
             dose difference in % / distance in mm > cut-off in % of the prescription. Mean ± SD over the cases.",
            |summary| &summary.gamma_percent,
            &gamma_columns(doses),
            "%",
            2,
            Better::Higher,
        ))
        .table(by_arm(
            doses,
            "Target: dose on the sCT less dose on the CT",
            "In % of the prescription. Mean ± SD over the cases.",
            |summary| &summary.dvh_percent,
            &DIFFERENCES.map(|(key, name)| (key.to_owned(), name.to_owned())),
            "%",
            2,
            Better::NearZero,
        ));
    if doses.arms.iter().any(|arm| !arm.summary.boost_dvh_percent.is_empty()) {
        section = section.table(by_arm(
            doses,
            "Boost: dose on the sCT less dose on the CT",
            "In % of its own prescription. The target's figures are those of what lies around the boost.",
            |summary| &summary.boost_dvh_percent,
            &DIFFERENCES.map(|(key, name)| (key.to_owned(), name.to_owned())),
            "%",
            2,
            Better::NearZero,
        ));
    }
    section.table(organs(doses)).table(by_arm(
        doses,
        "SynthRAD dose figures",
        "Dose MAE: mean |ΔD| where the CT has 90 % of the prescription, as a fraction of it. DVH: |ΔD98|/D98 + |ΔCI|/CI of the \
         target + mean |ΔD2|/D2 + mean |ΔDmean|/Dmean of the three structures with most dose; CI is Paddick's at 95 %.",
        |summary| &summary.synthrad_dose,
        &[("mae_dose", "dose MAE"), ("dvh", "DVH")].map(|(key, name)| (key.to_owned(), name.to_owned())),
        "",
        4,
        Better::Lower,
    ))
}

/// The passing rates that there are.
fn gamma_columns(doses: &CohortDoses) -> Vec<(String, String)> {
    let names = doses.arms.first().map(|arm| arm.summary.gamma_percent.keys().cloned().collect::<Vec<_>>());
    names.unwrap_or_default().into_iter().map(|name| (name.clone(), name)).collect()
}

#[expect(clippy::too_many_arguments, reason = "each is one thing about a table")]
fn by_arm(
    doses: &CohortDoses,
    title: &str,
    note: &str,
    pick: fn(&DoseCohortSummary) -> &BTreeMap<String, MeanSd>,
    figures: &[(String, String)],
    unit: &str,
    decimals: usize,
    better: Better,
) -> Table {
    let mut columns = vec![Column::new("arm")];
    columns.extend(figures.iter().map(|(_, name)| Column::new(name).unit(unit, decimals).better(better)));
    columns.push(Column::new("n").unit("cases", 0));
    let mut table = Table::new(title, columns).note(note);
    for arm in &doses.arms {
        let mut row = vec![Cell::Text(arm.name.clone())];
        row.extend(figures.iter().map(|(key, _)| cell(pick(&arm.summary).get(key))));
        row.push(Cell::Count(arm.cases.len()));
        table = table.row(row);
    }
    table
}

fn cell(value: Option<&MeanSd>) -> Cell {
    value.map_or(Cell::Absent, |value| Cell::Value { mean: value.mean, sd: value.sd })
}

fn organs(doses: &CohortDoses) -> Table {
    let mut columns = vec![Column::new("structure"), Column::new("arm")];
    columns.extend(["mean", "D2"].map(|name| Column::new(name).unit("%", 2)));
    let mut table = Table::new("Other structures: dose on the sCT less dose on the CT", columns)
        .note("In % of the highest prescription. Mean ± SD over the cases.");
    let names = doses.arms.first().map(|arm| arm.summary.organs_dvh_percent.keys().collect::<Vec<_>>());
    for organ in names.unwrap_or_default() {
        for arm in &doses.arms {
            let figures = arm.summary.organs_dvh_percent.get(organ);
            let of = |name: &str| cell(figures.and_then(|figures| figures.get(name)));
            table = table.row(vec![
                Cell::Text(organ.clone()),
                Cell::Text(arm.name.clone()),
                of("davg"),
                of("d2"),
            ]);
        }
    }
    table
}

fn tests(doses: &CohortDoses) -> Section {
    let columns = vec![
        Column::new("figure"),
        Column::new("methods"),
        Column::new("first − second").unit("", 4),
        Column::new("normality").unit("Shapiro–Wilk p", 3),
        Column::new("t-test").unit("paired, p", 4),
        Column::new("signed rank").unit("Wilcoxon p", 4),
    ];
    let n = doses.arms.first().map_or(0, |arm| arm.cases.len());
    let mut table = Table::new(format!("Paired tests on {n} case(s)"), columns).note(
        "Two-sided, not corrected for the number of tests. The t-test is left out where normality is rejected at 5 % or could not \
         be tested. Few cases cannot show a difference: the smallest p of the signed-rank test is 0.25 for 3 and 0.031 for 6.",
    );
    let value = |value: Option<f64>| value.map_or(Cell::Absent, |mean| Cell::Value { mean, sd: None });
    for test in &doses.tests {
        table = table.row(vec![
            Cell::Text(test.figure.clone()),
            Cell::Text(format!("{} − {}", test.first, test.second)),
            cell(Some(&test.tests.difference)),
            value(test.tests.normality_p),
            value(test.tests.t_p),
            value(test.tests.wilcoxon_p),
        ]);
    }
    Section::new("Do the methods differ?").table(table)
}

fn case_in_pictures(shown: &ShownCase, case: &Case, arms: &[ArmResult]) -> Result<Section, PipelineError> {
    let point = centroid_lps(&shown.treatment.target)?;
    let row = |n: usize, plane: Plane, title: &str| {
        let (comparison, sct) = (shown.comparisons.get(n)?, &arms.get(n)?.cases.first()?.sct);
        Some(PictureRow { title: title.to_owned(), comparison, sct, plane })
    };
    let methods: Vec<_> =
        arms.iter().enumerate().filter_map(|(n, arm)| row(n, Plane::Axial, &arm.name)).collect();
    let mut section = Section::new(format!("Doses of {}", shown.id)).panel(dose_panel(
        "Axial slices of every method",
        &methods,
        &case.ct,
        point,
    )?);
    if let (Some(arm), Some(comparison)) = (arms.first(), shown.comparisons.first()) {
        let others: Vec<_> = [Plane::Coronal, Plane::Sagittal]
            .into_iter()
            .filter_map(|plane| row(0, plane, &plane.to_string()))
            .collect();
        section = section
            .panel(dose_panel(&format!("Other slices of {}", arm.name), &others, &case.ct, point)?)
            .paragraph(format!("Histograms on the CT and on the sCT of {}.", arm.name))
            .chart(histograms(comparison));
    }
    Ok(section)
}
