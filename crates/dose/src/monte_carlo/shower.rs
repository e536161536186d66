//! One history: a photon and all that it sets free.

use super::compton::{Scattered, compton, emission, pair};
use super::constants::ELECTRON_MEV;
use super::deflection::Deflections;
use super::direction::{azimuth, isotropic, turned};
use super::interaction::{Interaction, PhotonTables};
use super::medium::{Cell, Medium};
use super::source::Photon;
use super::stopping::{ELECTRON_CUTOFF_MEV, ElectronTables, PHOTON_CUTOFF_MEV, deflection_of_loss, moller};
use super::stream::Stream;
use super::table::{EnergyTable, locate};
use super::tally::Tally;

/// The part of its energy that an electron loses in a step at most.
const STEP_PART: f64 = 0.15;
/// A step that loses this energy is short enough whatever part of the energy it is: 0.2 mm of water, MeV.
const STEP_MEV: f64 = 0.05;

/// What all particles share.
#[derive(Debug)]
pub(super) struct Physics {
    pub(super) photons: PhotonTables,
    pub(super) electrons: ElectronTables,
    pub(super) deflections: Deflections,
}

impl Physics {
    /// Tables for photons up to some energy.
    pub(super) fn new(highest_mev: f64) -> Self {
        Self {
            photons: PhotonTables::new(),
            electrons: ElectronTables::new(highest_mev),
            deflections: Deflections::new(),
        }
    }
}

/// An electron or a positron.
#[derive(Clone, Copy, Debug)]
struct Electron {
    position: [f64; 3],
    direction: [f64; 3],
    cell: Cell,
    kinetic_mev: f64,
    is_positron: bool,
}

#[derive(Clone, Debug)]
enum Particle {
    Photon(Photon, Stream),
    Electron(Electron, Stream),
}

/// Follows particles through a medium.
pub(super) struct Shower<'a> {
    pub(super) physics: &'a Physics,
    pub(super) medium: &'a Medium,
    pub(super) majorant: &'a EnergyTable<1, 1>,
    pub(super) tally: Tally,
    waiting: Vec<Particle>,
}

/// What became of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    Inside,
    Left,
}

impl<'a> Shower<'a> {
    pub(super) fn new(physics: &'a Physics, medium: &'a Medium, majorant: &'a EnergyTable<1, 1>) -> Self {
        let n_voxels = medium.size.iter().product();
        Self { physics, medium, majorant, tally: Tally::new(n_voxels), waiting: Vec::new() }
    }

    /// Follows a photon from outside and everything that comes of it.
    pub(super) fn run(&mut self, mut photon: Photon, mut stream: Stream) {
        self.tally.emit(photon.energy_mev);
        let Some(distance) = self.medium.entry(photon.position, photon.direction) else {
            self.tally.escape(photon.energy_mev);
            return;
        };
        advance(&mut photon.position, photon.direction, distance + 1e-9);
        self.photon(photon, &mut stream);
        while let Some(particle) = self.waiting.pop() {
            match particle {
                Particle::Photon(photon, mut stream) => self.photon(photon, &mut stream),
                Particle::Electron(electron, mut stream) => self.electron(electron, &mut stream),
            }
        }
    }

    /// Follows a photon to its end; electrons that it sets free follow at once.
    fn photon(&mut self, mut photon: Photon, stream: &mut Stream) {
        loop {
            let Some((cell, interaction)) = self.flight(&mut photon, stream) else {
                self.tally.escape(photon.energy_mev);
                return;
            };
            let at = photon.position;
            match interaction {
                Interaction::Photoelectric => {
                    // The electron leaves with all energy, that of its binding included, straight ahead.
                    let all = Scattered { energy_mev: photon.energy_mev, direction: photon.direction };
                    self.release(all, false, at, cell, stream);
                    return;
                }
                Interaction::Pair => {
                    let [electron, positron] = pair(photon.energy_mev, photon.direction, stream);
                    self.release(electron, false, at, cell, stream);
                    self.release(positron, true, at, cell, stream);
                    return;
                }
                Interaction::Compton => {
                    let [scattered, electron] = compton(photon.energy_mev, photon.direction, stream);
                    self.release(electron, false, at, cell, stream);
                    if scattered.energy_mev < PHOTON_CUTOFF_MEV {
                        self.tally.deposit(cell.voxel, scattered.energy_mev);
                        return;
                    }
                    photon.energy_mev = scattered.energy_mev;
                    photon.direction = scattered.direction;
                }
            }
        }
    }

