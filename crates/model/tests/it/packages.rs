//! Packages come back as they were, and damaged ones are refused in words.

use std::fs;
use std::path::Path;

use synthct_image::Volume;
use synthct_model::{ModelError, ModelPackage, Normalization, NormalizationMethod, TrainConfig};
use synthct_prep::{N4Config, NyulConfig};

use crate::TestResult;
use crate::heads::{body_mae, cases, predict_quietly, small_config, train_all};

#[track_caller]
fn check_refused(path: &Path, words: &[&str]) {
    match ModelPackage::load(path) {
        Err(ModelError::Package { what, .. }) => {
            assert!(words.iter().all(|word| what.contains(word)), "`{what}` lacks {words:?}");
        }
        other => panic!("expected {words:?}, but loading gave {other:?}"),
    }
}

#[test]
fn networks_come_back_and_damage_is_named() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (train_cases, validation) = (cases(&[0], 2)?, cases(&[1], 2)?);
    let run = folder.path().join("run");
    let package = train_all(&train_cases, &validation, &small_config("3tn", 1)?, &run)?;
    assert_eq!(package.provenance().best_epoch, Some(1));
    assert_eq!(package.provenance().train[0].id, "head-0");
    let spacing_mm = package.preprocessing().spacing_mm;
    assert!(spacing_mm.iter().zip([2.5, 2.5, 4.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{spacing_mm:?}");

    let copy = folder.path().join("copy");
    package.save(&copy)?;
    let back = ModelPackage::load(&copy)?;
    assert_eq!(back.preprocessing(), package.preprocessing());
    assert_eq!(back.provenance(), package.provenance());
    assert_eq!(back.model(), package.model());
    let mr = &validation[0].mr;
    assert_eq!(predict_quietly(&back, mr)?.sct, predict_quietly(&package, mr)?.sct);
    // Saved over: the same package, and no leftovers beside it.
    package.save(&copy)?;
    assert_eq!(fs::read(copy.join("manifest.json"))?, fs::read(run.join("package/manifest.json"))?);
    assert_eq!(fs::read_dir(folder.path())?.count(), 2);

    check_refused(&folder.path().join("nowhere"), &["no such folder"]);
    check_refused(folder.path(), &["no manifest.json"]);

    let weights = copy.join("model.safetensors");
    let bytes = fs::read(&weights)?;
    fs::write(&weights, &bytes[..bytes.len() - 1])?;
    check_refused(&copy, &["bytes", "manifest says"]);
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 4;
    fs::write(&weights, &flipped)?;
    check_refused(&copy, &["SHA-256"]);
    fs::write(&weights, &bytes)?;

    let manifest = copy.join("manifest.json");
    let text = fs::read_to_string(&manifest)?;
    for (from, to, words) in [
        ("\"format_version\": 1", "\"format_version\": 2", &["format version is 2", "reads 1"][..]),
        ("synthct-model-package", "other-package", &["other-package"]),
        ("\"filters\": 4,\n    \"dropout\"", "\"filters\": 5,\n    \"dropout\"", &["shape"]),
        ("\"preprocessing\"", "\"preparation\"", &["preparation"]),
        ("zscore-in-body", "minmax", &["minmax"]),
        ("\"model.safetensors\"", "\"../model.safetensors\"", &["../model.safetensors"]),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} occurs");
        fs::write(&manifest, changed)?;
        check_refused(&copy, words);
    }
    for (field, value) in [("size_multiple", 0), ("crop_margin_mm", -1)] {
        let mut changed: serde_json::Value = serde_json::from_str(&text)?;
        changed["preprocessing"][field] = value.into();
        fs::write(&manifest, changed.to_string())?;
        check_refused(&copy, &["preprocessing", field, &value.to_string()]);
    }
    fs::write(&manifest, &text[..text.len() / 2])?;
    check_refused(&copy, &["EOF"]);
    // As earlier versions name it.
    fs::write(&manifest, text.replacen("\"computed_on\"", "\"device\"", 1))?;
    assert_eq!(ModelPackage::load(&copy)?.provenance(), package.provenance());
    Ok(())
}

#[test]
fn a_standard_scale_is_learnt_from_the_training_cases_and_travels_with_the_package() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut config = small_config("3tn", 1)?;
    config.normalization = NormalizationMethod::NyulInBody(NyulConfig {
        output_range: [-1.0, 1.0],
        ..NyulConfig::intensity_normalization()
    });
    let train_cases = cases(&[0, 1], 2)?;
    let mut landmarks = Vec::new();
    for validation in [2, 3] {
        let run = folder.path().join(format!("run-{validation}"));
        let validation = cases(&[validation], 2)?;
        let package = train_all(&train_cases, &validation, &config, &run)?;
        let Normalization::NyulInBody(scales) = package.preprocessing().normalization.clone() else {
            return Err("another normalization".into());
        };
        // The MR's unit does not matter to landmarks.
        let mr = &validation[0].mr;
        let doubled: Vec<_> = mr.iter().map(|channel| channel.map(|&value| 2.0 * value)).collect();
        let (sct, of_doubled) =
            (predict_quietly(&package, mr)?.sct, predict_quietly(&package, &doubled)?.sct);
        let differences = std::iter::zip(sct.as_slice(), of_doubled.as_slice()).map(|(a, b)| (a - b).abs());
        let largest = differences.fold(0.0, f32::max);
        // Logarithms in N4 round differently.
        assert!(largest < 10.0, "{largest} HU");
        landmarks.push(scales);
    }
    assert_eq!(landmarks[0], landmarks[1], "validation cases have no part in them");
    let ends = landmarks[0][0].standard_scale();
    assert!((ends[0] + 1.0).abs() < 1e-9 && (ends[10] - 1.0).abs() < 1e-9, "{ends:?}");

    let manifest = folder.path().join("run-2/package/manifest.json");
    let mut changed: serde_json::Value = serde_json::from_slice(&fs::read(&manifest)?)?;
    changed["preprocessing"]["normalization"]["nyul-in-body"] = serde_json::json!([]);
    fs::write(&manifest, changed.to_string())?;
    check_refused(&folder.path().join("run-2"), &["preprocessing", "0 standard scale(s) for 1 channel(s)"]);
    Ok(())
}

