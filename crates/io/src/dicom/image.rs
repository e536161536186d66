//! What one file says about its image, as typed values.

use std::path::PathBuf;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::FORMAT;
use super::attributes::{Attributes, PixelLocation, name_of};
use super::syntax::{Codec, TransferSyntax};
use crate::IoError;

/// The header of one file, as far as it is needed to place and decode its image.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent statement of the file")]
pub(super) struct ImageHeader {
    pub(super) path: PathBuf,
    pub(super) syntax: TransferSyntax,
    pub(super) pixels: Option<PixelLocation>,

    pub(super) series_uid: String,
    pub(super) study_uid: Option<String>,
    pub(super) series_number: Option<f64>,
    pub(super) modality: String,
    pub(super) image_type: Vec<String>,
    pub(super) labels: Labels,
    pub(super) frame_of_reference_uid: Option<String>,
    /// Attributes that tell apart several volumes within one series, as text.
    pub(super) distinctions: Vec<(Tag, String)>,

    pub(super) has_functional_groups: bool,
    pub(super) has_float_pixels: bool,
    /// NumberOfFrames; 1 if absent.
    pub(super) n_frames: u32,
    pub(super) rows: Option<u16>,
    pub(super) columns: Option<u16>,
    pub(super) position_lps: Option<[f64; 3]>,
    /// Direction of the i axis (along a row), then of the j axis (down a column).
    pub(super) orientation: Option<[f64; 6]>,
    /// Distance between rows (j), then between columns (i), in mm.
    pub(super) pixel_spacing_mm: Option<[f64; 2]>,
    pub(super) slice_thickness_mm: Option<f64>,
    pub(super) spacing_between_slices_mm: Option<f64>,

    pub(super) samples_per_pixel: Option<u16>,
    pub(super) photometric: Option<String>,
    pub(super) bits_allocated: Option<u16>,
    pub(super) bits_stored: Option<u16>,
    pub(super) high_bit: Option<u16>,
    pub(super) is_signed: Option<bool>,
    pub(super) rescale_slope: Option<f64>,
    pub(super) rescale_intercept: Option<f64>,
    pub(super) rescale_type: Option<String>,
    pub(super) has_modality_lut: bool,
    /// The raw words of PixelPaddingValue and PixelPaddingRangeLimit.
    pub(super) padding: Option<(u16, u16)>,
    pub(super) is_lossy: bool,
}

/// Texts for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    pub(super) description: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) sequence: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) patient_position: Option<String>,
    pub(super) field_strength_t: Option<f64>,
    pub(super) kvp: Option<f64>,
}

