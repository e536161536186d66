//! The commands, a module each: its arguments and what it does with them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod info;
pub(crate) mod phantom;
pub(crate) mod predict;
pub(crate) mod train;

/// Writes numbers as JSON where `--json FILE` asked for them.
fn write_numbers(path: Option<&Path>, numbers: &impl Serialize) -> Result<()> {
    path.map_or(Ok(()), |path| Ok(sct::pipeline::write_json(path, numbers)?))
}

/// Makes the folder that an output file will lie in.
fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::create_dir_all(parent)
            .with_context(|| format!("cannot make the folder `{}`", parent.display())),
        _ => Ok(()),
    }
}
