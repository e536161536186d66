//! Pixels of one image as HU or signal.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use dicom_dictionary_std::tags;

use super::FORMAT;
use super::codec::{self, Samples};
use super::element::Elements;
use super::fragments;
use super::image::ImageHeader;
use super::opening::{Opened, open};
use super::sample::{Rescale, SampleFormat};
use super::syntax::Codec;
use crate::IoError;

/// What padding outside a CT's reconstruction circle becomes: air.
pub(super) const AIR_HU: f64 = -1000.0;

/// What happened to padding in one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Padding {
    /// Voxels that were set to air.
    pub(super) n_replaced: usize,
    /// The value that the first of them had, in HU.
    pub(super) replaced_hu: Option<f64>,
    /// A padding value that was left alone because it could be tissue, in HU.
    pub(super) kept_hu: Option<f64>,
}

/// A file from which frames are decoded.
pub(super) struct PixelFile {
    source: Source,
    /// None if the file is not compressed.
    fragments: Option<Fragments>,
}

/// The fragments of a file.
struct Fragments {
    /// Where each is, and how long.
    places: Vec<(u64, u32)>,
    /// Which of them each frame has.
    frames: Vec<Range<usize>>,
}

enum Source {
    /// Read where it lies.
    File,
    /// An inflated data set.
    Memory(Vec<u8>),
}

impl PixelFile {
    /// Finds the frames of a file from the header of one of them, which must have passed [`ImageHeader::check_pixels`].
    pub(super) fn new(header: &ImageHeader) -> Result<Self, IoError> {
        let pixels =
            header.pixels.ok_or_else(|| header.missing(tags::PIXEL_DATA, "the file holds no image"))?;
        if header.syntax.is_deflated {
            let Opened::DataSet(_, mut elements) = open(&header.path)? else {
                return Err(changed(&header.path));
            };
            elements.seek(0)?;
            return Ok(Self { source: Source::Memory(elements.read_to_end()?), fragments: None });
        }
        if header.syntax.codec == Codec::Native {
            return Ok(Self { source: Source::File, fragments: None });
        }
        let file = File::open(&header.path).map_err(IoError::io(&header.path))?;
        // Fragments are few and far between: a large buffer would read them twice.
        let file = std::io::BufReader::with_capacity(512, file);
        let mut elements =
            Elements::new(Box::new(file), &header.path, header.syntax.encoding, pixels.offset)?;
        let mut fragments = elements.fragments()?;
        if fragments.is_empty() {
            return Err(header.malformed("its pixel data has no fragments".to_owned()));
        }
        let (table_at, table_bytes) = fragments.remove(0);
        elements.seek(table_at)?;
        let table = elements.bytes(table_bytes as usize)?;
        let offsets: Vec<u64> = if header.frame_offsets.is_empty() {
            table.as_chunks().0.iter().map(|&word| u64::from(u32::from_le_bytes(word))).collect()
        } else {
            header.frame_offsets.to_vec()
        };
        let first_at = fragments.first().map_or(0, |&(at, _)| at);
        let starts: Vec<u64> = fragments.iter().map(|&(at, _)| at - first_at).collect();
        // Only needed where neither number nor table tells.
        let mut beginnings = Vec::new();
        if header.n_frames > 1 && fragments.len() != header.n_frames && offsets.len() != header.n_frames {
            for &(at, length) in &fragments {
                elements.seek(at)?;
                let bytes = elements.bytes(length.min(4) as usize)?;
                beginnings.push(matches!(bytes[..], [0xFF, 0xD8, 0xFF, _] | [0xFF, 0x4F, 0xFF, 0x51]));
            }
        }
        let begins = |fragment: usize| beginnings.get(fragment).copied().unwrap_or(false);
        let frames = fragments::of_frames(&starts, &offsets, header.n_frames, begins)
            .map_err(|what| header.malformed(what))?;
        Ok(Self { source: Source::File, fragments: Some(Fragments { places: fragments, frames }) })
    }

