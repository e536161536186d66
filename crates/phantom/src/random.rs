//! Random numbers that depend on a seed and a counter alone, so that no order of evaluation changes them.

/// Mixes 64 bits so that every output bit depends on every input bit (the SplitMix64 finalizer, Steele et al. 2014).
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The seed of an independent stream: one purpose, one `purpose` number.
pub(crate) const fn stream(seed: u64, purpose: u64) -> u64 {
    mix(mix(seed) ^ mix(purpose.wrapping_mul(0xD6E8_FEB8_6659_FD93)))
}

/// Two independent standard normal numbers for `counter` (Box–Muller).
pub(crate) fn normal_pair(seed: u64, counter: u64) -> (f64, f64) {
    let first = mix(seed ^ mix(counter));
    let second = mix(first);
    // 53 bits, moved off zero: the logarithm must exist.
    let u = ((first >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let angle = std::f64::consts::TAU * ((second >> 11) as f64 / (1_u64 << 53) as f64);
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = angle.sin_cos();
    (radius * cos, radius * sin)
}

/// Smooth noise: a function of position without a period, mean 0, mostly within ±1 (gradient noise, Perlin 2002).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SmoothNoise {
    seed: u64,
    frequency: [f64; 3],
}

impl SmoothNoise {
    /// Noise whose features are about `length` apart.
    pub(crate) const fn new(seed: u64, length: f64) -> Self {
        Self::anisotropic(seed, [length; 3])
    }

    /// Noise whose features are about `lengths` apart along each axis.
    pub(crate) const fn anisotropic(seed: u64, lengths: [f64; 3]) -> Self {
        Self { seed, frequency: [1.0 / lengths[0], 1.0 / lengths[1], 1.0 / lengths[2]] }
    }

    /// The value at a position.
    pub(crate) fn at(&self, p: [f64; 3]) -> f64 {
        let q = [p[0] * self.frequency[0], p[1] * self.frequency[1], p[2] * self.frequency[2]];
        let cell = q.map(f64::floor);
        let f = [q[0] - cell[0], q[1] - cell[1], q[2] - cell[2]];
        let lattice = cell.map(|c| c as i64 as u64);
        let fade = f.map(|t| t * t * t * (t * (t * 6.0 - 15.0) + 10.0));
        let corner = |dx: usize, dy: usize, dz: usize| {
            let key = lattice[0].wrapping_add(dx as u64).wrapping_mul(0x9E37_79B1_85EB_CA87)
                ^ lattice[1].wrapping_add(dy as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
                ^ lattice[2].wrapping_add(dz as u64).wrapping_mul(0x1656_67B1_9E37_79F9);
            let mut h = (key ^ self.seed).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
            h = (h ^ (h >> 32)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
            h ^= h >> 29;
            let component = |shift: u32| ((h >> shift) & 0xFFFF) as f64 * (2.0 / 65535.0) - 1.0;
            component(0) * (f[0] - dx as f64)
                + component(16) * (f[1] - dy as f64)
                + component(32) * (f[2] - dz as f64)
        };
        let lerp = |a: f64, b: f64, t: f64| a + t * (b - a);
        let x = |dy, dz| lerp(corner(0, dy, dz), corner(1, dy, dz), fade[0]);
        let y = |dz| lerp(x(0, dz), x(1, dz), fade[1]);
        // The factor brings the standard deviation near one third.
        1.5 * lerp(y(0), y(1), fade[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_unit_variance_and_no_correlation() {
        let n = 200_000;
        let (mut sum, mut squares, mut products, mut neighbors) = (0.0, 0.0, 0.0, 0.0);
        for counter in 0..n {
            let (a, b) = normal_pair(7, counter);
            let (next, _) = normal_pair(7, counter + 1);
            sum += a + b;
            squares += a * a + b * b;
            products += a * b;
            neighbors += a * next;
        }
        let n = n as f64;
        assert!((sum / (2.0 * n)).abs() < 0.006, "mean {}", sum / (2.0 * n));
        assert!((squares / (2.0 * n) - 1.0).abs() < 0.01, "variance {}", squares / (2.0 * n));
        assert!((products / n).abs() < 0.01 && (neighbors / n).abs() < 0.01);
    }

    #[test]
    fn smooth_noise_is_continuous_across_cells_and_centered() {
        let noise = SmoothNoise::new(3, 10.0);
        let (mut sum, mut squares, mut n) = (0.0, 0.0, 0.0);
        for step in 0..20_000 {
            let p = [f64::from(step) * 0.37 - 3000.0, f64::from(step) * 0.11, f64::from(step) * -0.23];
            let value = noise.at(p);
            let beside = noise.at([p[0] + 1e-6, p[1], p[2]]);
            assert!((value - beside).abs() < 1e-5, "jump at {p:?}");
            sum += value;
            squares += value * value;
            n += 1.0;
        }
        assert!(f64::abs(sum / n) < 0.05, "mean {}", sum / n);
        let sd = f64::sqrt(squares / n);
        assert!((0.2..0.5).contains(&sd), "standard deviation {sd}");
    }
}
