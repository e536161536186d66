//! Times of collapsed cones and of Monte Carlo: one 10 × 10 cm field in a water cube of a million voxels of 3 mm.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use synthct_dose::{
    CollapsedCone, Cones, DensityVolume, DoseEngine, DoseError, Field, Fluence, Machine, MonteCarlo,
    MonteCarloStop,
};
use synthct_image::{Grid, PointLps, Volume};
use synthct_rt::{BeamAngles, BeamFrame, Jaws, PatientPosition};

/// Histories of one sample.
const HISTORIES: u64 = 200_000;

fn main() -> Result<(), DoseError> {
    let grid = Grid::axis_aligned([100; 3], [3.0; 3], PointLps::new(-148.5, 1.5, -148.5))?;
    let water = DensityVolume::new(Volume::filled(&grid, 1.0), Volume::filled(&grid, 1.0))?;
    let machine = Machine::generic_6mv();
    let jaws = Jaws { x_mm: [-50.0, 50.0], y_mm: [-50.0, 50.0] };
    let angles = BeamAngles { gantry_deg: 0.0, collimator_deg: 0.0, couch_deg: 0.0 };
    let field = Field {
        frame: BeamFrame::new(PatientPosition::Hfs, PointLps::ORIGIN, angles, 1000.0),
        fluence: Fluence::new(&machine, &jaws, None),
        weight: 1.0,
    };
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("water_100");
    group.sample_size(10);
    for (name, cones) in [("fast_52", Cones::Fast), ("fine_88", Cones::Fine)] {
        let engine = CollapsedCone::new(&machine, cones);
        group.bench_function(name, |b| {
            b.iter(|| engine.dose(black_box(&water), std::slice::from_ref(&field)));
        });
    }
    group.bench_function("fluence", |b| b.iter(|| Fluence::new(black_box(&machine), &jaws, None)));
    group.finish();

    let mut group = criterion.benchmark_group("water_100_monte_carlo");
    group.sample_size(10).throughput(Throughput::Elements(HISTORIES));
    let engine = MonteCarlo::new(&machine, MonteCarloStop::Histories(HISTORIES), 1)?;
    group.bench_function("histories", |b| {
        b.iter(|| engine.dose(black_box(&water), std::slice::from_ref(&field)));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
