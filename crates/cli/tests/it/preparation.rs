//! The commands that prepare images, on small phantoms of known truth.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sct::image::{
    AffineTransform, Grid, Interpolation, Mask, PointLps, Transform, VectorLps, Volume, resample,
};
use sct::io::{
    OutputType, ReadOptions, describe, read_mask, read_transform, read_volume, write_mask, write_transform,
    write_volume,
};
use sct::pipeline::{find_cases, load_cohort};
use serde_json::Value;

use super::{fail, run, text};

/// A head of the phantom command: its folder.
fn head(folder: &Path, spacing_mm: &str) -> Result<PathBuf> {
    let cohort = folder.join("cohort");
    run(&["phantom", "--subjects", "1", "--spacing-mm", spacing_mm, "--out", text(&cohort), "--quiet"])?;
    Ok(cohort.join("head-0001"))
}

fn json(path: &Path) -> Result<Value> {
    serde_json::from_slice(&fs::read(path)?).with_context(|| format!("{}", path.display()))
}

#[test]
fn resampling_through_a_transform_is_that_of_the_library() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let source = Grid::axis_aligned([12, 14, 10], [2.0, 2.0, 3.0], PointLps::new(-11.0, -13.0, -14.0))?;
    let image = Volume::from_point_fn(&source, |p| (40.0 + p.x * p.y / 9.0 - p.z * p.z / 7.0).round() as f32);
    let target = Grid::axis_aligned([9, 8, 20], [2.5, 3.0, 1.5], PointLps::new(-9.0, -8.0, -12.0))?;
    let turn =
        AffineTransform::rotation_about(PointLps::new(1.0, 2.0, 3.0), VectorLps::new(1.0, 2.0, 0.5), 0.3)?;
    let shift = AffineTransform::translation(VectorLps::new(1.5, -2.0, 0.7))?;
    let transform = Transform::from(shift * turn);
    let (input, like, tfm, out) = (at("in.nii"), at("like.mha"), at("t.tfm"), at("new/out.nii.gz"));
    write_volume(&input, &image, OutputType::I16)?;
    write_volume(&like, &Volume::filled(&target, 0.0), OutputType::U8)?;
    write_transform(&tfm, &transform)?;
    let fixed = ["resample", text(&input), text(&out), "--like", text(&like), "--transform", text(&tfm)];
    for (name, interpolation) in [
        ("linear", Interpolation::Linear),
        ("nearest", Interpolation::Nearest),
        ("cubic", Interpolation::CubicBSpline),
    ] {
        run(&[&fixed[..], &["--interpolation", name, "--outside", "-7"]].concat())?;
        let expected = resample(&image, &target, Some(&transform), interpolation, -7.0)?;
        assert_eq!(read_volume(&out)?, expected, "{name}");
        // Nearest makes no new value, so that the voxel type is kept.
        let stored = describe(&out, &ReadOptions::default())?.storage.context("a storage")?.element_type;
        assert_eq!(stored.to_string(), if name == "nearest" { "i16" } else { "f32" });
    }
    // Half the spacing, the same place.
    run(&["resample", text(&input), text(&out), "--spacing-mm", "1,1,1.5", "--outside", "0"])?;
    let finer = read_volume(&out)?;
    assert_eq!(finer.grid().size_ijk(), [24, 28, 20]);
    assert!(finer.grid().center_lps().distance_mm(source.center_lps()) < 1e-3);
    let (code, said) = fail(&["resample", text(&input), text(&out)])?;
    assert!(code == Some(2) && said.contains("--like"), "{said}");
    Ok(())
}

#[test]
fn a_ct_is_not_surrounded_by_water_without_a_word() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let grid = Grid::axis_aligned([6, 6, 6], [2.0; 3], PointLps::ORIGIN)?;
    write_volume(&at("ct.nii"), &Volume::filled(&grid, -1000.0), OutputType::I16)?;
    let (ct, like, out) = (at("ct.nii"), at("like.nii"), at("out.nii"));
    let arguments = ["resample", text(&ct), text(&out), "--like", text(&like)];
    for (margin, warns) in [(1, true), (0, false)] {
        write_volume(&like, &Volume::filled(&grid.padded([margin; 3])?, 0.0), OutputType::U8)?;
        let said = String::from_utf8(run(&arguments)?.stderr)?;
        assert_eq!(said.contains("--outside -1000"), warns, "{said}");
    }
    Ok(())
}

