//! Pages: one synthetic CT against its CT, and several methods on held-out cases.

use synthct_eval::{ImageMetrics, ImageSummary, summarize};
use synthct_image::{Mask, PointLps, Volume};
use synthct_model::Case;
use synthct_report::{
    Cell, Column, Comparison, Report, ReportError, Section, Table, Window, bone_dice_chart, centroid_lps,
    comparison_panels, metrics_tables,
};

use super::{ArmResult, PipelineError};

/// The HU shown from black to white.
const HU_LIMITS: (f64, f64) = (-1000.0, 2000.0);
/// The differences shown from one end of their colours to the other.
const DIFFERENCE_LIMITS: (f64, f64) = (-800.0, 800.0);

/// The images of one case's page.
#[derive(Clone, Copy, Debug)]
pub struct CasePage<'a> {
    /// The page's heading.
    pub title: &'a str,
    /// The MR, if it is to be shown.
    pub mr: Option<&'a Volume<f32>>,
    /// The CT.
    pub ct: &'a Volume<f32>,
    /// The synthetic CT.
    pub sct: &'a Volume<f32>,
    /// The body.
    pub body: &'a Mask,
}

/// One synthetic CT against its CT as an HTML page.
///
/// # Errors
/// [`PipelineError::Report`] if the images do not share a grid or the body is empty.
pub fn case_page(page: &CasePage<'_>, metrics: &ImageMetrics) -> Result<String, PipelineError> {
    let arms = [("sCT".to_owned(), summarize(std::slice::from_ref(metrics)))];
    let mut report = Report::new(page.title).fact("program", program()).section(figures(&arms));
    let comparison = Comparison {
        mr: page.mr.map(|mr| ("MR", mr)),
        ct: page.ct,
        scts: &[("sCT", page.sct)],
        body: page.body,
        window: Window::from_limits(HU_LIMITS.0, HU_LIMITS.1)?,
        difference_window: Window::from_limits(DIFFERENCE_LIMITS.0, DIFFERENCE_LIMITS.1)?,
    };
    report = report.section(pictures("Pictures", &comparison, centroid_lps(page.body)?)?);
    if !metrics.notes.is_empty() {
        report = report.section(Section::new("Notes").list(metrics.notes.clone()));
    }
    Ok(report.to_html())
}

/// Several methods on the same held-out cases as an HTML page that ends with `more`; pictures are of the first case.
///
/// # Errors
/// [`PipelineError::Report`] if images do not share a grid or a body is empty.
pub fn comparison_page(
    title: &str,
    facts: &[(&str, String)],
    cases: &[Case],
    arms: &[ArmResult],
    more: Vec<Section>,
) -> Result<String, PipelineError> {
    let summaries: Vec<(String, ImageSummary)> =
        arms.iter().map(|arm| (arm.name.clone(), arm.summary.clone())).collect();
    let mut report = Report::new(title).fact("program", program());
    for (name, value) in facts {
        report = report.fact(*name, value.clone());
    }
    report = report.section(figures(&summaries)).section(case_table(arms));
    if let Some(case) = cases.first() {
        let scts: Vec<(&str, &Volume<f32>)> =
            arms.iter().filter_map(|arm| Some((arm.name.as_str(), &arm.cases.first()?.sct))).collect();
        report = report.section(pictures_of_case(&format!("Pictures of {}", case.id), case, &scts)?);
    }
    Ok(more.into_iter().fold(report, Report::section).to_html())
}

/// This program and its version.
pub(super) fn program() -> String {
    format!("synthct {}", env!("CARGO_PKG_VERSION"))
}

/// A case's MR, CT and synthetic CTs with their differences.
pub(super) fn pictures_of_case(
    heading: &str,
    case: &Case,
    scts: &[(&str, &Volume<f32>)],
) -> Result<Section, ReportError> {
    let comparison = Comparison {
        mr: case.mr.first().map(|mr| ("MR", mr)),
        ct: &case.ct,
        scts,
        body: &case.body,
        window: Window::from_limits(HU_LIMITS.0, HU_LIMITS.1)?,
        difference_window: Window::from_limits(DIFFERENCE_LIMITS.0, DIFFERENCE_LIMITS.1)?,
    };
    pictures(heading, &comparison, centroid_lps(&case.body)?)
}

pub(super) fn figures(arms: &[(String, ImageSummary)]) -> Section {
    let mut section = Section::new("Figures");
    for table in metrics_tables(arms) {
        section = section.table(table);
    }
    section.chart(bone_dice_chart(arms))
}

/// Every case's main figures, a row a case and arm.
fn case_table(arms: &[ArmResult]) -> Section {
    let columns = vec![
        Column::new("case"),
        Column::new("arm"),
        Column::new("MAE body").unit("HU", 1),
        Column::new("MAE bone").unit("HU", 1),
        Column::new("Dice bone").unit("", 3),
    ];
    let value = |value: Option<f64>| value.map_or(Cell::Absent, |mean| Cell::Value { mean, sd: None });
    let mut table = Table::new("Each held-out case.", columns);
    for arm in arms {
        for case in &arm.cases {
            table = table.row(vec![
                Cell::Text(case.id.clone()),
                Cell::Text(arm.name.clone()),
                value(case.metrics.mae_hu.body),
                value(case.metrics.mae_hu.bone),
                value(case.metrics.dice.bone),
            ]);
        }
    }
    Section::new("Cases").table(table)
}

fn pictures(heading: &str, comparison: &Comparison<'_>, point: PointLps) -> Result<Section, ReportError> {
    let panels = comparison_panels(comparison, point)?;
    Ok(panels.into_iter().fold(Section::new(heading), Section::panel))
}
