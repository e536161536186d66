//! The tables of a run in Markdown.

use std::fmt::Write as _;

use super::comparisons::{Comparison, Instructions, Work};
use super::measurement::Measurement;

/// One program's result and how it ran.
pub(crate) struct Row {
    /// Layout and execution.
    pub(crate) way: &'static str,
    /// The allocator's settings.
    pub(crate) malloc: &'static str,
    /// What it measured, or how it ended instead.
    pub(crate) measured: Result<Measurement, String>,
}

/// All that ran for one comparison.
pub(crate) struct Outcome {
    pub(crate) comparison: Comparison,
    pub(crate) ours: Vec<Row>,
    pub(crate) torch: Vec<Row>,
}

impl Outcome {
    /// PyTorch's time / ours, if both sides came to an end.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let ((_, ours), (_, torch)) = (fastest(&self.ours)?, fastest(&self.torch)?);
        Some(torch.ms_per_slice / ours.ms_per_slice)
    }
}

/// The fastest of some rows, and what it measured; none if all of them crashed.
fn fastest(rows: &[Row]) -> Option<(&Row, &Measurement)> {
    let row = &rows[fastest_idx(rows)?];
    Some((row, row.measured.as_ref().ok()?))
}

/// Which of some rows is the fastest; none if all of them crashed.
pub(crate) fn fastest_idx(rows: &[Row]) -> Option<usize> {
    rows.iter()
        .enumerate()
        .filter_map(|(idx, row)| Some((idx, row.measured.as_ref().ok()?.ms_per_slice)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(idx, _)| idx)
}

/// A number with so many digits after the point, or a dash.
fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// Machine and settings, the ratios, and a table with every row of each comparison.
///
/// `gaps` are comparisons that were left out, and why.
pub(crate) fn document(
    outcomes: &[Outcome],
    gaps: &[(&'static str, &'static str)],
    threads: usize,
) -> String {
    let mut text = String::new();
    let version = outcomes
        .iter()
        .find_map(|outcome| fastest(&outcome.torch)?.1.line["version"].as_str())
        .unwrap_or("of unknown version");
    let line = format!(
        "{}; {threads} threads on either side; PyTorch {version}. Ratio: PyTorch's time / ours, above 1 ours is faster.\n\n",
        processor()
    );
    text.push_str(&line);
    text.push_str("| comparison | ours, ms/slice | PyTorch's best, ms/slice | how | ratio | peak memory, ours / PyTorch's best |\n|---|---|---|---|---|---|\n");
    for outcome in outcomes {
        let (ours, torch) = (fastest(&outcome.ours), fastest(&outcome.torch));
        let ms = |side: Option<(&Row, &Measurement)>| number(side.map(|(_, found)| found.ms_per_slice), 1);
        let peak = |side: Option<(&Row, &Measurement)>| number(side.map(|(_, found)| found.peak_rss_mib), 0);
        let how =
            torch.map_or_else(|| "crashed".to_owned(), |(row, _)| format!("{}, {}", row.way, row.malloc));
        let line = format!(
            "| {} | {} | {} | {how} | **{}** | {} / {} MiB |\n",
            outcome.comparison.name,
            ms(ours),
            ms(torch),
            number(outcome.ratio(), 2),
            peak(ours),
            peak(torch),
        );
        text.push_str(&line);
    }
    if !gaps.is_empty() {
        let gaps: Vec<_> = gaps.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        let _ = write!(text, "\nLeft out: {}.\n", gaps.join("; "));
    }
    for outcome in outcomes {
        text.push_str(&table(outcome, threads));
    }
    text
}

/// Every row of a comparison.
fn table(outcome: &Outcome, threads: usize) -> String {
    let Comparison { name, instructions, work, .. } = outcome.comparison;
    let Work { batch, side, filters, steps } = work;
    let mut text =
        format!("\n### {name}\n\nBatch {batch}, {side}×{side}, f = {filters}; the fastest of {steps} steps.");
    if instructions != Instructions::All {
        let settings: Vec<_> = instructions
            .torch_environment()
            .iter()
            .map(|(name, value)| format!("`{name}={value}`"))
            .collect();
        let ours = instructions.our_arguments().join(" ");
        let _ = write!(text, " PyTorch with {}, ours with `{ours}`.", settings.join(" and "));
    }
    text.push_str("\n\n| side | way | malloc | threads | instructions | precision | ms/slice | peak MiB (at start) | ratio |\n|---|---|---|---|---|---|---|---|---|\n");
    let ours_ms = fastest(&outcome.ours).map(|(_, found)| found.ms_per_slice);
    let sides = [("ours", &outcome.ours), ("PyTorch", &outcome.torch)];
    for (side, row) in sides.into_iter().flat_map(|(side, rows)| rows.iter().map(move |row| (side, row))) {
        let settings = format!("| {side} | {} | {} | {threads}", row.way, row.malloc);
        let line = match &row.measured {
            Err(end) => format!("{settings} | – | – | {end} | – | – |\n"),
            Ok(measured) => {
                let Measurement { ms_per_slice, peak_rss_mib, path, precision, .. } = measured;
                let base =
                    measured.base_rss_mib.map_or_else(|| "not said".to_owned(), |mib| format!("{mib:.0}"));
                let ratio = number(ours_ms.map(|ours_ms| ms_per_slice / ours_ms), 2);
                format!(
                    "{settings} | {path} | {precision} | {ms_per_slice:.1} | {peak_rss_mib:.0} ({base}) | {ratio} |\n"
                )
            }
        };
        text.push_str(&line);
    }
    text
}

/// The processor's name and number of cores, as far as the system tells.
fn processor() -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |n| n.to_string());
    let name = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    format!("{}, {cores} cores", name.unwrap_or_else(|| "an unnamed processor".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::comparisons::COMPARISONS;
    use super::*;

    fn row(way: &'static str, ms_per_slice: f64, base_rss_mib: Option<f64>) -> Row {
        let (path, precision) = ("avx512".to_owned(), "f32".to_owned());
        let line = serde_json::json!({ "version": "2.99" });
        let measured = Measurement {
            ms_per_slice,
            peak_rss_mib: 10.0 * ms_per_slice,
            base_rss_mib,
            path,
            precision,
            line,
        };
        Row { way, malloc: "glibc default", measured: Ok(measured) }
    }

    #[test]
    fn the_best_of_each_side_are_compared_and_every_row_is_shown() {
        let outcome = Outcome {
            comparison: COMPARISONS[2],
            ours: vec![row("direct", 24.0, None), row("direct", 20.0, None)],
            torch: vec![
                row("eager", 50.0, Some(7.0)),
                row("compile", 30.0, Some(8.0)),
                Row { measured: Err("signal: 11 (SIGSEGV)".to_owned()), ..row("channels-last", 0.0, None) },
            ],
        };
        let text = document(&[outcome], &[("three-task eval bf16", "no instructions")], 2);
        assert!(text.contains("Left out: three-task eval bf16 (no instructions)."), "{text}");
        assert!(text.contains("PyTorch 2.99"), "{text}");
        assert!(
            text.contains("| 20.0 | 30.0 | compile, glibc default | **1.50** | 200 / 300 MiB |"),
            "{text}"
        );
        assert!(
            text.contains(
                "| ours | direct | glibc default | 2 | avx512 | f32 | 24.0 | 240 (not said) | 1.20 |"
            )
        );
        assert!(
            text.contains("| PyTorch | eager | glibc default | 2 | avx512 | f32 | 50.0 | 500 (7) | 2.50 |")
        );
        assert!(text.contains(
            "| PyTorch | channels-last | glibc default | 2 | – | – | signal: 11 (SIGSEGV) | – | – |"
        ));
        let crashed = || Row { measured: Err("signal: 11 (SIGSEGV)".to_owned()), ..row("direct", 0.0, None) };
        let comparison = COMPARISONS[2];
        let outcome = Outcome { comparison, ours: vec![crashed()], torch: vec![crashed()] };
        assert!(document(&[outcome], &[], 2).contains("| – | – | crashed | **–** | – / – MiB |"));
        assert!(text.contains("`ONEDNN_MAX_CPU_ISA=AVX2`") && text.contains("`--level avx2`"), "{text}");
    }
}
