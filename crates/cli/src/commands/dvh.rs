//! `sct dvh`: what structures receive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use sct::io::read_volume;
use sct::pipeline::{load_structures, structure_dvh};

use super::write_numbers;

/// Doses of structures: mean, D98, D95, D50, D2, D2cc
#[derive(Args)]
#[command(after_help = "Example:\n  sct dvh --dose dose.nii.gz --structures masks/ --prescription-gy 60\n\n\
    Structures are mask files, above zero inside, on any grid of the same frame: doses are interpolated onto it.\n\
    Histograms come from sorted voxels, without bins. With a prescription, V95 and V107 are volumes that receive 95 % and\n\
    107 % of it.")]
pub(crate) struct Arguments {
    /// The dose, Gy
    #[arg(long, value_name = "D")]
    dose: PathBuf,
    /// A mask, or a folder of masks
    #[arg(long, value_name = "MASK|DIR")]
    structures: PathBuf,
    /// Also give V95 and V107 of this dose
    #[arg(long, value_name = "G")]
    prescription_gy: Option<f64>,
    /// Also write the numbers and the curves as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    const CURVE_POINTS: usize = 201;
    let dose = read_volume(&arguments.dose)?;
    let structures = load_structures(&arguments.structures)?;
    println!("structure               cm³    mean     D98     D95     D50      D2    D2cc   (Gy)");
    let mut numbers = BTreeMap::new();
    for (name, mask) in &structures {
        let dvh = structure_dvh(&dose, mask).with_context(|| format!("structure `{name}`"))?;
        let figures = dvh.figures();
        let d2cc = figures.d2cc_gy.map_or("–".to_owned(), |gy| format!("{gy:.2}"));
        println!(
            "{name:<20}{:>7.1}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{d2cc:>8}",
            figures.volume_cm3,
            figures.mean_gy,
            figures.d98_gy,
            figures.d95_gy,
            figures.d50_gy,
            figures.d2_gy
        );
        let mut entry =
            serde_json::json!({ "figures": figures, "curve_gy_percent": dvh.curve(CURVE_POINTS) });
        if let Some(prescription) = arguments.prescription_gy {
            for (key, percent) in [("v95_percent", 95.0), ("v107_percent", 107.0)] {
                let volume = dvh.volume_percent_at_dose(percent / 100.0 * prescription);
                println!("{:20}{key} {volume:.2}", "");
                entry[key] = volume.into();
            }
        }
        numbers.insert(name.clone(), entry);
    }
    write_numbers(arguments.json.as_deref(), &numbers)?;
    Ok(ExitCode::SUCCESS)
}
