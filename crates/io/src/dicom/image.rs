//! What one file, or one frame of it, says about its image, as typed values.

use std::path::PathBuf;
use std::sync::Arc;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::FORMAT;
use super::attributes::{Attributes, PixelLocation, SIEMENS_MOSAIC, UNITED_IMAGING_MOSAIC, View};
use super::functional_groups::{PHILIPS_SCALE_INTERCEPT, PHILIPS_SCALE_SLOPE};
use super::sample::{Rescale, SampleFormat};
use super::syntax::{Codec, TransferSyntax};
use super::value::{Attribute, name_of};
use crate::IoError;

/// The header of one image, as far as it is needed to place and decode it; of a multi-frame file each frame has one.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent statement of the file")]
pub(super) struct ImageHeader {
    pub(super) path: PathBuf,
    pub(super) syntax: TransferSyntax,
    pub(super) pixels: Option<PixelLocation>,
    /// Which frame of the file, from 0.
    pub(super) frame_idx: usize,
    /// NumberOfFrames; 1 if absent.
    pub(super) n_frames: usize,
    /// Whether functional groups say where each frame is.
    pub(super) is_enhanced: bool,
    /// The extended offset table, if there is one.
    pub(super) frame_offsets: Arc<[u64]>,

    pub(super) series_uid: String,
    pub(super) study_uid: Option<String>,
    pub(super) series_number: Option<f64>,
    pub(super) instance_number: Option<f64>,
    pub(super) modality: String,
    pub(super) image_type: Vec<String>,
    pub(super) labels: Arc<Labels>,
    pub(super) frame_of_reference_uid: Option<String>,
    /// Attributes that tell apart several volumes within one series, with their values.
    pub(super) distinctions: Vec<(String, String)>,

    pub(super) has_float_pixels: bool,
    pub(super) is_mosaic: bool,
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
    /// Philips' scale slope and intercept, if the file is theirs and has them.
    pub(super) philips_scale: Option<[f64; 2]>,
    pub(super) has_modality_lut: bool,
    /// The raw words of PixelPaddingValue and PixelPaddingRangeLimit.
    pub(super) padding: Option<(u16, u16)>,
    pub(super) is_lossy: bool,
}

