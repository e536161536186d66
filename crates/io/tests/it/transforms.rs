//! Transforms of other tools are read as they mean them; ours come back with the same bits; damaged ones are refused.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use synthct_image::{
    AffineTransform, BSplineTransform, DisplacementField, Grid, Matrix3, PointLps, Transform, VectorLps,
    Volume, VoxelIndex,
};
use synthct_io::{
    IoError, read_displacement_field, read_transform, read_volume, write_displacement_field, write_transform,
};

use crate::{test_data, with_causes};

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transforms").join(name)
}

#[test]
fn points_go_where_simpleitk_takes_them() -> TestResult {
    type Pairs = Vec<[[f64; 3]; 2]>;
    let cases: BTreeMap<String, Pairs> =
        serde_json::from_str(&std::fs::read_to_string(golden("expected.json"))?)?;
    assert_eq!(cases.len(), 18);
    for (name, pairs) in cases {
        let transform = read_transform(&golden(&name))?;
        let tolerance_mm = if name.contains(".nii") { 1e-5 } else { 1e-6 };
        for [from, to] in pairs {
            let got = transform.apply(from.into());
            let off_mm = got.distance_mm(to.into());
            assert!(off_mm <= tolerance_mm, "{name}: {from:?} is taken to {got:?} instead of {to:?}");
        }
    }
    Ok(())
}

/// One of each kind, on grids whose axes are along none of the world's.
fn samples() -> TestResult<Vec<Transform>> {
    let turn = AffineTransform::rotation_about(
        PointLps::new(3.0, -4.0, 5.5),
        VectorLps::new(1.0, 2.0, 3.0),
        1.0 / 3.0,
    )?;
    let grid =
        Grid::new([5, 6, 4], [7.0, 8.5, 9.1], PointLps::new(-17.0 / 3.0, 1e-7, -12345.6), *turn.matrix())?;
    let wave = |VoxelIndex { i, j, k }| {
        [1.0, 2.0, 3.0].map(|part| (part * 1.7 * i as f64 + 2.9 * j as f64 - part * 4.1 * k as f64).sin())
    };
    let spline = BSplineTransform::new(Volume::from_index_fn(&grid, wave))?;
    let field = DisplacementField::new(Volume::from_index_fn(&grid, |n| wave(n).map(|c| c as f32)))?;
    let composite = Transform::from(turn) * spline.clone().into() * field.clone().into();
    Ok(vec![turn.into(), spline.into(), field.into(), composite, Transform::IDENTITY])
}

#[test]
fn text_gives_back_the_same_bits() -> TestResult {
    let folder = tempfile::tempdir()?;
    for extension in ["tfm", "TXT"] {
        let path = folder.path().join(format!("transform.{extension}"));
        for transform in samples()? {
            write_transform(&path, &transform)?;
            assert_eq!(read_transform(&path)?, transform);
        }
        // What has no place in a file is written as what does the same.
        write_transform(&path, &Transform::Composite(vec![]))?;
        assert_eq!(read_transform(&path)?.as_affine(), Some(AffineTransform::IDENTITY));
        let nested = Transform::Composite(vec![Transform::Composite(samples()?), samples()?.remove(0)]);
        write_transform(&path, &nested)?;
        let at = PointLps::new(4.0, 5.0, -12330.0);
        assert_eq!(read_transform(&path)?.apply(at), nested.apply(at));
    }
    Ok(())
}

#[test]
fn fields_come_back_from_every_image_format() -> TestResult {
    let folder = tempfile::tempdir()?;
    let Transform::Displacement(field) = samples()?.remove(2) else { return Err("no field".into()) };
    for extension in ["nii", "nii.gz", "hdr", "mha", "mhd"] {
        let path = folder.path().join(format!("field.{extension}"));
        write_transform(&path, &field.clone().into())?;
        let back = read_displacement_field(&path)?;
        assert_eq!(back.displacement_mm().as_slice(), field.displacement_mm().as_slice(), "{extension}");
        for (a, b) in std::iter::zip(back.grid().corner_points(), field.grid().corner_points()) {
            assert!(a.distance_mm(b) < 1e-3, "{extension}: {a:?} instead of {b:?}");
        }
        // A vector image is no volume.
        assert!(read_volume(&path).is_err(), "{extension}");
    }
    // An axis beyond 16 bits needs NIfTI-2.
    let long = Grid::axis_aligned([40_000, 1, 1], [1.0; 3], PointLps::ORIGIN)?;
    let long = DisplacementField::from_fn(&long, |p| VectorLps::new(p.x, 1.0, -p.x))?;
    let path = folder.path().join("long.nii.gz");
    write_displacement_field(&path, &long)?;
    assert_eq!(read_displacement_field(&path)?, long);
    Ok(())
}

