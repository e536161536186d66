//! What folders of images hold.

use std::fs;
use std::path::{Path, PathBuf};

use synthct_image::Mask;
use synthct_io::read_mask;

use super::PipelineError;

/// The extensions of image files that are one file each, in the order they are looked for.
pub(super) const EXTENSIONS: [&str; 4] = ["nii.gz", "nii", "mha", "mhd"];

/// What a folder holds, ordered by name.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, PipelineError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(PipelineError::file(folder))? {
        paths.push(entry.map_err(PipelineError::file(folder))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The folders of subjects, ordered by name: those that are not hidden.
pub(super) fn subject_folders(folder: &Path) -> Result<Vec<PathBuf>, PipelineError> {
    let is_subject = |path: &PathBuf| path.is_dir() && !name_of(path).starts_with('.');
    Ok(entries(folder)?.into_iter().filter(is_subject).collect())
}

/// The last part of a path.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The masks of a folder, or one mask file, each with its file's name without the extension, ordered by name.
///
/// # Errors
/// [`PipelineError::Cohort`] for a folder without a mask, [`PipelineError::File`] and [`PipelineError::Io`] from reading.
pub fn load_structures(path: &Path) -> Result<Vec<(String, Mask)>, PipelineError> {
    let stem_of = |path: &Path| {
        let name = name_of(path);
        let stem = |extension: &str| Some(name.strip_suffix(extension)?.strip_suffix('.')?.to_owned());
        EXTENSIONS.iter().find_map(|extension| stem(extension))
    };
    let files = if path.is_dir() {
        entries(path)?.into_iter().filter(|file| stem_of(file).is_some()).collect()
    } else {
        vec![path.to_owned()]
    };
    if files.is_empty() {
        return Err(PipelineError::Cohort {
            path: path.to_owned(),
            what: format!("holds no mask with one of the extensions {}", EXTENSIONS.join(", ")),
        });
    }
    files.iter().map(|file| Ok((stem_of(file).unwrap_or_else(|| name_of(file)), read_mask(file)?))).collect()
}
