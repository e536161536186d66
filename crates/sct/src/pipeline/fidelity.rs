//! Our dose of a plan against that of the planning system.

use std::collections::BTreeMap;

use serde::Serialize;
use synthct_eval::{DvhFigures, GammaConfig, GammaMap, GammaSummary, gamma};
use synthct_image::{Mask, Volume};
use synthct_report::{Cell, Column, Section, Table};

use super::dose_page::dvh_chart;
use super::{PipelineError, StructureDvh, structure_dvh};

/// Our dose of a plan on the CT against the planning system's.
#[derive(Clone, Debug)]
pub struct Fidelity {
    /// γ of our dose at 1 %/1 mm, 2 %/2 mm and 3 %/3 mm of the prescription, in the planning system's voxels from 10 % of it on.
    pub gamma: Vec<GammaMap>,
    /// Histograms: `reference` is the planning system's, `evaluated` ours.
    pub dvh: Vec<StructureDvh>,
    /// What percentages refer to, Gy.
    pub prescription_gy: f64,
}

/// Compares a computed dose with that of the planning system, the reference.
///
/// γ is global, exact to 0.002 and capped at 2, inside the body. Doses may lie on different grids of one frame.
///
/// # Errors
/// [`PipelineError::Eval`].
pub fn fidelity(
    planning_system_gy: &Volume<f32>,
    ours_gy: &Volume<f32>,
    body: &Mask,
    structures: &[(String, Mask)],
    prescription_gy: f64,
) -> Result<Fidelity, PipelineError> {
    let config = GammaConfig::global(prescription_gy, &[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]);
    let body = body.resampled(planning_system_gy.grid(), None)?;
    let gamma = gamma(planning_system_gy, ours_gy, Some(&body), &config)?;
    let dvh = structures
        .iter()
        .map(|(name, structure)| {
            Ok(StructureDvh {
                name: name.clone(),
                prescription_gy: None,
                reference: structure_dvh(planning_system_gy, structure)?,
                evaluated: structure_dvh(ours_gy, structure)?,
            })
        })
        .collect::<Result<_, PipelineError>>()?;
    Ok(Fidelity { gamma, dvh, prescription_gy })
}

/// The figures of a [`Fidelity`].
#[derive(Clone, Debug, Serialize)]
pub struct FidelitySummary {
    /// Passing rates in percent, by criterion and cut-off, such as `2/2>10`.
    pub gamma_percent: BTreeMap<String, f64>,
    /// What each passing rate is of.
    pub gamma: BTreeMap<String, GammaSummary>,
    /// The figures of every structure: the planning system's, then ours.
    pub structures: BTreeMap<String, [DvhFigures; 2]>,
}

impl Fidelity {
    /// The figures.
    pub fn summary(&self) -> FidelitySummary {
        let named = |map: &GammaMap| {
            let criterion = map.criterion;
            (format!("{}/{}>10", criterion.dose_percent, criterion.distance_mm), map.summary)
        };
        let gamma: BTreeMap<String, GammaSummary> = self.gamma.iter().map(named).collect();
        FidelitySummary {
            gamma_percent: gamma.iter().map(|(name, summary)| (name.clone(), summary.pass_percent)).collect(),
            gamma,
            structures: (self.dvh.iter())
                .map(|dvh| (dvh.name.clone(), [dvh.reference.figures(), dvh.evaluated.figures()]))
                .collect(),
        }
    }

    /// The section of a page.
    pub fn section(&self) -> Section {
        let value = |mean: f64| Cell::Value { mean, sd: None };
        let columns = vec![
            Column::new("criterion"),
            Column::new("γ ≤ 1").unit("%", 2),
            Column::new("mean γ").unit("", 3),
            Column::new("voxels").unit("", 0),
        ];
        let mut table = Table::new("Gamma: our dose on the CT against the planning system's", columns).note(
            "Global, of the prescription; voxels of the planning system's dose at or above 10 % of it inside the body.",
        );
        for (name, gamma) in &self.summary().gamma {
            table = table.row(vec![
                Cell::Text(name.clone()),
                value(gamma.pass_percent),
                value(gamma.mean),
                Cell::Count(gamma.n_points),
            ]);
        }
        let mut columns = vec![Column::new("structure"), Column::new("volume").unit("cm³", 1)];
        for name in ["D98", "mean", "D2"] {
            columns.push(Column::new(format!("{name} planned")).unit("Gy", 2));
            columns.push(Column::new(format!("{name} here")).unit("Gy", 2));
            columns.push(Column::new("difference").unit("% of prescription", 2));
        }
        let mut doses = Table::new("Doses of structures on the CT", columns);
        for dvh in &self.dvh {
            let (planned, here) = (dvh.reference.figures(), dvh.evaluated.figures());
            let mut row = vec![Cell::Text(dvh.name.clone()), value(planned.volume_cm3)];
            for (planned, here) in
                [(planned.d98_gy, here.d98_gy), (planned.mean_gy, here.mean_gy), (planned.d2_gy, here.d2_gy)]
            {
                row.extend([
                    value(planned),
                    value(here),
                    value(100.0 * (here - planned) / self.prescription_gy),
                ]);
            }
            doses = doses.row(row);
        }
        let chart = dvh_chart(
            "Cumulative dose-volume histograms of the planning system's dose and of ours, both on the CT.",
            &self.dvh,
            ["planned", "here"],
        );
        Section::new("Fidelity to the planning system").table(table).table(doses).chart(chart)
    }
}
