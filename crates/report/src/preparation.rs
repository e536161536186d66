//! What preparation did to an MR and a CT: alignment, bias field, intensities.

use synthct_image::{Mask, PointLps, Volume};

use crate::text::number;
use crate::{
    ColorBar, ColorMap, LineChart, Panel, Picture, PictureStyle, Plane, ReportError, Rgb, Series, Window,
    require_grid,
};

/// The color of the body mask's border.
const MASK_COLOR: Rgb = Rgb([86, 180, 233]);
/// The color of the CT's bone edges.
const BONE_COLOR: Rgb = Rgb([230, 120, 0]);
/// The color of the CT's skin.
const SKIN_COLOR: Rgb = Rgb([0, 200, 140]);
/// Where bone begins in a CT.
const BONE_HU: f32 = 250.0;
/// Where the body begins in a CT.
const SKIN_HU: f32 = -400.0;
/// The side of a checkerboard's squares.
const SQUARE_MM: f64 = 20.0;

/// An MR and a CT on the MR's grid, before and after registration.
#[derive(Clone, Copy, Debug)]
pub struct Alignment<'a> {
    /// The MR.
    pub mr: &'a Volume<f32>,
    /// The CT as the headers place it, on the MR's grid; none where nothing was registered.
    pub ct_before: Option<&'a Volume<f32>>,
    /// The CT as it was brought onto the MR.
    pub ct: &'a Volume<f32>,
    /// The body: pictures are cut to it, and the MR's window is taken from it.
    pub body: &'a Mask,
    /// The window of the CT.
    pub ct_window: Window,
}

/// MR, CT, the CT's edges on the MR, and squares of MR and CT by turns, before and after registration, through `point`.
///
/// # Errors
/// [`ReportError::GridMismatch`] if an image is not on the MR's grid, and those of [`Picture::of_slice`].
pub fn alignment_panel(alignment: &Alignment<'_>, point: PointLps) -> Result<Panel, ReportError> {
    let drawing = Drawing::new(alignment)?;
    let before = alignment.ct_before.map(|ct| drawing.with_ct(ct)).transpose()?;
    let after = drawing.with_ct(alignment.ct)?;
    let mut columns = vec!["MR and mask".to_owned()];
    if before.is_some() {
        columns.extend(["before: CT edges on MR".to_owned(), "before: MR and CT by turns".to_owned()]);
    }
    columns.extend(["CT edges on MR", "MR and CT by turns", "CT and mask"].map(str::to_owned));
    let [x, y, z] = point.to_array().map(|coordinate| number(coordinate, 0));
    let caption = format!(
        "Slices through ({x}, {y}, {z}) mm LPS. Orange: the CT's border of {BONE_HU} HU (bone); green: its border of \
         {SKIN_HU} HU (skin); blue: the body mask. Squares are {SQUARE_MM} mm wide: where MR and CT are aligned, edges go \
         on from one to the next. The MR is shown from its 1st to its 99th percentile in the body."
    );
    let mut panel = Panel::new(caption, columns);
    for plane in Plane::ALL {
        let mut row = vec![Some(drawing.mr(plane, point, &[(alignment.body, MASK_COLOR)])?)];
        for ct in before.iter().chain([&after]) {
            row.push(Some(drawing.mr(plane, point, &ct.edges())?));
            row.push(Some(drawing.squares(ct, plane, point)?));
        }
        row.push(Some(drawing.ct(&after, plane, point, &[(alignment.body, MASK_COLOR)])?));
        panel = panel.row(plane.to_string(), &row)?;
    }
    Ok(panel.color_bar(ColorBar::new("CT", "HU", ColorMap::Gray, alignment.ct_window)))
}

