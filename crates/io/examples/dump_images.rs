//! What this crate reads from every image below the given files and folders: one JSON object a line, for `tests/conformance/compare.py`.
//!
//! ```text
//! cargo run -p synthct-io --example dump_images -- FOLDER… | python crates/io/tests/conformance/compare.py
//! ```
//!
//! A folder with DICOM files directly in it counts as one series.

#![expect(clippy::print_stdout, reason = "the dump is the purpose")]

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use synthct_io::{Image, ImageFormat, IoError, MissingGeometry, ReadOptions, detect_format, read_image};

/// Values compared one by one in each image.
const N_SAMPLES: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = Vec::new();
    for argument in std::env::args_os().skip(1) {
        collect(Path::new(&argument), &mut paths)?;
    }
    paths.sort();
    for path in paths {
        println!("{}", dump(&path));
    }
    Ok(())
}

/// The files, and the folders that hold DICOM, from `path` on.
fn collect(path: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if !path.is_dir() {
        paths.push(path.to_owned());
        return Ok(());
    }
    let mut holds_dicom = false;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.is_file() && matches!(detect_format(&entry), Ok(ImageFormat::Dicom)) {
            holds_dicom = true;
        } else {
            collect(&entry, paths)?;
        }
    }
    if holds_dicom {
        paths.push(path.to_owned());
    }
    Ok(())
}

fn dump(path: &Path) -> Value {
    let mut options = ReadOptions::default();
    let mut notes = Vec::new();
    loop {
        match read_image(path, &options) {
            Ok(image) => return dump_image(path, &image, &options, &notes),
            // Refused by default: noted, and read by explicit wish so that there is something to compare.
            Err(error @ IoError::MissingGeometry { .. })
                if options.missing_geometry == MissingGeometry::Refuse =>
            {
                notes.push(error.to_string());
                options.missing_geometry = MissingGeometry::FromPixdim;
            }
            Err(error @ IoError::NotThreeDimensional { .. }) if options.frame.is_none() => {
                notes.push(error.to_string());
                options.frame = Some(1);
            }
            Err(error) => {
                let mut text = error.to_string();
                if let Some(source) = error.source() {
                    text = format!("{text}: {source}");
                }
                return json!({ "path": path, "ok": false, "error": text, "notes": notes });
            }
        }
    }
}

fn dump_image(path: &Path, image: &Image, options: &ReadOptions, notes: &[String]) -> Value {
    let values = image.volume.as_slice();
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let sum: f64 = finite().map(f64::from).sum();
    let [ni, nj, _] = image.volume.grid().size_ijk();
    // Knuth's multiplier spreads the samples over the volume.
    let samples: Vec<Value> = (0..N_SAMPLES)
        .map(|n| (n * 2_654_435_761) % values.len())
        .map(|n| json!([n % ni, n / ni % nj, n / (ni * nj), values[n]]))
        .collect();
    json!({
        "path": path,
        "ok": true,
        "notes": notes,
        "format": image.info.format.to_string(),
        "stored": image.info.storage.map(|storage| storage.element_type.to_string()),
        "frame": options.frame,
        "geometry_invented": options.missing_geometry == MissingGeometry::FromPixdim,
        "size_ijk": image.volume.grid().size_ijk(),
        "corners_lps": image.volume.grid().corner_points().map(synthct_image::PointLps::to_array),
        "min": finite().fold(f32::INFINITY, f32::min),
        "max": finite().fold(f32::NEG_INFINITY, f32::max),
        "mean": sum / finite().count() as f64,
        "samples": samples,
        "warnings": image.info.warnings,
    })
}
