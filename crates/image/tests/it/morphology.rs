use synthct_image::morphology::{
    Connectivity, close, connected_components, dilate, distance_to_mm, erode, fill_holes,
    fill_holes_per_slice, open,
};
use synthct_image::{Grid, Mask, PointLps};

use crate::golden::{TestResult, bytes, check_close, volume};

const RADIUS_MM: f64 = 2.7;

fn grid() -> TestResult<Grid> {
    Ok(Grid::axis_aligned([26, 22, 12], [0.8, 1.0, 2.5], PointLps::ORIGIN)?)
}

fn mask(name: &str) -> TestResult<Mask> {
    let bytes = bytes(&format!("morphology_scipy/{name}.u8"), &grid()?)?;
    Ok(Mask::from_values(&bytes, |&byte| byte != 0))
}

#[track_caller]
fn check_same(what: &str, got: &Mask, expected: &Mask) {
    let difference = std::iter::zip(got.as_slice(), expected.as_slice()).filter(|(a, b)| a != b).count();
    assert_eq!(difference, 0, "{what}: {difference} voxels differ of {}", expected.count());
}

#[test]
fn balls_agree_with_scipy() -> TestResult {
    let region = mask("mask")?;
    check_same("dilated", &dilate(&region, RADIUS_MM)?, &mask("dilated")?);
    check_same("eroded", &erode(&region, RADIUS_MM)?, &mask("eroded")?);
    check_same("closed", &close(&region, RADIUS_MM)?, &mask("closed")?);
    check_same("opened", &open(&region, RADIUS_MM)?, &mask("opened")?);
    Ok(())
}

#[test]
fn distances_agree_with_scipy() -> TestResult {
    let expected = volume("morphology_scipy/distance.f32", &grid()?)?;
    check_close("distance", &distance_to_mm(&mask("mask")?), &expected, 1e-5);
    Ok(())
}

#[test]
fn holes_agree_with_scipy() -> TestResult {
    let shell = mask("shell")?;
    check_same("in space", &fill_holes(&shell), &mask("shell_filled")?);
    check_same("per slice", &fill_holes_per_slice(&shell), &mask("shell_filled_per_slice")?);
    Ok(())
}

#[test]
fn components_agree_with_scipy() -> TestResult {
    let sparse = mask("sparse")?;
    for (name, connectivity) in [("faces", Connectivity::Faces), ("corners", Connectivity::Corners)] {
        let expected = bytes(&format!("morphology_scipy/components_{name}.u8"), &grid()?)?;
        let got = connected_components(&sparse, connectivity);
        assert_eq!(got.labels(), &expected.map(|&label| u32::from(label)), "{name}");
    }
    Ok(())
}
