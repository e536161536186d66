//! Errors as a user reads them: the chain of causes, then hints that can be acted on.

use std::io::ErrorKind;

use sct::image::ImageError;
use sct::io::IoError;
use sct::io::dicom::SeriesProblem;
use sct::register::RegisterError;

/// The exit code of a command that is done, but some of whose cases failed.
pub(crate) const SOME_CASES_FAILED: u8 = 3;

/// Prints the chain of causes and the hints on stderr.
#[expect(clippy::print_stderr, reason = "the one place where the program's failure is shown")]
pub(crate) fn show(error: &anyhow::Error) {
    eprintln!("error: {error}");
    show_causes(error);
}

/// Prints the failure of one case of many on stderr.
#[expect(clippy::print_stderr, reason = "a case's failure is shown as the program's is")]
pub(crate) fn show_of(id: &str, error: &anyhow::Error) {
    eprintln!("error: {id}: {error}");
    show_causes(error);
}

#[expect(clippy::print_stderr, reason = "part of showing a failure")]
fn show_causes(error: &anyhow::Error) {
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    for hint in error.chain().filter_map(hint) {
        eprintln!("hint: {hint}");
    }
}

/// What can be done about one cause.
fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(IoError::SeveralSeries { .. }) = cause.downcast_ref() {
        return Some(
            "give one of the UIDs with `--series UID` where the command has it, or keep one series in the folder; `sct info FOLDER` shows more about each",
        );
    }
    if let Some(IoError::SeriesGeometry { problems, .. }) = cause.downcast_ref() {
        return problems.iter().find_map(geometry_hint);
    }
    if let Some(ImageError::GridMismatch { .. }) = cause.downcast_ref() {
        return Some("bring one image onto the other's grid first: `sct resample IN --like REF OUT`");
    }
    match cause.downcast_ref() {
        Some(RegisterError::NoOverlap { .. }) => {
            return Some(
                "`sct info FILE` shows where an image lies; `--init moments` or `--initial T` bring them together",
            );
        }
        Some(RegisterError::FlatMetric { .. }) => {
            return Some("give `--fixed-mask M` (see `sct mask`) or a start with `--initial T`");
        }
        _ => {}
    }
    match cause.downcast_ref::<std::io::Error>()?.kind() {
        ErrorKind::NotFound => Some("check the path: nothing is there"),
        ErrorKind::PermissionDenied => Some("check who may read or write there"),
        ErrorKind::StorageFull => Some("make room on the disk; files already complete are kept"),
        _ => None,
    }
}

/// What can be done about a DICOM series that makes no volume.
fn geometry_hint(problem: &SeriesProblem) -> Option<&'static str> {
    match problem {
        SeriesProblem::SeveralVolumes { .. } => Some(
            "choose one by its number with `--frame N` where the command has it; `sct convert FOLDER OUT --frame N` makes a file of it for any other",
        ),
        SeriesProblem::GantryTilt { .. } => Some(
            "`sct convert FOLDER OUT --untilt` resamples it onto upright slices (with `--fill-gaps` if there are gaps as well)",
        ),
        SeriesProblem::UnevenSpacing { .. } => Some(
            "find the missing slices, or interpolate over them with `sct convert FOLDER OUT --fill-gaps`",
        ),
        _ => None,
    }
}
