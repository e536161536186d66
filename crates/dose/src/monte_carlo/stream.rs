//! Random numbers that depend on the seed, the history and the particle alone.

/// Philox4x32 with ten rounds: 128 random bits for a counter under a key.
///
/// # References
/// Salmon et al. (2011), doi:10.1145/2063384.2063405.
fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    const ROUNDS: usize = 10;
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for _ in 0..ROUNDS {
        let product = |at: usize| u64::from(MULTIPLIERS[at]) * u64::from(counter[2 * at]);
        let (first, second) = (product(0), product(1));
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// The random numbers of one particle.
///
/// A Philox block of the history's number starts those of its first particle, and one of a number that the parent draws
/// those of a secondary. So a history can be told again alone, in any order and on any thread, and two histories that part
/// in one place agree elsewhere. Between blocks runs xoroshiro128++ (Blackman and Vigna 2021, doi:10.1145/3460772).
#[derive(Clone, Debug)]
pub(super) struct Stream {
    key: [u32; 2],
    state: [u64; 2],
}

impl Stream {
    /// The numbers of a history's first particle.
    pub(super) fn of_history(seed: u64, history: u64) -> Self {
        Self::of_counter([seed as u32, (seed >> 32) as u32], history, 0)
    }

    /// Numbers of its own for a secondary particle.
    pub(super) fn split(&mut self) -> Self {
        // The highest bit keeps secondaries apart from histories.
        let (low, high) = (self.next(), self.next() | 1 << 63);
        Self::of_counter(self.key, low, high)
    }

    /// A number in [0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.next() >> 11) as f64 * STEP
    }

    /// A number of the exponential distribution of mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    fn of_counter(key: [u32; 2], low: u64, high: u64) -> Self {
        let [a, b, c, d] =
            philox(key, [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]).map(u64::from);
        // Zero in all bits would stay zero for ever.
        Self { key, state: [a << 32 | b, (c << 32 | d).max(1)] }
    }

    fn next(&mut self) -> u64 {
        let [s0, s1] = self.state;
        let mixed = s0 ^ s1;
        self.state = [s0.rotate_left(49) ^ mixed ^ mixed << 21, mixed.rotate_left(28)];
        s0.wrapping_add(s1).rotate_left(17).wrapping_add(s0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_its_authors_known_answers() {
        // The known answers that come with the Random123 library.
        for (counter, key, expected) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(key, counter), expected);
        }
    }

    #[test]
    fn numbers_are_uniform_within_and_across_streams() {
        const N: u64 = 200_000;
        let check = |name: &str, value: &mut dyn FnMut(u64) -> f64| {
            let (mut sum, mut squares, mut last, mut products) = (0.0, 0.0, 0.5, 0.0);
            for n in 0..N {
                let x = value(n);
                assert!((0.0..1.0).contains(&x));
                sum += x;
                squares += x * x;
                products += (x - 0.5) * (last - 0.5);
                last = x;
            }
            let n = N as f64;
            // Five standard deviations of each estimate.
            assert!((sum / n - 0.5).abs() < 5.0 * (1.0 / 12.0 / n).sqrt(), "{name}: mean {}", sum / n);
            assert!((squares / n - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0 / n).sqrt(), "{name}: squares");
            assert!((products / n).abs() < 5.0 / 12.0 / n.sqrt(), "{name}: neighbours are correlated");
        };
        let mut one = Stream::of_history(7, 3);
        check("one stream", &mut |_| one.uniform());
        check("first numbers", &mut |n| Stream::of_history(7, n).uniform());
        let mut parent = Stream::of_history(8, 1);
        check("secondaries", &mut |_| parent.split().uniform());
    }
}
