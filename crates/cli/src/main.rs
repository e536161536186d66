//! The `sct` command: arguments, logs, progress bars and exit codes around the library `sct`.

mod commands;
mod device;
mod failure;
mod progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{
    compare_dose, convert, demo, dose, dvh, evaluate, gamma, info, mask, n4, normalize, phantom, predict,
    prepare, register, resample, study, train,
};
use progress::Ui;

/// Training and prediction allocate a few large blocks for every operation, which the system's allocator gives back and
/// fetches anew each time; this one keeps them for a while.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// From an MR scan to a synthetic CT whose quality you can see in numbers.
///
/// Research software, not for clinical use.
#[derive(Parser)]
#[command(name = "sct", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some cases failed.\n\
    A first run:\n  sct phantom --site head --subjects 8 --seed 1 --spacing-mm 2.5 --out cohort\n  \
    sct train --data cohort --preset 3tn --out run\n  sct predict --model run --input cohort/head-0008/mr.nii.gz --out sct.nii.gz")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// No progress and no log below errors on stderr
    #[arg(long, short, global = true)]
    quiet: bool,
    /// No progress bars, but the log
    #[arg(long, global = true)]
    no_progress: bool,
    /// More detail in the log; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    Info(info::Arguments),
    Convert(convert::Arguments),
    Phantom(phantom::Arguments),
    Prepare(prepare::Arguments),
    N4(n4::Arguments),
    Normalize(normalize::Arguments),
    Register(register::Arguments),
    Resample(resample::Arguments),
    Mask(mask::Arguments),
    Train(train::Arguments),
    Predict(predict::Arguments),
    Evaluate(evaluate::Arguments),
    Dose(dose::Arguments),
    CompareDose(compare_dose::Arguments),
    Gamma(gamma::Arguments),
    Dvh(dvh::Arguments),
    Study(study::Arguments),
    Demo(demo::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.quiet, cli.no_progress, cli.verbose);
    let done = match cli.command {
        Command::Info(arguments) => info::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments, &ui),
        Command::Phantom(arguments) => phantom::run(&arguments, &ui),
        Command::Prepare(arguments) => prepare::run(&arguments, &ui),
        Command::N4(arguments) => n4::run(&arguments, &ui),
        Command::Normalize(arguments) => normalize::run(&arguments, &ui),
        Command::Register(arguments) => register::run(&arguments, &ui),
        Command::Resample(arguments) => resample::run(&arguments, &ui),
        Command::Mask(arguments) => mask::run(&arguments, &ui),
        Command::Train(arguments) => train::run(&arguments, &ui),
        Command::Predict(arguments) => predict::run(&arguments, &ui),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Dose(arguments) => dose::run(&arguments, &ui),
        Command::CompareDose(arguments) => compare_dose::run(&arguments, &ui),
        Command::Gamma(arguments) => gamma::run(&arguments),
        Command::Dvh(arguments) => dvh::run(&arguments),
        Command::Study(arguments) => study::run(&arguments, &ui),
        Command::Demo(arguments) => demo::run(&arguments, &ui),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            failure::show(&error);
            ExitCode::FAILURE
        }
    }
}
