//! Data elements of a file, one after the other, every length checked against what the file has left.
//!
//! This is a reader of its own because a header must be judged before it is trusted: `dicom-object` 0.10 fills as many
//! bytes as an element announces, so a file of some hundred bytes makes it take 4 GiB.
//! See PS3.5 sections 7.1 (elements), 7.5 (nesting) and 10.1 (file meta information is PS3.10 section 7.1).

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use dicom_core::Tag;

use super::FORMAT;
use crate::IoError;

pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_DELIMITER: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_DELIMITER: Tag = Tag(0xFFFE, 0xE0DD);

/// Sequences within sequences that are followed; real objects stay below ten.
pub(super) const MAX_DEPTH: usize = 32;

/// Where elements come from: a file, or the inflated bytes of one.
pub(super) trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) explicit_vr: bool,
    pub(super) big_endian: bool,
}

impl Encoding {
    pub(super) const EXPLICIT_LITTLE: Self = Self { explicit_vr: true, big_endian: false };
    pub(super) const IMPLICIT_LITTLE: Self = Self { explicit_vr: false, big_endian: false };
    pub(super) const EXPLICIT_BIG: Self = Self { explicit_vr: true, big_endian: true };

    fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// The head of an element; its value has not been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub(super) tag: Tag,
    /// The value representation, if the element says it.
    pub(super) vr: Option<[u8; 2]>,
    /// None means "until a delimiter": a sequence or encapsulated pixel data.
    pub(super) length: Option<u32>,
    /// Where the value starts, in bytes from the start of the source.
    pub(super) offset: u64,
    /// How elements nested in this one are written.
    pub(super) nested: Encoding,
}

/// A sequence, or an item of one, that is being read element by element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Where it ends; none if a delimiter ends it.
    end: Option<u64>,
    encoding: Encoding,
}

/// A position in a source, moving from element to element.
pub(super) struct Elements {
    source: Box<dyn Source>,
    path: PathBuf,
    encoding: Encoding,
    position: u64,
    end: u64,
}

impl Elements {
    /// Elements from `position` to the end of `source`.
    pub(super) fn new(
        mut source: Box<dyn Source>,
        path: &Path,
        encoding: Encoding,
        position: u64,
    ) -> Result<Self, IoError> {
        let end = source.seek(SeekFrom::End(0)).map_err(IoError::io(path))?;
        source.seek(SeekFrom::Start(position)).map_err(IoError::io(path))?;
        Ok(Self { source, path: path.to_owned(), encoding, position, end })
    }

    /// From here on elements are written in another way (the data set after the file meta information).
    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// Bytes from the start of the source.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The number of bytes of the source.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// All bytes from the present position on.
    pub(super) fn read_to_end(mut self) -> Result<Vec<u8>, IoError> {
        let mut bytes = Vec::new();
        self.source.read_to_end(&mut bytes).map_err(IoError::io(&self.path))?;
        Ok(bytes)
    }

    /// The next element's head, or none at the end of the source.
    pub(super) fn next_element(&mut self) -> Result<Option<Element>, IoError> {
        if self.position == self.end {
            return Ok(None);
        }
        self.element_head(self.encoding).map(Some)
    }

    /// The next element's head if it belongs to `group`; otherwise the position stays where it is.
    pub(super) fn next_in_group(&mut self, group: u16) -> Result<Option<Element>, IoError> {
        if self.end - self.position < 8 {
            return Ok(None);
        }
        let peeked = self.encoding.u16(self.read_array()?);
        self.seek(self.position - 2)?;
        if peeked == group { self.next_element() } else { Ok(None) }
    }

    /// The value of an element whose head has just been read.
    pub(super) fn value(&mut self, element: &Element) -> Result<Vec<u8>, IoError> {
        let Some(length) = element.length else {
            return Err(self.malformed(format!("element {} has no length, but is no sequence", element.tag)));
        };
        self.require(u64::from(length), element.tag)?;
        self.bytes(length as usize)
    }

