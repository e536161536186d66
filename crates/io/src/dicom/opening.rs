//! From a file to the start of its data set (PS3.10 section 7.1).

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use dicom_dictionary_std::tags;

use super::FORMAT;
use super::element::{Elements, Encoding};
use super::syntax::TransferSyntax;
use super::value::{Attribute, text_of};
use crate::IoError;

/// A file at the start of its data set.
pub(super) enum Opened {
    /// No DICOM file.
    Foreign,
    /// A DICOMDIR: an index, no image.
    Directory(Elements),
    /// Anything else.
    DataSet(TransferSyntax, Elements),
}

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Foreign,
    /// File meta information, at this byte.
    Meta(u64),
    /// The data set itself, written like this.
    Bare(Encoding),
}

/// Whether a file is DICOM.
///
/// That is `DICM`, as a rule after 128 bytes of preamble, or file meta information without it, or a bare data set of a
/// known kind of object, as old archives and some exports have them.
pub(super) fn is_dicom(path: &Path) -> Result<bool, IoError> {
    Ok(start_of(path)? != Start::Foreign)
}

/// Opens a file and reads its file meta information; inflates a deflated data set.
pub(super) fn open(path: &Path) -> Result<Opened, IoError> {
    let reader = |position, encoding| {
        let file = BufReader::with_capacity(1 << 13, File::open(path).map_err(IoError::io(path))?);
        Elements::new(Box::new(file), path, encoding, position)
    };
    let mut elements = match start_of(path)? {
        Start::Foreign => return Ok(Opened::Foreign),
        Start::Bare(encoding) => {
            return Ok(Opened::DataSet(TransferSyntax::uncompressed(encoding), reader(0, encoding)?));
        }
        Start::Meta(position) => reader(position, Encoding::EXPLICIT_LITTLE)?,
    };
    let mut uid = None;
    let mut is_directory = false;
    while let Some(element) = elements.next_in_group(0x0002)? {
        if element.tag == tags::TRANSFER_SYNTAX_UID {
            uid = Some(text_of(&elements.value(&element)?));
        } else if element.tag == tags::MEDIA_STORAGE_SOP_CLASS_UID {
            // Media Storage Directory Storage.
            is_directory = text_of(&elements.value(&element)?) == "1.2.840.10008.1.3.10";
        } else {
            elements.skip(&element)?;
        }
    }
    let uid = uid.ok_or_else(|| {
        Attribute { path, tag: tags::TRANSFER_SYNTAX_UID }.missing("the file cannot be decoded without it")
    })?;
    let syntax = TransferSyntax::from_uid(&uid).ok_or_else(|| {
        IoError::unsupported(path, format!("the transfer syntax `{uid}` (unknown or private)"))
    })?;
    if syntax.is_deflated {
        elements = Elements::new(Box::new(Cursor::new(inflate(path, elements)?)), path, syntax.encoding, 0)?;
    }
    elements.set_encoding(syntax.encoding);
    Ok(if is_directory { Opened::Directory(elements) } else { Opened::DataSet(syntax, elements) })
}

/// More than any single image has; what inflates to more is a bomb.
const MAX_INFLATED: u64 = 1 << 31;

fn inflate(path: &Path, elements: Elements) -> Result<Vec<u8>, IoError> {
    let deflated = elements.read_to_end()?;
    let mut inflated = Vec::new();
    flate2::read::DeflateDecoder::new(deflated.as_slice())
        .take(MAX_INFLATED)
        .read_to_end(&mut inflated)
        .map_err(|error| {
            IoError::malformed(path, FORMAT, format!("its deflated data set is damaged: {error}"))
        })?;
    if inflated.len() as u64 == MAX_INFLATED {
        return Err(IoError::unsupported(path, "a deflated data set of 2 GiB or more"));
    }
    Ok(inflated)
}

fn start_of(path: &Path) -> Result<Start, IoError> {
    let mut start = Vec::with_capacity(132);
    File::open(path).and_then(|file| file.take(132).read_to_end(&mut start)).map_err(IoError::io(path))?;
    Ok(if start.get(128..132) == Some(b"DICM") {
        Start::Meta(132)
    } else if start.starts_with(b"DICM") {
        Start::Meta(4)
    } else if start.starts_with(b"\x02\x00\x00\x00UL\x04\x00") {
        Start::Meta(0)
    } else {
        bare_encoding(&start)
            .filter(|&encoding| is_known_object(path, encoding))
            .map_or(Start::Foreign, Start::Bare)
    })
}

/// How a bare data set would be written, if the first element's head can be one of group 0008.
fn bare_encoding(start: &[u8]) -> Option<Encoding> {
    let head: [u8; 8] = *start.first_chunk()?;
    let explicit_vr = matches!(&head[4..6], b"UL" | b"CS" | b"DA" | b"TM" | b"UI");
    match head {
        // The first element of a data set is the group's length, the character set, an image type or a date.
        [0x08, 0, 0x00..=0x20, 0, ..] if explicit_vr => Some(Encoding::EXPLICIT_LITTLE),
        [0x08, 0, 0x00..=0x20, 0, _, _, 0, 0] => Some(Encoding::IMPLICIT_LITTLE),
        [0, 0x08, 0, 0x00..=0x20, ..] if explicit_vr => Some(Encoding::EXPLICIT_BIG),
        _ => None,
    }
}

/// Whether a bare data set has a SOPClassUID of the standard within its group 0008.
fn is_known_object(path: &Path, encoding: Encoding) -> bool {
    let find = || -> Result<bool, IoError> {
        let file = BufReader::with_capacity(1 << 13, File::open(path).map_err(IoError::io(path))?);
        let mut elements = Elements::new(Box::new(file), path, encoding, 0)?;
        while let Some(element) = elements.next_in_group(0x0008)? {
            if element.tag == tags::SOP_CLASS_UID {
                return Ok(text_of(&elements.value(&element)?).starts_with("1.2.840.10008.5.1.4."));
            }
            elements.skip(&element)?;
        }
        Ok(false)
    };
    // An element that cannot be read means that this is no data set.
    find().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_data_sets_are_told_by_their_first_element() {
        assert_eq!(bare_encoding(b"\x08\x00\x05\x00CS\x0a\x00"), Some(Encoding::EXPLICIT_LITTLE));
        assert_eq!(bare_encoding(b"\x08\x00\x00\x00\x04\x00\x00\x00"), Some(Encoding::IMPLICIT_LITTLE));
        assert_eq!(bare_encoding(b"\x00\x08\x00\x08CS\x00\x0a"), Some(Encoding::EXPLICIT_BIG));
        assert_eq!(bare_encoding(b"\x08\x00\x05\x00\x0a\x00\x01\x00"), None, "65 KiB of character sets");
        assert_eq!(bare_encoding(b"ObjectTy"), None);
        assert_eq!(bare_encoding(b"\x08\x00"), None);
    }
}
