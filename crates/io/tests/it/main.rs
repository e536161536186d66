//! Integration tests: files in, files out, damaged files, other tools' files.

mod damage;
mod dicom;
mod goldens;
mod real_files;
mod refusals;
mod rt;
mod transforms;
mod writing;

/// An error and its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
