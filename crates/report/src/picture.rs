//! A slice of a volume as a picture with square pixels.

use synthct_image::{Grid, Mask, PointLps, Volume, VoxelIndex};

use crate::plane::{PlaneAxes, SignedAxis};
use crate::{ColorMap, EdgeLabels, Plane, ReportError, Rgb, Window, require_grid};

/// How a picture fills pixels between voxel centers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelInterpolation {
    /// The nearest voxel: shows the voxels as they are.
    Nearest,
    /// Between the four nearest voxels of the slice.
    Linear,
}

/// How a slice is drawn.
#[derive(Clone, Copy, Debug)]
pub struct PictureStyle<'a> {
    /// The values shown.
    pub window: Window,
    /// The colors they are shown in.
    pub map: ColorMap,
    /// Between voxels.
    pub interpolation: PixelInterpolation,
    /// Regions whose borders are drawn, on the image's grid, the last one on top.
    pub outlines: &'a [(&'a Mask, Rgb)],
    /// A region on the image's grid to whose extent, and 5 mm more, the picture is cut.
    pub crop_to: Option<&'a Mask>,
    /// The longer side has at least this many pixels.
    pub min_size_px: usize,
}

impl PictureStyle<'_> {
    /// Gray levels in `window`, linear, at least 320 pixels.
    pub const fn gray(window: Window) -> Self {
        Self {
            window,
            map: ColorMap::Gray,
            interpolation: PixelInterpolation::Linear,
            outlines: &[],
            crop_to: None,
            min_size_px: 320,
        }
    }

    /// Signed differences from −500 to 500 HU.
    pub const fn difference() -> Self {
        Self { map: ColorMap::Difference, ..Self::gray(Window::DIFFERENCE) }
    }
}

/// A drawn slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    width_px: usize,
    height_px: usize,
    pixel_mm: f64,
    pixels: Vec<Rgb>,
    labels: EdgeLabels,
    description: String,
}

/// Millimeters kept around the region that a picture is cut to.
const CROP_MARGIN_MM: f64 = 5.0;

impl Picture {
    /// The slice of `volume` in `plane` whose voxels are nearest to `point`, radiological display.
    ///
    /// Slices are slices of the array along the axis closest to the plane's normal: an oblique volume is not resampled,
    /// and its edge labels say so.
    ///
    /// # Errors
    /// [`ReportError::OutsideGrid`] if no slice passes through the point, [`ReportError::GridMismatch`] for a mask on
    /// another grid, [`ReportError::Window`], or [`ReportError::Empty`] for an empty region to cut to.
    pub fn of_slice(
        volume: &Volume<f32>,
        plane: Plane,
        point: PointLps,
        style: &PictureStyle<'_>,
    ) -> Result<Self, ReportError> {
        let grid = volume.grid();
        style.window.checked()?;
        for (mask, _) in style.outlines {
            require_grid(grid, mask.grid(), "outlined mask", "image")?;
        }
        if let Some(mask) = style.crop_to {
            require_grid(grid, mask.grid(), "mask to cut to", "image")?;
        }
        let axes = PlaneAxes::of(grid, plane);
        let slice = slice_number(grid, plane, axes.through, point)?;
        let columns = Extent::new(grid, axes.right, style.crop_to)?;
        let rows = Extent::new(grid, axes.down, style.crop_to)?;

        let longest_mm = columns.length_mm().max(rows.length_mm());
        let finest_mm = columns.spacing_mm.min(rows.spacing_mm);
        let factor = (style.min_size_px as f64 * finest_mm / longest_mm).ceil().max(1.0);
        let pixel_mm = finest_mm / factor;
        let pixels_in = |extent: &Extent| ((extent.length_mm() / pixel_mm).round() as usize).max(1);
        let (width_px, height_px) = (pixels_in(&columns), pixels_in(&rows));

        let voxel = |column: usize, row: usize| {
            let mut ijk = [0; 3];
            ijk[axes.through] = slice;
            ijk[axes.right.axis] = columns.index(column);
            ijk[axes.down.axis] = rows.index(row);
            VoxelIndex::new(ijk[0], ijk[1], ijk[2])
        };
        let value = |column: usize, row: usize| f64::from(volume[voxel(column, row)]);
        let mut pixels = Vec::with_capacity(width_px * height_px);
        for v in 0..height_px {
            let at_row = rows.position(v, pixel_mm);
            for u in 0..width_px {
                let at_column = columns.position(u, pixel_mm);
                let value = match style.interpolation {
                    PixelInterpolation::Nearest => value(at_column.round() as usize, at_row.round() as usize),
                    PixelInterpolation::Linear => bilinear(at_column, at_row, &columns, &rows, value),
                };
                // An infinite value is no more a number than NaN: it must not pass for white.
                let position = if value.is_finite() { style.window.position(value) } else { f64::NAN };
                pixels.push(style.map.color(position));
            }
        }
        for &(mask, color) in style.outlines {
            let inside = |u: usize, v: usize| {
                let (column, row) = (columns.position(u, pixel_mm), rows.position(v, pixel_mm));
                mask.volume()[voxel(column.round() as usize, row.round() as usize)]
            };
            draw_outline(&mut pixels, width_px, height_px, inside, color);
        }
        let labels = axes.edge_labels(grid);
        let description = format!(
            "{plane} slice, patient's {} on the left and {} on top",
            spelled_out(&labels.left),
            spelled_out(&labels.top)
        );
        Ok(Self { width_px, height_px, pixel_mm, pixels, labels, description })
    }

