//! A folder of raw MR/CT pairs made into a cohort.

mod case;
mod page;
mod raw;
mod report;

pub use report::{BiasNumbers, BodyNumbers, PreparedCase, RegistrationNumbers};

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use synthct_io::{
    OutputType, read_mask, read_transform, read_volume, write_mask, write_transform, write_volume,
};
use synthct_phantom::Site;

use super::page::program;
use super::{Observer, PipelineError, write_json, write_text};
use case::{PreparedImages, RawImages, prepare_case};
use raw::{RawCase, RawFiles, find_raw_cases};

/// How raw pairs become a cohort.
///
/// | field | unit | [`PrepareConfig::standard`] | where it comes from |
/// |---|---|---|---|
/// | `spacing_mm` | mm | none: the MR's own grid | nothing is interpolated twice |
/// | `margin_mm` | mm | 10 | ours: air around the body, as in SynthRAD |
/// | `linear` | – | rigid | SynthRAD 2023 |
/// | `deformable` | – | no | a deformation can hide what a network should learn; look first |
/// | `bias_field` | – | show | model packages correct it themselves, as they were trained |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareConfig {
    /// The spacing of an axial grid (x, y, z) for all images; none keeps each MR's own grid.
    pub spacing_mm: Option<[f64; 3]>,
    /// What is kept around the body, mm.
    pub margin_mm: f64,
    /// How the CT is brought onto the MR.
    pub linear: LinearAlignment,
    /// Whether a deformation follows.
    pub deformable: bool,
    /// What becomes of the MR's bias field.
    pub bias_field: BiasField,
}

/// How the CT is brought onto the MR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearAlignment {
    /// As the headers, or the transform given with the case, place it.
    None,
    /// Turned and shifted.
    Rigid,
    /// Turned, shifted, scaled and sheared.
    Affine,
}

/// What becomes of the MR's bias field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BiasField {
    /// It is not looked for.
    Ignore,
    /// It is found and shown; the MR is stored as it was scanned.
    Show,
    /// The MR is stored without it.
    Correct,
}

impl PrepareConfig {
    /// Rigid registration on the MR's own grid.
    pub const fn standard() -> Self {
        Self {
            spacing_mm: None,
            margin_mm: 10.0,
            linear: LinearAlignment::Rigid,
            deformable: false,
            bias_field: BiasField::Show,
        }
    }

    /// As [`PrepareConfig::standard`], on the grids of SynthRAD 2023: 1×1×1 mm for heads, 1×1×2.5 mm for pelves.
    ///
    /// # References
    /// Thummerer et al. (2023), doi:10.1002/mp.16529.
    pub const fn synthrad(site: Site) -> Self {
        let z_mm = if matches!(site, Site::Pelvis) { 2.5 } else { 1.0 };
        Self { spacing_mm: Some([1.0, 1.0, z_mm]), ..Self::standard() }
    }

    const fn registers(&self) -> bool {
        self.deformable || !matches!(self.linear, LinearAlignment::None)
    }
}

/// What a preparation leaves.
#[derive(Debug)]
pub struct PrepareOutcome {
    /// The finished cases, those of earlier runs among them, ordered by name.
    pub cases: Vec<PreparedCase>,
    /// Those that failed.
    pub failed: Vec<FailedCase>,
    /// The page to look at.
    pub page: PathBuf,
}

/// A case that could not be prepared.
#[derive(Debug)]
pub struct FailedCase {
    /// Its name.
    pub id: String,
    /// Why.
    pub error: PipelineError,
}

/// The cohort's page.
const PAGE: &str = "qc.html";

