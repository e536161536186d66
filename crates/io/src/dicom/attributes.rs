//! The attributes of one file up to its pixel data, as bytes, with readers for the kinds of value that are needed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::FORMAT;
use super::element::{Element, Elements, Encoding};
use super::syntax::TransferSyntax;
use crate::IoError;

/// Attributes whose mere presence matters.
const NOTED: [Tag; 5] = [
    tags::MODALITY_LUT_SEQUENCE,
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::FLOAT_PIXEL_DATA,
    tags::DOUBLE_FLOAT_PIXEL_DATA,
];

/// Attributes whose value is kept; everything else is stepped over.
const KEPT: [Tag; 48] = [
    tags::IMAGE_TYPE,
    tags::SOP_CLASS_UID,
    tags::MODALITY,
    tags::MANUFACTURER,
    tags::SERIES_DESCRIPTION,
    tags::MANUFACTURER_MODEL_NAME,
    tags::SCANNING_SEQUENCE,
    tags::SEQUENCE_NAME,
    tags::SLICE_THICKNESS,
    tags::KVP,
    tags::REPETITION_TIME,
    tags::ECHO_TIME,
    tags::INVERSION_TIME,
    tags::MAGNETIC_FIELD_STRENGTH,
    tags::SPACING_BETWEEN_SLICES,
    tags::PROTOCOL_NAME,
    tags::TRIGGER_TIME,
    tags::GANTRY_DETECTOR_TILT,
    tags::PATIENT_POSITION,
    tags::DIFFUSION_B_VALUE,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::ACQUISITION_NUMBER,
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::FRAME_OF_REFERENCE_UID,
    tags::TEMPORAL_POSITION_IDENTIFIER,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::PIXEL_SPACING,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::RESCALE_TYPE,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::ECHO_NUMBERS,
    tags::FLIP_ANGLE,
    tags::CONVOLUTION_KERNEL,
    tags::INSTANCE_NUMBER,
];

/// Where the pixels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PixelLocation {
    /// First byte of the value; in the inflated data set if that is deflated.
    pub(super) offset: u64,
    /// Bytes of the value, none if it is encapsulated.
    pub(super) length: Option<u32>,
    /// Bytes between `offset` and the end of the file (or of the inflated data set).
    pub(super) n_left: u64,
}

/// The attributes of a file that matter here.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) path: PathBuf,
    pub(super) syntax: TransferSyntax,
    pub(super) pixels: Option<PixelLocation>,
    values: BTreeMap<Tag, Vec<u8>>,
}

/// What a file turned out to be.
pub(super) enum Scanned {
    /// No DICOM file.
    Foreign,
    /// A DICOMDIR: an index, no image.
    Directory,
    /// All attributes up to the pixel data.
    Complete(Attributes),
    /// DICOM, but damaged; the series that it belongs to if that was read before the damage.
    Damaged {
        /// SeriesInstanceUID.
        series_uid: Option<String>,
        /// What is wrong.
        error: IoError,
    },
}

/// Whether a file starts as a DICOM file does: `DICM`, as a rule after 128 bytes of preamble (PS3.10 section 7.1).
pub(super) fn data_offset(path: &Path) -> Result<Option<u64>, IoError> {
    let mut start = Vec::with_capacity(132);
    File::open(path).and_then(|file| file.take(132).read_to_end(&mut start)).map_err(IoError::io(path))?;
    Ok(magic_end(&start))
}

/// The attributes of the file at `path`.
pub(super) fn scan(path: &Path) -> Scanned {
    let damaged = |error| Scanned::Damaged { series_uid: None, error };
    let (syntax, mut elements) = match open(path) {
        Ok(Opened::Foreign) => return Scanned::Foreign,
        Ok(Opened::Directory) => return Scanned::Directory,
        Ok(Opened::DataSet(syntax, elements)) => (syntax, elements),
        Err(error) => return damaged(error),
    };
    let mut attributes = Attributes { path: path.to_owned(), syntax, pixels: None, values: BTreeMap::new() };
    match attributes.fill(&mut elements) {
        Ok(()) => Scanned::Complete(attributes),
        Err(error) => Scanned::Damaged { series_uid: attributes.text(tags::SERIES_INSTANCE_UID), error },
    }
}

/// A file at the start of its data set.
pub(super) enum Opened {
    Foreign,
    Directory,
    DataSet(TransferSyntax, Elements),
}

