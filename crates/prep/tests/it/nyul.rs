//! Nyúl's normalisation against the Python package intensity-normalization, and what its landmarks promise.

use std::path::Path;

use serde_json::Value;
use synthct_image::{Grid, Mask, PointLps, Volume, VoxelIndex};
use synthct_prep::{NyulConfig, NyulFit, NyulLandmarks, PrepError};

type TestResult = Result<(), Box<dyn std::error::Error>>;

const SIZE_IJK: [usize; 3] = [11, 9, 7];
const N_VOXELS: usize = 11 * 9 * 7;

fn stored(file: &str) -> Result<Vec<u8>, std::io::Error> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nyul_intensity_normalization");
    std::fs::read(folder.join(file))
}

fn volumes(file: &str) -> Result<Vec<Volume<f32>>, Box<dyn std::error::Error>> {
    let grid = Grid::axis_aligned(SIZE_IJK, [1.0, 2.0, 3.0], PointLps::ORIGIN)?;
    let bytes = stored(file)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
    values.chunks(N_VOXELS).map(|image| Ok(Volume::from_vec(grid.clone(), image.to_vec())?)).collect()
}

fn masks() -> Result<Vec<Mask>, Box<dyn std::error::Error>> {
    let grid = Grid::axis_aligned(SIZE_IJK, [1.0, 2.0, 3.0], PointLps::ORIGIN)?;
    let inside = |image: &[u8]| image.iter().map(|&byte| byte != 0).collect();
    stored("masks.u8")?
        .chunks(N_VOXELS)
        .map(|image| Ok(Mask::new(Volume::from_vec(grid.clone(), inside(image))?)))
        .collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn check(name: &str, masks: Option<&[Mask]>) -> TestResult {
    let images = volumes("images.f32")?;
    let mask = |n: usize| masks.map(|masks| &masks[n]);
    let mut fit = NyulFit::new(NyulConfig::intensity_normalization())?;
    for (n, image) in images.iter().enumerate() {
        fit.add(image, mask(n))?;
    }
    let landmarks = fit.landmarks()?;

    let expected: Value = serde_json::from_slice(&stored("landmarks.json")?)?;
    assert_eq!(landmarks.percentiles(), numbers(&expected[name]["percentiles"]), "{name}");
    let scale = numbers(&expected[name]["standard_scale"]);
    assert_eq!(landmarks.standard_scale().len(), scale.len(), "{name}");
    for (ours, theirs) in std::iter::zip(landmarks.standard_scale(), scale) {
        assert!((ours - theirs).abs() <= 1e-5, "{name}: landmark {ours}, theirs {theirs}");
    }
    let normalized = volumes(&format!("normalized_{name}.f32"))?;
    assert_eq!(normalized.len(), images.len(), "{name}");
    for (n, (image, theirs)) in std::iter::zip(&images, &normalized).enumerate() {
        let ours = landmarks.apply(image, mask(n))?;
        for (at, (&ours, &theirs)) in std::iter::zip(ours.as_slice(), theirs.as_slice()).enumerate() {
            let ulp = theirs.abs().next_up() - theirs.abs();
            assert!(
                (ours - theirs).abs() <= 1e-5 + ulp,
                "{name}, image {n}, voxel {at}: {ours}, theirs {theirs}"
            );
        }
    }
    Ok(())
}

#[test]
fn it_agrees_with_intensity_normalization() -> TestResult {
    check("above_zero", None)?;
    check("mask", Some(&masks()?))
}

/// Values 1 to 101, so that percentile p is p + 1.
fn ramp() -> Result<Volume<f32>, PrepError> {
    let grid = Grid::axis_aligned([101, 2, 3], [1.0, 2.0, 3.0], PointLps::ORIGIN)?;
    Ok(Volume::from_index_fn(&grid, |index| 1.0 + index.i as f32))
}

#[test]
fn values_lie_on_the_lines_between_landmarks_and_beyond() -> TestResult {
    let landmarks = NyulLandmarks::new(vec![10.0, 50.0, 90.0], vec![0.0, 1.0, 5.0])?;
    let mut mr = ramp()?;
    // All six voxels of each, so that the percentiles stay where they are.
    for (j, k) in [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)] {
        mr[VoxelIndex::new(0, j, k)] = if (j, k) == (0, 0) { f32::NAN } else { -29.0 };
    }
    let mask = Mask::from_values(&ramp()?, |_| true);
    assert!(matches!(landmarks.apply(&mr, Some(&mask)), Err(PrepError::NotFinite { .. })));
    mr[VoxelIndex::new(0, 1, 1)] = 0.0;
    let at = |normalized: &Volume<f32>, i, j, k| normalized[VoxelIndex::new(i, j, k)];
    let inside = Mask::from_values(&mr, |value| value.is_finite());
    let normalized = landmarks.apply(&mr, Some(&inside))?;
    assert!(at(&normalized, 0, 0, 0).is_nan(), "NaN outside the mask stays");
    // One of 606 values is missing: rank p · 604 / 100 in runs of six.
    let with_mask = [11.0, 51.0, 91.0];
    let expected = |value: f32| {
        let [low, middle, high] = with_mask;
        if value <= middle {
            (value - low) / (middle - low)
        } else {
            1.0 + 4.0 * (value - middle) / (high - middle)
        }
    };
    for (i, j, k) in [(0, 1, 0), (0, 1, 1), (5, 0, 0), (10, 1, 2), (50, 0, 1), (70, 0, 0), (100, 1, 2)] {
        let (value, found) = (at(&mr, i, j, k), at(&normalized, i, j, k));
        assert!((found - expected(value)).abs() < 1e-5, "{value} became {found}, not {}", expected(value));
    }
    Ok(())
}

