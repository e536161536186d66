//! `sct predict`: a synthetic CT from an MR.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use sct::image::Volume;
use sct::io::dicom::{ImageKind, Origin, SeriesText, write_series};
use sct::io::{Image, OutputType, ReadOptions, read_image, write_mask, write_volume};
use sct::model::{ModelPackage, PackagedModel, PredictOptions, predict_ensemble};
use sct::nn::Precision;
use sct::pipeline::Observer as _;

use super::make_parent;
use crate::device::DeviceName;
use crate::progress::{StageBars, Ui};

/// Make a synthetic CT from an MR with a trained model
#[derive(Args)]
#[command(after_help = "Examples:\n  sct predict --model run --input mr.nii.gz --out sct.nii.gz\n  \
    sct predict --model run --input DICOM_FOLDER --series UID --out sct.nii.gz\n  \
    sct predict --model run --input MR_FOLDER --dicom-out SCT_FOLDER\n  \
     sct predict --model run --input mr.nii.gz --input mr_t1w.nii.gz --out sct.nii.gz      two channels, in the model's order\n  \
     sct predict --model run1 --model run2 --mirror --input mr.nii.gz --out sct.nii.gz --uncertainty sd.nii.gz\n\n\
    The synthetic CT is in HU on the grid of the MR. Research software, not for clinical use.")]
pub(crate) struct Arguments {
    /// A run folder or a model package; several make an ensemble, whose mean is written
    #[arg(long, value_name = "RUN|PACKAGE", required = true)]
    model: Vec<PathBuf>,
    /// The MR: a file, or a folder with a DICOM series; once for each channel
    #[arg(long, value_name = "MR", required = true)]
    input: Vec<PathBuf>,
    /// Which DICOM series of a folder with several
    #[arg(long, value_name = "UID")]
    series: Option<String>,
    /// The synthetic CT to write
    #[arg(long, value_name = "SCT", required_unless_present = "dicom_out")]
    out: Option<PathBuf>,
    /// A new folder for the synthetic CT as a DICOM series in the patient, study and frame of reference of the MR series
    #[arg(long, value_name = "DIR")]
    dicom_out: Option<PathBuf>,
    /// Also write the body that was found on the MR
    #[arg(long, value_name = "MASK")]
    body: Option<PathBuf>,
    /// Also write the standard deviation of what the models, sides and samples give, in HU
    #[arg(long, value_name = "SD")]
    uncertainty: Option<PathBuf>,
    /// Let networks also look at the MR mirrored left to right
    #[arg(long)]
    mirror: bool,
    /// Keep dropout on and let networks look so many times
    #[arg(long, value_name = "N", default_value_t = 0)]
    dropout_samples: usize,
    /// Seed of the dropout
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// What to compute on
    #[arg(long, value_enum, default_value_t = DeviceName::Auto)]
    device: DeviceName,
    /// The numbers a network computes in: bf16 is faster where the processor multiplies it, and less exact
    #[arg(long, value_name = "NAME", value_parser = Precision::NAMES, default_value = Precision::F32.name())]
    precision: String,
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let device = arguments.device.device(ui)?;
    let packages =
        arguments.model.iter().map(|path| ModelPackage::load(path)).collect::<Result<Vec<_>, _>>()?;
    let options = ReadOptions { series_uid: arguments.series.clone(), ..ReadOptions::default() };
    let read =
        || arguments.input.iter().map(|path| read_image(path, &options)).collect::<Result<Vec<_>, _>>();
    let mut images = ui.spin("reading", read)?;
    // Found out before the work rather than after it.
    let origin = arguments.dicom_out.as_ref().map(|_| origin_of(&images)).transpose()?;
    let mr: Vec<Volume<f32>> = images.drain(..).map(|image| image.volume).collect();
    let standard = PredictOptions::standard();
    let precision = Precision::named(&arguments.precision).unwrap_or(standard.precision);
    let prediction = {
        let mut bars = StageBars::new(ui);
        bars.stage("predicting", None);
        let mut on_progress = |progress| bars.predicting(progress);
        let options = PredictOptions {
            precision,
            mirror: arguments.mirror,
            dropout_samples: arguments.dropout_samples,
            seed: arguments.seed,
            ..standard
        };
        predict_ensemble(&packages, &mr, &options, &device, &mut on_progress)?
    };
    if arguments.uncertainty.is_some() && prediction.uncertainty_hu.is_none() {
        bail!(
            "`--uncertainty` needs several looks at the MR: give `--mirror`, `--dropout-samples 2` or more, or several `--model`; \
             a baseline has one look alone"
        );
    }
    if let Some(out) = &arguments.out {
        make_parent(out)?;
        ui.spin("writing", || write_volume(out, &prediction.sct, OutputType::I16))?;
    }
    if let (Some(folder), Some(origin)) = (&arguments.dicom_out, &origin) {
        make_parent(folder)?;
        let derivation = derivation(&packages);
        let text = SeriesText {
            description: "Synthetic CT from MR - NOT FOR CLINICAL USE",
            derivation: &derivation,
        };
        ui.spin("writing DICOM", || write_series(folder, &prediction.sct, ImageKind::Ct, origin, &text))?;
    }
    if let (Some(path), Some(uncertainty)) = (&arguments.uncertainty, &prediction.uncertainty_hu) {
        make_parent(path)?;
        write_volume(path, uncertainty, OutputType::F32)?;
    }
    if let Some(body) = &arguments.body {
        make_parent(body)?;
        write_mask(body, &prediction.body)?;
    }
    for warning in &prediction.warnings {
        tracing::warn!("{warning}");
    }
    let grid = prediction.sct.grid();
    for path in arguments.out.iter().chain(&arguments.dicom_out) {
        ui.say(&format!("wrote {}: {grid}; computed on {}", path.display(), prediction.computed_on));
    }
    Ok(ExitCode::SUCCESS)
}

/// How a synthetic CT was made, of the models alone: the same models and MR give the same UIDs wherever they lie.
fn derivation(packages: &[ModelPackage]) -> String {
    let models: Vec<String> = packages.iter().map(model_of).collect();
    format!(
        "Synthetic CT computed from MR by synthct {}: {}. Research only, not for clinical use.",
        env!("CARGO_PKG_VERSION"),
        models.join("; "),
    )
}

fn model_of(package: &ModelPackage) -> String {
    let provenance = package.provenance();
    let kind = match package.model() {
        PackagedModel::RoiNet(_) => "RoI-focused multi-task network",
        PackagedModel::Pix2Pix { .. } => "generator of a pix2pix pair",
        PackagedModel::Cascade(_) => "cascade of bone segmentation and regression",
        PackagedModel::VoxelRegression(_) => "voxel-wise regression",
        PackagedModel::BulkDensity(_) => "bulk densities",
        PackagedModel::DixonBulkDensity(_) => "bulk densities of Dixon images",
    };
    let epoch = provenance.best_epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
    let (n_cases, version) = (provenance.train.len(), &provenance.synthct_version);
    format!("{kind}{epoch}, trained on {n_cases} case(s) by synthct {version}")
}

/// The series that the first MR is.
fn origin_of(images: &[Image]) -> Result<Origin> {
    let first = images.first().and_then(|image| image.info.series.as_ref()).context(
        "--dicom-out needs an MR that is a DICOM series, whose patient and frame of reference the synthetic CT gets; \
         write --out, then `sct convert SCT DIR --dicom ct --patient-id ID`",
    )?;
    Ok(Origin::of_series(first)?)
}
