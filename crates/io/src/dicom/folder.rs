//! Finding DICOM files and sorting them into series.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use rayon::prelude::*;

use super::FORMAT;
use super::attributes::{Scanned, scan};
use super::directory;
use super::image::ImageHeader;
use super::opening;
use super::series::{Series, assemble};
use crate::IoError;

/// Everything that was found under a path.
pub(super) struct Found {
    pub(super) series: Vec<Series>,
    pub(super) n_files: usize,
    pub(super) n_foreign: usize,
    /// Damaged DICOM files whose series is not known.
    pub(super) damaged: Vec<IoError>,
}

/// The files under `path` in the order of their names; `path` itself if it is a file.
///
/// Hidden files and folders are left out. A folder that is reached twice through links is read once.
pub(super) fn files_under(path: &Path) -> Result<Vec<PathBuf>, IoError> {
    if fs::metadata(path).map_err(IoError::io(path))?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut visited = BTreeSet::new();
    let mut pending = vec![path.to_owned()];
    while let Some(folder) = pending.pop() {
        if !visited.insert(fs::canonicalize(&folder).map_err(IoError::io(&folder))?) {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(IoError::io(&folder))? {
            let entry = entry.map_err(IoError::io(&folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let entry = entry.path();
            // A link to nowhere is no file.
            match fs::metadata(&entry) {
                Ok(metadata) if metadata.is_dir() => pending.push(entry),
                Ok(metadata) if metadata.is_file() => files.push(entry),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether any of the files under `path` is DICOM.
pub(super) fn holds_dicom(path: &Path) -> Result<bool, IoError> {
    for file in files_under(path)? {
        if opening::is_dicom(&file)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads all headers under `path`, in parallel, and sorts them into series.
pub(super) fn find(path: &Path) -> Result<Found, IoError> {
    let mut files = files_under(path)?;
    // A DICOMDIR stands for the files that it lists.
    if let [file] = &files[..]
        && let Some(listed) = directory::listed_files(file)?
    {
        files = listed;
    }
    let n_files = files.len();
    let scans: Vec<Scan> = files.par_iter().map(|file| scan_file(file)).collect();
    let mut n_foreign = 0;
    let mut lost = Vec::new();
    let mut groups: BTreeMap<String, (Vec<ImageHeader>, Vec<IoError>)> = BTreeMap::new();
    for scan in scans {
        match scan {
            Scan::Foreign => n_foreign += 1,
            Scan::Headers(headers) => {
                let series_uid = headers.first().map(|header| header.series_uid.clone()).unwrap_or_default();
                groups.entry(series_uid).or_default().0.extend(headers);
            }
            Scan::Damaged(Some(series_uid), error) => groups.entry(series_uid).or_default().1.push(error),
            Scan::Damaged(None, error) => lost.push(error),
        }
    }
    let mut series: Vec<Series> =
        groups.into_iter().map(|(uid, (headers, damaged))| assemble(uid, headers, damaged)).collect();
    // As a scanner's console lists them: by study, then by series number; the UID settles ties.
    let order =
        |series: &Series| (series.info.study_uid.clone(), series.info.series_number.unwrap_or(f64::INFINITY));
    series.sort_by(|left, right| {
        let ((left_study, left_number), (right_study, right_number)) = (order(left), order(right));
        left_study.cmp(&right_study).then(left_number.total_cmp(&right_number))
    });
    Ok(Found { series, n_files, n_foreign, damaged: lost })
}

enum Scan {
    Foreign,
    Headers(Vec<ImageHeader>),
    Damaged(Option<String>, IoError),
}

fn scan_file(path: &Path) -> Scan {
    match scan(path) {
        Scanned::Foreign | Scanned::Directory => Scan::Foreign,
        Scanned::Damaged { series_uid, error } => Scan::Damaged(series_uid, error),
        Scanned::Complete(attributes) => match ImageHeader::of_frames(&attributes) {
            // A file that was cut off between two elements looks whole, but belongs nowhere.
            Ok(headers)
                if headers.iter().all(|header| header.series_uid.is_empty() && header.pixels.is_none()) =>
            {
                let what =
                    "it has neither a SeriesInstanceUID (0020,000E) nor pixel data; it may have been cut off";
                Scan::Damaged(None, IoError::malformed(path, FORMAT, what))
            }
            Ok(headers) => Scan::Headers(headers),
            Err(error) => Scan::Damaged(attributes.whole().text(tags::SERIES_INSTANCE_UID), error),
        },
    }
}
