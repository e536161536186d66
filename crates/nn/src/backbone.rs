//! What is exchangeable in the networks that are built around a backbone.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::layers::Mode;
use crate::{NnError, ParameterStore, UNet, UNetConfig};

/// A network from images to maps of the same size, without an activation at its end.
pub trait Backbone: Send + Sync {
    /// Runs the network.
    ///
    /// # Shapes
    /// `x` `[N, in_channels, H, W]`; the result is `[N, out_channels, H, W]`.
    ///
    /// # Errors
    /// [`NnError::Input`] or [`NnError::SmallImage`] for an image it cannot take, [`NnError::SinglePixelBatch`] for one of
    /// which no statistics can be computed, or [`NnError::Tensor`].
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, NnError>;
}

/// Which backbone, and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum BackboneConfig {
    /// A U-Net.
    UNet(UNetConfig),
}

impl BackboneConfig {
    /// Builds the backbone and adds its parameters, named `{prefix}…`, to `store`.
    ///
    /// # Errors
    /// [`NnError::Config`]; [`NnError::DuplicateParameter`] if the prefix is taken.
    pub fn build(
        &self,
        [in_channels, out_channels]: [usize; 2],
        prefix: &str,
        store: &mut ParameterStore,
    ) -> Result<Box<dyn Backbone>, NnError> {
        match self {
            Self::UNet(config) => {
                Ok(Box::new(UNet::new(config, [in_channels, out_channels], prefix, store)?))
            }
        }
    }

    /// Everything that is out of range, a clause each.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::UNet(config) => config.problems(),
        }
    }

    /// Rows and columns that an image must have at least.
    pub const fn least_size(&self) -> usize {
        match self {
            Self::UNet(config) => config.least_size(),
        }
    }
}