    /// Moves a photon to where it interacts, or out of the medium.
    ///
    /// It flies as if all were as thick as the thickest voxel, and where it is not, most interactions are none (Woodcock):
    /// no voxel between is looked at.
    fn flight(&self, photon: &mut Photon, stream: &mut Stream) -> Option<(Cell, Interaction)> {
        let energy = locate(photon.energy_mev);
        let majorant = self.majorant.one(energy, 0, 0);
        let free_path_cm = 1.0 / f64::from(majorant);
        loop {
            advance(&mut photon.position, photon.direction, free_path_cm * stream.exponential());
            let cell = self.medium.cell(photon.position)?;
            let matter = self.medium.matter(cell.voxel);
            let photons = &self.physics.photons;
            let real =
                f64::from(matter.electron * photons.total_per_cm(matter.composition, energy) / majorant);
            let uniform = stream.uniform();
            if uniform < real {
                return Some((cell, photons.kind(matter.composition, energy, uniform / real)));
            }
        }
    }

    /// Follows an electron or a positron that has been set free.
    fn release(
        &mut self,
        Scattered { energy_mev: kinetic_mev, direction }: Scattered,
        is_positron: bool,
        position: [f64; 3],
        cell: Cell,
        stream: &mut Stream,
    ) {
        if kinetic_mev < ELECTRON_CUTOFF_MEV && !is_positron {
            self.tally.deposit(cell.voxel, kinetic_mev);
        } else {
            let electron = Electron { position, direction, cell, kinetic_mev, is_positron };
            self.electron(electron, &mut stream.split());
        }
    }

    /// Follows an electron until it stops or leaves.
    ///
    /// Losses below the cut-offs are continuous, and all deflections that come with them are one at a random point of each
    /// step (the random hinge of Fernández-Varea et al. 1993, doi:10.1016/0168-583X(93)95827-R, as in PENELOPE).
    /// A step is a loss of energy, not a length: whatever voxels it crosses, the hinge lies in each as often as the electron
    /// loses energy there, so that no step needs to end where matter changes.
    /// Transfers above the cut-offs are events of their own, drawn along the loss of energy with a constant bound.
    fn electron(&mut self, mut electron: Electron, stream: &mut Stream) {
        let tables = &self.physics.electrons;
        let mut to_hard = stream.exponential() / tables.hard_per_mev;
        while electron.kinetic_mev > ELECTRON_CUTOFF_MEV + 1e-9 {
            let kinetic = electron.kinetic_mev;
            let soft = STEP_MEV.max(STEP_PART * kinetic).min(kinetic - ELECTRON_CUTOFF_MEV);
            let step = soft.min(to_hard);
            let before = step * stream.uniform();
            let voxel = electron.cell.voxel;
            let middle = locate(kinetic - 0.5 * step);
            let mut along = tables.along(self.medium.matter(voxel).composition, middle);
            if self.walk(&mut electron, before, along.stopping_mev) == Walk::Left {
                return;
            }
            if electron.cell.voxel != voxel {
                along = tables.along(self.medium.matter(electron.cell.voxel).composition, middle);
            }
            let length_cm = step / along.stopping_mev;
            let paths = along.transport.map(|per_cm| per_cm * length_cm);
            let half_versine = self.physics.deflections.draw(paths, stream);
            electron.direction = turned(electron.direction, half_versine, azimuth(stream));
            if self.walk(&mut electron, step - before, along.stopping_mev) == Walk::Left {
                return;
            }
            if step < to_hard {
                to_hard -= step;
            } else {
                to_hard = stream.exponential() / tables.hard_per_mev;
                self.hard_event(&mut electron, stream);
            }
        }
        self.tally.deposit(electron.cell.voxel, electron.kinetic_mev);
        if electron.is_positron {
            // At rest: annihilation in flight, of a few per cent of positrons, is left out.
            let direction = isotropic(stream);
            for direction in [direction, direction.map(|d| -d)] {
                let photon = Photon { position: electron.position, direction, energy_mev: ELECTRON_MEV };
                self.waiting.push(Particle::Photon(photon, stream.split()));
            }
        }
    }

