//! A whole data set as a tree: attributes and the items of sequences, for objects that are more than an image.
//!
//! All lengths have been checked against the file before anything is taken from it, so what is held is never larger than
//! the file (or the inflated data set of it).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::element::{Element, Elements, Encoding, ITEM, ITEM_DELIMITER, MAX_DEPTH, SEQUENCE_DELIMITER};
use super::opening::{Opened, open};
use super::value::{Attribute, text_of, unpadded};
use crate::IoError;

/// A data set or an item of a sequence.
#[derive(Clone, Debug)]
pub(super) struct DataSet {
    path: Arc<Path>,
    big_endian: bool,
    values: BTreeMap<Tag, Value>,
}

/// What an attribute holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Bytes(Vec<u8>),
    Items(Vec<DataSet>),
}

impl DataSet {
    /// The data set of a file; none if it is no DICOM file, or an index.
    ///
    /// Pixel data that is encapsulated is left out.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, IoError> {
        let Opened::DataSet(syntax, mut elements) = open(path)? else { return Ok(None) };
        let end = elements.end();
        read_set(&mut elements, &Arc::from(path), syntax.encoding, End::Byte(end), 0).map(Some)
    }

    /// The same up to the pixel data.
    pub(super) fn read_header(path: &Path) -> Result<Option<Self>, IoError> {
        let Opened::DataSet(syntax, mut elements) = open(path)? else { return Ok(None) };
        let end = elements.end();
        read_set(&mut elements, &Arc::from(path), syntax.encoding, End::PixelData(end), 0).map(Some)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn contains(&self, tag: Tag) -> bool {
        self.values.contains_key(&tag)
    }

    /// An attribute as it stands in the file.
    pub(super) fn value(&self, tag: Tag) -> Option<&Value> {
        self.values.get(&tag)
    }

    /// All attributes, by tag.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Tag, &Value)> {
        self.values.iter().map(|(tag, value)| (*tag, value))
    }

    pub(super) fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        match self.values.get(&tag) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The items of a sequence; none of them if it is absent or empty.
    pub(super) fn items(&self, tag: Tag) -> &[Self] {
        match self.values.get(&tag) {
            Some(Value::Items(items)) => items,
            _ => &[],
        }
    }

    /// The items of a sequence that must not be absent or empty.
    pub(super) fn required_items(&self, tag: Tag, hint: &str) -> Result<&[Self], IoError> {
        let items = self.items(tag);
        if items.is_empty() { Err(self.missing(tag, hint)) } else { Ok(items) }
    }

    /// A text without its padding; none if it is absent or empty.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        self.bytes(tag).map(text_of).filter(|text| !text.is_empty())
    }

    pub(super) fn required_text(&self, tag: Tag, hint: &str) -> Result<String, IoError> {
        self.text(tag).ok_or_else(|| self.missing(tag, hint))
    }

    /// The values of decimal strings (DS, IS); none if absent or empty.
    pub(super) fn numbers(&self, tag: Tag) -> Result<Option<Vec<f64>>, IoError> {
        let Some(bytes) = self.bytes(tag) else { return Ok(None) };
        // Most of the bytes of a structure set are numbers, so they are not copied first.
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(self.malformed(tag, "it is not a text"));
        };
        let text = unpadded(text);
        if text.is_empty() {
            return Ok(None);
        }
        self.attribute(tag).decimals(text).map(Some)
    }

    /// The first decimal string; none if absent or empty.
    pub(super) fn number(&self, tag: Tag) -> Result<Option<f64>, IoError> {
        Ok(self.numbers(tag)?.map(|numbers| numbers[0]))
    }

    pub(super) fn required_number(&self, tag: Tag, hint: &str) -> Result<f64, IoError> {
        self.number(tag)?.ok_or_else(|| self.missing(tag, hint))
    }

    /// `N` decimal strings; none if absent or empty.
    pub(super) fn number_array<const N: usize>(&self, tag: Tag) -> Result<Option<[f64; N]>, IoError> {
        self.numbers(tag)?.map(|numbers| self.attribute(tag).exactly(numbers)).transpose()
    }

    pub(super) fn required_array<const N: usize>(&self, tag: Tag, hint: &str) -> Result<[f64; N], IoError> {
        self.number_array(tag)?.ok_or_else(|| self.missing(tag, hint))
    }

    /// A whole number (IS); none if absent or empty.
    pub(super) fn integer(&self, tag: Tag) -> Result<Option<i32>, IoError> {
        let Some(number) = self.number(tag)? else { return Ok(None) };
        if number.fract() != 0.0 || !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
            return Err(self.malformed(tag, &format!("`{number}` is no whole number of 32 bits")));
        }
        Ok(Some(number as i32))
    }

    pub(super) fn required_integer(&self, tag: Tag, hint: &str) -> Result<i32, IoError> {
        self.integer(tag)?.ok_or_else(|| self.missing(tag, hint))
    }

    /// A 16-bit word; none if absent or empty.
    pub(super) fn word(&self, tag: Tag) -> Result<Option<u16>, IoError> {
        let bytes = self.bytes(tag).filter(|bytes| !bytes.is_empty());
        bytes.map(|bytes| self.attribute(tag).word(bytes, self.big_endian)).transpose()
    }

    /// A single-precision number (FL); none if absent or empty.
    pub(super) fn float(&self, tag: Tag) -> Result<Option<f64>, IoError> {
        let Some(bytes) = self.bytes(tag).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        let Some(&word) = bytes.first_chunk::<4>() else {
            return Err(self.malformed(tag, &format!("it has {} bytes, not 4", bytes.len())));
        };
        let value = if self.big_endian { f32::from_be_bytes(word) } else { f32::from_le_bytes(word) };
        Ok(Some(f64::from(value)))
    }

    pub(super) const fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    fn attribute(&self, tag: Tag) -> Attribute<'_> {
        Attribute { path: &self.path, tag }
    }

    /// The error for an attribute that is not there.
    pub(super) fn missing(&self, tag: Tag, hint: &str) -> IoError {
        self.attribute(tag).missing(hint)
    }

    /// The error for an attribute whose value cannot be.
    pub(super) fn malformed(&self, tag: Tag, what: &str) -> IoError {
        self.attribute(tag).malformed(what)
    }

    /// The error for content that is valid, but not read.
    pub(super) fn unsupported(&self, what: impl Into<String>) -> IoError {
        IoError::unsupported(&self.path, what)
    }
}

