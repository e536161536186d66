//! Compressed frames to samples.
//!
//! Every decoder takes the bytes of one frame and its size, checks them against each other, and allocates no more than
//! the frame; what is wrong comes back as a sentence without the file's name.

mod jpeg;
mod jpeg_2000;
mod jpeg_ls;
mod rle;

use super::sample::SampleFormat;
use super::syntax::Codec;

/// The samples of a frame in the order of rows.
pub(super) enum Samples {
    /// Bytes of samples of the size that DICOM allocates.
    Bytes(Vec<u8>),
    /// One sample each, sign bits included as far as they are stored.
    Words(Vec<u16>),
}

/// Decodes one compressed frame; none if `codec` is no compression that is read.
pub(super) fn decode(codec: Codec, stream: &[u8], format: SampleFormat) -> Option<Result<Samples, String>> {
    let SampleFormat { rows, columns, bytes_per_sample, .. } = format;
    let decoded = match codec {
        Codec::Native | Codec::Unsupported(_) => return None,
        Codec::RunLength => {
            return Some(rle::decode(stream, format.n_samples(), bytes_per_sample).map(Samples::Bytes));
        }
        Codec::Jpeg => jpeg::decode(stream, rows, columns),
        Codec::JpegLs => jpeg_ls::decode(stream, rows, columns),
        Codec::Jpeg2000 => jpeg_2000::decode(stream, rows, columns),
    };
    Some(decoded.and_then(|Decoded { samples, precision }| {
        if usize::from(precision) > 8 * bytes_per_sample {
            return Err(format!(
                "its compressed image has {precision} bits a sample, but DICOM allocates {}",
                8 * bytes_per_sample
            ));
        }
        Ok(Samples::Words(samples))
    }))
}

/// What a decoder of the JPEG family found.
struct Decoded {
    samples: Vec<u16>,
    /// Bits of a sample.
    precision: u8,
}

/// The first marker segment of a JPEG or JPEG-LS stream: its marker, its content, and what follows.
///
/// None at anything but a marker with a length (ISO/IEC 10918-1 clause B.1.1).
fn segment(mut stream: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    // Fill bytes may precede a marker.
    while let [0xFF, 0xFF, ..] = stream {
        stream = &stream[1..];
    }
    let [0xFF, marker, tail @ ..] = stream else { return None };
    let length = usize::from(u16::from_be_bytes(*tail.first_chunk::<2>()?));
    Some((*marker, tail.get(2..length)?, tail.get(length..)?))
}
