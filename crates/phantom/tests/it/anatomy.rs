//! Bodies are where, as large and as dense as they should be.

use synthct_image::{PointLps, VectorLps};
use synthct_phantom::{Pathology, PhantomConfig, PhantomError, Side, Subject, Tissue};

use crate::{centroid, points};

const HEAD_BOX_MM: [f64; 3] = [98.0, 118.0, 124.0];
const PELVIS_BOX_MM: [f64; 3] = [215.0, 160.0, 128.0];

fn head(seed: u64) -> Result<Subject, PhantomError> {
    Subject::new(&PhantomConfig::head(), seed)
}

fn pelvis(seed: u64) -> Result<Subject, PhantomError> {
    Subject::new(&PhantomConfig::pelvis(), seed)
}

/// Points of a subject with a tissue.
fn of_tissue(
    subject: &Subject,
    half_mm: [f64; 3],
    step_mm: f64,
    wanted: impl Fn(Tissue) -> bool,
) -> Vec<PointLps> {
    points(half_mm, step_mm).filter(|&point| wanted(subject.sample(point).tissue)).collect()
}

/// The tissue at points throughout a box.
fn tissues(subject: &Subject, half_mm: [f64; 3], step_mm: f64) -> Vec<(PointLps, Tissue)> {
    points(half_mm, step_mm).map(|point| (point, subject.sample(point).tissue)).collect()
}

fn volume_cm3(points: &[PointLps], step_mm: f64) -> f64 {
    points.len() as f64 * step_mm.powi(3) / 1000.0
}

#[test]
fn brains_and_heads_have_human_volumes() -> Result<(), PhantomError> {
    for seed in 0..4 {
        let subject = head(seed)?;
        let brain = volume_cm3(&of_tissue(&subject, HEAD_BOX_MM, 4.0, Tissue::is_brain), 4.0);
        assert!((1000.0..1700.0).contains(&brain), "seed {seed}: brain of {brain} cm³");
        let fluid = volume_cm3(&of_tissue(&subject, HEAD_BOX_MM, 4.0, |t| t == Tissue::Csf), 4.0);
        assert!((100.0..450.0).contains(&fluid), "seed {seed}: {fluid} cm³ of fluid");
        let eyes = volume_cm3(&of_tissue(&subject, HEAD_BOX_MM, 3.0, |t| t == Tissue::Vitreous), 3.0);
        assert!((7.0..18.0).contains(&eyes), "seed {seed}: eyes of {eyes} cm³");
    }
    Ok(())
}

#[test]
fn hu_of_every_tissue_are_in_its_range() -> Result<(), PhantomError> {
    for (subject, half_mm) in [(head(3)?, HEAD_BOX_MM), (pelvis(3)?, PELVIS_BOX_MM)] {
        for point in points(half_mm, 4.3) {
            let sample = subject.sample(point);
            let (low, high) = match sample.tissue {
                tissue if tissue.is_bone() => (250.0, 3000.0),
                tissue if tissue.is_air() => (-1000.0, -1000.0),
                tissue => (tissue.typical_hu() - 8.0, tissue.typical_hu() + 8.0),
            };
            assert!((low..=high).contains(&sample.hu), "{point:?}: {sample:?}");
            assert!(sample.texture.abs() < 0.08, "{point:?}: {sample:?}");
        }
    }
    Ok(())
}

#[test]
fn bone_densities_are_continuous() -> Result<(), PhantomError> {
    let subject = head(1)?;
    let mut counts = [0_usize; 55];
    let mut n_bone = 0_usize;
    for point in points(HEAD_BOX_MM, 2.0) {
        let sample = subject.sample(point);
        if sample.tissue.is_bone() {
            counts[(((sample.hu - 250.0) / 50.0) as usize).min(54)] += 1;
            n_bone += 1;
        }
    }
    // From 250 to 2000 HU no bin is empty and none holds a bulk density.
    for (bin, &count) in counts.iter().take(35).enumerate() {
        let share = count as f64 / n_bone as f64;
        assert!(share > 1e-3 && share < 0.12, "{share} of bone from {} HU", 250 + 50 * bin);
    }
    let dense = counts[35..].iter().sum::<usize>();
    assert!(dense > 0, "no tooth is denser than 2000 HU");
    Ok(())
}