    /// This picture and another of the same slice in squares by turns, this one at the top left: edges that go on from
    /// one square to the next are aligned.
    ///
    /// # Errors
    /// [`ReportError::PictureSizes`] if the two are not of one size.
    pub fn checkerboard(&self, other: &Self, square_mm: f64) -> Result<Self, ReportError> {
        if (self.width_px, self.height_px) != (other.width_px, other.height_px) {
            return Err(ReportError::PictureSizes {
                left: [self.width_px, self.height_px],
                right: [other.width_px, other.height_px],
            });
        }
        let square_px = (square_mm / self.pixel_mm).round().max(1.0) as usize;
        let mut mixed = self.clone();
        for (at, pixel) in mixed.pixels.iter_mut().enumerate() {
            let squares = at % self.width_px / square_px + at / self.width_px / square_px;
            if squares % 2 == 1 {
                *pixel = other.pixels[at];
            }
        }
        mixed.description = format!("{}, in squares by turns with another image", self.description);
        Ok(mixed)
    }

    /// Width in pixels.
    pub const fn width_px(&self) -> usize {
        self.width_px
    }

    /// Height in pixels.
    pub const fn height_px(&self) -> usize {
        self.height_px
    }

    /// Width on the patient, mm.
    pub fn width_mm(&self) -> f64 {
        self.width_px as f64 * self.pixel_mm
    }

    /// Height on the patient, mm.
    pub fn height_mm(&self) -> f64 {
        self.height_px as f64 * self.pixel_mm
    }

    /// The pixels, row by row from the top left.
    pub fn pixels(&self) -> &[Rgb] {
        &self.pixels
    }

    /// The patient's sides at the edges.
    pub const fn labels(&self) -> &EdgeLabels {
        &self.labels
    }

    /// Plane and orientation in words, for readers who cannot see the picture.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The picture as a PNG file: 8 bits gray where there is no color, otherwise 8 bits RGB.
    ///
    /// # Errors
    /// [`ReportError::Png`] if the encoder refuses.
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        let is_gray = self.pixels.iter().all(|Rgb([r, g, b])| r == g && g == b);
        let encode = || -> Result<Vec<u8>, png::EncodingError> {
            let mut file = Vec::new();
            let mut encoder = png::Encoder::new(&mut file, self.width_px as u32, self.height_px as u32);
            encoder.set_depth(png::BitDepth::Eight);
            encoder.set_compression(png::Compression::High);
            encoder.set_color(if is_gray { png::ColorType::Grayscale } else { png::ColorType::Rgb });
            let bytes: Vec<u8> = if is_gray {
                self.pixels.iter().map(|pixel| pixel.0[0]).collect()
            } else {
                self.pixels.iter().flat_map(|pixel| pixel.0).collect()
            };
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&bytes)?;
            writer.finish()?;
            Ok(file)
        };
        encode().map_err(|source| ReportError::Png {
            width: self.width_px,
            height: self.height_px,
            source: Box::new(source),
        })
    }
}

