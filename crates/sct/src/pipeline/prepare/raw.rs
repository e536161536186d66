//! A folder of raw MR/CT pairs.

use std::path::{Path, PathBuf};

use super::super::PipelineError;
use super::super::folder::{EXTENSIONS, entries, name_of, subject_folders};

/// The extension of headers whose data lie beside them, which a raw folder may hold, too.
const HEADER: &str = "hdr";

/// One subject's folder, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawCase {
    /// The folder's name.
    pub(crate) id: String,
    /// The folder.
    pub(crate) folder: PathBuf,
}

/// The files of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawFiles {
    /// The MR: a file or a folder with a DICOM series.
    pub(crate) mr: PathBuf,
    /// The CT, likewise.
    pub(crate) ct: PathBuf,
    /// A body mask on the MR's grid.
    pub(crate) mask: Option<PathBuf>,
    /// The transform from MR to CT points to start from.
    pub(crate) initial: Option<PathBuf>,
}

/// The subjects of a raw folder, ordered by name: every folder that holds an `mr` or a `ct`.
pub(crate) fn find_raw_cases(raw: &Path) -> Result<Vec<RawCase>, PipelineError> {
    if !images_named(raw, "mr")?.is_empty() && !images_named(raw, "ct")?.is_empty() {
        return Err(PipelineError::Cohort {
            path: raw.to_owned(),
            what: "is one subject, but a folder of subjects is wanted: DIR/<ID>/{mr,ct}, so give its parent folder".into(),
        });
    }
    let mut cases = Vec::new();
    for folder in subject_folders(raw)? {
        let id = name_of(&folder);
        if images_named(&folder, "mr")?.is_empty() && images_named(&folder, "ct")?.is_empty() {
            tracing::warn!("`{}` holds neither an MR nor a CT and is passed over", folder.display());
            continue;
        }
        cases.push(RawCase { id, folder });
    }
    if cases.is_empty() {
        return Err(PipelineError::Cohort {
            path: raw.to_owned(),
            what: "holds no subject: expected are folders DIR/<ID> with `mr` and `ct` as image files or DICOM folders, \
                   see docs/DATA.md"
                .into(),
        });
    }
    Ok(cases)
}

impl RawCase {
    /// The subject's files.
    ///
    /// # Errors
    /// [`PipelineError::Cohort`] if MR or CT is missing or there are several.
    pub(crate) fn files(&self) -> Result<RawFiles, PipelineError> {
        let one = |stem: &str| -> Result<Option<PathBuf>, PipelineError> {
            let mut found = images_named(&self.folder, stem)?;
            match found.len() {
                0 | 1 => Ok(found.pop()),
                n => Err(PipelineError::Cohort {
                    path: self.folder.clone(),
                    what: format!("holds {n} images named `{stem}`: {}", names(&found)),
                }),
            }
        };
        let required = |stem: &str| {
            one(stem)?.ok_or_else(|| PipelineError::Cohort {
                path: self.folder.clone(),
                what: format!(
                    "lacks `{stem}`: a file {stem}.{}|{HEADER} or a DICOM folder {stem}/",
                    EXTENSIONS.join("|")
                ),
            })
        };
        let initial = self.folder.join("initial.tfm");
        Ok(RawFiles {
            mr: required("mr")?,
            ct: required("ct")?,
            mask: one("mask")?,
            initial: initial.is_file().then_some(initial),
        })
    }
}

/// The image files and folders of one name, in upper or lower case.
fn images_named(folder: &Path, stem: &str) -> Result<Vec<PathBuf>, PipelineError> {
    let is_named = |path: &PathBuf| {
        let name = name_of(path).to_lowercase();
        if path.is_dir() {
            return name == stem;
        }
        name.strip_prefix(stem)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|extension| extension == HEADER || EXTENSIONS.contains(&extension))
    };
    Ok(entries(folder)?.into_iter().filter(is_named).collect())
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| name_of(path)).collect();
    names.join(", ")
}
