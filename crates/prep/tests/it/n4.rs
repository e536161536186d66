use std::error::Error;
use std::{fs, iter};

use synthct_image::{Grid, Mask, PointLps, Volume, VoxelIndex};
use synthct_prep::{N4Config, N4Correction, PrepError, n4};

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// Where a voxel lies in the grid, 0 to 1 along i, j, k.
fn position(index: VoxelIndex, grid: &Grid) -> [f64; 3] {
    let [ni, nj, nk] = grid.size_ijk().map(|n| (n - 1) as f64);
    [index.i as f64 / ni, index.j as f64 / nj, index.k as f64 / nk]
}

fn log_bias([x, y, z]: [f64; 3]) -> f64 {
    0.5 * x * x - 0.4 * y + 0.3 * z * x
}

/// The image of `tests/golden/n4_simpleitk/make.py`.
fn sample() -> TestResult<(Volume<f32>, Mask)> {
    let grid = Grid::axis_aligned([32, 36, 28], [2.0, 1.5, 3.0], PointLps::ORIGIN)?;
    let mr = Volume::from_index_fn(&grid, |index| {
        let at @ [x, y, z] = position(index, &grid);
        let tissue = if (11.0 * x + 3.0 * z).sin() * (9.0 * y - 2.0 * x).cos() > 0.1 {
            640.0
        } else if z * z + y > 0.9 {
            410.0
        } else {
            250.0
        };
        let grain = (index.i * 7919 + index.j * 104_729 + index.k * 1_299_709) % 41;
        (tissue * log_bias(at).exp() + grain as f64 - 20.0).round_ties_even() as f32
    });
    let mask = Mask::new(Volume::from_index_fn(&grid, |index| {
        let [x, y, z] = position(index, &grid);
        (x - 0.5).powi(2) + (y - 0.5).powi(2) + (z - 0.45).powi(2) < 0.21
    }));
    Ok((mr, mask))
}

fn config() -> N4Config {
    N4Config { shrink_factor: 1, maximum_number_of_iterations: vec![20; 3], ..N4Config::default() }
}

fn run(mr: &Volume<f32>, mask: &Mask, config: &N4Config) -> Result<N4Correction, PrepError> {
    n4(mr, mask, None, config, &mut |_| ())
}

/// The mean and standard deviation of values over a mask.
fn statistics(values: &[f64], mask: &Mask) -> (f64, f64) {
    let inside = || iter::zip(values, mask.as_slice()).filter(|(_, inside)| **inside).map(|(value, _)| value);
    let n = mask.count() as f64;
    let mean = inside().sum::<f64>() / n;
    (mean, (inside().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// The standard deviation, inside the mask, of the log of the field over the true one.
fn residual(field: &Volume<f32>, mask: &Mask) -> f64 {
    let truth = Volume::from_index_fn(field.grid(), |index| log_bias(position(index, field.grid())));
    let ratio: Vec<f64> = iter::zip(field.as_slice(), truth.as_slice())
        .map(|(field, truth)| f64::from(*field).ln() - truth)
        .collect();
    statistics(&ratio, mask).1
}

#[test]
fn the_plain_settings_give_the_field_of_itk() -> TestResult {
    let (mr, mask) = sample()?;
    let plain = N4Config {
        maximum_number_of_iterations: vec![12; 3],
        convergence_threshold: 0.0,
        shrink_factor: 1,
        ..N4Config::itk()
    };
    let field = run(&mr, &mask, &plain)?.field;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/n4_simpleitk/log_field.f32");
    let bytes = fs::read(path)?;
    let (golden, _) = bytes.as_chunks::<4>();
    let mut golden = golden.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes)));
    let coarse = Grid::axis_aligned([11, 12, 10], [6.0, 4.5, 9.0], PointLps::ORIGIN)?;
    let every_third = |index: VoxelIndex| VoxelIndex::new(3 * index.i, 3 * index.j, 3 * index.k);
    let mask = Mask::new(Volume::from_index_fn(&coarse, |index| mask.volume()[every_third(index)]));
    let ours = Volume::from_index_fn(&coarse, |index| f64::from(field[every_third(index)]).ln());
    let golden: Vec<f64> = golden.by_ref().collect();
    assert_eq!(golden.len(), coarse.n_voxels());
    let ((our_mean, our_sd), (mean, sd)) = (statistics(ours.as_slice(), &mask), statistics(&golden, &mask));
    assert!(sd > 0.05, "a field of {sd} shows nothing");
    assert!((our_sd - sd).abs() < 1e-5, "{our_sd} and {sd}");
    for ((index_kji, &ours), golden) in ours.array().indexed_iter().zip(golden) {
        let difference = (ours - our_mean) - (golden - mean);
        assert!(difference.abs() < 2e-5, "{difference} at [k, j, i] = {index_kji:?} of every third voxel");
    }
    Ok(())
}

