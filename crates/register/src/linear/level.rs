//! Both images at one spacing, and the points at which they are compared.

use synthct_image::{Mask, Volume};

use super::metric::AffineInformation;
use super::samples::{FixedSamples, IndexMap, Region};
use crate::RegisterError;
use crate::histogram::Binning;
use crate::pyramid::{block_means, shrink_factors};

/// A fixed or moving image, as a registration is given it.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) volume: &'a Volume<f32>,
    pub(crate) mask: Option<&'a Mask>,
    /// The values between which its bins lie.
    pub(crate) window: [f32; 2],
}

/// Both images at one spacing, and the points at which they are compared.
pub(crate) struct Level<'a> {
    pub(crate) spacing_mm: f64,
    pub(crate) fixed: Volume<f32>,
    pub(crate) moving: Volume<f32>,
    pub(crate) samples: FixedSamples,
    moving_mask: Option<&'a Mask>,
    moving_binning: Binning,
    /// How much of the fixed samples the moving image could cover at best, by volume.
    largest_overlap: f64,
}

impl<'a> Level<'a> {
    /// The part of the largest possible overlap that a transform must keep.
    const NEEDED_OVERLAP: f64 = 0.3;

    /// The images at about `spacing_mm`, and at most `n_samples` points in the fixed mask.
    ///
    /// Images are not smoothed beyond the means of blocks: smoothing draws the edges of convex bodies inwards by an
    /// amount that depends on the contrast, which a scale then makes up for.
    pub(crate) fn new(
        fixed: Input<'_>,
        moving: Input<'a>,
        spacing_mm: f64,
        n_samples: usize,
        bins: usize,
        seed: u64,
    ) -> Result<Self, RegisterError> {
        let shrunk = |input: Input<'_>| {
            block_means(input.volume, shrink_factors(input.volume.grid(), spacing_mm), input.window)
        };
        let (fixed_level, moving_level) = rayon::join(|| shrunk(fixed), || shrunk(moving));
        let (fixed_level, moving_level) = (fixed_level?, moving_level?);
        let part_inside = |input: &Input<'_>| {
            input.mask.map_or(1.0, |mask| mask.count() as f64 / mask.grid().n_voxels() as f64)
        };
        let fixed_part = part_inside(&fixed);
        let region = fixed.mask.map(|mask| located(mask, &fixed_level));
        let n_wanted = n_samples.min((fixed_level.grid().n_voxels() as f64 * fixed_part).ceil() as usize);
        // Ten samples or so for each pair of bins.
        let bins = bins.min(((n_wanted as f64 / 8.0).sqrt() as usize).max(8));
        let binning = Binning::new(fixed.window, bins);
        let samples = FixedSamples::draw(&fixed_level, &binning, region, fixed_part, n_wanted, seed);
        let volume_mm3 = |input: &Input<'_>, part: f64| {
            let grid = input.volume.grid();
            part * grid.n_voxels() as f64 * grid.voxel_volume_mm3()
        };
        let largest_overlap = volume_mm3(&moving, part_inside(&moving)) / volume_mm3(&fixed, fixed_part);
        Ok(Self {
            spacing_mm,
            fixed: fixed_level,
            moving: moving_level,
            samples,
            moving_mask: moving.mask,
            moving_binning: Binning::new(moving.window, bins),
            largest_overlap: largest_overlap.min(1.0),
        })
    }

    /// The metric on this level, with a weight for the moving image's own entropy.
    pub(crate) fn information(&self, moving_weight: f64) -> AffineInformation<'_> {
        let mask = self.moving_mask.map(|mask| located(mask, &self.moving));
        AffineInformation::new(&self.samples, &self.moving, mask, self.moving_binning, moving_weight)
    }

    /// The fraction of the samples that must lie in the moving image.
    pub(crate) fn needed_overlap(&self) -> f64 {
        Self::NEEDED_OVERLAP * self.largest_overlap
    }

    /// The number of samples that must lie in the moving image.
    pub(crate) fn min_inside(&self) -> usize {
        (self.needed_overlap() * self.samples.len() as f64).ceil().max(1.0) as usize
    }
}

/// A mask, with the way to its indices from those of a volume.
pub(crate) fn located<'a>(mask: &'a Mask, volume: &Volume<f32>) -> (Region<'a>, IndexMap) {
    (Region::new(mask), IndexMap::between(volume.grid(), mask.grid()))
}