impl ImageHeader {
    /// The typed values of a file's attributes.
    pub(super) fn new(attributes: &Attributes) -> Result<Self, IoError> {
        let a = attributes;
        let mut distinctions = Vec::new();
        for tag in [
            tags::IMAGE_TYPE,
            tags::ECHO_NUMBERS,
            tags::ECHO_TIME,
            tags::REPETITION_TIME,
            tags::INVERSION_TIME,
            tags::FLIP_ANGLE,
            tags::TRIGGER_TIME,
            tags::TEMPORAL_POSITION_IDENTIFIER,
            tags::ACQUISITION_NUMBER,
            tags::CONVOLUTION_KERNEL,
            tags::KVP,
        ] {
            if let Some(text) = a.text(tag) {
                distinctions.push((tag, text));
            }
        }
        if let Some(b_value) = a.double(tags::DIFFUSION_B_VALUE) {
            distinctions.push((tags::DIFFUSION_B_VALUE, b_value.to_string()));
        }
        let padding = a.word(tags::PIXEL_PADDING_VALUE)?;
        let padding_limit = a.word(tags::PIXEL_PADDING_RANGE_LIMIT)?;
        Ok(Self {
            path: a.path.clone(),
            syntax: a.syntax,
            pixels: a.pixels,
            series_uid: a.text(tags::SERIES_INSTANCE_UID).unwrap_or_default(),
            study_uid: a.text(tags::STUDY_INSTANCE_UID),
            series_number: a.number(tags::SERIES_NUMBER)?,
            modality: a.text(tags::MODALITY).unwrap_or_default(),
            image_type: a.texts(tags::IMAGE_TYPE),
            labels: Labels {
                description: a.text(tags::SERIES_DESCRIPTION),
                protocol: a.text(tags::PROTOCOL_NAME),
                sequence: a.text(tags::SEQUENCE_NAME).or_else(|| a.text(tags::SCANNING_SEQUENCE)),
                manufacturer: a.text(tags::MANUFACTURER),
                model: a.text(tags::MANUFACTURER_MODEL_NAME),
                patient_position: a.text(tags::PATIENT_POSITION),
                field_strength_t: a.number(tags::MAGNETIC_FIELD_STRENGTH)?,
                kvp: a.number(tags::KVP)?,
            },
            frame_of_reference_uid: a.text(tags::FRAME_OF_REFERENCE_UID),
            distinctions,
            has_functional_groups: a.contains(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)
                || a.contains(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE),
            has_float_pixels: a.contains(tags::FLOAT_PIXEL_DATA) || a.contains(tags::DOUBLE_FLOAT_PIXEL_DATA),
            n_frames: a.number(tags::NUMBER_OF_FRAMES)?.map_or(1, |number| number as u32),
            rows: a.word(tags::ROWS)?,
            columns: a.word(tags::COLUMNS)?,
            position_lps: a.number_array(tags::IMAGE_POSITION_PATIENT)?,
            orientation: a.number_array(tags::IMAGE_ORIENTATION_PATIENT)?,
            pixel_spacing_mm: a.number_array(tags::PIXEL_SPACING)?,
            slice_thickness_mm: a.number(tags::SLICE_THICKNESS)?,
            spacing_between_slices_mm: a.number(tags::SPACING_BETWEEN_SLICES)?,
            samples_per_pixel: a.word(tags::SAMPLES_PER_PIXEL)?,
            photometric: a.text(tags::PHOTOMETRIC_INTERPRETATION),
            bits_allocated: a.word(tags::BITS_ALLOCATED)?,
            bits_stored: a.word(tags::BITS_STORED)?,
            high_bit: a.word(tags::HIGH_BIT)?,
            is_signed: a.word(tags::PIXEL_REPRESENTATION)?.map(|word| word == 1),
            rescale_slope: a.number(tags::RESCALE_SLOPE)?,
            rescale_intercept: a.number(tags::RESCALE_INTERCEPT)?,
            rescale_type: a.text(tags::RESCALE_TYPE),
            has_modality_lut: a.contains(tags::MODALITY_LUT_SEQUENCE),
            padding: padding.map(|value| (value, padding_limit.unwrap_or(value))),
            is_lossy: a.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01"),
        })
    }

    /// Whether the file holds pixels at all.
    pub(super) fn is_image(&self) -> bool {
        self.rows.is_some() && self.columns.is_some() && (self.pixels.is_some() || self.has_float_pixels)
    }

    /// A scout view, which many scanners put into the series that was planned on it.
    pub(super) fn is_localizer(&self) -> bool {
        self.image_type.iter().any(|value| value == "LOCALIZER")
    }

