use synthct_image::{Grid, PointLps, gaussian_smooth};

use crate::golden::{TestResult, check_close, volume};

#[test]
fn gaussian_smoothing_agrees_with_scipy() -> TestResult {
    let grid = Grid::axis_aligned([11, 13, 9], [0.8, 1.0, 2.5], PointLps::ORIGIN)?;
    let smoothed = gaussian_smooth(&volume("smooth_scipy/volume.f32", &grid)?, 1.9)?;
    check_close("smoothed", &smoothed, &volume("smooth_scipy/smoothed.f32", &grid)?, 1e-3);
    Ok(())
}
