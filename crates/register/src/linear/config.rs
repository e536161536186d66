//! Settings of a rigid or affine registration.

use synthct_image::AffineTransform;

use crate::RegisterError;

/// What the transform may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearModel {
    /// Turn and shift: 6 numbers.
    Rigid,
    /// Turn, shift, scale and shear: 12 numbers.
    Affine,
}

impl LinearModel {
    pub(crate) const fn n_parameters(self) -> usize {
        match self {
            Self::Rigid => 6,
            Self::Affine => 12,
        }
    }
}

/// Where the search begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InitialAlignment {
    /// At the best of [`Header`](Self::Header), [`Centers`](Self::Centers), [`Moments`](Self::Moments), the centres of
    /// mass, and rotations that leave none further than 45° away, so that a scan turned by any angle is found.
    Auto,
    /// As the headers place the images: with the identity.
    Header,
    /// With the middles of both grids on each other.
    Centers,
    /// With the centres of mass of the bodies on each other, and their principal axes in any of the four ways.
    Moments,
    /// With this transform, `moving_from_fixed`. A rigid registration turns and shifts it, so scales and shears stay.
    Given(AffineTransform),
}

/// A last level that compares by local correlation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CorrelationLevel {
    /// The spacing of both images, in mm; images shrink by whole numbers and never get finer than they are.
    pub spacing_mm: f64,
    /// How far the boxes reach from their middle voxel along each axis, in mm; across slices that lie further apart they
    /// are one voxel thick.
    pub radius_mm: f64,
}

impl CorrelationLevel {
    /// Images of 2 mm, boxes of 10 mm: of the size of a sulcus and its banks.
    pub const fn standard() -> Self {
        Self { spacing_mm: 2.0, radius_mm: 4.0 }
    }
}

/// Settings of [`register_linear`](crate::register_linear).
///
/// | field | unit | default | allowed |
/// |---|---|---|---|
/// | `model` | – | rigid | |
/// | `init` | – | `Auto` | |
/// | `spacings_mm` | mm | 8, 4, 1 | above zero, falling |
/// | `samples` | points | 400 000 | at least 1000 |
/// | `bins` | – | 64 | 8 to 256 |
/// | `fixed_window`, `moving_window` | the image's | robust range | low below high |
/// | `max_iterations` | steps a level | 60 | at least 1 |
/// | `tolerance_mm` | mm | 0.002 | above zero |
/// | `correlation` | mm | none | [`CorrelationLevel`] of finite lengths above zero |
/// | `seed` | – | 0 | any |
///
/// The defaults come from measurements on head phantoms of known truth (target errors of 0.02 mm rigid and affine
/// at 1.5 mm voxels): half the bins double the error of an affine map, smoothing before the finest level biases its
/// scale, and more samples bring little.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearConfig {
    /// What the transform may do.
    pub model: LinearModel,
    /// Where the search begins.
    pub init: InitialAlignment,
    /// The spacings of the levels, coarsest first. Images shrink by whole numbers and never get finer than they are.
    ///
    /// On the first, all starts are tried; on the second, the best few; the walk itself begins on the second (on the
    /// first, if there is one only). An affine registration is rigid until the last two.
    pub spacings_mm: Vec<f64>,
    /// The most points at which a level compares the images.
    pub samples: usize,
    /// The most bins of the joint histogram on either axis; fewer where the samples are few.
    pub bins: usize,
    /// The fixed values between which bins lie; beyond, values count as the ends. None takes percentiles 0.1 and 99.9,
    /// with values below -1024 (padding of a CT) raised to -1024.
    pub fixed_window: Option<[f32; 2]>,
    /// As `fixed_window`, for the moving image.
    pub moving_window: Option<[f32; 2]>,
    /// The most steps on one level.
    pub max_iterations: usize,
    /// A level ends with a step that moves the samples by less than this, in root mean square (on levels coarser than
    /// 1 mm, in proportion).
    pub tolerance_mm: f64,
    /// If given, local correlation has the last word, in [`LinearConfig::model`]: for MR and MR of different contrast. Mutual
    /// information is more exact for MR and CT, and faster.
    pub correlation: Option<CorrelationLevel>,
    /// Where in their cells the samples lie.
    pub seed: u64,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self {
            model: LinearModel::Rigid,
            init: InitialAlignment::Auto,
            spacings_mm: vec![8.0, 4.0, 1.0],
            samples: 400_000,
            bins: 64,
            fixed_window: None,
            moving_window: None,
            max_iterations: 60,
            tolerance_mm: 0.002,
            correlation: None,
            seed: 0,
        }
    }
}

