//! From values to colors: window and color map.

use synthct_image::{Mask, Volume};

use crate::ReportError;

/// Red, green, blue, each 0 to 255 in sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

impl Rgb {
    /// How NaN and infinite values are shown: a yellow that neither map contains.
    pub const NOT_A_NUMBER: Self = Self([255, 230, 0]);

    /// As CSS wants it: `#rrggbb`.
    pub fn css(self) -> String {
        let [r, g, b] = self.0;
        format!("#{r:02x}{g:02x}{b:02x}")
    }
}

/// The values that a picture shows from black to white (or blue to orange).
///
/// The position of x is (x − level) / width + 1/2, cut to 0…1: DICOM's `LINEAR_EXACT` (PS3.3 C.11.2.1.3.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The value in the middle, in the image's unit.
    pub level: f64,
    /// The span from the first to the last value, in the image's unit, above zero.
    pub width: f64,
}

impl Window {
    /// Soft tissue: level 40, width 400 HU.
    pub const SOFT_TISSUE: Self = Self { level: 40.0, width: 400.0 };
    /// Bone: level 500, width 2000 HU.
    pub const BONE: Self = Self { level: 500.0, width: 2000.0 };
    /// Air to dense bone: −1000 to 2000 HU.
    pub const WIDE: Self = Self { level: 500.0, width: 3000.0 };
    /// Differences: −500 to 500 HU.
    pub const DIFFERENCE: Self = Self { level: 0.0, width: 1000.0 };

    /// The window from `lower` to `upper`.
    ///
    /// # Errors
    /// [`ReportError::Window`] unless both are finite and rise.
    pub fn from_limits(lower: f64, upper: f64) -> Result<Self, ReportError> {
        Self { level: f64::midpoint(lower, upper), width: upper - lower }.checked()
    }

    /// The window between two percentiles of the finite values inside `mask`: for MR, whose values have no unit.
    ///
    /// Nearest-rank percentiles; if both are the same value, the width is 1.
    ///
    /// # Errors
    /// [`ReportError::Percentiles`], [`ReportError::GridMismatch`], or [`ReportError::Empty`] if no masked value is finite.
    pub fn from_percentiles(
        volume: &Volume<f32>,
        mask: &Mask,
        lower: f64,
        upper: f64,
    ) -> Result<Self, ReportError> {
        if !(0.0 <= lower && lower < upper && upper <= 100.0) {
            return Err(ReportError::Percentiles { lower, upper });
        }
        crate::require_grid(volume.grid(), mask.grid(), "mask", "image")?;
        let mut values: Vec<f32> = std::iter::zip(volume.as_slice(), mask.as_slice())
            .filter_map(|(&value, &inside)| (inside && value.is_finite()).then_some(value))
            .collect();
        if values.is_empty() {
            return Err(ReportError::Empty { region: "mask of the window", wanted: "finite value" });
        }
        values.sort_unstable_by(f32::total_cmp);
        let at =
            |percent: f64| f64::from(values[(percent / 100.0 * (values.len() - 1) as f64).round() as usize]);
        let (low, high) = (at(lower), at(upper));
        if high > low { Self::from_limits(low, high) } else { Self { level: low, width: 1.0 }.checked() }
    }

    /// The smallest and the largest value that are told apart.
    pub const fn limits(&self) -> [f64; 2] {
        [self.level - self.width / 2.0, self.level + self.width / 2.0]
    }

    /// Where the value lies in the window, 0 to 1; NaN stays NaN.
    pub fn position(&self, value: f64) -> f64 {
        ((value - self.level) / self.width + 0.5).clamp(0.0, 1.0)
    }

    pub(crate) fn checked(self) -> Result<Self, ReportError> {
        if self.level.is_finite() && self.width.is_finite() && self.width > 0.0 {
            Ok(self)
        } else {
            Err(ReportError::Window { level: self.level, width: self.width })
        }
    }
}

/// How a position in the window is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorMap {
    /// Black to white.
    Gray,
    /// Blue through white to orange, for signed differences.
    ///
    /// The two sides differ in blue against yellow, which the common red-green deficiencies leave apart, and darken alike
    /// with size.
    Difference,
}

