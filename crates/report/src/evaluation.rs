//! From evaluation results to tables, charts and panels.

use synthct_eval::{ImageSummary, MeanSd, RegionValues};
use synthct_image::{Mask, PointLps, Volume};

use crate::text::number;
use crate::{
    Better, Cell, ColorBar, ColorMap, Column, LineChart, Panel, Picture, PictureStyle, Plane, ReportError,
    Rgb, Series, Table, Window, require_grid,
};

/// The arms' image metrics as tables: errors by region, overlaps, similarity.
///
/// Captions carry the definitions that the summaries carry.
pub fn metrics_tables(arms: &[(String, ImageSummary)]) -> Vec<Table> {
    let definition = |name: &str| {
        let mut all: Vec<&str> = Vec::new();
        for (_, summary) in arms {
            if let Some(text) = summary.definitions.get(name)
                && !all.contains(&text.as_str())
            {
                all.push(text);
            }
        }
        all.join(" / ")
    };
    let arm = || Column::new("arm");
    let n = || Column::new("n").unit("cases", 0);
    let mut tables = Vec::new();
    let by_region = |title: &str,
                     name: &str,
                     unit: &str,
                     decimals: usize,
                     better: Better,
                     pick: fn(&ImageSummary) -> &RegionValues<MeanSd>| {
        let mut columns = vec![arm()];
        for region in ["body", "bone", "soft tissue", "air"] {
            columns.push(Column::new(region).unit(unit, decimals).better(better));
        }
        columns.push(n());
        let mut table = Table::new(title, columns).note(format!("Definition: {}.", definition(name)));
        for (arm, summary) in arms {
            let mut row = vec![Cell::Text(arm.clone())];
            row.extend(pick(summary).named().map(|(_, value)| cell(value)));
            row.push(Cell::Count(summary.n));
            table = table.row(row);
        }
        table
    };
    tables.push(by_region("Mean absolute error", "mae_hu", "HU", 1, Better::Lower, |s| &s.mae_hu));
    tables.push(by_region("Mean error", "mean_error_hu", "HU", 1, Better::NearZero, |s| &s.mean_error_hu));
    tables.push(by_region("Dice coefficient", "dice", "", 3, Better::Higher, |s| &s.dice));
    let mut similarity = Table::new(
        "Similarity",
        vec![
            arm(),
            Column::new("SSIM").unit("2023", 4).better(Better::Higher),
            Column::new("MS-SSIM").unit("2025", 4).better(Better::Higher),
            Column::new("PSNR").unit("dB, 2023", 2).better(Better::Higher),
            Column::new("PSNR").unit("dB, 2025", 2).better(Better::Higher),
            n(),
        ],
    )
    .note(format!(
        "SSIM: {}. MS-SSIM: {}. PSNR: {} / {}.",
        definition("ssim"),
        definition("ms_ssim"),
        definition("psnr_db"),
        definition("psnr_synthrad2025_db")
    ));
    for (arm, summary) in arms {
        similarity = similarity.row(vec![
            Cell::Text(arm.clone()),
            cell(summary.ssim.as_ref()),
            cell(summary.ms_ssim.as_ref()),
            cell(summary.psnr_db.as_ref()),
            cell(summary.psnr_synthrad2025_db.as_ref()),
            Cell::Count(summary.n),
        ]);
    }
    tables.push(similarity);
    tables
}

fn cell(value: Option<&MeanSd>) -> Cell {
    value.map_or(Cell::Absent, |value| Cell::Value { mean: value.mean, sd: value.sd })
}

/// Bone Dice against the HU from which a voxel is bone, one line an arm.
pub fn bone_dice_chart(arms: &[(String, ImageSummary)]) -> LineChart {
    let mut chart = LineChart::new(
        "Dice coefficient of bone in CT and sCT by the threshold above which a voxel is bone; means over the cases that \
         have such bone.",
        "bone threshold [HU]",
        "Dice coefficient",
    );
    for (arm, summary) in arms {
        let points = (summary.bone_dice_by_threshold.iter())
            .map(|entry| (entry.threshold_hu, entry.dice.mean))
            .collect();
        chart = chart.series(Series::new(arm.clone(), points));
    }
    chart
}

