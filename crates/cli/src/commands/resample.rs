//! `sct resample`: an image on another grid.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use sct::image::{Grid, Interpolation, Transform, Volume, resample};
use sct::io::{
    ElementType, Image, OutputType, ReadOptions, describe, read_image, read_transform, write_volume,
};

use super::{TypeName, make_parent, spacing_of};
use crate::progress::Ui;

/// Bring an image onto another grid, through a transform where there is one
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sct resample ct.nii.gz --like mr.nii.gz ct_on_mr.nii.gz --transform mr_to_ct.tfm --outside -1000\n  \
    sct resample labels.nii.gz --like mr.nii.gz labels_on_mr.nii.gz --interpolation nearest\n  \
    sct resample mr.nii.gz mr_1mm.nii.gz --spacing-mm 1\n\n\
    The transform takes points of REF to points of IN (LPS, mm), as `sct register --fixed REF --moving IN` writes it and as\n\
    ITK, SimpleITK and elastix have it. Masks and labels want `--interpolation nearest`, which keeps the voxel type, too.\n\
    Nothing is averaged: onto a much coarser grid, fine detail is sampled, not smoothed."
)]
pub(crate) struct Arguments {
    /// The image to resample: a file, or a folder with a DICOM series
    input: PathBuf,
    /// The file to write: .nii, .nii.gz, .hdr, .mha or .mhd
    output: PathBuf,
    /// The image whose grid is wanted
    #[arg(long, value_name = "REF", required_unless_present = "spacing_mm")]
    like: Option<PathBuf>,
    /// The spacing wanted in mm, one number or three for i, j, k; axes and extent stay those of IN
    #[arg(long, value_name = "MM", value_delimiter = ',', num_args = 1, conflicts_with = "like")]
    spacing_mm: Vec<f64>,
    /// The transform from points of the wanted grid to points of IN: an ITK transform file, or a displacement field
    #[arg(long, value_name = "T")]
    transform: Option<PathBuf>,
    /// Between voxels: cubic is a B-spline, which can overshoot beside edges
    #[arg(long, value_enum, default_value_t = InterpolationName::Linear)]
    interpolation: InterpolationName,
    /// The value where IN has no voxel; −1000 for a CT
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    outside: Option<f32>,
    /// The stored voxel type; without it that of IN for `nearest`, and f32 otherwise
    #[arg(long = "type", value_enum)]
    output_type: Option<TypeName>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum InterpolationName {
    Linear,
    Nearest,
    Cubic,
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let image = ui.spin("reading", || read_image(&arguments.input, &ReadOptions::default()))?;
    let target = match &arguments.like {
        Some(like) => grid_of(like)?,
        None => image.volume.grid().respaced(spacing_of(&arguments.spacing_mm)?)?,
    };
    let transform = arguments.transform.as_deref().map(read_transform).transpose()?;
    let outside = arguments.outside.unwrap_or_else(|| {
        warn_of_water_around(&image.volume, &target, transform.as_ref());
        0.0
    });
    let interpolation = match arguments.interpolation {
        InterpolationName::Linear => Interpolation::Linear,
        InterpolationName::Nearest => Interpolation::Nearest,
        InterpolationName::Cubic => Interpolation::CubicBSpline,
    };
    let resampled = ui.spin("resampling", || {
        resample(&image.volume, &target, transform.as_ref(), interpolation, outside)
    })?;
    let output_type = match arguments.output_type {
        Some(name) => name.output_type(),
        None if interpolation == Interpolation::Nearest => stored_type(&image),
        None => OutputType::F32,
    };
    make_parent(&arguments.output)?;
    ui.spin("writing", || write_volume(&arguments.output, &resampled, output_type))?;
    ui.say(&format!("wrote {}: {}", arguments.output.display(), resampled.grid()));
    Ok(ExitCode::SUCCESS)
}

/// The grid of an image, of its header alone where that has one.
fn grid_of(path: &Path) -> Result<Grid> {
    let options = ReadOptions::default();
    match describe(path, &options)?.grid {
        Some(grid) => Ok(grid),
        // Reading says why there is none.
        None => Ok(read_image(path, &options)?.volume.grid().clone()),
    }
}

/// The type that holds the stored values again, where no value is new.
fn stored_type(image: &Image) -> OutputType {
    let storage = image.info.storage.filter(|storage| storage.scaling.is_none());
    match storage.map(|storage| storage.element_type) {
        Some(ElementType::U8) => OutputType::U8,
        Some(ElementType::U16) => OutputType::U16,
        Some(ElementType::I8 | ElementType::I16) => OutputType::I16,
        _ => OutputType::F32,
    }
}

/// Warns if what looks like a CT in HU is about to be surrounded by zeros, which are water.
fn warn_of_water_around(volume: &Volume<f32>, target: &Grid, moving_from_fixed: Option<&Transform>) {
    let size = volume.grid().size_ijk();
    let reaches_out = target.corner_points().into_iter().any(|corner| {
        let at = volume.grid().index_from_lps(moving_from_fixed.map_or(corner, |map| map.apply(corner)));
        std::iter::zip([at.i, at.j, at.k], size).any(|(at, n)| !(-0.5..n as f64 - 0.5).contains(&at))
    });
    if reaches_out && volume.as_slice().iter().any(|&value| value < -500.0) {
        tracing::warn!("what IN does not cover becomes 0, which is water in a CT: give `--outside -1000`");
    }
}
