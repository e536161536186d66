//! Monte Carlo: what must hold whatever the physics, and EGSnrc.

use synthct_dose::{
    CollapsedCone, Cones, DensityVolume, DoseEngine, DoseError, Field, Machine, MonteCarlo, MonteCarloDose,
    MonteCarloStop,
};
use synthct_image::{PointLps, Volume, VoxelIndex};

use crate::slab::{BONE, LUNG, Slab, central_axis, field, phantom};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn computed(
    density: &DensityVolume,
    fields: &[Field],
    n_histories: u64,
    seed: u64,
) -> Result<MonteCarloDose, DoseError> {
    MonteCarlo::new(&Machine::point_source_6mv(), MonteCarloStop::Histories(n_histories), seed)?.compute(
        density,
        fields,
        |_| (),
    )
}

fn slabs() -> Vec<Slab> {
    vec![
        Slab { from_cm: 2.0, to_cm: 4.0, densities: BONE },
        Slab { from_cm: 4.0, to_cm: 8.0, densities: LUNG },
        Slab { from_cm: 8.0, to_cm: 9.0, densities: [0.0012, 0.001_08] },
    ]
}

fn bits(volume: &Volume<f32>) -> Vec<u32> {
    volume.as_slice().iter().map(|value| value.to_bits()).collect()
}

/// Voxels around the axis, between two depths in cm.
fn box_of(volume: &Volume<f32>, half_mm: f64, from_cm: f64, to_cm: f64) -> impl Iterator<Item = f64> {
    let [ni, nj, _] = volume.grid().size_ijk();
    let inside = move |n: usize| {
        let index = VoxelIndex::new(n % ni, n / ni % nj, n / ni / nj);
        let point = volume.grid().point_of(index);
        let depth_cm = 0.1 * point.y;
        point.x.abs() < half_mm && point.z.abs() < half_mm && depth_cm > from_cm && depth_cm < to_cm
    };
    volume.as_slice().iter().enumerate().filter(move |(n, _)| inside(*n)).map(|(_, value)| f64::from(*value))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / n
}

/// Mean dose of a box, and its standard deviation as if voxels were independent.
fn in_box(dose: &MonteCarloDose, half_mm: f64, from_cm: f64, to_cm: f64) -> [f64; 2] {
    let sigmas = || box_of(&dose.sigma_gy, half_mm, from_cm, to_cm);
    let variance = mean(sigmas().map(|sigma| sigma * sigma)) / sigmas().count() as f64;
    [mean(box_of(&dose.dose_gy, half_mm, from_cm, to_cm)), variance.sqrt()]
}

#[test]
fn all_energy_is_accounted_for() -> TestResult {
    let phantom = phantom(20, 5.0, &slabs())?;
    let energy =
        computed(&phantom, &[field(20.0, PointLps::new(0.0, 50.0, 0.0), 60.0, 1000.0)], 50_000, 3)?.energy;
    let off = (energy.deposited_mev + energy.escaped_mev) / energy.emitted_mev - 1.0;
    assert!(off.abs() < 1e-6, "{off:.2e}: {energy:?}");
    // The mean energy of the spectrum, 1.9 MeV, and a plausible part of it.
    assert!((energy.emitted_mev - 1.9).abs() < 0.03, "{energy:?}");
    assert!((0.1..0.5).contains(&(energy.deposited_mev / energy.emitted_mev)), "{energy:?}");
    Ok(())
}

#[test]
fn any_number_of_threads_gives_the_same_bits() -> TestResult {
    let phantom = phantom(12, 10.0, &slabs())?;
    let middle = PointLps::new(0.0, 60.0, 0.0);
    let fields = [field(33.0, middle, 40.0, 1000.0), field(200.0, middle, 30.0, 1000.0)];
    let with_threads = |n: usize| -> Result<_, Box<dyn std::error::Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build()?;
        let dose = pool.install(|| computed(&phantom, &fields, 100_000, 5))?;
        Ok((bits(&dose.dose_gy), bits(&dose.sigma_gy), dose.energy))
    };
    let one = with_threads(1)?;
    assert_eq!(one, with_threads(2)?);
    assert_eq!(one, with_threads(5)?);
    assert_ne!(one.0, bits(&computed(&phantom, &fields, 100_000, 6)?.dose_gy), "the seed matters");
    Ok(())
}