/// The middle of a region: the mean of its voxels' centers.
///
/// # Errors
/// [`ReportError::Empty`] if it has no voxel.
pub fn centroid_lps(mask: &Mask) -> Result<PointLps, ReportError> {
    mask.centroid_lps().ok_or(ReportError::Empty { region: "mask", wanted: "voxel" })
}

/// The part of one axis that a picture shows.
struct Extent {
    reversed: bool,
    /// The first voxel shown, along the axis's own direction.
    first: usize,
    n: usize,
    spacing_mm: f64,
}

impl Extent {
    fn new(grid: &Grid, shown: SignedAxis, crop_to: Option<&Mask>) -> Result<Self, ReportError> {
        let size = grid.size_ijk()[shown.axis];
        let spacing_mm = grid.spacing_mm()[shown.axis];
        let (first, last) = match crop_to {
            None => (0, size - 1),
            Some(mask) => {
                let margin = (CROP_MARGIN_MM / spacing_mm).ceil() as usize;
                let (first, last) = occupied(mask, shown.axis)
                    .ok_or(ReportError::Empty { region: "mask to cut to", wanted: "voxel" })?;
                (first.saturating_sub(margin), (last + margin).min(size - 1))
            }
        };
        Ok(Self { reversed: shown.reversed, first, n: last - first + 1, spacing_mm })
    }

    fn length_mm(&self) -> f64 {
        self.n as f64 * self.spacing_mm
    }

    /// The voxel's index on its axis; `n` counts in the direction of display.
    fn index(&self, n: usize) -> usize {
        if self.reversed { self.first + self.n - 1 - n } else { self.first + n }
    }

    /// Where a pixel's center lies among the shown voxels, 0 to n − 1.
    fn position(&self, pixel: usize, pixel_mm: f64) -> f64 {
        ((pixel as f64 + 0.5) * pixel_mm / self.spacing_mm - 0.5).clamp(0.0, (self.n - 1) as f64)
    }
}

/// The first and the last index along `axis` at which the mask has a voxel.
fn occupied(mask: &Mask, axis: usize) -> Option<(usize, usize)> {
    let [ni, nj, _] = mask.grid().size_ijk();
    let inside = mask.as_slice().iter().enumerate().filter(|&(_, &inside)| inside);
    inside.map(|(at, _)| [at % ni, at / ni % nj, at / (ni * nj)][axis]).fold(None, |range, n| match range {
        None => Some((n, n)),
        Some((first, last)) => Some((n.min(first), n.max(last))),
    })
}

/// The number of the slice nearest to `point`.
fn slice_number(grid: &Grid, plane: Plane, axis: usize, point: PointLps) -> Result<usize, ReportError> {
    let at = grid.index_from_lps(point);
    let slice = [at.i, at.j, at.k][axis].round();
    let n_slices = grid.size_ijk()[axis];
    if slice >= 0.0 && slice < n_slices as f64 {
        Ok(slice as usize)
    } else {
        Err(ReportError::OutsideGrid { plane, point, slice: slice as i64, n_slices })
    }
}

