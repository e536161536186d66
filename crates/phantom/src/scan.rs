//! What scanners make of a patient: partial volume, shading, noise and blur.

use rayon::prelude::*;
use synthct_image::{AffineTransform, Grid, PointLps, Volume, gaussian_smooth};

use crate::draws::Draws;
use crate::random::normal_pair;
use crate::signal::SignalTable;
use crate::{PhantomError, Sample, Subject};

/// How much an estimated distance to the skin may overstate the true one.
const DISTANCE_TRUST: f64 = 0.6;

/// The mean of every contrast's signal over each voxel, and with `with_ct` that of the HU.
///
/// Every voxel depends on its own position alone.
pub(crate) fn signals(
    subject: &Subject,
    skin_distance_mm: &Volume<f32>,
    tables: &[SignalTable],
    per_axis: usize,
    with_ct: bool,
) -> (Vec<Volume<f32>>, Option<Volume<f32>>) {
    let n_columns = tables.len() + usize::from(with_ct);
    let grid = skin_distance_mm.grid();
    let distances = skin_distance_mm.as_slice();
    let columns = voxel_means(
        subject,
        grid,
        Some(distances),
        AffineTransform::IDENTITY,
        per_axis,
        n_columns,
        |sample, sums| {
            for (sum, table) in std::iter::zip(&mut *sums, tables) {
                *sum += table.of(sample);
            }
            if with_ct {
                sums[n_columns - 1] += sample.hu;
            }
        },
    );
    let mut volumes: Vec<Volume<f32>> = columns;
    let ct = if with_ct { volumes.pop() } else { None };
    // A magnitude image: the signs of an inversion recovery cancel in a voxel before the magnitude is taken.
    for volume in &mut volumes {
        volume.as_mut_slice().par_iter_mut().for_each(|value| *value = value.abs());
    }
    (volumes, ct)
}

/// The mean HU over each voxel of a grid in the CT's patient space.
pub(crate) fn hounsfield(
    subject: &Subject,
    grid: &Grid,
    mr_from_ct: AffineTransform,
    per_axis: usize,
) -> Option<Volume<f32>> {
    voxel_means(subject, grid, None, mr_from_ct, per_axis, 1, |sample, sums| sums[0] += sample.hu).pop()
}

/// Means over `per_axis`³ samples a voxel; in air far from the skin one sample stands for all.
fn voxel_means(
    subject: &Subject,
    grid: &Grid,
    skin_distances_mm: Option<&[f32]>,
    mr_from_grid: AffineTransform,
    per_axis: usize,
    n_columns: usize,
    add: impl Fn(&Sample, &mut [f64]) + Sync,
) -> Vec<Volume<f32>> {
    let [ni, nj, nk] = grid.size_ijk();
    let matrix = grid.lps_from_index_matrix();
    let origin = grid.origin_lps();
    let point_at = |i: f64, j: f64, k: f64| {
        let [x, y, z] = matrix.apply([i, j, k]);
        mr_from_grid.apply(PointLps::new(origin.x + x, origin.y + y, origin.z + z))
    };
    // Offsets of the samples from the voxel's center, in voxels, symmetric about it.
    let offsets: Vec<f64> = (0..per_axis).map(|n| (n as f64 + 0.5) / per_axis as f64 - 0.5).collect();
    let half_diagonal = 0.5 * grid.spacing_mm().iter().map(|s| s * s).sum::<f64>().sqrt();
    let n_samples = (per_axis * per_axis * per_axis) as f64;
    let rows: Vec<Vec<f32>> = (0..nj * nk)
        .into_par_iter()
        .map(|row| {
            let (j, k) = ((row % nj) as f64, (row / nj) as f64);
            let mut values = Vec::with_capacity(ni * n_columns);
            let mut sums = vec![0.0; n_columns];
            for i in 0..ni {
                sums.fill(0.0);
                let distance_mm = match skin_distances_mm {
                    Some(distances) => f64::from(distances[row * ni + i]),
                    None => subject.skin_distance_mm(point_at(i as f64, j, k)),
                };
                let i = i as f64;
                if distance_mm * DISTANCE_TRUST > half_diagonal {
                    add(&Sample::AIR, &mut sums);
                    values.extend(sums.iter().map(|&sum| sum as f32));
                    continue;
                }
                for dk in &offsets {
                    for dj in &offsets {
                        for di in &offsets {
                            add(&subject.sample(point_at(i + di, j + dj, k + dk)), &mut sums);
                        }
                    }
                }
                values.extend(sums.iter().map(|&sum| (sum / n_samples) as f32));
            }
            values
        })
        .collect();
    (0..n_columns)
        .map(|column| {
            let values =
                rows.iter().flat_map(|row| row.iter().skip(column).step_by(n_columns).copied()).collect();
            Volume::from_vec(grid.clone(), values).expect("because every row has one value a voxel")
        })
        .collect()
}

