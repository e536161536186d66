//! The commands, a module each: its arguments and what it does with them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use sct::image::{Mask, Volume};
use sct::io::{OutputType, read_mask};
use sct::prep::{PrepError, body_mask_ct, body_mask_mr};
use serde::Serialize;

pub(crate) mod compare_dose;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod dose;
pub(crate) mod dvh;
pub(crate) mod evaluate;
pub(crate) mod gamma;
pub(crate) mod info;
pub(crate) mod mask;
pub(crate) mod n4;
pub(crate) mod normalize;
pub(crate) mod phantom;
pub(crate) mod predict;
pub(crate) mod prepare;
pub(crate) mod register;
pub(crate) mod resample;
pub(crate) mod study;
pub(crate) mod train;
mod treatment;

/// The voxel types that images are written in.
#[derive(Clone, Copy, ValueEnum)]
enum TypeName {
    /// I16 if that loses nothing, else f32
    Auto,
    F32,
    I16,
    U16,
    U8,
}

impl TypeName {
    const fn output_type(self) -> OutputType {
        match self {
            Self::Auto => OutputType::Auto,
            Self::F32 => OutputType::F32,
            Self::I16 => OutputType::I16,
            Self::U16 => OutputType::U16,
            Self::U8 => OutputType::U8,
        }
    }
}

/// What `--spacing-mm` gave: one number for every axis, or three.
fn spacing_of(numbers: &[f64]) -> Result<[f64; 3]> {
    match *numbers {
        [mm] => Ok([mm; 3]),
        [x, y, z] => Ok([x, y, z]),
        _ => bail!("`--spacing-mm` takes one number or three"),
    }
}

/// What an image is; a CT is in HU.
#[derive(Clone, Copy, ValueEnum)]
enum Modality {
    Mr,
    Ct,
}

impl Modality {
    /// The body in such an image.
    fn body(self, image: &Volume<f32>) -> Result<Mask, PrepError> {
        match self {
            Self::Mr => body_mask_mr(image),
            Self::Ct => body_mask_ct(image),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Mr => "MR",
            Self::Ct => "CT",
        }
    }
}

/// The mask that was given, or the body that is found on the image, which is said in the log.
fn mask_or_body(path: Option<&Path>, image: &Volume<f32>, modality: Modality) -> Result<Mask> {
    let Some(path) = path else {
        tracing::warn!("no mask is given: the body is found on the {}", modality.name());
        return Ok(modality.body(image)?);
    };
    fitting_mask(path, image)
}

/// A mask on the grid of its image.
fn fitting_mask(path: &Path, image: &Volume<f32>) -> Result<Mask> {
    let mask = read_mask(path)?;
    mask.grid()
        .require_match(image.grid())
        .with_context(|| format!("the mask `{}` does not fit its image", path.display()))?;
    Ok(mask)
}

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
