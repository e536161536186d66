//! Model packages: weights or parameters with everything needed to apply them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use synthct_nn::{BackboneConfig, Cascade, CascadeConfig, Precision, RoiNetConfig};

use crate::error::chain;
use crate::files::{
    first_not_finite, from_json, io_error, read, tensors_from_bytes, tensors_to_bytes, to_json,
    write_atomically,
};
use crate::network::Network;
use crate::sha256::hex_digest;
use crate::{BulkDensity, DixonBulkDensity, ModelError, Preprocessing, TrainConfig, VoxelRegression};

/// The format version that this library writes and the only one it reads.
pub const PACKAGE_FORMAT_VERSION: u32 = 1;
const FORMAT: &str = "synthct-model-package";
const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "model.safetensors";
/// The package's folder in a run folder.
pub(crate) const PACKAGE_FOLDER: &str = "package";

/// A trained model with its preprocessing and its history.
///
/// On disk it is a folder with `manifest.json` and, for networks, `model.safetensors`, whose size and SHA-256 the
/// manifest holds.
#[derive(Clone, Debug)]
pub struct ModelPackage {
    model: PackagedModel,
    preprocessing: Preprocessing,
    provenance: Provenance,
    weights: BTreeMap<String, Tensor>,
}

/// What kind of model a package holds, and its parameters except a network's weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PackagedModel {
    /// The RoI-focused multi-task network.
    RoiNet(RoiNetConfig),
    /// The generator of a pix2pix pair.
    #[serde(rename = "pix2pix")]
    Pix2Pix {
        /// Channels of its input.
        in_channels: usize,
        /// Its backbone.
        generator: BackboneConfig,
    },
    /// Segmentation of bone, then regression.
    Cascade(CascadeConfig),
    /// The voxel-wise regression baseline.
    VoxelRegression(VoxelRegression),
    /// The bulk-density baseline.
    BulkDensity(BulkDensity),
    /// The bulk-density baseline from Dixon images.
    DixonBulkDensity(DixonBulkDensity),
}

/// How a package came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The settings of the training.
    pub config: TrainConfig,
    /// The training cases.
    pub train: Vec<CaseIdentity>,
    /// The validation cases.
    pub validation: Vec<CaseIdentity>,
    /// The number of epochs that were done when the package was written; none for baselines.
    pub epochs_done: Option<usize>,
    /// The epoch the weights are from, counted from 1; none for baselines.
    pub best_epoch: Option<usize>,
    /// That epoch's combined validation loss; none for baselines.
    pub best_validation_loss: Option<f64>,
    /// What the training computed on when the package was written, for instance `cpu, avx512-bf16, f32`; of baselines,
    /// and in packages of earlier versions, the kind of device alone.
    #[serde(alias = "device")]
    pub computed_on: String,
    /// The version of this library.
    pub synthct_version: String,
}

/// A case by name and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseIdentity {
    /// The case's identifier.
    pub id: String,
    /// [`Case::fingerprint`](crate::Case::fingerprint) of its data.
    pub sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: String,
    format_version: u32,
    model: PackagedModel,
    preprocessing: Preprocessing,
    provenance: Provenance,
    weights: Option<WeightsFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightsFile {
    file: String,
    n_bytes: usize,
    sha256: String,
}

/// What is looked at before the rest of a manifest is understood.
#[derive(Deserialize)]
struct Format {
    format: String,
    format_version: u32,
}

impl PackagedModel {
    /// The channels of a network's input; none for baselines.
    pub(crate) const fn in_channels(&self) -> Option<usize> {
        match self {
            Self::RoiNet(config) => Some(config.in_channels),
            Self::Pix2Pix { in_channels, .. } => Some(*in_channels),
            Self::Cascade(config) => Some(config.in_channels),
            Self::VoxelRegression(_) | Self::BulkDensity(_) | Self::DixonBulkDensity(_) => None,
        }
    }
}

impl ModelPackage {
    /// A package from its parts.
    pub(crate) const fn new(
        model: PackagedModel,
        preprocessing: Preprocessing,
        provenance: Provenance,
        weights: BTreeMap<String, Tensor>,
    ) -> Self {
        Self { model, preprocessing, provenance, weights }
    }

