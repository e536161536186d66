//! What can go wrong with networks and their parameters.

/// Why a network could not be built, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// A network configuration with values out of range; every bad field is named.
    #[error("network configuration: {}", problems.join("; "))]
    Config {
        /// One clause for each bad field.
        problems: Vec<String>,
    },
    /// The same parameter name was asked for twice: two networks share a store, or a layer its name.
    #[error("the parameter `{name}` exists already; give each network its own store")]
    DuplicateParameter {
        /// The name.
        name: String,
    },
    /// Weights that lack parameters of the network.
    #[error("the weights lack {} of the network's parameters: {}", names.len(), listed(names))]
    MissingParameters {
        /// The names.
        names: Vec<String>,
    },
    /// Weights with parameters that the network does not have: they belong to another configuration.
    #[error("the weights hold {} parameters that the network does not have: {}", names.len(), listed(names))]
    UnexpectedParameters {
        /// The names.
        names: Vec<String>,
    },
    /// A parameter of another shape than the network's: the weights belong to another configuration.
    #[error("the parameter `{name}` has shape {found:?}, but the network needs {expected:?}")]
    ParameterShape {
        /// The parameter.
        name: String,
        /// The shape in the weights.
        found: Vec<usize>,
        /// The network's shape.
        expected: Vec<usize>,
    },
    /// A parameter that is not stored as 32-bit floats.
    #[error("the parameter `{name}` is stored as {found}, but the network needs f32")]
    ParameterType {
        /// The parameter.
        name: String,
        /// The stored type.
        found: &'static str,
    },
    /// A parameter with an infinite or NaN value: the weights are damaged, or training has diverged.
    #[error("the parameter `{name}` has the value {value} at index {index}")]
    NonFinite {
        /// The parameter.
        name: String,
        /// The first such value.
        value: f32,
        /// Its index, counted row by row.
        index: usize,
    },
    /// Instructions that this processor does not have.
    #[error("this processor cannot run the path `{name}`")]
    CpuPath {
        /// The path.
        name: &'static str,
    },
    /// An input image that the network cannot take.
    #[error(
        "the network takes f32 input [N, {in_channels}, H, W] without empty dimensions, not {dtype} {shape:?}"
    )]
    Input {
        /// Channels the network was built for.
        in_channels: usize,
        /// The input's shape.
        shape: Vec<usize>,
        /// The input's type.
        dtype: &'static str,
    },
    /// An image that the network's halvings would leave nothing of.
    #[error("the network halves images until {least} voxels are one; {shape:?} has fewer rows or columns")]
    SmallImage {
        /// The input's shape.
        shape: Vec<usize>,
        /// The rows and columns an image needs.
        least: usize,
    },
    /// A training batch with one value a channel, of which no variance can be computed.
    #[error("training needs at least two pixels in a batch for its statistics, not {shape:?}")]
    SinglePixelBatch {
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The first few names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let text = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{text} and {} more", names.len() - SHOWN) } else { text }
}