#[test]
fn dose_is_proportional_to_the_weights() -> TestResult {
    let phantom = phantom(12, 10.0, &[])?;
    let middle = PointLps::new(0.0, 60.0, 0.0);
    let mut fields = [field(0.0, middle, 40.0, 1000.0), field(90.0, middle, 40.0, 1000.0)];
    let once = computed(&phantom, &fields, 20_000, 1)?;
    for field in &mut fields {
        field.weight *= 4.0;
    }
    assert_eq!(
        bits(&once.dose_gy.map(|dose| 4.0 * dose)),
        bits(&computed(&phantom, &fields, 20_000, 1)?.dose_gy)
    );
    let mut other_scale = fields.clone();
    for field in &mut other_scale {
        field.weight *= 0.3;
    }
    let scaled = computed(&phantom, &fields, 20_000, 1)?.of_fields(&other_scale);
    assert_eq!(bits(&scaled.dose_gy), bits(&computed(&phantom, &other_scale, 20_000, 1)?.dose_gy));
    // Two fields apart give what both give together, within their noise.
    let both = in_box(&computed(&phantom, &fields, 400_000, 2)?, 10.0, 5.0, 7.0);
    let one = in_box(&computed(&phantom, &fields[..1], 400_000, 3)?, 10.0, 5.0, 7.0);
    let other = in_box(&computed(&phantom, &fields[1..], 400_000, 4)?, 10.0, 5.0, 7.0);
    let sigma = (both[1].powi(2) + one[1].powi(2) + other[1].powi(2)).sqrt();
    assert!((both[0] - one[0] - other[0]).abs() < 4.0 * sigma, "{both:?} {one:?} {other:?}");
    let dark = Field { weight: 0.0, ..fields[0].clone() };
    assert!(computed(&phantom, &[dark], 1000, 1)?.dose_gy.as_slice().iter().all(|dose| dose.to_bits() == 0));
    assert!(computed(&phantom, &[], 1000, 1)?.dose_gy.as_slice().iter().all(|dose| dose.to_bits() == 0));
    Ok(())
}

#[test]
fn dose_falls_with_the_square_of_the_distance() -> TestResult {
    // The same field at the same depth below the surface, which is 80, 100 and 120 cm from the source.
    let phantom = phantom(20, 10.0, &[])?;
    let at = |distance_mm: f64| -> Result<[f64; 2], DoseError> {
        let dose = computed(&phantom, &[field(0.0, PointLps::ORIGIN, 60.0, distance_mm)], 400_000, 7)?;
        let law = (distance_mm / (distance_mm + 50.0)).powi(2);
        Ok(in_box(&dose, 20.0, 4.0, 6.0).map(|value| value / law))
    };
    let reference = at(1000.0)?;
    for distance_mm in [800.0, 1200.0] {
        let found = at(distance_mm)?;
        let sigma = (found[1].powi(2) + reference[1].powi(2)).sqrt();
        let off = found[0] - reference[0];
        assert!(off.abs() < 4.0 * sigma + 2e-3 * reference[0], "{distance_mm} mm: {found:?} {reference:?}");
    }
    Ok(())
}

#[test]
fn the_standard_deviation_is_that_of_other_seeds() -> TestResult {
    let phantom = phantom(10, 20.0, &[])?;
    let field = field(0.0, PointLps::ORIGIN, 100.0, 1000.0);
    let doses: Vec<MonteCarloDose> = (0..12)
        .map(|seed| computed(&phantom, std::slice::from_ref(&field), 40_000, seed))
        .collect::<Result<_, _>>()?;
    let n = doses.len() as f64;
    let (mut spread, mut told) = (0.0, 0.0);
    for voxel in 0..phantom.grid().n_voxels() {
        let values: Vec<f64> = doses.iter().map(|dose| f64::from(dose.dose_gy.as_slice()[voxel])).collect();
        let mean = values.iter().sum::<f64>() / n;
        spread += values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        told += doses.iter().map(|dose| f64::from(dose.sigma_gy.as_slice()[voxel]).powi(2)).sum::<f64>() / n;
    }
    assert!((told / spread - 1.0).abs() < 0.1, "variance {told:.3e} said, {spread:.3e} found");
    // Four times the histories halve it.
    let more = computed(&phantom, std::slice::from_ref(&field), 160_000, 1)?;
    let ratio = more.uncertainty_percent / doses[1].uncertainty_percent;
    assert!((ratio - 0.5).abs() < 0.05, "{ratio}");
    Ok(())
}

#[test]
fn histories_go_on_until_the_uncertainty_is_reached() -> TestResult {
    let phantom = phantom(8, 25.0, &[])?;
    let field = field(0.0, PointLps::ORIGIN, 100.0, 1000.0);
    let stop = MonteCarloStop::Uncertainty { percent: 5.0 };
    let mut heard = Vec::new();
    let engine = MonteCarlo::new(&Machine::point_source_6mv(), stop, 1)?;
    let coarse =
        engine.compute(&phantom, std::slice::from_ref(&field), |progress| heard.push(progress.n_done))?;
    assert!(coarse.uncertainty_percent <= 5.0);
    assert_eq!(heard.last(), Some(&coarse.n_histories));
    assert!(heard.len() as u64 >= MonteCarlo::FEWEST_BATCHES);
    // As many histories asked for by their number are the same histories.
    let again = computed(&phantom, std::slice::from_ref(&field), coarse.n_histories, 1)?;
    assert_eq!(bits(&coarse.dose_gy), bits(&again.dose_gy));
    Ok(())
}

