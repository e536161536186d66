//! Integration tests: files in, files out, damaged files, other tools' files.

mod damage;
mod dicom;
mod goldens;
mod real_files;
mod refusals;
mod rt;
mod transforms;
mod writing;

use std::path::PathBuf;

/// An error and its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The folder with test data, or a visible note that the test does not run.
fn test_data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SCT_TEST_DATA").filter(|data| !data.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
        {
            eprintln!("{test} skipped: SCT_TEST_DATA not set");
        }
    }
    folder
}
