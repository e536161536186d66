//! `sct demo`: the main job end to end on phantoms.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use sct::pipeline::{DemoConfig, demo};

use crate::device::DeviceName;
use crate::progress::{StageBars, Ui};

/// Run the main job end to end on phantoms: cohort, training, prediction, figures, report
#[derive(Args)]
#[command(after_help = "Example:\n  sct demo --out demo\n\n\
    Makes head phantoms, trains the multi-task network and two baselines on some of them, predicts the others and writes\n\
    DIR/report.html and DIR/summary.json. A demo that was stopped goes on where it was.")]
pub(crate) struct Arguments {
    /// Folder for data, models and the report
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Smallest sizes: shows that every step works, not how well it works
    #[arg(long)]
    quick: bool,
    /// What to compute on
    #[arg(long, value_enum, default_value_t = DeviceName::Auto)]
    device: DeviceName,
}

#[expect(clippy::print_stdout, reason = "where the report is, is the command's output")]
pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let config = if arguments.quick { DemoConfig::quick() } else { DemoConfig::full() };
    let device = arguments.device.device(ui)?;
    let mut bars = StageBars::new(ui);
    let outcome = demo(&config, &arguments.out, &device, &mut bars)?;
    drop(bars);
    print!("{}", outcome.table());
    println!("report   {}\nnumbers  {}", outcome.report.display(), outcome.summary.display());
    Ok(ExitCode::SUCCESS)
}
