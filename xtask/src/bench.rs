//! `cargo xtask bench`: our criterion benchmarks, or ours beside a peer's in one run.

mod comparisons;
mod growth;
mod measurement;
mod peer;
mod report;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

/// What to measure.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Time ours and the peer's side by side instead of running the criterion benchmarks
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// The Python that has the peer
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Threads on either side
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// Only comparisons whose name holds this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Small images and few steps: shows that it works; the ratios mean little
    #[arg(long)]
    quick: bool,
    /// Start every measured program through this one: `nice`, or a lock that keeps others away meanwhile
    #[arg(long, value_name = "PROGRAM")]
    through: Option<PathBuf>,
    /// Put the tables into docs/BENCHMARKS.md
    #[arg(long, requires = "peer", conflicts_with = "quick")]
    write: bool,
    /// Check that memory does not grow over 200 training steps instead; with a peer, see how its does
    #[arg(long, conflicts_with = "write")]
    growth: bool,
    /// Passed on to `cargo bench`, for example `-p synthct-nn`
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    passed_on: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Peer {
    /// PyTorch: the scripts in xtask/peers
    Torch,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.growth {
        return growth::run(arguments);
    }
    match arguments.peer {
        Some(Peer::Torch) => peer::run(arguments),
        None => crate::on_packages("bench", &arguments.passed_on),
    }
}