    /// Moves an electron straight on until it has lost some energy, which it leaves on its way.
    ///
    /// `stopping_mev` is the loss in a cm of the first voxel's matter at water's electron density.
    fn walk(&mut self, electron: &mut Electron, loss_mev: f64, stopping_mev: f64) -> Walk {
        let (mut left, mut stopping_mev) = (loss_mev, stopping_mev);
        // A face along the direction is never met: behind by nothing, or far.
        let inverse = electron.direction.map(|d| if d == 0.0 { f64::NEG_INFINITY } else { 1.0 / d });
        loop {
            let Cell { at, voxel } = electron.cell;
            let stopping = f64::from(self.medium.matter(voxel).electron) * stopping_mev;
            let (mut nearest, mut axis, mut wall) = (f64::INFINITY, 0, 0.0);
            for n in 0..3 {
                let face = at[n] + u32::from(electron.direction[n] > 0.0);
                let face_cm = f64::from(face) * self.medium.spacing_cm[n];
                let distance = (face_cm - electron.position[n]) * inverse[n];
                if distance < nearest {
                    (nearest, axis, wall) = (distance, n, face_cm);
                }
            }
            let nearest = nearest.max(0.0);
            if left <= stopping * nearest {
                advance(&mut electron.position, electron.direction, left / stopping);
                self.tally.deposit(voxel, left);
                electron.kinetic_mev -= left;
                return Walk::Inside;
            }
            let lost = stopping * nearest;
            advance(&mut electron.position, electron.direction, nearest);
            electron.position[axis] = wall;
            self.tally.deposit(voxel, lost);
            electron.kinetic_mev -= lost;
            left -= lost;
            let next = if electron.direction[axis] > 0.0 { at[axis] + 1 } else { at[axis].wrapping_sub(1) };
            if next as usize >= self.medium.size[axis] {
                let rest = if electron.is_positron { 2.0 * ELECTRON_MEV } else { 0.0 };
                self.tally.escape(electron.kinetic_mev + rest);
                return Walk::Left;
            }
            electron.cell.at[axis] = next;
            electron.cell.voxel = self.medium.voxel(electron.cell.at);
            let composition = self.medium.matter(electron.cell.voxel).composition;
            let middle = locate(electron.kinetic_mev - 0.5 * left);
            stopping_mev = self.physics.electrons.stopping_mev(composition, middle);
        }
    }

    /// Perhaps a knock-on electron or a photon of bremsstrahlung.
    fn hard_event(&mut self, electron: &mut Electron, stream: &mut Stream) {
        let kinetic = electron.kinetic_mev;
        if kinetic <= ELECTRON_CUTOFF_MEV {
            return;
        }
        let tables = &self.physics.electrons;
        let matter = self.medium.matter(electron.cell.voxel);
        let along = tables.along(matter.composition, locate(kinetic));
        let at = stream.uniform() * tables.hard_per_mev * along.stopping_mev;
        if at < along.knock_ons {
            let lost = knock_on(kinetic, stream);
            let [cos, sin] = azimuth(stream);
            let knocked =
                (lost * (kinetic + 2.0 * ELECTRON_MEV) / (kinetic * (lost + 2.0 * ELECTRON_MEV))).sqrt();
            let direction = turned(electron.direction, 0.5 * (1.0 - knocked), [-cos, -sin]);
            let other = Electron { direction, kinetic_mev: lost, is_positron: false, ..*electron };
            self.waiting.push(Particle::Electron(other, stream.split()));
            let half_versine = deflection_of_loss(kinetic, lost);
            electron.direction = turned(electron.direction, half_versine, [cos, sin]);
            electron.kinetic_mev -= lost;
        } else if at < along.knock_ons + along.photons {
            let energy_mev = radiated(kinetic, stream);
            let half_versine = emission(kinetic, stream);
            let direction = turned(electron.direction, half_versine, azimuth(stream));
            let photon = Photon { position: electron.position, direction, energy_mev };
            self.waiting.push(Particle::Photon(photon, stream.split()));
            electron.kinetic_mev -= energy_mev;
        }
    }
}

