//! A data set under construction.

use std::io;
use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::mem::InMemElement;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::decimal::decimals;
use super::uid::Content;
use super::{MANUFACTURER, MODEL, VERSION};
use crate::IoError;
use crate::dicom::dataset::{DataSet, Value, vr_of};
use crate::dicom::value::text_of;
use crate::output::{Packer, write_aside};

/// A data set or an item, written with the value representations of the dictionary.
#[derive(Clone, Debug)]
pub(super) struct Object {
    elements: InMemDicomObject,
}

impl Object {
    pub(super) fn new() -> Self {
        Self { elements: InMemDicomObject::new_empty() }
    }

    /// A text of ASCII or, where the data set says ISO_IR 192, UTF-8; an empty one is an empty value.
    pub(super) fn text(self, tag: Tag, text: &str) -> Self {
        let vr = vr_of(tag).unwrap_or(VR::LO);
        // The library would write what is not ASCII in its own default character set.
        let value = if text.is_ascii() {
            PrimitiveValue::from(text)
        } else {
            PrimitiveValue::U8(padded(text.as_bytes(), vr).into())
        };
        self.put(tag, vr, value)
    }

    /// The equipment that makes what is written: this program.
    pub(super) fn made_here(self) -> Self {
        self.text(tags::MANUFACTURER, MANUFACTURER)
            .text(tags::MANUFACTURER_MODEL_NAME, MODEL)
            .text(tags::SOFTWARE_VERSIONS, VERSION)
    }

    /// A text as bytes, of which the library takes no notice: a character set that it does not know would make it warn.
    pub(super) fn bytes(self, tag: Tag, bytes: &[u8]) -> Self {
        let vr = vr_of(tag).unwrap_or(VR::LO);
        self.put(tag, vr, PrimitiveValue::U8(padded(bytes, vr).into()))
    }

    /// A text cut to what its value representation holds.
    pub(super) fn short_text(self, tag: Tag, text: &str, most: usize) -> Self {
        let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= most).last();
        self.text(tag, &text[..end.unwrap_or(0)])
    }

    /// Numbers as decimal strings.
    pub(super) fn numbers(self, tag: Tag, numbers: &[f64]) -> Self {
        self.put(tag, VR::DS, PrimitiveValue::from(decimals(numbers)))
    }

    /// A whole number as an integer string.
    pub(super) fn integer(self, tag: Tag, number: i64) -> Self {
        self.put(tag, VR::IS, PrimitiveValue::from(number.to_string()))
    }

    /// A single-precision number.
    pub(super) fn float(self, tag: Tag, number: f32) -> Self {
        self.put(tag, VR::FL, PrimitiveValue::from(number))
    }

    /// A 16-bit word.
    pub(super) fn word(self, tag: Tag, word: u16) -> Self {
        self.put(tag, VR::US, PrimitiveValue::from(word))
    }

    /// An attribute's tag as a value.
    pub(super) fn tag(self, tag: Tag, value: Tag) -> Self {
        self.put(tag, VR::AT, PrimitiveValue::from(value))
    }

    /// Pixel data, little endian.
    pub(super) fn pixels(self, bytes: Vec<u8>) -> Self {
        self.put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U8(bytes.into()))
    }

    /// The items of a sequence.
    pub(super) fn items(mut self, tag: Tag, items: Vec<Self>) -> Self {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.elements).collect();
        self.elements.put(InMemElement::new(tag, VR::SQ, dicom_core::value::DataSetSequence::from(items)));
        self
    }

    /// A coded concept.
    pub(super) fn code(self, tag: Tag, value: &str, meaning: &str) -> Self {
        let code = Self::new()
            .text(tags::CODE_VALUE, value)
            .text(tags::CODING_SCHEME_DESIGNATOR, "DCM")
            .text(tags::CODE_MEANING, meaning);
        self.items(tag, vec![code])
    }

    /// A reference to another object.
    pub(super) fn reference(class_uid: &str, instance_uid: &str) -> Self {
        Self::new()
            .text(tags::REFERENCED_SOP_CLASS_UID, class_uid)
            .text(tags::REFERENCED_SOP_INSTANCE_UID, instance_uid)
    }

    /// Takes over attributes of a file as they stand there, those that it has.
    ///
    /// Attributes that are neither text nor sequences of text are left out.
    pub(super) fn copied(mut self, from: &DataSet, tags: &[Tag]) -> Self {
        for &tag in tags {
            if let Some(value) = from.value(tag) {
                self = self.copy(tag, value);
            }
        }
        self
    }

    fn copy(self, tag: Tag, value: &Value) -> Self {
        let Some(vr) = vr_of(tag) else { return self };
        match value {
            Value::Items(items) => {
                let copied = items
                    .iter()
                    .map(|item| item.iter().fold(Self::new(), |copy, (tag, value)| copy.copy(tag, value)))
                    .collect();
                self.items(tag, copied)
            }
            // The library would write bytes of these two as lists of numbers.
            Value::Bytes(bytes) if matches!(vr, VR::DS | VR::IS) => self.text(tag, &text_of(bytes)),
            Value::Bytes(bytes) if is_text(vr) => {
                self.put(tag, vr, PrimitiveValue::U8(padded(trimmed(bytes), vr).into()))
            }
            Value::Bytes(_) => self,
        }
    }

    fn put(mut self, tag: Tag, vr: VR, value: PrimitiveValue) -> Self {
        self.elements.put(DataElement::new(tag, vr, value));
        self
    }

    /// Writes the file, beside its place first.
    pub(super) fn write(
        self,
        path: &Path,
        class_uid: &str,
        instance_uid: &str,
        syntax: Syntax,
    ) -> Result<(), IoError> {
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class_uid)
            .media_storage_sop_instance_uid(instance_uid)
            .transfer_syntax(syntax.uid())
            .implementation_class_uid(Content::new("implementation").text(VERSION).uid())
            .implementation_version_name(format!("{MODEL} {VERSION}"));
        let object = self
            .text(tags::SOP_CLASS_UID, class_uid)
            .text(tags::SOP_INSTANCE_UID, instance_uid)
            .elements
            .with_meta(meta)
            .expect("because class, instance and syntax are given");
        write_aside(path, Packer::Plain, |sink| object.write_all(sink).map_err(io::Error::other))
    }
}

/// How a data set is written.
#[derive(Clone, Copy)]
pub(super) enum Syntax {
    /// Explicit VR Little Endian.
    Explicit,
    /// Implicit VR Little Endian: contours longer than 64 KiB have no place in explicit data sets.
    Implicit,
}

impl Syntax {
    const fn uid(self) -> &'static str {
        match self {
            Self::Explicit => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            Self::Implicit => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        }
    }
}

const fn is_text(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::CS
            | VR::DA
            | VR::DT
            | VR::LO
            | VR::LT
            | VR::PN
            | VR::SH
            | VR::ST
            | VR::TM
            | VR::UC
            | VR::UI
            | VR::UR
            | VR::UT
    )
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// Bytes of an even number.
fn padded(bytes: &[u8], vr: VR) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if !bytes.len().is_multiple_of(2) {
        bytes.push(if vr == VR::UI { 0 } else { b' ' });
    }
    bytes
}
