//! Structural similarity with a chosen window, as scikit-image defines it.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};

use crate::EvalError;
use crate::inputs::{Sum, require_all_finite, require_grid};
use crate::window::{Stack, Window, each_row};

/// The largest window edge, voxels: far beyond any use, and small enough for 32-bit arithmetic of its volume.
const MAX_WINDOW: usize = 101;

/// Which voxels about a voxel count, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SsimWindow {
    /// A cube of equal weights.
    Uniform {
        /// The cube's edge in voxels.
        size: usize,
    },
    /// A Gaussian.
    Gaussian {
        /// The standard deviation in voxels.
        sigma: f64,
        /// Where it is cut off, in standard deviations, rounded to voxels.
        truncate: f64,
    },
}

/// How [`ssim`] compares.
///
/// | field | unit | default | allowed | source of the presets |
/// |---|---|---|---|---|
/// | `window` | voxels | none | an odd edge from 3 to 101; sigma and truncate above zero | scikit-image 0.26; Wang et al. 2004 |
/// | `sample_covariance` | - | none | - | scikit-image: true; Wang et al.: false |
/// | `data_range` | that of the images | none | above zero | required: no default is right for HU |
/// | `k1`, `k2` | - | 0.01, 0.03 | above zero | Wang et al. 2004 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SsimConfig {
    /// The window.
    pub window: SsimWindow,
    /// Whether (co)variances are those of a sample: n / (n − 1) times as large, n the voxels of the window.
    pub sample_covariance: bool,
    /// R, the distance between the smallest and the largest possible value.
    pub data_range: f64,
    /// C1 = (`k1` R)².
    pub k1: f64,
    /// C2 = (`k2` R)².
    pub k2: f64,
}

impl SsimConfig {
    /// scikit-image's default: a uniform 7³ window and sample covariances.
    pub fn scikit_image(data_range: f64) -> Self {
        Self {
            window: SsimWindow::Uniform { size: 7 },
            sample_covariance: true,
            data_range,
            k1: 0.01,
            k2: 0.03,
        }
    }

    /// The window of Wang et al. (2004): a Gaussian of sigma 1.5 in 11³ voxels.
    ///
    /// In scikit-image: `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.
    pub fn wang2004(data_range: f64) -> Self {
        Self {
            window: SsimWindow::Gaussian { sigma: 1.5, truncate: 3.5 },
            sample_covariance: false,
            ..Self::scikit_image(data_range)
        }
    }

    /// Every unusable field at once.
    fn validated(&self) -> Result<Window, EvalError> {
        let mut problems = Vec::new();
        let mut require_positive = |name: &str, value: f64| {
            if !(value.is_finite() && value > 0.0) {
                problems.push(format!("`{name}` is {value}, but must be finite and above zero"));
            }
        };
        require_positive("data_range", self.data_range);
        require_positive("k1", self.k1);
        require_positive("k2", self.k2);
        match self.window {
            SsimWindow::Uniform { size } => {
                if !(3..=MAX_WINDOW).contains(&size) || size.is_multiple_of(2) {
                    problems
                        .push(format!("`window.size` is {size}, but must be odd, from 3 to {MAX_WINDOW}"));
                }
            }
            SsimWindow::Gaussian { sigma, truncate } => {
                require_positive("window.sigma", sigma);
                require_positive("window.truncate", truncate);
                let reach = sigma * truncate + 0.5;
                if reach < 1.0 || reach > MAX_WINDOW as f64 / 2.0 {
                    problems.push(format!(
                        "`window.sigma` · `window.truncate` is {}, but the window must have 3 to {MAX_WINDOW} voxels",
                        sigma * truncate
                    ));
                }
            }
        }
        if !problems.is_empty() {
            return Err(EvalError::Config { problems });
        }
        let window = match self.window {
            SsimWindow::Uniform { size } => Window::uniform(size),
            SsimWindow::Gaussian { sigma, truncate } => Window::gaussian(sigma, truncate),
        };
        Ok(if self.sample_covariance { window.with_sample_covariance() } else { window })
    }
}

/// What [`ssim`] finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Ssim {
    /// The mean over the voxels whose window lies within the images.
    pub mean: f64,
    /// The value at every voxel; where the window leaves the images they are mirrored about their faces.
    pub map: Volume<f32>,
}

