//! `sct mask`: where the patient is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use sct::image::morphology::dilate;
use sct::io::{read_volume, write_mask};
use serde::Serialize;

use super::{Modality, make_parent, write_numbers};
use crate::progress::Ui;

/// Find the body on an MR or a CT
#[derive(Args)]
#[command(after_help = "Examples:\n  sct mask mr.nii.gz mask.nii.gz --modality mr\n  \
    sct mask ct.nii.gz mask.nii.gz --modality ct --dilate-mm 5      a margin around the body, as SynthRAD's masks have\n\n\
    Cavities (sinuses, lungs, bowel gas) belong to the body; couch, head holder and the air around do not.")]
pub(crate) struct Arguments {
    /// The image: a file, or a folder with a DICOM series
    input: PathBuf,
    /// The mask to write, 1 inside and 0 outside, on the image's grid
    output: PathBuf,
    /// What the image is; a CT is in HU
    #[arg(long, value_enum)]
    modality: Modality,
    /// Add a margin of so many mm around the body
    #[arg(long, value_name = "MM")]
    dilate_mm: Option<f64>,
    /// Also write volume and extent as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What the mask is like, as JSON shows it.
#[derive(Serialize)]
struct Findings {
    volume_cm3: f64,
    n_voxels: usize,
    /// The extent along the grid's i, j and k axes.
    extent_mm: [f64; 3],
    /// Whether the body reaches the first or last voxel along i, j, k, where the scan may have cut it.
    touches_edge: [bool; 3],
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let image = ui.spin("reading", || read_volume(&arguments.input))?;
    let body = ui.spin("finding the body", || arguments.modality.body(&image))?;
    let mask = match arguments.dilate_mm {
        Some(margin_mm) => dilate(&body, margin_mm)?,
        None => body,
    };
    make_parent(&arguments.output)?;
    ui.spin("writing", || write_mask(&arguments.output, &mask))?;
    let (size, spacing) = (mask.grid().size_ijk(), mask.grid().spacing_mm());
    let (start, extent) = mask.bounding_box().expect("because a body that is found is not empty");
    let start = [start.i, start.j, start.k];
    let findings = Findings {
        volume_cm3: mask.volume_cm3(),
        n_voxels: mask.count(),
        extent_mm: [0, 1, 2].map(|axis| extent[axis] as f64 * spacing[axis]),
        touches_edge: [0, 1, 2].map(|axis| start[axis] == 0 || start[axis] + extent[axis] == size[axis]),
    };
    let [x, y, z] = findings.extent_mm;
    ui.say(&format!(
        "wrote {}: {:.0} cm³ within {x:.0} × {y:.0} × {z:.0} mm (i, j, k)",
        arguments.output.display(),
        findings.volume_cm3
    ));
    write_numbers(arguments.json.as_deref(), &findings)?;
    Ok(ExitCode::SUCCESS)
}