#[test]
fn the_body_is_found_on_mr_and_ct_alike() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let subject = head(folder.path(), "4")?;
    let (truth, out, numbers) = (
        read_mask(&subject.join("mask.nii.gz"))?,
        folder.path().join("m.nii.gz"),
        folder.path().join("m.json"),
    );
    for modality in ["mr", "ct"] {
        let image = subject.join(format!("{modality}.nii.gz"));
        let files = [text(&image), text(&out), "--json", text(&numbers)];
        run(&[&["mask"], &files[..], &["--modality", modality]].concat())?;
        let found = read_mask(&out)?;
        let both = found.and(&truth)?.count();
        let dice = 2.0 * both as f64 / (found.count() + truth.count()) as f64;
        assert!(dice > 0.9, "{modality}: {dice}");
        assert_eq!(json(&numbers)?["n_voxels"], found.count());
        run(&[&["mask"], &files[..], &["--modality", modality, "--dilate-mm", "8"]].concat())?;
        assert!(read_mask(&out)?.count() > found.count());
    }
    Ok(())
}

#[test]
fn every_method_normalises_and_landmarks_are_fitted_to_a_cohort() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let grid = Grid::axis_aligned([10, 10, 10], [1.0; 3], PointLps::ORIGIN)?;
    let mr = Volume::from_index_fn(&grid, |index| (index.i + 10 * index.j + 1) as f32);
    let mask = Mask::new(Volume::from_index_fn(&grid, |index| index.k > 1));
    let cohort = at("cohort");
    for (id, slope) in [("a", 1.0), ("b", 5.0)] {
        fs::create_dir_all(cohort.join(id))?;
        write_volume(&cohort.join(id).join("mr.nii"), &mr.map(|value| slope * value), OutputType::F32)?;
        write_volume(&cohort.join(id).join("ct.nii"), &mr, OutputType::F32)?;
        write_mask(&cohort.join(id).join("mask.nii"), &mask)?;
    }
    let (landmarks, numbers, out) = (at("nyul.json"), at("n.json"), at("out.nii"));
    run(&["normalize", "--fit-cohort", text(&cohort), "--landmarks", text(&landmarks)])?;
    let [a, b] = ["a", "b"].map(|id| cohort.join(id).join("mr.nii"));
    let mask_file = cohort.join("a").join("mask.nii");
    let apply = |method: &str, input: &Path, more: &[&str]| -> Result<Volume<f32>> {
        let files =
            ["normalize", text(input), text(&out), "--mask", text(&mask_file), "--json", text(&numbers)];
        run(&[&files[..], &["--method", method], more].concat())?;
        assert_eq!(json(&numbers)?["method"], method);
        Ok(read_volume(&out)?)
    };
    // A linear change of intensity leaves nothing behind, whatever the method.
    for (method, more) in [
        ("zscore", vec![]),
        ("percentile", vec!["--percentiles", "2,98", "--clip"]),
        ("nyul", vec!["--landmarks", text(&landmarks)]),
    ] {
        let (first, second) = (apply(method, &a, &more)?, apply(method, &b, &more)?);
        let largest = std::iter::zip(first.as_slice(), second.as_slice())
            .fold(0.0_f32, |largest, (a, b)| largest.max((a - b).abs()));
        assert!(largest < 1e-4 && first != mr, "{method}: {largest}");
    }
    // Fitted to files it is the same fit.
    let again = at("again.json");
    let fit = ["normalize", "--landmarks", text(&again), "--fit", text(&a), text(&b)];
    run(&[&fit[..], &["--mask", text(&mask_file), text(&mask_file)]].concat())?;
    assert_eq!(fs::read(&again)?, fs::read(&landmarks)?);

    let (code, said) = fail(&[&fit[..], &["--mask", text(&mask_file)]].concat())?;
    assert!(code == Some(1) && said.contains("2 MRs are given with 1 masks"), "{said}");
    let (code, said) = fail(&["normalize", text(&a), text(&out), "--method", "nyul"])?;
    assert!(code == Some(2) && said.contains("--landmarks"), "{said}");
    let wrong = ["normalize", text(&a), text(&out), "--method", "nyul", "--landmarks", text(&numbers)];
    let (code, said) = fail(&wrong)?;
    assert!(code == Some(1) && said.contains("--fit-cohort"), "{said}");
    Ok(())
}

