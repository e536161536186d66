//! A subject's parameters, drawn by purpose: a parameter added later does not change those drawn before it.

use crate::random::{mix, normal_pair, stream};

/// Draws numbers from named streams of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    seed: u64,
}

impl Draws {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed of the stream called `name`.
    pub(crate) fn seed(&self, name: &str) -> u64 {
        // FNV-1a over the name.
        let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        stream(self.seed, hash)
    }

    /// A number evenly between `from` and `to`.
    pub(crate) fn uniform(&self, name: &str, from: f64, to: f64) -> f64 {
        from + (to - from) * ((mix(self.seed(name)) >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// A normal number, held within two and a half standard deviations: no subject is a monster.
    pub(crate) fn normal(&self, name: &str, mean: f64, sd: f64) -> f64 {
        mean + sd * normal_pair(self.seed(name), 0).0.clamp(-2.5, 2.5)
    }

    /// True with the given probability.
    pub(crate) fn chance(&self, name: &str, probability: f64) -> bool {
        self.uniform(name, 0.0, 1.0) < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_and_name_and_stay_in_range() {
        let draws = Draws::new(5);
        assert!((draws.uniform("a", 2.0, 3.0) - Draws::new(5).uniform("a", 2.0, 3.0)).abs() < 1e-15);
        let mut values: Vec<f64> = Vec::new();
        for seed in 0..50 {
            let draws = Draws::new(seed);
            for name in ["size", "tilt", "teeth"] {
                let value = draws.uniform(name, -1.0, 4.0);
                assert!((-1.0..4.0).contains(&value));
                assert!(values.iter().all(|other| (other - value).abs() > 1e-9), "{value} drawn twice");
                values.push(value);
                assert!((draws.normal(name, 10.0, 2.0) - 10.0).abs() <= 5.0);
            }
        }
    }
}
