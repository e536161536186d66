//! `sct dose`: a plan's dose on one image.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use sct::eval::{Dvh, DvhFigures};
use sct::image::Mask;
use sct::io::{OutputType, read_volume, write_volume};
use sct::pipeline::{Engine, planned_dose};

use super::treatment::TreatmentArguments;
use super::{make_parent, write_numbers};
use crate::progress::Ui;

/// Compute the dose of a template plan on a CT
#[derive(Args)]
#[command(
    after_help = "Example:\n  sct dose --image ct.nii.gz --template brain-vmat --ptv ptv.nii.gz --prescription-gy 60 --out dose.nii.gz\n  \
    sct dose --image ct.nii.gz --template brain-vmat --ptv ptv.nii.gz --prescription-gy 60 --out dose.nii.gz \\\n    \
    --engine monte-carlo --uncertainty 1 --sigma sigma.nii.gz\n\n\
    Photons of a generic 6 MV machine by collapsed-cone convolution or Monte Carlo; dose to medium, air outside the body.\n\
    The target's mean dose is the prescription. Research software: no commissioned machine, not for clinical use."
)]
pub(crate) struct Arguments {
    /// The CT, HU
    #[arg(long, value_name = "CT")]
    image: PathBuf,
    #[command(flatten)]
    treatment: TreatmentArguments,
    /// The dose in Gy, on a grid of its own around the body
    #[arg(long, value_name = "DOSE")]
    out: PathBuf,
    /// Monte Carlo: also write the dose's standard deviation in Gy, on the same grid
    #[arg(long, value_name = "SIGMA")]
    sigma: Option<PathBuf>,
    /// Also write the target's figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let ct = read_volume(&arguments.image)?;
    let settings = arguments.treatment.settings()?;
    if arguments.sigma.is_some() && settings.engine == Engine::CollapsedCones {
        bail!("--sigma is for --engine monte-carlo: collapsed cones have no noise");
    }
    let body = ui.spin("finding the body", || arguments.treatment.body(&ct))?;
    let target = arguments.treatment.target(&ct)?;
    let boost = arguments.treatment.boost()?;
    let treatment = arguments.treatment.of(&target, boost.as_ref());
    let planned = ui.dose("planning and computing the dose", &settings, |settings| {
        planned_dose(&ct, &body, &treatment, settings)
    })?;
    let figures_of = |name: &str, mask: &Mask| -> Result<DvhFigures> {
        let on_dose_grid = mask.resampled(planned.dose_gy.grid(), None)?;
        let figures = Dvh::new(&planned.dose_gy, &on_dose_grid)?.figures();
        println!(
            "{name} {:.1} cm³: mean {:.2}, D98 {:.2}, D50 {:.2}, D2 {:.2} Gy",
            figures.volume_cm3, figures.mean_gy, figures.d98_gy, figures.d50_gy, figures.d2_gy
        );
        Ok(figures)
    };
    let mut numbers = serde_json::to_value(figures_of("target", &target)?)?;
    if let Some(boost) = &boost {
        numbers["boost"] = serde_json::to_value(figures_of("boost", boost)?)?;
    }
    if let Some(noise) = &planned.noise {
        println!(
            "noise {:.2} % (one standard deviation), {} histories",
            noise.uncertainty_percent, noise.n_histories
        );
        numbers["uncertainty_percent"] = noise.uncertainty_percent.into();
        numbers["n_histories"] = noise.n_histories.into();
    }
    write_numbers(arguments.json.as_deref(), &numbers)?;
    make_parent(&arguments.out)?;
    write_volume(&arguments.out, &planned.dose_gy, OutputType::F32)?;
    if let (Some(path), Some(noise)) = (&arguments.sigma, &planned.noise) {
        make_parent(path)?;
        write_volume(path, &noise.sigma_gy, OutputType::F32)?;
    }
    Ok(ExitCode::SUCCESS)
}
