//! Whether memory grows from step to step.

use anyhow::{Context, Result, bail};

use super::measurement::{Measurement, our_example};

/// 200 steps; the example says its resident memory after a tenth of them and at the end.
const STEPS: usize = 200;
/// What may come and go in the allocator, MiB.
const SLACK_MIB: f64 = 8.0;

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(threads: usize) -> Result<()> {
    let steps = STEPS.to_string();
    let size = ["--batch", "2", "--size", "64", "--filters", "16", "--steps", &steps];
    let program = our_example("three_task_step", threads)?.args(["--mode", "train"]).args(size);
    let measured = Measurement::of(program)?;
    let number = |name: &str| {
        measured.line[name].as_f64().with_context(|| format!("the example does not say `{name}`"))
    };
    let (early, late) = (number("rss_early_mib")?, number("rss_late_mib")?);
    println!(
        "three-task training, batch 2, 64×64, f = 16: {early:.0} MiB after {} steps, {late:.0} MiB after {STEPS}",
        STEPS / 10
    );
    if late > early + SLACK_MIB {
        bail!(
            "memory grew by {:.0} MiB, more than the {SLACK_MIB:.0} MiB that may come and go",
            late - early
        );
    }
    Ok(())
}
