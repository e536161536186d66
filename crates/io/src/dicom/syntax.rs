//! Transfer syntaxes: how the data set and its pixels are encoded (PS3.5 chapter 10 and annex A).

use super::element::Encoding;

/// How pixel data is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// Plain samples.
    Native,
    /// Byte-plane run lengths (PS3.5 annex G).
    RunLength,
    /// JPEG baseline, extended or lossless (process 14).
    Jpeg,
    /// JPEG-LS, lossless or near-lossless.
    JpegLs,
    /// JPEG 2000 part 1, lossless or lossy.
    Jpeg2000,
    /// A compression that is not read; its name and the way out.
    Unsupported(&'static str),
}

/// What a transfer syntax UID stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TransferSyntax {
    /// The data set's elements; compressed syntaxes are all explicit little endian.
    pub(super) encoding: Encoding,
    /// The whole data set is deflated.
    pub(super) is_deflated: bool,
    /// The pixels.
    pub(super) codec: Codec,
}

impl Codec {
    /// What the pixels are compressed with; none if they are not.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Native => None,
            Self::RunLength => Some("RLE"),
            Self::Jpeg => Some("JPEG"),
            Self::JpegLs => Some("JPEG-LS"),
            Self::Jpeg2000 => Some("JPEG 2000"),
            Self::Unsupported(name) => Some(name),
        }
    }
}

impl TransferSyntax {
    /// A data set without a transfer syntax of its own.
    pub(super) fn uncompressed(encoding: Encoding) -> Self {
        Self { encoding, is_deflated: false, codec: Codec::Native }
    }

    /// The syntax of a UID, none if it is not a known one.
    pub(super) fn from_uid(uid: &str) -> Option<Self> {
        let plain = |encoding| Self { encoding, is_deflated: false, codec: Codec::Native };
        let packed = |codec| Self { encoding: Encoding::EXPLICIT_LITTLE, is_deflated: false, codec };
        Some(match uid.strip_prefix("1.2.840.10008.1.2")? {
            "" => plain(Encoding::IMPLICIT_LITTLE),
            ".1" => plain(Encoding::EXPLICIT_LITTLE),
            ".2" => plain(Encoding::EXPLICIT_BIG),
            ".1.99" => Self { is_deflated: true, ..plain(Encoding::EXPLICIT_LITTLE) },
            ".5" => packed(Codec::RunLength),
            ".4.50" | ".4.51" | ".4.57" | ".4.70" => packed(Codec::Jpeg),
            ".4.80" | ".4.81" => packed(Codec::JpegLs),
            ".4.90" | ".4.91" => packed(Codec::Jpeg2000),
            ".4.92" | ".4.93" => packed(Codec::Unsupported("JPEG 2000 Part 2")),
            ".4.110" | ".4.111" | ".4.112" => packed(Codec::Unsupported("JPEG XL")),
            ".4.201" | ".4.202" | ".4.203" => packed(Codec::Unsupported("High-Throughput JPEG 2000")),
            ".4.52" | ".4.53" | ".4.54" | ".4.55" | ".4.56" | ".4.58" | ".4.59" | ".4.60" | ".4.61"
            | ".4.62" | ".4.63" | ".4.64" | ".4.65" | ".4.66" => {
                packed(Codec::Unsupported("a retired kind of JPEG"))
            }
            ".1.98" => packed(Codec::Unsupported("Encapsulated Uncompressed")),
            ".8.1" => packed(Codec::Unsupported("Deflated Image Frame")),
            other if other.starts_with(".4.10") => packed(Codec::Unsupported("MPEG video")),
            _ => return None,
        })
    }
}
