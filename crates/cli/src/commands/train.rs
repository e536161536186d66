//! `sct train`: a model from a cohort.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use sct::model::{
    CaseIdentity, NormalizationMethod, OptimizerConfig, RunMode, RunRecord, TrainConfig, TrainOutcome,
    read_run, train,
};
use sct::nn::Precision;
use sct::pipeline::{Observer as _, find_cases, load_case, split_for_validation};
use sct::prep::N4Config;

use super::spacing_of;
use crate::device::DeviceName;
use crate::progress::{StageBars, Ui};

/// Train a model on a cohort of aligned MR/CT pairs
#[derive(Args)]
#[command(after_help = "Examples:\n  sct train --data cohort --preset 3tn --out run\n  \
    sct train --data cohort --out run --resume          go on after a stop or a kill, to the same weights\n  \
    sct train --data cohort --preset regression --exclude p07,p08 --out run-regression\n\n\
    The cohort is a folder with DIR/<ID>/{mr,ct,mask}.nii.gz. The model package is RUN/package; RUN/metrics.csv has the\n\
    losses of every epoch, RUN/split.json who was trained and validated on. Splits are by subject, never by slice.")]
pub(crate) struct Arguments {
    /// Folder of the cohort
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// What to train: the multi-task network and its ablations, a GAN, a cascade, or a baseline
    #[arg(long, value_name = "NAME", value_parser = TrainConfig::PRESETS, required_unless_present_any = ["config", "resume"])]
    preset: Option<String>,
    /// A complete configuration instead of a preset, as RUN/config.json has it
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    config: Option<PathBuf>,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Go on with a run that was stopped or killed; without a preset, as RUN/config.json and RUN/split.json say
    #[arg(long)]
    resume: bool,
    /// Subjects to choose the best epoch by; without it a fifth of the cohort is drawn with the seed
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    validation: Vec<String>,
    /// Subjects to keep out of the training altogether, for the test
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    exclude: Vec<String>,
    /// MR channels in order: `mr` is mr.nii.gz, any other NAME is mr_NAME.nii.gz
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    channels: Vec<String>,
    /// Number of epochs
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Slices in a batch
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// What moves the weights, with PyTorch's defaults; without it as the preset has it
    #[arg(long, value_name = "NAME", value_parser = OptimizerConfig::NAMES)]
    optimizer: Option<String>,
    /// The optimizer's step size; without it as the preset has it
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// The numbers the network computes in; without it f32. bf16 is faster where the processor multiplies it, and less exact
    #[arg(long, value_name = "NAME", value_parser = Precision::NAMES)]
    precision: Option<String>,
    /// Filters of the network's first block
    #[arg(long, value_name = "F")]
    filters: Option<usize>,
    /// Voxel spacing of the model grid in mm: one number, or three for patient x, y, z; without it that of the first subject
    #[arg(long, value_name = "MM", value_delimiter = ',', num_args = 1)]
    spacing_mm: Vec<f64>,
    /// How the MR is brought to one intensity scale in the body; without it zscore. percentile makes the 1st and 99th
    /// percentiles 0 and 1; nyul learns landmarks of the training subjects and lays the outermost at -1 and 1
    #[arg(long, value_name = "NAME", value_parser = NormalizationMethod::NAMES)]
    normalization: Option<String>,
    /// Take bias fields out of the MR by N4, here and in prediction; presets do so, a configuration may not
    #[arg(long, conflicts_with = "no_bias_correction")]
    bias_correction: bool,
    /// Leave bias fields in the MR: for MRs that are corrected already, or have values at or below zero
    #[arg(long)]
    no_bias_correction: bool,
    /// Seed of weights, order, dropout, augmentation and validation subjects
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// What to compute on
    #[arg(long, value_enum, default_value_t = DeviceName::Auto)]
    device: DeviceName,
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let device = arguments.device.device(ui)?;
    // What is not said again when resuming is as it was.
    let record = if arguments.resume { Some(read_run(&arguments.out)?) } else { None };
    let config = configuration(arguments, record.as_ref())?;
    let files = find_cases(&arguments.data, &config.channels)?;
    for id in arguments.validation.iter().chain(&arguments.exclude) {
        if !files.iter().any(|case| case.id == *id) {
            bail!("`{}` has no subject `{id}`", arguments.data.display());
        }
    }
    let (usable, validation_ids) = match &record {
        Some(record) if arguments.validation.is_empty() && arguments.exclude.is_empty() => {
            let ids = |cases: &[CaseIdentity]| cases.iter().map(|case| case.id.clone()).collect::<Vec<_>>();
            let (train_ids, validation_ids) = (ids(&record.train), ids(&record.validation));
            let is_used = |id: &String| train_ids.contains(id) || validation_ids.contains(id);
            (files.into_iter().filter(|case| is_used(&case.id)).collect::<Vec<_>>(), validation_ids)
        }
        _ => {
            let usable: Vec<_> =
                files.into_iter().filter(|case| !arguments.exclude.contains(&case.id)).collect();
            let ids: Vec<String> = usable.iter().map(|case| case.id.clone()).collect();
            let validation_ids = if arguments.validation.is_empty() {
                split_for_validation(&ids, config.seed)?
            } else {
                arguments.validation.clone()
            };
            (usable, validation_ids)
        }
    };
    let mut bars = StageBars::new(ui);
    bars.stage("reading", Some(usable.len()));
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for files in &usable {
        let side = if validation_ids.contains(&files.id) { &mut validation } else { &mut training };
        side.push(load_case(files)?);
        let _ = bars.done(1);
    }
    bars.stage("training", None);
    let mode = if arguments.resume { RunMode::Resume } else { RunMode::New };
    let outcome = train(&training, &validation, &config, &arguments.out, mode, &device, &mut bars)?;
    drop(bars);
    if outcome == TrainOutcome::Stopped {
        bail!("stopped; go on with `--resume`");
    }
    ui.say(&format!("the model is in {}", arguments.out.join("package").display()));
    Ok(ExitCode::SUCCESS)
}