#[test]
fn landmarks_that_coincide_leave_finite_values() -> TestResult {
    let landmarks = NyulLandmarks::new(vec![1.0, 10.0, 50.0, 90.0, 99.0], vec![0.0, 1.0, 3.0, 4.0, 9.0])?;
    // Four of five voxels are 2, the rest 1 or 3: percentiles 1 and 99 are 1 and 3, those between 2.
    let mr = ramp()?.map(|&value| {
        if value < 10.0 {
            1.0
        } else if value > 92.0 {
            3.0
        } else {
            2.0
        }
    });
    let few = landmarks.apply(&mr, None)?;
    for (i, expected) in [(0, 0.0), (50, 1.0), (100, 9.0)] {
        let found = few[VoxelIndex::new(i, 0, 0)];
        assert!((found - expected).abs() < 1e-6, "column {i}: {found}, not {expected}");
    }
    // The first two and the last two coincide.
    let mr = ramp()?.map(|&value| if value < 50.0 { 1.0 } else { 3.0 });
    let two = landmarks.apply(&mr, None)?;
    assert!(two.as_slice().iter().all(|value| value.is_finite()));
    assert!(two[VoxelIndex::new(0, 0, 0)] < two[VoxelIndex::new(100, 0, 0)]);
    Ok(())
}

#[test]
fn the_outermost_landmarks_meet_the_output_range_and_the_order_does_not_matter() -> TestResult {
    let config = NyulConfig { percentiles: vec![0.0, 50.0, 100.0], output_range: [-1.0, 1.0] };
    let squares = ramp()?.map(|&value| value * value);
    let fitted = |images: [&Volume<f32>; 2]| -> Result<NyulLandmarks, PrepError> {
        let mut fit = NyulFit::new(config.clone())?;
        for image in images {
            fit.add(image, None)?;
        }
        fit.landmarks()
    };
    let ramp = ramp()?;
    let landmarks = fitted([&ramp, &squares])?;
    // 51 lies in the middle of 1 and 101; 51² lies (51² − 1) / (101² − 1) = 13/51 of the way.
    let middle = 0.5 * (0.0 + 2.0 * 13.0 / 51.0 - 1.0);
    for (found, expected) in std::iter::zip(landmarks.standard_scale(), [-1.0, middle, 1.0]) {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }
    assert_eq!(landmarks, fitted([&squares, &ramp])?);
    Ok(())
}

#[test]
fn bad_input_is_refused_and_leaves_the_fit_as_it_was() -> TestResult {
    let standard = NyulConfig::intensity_normalization();
    assert!(matches!(NyulFit::new(standard.clone())?.landmarks(), Err(PrepError::Nyul { .. })));
    for percentiles in
        [vec![], vec![50.0], vec![50.0, 50.0], vec![-1.0, 50.0], vec![1.0, f64::NAN], vec![0.0, 101.0]]
    {
        let config = NyulConfig { percentiles, ..standard.clone() };
        assert!(matches!(NyulFit::new(config), Err(PrepError::Nyul { .. })));
    }
    for output_range in [[1.0, 1.0], [2.0, 1.0], [f64::NAN, 1.0], [0.0, f64::INFINITY]] {
        let config = NyulConfig { output_range, ..standard.clone() };
        assert!(matches!(NyulFit::new(config), Err(PrepError::Nyul { .. })));
    }
    let mut fit = NyulFit::new(standard)?;
    fit.add(&ramp()?, None)?;
    let before = fit.landmarks()?;
    let flat = ramp()?.map(|_| 4.0_f32);
    assert!(matches!(fit.add(&flat, None), Err(PrepError::NoContrast { .. })));
    assert!(matches!(fit.add(&flat.map(|_| -1.0), None), Err(PrepError::NothingAboveZero { .. })));
    assert!(matches!(fit.add(&flat.map(|_| f32::INFINITY), None), Err(PrepError::NotFinite { .. })));
    let elsewhere = Mask::full(&Grid::axis_aligned([101, 2, 3], [1.0; 3], PointLps::ORIGIN)?);
    assert!(matches!(fit.add(&ramp()?, Some(&elsewhere)), Err(PrepError::Image(_))));
    assert!(matches!(before.apply(&flat, None), Err(PrepError::NoContrast { .. })));
    assert_eq!(fit.landmarks()?, before);
    Ok(())
}

#[test]
fn stored_landmarks_are_checked() -> TestResult {
    let landmarks = NyulLandmarks::new(vec![1.0, 50.0, 99.0], vec![1.0, 40.5, 100.0])?;
    let stored = serde_json::to_string(&landmarks)?;
    assert_eq!(stored, r#"{"percentiles":[1.0,50.0,99.0],"standard_scale":[1.0,40.5,100.0]}"#);
    assert_eq!(serde_json::from_str::<NyulLandmarks>(&stored)?, landmarks);
    for bad in [
        r#"{"percentiles":[1.0,50.0,99.0],"standard_scale":[1.0,40.5]}"#,
        r#"{"percentiles":[1.0,50.0,99.0],"standard_scale":[1.0,40.5,30.0]}"#,
        r#"{"percentiles":[1.0,99.0],"standard_scale":[2.0,2.0]}"#,
        r#"{"percentiles":[50.0,1.0],"standard_scale":[1.0,2.0]}"#,
        r#"{"percentiles":[1.0,50.0],"standard_scale":[1.0,2.0],"mean":3.0}"#,
    ] {
        assert!(serde_json::from_str::<NyulLandmarks>(bad).is_err(), "{bad}");
    }
    Ok(())
}
