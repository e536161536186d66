//! `sct predict`: a synthetic CT from an MR.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use sct::io::{OutputType, ReadOptions, read_volume_with, write_mask, write_volume};
use sct::model::{ModelPackage, PredictOptions, predict};
use sct::nn::Precision;
use sct::pipeline::Observer as _;

use super::make_parent;
use crate::device::DeviceName;
use crate::progress::{StageBars, Ui};

/// Make a synthetic CT from an MR with a trained model
#[derive(Args)]
#[command(after_help = "Examples:\n  sct predict --model run --input mr.nii.gz --out sct.nii.gz\n  \
    sct predict --model run --input DICOM_FOLDER --series UID --out sct.nii.gz\n  \
    sct predict --model run --input mr.nii.gz --input mr_t1w.nii.gz --out sct.nii.gz      two channels, in the model's order\n\n\
    The synthetic CT is in HU on the grid of the MR. Research software, not for clinical use.")]
pub(crate) struct Arguments {
    /// A run folder or a model package
    #[arg(long, value_name = "RUN|PACKAGE")]
    model: PathBuf,
    /// The MR: a file, or a folder with a DICOM series; once for each channel
    #[arg(long, value_name = "MR", required = true)]
    input: Vec<PathBuf>,
    /// Which DICOM series of a folder with several
    #[arg(long, value_name = "UID")]
    series: Option<String>,
    /// The synthetic CT to write
    #[arg(long, value_name = "SCT")]
    out: PathBuf,
    /// Also write the body that was found on the MR
    #[arg(long, value_name = "MASK")]
    body: Option<PathBuf>,
    /// What to compute on
    #[arg(long, value_enum, default_value_t = DeviceName::Auto)]
    device: DeviceName,
    /// The numbers a network computes in: bf16 is faster where the processor multiplies it, and less exact
    #[arg(long, value_name = "NAME", value_parser = Precision::NAMES, default_value = Precision::F32.name())]
    precision: String,
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let device = arguments.device.device(ui)?;
    let package = ModelPackage::load(&arguments.model)?;
    let options = ReadOptions { series_uid: arguments.series.clone(), ..ReadOptions::default() };
    let read =
        || arguments.input.iter().map(|path| read_volume_with(path, &options)).collect::<Result<Vec<_>, _>>();
    let mr = ui.spin("reading", read)?;
    let standard = PredictOptions::standard();
    let precision = Precision::named(&arguments.precision).unwrap_or(standard.precision);
    let prediction = {
        let mut bars = StageBars::new(ui);
        bars.stage("predicting", None);
        let mut on_progress = |progress| bars.predicting(progress);
        predict(&package, &mr, &PredictOptions { precision, ..standard }, &device, &mut on_progress)?
    };
    make_parent(&arguments.out)?;
    ui.spin("writing", || write_volume(&arguments.out, &prediction.sct, OutputType::I16))?;
    if let Some(body) = &arguments.body {
        make_parent(body)?;
        write_mask(body, &prediction.body)?;
    }
    for warning in &prediction.warnings {
        tracing::warn!("{warning}");
    }
    let (path, grid) = (arguments.out.display(), prediction.sct.grid());
    ui.say(&format!("wrote {path}: {grid}; computed on {}", prediction.computed_on));
    Ok(ExitCode::SUCCESS)
}