/// The CT's edges on the MR after registration in three planes: one case of many on a page.
///
/// # Errors
/// As [`alignment_panel`].
pub fn overview_row(alignment: &Alignment<'_>, point: PointLps) -> Result<Vec<Option<Picture>>, ReportError> {
    let drawing = Drawing::new(alignment)?;
    let ct = drawing.with_ct(alignment.ct)?;
    let mut outlines = vec![(alignment.body, MASK_COLOR)];
    outlines.extend(ct.edges());
    Plane::ALL.into_iter().map(|plane| drawing.mr(plane, point, &outlines).map(Some)).collect()
}

/// What all pictures of one case share.
struct Drawing<'a> {
    alignment: Alignment<'a>,
    mr_window: Window,
}

/// A CT with the borders that are drawn on the MR.
struct EdgedCt<'a> {
    ct: &'a Volume<f32>,
    bone: Mask,
    skin: Mask,
}

impl EdgedCt<'_> {
    const fn edges(&self) -> [(&Mask, Rgb); 2] {
        [(&self.skin, SKIN_COLOR), (&self.bone, BONE_COLOR)]
    }
}

impl<'a> Drawing<'a> {
    fn new(alignment: &Alignment<'a>) -> Result<Self, ReportError> {
        let Alignment { mr, body, .. } = *alignment;
        Ok(Self { alignment: *alignment, mr_window: Window::from_percentiles(mr, body, 1.0, 99.0)? })
    }