#[test]
fn packages_of_the_first_version_are_read_as_they_were_meant() -> TestResult {
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    let config = TrainConfig { bias_correction: None, ..small_config("regression", 1)? };
    let package = train_all(&cases(&[0], 2)?, &[], &config, &run)?;
    let manifest = run.join("package/manifest.json");
    let mut before: serde_json::Value = serde_json::from_slice(&fs::read(&manifest)?)?;
    let mut remove = |path: &str, field: &str| {
        before.pointer_mut(path).and_then(|at| at.as_object_mut()).and_then(|object| object.remove(field))
    };
    for (path, field) in [
        ("/preprocessing", "bias_correction"),
        ("/provenance/config", "bias_correction"),
        ("/provenance/config", "normalization"),
    ] {
        remove(path, field).ok_or("no such field")?;
    }
    before["provenance"]["config"]["augmentation"] =
        serde_json::json!({ "mirror": true, "noise_sd": 0.02, "scale": 0.02 });
    fs::write(&manifest, before.to_string())?;
    let back = ModelPackage::load(&run)?;
    assert_eq!(back.preprocessing(), package.preprocessing());
    assert_eq!(back.provenance(), package.provenance());
    Ok(())
}

#[test]
fn a_bias_field_in_the_mr_hardly_matters_to_a_package_that_corrects_it() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (train_cases, test) = (cases(&[0, 1], 8)?, cases(&[2], 8)?);
    let shaded: Vec<_> = test[0]
        .mr
        .iter()
        .map(|mr| {
            let factor = Volume::from_point_fn(mr.grid(), |p| (0.008 * (p.x + p.y)).exp() as f32);
            mr.zip_map(&factor, |value, factor| value * factor)
        })
        .collect::<Result<_, _>>()?;
    let difference =
        |bias_correction: Option<N4Config>, run: &str| -> Result<f64, Box<dyn std::error::Error>> {
            let config = TrainConfig { bias_correction, ..small_config("regression", 1)? };
            let package = train_all(&train_cases, &[], &config, &folder.path().join(run))?;
            let [plain, shaded] = [&test[0].mr, &shaded].map(|mr| predict_quietly(&package, mr));
            Ok((body_mae(&test[0], &shaded?.sct) - body_mae(&test[0], &plain?.sct)).abs())
        };
    let (without, with) = (difference(None, "without")?, difference(Some(N4Config::default()), "with")?);
    assert!(without > 10.0 && with < 0.3 * without, "{without} HU worse without, {with} HU with it");
    Ok(())
}

