//! Writes a report on an analytic head with four made-up synthetic CTs: `cargo run -p synthct-report --example
//! head_report -- report.html`.
//!
//! Nothing here is measured or learnt; it shows what a page can hold and what it looks like.

use std::error::Error;

use synthct_eval::{ImageMetrics, evaluate_sct, summarize};
use synthct_image::{Grid, Mask, Matrix3, PointLps, Volume};
use synthct_report::{
    Comparison, LineChart, Report, Scale, Section, Series, Window, bone_dice_chart, centroid_lps,
    comparison_panels, metrics_tables,
};

/// An ellipsoid's level: below 1 inside.
fn ellipsoid(p: PointLps, center: [f64; 3], half_axes: [f64; 3]) -> f64 {
    let [x, y, z] = p.to_array();
    std::iter::zip([x, y, z], std::iter::zip(center, half_axes))
        .map(|(p, (c, h))| ((p - c) / h).powi(2))
        .sum()
}

/// HU of a simple head; `scale` makes subjects differ.
fn head_hu(p: PointLps, scale: f64) -> f64 {
    let outer = ellipsoid(p, [0.0, 0.0, 0.0], [78.0 * scale, 98.0 * scale, 108.0]).sqrt();
    let nose = ellipsoid(p, [0.0, -97.0 * scale, -38.0], [13.0, 18.0, 20.0]);
    if outer > 1.0 && nose > 1.0 {
        return -1000.0;
    }
    let sinus = [[-9.0, -70.0, -20.0], [9.0, -70.0, -20.0], [-22.0, -60.0, -48.0], [22.0, -60.0, -48.0]];
    if sinus.iter().any(|&center| ellipsoid(p, center, [7.0, 15.0, 11.0]) < 1.0) {
        return -980.0;
    }
    let brain = outer / 0.86;
    if brain > 1.0 {
        let skull = (outer - 0.86) / 0.07;
        return match skull {
            s if s < 0.3 => 1350.0,
            s if s < 0.7 => 620.0,
            s if s < 1.0 => 1500.0,
            s if s < 1.45 => -90.0,
            _ => 45.0,
        };
    }
    let face = p.z < -30.0 && p.y < -25.0;
    if face {
        return if ellipsoid(p, [0.0, -55.0, -82.0], [34.0, 30.0, 9.0]) < 1.0 { 1100.0 } else { 55.0 };
    }
    let left = ellipsoid(p, [10.0, 6.0, 18.0], [6.0, 26.0, 10.0]);
    let right = ellipsoid(p, [-10.0, 6.0, 18.0], [6.0, 26.0, 10.0]);
    // A hyperdense lesion on the patient's left, so that the sides can be told apart.
    if ellipsoid(p, [40.0, 20.0, 30.0], [9.0, 9.0, 9.0]) < 1.0 {
        return 75.0;
    }
    if left.min(right) < 1.0 { 8.0 } else { 34.0 }
}