#[test]
fn nifti_fields_have_the_fields_of_a_vector_image() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("field.nii");
    let grid = Grid::axis_aligned([3, 4, 5], [1.0; 3], PointLps::ORIGIN)?;
    let field = DisplacementField::from_fn(&grid, |_| VectorLps::new(1.5, -2.0, 3.0))?;
    write_displacement_field(&path, &field)?;
    let bytes = std::fs::read(&path)?;
    let i16_at = |offset: usize| i16::from_le_bytes([bytes[offset], bytes[offset + 1]]);
    assert_eq!([0, 1, 2, 3, 4, 5].map(|n| i16_at(40 + 2 * n)), [5, 3, 4, 5, 1, 3]);
    assert_eq!(i16_at(68), 1007);
    // All x before all y before all z, in LPS although the grid is in RAS.
    assert_eq!(&bytes[352..356], 1.5_f32.to_le_bytes());
    assert_eq!(&bytes[352 + 240..356 + 240], (-2.0_f32).to_le_bytes());
    Ok(())
}

#[track_caller]
fn check_refused(path: &Path, expected: &str) {
    match read_transform(path) {
        Ok(transform) => panic!("{} was read as {transform:?}, expected `{expected}`", path.display()),
        Err(error) => {
            let text = with_causes(&error);
            assert!(text.contains(expected), "`{text}` does not contain `{expected}`");
            assert!(text.contains(&path.display().to_string()), "`{text}` does not name the file");
        }
    }
}

#[test]
fn what_is_no_transform_is_refused_by_name() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("transform.tfm");
    let affine = std::fs::read_to_string(golden("affine.tfm"))?;
    let spline = std::fs::read_to_string(golden("bspline.tfm"))?;
    let versor = std::fs::read_to_string(golden("versor.tfm"))?;
    let euler = std::fs::read_to_string(golden("euler.tfm"))?;
    let second = affine.split_once("#Transform 0").ok_or("no second transform")?.1;
    for (text, expected) in [
        (affine.replace("_3_3", "_2_2"), "of 2 to 2 dimensions"),
        (affine.replace("AffineTransform", "FancyTransform"), "`FancyTransform_double_3_3` is not supported"),
        (affine.replace("AffineTransform_double", "Affine"), "`Affine_3_3` is no name of a transform"),
        (affine.replace("_double", "_half"), "is no name of a transform"),
        (affine.replace(" 2.125", ""), "has 11 parameters instead of 12"),
        (affine.replace(" 2.125", " 2.125 7"), "has 13 parameters instead of 12"),
        (affine.replace(" 2.125", " nan"), "has the parameter NaN"),
        (affine.replace(" 2.125", " 2,125"), "`2,125` is no number"),
        (affine.replace("FixedParameters: 3.25", "FixedParameters:"), "has 2 fixed parameters instead of 3"),
        (affine.replace("FixedParameters", "Fixed"), "the key `Fixed` is unknown"),
        (affine.replace("FixedParameters", "Parameters"), "`Parameters:` twice"),
        (affine.replace("Transform: ", "#"), "before any `Transform:`"),
        (affine.replace("Parameters: 1.1", "Parameters 1.1"), "has no `:`"),
        (format!("{affine}{second}"), "a file of 2 transforms that are not one composite"),
        (affine.replace("Affine", "Composite"), "composite transform has no parts"),
        (affine.replace("1.1 -0.2 0.05 0.3 0.9 -0.1", "1 2 3 2 4 6"), "is singular"),
        (versor.replace("Parameters: 0.1", "Parameters: 1.1"), "longer than 1"),
        (euler.replace("11 0", "11 0 0"), "has 5 fixed parameters"),
        (spline.replace(": 5 6 4", ": 5 6 5"), "has 360 parameters instead of 450"),
        (spline.replace(": 5 6 4", ": 1000000 1000000 1000000"), "is empty or beyond"),
        (spline.replace(": 5 6 4", ": 5.5 6 4"), "has the grid size [5.5, 6.0, 4.0]"),
        (spline.replace(": 5 6 4", ": 3 10 4"), "number of control points"),
        ("#Insight Transform File V1.0\n\n".to_owned(), "has no `Transform:` line"),
        ("(Transform \"EulerTransform\")\n".to_owned(), "elastix"),
        ("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n".to_owned(), "begins with `1 0 0 0"),
        ("\u{89}HDF\r\n".to_owned(), "begins with"),
        (String::new(), "begins with ``"),
    ] {
        std::fs::write(&path, &text)?;
        check_refused(&path, expected);
    }
    std::fs::write(&path, b"\x89HDF\r\n\x1a\n")?;
    check_refused(&path, "HDF5");
    std::fs::write(&path, [affine.as_bytes(), b"#\xff\n"].concat())?;
    check_refused(&path, "it is no text");
    check_refused(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images/nifti1_i2.nii"),
        "intent 0",
    );
    check_refused(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images/metaimage_i2.mha"),
        "of 1 channels instead of 3",
    );
    Ok(())
}