    /// The sample format, if it is one that can be decoded.
    pub(super) fn sample_format(&self) -> Result<SampleFormat, IoError> {
        let required = |value: Option<u16>, tag| {
            value.ok_or_else(|| self.missing(tag, "the pixels cannot be decoded without it"))
        };
        let rows = required(self.rows, tags::ROWS)?;
        let columns = required(self.columns, tags::COLUMNS)?;
        if rows == 0 || columns == 0 {
            return Err(self.malformed(format!("it has {rows} rows and {columns} columns")));
        }
        let samples_per_pixel = self.samples_per_pixel.unwrap_or(1);
        let photometric = self.photometric.as_deref().unwrap_or("absent");
        if samples_per_pixel != 1 || photometric != "MONOCHROME2" {
            return Err(IoError::unsupported(
                &self.path,
                format!(
                    "an image with {samples_per_pixel} samples per pixel and PhotometricInterpretation `{photometric}` \
                     (only MONOCHROME2 is)"
                ),
            ));
        }
        let bits_allocated = required(self.bits_allocated, tags::BITS_ALLOCATED)?;
        if !matches!(bits_allocated, 8 | 16 | 32) {
            return Err(IoError::unsupported(
                &self.path,
                format!("BitsAllocated = {bits_allocated} (only 8, 16 and 32 are)"),
            ));
        }
        let bits_stored = required(self.bits_stored, tags::BITS_STORED)?;
        let high_bit = self.high_bit.unwrap_or_else(|| bits_stored.wrapping_sub(1));
        if bits_stored == 0
            || bits_stored > bits_allocated
            || high_bit >= bits_allocated
            || high_bit + 1 < bits_stored
        {
            return Err(self.malformed(format!(
                "BitsAllocated = {bits_allocated}, BitsStored = {bits_stored} and HighBit = {high_bit} contradict each other"
            )));
        }
        let is_signed = self.is_signed.ok_or_else(|| {
            self.missing(
                tags::PIXEL_REPRESENTATION,
                "signed and unsigned pixels cannot be told apart without it",
            )
        })?;
        Ok(SampleFormat {
            rows: usize::from(rows),
            columns: usize::from(columns),
            bytes_per_sample: usize::from(bits_allocated / 8),
            bits_stored: u32::from(bits_stored),
            shift: u32::from(high_bit + 1 - bits_stored),
            is_signed,
        })
    }

    /// Slope and intercept that turn stored values into HU (CT) or signal (MR).
    pub(super) fn rescale(&self) -> Result<Rescale, IoError> {
        if self.has_modality_lut {
            return Err(IoError::unsupported(&self.path, "a modality look-up table (ModalityLUTSequence)"));
        }
        let (slope, intercept) = match (self.rescale_slope, self.rescale_intercept) {
            (Some(slope), Some(intercept)) => (slope, intercept),
            // MR images need not carry a rescale; their signal has no unit.
            (None, None) if self.modality == "MR" => (1.0, 0.0),
            (slope, _) => {
                let tag = if slope.is_none() { tags::RESCALE_SLOPE } else { tags::RESCALE_INTERCEPT };
                return Err(self.missing(
                    tag,
                    "stored values cannot be turned into HU without it; export the series again",
                ));
            }
        };
        if slope == 0.0 {
            return Err(self.malformed("RescaleSlope is 0".to_owned()));
        }
        Ok(Rescale { slope, intercept })
    }

