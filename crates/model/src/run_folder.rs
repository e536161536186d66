//! A run's files: configuration, cases, metrics, checkpoint, package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::files::{
    first_not_finite, from_json, io_error, read, tensors_from_bytes, tensors_to_bytes, to_json,
    write_atomically,
};
use crate::package::PACKAGE_FOLDER;
use crate::sha256::hex_digest;
use crate::{CaseIdentity, ModelError, OptimizerProgress, RunMode, TrainConfig};

const CONFIG: &str = "config.json";
const SPLIT: &str = "split.json";
const METRICS: &str = "metrics.csv";
const CHECKPOINT_FOLDER: &str = "checkpoint";
const CHECKPOINT: &str = "latest.safetensors";
const CHECKPOINT_FORMAT_VERSION: u32 = 2;

/// The folder of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Where its package lies: for the stages of a training it is one place.
    package: PathBuf,
    /// SHA-256 of the files with configuration and cases: what a checkpoint must belong to.
    identity: String,
}

/// Which cases a run learns from and which it is judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Split {
    pub(crate) train: Vec<CaseIdentity>,
    pub(crate) validation: Vec<CaseIdentity>,
}

/// What a run folder says of its run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// How it is trained.
    pub config: TrainConfig,
    /// The cases it learns from.
    pub train: Vec<CaseIdentity>,
    /// The cases that choose the best epoch.
    pub validation: Vec<CaseIdentity>,
}

/// Reads how the run in a folder is trained and on which cases, so that it can be taken up again.
///
/// # Errors
/// [`ModelError::NoRun`] if there is none, [`ModelError::OtherRun`] if its files cannot be understood, or the error of
/// reading them.
pub fn read_run(path: &Path) -> Result<RunRecord, ModelError> {
    for missing in [CONFIG, SPLIT] {
        if !path.join(missing).is_file() {
            return Err(ModelError::NoRun { path: path.to_owned(), missing });
        }
    }
    let Split { train, validation } = read_json(path, SPLIT)?;
    Ok(RunRecord { config: read_json(path, CONFIG)?, train, validation })
}

/// The whole state of a training between two steps.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) progress: Progress,
    /// One for each part that learns.
    pub(crate) optimizers: Vec<OptimizerProgress>,
    pub(crate) optimizer_tensors: BTreeMap<String, Tensor>,
    /// The network's parameters and running statistics.
    pub(crate) current: BTreeMap<String, Tensor>,
    /// The ones of the best epoch; empty before the first epoch's end.
    pub(crate) best: BTreeMap<String, Tensor>,
    /// Their moving average; empty without one.
    pub(crate) average: BTreeMap<String, Tensor>,
}