    /// The next `n` bytes.
    pub(super) fn bytes(&mut self, n: usize) -> Result<Vec<u8>, IoError> {
        let found = self.end - self.position;
        if n as u64 > found {
            return Err(IoError::Truncated { path: self.path.clone(), expected: n as u64, found });
        }
        let mut bytes = vec![0; n];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Moves behind an element whose head has just been read.
    pub(super) fn skip(&mut self, element: &Element) -> Result<(), IoError> {
        self.skip_nested(element, 0)
    }

    /// Moves to a place that an element's head named before.
    pub(super) fn seek(&mut self, position: u64) -> Result<(), IoError> {
        let step = position as i64 - self.position as i64;
        self.source.seek_relative(step).map_err(IoError::io(&self.path))?;
        self.position = position;
        Ok(())
    }

    /// Where the fragments of encapsulated pixel data are, and how long, from the position behind its head (PS3.5 section
    /// A.4).
    ///
    /// The basic offset table comes first and may be empty.
    pub(super) fn fragments(&mut self) -> Result<Vec<(u64, u32)>, IoError> {
        let mut fragments = Vec::new();
        loop {
            let item = self.element_head(self.encoding)?;
            match (item.tag, item.length) {
                (ITEM, Some(length)) => {
                    self.require(u64::from(length), item.tag)?;
                    fragments.push((item.offset, length));
                    self.seek(item.offset + u64::from(length))?;
                }
                (SEQUENCE_DELIMITER, _) => return Ok(fragments),
                (tag, _) => {
                    return Err(self.malformed(format!("{tag} between the fragments of the pixel data")));
                }
            }
        }
    }

    /// Goes into a sequence whose head has just been read.
    pub(super) fn enter(&mut self, sequence: &Element) -> Result<Level, IoError> {
        self.level(sequence, sequence.nested)
    }

    /// Goes into the next item of a sequence; none at its end.
    pub(super) fn next_item(&mut self, sequence: &Level) -> Result<Option<Level>, IoError> {
        if self.is_at_end(sequence)? {
            return Ok(None);
        }
        let item = self.element_head(sequence.encoding)?;
        match item.tag {
            SEQUENCE_DELIMITER => Ok(None),
            ITEM => self.level(&item, sequence.encoding).map(Some),
            tag => Err(self.malformed(format!(
                "a sequence holds {tag} where an item should start, at byte {}",
                item.offset
            ))),
        }
    }

    /// The next element's head of an item; none at its end.
    pub(super) fn next_of(&mut self, item: &Level) -> Result<Option<Element>, IoError> {
        if self.is_at_end(item)? {
            return Ok(None);
        }
        let element = self.element_head(item.encoding)?;
        Ok((element.tag != ITEM_DELIMITER).then_some(element))
    }

    fn level(&self, element: &Element, encoding: Encoding) -> Result<Level, IoError> {
        if let Some(length) = element.length {
            self.require(u64::from(length), element.tag)?;
        }
        Ok(Level { end: element.length.map(|length| self.position + u64::from(length)), encoding })
    }

    fn is_at_end(&self, level: &Level) -> Result<bool, IoError> {
        match level.end {
            Some(end) if self.position > end => {
                Err(self
                    .malformed(format!("an element runs over the end of its item or sequence at byte {end}")))
            }
            end => Ok(end == Some(self.position)),
        }
    }

    fn skip_nested(&mut self, element: &Element, depth: usize) -> Result<(), IoError> {
        if let Some(length) = element.length {
            self.require(u64::from(length), element.tag)?;
            return self.seek(self.position + u64::from(length));
        }
        if depth > MAX_DEPTH {
            return Err(self.malformed(format!("sequences are nested more than {MAX_DEPTH} deep")));
        }
        loop {
            let item = self.element_head(element.nested)?;
            match (item.tag, item.length) {
                (SEQUENCE_DELIMITER, _) => return Ok(()),
                (ITEM, Some(_)) => self.skip_nested(&item, depth + 1)?,
                (ITEM, None) => loop {
                    let inner = self.element_head(element.nested)?;
                    if inner.tag == ITEM_DELIMITER {
                        break;
                    }
                    self.skip_nested(&inner, depth + 1)?;
                },
                (tag, _) => {
                    return Err(self.malformed(format!(
                        "sequence {} holds {tag} where an item should start, at byte {}",
                        element.tag, item.offset
                    )));
                }
            }
        }
    }

    /// The next element's head, written in a given way.
    pub(super) fn element_head(&mut self, encoding: Encoding) -> Result<Element, IoError> {
        if self.end - self.position < 8 {
            return Err(self.malformed(format!("the data set breaks off at byte {}", self.end)));
        }
        let tag = Tag(encoding.u16(self.read_array()?), encoding.u16(self.read_array()?));
        let mut nested = encoding;
        let word: [u8; 4] = self.read_array()?;
        let vr = [word[0], word[1]];
        // Items and delimiters have no VR. Some writers put implicit elements into explicit data sets; two bytes that
        // cannot be a VR tell them apart, as in other readers.
        let is_implicit =
            !encoding.explicit_vr || tag.group() == 0xFFFE || !vr.iter().all(u8::is_ascii_uppercase);
        let length = if is_implicit {
            nested.explicit_vr &= tag.group() == 0xFFFE;
            encoding.u32(word)
        } else if has_short_length(vr) {
            u32::from(encoding.u16([word[2], word[3]]))
        } else {
            if self.end - self.position < 4 {
                return Err(self.malformed(format!("the data set breaks off at byte {}", self.end)));
            }
            // The content of an unknown VR of undefined length is implicit VR little endian (PS3.5 section 6.2.2).
            if &vr == b"UN" {
                nested = Encoding::IMPLICIT_LITTLE;
            }
            encoding.u32(self.read_array()?)
        };
        let length = (length != u32::MAX).then_some(length);
        Ok(Element { tag, vr: (!is_implicit).then_some(vr), length, offset: self.position, nested })
    }

    /// Fails if an element announces more bytes than are left.
    pub(super) fn require(&self, length: u64, tag: Tag) -> Result<(), IoError> {
        let left = self.end - self.position;
        if length <= left {
            return Ok(());
        }
        Err(self.malformed(format!(
            "element {tag} at byte {} announces {length} bytes, but the file has only {left} left",
            self.position
        )))
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N], IoError> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), IoError> {
        self.source.read_exact(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                IoError::malformed(&self.path, FORMAT, "the file became shorter while it was read")
            }
            _ => IoError::Io { path: self.path.clone(), source },
        })?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// The error for a file that contradicts the format.
    pub(super) fn malformed(&self, what: String) -> IoError {
        IoError::malformed(&self.path, FORMAT, what)
    }
}

