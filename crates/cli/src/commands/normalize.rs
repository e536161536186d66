//! `sct normalize`: MR intensities on a common scale.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use sct::image::{Mask, Volume};
use sct::io::{OutputType, read_mask, read_volume, write_volume};
use sct::pipeline::{Observer as _, find_cases, write_json};
use sct::prep::{
    NyulConfig, NyulFit, NyulLandmarks, PercentileConfig, PercentileRange, ZScore, percentile, zscore,
};
use serde::Serialize;

use super::{Modality, make_parent, mask_or_body, write_numbers};
use crate::progress::{StageBars, Ui};

/// Bring MR intensities onto a common scale: z-score, percentiles, or Nyúl's landmarks
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sct normalize mr.nii.gz z.nii.gz --method zscore --mask mask.nii.gz\n  \
    sct normalize mr.nii.gz p.nii.gz --method percentile --mask mask.nii.gz --percentiles 1,99\n\n\
    Nyúl's method learns landmarks of a cohort once, then brings any image of the kind onto them:\n  \
    sct normalize --fit-cohort cohort --landmarks t1w.json\n  \
    sct normalize --fit a.nii.gz b.nii.gz c.nii.gz --landmarks t1w.json\n  \
    sct normalize mr.nii.gz n.nii.gz --method nyul --landmarks t1w.json --mask mask.nii.gz\n\n\
    Statistics are those inside the mask; every voxel is mapped. Without --mask, zscore and percentile find the body on the\n\
    MR, and nyul takes the voxels above zero; fit and apply alike, with masks or without. Correct the bias field first: see\n\
    `sct n4 --help`. A model package normalises by itself, as it was trained: `sct predict` wants the MR as it is."
)]
pub(crate) struct Arguments {
    /// The MR: a file, or a folder with a DICOM series
    #[arg(required_unless_present_any = ["fit", "fit_cohort"])]
    input: Option<PathBuf>,
    /// The file to write
    #[arg(required_unless_present_any = ["fit", "fit_cohort"])]
    output: Option<PathBuf>,
    /// zscore: mean 0 and standard deviation 1; percentile: one percentile 0 and another 1; nyul: the cohort's landmarks
    #[arg(long, value_enum, required_unless_present_any = ["fit", "fit_cohort"])]
    method: Option<Method>,
    /// Where statistics are taken: above zero is inside; with --fit one for each MR, in their order
    #[arg(long, value_name = "M", num_args = 1..)]
    mask: Vec<PathBuf>,
    /// The landmarks of Nyúl's method: read, or written by a fit
    #[arg(long, value_name = "FILE", required_if_eq("method", "nyul"), required_unless_present_any = ["input"])]
    landmarks: Option<PathBuf>,
    /// The two percentiles that become 0 and 1
    #[arg(long, value_name = "LOW,HIGH", value_delimiter = ',', num_args = 1, default_values_t = [1.0, 99.0])]
    percentiles: Vec<f64>,
    /// With percentile: what lies beyond becomes 0 and 1
    #[arg(long)]
    clip: bool,
    /// Fit landmarks to these MRs
    #[arg(long, value_name = "MR", num_args = 1.., conflicts_with_all = ["input", "output", "method"])]
    fit: Vec<PathBuf>,
    /// Fit landmarks to the MRs of a cohort DIR/<ID>/{mr,mask}.nii.gz, inside their masks
    #[arg(long, value_name = "DIR", conflicts_with_all = ["input", "output", "method", "mask", "fit"])]
    fit_cohort: Option<PathBuf>,
    /// The MR channel of the cohort: `mr` is mr.nii.gz, any other NAME is mr_NAME.nii.gz
    #[arg(long, value_name = "NAME", default_value = "mr", requires = "fit_cohort")]
    channel: String,
    /// Also write what the image was normalised with as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    Zscore,
    Percentile,
    Nyul,
}

/// What an image was normalised with, as JSON shows it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "method")]
enum Parameters {
    Zscore(ZScore),
    Percentile(PercentileRange),
    Nyul(NyulLandmarks),
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    match (&arguments.input, &arguments.output, arguments.method) {
        (Some(input), Some(output), Some(method)) => apply(arguments, input, output, method, ui),
        _ => fit(arguments, ui),
    }
}

