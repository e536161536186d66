//! `sct compare-dose`: one plan on a CT and on a synthetic CT.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use sct::image::Mask;
use sct::io::dicom::{DoseFile, read_dose};
use sct::io::{OutputType, ReadOptions, read_image, write_volume};
use sct::pipeline::{Fidelity, compare_dose, dose_page, fidelity, write_json, write_text};
use serde_json::json;

use super::treatment::{Prepared, TreatmentArguments};
use crate::progress::Ui;

/// Compute one plan's dose on a CT and on a synthetic CT, and show the difference
#[derive(Args)]
#[command(
    after_help = "Example:\n  sct compare-dose --reference ct.nii.gz --evaluated sct.nii.gz --template brain-vmat --ptv ptv.nii.gz \\\n    \
    --prescription-gy 60 --structures masks/ --out comparison\n  \
    sct compare-dose --reference CT_FOLDER --evaluated SCT_FOLDER --plan rtplan.dcm --structures rtstruct.dcm --out comparison\n\n\
    A template's plan is made and normalised on the CT, an RT Plan is delivered as it is; body, dose grid, plan and monitor\n\
    units are the same for the synthetic CT. With --tps-dose the dose on the CT is compared with the planning system's.\n\
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
    /// The planning system's dose of the plan, an RT Dose: how near our dose on the CT comes to it is part of the report
    #[arg(long, value_name = "RTDOSE", requires = "plan")]
    tps_dose: Option<PathBuf>,
    /// Folder for the report, the numbers and the doses
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let ct = read_image(&arguments.reference, &ReadOptions::default())?;
    let sct = read_image(&arguments.evaluated, &ReadOptions::default())?;
    let treatment = &arguments.treatment;
    let frame_of_sct = sct.info.series.as_ref().and_then(|series| series.frame_of_reference_uid.as_deref());
    treatment.require_frame("the synthetic CT's voxels", frame_of_sct, &ct)?;
    let prepared = ui.spin("reading the plan and finding the body", || treatment.prepare(&ct))?;
    let planned_gy = arguments.tps_dose.as_deref().map(read_dose).transpose()?;
    if let Some(file) = &planned_gy {
        treatment.require_frame(
            "the planning system's dose voxels",
            file.frame_of_reference_uid.as_deref(),
            &ct,
        )?;
        require_dose_of_plan(file, &prepared)?;
    }
    let (ct, sct) = (&ct.volume, &sct.volume);
    let target = prepared.target.as_ref().context(
        "a comparison needs a target: give --structures with one of type PTV, --target NAME, or --ptv MASK",
    )?;
    let others = prepared.others();
    let comparison = ui.dose("computing both doses", &prepared.settings, |settings| -> Result<_> {
        let treatment = prepared.treatment(target)?;
        Ok(compare_dose(ct, sct, &prepared.body, &treatment, &others, settings)?)
    })?;
    let fidelity = match &planned_gy {
        Some(file) => Some(ui.spin("comparing with the planning system", || {
            let structures: Vec<(String, Mask)> =
                [("target".to_owned(), target.clone())].into_iter().chain(others.iter().cloned()).collect();
            let ours_gy = &comparison.reference_gy;
            fidelity(&file.dose_gy, ours_gy, &prepared.body, &structures, prepared.prescription_gy)
        })?),
        None => None,
    };
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
    let fidelity_numbers = fidelity.as_ref().map(Fidelity::summary);
    for (name, percent) in fidelity_numbers.iter().flat_map(|numbers| &numbers.gamma_percent) {
        println!("γ {name:<8} {percent:>7.2} % of our dose on the CT against the planning system's");
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
    let page = dose_page(
        "Dose on a synthetic CT",
        &comparison,
        ct,
        sct,
        target,
        &prepared.settings,
        fidelity.as_ref(),
    )?;
    write_text(&out.join("report.html"), &page)?;
    let arms = BTreeMap::from([("sct", &summary)]);
    let mut numbers = json!({ "arms": arms, "device": "cpu", "version": env!("CARGO_PKG_VERSION") });
    if let Some(fidelity) = fidelity_numbers {
        numbers["fidelity"] = serde_json::to_value(fidelity)?;
    }
    write_json(&out.join("summary.json"), &numbers)?;
    println!("report   {}", out.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}

/// Fails for a dose that is not that of the whole plan.
fn require_dose_of_plan(file: &DoseFile, prepared: &Prepared) -> Result<()> {
    for note in &file.notes {
        tracing::warn!("{note}");
    }
    if !file.summation.is_empty() && file.summation != "PLAN" {
        bail!(
            "`{}` is a dose of kind `{}` (DoseSummationType (3004,000A)); export the dose of the whole plan",
            file.path.display(),
            file.summation
        );
    }
    let plan_uid = prepared.plan.as_ref().map(|plan| plan.sop_instance_uid.as_str());
    if let (Some(of_dose), Some(plan_uid)) = (file.plan_uid.as_deref(), plan_uid)
        && of_dose != plan_uid
    {
        tracing::warn!("the planning system's dose is of the plan `{of_dose}`, not of `{plan_uid}`");
    }
    Ok(())
}