/// Texts for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    pub(super) patient_id: Option<String>,
    pub(super) study_date: Option<String>,
    pub(super) study_description: Option<String>,
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
    /// One header for each frame of a file.
    ///
    /// # Errors
    /// [`IoError::Malformed`] for values that cannot be, and if the frames that are described are not those that are there.
    pub(super) fn of_frames(attributes: &Attributes) -> Result<Vec<Self>, IoError> {
        let whole = attributes.whole();
        let labels = Arc::new(Labels::new(&whole)?);
        let frame_offsets = whole.very_long_words(tags::EXTENDED_OFFSET_TABLE).into();
        let header = |frame_idx| Self::new(attributes, frame_idx, &labels, &frame_offsets);
        match attributes.n_described_frames() {
            None => Ok(vec![header(0)?]),
            Some(n_described) => {
                let headers = (0..n_described).map(header).collect::<Result<Vec<Self>, IoError>>()?;
                match headers.first() {
                    Some(first) if first.n_frames == n_described => Ok(headers),
                    first => Err(IoError::malformed(
                        &attributes.path,
                        FORMAT,
                        format!(
                            "it describes {n_described} frames, but NumberOfFrames is {}",
                            first.map_or(0, |header| header.n_frames)
                        ),
                    )),
                }
            }
        }
    }

    /// The typed values of one frame.
    fn new(
        attributes: &Attributes,
        frame_idx: usize,
        labels: &Arc<Labels>,
        frame_offsets: &Arc<[u64]>,
    ) -> Result<Self, IoError> {
        let a = &attributes.frame(frame_idx);
        let padding = a.word(tags::PIXEL_PADDING_VALUE)?;
        let padding_limit = a.word(tags::PIXEL_PADDING_RANGE_LIMIT)?;
        let image_type = a.texts(tags::FRAME_TYPE);
        let image_type = if image_type.is_empty() { a.texts(tags::IMAGE_TYPE) } else { image_type };
        let is_philips =
            labels.manufacturer.as_ref().is_some_and(|name| name.to_ascii_lowercase().contains("philips"));
        let philips_scale = match (a.float(PHILIPS_SCALE_SLOPE), a.float(PHILIPS_SCALE_INTERCEPT)) {
            (Ok(Some(slope)), Ok(Some(intercept))) if is_philips && slope.is_normal() => {
                Some([slope, intercept])
            }
            _ => None,
        };
        Ok(Self {
            path: a.path().to_owned(),
            syntax: attributes.syntax,
            pixels: attributes.pixels,
            frame_idx,
            n_frames: a.number(tags::NUMBER_OF_FRAMES)?.map_or(1, |number| number as usize),
            is_enhanced: attributes.n_described_frames().is_some(),
            frame_offsets: frame_offsets.clone(),
            series_uid: a.text(tags::SERIES_INSTANCE_UID).unwrap_or_default(),
            study_uid: a.text(tags::STUDY_INSTANCE_UID),
            series_number: a.number(tags::SERIES_NUMBER)?,
            instance_number: a.number(tags::INSTANCE_NUMBER).unwrap_or_default(),
            modality: a.text(tags::MODALITY).unwrap_or_default(),
            is_mosaic: image_type.iter().any(|value| value == "MOSAIC")
                || a.contains(SIEMENS_MOSAIC)
                || a.contains(UNITED_IMAGING_MOSAIC),
            image_type,
            labels: labels.clone(),
            frame_of_reference_uid: a.text(tags::FRAME_OF_REFERENCE_UID),
            distinctions: distinctions(a)?,
            has_float_pixels: a.contains(tags::FLOAT_PIXEL_DATA) || a.contains(tags::DOUBLE_FLOAT_PIXEL_DATA),
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
            philips_scale,
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
    ///
    /// `philips_precise` asks for Philips' "floating point values", which are on one scale over all images of an examination:
    /// (stored · RescaleSlope + RescaleIntercept) / (RescaleSlope · scale slope). Without their private scale slope nothing
    /// changes.
    ///
    /// # References
    /// Chenevert et al. (2014), Errors in quantitative image analysis due to platform-dependent image scaling,
    /// doi:10.1593/tlo.13811.
    pub(super) fn rescale(&self, philips_precise: bool) -> Result<Rescale, IoError> {
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
        let factor = if philips_precise { self.philips_factor() } else { None }.unwrap_or(1.0);
        Ok(Rescale { slope: slope * factor, intercept: intercept * factor })
    }

    /// What turns displayed values into Philips' precise ones: 1 / (RescaleSlope · scale slope).
    pub(super) fn philips_factor(&self) -> Option<f64> {
        let [scale_slope, _] = self.philips_scale?;
        Some(1.0 / (self.rescale_slope.unwrap_or(1.0) * scale_slope))
    }

    /// What keeps the file's pixels from being decoded, found without reading them.
    pub(super) fn check_pixels(&self) -> Result<(), IoError> {
        if self.n_frames != 1 && !self.is_enhanced {
            return Err(IoError::unsupported(
                &self.path,
                format!(
                    "a multi-frame image ({} frames) that does not say where its frames are \
                     (no PerFrameFunctionalGroupsSequence)",
                    self.n_frames
                ),
            ));
        }
        if self.has_float_pixels {
            return Err(IoError::unsupported(&self.path, "floating-point pixel data"));
        }
        if self.is_mosaic {
            return Err(IoError::unsupported(
                &self.path,
                "a mosaic (many slices tiled into one image; convert it to single slices)",
            ));
        }
        let format = self.sample_format()?;
        self.rescale(false)?;
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
                let expected = n_bytes * (self.frame_idx as u64 + 1);
                let found = u64::from(length).min(pixels.n_left);
                if found < expected {
                    return Err(IoError::Truncated { path: self.path.clone(), expected, found });
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
            // This bounds what a damaged header can make us allocate.
            (_, None) => {
                let all_bytes = n_bytes.saturating_mul(self.n_frames as u64);
                let likely = pixels.n_left.saturating_mul(MAX_COMPRESSION_RATIO).max(HARMLESS_BYTES);
                if all_bytes > likely {
                    return Err(IoError::Truncated {
                        path: self.path.clone(),
                        expected: all_bytes / MAX_COMPRESSION_RATIO,
                        found: pixels.n_left,
                    });
                }
            }
        }
        Ok(())
    }

    /// The error for an attribute that this file lacks.
    pub(super) fn missing(&self, tag: Tag, hint: &str) -> IoError {
        Attribute { path: &self.path, tag }.missing(hint)
    }

    /// The error for a value in this file that cannot be.
    pub(super) fn malformed(&self, what: String) -> IoError {
        IoError::malformed(&self.path, FORMAT, what)
    }

    /// The value of a distinguishing attribute, for messages.
    pub(super) fn distinction(&self, name: &str) -> &str {
        self.distinctions.iter().find(|(other, _)| other == name).map_or("absent", |(_, text)| text)
    }
}

/// What no real image of more than [`HARMLESS_BYTES`] is compressed by.
const MAX_COMPRESSION_RATIO: u64 = 1024;
/// Frames of air alone are compressed thousands of times; up to this size that is not questioned.
const HARMLESS_BYTES: u64 = 64 << 20;

/// Attributes that may tell apart several volumes, the most telling first.
fn distinctions(a: &View) -> Result<Vec<(String, String)>, IoError> {
    let mut distinctions = Vec::new();
    for tag in [
        tags::STACK_ID,
        tags::FRAME_TYPE,
        tags::IMAGE_TYPE,
        tags::COMPLEX_IMAGE_COMPONENT,
        tags::ECHO_NUMBERS,
        tags::ECHO_TIME,
        tags::INVERSION_TIME,
        tags::FLIP_ANGLE,
        tags::REPETITION_TIME,
        tags::TEMPORAL_POSITION_IDENTIFIER,
        tags::TRIGGER_TIME,
        tags::ACQUISITION_NUMBER,
        tags::CONVOLUTION_KERNEL,
        tags::KVP,
    ] {
        if let Some(text) = a.text(tag) {
            distinctions.push((name_of(tag), text));
        }
    }
    for tag in [
        tags::EFFECTIVE_ECHO_TIME,
        tags::DIFFUSION_B_VALUE,
        tags::INVERSION_TIMES,
        tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME,
    ] {
        if let Some(number) = a.float(tag)? {
            distinctions.push((name_of(tag), number.to_string()));
        }
    }
    for tag in [tags::TEMPORAL_POSITION_INDEX, tags::FRAME_ACQUISITION_NUMBER] {
        let words = if tag == tags::TEMPORAL_POSITION_INDEX {
            a.long_words(tag).first().copied()
        } else {
            a.word(tag)?.map(u32::from)
        };
        if let Some(word) = words {
            distinctions.push((name_of(tag), word.to_string()));
        }
    }
    for (n, index) in a.long_words(tags::DIMENSION_INDEX_VALUES).iter().enumerate() {
        distinctions
            .push((format!("{} {}", name_of(tags::DIMENSION_INDEX_VALUES), n + 1), index.to_string()));
    }
    Ok(distinctions)
}

impl Labels {
    fn new(a: &View) -> Result<Self, IoError> {
        Ok(Self {
            patient_id: a.text(tags::PATIENT_ID),
            study_date: a.text(tags::STUDY_DATE),
            study_description: a.text(tags::STUDY_DESCRIPTION),
            description: a.text(tags::SERIES_DESCRIPTION),
            protocol: a.text(tags::PROTOCOL_NAME),
            sequence: a.text(tags::SEQUENCE_NAME).or_else(|| a.text(tags::SCANNING_SEQUENCE)),
            manufacturer: a.text(tags::MANUFACTURER),
            model: a.text(tags::MANUFACTURER_MODEL_NAME),
            patient_position: a.text(tags::PATIENT_POSITION),
            field_strength_t: a.number(tags::MAGNETIC_FIELD_STRENGTH)?,
            kvp: a.number(tags::KVP)?,
        })
    }
}
