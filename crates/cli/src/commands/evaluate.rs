//! `sct evaluate`: how far a synthetic CT is from the CT.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use sct::eval::{ImageMetrics, evaluate_sct, summarize};
use sct::io::read_volume;
use sct::pipeline::{CasePage, case_page, write_text};

use super::{Modality, make_parent, mask_or_body, write_numbers};

/// Compare a synthetic CT with the CT: MAE, Dice, PSNR, SSIM
#[derive(Args)]
#[command(
    after_help = "Example:\n  sct evaluate --reference ct.nii.gz --evaluated sct.nii.gz --mask mask.nii.gz --report report.html\n\n\
    The images must share one grid. Regions are those of the reference: air [-1000, -400], soft tissue [-250, 250] and\n\
    bone [250, 3000] HU inside the mask. PSNR and SSIM as SynthRAD2023 defines them, MS-SSIM as SynthRAD2025."
)]
pub(crate) struct Arguments {
    /// The CT
    #[arg(long, value_name = "CT")]
    reference: PathBuf,
    /// The synthetic CT
    #[arg(long, value_name = "SCT")]
    evaluated: PathBuf,
    /// The body, above zero inside; without it the body is found on the CT
    #[arg(long, value_name = "M")]
    mask: Option<PathBuf>,
    /// The MR, to be shown in the report
    #[arg(long, value_name = "MR", requires = "report")]
    mr: Option<PathBuf>,
    /// Also write the numbers as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a page with pictures and tables
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let ct = read_volume(&arguments.reference)?;
    let sct = read_volume(&arguments.evaluated)?;
    let body = mask_or_body(arguments.mask.as_deref(), &ct, Modality::Ct)?;
    let metrics = evaluate_sct(&ct, &sct, &body)?;
    print!("{}", table(&metrics)?);
    write_numbers(arguments.json.as_deref(), &summarize(std::slice::from_ref(&metrics)))?;
    if let Some(report) = &arguments.report {
        let mr = arguments.mr.as_deref().map(read_volume).transpose()?;
        let page =
            CasePage { title: "Synthetic CT against CT", mr: mr.as_ref(), ct: &ct, sct: &sct, body: &body };
        make_parent(report)?;
        write_text(report, &case_page(&page, &metrics)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(metrics: &ImageMetrics) -> Result<String> {
    let mut text = String::from("region        MAE (HU)   mean error (HU)   Dice\n");
    let number = |value: Option<&f64>, digits: usize| {
        value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let rows =
        metrics.mae_hu.named().into_iter().zip(metrics.mean_error_hu.named()).zip(metrics.dice.named());
    for (((name, mae), (_, bias)), (_, dice)) in rows {
        writeln!(
            text,
            "{:<12}{:>10}{:>18}{:>7}",
            name.replace('_', " "),
            number(mae, 1),
            number(bias, 1),
            number(dice, 4)
        )?;
    }
    for (name, value, digits) in [
        ("SSIM (2023)", &metrics.ssim, 4),
        ("MS-SSIM (2025)", &metrics.ms_ssim, 4),
        ("PSNR (2023), dB", &metrics.psnr_db, 2),
        ("PSNR (2025), dB", &metrics.psnr_synthrad2025_db, 2),
    ] {
        writeln!(text, "{name:<18}{:>8}", number(value.as_ref(), digits))?;
    }
    for note in &metrics.notes {
        writeln!(text, "note: {note}")?;
    }
    Ok(text)
}
