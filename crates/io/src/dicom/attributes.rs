//! The attributes of one file up to its pixel data, as bytes, with readers for the kinds of value that are needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::element::{Element, Elements};
use super::functional_groups::{self, PHILIPS_SCALE_INTERCEPT, PHILIPS_SCALE_SLOPE};
use super::opening::{Opened, open};
use super::syntax::TransferSyntax;
use super::value::{Attribute, text_of};
use crate::IoError;

/// The number of slices that Siemens tiles into one image.
pub(super) const SIEMENS_MOSAIC: Tag = Tag(0x0019, 0x100A);
/// The number of slices that United Imaging tiles into one image.
pub(super) const UNITED_IMAGING_MOSAIC: Tag = Tag(0x0065, 0x1050);

/// Attributes whose mere presence matters.
const NOTED: [Tag; 4] =
    [tags::MODALITY_LUT_SEQUENCE, SIEMENS_MOSAIC, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA];

/// Attributes whose value is kept; everything else is stepped over.
const KEPT: [Tag; 55] = [
    tags::STUDY_DATE,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_ID,
    tags::EXTENDED_OFFSET_TABLE,
    UNITED_IMAGING_MOSAIC,
    PHILIPS_SCALE_INTERCEPT,
    PHILIPS_SCALE_SLOPE,
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

/// A value as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Value {
    /// The value representation, if the file says it.
    pub(super) vr: Option<[u8; 2]>,
    pub(super) bytes: Vec<u8>,
}

/// Values by their attribute.
pub(super) type Values = BTreeMap<Tag, Value>;

/// The attributes of a file that matter here.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) path: PathBuf,
    pub(super) syntax: TransferSyntax,
    pub(super) pixels: Option<PixelLocation>,
    values: Values,
    /// What holds for all frames of an enhanced image.
    shared: Option<Values>,
    /// What holds for each frame of an enhanced image.
    frames: Option<Vec<Values>>,
}

/// The attributes of one frame, or of a file as a whole: what the frame says, else what holds for all.
pub(super) struct View<'a> {
    attributes: &'a Attributes,
    layers: Vec<&'a Values>,
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

/// The attributes of the file at `path`.
pub(super) fn scan(path: &Path) -> Scanned {
    let damaged = |error| Scanned::Damaged { series_uid: None, error };
    let (syntax, mut elements) = match open(path) {
        Ok(Opened::Foreign) => return Scanned::Foreign,
        Ok(Opened::Directory(_)) => return Scanned::Directory,
        Ok(Opened::DataSet(syntax, elements)) => (syntax, elements),
        Err(error) => return damaged(error),
    };
    let mut attributes = Attributes {
        path: path.to_owned(),
        syntax,
        pixels: None,
        values: Values::new(),
        shared: None,
        frames: None,
    };
    match attributes.fill(&mut elements) {
        Ok(()) => Scanned::Complete(attributes),
        Err(error) => {
            Scanned::Damaged { series_uid: attributes.whole().text(tags::SERIES_INSTANCE_UID), error }
        }
    }
}

impl Attributes {
    fn fill(&mut self, elements: &mut Elements) -> Result<(), IoError> {
        while let Some(element) = elements.next_element()? {
            let Element { tag, length, offset, .. } = element;
            if tag == tags::PIXEL_DATA {
                self.pixels = Some(PixelLocation { offset, length, n_left: elements.end() - offset });
                return Ok(());
            }
            if tag == tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE {
                self.shared = Some(functional_groups::read(elements, &element)?.pop().unwrap_or_default());
            } else if tag == tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE {
                self.frames = Some(functional_groups::read(elements, &element)?);
            } else if NOTED.contains(&tag) {
                elements.skip(&element)?;
                self.values.insert(tag, Value { vr: None, bytes: Vec::new() });
            } else if KEPT.contains(&tag) {
                let bytes = elements.value(&element)?;
                self.values.insert(tag, Value { vr: element.vr, bytes });
            } else {
                elements.skip(&element)?;
            }
        }
        Ok(())
    }