#[test]
fn a_smooth_bias_is_found() -> TestResult {
    let (mr, mask) = sample()?;
    let before = residual(&Volume::filled(mr.grid(), 1.0), &mask);
    let after = residual(&run(&mr, &mask, &config())?.field, &mask);
    assert!(before > 0.15 && after < 0.02, "{before} before, {after} after");
    // On every eighth voxel, too, and evaluated at all of them.
    let after = residual(&run(&mr, &mask, &N4Config { shrink_factor: 2, ..config() })?.field, &mask);
    assert!(after < 0.03, "{after} at shrink factor 2");
    Ok(())
}

#[test]
fn the_corrected_image_times_the_field_is_the_image() -> TestResult {
    let (mr, mask) = sample()?;
    let N4Correction { corrected, field, levels } = run(&mr, &mask, &config())?;
    assert!(field.as_slice().iter().all(|&value| value > 0.0 && value.is_finite()));
    for ((mr, corrected), field) in mr.as_slice().iter().zip(corrected.as_slice()).zip(field.as_slice()) {
        assert!((corrected * field - mr).abs() <= 1e-6 * mr.abs(), "{corrected} times {field} is not {mr}");
    }
    let logs: Vec<f64> = field.as_slice().iter().map(|&field| f64::from(field).ln()).collect();
    let mean = statistics(&logs, &mask).0;
    assert!(mean.abs() < 1e-6, "intensities keep their level: the mean log field is {mean}");
    assert_eq!(levels.len(), 3);
    Ok(())
}

#[test]
fn the_unit_of_intensity_does_not_matter() -> TestResult {
    let (mr, mask) = sample()?;
    let first = run(&mr, &mask, &config())?.field;
    let second = run(&mr.map(|&value| 1e-3 * value), &mask, &config())?.field;
    for (a, b) in iter::zip(first.as_slice(), second.as_slice()) {
        assert!((a / b - 1.0).abs() < 1e-3, "{a} and {b}");
    }
    Ok(())
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() -> TestResult {
    let (mr, mask) = sample()?;
    let with_threads = |n: usize| -> TestResult<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build()?;
        let correction = pool.install(|| run(&mr, &mask, &config()))?;
        Ok(correction.corrected.as_slice().iter().map(|value| value.to_bits()).collect())
    };
    let one = with_threads(1)?;
    for n in [2, 3] {
        assert!(with_threads(n)? == one, "bits differ between one and {n} threads");
    }
    Ok(())
}

#[test]
fn holes_in_the_mask_count_for_nothing() -> TestResult {
    let (mr, mask) = sample()?;
    let is_hole = |index: VoxelIndex| (index.i + index.j * index.k).is_multiple_of(11);
    let holes = Mask::new(Volume::from_index_fn(mr.grid(), is_hole));
    let expected = run(&mr, &mask.and(&holes.complement())?, &config())?.field;
    for bad in [0.0, -30.0, f32::NAN, f32::INFINITY] {
        let spoiled = mr.zip_map(holes.volume(), |&value, &hole| if hole { bad } else { value })?;
        let found = run(&spoiled, &mask, &config())?;
        assert!(found.field == expected, "holes of {bad}");
        let hole = VoxelIndex::new(11, 11, 0);
        let product = bad / expected[hole];
        assert_eq!(found.corrected[hole].to_bits(), product.to_bits(), "the field is applied to {bad}, too");
    }
    let weights = holes.volume().map(|&hole| if hole { 0.0 } else { 1.0 });
    assert!(n4(&mr, &mask, Some(&weights), &config(), &mut |_| ())?.field == expected, "holes of weight 0");
    Ok(())
}