/// Noise without a random generator: −1 to 1 by position.
fn noise(p: PointLps, seed: f64) -> f64 {
    let s = (p.x * 12.9898 + p.y * 78.233 + p.z * 37.719 + seed * 17.17).sin() * 43_758.545_3;
    2.0 * (s - s.floor()) - 1.0
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: head_report OUT.html")?;
    // Stored as a sagittal acquisition: i to posterior, j to inferior, k to the right.
    let direction = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]);
    let grid = Grid::new([130, 125, 92], [1.8, 1.8, 2.0], PointLps::new(91.0, -120.0, 112.0), direction)?;

    let names = ["3TN", "2TN", "1TN-FL", "bulk density"];
    let mut cases: Vec<Vec<ImageMetrics>> = vec![Vec::new(); names.len()];
    let mut last = None;
    for subject in 0..3 {
        let scale = 0.94 + 0.03 * f64::from(subject);
        let seed = f64::from(subject);
        let ct = Volume::from_point_fn(&grid, |p| (head_hu(p, scale) + 12.0 * noise(p, seed)) as f32);
        let body = Mask::new(Volume::from_point_fn(&grid, |p| head_hu(p, scale * 0.985) > -995.0));
        let mr = Volume::from_point_fn(&grid, |p| {
            let hu = head_hu(p, scale);
            let signal = if hu < -500.0 { 30.0 } else { 900.0 - 0.45 * (hu - 40.0).abs() };
            (signal * (1.0 + 0.0012 * p.x) + 25.0 * noise(p, seed + 7.0)) as f32
        });
        let scts: Vec<Volume<f32>> = (0..names.len())
            .map(|arm| {
                let arm = arm as f64 + 1.0;
                Volume::from_point_fn(&grid, |p| {
                    let shifted = PointLps::new(p.x + 0.4 * arm, p.y - 0.5 * arm, p.z);
                    let hu = head_hu(shifted, scale);
                    let hu = match hu {
                        hu if arm > 3.5 && hu > 250.0 => 700.0,
                        hu if hu > 250.0 => hu * (1.0 - 0.05 * arm) + 40.0 * noise(p, arm),
                        hu => hu + 8.0 * noise(p, arm),
                    };
                    hu as f32
                })
            })
            .collect();
        for (metrics, sct) in cases.iter_mut().zip(&scts) {
            metrics.push(evaluate_sct(&ct, sct, &body)?);
        }
        last = Some((mr, ct, body, scts));
    }
    let (mr, ct, body, scts) = last.ok_or("no subject")?;
    let arms: Vec<_> =
        names.iter().map(|name| (*name).to_owned()).zip(cases.iter().map(|c| summarize(c))).collect();
    let shown: Vec<(&str, &Volume<f32>)> = names.iter().copied().zip(&scts).collect();

    let comparison = Comparison {
        mr: Some(("MR", &mr)),
        ct: &ct,
        scts: &shown,
        body: &body,
        window: Window::WIDE,
        difference_window: Window::DIFFERENCE,
    };
    let middle = centroid_lps(&body)?;
    let point = PointLps::new(middle.x + 12.0, middle.y, middle.z + 18.0);
    let mut all_arms = Section::new("All arms, one subject");
    for panel in comparison_panels(&comparison, point)? {
        all_arms = all_arms.panel(panel);
    }
    let one_arm = Comparison { scts: &shown[..1], ..comparison };
    let mut closer = Section::new("3TN, one subject");
    for panel in comparison_panels(&one_arm, point)? {
        closer = closer.panel(panel);
    }
    let mut numbers = Section::new("Errors, overlaps and similarity")
        .paragraph("Mean ± standard deviation over the subjects (n − 1).");
    for table in metrics_tables(&arms) {
        numbers = numbers.table(table);
    }
    let curve = |offset: f64, floor: f64| -> Vec<(f64, f64)> {
        (1..=60).map(|epoch| (f64::from(epoch), floor + offset * (-f64::from(epoch) / 9.0).exp())).collect()
    };
    let training = LineChart::new("Loss by epoch (made up).", "epoch", "loss")
        .y_scale(Scale::Log10)
        .series(Series::new("training", curve(1.6, 0.11)))
        .series(Series::new("validation", curve(1.4, 0.16)))
        .x_mark(48.0, "best epoch 48");
    let report = Report::new("Synthetic CT of an analytic head")
        .intro("Four made-up synthetic CTs of a head drawn from ellipsoids, to show what a report holds.")
        .fact("Subjects", "3 (analytic)")
        .fact("Grid", grid.to_string())
        .fact("Device", "cpu")
        .section(numbers)
        .section(Section::new("Bone by density").chart(bone_dice_chart(&arms)))
        .section(closer)
        .section(all_arms)
        .section(Section::new("Training").chart(training));
    std::fs::write(path, report.to_html())?;
    Ok(())
}
