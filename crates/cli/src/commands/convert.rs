//! `sct convert`: any readable image, dose or structures to any writable format.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use sct::image::VoxelIndex;
use sct::io::dicom::{
    DoseText, ImageKind, Origin, RtKind, SeriesText, StructureText, read_plan, read_structure_set, rt_kind,
    write_dose, write_series, write_structure_set,
};
use sct::io::{Image, MissingGeometry, ReadOptions, read_image, read_volume, write_mask, write_volume};
use sct::pipeline::load_structures;
use sct::rt::{Roi, StructureSet};
use serde::Serialize;

use super::{TypeName, make_parent, write_numbers};
use crate::progress::Ui;

/// Convert images, DICOM series, structures and doses to each other's formats
#[derive(Args)]
#[command(after_help = "Examples:\n  sct convert DICOM_FOLDER mr.nii.gz --series 1.2.840.113619…\n  \
    sct convert TILTED_CT ct.nii.gz --untilt --fill-gaps\n  \
    sct convert ct.mha ct.nii.gz --type i16\n  sct convert mr.nii.gz block.nii.gz --slices 0..40\n  \
    sct convert sct.nii.gz SCT_FOLDER --dicom ct --like MR_FOLDER\n  \
    sct convert masks/ rtstruct.dcm --dicom structures --like CT_FOLDER\n  \
    sct convert rtstruct.dcm masks/ --like CT_FOLDER\n  \
    sct convert rtdose.dcm dose.nii.gz\n  sct convert dose.nii.gz rtdose.dcm --dicom dose --plan rtplan.dcm\n\n\
    DICOM that is written belongs to the patient, study and frame of reference of --like, whose space the voxels must lie in;\n\
    without it, to a patient with --patient-id alone. CT is rounded to whole HU; a value that 16 bits do not hold is an\n\
    error. UIDs follow from the content: the same input gives the same files.")]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent flag of the command line")]
pub(crate) struct Arguments {
    /// An image or RT Dose file, a folder with a DICOM series, an RT Structure Set, or masks
    input: PathBuf,
    /// The file to write: .nii, .nii.gz, .hdr, .mha or .mhd; with --dicom ct or mr, and for the masks of structures, a folder
    output: PathBuf,
    /// Write DICOM of this kind
    #[arg(long, value_enum, value_name = "KIND")]
    dicom: Option<DicomKind>,
    /// Whose patient, study and frame of reference DICOM gets, and the grid that structures are drawn on
    #[arg(long, value_name = "IMAGE|SERIES")]
    like: Option<PathBuf>,
    /// The patient's ID where there is no --like
    #[arg(long, value_name = "ID", conflicts_with = "like")]
    patient_id: Option<String>,
    /// The plan that a dose is of
    #[arg(long, value_name = "RTPLAN")]
    plan: Option<PathBuf>,
    /// SeriesDescription of what is written
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
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

/// What is written as DICOM.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DicomKind {
    /// A CT series, HU
    Ct,
    /// An MR series
    Mr,
    /// An RT Dose, Gy
    Dose,
    /// An RT Structure Set, of masks
    Structures,
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    if arguments.dicom == Some(DicomKind::Structures) {
        return masks_to_structures(arguments, ui);
    }
    if rt_kind(&arguments.input)? == Some(RtKind::StructureSet) {
        return structures_to_masks(arguments, ui);
    }
    let start = Instant::now();
    let mut image = ui.spin("reading", || read_image(&arguments.input, &arguments.options()))?;
    let read_seconds = start.elapsed().as_secs_f64();
    if let Some(slices) = &arguments.slices {
        let [ni, nj, nk] = image.volume.grid().size_ijk();
        let (first, end) = parse_range(slices)?;
        if first >= end || end > nk {
            bail!("`--slices {slices}` does not fit the image, which has the slices 0..{nk}");
        }
        image.volume = image.volume.crop(VoxelIndex::new(0, 0, first), [ni, nj, end - first])?;
    }
    make_parent(&arguments.output)?;
    let start = Instant::now();
    ui.spin("writing", || match arguments.dicom {
        None => {
            let output_type = arguments.output_type.output_type();
            Ok(write_volume(&arguments.output, &image.volume, output_type)?)
        }
        Some(DicomKind::Dose) => to_dose(arguments, &image),
        Some(DicomKind::Mr) => to_series(arguments, &image, ImageKind::Mr),
        Some(DicomKind::Ct | DicomKind::Structures) => to_series(arguments, &image, ImageKind::Ct),
    })?;
    let numbers = Numbers { read_seconds, write_seconds: start.elapsed().as_secs_f64() };
    write_numbers(arguments.json.as_deref(), &numbers)?;
    ui.say(&format!("wrote {}: {}", arguments.output.display(), image.volume.grid()));
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn options(&self) -> ReadOptions {
        ReadOptions {
            missing_geometry: if self.assume_geometry {
                MissingGeometry::FromPixdim
            } else {
                MissingGeometry::Refuse
            },
            frame: self.frame,
            series_uid: self.series.clone(),
            fill_gaps: self.fill_gaps,
            untilt: self.untilt,
            philips_precise: self.philips_precise,
        }
    }

