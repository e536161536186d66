//! Intensities of a cohort on one scale, by the landmarks of their histograms.

use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};

use crate::PrepError;
use crate::percentiles::percentiles;

/// Which landmarks Nyúl's method looks at, and where the outermost come to lie.
///
/// | field | unit | [`NyulConfig::intensity_normalization`] | allowed |
/// |---|---|---|---|
/// | `percentiles` | % | 1, 10, 20, …, 90, 99 | two or more in [0, 100], ascending |
/// | `output_range` | – | 1 to 100 | finite, ascending |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NyulConfig {
    /// The percentiles of an image that are its landmarks.
    pub percentiles: Vec<f64>,
    /// Where the first and the last landmark come to lie.
    pub output_range: [f64; 2],
}

impl NyulConfig {
    /// The settings of the Python package intensity-normalization (version 3).
    pub fn intensity_normalization() -> Self {
        let percentiles = vec![1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0];
        Self { percentiles, output_range: [1.0, 100.0] }
    }
}

/// A standard scale in the making: one image of a cohort after another, none of which is kept.
///
/// The landmarks of each image are mapped linearly so that the first and the last meet
/// [`NyulConfig::output_range`]; the standard scale is the mean of the mapped landmarks over the images.
/// The images' order changes it by no more than rounding.
///
/// # References
/// Nyúl, Udupa and Zhang (2000), doi:10.1109/42.836373, in the variant of intensity-normalization 3, which fits one range
/// for all images.
///
/// # Examples
/// ```
/// use synthct_image::{Grid, PointLps, Volume};
/// use synthct_prep::{NyulConfig, NyulFit};
/// let grid = Grid::axis_aligned([30, 4, 5], [1.0, 2.0, 4.0], PointLps::ORIGIN)?;
/// let first = Volume::from_index_fn(&grid, |index| 100.0 + index.i as f32);
/// let second = first.map(|&value| 7.0 * value - 300.0);
/// let mut fit = NyulFit::new(NyulConfig::intensity_normalization())?;
/// for mr in [&first, &second] {
///     fit.add(mr, None)?;
/// }
/// let landmarks = fit.landmarks()?;
/// let [first, second] = [landmarks.apply(&first, None)?, landmarks.apply(&second, None)?];
/// for (a, b) in std::iter::zip(first.as_slice(), second.as_slice()) {
///     assert!((a - b).abs() < 1e-4, "one is a linear map of the other");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NyulFit {
    config: NyulConfig,
    sum: Vec<f64>,
    n_images: usize,
}

impl NyulFit {
    /// A fit without images.
    ///
    /// # Errors
    /// [`PrepError::Nyul`] for a configuration out of its range.
    pub fn new(config: NyulConfig) -> Result<Self, PrepError> {
        require_percentiles(&config.percentiles)?;
        let [low, high] = config.output_range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(PrepError::Nyul { problem: "the output range is not finite and ascending" });
        }
        let sum = vec![0.0; config.percentiles.len()];
        Ok(Self { config, sum, n_images: 0 })
    }

    /// Takes an image's landmarks in: percentiles over the mask or, without one, over the voxels above zero.
    ///
    /// # Errors
    /// [`PrepError::Image`] if the grids differ; [`PrepError::EmptyMask`] or [`PrepError::NothingAboveZero`] if no voxel
    /// counts; [`PrepError::NotFinite`] for one of these that is not finite; [`PrepError::NoContrast`] if the first and
    /// last landmark are equal.
    /// After an error the fit is as before.
    pub fn add(&mut self, mr: &Volume<f32>, mask: Option<&Mask>) -> Result<(), PrepError> {
        let landmarks = image_landmarks(mr, mask, &self.config.percentiles)?;
        let [low, high] = self.config.output_range;
        let (first, last) = (landmarks[0], landmarks[landmarks.len() - 1]);
        let slope = (high - low) / (last - first);
        for (sum, landmark) in self.sum.iter_mut().zip(&landmarks) {
            *sum += low + slope * (landmark - first);
        }
        self.n_images += 1;
        Ok(())
    }

    /// The standard scale of the images so far.
    ///
    /// # Errors
    /// [`PrepError::Nyul`] if there was no image.
    pub fn landmarks(&self) -> Result<NyulLandmarks, PrepError> {
        if self.n_images == 0 {
            return Err(PrepError::Nyul { problem: "no image was added to the fit" });
        }
        let standard_scale = self.sum.iter().map(|sum| sum / self.n_images as f64).collect();
        NyulLandmarks::new(self.config.percentiles.clone(), standard_scale)
    }
}

/// The standard scale of a cohort, to bring any image of its kind onto it.
///
/// Stored landmarks are checked as they are read.
///
/// | field | unit | allowed |
/// |---|---|---|
/// | `percentiles` | % | two or more in [0, 100], ascending |
/// | `standard_scale` | – | one for each percentile; finite, never descending, the last above the first |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct NyulLandmarks {
    percentiles: Vec<f64>,
    standard_scale: Vec<f64>,
}

/// [`NyulLandmarks`] as they were stored, before their values have been looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    percentiles: Vec<f64>,
    standard_scale: Vec<f64>,
}

