//! `sct compare-dose`: one plan on a CT and on a synthetic CT.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use sct::io::{OutputType, read_volume, write_volume};
use sct::pipeline::{compare_dose, dose_page, load_structures, write_json, write_text};
use serde_json::json;

use super::treatment::TreatmentArguments;
use crate::progress::Ui;

/// Compute one plan's dose on a CT and on a synthetic CT, and show the difference
#[derive(Args)]
#[command(
    after_help = "Example:\n  sct compare-dose --reference ct.nii.gz --evaluated sct.nii.gz --template brain-vmat --ptv ptv.nii.gz \\\n    \
    --prescription-gy 60 --structures masks/ --out comparison\n\n\
    The plan is made and normalised on the CT; body, dose grid, plan and monitor units are the same for the synthetic CT.\n\
    Writes DIR/report.html, DIR/summary.json, both doses, their difference and γ at 1 %/1 mm, all in one frame.\n\
    γ at 1/1, 2/2 and 3/3, global, of the prescription, with cut-offs of 10 and 60 %. With --engine monte-carlo a γ that the\n\
    doses' noise would decide is refused: that of 1 %/1 mm above a noise of 0.5 %."
)]
pub(crate) struct Arguments {
    /// The CT, HU
    #[arg(long, value_name = "CT")]
    reference: PathBuf,
    /// The synthetic CT, HU, in the CT's frame
    #[arg(long, value_name = "SCT")]
    evaluated: PathBuf,
    #[command(flatten)]
    treatment: TreatmentArguments,
    /// Structures whose doses are compared: a mask, or a folder of masks
    #[arg(long, value_name = "MASK|DIR")]
    structures: Option<PathBuf>,
    /// Folder for the report, the numbers and the doses
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let ct = read_volume(&arguments.reference)?;
    let sct = read_volume(&arguments.evaluated)?;
    let settings = arguments.treatment.settings()?;
    let body = ui.spin("finding the body", || arguments.treatment.body(&ct))?;
    let target = arguments.treatment.target(&ct)?;
    let structures = arguments.structures.as_deref().map(load_structures).transpose()?.unwrap_or_default();
    let boost = arguments.treatment.boost()?;
    let treatment = arguments.treatment.of(&target, boost.as_ref());
    let comparison = ui.dose("computing both doses", &settings, |settings| {
        compare_dose(&ct, &sct, &body, &treatment, &structures, settings)
    })?;
    let summary = comparison.summary()?;
    for (name, percent) in &summary.gamma_percent {
        println!("γ {name:<8} {percent:>7.2} %");
    }
    for refused in &summary.gamma_refused {
        println!("γ {:<8} {refused}", refused.criterion);
    }
    for (name, percent) in &summary.dvh_percent {
        println!("target {name:<5} {percent:>+6.2} % of the prescription");
    }
    let out = &arguments.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder `{}`", out.display()))?;
    let (reference, evaluated) = (&comparison.reference_gy, &comparison.evaluated_gy);
    let difference = reference.zip_map(evaluated, |a, b| b - a)?;
    for (name, volume) in [("dose_ct", reference), ("dose_sct", evaluated), ("dose_difference", &difference)]
    {
        write_volume(&out.join(format!("{name}.nii.gz")), volume, OutputType::F32)?;
    }
    if let Some(map) = comparison.gamma.first() {
        let name = format!("gamma_{}_{}.nii.gz", map.criterion.dose_percent, map.criterion.distance_mm);
        write_volume(&out.join(name), &map.gamma, OutputType::F32)?;
    }
    let page = dose_page("Dose on a synthetic CT", &comparison, &ct, &sct, &target, &settings)?;
    write_text(&out.join("report.html"), &page)?;
    let arms = BTreeMap::from([("sct", &summary)]);
    let numbers = json!({ "arms": arms, "device": "cpu", "version": env!("CARGO_PKG_VERSION") });
    write_json(&out.join("summary.json"), &numbers)?;
    println!("report   {}", out.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}
