//! `sct gamma`: two doses by dose difference and distance to agreement.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use sct::eval::{DoseNormalization, GammaConfig, GammaCriterion, GammaMode, GammaSearch, gamma};
use sct::io::{OutputType, read_mask, read_volume, write_volume};
use serde_json::json;

use super::{make_parent, write_numbers};

/// Compare two doses by the gamma index
#[derive(Args)]
#[command(
    after_help = "Example:\n  sct gamma --reference tps.nii.gz --evaluated ours.nii.gz --criteria 1/1,2/2,3/3 --prescription-gy 60\n\n\
    Criteria are dose difference in percent / distance in mm. The dose difference is a percentage of the prescription if\n\
    it is given, else of the reference's largest dose; with --local of the reference dose at each voxel. Voxels of the\n\
    reference below the cut-off, a percentage of the same dose, are not compared. The evaluated dose is interpolated\n\
    trilinearly; γ is the exact minimum to 0.002, with --pymedphys that over pymedphys's samples.\n\
    Doses may lie on different grids. Noise in the evaluated dose lowers γ: exchanging the two gives other figures."
)]
pub(crate) struct Arguments {
    /// The reference dose, Gy
    #[arg(long, value_name = "D")]
    reference: PathBuf,
    /// The evaluated dose, Gy
    #[arg(long, value_name = "D")]
    evaluated: PathBuf,
    /// Dose difference in percent / distance in mm, several with commas
    #[arg(long, value_name = "P/MM,…", default_value = "3/3", value_delimiter = ',', value_parser = criterion)]
    criteria: Vec<GammaCriterion>,
    /// Reference voxels below this percentage of the normalization dose are left out
    #[arg(long, value_name = "P", default_value_t = GammaConfig::CUTOFF_PERCENT)]
    cutoff_percent: f64,
    /// The dose difference is a percentage of the reference dose at each voxel
    #[arg(long)]
    local: bool,
    /// The dose that percentages refer to; without it the reference's largest dose
    #[arg(long, value_name = "G")]
    prescription_gy: Option<f64>,
    /// The largest γ that is told apart
    #[arg(long, value_name = "C", default_value_t = GammaConfig::CAP)]
    cap: f64,
    /// Only voxels inside this mask, on the reference's grid
    #[arg(long, value_name = "M")]
    mask: Option<PathBuf>,
    /// Sample as pymedphys does (interp_fraction 10) instead of searching exactly
    #[arg(long)]
    pymedphys: bool,
    /// Write γ on the reference's grid, NaN where it was not computed; needs a single criterion
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Also write the numbers and every setting as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn criterion(text: &str) -> Result<GammaCriterion, String> {
    let numbers =
        text.split_once('/').and_then(|(percent, mm)| Some((percent.parse().ok()?, mm.parse().ok()?)));
    let (dose_percent, distance_mm) = numbers.ok_or("expected percent/mm, such as 2/2")?;
    Ok(GammaCriterion { dose_percent, distance_mm })
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.map.is_some() && arguments.criteria.len() != 1 {
        bail!("--map writes one map, but there are {} criteria", arguments.criteria.len());
    }
    let reference = read_volume(&arguments.reference)?;
    let evaluated = read_volume(&arguments.evaluated)?;
    let mask = arguments.mask.as_deref().map(read_mask).transpose()?;
    let config = GammaConfig {
        criteria: arguments.criteria.clone(),
        mode: if arguments.local { GammaMode::Local } else { GammaMode::Global },
        normalization: arguments
            .prescription_gy
            .map_or(DoseNormalization::ReferenceMaximum, DoseNormalization::Gy),
        cutoff_percent: arguments.cutoff_percent,
        cap: arguments.cap,
        search: if arguments.pymedphys {
            GammaSearch::Shells { interp_fraction: 10.0 }
        } else {
            GammaConfig::EXACT
        },
    };
    let maps = gamma(&reference, &evaluated, mask.as_ref(), &config)?;
    println!("criterion   γ ≤ 1 (%)   mean γ    max γ     voxels");
    let mut numbers = Vec::new();
    for map in &maps {
        let (criterion, summary) = (map.criterion, &map.summary);
        let name = format!("{}/{}", criterion.dose_percent, criterion.distance_mm);
        println!(
            "{name:<12}{:>9.3}{:>9.4}{:>9.3}{:>11}",
            summary.pass_percent, summary.mean, summary.max, summary.n_points
        );
        if map.n_outside_evaluated > 0 {
            tracing::warn!("{} of these voxels lie outside the evaluated dose", map.n_outside_evaluated);
        }
        numbers.push(json!({
            "criterion": criterion,
            "pass_percent": summary.pass_percent,
            "n_points": summary.n_points,
            "summary": summary,
            "n_outside_evaluated": map.n_outside_evaluated,
        }));
    }
    let first = &maps.first().context("there is no criterion")?;
    println!(
        "percentages of {} Gy{}, cut-off {} Gy",
        first.summary.normalization_gy,
        if arguments.local { " (cut-off only; the dose difference is local)" } else { "" },
        first.summary.cutoff_gy
    );
    write_numbers(arguments.json.as_deref(), &json!({ "criteria": numbers, "settings": config }))?;
    if let Some(path) = &arguments.map {
        make_parent(path)?;
        write_volume(path, &first.gamma, OutputType::F32)?;
    }
    Ok(ExitCode::SUCCESS)
}
