//! A cohort on disk: one folder a subject, with `mr`, `ct` and `mask` beside each other.

use std::path::{Path, PathBuf};

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use synthct_image::Volume;
use synthct_io::{read_mask, read_volume};
use synthct_model::Case;
use synthct_prep::body_mask_ct;

use super::PipelineError;
use super::folder::{EXTENSIONS, name_of, subject_folders};

/// The files of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFiles {
    /// The folder's name.
    pub id: String,
    /// The subject's folder.
    pub folder: PathBuf,
    /// The MR, one file a channel in the order asked for.
    pub mr: Vec<PathBuf>,
    /// The CT on the MR's grid.
    pub ct: PathBuf,
    /// The body mask on the MR's grid, if there is one.
    pub mask: Option<PathBuf>,
}

/// The subjects of a cohort, ordered by name.
///
/// The channel `mr` is the file `mr.<extension>`; any other channel `name` is `mr_name.<extension>`.
/// Folders that hold neither an MR nor a CT are passed over.
///
/// # Errors
/// [`PipelineError::Cohort`] if the folder holds no subject or a subject lacks a file;
/// [`PipelineError::File`] if it cannot be read.
pub fn find_cases(cohort: &Path, channels: &[String]) -> Result<Vec<CaseFiles>, PipelineError> {
    let mut cases = Vec::new();
    for folder in subject_folders(cohort)? {
        let id = name_of(&folder);
        let mr: Vec<_> = channels.iter().map(|channel| find_image(&folder, &channel_stem(channel))).collect();
        let ct = find_image(&folder, "ct");
        if ct.is_none() && mr.iter().all(Option::is_none) {
            tracing::info!("`{}` holds neither an MR nor a CT and is passed over", folder.display());
            continue;
        }
        let missing = |stem: &str| PipelineError::Cohort {
            path: folder.clone(),
            what: format!("lacks `{stem}` with one of the extensions {}", EXTENSIONS.join(", ")),
        };
        let mr = std::iter::zip(mr, channels)
            .map(|(path, channel)| path.ok_or_else(|| missing(&channel_stem(channel))))
            .collect::<Result<_, _>>()?;
        let ct = ct.ok_or_else(|| missing("ct"))?;
        let mask = find_image(&folder, "mask");
        cases.push(CaseFiles { id, folder, mr, ct, mask });
    }
    if cases.is_empty() {
        return Err(PipelineError::Cohort {
            path: cohort.to_owned(),
            what:
                "holds no subject: expected are folders with `mr`, `ct` and `mask` images, see docs/DATA.md"
                    .into(),
        });
    }
    Ok(cases)
}

/// Reads one subject; without a mask the body is found on the CT.
///
/// # Errors
/// [`PipelineError::Case`] with the reading error.
pub fn load_case(files: &CaseFiles) -> Result<Case, PipelineError> {
    read_case(files).map_err(|source| PipelineError::Case {
        id: files.id.clone(),
        path: files.folder.clone(),
        source: Box::new(source),
    })
}

/// Finds and reads the subjects that `wanted` accepts by name.
///
/// # Errors
/// As [`find_cases`] and [`load_case`].
pub fn load_cohort(
    cohort: &Path,
    channels: &[String],
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Case>, PipelineError> {
    find_cases(cohort, channels)?.iter().filter(|files| wanted(&files.id)).map(load_case).collect()
}

/// Draws a fifth of the subjects, at least one, to choose the best epoch by.
///
/// The draw depends on the seed and the subjects' names, not on their order.
///
/// # Errors
/// [`PipelineError::TooFewSubjects`] for fewer than two, which leave nothing to train on.
pub fn split_for_validation(ids: &[String], seed: u64) -> Result<Vec<String>, PipelineError> {
    if ids.len() < 2 {
        return Err(PipelineError::TooFewSubjects { found: ids.len() });
    }
    let mut drawn = ids.to_vec();
    drawn.sort();
    drawn.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    drawn.truncate((ids.len() / 5).max(1));
    drawn.sort();
    Ok(drawn)
}

fn read_case(files: &CaseFiles) -> Result<Case, PipelineError> {
    let ct = read_volume(&files.ct)?;
    let body = if let Some(mask) = &files.mask {
        read_mask(mask)?
    } else {
        tracing::warn!("`{}` has no mask: the body is found on its CT", files.folder.display());
        body_mask_ct(&ct)?
    };
    let mr = files.mr.iter().map(|path| read_volume(path)).collect::<Result<Vec<_>, _>>()?;
    for image in mr.iter().map(Volume::grid).chain([body.grid()]) {
        image.require_match(ct.grid())?;
    }
    Ok(Case { id: files.id.clone(), mr, ct, body })
}

fn channel_stem(channel: &str) -> String {
    if channel == "mr" { channel.to_owned() } else { format!("mr_{channel}") }
}

fn find_image(folder: &Path, stem: &str) -> Option<PathBuf> {
    EXTENSIONS.iter().map(|extension| folder.join(format!("{stem}.{extension}"))).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_is_drawn_whatever_the_order() -> Result<(), PipelineError> {
        let ids: Vec<String> = (0..11).map(|n| format!("p{n:02}")).collect();
        let reversed: Vec<String> = ids.iter().rev().cloned().collect();
        let drawn = split_for_validation(&ids, 5)?;
        assert_eq!(drawn.len(), 2);
        assert!(drawn.iter().all(|id| ids.contains(id)));
        assert_eq!(drawn, split_for_validation(&reversed, 5)?);
        assert!((0..20).any(|seed| split_for_validation(&ids, seed).is_ok_and(|other| other != drawn)));
        assert_eq!(split_for_validation(&ids[..2], 5)?.len(), 1);
        assert!(matches!(
            split_for_validation(&ids[..1], 5),
            Err(PipelineError::TooFewSubjects { found: 1 })
        ));
        Ok(())
    }
}
