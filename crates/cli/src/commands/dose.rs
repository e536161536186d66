//! `sct dose`: a plan's dose on one image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use sct::eval::{Dvh, DvhFigures};
use sct::image::{Mask, Volume};
use sct::io::dicom::{DoseText, Origin, PlanText, write_dose, write_plan};
use sct::io::{Image, OutputType, ReadOptions, read_image, write_volume};
use sct::pipeline::{DoseSettings, Engine, delivered_dose, planned_dose};
use serde_json::json;

use super::treatment::TreatmentArguments;
use super::{make_parent, write_numbers};
use crate::progress::Ui;

/// Compute the dose of a plan on a CT
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sct dose --image ct.nii.gz --template brain-vmat --ptv ptv.nii.gz --prescription-gy 60 --out dose.nii.gz\n  \
    sct dose --image CT_FOLDER --plan rtplan.dcm --structures rtstruct.dcm --out dose.dcm\n  \
    sct dose --image ct.nii.gz --template brain-vmat --ptv ptv.nii.gz --prescription-gy 60 --out dose.nii.gz \\\n    \
    --engine monte-carlo --uncertainty 1 --sigma sigma.nii.gz\n\n\
    Photons of a generic 6 MV machine by collapsed-cone convolution or Monte Carlo; dose to medium, air outside the body. A template's\n\
    target receives the prescription in the mean; an RT Plan is delivered with its own monitor units, for all fractions.\n\
    Research software: no commissioned machine, not for clinical use."
)]
pub(crate) struct Arguments {
    /// The CT, HU
    #[arg(long, value_name = "CT")]
    image: PathBuf,
    #[command(flatten)]
    treatment: TreatmentArguments,
    /// The dose in Gy, on a grid of its own around the body; an RT Dose if it ends in .dcm, which needs --plan or --plan-out
    #[arg(long, value_name = "DOSE")]
    out: PathBuf,
    /// Monte Carlo: also write the dose's standard deviation in Gy, on the same grid
    #[arg(long, value_name = "SIGMA")]
    sigma: Option<PathBuf>,
    /// Also write the template's plan as an RT Plan, which other programs read; the image must be a DICOM series
    #[arg(long, value_name = "RTPLAN", conflicts_with = "plan")]
    plan_out: Option<PathBuf>,
    /// Also write the target's figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let ct = read_image(&arguments.image, &ReadOptions::default())?;
    let prepared = ui.spin("reading the plan and finding the body", || arguments.treatment.prepare(&ct))?;
    let is_dicom = arguments.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("dcm"));
    if is_dicom && prepared.plan.is_none() && arguments.plan_out.is_none() {
        bail!(
            "an RT Dose refers to the plan that it is of: give --plan, or --plan-out for a template's, or write .nii.gz"
        );
    }
    let series_of_plan = arguments.plan_out.as_ref().map(|_| origin_of(&ct)).transpose()?;
    let settings = &prepared.settings;
    if arguments.sigma.is_some() && settings.engine == Engine::CollapsedCones {
        bail!("--sigma is for --engine monte-carlo: collapsed cones have no noise");
    }
    let planned =
        ui.dose("computing the dose", settings, |settings| match (&prepared.target, &prepared.plan) {
            (None, Some(file)) => Ok(delivered_dose(&ct.volume, &prepared.body, &file.plan, settings)?),
            (Some(target), _) => {
                Ok(planned_dose(&ct.volume, &prepared.body, &prepared.treatment(target)?, settings)?)
            }
            (None, None) => bail!("there is no target"),
        })?;
    let most = planned.dose_gy.as_slice().iter().fold(0.0_f32, |most, gy| most.max(*gy));
    println!("largest dose {most:.2} Gy");
    let figures_of = |name: &str, mask: &Mask| -> Result<DvhFigures> {
        let on_dose_grid = mask.resampled(planned.dose_gy.grid(), None)?;
        let figures = Dvh::new(&planned.dose_gy, &on_dose_grid)?.figures();
        println!(
            "{name} {:.1} cm³: mean {:.2}, D98 {:.2}, D50 {:.2}, D2 {:.2} Gy",
            figures.volume_cm3, figures.mean_gy, figures.d98_gy, figures.d50_gy, figures.d2_gy
        );
        Ok(figures)
    };
    let mut numbers = json!({});
    if let Some(target) = &prepared.target {
        numbers = serde_json::to_value(figures_of("target", target)?)?;
    }
    numbers["max_gy"] = most.into();
    if let Some((boost, _)) = &prepared.boost {
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
    let written = match (&arguments.plan_out, &series_of_plan) {
        (Some(path), Some(origin)) => {
            make_parent(path)?;
            let text = PlanText {
                description: "Template plan by synthct, not for clinical use",
                machine: &settings.machine.name,
                structure_set_uid: None,
            };
            let uid = write_plan(path, &planned.plan, origin, &text)?;
            Some((path.as_path(), uid))
        }
        _ => None,
    };
    let file = prepared.plan.as_ref().map(|file| (file.path.as_path(), file.sop_instance_uid.clone()));
    match written.or(file) {
        Some((plan, uid)) if is_dicom => {
            write_rt_dose(&arguments.out, &planned.dose_gy, &ct, plan, &uid, settings)?;
        }
        _ => write_volume(&arguments.out, &planned.dose_gy, OutputType::F32)?,
    }
    if let (Some(path), Some(noise)) = (&arguments.sigma, &planned.noise) {
        make_parent(path)?;
        write_volume(path, &noise.sigma_gy, OutputType::F32)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The series that a CT is.
fn origin_of(ct: &Image) -> Result<Origin> {
    let series = ct.info.series.as_ref().context(
        "an RT Plan belongs to a patient and lies in a frame of reference, which only a DICOM series has: write one with \
         `sct convert CT DIR --dicom ct --patient-id ID`",
    )?;
    Ok(Origin::of_series(series)?)
}

/// Writes the dose of a plan as an RT Dose of the plan's patient.
fn write_rt_dose(
    path: &Path,
    dose_gy: &Volume<f32>,
    ct: &Image,
    plan: &Path,
    plan_uid: &str,
    settings: &DoseSettings,
) -> Result<()> {
    let frame = ct.info.series.as_ref().and_then(|series| series.frame_of_reference_uid.as_deref());
    let origin =
        Origin::of_object(plan, frame).context("the dose belongs to the plan's patient and study")?;
    let engine = match settings.engine {
        Engine::CollapsedCones => format!("Collapsed cones ({:?})", settings.cones),
        Engine::MonteCarlo { .. } => "Monte Carlo".to_owned(),
    };
    let comment = format!("{engine}, {}, dose to medium; not commissioned", settings.machine.name);
    let text = DoseText { description: "Dose by synthct, not for clinical use", comment: &comment, plan_uid };
    write_dose(path, dose_gy, &origin, &text)?;
    Ok(())
}