/// The energy of a knock-on electron above the cut-off: 1/ε² and a rejection for the rest of Møller's cross section.
fn knock_on(kinetic_mev: f64, stream: &mut Stream) -> f64 {
    // ε² times the cross section is 9/4 at most, where ε is a half.
    const MOST: f64 = 2.25;
    let (least, most) = (ELECTRON_CUTOFF_MEV / kinetic_mev, 0.5);
    loop {
        let part = 1.0 / (1.0 / least - stream.uniform() * (1.0 / least - 1.0 / most));
        if MOST * stream.uniform() < part * part * moller(part, kinetic_mev) {
            return part * kinetic_mev;
        }
    }
}

/// The energy of a photon of bremsstrahlung above the cut-off: 1/k and a rejection for 1 - x + 3/4 x².
fn radiated(kinetic_mev: f64, stream: &mut Stream) -> f64 {
    let width = (kinetic_mev / PHOTON_CUTOFF_MEV).ln();
    loop {
        let x = (-stream.uniform() * width).exp();
        if stream.uniform() < 1.0 - x + 0.75 * x * x {
            return x * kinetic_mev;
        }
    }
}

#[inline]
fn advance(position: &mut [f64; 3], direction: [f64; 3], distance_cm: f64) {
    for axis in 0..3 {
        position[axis] += distance_cm * direction[axis];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DensityVolume;
    use crate::monte_carlo::constants::{beta_squared, momentum_mev};
    use crate::monte_carlo::material::WATER;
    use crate::monte_carlo::tally::STEPS_PER_MEV;
    use synthct_image::{Grid, PointLps, Volume};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// Layers across z, wide enough that nothing leaves sideways; mass and electron density by depth in cm.
    fn layers(
        n: usize,
        thick_cm: f64,
        densities: impl Fn(f64) -> [f32; 2] + Sync,
    ) -> Result<Medium, Box<dyn std::error::Error>> {
        let thick_mm = 10.0 * thick_cm;
        let grid =
            Grid::axis_aligned([1, 1, n], [1e5, 1e5, thick_mm], PointLps::new(0.0, 0.0, 0.5 * thick_mm))?;
        let of = |which: usize| Volume::from_point_fn(&grid, |point| densities(0.1 * point.z)[which]);
        Ok(Medium::new(&DensityVolume::new(of(0), of(1))?))
    }

    #[test]
    fn photons_are_attenuated_exponentially_through_layers() -> TestResult {
        let densities = |depth_cm: f64| match depth_cm {
            2.0..4.0 => [1.85, 1.737],
            4.0..9.0 => [0.26, 0.2575],
            _ => [1.0, 1.0],
        };
        let medium = layers(24, 0.5, densities)?;
        let physics = Physics::new(6.0);
        let majorant = medium.majorant(&physics.photons);
        let shower = Shower::new(&physics, &medium, &majorant);
        for energy_mev in [0.05, 1.25] {
            let n = 100_000_u32;
            let mut beyond = [0_u32; 25];
            for history in 0..n {
                let position = [5e3, 5e3, 1e-9];
                let mut photon = Photon { position, direction: [0.0, 0.0, 1.0], energy_mev };
                let mut stream = Stream::of_history(9, u64::from(history));
                let reached = match shower.flight(&mut photon, &mut stream) {
                    Some((cell, _)) => cell.at[2] as usize,
                    None => 24,
                };
                beyond[..=reached].iter_mut().for_each(|count| *count += 1);
            }
            let mut depth = 0.0_f64;
            for (layer, count) in beyond.iter().enumerate() {
                let expected = (-depth).exp();
                let found = f64::from(*count) / f64::from(n);
                let sigma = (expected * (1.0 - expected) / f64::from(n)).sqrt();
                assert!(
                    (found - expected).abs() <= 4.0 * sigma + 1e-9,
                    "{energy_mev} MeV, layer {layer}: {found} {expected}"
                );
                if layer < 24 {
                    let matter = medium.matter(layer);
                    let total = physics.photons.total_per_cm(matter.composition, locate(energy_mev));
                    depth += 0.5 * f64::from(matter.electron * total);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn electrons_reach_their_range() -> TestResult {
        let thick_cm = 0.05;
        let medium = layers(80, thick_cm, |_| [1.0, 1.0])?;
        let physics = Physics::new(6.0);
        let majorant = medium.majorant(&physics.photons);
        let mut shower = Shower::new(&physics, &medium, &majorant);
        let n = 20_000;
        for history in 0..n {
            let position = [5e3, 5e3, 0.0];
            let cell = Cell { at: [0; 3], voxel: 0 };
            let electron =
                Electron { position, direction: [0.0, 0.0, 1.0], cell, kinetic_mev: 6.0, is_positron: false };
            shower.electron(electron, &mut Stream::of_history(10, history));
        }
        // Bremsstrahlung waits and is not followed: the electrons alone.
        shower.waiting.retain(|particle| matches!(particle, Particle::Electron(..)));
        while let Some(Particle::Electron(electron, mut stream)) = shower.waiting.pop() {
            shower.electron(electron, &mut stream);
            shower.waiting.retain(|particle| matches!(particle, Particle::Electron(..)));
        }
        let dose: Vec<f64> = shower.tally.voxels.iter().map(|steps| *steps as f64 / STEPS_PER_MEV).collect();
        // The range of NIST ESTAR, 3.052 cm, is that of mean losses: only the few electrons that lose less go farther.
        let beyond: f64 = dose[62..].iter().sum();
        assert!(beyond < 1e-3 * dose.iter().sum::<f64>(), "{beyond}");
        // The practical range: the tangent at the steepest place meets zero where ICRU Report 35 says,
        // E = 0.22 + 1.98 R + 0.0025 R².
        let (steepest, slope) = (2..78)
            .map(|at| (at, (dose[at - 2] - dose[at + 2]) / 4.0))
            .fold((0, 0.0), |most, next| if next.1 > most.1 { next } else { most });
        let practical = (steepest as f64 + 0.5 + dose[steepest] / slope) * thick_cm;
        let energy = 0.22 + 1.98 * practical + 0.0025 * practical * practical;
        assert!((energy / 6.0 - 1.0).abs() < 0.04, "practical range {practical} cm");
        Ok(())
    }

    #[test]
    fn first_electrons_lay_down_energy_as_edknrc_says() -> TestResult {
        // Parts of a 2 MeV photon's energy that the electrons of its first interaction leave within radii in cm of it, in
        // water: EDKnrc of EGSnrc, 400,000 photons.
        const RADII: [(f64, f64); 5] =
            [(0.2, 0.1990), (0.3, 0.2901), (0.4, 0.3740), (0.5, 0.4454), (2.0, 0.5282)];
        const SIDE: usize = 101;
        let grid = Grid::axis_aligned([SIDE; 3], [0.2; 3], PointLps::new(0.1, 0.1, 0.1))?;
        let water = || Volume::filled(&grid, 1.0);
        let medium = Medium::new(&DensityVolume::new(water(), water())?);
        let physics = Physics::new(2.0);
        let majorant = medium.majorant(&physics.photons);
        let mut shower = Shower::new(&physics, &medium, &majorant);
        let middle = [0.5 * 0.02 * SIDE as f64; 3];
        let cell = medium.cell(middle).ok_or("outside")?;
        let (n, energy_mev, ahead) = (40_000, 2.0, [0.0, 0.6, 0.8]);
        for history in 0..n {
            let mut stream = Stream::of_history(12, history);
            let kind = physics.photons.kind(WATER as f32, locate(energy_mev), stream.uniform());
            match kind {
                Interaction::Compton => {
                    let [_, electron] = compton(energy_mev, ahead, &mut stream);
                    shower.release(electron, false, middle, cell, &mut stream);
                }
                Interaction::Pair => {
                    let [electron, positron] = pair(energy_mev, ahead, &mut stream);
                    shower.release(electron, false, middle, cell, &mut stream);
                    shower.release(positron, true, middle, cell, &mut stream);
                }
                Interaction::Photoelectric => {
                    let all = Scattered { energy_mev, direction: ahead };
                    shower.release(all, false, middle, cell, &mut stream);
                }
            }
            while let Some(particle) = shower.waiting.pop() {
                if let Particle::Electron(electron, mut stream) = particle {
                    shower.electron(electron, &mut stream);
                }
            }
        }
        let mut all: Vec<(f64, f64, f64)> = Vec::new();
        for (radius_cm, expected) in RADII {
            let mut steps = 0_u64;
            for (voxel, deposited) in shower.tally.voxels.iter().enumerate() {
                let at = [voxel % SIDE, voxel / SIDE % SIDE, voxel / SIDE / SIDE];
                let square: f64 = std::iter::zip(at, middle)
                    .map(|(at, middle)| ((at as f64 + 0.5) * 0.02 - middle).powi(2))
                    .sum();
                steps += if square < radius_cm * radius_cm { *deposited } else { 0 };
            }
            all.push((radius_cm, steps as f64 / STEPS_PER_MEV / (n as f64 * energy_mev), expected));
        }
        let is_off = |(_, found, expected): &(f64, f64, f64)| (found / expected - 1.0).abs() > 0.02;
        assert!(!all.iter().any(is_off), "radii in cm, found, expected: {all:.4?}");
        Ok(())
    }

    #[test]
    fn multiple_scattering_is_as_wide_as_molieres() {
        // The angle at which the distribution has fallen to 1/e, in ten steps of one thickness: χ_c √(B - 1.2).
        let physics = Physics::new(7.0);
        let (energy, thick_cm, steps) = (6.0, 0.25, 10);
        let along = physics.electrons.along(WATER as f32, locate(energy));
        let paths = along.transport.map(|per_cm| per_cm * thick_cm / f64::from(steps));
        let mut stream = Stream::of_history(11, 1);
        let n = 400_000;
        let width = 0.01;
        let mut rings = [0.0_f64; 100];
        for _ in 0..n {
            let mut direction = [0.0, 0.0, 1.0];
            for _ in 0..steps {
                let half_versine = physics.deflections.draw(paths, &mut stream);
                direction = turned(direction, half_versine, azimuth(&mut stream));
            }
            let angle = direction[0].hypot(direction[1]).atan2(direction[2]);
            if let Some(ring) = rings.get_mut((angle / width) as usize) {
                *ring += 1.0;
            }
        }
        let density: Vec<f64> = rings.iter().enumerate().map(|(n, count)| count / (n as f64 + 0.5)).collect();
        // The middle by a fit of four rings, each of which holds thousands.
        let middle = density[..4].iter().sum::<f64>() / 4.0;
        let found =
            density.iter().position(|d| *d < middle / std::f64::consts::E).unwrap_or(0) as f64 * width;
        // Bethe (1953): χ_c² = 0.157 Σ Z(Z+1)/A t/(pβ)², electrons' part of it to the cut-off left whole.
        let (mut charge, mut logarithm) = (0.0, 0.0);
        let beta2 = beta_squared(energy);
        for (z, a, fraction) in [(1.0_f64, 1.007_94, 0.111_894), (8.0, 15.999_4, 0.888_106)] {
            let weight = fraction * z * (z + 1.0) / a;
            let chi_alpha2 = (3.728e-3 * z.cbrt() / momentum_mev(energy)).powi(2)
                * (1.13 + 3.76 * (z / 137.036_f64).powi(2) / beta2);
            charge += weight;
            logarithm += weight * chi_alpha2.ln();
        }
        let chi_c2 = 0.157 * charge * thick_cm / (momentum_mev(energy).powi(2) * beta2);
        let b = (chi_c2 / 1.167 / (logarithm / charge).exp()).ln();
        let big_b = (0..50).fold(b, |big: f64, _| b + big.ln());
        let expected = (chi_c2 * (big_b - 1.2)).sqrt();
        assert!((found / expected - 1.0).abs() < 0.06, "{found} beside {expected}");
    }
}
