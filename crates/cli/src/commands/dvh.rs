//! `sct dvh`: what structures receive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use sct::image::Volume;
use sct::io::dicom::{RtKind, find_object, read_dose};
use sct::io::{IoError, read_volume};
use sct::pipeline::{Structures, load_structures_near, structure_dvh};

use super::write_numbers;

/// Doses of structures: mean, D98, D95, D50, D2, D2cc
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sct dvh --dose dose.nii.gz --structures masks/ --prescription-gy 60\n  \
    sct dvh --dose rtdose.dcm --structures rtstruct.dcm\n\n\
    Structures are an RT Structure Set, whose contours become voxels of 1.25 mm at most, or mask files, above zero inside,\n\
    on any grid of the same frame: doses are interpolated onto them, and are zero beyond the dose's grid.\n\
    Histograms come from sorted voxels, without bins. With a prescription, V95 and V107 are volumes that receive 95 % and\n\
    107 % of it."
)]
pub(crate) struct Arguments {
    /// The dose in Gy: an RT Dose or an image
    #[arg(long, value_name = "D")]
    dose: PathBuf,
    /// An RT Structure Set, a mask, or a folder that holds one or the other
    #[arg(long, value_name = "RTSTRUCT|MASK|DIR")]
    structures: PathBuf,
    /// Also give V95 and V107 of this dose
    #[arg(long, value_name = "G")]
    prescription_gy: Option<f64>,
    /// Also write the numbers and the curves as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    const CURVE_POINTS: usize = 201;
    let dose = read_dose_or_image(&arguments.dose)?;
    let structures = load_structures_near(&arguments.structures, dose.volume.grid())?;
    require_one_frame(&dose, &structures)?;
    for note in &structures.notes {
        tracing::warn!("{note}");
    }
    println!("structure               cm³    mean     D98     D95     D50      D2    D2cc   (Gy)");
    let mut numbers = BTreeMap::new();
    for (name, mask) in &structures.masks {
        let dvh = structure_dvh(&dose.volume, mask).with_context(|| format!("structure `{name}`"))?;
        let figures = dvh.figures();
        let d2cc = figures.d2cc_gy.map_or("–".to_owned(), |gy| format!("{gy:.2}"));
        println!(
            "{name:<20}{:>7.1}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{d2cc:>8}",
            figures.volume_cm3,
            figures.mean_gy,
            figures.d98_gy,
            figures.d95_gy,
            figures.d50_gy,
            figures.d2_gy
        );
        let mut entry =
            serde_json::json!({ "figures": figures, "curve_gy_percent": dvh.curve(CURVE_POINTS) });
        if let Some(prescription) = arguments.prescription_gy {
            for (key, percent) in [("v95_percent", 95.0), ("v107_percent", 107.0)] {
                let volume = dvh.volume_percent_at_dose(percent / 100.0 * prescription);
                println!("{:20}{key} {volume:.2}", "");
                entry[key] = volume.into();
            }
        }
        numbers.insert(name.clone(), entry);
    }
    write_numbers(arguments.json.as_deref(), &numbers)?;
    Ok(ExitCode::SUCCESS)
}

/// A dose, and the frame of reference that its file names.
struct Dose {
    volume: Volume<f32>,
    frame_of_reference_uid: Option<String>,
}

/// The RT Dose of a file or folder, or else an image.
fn read_dose_or_image(path: &Path) -> Result<Dose> {
    let is_rt_dose = path.is_dir() || sct::io::dicom::rt_kind(path)? == Some(RtKind::Dose);
    if !is_rt_dose {
        return Ok(Dose { volume: read_volume(path)?, frame_of_reference_uid: None });
    }
    let file = read_dose(&find_object(path, RtKind::Dose)?)?;
    for note in &file.notes {
        tracing::warn!("{note}");
    }
    Ok(Dose { volume: file.dose_gy, frame_of_reference_uid: file.frame_of_reference_uid })
}

/// Fails if dose and structures say that they lie in different spaces.
fn require_one_frame(dose: &Dose, structures: &Structures) -> Result<(), IoError> {
    let set = structures.contours.as_ref();
    match (set.and_then(|set| set.frame_of_reference_uid.as_ref()), &dose.frame_of_reference_uid) {
        (Some(uid), Some(reference_uid)) if uid != reference_uid => Err(IoError::FrameOfReference {
            what: "the structures".to_owned(),
            uid: uid.clone(),
            reference: "the dose".to_owned(),
            reference_uid: reference_uid.clone(),
        }),
        _ => Ok(()),
    }
}
