//! Plans from templates.

use std::str::FromStr;

use synthct_dose::{
    CollapsedCone, Cones, DensityVolume, DoseEngine, DoseError, Machine, TargetDose, Template, plan_fields,
    template_plan,
};
use synthct_image::{Grid, Mask, PointLps, Volume, VoxelIndex};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A head of water with a shell of bone, 5 mm voxels, and a target off its middle.
fn head() -> Result<(DensityVolume, Mask), DoseError> {
    let grid = Grid::axis_aligned([40, 44, 40], [5.0; 3], PointLps::new(-97.5, -107.5, -97.5))?;
    let density = |bone: f32| {
        Volume::from_point_fn(&grid, |p| {
            let r = (p.x / 80.0).hypot(p.y / 95.0).hypot(p.z / 85.0);
            if r > 1.0 {
                0.0012
            } else if r > 0.92 {
                bone
            } else {
                1.0
            }
        })
    };
    let target =
        Mask::new(Volume::from_point_fn(&grid, |p| (p - PointLps::new(25.0, -10.0, 15.0)).norm_mm() < 20.0));
    Ok((DensityVolume::new(density(1.6), density(1.5))?, target))
}

const fn one(target: &Mask, dose_gy: f64) -> [TargetDose<'_>; 1] {
    [TargetDose { target, dose_gy }]
}

/// Mean inside, the dose that 95 % of the voxels have at least, and the mean of a shell 40 to 50 mm away.
fn figures(dose: &Volume<f32>, target: &Mask) -> [f64; 3] {
    let mut inside: Vec<f64> = std::iter::zip(dose.as_slice(), target.as_slice())
        .filter(|(_, inside)| **inside)
        .map(|(dose, _)| f64::from(*dose))
        .collect();
    inside.sort_by(f64::total_cmp);
    let mean = inside.iter().sum::<f64>() / inside.len() as f64;
    let (mut sum, mut n) = (0.0, 0.0);
    let [ni, nj, nk] = dose.grid().size_ijk();
    for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
        let away_mm =
            (dose.grid().point_of(VoxelIndex::new(i, j, k)) - PointLps::new(25.0, -10.0, 15.0)).norm_mm();
        if (40.0..50.0).contains(&away_mm) {
            sum += f64::from(dose[VoxelIndex::new(i, j, k)]);
            n += 1.0;
        }
    }
    [mean, inside[inside.len() / 20], sum / n]
}

#[test]
fn the_target_gets_the_prescription_and_the_rest_less() -> TestResult {
    let (density, target) = head()?;
    let machine = Machine::generic_6mv();
    let engine = CollapsedCone::new(&machine, Cones::Fast);
    for template in Template::ALL {
        let plan = template_plan(template, &one(&target, 60.0), &density, &machine, &engine)?;
        plan.check()?;
        let fields = plan_fields(&plan, &machine, density.grid(), 4.0)?;
        let [mean, d95, away] = figures(&engine.dose(&density, &fields)?, &target);
        let name = template.name();
        // Parts of arcs were weighted with sectors of their own.
        assert!((mean - 60.0).abs() < 0.3, "{name}: mean {mean}");
        assert!(d95 > 54.0, "{name}: D95 {d95}");
        assert!(away < 0.55 * mean, "{name}: {away} Gy 4 to 5 cm away");
        assert_eq!(Template::from_str(name)?, template);
    }
    Ok(())
}

#[test]
fn a_boost_gets_more_than_the_target_around_it() -> TestResult {
    let (density, target) = head()?;
    let machine = Machine::generic_6mv();
    let engine = CollapsedCone::new(&machine, Cones::Fast);
    let inner = Mask::new(Volume::from_point_fn(density.grid(), |p| {
        (p - PointLps::new(25.0, -10.0, 15.0)).norm_mm() < 12.0
    }));
    let outer = target.and(&inner.complement())?;
    // Static beams leave more of the outer part cold, with nothing between their two openings.
    for (template, least_gy) in [(Template::PelvisVmat, 45.0), (Template::Pelvis7f, 35.0)] {
        let levels =
            [TargetDose { target: &target, dose_gy: 50.0 }, TargetDose { target: &inner, dose_gy: 60.0 }];
        let plan = template_plan(template, &levels, &density, &machine, &engine)?;
        assert_eq!(plan.prescription.as_ref().map(|p| p.dose_gy), Some(60.0));
        let fields = plan_fields(&plan, &machine, density.grid(), 4.0)?;
        let dose = engine.dose(&density, &fields)?;
        let ([boost, boost_d95, away], [around, around_d95, _]) =
            (figures(&dose, &inner), figures(&dose, &outer));
        let name = template.name();
        assert!((boost - 60.0).abs() < 0.3 && boost_d95 > 57.0, "{name}: {boost} and {boost_d95}");
        // A step of 10 Gy within the 8 mm around the boost is more than photons can make: the outer part keeps half of it.
        assert!((48.0..57.0).contains(&around) && around_d95 > least_gy, "{name}: {around} and {around_d95}");
        assert!(away < 33.0, "{name}: {away}");
    }
    Ok(())
}