/// What [`comparison_panels`] shows.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The MR and its name, on the CT's grid.
    pub mr: Option<(&'a str, &'a Volume<f32>)>,
    /// The reference CT.
    pub ct: &'a Volume<f32>,
    /// Synthetic CTs and their names, on the CT's grid.
    pub scts: &'a [(&'a str, &'a Volume<f32>)],
    /// The body: its border is drawn, pictures are cut to it, and the MR's window is taken from it.
    pub body: &'a Mask,
    /// The window of CT and sCT.
    pub window: Window,
    /// The window of sCT − CT.
    pub difference_window: Window,
}

/// The color of the body's border: a gray, which is in no difference.
const OUTLINE: Rgb = Rgb([110; 3]);

/// MR, CT, each sCT and each difference sCT − CT through `point`, in three planes.
///
/// Up to two sCTs share one panel with a row a plane; with more there is a panel a plane, differences below their sCT.
///
/// # Errors
/// [`ReportError::GridMismatch`] if an image is not on the CT's grid, and those of [`Picture::of_slice`].
pub fn comparison_panels(comparison: &Comparison<'_>, point: PointLps) -> Result<Vec<Panel>, ReportError> {
    let Comparison { mr, ct, scts, body, window, difference_window } = *comparison;
    require_grid(ct.grid(), body.grid(), "body mask", "ct")?;
    if let Some((name, mr)) = mr {
        require_grid(ct.grid(), mr.grid(), name, "ct")?;
    }
    let mut differences = Vec::with_capacity(scts.len());
    for (name, sct) in scts {
        require_grid(ct.grid(), sct.grid(), name, "ct")?;
        let difference = ct.zip_map(sct, |ct, sct| sct - ct).map_err(|source| ReportError::GridMismatch {
            image: (*name).to_owned(),
            reference: "ct".to_owned(),
            source: Box::new(source),
        })?;
        differences.push(difference);
    }
    let mr_window = match mr {
        Some((_, mr)) => Some(Window::from_percentiles(mr, body, 1.0, 99.0)?),
        None => None,
    };
    let gray = |window: Window| PictureStyle { crop_to: Some(body), ..PictureStyle::gray(window) };
    let difference_style = PictureStyle {
        window: difference_window,
        crop_to: Some(body),
        outlines: &[(body, OUTLINE)],
        ..PictureStyle::difference()
    };
    let draw = |volume: &Volume<f32>, plane: Plane, style: PictureStyle<'_>| {
        Picture::of_slice(volume, plane, point, &style).map(Some)
    };
    let references = |plane: Plane| -> Result<Vec<Option<Picture>>, ReportError> {
        let mut pictures = Vec::new();
        if let (Some((_, mr)), Some(window)) = (mr, mr_window) {
            pictures.push(draw(mr, plane, gray(window))?);
        }
        pictures.push(draw(ct, plane, gray(window))?);
        Ok(pictures)
    };
    let mut reference_names: Vec<String> = mr.iter().map(|(name, _)| (*name).to_owned()).collect();
    reference_names.push("CT".to_owned());
    let bars =
        |panel: Panel| {
            panel
                .color_bar(ColorBar::new("CT and sCT", "HU", ColorMap::Gray, window))
                .color_bar(ColorBar::new("sCT − CT", "HU", ColorMap::Difference, difference_window))
        };
    let mr_note = if mr.is_some() {
        " The MR has no unit; it is shown from its 1st to its 99th percentile in the body."
    } else {
        ""
    };
    let [x, y, z] = point.to_array().map(|coordinate| number(coordinate, 0));
    let place = format!("through ({x}, {y}, {z}) mm LPS");
    let outline_note = "The line in the differences is the border of the body mask; values outside the windows are \
                        shown as their ends.";

    let mut panels = Vec::new();
    if scts.len() <= 2 {
        let mut columns = reference_names;
        columns.extend(scts.iter().map(|(name, _)| (*name).to_owned()));
        columns.extend(scts.iter().map(|(name, _)| format!("{name} − CT")));
        let mut panel = Panel::new(format!("Slices {place}. {outline_note}{mr_note}"), columns);
        for plane in Plane::ALL {
            let mut pictures = references(plane)?;
            for (_, sct) in scts {
                pictures.push(draw(sct, plane, gray(window))?);
            }
            for difference in &differences {
                pictures.push(draw(difference, plane, difference_style)?);
            }
            panel = panel.row(plane.to_string(), &pictures)?;
        }
        panels.push(bars(panel));
    } else {
        for plane in Plane::ALL {
            let mut columns = reference_names.clone();
            columns.extend(scts.iter().map(|(name, _)| (*name).to_owned()));
            let mut pictures = references(plane)?;
            let mut below = vec![None; pictures.len()];
            for ((_, sct), difference) in std::iter::zip(scts, &differences) {
                pictures.push(draw(sct, plane, gray(window))?);
                below.push(draw(difference, plane, difference_style)?);
            }
            let panel = Panel::new(format!("The {plane} slice {place}. {outline_note}{mr_note}"), columns)
                .row("image", &pictures)?
                .row("sCT − CT", &below)?;
            panels.push(bars(panel));
        }
    }
    Ok(panels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Report, Section};
    use synthct_eval::{evaluate_sct, summarize};
    use synthct_image::Grid;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn head(size: usize) -> Result<(Volume<f32>, Mask), Box<dyn std::error::Error>> {
        let grid = Grid::axis_aligned([size, size, size], [2.0; 3], PointLps::ORIGIN)?;
        let radius = |index: synthct_image::VoxelIndex| {
            let middle = (size - 1) as f64 / 2.0;
            let square = |n: usize| (n as f64 - middle).powi(2);
            (square(index.i) + square(index.j) + square(index.k)).sqrt() / middle
        };
        let ct = Volume::from_index_fn(&grid, |index| match radius(index) {
            r if r < 0.6 => 40.0_f32,
            r if r < 0.8 => 900.0,
            _ => -1000.0,
        });
        let body = Mask::new(Volume::from_index_fn(&grid, |index| radius(index) < 0.9));
        Ok((ct, body))
    }

    #[test]
    fn a_whole_evaluation_becomes_a_page() -> TestResult {
        let (ct, body) = head(24)?;
        let scts: Vec<Volume<f32>> = [5.0, 10.0, 20.0].map(|error| ct.map(|hu| hu + error)).into();
        let names = ["first", "second", "third"];
        let mut arms = Vec::new();
        for (name, sct) in std::iter::zip(names, &scts) {
            arms.push((name.to_owned(), summarize(&[evaluate_sct(&ct, sct, &body)?])));
        }
        let shown: Vec<(&str, &Volume<f32>)> = std::iter::zip(names, &scts).collect();
        let all = Comparison {
            mr: Some(("ZTE", &ct)),
            ct: &ct,
            scts: &shown,
            body: &body,
            window: Window::WIDE,
            difference_window: Window::DIFFERENCE,
        };
        let middle = crate::centroid_lps(&body)?;
        let panels = comparison_panels(&all, middle)?;
        assert_eq!(panels.len(), 3);
        let one = comparison_panels(&Comparison { scts: &shown[..1], ..all }, middle)?;
        assert_eq!(one.len(), 1);
        let mut section = Section::new("all").chart(bone_dice_chart(&arms));
        for panel in panels.into_iter().chain(one) {
            section = section.panel(panel);
        }
        for table in metrics_tables(&arms) {
            section = section.table(table);
        }
        let html = Report::new("t").section(section).to_html();
        // Three panels of MR, CT, three sCTs and three differences; one of three rows of four.
        assert_eq!(html.matches("data:image/png;base64,").count(), 3 * 8 + 3 * 4);
        assert!(html.contains("▸ 5.0") && html.contains("20.0") && html.contains("SynthRAD2023"));
        // A single case has no standard deviation.
        assert!(!html.contains("class=\"sd\""));
        Ok(())
    }

    #[test]
    fn an_image_on_another_grid_is_named() -> TestResult {
        let ((ct, body), (other, _)) = (head(24)?, head(20)?);
        let comparison = Comparison {
            mr: None,
            ct: &ct,
            scts: &[("arm x", &other)],
            body: &body,
            window: Window::WIDE,
            difference_window: Window::DIFFERENCE,
        };
        let error = comparison_panels(&comparison, PointLps::new(20.0, 20.0, 20.0));
        assert!(matches!(error, Err(ReportError::GridMismatch { image, .. }) if image == "arm x"));
        Ok(())
    }
}
