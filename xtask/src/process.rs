//! Child processes that either succeed or say which command failed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// A `cargo` command line, run in the workspace root.
pub(crate) struct Cargo(Command);

/// The cargo that runs this program, with its first arguments.
pub(crate) fn cargo(arguments: &[&str]) -> Cargo {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(workspace_root());
    Cargo(command)
}

impl Cargo {
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
    pub(crate) fn output(mut self) -> Result<String> {
        let output = self.0.output().with_context(|| format!("cannot start {:?}", self.0))?;
        if !output.status.success() {
            bail!("{:?} ended with {}: {}", self.0, output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
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