    /// What kind of model this is.
    pub const fn model(&self) -> &PackagedModel {
        &self.model
    }

    /// How an MR is prepared for the model.
    pub const fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// How the model came to be.
    pub const fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// A network's weights by name, on the CPU; empty for baselines.
    pub const fn weights(&self) -> &BTreeMap<String, Tensor> {
        &self.weights
    }

    /// This cascade with the segmentation of another one; its regression stays.
    ///
    /// The provenance stays that of the regression.
    ///
    /// # Errors
    /// [`ModelError::OtherStage`] unless both are cascades of one segmentation network and one preprocessing.
    pub fn with_segmentation_of(&self, other: &Self) -> Result<Self, ModelError> {
        let (PackagedModel::Cascade(own), PackagedModel::Cascade(others)) = (&self.model, &other.model)
        else {
            return Err(ModelError::OtherStage { what: "both packages must be cascades" });
        };
        if (own.in_channels, &own.segmentation) != (others.in_channels, &others.segmentation) {
            return Err(ModelError::OtherStage { what: "the segmentation networks differ" });
        }
        if self.preprocessing != other.preprocessing {
            return Err(ModelError::OtherStage { what: "the MRs are prepared in different ways" });
        }
        let is_segmentation = |name: &str| name.starts_with(Cascade::SEGMENTATION);
        let mut swapped = self.clone();
        swapped.weights.retain(|name, _| !is_segmentation(name));
        let theirs = other.weights.iter().filter(|(name, _)| is_segmentation(name));
        swapped.weights.extend(theirs.map(|(name, tensor)| (name.clone(), tensor.clone())));
        Ok(swapped)
    }

    /// Writes the package as the folder `path`.
    ///
    /// The folder is written aside and renamed; a package that is there already is replaced.
    ///
    /// # Errors
    /// [`ModelError::Package`] if `path` exists and is no package, or weights are not finite;
    /// [`ModelError::Io`] if a file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let refuse = |what: String| ModelError::Package { path: path.to_owned(), what };
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Err(refuse("a package needs a folder name".to_owned()));
        };
        if path.exists() && !path.join(MANIFEST).exists() {
            return Err(refuse(format!("it exists, but has no {MANIFEST}; it is left as it is")));
        }
        if let Some(tensor) = first_not_finite(&self.weights)? {
            return Err(refuse(format!("tensor `{tensor}` has infinite or NaN values")));
        }
        let sibling = |suffix: &str| parent.join(format!(".{}.{suffix}", name.to_string_lossy()));
        let (new, old) = (sibling("new"), sibling("old"));
        for leftover in [&new, &old] {
            if leftover.exists() {
                std::fs::remove_dir_all(leftover).map_err(io_error("remove", leftover))?;
            }
        }
        std::fs::create_dir_all(&new).map_err(io_error("create", &new))?;
        let weights = if self.model.in_channels().is_some() {
            let bytes = tensors_to_bytes(&self.weights, None)?;
            write_atomically(&new.join(WEIGHTS), &bytes)?;
            let (n_bytes, sha256) = (bytes.len(), hex_digest(&bytes));
            Some(WeightsFile { file: WEIGHTS.to_owned(), n_bytes, sha256 })
        } else {
            None
        };
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            format_version: PACKAGE_FORMAT_VERSION,
            model: self.model.clone(),
            preprocessing: self.preprocessing.clone(),
            provenance: self.provenance.clone(),
            weights,
        };
        write_atomically(&new.join(MANIFEST), &to_json(&manifest))?;
        if path.exists() {
            std::fs::rename(path, &old).map_err(io_error("rename", path))?;
        }
        std::fs::rename(&new, path).map_err(io_error("rename", &new))?;
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(io_error("remove", &old))?;
        }
        Ok(())
    }

    /// Reads a package, or the best model so far of a run folder.
    ///
    /// # Errors
    /// [`ModelError::Package`] if there is none, its format version is another, a file is damaged, or the weights are
    /// not exactly the ones its network has; [`ModelError::Io`] if a file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let folder = package_folder(path)?;
        let manifest_path = folder.join(MANIFEST);
        let bytes = read(&manifest_path)?;
        let refuse = |what: String| ModelError::Package { path: manifest_path.clone(), what };
        let found: Format = from_json(&bytes).map_err(refuse)?;
        if found.format != FORMAT {
            return Err(refuse(format!("its format is `{}`, not `{FORMAT}`", found.format)));
        }
        if found.format_version != PACKAGE_FORMAT_VERSION {
            return Err(refuse(format!(
                "its format version is {}, but this version of synthct reads {PACKAGE_FORMAT_VERSION}",
                found.format_version
            )));
        }
        let manifest: Manifest = from_json(&bytes).map_err(refuse)?;
        if let Some(problem) = manifest.preprocessing.problems().first() {
            return Err(refuse(format!("preprocessing: {problem}")));
        }
        let weights = match (&manifest.model, &manifest.weights) {
            (PackagedModel::RoiNet(_) | PackagedModel::Pix2Pix { .. } | PackagedModel::Cascade(_), file) => {
                let Some(file) = file else {
                    return Err(refuse("a network without a weights file".to_owned()));
                };
                let (given, taken) = (manifest.preprocessing.in_channels(), manifest.model.in_channels());
                if taken != Some(given) {
                    return Err(refuse(format!(
                        "the network takes {} channel(s), the preprocessing gives {given}",
                        taken.unwrap_or(0)
                    )));
                }
                load_weights(&folder, file, &manifest.model)?
            }
            (PackagedModel::VoxelRegression(model), None) => {
                model.check().map_err(refuse)?;
                BTreeMap::new()
            }
            (PackagedModel::BulkDensity(model), None) => {
                model.check().map_err(refuse)?;
                BTreeMap::new()
            }
            (PackagedModel::DixonBulkDensity(model), None) => {
                model.check().map_err(refuse)?;
                if manifest.preprocessing.channels.len() != 3 {
                    return Err(refuse("Dixon bulk densities need three channels".to_owned()));
                }
                BTreeMap::new()
            }
            (_, Some(_)) => return Err(refuse("a baseline with a weights file".to_owned())),
        };
        let Manifest { model, preprocessing, provenance, .. } = manifest;
        Ok(Self { model, preprocessing, provenance, weights })
    }
}

