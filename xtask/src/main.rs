//! The project runner: `cargo xtask demo`, `cargo xtask test` and what keeps the house in order.

mod bench;
mod cuda_check;
mod generated;
mod layers;
mod process;
mod tidy;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use process::{cargo, step};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Runs, tests, checks and publishes synthct")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the main job end to end on phantoms and write a report to look at
    Demo {
        /// Smallest sizes: shows that every step works, not how well it works
        #[arg(long)]
        quick: bool,
        /// Folder for data, models and the report; a run that was stopped there is resumed
        #[arg(long, default_value = "target/demo")]
        out: PathBuf,
    },
    /// `sct train` in a release build, with CUDA where there is an NVIDIA GPU; it says what it computes on
    Train {
        /// Passed on to `sct train`, for example `--data cohort --preset 3tn --out run`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// `sct study` in the same way
    Study {
        /// Passed on to `sct study`, for example `ablation.json --resume`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run every test of the workspace; tests on real data run when SCT_TEST_DATA names their folder
    Test {
        /// Passed on to `cargo test`, for example `-p synthct-io`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Everything a change must pass: format, lints, docs, tidy, tests, quick demo
    Ci,
    /// Lint the CUDA path; needs neither a GPU nor NVIDIA's software
    CheckCuda,
    /// Check the layers, the dependencies and the documents against the code
    Tidy {
        /// Rewrite the generated tables instead of only comparing them
        #[arg(long)]
        write: bool,
    },
    /// Run the criterion benchmarks, or ours beside PyTorch's
    Bench(bench::Arguments),
    /// Package and verify every crate, in the order of the layers
    Publish {
        /// Stop before the upload
        #[arg(long)]
        dry_run: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Demo { quick, out } => demo(quick, &out),
        Command::Train { arguments } => sct("train", &arguments),
        Command::Study { arguments } => sct("study", &arguments),
        Command::Test { arguments } => test(&arguments),
        Command::Ci => ci(),
        Command::CheckCuda => cuda_check::run(),
        Command::Tidy { write } => tidy::run(write),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Publish { dry_run } => {
            let publish = cargo(&["publish", "--workspace"]);
            if dry_run { publish.args(["--dry-run"]).run() } else { publish.run() }
        }
    }
}

/// Runs a command of the program in a release build.
fn sct(command: &str, arguments: &[String]) -> Result<()> {
    let mut run = cargo(&["run", "--release", "--package", "synthct-cli", "--bin", "sct"]);
    if has_gpu() {
        run = run.args(["--features", "cudnn"]);
    }
    run.args(["--", command]).args(arguments).run()
}

/// Whether NVIDIA's driver finds a GPU.
fn has_gpu() -> bool {
    std::process::Command::new("nvidia-smi")
        .arg("-L")
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"GPU "))
}

fn demo(quick: bool, out: &std::path::Path) -> Result<()> {
    let mut command =
        cargo(&["run", "--quiet", "--package", "synthct-cli", "--bin", "sct", "--", "demo", "--out"])
            .args([out]);
    if quick {
        command = command.args(["--quick"]);
    }
    command.run()
}

#[expect(clippy::print_stderr, reason = "cargo hides what passing tests print, so skipping is said here")]
fn test(arguments: &[String]) -> Result<()> {
    if std::env::var_os("SCT_TEST_DATA").is_none_or(|data| data.is_empty()) {
        eprintln!("skipped: tests on real images, since SCT_TEST_DATA does not name their folder");
    }
    on_packages("test", arguments)
}

/// A cargo command on the packages that the arguments choose, or on all without arguments.
fn on_packages(command: &str, arguments: &[String]) -> Result<()> {
    let selection: &[&str] = if arguments.is_empty() { &["--workspace"] } else { &[] };
    cargo(&[command]).args(selection).args(arguments).run()
}

#[expect(clippy::print_stderr, reason = "a step that is skipped says so")]
fn ci() -> Result<()> {
    step("format", || cargo(&["fmt", "--all", "--check"]).run())?;
    step("lints", || cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]).run())?;
    if cfg!(unix) {
        step("CUDA lints", cuda_check::run)?;
    } else {
        eprintln!("skipped: CUDA lints, since the stand-in for NVIDIA's compiler is a shell script");
    }
    step("documentation", || {
        cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "--deny warnings").run()
    })?;
    step("tidy", || tidy::run(false))?;
    step("tests", || test(&[]))?;
    step("quick demo", || demo(true, std::path::Path::new("target/demo-quick")))
}
