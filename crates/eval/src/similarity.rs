//! Structural similarity: SSIM of SynthRAD2023 and MS-SSIM of SynthRAD2025.

use rayon::prelude::*;
use synthct_image::{Mask, Volume};

use crate::inputs::check;
use crate::window::{Moments, Stack, Window, masked_window_sum};
use crate::{Definition, EvalError};

/// The window's edge, voxels.
const WINDOW: usize = 7;
/// Half the window, rounded down: the border without a full window.
const BORDER: usize = WINDOW / 2;
const K1: f64 = 0.01;
const K2: f64 = 0.03;
/// The exponents of the five scales, finest first (Wang, Simoncelli and Bovik 2003).
const SCALE_WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
/// The smallest size from which five scales with a 7³ window and a border of 3 leave a voxel.
const SMALLEST_SIZE: usize = 97;

/// The structural similarity index in the definition of SynthRAD2023.
///
/// Both images are clipped to [-1024, 3000] HU, set to -1024 outside the mask and shifted to start at zero.
/// In each 7³ window with uniform weights, SSIM = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)) with
/// sample (co)variances, C1 = (0.01 R)², C2 = (0.03 R)², R = 4024.
/// The result is the mean over the masked voxels at least 3 away from every face.
///
/// # Grid
/// All three share one grid of at least 7 voxels an axis.
///
/// # Errors
/// As [`mae_hu`](crate::mae_hu), and [`EvalError::GridSmallerThanWindow`], and [`EvalError::NoVoxelInsideBorder`] if
/// the mask lies in the border.
///
/// # References
/// Wang, Bovik, Sheikh and Simoncelli (2004), doi:10.1109/TIP.2003.819861, eq. 13; the SynthRAD2023 challenge, which
/// uses scikit-image's `structural_similarity`.
pub fn ssim_synthrad2023(ct: &Volume<f32>, sct: &Volume<f32>, mask: &Mask) -> Result<f64, EvalError> {
    check(ct, sct, mask)?;
    let size_ijk = ct.grid().size_ijk();
    if size_ijk.iter().any(|&n| n < WINDOW) {
        return Err(EvalError::GridSmallerThanWindow { size_ijk, window: WINDOW });
    }
    let definition = Definition::SynthRad2023;
    let [c1, c2] = constants(definition);
    let shape_kji = ct.grid().shape_kji();
    let (ct, sct) = (prepared(ct, mask, definition), prepared(sct, mask, definition));
    let sum = masked_window_sum(
        &Stack { shape_kji, values: &ct },
        &Stack { shape_kji, values: &sct },
        &window(),
        mask.as_slice(),
        |moments| moments.similarity([c1, c2]),
    );
    sum.mean().ok_or(EvalError::NoVoxelInsideBorder { scale: 1, border: BORDER })
}

/// The multi-scale structural similarity index in the definition of SynthRAD2025.
///
/// Both images are clipped to [-1024, 3071] HU, set to -1024 outside the mask, shifted to start at zero, and padded with
/// their edge values to at least 97 voxels an axis, the mask with them.
/// At each of five scales the map is (l · c · s)^w in 7³ windows with uniform weights, where luminance l, contrast c and
/// structure s are clipped at zero, R = 4095, and w = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333; luminance counts at every
/// scale.
/// The scale's value is the mean over the masked voxels at least 3 away from every face, clipped to [0, 1]; the result is
/// the product.
/// Between scales an image is averaged over 2³ voxels, with zeros beyond its first face, and every other voxel is kept;
/// of the mask every other voxel is kept.
///
/// # Grid
/// All three share one grid.
///
/// # Errors
/// As [`mae_hu`](crate::mae_hu), and [`EvalError::NoVoxelInsideBorder`] if the mask has no voxel left at some scale,
/// which happens to masks that are small or far from the middle; the challenge's own program then gives NaN.
///
/// # References
/// Wang, Simoncelli and Bovik (2003), doi:10.1109/ACSSC.2003.1292216, eq. 7, from which the challenge's program departs by
/// the luminance at every scale and the voxel-wise exponents; we follow the challenge.
pub fn ms_ssim_synthrad2025(ct: &Volume<f32>, sct: &Volume<f32>, mask: &Mask) -> Result<f64, EvalError> {
    check(ct, sct, mask)?;
    let definition = Definition::SynthRad2025;
    let constants = constants(definition);
    let shape_kji = ct.grid().shape_kji();
    let mut x = Level { shape_kji, values: prepared(ct, mask, definition) }.padded(SMALLEST_SIZE);
    let mut y = Level { shape_kji, values: prepared(sct, mask, definition) }.padded(SMALLEST_SIZE);
    let mut inside = Level { shape_kji, values: mask.as_slice().to_vec() }.padded(SMALLEST_SIZE);
    let mut product = 1.0;
    for (n, weight) in SCALE_WEIGHTS.into_iter().enumerate() {
        if n > 0 {
            (x, y, inside) = (x.averaged_and_halved(), y.averaged_and_halved(), inside.halved());
        }
        let sum = masked_window_sum(&x.stack(), &y.stack(), &window(), &inside.values, |moments| {
            // The three factors share one exponent, and none is below zero.
            luminance_contrast_structure(moments, constants).powf(weight)
        });
        let mean = sum.mean().ok_or(EvalError::NoVoxelInsideBorder { scale: n + 1, border: BORDER })?;
        product *= mean.clamp(0.0, 1.0);
    }
    Ok(product)
}

