//! Transfer syntaxes: how the data set and its pixels are encoded (PS3.5 chapter 10 and annex A).

use super::element::Encoding;

/// How pixel data is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// Plain samples.
    Native,
    /// Byte-plane run lengths (PS3.5 annex G).
    RunLength,
    /// JPEG baseline, extended (8 bits) or lossless (process 14).
    Jpeg,
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

impl TransferSyntax {
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
            ".4.80" => packed(Codec::Unsupported("JPEG-LS Lossless")),
            ".4.81" => packed(Codec::Unsupported("JPEG-LS Near-Lossless")),
            ".4.90" => packed(Codec::Unsupported("JPEG 2000 Lossless")),
            ".4.91" => packed(Codec::Unsupported("JPEG 2000")),
            ".4.92" | ".4.93" => packed(Codec::Unsupported("JPEG 2000 Part 2")),
            ".4.110" | ".4.111" | ".4.112" => packed(Codec::Unsupported("JPEG XL")),
            ".4.201" | ".4.202" | ".4.203" => packed(Codec::Unsupported("High-Throughput JPEG 2000")),
            ".1.98" => packed(Codec::Unsupported("Encapsulated Uncompressed")),
            ".8.1" => packed(Codec::Unsupported("Deflated Image Frame")),
            other if other.starts_with(".4.10") => packed(Codec::Unsupported("MPEG video")),
            _ => return None,
        })
    }
}
