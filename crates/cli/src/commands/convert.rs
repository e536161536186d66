//! `sct convert`: any readable image to NIfTI or MetaImage.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use sct::image::VoxelIndex;
use sct::io::{MissingGeometry, ReadOptions, read_volume_with, write_volume};
use serde::Serialize;

use super::{TypeName, make_parent, write_numbers};
use crate::progress::Ui;

/// Convert an image or a DICOM series to NIfTI or MetaImage
#[derive(Args)]
#[command(after_help = "Examples:\n  sct convert DICOM_FOLDER mr.nii.gz --series 1.2.840.113619…\n  \
    sct convert TILTED_CT ct.nii.gz --untilt --fill-gaps\n  sct convert ct.mha ct.nii.gz --type i16\n  sct convert mr.nii.gz block.nii.gz --slices 0..40")]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent flag of the command line")]
pub(crate) struct Arguments {
    /// An image file, or a folder with a DICOM series
    input: PathBuf,
    /// The file to write: .nii, .nii.gz, .hdr, .mha or .mhd
    output: PathBuf,
    /// Which DICOM series of a folder with several
    #[arg(long, value_name = "UID")]
    series: Option<String>,
    /// Which volume of a file or DICOM series with several, from 0; `sct info` lists them
    #[arg(long, value_name = "N")]
    frame: Option<usize>,
    /// Interpolate DICOM slices that are missing or unevenly spaced
    #[arg(long)]
    fill_gaps: bool,
    /// Resample a CT with tilted gantry onto upright slices
    #[arg(long)]
    untilt: bool,
    /// Read Philips MR in the values of their private scaling, which are on one scale over an examination
    #[arg(long)]
    philips_precise: bool,
    /// Keep only the slices FIRST..END (END not included) along the stored k axis
    #[arg(long, value_name = "FIRST..END")]
    slices: Option<String>,
    /// The stored voxel type
    #[arg(long = "type", value_enum, default_value_t = TypeName::Auto)]
    output_type: TypeName,
    /// Read files that do not say where their voxels are, with the voxel size alone
    #[arg(long)]
    assume_geometry: bool,
    /// Also write the seconds that reading and writing took as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The numbers of a conversion, as JSON shows them.
#[derive(Serialize)]
struct Numbers {
    read_seconds: f64,
    write_seconds: f64,
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let options = ReadOptions {
        missing_geometry: if arguments.assume_geometry {
            MissingGeometry::FromPixdim
        } else {
            MissingGeometry::Refuse
        },
        frame: arguments.frame,
        series_uid: arguments.series.clone(),
        fill_gaps: arguments.fill_gaps,
        untilt: arguments.untilt,
        philips_precise: arguments.philips_precise,
    };
    let start = Instant::now();
    let mut volume = ui.spin("reading", || read_volume_with(&arguments.input, &options))?;
    let read_seconds = start.elapsed().as_secs_f64();
    if let Some(slices) = &arguments.slices {
        let [ni, nj, nk] = volume.grid().size_ijk();
        let (first, end) = parse_range(slices)?;
        if first >= end || end > nk {
            bail!("`--slices {slices}` does not fit the image, which has the slices 0..{nk}");
        }
        volume = volume.crop(VoxelIndex::new(0, 0, first), [ni, nj, end - first])?;
    }
    make_parent(&arguments.output)?;
    let output_type = arguments.output_type.output_type();
    let start = Instant::now();
    ui.spin("writing", || write_volume(&arguments.output, &volume, output_type))?;
    let numbers = Numbers { read_seconds, write_seconds: start.elapsed().as_secs_f64() };
    write_numbers(arguments.json.as_deref(), &numbers)?;
    ui.say(&format!("wrote {}: {}", arguments.output.display(), volume.grid()));
    Ok(ExitCode::SUCCESS)
}

/// `FIRST..END` as two numbers.
fn parse_range(text: &str) -> Result<(usize, usize)> {
    let parse = || {
        let (first, end) = text.split_once("..")?;
        Some((first.trim().parse().ok()?, end.trim().parse().ok()?))
    };
    parse().with_context(|| format!("`{text}` is not a range FIRST..END, for example 0..40"))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_are_two_numbers() {
        assert_eq!(parse_range("3..17").ok(), Some((3, 17)));
        for bad in ["3-17", "3..", "..", "a..b", "-1..4"] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}