fn apply(arguments: &Arguments, input: &Path, output: &Path, method: Method, ui: &Ui) -> Result<ExitCode> {
    let mask = match &arguments.mask[..] {
        [] => None,
        [mask] => Some(mask.as_path()),
        several => bail!("one image has one mask, but {} are given", several.len()),
    };
    let mr = ui.spin("reading", || read_volume(input))?;
    let (normalized, parameters) = match method {
        Method::Zscore => {
            let (normalized, parameters) = zscore(&mr, &mask_or_body(mask, &mr, Modality::Mr)?)?;
            (normalized, Parameters::Zscore(parameters))
        }
        Method::Percentile => {
            let [low_percent, high_percent] = arguments.percentiles[..] else {
                bail!("`--percentiles` takes two numbers, for example 1,99");
            };
            let config = PercentileConfig { low_percent, high_percent, clip: arguments.clip };
            let (normalized, parameters) = percentile(&mr, &mask_or_body(mask, &mr, Modality::Mr)?, config)?;
            (normalized, Parameters::Percentile(parameters))
        }
        Method::Nyul => {
            let landmarks =
                read_landmarks(arguments.landmarks.as_deref().context("landmarks are required")?)?;
            let mask = mask.map(read_mask).transpose()?;
            (landmarks.apply(&mr, mask.as_ref())?, Parameters::Nyul(landmarks))
        }
    };
    make_parent(output)?;
    ui.spin("writing", || write_volume(output, &normalized, OutputType::F32))?;
    write_numbers(arguments.json.as_deref(), &parameters)?;
    ui.say(&format!("wrote {}", output.display()));
    Ok(ExitCode::SUCCESS)
}

fn fit(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let file =
        arguments.landmarks.as_deref().context("say with `--landmarks FILE` where the landmarks go")?;
    // Every MR with its mask.
    let images: Vec<(PathBuf, Option<PathBuf>)> = if let Some(cohort) = &arguments.fit_cohort {
        let cases = find_cases(cohort, std::slice::from_ref(&arguments.channel))?;
        cases
            .into_iter()
            .flat_map(|case| case.mr.into_iter().map(move |mr| (mr, case.mask.clone())))
            .collect()
    } else if arguments.mask.is_empty() {
        arguments.fit.iter().map(|mr| (mr.clone(), None)).collect()
    } else if arguments.mask.len() == arguments.fit.len() {
        std::iter::zip(&arguments.fit, &arguments.mask)
            .map(|(mr, mask)| (mr.clone(), Some(mask.clone())))
            .collect()
    } else {
        bail!(
            "{} MRs are given with {} masks: give one for each, in their order, or none",
            arguments.fit.len(),
            arguments.mask.len()
        );
    };
    let n_masks = images.iter().filter(|(_, mask)| mask.is_some()).count();
    if n_masks > 0 && n_masks < images.len() {
        bail!("{n_masks} of {} subjects have a mask: all must, or none", images.len());
    }
    let mut fit = NyulFit::new(NyulConfig::intensity_normalization())?;
    let mut bars = StageBars::new(ui);
    bars.stage("fitting", Some(images.len()));
    for (mr, mask) in &images {
        add(&mut fit, mr, mask.as_deref())
            .with_context(|| format!("`{}` cannot be taken into the fit", mr.display()))?;
        let _ = bars.done(1);
    }
    drop(bars);
    make_parent(file)?;
    write_json(file, &fit.landmarks()?)?;
    ui.say(&format!("wrote {}: landmarks of {} images", file.display(), images.len()));
    Ok(ExitCode::SUCCESS)
}

fn add(fit: &mut NyulFit, mr: &Path, mask: Option<&Path>) -> Result<()> {
    let volume: Volume<f32> = read_volume(mr)?;
    let mask: Option<Mask> = mask.map(read_mask).transpose()?;
    Ok(fit.add(&volume, mask.as_ref())?)
}

fn read_landmarks(path: &Path) -> Result<NyulLandmarks> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!("`{}` holds no landmarks; fit them with `--fit` or `--fit-cohort`", path.display())
    })
}