/// Whether a value representation writes its length in two bytes (PS3.5 tables 7.1-1 and 7.1-2).
fn has_short_length(vr: [u8; 2]) -> bool {
    const SHORT: [&[u8; 2]; 21] = [
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH",
        b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    ];
    SHORT.contains(&&vr)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn elements(bytes: &[u8], encoding: Encoding) -> Result<Elements, IoError> {
        Elements::new(Box::new(Cursor::new(bytes.to_vec())), Path::new("memory"), encoding, 0)
    }

    #[track_caller]
    fn check_tags(bytes: &[u8], encoding: Encoding, expected: &[Tag]) {
        let mut elements = elements(bytes, encoding).expect("because memory can be sought");
        let mut tags = Vec::new();
        while let Some(element) = elements.next_element().expect("a good data set") {
            tags.push(element.tag);
            elements.skip(&element).expect("a good data set");
        }
        assert_eq!(tags, expected);
    }

    #[test]
    fn the_three_encodings_step_over_values() {
        let tags = [Tag(0x0008, 0x0060), Tag(0x0028, 0x0010)];
        let explicit = b"\x08\x00\x60\x00CS\x02\x00CT\x28\x00\x10\x00US\x02\x00\x05\x00";
        check_tags(explicit, Encoding::EXPLICIT_LITTLE, &tags);
        let implicit = b"\x08\x00\x60\x00\x02\x00\x00\x00CT\x28\x00\x10\x00\x02\x00\x00\x00\x05\x00";
        check_tags(implicit, Encoding::IMPLICIT_LITTLE, &tags);
        let big = b"\x00\x08\x00\x60CS\x00\x02CT\x00\x28\x00\x10US\x00\x02\x00\x05";
        check_tags(big, Encoding::EXPLICIT_BIG, &tags);
    }

    #[test]
    fn sequences_of_undefined_length_are_stepped_over() {
        let bytes = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\
            \xfe\xff\x00\xe0\xff\xff\xff\xff\x08\x00\x60\x00CS\x02\x00CT\xfe\xff\x0d\xe0\x00\x00\x00\x00\
            \xfe\xff\x00\xe0\x0a\x00\x00\x00\x08\x00\x60\x00CS\x02\x00CT\
            \xfe\xff\xdd\xe0\x00\x00\x00\x00\x28\x00\x10\x00US\x02\x00\x05\x00";
        check_tags(bytes, Encoding::EXPLICIT_LITTLE, &[Tag(0x0008, 0x1140), Tag(0x0028, 0x0010)]);
    }

    #[track_caller]
    fn check_malformed(bytes: &[u8], what: &str) {
        let mut elements = elements(bytes, Encoding::EXPLICIT_LITTLE).expect("because memory can be sought");
        let result = loop {
            match elements.next_element() {
                Ok(Some(element)) => {
                    if let Err(error) = elements.skip(&element) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let message = result.expect_err("a damaged data set").to_string();
        assert!(message.contains(what), "{message}");
    }

    #[test]
    fn damage_is_named() {
        check_malformed(b"\x08\x00\x60\x00CS", "breaks off at byte 6");
        check_malformed(b"\x08\x00\x60\x00CS\x08\x00CT", "announces 8 bytes, but the file has only 2 left");
        check_malformed(b"\x08\x00\x60\x00OB\x00\x00\xf0\xff\xff\xff", "announces 4294967280 bytes");
        // An item delimiter where an item should start, then an item.
        check_malformed(
            b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x00\x00\x00\x00",
            "where an item should start",
        );
        let deep: Vec<u8> = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
            .iter()
            .copied()
            .cycle()
            .take(20 * 1000)
            .collect();
        check_malformed(&deep, "nested more than 32 deep");
    }
}
