//! Embeds the multi-task network alone: no volumes, no files, only tensors.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use anyhow::Result;
use candle_core::{Device, Tensor};
use synthct_nn::{ParameterStore, Precision, RoiNet, RoiNetConfig};

fn main() -> Result<()> {
    let device = Device::Cpu;
    // Weights are drawn from the seed; `ParameterStore::load` would take them from a safetensors file instead.
    let mut parameters = ParameterStore::new(7, &device);
    let network = RoiNet::new(&RoiNetConfig::three_task(), &mut parameters)?;

    // One z-scored MR slice: [batch, channel, row, column].
    let mr = Tensor::arange(0_f32, 64.0 * 48.0, &device)?.affine(1e-3, -1.5)?.reshape((1, 1, 64, 48))?;
    let output = network.forward(&mr, Precision::F32)?;

    println!("weights          {}", parameters.trainable_count());
    println!("whole image      {:?}, in units of 1000 HU", output.whole_hu.dims());
    println!("aggregate        {:?}, bone HU inside the bone mask", output.aggregate()?.dims());
    Ok(())
}
