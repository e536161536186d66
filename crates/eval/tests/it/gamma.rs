//! The gamma index against pymedphys, a brute-force search, closed forms and properties.

use std::collections::BTreeMap;

use synthct_eval::{
    DoseNormalization, EvalError, GammaConfig, GammaCriterion, GammaMap, GammaMode, GammaSearch, gamma,
};
use synthct_image::{Grid, ImageError, Mask, Matrix3, PointLps, Volume, VoxelIndex};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A grid centred on the origin.
fn centered(size_ijk: [usize; 3], spacing_mm: [f64; 3]) -> Result<Grid, ImageError> {
    let first = [0, 1, 2].map(|axis| -((size_ijk[axis] - 1) as f64) / 2.0 * spacing_mm[axis]);
    Grid::axis_aligned(size_ijk, spacing_mm, PointLps::from(first))
}

/// The smooth dose of `golden/gamma/reference.py`.
fn smooth_dose(grid: &Grid, shift: f64, scale: f64) -> Volume<f32> {
    Volume::from_point_fn(grid, |p| {
        let r = ((p.x - shift) / 14.0).powi(2) + (p.y / 11.0).powi(2) + ((p.z + shift) / 9.0).powi(2);
        (scale * 60.0 * (-r.powi(2)).exp()) as f32
    })
}

fn smooth_pair() -> Result<(Volume<f32>, Volume<f32>), ImageError> {
    let reference = smooth_dose(&centered([11, 9, 7], [2.0, 2.5, 3.0])?, 0.0, 1.0);
    let evaluated = smooth_dose(&centered([13, 13, 9], [2.5, 2.0, 2.5])?, 0.6, 1.01);
    Ok((reference, evaluated))
}

/// γ at every point by sampling the trilinear dose on a lattice of `distance / fine`: the plain twin of the search.
fn brute_force(
    reference: &Volume<f32>,
    evaluated: &Volume<f32>,
    criterion: GammaCriterion,
    tolerance_of: impl Fn(f64) -> f64,
    cap: f64,
    fine: f64,
) -> Vec<f64> {
    let size = evaluated.grid().size_ijk();
    let dose_at = |p: PointLps| -> Option<f64> {
        let index = evaluated.grid().index_from_lps(p);
        let at = [index.i, index.j, index.k];
        let mut sum = 0.0;
        let mut base = [0_usize; 3];
        let mut part = [0.0; 3];
        for axis in 0..3 {
            let last = (size[axis] - 1) as f64;
            if at[axis] < -1e-9 || at[axis] > last + 1e-9 {
                return None;
            }
            let x = at[axis].clamp(0.0, last);
            base[axis] = (x.floor() as usize).min(size[axis].saturating_sub(2));
            part[axis] = x - base[axis] as f64;
        }
        for corner in 0..8_usize {
            let bit = [corner & 1, corner >> 1 & 1, corner >> 2 & 1];
            let weight: f64 =
                (0..3).map(|axis| if bit[axis] == 1 { part[axis] } else { 1.0 - part[axis] }).product();
            if weight > 0.0 {
                let at = VoxelIndex::new(base[0] + bit[0], base[1] + bit[1], base[2] + bit[2]);
                sum += weight * f64::from(evaluated[at]);
            }
        }
        Some(sum)
    };
    let step = criterion.distance_mm / fine;
    let n = (cap * fine) as i32;
    let [ni, nj, _] = reference.grid().size_ijk();
    (0..reference.as_slice().len())
        .map(|voxel| {
            let dose = f64::from(reference.as_slice()[voxel]);
            let center =
                reference.grid().point_of(VoxelIndex::new(voxel % ni, voxel / ni % nj, voxel / ni / nj));
            let mut best = cap;
            for z in -n..=n {
                for y in -n..=n {
                    for x in -n..=n {
                        let offset = [x, y, z].map(|a| f64::from(a) * step);
                        let r2 = offset.iter().map(|a| a * a).sum::<f64>() / criterion.distance_mm.powi(2);
                        if r2 >= best * best {
                            continue;
                        }
                        let p =
                            PointLps::new(center.x + offset[0], center.y + offset[1], center.z + offset[2]);
                        if let Some(evaluated) = dose_at(p) {
                            best = best.min(r2.sqrt().hypot((evaluated - dose) / tolerance_of(dose)));
                        }
                    }
                }
            }
            best
        })
        .collect()
}

