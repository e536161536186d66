//! Rows and columns of pictures with their color bars.

use std::fmt::Write as _;

use base64::Engine as _;

use crate::text::{escaped, number, round_ticks};
use crate::{ColorMap, Picture, ReportError, Rgb, Window};

/// A bar that tells which color is which value.
#[derive(Clone, Debug, PartialEq)]
pub struct ColorBar {
    /// What the values are.
    pub label: String,
    /// Their unit; empty where they have none.
    pub unit: String,
    /// The colors.
    pub map: ColorMap,
    /// The values.
    pub window: Window,
}

impl ColorBar {
    /// A bar for `map` over `window`.
    pub fn new(label: impl Into<String>, unit: impl Into<String>, map: ColorMap, window: Window) -> Self {
        Self { label: label.into(), unit: unit.into(), map, window }
    }

    fn write_html(&self, out: &mut String, id: &str) {
        const WIDTH: f64 = 280.0;
        /// Room for half of the first and last number.
        const EDGE: f64 = 22.0;
        let [lower, upper] = self.window.limits();
        let x = |value: f64| EDGE + (value - lower) / (upper - lower) * (WIDTH - 2.0 * EDGE);
        let label = if self.unit.is_empty() {
            escaped(&self.label)
        } else {
            format!("{} [{}]", escaped(&self.label), escaped(&self.unit))
        };
        let _ = write!(
            out,
            "<svg class=\"bar\" viewBox=\"0 0 {WIDTH} 46\" role=\"img\" aria-label=\"{label}\">\
             <defs><linearGradient id=\"{id}\">"
        );
        for step in 0..=24 {
            let at = f64::from(step) / 24.0;
            let _ = write!(out, "<stop offset=\"{at:.4}\" stop-color=\"{}\"/>", self.map.color(at).css());
        }
        let _ = write!(
            out,
            "</linearGradient></defs><text class=\"label\" x=\"{:.1}\" y=\"11\" text-anchor=\"middle\">{label}</text>\
             <rect x=\"{EDGE}\" y=\"16\" width=\"{:.1}\" height=\"12\" fill=\"url(#{id})\" stroke=\"#444\" \
             stroke-width=\"0.8\"/>",
            WIDTH / 2.0,
            WIDTH - 2.0 * EDGE
        );
        let (ticks, decimals) = round_ticks(lower, upper, 5);
        for tick in ticks {
            let at = x(tick);
            let _ = write!(
                out,
                "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"28\" y2=\"32\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"43\" text-anchor=\"middle\">{}</text>",
                number(tick, decimals)
            );
        }
        out.push_str("</svg>\n");
    }
}

/// One row of pictures.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    title: String,
    cells: Vec<Option<Png>>,
}

/// A picture ready to be put into a page.
#[derive(Clone, Debug, PartialEq)]
struct Png {
    base64: String,
    width_mm: f64,
    height_mm: f64,
    edges: [String; 4],
    /// Whether its edge is light, so that lettering must be dark.
    is_light: bool,
    /// Whether some pixels show values that are no numbers.
    has_gaps: bool,
    description: String,
}

/// Pictures in rows and columns at one scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    caption: String,
    columns: Vec<String>,
    rows: Vec<Row>,
    color_bars: Vec<ColorBar>,
}

impl Panel {
    /// A panel without rows under these column titles.
    pub fn new(caption: impl Into<String>, columns: Vec<String>) -> Self {
        Self { caption: caption.into(), columns, rows: Vec::new(), color_bars: Vec::new() }
    }

    /// With one row more; an empty cell is left blank, as are those missing at the end.
    ///
    /// # Errors
    /// [`ReportError::Png`] if a picture cannot be encoded.
    pub fn row(
        mut self,
        title: impl Into<String>,
        pictures: &[Option<Picture>],
    ) -> Result<Self, ReportError> {
        let mut cells = Vec::with_capacity(self.columns.len());
        for picture in pictures.iter().take(self.columns.len()) {
            cells.push(match picture {
                None => None,
                Some(picture) => Some(Png {
                    base64: base64::engine::general_purpose::STANDARD.encode(picture.to_png()?),
                    width_mm: picture.width_mm(),
                    height_mm: picture.height_mm(),
                    edges: {
                        let labels = picture.labels().clone();
                        [labels.left, labels.right, labels.top, labels.bottom]
                    },
                    is_light: is_light(picture),
                    has_gaps: picture.pixels().contains(&Rgb::NOT_A_NUMBER),
                    description: picture.description().to_owned(),
                }),
            });
        }
        cells.resize(self.columns.len(), None);
        self.rows.push(Row { title: title.into(), cells });
        Ok(self)
    }

    /// With one color bar more below the pictures.
    pub fn color_bar(mut self, color_bar: ColorBar) -> Self {
        self.color_bars.push(color_bar);
        self
    }

    /// `id` is unique in the page.
    pub(crate) fn write_html(&self, out: &mut String, id: &str) {
        let pictures = || self.rows.iter().flat_map(|row| row.cells.iter().flatten());
        let widest_mm = pictures().map(|png| png.width_mm).fold(0.0, f64::max);
        let _ = writeln!(
            out,
            "<figure class=\"panel\">\n<div class=\"grid\" style=\"grid-template-columns:1.6em repeat({},minmax(0,1fr))\">",
            self.columns.len()
        );
        out.push_str("<span></span>");
        for column in &self.columns {
            let _ = write!(out, "<span class=\"col\">{}</span>", escaped(column));
        }
        out.push('\n');
        for row in &self.rows {
            let _ = write!(out, "<span class=\"rowtitle\">{}</span>", escaped(&row.title));
            for (cell, column) in std::iter::zip(&row.cells, &self.columns) {
                out.push_str("<span class=\"cell\">");
                if let Some(png) = cell {
                    png.write_html(out, column, widest_mm);
                }
                out.push_str("</span>\n");
            }
        }
        out.push_str("</div>\n");
        if !self.color_bars.is_empty() {
            out.push_str("<div class=\"bars\">");
            for (n, bar) in self.color_bars.iter().enumerate() {
                bar.write_html(out, &format!("{id}-bar{n}"));
            }
            out.push_str("</div>\n");
        }
        let gaps =
            if pictures().any(|png| png.has_gaps) { " Yellow: no number (NaN or infinite)." } else { "" };
        let _ = writeln!(out, "<figcaption>{}{gaps}</figcaption>\n</figure>", escaped(&self.caption));
    }
}