#[test]
fn a_clean_image_of_two_tissues_does_not_swing() -> TestResult {
    let (mr, mask) = sample()?;
    let grid = mr.grid();
    let clean = Volume::from_index_fn(grid, |index| {
        let tissue = if mr[index] > 450.0 { 700.0 } else { 350.0 };
        tissue * log_bias(position(index, grid)).exp() as f32
    });
    let after = residual(&run(&clean, &mask, &N4Config { step_factor: 16.0, ..config() })?.field, &mask);
    assert!(after < 0.05, "{after}");
    Ok(())
}

#[test]
fn progress_tells_every_iteration() -> TestResult {
    let (mr, mask) = sample()?;
    let mut told = Vec::new();
    let correction = n4(&mr, &mask, None, &config(), &mut |progress| told.push(progress))?;
    let expected: Vec<(usize, usize)> = iter::zip(0.., &correction.levels)
        .flat_map(|(level, done)| (1..=done.iterations).map(move |iteration| (level, iteration)))
        .collect();
    let found: Vec<(usize, usize)> = told.iter().map(|told| (told.level, told.iteration)).collect();
    assert_eq!(found, expected);
    assert!(
        told.iter().all(|told| told.levels == 3 && told.iterations == 20 && told.convergence.is_finite())
    );
    Ok(())
}

#[test]
fn bad_input_is_refused() -> TestResult {
    let (mr, mask) = sample()?;
    let nothing = Mask::full(mr.grid()).complement();
    assert!(matches!(run(&mr, &nothing, &config()), Err(PrepError::EmptyMask)));
    let flat = Volume::filled(mr.grid(), 7.5);
    assert!(matches!(run(&flat, &mask, &config()), Err(PrepError::NoContrast { .. })));
    let dark = Volume::filled(mr.grid(), 0.0);
    assert!(matches!(run(&dark, &mask, &config()), Err(PrepError::TooFewSamples { n: 0, needed: 64, .. })));
    let elsewhere = Mask::full(&Grid::axis_aligned([32, 36, 28], [2.0, 1.5, 3.1], PointLps::ORIGIN)?);
    assert!(matches!(run(&mr, &elsewhere, &config()), Err(PrepError::Image(_))));
    for (bad, is_expected) in [
        (f32::NAN, (|error| matches!(error, PrepError::NotFinite { .. })) as fn(&PrepError) -> bool),
        (-1.0, |error| matches!(error, PrepError::NegativeWeight { .. })),
    ] {
        let weights = Volume::filled(mr.grid(), bad);
        let result = n4(&mr, &mask, Some(&weights), &config(), &mut |_| ());
        assert!(result.is_err_and(|error| is_expected(&error)), "weights of {bad}");
    }
    Ok(())
}

#[test]
fn a_slab_of_one_slice_is_no_trouble() -> TestResult {
    let grid = Grid::axis_aligned([64, 60, 1], [2.0, 2.0, 5.0], PointLps::ORIGIN)?;
    let mr = Volume::from_index_fn(&grid, |index| {
        let tissue = if (index.i / 9 + index.j / 7) % 2 == 0 { 600.0 } else { 300.0 };
        tissue * log_bias(position(index, &grid).map(|at| if at.is_nan() { 0.0 } else { at })).exp() as f32
    });
    let field = run(&mr, &Mask::full(&grid), &config())?.field;
    let [low, high] = [0, 63].map(|i| field.array()[[0, 30, i]]);
    assert!((f64::from(high / low).ln() - 0.5).abs() < 0.1, "{low} to {high}");
    Ok(())
}
