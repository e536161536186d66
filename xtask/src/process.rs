//! Child processes that either succeed or say which command failed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// A command line, run in the workspace root.
pub(crate) struct Process(Command);

/// A program, with nothing said to it yet.
pub(crate) fn process(program: impl AsRef<OsStr>) -> Process {
    let mut command = Command::new(program);
    command.current_dir(workspace_root());
    Process(command)
}

/// A program that another one starts, such as `nice`, if there is one.
pub(crate) fn process_through(starter: Option<&Path>, program: impl AsRef<OsStr>) -> Process {
    match starter {
        Some(starter) => process(starter).args([program]),
        None => process(program),
    }
}

/// The cargo that runs this program, with its first arguments.
pub(crate) fn cargo(arguments: &[&str]) -> Process {
    process(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(arguments)
}

impl Process {
    /// With more arguments.
    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    /// With an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<()> {
        let status = self.0.status().with_context(|| format!("cannot start {:?}", self.0))?;
        if !status.success() {
            bail!("{:?} ended with {status}", self.0);
        }
        Ok(())
    }

    /// Runs it and gives what it printed.
    pub(crate) fn output(self) -> Result<String> {
        let name = format!("{:?}", self.0);
        let output = self.ended()?;
        if !output.status.success() {
            bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs it and gives how it ended, well or not, and what it printed.
    pub(crate) fn ended(mut self) -> Result<Output> {
        self.0.output().with_context(|| format!("cannot start {:?}", self.0))
    }
}

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("because xtask lies in the workspace root")
}

/// Runs a named step and says on stderr how long it took.
#[expect(clippy::print_stderr, reason = "the runner's own log")]
pub(crate) fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("── {name}");
    let start = Instant::now();
    run().with_context(|| format!("the step `{name}` failed"))?;
    eprintln!("── {name}: passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