impl Png {
    fn write_html(&self, out: &mut String, column: &str, widest_mm: f64) {
        let (w, h) = (self.width_mm, self.height_mm);
        // Lettering follows the panel's scale, so that it has one size in all its pictures.
        let size = widest_mm * 0.062;
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {w:.3} {h:.3}\" style=\"width:{:.2}%\" role=\"img\" aria-label=\"{}, {}\">\
             <image width=\"{w:.3}\" height=\"{h:.3}\" preserveAspectRatio=\"none\" \
             href=\"data:image/png;base64,{}\"/><g class=\"{}\" font-size=\"{size:.2}\" stroke-width=\"{:.2}\">",
            100.0 * w / widest_mm,
            escaped(column),
            escaped(&self.description),
            self.base64,
            self.lettering(),
            size * 0.22
        );
        let [left, right, top, bottom] = &self.edges;
        let gap = size * 0.3;
        for (text, x, y, anchor) in [
            (left, gap, h / 2.0 + size * 0.35, "start"),
            (right, w - gap, h / 2.0 + size * 0.35, "end"),
            (top, w / 2.0, size, "middle"),
            (bottom, w / 2.0, h - gap, "middle"),
        ] {
            let _ = write!(out, "<text x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\">{text}</text>");
        }
        out.push_str("</g>");
        self.write_scale_bar(out, size, widest_mm);
        out.push_str("</svg>");
    }

    /// The style class of letters and ruler.
    const fn lettering(&self) -> &'static str {
        if self.is_light { "edge onlight" } else { "edge" }
    }

    /// A ruler at the lower right: the longest round length within a quarter of the widest picture.
    fn write_scale_bar(&self, out: &mut String, size: f64, widest_mm: f64) {
        let Some(length) =
            [100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0].into_iter().find(|length| *length <= 0.25 * widest_mm)
        else {
            return;
        };
        let (x, y) = (self.width_mm - size * 0.4, self.height_mm - size * 0.4);
        let _ = write!(
            out,
            "<g class=\"{}\" font-size=\"{:.2}\" stroke-width=\"{:.2}\"><path d=\"M{:.2} {y:.2}H{x:.2}\" \
             class=\"under\" stroke-width=\"{:.2}\"/><path d=\"M{:.2} {y:.2}H{x:.2}\" class=\"ruler\" \
             stroke-width=\"{:.2}\"/><text x=\"{x:.2}\" y=\"{:.2}\" text-anchor=\"end\">{length} mm</text></g>",
            self.lettering(),
            size * 0.7,
            size * 0.16,
            x - length,
            size * 0.3,
            x - length,
            size * 0.14,
            y - size * 0.4
        );
    }
}

/// Whether the picture's edge, where the letters stand, is light: by its green, which carries most of the lightness.
fn is_light(picture: &Picture) -> bool {
    let (width, height) = (picture.width_px(), picture.height_px());
    let edge = (picture.pixels().iter().enumerate()).filter(|(n, _)| {
        n % width == 0 || n % width == width - 1 || n / width == 0 || n / width == height - 1
    });
    let (total, n) = edge.fold((0, 0), |(total, n), (_, pixel)| (total + u64::from(pixel.0[1]), n + 1));
    total > 127 * n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PictureStyle, Plane};
    use synthct_image::{Grid, PointLps, Volume, VoxelIndex};

    #[test]
    fn gaps_are_explained_and_pictures_share_one_scale() -> Result<(), Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned([10, 20, 5], [2.0, 2.0, 4.0], PointLps::ORIGIN)?;
        let mut volume = Volume::filled(&grid, 0.0_f32);
        let html_of = |volume: &Volume<f32>| -> Result<String, ReportError> {
            let style = PictureStyle::gray(Window::BONE);
            let at = grid.center_lps();
            let coronal = Picture::of_slice(volume, Plane::Coronal, at, &style)?;
            let sagittal = Picture::of_slice(volume, Plane::Sagittal, at, &style)?;
            let panel = Panel::new("c", vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])
                .row("r", &[Some(coronal), None, Some(sagittal)])?
                .color_bar(ColorBar::new("CT", "HU", ColorMap::Gray, Window::BONE));
            let mut html = String::new();
            panel.write_html(&mut html, "p");
            Ok(html)
        };
        let html = html_of(&volume)?;
        // 20 mm beside 40 mm.
        assert!(html.contains("width:50.00%") && html.contains("width:100.00%"), "{html}");
        assert_eq!(html.matches("class=\"cell\"").count(), 3);
        assert!(html.contains("CT [HU]") && html.contains(">1500</text>") && html.contains(">−500</text>"));
        assert!(!html.contains("Yellow"));
        volume[VoxelIndex::new(5, 10, 2)] = f32::INFINITY;
        assert!(html_of(&volume)?.contains("Yellow"));
        Ok(())
    }
}
