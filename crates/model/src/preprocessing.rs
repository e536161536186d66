//! From an MR as it was acquired to what a model sees, as data that travel with the model.

use serde::{Deserialize, Serialize};
use synthct_image::{Grid, Interpolation, Mask, Volume, resample};
use synthct_prep::{MrScale, N4Config, PrepError, body_mask_mr, n4};

use crate::{FieldProblem, ModelError, Normalization};

/// How an MR is prepared, in training and prediction alike.
///
/// The steps, in order: the body is found in the first channel; all channels are resampled linearly onto an axis-aligned
/// LPS grid of `spacing_mm` that covers the image (an image that already has that spacing along patient axes is only
/// reordered), zero signal outside; each channel loses its bias field if asked; the grid is cropped to the body and
/// `crop_margin_mm` if given; each channel is normalized with what is inside the body; axial slices are padded with zero
/// signal at their far ends to a multiple of `size_multiple`; `context_slices` neighbours on each side become further
/// channels, the last slice standing for those beyond the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// What each channel is, in order.
    pub channels: Vec<String>,
    /// The orientation of the model grid.
    pub orientation: Orientation,
    /// The spacing of the model grid along patient x, y, z, in mm.
    pub spacing_mm: [f64; 3],
    /// The method that finds the body.
    pub body: BodyMethod,
    /// If given, each channel is corrected by [`synthct_prep::n4`](synthct_prep::n4()) inside the body.
    ///
    /// Packages of before there was a choice have none.
    #[serde(default)]
    pub bias_correction: Option<N4Config>,
    /// The method that brings intensities to one scale.
    pub normalization: Normalization,
    /// If given, the grid is cropped to the body and this margin.
    pub crop_margin_mm: Option<f64>,
    /// Slices are padded to a multiple of this many voxels.
    pub size_multiple: usize,
    /// Slices above and below each slice that a network sees as further channels.
    #[serde(default)]
    pub context_slices: usize,
}

/// The orientation of the model grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Orientation {
    /// Rows run to the patient's left, columns to posterior, slices to superior.
    #[serde(rename = "axial-lps")]
    AxialLps,
}

/// How the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyMethod {
    /// [`synthct_prep::body_mask_mr`] on the first channel.
    #[serde(rename = "mr-first-channel")]
    MrFirstChannel,
}

/// An MR on the model grid, with its intensities not yet on a common scale.
#[derive(Clone, Debug)]
pub(crate) struct PlacedMr {
    /// The model grid, cropped.
    pub(crate) grid: Grid,
    /// The channels on the model grid.
    pub(crate) channels: Vec<Volume<f32>>,
    /// The body as found, on the MR's grid.
    pub(crate) body: Mask,
    /// The body on the model grid.
    pub(crate) body_on_model_grid: Mask,
}

/// An MR as a model sees it.
#[derive(Clone, Debug)]
pub(crate) struct PreparedMr {
    /// The model grid, cropped.
    pub(crate) grid: Grid,
    /// The normalized channels on the model grid.
    pub(crate) channels: Vec<Volume<f32>>,
    /// Where intensities lie after normalization, a channel each.
    pub(crate) scales: Vec<MrScale>,
    /// The body as found, on the MR's grid.
    pub(crate) body: Mask,
    /// The body on the model grid.
    pub(crate) body_on_model_grid: Mask,
}

impl Preprocessing {
    /// Everything that does not fit the values a preprocessing can have.
    pub(crate) fn problems(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        let mut require = |ok: bool, field: &'static str, value: String, allowed: &'static str| {
            if !ok {
                problems.push(FieldProblem { field, value, allowed });
            }
        };
        require(!self.channels.is_empty(), "channels", format!("{:?}", self.channels), "one or more names");
        require(
            self.spacing_mm.iter().all(|s| s.is_finite() && *s > 0.0),
            "spacing_mm",
            format!("{:?}", self.spacing_mm),
            "finite and above zero",
        );
        require(
            self.crop_margin_mm.is_none_or(|margin| margin.is_finite() && margin >= 0.0),
            "crop_margin_mm",
            format!("{:?}", self.crop_margin_mm),
            "finite and zero or more",
        );
        let found = self.bias_correction.as_ref().map(N4Config::problems).unwrap_or_default();
        require(found.is_empty(), "bias_correction", found.join("; "), "usable");
        let problem = self.normalization.problem(self.channels.len());
        require(problem.is_none(), "normalization", problem.unwrap_or_default(), "usable");
        require(self.size_multiple >= 1, "size_multiple", self.size_multiple.to_string(), "one or more");
        problems
    }

    /// The channels of a network's input: each MR channel's slices from the one below to the one above, in the order of
    /// the MR channels.
    pub(crate) fn in_channels(&self) -> usize {
        self.channels.len() * (2 * self.context_slices + 1)
    }

    /// Prepares an MR whose channels are finite and share a grid.
    pub(crate) fn prepare(&self, mr: &[Volume<f32>]) -> Result<PreparedMr, ModelError> {
        Ok(self.place(mr)?.normalized(&self.normalization)?)
    }

