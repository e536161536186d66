//! A study's page.

use synthct_eval::ImageSummary;
use synthct_image::Volume;
use synthct_model::Case;
use synthct_report::{Cell, Column, LineChart, Report, Section, Series, Table};

use super::{Fold, Pictures, StudyCase, StudyConfig, StudySummary};
use crate::pipeline::PipelineError;
use crate::pipeline::page::{figures, pictures_of_case, program};

/// The page of a study.
pub(super) fn study_page(
    config: &StudyConfig,
    cohort: &[StudyCase],
    folds: &[Fold],
    numbers: &StudySummary,
    pictures: Option<&Pictures>,
) -> Result<String, PipelineError> {
    let arms: Vec<(String, ImageSummary)> =
        config.arms.iter().map(|arm| (arm.name.clone(), numbers.arms[&arm.name].clone())).collect();
    let sizes: Vec<String> = folds
        .iter()
        .map(|fold| {
            let [train, validation, test] = [&fold.train, &fold.validation, &fold.test].map(Vec::len);
            format!("{}: {train} / {validation} / {test}", fold.name)
        })
        .collect();
    let seeds: Vec<String> = config.seeds.iter().map(u64::to_string).collect();
    let mut report = Report::new(config.title.as_str())
        .fact("program", program())
        .fact(
            "cases",
            format!("{}, by fold for training / validation / test: {}", cohort.len(), sizes.join("; ")),
        )
        .fact("seeds", seeds.join(", "));
    for (arm, computed_on) in &numbers.computed_on {
        report = report.fact(format!("{arm} computed on"), computed_on.clone());
    }
    let mut section = figures(&arms);
    section = section.paragraph(
        "Means and standard deviations are over the held-out cases; a case's value is its mean over the seeds.",
    );
    report = report.section(section);
    if !numbers.comparisons.is_empty() {
        report = report.section(Section::new("Paired differences").table(comparison_table(numbers)));
    }
    if config.seeds.len() > 1 {
        report = report.section(Section::new("Seeds").table(seed_table(config, numbers)));
    }
    if config.cohorts.len() > 1 {
        report = report.section(Section::new("Groups").table(group_table(config, numbers)));
    }
    if !numbers.reliability.is_empty() {
        report = report.section(reliability_section(numbers));
    }
    report = report.section(Section::new("Cases").table(case_table(numbers)));
    if let Some(Pictures { case, scts }) = pictures {
        report = report.section(picture_section(config, case, scts)?);
    }
    Ok(report.to_html())
}

fn value(value: Option<f64>) -> Cell {
    value.map_or(Cell::Absent, |mean| Cell::Value { mean, sd: None })
}

fn comparison_table(numbers: &StudySummary) -> Table {
    let columns = vec![
        Column::new("arms"),
        Column::new("figure"),
        Column::new("difference").unit("mean ± SD", 4),
        Column::new("first is smaller").unit("cases", 0),
        Column::new("n").unit("cases", 0),
    ];
    let mut table = Table::new("First arm − second arm on the same cases.", columns);
    for comparison in &numbers.comparisons {
        table = table.row(vec![
            Cell::Text(format!("{} − {}", comparison.first, comparison.second)),
            Cell::Text(comparison.figure.clone()),
            Cell::Value { mean: comparison.difference.mean, sd: comparison.difference.sd },
            Cell::Count(comparison.n_first_smaller),
            Cell::Count(comparison.difference.n),
        ]);
    }
    table
}

/// The main figures' columns.
fn main_columns(names: [&str; 2]) -> Vec<Column> {
    vec![
        Column::new(names[0]),
        Column::new(names[1]),
        Column::new("MAE body").unit("HU", 1),
        Column::new("MAE bone").unit("HU", 1),
        Column::new("MAE soft tissue").unit("HU", 1),
        Column::new("MAE air").unit("HU", 1),
        Column::new("Dice bone").unit("", 3),
    ]
}