/// How far a training is. Random numbers are a function of the place, so they need no state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The number of whole epochs done.
    pub(crate) epochs_done: usize,
    /// The number of steps done in the epoch begun.
    pub(crate) steps_done: usize,
    /// The number of steps done in all epochs.
    pub(crate) n_steps: u64,
    /// Sums over the slices seen in the epoch begun: the combined loss, then its terms.
    pub(crate) loss_sums: Vec<f64>,
    /// The number of slices seen in the epoch begun.
    pub(crate) n_slices: usize,
    /// The rows of `metrics.csv`, heading first.
    pub(crate) metrics: Vec<String>,
    /// The epoch with the smallest validation loss of those that epochs are compared by, counted from 1, and that loss.
    pub(crate) best: Option<(usize, f64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointHeader {
    format_version: u32,
    identity: String,
    progress: Progress,
    optimizers: Vec<OptimizerProgress>,
    /// SHA-256 of the tensors, serialized without this header.
    tensors_sha256: String,
}

impl RunFolder {
    /// Starts a run in an empty or new folder, or takes up the one that is there.
    pub(crate) fn open(
        path: &Path,
        mode: RunMode,
        config: &TrainConfig,
        split: &Split,
    ) -> Result<Self, ModelError> {
        match mode {
            RunMode::New => {
                std::fs::create_dir_all(path).map_err(io_error("create", path))?;
                if path.join(CONFIG).exists() || has_foreign_files(path)? {
                    return Err(ModelError::RunFolderNotEmpty { path: path.to_owned() });
                }
                // The configuration comes last: with it the folder holds a run.
                write_atomically(&path.join(SPLIT), &to_json(split))?;
                write_atomically(&path.join(CONFIG), &to_json(config))?;
            }
            RunMode::Resume => {
                require_same(path, config, split)?;
                remove_leftovers(path)?;
            }
        }
        // Of the files as they are: an earlier version may have written fewer fields.
        let identity = hex_digest(&[read(&path.join(CONFIG))?, read(&path.join(SPLIT))?].concat());
        Ok(Self { path: path.to_owned(), package: path.join(PACKAGE_FOLDER), identity })
    }

    /// The folder of one stage of the training, below this one, with metrics and a checkpoint of its own.
    ///
    /// `depends_on` are the weights that it builds upon: a checkpoint that was made upon others is refused.
    pub(crate) fn stage(
        &self,
        name: &str,
        depends_on: &BTreeMap<String, Tensor>,
    ) -> Result<Self, ModelError> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        remove_leftovers(&path)?;
        let weights = hex_digest(&tensors_to_bytes(depends_on, None)?);
        let identity = hex_digest(format!("{} {name} {weights}", self.identity).as_bytes());
        Ok(Self { path, package: self.package.clone(), identity })
    }

    /// Where the package lies.
    pub(crate) fn package(&self) -> PathBuf {
        self.package.clone()
    }

    /// Writes `metrics.csv`.
    pub(crate) fn write_metrics(&self, rows: &[String]) -> Result<(), ModelError> {
        let text: String = rows.iter().flat_map(|row| [row.as_str(), "\n"]).collect();
        write_atomically(&self.path.join(METRICS), text.as_bytes())
    }

    /// Writes the checkpoint as one file.
    pub(crate) fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), ModelError> {
        let path = self.checkpoint();
        let folder = self.path.join(CHECKPOINT_FOLDER);
        std::fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        let mut tensors = BTreeMap::new();
        for (prefix, group) in [
            ("current", &checkpoint.current),
            ("best", &checkpoint.best),
            ("optimizer", &checkpoint.optimizer_tensors),
            ("average", &checkpoint.average),
        ] {
            tensors.extend(group.iter().map(|(name, tensor)| (format!("{prefix}/{name}"), tensor.clone())));
        }
        if let Some(name) = first_not_finite(&tensors)? {
            let what = format!("tensor `{name}` has infinite or NaN values; it is not written");
            return Err(ModelError::Checkpoint { path, what });
        }
        let header = CheckpointHeader {
            format_version: CHECKPOINT_FORMAT_VERSION,
            identity: self.identity.clone(),
            progress: checkpoint.progress.clone(),
            optimizers: checkpoint.optimizers.clone(),
            tensors_sha256: hex_digest(&tensors_to_bytes(&tensors, None)?),
        };
        let text = String::from_utf8(to_json(&header)).expect("because JSON is UTF-8");
        write_atomically(&path, &tensors_to_bytes(&tensors, Some(text))?)
    }

    /// The checkpoint, or none if the run was stopped before it wrote one.
    pub(crate) fn read_checkpoint(&self) -> Result<Option<Checkpoint>, ModelError> {
        let path = self.checkpoint();
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |what: String| ModelError::Checkpoint { path: path.clone(), what };
        let (tensors, text) = tensors_from_bytes(&read(&path)?).map_err(damaged)?;
        let text = text.ok_or_else(|| damaged("it does not say what it is".to_owned()))?;
        let header: CheckpointHeader = from_json(text.as_bytes()).map_err(damaged)?;
        if header.format_version != CHECKPOINT_FORMAT_VERSION {
            return Err(damaged(format!(
                "its format version is {}, but this version of synthct reads {CHECKPOINT_FORMAT_VERSION}",
                header.format_version
            )));
        }
        if header.identity != self.identity {
            return Err(damaged("it belongs to another configuration or other data".to_owned()));
        }
        if header.tensors_sha256 != hex_digest(&tensors_to_bytes(&tensors, None)?) {
            return Err(damaged("the SHA-256 of its tensors is not the one it names".to_owned()));
        }
        let mut groups: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
        for (name, tensor) in tensors {
            let Some((prefix, name)) = name.split_once('/') else {
                return Err(damaged(format!("unexpected tensor `{name}`")));
            };
            groups.entry(prefix.to_owned()).or_default().insert(name.to_owned(), tensor);
        }
        let mut take = |prefix: &str| groups.remove(prefix).unwrap_or_default();
        Ok(Some(Checkpoint {
            progress: header.progress,
            optimizers: header.optimizers,
            optimizer_tensors: take("optimizer"),
            current: take("current"),
            best: take("best"),
            average: take("average"),
        }))
    }

    /// An error for a checkpoint whose tensors do not fit the network.
    pub(crate) fn damaged_checkpoint(&self, what: String) -> ModelError {
        ModelError::Checkpoint { path: self.checkpoint(), what }
    }

    fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT_FOLDER).join(CHECKPOINT)
    }
}

