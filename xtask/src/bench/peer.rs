//! Ours and PyTorch's programs, one after the other in one run.

use anyhow::{Result, bail};

use super::Arguments;
use super::comparisons::{COMPARISONS, Comparison, DEFAULT_MALLOC, LAYOUTS, MALLOCS, Malloc};
use super::measurement::{Measurement, our_example};
use super::report::{Outcome, Row, document};
use crate::generated;
use crate::process::{process, step, workspace_root};

#[expect(clippy::print_stdout, reason = "the tables are the command's output")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let chosen: Vec<_> =
        COMPARISONS.iter().filter(|comparison| comparison.name.contains(&arguments.only)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = COMPARISONS.iter().map(|comparison| comparison.name).collect();
        bail!("no comparison is named like `{}`; there are: {}", arguments.only, names.join(", "));
    }
    if arguments.write && !arguments.only.is_empty() {
        bail!("`--write` takes all comparisons, for the tables are to be of one run: leave `--only` out");
    }
    let mut outcomes = Vec::new();
    for comparison in chosen {
        step(comparison.name, || {
            outcomes.push(compare(comparison, arguments)?);
            Ok(())
        })?;
    }
    let tables = document(&outcomes, arguments.threads);
    print!("{tables}");
    if arguments.write {
        generated::differs("docs/BENCHMARKS.md", "cargo xtask bench --peer torch --write", &tables, true)?;
    }
    Ok(())
}

/// Ours, PyTorch in all its ways, and ours again: a machine that changes meanwhile shows.
fn compare(comparison: &Comparison, arguments: &Arguments) -> Result<Outcome> {
    let comparison = if arguments.quick {
        Comparison { work: comparison.work.quick(), ..*comparison }
    } else {
        *comparison
    };
    let mut ours = vec![our_row(&comparison, arguments)?];
    let mut torch = Vec::new();
    for malloc in MALLOCS {
        for layout in LAYOUTS {
            torch.push(torch_row(&comparison, layout, *malloc, arguments)?);
        }
    }
    ours.push(our_row(&comparison, arguments)?);
    if torch.iter().all(|row| row.measured.is_err()) {
        bail!("PyTorch ran in none of its ways");
    }
    Ok(Outcome { comparison, ours, torch })
}

fn our_row(comparison: &Comparison, arguments: &Arguments) -> Result<Row> {
    let program = our_example(comparison.example, arguments.threads)?
        .args(["--mode", comparison.mode, "--precision", comparison.precision])
        .args(comparison.work.arguments())
        .args(comparison.instructions.our_arguments());
    Ok(Row { way: "direct", malloc: DEFAULT_MALLOC.name, measured: Ok(Measurement::of(program)?) })
}

/// A way of PyTorch that crashes is shown as such; the others still count.
#[expect(clippy::print_stderr, reason = "what a crashed program said")]
fn torch_row(
    comparison: &Comparison,
    layout: &'static str,
    malloc: Malloc,
    arguments: &Arguments,
) -> Result<Row> {
    let mut program = process(&arguments.python)
        .args([workspace_root().join("xtask/peers").join(comparison.script)])
        .args(["--mode", comparison.mode, "--precision", comparison.precision, "--layout", layout])
        .args(["--threads", &arguments.threads.to_string()])
        .args(comparison.work.arguments())
        .env("OMP_NUM_THREADS", &arguments.threads.to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    for (name, value) in malloc.environment.iter().chain(comparison.instructions.torch_environment()) {
        program = program.env(name, value);
    }
    let output = program.ended()?;
    let measured = if output.status.success() {
        Ok(Measurement::parse(&String::from_utf8(output.stdout)?)?)
    } else {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        Err(output.status.to_string())
    };
    Ok(Row { way: layout, malloc: malloc.name, measured })
}