/// A ball of three tissues under a smooth shading, and the shading's logarithm.
fn shaded(grid: &Grid) -> (Volume<f32>, Volume<f32>, Mask) {
    let radius = |p: PointLps| (p - PointLps::ORIGIN).norm_mm();
    let log_field =
        Volume::from_point_fn(grid, |p| (0.25 * (p.x / 40.0) - 0.2 * (p.z / 40.0).powi(2)) as f32);
    let image = Volume::from_point_fn(grid, |p| {
        // Tissues change with direction too, so that they do not look like a field.
        let wave = (p.x / 7.0).sin() * (p.y / 6.0).sin() * (p.z / 8.0).sin();
        let tissue = if wave > 0.15 {
            900.0
        } else if wave > -0.15 {
            650.0
        } else {
            400.0
        };
        if radius(p) < 36.0 { tissue } else { 0.0 }
    });
    let mask = Mask::from_values(&image, |&value| value > 0.0);
    let shaded = image.zip_map(&log_field, |value, log| value * log.exp()).unwrap_or(image);
    (shaded, log_field, mask)
}

#[test]
fn n4_takes_a_known_shading_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let grid = Grid::axis_aligned([40, 40, 40], [2.0; 3], PointLps::new(-39.0, -39.0, -39.0))?;
    let (mr, log_field, mask) = shaded(&grid);
    let (mr_file, mask_file) = (at("mr.nii"), at("mask.nii"));
    write_volume(&mr_file, &mr, OutputType::F32)?;
    write_mask(&mask_file, &mask)?;
    let (field_file, out, numbers) = (at("field.nii.gz"), at("out.nii.gz"), at("n4.json"));
    let files =
        ["n4", text(&mr_file), "--mask", text(&mask_file), "--field", text(&field_file), "--shrink", "2"];
    run(&files)?;
    let field = read_volume(&field_file)?;
    let spread = |volume: &Volume<f32>| {
        let inside = std::iter::zip(volume.as_slice(), mask.as_slice()).filter(|(_, inside)| **inside);
        let values: Vec<f64> = inside.map(|(&value, _)| f64::from(value)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    };
    let residual = field.zip_map(&log_field, |found, truth| found.ln() - truth)?;
    let (before, after) = (spread(&log_field), spread(&residual));
    assert!(before > 0.1 && after < 0.4 * before, "{before} became {after}");

    let corrected = [&files[..], &[text(&out), "--json", text(&numbers)]].concat();
    run(&corrected)?;
    let expected = mr.zip_map(&field, |value, field| value / field)?;
    let largest = std::iter::zip(read_volume(&out)?.as_slice(), expected.as_slice())
        .fold(0.0_f32, |largest, (a, b)| largest.max((a - b).abs()));
    assert!(largest < 0.01, "the output is the image over the field: {largest}");
    let numbers = json(&numbers)?;
    assert_eq!(numbers["levels"].as_array().map(Vec::len), Some(4));
    let number = |name: &str| numbers[name].as_f64().with_context(|| format!("{name} in {numbers}"));
    assert!(number("field_max")? > 1.3 * number("field_min")? && number("seconds")? > 0.0, "{numbers}");

    let (code, said) = fail(&["n4", text(&mr_file)])?;
    assert!(code == Some(2) && said.contains("--field"), "{said}");
    Ok(())
}

/// Heads whose CT is turned and shifted against the MR, and the exact transform.
fn misaligned(folder: &Path, subjects: &str, spacing_mm: &str) -> Result<PathBuf> {
    let cohort = folder.join("cohort");
    let fixed =
        ["phantom", "--subjects", subjects, "--spacing-mm", spacing_mm, "--out", text(&cohort), "--quiet"];
    run(&[&fixed[..], &["--misalign-deg", "6", "--misalign-mm", "7,-5,4"]].concat())?;
    Ok(cohort)
}

fn truth(subject: &Path) -> Result<AffineTransform> {
    let truth = json(&subject.join("phantom.json"))?;
    Ok(AffineTransform::from_matrix4(serde_json::from_value(truth["ct_from_mr_lps"].clone())?)?)
}

/// The largest distance of two maps at points of the head, mm.
fn largest_error_mm(found: &Transform, truth: &AffineTransform) -> f64 {
    let points =
        [[0.0, 0.0, 0.0], [60.0, 0.0, 30.0], [-60.0, 20.0, -30.0], [0.0, -70.0, 0.0], [0.0, 70.0, 40.0]];
    points
        .map(PointLps::from)
        .map(|point| found.apply(point).distance_mm(truth.apply(point)))
        .into_iter()
        .fold(0.0, f64::max)
}

