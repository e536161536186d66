//! DICOM in and out through the program: from an MR series to a dose comparison.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use sct::image::{Mask, PointLps, Volume};
use sct::io::{read_mask, read_volume, write_mask};

use crate::{coarse_cohort, fail, run, text};

fn json(path: &Path) -> Result<serde_json::Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[test]
fn the_line_from_an_mr_series_to_a_comparison_of_doses() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = coarse_cohort(folder.path(), "3")?;
    let at = |name: &str| folder.path().join(name);
    let of = |name: &str| cohort.join(format!("head-0003/{name}.nii.gz"));
    let (mr, sct, ct) = (at("mr"), at("sct"), at("ct"));

    // An MR series of a patient, and a CT in its frame of reference.
    run(&["convert", text(&of("mr")), text(&mr), "--dicom", "mr", "--patient-id", "P3"])?;
    run(&["convert", text(&of("ct")), text(&ct), "--dicom", "ct", "--like", text(&mr)])?;
    let (file, series) = (read_volume(&of("ct"))?, read_volume(&ct)?);
    assert!(file.grid().matches(series.grid()));
    assert!(std::iter::zip(file.as_slice(), series.as_slice()).all(|(a, b)| (a - b).abs() <= 0.5));

    // A model, and the synthetic CT as a series.
    let run_dir = at("run");
    let data = ["--data", text(&cohort), "--out", text(&run_dir)];
    run(&[&["train", "--preset", "regression", "--exclude", "head-0003"][..], &data].concat())?;
    let nifti = at("sct.nii.gz");
    let predict = ["predict", "--model", text(&run_dir), "--input"];
    run(&[&predict[..], &[text(&mr), "--dicom-out", text(&sct), "--out", text(&nifti)]].concat())?;
    assert_eq!(read_volume(&sct)?.as_slice(), read_volume(&nifti)?.as_slice());
    let (code, said) = fail(&[&predict[..], &[text(&of("mr")), "--dicom-out", text(&at("no"))]].concat())?;
    assert!(code == Some(1) && said.contains("an MR that is a DICOM series"), "{said}");

    // Structures and a plan on the CT.
    let middle = series.grid().center_lps();
    let masks = at("masks");
    fs::create_dir(&masks)?;
    let ball = |radius: f64| {
        Mask::new(Volume::from_point_fn(series.grid(), |point: PointLps| point.distance_mm(middle) < radius))
    };
    write_mask(&masks.join("ptv.nii.gz"), &ball(30.0))?;
    write_mask(&masks.join("around.nii.gz"), &ball(50.0))?;
    let (structures, plan, dose) = (at("rs.dcm"), at("rp.dcm"), at("rd.dcm"));
    run(&["convert", text(&masks), text(&structures), "--dicom", "structures", "--like", text(&ct)])?;
    let back = at("back");
    run(&["convert", text(&structures), text(&back), "--like", text(&ct)])?;
    assert_eq!(read_mask(&back.join("ptv.nii.gz"))?.as_slice(), ball(30.0).as_slice());
    let ptv = masks.join("ptv.nii.gz");
    let body = of("mask");
    let template = ["dose", "--image", text(&ct), "--template", "brain-3d", "--ptv", text(&ptv)];
    let more = ["--prescription-gy", "60", "--spacing-mm", "8", "--fast", "--body", text(&body)];
    let outputs = ["--plan-out", text(&plan), "--out", text(&dose)];
    run(&[&template[..], &more, &outputs].concat())?;

    // The plan read back gives the same dose.
    let again = at("again.nii.gz");
    let planned = ["--plan", text(&plan), "--spacing-mm", "8", "--fast", "--body", text(&body)];
    run(&[&["dose", "--image", text(&ct), "--out", text(&again)][..], &planned].concat())?;
    let (a, b) = (read_volume(&dose)?, read_volume(&again)?);
    let most = a.as_slice().iter().fold(0.0_f32, |most, gy| most.max(*gy));
    assert!(std::iter::zip(a.as_slice(), b.as_slice()).all(|(a, b)| (a - b).abs() < 1e-4 * most));

    // The comparison, with that dose as the planning system's.
    let out = at("comparison");
    let images = ["compare-dose", "--reference", text(&ct), "--evaluated", text(&sct), "--out", text(&out)];
    let others = ["--structures", text(&structures), "--target", "ptv", "--tps-dose", text(&dose)];
    run(&[&images[..], &planned, &others].concat())?;
    let summary = json(&out.join("summary.json"))?;
    assert!((summary["fidelity"]["gamma_percent"]["1/1>10"].as_f64().context("γ")? - 100.0).abs() < 1e-9);
    let arm = &summary["arms"]["sct"];
    assert!(arm["dvh_percent"]["davg"].as_f64().is_some_and(|percent| percent.abs() < 10.0), "{arm}");
    assert!(arm["structures"]["around"].is_array() && arm["structures"]["ptv"].is_null(), "{arm}");
    let page = fs::read_to_string(out.join("report.html"))?;
    assert!(page.contains("Fidelity to the planning system") && page.contains("around"));

    // Histograms of an RT Dose in structures.
    let numbers = at("dvh.json");
    run(&["dvh", "--dose", text(&dose), "--structures", text(&structures), "--json", text(&numbers)])?;
    let mean = json(&numbers)?["ptv"]["figures"]["mean_gy"].as_f64().context("a mean")?;
    assert!((mean - 60.0).abs() < 3.0, "{mean}");

    // Another patient's structures are refused.
    let other = at("other");
    run(&["convert", text(&of("ct")), text(&other), "--dicom", "ct", "--patient-id", "P4"])?;
    let strange = ["dose", "--image", text(&other), "--out", text(&again)];
    let (code, said) = fail(&[&strange[..], &planned].concat())?;
    assert!(code == Some(1) && said.contains("(0020,0052)") && said.contains("--trust-frames"), "{said}");
    run(&[&strange[..], &planned, &["--trust-frames"]].concat())?;
    Ok(())
}

#[test]
fn conversions_say_what_they_lack() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = coarse_cohort(folder.path(), "1")?;
    let at = |name: &str| folder.path().join(name);
    let ct = cohort.join("head-0001/ct.nii.gz");
    let (code, said) = fail(&["convert", text(&ct), text(&at("ct")), "--dicom", "ct"])?;
    assert!(code == Some(1) && said.contains("--like") && said.contains("--patient-id"), "{said}");
    let (code, said) = fail(&["convert", text(&ct), text(&at("rd.dcm")), "--dicom", "dose"])?;
    assert!(code == Some(1) && said.contains("--plan"), "{said}");
    let (code, said) = fail(&["convert", text(&ct), text(&at("ct")), "--dicom", "ct", "--like", text(&ct)])?;
    assert!(code == Some(1) && said.contains("is no DICOM series"), "{said}");
    fs::create_dir(at("full"))?;
    fs::write(at("full/file"), "x")?;
    let (code, said) =
        fail(&["convert", text(&ct), text(&at("full")), "--dicom", "ct", "--patient-id", "x"])?;
    assert!(code == Some(1) && said.contains("is not empty"), "{said}");
    Ok(())
}
