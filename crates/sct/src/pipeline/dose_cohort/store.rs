//! The doses of a case on disk, for a run that was stopped.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use synthct_image::{Grid, Mask, Volume};
use synthct_io::{OutputType, read_volume, write_volume};
use synthct_model::Case;

use super::{CaseDoses, CaseTreatment};
use crate::pipeline::folder::name_of;
use crate::pipeline::{DoseSettings, PipelineError, PlanFigures, write_json};

/// What the doses are of.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// A hash of everything that they depend on.
    inputs: String,
    plan: PlanFigures,
}

/// A hash of images, structures and settings.
pub(super) fn fingerprint(
    case: &Case,
    treatment: &CaseTreatment,
    scts: &[(&str, &Volume<f32>)],
    settings: &DoseSettings,
) -> String {
    let mut hash = Sha256::new();
    // Debug shows every field, and numbers in full.
    hash.update(format!(
        "{} {settings:?} {:?} {}",
        env!("CARGO_PKG_VERSION"),
        treatment.template,
        treatment.prescription_gy
    ));
    let grid = |hash: &mut Sha256, grid: &Grid| hash.update(format!("{grid:?}"));
    let image = |hash: &mut Sha256, volume: &Volume<f32>| {
        grid(hash, volume.grid());
        volume.as_slice().iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
    };
    let mask = |hash: &mut Sha256, mask: &Mask| {
        grid(hash, mask.grid());
        mask.as_slice().iter().for_each(|&inside| hash.update([u8::from(inside)]));
    };
    hash.update(case.fingerprint());
    mask(&mut hash, &treatment.target);
    if let Some((boost, dose_gy)) = &treatment.boost {
        hash.update(dose_gy.to_bits().to_le_bytes());
        mask(&mut hash, boost);
    }
    for (name, sct) in scts {
        hash.update(name);
        image(&mut hash, sct);
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("because a string takes any text");
        text
    })
}

fn file_of(name: &str) -> String {
    format!("dose_{name}.nii.gz")
}

/// The doses in `folder`, if they are of these inputs.
pub(super) fn load(folder: &Path, inputs: &str, names: &[&str]) -> Result<Option<CaseDoses>, PipelineError> {
    let path = folder.join("plan.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read(&path).map_err(PipelineError::file(&path))?;
    // What cannot be read is of another version; it is computed again.
    let Ok(stored) = serde_json::from_slice::<Stored>(&text) else { return Ok(None) };
    if stored.inputs != inputs {
        return Ok(None);
    }
    let read = |name: &str| read_volume(&folder.join(file_of(name)));
    let evaluated_gy = names.iter().map(|name| read(name)).collect::<Result<_, _>>()?;
    Ok(Some(CaseDoses { plan: stored.plan, reference_gy: read("ct")?, evaluated_gy }))
}

/// Writes the doses aside and puts them in place.
pub(super) fn save(
    folder: &Path,
    inputs: &str,
    names: &[&str],
    doses: &CaseDoses,
) -> Result<(), PipelineError> {
    let aside = folder.with_file_name(format!(".{}.partial", name_of(folder)));
    for old in [&aside, folder] {
        if old.exists() {
            fs::remove_dir_all(old).map_err(PipelineError::file(old))?;
        }
    }
    fs::create_dir_all(&aside).map_err(PipelineError::file(&aside))?;
    let all = [("ct", &doses.reference_gy)].into_iter();
    for (name, dose) in all.chain(std::iter::zip(names.iter().copied(), &doses.evaluated_gy)) {
        write_volume(&aside.join(file_of(name)), dose, OutputType::F32)?;
    }
    write_json(&aside.join("plan.json"), &Stored { inputs: inputs.to_owned(), plan: doses.plan.clone() })?;
    fs::rename(&aside, folder).map_err(PipelineError::file(folder))
}