/// Makes a cohort of raw MR/CT pairs: `out/<ID>/{mr,ct,mask}.nii.gz` on one grid, and `out/qc.html` to look at.
///
/// `raw/<ID>` holds `mr` and `ct` as image files or DICOM folders; `docs/DATA.md` has the layout.
/// A case is written aside and renamed, so one that is there is complete, and is kept if it has the same configuration;
/// one that fails does not stop the others, and is tried again by the next run.
///
/// # Errors
/// [`PipelineError::Cohort`] for a raw folder without subjects or an `out` that is the raw folder;
/// [`PipelineError::OtherConfiguration`] if a case that is there was made otherwise; [`PipelineError::Stopped`] if the
/// observer asked for it; [`PipelineError::File`] if the page cannot be written.
/// What goes wrong with one case is in [`PrepareOutcome::failed`].
pub fn prepare_cohort(
    raw: &Path,
    out: &Path,
    config: &PrepareConfig,
    observer: &mut dyn Observer,
) -> Result<PrepareOutcome, PipelineError> {
    let raw_cases = find_raw_cases(raw)?;
    fs::create_dir_all(out).map_err(PipelineError::file(out))?;
    let canonical = |path: &Path| path.canonicalize().map_err(PipelineError::file(path));
    if canonical(raw)? == canonical(out)? {
        return Err(PipelineError::Cohort {
            path: out.to_owned(),
            what: "holds the raw pairs: the cohort needs a folder of its own".into(),
        });
    }
    // Before anything slow: what is there must be of this configuration.
    let mut finished = Vec::with_capacity(raw_cases.len());
    for case in &raw_cases {
        let folder = out.join(&case.id);
        finished.push(if folder.exists() { Some(PreparedCase::read(&folder, config)?) } else { None });
    }
    observer.stage("preparing", Some(raw_cases.len()));
    let (mut cases, mut failed) = (Vec::new(), Vec::new());
    for (case, finished) in std::iter::zip(&raw_cases, finished) {
        let done = match finished {
            Some(report) => Ok(report),
            None => prepare_and_write(case, raw, out, config, observer),
        };
        match done {
            Ok(report) => cases.push(report),
            Err(error) => {
                observer.note(&format!("{} failed: {}", case.id, with_causes(&error)));
                failed.push(FailedCase { id: case.id.clone(), error });
            }
        }
        if observer.done(1).is_break() {
            return Err(PipelineError::Stopped);
        }
    }
    let page = out.join(PAGE);
    write_text(&page, &page::cohort_page(out, config, &cases, &failed)?)?;
    Ok(PrepareOutcome { cases, failed, page })
}

/// The deformation that MR and CT of one patient need.
fn deformation_of_ct() -> synthct_register::BSplineConfig {
    synthct_register::BSplineConfig::multi()
}

fn prepare_and_write(
    case: &RawCase,
    raw: &Path,
    out: &Path,
    config: &PrepareConfig,
    observer: &mut dyn Observer,
) -> Result<PreparedCase, PipelineError> {
    let id = &case.id;
    let files = case.files()?;
    observer.doing(&format!("{id}: reading"));
    let images = read_images(&files)?;
    let prepared = prepare_case(&images, config, &mut |what| observer.doing(&format!("{id}: {what}")))?;
    drop(images);
    observer.doing(&format!("{id}: writing"));
    let grid = prepared.mr.grid();
    let below_raw = |path: &Path| path.strip_prefix(raw).unwrap_or(path).to_string_lossy().into_owned();
    let report = PreparedCase {
        id: id.clone(),
        generator: program(),
        config: config.clone(),
        mr: below_raw(&files.mr),
        ct: below_raw(&files.ct),
        size_ijk: grid.size_ijk(),
        spacing_mm: grid.spacing_mm(),
        registration: prepared.registration.clone(),
        body: prepared.body,
        bias_field: prepared.bias.as_ref().map(|bias| bias.numbers),
        warnings: prepared.warnings.clone(),
    };
    let (folder, aside) = (out.join(id), out.join(format!(".{id}.partial")));
    write_case(&aside, &report, &prepared)?;
    fs::rename(&aside, &folder).map_err(PipelineError::file(&folder))?;
    Ok(report)
}

fn read_images(files: &RawFiles) -> Result<RawImages, PipelineError> {
    Ok(RawImages {
        mr: read_volume(&files.mr)?,
        ct: read_volume(&files.ct)?,
        mask: files.mask.as_deref().map(read_mask).transpose()?,
        initial: files.initial.as_deref().map(read_transform).transpose()?,
    })
}

fn write_case(folder: &Path, report: &PreparedCase, images: &PreparedImages) -> Result<(), PipelineError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(PipelineError::file(folder))?;
    }
    fs::create_dir_all(folder).map_err(PipelineError::file(folder))?;
    write_volume(&folder.join("mr.nii.gz"), &images.mr, OutputType::F32)?;
    write_volume(&folder.join("ct.nii.gz"), &images.ct, OutputType::I16)?;
    write_mask(&folder.join("mask.nii.gz"), &images.mask)?;
    if let Some(bias) = images.bias.as_ref().filter(|bias| bias.numbers.is_corrected) {
        write_volume(&folder.join("bias_field.nii.gz"), &bias.field, OutputType::F32)?;
    }
    write_transform(&folder.join("ct_from_mr.tfm"), &images.ct_from_mr)?;
    write_text(&folder.join(PAGE), &page::case_page(report, images)?)?;
    write_json(&folder.join(PreparedCase::FILE), report)
}

/// An error and its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
