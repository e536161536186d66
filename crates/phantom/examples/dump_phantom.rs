//! Writes a phantom's images as raw little-endian arrays `[k, j, i]` into a folder, to be looked at with other tools.
//!
//! `cargo run -p synthct-phantom --example dump_phantom -- <folder> <config.json> <seed>`
//!
//! Every image becomes `<name>.f32` (labels `tissues.u16`); `shape.json` holds `[k, j, i]` and the time taken.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use synthct_image::Volume;
use synthct_phantom::{PhantomConfig, generate};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, config, seed] = arguments.as_slice() else {
        return Err("usage: dump_phantom <folder> <config.json> <seed>".into());
    };
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    let config: PhantomConfig = serde_json::from_str(&fs::read_to_string(config)?)?;
    let start = Instant::now();
    let case = generate(&config, seed.parse()?)?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = |volume: &Volume<f32>| -> Vec<u8> {
        volume.as_slice().iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    for (contrast, volume) in &case.mr {
        fs::write(folder.join(format!("{}.f32", contrast.name())), bytes(volume))?;
    }
    fs::write(folder.join("ct.f32"), bytes(&case.ct))?;
    let labels: Vec<u8> =
        case.tissues.volume().as_slice().iter().flat_map(|label| label.to_le_bytes()).collect();
    fs::write(folder.join("tissues.u16"), labels)?;
    let [nk, nj, ni] = case.ct.grid().shape_kji();
    let [si, sj, sk] = case.ct.grid().spacing_mm();
    let shape = format!(
        "{{\"shape_kji\": [{nk}, {nj}, {ni}], \"spacing_kji\": [{sk}, {sj}, {si}], \"seconds\": {seconds}}}\n"
    );
    fs::write(folder.join("shape.json"), shape)?;
    Ok(())
}
