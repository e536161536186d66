//! A file in memory for the input of a fuzz target: readers take paths.

use std::fs;
use std::path::{Path, PathBuf};

/// Writes `data` to a file of that name which only this process uses, and hands out its path.
pub fn with_file(name: &str, data: &[u8], read: impl FnOnce(&Path)) {
    let shared = Path::new("/dev/shm");
    let base = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let folder: PathBuf = base.join(format!("synthct-fuzz-{}", std::process::id()));
    if fs::create_dir_all(&folder).is_err() {
        return;
    }
    let path = folder.join(name);
    if fs::write(&path, data).is_ok() {
        read(&path);
    }
}