/// The preset, file or earlier run, with the changes that the command line asks for.
fn configuration(arguments: &Arguments, record: Option<&RunRecord>) -> Result<TrainConfig> {
    let mut config = match (&arguments.preset, &arguments.config, record) {
        (Some(preset), _, _) => TrainConfig::preset(preset)?,
        (None, None, Some(record)) => record.config.clone(),
        (None, Some(path), _) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("`{}` is not a training configuration", path.display()))?
        }
        (None, None, None) => bail!("give `--preset NAME` or `--config FILE`"),
    };
    if !arguments.channels.is_empty() {
        config.channels.clone_from(&arguments.channels);
    }
    config.epochs = arguments.epochs.unwrap_or(config.epochs);
    config.batch_size = arguments.batch_size.unwrap_or(config.batch_size);
    config.learning_rate = arguments.learning_rate.unwrap_or(config.learning_rate);
    if let Some(optimizer) = arguments.optimizer.as_deref().and_then(OptimizerConfig::named) {
        config.optimizer = optimizer;
    }
    if let Some(precision) = arguments.precision.as_deref().and_then(Precision::named) {
        config.precision = precision;
    }
    if let Some(method) = arguments.normalization.as_deref().and_then(NormalizationMethod::named) {
        config.normalization = method;
    }
    if arguments.no_bias_correction {
        config.bias_correction = None;
    } else if arguments.bias_correction && config.bias_correction.is_none() {
        config.bias_correction = Some(N4Config::default());
    }
    config.seed = arguments.seed.unwrap_or(config.seed);
    if !arguments.spacing_mm.is_empty() {
        config.spacing_mm = Some(spacing_of(&arguments.spacing_mm)?);
    }
    if let Some(filters) = arguments.filters
        && !config.architecture.set_filters(filters)
    {
        bail!("`--filters` is for networks; this preset is a baseline");
    }
    Ok(config)
}
