//! Random numbers that depend on a seed and a name, and on nothing else.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers of its own for each pair of seed and name.
pub(crate) struct NamedRng(ChaCha8Rng);

impl NamedRng {
    /// The stream of `name` under `seed`.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: the standard library's hash may change between versions, these numbers must not.
        let stream = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// The next number, uniform in [0, 1) with 24 bits.
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_and_name_make_the_stream() {
        let first = |seed, name: &str| {
            let mut rng = NamedRng::new(seed, name);
            [rng.uniform(), rng.uniform(), rng.uniform()].map(f32::to_bits)
        };
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
        let mut rng = NamedRng::new(3, "mean");
        let mean = (0..10_000).map(|_| f64::from(rng.uniform())).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
