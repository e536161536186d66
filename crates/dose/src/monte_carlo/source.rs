//! Photons from the fields of a plan.

use super::medium::Medium;
use super::stream::Stream;
use crate::{Field, Fluence, Machine};

/// A photon on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Photon {
    pub(super) position: [f64; 3],
    pub(super) direction: [f64; 3],
    pub(super) energy_mev: f64,
}

/// All fields as one source.
#[derive(Debug)]
pub(super) struct Source<'a> {
    fields: Vec<FieldSource<'a>>,
    /// The sum of the photons of this field and those before, as a part of all.
    cumulative: Vec<f64>,
    /// Energies in MeV and the sum of their weights up to each, the last being 1.
    spectrum: Vec<[f64; 2]>,
    /// Real photons of all fields.
    pub(super) n_photons: f64,
}

#[derive(Debug)]
struct FieldSource<'a> {
    fluence: &'a Fluence,
    position: [f64; 3],
    /// The beam's axes in the medium's coordinates.
    axes: [[f64; 3]; 3],
    axis_distance_mm: f64,
}

impl<'a> Source<'a> {
    pub(super) fn new(machine: &Machine, fields: &'a [Field], medium: &Medium) -> Self {
        let of = |field: &'a Field| {
            let frame = &field.frame;
            let isocenter = medium.medium_from_lps(frame.isocenter_lps());
            let axis = |mm: [f64; 3]| -> [f64; 3] {
                let end = medium.medium_from_lps(frame.lps_from_beam(mm));
                std::array::from_fn(|n| 0.1 * (end[n] - isocenter[n]))
            };
            FieldSource {
                fluence: &field.fluence,
                position: medium.medium_from_lps(frame.source_lps()),
                axes: [axis([100.0, 0.0, 0.0]), axis([0.0, 100.0, 0.0]), axis([0.0, 0.0, 100.0])],
                axis_distance_mm: frame.source_axis_distance_mm(),
            }
        };
        let photons = n_photons(fields);
        // The sum of nothing would be -0.
        let n_photons = photons.iter().fold(0.0, |sum, photons| sum + photons);
        let running = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
            values
                .scan(0.0, |sum, value| {
                    *sum += value;
                    Some(*sum)
                })
                .collect()
        };
        let weights = running(&mut machine.spectrum.iter().map(|line| line.weight));
        let all = weights.last().copied().unwrap_or(1.0);
        Self {
            fields: fields.iter().map(of).collect(),
            cumulative: running(&mut photons.iter().map(|photons| photons / n_photons)),
            spectrum: std::iter::zip(&machine.spectrum, weights)
                .map(|(line, weight)| [line.energy_mev, weight / all])
                .collect(),
            n_photons,
        }
    }

    /// A photon at the source. `part` in [0, 1) chooses the field, each as often as its photons are of all.
    pub(super) fn emit(&self, part: f64, stream: &mut Stream) -> Photon {
        let place = self.cumulative.partition_point(|&sum| sum <= part).min(self.fields.len() - 1);
        let field = &self.fields[place];
        let uniform = stream.uniform();
        let line = self.spectrum.partition_point(|[_, sum]| *sum <= uniform).min(self.spectrum.len() - 1);
        let at = loop {
            let at = field.fluence.at_parts([stream.uniform(), stream.uniform()]);
            if stream.uniform() < obliquity(at, field.axis_distance_mm) {
                break at;
            }
        };
        let [x, y, z] = &field.axes;
        let ray: [f64; 3] =
            std::array::from_fn(|n| at[0] * x[n] + at[1] * y[n] - field.axis_distance_mm * z[n]);
        let length = ray.iter().map(|r| r * r).sum::<f64>().sqrt();
        Photon {
            position: field.position,
            direction: ray.map(|r| r / length),
            energy_mev: self.spectrum[line][0],
        }
    }
}

/// Real photons of each field.
pub(super) fn n_photons(fields: &[Field]) -> Vec<f64> {
    fields
        .iter()
        .map(|field| {
            let distance_mm = field.frame.source_axis_distance_mm();
            field.weight * field.fluence.area_cm2(|at| obliquity(at, distance_mm))
        })
        .collect()
}

/// Photons through an area of the isocenter's plane of unit fluence, relative to the axis: the source is isotropic, so that
/// fluence, which counts area across the ray, falls with the square of the distance, and the plane is oblique.
fn obliquity([x, y]: [f64; 2], distance_mm: f64) -> f64 {
    let cosine2 = distance_mm * distance_mm / (x * x + y * y + distance_mm * distance_mm);
    cosine2 * cosine2.sqrt()
}
