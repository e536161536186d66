//! The repository's rules as one check: layers, dependencies, generated tables, forbidden words, file sizes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::generated;
use crate::layers::{CRATES, FORMAT_LIBRARIES, KNOW_CANDLE, KNOW_FORMATS, ONE_VERSION};
use crate::process::{cargo, workspace_root};

/// A source file longer than this has a seam that wants finding.
const MAX_FILE_LINES: usize = 700;

/// Words that tie the project to one machine or to how it came about.
const FORBIDDEN: &[&str] =
    &["/work/", "/tmp/", "/home/", "index.crates.io", "static.crates.io", "pypi.org/simple"];

/// Checks every rule and fails with all findings; `write` mends the generated tables first.
pub(crate) fn run(write: bool) -> Result<()> {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1"]).output()?)?;
    let mut findings = Vec::new();
    check_layers(&metadata, &mut findings)?;
    check_single_versions(&metadata, &mut findings)?;
    check_table("docs/ARCHITECTURE.md", &architecture_table(&metadata)?, write, &mut findings)?;
    check_table("README.md", &readme_table(&metadata)?, write, &mut findings)?;
    check_files(&mut findings)?;
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} finding(s):\n  {}", findings.len(), findings.join("\n  "))
}

/// The workspace's own packages.
fn packages(metadata: &Value) -> Result<impl Iterator<Item = &Value>> {
    let members =
        metadata["workspace_members"].as_array().context("cargo metadata names no workspace members")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    Ok(packages.iter().filter(|package| members.contains(&package["id"])))
}

/// Dependencies that a user of the package gets, dev-dependencies left out.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| dependency["kind"] != "dev")
        .filter_map(|dependency| dependency["name"].as_str())
}

fn check_layers(metadata: &Value, findings: &mut Vec<String>) -> Result<()> {
    for package in packages(metadata)? {
        let name = package["name"].as_str().unwrap_or_default();
        let published = package["publish"].is_null();
        let Some(place) = CRATES.iter().find(|place| place.package == name) else {
            if published {
                findings.push(format!(
                    "`{name}` is published but has no place in the layer table (xtask/src/layers.rs)"
                ));
            }
            continue;
        };
        for dependency in dependencies(package) {
            if let Some(used) = CRATES.iter().find(|used| used.package == dependency)
                && (!place.may_use.contains(&used.folder) || used.layer >= place.layer)
            {
                findings.push(format!(
                    "`{name}` (layer {}) may not use `{dependency}` (layer {})",
                    place.layer, used.layer
                ));
            }
            if dependency.starts_with("candle") && !KNOW_CANDLE.contains(&place.folder) {
                findings.push(format!("`{name}` may not know candle"));
            }
            if FORMAT_LIBRARIES.iter().any(|library| dependency.starts_with(library))
                && !KNOW_FORMATS.contains(&place.folder)
            {
                findings.push(format!("`{name}` may not know a file format, but uses `{dependency}`"));
            }
        }
    }
    for place in CRATES {
        if !packages(metadata)?.any(|package| package["name"] == place.package) {
            findings.push(format!("`{}` is in the layer table but not in the workspace", place.package));
        }
    }
    Ok(())
}

fn check_single_versions(metadata: &Value, findings: &mut Vec<String>) -> Result<()> {
    let all = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    for library in ONE_VERSION {
        let versions: Vec<_> = all
            .iter()
            .filter(|package| package["name"] == *library)
            .filter_map(|package| package["version"].as_str())
            .collect();
        if versions.len() != 1 {
            findings
                .push(format!("the lock file must hold one version of `{library}`, but holds {versions:?}"));
        }
    }
    Ok(())
}

fn description<'a>(metadata: &'a Value, package: &str) -> Result<&'a str> {
    packages(metadata)?
        .find(|candidate| candidate["name"] == package)
        .and_then(|found| found["description"].as_str())
        .with_context(|| format!("`{package}` has no description"))
}

fn architecture_table(metadata: &Value) -> Result<String> {
    let mut table =
        String::from("| layer | folder | package | one sentence | may use |\n|---|---|---|---|---|\n");
    for place in CRATES {
        let may_use = if place.may_use.is_empty() { "—".to_owned() } else { place.may_use.join(", ") };
        writeln!(
            table,
            "| {} | {} | `{}` | {} | {may_use} |",
            place.layer,
            place.folder,
            place.package,
            description(metadata, place.package)?
        )?;
    }
    Ok(table)
}

fn readme_table(metadata: &Value) -> Result<String> {
    let mut table = String::from("| crate | what it is |\n|---|---|\n");
    for place in CRATES {
        writeln!(
            table,
            "| [`{}`](crates/{}) | {} |",
            place.package,
            place.folder,
            description(metadata, place.package)?
        )?;
    }
    Ok(table)
}

/// Notes a generated table that is out of date, or mends it.
fn check_table(document: &str, table: &str, write: bool, findings: &mut Vec<String>) -> Result<()> {
    if generated::differs(document, "cargo xtask tidy --write", table, write)? && !write {
        findings.push(format!("the table in {document} is out of date: run `cargo xtask tidy --write`"));
    }
    Ok(())
}

fn check_files(findings: &mut Vec<String>) -> Result<()> {
    let root = workspace_root();
    let mut files = Vec::new();
    collect_files(root, &mut files)?;
    let own = Path::new(file!());
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(root).unwrap_or(&path);
        if name.extension().is_some_and(|extension| extension == "rs")
            && text.lines().count() > MAX_FILE_LINES
        {
            findings.push(format!(
                "{} has {} lines: look for the seam",
                name.display(),
                text.lines().count()
            ));
        }
        if name != own {
            for word in FORBIDDEN.iter().filter(|word| text.contains(*word)) {
                findings.push(format!("{} names `{word}`, which belongs to one machine", name.display()));
            }
        }
    }
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if !root.join(licence).is_file() {
            findings.push(format!("{licence} is missing"));
        }
    }
    Ok(())
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with(".git") && name != "target" {
                collect_files(&path, files)?;
            }
        } else if name != "Cargo.lock" && name != ".git" {
            files.push(path);
        }
    }
    Ok(())
}