    /// What keeps the file's pixels from being decoded, found without reading them.
    pub(super) fn check_pixels(&self) -> Result<(), IoError> {
        if self.has_functional_groups || self.n_frames != 1 {
            return Err(IoError::unsupported(
                &self.path,
                format!(
                    "an enhanced or multi-frame image ({} frames); convert it to single-frame files",
                    self.n_frames
                ),
            ));
        }
        if self.has_float_pixels {
            return Err(IoError::unsupported(&self.path, "floating-point pixel data"));
        }
        if self.image_type.iter().any(|value| value == "MOSAIC") {
            return Err(IoError::unsupported(
                &self.path,
                "a mosaic (many slices tiled into one image; convert it to single slices)",
            ));
        }
        let format = self.sample_format()?;
        self.rescale()?;
        if let Codec::Unsupported(name) = self.syntax.codec {
            return Err(IoError::unsupported(
                &self.path,
                format!(
                    "pixel data compressed with {name} (decompress it first, for example with `gdcmconv --raw IN OUT`)"
                ),
            ));
        }
        let pixels = self.pixels.ok_or_else(|| self.missing(tags::PIXEL_DATA, "the file holds no image"))?;
        let n_bytes = format.n_bytes() as u64;
        match (self.syntax.codec, pixels.length) {
            (Codec::Native, Some(length)) => {
                let found = u64::from(length).min(pixels.n_left);
                if found < n_bytes {
                    return Err(IoError::Truncated { path: self.path.clone(), expected: n_bytes, found });
                }
            }
            (Codec::Native, None) => {
                return Err(
                    self.malformed("its pixel data has no length though it is not compressed".to_owned())
                );
            }
            (_, Some(_)) => {
                return Err(
                    self.malformed("its pixel data is not encapsulated though it is compressed".to_owned())
                );
            }
            // No sane compressed image is smaller; this bounds what a damaged header can make us allocate.
            (_, None) if pixels.n_left.saturating_mul(MAX_COMPRESSION_RATIO) < n_bytes => {
                return Err(IoError::Truncated {
                    path: self.path.clone(),
                    expected: n_bytes / MAX_COMPRESSION_RATIO,
                    found: pixels.n_left,
                });
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// The error for an attribute that this file lacks.
    pub(super) fn missing(&self, tag: Tag, hint: &str) -> IoError {
        super::attributes::missing(&self.path, tag, hint)
    }

    /// The error for a value in this file that cannot be.
    pub(super) fn malformed(&self, what: String) -> IoError {
        IoError::malformed(&self.path, FORMAT, what)
    }

    /// A distinguishing attribute of this file, for messages.
    pub(super) fn distinction(&self, tag: Tag) -> String {
        let value =
            self.distinctions.iter().find(|(other, _)| *other == tag).map_or("absent", |(_, text)| text);
        format!("{} = {value}", name_of(tag))
    }
}

/// An empty frame needs about one bit for 64 samples in JPEG and two bytes for 128 in RLE.
const MAX_COMPRESSION_RATIO: u64 = 1024;

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SampleFormat {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) bytes_per_sample: usize,
    pub(super) bits_stored: u32,
    /// Bits below the stored ones.
    pub(super) shift: u32,
    pub(super) is_signed: bool,
}

impl SampleFormat {
    pub(super) fn n_samples(self) -> usize {
        self.rows * self.columns
    }

    pub(super) fn n_bytes(self) -> usize {
        self.n_samples() * self.bytes_per_sample
    }

    /// The stored value: the bits from `shift` on, extended by their sign if they have one.
    pub(super) fn value(self, word: u32) -> i64 {
        let unused = u32::BITS - self.bits_stored;
        let left_aligned = (word >> self.shift) << unused;
        if self.is_signed {
            i64::from(left_aligned as i32 >> unused)
        } else {
            i64::from(left_aligned >> unused)
        }
    }
}

/// `value · slope + intercept` (PS3.3 section C.11.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rescale {
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

impl Rescale {
    pub(super) fn apply(self, value: i64) -> f64 {
        value as f64 * self.slope + self.intercept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bits_stored: u32, shift: u32, is_signed: bool, word: u32, expected: i64) {
        let format = SampleFormat { rows: 1, columns: 1, bytes_per_sample: 2, bits_stored, shift, is_signed };
        assert_eq!(format.value(word), expected);
    }

    #[test]
    fn unused_bits_are_masked_and_signs_extended() {
        check(16, 0, false, 0xFFFF, 65535);
        check(16, 0, true, 0xFFFF, -1);
        check(12, 0, false, 0xF123, 0x123);
        check(12, 0, true, 0x0FFF, -1);
        check(12, 0, true, 0x0800, -2048);
        check(12, 0, true, 0xF7FF, 2047);
        check(12, 4, false, 0xABC7, 0xABC);
        check(12, 4, true, 0xFFF0, -1);
        check(32, 0, true, 0xFFFF_FFFE, -2);
        check(1, 0, false, 3, 1);
    }
}