/// Opens a file and reads its file meta information; inflates a deflated data set.
pub(super) fn open(path: &Path) -> Result<Opened, IoError> {
    let Some(offset) = data_offset(path)? else { return Ok(Opened::Foreign) };
    let file = BufReader::with_capacity(1 << 15, File::open(path).map_err(IoError::io(path))?);
    let mut elements = Elements::new(Box::new(file), path, Encoding::EXPLICIT_LITTLE, offset)?;
    let mut uid = None;
    while let Some(element) = elements.next_in_group(0x0002)? {
        if element.tag == tags::TRANSFER_SYNTAX_UID {
            uid = Some(text_of(&elements.value(&element)?));
        } else if element.tag == tags::MEDIA_STORAGE_SOP_CLASS_UID {
            // Media Storage Directory Storage.
            if text_of(&elements.value(&element)?) == "1.2.840.10008.1.3.10" {
                return Ok(Opened::Directory);
            }
        } else {
            elements.skip(&element)?;
        }
    }
    let uid =
        uid.ok_or_else(|| missing(path, tags::TRANSFER_SYNTAX_UID, "the file cannot be decoded without it"))?;
    let syntax = TransferSyntax::from_uid(&uid).ok_or_else(|| {
        IoError::unsupported(path, format!("the transfer syntax `{uid}` (unknown or private)"))
    })?;
    if syntax.is_deflated {
        let deflated = elements.read_to_end()?;
        let mut inflated = Vec::new();
        flate2::read::DeflateDecoder::new(deflated.as_slice()).read_to_end(&mut inflated).map_err(
            |error| IoError::malformed(path, FORMAT, format!("its deflated data set is damaged: {error}")),
        )?;
        elements = Elements::new(Box::new(Cursor::new(inflated)), path, syntax.encoding, 0)?;
    }
    elements.set_encoding(syntax.encoding);
    Ok(Opened::DataSet(syntax, elements))
}

/// `keyword (gggg,eeee)`.
pub(super) fn name_of(tag: Tag) -> String {
    let keyword = StandardDataDictionary.by_tag(tag).map_or("private attribute", |entry| entry.alias());
    format!("{keyword} {tag}")
}

/// The error for an attribute that is not there.
pub(super) fn missing(path: &Path, tag: Tag, hint: &str) -> IoError {
    IoError::MissingAttribute { path: path.to_owned(), attribute: format!("{}: {hint}", name_of(tag)) }
}

impl Attributes {
    fn fill(&mut self, elements: &mut Elements) -> Result<(), IoError> {
        while let Some(element) = elements.next_element()? {
            let Element { tag, length, offset, .. } = element;
            if tag == tags::PIXEL_DATA {
                self.pixels = Some(PixelLocation { offset, length, n_left: elements.end() - offset });
                return Ok(());
            }
            if NOTED.contains(&tag) {
                elements.skip(&element)?;
                self.values.insert(tag, Vec::new());
            } else if KEPT.contains(&tag) {
                let value = elements.value(&element)?;
                self.values.insert(tag, value);
            } else {
                elements.skip(&element)?;
            }
        }
        Ok(())
    }

    /// Whether the attribute is there, be it empty.
    pub(super) fn contains(&self, tag: Tag) -> bool {
        self.values.contains_key(&tag)
    }

    /// A text without its padding; none if it is absent or empty.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        self.values.get(&tag).map(|bytes| text_of(bytes)).filter(|text| !text.is_empty())
    }

    /// The values of a text attribute.
    pub(super) fn texts(&self, tag: Tag) -> Vec<String> {
        self.text(tag)
            .map(|text| text.split('\\').map(|part| part.trim().to_owned()).collect())
            .unwrap_or_default()
    }

    /// Decimal strings (DS, IS); none if absent or empty.
    pub(super) fn numbers(&self, tag: Tag) -> Result<Option<Vec<f64>>, IoError> {
        let Some(text) = self.text(tag) else { return Ok(None) };
        text.split('\\')
            .map(|part| match part.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(self.malformed(tag, &format!("`{part}` is no decimal number"))),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// `N` decimal strings.
    pub(super) fn number_array<const N: usize>(&self, tag: Tag) -> Result<Option<[f64; N]>, IoError> {
        self.numbers(tag)?
            .map(|numbers| {
                let n = numbers.len();
                numbers.try_into().map_err(|_| self.malformed(tag, &format!("it has {n} values, not {N}")))
            })
            .transpose()
    }

    /// The first decimal string.
    pub(super) fn number(&self, tag: Tag) -> Result<Option<f64>, IoError> {
        Ok(self.numbers(tag)?.map(|numbers| numbers[0]))
    }

    /// A 16-bit word (US, SS or US written as UN).
    pub(super) fn word(&self, tag: Tag) -> Result<Option<u16>, IoError> {
        let Some(bytes) = self.values.get(&tag).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        let Some(&word) = bytes.first_chunk::<2>() else {
            return Err(self.malformed(tag, &format!("it has {} bytes, not 2", bytes.len())));
        };
        let big_endian = self.syntax.encoding.big_endian;
        Ok(Some(if big_endian { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) }))
    }

    /// An 8-byte float (FD).
    pub(super) fn double(&self, tag: Tag) -> Option<f64> {
        let bytes: [u8; 8] = self.values.get(&tag)?.as_slice().try_into().ok()?;
        Some(if self.syntax.encoding.big_endian {
            f64::from_be_bytes(bytes)
        } else {
            f64::from_le_bytes(bytes)
        })
    }

    fn malformed(&self, tag: Tag, what: &str) -> IoError {
        IoError::malformed(&self.path, FORMAT, format!("{}: {what}", name_of(tag)))
    }
}

fn magic_end(start: &[u8]) -> Option<u64> {
    if start.get(128..132) == Some(b"DICM") {
        Some(132)
    } else if start.starts_with(b"DICM") {
        Some(4)
    } else {
        None
    }
}

/// Text without padding: UTF-8 where it is, else Latin-1. Other character sets keep their ASCII part.
fn text_of(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    };
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
}
