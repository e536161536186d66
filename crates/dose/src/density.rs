//! From HU to what photons and electrons meet.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use synthct_image::{ContinuousIndex, Grid, Interpolation, Mask, Volume, resample};

use crate::DoseError;
use crate::table::piecewise;

/// Air around the patient: mass density in g/cm³, and electron density relative to water.
const AIR: [f32; 2] = [0.0012, 0.001_08];

/// One point of a [`DensityCurve`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DensityPoint {
    /// CT number.
    pub hu: f64,
    /// Mass density, g/cm³.
    pub mass_g_per_cm3: f64,
    /// Electron density relative to water.
    pub relative_electron: f64,
}

/// Mass density and relative electron density as functions of HU: linear between points, held beyond the ends.
///
/// Stored points are checked as they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<DensityPoint>", into = "Vec<DensityPoint>")]
pub struct DensityCurve {
    points: Vec<DensityPoint>,
}

impl DensityCurve {
    /// The curve through these points.
    ///
    /// # Errors
    /// [`DoseError::DensityCurve`] unless there are two points or more, all finite, HU rising, both densities above zero
    /// and nowhere falling.
    pub fn new(points: Vec<DensityPoint>) -> Result<Self, DoseError> {
        let wrong = |problem: String| Err(DoseError::DensityCurve { problem });
        if points.len() < 2 {
            return wrong(format!("it has {} points, at least 2 are needed", points.len()));
        }
        for (n, point) in points.iter().enumerate() {
            let densities = [point.mass_g_per_cm3, point.relative_electron];
            if !point.hu.is_finite() || !densities.iter().all(|d| d.is_finite() && *d > 0.0) {
                return wrong(format!(
                    "point {n} is {point:?}, but HU must be finite and densities above zero"
                ));
            }
        }
        for pair in points.windows(2) {
            let rises = pair[1].hu > pair[0].hu
                && pair[1].mass_g_per_cm3 >= pair[0].mass_g_per_cm3
                && pair[1].relative_electron >= pair[0].relative_electron;
            if !rises {
                return wrong(format!("it is not monotone between {} and {} HU", pair[0].hu, pair[1].hu));
            }
        }
        Ok(Self { points })
    }

    /// A continuous generic curve for 120 kVp, without the jumps of stoichiometric tables, which would turn noise into
    /// differences of dose.
    ///
    /// The points lie within the spread of published calibrations of tissue substitutes; they are of no particular
    /// scanner, and ours.
    pub fn generic_120_kvp() -> Self {
        const POINTS: [[f64; 3]; 13] = [
            [-1024.0, 0.0012, 0.0011],
            [-950.0, 0.05, 0.05],
            [-700.0, 0.30, 0.297],
            [-90.0, 0.945, 0.946],
            [0.0, 1.0, 1.0],
            [50.0, 1.055, 1.046],
            [100.0, 1.08, 1.068],
            [250.0, 1.16, 1.13],
            [500.0, 1.31, 1.25],
            [1000.0, 1.61, 1.51],
            [1500.0, 1.91, 1.77],
            [2000.0, 2.12, 1.95],
            [3000.0, 2.80, 2.55],
        ];
        let point = |[hu, mass_g_per_cm3, relative_electron]: [f64; 3]| DensityPoint {
            hu,
            mass_g_per_cm3,
            relative_electron,
        };
        Self { points: POINTS.map(point).to_vec() }
    }

    /// The curve in a comma-separated text: a heading, then HU, mass density in g/cm³, relative electron density.
    ///
    /// # Errors
    /// [`DoseError::DensityCurve`] with the line that is wrong, or as [`DensityCurve::new`].
    pub fn from_csv(text: &str) -> Result<Self, DoseError> {
        let mut points = Vec::new();
        let lines = text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty());
        for (n, line) in lines {
            let fields: Vec<Option<f64>> = line.split(',').map(|field| field.trim().parse().ok()).collect();
            let [Some(hu), Some(mass_g_per_cm3), Some(relative_electron)] = fields[..] else {
                let problem = format!("line {} is not three numbers: `{line}`", n + 1);
                return Err(DoseError::DensityCurve { problem });
            };
            points.push(DensityPoint { hu, mass_g_per_cm3, relative_electron });
        }
        Self::new(points)
    }

    /// The points.
    pub fn points(&self) -> &[DensityPoint] {
        &self.points
    }

    /// Mass density in g/cm³ and relative electron density.
    fn at(&self, hu: f64) -> [f32; 2] {
        let of =
            piecewise(&self.points, hu, |point| (point.hu, [point.mass_g_per_cm3, point.relative_electron]));
        of.map(|value| value as f32)
    }
}

impl TryFrom<Vec<DensityPoint>> for DensityCurve {
    type Error = DoseError;
    fn try_from(points: Vec<DensityPoint>) -> Result<Self, DoseError> {
        Self::new(points)
    }
}

impl From<DensityCurve> for Vec<DensityPoint> {
    fn from(curve: DensityCurve) -> Self {
        curve.points
    }
}

/// What beams travel through, on the dose grid.
#[derive(Clone, Debug)]
pub struct DensityVolume {
    mass_g_per_cm3: Volume<f32>,
    relative_electron: Volume<f32>,
}

