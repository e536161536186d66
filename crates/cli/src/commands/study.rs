//! `sct study`: several methods, seeds and folds on one cohort.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use sct::pipeline::{StudyConfig, study};

use crate::device::DeviceName;
use crate::progress::{StageBars, Ui};

/// Train and compare methods on a cohort, as a study file says
#[derive(Args)]
#[command(after_help = "Examples:\n  sct study ablation.json --out ablation\n  \
    sct study ablation.json --out ablation --resume      go on after a stop or a kill, or with arms that were added\n\n\
    The study file is JSON; docs/STUDIES.md describes it. OUT/report.html has tables and pictures, OUT/summary.json every\n\
    number, OUT/<fold>/<arm>/seed-<seed>/cases/<ID> each held-out case's synthetic CT.")]
pub(crate) struct Arguments {
    /// The study file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder for everything; without it the file's name without its extension, beside it
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Go on in a folder that holds a study already; what is complete there is kept
    #[arg(long)]
    resume: bool,
    /// What to compute on
    #[arg(long, value_enum, default_value_t = DeviceName::Auto)]
    device: DeviceName,
}

#[expect(clippy::print_stdout, reason = "where the report is, is the command's output")]
pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let file = &arguments.file;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let config: StudyConfig = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is not a study file; docs/STUDIES.md describes it", file.display()))?;
    let out = arguments.out.clone().unwrap_or_else(|| file.with_extension(""));
    if !arguments.resume && out.join("study.json").exists() {
        bail!("`{}` holds a study already; go on with `--resume`, or choose another `--out`", out.display());
    }
    let base = file.parent().unwrap_or(Path::new(""));
    let device = arguments.device.device(ui)?;
    let mut bars = StageBars::new(ui);
    let outcome = study(&config, base, &out, &device, &mut bars)?;
    drop(bars);
    print!("{}", outcome.numbers.table());
    println!("report   {}\nnumbers  {}", outcome.report.display(), outcome.summary.display());
    Ok(ExitCode::SUCCESS)
}