#[test]
fn the_vault_is_closed_and_as_thick_as_skulls_are() -> Result<(), PhantomError> {
    for seed in 0..8 {
        let subject = head(seed)?;
        let brain = of_tissue(&subject, HEAD_BOX_MM, 8.0, Tissue::is_brain);
        let middle = centroid(brain.into_iter()).expect("because heads have brains");
        let mut thicknesses = Vec::new();
        for azimuth_deg in (0..360).step_by(15) {
            for elevation_deg in [25.0_f64, 45.0, 65.0, 85.0] {
                let (sin_a, cos_a) = f64::from(azimuth_deg).to_radians().sin_cos();
                let (sin_e, cos_e) = elevation_deg.to_radians().sin_cos();
                let ray = VectorLps::new(cos_a * cos_e, sin_a * cos_e, sin_e);
                // Air sinuses between the tables belong to the skull.
                let in_skull: Vec<f64> = (80..640)
                    .map(|step| f64::from(step) * 0.25)
                    .filter(|&distance| {
                        let tissue = subject.sample(middle + ray * distance).tissue;
                        tissue.is_bone() || tissue == Tissue::InnerAir
                    })
                    .collect();
                assert!(
                    !in_skull.is_empty(),
                    "seed {seed}: a hole at azimuth {azimuth_deg}°, elevation {elevation_deg}°"
                );
                thicknesses.push(in_skull.len() as f64 * 0.25);
            }
        }
        let mean = thicknesses.iter().sum::<f64>() / thicknesses.len() as f64;
        let thinnest = thicknesses.iter().copied().fold(f64::INFINITY, f64::min);
        assert!((4.0..9.5).contains(&mean), "seed {seed}: mean thickness {mean} mm");
        assert!(thinnest > 1.8, "seed {seed}: {thinnest} mm at the thinnest place");
    }
    Ok(())
}

#[test]
fn left_is_plus_x_front_is_minus_y_and_up_is_plus_z() -> Result<(), PhantomError> {
    for seed in 0..6 {
        let subject = head(seed)?;
        let at = |name| subject.landmark(name).expect("because every head has it");
        let (left, right) = (at("left eye"), at("right eye"));
        assert_eq!(subject.sample(left).tissue, Tissue::Vitreous, "seed {seed}");
        assert_eq!(subject.sample(right).tissue, Tissue::Vitreous, "seed {seed}");
        assert!((50.0..75.0).contains(&(left.x - right.x)), "seed {seed}: {left:?}, {right:?}");
        let samples = tissues(&subject, HEAD_BOX_MM, 3.5);
        let of = |wanted: fn(Tissue) -> bool| {
            let found = samples.iter().filter(|(_, tissue)| wanted(*tissue)).map(|&(point, _)| point);
            centroid(found).expect("because every head has it")
        };
        let brain = of(|t| matches!(t, Tissue::GreyMatter | Tissue::WhiteMatter));
        let cerebellum = of(|t| t == Tissue::Cerebellum);
        let teeth = of(|t| t == Tissue::Tooth);
        assert!(left.y < brain.y - 40.0 && cerebellum.y > brain.y + 15.0, "seed {seed}: front and back");
        assert!(teeth.z < left.z - 40.0 && cerebellum.z < brain.z - 20.0, "seed {seed}: up and down");
        let lens = of(|t| t == Tissue::Lens);
        assert!(lens.y < f64::midpoint(left.y, right.y) - 4.0, "seed {seed}: the lens lies in front");

        let subject = pelvis(seed)?;
        let at = |name| subject.landmark(name).expect("because every pelvis has it");
        let (left, right) = (at("left femoral head"), at("right femoral head"));
        assert!(subject.sample(left).tissue.is_bone() && subject.sample(right).tissue.is_bone());
        assert!((150.0..205.0).contains(&(left.x - right.x)), "seed {seed}: {left:?}, {right:?}");
        let samples = tissues(&subject, PELVIS_BOX_MM, 6.0);
        let of = |wanted: fn(Tissue) -> bool| {
            let found = samples.iter().filter(|(_, tissue)| wanted(*tissue)).map(|&(point, _)| point);
            centroid(found).expect("because every pelvis has it")
        };
        let (bladder, prostate) = (of(|t| t == Tissue::Urine), of(|t| t == Tissue::Prostate));
        let (marrow, spine) = (of(|t| t == Tissue::Marrow), of(|t| t == Tissue::Csf));
        assert!(bladder.z > prostate.z + 15.0 && marrow.z < prostate.z && spine.z > bladder.z, "seed {seed}");
        assert!(spine.y > bladder.y + 40.0, "seed {seed}: the spine lies behind the bladder");
    }
    Ok(())
}

