//! Changes of an MR's intensity.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use synthct_image::Volume;

use super::config::NoiseKind;
use super::draw::symmetric;
use crate::{PrepError, ZScore};

/// Where an MR's intensities lie, so that a change means the same whatever the image's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MrScale {
    /// The value of a voxel without signal.
    pub zero_signal: f64,
    /// The mean inside the body.
    pub mean: f64,
    /// The standard deviation inside the body.
    pub sd: f64,
}

impl MrScale {
    /// The scale of an MR as it was acquired, with the statistics of its body.
    pub const fn acquired(body: &ZScore) -> Self {
        Self { zero_signal: 0.0, mean: body.mean, sd: body.sd }
    }

    /// The scale of that MR after its z-score.
    pub fn normalized(body: &ZScore) -> Self {
        Self { zero_signal: -body.mean / body.sd, mean: 0.0, sd: 1.0 }
    }

    /// The body's mean above zero signal.
    pub(super) fn brightness(&self, what: &'static str) -> Result<f64, PrepError> {
        let brightness = self.mean - self.zero_signal;
        if brightness > 0.0 {
            Ok(brightness)
        } else {
            Err(PrepError::NotMagnitude { what, mean: self.mean, zero_signal: self.zero_signal })
        }
    }
}

/// Waves along an axis: none, half a period, a period.
const WAVES: usize = 3;

/// exp of a sum of products of cosines, one a term along each axis; the weights' absolute values sum to the largest ∣ln∣.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BiasField {
    /// By waves along k, j, i; the constant term is zero.
    weights: [[[f64; WAVES]; WAVES]; WAVES],
}

impl BiasField {
    pub(super) fn sample(largest: f64, rng: &mut impl Rng) -> Self {
        let mut weights = [[[0.0; WAVES]; WAVES]; WAVES];
        let mut sum = 0.0;
        for (k, plane) in weights.iter_mut().enumerate() {
            for (j, row) in plane.iter_mut().enumerate() {
                for (i, weight) in row.iter_mut().enumerate() {
                    // Slow changes are stronger, as in a coil's field.
                    let waves = (i * i + j * j + k * k) as f64;
                    let drawn = symmetric(rng);
                    if waves > 0.0 {
                        *weight = drawn / waves;
                        sum += weight.abs();
                    }
                }
            }
        }
        let factor = if sum > 0.0 { largest / sum } else { 0.0 };
        weights.as_flattened_mut().as_flattened_mut().iter_mut().for_each(|weight| *weight *= factor);
        Self { weights }
    }

    /// The weights of the waves along i in the row where those along k and j have the given values.
    fn at_row(&self, waves_k: [f64; WAVES], waves_j: [f64; WAVES]) -> [f64; WAVES] {
        let mut along_i = [0.0; WAVES];
        for (plane, wave_k) in std::iter::zip(&self.weights, waves_k) {
            for (row, wave_j) in std::iter::zip(plane, waves_j) {
                for (sum, weight) in std::iter::zip(&mut along_i, row) {
                    *sum += weight * wave_k * wave_j;
                }
            }
        }
        along_i
    }
}

/// cos(π a (n + ½) / size) for a = 0, 1, 2; along an axis of one voxel nothing varies.
fn waves(n: usize, size: usize) -> [f64; WAVES] {
    if size == 1 {
        return [1.0, 0.0, 0.0];
    }
    let phase = std::f64::consts::PI * (n as f64 + 0.5) / size as f64;
    [1.0, phase.cos(), (2.0 * phase).cos()]
}

/// Multiplies the signal by a field.
pub(super) fn shade(mr: &mut Volume<f32>, field: &BiasField, scale: &MrScale) -> Result<(), PrepError> {
    scale.brightness("a bias field")?;
    let [ni, nj, nk] = mr.grid().size_ijk();
    let waves_i: Vec<[f64; WAVES]> = (0..ni).map(|i| waves(i, ni)).collect();
    let zero = scale.zero_signal;
    mr.as_mut_slice().par_chunks_mut(ni).enumerate().for_each(|(row, values)| {
        let [a, b, c] = field.at_row(waves(row / nj, nk), waves(row % nj, nj));
        for (value, wave) in std::iter::zip(values, &waves_i) {
            let log = a * wave[0] + b * wave[1] + c * wave[2];
            *value = (zero + (f64::from(*value) - zero) * log.exp()) as f32;
        }
    });
    Ok(())
}

/// Raises the signal to a power, so that zero signal and the body's mean stay; negative signal stays, too.
pub(super) fn raise(mr: &mut Volume<f32>, exponent: f64, scale: &MrScale) -> Result<(), PrepError> {
    let brightness = scale.brightness("a change of contrast")?;
    let zero = scale.zero_signal;
    mr.as_mut_slice().par_iter_mut().for_each(|value| {
        let signal = (f64::from(*value) - zero) / brightness;
        if signal > 0.0 {
            *value = (zero + brightness * signal.powf(exponent)) as f32;
        }
    });
    Ok(())
}

/// Moves every value away from the body's mean, or towards it.
pub(super) fn stretch_about_mean(mr: &mut Volume<f32>, factor: f64, scale: &MrScale) {
    let mean = scale.mean;
    mr.as_mut_slice()
        .iter_mut()
        .for_each(|value| *value = (mean + factor * (f64::from(*value) - mean)) as f32);
}

/// Adds noise of `sd` standard deviations of the body, from a stream of numbers for each channel.
pub(super) fn add_noise(
    mr: &mut Volume<f32>,
    kind: NoiseKind,
    sd: f64,
    scale: &MrScale,
    seed: u64,
    channel: usize,
) -> Result<(), PrepError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(channel as u64);
    let sd = (sd * scale.sd) as f32;
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    match kind {
        NoiseKind::Gaussian => mr.as_mut_slice().iter_mut().for_each(|value| *value += sd * normal()),
        NoiseKind::Rician => {
            scale.brightness("Rician noise")?;
            let zero = scale.zero_signal as f32;
            for value in mr.as_mut_slice() {
                let (real, imaginary) = (*value - zero + sd * normal(), sd * normal());
                *value = zero + real.hypot(imaginary);
            }
        }
    }
    Ok(())
}
