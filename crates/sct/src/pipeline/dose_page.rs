//! The page that shows what a synthetic CT does to a dose.

use synthct_image::{Interpolation, Mask, PointLps, Volume, resample};
use synthct_report::{
    Cell, ColorBar, ColorMap, Column, LineChart, Panel, Picture, PictureStyle, Plane, Report, Rgb, Section,
    Series, Table, Window, centroid_lps,
};

use super::page::program;
use super::{DoseComparison, DoseSettings, Fidelity, PipelineError, StructureDvh};

/// Isodoses drawn on the images, in percent of the prescription, and their colours from low to high.
const ISODOSES: [(f64, Rgb); 5] = [
    (20.0, Rgb([86, 180, 233])),
    (50.0, Rgb([0, 158, 115])),
    (80.0, Rgb([240, 228, 66])),
    (95.0, Rgb([230, 159, 0])),
    (105.0, Rgb([213, 94, 0])),
];
/// The HU shown from black to white below isodoses.
const HU_LIMITS: (f64, f64) = (-500.0, 1000.0);
/// The differences of dose shown from one end of their colours to the other, in percent of the prescription.
const DIFFERENCE_PERCENT: f64 = 3.0;

/// The doses of one plan on a CT and on a synthetic CT as an HTML page, with the fidelity to the planning system if that is known.
///
/// # Errors
/// [`PipelineError::Report`], [`PipelineError::Eval`].
pub fn dose_page(
    title: &str,
    comparison: &DoseComparison,
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    target: &Mask,
    settings: &DoseSettings,
    fidelity: Option<&Fidelity>,
) -> Result<String, PipelineError> {
    let sections = dose_sections(comparison, ct, sct, target, settings)?;
    let sections = sections.into_iter().chain(fidelity.map(Fidelity::section));
    Ok(sections.fold(Report::new(title).fact("program", program()), Report::section).to_html())
}

/// The sections of [`dose_page`], for other pages.
///
/// # Errors
/// As [`dose_page`].
pub fn dose_sections(
    comparison: &DoseComparison,
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    target: &Mask,
    settings: &DoseSettings,
) -> Result<Vec<Section>, PipelineError> {
    Ok(vec![
        figures(comparison)?,
        pictures(comparison, ct, sct, centroid_lps(target)?)?,
        Section::new("Dose-volume histograms").chart(histograms(comparison)),
        conditions(comparison, settings),
    ])
}

fn figures(comparison: &DoseComparison) -> Result<Section, PipelineError> {
    let summary = comparison.summary()?;
    let columns = vec![
        Column::new("criterion"),
        Column::new("γ ≤ 1").unit("%", 2),
        Column::new("mean γ").unit("", 3),
        Column::new("voxels").unit("", 0),
    ];
    let mut table = Table::new("Gamma: the dose on the sCT against that on the CT", columns).note(format!(
        "Global: percentages are of the prescription, {} Gy. Names are dose difference in % / distance in mm > cut-off in \
         % of the prescription; voxels of the reference at or above it inside the body. γ is the minimum over the \
         trilinear dose to 0.002, 2 at most.",
        comparison.prescription_gy
    ));
    let value = |mean: f64| Cell::Value { mean, sd: None };
    for (name, gamma) in &summary.gamma {
        table = table.row(vec![
            Cell::Text(name.clone()),
            value(gamma.pass_percent),
            value(gamma.mean),
            Cell::Count(gamma.n_points),
        ]);
    }
    for refused in &comparison.gamma_refused {
        let name = Cell::Text(refused.criterion.clone());
        table = table.row(vec![name, Cell::Text(refused.to_string())]);
    }
    let mut columns = vec![Column::new("structure"), Column::new("volume").unit("cm³", 1)];
    for name in ["D98", "D95", "D50", "mean", "D2"] {
        columns.push(Column::new(format!("{name} on CT")).unit("Gy", 2));
        columns.push(Column::new("sCT − CT").unit("% of prescr.", 2));
    }
    let mut doses = Table::new("Doses of structures", columns)
        .note(
            "D98 is the dose that 98 % of the volume receive at least, and so on, from sorted voxels. Differences are in % of a \
             target's own prescription, of other structures in % of the highest.",
        );
    for dvh in &comparison.dvh {
        let (ct, sct) = (dvh.reference.figures(), dvh.evaluated.figures());
        let mut row = vec![Cell::Text(dvh.name.clone()), value(ct.volume_cm3)];
        let of_gy = dvh.prescription_gy.unwrap_or(comparison.prescription_gy);
        for (ct, sct) in [
            (ct.d98_gy, sct.d98_gy),
            (ct.d95_gy, sct.d95_gy),
            (ct.d50_gy, sct.d50_gy),
            (ct.mean_gy, sct.mean_gy),
            (ct.d2_gy, sct.d2_gy),
        ] {
            row.extend([value(ct), value(100.0 * (sct - ct) / of_gy)]);
        }
        doses = doses.row(row);
    }
    let synthrad = &comparison.synthrad;
    let mut facts = Vec::new();
    if let Some(mae) = synthrad.mae_dose {
        let text = format!("{:.3} % of the prescription, where the CT has 90 % of it", 100.0 * mae);
        facts.push(("SynthRAD dose MAE".to_owned(), text));
    }
    if let Some(dvh) = &synthrad.dvh {
        let parts = format!(
            "{:.4} = {:.4} (D98) + {:.4} (CI) of the target + {:.4} (D2) + {:.4} (mean) of up to three structures",
            dvh.value, dvh.target_d98, dvh.target_ci, dvh.organs_d2, dvh.organs_mean
        );
        facts.push(("SynthRAD DVH".to_owned(), parts));
    }
    Ok(Section::new("Dose").table(table).table(doses).facts(facts))
}