fn main_row(names: [String; 2], summary: &ImageSummary) -> Vec<Cell> {
    let of = |value: &Option<synthct_eval::MeanSd>| {
        value.map_or(Cell::Absent, |value| Cell::Value { mean: value.mean, sd: value.sd })
    };
    let mae = &summary.mae_hu;
    let figures = [of(&mae.body), of(&mae.bone), of(&mae.soft_tissue), of(&mae.air), of(&summary.dice.bone)];
    names.into_iter().map(Cell::Text).chain(figures).collect()
}

fn seed_table(config: &StudyConfig, numbers: &StudySummary) -> Table {
    let mut table = Table::new("Each seed, over the held-out cases.", main_columns(["arm", "seed"]));
    for arm in &config.arms {
        for (seed, summary) in &numbers.by_seed[&arm.name] {
            table = table.row(main_row([arm.name.clone(), seed.to_string()], summary));
        }
    }
    table
}

fn group_table(config: &StudyConfig, numbers: &StudySummary) -> Table {
    let mut table = Table::new("Each group, over its held-out cases.", main_columns(["arm", "group"]));
    for arm in &config.arms {
        for (group, summary) in &numbers.by_group[&arm.name] {
            table = table.row(main_row([arm.name.clone(), group.clone()], summary));
        }
    }
    table
}

fn reliability_section(numbers: &StudySummary) -> Section {
    let columns = vec![
        Column::new("arm"),
        Column::new("voxels").unit("", 0),
        Column::new("uncertainty").unit("HU", 1),
        Column::new("error, root mean square").unit("HU", 1),
        Column::new("error, mean absolute").unit("HU", 1),
    ];
    let mut table = Table::new("Errors by uncertainty, from the least to the most uncertain tenth.", columns)
        .note("An uncertainty is calibrated where it is as large as the root mean square of the errors.");
    let mut chart = LineChart::new(
        "Errors against the uncertainty that was predicted for them.",
        "uncertainty [HU]",
        "root-mean-square error [HU]",
    );
    let mut largest = 0.0_f64;
    for (arm, reliability) in &numbers.reliability {
        for bin in &reliability.bins {
            table = table.row(vec![
                Cell::Text(arm.clone()),
                Cell::Count(bin.n),
                value(Some(bin.uncertainty_hu)),
                value(Some(bin.rms_error_hu)),
                value(Some(bin.mae_hu)),
            ]);
            largest = largest.max(bin.uncertainty_hu);
        }
        let points = reliability.bins.iter().map(|bin| (bin.uncertainty_hu, bin.rms_error_hu)).collect();
        chart = chart.series(Series::new(arm.clone(), points));
    }
    chart = chart.series(Series::new("calibrated", vec![(0.0, 0.0), (largest, largest)]));
    Section::new("Uncertainty").table(table).chart(chart)
}

fn case_table(numbers: &StudySummary) -> Table {
    let columns = vec![
        Column::new("case"),
        Column::new("arm"),
        Column::new("seed"),
        Column::new("MAE body").unit("HU", 1),
        Column::new("MAE bone").unit("HU", 1),
        Column::new("MAE soft tissue").unit("HU", 1),
        Column::new("MAE air").unit("HU", 1),
        Column::new("Dice bone").unit("", 3),
        Column::new("SSIM").unit("2023", 4),
    ];
    let mut table = Table::new("Each held-out case with each arm and seed.", columns);
    for record in &numbers.cases {
        let metrics = &record.record.metrics;
        let mae = &metrics.mae_hu;
        table = table.row(vec![
            Cell::Text(record.id.clone()),
            Cell::Text(record.arm.clone()),
            Cell::Text(record.seed.to_string()),
            value(mae.body),
            value(mae.bone),
            value(mae.soft_tissue),
            value(mae.air),
            value(metrics.dice.bone),
            value(metrics.ssim),
        ]);
    }
    table
}

fn picture_section(
    config: &StudyConfig,
    case: &Case,
    scts: &[(String, Volume<f32>)],
) -> Result<Section, PipelineError> {
    let scts: Vec<(&str, &Volume<f32>)> = scts.iter().map(|(name, sct)| (name.as_str(), sct)).collect();
    let heading = format!("Pictures of {}, seed {}", case.id, config.seeds[0]);
    Ok(pictures_of_case(&heading, case, &scts)?)
}