/// The B1 field's shading: smooth, a function of position in the scanner, from 1/(1 + a) to 1 + a.
#[derive(Clone, Debug)]
pub(crate) struct BiasField {
    log_amplitude: f64,
    /// Weight, wave vector in 1/mm, phase.
    waves: [(f64, [f64; 3], f64); 4],
}

impl BiasField {
    pub(crate) fn new(draws: &Draws, amplitude: f64) -> Self {
        let mut waves = [0, 1, 2, 3].map(|wave: usize| {
            let name = |what: &str| format!("bias {what} {wave}");
            let cos_polar = draws.uniform(&name("polar"), -1.0, 1.0);
            let azimuth = draws.uniform(&name("azimuth"), 0.0, std::f64::consts::TAU);
            let sin_polar = (1.0 - cos_polar * cos_polar).sqrt();
            let length_mm = draws.uniform(&name("length"), 280.0, 560.0);
            let k = std::f64::consts::TAU / length_mm;
            let vector = [k * sin_polar * azimuth.cos(), k * sin_polar * azimuth.sin(), k * cos_polar];
            let phase = draws.uniform(&name("phase"), 0.0, std::f64::consts::TAU);
            (draws.uniform(&name("weight"), 0.5, 1.0), vector, phase)
        });
        let total: f64 = waves.iter().map(|(weight, ..)| weight).sum();
        for wave in &mut waves {
            wave.0 /= total;
        }
        Self { log_amplitude: amplitude.ln_1p(), waves }
    }

    pub(crate) fn at(&self, point: PointLps) -> f64 {
        let sum: f64 = self
            .waves
            .iter()
            .map(|(weight, k, phase)| {
                weight * (k[0] * point.x + k[1] * point.y + k[2] * point.z + phase).cos()
            })
            .sum();
        (self.log_amplitude * sum).exp()
    }
}

/// Magnitude of the signal with independent normal noise of standard deviation `sigma` in both channels.
///
/// Its value in air has mean σ√(π/2) and variance (2 − π/2)σ² (Gudbjartsson and Patz 1995, doi:10.1002/mrm.1910340618).
pub(crate) fn add_rician_noise(volume: &mut Volume<f32>, sigma: f64, seed: u64) {
    volume.as_mut_slice().par_iter_mut().enumerate().with_min_len(4096).for_each(|(n, value)| {
        let (real, imaginary) = normal_pair(seed, n as u64);
        *value = (f64::from(*value) + sigma * real).hypot(sigma * imaginary) as f32;
    });
}

/// The CT after blur by its point spread function, with noise as correlated as the blur makes it.
///
/// # Errors
/// [`PhantomError::Grid`] if smoothing fails.
pub(crate) fn ct_image(
    mut hu: Volume<f32>,
    psf_fwhm_mm: f64,
    noise_hu: f64,
    seed: u64,
) -> Result<Volume<f32>, PhantomError> {
    let sigma_mm = psf_fwhm_mm / (8.0 * std::f64::consts::LN_2).sqrt();
    // White noise comes out of the blur weaker by √Σw²; it goes in that much stronger.
    let loss: f64 =
        hu.grid().spacing_mm().into_iter().map(|spacing| squared_weights(sigma_mm / spacing)).product();
    let before = noise_hu / loss.sqrt();
    if before > 0.0 {
        hu.as_mut_slice().par_iter_mut().enumerate().with_min_len(4096).for_each(|(n, value)| {
            *value += (before * normal_pair(seed, n as u64).0) as f32;
        });
    }
    let mut blurred = gaussian_smooth(&hu, sigma_mm)?;
    blurred.as_mut_slice().par_iter_mut().for_each(|value| *value = value.clamp(-1024.0, 3071.0));
    Ok(blurred)
}

