//! Structures given as mask files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sct::image::Mask;
use sct::io::read_mask;

/// The endings of files that hold a mask.
const ENDINGS: [&str; 4] = [".nii.gz", ".nii", ".mha", ".mhd"];

/// Every mask of a folder, or one mask file, with the file's name without its ending.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Mask)>> {
    let name_of = |path: &Path| -> Option<String> {
        let name = path.file_name()?.to_str()?;
        ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned)
    };
    let mut files = if path.is_dir() {
        let entries =
            fs::read_dir(path).with_context(|| format!("cannot read the folder `{}`", path.display()))?;
        let mut files = Vec::new();
        for entry in entries {
            files.push(entry.with_context(|| format!("cannot read the folder `{}`", path.display()))?.path());
        }
        files.retain(|file| name_of(file).is_some());
        files
    } else {
        vec![path.to_owned()]
    };
    files.sort();
    if files.is_empty() {
        bail!("`{}` holds no mask (files ending in {})", path.display(), ENDINGS.join(", "));
    }
    files
        .iter()
        .map(|file| Ok((name_of(file).unwrap_or_else(|| file.display().to_string()), read_mask(file)?)))
        .collect()
}