/// A bound of the gradient of a trilinear dose: the steepest steps between neighbours along the axes, taken together.
fn steepest_gy_per_mm(dose: &Volume<f32>) -> f64 {
    let [ni, nj, nk] = dose.grid().size_ijk();
    let spacing_mm = dose.grid().spacing_mm();
    let mut steepest = [0.0_f64; 3];
    for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
        let here = f64::from(dose[VoxelIndex::new(i, j, k)]);
        let next = [(i + 1, j, k), (i, j + 1, k), (i, j, k + 1)];
        for (axis, (i, j, k)) in next.into_iter().enumerate() {
            if let Some(&value) = dose.get(VoxelIndex::new(i, j, k)) {
                steepest[axis] = steepest[axis].max((f64::from(value) - here).abs() / spacing_mm[axis]);
            }
        }
    }
    steepest.iter().map(|g| g * g).sum::<f64>().sqrt()
}

#[test]
fn pymedphys_preset_gives_its_values() -> TestResult {
    let text = include_str!("../golden/gamma/expected.json");
    let expected: BTreeMap<String, Vec<Option<f64>>> = serde_json::from_str(text)?;
    let check = |name: &str, map: &GammaMap| -> TestResult {
        let values = expected.get(name).ok_or(name)?;
        assert_eq!(values.len(), map.gamma.as_slice().len());
        for (n, (&ours, theirs)) in std::iter::zip(map.gamma.as_slice(), values).enumerate() {
            let theirs = theirs.unwrap_or(f64::NAN);
            let same = if theirs.is_nan() { ours.is_nan() } else { (f64::from(ours) - theirs).abs() < 1e-6 };
            assert!(same, "{name}, voxel {n}: {ours}, pymedphys {theirs}");
        }
        Ok(())
    };
    // pymedphys names the axes of its arrays in their order, so its x, y, z are our k, j, i.
    let grid = Grid::axis_aligned([14, 12, 10], [0.1; 3], PointLps::ORIGIN)?;
    let boxes = |low: [usize; 3], value: f32| {
        Volume::from_index_fn(&grid, |at| {
            let inside =
                at.k >= low[0] && at.k < 8 && at.j >= low[1] && at.j < 10 && at.i >= low[2] && at.i < 12;
            if inside { value } else { 0.0 }
        })
    };
    let config = GammaConfig { cap: 20.0, ..GammaConfig::pymedphys(GammaMode::Global, &[(3.0, 0.3)], 0.0) };
    check("boxes_3_0.3", &gamma(&boxes([3, 4, 5], 1.015), &boxes([2, 2, 2], 1.0), None, &config)?[0])?;
    let (reference, evaluated) = smooth_pair()?;
    for (name, mode) in [("global", GammaMode::Global), ("local", GammaMode::Local)] {
        let config = GammaConfig::pymedphys(mode, &[(1.0, 1.0), (2.0, 3.0)], 20.0);
        let maps = gamma(&reference, &evaluated, None, &config)?;
        check(&format!("smooth_{name}_1_1"), &maps[0])?;
        check(&format!("smooth_{name}_2_3"), &maps[1])?;
    }
    Ok(())
}

