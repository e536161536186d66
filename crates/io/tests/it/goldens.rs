//! Files written and read back by nibabel and SimpleITK.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::Value;
use synthct_image::PointLps;
use synthct_io::{ReadOptions, describe, read_image};

/// See `golden/images/provenance.toml`.
const CORNER_TOLERANCE_MM: f64 = 1e-4;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images")
}

/// The corner points (i fastest) and values (i fastest) of each file.
type Expected = Vec<(String, Vec<PointLps>, Vec<f64>)>;

pub(crate) fn expected() -> Result<Expected, Box<dyn Error>> {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(folder().join("expected.json"))?)?;
    let numbers =
        |value: &Value| -> Option<Vec<f64>> { value.as_array()?.iter().map(Value::as_f64).collect() };
    let entry = |name: &String, entry: &Value| -> Option<(String, Vec<PointLps>, Vec<f64>)> {
        let corners = entry["corners_lps"].as_array()?.iter().map(|corner| match numbers(corner)?[..] {
            [x, y, z] => Some(PointLps::new(x, y, z)),
            _ => None,
        });
        Some((name.clone(), corners.collect::<Option<_>>()?, numbers(&entry["values"])?))
    };
    let entries = json.as_object().ok_or("expected.json is no object")?;
    entries
        .iter()
        .map(|(name, value)| entry(name, value).ok_or_else(|| format!("bad entry for {name}").into()))
        .collect()
}

#[test]
fn every_golden_file_is_read_as_the_reference_tool_reads_it() -> Result<(), Box<dyn Error>> {
    let expected = expected()?;
    assert!(expected.len() > 40, "only {} golden files", expected.len());
    for (name, corners, values) in expected {
        let path = folder().join(&name);
        let frame = name.contains("two_frames").then_some(1);
        let image = read_image(&path, &ReadOptions { frame, ..ReadOptions::default() })
            .map_err(|error| format!("{name}: {error}: {:?}", error.source().map(ToString::to_string)))?;
        assert_eq!(image.volume.grid().size_ijk(), [3, 4, 5], "{name}");
        for (n, (found, expected)) in std::iter::zip(image.volume.grid().corner_points(), corners).enumerate()
        {
            let distance_mm = found.distance_mm(expected);
            assert!(
                distance_mm < CORNER_TOLERANCE_MM,
                "{name}: corner {n} is at {found:?}, expected at {expected:?}: {distance_mm:.2e} mm apart"
            );
        }
        let found: Vec<f64> = image.volume.as_slice().iter().map(|&value| f64::from(value)).collect();
        assert_eq!(found, values, "{name}");

        let described = describe(&path, &ReadOptions::default())?;
        assert_eq!(described.grid.as_ref(), Some(image.volume.grid()), "{name}");
        assert_eq!(described.storage, image.info.storage, "{name}");
    }
    Ok(())
}

#[test]
fn only_the_file_whose_forms_disagree_is_warned_about() -> Result<(), Box<dyn Error>> {
    for (name, ..) in expected()? {
        let info = describe(&folder().join(&name), &ReadOptions::default())?;
        if name == "nifti1_forms_disagree.nii" {
            assert_eq!(info.warnings, ["sform and qform disagree by up to 7.000 mm; the sform is taken"]);
        } else {
            assert_eq!(info.warnings, Vec::<String>::new(), "{name}");
        }
    }
    Ok(())
}

#[test]
fn either_half_of_a_pair_leads_to_the_image() -> Result<(), Box<dyn Error>> {
    for [one, other] in [
        ["nifti1_pair.hdr", "nifti1_pair.img"],
        ["nifti1_pair_gzip.hdr.gz", "nifti1_pair_gzip.img.gz"],
        ["nifti2_pair.hdr", "nifti2_pair.img"],
    ] {
        let read = |name: &str| read_image(&folder().join(name), &ReadOptions::default());
        assert_eq!(read(one)?.volume, read(other)?.volume, "{one}");
    }
    Ok(())
}
