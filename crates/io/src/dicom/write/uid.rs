//! Unique identifiers from content.
//!
//! A UID is `2.25.` and a UUID as a decimal number (PS3.5 annex B.2). The UUID is one of version 8 (RFC 9562 section 5.8) whose
//! 122 free bits come from a SHA-256 of what the object is made from: the same content gets the same UID, another content another.

use sha2::{Digest, Sha256};
use synthct_image::Grid;

/// What a UID is made from.
#[derive(Clone)]
pub(super) struct Content(Sha256);

impl Content {
    /// Nothing yet, of a kind: contents of two kinds never share a UID.
    pub(super) fn new(kind: &str) -> Self {
        Self(Sha256::new()).text("synthct").text(kind)
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub(super) fn grid(self, grid: &Grid) -> Self {
        let sizes = grid.size_ijk().map(|n| n as f64);
        let direction = grid.direction();
        let columns = [0, 1, 2].map(|axis| direction.column(axis));
        let numbers =
            [sizes, grid.spacing_mm(), grid.origin_lps().to_array(), columns[0], columns[1], columns[2]];
        let bytes: Vec<u8> = numbers.as_flattened().iter().flat_map(|number| number.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    pub(super) fn values(mut self, values: &[f32]) -> Self {
        self.0.update((values.len() as u64).to_le_bytes());
        for chunk in values.chunks(1 << 14) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.0.update(&bytes);
        }
        self
    }

    /// The UID of this content.
    pub(super) fn uid(self) -> String {
        let digest = self.0.finalize();
        let mut uuid = [0_u8; 16];
        uuid.copy_from_slice(&digest[..16]);
        uuid[6] = uuid[6] & 0x0F | 0x80;
        uuid[8] = uuid[8] & 0x3F | 0x80;
        format!("2.25.{}", u128::from_be_bytes(uuid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_valid_and_follow_the_content() {
        let uid = Content::new("series").text("a").text("b").uid();
        assert_eq!(uid, Content::new("series").text("a").text("b").uid());
        for other in [
            Content::new("series").text("ab"),
            Content::new("series").text("").text("ab"),
            Content::new("study").text("a").text("b"),
        ] {
            assert_ne!(uid, other.uid());
        }
        let number = uid.strip_prefix("2.25.").and_then(|digits| digits.parse::<u128>().ok());
        let number = number.expect("digits");
        assert!(uid.len() <= 64 && uid == format!("2.25.{number}"), "{uid}");
        assert_eq!((number >> 76 & 0xF, number >> 62 & 0x3), (8, 2), "version and variant");
    }
}