/// Anchors of [`ColorMap::Difference`] at equal distances.
const DIFFERENCE_ANCHORS: [[f64; 3]; 7] = [
    [8.0, 48.0, 107.0],
    [33.0, 113.0, 181.0],
    [146.0, 197.0, 222.0],
    [255.0, 255.0, 255.0],
    [253.0, 184.0, 99.0],
    [210.0, 101.0, 10.0],
    [112.0, 48.0, 4.0],
];

impl ColorMap {
    /// The color at a position from 0 to 1; NaN is [`Rgb::NOT_A_NUMBER`].
    pub fn color(self, position: f64) -> Rgb {
        if position.is_nan() {
            return Rgb::NOT_A_NUMBER;
        }
        let position = position.clamp(0.0, 1.0);
        match self {
            Self::Gray => Rgb([(position * 255.0).round() as u8; 3]),
            Self::Difference => {
                let last = DIFFERENCE_ANCHORS.len() - 1;
                let at = position * last as f64;
                let below = (at as usize).min(last - 1);
                let fraction = at - below as f64;
                let (a, b) = (DIFFERENCE_ANCHORS[below], DIFFERENCE_ANCHORS[below + 1]);
                Rgb([0, 1, 2].map(|n| (a[n] + fraction * (b[n] - a[n])).round() as u8))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, PointLps};

    #[test]
    fn window_maps_as_its_formula() {
        let gray = |hu: f64| ColorMap::Gray.color(Window::SOFT_TISSUE.position(hu)).0[0];
        for (hu, expected) in
            [(-1000.0, 0), (-160.0, 0), (-60.0, 64), (40.0, 128), (140.0, 191), (240.0, 255)]
        {
            assert_eq!(gray(hu), expected, "{hu} HU");
        }
        assert_eq!(gray(3000.0), 255);
        assert_eq!(Window::WIDE.limits().map(f64::round).map(|hu| hu as i32), [-1000, 2000]);
    }

    #[test]
    fn not_a_number_has_a_color_of_its_own() {
        assert_eq!(ColorMap::Gray.color(Window::BONE.position(f64::NAN)), Rgb::NOT_A_NUMBER);
        let maps = [ColorMap::Gray, ColorMap::Difference];
        for map in maps {
            for step in 0..=1000 {
                assert_ne!(map.color(f64::from(step) / 1000.0), Rgb::NOT_A_NUMBER);
            }
        }
    }

    #[test]
    fn difference_map_is_white_in_the_middle_and_darkens_alike() {
        assert_eq!(ColorMap::Difference.color(0.5), Rgb([255; 3]));
        let luminance = |position: f64| {
            let [r, g, b] = ColorMap::Difference.color(position).0.map(|c| (f64::from(c) / 255.0).powf(2.2));
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        for step in 1..=50 {
            let off = f64::from(step) / 100.0;
            let (negative, positive) = (luminance(0.5 - off), luminance(0.5 + off));
            assert!(
                negative < luminance(0.5 - off + 0.01) && positive < luminance(0.5 + off - 0.01),
                "{off}"
            );
            assert!((negative - positive).abs() < 0.12, "{off}: {negative} {positive}");
            let [r, _, b] = ColorMap::Difference.color(0.5 - off).0;
            assert!(b > r, "a negative difference is bluish");
            let [r, _, b] = ColorMap::Difference.color(0.5 + off).0;
            assert!(r > b, "a positive difference is orange");
        }
    }

    #[test]
    fn percentiles_leave_out_the_mask_and_nan() -> Result<(), Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned([101, 1, 2], [1.0; 3], PointLps::ORIGIN)?;
        let mut volume = Volume::from_index_fn(&grid, |n| if n.k == 0 { n.i as f32 } else { 1e6 });
        let mask = Mask::new(Volume::from_index_fn(&grid, |n| n.k == 0));
        let window = Window::from_percentiles(&volume, &mask, 1.0, 99.0)?;
        assert_eq!(window, Window { level: 50.0, width: 98.0 });
        volume.as_mut_slice()[..101].fill(f32::NAN);
        assert!(matches!(
            Window::from_percentiles(&volume, &mask, 1.0, 99.0),
            Err(ReportError::Empty { .. })
        ));
        assert!(matches!(
            Window::from_percentiles(&volume, &mask, 99.0, 1.0),
            Err(ReportError::Percentiles { .. })
        ));
        assert!(matches!(Window::from_limits(3.0, 3.0), Err(ReportError::Window { .. })));
        Ok(())
    }
}
