//! The pages of a preparation: one a case, and one over all.

use std::path::Path;

use synthct_io::{read_mask, read_volume};
use synthct_report::{
    Alignment, Cell, Column, Panel, Report, Section, Table, Window, alignment_panel, bias_panel,
    centroid_lps, histogram_chart, overview_row,
};

use super::super::PipelineError;
use super::super::page::program;
use super::case::PreparedImages;
use super::{BiasField, FailedCase, LinearAlignment, PrepareConfig, PreparedCase, with_causes};

/// The HU shown from black to white.
const CT_LIMITS: (f64, f64) = (-250.0, 750.0);

/// The page of one case: pictures before and after, field, histograms, numbers, warnings.
pub(crate) fn case_page(report: &PreparedCase, images: &PreparedImages) -> Result<String, PipelineError> {
    let point = centroid_lps(&images.mask)?;
    let alignment = Alignment {
        mr: &images.mr,
        ct_before: images.ct_before.as_ref(),
        ct: &images.ct,
        body: &images.mask,
        ct_window: Window::from_limits(CT_LIMITS.0, CT_LIMITS.1)?,
    };
    let mut page = with_facts(Report::new(format!("Preparation of {}", report.id)), &report.config)
        .fact("MR", report.mr.clone())
        .fact("CT", report.ct.clone())
        .fact("grid", grid_words(report));
    if !report.warnings.is_empty() {
        page = page.section(Section::new("Warnings").list(report.warnings.clone()));
    }
    page = page.section(
        Section::new("Alignment").panel(alignment_panel(&alignment, point)?).facts(alignment_facts(report)),
    );
    let mut intensities = Section::new("Intensities");
    let mask = &images.mask;
    if let Some(bias) = &images.bias {
        intensities =
            intensities.panel(bias_panel(&bias.scanned, &bias.field, &bias.corrected, mask, point)?);
    }
    let limits = |low: f64, high: f64| -> Result<(f64, f64), PipelineError> {
        let [low, high] = Window::from_percentiles(&images.mr, mask, low, high)?.limits();
        Ok((low, high))
    };
    let mut mr_images = vec![("as scanned", images.bias.as_ref().map_or(&images.mr, |bias| &bias.scanned))];
    if let Some(bias) = &images.bias {
        mr_images.push(("corrected", &bias.corrected));
    }
    page = page.section(
        intensities
            .chart(histogram_chart(
                "The MR inside the mask: a bias field widens the peaks of tissues.",
                "MR [arbitrary units]",
                &mr_images,
                mask,
                limits(0.0, 99.5)?,
            )?)
            .chart(histogram_chart(
                "The CT inside the mask: muscle lies near 50 HU, fat near -100 HU; much air means that MR and CT are not \
                 aligned, or that the mask is too large.",
                "CT [HU]",
                &[("CT", &images.ct)],
                mask,
                (-1024.0, 1500.0),
            )?),
    );
    Ok(page.to_html())
}

/// The page over all cases: a table, and the CT's edges on each MR.
///
/// Pictures are drawn from the files of the cohort, so that they show what a training will see.
pub(crate) fn cohort_page(
    out: &Path,
    config: &PrepareConfig,
    cases: &[PreparedCase],
    failed: &[FailedCase],
) -> Result<String, PipelineError> {
    let mut page = with_facts(Report::new("Preparation of a cohort"), config)
        .fact("cases", format!("{} prepared, {} failed", cases.len(), failed.len()))
        .intro(
            "Look at every case before a training: the orange and green lines are the CT's bone and skin on the MR. The \
             names lead to each case's own page.",
        );
    if !failed.is_empty() {
        let list = failed.iter().map(|case| format!("{}: {}", case.id, with_causes(&case.error))).collect();
        page = page.section(Section::new("Failed").list(list));
    }
    let warnings: Vec<String> = (cases.iter())
        .flat_map(|case| case.warnings.iter().map(move |warning| format!("{}: {warning}", case.id)))
        .collect();
    if !warnings.is_empty() {
        page = page.section(Section::new("Warnings").list(warnings));
    }
    if cases.is_empty() {
        return Ok(page.to_html());
    }
    page = page.section(Section::new("Numbers").table(numbers_table(cases)));
    let columns = ["axial", "coronal", "sagittal"].map(str::to_owned).to_vec();
    let mut panel = Panel::new(
        "The slices through the middle of each mask. Orange: the CT's border of bone (250 HU); green: its skin (-400 HU); \
         blue: the body mask.",
        columns,
    );
    for case in cases {
        let folder = out.join(&case.id);
        let (mr, ct) = (read_volume(&folder.join("mr.nii.gz"))?, read_volume(&folder.join("ct.nii.gz"))?);
        let mask = read_mask(&folder.join("mask.nii.gz"))?;
        let alignment = Alignment {
            mr: &mr,
            ct_before: None,
            ct: &ct,
            body: &mask,
            ct_window: Window::from_limits(CT_LIMITS.0, CT_LIMITS.1)?,
        };
        panel = panel.row(case.id.clone(), &overview_row(&alignment, centroid_lps(&mask)?)?)?;
    }
    Ok(page.section(Section::new("Alignment").panel(panel)).to_html())
}