#[test]
fn exact_search_is_at_most_its_tolerance_above_brute_force() -> TestResult {
    let (reference, evaluated) = smooth_pair()?;
    // A rough dose too, where a box of trilinear dose is far from linear.
    let rough = evaluated.zip_map(
        &Volume::from_index_fn(evaluated.grid(), |at| ((at.i * 7 + at.j * 5 + at.k * 3) % 11) as f32),
        |&dose, &noise| dose + 0.6 * noise,
    )?;
    for evaluated in [&evaluated, &rough] {
        let steepness = steepest_gy_per_mm(evaluated);
        for (dose_percent, distance_mm) in [(3.0, 3.0), (1.0, 1.5)] {
            for mode in [GammaMode::Global, GammaMode::Local] {
                let config = GammaConfig {
                    mode,
                    cutoff_percent: 5.0,
                    ..GammaConfig::global(60.0, &[(dose_percent, distance_mm)])
                };
                let map = &gamma(&reference, evaluated, None, &config)?[0];
                let tolerance_of = |dose: f64| match mode {
                    GammaMode::Global => 0.6 * dose_percent,
                    GammaMode::Local => dose * dose_percent / 100.0,
                };
                let trial = brute_force(&reference, evaluated, map.criterion, tolerance_of, config.cap, 10.0);
                let doses = reference.as_slice();
                for (n, ((&ours, trial), &dose)) in
                    std::iter::zip(map.gamma.as_slice(), trial).zip(doses).enumerate()
                {
                    let ours = f64::from(ours);
                    // The nearest sample is half a cell's diagonal away, and γ changes no faster than this over it.
                    let slope = (1.0_f64).hypot(steepness * distance_mm / tolerance_of(f64::from(dose)));
                    let miss = 0.5 * 3.0_f64.sqrt() / 10.0 * slope;
                    assert!(ours.is_nan() || ours <= trial + 0.0021, "voxel {n}: {ours} above {trial}");
                    assert!(ours.is_nan() || ours >= trial - miss, "voxel {n}: {ours} below {trial}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn closed_forms() -> TestResult {
    let grid = centered([21, 15, 11], [2.0, 2.5, 3.0])?;
    let middle = VoxelIndex::new(10, 7, 5);
    // An offset in a linear dose of gradient g: γ = |δ| / √(ΔD² + g² DTA²).
    let linear = Volume::from_point_fn(&grid, |p| (50.0 + 0.5 * p.x - 0.25 * p.y + 0.125 * p.z) as f32);
    let g2 = 0.5_f64.powi(2) + 0.25_f64.powi(2) + 0.125_f64.powi(2);
    let maps = gamma(&linear, &linear.map(|d| d + 1.0), None, &GammaConfig::global(50.0, &[(2.0, 3.0)]))?;
    let expected = 1.0 / (1.0 + g2 * 9.0).sqrt();
    assert!((f64::from(maps[0].gamma[middle]) - expected).abs() < 1e-5, "{}", maps[0].gamma[middle]);
    // Flat doses: γ = δ / ΔD; at the cap where that is beyond it.
    let flat = Volume::filled(&grid, 40.0_f32);
    let maps =
        gamma(&flat, &flat.map(|d| d + 0.6), None, &GammaConfig::global(40.0, &[(3.0, 2.0), (0.5, 2.0)]))?;
    assert!((maps[0].summary.mean - 0.5).abs() < 1e-5 && (maps[0].summary.max - 0.5).abs() < 1e-5);
    assert!((maps[1].summary.mean - 2.0).abs() < 1e-7 && maps[1].summary.n_passing == 0);
    Ok(())
}

#[test]
fn identical_doses_have_gamma_zero_on_oblique_and_flipped_grids() -> TestResult {
    let (s, c) = 0.3_f64.sin_cos();
    let oblique = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, -1.0]]);
    let grid = Grid::new([9, 8, 7], [1.5, 2.0, 2.5], PointLps::new(-7.3, 11.1, 5.9), oblique)?;
    let dose = smooth_dose(&grid, 0.0, 1.0).map(|d| d + 5.0);
    let maps = gamma(&dose, &dose, None, &GammaConfig::global(60.0, &[(1.0, 1.0)]))?;
    assert_eq!((maps[0].summary.max, maps[0].summary.pass_percent), (0.0, 100.0));
    Ok(())
}

#[test]
fn storage_order_does_not_matter() -> TestResult {
    let (reference, evaluated) = smooth_pair()?;
    let config = GammaConfig::global(60.0, &[(1.0, 1.0)]);
    let plain = &gamma(&reference, &evaluated, None, &config)?[0];
    // The evaluated dose stored from the other end of x, with i and k exchanged.
    let [ni, nj, nk] = evaluated.grid().size_ijk();
    let [si, sj, sk] = evaluated.grid().spacing_mm();
    let last_i = evaluated.grid().point_of(VoxelIndex::new(ni - 1, 0, 0));
    let direction = Matrix3::from_columns([0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]);
    let grid = Grid::new([nk, nj, ni], [sk, sj, si], last_i, direction)?;
    let stored = Volume::from_index_fn(&grid, |at| evaluated[VoxelIndex::new(ni - 1 - at.k, at.j, at.i)]);
    let other = &gamma(&reference, &stored, None, &config)?[0];
    for (a, b) in std::iter::zip(plain.gamma.as_slice(), other.gamma.as_slice()) {
        // Pieces are halved in another order, so that each γ is within the tolerance of the same minimum.
        assert!((a.is_nan() && b.is_nan()) || (a - b).abs() <= 0.0021, "{a} and {b}");
    }
    Ok(())
}

#[test]
fn a_higher_cutoff_is_a_part_of_the_map() -> TestResult {
    let (reference, evaluated) = smooth_pair()?;
    let ten = &gamma(&reference, &evaluated, None, &GammaConfig::global(60.0, &[(1.0, 1.0)]))?[0];
    let config = GammaConfig { cutoff_percent: 60.0, ..GammaConfig::global(60.0, &[(1.0, 1.0)]) };
    let sixty = &gamma(&reference, &evaluated, None, &config)?[0];
    assert_eq!(ten.summary_above(&reference, 36.0)?, sixty.summary);
    assert!(sixty.summary.n_points < ten.summary.n_points);
    assert!(matches!(ten.summary_above(&reference, 1e3), Err(EvalError::NoDoseAboveCutoff { .. })));
    // A mask leaves voxels out, and a criterion twice as large halves γ.
    let half = Mask::new(Volume::from_index_fn(reference.grid(), |at| at.i < 5));
    let masked = &gamma(&reference, &evaluated, Some(&half), &GammaConfig::global(60.0, &[(2.0, 2.0)]))?[0];
    for (at, (&whole, &part)) in std::iter::zip(ten.gamma.as_slice(), masked.gamma.as_slice()).enumerate() {
        let inside = half.as_slice()[at];
        assert!(inside || part.is_nan());
        if inside && !whole.is_nan() && whole < 1.9 {
            assert!((whole / 2.0 - part).abs() < 0.0031, "{whole} and {part}");
        }
    }
    Ok(())
}

#[test]
fn a_plane_is_compared_as_a_plane() -> TestResult {
    let plane = centered([41, 41, 1], [1.0, 1.0, 5.0])?;
    let disc = |shift: f64| {
        Volume::from_point_fn(&plane, |p| {
            (10.0 - 0.8 * ((p.x - shift).powi(2) + p.y * p.y).sqrt()).max(0.0) as f32
        })
    };
    let config = GammaConfig { cutoff_percent: 20.0, ..GammaConfig::global(10.0, &[(0.1, 2.0)]) };
    let map = &gamma(&disc(0.0), &disc(1.0), None, &config)?[0];
    // A steep cone moved by half the distance: γ along x is close to one half.
    let gamma_at_x = f64::from(map.gamma[VoxelIndex::new(26, 20, 0)]);
    assert!((gamma_at_x - 0.5).abs() < 0.01, "{gamma_at_x}");
    let shells = GammaConfig { search: GammaSearch::Shells { interp_fraction: 40.0 }, ..config };
    let sampled = &gamma(&disc(0.0), &disc(1.0), None, &shells)?[0];
    for (&exact, &sampled) in std::iter::zip(map.gamma.as_slice(), sampled.gamma.as_slice()) {
        assert!(exact.is_nan() && sampled.is_nan() || (exact <= sampled + 0.0021), "{exact}, {sampled}");
    }
    Ok(())
}

#[test]
fn points_beyond_the_evaluated_dose_fail() -> TestResult {
    let reference = Volume::filled(&centered([11, 5, 5], [2.0; 3])?, 10.0_f32);
    let evaluated = Volume::filled(&centered([5, 5, 5], [2.0; 3])?, 10.0_f32);
    let map = &gamma(&reference, &evaluated, None, &GammaConfig::global(10.0, &[(3.0, 3.0)]))?[0];
    // x = −10 … 10 mm against −4 … 4 mm: 2, 4, 6 mm of distance at 3 mm each side.
    let along_x: Vec<f32> = (0..4).map(|i| map.gamma[VoxelIndex::new(i, 2, 2)]).collect();
    assert_eq!(map.n_outside_evaluated, 6 * 25);
    for (found, expected) in std::iter::zip(along_x, [2.0, 4.0 / 3.0, 2.0 / 3.0, 0.0]) {
        assert!((found - expected).abs() < 0.0021, "{found} instead of {expected}");
    }
    Ok(())
}

#[test]
fn any_number_of_threads_gives_the_same_bits() -> TestResult {
    let (reference, evaluated) = smooth_pair()?;
    let with_threads = |n: usize| -> Result<_, Box<dyn std::error::Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build()?;
        let maps =
            pool.install(|| gamma(&reference, &evaluated, None, &GammaConfig::local(60.0, &[(1.0, 1.0)])))?;
        let bits: Vec<u32> = maps[0].gamma.as_slice().iter().map(|g| g.to_bits()).collect();
        Ok((bits, maps[0].summary))
    };
    let one = with_threads(1)?;
    assert_eq!(one, with_threads(2)?);
    assert_eq!(one, with_threads(3)?);
    Ok(())
}

#[test]
fn normalization_by_maximum_and_by_point() -> TestResult {
    let (reference, evaluated) = smooth_pair()?;
    let normalized_to = |normalization: DoseNormalization| {
        let config = GammaConfig { normalization, ..GammaConfig::global(1.0, &[(1.0, 1.0)]) };
        gamma(&reference, &evaluated, None, &config).map(|maps| maps[0].summary.normalization_gy)
    };
    assert!((normalized_to(DoseNormalization::ReferenceMaximum)? - 60.0).abs() < 1e-5);
    // Halfway between the voxels at x = 4 and 6 mm.
    let between = 0.5 * f64::from(reference[VoxelIndex::new(7, 4, 3)] + reference[VoxelIndex::new(8, 4, 3)]);
    assert!((normalized_to(DoseNormalization::ReferenceAt([5.0, 0.0, 0.0]))? - between).abs() < 1e-5);
    let outside = normalized_to(DoseNormalization::ReferenceAt([500.0, 0.0, 0.0]));
    assert!(outside.is_err_and(|error| error.to_string().contains("outside")));
    Ok(())
}

#[test]
fn bad_input_is_refused() -> TestResult {
    let (reference, evaluated) = smooth_pair()?;
    let good = GammaConfig::global(60.0, &[(1.0, 1.0)]);
    let with = |config: GammaConfig| gamma(&reference, &evaluated, None, &config).err();
    let bad = GammaConfig {
        criteria: vec![GammaCriterion { dose_percent: 0.0, distance_mm: f64::NAN }],
        normalization: DoseNormalization::Gy(-1.0),
        cutoff_percent: 101.0,
        cap: 1.0,
        search: GammaSearch::Exact { tolerance: 0.0 },
        ..good.clone()
    };
    assert!(matches!(with(bad), Some(EvalError::Config { problems }) if problems.len() == 5));
    let no_cutoff = GammaConfig { cutoff_percent: 0.0, mode: GammaMode::Local, ..good.clone() };
    assert!(matches!(with(no_cutoff), Some(EvalError::Config { .. })));
    let too_high = GammaConfig { normalization: DoseNormalization::Gy(6e3), ..good.clone() };
    assert!(matches!(with(too_high), Some(EvalError::NoDoseAboveCutoff { .. })));
    let zero = reference.map(|_| 0.0);
    let relative = GammaConfig { normalization: DoseNormalization::ReferenceMaximum, ..good.clone() };
    assert!(matches!(gamma(&zero, &evaluated, None, &relative), Err(EvalError::Config { .. })));
    let mut holed = evaluated.clone();
    holed[VoxelIndex::new(1, 2, 3)] = f32::NAN;
    let error = gamma(&reference, &holed, None, &good).err().map(|error| error.to_string());
    assert!(error.is_some_and(|text| text.contains("evaluated dose") && text.contains("i=1, j=2, k=3")));
    let far = Grid::axis_aligned([5, 5, 5], [2.0; 3], PointLps::new(900.0, 0.0, 0.0))?;
    let apart = gamma(&reference, &Volume::filled(&far, 60.0_f32), None, &good);
    assert!(matches!(apart, Err(EvalError::DosesApart { n_points, .. }) if n_points > 0));
    let other = Mask::full(evaluated.grid());
    assert!(matches!(
        gamma(&reference, &evaluated, Some(&other), &good),
        Err(EvalError::GridMismatch { .. })
    ));
    Ok(())
}