    fn with_ct(&self, ct: &'a Volume<f32>) -> Result<EdgedCt<'a>, ReportError> {
        require_grid(self.alignment.mr.grid(), ct.grid(), "ct", "mr")?;
        Ok(EdgedCt {
            ct,
            bone: Mask::from_values(ct, |&hu| hu > BONE_HU),
            skin: Mask::from_values(ct, |&hu| hu > SKIN_HU),
        })
    }

    fn mr(&self, plane: Plane, point: PointLps, outlines: &[(&Mask, Rgb)]) -> Result<Picture, ReportError> {
        let style = self.style(self.mr_window, outlines);
        Picture::of_slice(self.alignment.mr, plane, point, &style)
    }

    fn ct(
        &self,
        ct: &EdgedCt<'_>,
        plane: Plane,
        point: PointLps,
        outlines: &[(&Mask, Rgb)],
    ) -> Result<Picture, ReportError> {
        Picture::of_slice(ct.ct, plane, point, &self.style(self.alignment.ct_window, outlines))
    }

    fn squares(&self, ct: &EdgedCt<'_>, plane: Plane, point: PointLps) -> Result<Picture, ReportError> {
        self.mr(plane, point, &[])?.checkerboard(&self.ct(ct, plane, point, &[])?, SQUARE_MM)
    }

    fn style<'s>(&self, window: Window, outlines: &'s [(&'s Mask, Rgb)]) -> PictureStyle<'s>
    where
        'a: 's,
    {
        PictureStyle { crop_to: Some(self.alignment.body), outlines, ..PictureStyle::gray(window) }
    }
}

/// An MR as it was scanned, its bias field and the corrected MR, through `point`.
///
/// The field is shown over a range that is symmetric about 1, where nothing is corrected; the corrected MR in the window
/// of the scanned one, both from the 1st to the 99th percentile in the body.
///
/// # Errors
/// [`ReportError::GridMismatch`] if an image is not on the MR's grid, and those of [`Picture::of_slice`].
pub fn bias_panel(
    mr: &Volume<f32>,
    field: &Volume<f32>,
    corrected: &Volume<f32>,
    body: &Mask,
    point: PointLps,
) -> Result<Panel, ReportError> {
    for (image, name) in [(field, "bias field"), (corrected, "corrected mr")] {
        require_grid(mr.grid(), image.grid(), name, "mr")?;
    }
    let [low, high] = Window::from_percentiles(field, body, 0.0, 100.0)?.limits();
    // Round outwards to tenths, so that pages can be compared.
    let reach = ((high - 1.0).max(1.0 - low) * 10.0).ceil().max(1.0) / 10.0;
    let field_window = Window::from_limits(1.0 - reach, 1.0 + reach)?;
    let style = |window: Window, map: ColorMap| PictureStyle {
        crop_to: Some(body),
        map,
        ..PictureStyle::gray(window)
    };
    let outline = [(body, MASK_COLOR)];
    let field_style = PictureStyle { outlines: &outline, ..style(field_window, ColorMap::Difference) };
    let percentiles = |volume| Window::from_percentiles(volume, body, 1.0, 99.0);
    let images = [
        (mr, style(percentiles(mr)?, ColorMap::Gray)),
        (field, field_style),
        (corrected, style(percentiles(corrected)?, ColorMap::Gray)),
    ];
    let mut panel = Panel::new(
        "The field that N4 found: MR as scanned = field × corrected MR. Both MR images are shown from their 1st to their \
         99th percentile in the body.",
        ["MR as scanned", "bias field", "corrected MR"].map(str::to_owned).to_vec(),
    );
    for plane in Plane::ALL {
        let mut row = Vec::with_capacity(images.len());
        for (volume, style) in &images {
            row.push(Some(Picture::of_slice(volume, plane, point, style)?));
        }
        panel = panel.row(plane.to_string(), &row)?;
    }
    Ok(panel.color_bar(ColorBar::new("bias field", "", ColorMap::Difference, field_window)))
}

/// Histograms of images inside a mask, a line each: the percentage of voxels in each of 100 bins from `lower` to `upper`.
///
/// Values beyond the two ends and values that are no numbers are not shown.
///
/// # Errors
/// [`ReportError::GridMismatch`] if an image is not on the mask's grid; [`ReportError::Empty`] for an empty mask;
/// [`ReportError::Window`] unless the limits are finite and rise.
pub fn histogram_chart(
    caption: impl Into<String>,
    x_label: impl Into<String>,
    images: &[(&str, &Volume<f32>)],
    mask: &Mask,
    (lower, upper): (f64, f64),
) -> Result<LineChart, ReportError> {
    const BINS: usize = 100;
    let window = Window::from_limits(lower, upper)?;
    let n_inside = mask.count();
    if n_inside == 0 {
        return Err(ReportError::Empty { region: "mask of the histogram", wanted: "voxel" });
    }
    let mut chart = LineChart::new(caption, x_label, "voxels [%]");
    for (name, volume) in images {
        require_grid(mask.grid(), volume.grid(), name, "mask")?;
        let mut counts = [0_usize; BINS];
        for (&value, _) in std::iter::zip(volume.as_slice(), mask.as_slice()).filter(|(_, inside)| **inside) {
            let value = f64::from(value);
            if (lower..upper).contains(&value) {
                counts[((window.position(value) * BINS as f64) as usize).min(BINS - 1)] += 1;
            }
        }
        let points = (counts.iter().enumerate())
            .map(|(bin, &count)| {
                let middle = lower + (bin as f64 + 0.5) / BINS as f64 * (upper - lower);
                (middle, 100.0 * count as f64 / n_inside as f64)
            })
            .collect();
        chart = chart.series(Series::new(*name, points));
    }
    Ok(chart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Report, Section, centroid_lps};
    use synthct_image::{Grid, VoxelIndex};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// A ball of bone in soft tissue, its middle `shift` voxels off along i.
    fn ct(grid: &Grid, shift: f64) -> Volume<f32> {
        Volume::from_index_fn(grid, |index| {
            let square = |n: usize, middle: f64| (n as f64 - middle).powi(2);
            let r = (square(index.i, 12.0 + shift) + square(index.j, 12.0) + square(index.k, 12.0)).sqrt();
            if r < 5.0 {
                800.0
            } else if r < 10.0 {
                40.0
            } else {
                -1000.0
            }
        })
    }

    #[test]
    fn a_preparation_becomes_a_page() -> TestResult {
        let grid = Grid::axis_aligned([24; 3], [2.0; 3], PointLps::ORIGIN)?;
        let (before, after) = (ct(&grid, 4.0), ct(&grid, 0.0));
        let mr = after.map(|&hu| {
            if hu > 250.0 {
                20.0_f32
            } else if hu > -400.0 {
                100.0
            } else {
                0.0
            }
        });
        let body = Mask::from_values(&mr, |&value| value > 0.0);
        let field = Volume::from_index_fn(&grid, |index| 0.8 + 0.02 * index.k as f32);
        let alignment =
            Alignment { mr: &mr, ct_before: Some(&before), ct: &after, body: &body, ct_window: Window::WIDE };
        let point = centroid_lps(&body)?;
        let both = alignment_panel(&alignment, point)?;
        let one = alignment_panel(&Alignment { ct_before: None, ..alignment }, point)?;
        let bias = bias_panel(&mr, &field, &mr, &body, point)?;
        assert_eq!(overview_row(&alignment, point)?.len(), 3);
        let section = Section::new("all").panel(both).panel(one).panel(bias);
        let html = Report::new("t").section(section).to_html();
        assert_eq!(html.matches("data:image/png;base64,").count(), 3 * 6 + 3 * 4 + 3 * 3);
        // The field spans 0.8 to 1.26 in the grid, less in the body: the bar reaches 0.3 either way at most.
        assert!(html.contains("bias field"));
        Ok(())
    }

    #[test]
    fn the_edges_on_the_mr_are_those_of_the_ct() -> TestResult {
        let grid = Grid::axis_aligned([24; 3], [2.0; 3], PointLps::ORIGIN)?;
        let after = ct(&grid, 0.0);
        let body = Mask::full(&grid);
        let flat = Volume::from_index_fn(&grid, |index| index.i as f32);
        let alignment =
            Alignment { mr: &flat, ct_before: None, ct: &after, body: &body, ct_window: Window::WIDE };
        let drawing = Drawing::new(&alignment)?;
        let edged = drawing.with_ct(&after)?;
        let point = grid.point_of(VoxelIndex::new(12, 12, 12));
        let picture = drawing.mr(Plane::Axial, point, &edged.edges())?;
        let pixel_mm = picture.width_mm() / picture.width_px() as f64;
        for (color, radius_mm) in [(BONE_COLOR, 10.0), (SKIN_COLOR, 20.0)] {
            let mut n = 0;
            for (at, _) in picture.pixels().iter().enumerate().filter(|(_, pixel)| **pixel == color) {
                let [u, v] = [at % picture.width_px(), at / picture.width_px()]
                    .map(|pixel| (pixel as f64 + 0.5) * pixel_mm - 1.0 - 24.0);
                let distance_mm = u.hypot(v);
                assert!((distance_mm - radius_mm).abs() < 3.0, "{distance_mm} mm, expected {radius_mm}");
                n += 1;
            }
            assert!(n > 30, "{n} pixels of an edge");
        }
        Ok(())
    }

    #[test]
    fn a_histogram_counts_what_is_inside() -> TestResult {
        let grid = Grid::axis_aligned([10, 10, 2], [1.0; 3], PointLps::ORIGIN)?;
        let volume = Volume::from_index_fn(&grid, |index| if index.k == 0 { index.i as f32 } else { 5.5 });
        let mask = Mask::new(Volume::from_index_fn(&grid, |index| index.k == 0));
        let chart = histogram_chart("c", "x", &[("a", &volume)], &mask, (0.0, 10.0))?;
        let mut html = String::new();
        chart.write_html(&mut html);
        // Ten values, ten percent each; the voxels of k = 1 do not count.
        assert!(html.contains(">10<") && !html.contains(">60<"), "{html}");
        let nothing = Mask::full(&grid).complement();
        let empty = histogram_chart("c", "x", &[("a", &volume)], &nothing, (0.0, 10.0));
        assert!(matches!(empty, Err(ReportError::Empty { .. })));
        Ok(())
    }
}