fn with_facts(page: Report, config: &PrepareConfig) -> Report {
    let linear = match config.linear {
        LinearAlignment::None => "none",
        LinearAlignment::Rigid => "rigid",
        LinearAlignment::Affine => "affine",
    };
    let deformable = if config.deformable { ", then deformable" } else { "" };
    let bias_field = match config.bias_field {
        BiasField::Ignore => "not looked for",
        BiasField::Show => "found and shown; the MR is stored as scanned",
        BiasField::Correct => "the MR is stored without it",
    };
    page.fact("program", program())
        .fact("registration", format!("{linear}{deformable}"))
        .fact("bias field", bias_field)
}

fn grid_words(report: &PreparedCase) -> String {
    let [ni, nj, nk] = report.size_ijk;
    let [si, sj, sk] = report.spacing_mm;
    format!("{ni} × {nj} × {nk} voxels of {si:.3} × {sj:.3} × {sk:.3} mm")
}

fn alignment_facts(report: &PreparedCase) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(registration) = &report.registration {
        let before = registration.nmi_before.map_or("no overlap".to_owned(), |nmi| format!("{nmi:.4}"));
        fact(
            "normalised mutual information",
            format!("{before} before, {:.4} after", registration.nmi_after),
        );
        if let Some(linear) = &registration.linear {
            fact("rotation", format!("{:.2}°", linear.rotation_deg));
            fact("shift of the body's middle", format!("{:.2} mm", linear.shift_mm));
            fact("change of volume", format!("× {:.4}", linear.volume_ratio));
        }
        if let Some(min_jacobian) = registration.min_jacobian {
            fact("smallest Jacobian determinant", format!("{min_jacobian:.3}"));
        }
        fact("compared points that lie in the CT", format!("{:.1} %", registration.overlap_percent));
    }
    fact("body covered by the CT", format!("{:.1} %", report.body.covered_by_ct_percent));
    if let Some(dice) = report.body.dice_mr_ct {
        fact("Dice coefficient of the bodies on MR and CT", format!("{dice:.3}"));
    }
    fact("mask", format!("{:.0} cm³", report.body.volume_cm3));
    facts
}

/// A column of the table, and what a case has there.
type NumberColumn = (Column, fn(&PreparedCase) -> Option<f64>);

fn numbers_table(cases: &[PreparedCase]) -> Table {
    let columns: [NumberColumn; 9] = [
        (Column::new("NMI before").unit("", 4), |case| case.registration.as_ref()?.nmi_before),
        (Column::new("after").unit("", 4), |case| Some(case.registration.as_ref()?.nmi_after)),
        (Column::new("rotation").unit("°", 2), |case| {
            Some(case.registration.as_ref()?.linear?.rotation_deg)
        }),
        (Column::new("shift").unit("mm", 2), |case| Some(case.registration.as_ref()?.linear?.shift_mm)),
        (Column::new("Jacobian").unit("smallest", 3), |case| case.registration.as_ref()?.min_jacobian),
        (Column::new("in the CT").unit("% of body", 1), |case| Some(case.body.covered_by_ct_percent)),
        (Column::new("Dice").unit("MR–CT", 3), |case| case.body.dice_mr_ct),
        (Column::new("bias field").unit("min", 2), |case| Some(case.bias_field?.min)),
        (Column::new("bias field").unit("max", 2), |case| Some(case.bias_field?.max)),
    ];
    // What no case has would only make the table wide.
    let columns: Vec<NumberColumn> =
        columns.into_iter().filter(|(_, value)| cases.iter().any(|case| value(case).is_some())).collect();
    let headings = columns.iter().map(|(column, _)| column.clone());
    let mut table = Table::new("Each case.", std::iter::once(Column::new("case")).chain(headings).collect()).note(
        "NMI: normalised mutual information of MR and CT, 1 for images that tell nothing about each other. Shift: of the \
         middle of the body. Dice: of the bodies found on MR and CT.",
    );
    for case in cases {
        let mut row =
            vec![Cell::Link { text: case.id.clone(), path: format!("{}/{}", case.id, super::PAGE) }];
        row.extend(
            columns
                .iter()
                .map(|(_, value)| value(case).map_or(Cell::Absent, |mean| Cell::Value { mean, sd: None })),
        );
        table = table.row(row);
    }
    table
}
