//! `sct info`: what is in a file or folder, and what is wrong with it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use sct::image::{Grid, PointLps};
use sct::io::dicom::{self, SeriesInfo};
use sct::io::{self, ReadOptions};
use serde::Serialize;

use super::write_numbers;

/// Show what is in a file or folder, and what is wrong with it
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sct info mr.nii.gz\n  sct info DICOM_FOLDER      lists every series with its UID and its problems\n\n\
    Corners and origin are in DICOM patient coordinates (LPS, mm)."
)]
pub(crate) struct Arguments {
    /// An image file, or a folder with DICOM files
    path: PathBuf,
    /// Also write the findings as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was found, as JSON shows it.
#[derive(Serialize)]
struct Findings {
    /// The image of a file that is not DICOM.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<ImageFindings>,
    /// The DICOM series.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<SeriesFindings>,
    /// What is wrong, beyond single series.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

#[derive(Serialize)]
struct ImageFindings {
    format: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    element_type: Option<String>,
    n_frames: usize,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid: Option<GridFindings>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct SeriesFindings {
    series_uid: String,
    modality: String,
    description: Option<String>,
    manufacturer: Option<String>,
    magnetic_field_strength_t: Option<f64>,
    kvp: Option<f64>,
    patient_position: Option<String>,
    n_files: usize,
    is_readable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid: Option<GridFindings>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct GridFindings {
    size_ijk: [usize; 3],
    spacing_mm: [f64; 3],
    origin_lps: [f64; 3],
    /// The i, j and k axes in LPS.
    axes_lps: [[f64; 3]; 3],
    /// The centres of the corner voxels, i fastest.
    corners_lps: [[f64; 3]; 8],
}

impl From<&Grid> for GridFindings {
    fn from(grid: &Grid) -> Self {
        Self {
            size_ijk: grid.size_ijk(),
            spacing_mm: grid.spacing_mm(),
            origin_lps: grid.origin_lps().to_array(),
            axes_lps: [0, 1, 2].map(|axis| grid.direction().column(axis)),
            corners_lps: grid.corner_points().map(PointLps::to_array),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the findings are the command's output")]
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = &arguments.path;
    let mut text = String::new();
    let findings = if path.is_dir() || dicom::is_dicom(path)? {
        let listing = dicom::list_series(path)?;
        writeln!(
            text,
            "{} DICOM series in {} files ({} of them not DICOM images)",
            listing.series.len(),
            listing.n_files,
            listing.n_other_files
        )?;
        for series in &listing.series {
            describe_series(&mut text, series)?;
        }
        for damage in &listing.damaged_files {
            writeln!(text, "damaged: {damage}")?;
        }
        let series = listing.series.iter().map(series_findings).collect();
        Findings { image: None, series, problems: listing.damaged_files }
    } else {
        let info = io::describe(path, &ReadOptions::default())?;
        writeln!(text, "format       {}", info.format)?;
        if let Some(storage) = &info.storage {
            let compression = if storage.is_compressed { ", compressed" } else { "" };
            writeln!(text, "voxel type   {:?}{compression}", storage.element_type)?;
            if let Some(scaling) = storage.scaling {
                writeln!(text, "scaling      value = {} × stored + {}", scaling.slope, scaling.intercept)?;
            }
        }
        if info.n_frames != 1 {
            writeln!(text, "frames       {}", info.n_frames)?;
        }
        if !info.description.is_empty() {
            writeln!(text, "description  {}", info.description)?;
        }
        match &info.grid {
            Some(grid) => describe_grid(&mut text, grid)?,
            None => writeln!(text, "size         {:?} (i, j, k), position unknown", info.size_ijk)?,
        }
        for warning in &info.warnings {
            writeln!(text, "warning      {warning}")?;
        }
        let image = ImageFindings {
            format: info.format.to_string(),
            element_type: info.storage.as_ref().map(|storage| format!("{:?}", storage.element_type)),
            n_frames: info.n_frames,
            description: info.description,
            grid: info.grid.as_ref().map(GridFindings::from),
            warnings: info.warnings,
        };
        Findings { image: Some(image), series: Vec::new(), problems: Vec::new() }
    };
    print!("{text}");
    write_numbers(arguments.json.as_deref(), &findings)?;
    Ok(ExitCode::SUCCESS)
}

fn series_findings(series: &SeriesInfo) -> SeriesFindings {
    SeriesFindings {
        series_uid: series.series_uid.clone(),
        modality: series.modality.clone(),
        description: series.description.clone(),
        manufacturer: series.manufacturer.clone(),
        magnetic_field_strength_t: series.magnetic_field_strength_t,
        kvp: series.kvp,
        patient_position: series.patient_position.clone(),
        n_files: series.n_files,
        is_readable: series.is_readable(),
        grid: series.grid.as_ref().map(GridFindings::from),
        problems: series.problems.iter().map(ToString::to_string).collect(),
    }
}

fn describe_series(text: &mut String, series: &SeriesInfo) -> Result<()> {
    writeln!(text, "\n{}", series.summary())?;
    let scanner: Vec<String> = [
        series.manufacturer.clone(),
        series.model.clone(),
        series.magnetic_field_strength_t.map(|tesla| format!("{tesla} T")),
        series.kvp.map(|kvp| format!("{kvp} kV")),
        series.patient_position.clone(),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !scanner.is_empty() {
        writeln!(text, "scanner      {}", scanner.join(", "))?;
    }
    if let Some(grid) = &series.grid {
        describe_grid(text, grid)?;
    }
    for problem in &series.problems {
        writeln!(text, "{:<13}{problem}", if problem.is_fatal() { "error" } else { "note" })?;
    }
    if !series.is_readable() {
        writeln!(text, "             this series cannot be read as one volume")?;
    }
    Ok(())
}

fn describe_grid(text: &mut String, grid: &Grid) -> Result<()> {
    let [ni, nj, nk] = grid.size_ijk();
    let [si, sj, sk] = grid.spacing_mm();
    let [x, y, z] = grid.origin_lps().to_array();
    writeln!(text, "size         {ni} × {nj} × {nk} voxels (i, j, k)")?;
    writeln!(text, "spacing      {si:.4} × {sj:.4} × {sk:.4} mm")?;
    writeln!(text, "origin       ({x:.3}, {y:.3}, {z:.3}) mm LPS")?;
    for axis in 0..3 {
        let [x, y, z] = grid.direction().column(axis);
        writeln!(text, "axis {}       ({x:+.5}, {y:+.5}, {z:+.5})", ["i", "j", "k"][axis])?;
    }
    Ok(())
}
