//! The commands that prepare images, on small phantoms of known truth.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sct::image::{
    AffineTransform, Grid, Interpolation, Mask, PointLps, Transform, VectorLps, Volume, resample,
};
use sct::io::{
    OutputType, ReadOptions, describe, read_mask, read_volume, write_mask, write_transform, write_volume,
};
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
