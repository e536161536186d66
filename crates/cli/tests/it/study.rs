//! Studies: what they leave, kills, and what was added or changed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{fail, run, sct, text};

/// Two cohorts of two subjects at different field strengths.
fn cohorts(folder: &Path) -> Result<()> {
    for (name, seed, field_strength_t) in [("low", "1", "0.35"), ("high", "2", "3")] {
        run(&[
            "phantom",
            "--subjects",
            "2",
            "--seed",
            seed,
            "--spacing-mm",
            "8",
            "--field-strength-t",
            field_strength_t,
            "--out",
            text(&folder.join(name)),
            "--quiet",
        ])?;
    }
    Ok(())
}

fn file() -> Value {
    let small = json!({
        "epochs": 2,
        "bias_correction": null,
        "architecture": { "filters": 2 },
        "checkpoint_every_steps": 1
    });
    json!({
        "title": "Low and high fields",
        "cohorts": [{ "folder": "low", "group": "low" }, { "folder": "high", "group": "high" }],
        "split": { "kind": "leave-one-group-out", "n_validation": 1, "seed": 1 },
        "seeds": [3],
        "arms": [
            { "name": "3tn", "preset": "3tn", "changes": small, "uncertainty": { "dropout_samples": 2 } },
            { "name": "regression", "preset": "regression", "changes": { "bias_correction": null } }
        ]
    })
}

/// Every file that must not depend on kills: numbers, page, packages and images.
fn results(out: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                // What a kill in the middle of a writing may leave.
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.strip_prefix(out)?.display().to_string(), fs::read(&path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[test]
fn a_killed_study_goes_on_to_the_same_numbers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    cohorts(folder.path())?;
    let path = folder.path().join("study.json");
    fs::write(&path, file().to_string())?;
    let whole = folder.path().join("whole");
    let start = Instant::now();
    let output = run(&["study", text(&path), "--out", text(&whole), "--quiet"])?;
    let duration = start.elapsed();
    assert!(String::from_utf8(output.stdout)?.contains("3tn"));
    let expected = results(&whole)?;

    let numbers: Value = serde_json::from_slice(&fs::read(whole.join("summary.json"))?)?;
    // Two arms, four subjects, each held out once.
    assert_eq!(numbers["cases"].as_array().map(Vec::len), Some(2 * 4));
    for arm in ["3tn", "regression"] {
        let mae = numbers["arms"][arm]["mae_hu"]["body"]["mean"].as_f64().context("the MAE")?;
        assert!(mae > 1.0 && mae < 1000.0, "{arm}: {mae} HU");
        assert_eq!(numbers["arms"][arm]["n"], 4);
        assert_eq!(numbers["by_seed"][arm]["3"]["n"], 4);
        assert_eq!(numbers["by_group"][arm]["low"]["n"], 2);
    }
    assert_eq!(numbers["reliability"]["3tn"]["bins"].as_array().map(Vec::len), Some(10));
    assert!(numbers["reliability"].get("regression").is_none());
    let page = fs::read_to_string(whole.join("report.html"))?;
    for words in ["Low and high fields", "Paired differences", "Groups", "Uncertainty", "data:image/png"] {
        assert!(page.contains(words), "the page lacks {words}");
    }

    for share in [0.3, 0.7] {
        let killed = folder.path().join(format!("killed-{share}"));
        let arguments = ["study", text(&path), "--out", text(&killed), "--quiet"];
        let start = Instant::now();
        let mut child = sct(&arguments).stdout(std::process::Stdio::null()).spawn()?;
        while start.elapsed() < duration.mul_f64(share) && child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill()?;
        child.wait()?;
        run(&[&arguments[..], &["--resume"]].concat())?;
        let found = results(&killed)?;
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found == expected, "{} differs after a kill at {share}", expected.0);
        }
        assert_eq!(found.len(), expected.len(), "{share}");
    }
    Ok(())
}

#[test]
fn a_finished_arm_is_kept_and_a_changed_one_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    cohorts(folder.path())?;
    let (path, out) = (folder.path().join("study.json"), folder.path().join("out"));
    let mut study = file();
    study["seeds"] = json!([1]);
    study["split"] = json!({ "kind": "named", "validation": ["low-head-0001"], "test": ["high-head-0001"] });
    let regression = study["arms"][1].clone();
    study["arms"] = json!([regression]);
    fs::write(&path, study.to_string())?;
    let arguments = ["study", text(&path), "--out", text(&out), "--quiet"];
    run(&arguments)?;
    let (code, said) = fail(&arguments)?;
    assert!(code == Some(1) && said.contains("--resume"), "{said}");

    // One arm more: the first one's package is not written again.
    let package = out.join("held-out/regression/seed-1/run/package/manifest.json");
    let before = fs::metadata(&package)?.modified()?;
    let bulk = json!({ "name": "bulk", "preset": "bulk-density", "changes": { "bias_correction": null } });
    study["arms"] = json!([study["arms"][0], bulk]);
    fs::write(&path, study.to_string())?;
    let resume = [&arguments[..], &["--resume"]].concat();
    run(&resume)?;
    assert_eq!(fs::metadata(&package)?.modified()?, before);
    let numbers: Value = serde_json::from_slice(&fs::read(out.join("summary.json"))?)?;
    let comparisons = numbers["comparisons"].as_array().context("comparisons")?;
    assert!(comparisons.iter().any(|c| c["second"] == "bulk" && c["figure"] == "mae_hu.body"));

    study["arms"][0]["changes"]["architecture"] = json!({ "n_bins": 16 });
    fs::write(&path, study.to_string())?;
    let (code, said) = fail(&resume)?;
    assert!(
        code == Some(1) && said.contains("finished.json") && said.contains("another configuration"),
        "{said}"
    );

    study["arms"][0]["changes"] = json!({ "epoch": 1 });
    study["split"]["test"] = json!(["nobody"]);
    fs::write(&path, study.to_string())?;
    let (code, said) = fail(&resume)?;
    assert!(code == Some(1) && said.contains("`epoch`"), "{said}");
    Ok(())
}
