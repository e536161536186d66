//! `sct info`: what is in a file or folder, and what is wrong with it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use sct::image::{Grid, PointLps};
use sct::io::dicom::{self, SeriesInfo, SeriesProblem, VolumeInfo};
use sct::io::{self, ReadOptions};
use serde::Serialize;

use super::write_numbers;

/// Show what is in a file or folder, and what is wrong with it
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sct info mr.nii.gz\n  sct info DICOM_FOLDER      a table of studies and series, then each with its UID, geometry and problems\n\n\
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
    study_uid: Option<String>,
    study_date: Option<String>,
    series_uid: String,
    series_number: Option<f64>,
    modality: String,
    description: Option<String>,
    compression: Option<&'static str>,
    manufacturer: Option<String>,
    magnetic_field_strength_t: Option<f64>,
    kvp: Option<f64>,
    patient_position: Option<String>,
    n_files: usize,
    is_readable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid: Option<GridFindings>,
    /// The volumes of a series that holds several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<VolumeFindings>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct VolumeFindings {
    label: String,
    n_images: usize,
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
        tabulate(&mut text, &listing.series)?;
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
    let texts = |problems: &[SeriesProblem]| problems.iter().map(ToString::to_string).collect();
    let volume = |volume: &VolumeInfo| VolumeFindings {
        label: volume.label.clone(),
        n_images: volume.n_images,
        grid: volume.grid.as_ref().map(GridFindings::from),
        problems: texts(&volume.problems),
    };
    SeriesFindings {
        study_uid: series.study_uid.clone(),
        study_date: series.study_date.clone(),
        series_uid: series.series_uid.clone(),
        series_number: series.series_number,
        modality: series.modality.clone(),
        description: series.description.clone(),
        compression: series.compression,
        manufacturer: series.manufacturer.clone(),
        magnetic_field_strength_t: series.magnetic_field_strength_t,
        kvp: series.kvp,
        patient_position: series.patient_position.clone(),
        n_files: series.n_files,
        is_readable: series.is_readable(),
        grid: series.grid.as_ref().map(GridFindings::from),
        volumes: series.volumes.iter().map(volume).collect(),
        problems: texts(&series.problems),
    }
}

/// One line a series, under a line for each study.
fn tabulate(text: &mut String, series: &[SeriesInfo]) -> Result<()> {
    for study in series.chunk_by(|left, right| left.study_uid == right.study_uid) {
        let first = &study[0];
        let parts = [
            first.study_date.clone(),
            first.study_description.as_ref().map(|description| format!("\"{description}\"")),
            first.patient_id.as_ref().map(|id| format!("patient {id}")),
            first.study_uid.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        writeln!(
            text,
            "\nstudy {}",
            if parts.is_empty() { "without UID".to_owned() } else { parts.join("  ") }
        )?;
        writeln!(
            text,
            "  {:>4}  {:<9}{:>5}  {:<15} {:<22} {:<17} description",
            "no.", "modality", "files", "size", "spacing in mm", "volume"
        )?;
        for series in study {
            let number = series.series_number.map_or("-".to_owned(), |number| number.to_string());
            let (size, spacing) = match &series.grid {
                Some(grid) => {
                    let ([ni, nj, nk], [si, sj, sk]) = (grid.size_ijk(), grid.spacing_mm());
                    (format!("{ni}×{nj}×{nk}"), format!("{si:.3}×{sj:.3}×{sk:.3}"))
                }
                None => (
                    series.columns.zip(series.rows).map_or("-".to_owned(), |(ni, nj)| format!("{ni}×{nj}")),
                    "-".to_owned(),
                ),
            };
            let state = match (series.is_ct_or_mr, series.is_readable(), series.volumes.len()) {
                (false, ..) => "no CT or MR".to_owned(),
                (true, true, _) => "readable".to_owned(),
                (true, false, 0) => "NOT READABLE".to_owned(),
                (true, false, n) => format!("{n} to choose from"),
            };
            let description = series.description.as_deref().or(series.protocol.as_deref()).unwrap_or("-");
            writeln!(
                text,
                "  {number:>4}  {:<9}{:>5}  {size:<15} {spacing:<22} {state:<17} {description}",
                series.modality, series.n_files
            )?;
        }
    }
    Ok(())
}

fn describe_series(text: &mut String, series: &SeriesInfo) -> Result<()> {
    writeln!(text, "\n{}", series.summary())?;
    let scanner: Vec<String> = [
        series.manufacturer.clone(),
        series.model.clone(),
        series.magnetic_field_strength_t.map(|tesla| format!("{tesla} T")),
        series.kvp.map(|kvp| format!("{kvp} kV")),
        series.patient_position.clone(),
        series.compression.map(|compression| format!("compressed with {compression}")),
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
    for (n, volume) in series.volumes.iter().enumerate() {
        writeln!(text, "volume {n:<6}{} ({} images)", volume.label, volume.n_images)?;
        if let Some(grid) = &volume.grid {
            writeln!(text, "             {grid}")?;
        }
        for problem in &volume.problems {
            writeln!(text, "             {}: {problem}", if problem.is_fatal() { "error" } else { "note" })?;
        }
    }
    if series.is_ct_or_mr && !series.is_readable() && series.volumes.is_empty() {
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
