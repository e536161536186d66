//! Cohort folders from end to end, good ones and broken ones.

use std::fs;

use anyhow::Result;
use sct::phantom::PhantomConfig;
use sct::pipeline::{PhantomCohort, PipelineError, find_cases, load_cohort, write_phantom_cohort};
use sct::prelude::*;

fn cohort(n_subjects: u32) -> PhantomCohort {
    let phantom = PhantomConfig { spacing_mm: [8.0; 3], ..PhantomConfig::head() };
    PhantomCohort { phantom, n_subjects, seed: 4 }
}

fn channels() -> Vec<String> {
    vec!["mr".to_owned()]
}

#[test]
fn a_written_cohort_reads_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ids = write_phantom_cohort(&cohort(2), folder.path(), &mut ())?;
    let cases = load_cohort(folder.path(), &channels(), |_| true)?;
    assert_eq!(cases.iter().map(|case| case.id.clone()).collect::<Vec<_>>(), ids);
    for case in &cases {
        assert!(case.body.count() > 0 && case.ct.as_slice().iter().any(|&hu| hu > 1000.0));
    }
    Ok(())
}

#[test]
fn a_cohort_of_another_configuration_is_not_mixed_in() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_phantom_cohort(&cohort(1), folder.path(), &mut ())?;
    let other = PhantomCohort { seed: 5, ..cohort(1) };
    let refused = write_phantom_cohort(&other, folder.path(), &mut ());
    assert!(matches!(refused, Err(PipelineError::OtherConfiguration { .. })), "{refused:?}");
    Ok(())
}

#[test]
fn an_extended_cohort_keeps_its_subjects() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let first = write_phantom_cohort(&cohort(1), folder.path(), &mut ())?.remove(0);
    let ct = folder.path().join(&first).join("ct.nii.gz");
    let before = (fs::metadata(&ct)?.modified()?, fs::read(&ct)?);
    write_phantom_cohort(&cohort(2), folder.path(), &mut ())?;
    assert_eq!((fs::metadata(&ct)?.modified()?, fs::read(&ct)?), before);
    Ok(())
}

#[test]
fn broken_cohorts_name_the_folder() -> Result<()> {
    let folder = tempfile::tempdir()?;
    assert!(matches!(find_cases(folder.path(), &channels()), Err(PipelineError::Cohort { .. })));
    assert!(find_cases(&folder.path().join("absent"), &channels()).is_err());

    let id = write_phantom_cohort(&cohort(1), folder.path(), &mut ())?.remove(0);
    let subject = folder.path().join(&id);

    // A CT on another grid.
    let ct = read_volume(&subject.join("ct.nii.gz"))?;
    let [ni, nj, nk] = ct.grid().size_ijk();
    let shorter = ct.crop(VoxelIndex::new(0, 0, 0), [ni, nj, nk - 1])?;
    write_volume(&subject.join("ct.nii.gz"), &shorter, sct::io::OutputType::I16)?;
    let refused = load_cohort(folder.path(), &channels(), |_| true).map(|_| ());
    assert!(matches!(&refused, Err(PipelineError::Case { id: named, .. }) if *named == id), "{refused:?}");

    // No CT at all.
    fs::remove_file(subject.join("ct.nii.gz"))?;
    let refused = find_cases(folder.path(), &channels()).map(|_| ());
    assert!(
        matches!(&refused, Err(PipelineError::Cohort { path, what }) if *path == subject && what.contains("ct")),
        "{refused:?}"
    );
    Ok(())
}
