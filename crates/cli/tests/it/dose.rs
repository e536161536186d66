//! Dose, gamma and histograms through the program.

use std::fs;

use anyhow::{Context as _, Result};
use sct::image::{Grid, Mask, PointLps, Volume};
use sct::io::{OutputType, read_volume, write_mask, write_volume};

use crate::{coarse_cohort, fail, run, text};

#[test]
fn a_plan_on_a_ct_and_on_a_denser_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = coarse_cohort(folder.path(), "1")?;
    let at = |name: &str| folder.path().join(name);
    let (ct_file, body) = (cohort.join("head-0001/ct.nii.gz"), cohort.join("head-0001/mask.nii.gz"));
    let ct = read_volume(&ct_file)?;
    let denser = at("denser.nii.gz");
    write_volume(&denser, &ct.map(|&hu| if hu > -200.0 { hu + 60.0 } else { hu }), OutputType::F32)?;
    let masks = at("masks");
    fs::create_dir(&masks)?;
    let middle = ct.grid().center_lps();
    let sphere = |shift: f64, radius: f64| {
        let middle = PointLps::new(middle.x + shift, middle.y, middle.z);
        Mask::new(Volume::from_point_fn(ct.grid(), |point| point.distance_mm(middle) < radius))
    };
    write_mask(&masks.join("eye.nii.gz"), &sphere(40.0, 12.0))?;
    let ptv = format!("{},{},{},20", middle.x, middle.y, middle.z);
    let ptv_argument = format!("--ptv-sphere={ptv}");
    let treatment =
        ["--template", "brain-3d", &ptv_argument, "--prescription-gy", "60", "--fast", "--spacing-mm", "6"];
    let compare = |evaluated: &str, out: &str| -> Result<serde_json::Value> {
        let images =
            ["compare-dose", "--reference", text(&ct_file), "--evaluated", evaluated, "--body", text(&body)];
        let others = ["--structures", text(&masks), "--out", out];
        run(&[&images[..], &treatment, &others].concat())?;
        Ok(serde_json::from_slice(&fs::read(format!("{out}/summary.json"))?)?)
    };

    // The same image: nothing differs.
    let same = compare(text(&ct_file), text(&at("same")))?;
    let arm = &same["arms"]["sct"];
    for name in ["1/1>10", "1/1>60", "2/2>10", "2/2>60", "3/3>10", "3/3>60"] {
        assert_eq!(arm["gamma_percent"][name].as_f64(), Some(100.0), "{name}");
    }
    for name in ["d98", "davg", "d2"] {
        assert_eq!(arm["dvh_percent"][name].as_f64(), Some(0.0), "{name}");
    }
    let page = fs::read_to_string(at("same/report.html"))?;
    assert!(page.contains("ot for clinical use") && page.contains("data:image/png") && page.contains("eye"));

    // A denser head absorbs more on the way: the target gets less.
    let other = compare(text(&denser), text(&at("other")))?;
    let arm = &other["arms"]["sct"];
    let mean = arm["dvh_percent"]["davg"].as_f64().context("a mean")?;
    assert!((-8.0..-0.5).contains(&mean), "{mean} %");
    assert!(arm["gamma_percent"]["1/1>60"].as_f64().is_some_and(|percent| percent < 90.0));

    // Monte Carlo: the same histories on the same image, and a γ that its noise would decide is refused.
    let images = ["--reference", text(&ct_file), "--evaluated", text(&ct_file), "--body", text(&body)];
    let noisy = at("noisy");
    let engine = ["--engine", "monte-carlo", "--histories", "20000", "--out", text(&noisy)];
    run(&[&["compare-dose"], &images[..], &treatment, &engine].concat())?;
    let same: serde_json::Value = serde_json::from_slice(&fs::read(noisy.join("summary.json"))?)?;
    let with_noise = &same["arms"]["sct"];
    assert!(with_noise["uncertainty_percent"].as_f64().is_some_and(|percent| percent > 0.5), "{with_noise}");
    assert!(
        with_noise["gamma_percent"]["1/1>10"].is_null()
            && with_noise["gamma_refused"][0]["criterion"] == "1/1",
        "{with_noise}"
    );
    assert!(
        with_noise["gamma_refused"][0]["n_histories"].as_u64().is_some_and(|n| n > 20_000),
        "{with_noise}"
    );
    for name in ["d98", "davg", "d2"] {
        assert_eq!(with_noise["dvh_percent"][name].as_f64(), Some(0.0), "{name}");
    }
    let page = fs::read_to_string(noisy.join("report.html"))?;
    assert!(page.contains("refused") && page.contains("Monte Carlo, 2"), "the page says what is missing");
    let (dose, sigma) = (at("mc.nii.gz"), at("sigma.nii.gz"));
    let engine = ["--engine", "mc", "--histories", "20000", "--seed", "2", "--sigma", text(&sigma)];
    let image = ["dose", "--image", text(&ct_file), "--body", text(&body), "--out", text(&dose)];
    run(&[&image[..], &treatment, &engine].concat())?;
    let (dose, sigma) = (read_volume(&dose)?, read_volume(&sigma)?);
    assert_eq!(dose.grid(), sigma.grid());
    assert!(sigma.as_slice().iter().all(|sigma| sigma.is_finite() && *sigma >= 0.0));

    // The doses written are those compared.
    let (a, b) = (at("other/dose_ct.nii.gz"), at("other/dose_sct.nii.gz"));
    let json = at("gamma.json");
    let doses = ["gamma", "--reference", text(&a), "--evaluated", text(&b), "--prescription-gy", "60"];
    let asked = ["--criteria", "1/1,3/3", "--cutoff-percent", "60", "--json", text(&json)];
    run(&[&doses[..], &asked].concat())?;
    let numbers: serde_json::Value = serde_json::from_slice(&fs::read(&json)?)?;
    let alone = numbers["criteria"][0]["pass_percent"].as_f64().context("a passing rate")?;
    // The program's own comparison counts the body only.
    let inside = arm["gamma_percent"]["1/1>60"].as_f64().context("a passing rate")?;
    assert!((alone - inside).abs() < 3.0, "{alone} and {inside}");
    assert_eq!(numbers["settings"]["cutoff_percent"].as_f64(), Some(60.0));

    let json = at("dvh.json");
    run(&["dvh", "--dose", text(&a), "--structures", text(&masks), "--json", text(&json)])?;
    let numbers: serde_json::Value = serde_json::from_slice(&fs::read(&json)?)?;
    let of = |numbers: &serde_json::Value| numbers["mean_gy"].as_f64().context("a mean");
    let (alone, compared) = (of(&numbers["eye"]["figures"])?, of(&arm["structures"]["eye"][0])?);
    assert!((alone - compared).abs() < 1e-3, "{alone} and {compared}");
    Ok(())
}

