use synthct_image::morphology::distance_to_mm;
use synthct_image::{Grid, Interpolation, Mask, PointLps, Volume, gaussian_smooth, resample};

use crate::golden::TestResult;

/// The bits of everything that is computed in parallel.
fn results(volume: &Volume<f32>) -> TestResult<Vec<u32>> {
    let target = Grid::axis_aligned([20, 21, 22], [0.7, 0.9, 1.6], PointLps::new(0.1, 0.2, 0.3))?;
    let bright = Mask::from_values(volume, |&value| value > 0.9);
    let mut bits = Vec::new();
    for volume in [
        resample(volume, &target, None, Interpolation::Linear, 0.0)?,
        resample(volume, &target, None, Interpolation::CubicBSpline, 0.0)?,
        gaussian_smooth(volume, 2.0)?,
        distance_to_mm(&bright),
    ] {
        bits.extend(volume.as_slice().iter().map(|value| value.to_bits()));
    }
    Ok(bits)
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() -> TestResult {
    let grid = Grid::axis_aligned([17, 19, 23], [0.8, 1.0, 1.5], PointLps::ORIGIN)?;
    let volume = Volume::from_point_fn(&grid, |p| (p.x * 1.3 + p.y * 0.7 + p.z * p.z).sin() as f32);
    let with_threads = |n: usize| -> TestResult<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build()?;
        pool.install(|| results(&volume).map_err(|error| error.to_string())).map_err(Into::into)
    };
    assert!(with_threads(1)? == with_threads(5)?, "bits differ between one and five threads");
    Ok(())
}