#[test]
fn the_left_occipital_pole_lies_behind_the_right_one() -> Result<(), PhantomError> {
    // Of the mirror images of a head only one has this: it tells left from right without a landmark.
    let mut differences = Vec::new();
    for seed in 0..12 {
        let subject = Subject::new(&PhantomConfig { position_jitter: 0.0, ..PhantomConfig::head() }, seed)?;
        // Where the inner table begins, on a ray to posterior.
        let rearmost = |x: f64| {
            (0..1100)
                .map(|step| f64::from(step) * 0.1)
                .take_while(|&y| !subject.sample(PointLps::new(x, y, 15.0)).tissue.is_bone())
                .fold(0.0, f64::max)
        };
        let mean =
            |side: f64| (0..8).map(|n| rearmost(side * (20.0 + 2.0 * f64::from(n)))).sum::<f64>() / 8.0;
        differences.push(mean(1.0) - mean(-1.0));
    }
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let n_left = differences.iter().filter(|&&difference| difference > 0.0).count();
    assert!(mean > 0.7 && n_left >= 10, "left minus right in mm: {differences:.2?}");
    Ok(())
}

#[test]
fn the_field_of_view_holds_every_subject() -> Result<(), PhantomError> {
    for seed in 0..40 {
        let subject = head(seed)?;
        let [x, y, z] = PhantomConfig::head().field_of_view_mm.map(|extent| extent / 2.0);
        for step in -60..=60 {
            for other in [-40, -20, 0, 20, 40] {
                let (a, b) = (f64::from(step) / 60.0, f64::from(other) / 42.0);
                for outside in [
                    PointLps::new(x, a * y, b * z),
                    PointLps::new(-x, a * y, b * z),
                    PointLps::new(b * x, -y, a * z),
                    PointLps::new(b * x, y, a * z),
                    PointLps::new(b * x, a * y, z),
                ] {
                    assert!(!subject.is_inside_body(outside), "head of seed {seed} at {outside:?}");
                }
            }
        }
        let subject = pelvis(seed)?;
        let [x, y, z] = PhantomConfig::pelvis().field_of_view_mm.map(|extent| extent / 2.0);
        for step in -60..=60 {
            for other in [-40, -20, 0, 20, 40] {
                let (a, b) = (f64::from(step) / 60.0, f64::from(other) / 42.0);
                for outside in [
                    PointLps::new(x, a * y, b * z),
                    PointLps::new(-x, a * y, b * z),
                    PointLps::new(a * x, -y, b * z),
                    PointLps::new(a * x, y, b * z),
                ] {
                    assert!(!subject.is_inside_body(outside), "pelvis of seed {seed} at {outside:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn pathologies_change_what_they_should_and_nothing_else() -> Result<(), PhantomError> {
    for seed in 0..2 {
        let plain = head(seed)?;
        let with = |pathology| {
            Subject::new(&PhantomConfig { pathology: Some(pathology), ..PhantomConfig::head() }, seed)
        };
        for (side, sign) in [(Side::Left, 1.0), (Side::Right, -1.0)] {
            for pathology in [Pathology::BurrHole { side }, Pathology::Craniotomy { side }] {
                let operated = with(pathology)?;
                let scars = of_tissue(&operated, HEAD_BOX_MM, 3.0, |t| t == Tissue::Scar);
                assert!(scars.len() > 5, "seed {seed}: {pathology:?} left {} points of scar", scars.len());
                let middle = centroid(scars.iter().copied()).expect("because there is a scar");
                assert!(sign * middle.x > 10.0, "seed {seed}: {pathology:?} at {middle:?}");
                for point in points(HEAD_BOX_MM, 6.0) {
                    let (before, after) = (plain.sample(point), operated.sample(point));
                    if after.tissue == Tissue::Scar {
                        assert!(before.tissue.is_bone(), "seed {seed}: {before:?} became scar");
                    } else {
                        assert_eq!(before, after, "seed {seed}: {pathology:?} changed {point:?}");
                    }
                }
            }
        }
        let thick = with(Pathology::Hyperostosis)?;
        let bone = |subject: &Subject| of_tissue(subject, HEAD_BOX_MM, 3.0, Tissue::is_bone).len() as f64;
        let ratio = bone(&thick) / bone(&plain);
        assert!(ratio > 1.01 && ratio < 1.3, "seed {seed}: {ratio} times the bone");
    }
    Ok(())
}