impl LinearConfig {
    /// Nothing if every setting is usable.
    ///
    /// # Errors
    /// [`RegisterError::Config`] with the first that is not.
    pub(crate) fn check(&self) -> Result<(), RegisterError> {
        let require = |holds: bool, name: &'static str, value: f64, allowed: &'static str| {
            if holds { Ok(()) } else { Err(RegisterError::Config { name, value, allowed }) }
        };
        let n_spacings = self.spacings_mm.len() as f64;
        require(!self.spacings_mm.is_empty(), "length of spacings_mm", n_spacings, "at least 1")?;
        let mut before = f64::INFINITY;
        for &spacing in &self.spacings_mm {
            require(
                spacing > 0.0 && spacing < before,
                "spacings_mm",
                spacing,
                "finite, above zero and falling",
            )?;
            before = spacing;
        }
        require(self.samples >= 1000, "samples", self.samples as f64, "at least 1000")?;
        require((8..=256).contains(&self.bins), "bins", self.bins as f64, "from 8 to 256")?;
        for (name, window) in [("fixed_window", self.fixed_window), ("moving_window", self.moving_window)] {
            if let Some([low, high]) = window {
                let width = f64::from(high) - f64::from(low);
                require(width > 0.0 && width.is_finite(), name, width, "of finite width above zero")?;
            }
        }
        require(self.max_iterations >= 1, "max_iterations", self.max_iterations as f64, "at least 1")?;
        let require_length = |name: &'static str, mm: f64| {
            require(mm > 0.0 && mm.is_finite(), name, mm, "finite and above zero")
        };
        if let Some(level) = self.correlation {
            require_length("spacing_mm of correlation", level.spacing_mm)?;
            require_length("radius_mm of correlation", level.radius_mm)?;
        }
        require_length("tolerance_mm", self.tolerance_mm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, change: impl FnOnce(&mut LinearConfig)) {
        let mut config = LinearConfig::default();
        change(&mut config);
        let got = config.check();
        assert!(matches!(&got, Err(RegisterError::Config { name: field, .. }) if *field == name), "{got:?}");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        assert!(LinearConfig::default().check().is_ok());
        check("length of spacings_mm", |config| config.spacings_mm.clear());
        check("spacings_mm", |config| config.spacings_mm = vec![4.0, 4.0]);
        check("spacings_mm", |config| config.spacings_mm = vec![f64::NAN]);
        check("spacings_mm", |config| config.spacings_mm = vec![f64::INFINITY]);
        check("samples", |config| config.samples = 10);
        check("bins", |config| config.bins = 4);
        check("bins", |config| config.bins = 1000);
        check("fixed_window", |config| config.fixed_window = Some([1.0, 1.0]));
        check("moving_window", |config| config.moving_window = Some([f32::NAN, 1.0]));
        check("max_iterations", |config| config.max_iterations = 0);
        check("tolerance_mm", |config| config.tolerance_mm = 0.0);
        let level = CorrelationLevel::standard();
        check("spacing_mm of correlation", |config| {
            config.correlation = Some(CorrelationLevel { spacing_mm: 0.0, ..level });
        });
        check("radius_mm of correlation", |config| {
            config.correlation = Some(CorrelationLevel { radius_mm: f64::NAN, ..level });
        });
    }
}
