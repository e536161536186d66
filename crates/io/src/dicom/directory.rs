//! DICOMDIR: the files that it lists (PS3.3 annex F).

use std::fs;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;

use super::FORMAT;
use super::element::{Elements, Level};
use super::opening::{Opened, open};
use super::value::text_of;
use crate::IoError;

/// The files that a DICOMDIR lists, sorted by name; none if `path` is another kind of file.
///
/// # Errors
/// [`IoError::Malformed`] if a listed file is not there, [`IoError::Io`] if something cannot be read.
pub(super) fn listed_files(path: &Path) -> Result<Option<Vec<PathBuf>>, IoError> {
    let Opened::Directory(mut elements) = open(path)? else { return Ok(None) };
    let mut identifiers = Vec::new();
    while let Some(element) = elements.next_element()? {
        if element.tag == tags::DIRECTORY_RECORD_SEQUENCE {
            let sequence = elements.enter(&element)?;
            while let Some(record) = elements.next_item(&sequence)? {
                identifiers.extend(referenced_file(&mut elements, &record)?);
            }
        } else {
            elements.skip(&element)?;
        }
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for identifier in identifiers {
        let found = resolve(folder, &identifier)?;
        files.push(found.ok_or_else(|| {
            IoError::malformed(path, FORMAT, format!("it lists the file `{identifier}`, which is not there"))
        })?);
    }
    files.sort();
    files.dedup();
    Ok(Some(files))
}

/// ReferencedFileID of a directory record, its parts separated by backslashes.
fn referenced_file(elements: &mut Elements, record: &Level) -> Result<Option<String>, IoError> {
    let mut identifier = None;
    while let Some(element) = elements.next_of(record)? {
        if element.tag == tags::REFERENCED_FILE_ID {
            identifier = Some(text_of(&elements.value(&element)?)).filter(|text| !text.is_empty());
        } else {
            elements.skip(&element)?;
        }
    }
    Ok(identifier)
}

/// The file below `folder` with that identifier; media are often copied with names in another case.
fn resolve(folder: &Path, identifier: &str) -> Result<Option<PathBuf>, IoError> {
    let mut path = folder.to_owned();
    for part in identifier.split('\\').map(str::trim) {
        // An identifier never leads out of the folder of its DICOMDIR.
        if part.is_empty() || part == "." || part == ".." || part.contains('/') {
            return Ok(None);
        }
        let exact = path.join(part);
        if exact.exists() {
            path = exact;
            continue;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(IoError::io(&path))? {
            let name = entry.map_err(IoError::io(&path))?.file_name();
            if name.to_str().is_some_and(|name| name.eq_ignore_ascii_case(part)) {
                names.push(name);
            }
        }
        names.sort();
        match names.first() {
            Some(name) => path.push(name),
            None => return Ok(None),
        }
    }
    Ok(path.is_file().then_some(path))
}
