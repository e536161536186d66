//! Checks the CUDA path where there is no NVIDIA software: a stand-in for its compiler, and no linking.
//!
//! The build scripts of candle and cudarc ask `nvcc` for its version and let it compile candle's kernels.
//! `cargo check` needs the answers and the files, but not what is in them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::process::{Process, cargo, workspace_root};

/// A program in nvcc's place that writes empty outputs.
///
/// What is built with it holds no kernels and must never be run; `cargo check` makes nothing that could be.
const NVCC: &str = r#"#!/bin/sh
out= folder=. mode=object source=
while [ $# -gt 0 ]; do
    case "$1" in
        --version | -V)
            # cudarc reads the version from the fourth line, as the real one prints it.
            printf 'nvcc: stand-in\n\n\nCuda compilation tools, release 13.0, V13.0.88\n'
            exit 0 ;;
        --ptx) mode=ptx ;;
        --lib) mode=library ;;
        -o) out=$2; shift ;;
        --output-directory) folder=$2; shift ;;
        *.cu) source=$1 ;;
    esac
    shift
done
case $mode in
    ptx) : > "$folder/$(basename "$source" .cu).ptx" ;;
    object) : > "$out" ;;
    library) printf '!<arch>\n' > "$out" ;;
esac
"#;

/// Lints the command line and all it uses with the features `cuda` and `cudnn`.
pub(crate) fn run() -> Result<()> {
    let folder = workspace_root().join("target/cuda-check");
    write_compiler(&folder.join("bin"))?;
    // `cuda` alone must hold together too.
    for features in ["cuda", "cuda,cudnn"] {
        let packages = ["--package", "synthct-cli", "--package", "synthct-nn"];
        let clippy = cargo(&["clippy", "--tests", "--features", features]).args(packages);
        with_compiler(clippy, &folder)?.args(["--", "--deny", "warnings"]).run()?;
    }
    Ok(())
}

fn write_compiler(folder: &Path) -> Result<()> {
    let path = folder.join("nvcc");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(&path, NVCC).with_context(|| format!("cannot write {}", path.display()))?;
    make_executable(&path)
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) -> Result<()> {
    anyhow::bail!("the stand-in for nvcc is a shell script: check the CUDA path on a Unix")
}

/// The command with the stand-in first on the path, building into a folder of its own.
fn with_compiler(command: Process, folder: &Path) -> Result<Process> {
    let bin = folder.join("bin");
    let mut path = vec![bin.clone()];
    path.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let text =
        |path: &Path| path.to_str().map(str::to_owned).context("the path of the workspace is not UTF-8");
    let path = std::env::join_paths(path)?.into_string().ok().context("PATH is not UTF-8")?;
    Ok(command
        .env("CARGO_TARGET_DIR", &text(folder)?)
        .env("CUDA_HOME", &text(folder)?)
        .env("NVCC", &text(&bin.join("nvcc"))?)
        .env("PATH", &path)
        .env("CUDA_COMPUTE_CAP", "90"))
}
