//! Random damage to files, for some seconds: every reader must return an image, a transform or an error.
//!
//! ```text
//! ulimit -v 3145728; cargo run --release -p synthct-io --example mutate -- SECONDS SEED FOLDER…
//! ```
//!
//! Each file below the folders is changed in one to eight ways (bytes, numbers, cuts, repeats, pieces of another file) and
//! read. A panic stops the run and leaves the file as `mutate-crash` in the folder for temporary files. Coverage
//! does not guide it.

#![expect(clippy::print_stdout, reason = "the count is the output")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use synthct_io::dicom::list_series;
use synthct_io::{
    MissingGeometry, ReadOptions, describe, read_displacement_field, read_image, read_transform,
};

/// SplitMix64 (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let usage = "mutate SECONDS SEED FOLDER…";
    let mut number = || arguments.next()?.to_str()?.parse::<u64>().ok();
    let (seconds, seed) = number().zip(number()).ok_or(usage)?;
    let mut files = Vec::new();
    for folder in arguments {
        collect(Path::new(&folder), &mut files)?;
    }
    files.sort();
    let originals = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    if originals.is_empty() {
        return Err(usage.into());
    }
    let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let path = base.join(format!("mutate-{}", std::process::id()));
    let mut random = Random(seed);
    let (mut n_files, mut n_read) = (0_u64, 0_u64);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let mut bytes = originals[random.below(originals.len())].clone();
        for _ in 0..=random.below(8) {
            damage(&mut bytes, &originals, &mut random);
        }
        fs::write(&path, &bytes)?;
        let result = std::panic::catch_unwind(|| read(&path));
        n_files += 1;
        let Ok(is_read) = result else {
            fs::copy(&path, std::env::temp_dir().join("mutate-crash"))?;
            fs::remove_file(&path)?;
            return Err(format!("a panic after {n_files} files").into());
        };
        n_read += u64::from(is_read);
    }
    fs::remove_file(&path)?;
    println!(
        "{n_files} damaged files from {} good ones: {n_read} could be read, the others not, no panic",
        originals.len()
    );
    Ok(())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// Whether anything could be read as an image or a transform.
fn read(path: &Path) -> bool {
    let options = ReadOptions {
        missing_geometry: MissingGeometry::FromPixdim,
        frame: Some(0),
        fill_gaps: true,
        untilt: true,
        philips_precise: true,
        ..ReadOptions::default()
    };
    let image = read_image(path, &options);
    let readings = [
        list_series(path).is_ok_and(|listing| !listing.series.is_empty()),
        describe(path, &options).is_ok(),
        read_transform(path).is_ok(),
        read_displacement_field(path).is_ok(),
    ];
    image.is_ok() || readings.contains(&true)
}

fn damage(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(8) {
        0 | 1 => bytes[at] = random.next() as u8,
        2 => bytes[at] ^= 1 << random.below(8),
        3 => {
            let extremes =
                [[0; 4], [0xFF; 4], [0, 0, 0, 0x80], [0xFF, 0xFF, 0xFF, 0x7F], [1, 0, 0, 0], [0, 0, 0, 1]];
            let extreme = extremes[random.below(extremes.len())];
            for (byte, value) in std::iter::zip(&mut bytes[at..], extreme) {
                *byte = value;
            }
        }
        4 => bytes.truncate(at + 1),
        5 => {
            let end = (at + 1 + random.below(64)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let piece = bytes[at..(at + 1 + random.below(64)).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => {
            let other = &others[random.below(others.len())];
            let from = random.below(other.len());
            let piece = other[from..(from + 1 + random.below(256)).min(other.len())].to_vec();
            let end = (at + piece.len()).min(bytes.len());
            bytes.splice(at..end, piece);
        }
    }
}