impl DensityVolume {
    /// The densities of a CT on a dose grid, with air outside the body.
    ///
    /// HU become densities on the CT's grid, which are then averaged over each voxel of the dose grid (over trilinear
    /// samples no farther apart than the CT's voxels); what the CT does not cover is air.
    /// The body decides on the CT's grid, too, so that couch and accessories outside it do not count.
    ///
    /// # Grid
    /// `body` shares the CT's grid.
    ///
    /// # Errors
    /// [`DoseError::Image`] if the grids differ, [`DoseError::NotFinite`] for HU inside the body.
    pub fn from_ct(
        ct_hu: &Volume<f32>,
        body: &Mask,
        curve: &DensityCurve,
        dose_grid: &Grid,
    ) -> Result<Self, DoseError> {
        ct_hu.grid().require_match(body.grid())?;
        let bad = || {
            std::iter::zip(ct_hu.as_slice(), body.as_slice()).map(|(hu, inside)| *inside && !hu.is_finite())
        };
        if let Some(first) = bad().position(|bad| bad) {
            let [ni, nj, _] = ct_hu.grid().size_ijk();
            let first_kji = [first / (ni * nj), first / ni % nj, first % ni];
            return Err(DoseError::NotFinite { count: bad().filter(|bad| *bad).count(), first_kji });
        }
        let of = |which: usize| {
            let on_ct = ct_hu.zip_map(body.volume(), |&hu, &inside| {
                if inside { curve.at(f64::from(hu))[which] } else { AIR[which] }
            })?;
            averaged(&on_ct, dose_grid, AIR[which])
        };
        Ok(Self { mass_g_per_cm3: of(0)?, relative_electron: of(1)? })
    }

    /// Densities that are already known: mass density in g/cm³ and electron density relative to water.
    ///
    /// # Errors
    /// [`DoseError::Image`] if the grids differ; [`DoseError::Setting`] for a density that is not finite and above zero.
    pub fn new(mass_g_per_cm3: Volume<f32>, relative_electron: Volume<f32>) -> Result<Self, DoseError> {
        mass_g_per_cm3.grid().require_match(relative_electron.grid())?;
        for (name, volume) in [("mass density", &mass_g_per_cm3), ("electron density", &relative_electron)] {
            if let Some(&value) = volume.as_slice().iter().find(|v| !(v.is_finite() && **v > 0.0)) {
                let value = f64::from(value);
                return Err(DoseError::Setting {
                    name,
                    value,
                    allowed: "finite and above zero in every voxel",
                });
            }
        }
        Ok(Self { mass_g_per_cm3, relative_electron })
    }

    /// The means of pairs of voxels along each axis, on a grid of half as many; a last one without a pair stands alone.
    pub(crate) fn halved(&self) -> Result<Self, DoseError> {
        let grid = self.grid();
        let size = grid.size_ijk();
        let half = Grid::new(
            size.map(|n| n.div_ceil(2)),
            grid.spacing_mm().map(|spacing| 2.0 * spacing),
            grid.lps_from_index(ContinuousIndex::new(0.5, 0.5, 0.5)),
            *grid.direction(),
        )?;
        let of = |volume: &Volume<f32>| {
            Volume::from_index_fn(&half, |at| {
                let pair = |n: usize, size: usize| 2 * n..(2 * n + 2).min(size);
                let (mut sum, mut n) = (0.0, 0.0);
                for k in pair(at.k, size[2]) {
                    for j in pair(at.j, size[1]) {
                        for i in pair(at.i, size[0]) {
                            sum += volume.as_slice()[(k * size[1] + j) * size[0] + i];
                            n += 1.0;
                        }
                    }
                }
                sum / n
            })
        };
        Ok(Self { mass_g_per_cm3: of(&self.mass_g_per_cm3), relative_electron: of(&self.relative_electron) })
    }

    /// The dose grid.
    pub const fn grid(&self) -> &Grid {
        self.mass_g_per_cm3.grid()
    }

    /// Mass density, g/cm³.
    pub const fn mass_g_per_cm3(&self) -> &Volume<f32> {
        &self.mass_g_per_cm3
    }

    /// Electron density relative to water.
    pub const fn relative_electron(&self) -> &Volume<f32> {
        &self.relative_electron
    }
}

/// The mean of a volume over each voxel of another grid.
fn averaged(volume: &Volume<f32>, target: &Grid, outside: f32) -> Result<Volume<f32>, DoseError> {
    const MOST_SAMPLES: usize = 8;
    let finest = volume.grid().spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    let samples =
        target.spacing_mm().map(|spacing| ((spacing / finest).ceil() as usize).clamp(1, MOST_SAMPLES));
    if samples == [1; 3] {
        return Ok(resample(volume, target, None, Interpolation::Linear, outside)?);
    }
    // Sub-samples lie on grids shifted by parts of a voxel, each of which is a resampling of its own.
    let mut sum = Volume::filled(target, 0.0_f32);
    let part = |sample: usize, n: usize| (sample as f64 + 0.5) / n as f64 - 0.5;
    for k in 0..samples[2] {
        for j in 0..samples[1] {
            for i in 0..samples[0] {
                let origin = target.lps_from_index(ContinuousIndex::new(
                    part(i, samples[0]),
                    part(j, samples[1]),
                    part(k, samples[2]),
                ));
                let shifted = Grid::new(target.size_ijk(), target.spacing_mm(), origin, *target.direction())?;
                let values = resample(volume, &shifted, None, Interpolation::Linear, outside)?;
                sum.as_mut_slice()
                    .par_iter_mut()
                    .zip(values.as_slice())
                    .for_each(|(sum, value)| *sum += value);
            }
        }
    }
    let n = samples.iter().product::<usize>() as f32;
    Ok(sum.map(|value| value / n))
}
