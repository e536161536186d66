//! Pixels of one file as HU or signal.

use std::path::Path;

use dicom_dictionary_std::tags;

use super::FORMAT;
use super::attributes::{Opened, open};
use super::image::{ImageHeader, Rescale, SampleFormat};
use super::jpeg;
use super::rle;
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

/// Decodes one single-frame file into `values`, row after row.
///
/// The file must have passed [`ImageHeader::check_pixels`], and `values` must have its size.
pub(super) fn decode(header: &ImageHeader, values: &mut [f32]) -> Result<Padding, IoError> {
    let format = header.sample_format()?;
    let rescale = header.rescale()?;
    let bytes = samples(header, format)?;
    let big_endian = header.syntax.codec == Codec::Native && header.syntax.encoding.big_endian;
    let (padding, range) = padding_of(header, format);
    let target = Target { values, format, rescale, air: range };
    let n_replaced = match (format.bytes_per_sample, big_endian) {
        (1, _) => target.fill(bytes.iter().map(|&byte| u32::from(byte))),
        (2, false) => {
            target.fill(bytes.as_chunks().0.iter().map(|&word| u32::from(u16::from_le_bytes(word))))
        }
        (2, true) => target.fill(bytes.as_chunks().0.iter().map(|&word| u32::from(u16::from_be_bytes(word)))),
        (_, false) => target.fill(bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word))),
        (_, true) => target.fill(bytes.as_chunks().0.iter().map(|&word| u32::from_be_bytes(word))),
    };
    Ok(Padding { n_replaced, ..padding })
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
        let mut n_replaced = 0;
        for (value, word) in std::iter::zip(self.values, words) {
            let stored = self.format.value(word);
            *value = if self.air.is_some_and(|(low, high)| low <= stored && stored <= high) {
                n_replaced += 1;
                AIR_HU as f32
            } else {
                self.rescale.apply(stored) as f32
            };
        }
        n_replaced
    }
}

/// The stored samples as bytes, in the data set's byte order if they are native, else little endian.
fn samples(header: &ImageHeader, format: SampleFormat) -> Result<Vec<u8>, IoError> {
    let pixels = header.pixels.ok_or_else(|| header.missing(tags::PIXEL_DATA, "the file holds no image"))?;
    let Opened::DataSet(_, mut elements) = open(&header.path)? else {
        return Err(changed(&header.path));
    };
    elements.seek(pixels.offset)?;
    if header.syntax.codec == Codec::Native {
        return elements.bytes(format.n_bytes());
    }
    // The basic offset table comes first; it only matters for several frames.
    let mut fragments = elements.fragments()?;
    if fragments.len() < 2 {
        return Err(header.malformed("its pixel data has no fragments".to_owned()));
    }
    fragments.remove(0);
    let stream = fragments.concat();
    let decoded = match header.syntax.codec {
        Codec::RunLength => rle::decode(&stream, format.n_samples(), format.bytes_per_sample),
        Codec::Jpeg => jpeg::decode(&stream, format.rows, format.columns, format.bytes_per_sample),
        Codec::Native | Codec::Unsupported(_) => return Err(changed(&header.path)),
    };
    decoded.map_err(|what| header.malformed(what))
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
    let Ok(rescale) = header.rescale() else { return (Padding::default(), None) };
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
