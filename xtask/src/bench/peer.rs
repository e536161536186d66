//! Ours and PyTorch's programs, one after the other in one run.

use anyhow::{Result, bail};

use super::Arguments;
use super::comparisons::{COMPARISONS, Comparison, LAYOUTS, MALLOCS, Malloc, OUR_MALLOC};
use super::measurement::{Measurement, our_example};
use super::report::{Outcome, Row, document, fastest_idx};
use crate::generated;
use crate::process::{Process, process_through, step, workspace_root};

/// How often a program that crashes is tried: PyTorch's bf16 training crashes by chance on some processors.
const TRIES: usize = 3;

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
    let (mut outcomes, mut gaps) = (Vec::new(), Vec::new());
    for comparison in chosen {
        if let Some(gap) = comparison.gap().filter(|_| arguments.only.is_empty()) {
            gaps.push((comparison.name, gap));
            continue;
        }
        step(comparison.name, || {
            outcomes.push(compare(comparison, arguments)?);
            Ok(())
        })?;
    }
    let tables = document(&outcomes, &gaps, arguments.threads);
    print!("{tables}");
    if arguments.write {
        generated::differs("docs/BENCHMARKS.md", "cargo xtask bench --peer torch --write", &tables, true)?;
    }
    let crashed: Vec<_> = outcomes.iter().filter(|outcome| outcome.ratio().is_none()).collect();
    if !crashed.is_empty() {
        let names: Vec<_> = crashed.iter().map(|outcome| outcome.comparison.name).collect();
        bail!("one side ran in none of its ways: {}", names.join(", "));
    }
    Ok(())
}

/// Ours, PyTorch in all its ways, ours again and PyTorch in its fastest way again: a machine that changes meanwhile shows.
fn compare(comparison: &Comparison, arguments: &Arguments) -> Result<Outcome> {
    let comparison = if arguments.quick {
        Comparison { work: comparison.work.quick(), ..*comparison }
    } else {
        *comparison
    };
    let mut ours = vec![our_row(&comparison, arguments)?];
    let (mut torch, mut ways) = (Vec::new(), Vec::new());
    for malloc in MALLOCS {
        for layout in LAYOUTS {
            torch.push(torch_row(&comparison, layout, *malloc, arguments)?);
            ways.push((layout, malloc));
        }
    }
    ours.push(our_row(&comparison, arguments)?);
    if let Some(idx) = fastest_idx(&torch) {
        let (layout, malloc) = ways[idx];
        torch.push(torch_row(&comparison, layout, *malloc, arguments)?);
    }
    Ok(Outcome { comparison, ours, torch })
}

/// Ours.
pub(crate) fn our_row(comparison: &Comparison, arguments: &Arguments) -> Result<Row> {
    let example = our_example(comparison.example)?;
    let program = || {
        process_through(arguments.through.as_deref(), &example)
            .env("RAYON_NUM_THREADS", &arguments.threads.to_string())
            .args(["--mode", comparison.mode, "--precision", comparison.precision])
            .args(comparison.work.arguments())
            .args(comparison.instructions.our_arguments())
    };
    measured(program, "direct", OUR_MALLOC)
}

/// PyTorch in one of its ways.
pub(crate) fn torch_row(
    comparison: &Comparison,
    layout: &'static str,
    malloc: Malloc,
    arguments: &Arguments,
) -> Result<Row> {
    let program = || {
        let mut program = process_through(arguments.through.as_deref(), &arguments.python)
            .args([workspace_root().join("xtask/peers").join(comparison.script)])
            .args(["--mode", comparison.mode, "--precision", comparison.precision, "--layout", layout])
            .args(["--threads", &arguments.threads.to_string()])
            .args(comparison.work.arguments())
            .env("OMP_NUM_THREADS", &arguments.threads.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        for (name, value) in malloc.environment.iter().chain(comparison.instructions.torch_environment()) {
            program = program.env(name, value);
        }
        program
    };
    measured(program, layout, malloc)
}

/// Runs a program. One that crashes is tried again, and in the end shown as such; the others still count.
#[expect(clippy::print_stderr, reason = "the figures as they come, and what a crashed program said")]
fn measured(program: impl Fn() -> Process, way: &'static str, malloc: Malloc) -> Result<Row> {
    let mut end = String::new();
    for _ in 0..TRIES {
        let output = program().ended()?;
        if output.status.success() {
            let text = String::from_utf8(output.stdout)?;
            eprintln!("{way}, {}: {}", malloc.name, text.trim_end());
            return Ok(Row { way, malloc: malloc.name, measured: Ok(Measurement::parse(&text)?) });
        }
        end = output.status.to_string();
        eprintln!("{way}, {}: {end}\n{}", malloc.name, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(Row { way, malloc: malloc.name, measured: Err(end) })
}