    /// The steps before normalization.
    pub(crate) fn place(&self, mr: &[Volume<f32>]) -> Result<PlacedMr, ModelError> {
        let (Some(first), Some(first_name)) = (mr.first(), self.channels.first()) else {
            return Err(ModelError::ChannelCount { channels: self.channels.clone(), found: mr.len() });
        };
        let body = match self.body {
            BodyMethod::MrFirstChannel => body_mask_mr(first)?,
        };
        let Orientation::AxialLps = self.orientation;
        let whole = first.grid().axis_aligned_cover(self.spacing_mm)?;
        let body_on_whole = body.resampled(&whole, None)?;
        let Some((first_voxel, size_ijk)) = body_on_whole.bounding_box() else {
            return Err(ModelError::EmptyBody {
                channel: first_name.clone(),
                grid: Box::new(first.grid().clone()),
            });
        };
        let grid = match self.crop_margin_mm {
            None => whole.clone(),
            Some(margin_mm) => whole.crop_around(first_voxel, size_ijk, margin_mm)?,
        };
        let onto =
            |grid: &Grid, volume: &Volume<f32>| resample(volume, grid, None, Interpolation::Linear, 0.0);
        let mut channels = Vec::with_capacity(mr.len());
        for channel in mr {
            channels.push(match &self.bias_correction {
                None => onto(&grid, channel)?,
                // On the whole model grid, so that neither the order in which voxels are stored nor the crop chooses
                // N4's samples.
                Some(config) => {
                    let placed = onto(&whole, channel)?;
                    onto(&grid, &n4(&placed, &body_on_whole, None, config, &mut |_| ())?.corrected)?
                }
            });
        }
        let body_on_model_grid = body.resampled(&grid, None)?;
        Ok(PlacedMr { grid, channels, body, body_on_model_grid })
    }
}

impl PlacedMr {
    /// The step to a common scale.
    pub(crate) fn normalized(self, normalization: &Normalization) -> Result<PreparedMr, PrepError> {
        let Self { grid, channels, body, body_on_model_grid } = self;
        let normalized = channels.iter().enumerate();
        let normalized = normalized.map(|(n, channel)| normalization.apply(n, channel, &body_on_model_grid));
        let (channels, scales) = normalized.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok(PreparedMr { grid, channels, scales, body, body_on_model_grid })
    }
}

/// The slices around slice `k` of `n_slices`, from `context` below to `context` above; beyond the ends the last ones.
pub(crate) fn neighbors(k: usize, context: usize, n_slices: usize) -> impl Iterator<Item = usize> {
    (0..=2 * context).map(move |n| (k + n).saturating_sub(context).min(n_slices - 1))
}

/// The spacing along patient x, y, z of the grid axes that run most along them, in mm.
pub(crate) fn spacing_along_lps(grid: &Grid) -> [f64; 3] {
    const PERMUTATIONS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let direction = grid.direction();
    // Entry n of a permutation is the grid axis taken for LPS axis n.
    let alignment = |axes: [usize; 3]| -> f64 { (0..3).map(|lps| direction.0[lps][axes[lps]].abs()).sum() };
    let mut best = PERMUTATIONS[0];
    for axes in PERMUTATIONS {
        // A tie at 45° goes to the earlier permutation.
        if alignment(axes) > alignment(best) + 1e-9 {
            best = axes;
        }
    }
    best.map(|axis| grid.spacing_mm()[axis])
}

#[cfg(test)]
mod tests {
    use synthct_image::{ImageError, Matrix3, PointLps};

    use super::*;

    #[test]
    fn neighbors_end_with_the_image() {
        let of = |k, context| neighbors(k, context, 4).collect::<Vec<_>>();
        assert_eq!(of(2, 0), [2]);
        assert_eq!(of(1, 1), [0, 1, 2]);
        assert_eq!(of(0, 2), [0, 0, 0, 1, 2]);
        assert_eq!(of(3, 1), [2, 3, 3]);
    }

    #[test]
    fn spacing_follows_the_axes() -> Result<(), ImageError> {
        let check = |columns: [[f64; 3]; 3], expected: [f64; 3]| -> Result<(), ImageError> {
            let direction = Matrix3::from_columns(columns[0], columns[1], columns[2]);
            let grid = Grid::new([4, 4, 4], [1.0, 2.0, 3.0], PointLps::ORIGIN, direction)?;
            let found = spacing_along_lps(&grid);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{columns:?}: {found:?}");
            Ok(())
        };
        check([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [1.0, 2.0, 3.0])?;
        // Sagittal: i to posterior, j to inferior, k to the right.
        check([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]], [3.0, 1.0, 2.0])?;
        // Coronal, tilted by 20° about x.
        let (s, c) = 20_f64.to_radians().sin_cos();
        check([[1.0, 0.0, 0.0], [0.0, s, -c], [0.0, c, s]], [1.0, 3.0, 2.0])
    }
}
