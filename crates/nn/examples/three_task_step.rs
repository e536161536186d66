//! Times training steps or evaluations of the three-task network and prints one line of JSON.
//!
//! ```text
//! cargo run --release -p synthct-nn --example three_task_step -- --mode train --precision f32 --batch 8 --size 256
//! ```
//!
//! A step is forward, a loss of all three heads, backward and AdamW; `xtask/peers/three_task.py` does the same in
//! PyTorch.

mod measure;

use candle_core::{DType, Device, Tensor};
use measure::{Adam, Failure, Options, memory_mib};
use synthct_nn::{ParameterStore, RoiNet, RoiNetConfig, RoiNetOutput};

fn main() -> Result<(), Failure> {
    let options = Options::parse()?;
    let base_mib = memory_mib("VmRSS")?;
    let mut store = ParameterStore::new(1, &Device::Cpu);
    let config = RoiNetConfig { filters: options.filters, ..RoiNetConfig::three_task() };
    let net = RoiNet::new(&config, &mut store)?.with_cpu_path(options.path)?;
    let image = |salt: usize| -> Result<Tensor, Failure> {
        let count = options.batch * options.size * options.size;
        let values: Vec<f32> =
            (0..count).map(|v| ((v * 2_654_435_761 + salt * 40_503) % 4096) as f32 / 2048.0 - 1.0).collect();
        Ok(Tensor::from_vec(values, (options.batch, 1, options.size, options.size), &Device::Cpu)?)
    };
    let (mr, ct, bone_hu) = (image(0)?, image(1)?, image(2)?.abs()?);
    // A fifth of the voxels.
    let bone_mask = image(3)?.ge(0.6)?.to_dtype(DType::F32)?;
    let mut adam = Adam::new(&store, 1e-3, [0.9, 0.999], 1e-2);
    options.report(base_mib, |number| {
        if !options.train {
            net.forward(&mr, options.precision)?;
            return Ok(None);
        }
        let output = net.forward_train(&mr, options.precision, number)?;
        let loss = loss(&output, &ct, &bone_hu, &bone_mask)?;
        adam.step(&store, &loss)?;
        Ok(Some(loss.to_scalar()?))
    })
}

/// Mean absolute errors of the image and, within the mask, of bone, and the binary cross-entropy of the mask.
fn loss(output: &RoiNetOutput, ct: &Tensor, bone_hu: &Tensor, bone_mask: &Tensor) -> Result<Tensor, Failure> {
    let RoiNetOutput { whole_hu, bone_hu: Some(bone), bone_mask: Some(probability) } = output else {
        return Err("the network lacks a head".into());
    };
    let whole = (whole_hu - ct)?.abs()?.mean_all()?;
    let bone = ((bone - bone_hu)?.abs()? * bone_mask)?.mean_all()?;
    let probability = probability.clamp(1e-6f32, 1.0 - 1e-6)?;
    let inside = (probability.log()? * bone_mask)?;
    let outside = (probability.affine(-1.0, 1.0)?.log()? * bone_mask.affine(-1.0, 1.0)?)?;
    let cross_entropy = (inside + outside)?.mean_all()?.neg()?;
    Ok((whole + ((bone * 1.3)? + (cross_entropy * 1.5)?)?)?)
}
