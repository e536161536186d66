//! Whether memory grows from step to step.

use anyhow::{Context, Result, bail};

use super::Arguments;
use super::comparisons::{COMPARISONS, Comparison, Instructions, LAYOUTS, MALLOCS, Work};
use super::peer::{our_row, torch_row};
use super::report::Row;

/// 200 steps; the programs say their resident memory after a tenth of them and at the end.
const WORK: Work = Work { batch: 2, side: 64, filters: 16, steps: 200 };
/// What may come and go in the allocator, MiB.
const SLACK_MIB: f64 = 8.0;

/// Ours must not grow; the peer's figures, if asked for, are shown beside.
#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Work { batch, side, filters, steps } = WORK;
    let early_step = steps / 10;
    println!("Training with batch {batch}, {side}×{side}, f = {filters}:");
    let mut grown = Vec::new();
    for comparison in COMPARISONS.iter().filter(|comparison| is_training(comparison)) {
        let comparison = Comparison { work: WORK, ..*comparison };
        let ours = our_row(&comparison, arguments)?;
        let torch =
            arguments.peer.map(|_| torch_row(&comparison, LAYOUTS[0], MALLOCS[0], arguments)).transpose()?;
        for (side, row) in [("ours", Some(&ours)), ("PyTorch", torch.as_ref())] {
            let Some(row) = row else { continue };
            match resident_mib(row)? {
                Ok([early, late]) => {
                    println!(
                        "{}, {side}: {early:.0} MiB after {early_step} steps, {late:.0} MiB after {steps}",
                        comparison.name
                    );
                    if side == "ours" && late > early + SLACK_MIB {
                        grown.push(format!("{} by {:.0} MiB", comparison.name, late - early));
                    }
                }
                Err(end) if side == "ours" => bail!("{} ended with {end}", comparison.name),
                Err(end) => println!("{}, {side}: {end}", comparison.name),
            }
        }
    }
    if !grown.is_empty() {
        bail!("memory grew by more than the {SLACK_MIB:.0} MiB that may come and go: {}", grown.join(", "));
    }
    Ok(())
}

/// Training steps of the three-task network on the best instructions, in each precision.
fn is_training(comparison: &Comparison) -> bool {
    comparison.example == "three_task_step"
        && comparison.mode == "train"
        && comparison.instructions == Instructions::All
}

/// Early and late, or how the program ended instead.
fn resident_mib(row: &Row) -> Result<Result<[f64; 2], &str>> {
    let measured = match &row.measured {
        Ok(measured) => measured,
        Err(end) => return Ok(Err(end)),
    };
    let number = |name: &str| {
        measured.line[name].as_f64().with_context(|| format!("the program does not say `{name}`"))
    };
    Ok(Ok([number("rss_early_mib")?, number("rss_late_mib")?]))
}
