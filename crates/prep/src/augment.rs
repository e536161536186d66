//! Seeded random changes of an MR, its CT and its masks.

mod config;
mod draw;
mod intensity;

pub use config::{AugmentationConfig, NoiseKind};
pub use draw::AugmentationDraw;
pub use intensity::MrScale;