    /// Whose objects are written: those of `--like`, of the input if it is a series itself, or of nobody.
    fn origin(&self, input: Option<&Image>) -> Result<Origin> {
        if let Some(like) = &self.like {
            let image = read_image(like, &ReadOptions::default())?;
            let series = image.info.series.with_context(|| {
                format!(
                    "`{}` is no DICOM series, so it has no patient and no frame of reference",
                    like.display()
                )
            })?;
            return Ok(Origin::of_series(&series)?);
        }
        if let Some(id) = &self.patient_id {
            return Ok(Origin::unnamed(id));
        }
        match input.and_then(|image| image.info.series.as_ref()) {
            Some(series) => Ok(Origin::of_series(series)?),
            None => bail!(
                "DICOM belongs to a patient: give the series whose space this lies in with --like, or --patient-id for a new one"
            ),
        }
    }

    fn described<'a>(&'a self, otherwise: &'a str) -> &'a str {
        self.description.as_deref().unwrap_or(otherwise)
    }
}

fn to_series(arguments: &Arguments, image: &Image, kind: ImageKind) -> Result<()> {
    let origin = arguments.origin(Some(image))?;
    let text = SeriesText {
        description: arguments.described("Converted by synthct, not for clinical use"),
        derivation: "Converted from another format; values rounded to 16 bits",
    };
    write_series(&arguments.output, &image.volume, kind, &origin, &text)?;
    Ok(())
}

fn to_dose(arguments: &Arguments, image: &Image) -> Result<()> {
    let path =
        arguments.plan.as_deref().context("an RT Dose refers to the plan that it is of: give --plan")?;
    let plan = read_plan(path)?;
    let origin = match (&arguments.like, &arguments.patient_id) {
        (None, None) => Origin::of_object(&plan.path, None)
            .context("give --like if the plan does not name its frame of reference")?,
        _ => arguments.origin(None)?,
    };
    let text = DoseText {
        description: arguments.described("Converted by synthct, not for clinical use"),
        comment: "Converted from another format",
        plan_uid: &plan.sop_instance_uid,
    };
    write_dose(&arguments.output, &image.volume, &origin, &text)?;
    Ok(())
}

fn masks_to_structures(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let origin = arguments.origin(None)?;
    let masks = ui.spin("reading", || load_structures(&arguments.input))?;
    let rois = masks.iter().enumerate().map(|(n, (name, mask))| {
        let roi = Roi::from_mask(n as i32 + 1, name, mask)?;
        Ok(Roi { color: Some(COLORS[n % COLORS.len()]), ..roi })
    });
    let set = StructureSet { frame_of_reference_uid: None, rois: rois.collect::<Result<_>>()? };
    make_parent(&arguments.output)?;
    let text = StructureText {
        label: "synthct",
        description: arguments.described("Contours of masks, not for clinical use"),
        is_automatic: false,
    };
    ui.spin("writing", || write_structure_set(&arguments.output, &set, &origin, &text))?;
    ui.say(&format!("wrote {}: {} structure(s)", arguments.output.display(), set.rois.len()));
    Ok(ExitCode::SUCCESS)
}

/// Colours that can be told apart also by those who see red and green alike (Okabe and Ito).
const COLORS: [[u8; 3]; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
];

fn structures_to_masks(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let file = read_structure_set(&arguments.input)?;
    for note in &file.notes {
        tracing::warn!("{note}");
    }
    let like = arguments
        .like
        .as_deref()
        .context("structures are contours: give the image whose grid the masks are to have with --like")?;
    let grid = read_volume(like)?.grid().clone();
    let folder = &arguments.output;
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let mut n_written = 0;
    for roi in &file.structures.rois {
        if roi.contours.is_empty() {
            tracing::warn!("`{}` has no contours", roi.name);
            continue;
        }
        let mask = ui.spin(&roi.name, || roi.mask(&grid))?;
        write_mask(&mask_path(folder, &roi.name)?, &mask)?;
        n_written += 1;
    }
    ui.say(&format!("wrote {}: {n_written} mask(s), {grid}", folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// A file for a structure's mask, whose name is the structure's as far as file systems allow.
fn mask_path(folder: &Path, name: &str) -> Result<PathBuf> {
    let allowed =
        |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | ' ') { c } else { '_' };
    let stem: String = name.chars().map(allowed).collect();
    let path = folder.join(format!("{}.nii.gz", stem.trim_start_matches('.')));
    if path.exists() {
        bail!(
            "`{}` is there already: give a new folder, or rename one of two structures of this name",
            path.display()
        );
    }
    Ok(path)
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
    use super::*;

    #[test]
    fn ranges_are_two_numbers() {
        assert_eq!(parse_range("3..17").ok(), Some((3, 17)));
        for bad in ["3-17", "3..", "..", "a..b", "-1..4"] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_structures_stay_in_their_folder() {
        let path = |name: &str| mask_path(Path::new("/nonexistent"), name).ok();
        assert_eq!(path("PTV 41.4"), Some(PathBuf::from("/nonexistent/PTV 41.4.nii.gz")));
        assert_eq!(path("../lung/l*"), Some(PathBuf::from("/nonexistent/_lung_l_.nii.gz")));
    }
}
