//! The program as a user runs it: its files, its exit codes, its errors, and a kill in the middle of a training.

mod dicom;
mod dose;
mod preparation;
mod study;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sct::nn::Precision;

fn sct(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sct"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs to success.
#[track_caller]
fn run(arguments: &[&str]) -> Result<Output> {
    let output = sct(arguments).output()?;
    if !output.status.success() {
        bail!("sct {arguments:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output)
}

/// Runs to failure and gives the exit code and what was said.
fn fail(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = sct(arguments).output()?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn coarse_cohort(folder: &Path, subjects: &str) -> Result<PathBuf> {
    let cohort = folder.join("cohort");
    run(&["phantom", "--subjects", subjects, "--spacing-mm", "8", "--out", text(&cohort), "--quiet"])?;
    Ok(cohort)
}

#[test]
fn the_line_from_phantom_to_figures() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = coarse_cohort(folder.path(), "3")?;
    let at = |name: &str| folder.path().join(name);
    let (run_dir, sct_file, json, page) = (at("run"), at("sct.nii.gz"), at("m.json"), at("r.html"));
    let data = ["--data", text(&cohort), "--out", text(&run_dir)];
    run(&[&["train", "--preset", "regression", "--exclude", "head-0003"][..], &data].concat())?;
    let subject = cohort.join("head-0003");
    let (mr, ct, mask) = (subject.join("mr.nii.gz"), subject.join("ct.nii.gz"), subject.join("mask.nii.gz"));
    let predicted =
        run(&["predict", "--model", text(&run_dir), "--input", text(&mr), "--out", text(&sct_file)])?;
    assert!(String::from_utf8(predicted.stderr)?.contains("computed on cpu"));
    let evaluated = ["--reference", text(&ct), "--evaluated", text(&sct_file), "--mask", text(&mask)];
    let outputs = ["--json", text(&json), "--report", text(&page), "--mr", text(&mr)];
    run(&[&["evaluate"], &evaluated[..], &outputs].concat())?;
    let figures: serde_json::Value = serde_json::from_slice(&fs::read(&json)?)?;
    let mae = figures["mae_hu"]["body"]["mean"].as_f64().context("the JSON has the MAE")?;
    assert!(mae > 1.0 && mae < 500.0, "{mae}");
    let html = fs::read_to_string(&page)?;
    assert!(html.contains("ot for clinical use") && html.contains("data:image/png"));
    Ok(())
}

#[test]
fn a_killed_training_resumes_to_the_same_bits() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = coarse_cohort(folder.path(), "3")?;
    let arguments = |out: &str| -> Vec<String> {
        let fixed = "train --preset 3tn --filters 4 --epochs 3 --quiet --data";
        fixed
            .split(' ')
            .map(str::to_owned)
            .chain([text(&cohort).into(), "--out".into(), out.into()])
            .collect()
    };
    let weights = |out: &Path| fs::read(out.join("package/model.safetensors"));
    let metrics = |out: &Path| fs::read_to_string(out.join("metrics.csv"));

    let whole = folder.path().join("whole");
    let start = Instant::now();
    run(&arguments(text(&whole)).iter().map(String::as_str).collect::<Vec<_>>())?;
    let duration = start.elapsed();

    // Kills at three moments of the training; a kill that came too late is no kill, but must do no harm either.
    for share in [0.35, 0.6, 0.85] {
        let killed = folder.path().join(format!("killed-{share}"));
        let mut child = sct(&[]).args(arguments(text(&killed))).spawn()?;
        let deadline = start.elapsed() + duration.mul_f64(share);
        while start.elapsed() < deadline && child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill()?;
        child.wait()?;
        if killed.join("config.json").exists() {
            run(&["train", "--resume", "--quiet", "--data", text(&cohort), "--out", text(&killed)])?;
        } else {
            // Killed before the run folder was complete: there is nothing to resume, and beginning anew is right.
            run(&arguments(text(&killed)).iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        assert_eq!(weights(&killed)?, weights(&whole)?, "killed after {share} of the time");
        assert_eq!(metrics(&killed)?, metrics(&whole)?, "killed after {share} of the time");
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut packages = Vec::new();
    for threads in ["1", "2", "3"] {
        let cohort = folder.path().join(format!("cohort-{threads}"));
        let out = folder.path().join(format!("run-{threads}"));
        let phantom = ["phantom", "--subjects", "2", "--spacing-mm", "8", "--quiet", "--out", text(&cohort)];
        let train = "train --preset 3tn --filters 4 --epochs 1 --quiet --data".split(' ').collect::<Vec<_>>();
        for arguments in [&phantom[..], &[&train[..], &[text(&cohort), "--out", text(&out)]].concat()] {
            let status = sct(arguments).env("RAYON_NUM_THREADS", threads).status()?;
            assert!(status.success(), "{arguments:?} with {threads} threads");
        }
        packages.push((
            fs::read(cohort.join("head-0001/mr.nii.gz"))?,
            fs::read(out.join("package/model.safetensors"))?,
        ));
    }
    assert!(packages.windows(2).all(|pair| pair[0] == pair[1]));
    Ok(())
}

#[test]
fn failures_name_the_file_and_the_way_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let absent = folder.path().join("absent.nii.gz");
    let (code, said) = fail(&["info", text(&absent)])?;
    assert_eq!(code, Some(1));
    assert!(said.contains("absent.nii.gz") && said.contains("hint:"), "{said}");

    let broken = folder.path().join("broken.nii");
    fs::write(&broken, b"this is no image at all")?;
    let (code, said) = fail(&["convert", text(&broken), text(&folder.path().join("out.nii"))])?;
    assert_eq!(code, Some(1));
    assert!(said.contains("broken.nii"), "{said}");
    assert!(!folder.path().join("out.nii").exists());

    let (code, said) = fail(&["train", "--data", text(folder.path()), "--preset", "4tn", "--out", "run"])?;
    assert_eq!(code, Some(2));
    assert!(said.contains("3tn") && said.contains("bulk-density"), "{said}");

    let (code, said) = fail(&["train", "--data", text(folder.path()), "--preset", "3tn", "--out", "run"])?;
    assert_eq!(code, Some(1));
    assert!(said.contains("no subject"), "{said}");

    if !cfg!(feature = "cudnn") {
        let on_gpu =
            ["predict", "--model", "run", "--input", "mr.nii", "--out", "sct.nii", "--device", "cuda"];
        let (code, said) = fail(&on_gpu)?;
        assert_eq!(code, Some(1));
        assert!(said.contains("--features cudnn"), "{said}");
    }
    Ok(())
}

#[test]
fn optimizer_learning_rate_and_precision_reach_the_run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = coarse_cohort(folder.path(), "2")?;
    let train = |name: &str, more: &[&str]| -> Result<Vec<u8>> {
        let out = folder.path().join(name);
        let fixed: Vec<_> = "train --preset 3tn --filters 4 --epochs 1 --data".split(' ').collect();
        let output = run(&[&fixed[..], &[text(&cohort), "--out", text(&out)], more].concat())?;
        let config: serde_json::Value = serde_json::from_slice(&fs::read(out.join("config.json"))?)?;
        let (optimizer, learning_rate, precision) =
            if more.is_empty() { ("nadam", 1e-3, "f32") } else { ("adamw", 2e-4, "bf16") };
        assert_eq!(config["optimizer"]["kind"], optimizer);
        assert_eq!(config["learning_rate"], learning_rate);
        assert_eq!(config["precision"], precision);
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains("computed on cpu, ") && said.contains(&format!(", {precision}\n")), "{said}");
        Ok(fs::read(out.join("package/model.safetensors"))?)
    };
    let adamw = ["--optimizer", "adamw", "--learning-rate", "2e-4", "--precision", "bf16"];
    assert!(train("nadam", &[])? != train("adamw", &adamw)?);
    let (mr, sct_file) = (cohort.join("head-0001/mr.nii.gz"), folder.path().join("sct.nii.gz"));
    let model = folder.path().join("adamw");
    for precision in Precision::NAMES {
        let files = ["--model", text(&model), "--input", text(&mr), "--out", text(&sct_file)];
        let predicted = run(&[&["predict", "--precision", precision][..], &files].concat())?;
        assert!(String::from_utf8(predicted.stderr)?.ends_with(&format!(", {precision}\n")));
    }
    let (code, said) =
        fail(&["train", "--data", "x", "--preset", "3tn", "--out", "y", "--optimizer", "sgd"])?;
    assert_eq!(code, Some(2));
    assert!(said.contains("nadam") && said.contains("adamw"), "{said}");
    Ok(())
}

#[test]
fn normalization_and_bias_correction_reach_the_package() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = coarse_cohort(folder.path(), "2")?;
    let train = |name: &str, more: &[&str]| -> Result<[serde_json::Value; 2]> {
        let out = folder.path().join(name);
        let fixed = ["train", "--preset", "regression", "--data", text(&cohort), "--out", text(&out)];
        run(&[&fixed[..], more].concat())?;
        let read = |file: &str| -> Result<serde_json::Value> {
            Ok(serde_json::from_slice(&fs::read(out.join(file))?)?)
        };
        Ok([read("config.json")?, read("package/manifest.json")?["preprocessing"].clone()])
    };
    let [config, preprocessing] = train("preset", &[])?;
    assert_eq!(config["normalization"], "zscore-in-body");
    assert!(config["bias_correction"].is_object() && preprocessing["bias_correction"].is_object());
    let [config, preprocessing] = train("nyul", &["--normalization", "nyul", "--no-bias-correction"])?;
    assert_eq!(config["normalization"]["nyul-in-body"]["output_range"], serde_json::json!([-1.0, 1.0]));
    assert!(preprocessing["normalization"]["nyul-in-body"].is_array(), "{preprocessing}");
    assert!(config["bias_correction"].is_null() && preprocessing["bias_correction"].is_null());
    // A configuration file is changed as a preset is.
    let file = folder.path().join("nyul/config.json");
    let out = folder.path().join("again");
    let more = ["--normalization", "percentile", "--bias-correction", "--data", text(&cohort)];
    run(&[&["train", "--config", text(&file), "--out", text(&out)][..], &more].concat())?;
    let config: serde_json::Value = serde_json::from_slice(&fs::read(out.join("config.json"))?)?;
    assert_eq!(config["normalization"]["percentile-in-body"]["high_percent"], 99.0);
    assert!(config["bias_correction"].is_object());
    let (code, said) =
        fail(&["train", "--data", "x", "--preset", "3tn", "--out", "y", "--normalization", "minmax"])?;
    assert!(code == Some(2) && said.contains("nyul"), "{said}");
    Ok(())
}

#[test]
fn every_command_has_help_with_an_example() -> Result<()> {
    for command in [
        "info",
        "convert",
        "phantom",
        "prepare",
        "n4",
        "normalize",
        "register",
        "resample",
        "mask",
        "train",
        "predict",
        "evaluate",
        "demo",
    ] {
        let help = String::from_utf8(run(&[command, "--help"])?.stdout)?;
        assert!(help.contains("Example") && help.contains(&format!("sct {command} ")), "{command}: {help}");
    }
    Ok(())
}