fn pictures(
    comparison: &DoseComparison,
    ct: &Volume<f32>,
    sct: &Volume<f32>,
    point: PointLps,
) -> Result<Section, PipelineError> {
    let rows: Vec<_> = Plane::ALL
        .into_iter()
        .map(|plane| PictureRow { title: plane.to_string(), comparison, sct, plane })
        .collect();
    Ok(Section::new("Dose in pictures").panel(dose_panel("Slices", &rows, ct, point)?))
}

/// One row of a panel of doses.
pub(super) struct PictureRow<'a> {
    pub(super) title: String,
    pub(super) comparison: &'a DoseComparison,
    pub(super) sct: &'a Volume<f32>,
    pub(super) plane: Plane,
}

/// Isodoses on CT and sCT, the difference of dose and γ, a row a slice; `what` begins the caption.
pub(super) fn dose_panel(
    what: &str,
    rows: &[PictureRow<'_>],
    ct: &Volume<f32>,
    point: PointLps,
) -> Result<Panel, PipelineError> {
    let window = Window::from_limits(HU_LIMITS.0, HU_LIMITS.1)?;
    let difference_window = Window::from_limits(-DIFFERENCE_PERCENT, DIFFERENCE_PERCENT)?;
    let gamma_window = Window::from_limits(0.0, 2.0)?;
    let levels = ISODOSES.map(|(percent, _)| format!("{percent} %")).join(", ");
    let mut columns = vec!["CT".to_owned(), "sCT".to_owned(), "dose on sCT − on CT".to_owned()];
    let strictest = rows.first().and_then(|row| row.comparison.gamma.first()).map(|map| map.criterion);
    if let Some(criterion) = strictest {
        columns.push(format!("γ {} %/{} mm", criterion.dose_percent, criterion.distance_mm));
    }
    let caption = format!(
        "{what} through the middle of the target. Lines are isodoses of {levels} of the prescription, from blue through green \
         and yellow to red, the highest innermost. γ is shown as 0 where it was not computed; orange fails."
    );
    let mut panel = Panel::new(caption, columns);
    for row in rows {
        panel = panel.row(
            row.title.clone(),
            &dose_pictures(row, ct, point, [window, difference_window, gamma_window])?,
        )?;
    }
    Ok(panel
        .color_bar(ColorBar::new("difference", "% of prescription", ColorMap::Difference, difference_window))
        .color_bar(ColorBar::new("γ", "", ColorMap::Difference, gamma_window)))
}

fn dose_pictures(
    row: &PictureRow<'_>,
    ct: &Volume<f32>,
    point: PointLps,
    [window, difference_window, gamma_window]: [Window; 3],
) -> Result<Vec<Option<Picture>>, PipelineError> {
    let (reference, evaluated) = (&row.comparison.reference_gy, &row.comparison.evaluated_gy);
    let prescription_gy = row.comparison.prescription_gy;
    let image = |image: &Volume<f32>, dose: &Volume<f32>| -> Result<Option<Picture>, PipelineError> {
        let image = resample(image, dose.grid(), None, Interpolation::Linear, -1000.0)?;
        let isodoses = ISODOSES.map(|(percent, color)| {
            let from_gy = (percent / 100.0 * prescription_gy) as f32;
            (Mask::from_values(dose, |&gy| gy >= from_gy), color)
        });
        let outlines: Vec<(&Mask, Rgb)> = isodoses.iter().map(|(mask, color)| (mask, *color)).collect();
        let style = PictureStyle { outlines: &outlines, ..PictureStyle::gray(window) };
        Ok(Some(Picture::of_slice(&image, row.plane, point, &style)?))
    };
    let map = |volume: &Volume<f32>, window: Window| {
        let style = PictureStyle { window, ..PictureStyle::difference() };
        Picture::of_slice(volume, row.plane, point, &style).map(Some)
    };
    let difference =
        reference.zip_map(evaluated, |&a, &b| (100.0 * f64::from(b - a) / prescription_gy) as f32)?;
    let mut pictures =
        vec![image(ct, reference)?, image(row.sct, evaluated)?, map(&difference, difference_window)?];
    if let Some(gamma) = row.comparison.gamma.first() {
        pictures.push(map(&gamma.gamma.map(|g| if g.is_nan() { 0.0 } else { *g }), gamma_window)?);
    }
    Ok(pictures)
}

pub(super) fn histograms(comparison: &DoseComparison) -> LineChart {
    dvh_chart("Cumulative dose-volume histograms on CT and sCT.", &comparison.dvh, ["CT", "sCT"])
}

/// The histograms of structures on the reference and on the evaluated dose, which have these names.
pub(super) fn dvh_chart(caption: &str, structures: &[StructureDvh], names: [&str; 2]) -> LineChart {
    const POINTS: usize = 160;
    let mut chart =
        LineChart::new(caption, "dose [Gy]", "volume that receives it or more [%]").y_limits(0.0, 100.0);
    for dvh in structures {
        for (name, dvh_of) in std::iter::zip(names, [&dvh.reference, &dvh.evaluated]) {
            let points = dvh_of.curve(POINTS).into_iter().map(|[dose, volume]| (dose, volume)).collect();
            chart = chart.series(Series::new(format!("{} {name}", dvh.name), points));
        }
    }
    chart
}

fn engine(comparison: &DoseComparison, settings: &DoseSettings) -> String {
    match &comparison.noise {
        None => format!("collapsed cones, {:?}, dose to medium", settings.cones).to_lowercase(),
        Some(noise) => format!(
            "Monte Carlo, {:.2e} histories of seed {} on each image, noise {:.2} % (one standard deviation, where the dose is \
             half of the largest or more), dose to medium",
            noise.n_histories as f64, noise.seed, noise.uncertainty_percent
        ),
    }
}

pub(super) fn conditions(comparison: &DoseComparison, settings: &DoseSettings) -> Section {
    let plan = &comparison.plan;
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let curve = settings
        .curve
        .points()
        .iter()
        .map(|p| format!("({} {} {})", p.hu, p.mass_g_per_cm3, p.relative_electron))
        .collect::<Vec<_>>()
        .join(" ");
    Section::new("How the doses were computed").facts(vec![
        fact(
            "plan",
            format!("{}, {} beam(s), {:.0} MU in one fraction", plan.label, plan.n_beams, plan.monitor_units),
        ),
        fact("machine", settings.machine.name.clone()),
        fact("engine", engine(comparison, settings)),
        fact("dose grid", comparison.reference_gy.grid().to_string()),
        fact("outside the body", "air, by one body for both images".to_owned()),
        fact("HU, g/cm³, relative electron density", curve),
    ])
}