/// Where a data set ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// At this byte of the source.
    Byte(u64),
    /// At its pixel data, at the latest at this byte.
    PixelData(u64),
    /// At an item delimiter.
    Delimiter,
}

impl End {
    const fn byte(self) -> Option<u64> {
        match self {
            Self::Byte(byte) | Self::PixelData(byte) => Some(byte),
            Self::Delimiter => None,
        }
    }
}

fn read_set(
    elements: &mut Elements,
    path: &Arc<Path>,
    encoding: Encoding,
    end: End,
    depth: usize,
) -> Result<DataSet, IoError> {
    if depth > MAX_DEPTH {
        return Err(elements.malformed(format!("sequences are nested more than {MAX_DEPTH} deep")));
    }
    let mut values = BTreeMap::new();
    while end.byte().is_none_or(|byte| elements.position() < byte) {
        let element = elements.element_head(encoding)?;
        let is_last = match end {
            End::Byte(_) => false,
            End::PixelData(_) => element.tag == tags::PIXEL_DATA,
            End::Delimiter => element.tag == ITEM_DELIMITER,
        };
        if is_last {
            break;
        }
        if element.tag == tags::PIXEL_DATA && element.length.is_none() {
            elements.skip(&element)?;
            continue;
        }
        let value = if is_sequence(&element) {
            Value::Items(read_items(elements, path, &element, depth)?)
        } else {
            Value::Bytes(elements.value(&element)?)
        };
        values.insert(element.tag, value);
    }
    if let Some(end) = end.byte().filter(|&byte| elements.position() > byte) {
        return Err(elements.malformed(format!(
            "an item that ends at byte {end} holds an element that reaches to byte {}",
            elements.position()
        )));
    }
    Ok(DataSet { path: Arc::clone(path), big_endian: encoding.big_endian, values })
}

/// The items of a sequence, from behind its head.
fn read_items(
    elements: &mut Elements,
    path: &Arc<Path>,
    sequence: &Element,
    depth: usize,
) -> Result<Vec<DataSet>, IoError> {
    let end = match sequence.length {
        Some(length) => {
            elements.require(u64::from(length), sequence.tag)?;
            Some(elements.position() + u64::from(length))
        }
        None => None,
    };
    let mut items = Vec::new();
    while end.is_none_or(|end| elements.position() < end) {
        let item = elements.element_head(sequence.nested)?;
        match (item.tag, item.length) {
            (SEQUENCE_DELIMITER, _) if end.is_none() => break,
            (ITEM, Some(length)) => {
                elements.require(u64::from(length), item.tag)?;
                let item_end = elements.position() + u64::from(length);
                items.push(read_set(elements, path, sequence.nested, End::Byte(item_end), depth + 1)?);
            }
            (ITEM, None) => items.push(read_set(elements, path, sequence.nested, End::Delimiter, depth + 1)?),
            (tag, _) => {
                return Err(elements.malformed(format!(
                    "sequence {} holds {tag} where an item should start, at byte {}",
                    sequence.tag, item.offset
                )));
            }
        }
    }
    if let Some(end) = end.filter(|&end| elements.position() != end) {
        return Err(elements.malformed(format!("sequence {} does not end at byte {end}", sequence.tag)));
    }
    Ok(items)
}

