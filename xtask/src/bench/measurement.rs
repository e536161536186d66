//! One program's line of JSON.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::cargo;

/// What a program measured of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) ms_per_slice: f64,
    pub(crate) peak_rss_mib: f64,
    /// Resident memory before the work, where the program says it.
    pub(crate) base_rss_mib: Option<f64>,
    /// The vector instructions that ran.
    pub(crate) path: String,
    /// The precision that ran, and whether the loss came out as NaN in it.
    pub(crate) precision: String,
    /// Everything it said.
    pub(crate) line: Value,
}

impl Measurement {
    /// Reads the last line that a program printed.
    pub(crate) fn parse(output: &str) -> Result<Self> {
        let last = output.lines().last().context("the program printed nothing")?;
        let line: Value =
            serde_json::from_str(last).with_context(|| format!("this is no line of JSON: {last}"))?;
        let number =
            |name: &str| line[name].as_f64().with_context(|| format!("no number `{name}` in {last}"));
        let word = |name: &str| line[name].as_str().unwrap_or("not said").to_owned();
        let mut precision = word("precision");
        if line["loss_is_finite"].as_bool() == Some(false) {
            precision.push_str(", loss not finite");
        }
        Ok(Self {
            ms_per_slice: number("ms_per_slice")?,
            peak_rss_mib: number("peak_rss_mib")?,
            base_rss_mib: line["base_rss_mib"].as_f64(),
            path: word("path"),
            precision,
            line,
        })
    }
}

/// Builds an example of `synthct-nn` for release and gives the path of its program.
pub(crate) fn our_example(name: &str) -> Result<String> {
    let build = ["build", "--release", "--package", "synthct-nn", "--message-format", "json", "--example"];
    let messages = cargo(&build).args([name]).output()?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .with_context(|| format!("cargo built no example `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_and_gaps_are_named() -> Result<()> {
        let line =
            r#"{"mode":"eval","ms_per_slice":12.5,"peak_rss_mib":300,"path":"avx512","precision":"f32"}"#;
        let found = Measurement::parse(&format!("a warning\n{line}\n"))?;
        assert!((found.ms_per_slice - 12.5).abs() < 1e-12 && (found.peak_rss_mib - 300.0).abs() < 1e-12);
        assert_eq!(
            (found.path.as_str(), found.precision.as_str(), found.base_rss_mib),
            ("avx512", "f32", None)
        );
        let found = Measurement::parse(&line.replace("\"mode\"", "\"loss_is_finite\":false,\"mode\""))?;
        assert_eq!(found.precision, "f32, loss not finite");
        let Err(error) = Measurement::parse(&line.replace("ms_per_slice", "seconds")) else {
            anyhow::bail!("a line without a time was accepted");
        };
        assert!(error.to_string().contains("`ms_per_slice`"), "{error}");
        assert!(Measurement::parse("").is_err() && Measurement::parse("Killed").is_err());
        Ok(())
    }
}
