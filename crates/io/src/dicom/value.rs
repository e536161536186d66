//! Values of attributes from their bytes, for images that are stepped through and data sets that are held whole.

use std::path::Path;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;

use super::FORMAT;
use crate::IoError;

/// An attribute of a file, for what is said of it.
#[derive(Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) path: &'a Path,
    pub(super) tag: Tag,
}

impl Attribute<'_> {
    /// The error for a value that cannot be.
    pub(super) fn malformed(self, what: &str) -> IoError {
        IoError::malformed(self.path, FORMAT, format!("{}: {what}", name_of(self.tag)))
    }

    /// The error for an attribute that is not there.
    pub(super) fn missing(self, hint: &str) -> IoError {
        let attribute = format!("{}: {hint}", name_of(self.tag));
        IoError::MissingAttribute { path: self.path.to_owned(), attribute }
    }

    /// Decimal strings (DS, IS), of a text that is not empty.
    pub(super) fn decimals(self, text: &str) -> Result<Vec<f64>, IoError> {
        text.split('\\')
            .map(|part| match part.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(self.malformed(&format!("`{part}` is no decimal number"))),
            })
            .collect()
    }

    /// `N` numbers, no more and no less.
    pub(super) fn exactly<const N: usize>(self, numbers: Vec<f64>) -> Result<[f64; N], IoError> {
        let n = numbers.len();
        numbers.try_into().map_err(|_| self.malformed(&format!("it has {n} values, not {N}")))
    }

    /// The first 16-bit word.
    pub(super) fn word(self, bytes: &[u8], big_endian: bool) -> Result<u16, IoError> {
        let Some(&word) = bytes.first_chunk::<2>() else {
            return Err(self.malformed(&format!("it has {} bytes, not 2", bytes.len())));
        };
        Ok(if big_endian { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) })
    }
}

/// Keyword and tag, such as `SliceThickness (0018,0050)`.
pub(super) fn name_of(tag: Tag) -> String {
    let keyword = StandardDataDictionary.by_tag(tag).map_or("private attribute", |entry| entry.alias());
    format!("{keyword} {tag}")
}

/// Text without padding: UTF-8 where it is, else Latin-1. Other character sets keep their ASCII part.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    };
    unpadded(&text).to_owned()
}

/// A text without its padding.
pub(super) fn unpadded(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
}
