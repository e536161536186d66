//! JPEG 2000, lossless and lossy, of one component (ISO/IEC 15444-1; PS3.5 section 8.2.4), by `hayro-jpeg2000`.
//!
//! The codestream's own header is checked before the decoder sees it: its size must be that of the DICOM image, so that
//! the decoder allocates no more than the frame needs.

use hayro_jpeg2000::{ComponentData, DecodeSettings, DecoderContext, Image};

use super::Decoded;

/// What a codestream says of itself in its SIZ segment (clause A.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    height: u32,
    width: u32,
    n_components: u16,
    precision: u8,
    is_signed: bool,
    subsampling: [u8; 2],
    /// Whether part 15 (high throughput) is needed.
    is_high_throughput: bool,
}

/// The samples of one frame.
pub(super) fn decode(stream: &[u8], rows: usize, columns: usize) -> Result<Decoded, String> {
    // A JP2 file where a bare codestream should be is a known writer's error; its boxes hold nothing that is needed.
    let start = stream.windows(4).position(|window| window == [0xFF, 0x4F, 0xFF, 0x51]);
    let stream = start.map(|start| &stream[start..]).ok_or("it holds no JPEG 2000 codestream")?;
    let size = size(stream).ok_or("its JPEG 2000 header is damaged")?;
    if (size.height as usize, size.width as usize) != (rows, columns) {
        return Err(format!(
            "its JPEG 2000 image has {} rows and {} columns, but DICOM says {rows} and {columns}",
            size.height, size.width
        ));
    }
    if size.n_components != 1 || size.subsampling != [1, 1] {
        return Err(format!("its JPEG 2000 image has {} components where 1 is needed", size.n_components));
    }
    if size.is_high_throughput {
        return Err("High-Throughput JPEG 2000 is not supported".to_owned());
    }
    if size.precision > 16 {
        return Err(format!("JPEG 2000 with {} bits a sample is not supported", size.precision));
    }
    // Strict: a codestream that ends early is an error, not an image of less quality.
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let damaged = |error| format!("its JPEG 2000 image is damaged: {error}");
    let image = Image::new(stream, &settings).map_err(damaged)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(damaged)?;
    let samples = decoded.components().first().map(ComponentData::samples).unwrap_or_default();
    if samples.len() != rows * columns {
        return Err(format!(
            "its JPEG 2000 image gave {} samples where {} are needed",
            samples.len(),
            rows * columns
        ));
    }
    // The decoder adds half the range to every component; signed ones want none (clause G.1.2).
    let half = (1_i32 << size.precision) / 2;
    let (least, offset) = if size.is_signed { (-half, half) } else { (0, 0) };
    let largest = least + (1_i32 << size.precision) - 1;
    let stored = |&sample: &f32| (sample.round() as i32).saturating_sub(offset).clamp(least, largest) as u16;
    Ok(Decoded { samples: samples.iter().map(stored).collect(), precision: size.precision })
}

fn size(stream: &[u8]) -> Option<Size> {
    let word = |at: usize| Some(u32::from_be_bytes(*stream.get(at..)?.first_chunk()?));
    let half_word = |at: usize| Some(u16::from_be_bytes(*stream.get(at..)?.first_chunk()?));
    // SOC, SIZ and its length, Rsiz, then extent and origin of the image, those of the tiles, and the components.
    let precision = *stream.get(42)?;
    Some(Size {
        is_high_throughput: half_word(6)? & 0x4000 != 0,
        width: word(8)?.checked_sub(word(16)?)?,
        height: word(12)?.checked_sub(word(20)?)?,
        n_components: half_word(40)?,
        precision: (precision & 0x7F) + 1,
        is_signed: precision & 0x80 != 0,
        subsampling: [*stream.get(43)?, *stream.get(44)?],
    })
}