#[test]
fn weights_that_are_not_the_networks_are_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (train_cases, validation) = (cases(&[0], 2)?, cases(&[1], 2)?);
    let path = |name: &str| folder.path().join(name);
    train_all(&train_cases, &validation, &small_config("3tn", 1)?, &path("3tn"))?;
    train_all(&train_cases, &validation, &small_config("1tn-fl", 1)?, &path("1tn"))?;
    // The manifest of one network with the weights of another, and the size and SHA-256 that belong to these.
    for (manifest, weights) in [("3tn", "1tn"), ("1tn", "3tn")] {
        let mixed = path(&format!("{manifest}-{weights}"));
        fs::create_dir(&mixed)?;
        fs::copy(path(weights).join("package/model.safetensors"), mixed.join("model.safetensors"))?;
        let read = |name: &str| -> Result<serde_json::Value, Box<dyn std::error::Error>> {
            Ok(serde_json::from_slice(&fs::read(path(name).join("package/manifest.json"))?)?)
        };
        let mut changed = read(manifest)?;
        changed["weights"] = read(weights)?["weights"].clone();
        fs::write(mixed.join("manifest.json"), changed.to_string())?;
        check_refused(&mixed, &[if manifest == "3tn" { "lack" } else { "does not have" }]);
    }
    Ok(())
}

#[test]
fn baselines_come_back_and_damage_is_named() -> TestResult {
    let folder = tempfile::tempdir()?;
    let train_cases = cases(&[0, 1], 2)?;
    for (preset, from, to) in [
        ("regression", "\"hu\": [", "\"hu\": [ 1.0,"),
        ("bulk-density", "\"bone_hu\": 365.5", "\"bone_hu\": -365.5"),
    ] {
        let run = folder.path().join(preset);
        let package = train_all(&train_cases, &[], &small_config(preset, 1)?, &run)?;
        let copy = folder.path().join(format!("{preset}-copy"));
        package.save(&copy)?;
        assert_eq!(ModelPackage::load(&copy)?.model(), package.model(), "{preset}");
        let manifest = copy.join("manifest.json");
        let text = fs::read_to_string(&manifest)?;
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} occurs");
        fs::write(&manifest, changed)?;
        check_refused(&copy, &["ascending"]);
    }
    Ok(())
}

#[test]
fn a_folder_of_other_things_is_not_replaced() -> TestResult {
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    let package = train_all(&cases(&[0], 2)?, &[], &small_config("regression", 1)?, &run)?;
    let precious = folder.path().join("precious");
    fs::create_dir(&precious)?;
    fs::write(precious.join("thesis.tex"), b"ten years")?;
    assert!(matches!(package.save(&precious), Err(ModelError::Package { .. })));
    assert_eq!(fs::read(precious.join("thesis.tex"))?, b"ten years");
    Ok(())
}
