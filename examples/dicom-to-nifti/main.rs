//! Reads a DICOM folder and writes NIfTI.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::PathBuf;

use anyhow::{Context, Result};
use synthct_io::dicom::{list_series, read_series};
use synthct_io::{OutputType, write_volume};

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let usage = "usage: dicom-to-nifti FOLDER OUT.nii.gz [SERIES_UID]";
    let folder = PathBuf::from(arguments.next().context(usage)?);
    let out = PathBuf::from(arguments.next().context(usage)?);
    let uid = arguments.next().map(|uid| uid.to_string_lossy().into_owned());

    for series in list_series(&folder)?.series {
        println!("found   {}", series.summary());
    }
    let (volume, series) = read_series(&folder, uid.as_deref())?;
    println!("read    {}", series.summary());
    for problem in &series.problems {
        println!("note    {problem}");
    }
    write_volume(&out, &volume, OutputType::Auto)?;
    println!("wrote   {}: {}", out.display(), volume.grid());
    Ok(())
}