/// Σw² of the sampled Gaussian of `sigma` voxels, cut at four standard deviations.
fn squared_weights(sigma: f64) -> f64 {
    let radius = (4.0 * sigma + 0.5) as i64;
    let weight = |m: i64| if m == 0 { 1.0 } else { (-0.5 * (m as f64 / sigma).powi(2)).exp() };
    let sum: f64 = (-radius..=radius).map(weight).sum();
    (-radius..=radius).map(|m| (weight(m) / sum).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use synthct_image::ImageError;

    use super::*;

    fn mean_and_sd(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[track_caller]
    fn check(got: f64, expected: f64, relative: f64) {
        assert!((got / expected - 1.0).abs() < relative, "{got} instead of {expected}");
    }

    #[test]
    fn noise_is_rician() -> Result<(), ImageError> {
        let grid = Grid::axis_aligned([60, 60, 60], [1.0; 3], PointLps::ORIGIN)?;
        let sigma = 20.0;
        let mut air = Volume::filled(&grid, 0.0_f32);
        add_rician_noise(&mut air, sigma, 11);
        let (mean, sd) = mean_and_sd(air.as_slice());
        let half_pi = std::f64::consts::FRAC_PI_2;
        check(mean, sigma * half_pi.sqrt(), 0.005);
        check(sd, sigma * (2.0 - half_pi).sqrt(), 0.005);
        let mut tissue = Volume::filled(&grid, 1000.0_f32);
        add_rician_noise(&mut tissue, sigma, 12);
        let (mean, sd) = mean_and_sd(tissue.as_slice());
        // To second order the mean is √(A² + σ²).
        check(mean, 1000.0_f64.hypot(sigma), 1e-4);
        check(sd, sigma, 0.01);
        Ok(())
    }

    #[test]
    fn ct_noise_has_the_asked_strength_whatever_the_blur() -> Result<(), PhantomError> {
        let grid = Grid::axis_aligned([50, 50, 40], [1.0, 1.0, 2.0], PointLps::ORIGIN)?;
        for fwhm_mm in [0.0, 1.5, 4.0] {
            let ct = ct_image(Volume::filled(&grid, 40.0), fwhm_mm, 12.0, 3)?;
            // Away from the edge, where repeated values are smoothed less.
            let inner: Vec<f32> =
                ct.array().slice(synthct_image::ndarray::s![5..35, 8..42, 8..42]).iter().copied().collect();
            let (mean, sd) = mean_and_sd(&inner);
            assert!((mean - 40.0).abs() < 1.0, "mean {mean}");
            check(sd, 12.0, 0.05);
        }
        Ok(())
    }

    #[test]
    fn bias_is_smooth_and_within_its_amplitude() {
        let bias = BiasField::new(&Draws::new(4), 0.3);
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for n in 0..4000 {
            let point = PointLps::new(
                f64::from(n % 20) * 10.0 - 100.0,
                f64::from(n / 20 % 20) * 10.0 - 100.0,
                f64::from(n / 400) * 20.0 - 100.0,
            );
            let here = bias.at(point);
            let beside = bias.at(PointLps::new(point.x + 1.0, point.y, point.z));
            assert!((here / beside - 1.0).abs() < 0.01);
            low = low.min(here);
            high = high.max(here);
        }
        assert!(low >= 1.0 / 1.3 - 1e-12 && high <= 1.3 + 1e-12 && high / low > 1.1, "{low} to {high}");
    }
}
