//! Compton scatter and pair production.

use super::constants::{ELECTRON_MEV, momentum_mev};
use super::direction::{azimuth, turned};
use super::stream::Stream;

/// What an interaction sends on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scattered {
    pub(super) energy_mev: f64,
    pub(super) direction: [f64; 3],
}

/// Scatter by an electron at rest: the photon and the electron.
///
/// The part that the photon keeps is drawn from the cross section of Klein and Nishina, which is
/// (1/ε + ε)(1 - ε sin² θ/(1 + ε²)) up to a scale: ε from 1/ε + ε in two pieces, then a rejection.
/// The electron's binding changes how often this happens, not how it ends.
pub(super) fn compton(energy_mev: f64, direction: [f64; 3], stream: &mut Stream) -> [Scattered; 2] {
    let alpha = energy_mev / ELECTRON_MEV;
    let least = 1.0 / (1.0 + 2.0 * alpha);
    let (reciprocal, linear) = (-least.ln(), 0.5 * (1.0 - least * least));
    let (kept, versine) = loop {
        let kept = if stream.uniform() * (reciprocal + linear) < reciprocal {
            (stream.uniform() * least.ln()).exp()
        } else {
            (least * least + (1.0 - least * least) * stream.uniform()).sqrt()
        };
        let versine = ((1.0 - kept) / (alpha * kept)).min(2.0);
        let sine2 = versine * (2.0 - versine);
        if stream.uniform() < 1.0 - kept * sine2 / (1.0 + kept * kept) {
            break (kept, versine);
        }
    };
    let photon = Scattered {
        energy_mev: kept * energy_mev,
        direction: turned(direction, 0.5 * versine, azimuth(stream)),
    };
    let momentum: [f64; 3] =
        std::array::from_fn(|axis| energy_mev * direction[axis] - photon.energy_mev * photon.direction[axis]);
    let size = momentum.iter().map(|p| p * p).sum::<f64>().sqrt();
    let electron = Scattered {
        energy_mev: energy_mev - photon.energy_mev,
        direction: if size > 0.0 { momentum.map(|p| p / size) } else { direction },
    };
    [photon, electron]
}

/// An electron and a positron from a photon above twice the electron's rest energy.
///
/// The kinetic energy is shared evenly at random; angles are those of [`emission`].
pub(super) fn pair(energy_mev: f64, direction: [f64; 3], stream: &mut Stream) -> [Scattered; 2] {
    let kinetic = (energy_mev - 2.0 * ELECTRON_MEV).max(0.0);
    let share = stream.uniform();
    let [cos, sin] = azimuth(stream);
    let mut one = |energy_mev: f64, azimuth: [f64; 2]| Scattered {
        energy_mev,
        direction: turned(direction, emission(energy_mev, stream), azimuth),
    };
    [one(share * kinetic, [cos, sin]), one((1.0 - share) * kinetic, [-cos, -sin])]
}

/// (1 - cos θ)/2 between a photon and an electron of some kinetic energy that it makes or that radiates it, of the density
/// 1/(1 - β cos θ)² in cos θ: the leading term of Sauter, Gluckstern and Hull (Motz, Olsen, Koch 1969,
/// doi:10.1103/RevModPhys.41.581).
pub(super) fn emission(kinetic_mev: f64, stream: &mut Stream) -> f64 {
    let beta = momentum_mev(kinetic_mev) / (kinetic_mev + ELECTRON_MEV);
    let at = 2.0 * stream.uniform() - 1.0;
    let cosine = (at + beta) / (1.0 + at * beta);
    0.5 * (1.0 - cosine.clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Klein and Nishina's cross section up to a scale and the mean part that the photon keeps, by Simpson's rule.
    fn mean_kept(alpha: f64) -> f64 {
        let n = 2000;
        let least = 1.0 / (1.0 + 2.0 * alpha);
        let width = (1.0 - least) / f64::from(n);
        let (mut sum, mut first) = (0.0, 0.0);
        for step in 0..=n {
            let kept = least + f64::from(step) * width;
            let versine = (1.0 - kept) / (alpha * kept);
            let weight = if step == 0 || step == n { 1.0 } else { f64::from(2 + 2 * (step % 2)) };
            // dε is proportional to ε² d cos θ; the cross section in angle is ε² (1/ε + ε - sin² θ).
            let value = weight * (1.0 / kept + kept - versine * (2.0 - versine));
            sum += value;
            first += value * kept;
        }
        first / sum
    }

    #[test]
    fn photons_keep_what_klein_and_nishina_say_and_momentum_is_conserved() {
        for energy in [0.02, 0.1, 0.511, 1.5, 6.0] {
            let mut stream = Stream::of_history(2, 1);
            let n = 100_000;
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..n {
                let along = [0.36, 0.48, 0.8];
                let [photon, electron] = compton(energy, along, &mut stream);
                let kept = photon.energy_mev / energy;
                sum += kept;
                squares += kept * kept;
                assert!((photon.energy_mev + electron.energy_mev - energy).abs() < 1e-12);
                let p = momentum_mev(electron.energy_mev);
                for (axis, before) in along.into_iter().enumerate() {
                    let off = photon.energy_mev * photon.direction[axis] + p * electron.direction[axis]
                        - energy * before;
                    assert!(off.abs() < 1e-6 * energy, "{off}");
                }
            }
            let mean = sum / f64::from(n);
            let sigma = ((squares / f64::from(n) - mean * mean) / f64::from(n)).sqrt();
            let expected = mean_kept(energy / ELECTRON_MEV);
            assert!((mean - expected).abs() < 4.0 * sigma, "{energy}: {mean} ± {sigma}, {expected}");
        }
        // The mean energy of the electron at 1 MeV is 0.4399 MeV (Attix 1986, appendix).
        assert!((1.0 - mean_kept(1.0 / ELECTRON_MEV) - 0.4399).abs() < 1e-3);
    }

    #[test]
    fn pairs_share_what_is_left_and_go_forward() {
        let mut stream = Stream::of_history(3, 1);
        let mut forward = 0.0;
        for _ in 0..20_000 {
            let [one, other] = pair(5.0, [0.0, 1.0, 0.0], &mut stream);
            assert!((one.energy_mev + other.energy_mev + 2.0 * ELECTRON_MEV - 5.0).abs() < 1e-12);
            forward += emission(2.0, &mut stream);
        }
        // The mean of cos θ for 1/(1 - β cos θ)²: 1/β - (1 - β²)/(2 β²) ln((1 + β)/(1 - β)).
        let beta = momentum_mev(2.0) / (2.0 + ELECTRON_MEV);
        let expected =
            1.0 / beta - (1.0 - beta * beta) / (2.0 * beta * beta) * ((1.0 + beta) / (1.0 - beta)).ln();
        assert!((1.0 - 2.0 * forward / 20_000.0 - expected).abs() < 5e-3, "{expected}");
    }
}