#[test]
fn common_random_numbers_quiet_a_difference() -> TestResult {
    let water = phantom(10, 20.0, &[])?;
    let denser = |volume: &Volume<f32>| volume.map(|density| 1.01 * density);
    let changed = DensityVolume::new(denser(water.mass_g_per_cm3()), denser(water.relative_electron()))?;
    let field = field(0.0, PointLps::ORIGIN, 60.0, 1000.0);
    let run =
        |density: &DensityVolume, seed: u64| computed(density, std::slice::from_ref(&field), 100_000, seed);
    let (reference, same, other) = (run(&water, 1)?, run(&changed, 1)?, run(&changed, 2)?);
    let noise = |other: &MonteCarloDose| -> f64 {
        std::iter::zip(reference.dose_gy.as_slice(), other.dose_gy.as_slice())
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum()
    };
    assert!(noise(&same) < 0.5 * noise(&other), "{:.2e} {:.2e}", noise(&same), noise(&other));
    assert_eq!(bits(&reference.dose_gy), bits(&run(&water, 1)?.dose_gy));
    Ok(())
}

#[test]
fn both_engines_calibrate_alike() -> TestResult {
    let phantom = phantom(30, 10.0, &[])?;
    let field = field(0.0, PointLps::ORIGIN, 100.0, 1000.0);
    let [found, sigma] =
        in_box(&computed(&phantom, std::slice::from_ref(&field), 1_000_000, 1)?, 30.0, 9.0, 11.0);
    let cones = CollapsedCone::new(&Machine::point_source_6mv(), Cones::Fine).dose(&phantom, &[field])?;
    let expected = mean(box_of(&cones, 30.0, 9.0, 11.0));
    assert!(
        (found / expected - 1.0).abs() < 0.015 + 3.0 * sigma / found,
        "{found:.4e} {expected:.4e} ± {sigma:.1e}"
    );
    Ok(())
}

#[test]
fn depth_doses_agree_with_egsnrc() -> TestResult {
    let slab = |from_cm: f64, to_cm: f64, densities: [f32; 2]| Slab { from_cm, to_cm, densities };
    for (name, slabs, text) in [
        ("water2", vec![], include_str!("../golden/egsnrc/water2.csv")),
        ("bone2", vec![slab(3.0, 5.0, BONE)], include_str!("../golden/egsnrc/bone2.csv")),
        ("lung2", vec![slab(3.0, 13.0, LUNG)], include_str!("../golden/egsnrc/lung2.csv")),
    ] {
        let phantom = phantom(120, 2.5, &slabs)?;
        let dose = computed(&phantom, &[field(0.0, PointLps::ORIGIN, 20.0, 1000.0)], 1_000_000, 1)?;
        let ours = central_axis(&dose.dose_gy);
        // Six by six voxels, of which neighbours are hit by the same electrons.
        let variances =
            central_axis(&dose.sigma_gy.map(|sigma| sigma * sigma)).into_iter().map(|v| 3.0 * v / 36.0);
        let rows: Vec<[f64; 4]> = std::iter::zip(ours, variances)
            .zip(text.lines().skip(1))
            .map(|((ours, variance), line)| {
                let mut fields = line.split(',').map(str::parse::<f64>);
                let mut next = || fields.next().unwrap_or(Ok(f64::NAN));
                Ok([next()?, next()?, ours, variance])
            })
            .collect::<Result<_, std::num::ParseFloatError>>()?;
        assert_eq!(rows.len(), 120);
        let near = |depth: f64| {
            slabs.iter().any(|s| (depth - s.from_cm).abs() < 0.25 || (depth - s.to_cm).abs() < 0.25)
        };
        for band in [0.5, 1.5, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0].windows(2) {
            let inside = rows.iter().filter(|row| row[0] > band[0] && row[0] < band[1] && !near(row[0]));
            let [expected, found, variance] =
                inside.fold([0.0; 3], |sums, row| [sums[0] + row[1], sums[1] + row[2], sums[2] + row[3]]);
            let (off, sigma) = (found / expected - 1.0, variance.sqrt() / expected);
            assert!(off.abs() < 0.015 + 2.0 * sigma, "{name}, {band:?} cm: {off:.4} ± {sigma:.4}");
            assert!(sigma < 0.01, "{name}, {band:?} cm: ± {sigma:.4}");
        }
    }
    Ok(())
}

#[test]
fn bad_settings_are_refused() -> TestResult {
    let machine = Machine::point_source_6mv();
    let refused = |machine: &Machine, stop: MonteCarloStop| {
        matches!(MonteCarlo::new(machine, stop, 1), Err(DoseError::Setting { .. }))
    };
    assert!(refused(&machine, MonteCarloStop::Histories(0)));
    assert!(refused(&machine, MonteCarloStop::Uncertainty { percent: 0.0 }));
    assert!(refused(&machine, MonteCarloStop::Uncertainty { percent: f64::NAN }));
    let mut hard = machine;
    hard.spectrum[0].energy_mev = 20.0;
    assert!(refused(&hard, MonteCarloStop::Histories(1)));
    let phantom = phantom(12, 5.0, &[])?;
    let inside = field(0.0, PointLps::new(0.0, 1020.0, 0.0), 40.0, 1000.0);
    assert!(matches!(computed(&phantom, &[inside], 10, 1), Err(DoseError::SourceInside { .. })));
    Ok(())
}
