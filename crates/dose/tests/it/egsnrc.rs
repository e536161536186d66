//! Central-axis doses against Monte Carlo.

use synthct_image::PointLps;

use crate::slab::{BONE, LUNG, Slab, central_axis, dose, field, phantom};

type Rows = Vec<[f64; 2]>;
/// Field width in mm, slabs, and factors at depths in cm.
type Case = (f64, Vec<Slab>, &'static [[f64; 2]]);
type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Depths in cm and doses.
fn reference(text: &str) -> Result<Rows, std::num::ParseFloatError> {
    text.lines()
        .skip(1)
        .map(|line| {
            let mut fields = line.split(',').map(str::parse::<f64>);
            let mut next = || fields.next().unwrap_or(Ok(f64::NAN));
            Ok([next()?, next()?])
        })
        .collect()
}

/// Our doses at the voxels of the reference, which are 2.5 mm deep.
fn ours(width_mm: f64, slabs: &[Slab]) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let phantom = phantom(120, 2.5, slabs)?;
    Ok(central_axis(&dose(&phantom, &[field(0.0, PointLps::ORIGIN, width_mm, 1000.0)])?))
}

/// Sums over a band of depths, ours by theirs, less one.
fn off_in_band(ours: &[f64], reference: &Rows, from_cm: f64, to_cm: f64) -> f64 {
    let inside = |row: &[f64; 2]| row[0] > from_cm && row[0] < to_cm;
    let (a, b) = std::iter::zip(ours, reference)
        .filter(|(_, row)| inside(row))
        .fold((0.0, 0.0), |(a, b), (ours, row)| (a + ours, b + row[1]));
    a / b - 1.0
}

#[test]
fn water_agrees_in_every_band_of_depth() -> TestResult {
    for (width_mm, text) in [
        (20.0, include_str!("../golden/egsnrc/water2.csv")),
        (50.0, include_str!("../golden/egsnrc/water5.csv")),
        (100.0, include_str!("../golden/egsnrc/water10.csv")),
    ] {
        let (ours, reference) = (ours(width_mm, &[])?, reference(text)?);
        assert_eq!(ours.len(), reference.len());
        let bands = [0.5, 1.5, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0];
        for band in bands.windows(2) {
            let off = off_in_band(&ours, &reference, band[0], band[1]);
            assert!(off.abs() < 0.02, "{width_mm} mm, {band:?} cm: {:.2} %", 100.0 * off);
        }
        // The build-up of the first 5 mm is shallower than Monte Carlo's.
        assert!(off_in_band(&ours, &reference, 0.0, 0.5).abs() < 0.04);
    }
    Ok(())
}

#[test]
fn heterogeneity_factors_agree() -> TestResult {
    let slab = |from_cm: f64, to_cm: f64, densities: [f32; 2]| Slab { from_cm, to_cm, densities };
    let cases: [Case; 3] = [
        (20.0, vec![slab(3.0, 5.0, BONE)], &[[4.125, 0.958], [7.0, 0.944], [12.0, 0.934]]),
        (
            20.0,
            vec![slab(3.0, 13.0, LUNG)],
            &[[5.0, 0.821], [8.0, 0.897], [11.0, 0.997], [15.0, 1.392], [20.0, 1.407]],
        ),
        (
            100.0,
            vec![slab(3.0, 6.0, BONE), slab(6.0, 14.0, LUNG)],
            &[[4.5, 0.941], [8.0, 0.943], [12.0, 1.007], [16.0, 1.094], [20.0, 1.117]],
        ),
    ];
    for (width_mm, slabs, factors) in cases {
        let (water, slabs) = (ours(width_mm, &[])?, ours(width_mm, &slabs)?);
        for &[depth_cm, expected] in factors {
            let at = |doses: &[f64]| {
                let position = depth_cm / 0.25 - 0.5;
                let low = position.floor() as usize;
                doses[low] + (position - low as f64) * (doses[low + 1] - doses[low])
            };
            let factor = at(&slabs) / at(&water);
            assert!(
                (factor / expected - 1.0).abs() < 0.025,
                "{depth_cm} cm: {factor:.3} instead of {expected}"
            );
        }
    }
    Ok(())
}
