//! A cohort of phantoms on disk.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use synthct_image::AffineTransform;
use synthct_io::{OutputType, write_label_map, write_mask, write_volume};
use synthct_phantom::{PhantomCase, PhantomConfig, Site, Tissue, generate};

use super::page::program;
use super::{Observer, PipelineError, write_json};

/// A cohort of phantom subjects.
#[derive(Clone, Debug, PartialEq)]
pub struct PhantomCohort {
    /// What each subject is.
    pub phantom: PhantomConfig,
    /// How many there are.
    pub n_subjects: u32,
    /// The cohort's seed; the subjects of two seeds have nothing in common.
    pub seed: u32,
}

/// The truth beside the images, as `phantom.json` has it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Truth {
    /// The program that made it.
    generator: String,
    /// What the subject is.
    pub(super) config: PhantomConfig,
    /// The subject's own seed.
    subject_seed: u64,
    /// Takes a point of the MR (LPS, mm) to the same point of the patient in the CT: four rows of a matrix.
    ct_from_mr_lps: [[f64; 4]; 4],
    /// The names of the labels in `tissues.nii.gz`.
    tissues: Vec<(u16, String)>,
}

impl PhantomCohort {
    fn id(&self, index: u32) -> String {
        let site = match self.phantom.site {
            Site::Head => "head",
            Site::Pelvis => "pelvis",
            _ => "phantom",
        };
        format!("{site}-{:04}", index + 1)
    }

    const fn subject_seed(&self, index: u32) -> u64 {
        (self.seed as u64) << 32 | index as u64
    }

    fn truth(&self, index: u32, ct_from_mr: &AffineTransform) -> Truth {
        Truth {
            generator: program(),
            config: self.phantom.clone(),
            subject_seed: self.subject_seed(index),
            ct_from_mr_lps: ct_from_mr.to_matrix4(),
            tissues: Tissue::ALL.iter().map(|tissue| (tissue.label(), format!("{tissue:?}"))).collect(),
        }
    }
}

/// Makes the subjects of a cohort, a folder each, and gives their names.
///
/// `docs/DATA.md` has the layout. A subject's folder is written aside and renamed, so one that is there is complete; it is
/// kept if it has the same configuration and seed.
///
/// # Errors
/// [`PipelineError::OtherConfiguration`] if a subject that is there is not of this cohort, [`PipelineError::Stopped`] if the
/// observer asked for it, else the error of making or writing a subject.
pub fn write_phantom_cohort(
    cohort: &PhantomCohort,
    out: &Path,
    observer: &mut dyn Observer,
) -> Result<Vec<String>, PipelineError> {
    cohort.phantom.check()?;
    fs::create_dir_all(out).map_err(PipelineError::file(out))?;
    observer.stage("phantoms", Some(cohort.n_subjects as usize));
    let mut ids = Vec::new();
    for index in 0..cohort.n_subjects {
        let id = cohort.id(index);
        let folder = out.join(&id);
        if folder.exists() {
            check_subject(&folder.join("phantom.json"), cohort, index)?;
        } else {
            let case = generate(&cohort.phantom, cohort.subject_seed(index))?;
            let aside = out.join(format!(".{id}.partial"));
            write_subject(&case, &cohort.truth(index, &case.ct_from_mr), &aside)?;
            fs::rename(&aside, &folder).map_err(PipelineError::file(&folder))?;
        }
        ids.push(id);
        if observer.done(1).is_break() {
            return Err(PipelineError::Stopped);
        }
    }
    Ok(ids)
}

/// The truth in a subject's folder.
pub(super) fn read_truth(folder: &Path) -> Result<Truth, PipelineError> {
    let path = folder.join("phantom.json");
    let text = fs::read(&path).map_err(PipelineError::file(&path))?;
    serde_json::from_slice(&text).map_err(|error| PipelineError::file(&path)(error.into()))
}

fn check_subject(truth: &Path, cohort: &PhantomCohort, index: u32) -> Result<(), PipelineError> {
    let text = fs::read(truth).map_err(PipelineError::file(truth))?;
    let found: Option<Truth> = serde_json::from_slice(&text).ok();
    let is_same = found.is_some_and(|found| {
        found.config == cohort.phantom && found.subject_seed == cohort.subject_seed(index)
    });
    if is_same { Ok(()) } else { Err(PipelineError::OtherConfiguration { path: truth.to_owned() }) }
}

fn write_subject(case: &PhantomCase, truth: &Truth, folder: &Path) -> Result<(), PipelineError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(PipelineError::file(folder))?;
    }
    fs::create_dir_all(folder).map_err(PipelineError::file(folder))?;
    for (index, (contrast, mr)) in case.mr.iter().enumerate() {
        let name = if index == 0 { "mr.nii.gz".to_owned() } else { format!("mr_{}.nii.gz", contrast.name()) };
        write_volume(&folder.join(name), mr, OutputType::F32)?;
    }
    write_volume(&folder.join("ct.nii.gz"), &case.ct, OutputType::I16)?;
    write_mask(&folder.join("mask.nii.gz"), &case.body)?;
    write_label_map(&folder.join("tissues.nii.gz"), &case.tissues)?;
    write_json(&folder.join("phantom.json"), truth)
}
