//! `sct n4`: an MR without its bias field.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{ArgGroup, Args, value_parser};
use sct::io::{OutputType, read_volume, write_volume};
use sct::prep::{N4Config, N4Level, n4};
use serde::Serialize;

use super::{Modality, make_parent, mask_or_body, write_numbers};
use crate::progress::Ui;

/// Correct the bias field of an MR: the shading that coils and the body leave
#[derive(Args)]
#[command(group = ArgGroup::new("outputs").args(["output", "field"]).required(true).multiple(true))]
#[command(after_help = "Examples:\n  sct n4 mr.nii.gz corrected.nii.gz\n  \
    sct n4 mr.nii.gz corrected.nii.gz --mask mask.nii.gz --field field.nii.gz\n  \
    sct n4 mr.nii.gz --mask mask.nii.gz --field field.nii.gz --shrink 2 --tolerance 1e-6      the field alone, more exactly\n\n\
    MR as scanned = field × corrected MR. The field is found on every 4th voxel along each axis (--shrink), in levels from a\n\
    coarse to a fine spline, and evaluated at every voxel of the MR. Values at or below zero keep out of the logarithm.\n\
    How far apart that is depends on the MR; --shrink-mm 6 is the same for all.\n\
    A model package corrects by itself, as it was trained: `sct predict` wants the MR as it is.")]
pub(crate) struct Arguments {
    /// The MR: a file, or a folder with a DICOM series
    input: PathBuf,
    /// The corrected MR to write; it may be left out if --field is given
    output: Option<PathBuf>,
    /// Where the field is fitted, above zero; without it the body is found on the MR
    #[arg(long, value_name = "M")]
    mask: Option<PathBuf>,
    /// Also write the multiplicative field
    #[arg(long, value_name = "F")]
    field: Option<PathBuf>,
    /// Use every N-th voxel along each axis
    #[arg(long, value_name = "N", default_value_t = 4)]
    shrink: usize,
    /// Or use voxels this far apart, whatever the MR's spacing
    #[arg(long, value_name = "MM", conflicts_with = "shrink")]
    shrink_mm: Option<f64>,
    /// A level ends when the field changes by less than this (standard deviation over mean of the ratio)
    #[arg(long, value_name = "T", default_value_t = 1e-3)]
    tolerance: f64,
    /// Fitting levels; each has splines of half the width of the one before
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u8).range(1..=8))]
    levels: u8,
    /// The most iterations of a level
    #[arg(long, value_name = "N", default_value_t = 50)]
    iterations: u32,
    /// Exactly ITK's algorithm, which takes smaller steps and keeps sharpening as strongly to the end
    #[arg(long)]
    itk: bool,
    /// Also write how each level ended as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How the correction went, as JSON shows it.
#[derive(Serialize)]
struct Numbers<'a> {
    config: &'a N4Config,
    levels: &'a [N4Level],
    /// The field's range over the mask.
    field_min: f32,
    field_max: f32,
    /// The seconds of the correction alone, without reading and writing.
    seconds: f64,
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let mr = ui.spin("reading", || read_volume(&arguments.input))?;
    let mask = mask_or_body(arguments.mask.as_deref(), &mr, Modality::Mr)?;
    let config = N4Config {
        shrink_factor: arguments.shrink_mm.map_or(arguments.shrink, |mm| N4Config::shrink_for(mr.grid(), mm)),
        convergence_threshold: arguments.tolerance,
        maximum_number_of_iterations: vec![arguments.iterations as usize; usize::from(arguments.levels)],
        ..if arguments.itk { N4Config::itk() } else { N4Config::default() }
    };
    let start = Instant::now();
    let mut bar = ui.steps("N4", u64::from(arguments.levels) * u64::from(arguments.iterations));
    let correction = n4(&mr, &mask, None, &config, &mut |progress| {
        bar.at(
            (progress.level * progress.iterations + progress.iteration) as u64,
            &format!(
                "level {} of {}, change {:.1e}",
                progress.level + 1,
                progress.levels,
                progress.convergence
            ),
        );
    })?;
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();
    let inside = std::iter::zip(correction.field.as_slice(), mask.as_slice()).filter(|(_, inside)| **inside);
    let (field_min, field_max) =
        inside.fold((f32::INFINITY, 0.0_f32), |(min, max), (&value, _)| (min.min(value), max.max(value)));
    for (path, volume) in [(&arguments.output, &correction.corrected), (&arguments.field, &correction.field)]
    {
        if let Some(path) = path {
            make_parent(path)?;
            ui.spin("writing", || write_volume(path, volume, OutputType::F32))?;
            ui.say(&format!("wrote {}", path.display()));
        }
    }
    ui.say(&format!("the field spans {field_min:.3} to {field_max:.3} in the mask"));
    let numbers = Numbers { config: &config, levels: &correction.levels, field_min, field_max, seconds };
    write_numbers(arguments.json.as_deref(), &numbers)?;
    Ok(ExitCode::SUCCESS)
}