/// l · c · s, each clipped at zero.
fn luminance_contrast_structure(m: Moments, [c1, c2]: [f64; 2]) -> f64 {
    let c3 = c2 / 2.0;
    let sigmas = m.variance_x.max(0.0).sqrt() * m.variance_y.max(0.0).sqrt();
    let luminance = (2.0 * m.mean_x * m.mean_y + c1) / (m.mean_x * m.mean_x + m.mean_y * m.mean_y + c1);
    let contrast = (2.0 * sigmas + c2) / (m.variance_x + m.variance_y + c2);
    let structure = (m.covariance + c3) / (sigmas + c3);
    luminance.max(0.0) * contrast.max(0.0) * structure.max(0.0)
}

fn window() -> Window {
    Window::uniform(WINDOW).with_sample_covariance()
}

/// C1 and C2.
fn constants(definition: Definition) -> [f64; 2] {
    [K1, K2].map(|k| (k * definition.dynamic_range_hu()).powi(2))
}

/// HU above the clip's lower end, zero outside the mask.
fn prepared(volume: &Volume<f32>, mask: &Mask, definition: Definition) -> Vec<f64> {
    let [lower, _] = definition.clip_hu();
    (volume.as_slice().par_iter().zip(mask.as_slice()))
        .map(|(&hu, &inside)| if inside { definition.clip(f64::from(hu)) - lower } else { 0.0 })
        .collect()
}

/// An image or mask at one scale.
struct Level<T> {
    shape_kji: [usize; 3],
    values: Vec<T>,
}

impl<T: Copy + Send + Sync> Level<T> {
    fn stack(&self) -> Stack<'_, T> {
        Stack { shape_kji: self.shape_kji, values: &self.values }
    }

    /// Edge values repeated until every axis has `smallest` voxels; an odd one goes behind.
    fn padded(self, smallest: usize) -> Self {
        if self.shape_kji.iter().all(|&n| n >= smallest) {
            return self;
        }
        let shape_kji = self.shape_kji.map(|n| n.max(smallest));
        let before = self.shape_kji.map(|n| smallest.saturating_sub(n) / 2);
        self.gathered(shape_kji, |axis, n| n.saturating_sub(before[axis]).min(self.shape_kji[axis] - 1))
    }

    /// Every other voxel, from the first.
    fn halved(&self) -> Self {
        self.gathered(self.shape_kji.map(|n| n.div_ceil(2)), |_, n| 2 * n)
    }

    /// A stack of another shape whose index `n` on `axis` holds what is at `source(axis, n)`.
    fn gathered(&self, shape_kji: [usize; 3], source: impl Fn(usize, usize) -> usize + Sync) -> Self {
        let [nk, nj, ni] = shape_kji;
        let [_, source_nj, source_ni] = self.shape_kji;
        let values = (0..nk * nj)
            .into_par_iter()
            .flat_map_iter(|row| {
                let start = (source(0, row / nj) * source_nj + source(1, row % nj)) * source_ni;
                let source = &source;
                (0..ni).map(move |i| self.values[start + source(2, i)])
            })
            .collect();
        Self { shape_kji, values }
    }
}

