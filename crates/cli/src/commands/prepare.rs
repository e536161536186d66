//! `sct prepare`: raw MR/CT pairs made into a cohort.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use sct::pipeline::{
    BiasField, LinearAlignment, PrepareConfig, PrepareOutcome, PreparedCase, prepare_cohort,
};
use serde::Serialize;

use super::phantom::SiteName;
use super::{spacing_of, write_numbers};
use crate::failure;
use crate::progress::{StageBars, Ui};

/// Make a cohort of raw MR/CT pairs: aligned, on one grid, with body masks and a page to check them on
#[derive(Args)]
#[command(after_help = "Examples:\n  sct prepare --raw raw --out cohort\n  \
    sct prepare --raw raw --out cohort --site head                 axial grids of 1 mm, as SynthRAD's heads\n  \
    sct prepare --raw raw --out cohort --transform affine --n4     as the multi-task paper: affine, MR without bias field\n\n\
    The raw folder has one folder for each subject, named as the subject will be:\n  \
    raw/<ID>/mr.nii.gz, .nii, .hdr, .mha, .mhd, or a folder raw/<ID>/mr/ with one DICOM series\n  \
    raw/<ID>/ct.…                        likewise, in HU\n  \
    raw/<ID>/mask.…                      optional: the body on the MR's grid, instead of the one that is found\n  \
    raw/<ID>/initial.tfm                 optional: MR to CT points, to start from where the search fails\n\n\
    The CT is brought onto the MR; both are cut to the body and a margin. The cohort has\n  \
    cohort/<ID>/{mr,ct,mask}.nii.gz      as `sct train --data cohort` wants them\n  \
    cohort/<ID>/ct_from_mr.tfm           the transform from MR to CT points\n  \
    cohort/<ID>/{report.json,qc.html}    numbers, and pictures before and after\n  \
    cohort/qc.html                       every case at a glance: look at it before you train\n\n\
    A run that was stopped goes on where it was. A case that fails does not stop the others (exit status 3); it is tried\n\
    again by the next run. The MR is stored as it was scanned, because model packages correct and normalise it themselves;\n\
    its bias field is shown.")]
pub(crate) struct Arguments {
    /// Folder of the raw pairs, a folder for each subject
    #[arg(long, value_name = "DIR")]
    raw: PathBuf,
    /// Folder of the cohort
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Axial grids as SynthRAD has them: head 1×1×1 mm, pelvis 1×1×2.5 mm; without it each MR keeps its own grid
    #[arg(long, value_enum, conflicts_with = "spacing_mm")]
    site: Option<SiteName>,
    /// Axial grids of this spacing in mm: one number, or three for patient x, y, z
    #[arg(long, value_name = "MM", value_delimiter = ',', num_args = 1)]
    spacing_mm: Vec<f64>,
    /// What is kept around the body, mm
    #[arg(long, value_name = "MM", default_value_t = PrepareConfig::standard().margin_mm)]
    margin_mm: f64,
    /// How the CT is brought onto the MR; none if the pairs are aligned
    #[arg(long, value_enum, default_value_t = TransformName::Rigid)]
    transform: TransformName,
    /// Then deform the CT to the MR; look at the pages: a deformation can hide what a network should learn
    #[arg(long)]
    deformable: bool,
    /// Store the MR without its bias field
    #[arg(long, conflicts_with = "no_n4")]
    n4: bool,
    /// Do not look for the bias field at all
    #[arg(long)]
    no_n4: bool,
    /// Also write the numbers of all cases as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum TransformName {
    /// As the headers place them
    None,
    /// Turned and shifted
    Rigid,
    /// Turned, shifted, scaled and sheared
    Affine,
}

/// All cases, as JSON shows them.
#[derive(Serialize)]
struct Numbers<'a> {
    cases: &'a [PreparedCase],
    failed: Vec<Failure<'a>>,
}

#[derive(Serialize)]
struct Failure<'a> {
    id: &'a str,
    error: String,
}

#[expect(clippy::print_stdout, reason = "where the page is, is the command's output")]
pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let config = configuration(arguments)?;
    let mut bars = StageBars::new(ui);
    let outcome = prepare_cohort(&arguments.raw, &arguments.out, &config, &mut bars)?;
    drop(bars);
    let PrepareOutcome { cases, failed, page } = outcome;
    let n_warnings: usize = cases.iter().map(|case| case.warnings.len()).sum();
    println!(
        "{} prepared, {} failed, {n_warnings} warnings\npage   {}",
        cases.len(),
        failed.len(),
        page.display()
    );
    let failed: Vec<(String, anyhow::Error)> =
        failed.into_iter().map(|case| (case.id, anyhow::Error::new(case.error))).collect();
    let failures = failed.iter().map(|(id, error)| Failure { id, error: format!("{error:#}") }).collect();
    write_numbers(arguments.json.as_deref(), &Numbers { cases: &cases, failed: failures })?;
    for (id, error) in &failed {
        failure::show_of(id, error);
    }
    Ok(match (failed.is_empty(), cases.is_empty()) {
        (true, _) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(failure::SOME_CASES_FAILED),
        (false, true) => ExitCode::FAILURE,
    })
}

fn configuration(arguments: &Arguments) -> Result<PrepareConfig> {
    let mut config =
        arguments.site.map_or_else(PrepareConfig::standard, |site| PrepareConfig::synthrad(site.site()));
    if !arguments.spacing_mm.is_empty() {
        config.spacing_mm = Some(spacing_of(&arguments.spacing_mm)?);
    }
    config.margin_mm = arguments.margin_mm;
    config.linear = match arguments.transform {
        TransformName::None => LinearAlignment::None,
        TransformName::Rigid => LinearAlignment::Rigid,
        TransformName::Affine => LinearAlignment::Affine,
    };
    config.deformable = arguments.deformable;
    config.bias_field = match (arguments.n4, arguments.no_n4) {
        (true, _) => BiasField::Correct,
        (_, true) => BiasField::Ignore,
        _ => BiasField::Show,
    };
    Ok(config)
}