/// Removes what writes that were killed have left beside their files.
fn remove_leftovers(run: &Path) -> Result<(), ModelError> {
    let checkpoints = run.join(CHECKPOINT_FOLDER);
    for (folder, name) in [(run, METRICS), (&checkpoints, CHECKPOINT)] {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder).map_err(io_error("list", folder))? {
            let entry = entry.map_err(io_error("list", folder))?;
            if entry.file_name().to_string_lossy().starts_with(&format!(".{name}.")) {
                std::fs::remove_file(entry.path()).map_err(io_error("remove", &entry.path()))?;
            }
        }
    }
    Ok(())
}

/// Refuses a run with another configuration or other cases, and says what differs.
fn require_same(run: &Path, config: &TrainConfig, split: &Split) -> Result<(), ModelError> {
    let record = read_run(run)?;
    let mut differences = Vec::new();
    // By way of text: a 32-bit float has other digits as a 64-bit one.
    let fields = |config| -> serde_json::Value {
        from_json(&to_json(config)).expect("because what was written can be read")
    };
    list_differences("", &fields(&record.config), &fields(config), &mut differences);
    for (side, stored, given) in
        [("training", &record.train, &split.train), ("validation", &record.validation, &split.validation)]
    {
        let ids = |cases: &[CaseIdentity]| cases.iter().map(|case| case.id.clone()).collect::<Vec<_>>();
        if ids(stored) == ids(given) {
            let changed = stored.iter().zip(given).filter(|(stored, given)| stored != given);
            differences.extend(changed.map(|(case, _)| format!("the data of case `{}` changed", case.id)));
        } else {
            let (was, is) = (ids(stored).join(", "), ids(given).join(", "));
            differences.push(format!("the {side} cases were [{was}], now [{is}]"));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(ModelError::OtherRun { path: run.to_owned(), differences })
}

fn read_json<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<T, ModelError> {
    from_json(&read(&folder.join(name))?).map_err(|what| ModelError::OtherRun {
        path: folder.to_owned(),
        differences: vec![format!("its `{name}` cannot be understood: {what}")],
    })
}

/// Whether a folder without a configuration holds anything but what a run that was killed at its very start leaves:
/// hidden files of interrupted writes, and the split.
fn has_foreign_files(path: &Path) -> Result<bool, ModelError> {
    for entry in std::fs::read_dir(path).map_err(io_error("list", path))? {
        let name = entry.map_err(io_error("list", path))?.file_name();
        if !name.to_string_lossy().starts_with('.') && name != SPLIT {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Appends a line for each field that differs, with both values.
fn list_differences(
    name: &str,
    stored: &serde_json::Value,
    given: &serde_json::Value,
    into: &mut Vec<String>,
) {
    if let (Some(stored), Some(given)) = (stored.as_object(), given.as_object()) {
        let mut keys: Vec<_> = stored.keys().chain(given.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            let null = serde_json::Value::Null;
            list_differences(&name, stored.get(key).unwrap_or(&null), given.get(key).unwrap_or(&null), into);
        }
    } else if stored != given {
        into.push(format!("`{name}` was {stored}, now {given}"));
    }
}
