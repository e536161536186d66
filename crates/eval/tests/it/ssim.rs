//! Structural similarity with a chosen window against scikit-image.

use serde::Deserialize;
use synthct_eval::{EvalError, SsimConfig, SsimWindow, ssim};
use synthct_image::{Grid, Mask, PointLps, Volume, VoxelIndex};

use crate::pair::pair;

#[derive(Deserialize)]
struct Case {
    size_ijk: [usize; 3],
    seed: u32,
    window: String,
    mean: f64,
    masked: f64,
    map: Vec<f64>,
}

const DATA_RANGE: f64 = 2500.0;

fn config(name: &str) -> Option<SsimConfig> {
    let plain = SsimConfig::scikit_image(DATA_RANGE);
    match name {
        "scikit_image" => Some(plain),
        "wang2004" => Some(SsimConfig::wang2004(DATA_RANGE)),
        "uniform5_plain" => {
            Some(SsimConfig { window: SsimWindow::Uniform { size: 5 }, sample_covariance: false, ..plain })
        }
        "gaussian1_sample" => Some(SsimConfig {
            window: SsimWindow::Gaussian { sigma: 1.0, truncate: 3.5 },
            k1: 0.02,
            k2: 0.05,
            ..plain
        }),
        _ => None,
    }
}

#[track_caller]
fn check(what: &str, got: f64, expected: f64, tolerance: f64) {
    assert!(
        (got - expected).abs() <= tolerance,
        "{what}: {got} instead of {expected} (tolerance {tolerance:e})"
    );
}

#[test]
fn values_equal_scikit_image() -> Result<(), Box<dyn std::error::Error>> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/ssim/expected.json"))?;
    assert_eq!(cases.len(), 8);
    for case in cases {
        let name = format!("{} of {:?}", case.window, case.size_ijk);
        let (ct, sct, mask) = pair(case.size_ijk, case.seed, false)?;
        let got = ssim(&ct, &sct, &config(&case.window).ok_or("no such window")?)?;
        check(&name, got.mean, case.mean, 1e-9);
        check(&name, got.mean_in(&mask)?, case.masked, 1e-7);
        for (n, &expected) in case.map.iter().enumerate() {
            check(
                &format!("{name}, voxel {}", 97 * n),
                f64::from(got.map.as_slice()[97 * n]),
                expected,
                1e-6,
            );
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<(), Box<dyn std::error::Error>> {
    let (ct, sct, _) = pair([22, 17, 40], 3, true)?;
    let with_threads = |n: usize| -> Result<_, Box<dyn std::error::Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build()?;
        Ok(pool.install(|| ssim(&ct, &sct, &SsimConfig::wang2004(DATA_RANGE)))?)
    };
    let one = with_threads(1)?;
    for n in [2, 3] {
        let other = with_threads(n)?;
        assert_eq!(one.mean.to_bits(), other.mean.to_bits());
        assert_eq!(one.map, other.map);
    }
    Ok(())
}

#[test]
fn unusable_windows_grids_and_values_are_errors() -> Result<(), Box<dyn std::error::Error>> {
    let grid = Grid::axis_aligned([20, 20, 6], [1.0; 3], PointLps::ORIGIN)?;
    let ct = Volume::filled(&grid, 40.0_f32);
    let plain = SsimConfig::scikit_image(DATA_RANGE);
    assert!(matches!(ssim(&ct, &ct, &plain), Err(EvalError::GridSmallerThanWindow { window: 7, .. })));
    let small = SsimConfig { window: SsimWindow::Uniform { size: 3 }, ..plain.clone() };
    check("itself", ssim(&ct, &ct, &small)?.mean, 1.0, 1e-12);
    for (config, expected) in [
        (SsimConfig { data_range: 0.0, ..plain.clone() }, "`data_range` is 0"),
        (SsimConfig { k2: f64::NAN, ..plain.clone() }, "`k2` is NaN"),
        (SsimConfig { window: SsimWindow::Uniform { size: 4 }, ..plain.clone() }, "`window.size` is 4"),
        (SsimConfig { window: SsimWindow::Uniform { size: 1001 }, ..plain.clone() }, "`window.size` is 1001"),
        (
            SsimConfig { window: SsimWindow::Gaussian { sigma: 1e300, truncate: 3.5 }, ..plain.clone() },
            "the window must have",
        ),
        (
            SsimConfig { window: SsimWindow::Gaussian { sigma: -1.0, truncate: 3.5 }, ..plain.clone() },
            "`window.sigma` is -1",
        ),
    ] {
        let Err(error @ EvalError::Config { .. }) = ssim(&ct, &ct, &config) else {
            return Err(format!("{config:?} was taken").into());
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut holed = ct.clone();
    holed[VoxelIndex::new(1, 2, 3)] = f32::NAN;
    assert!(matches!(ssim(&ct, &holed, &small), Err(EvalError::NotFinite { count: 1, .. })));
    let nothing = Mask::new(Volume::filled(&grid, false));
    assert!(matches!(ssim(&ct, &ct, &small)?.mean_in(&nothing), Err(EvalError::EmptyMask { .. })));
    Ok(())
}