fn bilinear(
    column: f64,
    row: f64,
    columns: &Extent,
    rows: &Extent,
    value: impl Fn(usize, usize) -> f64,
) -> f64 {
    let (c0, r0) = (column as usize, row as usize);
    let (c1, r1) = ((c0 + 1).min(columns.n - 1), (r0 + 1).min(rows.n - 1));
    let (fc, fr) = (column - c0 as f64, row - r0 as f64);
    // A voxel of weight zero is left out, so that its NaN does not spread onto its neighbor.
    let corners = [
        (c0, r0, (1.0 - fc) * (1.0 - fr)),
        (c1, r0, fc * (1.0 - fr)),
        (c0, r1, (1.0 - fc) * fr),
        (c1, r1, fc * fr),
    ];
    corners.into_iter().filter(|corner| corner.2 > 0.0).map(|(c, r, weight)| weight * value(c, r)).sum()
}

/// Colors the pixels inside that have a neighbor outside.
fn draw_outline(
    pixels: &mut [Rgb],
    width: usize,
    height: usize,
    inside: impl Fn(usize, usize) -> bool,
    color: Rgb,
) {
    for v in 0..height {
        for u in 0..width {
            let is_border = inside(u, v)
                && ((u > 0 && !inside(u - 1, v))
                    || (u + 1 < width && !inside(u + 1, v))
                    || (v > 0 && !inside(u, v - 1))
                    || (v + 1 < height && !inside(u, v + 1)));
            if is_border {
                pixels[v * width + u] = color;
            }
        }
    }
}