impl Ssim {
    /// The mean over a region.
    ///
    /// # Errors
    /// [`EvalError::GridMismatch`] or [`EvalError::EmptyMask`].
    pub fn mean_in(&self, mask: &Mask) -> Result<f64, EvalError> {
        require_grid(self.map.grid(), mask.grid(), "mask", "map")?;
        let mut sum = Sum::default();
        for (&value, _) in self.map.as_slice().iter().zip(mask.as_slice()).filter(|&(_, &inside)| inside) {
            sum.total += f64::from(value);
            sum.n += 1;
        }
        sum.mean().ok_or(EvalError::EmptyMask { n_voxels: mask.grid().n_voxels() })
    }
}

/// The structural similarity of two images, voxel by voxel and on average.
///
/// In the window about each voxel, SSIM = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)) with
/// C1 = (k1 R)², C2 = (k2 R)², in 64-bit arithmetic; the images are taken as they are, neither clipped nor masked.
///
/// For the challenges' own definitions see [`ssim_synthrad2023`](crate::ssim_synthrad2023) and
/// [`ms_ssim_synthrad2025`](crate::ms_ssim_synthrad2025).
///
/// # Grid
/// Both share one grid of at least the window's edge on every axis.
///
/// # Errors
/// [`EvalError::Config`], [`EvalError::GridMismatch`], [`EvalError::GridSmallerThanWindow`], and
/// [`EvalError::NotFinite`] for NaN or infinity anywhere.
///
/// # References
/// Wang, Bovik, Sheikh and Simoncelli (2004), doi:10.1109/TIP.2003.819861, eq. 13; scikit-image's
/// `structural_similarity`, which filters 32-bit images in 32-bit arithmetic.
///
/// # Examples
/// ```
/// use synthct_eval::{SsimConfig, ssim};
/// use synthct_image::{Grid, PointLps, Volume};
/// let grid = Grid::axis_aligned([8, 9, 10], [1.0; 3], PointLps::ORIGIN)?;
/// let ct = Volume::from_index_fn(&grid, |index| (100 * (index.i + index.k)) as f32);
/// let sct = ct.map(|hu| hu + 50.0);
/// let similarity = ssim(&ct, &sct, &SsimConfig::scikit_image(2000.0))?;
/// assert!(similarity.mean > 0.9 && similarity.mean < 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ssim(ct: &Volume<f32>, sct: &Volume<f32>, config: &SsimConfig) -> Result<Ssim, EvalError> {
    let window = config.validated()?;
    require_grid(ct.grid(), sct.grid(), "sct", "ct")?;
    require_all_finite(ct, "ct")?;
    require_all_finite(sct, "sct")?;
    let size_ijk = ct.grid().size_ijk();
    if size_ijk.iter().any(|&n| n < window.size()) {
        return Err(EvalError::GridSmallerThanWindow { size_ijk, window: window.size() });
    }
    let constants = [config.k1, config.k2].map(|k| (k * config.data_range).powi(2));
    let shape_kji = ct.grid().shape_kji();
    let x = Stack { shape_kji, values: ct.as_slice() };
    let y = Stack { shape_kji, values: sct.as_slice() };
    let border = window.border();
    let [nk, nj, ni] = shape_kji;
    let mut map = Volume::filled(ct.grid(), 0.0_f32);
    let of_slices: Vec<f64> = (map.as_mut_slice().par_chunks_mut(nj * ni).enumerate())
        .map(|(k, slice)| {
            let mut total = 0.0;
            each_row(&x, &y, &window, k, 0..nj, |row| {
                let is_inner = |at: usize, n: usize| (border..n - border).contains(&at);
                let is_inner_row = is_inner(k, nk) && is_inner(row.j, nj);
                for (i, value) in slice[row.j * ni..][..ni].iter_mut().enumerate() {
                    let similarity = row.at(i).similarity(constants);
                    *value = similarity as f32;
                    if is_inner_row && is_inner(i, ni) {
                        total += similarity;
                    }
                }
            });
            total
        })
        .collect();
    let n_inner: usize = shape_kji.iter().map(|n| n - 2 * border).product();
    Ok(Ssim { mean: of_slices.iter().sum::<f64>() / n_inner as f64, map })
}