    /// The number of frames that are described one by one; none if the image is not enhanced.
    pub(super) fn n_described_frames(&self) -> Option<usize> {
        self.frames.as_ref().map(Vec::len)
    }

    /// What the file says as a whole.
    pub(super) fn whole(&self) -> View<'_> {
        View { attributes: self, layers: vec![&self.values] }
    }

    /// What it says of one frame.
    pub(super) fn frame(&self, frame_idx: usize) -> View<'_> {
        let own = self.frames.as_ref().and_then(|frames| frames.get(frame_idx));
        View { attributes: self, layers: own.into_iter().chain(&self.shared).chain([&self.values]).collect() }
    }
}

impl View<'_> {
    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.attributes.path
    }

    fn value(&self, tag: Tag) -> Option<&Value> {
        self.layers.iter().find_map(|values| values.get(&tag))
    }

    fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        self.value(tag).map(|value| value.bytes.as_slice()).filter(|bytes| !bytes.is_empty())
    }

    /// Whether the attribute is there, be it empty.
    pub(super) fn contains(&self, tag: Tag) -> bool {
        self.value(tag).is_some()
    }

    /// A text without its padding; none if it is absent or empty.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        self.bytes(tag).map(text_of).filter(|text| !text.is_empty())
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
        self.attribute(tag).decimals(&text).map(Some)
    }

    /// `N` decimal strings.
    pub(super) fn number_array<const N: usize>(&self, tag: Tag) -> Result<Option<[f64; N]>, IoError> {
        self.numbers(tag)?.map(|numbers| self.attribute(tag).exactly(numbers)).transpose()
    }

    /// The first decimal string.
    pub(super) fn number(&self, tag: Tag) -> Result<Option<f64>, IoError> {
        Ok(self.numbers(tag)?.map(|numbers| numbers[0]))
    }

    /// A 16-bit word (US, SS or US written as UN).
    pub(super) fn word(&self, tag: Tag) -> Result<Option<u16>, IoError> {
        self.bytes(tag).map(|bytes| self.attribute(tag).word(bytes, self.big_endian())).transpose()
    }

    /// A number that is a float (FL, FD) or a decimal string (DS).
    pub(super) fn float(&self, tag: Tag) -> Result<Option<f64>, IoError> {
        let Some(value) = self.value(tag) else { return Ok(None) };
        match (value.bytes.as_slice().try_into(), value.bytes.as_slice().try_into(), value.vr) {
            (Ok(bytes), _, Some([b'F', b'L']) | None) => {
                let bytes: [u8; 4] = bytes;
                Ok(Some(f64::from(if self.big_endian() {
                    f32::from_be_bytes(bytes)
                } else {
                    f32::from_le_bytes(bytes)
                })))
            }
            (_, Ok(bytes), Some([b'F', b'D']) | None) => {
                let bytes: [u8; 8] = bytes;
                Ok(Some(if self.big_endian() {
                    f64::from_be_bytes(bytes)
                } else {
                    f64::from_le_bytes(bytes)
                }))
            }
            _ => self.number(tag),
        }
    }

    /// 32-bit words (UL).
    pub(super) fn long_words(&self, tag: Tag) -> Vec<u32> {
        let words = self.bytes(tag).unwrap_or_default().as_chunks().0;
        words
            .iter()
            .map(|&word| if self.big_endian() { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
            .collect()
    }

    /// 64-bit words (OV).
    pub(super) fn very_long_words(&self, tag: Tag) -> Vec<u64> {
        self.bytes(tag)
            .unwrap_or_default()
            .as_chunks()
            .0
            .iter()
            .map(|&word| u64::from_le_bytes(word))
            .collect()
    }

    fn big_endian(&self) -> bool {
        self.attributes.syntax.encoding.big_endian
    }

    fn attribute(&self, tag: Tag) -> Attribute<'_> {
        Attribute { path: self.path(), tag }
    }
}