    /// Decodes one frame into `values`, row after row; the header must have passed [`ImageHeader::check_pixels`].
    pub(super) fn decode(
        &self,
        header: &ImageHeader,
        philips_precise: bool,
        values: &mut [f32],
    ) -> Result<Padding, IoError> {
        let format = header.sample_format()?;
        let rescale = header.rescale(philips_precise)?;
        let samples = self.samples(header, format)?;
        let big_endian = header.syntax.codec == Codec::Native && header.syntax.encoding.big_endian;
        let (padding, air) = padding_of(header, format);
        let target = Target { values, format, rescale, air };
        let n_replaced = match (&samples, format.bytes_per_sample, big_endian) {
            (Samples::Words(words), ..) => target.fill_words(words.iter().copied()),
            (Samples::Bytes(bytes), 1, _) => target.fill_words(bytes.iter().map(|&byte| u16::from(byte))),
            (Samples::Bytes(bytes), 2, false) => {
                target.fill_words(bytes.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word)))
            }
            (Samples::Bytes(bytes), 2, true) => {
                target.fill_words(bytes.as_chunks().0.iter().map(|&word| u16::from_be_bytes(word)))
            }
            (Samples::Bytes(bytes), _, false) => {
                target.fill(bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)))
            }
            (Samples::Bytes(bytes), _, true) => {
                target.fill(bytes.as_chunks().0.iter().map(|&word| u32::from_be_bytes(word)))
            }
        };
        Ok(Padding { n_replaced, ..padding })
    }

    /// The stored samples, in the data set's byte order if they are native, else little endian.
    fn samples(&self, header: &ImageHeader, format: SampleFormat) -> Result<Samples, IoError> {
        let pixels =
            header.pixels.ok_or_else(|| header.missing(tags::PIXEL_DATA, "the file holds no image"))?;
        let frame_idx = header.frame_idx;
        let Some(Fragments { places, frames }) = &self.fragments else {
            let offset = pixels.offset + (frame_idx * format.n_bytes()) as u64;
            return self.bytes(header, &[(offset, format.n_bytes())]).map(Samples::Bytes);
        };
        let own = frames.get(frame_idx).and_then(|range| places.get(range.clone()));
        let own: Vec<(u64, usize)> = own
            .ok_or_else(|| changed(&header.path))?
            .iter()
            .map(|&(at, length)| (at, length as usize))
            .collect();
        let stream = self.bytes(header, &own)?;
        codec::decode(header.syntax.codec, &stream, format)
            .ok_or_else(|| changed(&header.path))?
            .map_err(|what| header.malformed(what))
    }

    /// Pieces of the data set, each from an offset on, joined.
    fn bytes(&self, header: &ImageHeader, pieces: &[(u64, usize)]) -> Result<Vec<u8>, IoError> {
        let path = &header.path;
        if let Source::Memory(data) = &self.source {
            let piece = |&(at, length): &(u64, usize)| data.get(at as usize..)?.get(..length);
            let pieces = pieces.iter().map(piece).collect::<Option<Vec<&[u8]>>>();
            return pieces.map(|pieces| pieces.concat()).ok_or_else(|| changed(path));
        }
        let mut file = File::open(path).map_err(IoError::io(path))?;
        let mut bytes = Vec::with_capacity(pieces.iter().map(|(_, length)| length).sum());
        for &(at, length) in pieces {
            file.seek(SeekFrom::Start(at)).map_err(IoError::io(path))?;
            let n_read =
                (&mut file).take(length as u64).read_to_end(&mut bytes).map_err(IoError::io(path))?;
            if n_read < length {
                return Err(changed(path));
            }
        }
        Ok(bytes)
    }
}

/// A slice to fill, and how.
struct Target<'a> {
    values: &'a mut [f32],
    format: SampleFormat,
    rescale: Rescale,
    /// First and last stored value that stand for air.
    air: Option<(i64, i64)>,
}

impl Target<'_> {
    /// Fills the slice and returns how many voxels were padding.
    fn fill(self, words: impl Iterator<Item = u32>) -> usize {
        let Self { values, format, rescale, air } = self;
        let mut n_replaced = 0;
        for (value, word) in std::iter::zip(values, words) {
            let stored = format.value(word);
            *value = if air.is_some_and(|(low, high)| low <= stored && stored <= high) {
                n_replaced += 1;
                AIR_HU as f32
            } else {
                rescale.apply(stored) as f32
            };
        }
        n_replaced
    }

    /// As [`Self::fill`] for samples of 16 bits, in arithmetic of which processors do several at once.
    fn fill_words(self, words: impl Iterator<Item = u16>) -> usize {
        let Self { values, format, rescale, air } = self;
        let unused = u32::BITS - format.bits_stored;
        let stored = |word: u16| {
            let left_aligned = (u32::from(word) >> format.shift) << unused;
            if format.is_signed { left_aligned as i32 >> unused } else { (left_aligned >> unused) as i32 }
        };
        let true_value = |stored: i32| (f64::from(stored) * rescale.slope + rescale.intercept) as f32;
        let Some((low, high)) = air else {
            for (value, word) in std::iter::zip(values, words) {
                *value = true_value(stored(word));
            }
            return 0;
        };
        let mut n_replaced = 0;
        for (value, word) in std::iter::zip(values, words) {
            let stored = stored(word);
            let is_air = low <= i64::from(stored) && i64::from(stored) <= high;
            *value = if is_air { AIR_HU as f32 } else { true_value(stored) };
            n_replaced += usize::from(is_air);
        }
        n_replaced
    }
}

/// The stored values that mean "no data" in a CT, if setting them to air is safe.
///
/// Padding below −1000 HU is outside the patient. Some writers declare a padding value that is water or tissue; that is
/// left as it is.
fn padding_of(header: &ImageHeader, format: SampleFormat) -> (Padding, Option<(i64, i64)>) {
    let (Some((value, limit)), "CT") = (header.padding, header.modality.as_str()) else {
        return (Padding::default(), None);
    };
    // The padding value has the pixels' own representation (US or SS), but is not shifted.
    let of_word = |word: u16| if format.is_signed { i64::from(word as i16) } else { i64::from(word) };
    let (low, high) = (of_word(value).min(of_word(limit)), of_word(value).max(of_word(limit)));
    let Ok(rescale) = header.rescale(false) else { return (Padding::default(), None) };
    let hu = rescale.apply(low).max(rescale.apply(high));
    if hu == AIR_HU {
        (Padding::default(), None)
    } else if hu < AIR_HU {
        (Padding { replaced_hu: Some(hu), ..Padding::default() }, Some((low, high)))
    } else {
        (Padding { kept_hu: Some(hu), ..Padding::default() }, None)
    }
}

fn changed(path: &Path) -> IoError {
    IoError::malformed(path, FORMAT, "the file changed while it was read")
}
