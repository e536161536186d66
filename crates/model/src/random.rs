//! Random numbers that are a function of where in the training they are drawn.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

/// What random numbers are for; each purpose has streams of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Weights,
    Order,
    Augmentation,
    Dropout,
    /// Dropout in prediction.
    Sample,
}

/// The stream of random numbers for one purpose at one place of the training.
///
/// Nothing is carried from step to step, so a resumed run draws what the uninterrupted run drew.
pub(crate) fn stream(seed: u64, purpose: Purpose, epoch: usize, step: usize) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(digest(seed, purpose, epoch, step))
}

/// One number for one purpose at one place of the training.
pub(crate) fn number(seed: u64, purpose: Purpose, epoch: usize, step: usize) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = digest(seed, purpose, epoch, step);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn digest(seed: u64, purpose: Purpose, epoch: usize, step: usize) -> [u8; 32] {
    let purpose = match purpose {
        Purpose::Weights => 0_u64,
        Purpose::Order => 1,
        Purpose::Augmentation => 2,
        Purpose::Dropout => 3,
        Purpose::Sample => 4,
    };
    let mut hash = Sha256::new();
    for part in [seed, purpose, epoch as u64, step as u64] {
        hash.update(part.to_le_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;

    #[test]
    fn each_place_and_purpose_has_its_own_stream() {
        let first = |seed, purpose, epoch, step| stream(seed, purpose, epoch, step).next_u64();
        let reference = first(1, Purpose::Order, 2, 3);
        assert_eq!(reference, first(1, Purpose::Order, 2, 3));
        for other in [
            first(2, Purpose::Order, 2, 3),
            first(1, Purpose::Dropout, 2, 3),
            first(1, Purpose::Order, 3, 3),
            first(1, Purpose::Order, 2, 4),
            first(1, Purpose::Order, 3, 2),
        ] {
            assert_ne!(reference, other);
        }
    }
}
