//! What `--device` names.

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use sct::Device;

use crate::progress::Ui;

/// Where networks can run.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DeviceName {
    /// The first NVIDIA GPU, if this build can use one and it is there; else the CPU
    Auto,
    /// The CPU
    Cpu,
    /// The first NVIDIA GPU; needs a build with the feature `cudnn`
    Cuda,
}

impl DeviceName {
    /// The device; what `auto` chose is said to the user where there was a choice.
    pub(crate) fn device(self, ui: &Ui) -> Result<Device> {
        // Convolution on a GPU is cuDNN's.
        let built = cfg!(feature = "cudnn");
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if !built => Ok(Device::Cpu),
            Self::Auto => match Device::new_cuda(0) {
                Ok(device) => {
                    ui.say("computing on the first NVIDIA GPU");
                    Ok(device)
                }
                Err(error) => {
                    tracing::warn!("computing on the CPU: no NVIDIA GPU can be used: {error}");
                    Ok(Device::Cpu)
                }
            },
            Self::Cuda if built => {
                let device = Device::new_cuda(0).context("no NVIDIA GPU can be used")?;
                ui.say("computing on the first NVIDIA GPU");
                Ok(device)
            }
            Self::Cuda => {
                bail!("this build computes on the CPU only; build it with `--features cudnn` for a GPU")
            }
        }
    }
}
