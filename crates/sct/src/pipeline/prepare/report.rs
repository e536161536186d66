//! What a preparation says about a case: `report.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::{LinearNumbers, PipelineError};
use super::PrepareConfig;

/// What was done to one case, and how it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreparedCase {
    /// The case's name.
    pub id: String,
    /// The program that made it.
    pub generator: String,
    /// The settings.
    pub config: PrepareConfig,
    /// The raw MR's file or folder, as it was found below the raw folder.
    pub mr: String,
    /// The raw CT's, likewise.
    pub ct: String,
    /// The voxels of the prepared images along i, j, k.
    pub size_ijk: [usize; 3],
    /// Their spacing in mm.
    pub spacing_mm: [f64; 3],
    /// How MR and CT came together; none if nothing was registered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub registration: Option<RegistrationNumbers>,
    /// The mask.
    pub body: BodyNumbers,
    /// The MR's bias field; none if it was not looked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bias_field: Option<BiasNumbers>,
    /// What should be looked at, a sentence each.
    pub warnings: Vec<String>,
}

/// How MR and CT came together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistrationNumbers {
    /// Normalised mutual information as the headers (or the given start) place the images; none if they do not meet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nmi_before: Option<f64>,
    /// Normalised mutual information of the result; 1 is independence.
    pub nmi_after: f64,
    /// The percentage of the compared points of the MR that lie in the CT.
    pub overlap_percent: f64,
    /// The rigid or affine part.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub linear: Option<LinearNumbers>,
    /// The smallest Jacobian determinant of a deformation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_jacobian: Option<f64>,
    /// What each step reported, in full.
    pub steps: serde_json::Value,
}

/// The body.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BodyNumbers {
    /// The mask's volume, cm³.
    pub volume_cm3: f64,
    /// The percentage of the MR's body that the CT covers; the mask is that part.
    pub covered_by_ct_percent: f64,
    /// The Dice coefficient of the bodies found on MR and CT; none if none was found on the CT.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dice_mr_ct: Option<f64>,
}

/// The MR's bias field.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BiasNumbers {
    /// Its smallest value in the body.
    pub min: f64,
    /// Its largest value in the body.
    pub max: f64,
    /// Whether the MR was stored without it.
    pub is_corrected: bool,
}

impl PreparedCase {
    /// The file's name in a case's folder.
    pub(crate) const FILE: &'static str = "report.json";

    /// The report of a finished case, if it was made with this configuration.
    ///
    /// # Errors
    /// [`PipelineError::OtherConfiguration`] for another configuration or what is no report;
    /// [`PipelineError::File`] if it cannot be read.
    pub(crate) fn read(folder: &Path, config: &PrepareConfig) -> Result<Self, PipelineError> {
        let path = folder.join(Self::FILE);
        let text = fs::read(&path).map_err(PipelineError::file(&path))?;
        match serde_json::from_slice::<Self>(&text) {
            Ok(report) if report.config == *config => Ok(report),
            _ => Err(PipelineError::OtherConfiguration { path }),
        }
    }
}
