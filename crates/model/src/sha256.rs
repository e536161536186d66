//! SHA-256 in hexadecimal, to tell whether weights and data are the ones they were.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The digest of some bytes.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    hex(Sha256::new().chain_update(bytes))
}

/// The digest of everything that was given to `hash`.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("because a string takes any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::hex_digest;

    #[test]
    fn the_standards_own_example() {
        assert_eq!(hex_digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
