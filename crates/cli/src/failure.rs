//! Errors as a user reads them: the chain of causes, then hints that can be acted on.

use std::io::ErrorKind;

use sct::image::ImageError;
use sct::io::IoError;

/// Prints the chain of causes and the hints on stderr.
#[expect(clippy::print_stderr, reason = "the one place where the program's failure is shown")]
pub(crate) fn show(error: &anyhow::Error) {
    eprintln!("error: {error}");
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
        return Some("give one of the UIDs with `--series UID`; `sct info FOLDER` shows more about each");
    }
    if let Some(ImageError::GridMismatch { .. }) = cause.downcast_ref() {
        return Some("bring one image onto the other's grid before comparing them");
    }
    match cause.downcast_ref::<std::io::Error>()?.kind() {
        ErrorKind::NotFound => Some("check the path: nothing is there"),
        ErrorKind::PermissionDenied => Some("check who may read or write there"),
        ErrorKind::StorageFull => Some("make room on the disk; files already complete are kept"),
        _ => None,
    }
}