#[test]
fn a_known_misalignment_is_found_and_undone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let subject = misaligned(folder.path(), "1", "4")?.join("head-0001");
    let truth = truth(&subject)?;
    let (mr, ct, mask) = (subject.join("mr.nii.gz"), subject.join("ct.nii.gz"), subject.join("mask.nii.gz"));
    let (tfm, warped, numbers, field) = (at("t.tfm"), at("w.nii.gz"), at("r.json"), at("f.nii.gz"));
    let images = ["register", "--fixed", text(&mr), "--moving", text(&ct)];
    let outputs =
        ["--out", text(&tfm), "--warped", text(&warped), "--outside", "-1000", "--json", text(&numbers)];
    run(&[&images[..], &outputs, &["--transform", "rigid", "--field", text(&field)]].concat())?;
    let found = read_transform(&tfm)?;
    let error_mm = largest_error_mm(&found, &truth);
    assert!(error_mm < 1.0, "{error_mm} mm");
    let as_field = read_transform(&field)?;
    let point = PointLps::new(10.0, -20.0, 15.0);
    assert!(as_field.apply(point).distance_mm(found.apply(point)) < 1e-3);
    let expected =
        resample(&read_volume(&ct)?, read_volume(&mr)?.grid(), Some(&found), Interpolation::Linear, -1000.0)?;
    let differ = std::iter::zip(read_volume(&warped)?.as_slice(), expected.as_slice())
        .filter(|(a, b)| (**a - **b).abs() > 1.0)
        .count();
    assert!(
        differ < expected.as_slice().len() / 1000,
        "{differ} voxels of the warped CT are not as resampled"
    );
    let numbers = json(&numbers)?;
    let rotation_deg = numbers["linear"]["rotation_deg"].as_f64().context("a rotation")?;
    assert!((rotation_deg - 6.0).abs() < 0.5, "{rotation_deg}");
    let (before, after) = (&numbers["steps"][0]["nmi_before"], &numbers["steps"][0]["nmi_after"]);
    assert!(after.as_f64() > before.as_f64(), "{before} {after}");

    // Local correlation goes on from there; mean squares are none of a rigid registration's.
    let (lncc, numbers) = (at("lncc.tfm"), at("lncc.json"));
    let files = ["--out", text(&lncc), "--json", text(&numbers), "--transform", "rigid"];
    run(&[&images[..], &files, &["--metric", "lncc"]].concat())?;
    let levels = json(&numbers)?["steps"][0]["levels"].clone();
    let last = levels.as_array().and_then(|levels| levels.last()).context("a level")?;
    assert_eq!(last["metric"], "local_cross_correlation");
    assert!(largest_error_mm(&read_transform(&lncc)?, &truth) < 2.0);
    let (code, said) = fail(&[&images[..], &files, &["--metric", "mse"]].concat())?;
    assert!(code == Some(1) && said.contains("mi and lncc"), "{said}");

    // A deformation from the found start moves nothing by more than one and a half of these coarse voxels, and folds
    // nowhere; the output is a field by its name.
    let deform = ["--transform", "bspline", "--initial", text(&tfm), "--out", text(&field), "--json"];
    let json_file = at("d.json");
    run(&[&images[..], &deform, &[text(&json_file)]].concat())?;
    let error_mm = largest_error_mm(&read_transform(&field)?, &truth);
    assert!(error_mm < 6.0, "{error_mm} mm");
    assert!(json(&json_file)?["steps"][0]["min_jacobian"].as_f64() > Some(0.0));

    // A mask without any air around the head leaves too little to compare: what comes out is worse, and is refused.
    let worse = at("worse.nii.gz");
    let masked = ["--fixed-mask", text(&mask), "--out", text(&worse)];
    let deform = ["--transform", "bspline", "--initial", text(&tfm)];
    let (code, said) = fail(&[&images[..], &deform, &masked].concat())?;
    assert!(code == Some(1) && said.contains("lowers normalised mutual information"), "{said}");
    assert!(!worse.exists());

    // A B-spline is no start of a rigid registration.
    let start = ["--transform", "rigid", "--out", text(&tfm), "--initial", text(&field)];
    let (code, said) = fail(&[&images[..], &start].concat())?;
    assert!(code == Some(1) && said.contains("--initial"), "{said}");
    Ok(())
}

