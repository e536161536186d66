//! The examples, run as their READMEs say, on small data.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use sct::phantom::PhantomConfig;
use sct::pipeline::{PhantomCohort, write_phantom_cohort};

/// What the program printed, or its failure.
fn run(program: &str, arguments: &[&Path]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn coarse_cohort(folder: &Path, n_subjects: u32) -> Result<Vec<String>> {
    let phantom = PhantomConfig { spacing_mm: [6.0; 3], ..PhantomConfig::head() };
    Ok(write_phantom_cohort(&PhantomCohort { phantom, n_subjects, seed: 3 }, folder, &mut ())?)
}

#[test]
fn embed_network() -> Result<()> {
    let printed = run(env!("CARGO_BIN_EXE_embed-network"), &[])?;
    assert!(printed.contains("[1, 1, 64, 48]"), "{printed}");
    Ok(())
}

#[test]
fn evaluate_two_volumes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let id = coarse_cohort(folder.path(), 1)?.remove(0);
    let subject = folder.path().join(id);
    let (ct, mask) = (subject.join("ct.nii.gz"), subject.join("mask.nii.gz"));
    let printed = run(env!("CARGO_BIN_EXE_evaluate-two-volumes"), &[&ct, &ct, &mask])?;
    assert!(printed.contains("MAE bone             0.00 HU"), "{printed}");
    assert!(printed.contains("1.0000"), "{printed}");
    Ok(())
}

#[test]
#[expect(clippy::print_stderr, reason = "skipped tests say so")]
fn dicom_to_nifti() -> Result<()> {
    let Some(data) = std::env::var_os("SCT_TEST_DATA").filter(|data| !data.is_empty()) else {
        eprintln!("skipped: SCT_TEST_DATA not set");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("mr.nii.gz");
    let series = Path::new(&data).join("head-mr-volunteer/dicom_t1_se_sag");
    let printed = run(env!("CARGO_BIN_EXE_dicom-to-nifti"), &[&series, &out])?;
    assert!(printed.contains("29 files"), "{printed}");
    assert!(sct::io::read_volume(&out)?.grid().n_voxels() == 270 * 320 * 29);
    Ok(())
}

#[test]
fn train_on_folder() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = folder.path().join("cohort");
    coarse_cohort(&cohort, 2)?;
    let printed = run(env!("CARGO_BIN_EXE_train-on-folder"), &[&cohort, &folder.path().join("run")])?;
    assert!(printed.contains("epoch 2:") && printed.contains("MAE in the body"), "{printed}");
    Ok(())
}