impl TryFrom<Unchecked> for NyulLandmarks {
    type Error = PrepError;
    fn try_from(Unchecked { percentiles, standard_scale }: Unchecked) -> Result<Self, PrepError> {
        Self::new(percentiles, standard_scale)
    }
}

impl NyulLandmarks {
    /// The scale on which the given percentiles of an image lie at the given values.
    ///
    /// # Errors
    /// [`PrepError::Nyul`] for values out of their range.
    pub fn new(percentiles: Vec<f64>, standard_scale: Vec<f64>) -> Result<Self, PrepError> {
        require_percentiles(&percentiles)?;
        if standard_scale.len() != percentiles.len() {
            return Err(PrepError::Nyul {
                problem: "there is not one value of the standard scale a percentile",
            });
        }
        let is_ascending =
            standard_scale.is_sorted() && standard_scale[0] < standard_scale[standard_scale.len() - 1];
        if !is_ascending || standard_scale.iter().any(|value| !value.is_finite()) {
            return Err(PrepError::Nyul { problem: "the standard scale is not finite and ascending" });
        }
        Ok(Self { percentiles, standard_scale })
    }

    /// The percentiles of an image that are its landmarks.
    pub fn percentiles(&self) -> &[f64] {
        &self.percentiles
    }

    /// Where these percentiles come to lie.
    pub fn standard_scale(&self) -> &[f64] {
        &self.standard_scale
    }

    /// An image on the standard scale.
    ///
    /// The image's own landmarks are its percentiles over the mask or, without one, over the voxels above zero.
    /// Values between two landmarks are mapped linearly between the landmarks' places on the standard scale; below the
    /// first and above the last landmark the outermost lines go on.
    /// Landmarks that coincide (an image of few intensities) leave no line between them; the outermost lines are those
    /// of the outermost landmarks that differ.
    ///
    /// *Every* voxel is mapped, whether inside the mask or not: zero and negative values along the first line, which
    /// mostly makes them small or negative, and NaN stays NaN.
    ///
    /// # Errors
    /// As [`NyulFit::add`].
    pub fn apply(&self, mr: &Volume<f32>, mask: Option<&Mask>) -> Result<Volume<f32>, PrepError> {
        Ok(self.map_of(mr, mask)?.apply(mr))
    }

    /// How the values of an image come onto the standard scale; see [`NyulLandmarks::apply`].
    ///
    /// # Errors
    /// As [`NyulFit::add`].
    pub fn map_of(&self, mr: &Volume<f32>, mask: Option<&Mask>) -> Result<NyulMap, PrepError> {
        let landmarks = image_landmarks(mr, mask, &self.percentiles)?;
        Ok(NyulMap::between(&landmarks, &self.standard_scale))
    }
}

fn require_percentiles(percentiles: &[f64]) -> Result<(), PrepError> {
    let are_inside = percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile));
    if percentiles.len() >= 2 && are_inside && percentiles.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err(PrepError::Nyul { problem: "percentiles must be two or more in [0, 100], ascending" })
    }
}

fn image_landmarks(mr: &Volume<f32>, mask: Option<&Mask>, percents: &[f64]) -> Result<Vec<f64>, PrepError> {
    const WHAT: &str = "Nyúl's normalisation";
    let landmarks = percentiles(mr, mask, percents, WHAT)?;
    if landmarks[0] < landmarks[landmarks.len() - 1] {
        Ok(landmarks)
    } else {
        Err(PrepError::NoContrast { what: WHAT, value: landmarks[0] })
    }
}

/// Lines from the landmarks of one image to a standard scale.
#[derive(Clone, Debug)]
pub struct NyulMap {
    /// The largest value of each line but the last.
    ends: Vec<f32>,
    lines: Vec<Line>,
}

/// y = y₀ + slope · (x − x₀)
#[derive(Clone, Copy, Debug)]
struct Line {
    x0: f64,
    y0: f64,
    slope: f64,
}

impl NyulMap {
    /// The lines between landmarks that ascend, of which at least two differ.
    fn between(from: &[f64], to: &[f64]) -> Self {
        let corners: Vec<(f64, f64)> = std::iter::zip(from.iter().copied(), to.iter().copied()).collect();
        let (mut ends, mut lines) = (Vec::new(), Vec::new());
        for pair in corners.windows(2) {
            let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
            if x0 < x1 {
                ends.push(largest_f32(x1));
                lines.push(Line { x0, y0, slope: (y1 - y0) / (x1 - x0) });
            }
        }
        // The last line has no end.
        ends.pop();
        Self { ends, lines }
    }

    /// A value on the standard scale.
    pub fn at(&self, value: f32) -> f32 {
        // Counting is faster than a search: no branch, and four comparisons at a time.
        let n = self.ends.iter().map(|&end| usize::from(value > end)).sum::<usize>();
        let Line { x0, y0, slope } = self.lines[n];
        (y0 + slope * (f64::from(value) - x0)) as f32
    }

    /// Every voxel on the standard scale.
    pub fn apply(&self, volume: &Volume<f32>) -> Volume<f32> {
        volume.map(|&value| self.at(value))
    }
}

/// The largest `f32` that is not above `limit`, so that x > limit is the same as x > this for every `f32` x.
fn largest_f32(limit: f64) -> f32 {
    let nearest = limit as f32;
    if f64::from(nearest) > limit { nearest.next_down() } else { nearest }
}