#[test]
fn truncated_files_are_refused_at_every_length() -> TestResult {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    for name in [
        "affine.tfm",
        "euler.tfm",
        "bspline.tfm",
        "0GenericAffine.mat",
        "affine_float.mat",
        "field.nii.gz",
        "field.mha",
    ] {
        let bytes = std::fs::read(golden(name))?;
        // Of text, the empty line at the end may be missing.
        let n_needed = if name.ends_with("tfm") { bytes.len() - 1 } else { bytes.len() };
        let path = folder.path().join(name);
        for n_kept in 0..n_needed {
            std::fs::write(&path, &bytes[..n_kept])?;
            assert!(read_transform(&path).is_err(), "{name} was read from {n_kept} of {n_needed} bytes");
        }
    }
    Ok(())
}

#[test]
fn a_changed_byte_never_panics() -> TestResult {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let mut n_errors = 0;
    for name in ["affine.tfm", "composite.tfm", "0GenericAffine.mat", "field.nii.gz", "field.mha"] {
        let bytes = std::fs::read(golden(name))?;
        let path = folder.path().join(name);
        for offset in 0..bytes.len().min(700) {
            for flip in [0x01, 0x81, 0xff] {
                let mut damaged = bytes.clone();
                damaged[offset] ^= flip;
                std::fs::write(&path, &damaged)?;
                n_errors += usize::from(read_transform(&path).is_err());
            }
        }
    }
    assert!(n_errors > 1000, "only {n_errors} of the changed files were refused");
    Ok(())
}

#[test]
fn what_cannot_be_written_leaves_no_file() -> TestResult {
    let folder = tempfile::tempdir()?;
    let flat = AffineTransform::new(Matrix3::diagonal([1.0, 1.0, 0.0]), VectorLps::new(0.0, 0.0, 0.0))?;
    let refused = write_transform(&folder.path().join("flat.tfm"), &flat.into());
    assert!(matches!(refused, Err(IoError::Transform { .. })), "{refused:?}");
    let refused = write_transform(&folder.path().join("affine.nii"), &Transform::IDENTITY);
    assert!(matches!(refused, Err(IoError::Unsupported { .. })), "{refused:?}");
    let refused = write_transform(&folder.path().join("affine.h5"), &Transform::IDENTITY);
    assert!(refused.is_err_and(|error| error.to_string().contains(".tfm")));
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
fn the_pork_specimens_transform_equals_its_matrix() -> TestResult {
    let Some(data) = test_data("the_pork_specimens_transform_equals_its_matrix") else { return Ok(()) };
    let folder = data.join("pair-mr-ct-pork");
    let transform = read_transform(&folder.join("mr_to_ct_rigid_estimated.tfm"))?;
    let text = std::fs::read_to_string(folder.join("mr_to_ct_rigid_estimated_lps_4x4.txt"))?;
    let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let affine = transform.as_affine().ok_or("it is rigid")?;
    assert_eq!(numbers.len(), 16);
    for (got, want) in std::iter::zip(affine.to_matrix4().concat(), numbers) {
        assert!((got - want).abs() < 1e-8, "{got} instead of {want}");
    }
    Ok(())
}
