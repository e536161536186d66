//! What can go wrong in training, in a package and in prediction.

use std::fmt;
use std::path::PathBuf;

use synthct_image::{Grid, ImageError};
use synthct_prep::PrepError;

/// Why a model could not be trained, stored, loaded or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No preset has this name.
    #[error("no preset is named `{name}`; the presets are {}", known.join(", "))]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// All names there are.
        known: Vec<&'static str>,
    },
    /// Values of a configuration that are out of range: all of them.
    #[error("bad configuration: {}", Listed(problems))]
    Config {
        /// Each bad field.
        problems: Vec<FieldProblem>,
    },
    /// Cases that cannot be trained on: all that is wrong with them.
    #[error("cases cannot be used: {}", Listed(problems))]
    Cases {
        /// Each problem.
        problems: Vec<CaseProblem>,
    },
    /// A case that could not be prepared.
    #[error("case `{id}` could not be prepared")]
    InCase {
        /// The case's identifier.
        id: String,
        /// Why.
        source: Box<ModelError>,
    },
    /// Fewer or more images than the model has channels.
    #[error("the model takes {} channel(s) ({}), but {found} image(s) were given", channels.len(), channels.join(", "))]
    ChannelCount {
        /// The model's channels, in order.
        channels: Vec<String>,
        /// The number of images given.
        found: usize,
    },
    /// Input values that are infinite or NaN.
    #[error("channel `{channel}` has {n_voxels} voxel(s) that are infinite or NaN")]
    NotFinite {
        /// The channel.
        channel: String,
        /// How many such voxels it has.
        n_voxels: usize,
    },
    /// An image much coarser than the model's grid in most directions.
    #[error(
        "the image's spacing along patient x, y, z is {found_mm:?} mm, more than {limit} times the model's \
         {expected_mm:?} mm in at least two directions; acquire or choose a finer image"
    )]
    TooCoarse {
        /// The image's spacing along the LPS axes.
        found_mm: [f64; 3],
        /// The model's.
        expected_mm: [f64; 3],
        /// The ratio allowed.
        limit: f64,
    },
    /// No body was found in the image.
    #[error("no body was found in channel `{channel}` on {grid}")]
    EmptyBody {
        /// The channel that was searched.
        channel: String,
        /// Its grid.
        grid: Box<Grid>,
    },
    /// The loss became infinite or NaN.
    #[error("the loss is {loss} in epoch {epoch}, step {step} (counted from 1), batch of {}; a smaller learning rate or a gradient-norm limit may help", batch.join(", "))]
    LossNotFinite {
        /// The loss.
        loss: f64,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The step of the epoch, counted from 1.
        step: usize,
        /// The batch's slices.
        batch: Vec<String>,
    },
    /// A new run was to start where files are already.
    #[error("run folder `{}` is not empty; resume the run in it or choose another folder", path.display())]
    RunFolderNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to resume.
    #[error("`{}` holds no run to resume (no `{missing}`)", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// The file looked for.
        missing: &'static str,
    },
    /// A run was to be resumed with another configuration or other data.
    #[error("the run in `{}` cannot be resumed: {}", path.display(), differences.join("; "))]
    OtherRun {
        /// The run folder.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// A damaged checkpoint.
    #[error("checkpoint `{}` is damaged: {what}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No package, a damaged one, or one of another version.
    #[error("`{}` is no usable model package: {what}", path.display())]
    Package {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A stage of a model that does not fit another model.
    #[error("a stage of one model cannot take the place of another's: {what}")]
    OtherStage {
        /// Why.
        what: &'static str,
    },
    /// Models that were to be combined into one prediction, but there are none.
    #[error("an ensemble needs at least one model")]
    EmptyEnsemble,
    /// The caller stopped a prediction.
    #[error("stopped on request")]
    Stopped,
    /// A file that could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A geometry that cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A preparation step that failed.
    #[error(transparent)]
    Prep(#[from] PrepError),
    /// A network that could not be built, loaded or run.
    #[error(transparent)]
    Network(#[from] synthct_nn::NnError),
    /// A tensor operation that failed.
    #[error("tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A field of a configuration that is out of range.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldProblem {
    /// The field.
    pub field: &'static str,
    /// The value it has.
    pub value: String,
    /// What would be accepted.
    pub allowed: &'static str,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, but must be {}", self.field, self.value, self.allowed)
    }
}

/// Something wrong with a case.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseProblem {
    /// The case's identifier.
    pub id: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for CaseProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case `{}`: {}", self.id, self.what)
    }
}

/// Items with semicolons between them.
struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