#[test]
fn dose_commands_say_what_is_wrong() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cohort = coarse_cohort(folder.path(), "1")?;
    let ct = cohort.join("head-0001/ct.nii.gz");
    let dose = |more: &[&str]| {
        let fixed =
            ["dose", "--image", text(&ct), "--prescription-gy", "60", "--out", "/nonexistent/dose.nii.gz"];
        fail(&[&fixed[..], more].concat())
    };
    let (code, said) = dose(&["--template", "brain", "--ptv-sphere=0,0,0,20"])?;
    assert!(code == Some(2) && said.contains("brain-3d"), "{said}");
    let (code, said) = dose(&["--template", "brain-3d"])?;
    assert!(code == Some(2) && said.contains("--ptv"), "{said}");
    let (code, said) = dose(&["--template", "brain-3d", "--ptv-sphere=900,0,0,20", "--spacing-mm", "8"])?;
    assert!(code == Some(1) && said.contains("target is empty"), "{said}");
    for (more, expected) in [
        (&["--engine", "monte-carlo"][..], "--uncertainty PERCENT"),
        (&["--engine", "mc", "--histories", "0"], "at least 1"),
        (&["--histories", "1000"], "--engine monte-carlo"),
    ] {
        let plan = ["--template", "brain-3d", "--ptv-sphere=0,0,0,20", "--spacing-mm", "8"];
        let (code, said) = dose(&[&plan[..], more].concat())?;
        assert!(code == Some(1) && said.contains(expected), "{said}");
    }
    let (code, said) =
        fail(&["gamma", "--reference", text(&ct), "--evaluated", text(&ct), "--criteria", "3"])?;
    assert!(code == Some(2) && said.contains("percent/mm"), "{said}");
    // Doses and structures of other places, images with holes, curves that fall.
    let at = |name: &str| folder.path().join(name);
    let image = read_volume(&ct)?;
    let far = Grid::axis_aligned([6, 6, 6], [5.0; 3], PointLps::new(2000.0, 0.0, 0.0))?;
    let dose_here = at("dose.nii.gz");
    write_volume(&dose_here, &image.map(|_| 2.0), OutputType::F32)?;
    let dose_far = at("far.nii.gz");
    write_volume(&dose_far, &Volume::filled(&far, 2.0), OutputType::F32)?;
    write_mask(&at("far_mask.nii.gz"), &Mask::full(&far))?;
    let (code, said) = fail(&[
        "gamma",
        "--reference",
        text(&dose_here),
        "--evaluated",
        text(&dose_far),
        "--criteria",
        "3/3",
    ])?;
    assert!(code == Some(1) && said.contains("do not meet"), "{said}");
    let (code, said) =
        fail(&["dvh", "--dose", text(&dose_here), "--structures", text(&at("far_mask.nii.gz"))])?;
    assert!(code == Some(1) && said.contains("does not meet the dose"), "{said}");
    let curve = at("curve.csv");
    fs::write(&curve, "HU,g/cm3,relative\n-1000,0.001,0.001\n0,1,1\n100,0.9,1.1\n")?;
    let sphere = "--ptv-sphere=0,0,0,20";
    let (code, said) =
        dose(&["--template", "brain-3d", sphere, "--spacing-mm", "8", "--density", text(&curve)])?;
    assert!(code == Some(1) && said.contains("not monotone") && said.contains("curve.csv"), "{said}");
    let holed = at("holed.nii.gz");
    let mut ct_with_hole = image.clone();
    let [ni, nj, nk] = image.grid().size_ijk();
    let middle = (nk / 2 * nj + nj / 2) * ni + ni / 2;
    ct_with_hole.as_mut_slice()[middle] = f32::NAN;
    write_volume(&holed, &ct_with_hole, OutputType::F32)?;
    let mask = cohort.join("head-0001/mask.nii.gz");
    let (code, said) = fail(&[
        "dose",
        "--image",
        text(&holed),
        "--body",
        text(&mask),
        "--template",
        "brain-3d",
        sphere,
        "--prescription-gy",
        "60",
        "--spacing-mm",
        "8",
        "--out",
        text(&at("out.nii.gz")),
    ])?;
    assert!(code == Some(1) && said.contains("NaN"), "{said}");
    let (code, said) = fail(&["dvh", "--dose", text(&ct), "--structures", text(&cohort)])?;
    assert!(code == Some(1) && said.contains("holds no mask"), "{said}");
    Ok(())
}