#[test]
fn raw_pairs_become_a_cohort_that_training_reads() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let phantoms = misaligned(folder.path(), "2", "5")?;
    let (raw, out, numbers) = (at("raw"), at("prepared"), at("p.json"));
    for id in ["head-0001", "head-0002"] {
        fs::create_dir_all(raw.join(id))?;
        for name in ["mr.nii.gz", "ct.nii.gz"] {
            fs::copy(phantoms.join(id).join(name), raw.join(id).join(name))?;
        }
    }
    // The names of a scanner's export, and a subject without CT.
    fs::rename(raw.join("head-0002/mr.nii.gz"), raw.join("head-0002/MR.nii.gz"))?;
    fs::create_dir_all(raw.join("without-ct"))?;
    fs::copy(raw.join("head-0001/mr.nii.gz"), raw.join("without-ct/mr.nii.gz"))?;
    let arguments = ["prepare", "--raw", text(&raw), "--out", text(&out), "--json", text(&numbers)];
    let (code, said) = fail(&arguments)?;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("without-ct") && said.contains("lacks `ct`"), "{said}");

    let cases = load_cohort(&out, &["mr".to_owned()], |_| true)?;
    assert_eq!(cases.iter().map(|case| case.id.as_str()).collect::<Vec<_>>(), ["head-0001", "head-0002"]);
    for case in &cases {
        let prepared = out.join(&case.id);
        let found = read_transform(&prepared.join("ct_from_mr.tfm"))?;
        let error_mm = largest_error_mm(&found, &truth(&phantoms.join(&case.id))?);
        assert!(error_mm < 2.0, "{}: {error_mm} mm", case.id);
        // The true CT on the MR's grid, by the exact transform: far nearer than the raw one.
        let raw_ct = read_volume(&phantoms.join(&case.id).join("ct.nii.gz"))?;
        let mae = |transform: Option<&Transform>| -> Result<f64> {
            let ct = resample(&raw_ct, case.ct.grid(), transform, Interpolation::Linear, -1024.0)?;
            let inside = case.body.as_slice().iter().zip(std::iter::zip(ct.as_slice(), case.ct.as_slice()));
            let errors: Vec<f64> =
                inside.filter(|(inside, _)| **inside).map(|(_, (a, b))| f64::from((a - b).abs())).collect();
            Ok(errors.iter().sum::<f64>() / errors.len() as f64)
        };
        let exact = Transform::from(truth(&phantoms.join(&case.id))?);
        let (after, before) = (mae(Some(&exact))?, mae(None)?);
        assert!(after < 0.3 * before, "{}: {before} became {after} HU", case.id);
        let page = fs::read_to_string(prepared.join("qc.html"))?;
        assert_eq!(page.matches("data:image/png").count(), 3 * 6 + 3 * 3);
        assert!(page.contains("bias field") && page.contains("normalised mutual information"));
    }
    let page = fs::read_to_string(out.join("qc.html"))?;
    assert!(page.contains("./head-0001/qc.html") && page.contains("without-ct") && page.contains("lacks"));
    assert_eq!(page.matches("data:image/png").count(), 2 * 3);
    let json = json(&numbers)?;
    assert_eq!(
        (json["cases"].as_array().map(Vec::len), json["failed"].as_array().map(Vec::len)),
        (Some(2), Some(1))
    );

    // A second run keeps what is there and tries the failed one again, which now succeeds.
    let kept = fs::metadata(out.join("head-0001/mr.nii.gz"))?.modified()?;
    fs::copy(raw.join("head-0001/ct.nii.gz"), raw.join("without-ct/ct.nii.gz"))?;
    run(&arguments)?;
    assert_eq!(fs::metadata(out.join("head-0001/mr.nii.gz"))?.modified()?, kept);
    assert_eq!(find_cases(&out, &["mr".to_owned()])?.len(), 3);

    // Another configuration does not mix, and the raw folder is never written to.
    let (code, said) = fail(&[&arguments[..], &["--transform", "affine"]].concat())?;
    assert!(code == Some(1) && said.contains("another configuration"), "{said}");
    let (code, said) = fail(&["prepare", "--raw", text(&raw), "--out", text(&raw)])?;
    assert!(code == Some(1) && said.contains("a folder of its own"), "{said}");
    let (code, said) = fail(&["prepare", "--raw", text(&raw.join("head-0001")), "--out", text(&at("x"))])?;
    assert!(code == Some(1) && said.contains("one subject"), "{said}");
    Ok(())
}