/// The package's folder: `path` itself, or the one inside a run folder.
fn package_folder(path: &Path) -> Result<PathBuf, ModelError> {
    let inside = path.join(PACKAGE_FOLDER);
    if path.join(MANIFEST).is_file() {
        Ok(path.to_owned())
    } else if inside.join(MANIFEST).is_file() {
        Ok(inside)
    } else {
        let what = if path.exists() {
            format!(
                "there is no {MANIFEST} in it, and no {PACKAGE_FOLDER}/{MANIFEST} (a run has one after its first epoch)"
            )
        } else {
            "there is no such folder".to_owned()
        };
        Err(ModelError::Package { path: path.to_owned(), what })
    }
}

fn load_weights(
    folder: &Path,
    file: &WeightsFile,
    model: &PackagedModel,
) -> Result<BTreeMap<String, Tensor>, ModelError> {
    // A name alone: a manifest must not reach out of its folder.
    if file.file != WEIGHTS {
        let what = format!("the weights file is named `{}`, expected `{WEIGHTS}`", file.file);
        return Err(ModelError::Package { path: folder.join(MANIFEST), what });
    }
    let path = folder.join(WEIGHTS);
    let refuse = |what: String| ModelError::Package { path: path.clone(), what };
    let bytes = read(&path)?;
    if bytes.len() != file.n_bytes {
        return Err(refuse(format!("it has {} bytes, the manifest says {}", bytes.len(), file.n_bytes)));
    }
    let sha256 = hex_digest(&bytes);
    if sha256 != file.sha256 {
        return Err(refuse(format!("its SHA-256 is {sha256}, the manifest says {}", file.sha256)));
    }
    let (weights, _) = tensors_from_bytes(&bytes).map_err(refuse)?;
    if let Some(name) = first_not_finite(&weights)? {
        return Err(refuse(format!("tensor `{name}` has infinite or NaN values")));
    }
    Network::new(model, Precision::F32, &weights, &candle_core::Device::Cpu)
        .map_err(|error| refuse(chain(&error)))?;
    Ok(weights)
}