/// Whether an element holds items: it says so, or has no length, or the dictionary knows it to.
///
/// A private sequence of known length in an implicit data set cannot be told from bytes and stays bytes.
fn is_sequence(element: &Element) -> bool {
    match element.vr {
        Some(vr) if &vr != b"UN" => &vr == b"SQ",
        _ => element.length.is_none() || (vr_of(element.tag) == Some(VR::SQ) && element.vr.is_none()),
    }
}

/// The value representation that the dictionary knows.
pub(super) fn vr_of(tag: Tag) -> Option<VR> {
    match StandardDataDictionary.by_tag(tag)?.vr() {
        VirtualVr::Exact(vr) => Some(vr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(bytes: &[u8], encoding: Encoding) -> Result<DataSet, IoError> {
        let path = Path::new("memory");
        let mut elements = Elements::new(Box::new(Cursor::new(bytes.to_vec())), path, encoding, 0)?;
        let end = elements.end();
        read_set(&mut elements, &Arc::from(path), encoding, End::Byte(end), 0)
    }

    /// Beam sequence > control points > a number, with every way to say where things end.
    #[test]
    fn items_of_known_and_unknown_length_are_read_alike() -> Result<(), IoError> {
        let explicit: &[u8] = b"\x0a\x30\xb0\x00SQ\x00\x00\xff\xff\xff\xff\
            \xfe\xff\x00\xe0\xff\xff\xff\xff\
              \x0a\x30\x11\x01SQ\x00\x00\x12\x00\x00\x00\xfe\xff\x00\xe0\x0a\x00\x00\x00\x0a\x30\x1e\x01DS\x02\x0045\
            \xfe\xff\x0d\xe0\x00\x00\x00\x00\
            \xfe\xff\xdd\xe0\x00\x00\x00\x00\
            \x0a\x30\x02\x00SH\x02\x00ab";
        let implicit: &[u8] = b"\x0a\x30\xb0\x00\x2a\x00\x00\x00\
            \xfe\xff\x00\xe0\x22\x00\x00\x00\
              \x0a\x30\x11\x01\xff\xff\xff\xff\xfe\xff\x00\xe0\x0a\x00\x00\x00\x0a\x30\x1e\x01\x02\x00\x00\x0045\
              \xfe\xff\xdd\xe0\x00\x00\x00\x00\
            \x0a\x30\x02\x00\x02\x00\x00\x00ab";
        for (bytes, encoding) in
            [(explicit, Encoding::EXPLICIT_LITTLE), (implicit, Encoding::IMPLICIT_LITTLE)]
        {
            let set = read(bytes, encoding)?;
            let beams = set.items(tags::BEAM_SEQUENCE);
            assert_eq!(beams.len(), 1, "{set:?}");
            let points = beams[0].items(tags::CONTROL_POINT_SEQUENCE);
            assert_eq!(points[0].integer(tags::GANTRY_ANGLE)?, Some(45));
            assert_eq!(set.text(tags::RT_PLAN_LABEL).as_deref(), Some("ab"));
        }
        Ok(())
    }

    #[track_caller]
    fn check_damage(bytes: &[u8], what: &str) {
        let message = read(bytes, Encoding::EXPLICIT_LITTLE).expect_err("damaged").to_string();
        assert!(message.contains(what), "{message}");
    }

    #[test]
    fn damage_is_named() {
        check_damage(
            b"\x0a\x30\xb0\x00SQ\x00\x00\xf0\xff\xff\xff\xfe\xff\x00\xe0",
            "announces 4294967280 bytes",
        );
        check_damage(
            b"\x0a\x30\xb0\x00SQ\x00\x00\x10\x00\x00\x00\xfe\xff\x00\xe0\xf0\x00\x00\x00\x0a\x30\x02\x00SH\x00\x00",
            "announces 240 bytes",
        );
        // An item of 8 bytes that holds an element of 10.
        check_damage(
            b"\x0a\x30\xb0\x00SQ\x00\x00\x12\x00\x00\x00\xfe\xff\x00\xe0\x08\x00\x00\x00\x0a\x30\x02\x00SH\x02\x00ab",
            "reaches to byte",
        );
        let deep: Vec<u8> = b"\x0a\x30\xb0\x00SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
            .iter()
            .copied()
            .cycle()
            .take(20 * 1000)
            .collect();
        check_damage(&deep, "nested more than 32 deep");
    }
}