impl Level<f64> {
    /// Every other voxel of the mean of each voxel and its seven neighbours before it, zero beyond the first face: what
    /// convolution with a 2³ box, cut to the 'same' size, gives.
    fn averaged_and_halved(&self) -> Self {
        let shape_kji = self.shape_kji.map(|n| n.div_ceil(2));
        let [nk, nj, ni] = shape_kji;
        let [_, source_nj, source_ni] = self.shape_kji;
        let values = (0..nk * nj)
            .into_par_iter()
            .flat_map_iter(|row| {
                let (k, j) = (2 * (row / nj), 2 * (row % nj));
                (0..ni).map(move |i| {
                    let i = 2 * i;
                    let mut total = 0.0;
                    for k in k.saturating_sub(1)..=k {
                        for j in j.saturating_sub(1)..=j {
                            let start = (k * source_nj + j) * source_ni;
                            for value in &self.values[start + i.saturating_sub(1)..=start + i] {
                                total += value;
                            }
                        }
                    }
                    total / 8.0
                })
            })
            .collect();
        Self { shape_kji, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, PointLps};

    #[test]
    fn padding_puts_the_odd_voxel_behind() {
        let level = Level { shape_kji: [1, 2, 4], values: vec![1, 2, 3, 4, 5, 6, 7, 8] }.padded(5);
        assert_eq!(level.shape_kji, [5, 5, 5]);
        // i: 4 → 5 pads none before; j: 2 → 5 pads one before, two behind.
        let rows = [[1, 2, 3, 4, 4], [1, 2, 3, 4, 4], [5, 6, 7, 8, 8], [5, 6, 7, 8, 8], [5, 6, 7, 8, 8]];
        for k in 0..5 {
            assert_eq!(level.values[k * 25..(k + 1) * 25], rows.concat());
        }
    }

    #[test]
    fn the_first_face_is_averaged_with_zeros() {
        let level = Level { shape_kji: [3, 3, 3], values: vec![8.0; 27] }.averaged_and_halved();
        assert_eq!(level.shape_kji, [2, 2, 2]);
        assert_eq!(level.values, [1.0, 2.0, 2.0, 4.0, 2.0, 4.0, 4.0, 8.0]);
    }

    #[test]
    fn an_image_is_wholly_similar_to_itself() -> Result<(), Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned([15, 20, 11], [1.0, 2.0, 3.0], PointLps::ORIGIN)?;
        let ct =
            Volume::from_index_fn(&grid, |n| ((n.i * 131 + n.j * 57 + n.k * 911) % 4100) as f32 - 1050.0);
        let mask = Mask::full(&grid);
        assert!((ssim_synthrad2023(&ct, &ct, &mask)? - 1.0).abs() < 1e-12);
        assert!((ms_ssim_synthrad2025(&ct, &ct, &mask)? - 1.0).abs() < 1e-12);
        let flipped =
            Volume::from_index_fn(&grid, |n| ct[synthct_image::VoxelIndex::new(14 - n.i, n.j, n.k)]);
        assert!(ssim_synthrad2023(&ct, &flipped, &mask)? < 0.5);
        assert!(ms_ssim_synthrad2025(&ct, &flipped, &mask)? < 0.5);
        Ok(())
    }

    #[test]
    fn masks_and_grids_without_a_window_are_errors() -> Result<(), Box<dyn std::error::Error>> {
        let flat = Grid::axis_aligned([20, 20, 6], [1.0; 3], PointLps::ORIGIN)?;
        let ct = Volume::filled(&flat, 0.0_f32);
        let error = ssim_synthrad2023(&ct, &ct, &Mask::full(&flat));
        assert!(matches!(error, Err(EvalError::GridSmallerThanWindow { .. })));
        let grid = Grid::axis_aligned([20; 3], [1.0; 3], PointLps::ORIGIN)?;
        let ct = Volume::filled(&grid, 0.0_f32);
        let corner = Mask::new(Volume::from_index_fn(&grid, |n| n.i.max(n.j).max(n.k) < 3));
        let error = ssim_synthrad2023(&ct, &ct, &corner);
        assert!(matches!(error, Err(EvalError::NoVoxelInsideBorder { scale: 1, .. })));
        let off_center = Mask::new(Volume::from_index_fn(&grid, |n| n.i == 5 && n.j == 5 && n.k == 5));
        assert!((ssim_synthrad2023(&ct, &ct, &off_center)? - 1.0).abs() < 1e-12);
        let error = ms_ssim_synthrad2025(&ct, &ct, &off_center);
        assert!(matches!(error, Err(EvalError::NoVoxelInsideBorder { .. })));
        Ok(())
    }
}