#[test]
fn sectors_change_little() -> TestResult {
    let (density, target) = head()?;
    let machine = Machine::generic_6mv();
    let exact = CollapsedCone::new(&machine, Cones::Fast).with_sectors(0.0);
    let plan = template_plan(Template::BrainVmat, &one(&target, 2.0), &density, &machine, &exact)?;
    let fields = plan_fields(&plan, &machine, density.grid(), 4.0)?;
    let by_field = exact.dose(&density, &fields)?;
    let by_sector = CollapsedCone::new(&machine, Cones::Fast).with_sectors(8.0).dose(&density, &fields)?;
    let [mean, ..] = figures(&by_field, &target);
    let off = std::iter::zip(by_field.as_slice(), by_sector.as_slice())
        .zip(target.as_slice())
        .filter(|(_, inside)| **inside)
        .fold(0.0_f64, |off, ((a, b), _)| off.max(f64::from((a - b).abs())));
    assert!(off < 0.01 * mean, "{:.2} %", 100.0 * off / mean);
    Ok(())
}

#[test]
fn one_monitor_unit_is_a_centigray_at_the_maximum() -> TestResult {
    use synthct_dose::{Field, Fluence};
    use synthct_rt::{BeamAngles, BeamFrame, Jaws, PatientPosition};
    let grid = Grid::axis_aligned([100, 60, 100], [2.5; 3], PointLps::new(-123.75, 1.25, -123.75))?;
    let water = DensityVolume::new(Volume::filled(&grid, 1.0), Volume::filled(&grid, 1.0))?;
    let machine = Machine::generic_6mv();
    let angles = BeamAngles { gantry_deg: 0.0, collimator_deg: 0.0, couch_deg: 0.0 };
    let field = Field {
        frame: BeamFrame::new(PatientPosition::Hfs, PointLps::ORIGIN, angles, 1000.0),
        fluence: Fluence::new(&machine, &Jaws { x_mm: [-50.0, 50.0], y_mm: [-50.0, 50.0] }, None),
        weight: 100.0 * machine.photons_per_cm2_per_mu,
    };
    let dose = CollapsedCone::new(&machine, Cones::Fine).dose(&water, &[field])?;
    let largest = (0..60).map(|j| dose[VoxelIndex::new(50, j, 50)]).fold(0.0_f32, f32::max);
    assert!((largest - 1.0).abs() < 0.01, "{largest} Gy of 100 MU");
    Ok(())
}

#[test]
fn bad_plans_and_targets_are_refused() -> TestResult {
    let (density, target) = head()?;
    let machine = Machine::generic_6mv();
    let engine = CollapsedCone::new(&machine, Cones::Fast);
    let nothing = target.and(&target.complement())?;
    let of = |target: &Mask, gy: f64| {
        template_plan(Template::Brain3d, &one(target, gy), &density, &machine, &engine)
    };
    let none = template_plan(Template::Brain3d, &[], &density, &machine, &engine);
    assert!(matches!(none, Err(DoseError::Target { .. })));
    assert!(matches!(of(&nothing, 60.0), Err(DoseError::Target { .. })));
    assert!(matches!(of(&target, f64::NAN), Err(DoseError::Setting { .. })));
    let plan = of(&target, 60.0)?;
    let other = plan_fields(&plan, &Machine::generic_6mv_fff(), density.grid(), 4.0);
    assert!(other.is_err_and(|error| error.to_string().contains("brain-3d 1")));
    let mut far = plan;
    far.beams[0].isocenter_lps = PointLps::new(0.0, 0.0, 500.0);
    let fields = plan_fields(&far, &machine, density.grid(), 4.0);
    assert!(matches!(fields, Err(DoseError::IsocenterOutside { .. })));
    assert!(Template::from_str("brain").is_err_and(|error| error.to_string().contains("pelvis-7f")));
    Ok(())
}