fn spelled_out(letters: &str) -> String {
    let words: Vec<&str> = (letters.chars())
        .map(|letter| match letter {
            'R' => "right",
            'L' => "left",
            'A' => "anterior",
            'P' => "posterior",
            'S' => "superior",
            _ => "inferior",
        })
        .collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::Matrix3;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    const WHITE: Rgb = Rgb([255; 3]);

    fn nearest() -> PictureStyle<'static> {
        PictureStyle {
            interpolation: PixelInterpolation::Nearest,
            min_size_px: 1,
            ..PictureStyle::gray(Window { level: 50.0, width: 100.0 })
        }
    }

    /// Where the white pixels lie, as fractions of width and height.
    fn white_middle(picture: &Picture) -> Option<[f64; 2]> {
        let (mut sums, mut n) = ([0.0; 2], 0.0);
        for (at, _) in picture.pixels.iter().enumerate().filter(|(_, pixel)| **pixel == WHITE) {
            sums[0] += (at % picture.width_px) as f64 + 0.5;
            sums[1] += (at / picture.width_px) as f64 + 0.5;
            n += 1.0;
        }
        (n > 0.0).then(|| [sums[0] / n / picture.width_px as f64, sums[1] / n / picture.height_px as f64])
    }

    /// A marker at the anterior left superior corner must appear there in each plane, for every storage order.
    #[test]
    fn a_marker_appears_where_the_patient_has_it() -> TestResult {
        let unit = |axis: usize, sign: f64| {
            let mut v = [0.0; 3];
            v[axis] = sign;
            v
        };
        let (s, c) = 12_f64.to_radians().sin_cos();
        let tilt = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
            * Matrix3([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]);
        let mut n_checked = 0;
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for signs in 0..8 {
                let sign = |bit: usize| if signs >> bit & 1 == 1 { -1.0 } else { 1.0 };
                let straight = Matrix3::from_columns(
                    unit(order[0], sign(0)),
                    unit(order[1], sign(1)),
                    unit(order[2], sign(2)),
                );
                for direction in [straight, tilt * straight] {
                    let mut size_ijk = [0; 3];
                    let mut spacing_mm = [0.0; 3];
                    for axis in 0..3 {
                        size_ijk[axis] = [20, 24, 16][order[axis]];
                        spacing_mm[axis] = [1.0, 1.5, 2.5][order[axis]];
                    }
                    let grid = Grid::new(size_ijk, spacing_mm, PointLps::new(3.0, -40.0, 12.0), direction)?;
                    // The marker is set by patient position: left, anterior and superior of the middle.
                    let middle = grid.center_lps();
                    let at = PointLps::new(middle.x + 6.0, middle.y - 10.0, middle.z + 12.0);
                    let volume = Volume::from_point_fn(&grid, |point| {
                        let near = (point - at).norm_mm() < 3.5;
                        if near { 100.0_f32 } else { 0.0 }
                    });
                    for plane in Plane::ALL {
                        let picture = Picture::of_slice(&volume, plane, at, &nearest())?;
                        let [x, y] =
                            white_middle(&picture).ok_or(format!("no marker in the {plane} plane"))?;
                        let is_right = match plane {
                            Plane::Axial | Plane::Coronal => x > 0.6 && y < 0.4,
                            Plane::Sagittal => x < 0.4 && y < 0.4,
                        };
                        assert!(is_right, "{plane} of {grid}: marker at {x:.2}, {y:.2}");
                        n_checked += 1;
                    }
                }
            }
        }
        assert_eq!(n_checked, 6 * 8 * 2 * 3);
        Ok(())
    }

    #[test]
    fn pixels_are_square_whatever_the_spacing() -> TestResult {
        let grid = Grid::axis_aligned([10, 20, 5], [2.0, 1.0, 6.0], PointLps::ORIGIN)?;
        let volume = Volume::filled(&grid, 0.0_f32);
        let size = |plane| -> Result<[usize; 2], ReportError> {
            let picture = Picture::of_slice(&volume, plane, grid.center_lps(), &nearest())?;
            Ok([picture.width_px, picture.height_px])
        };
        assert_eq!(size(Plane::Axial)?, [20, 20]);
        assert_eq!(size(Plane::Coronal)?, [10, 15]);
        assert_eq!(size(Plane::Sagittal)?, [20, 30]);
        let large = PictureStyle { min_size_px: 100, ..nearest() };
        let picture = Picture::of_slice(&volume, Plane::Sagittal, grid.center_lps(), &large)?;
        assert_eq!([picture.width_px, picture.height_px], [80, 120]);
        assert!((picture.width_mm() - 20.0).abs() < 1e-9 && (picture.height_mm() - 30.0).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn linear_pixels_lie_on_a_ramp() -> TestResult {
        let grid = Grid::axis_aligned([8, 8, 8], [4.0, 4.0, 4.0], PointLps::ORIGIN)?;
        // Value 10 a voxel along x, none along the others.
        let volume = Volume::from_index_fn(&grid, |n| 10.0 * n.i as f32);
        let style = PictureStyle { interpolation: PixelInterpolation::Linear, min_size_px: 32, ..nearest() };
        let picture = Picture::of_slice(&volume, Plane::Axial, grid.center_lps(), &style)?;
        assert_eq!([picture.width_px, picture.height_px], [32, 32]);
        for u in 2..30 {
            let expected = 10.0 * ((u as f64 + 0.5) / 4.0 - 0.5) / 100.0 * 255.0;
            let got = f64::from(picture.pixels[5 * 32 + u].0[0]);
            assert!((got - expected).abs() <= 0.5 + 1e-9, "pixel {u}: {got}, expected {expected}");
        }
        Ok(())
    }

    #[test]
    fn squares_come_from_both_pictures_by_turns() -> TestResult {
        let grid = Grid::axis_aligned([6, 4, 1], [1.0; 3], PointLps::ORIGIN)?;
        let draw = |value: f32| {
            Picture::of_slice(&Volume::filled(&grid, value), Plane::Axial, PointLps::ORIGIN, &nearest())
        };
        let (black, white) = (draw(0.0)?, draw(100.0)?);
        let mixed = black.checkerboard(&white, 2.0)?;
        let rows: Vec<String> = (mixed.pixels().chunks(6))
            .map(|row| row.iter().map(|pixel| if *pixel == WHITE { 'w' } else { 'b' }).collect())
            .collect();
        assert_eq!(rows, ["bbwwbb", "bbwwbb", "wwbbww", "wwbbww"]);
        let smaller = Grid::axis_aligned([5, 4, 1], [1.0; 3], PointLps::ORIGIN)?;
        let other =
            Picture::of_slice(&Volume::filled(&smaller, 0.0), Plane::Axial, PointLps::ORIGIN, &nearest())?;
        assert!(matches!(black.checkerboard(&other, 2.0), Err(ReportError::PictureSizes { .. })));
        Ok(())
    }

    #[test]
    fn outline_and_cut_follow_the_mask() -> TestResult {
        let grid = Grid::axis_aligned([30, 30, 30], [1.0; 3], PointLps::ORIGIN)?;
        let volume = Volume::filled(&grid, 0.0_f32);
        let mask = Mask::new(Volume::from_index_fn(&grid, |n| {
            (10..16).contains(&n.i) && (12..20).contains(&n.j) && n.k > 4
        }));
        let color = Rgb([0, 255, 255]);
        let style = PictureStyle { outlines: &[(&mask, color)], crop_to: Some(&mask), ..nearest() };
        let picture = Picture::of_slice(&volume, Plane::Axial, PointLps::new(0.0, 0.0, 8.0), &style)?;
        assert_eq!([picture.width_px, picture.height_px], [16, 18]);
        let colored: Vec<usize> = (0..picture.pixels.len()).filter(|&n| picture.pixels[n] == color).collect();
        assert_eq!(colored.len(), 2 * 6 + 2 * 8 - 4);
        assert_eq!((colored[0] % 16, colored[0] / 16), (5, 5));
        Ok(())
    }

    #[test]
    fn png_reads_back() -> TestResult {
        let grid = Grid::axis_aligned([7, 5, 3], [1.0; 3], PointLps::ORIGIN)?;
        let volume = Volume::from_index_fn(&grid, |n| (n.i * 11 + n.j * 3 + n.k) as f32 - 20.0);
        for map in [ColorMap::Gray, ColorMap::Difference] {
            let style = PictureStyle { map, ..nearest() };
            let picture = Picture::of_slice(&volume, Plane::Axial, PointLps::new(0.0, 0.0, 1.0), &style)?;
            let file = picture.to_png()?;
            let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info()?;
            let mut bytes = vec![0; reader.output_buffer_size().ok_or("too large")?];
            let info = reader.next_frame(&mut bytes)?;
            assert_eq!((info.width, info.height), (7, 5));
            let channels = if map == ColorMap::Gray { 1 } else { 3 };
            assert_eq!(bytes.len(), 7 * 5 * channels);
            for (pixel, bytes) in std::iter::zip(&picture.pixels, bytes.chunks_exact(channels)) {
                assert_eq!(pixel.0[..channels], *bytes);
            }
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() -> TestResult {
        let grid = Grid::axis_aligned([7, 5, 3], [1.0; 3], PointLps::ORIGIN)?;
        let volume = Volume::filled(&grid, 0.0_f32);
        let far = PointLps::new(0.0, 0.0, 9.0);
        let error = Picture::of_slice(&volume, Plane::Axial, far, &nearest());
        assert!(matches!(error, Err(ReportError::OutsideGrid { slice: 9, n_slices: 3, .. })));
        let nowhere = PointLps::new(f64::NAN, 0.0, 0.0);
        assert!(Picture::of_slice(&volume, Plane::Sagittal, nowhere, &nearest()).is_err());
        let other = Mask::full(&Grid::axis_aligned([7, 5, 4], [1.0; 3], PointLps::ORIGIN)?);
        let style = PictureStyle { outlines: &[(&other, WHITE)], ..nearest() };
        let error = Picture::of_slice(&volume, Plane::Axial, PointLps::ORIGIN, &style);
        assert!(matches!(error, Err(ReportError::GridMismatch { .. })));
        let empty = Mask::full(&grid).complement();
        let style = PictureStyle { crop_to: Some(&empty), ..nearest() };
        let error = Picture::of_slice(&volume, Plane::Axial, PointLps::ORIGIN, &style);
        assert!(matches!(error, Err(ReportError::Empty { .. })));
        assert!(matches!(centroid_lps(&empty), Err(ReportError::Empty { .. })));
        Ok(())
    }
}
