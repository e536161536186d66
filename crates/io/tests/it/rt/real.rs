//! Real radiotherapy objects, if the environment variable `SCT_TEST_DATA` names a folder that has them.

use std::collections::BTreeMap;
use std::path::Path;

use synthct_image::{Mask, VoxelIndex};
use synthct_io::dicom::{read_dose, read_plan, read_structure_set};
use synthct_io::{describe, read_mask, read_volume};
use synthct_rt::PatientPosition;

use super::objects::TestResult;
use crate::test_data;

#[test]
fn a_thorax_plan_is_read() -> TestResult {
    let Some(data) = test_data("a_thorax_plan_is_read") else { return Ok(()) };
    let file = read_plan(&data.join("ct-thorax-rt/rtplan.dcm"))?;
    let plan = &file.plan;
    assert_eq!((plan.position, plan.n_fractions, plan.beams.len()), (PatientPosition::Hfs, Some(23), 7));
    assert!(plan.prescription.as_ref().is_some_and(|p| (p.dose_gy - 41.4).abs() < 1e-9));
    assert_eq!(file.notes.len(), 5, "{:?}", file.notes);
    let gantry: Vec<f64> = plan.beams.iter().map(|beam| beam.control_points[0].angles.gantry_deg).collect();
    assert_eq!(
        gantry.iter().map(|deg| deg.round() as i32).collect::<Vec<_>>(),
        [0, 51, 102, 153, 204, 255, 306]
    );
    let total: f64 = plan.beams.iter().map(|beam| beam.meterset_mu).sum();
    assert!((total - 1_105.559_858_236_489).abs() < 1e-6, "{total}");
    for beam in &plan.beams {
        assert_eq!(
            (beam.control_points.len(), beam.mlc.as_ref().map(synthct_rt::Mlc::n_pairs)),
            (166, Some(60))
        );
        assert_eq!(
            beam.segments(2.0).iter().filter(|part| part.sweep.is_some()).count(),
            165 - beam_stills(beam)
        );
    }
    Ok(())
}

/// Intervals with monitor units in which no leaf moves, and intervals without monitor units.
fn beam_stills(beam: &synthct_rt::Beam) -> usize {
    (beam.control_points.windows(2))
        .filter(|pair| {
            pair[0].leaves == pair[1].leaves || pair[1].meterset_fraction <= pair[0].meterset_fraction
        })
        .count()
}

#[test]
fn structures_of_a_thorax_have_the_volumes_of_their_masks() -> TestResult {
    let Some(data) = test_data("structures_of_a_thorax_have_the_volumes_of_their_masks") else {
        return Ok(());
    };
    let data = data.join("ct-thorax-rt");
    let file = read_structure_set(&data.join("rtstruct.dcm"))?;
    for (roi, mask) in [
        ("LUNGS", "common_lung"),
        ("LUNG_R", "rt_lung"),
        ("LUNG_L", "lt_lung"),
        ("HEART", "heart"),
        ("SPINALCORD", "cord"),
        ("GTVp", "gtv"),
        ("CTVp", "ctv"),
        ("PTV4140", "PTV_41.4"),
        ("LIVER", "liver"),
    ] {
        let expected = read_mask(&data.join(format!("masks/{mask}.nii.gz")))?;
        let found = file.structures.roi(roi)?.mask(expected.grid())?;
        let percent = 100.0 * (found.volume_cm3() / expected.volume_cm3() - 1.0);
        assert!(percent.abs() < 1.0, "{roi}: {percent:+.2} %");
        let dice = 2.0 * found.and(&expected)?.count() as f64 / (found.count() + expected.count()) as f64;
        assert!(dice > 0.98, "{roi}: Dice {dice:.4}");
    }
    Ok(())
}

#[test]
fn a_prostate_plan_and_its_structures_are_read() -> TestResult {
    let Some(data) = test_data("a_prostate_plan_and_its_structures_are_read") else { return Ok(()) };
    let data = data.join("rt-prostate-dose-dvh");
    let file = read_plan(&data.join("rtplan.dcm"))?;
    assert_eq!((file.plan.beams.len(), file.plan.n_fractions), (4, Some(23)));
    assert!(file.plan.prescription.as_ref().is_some_and(|p| (p.dose_gy - 46.0).abs() < 1e-9));
    assert!(file.plan.beams.iter().all(|beam| (beam.energy.nominal_mv - 15.0).abs() < 1e-9));
    let structures = read_structure_set(&data.join("rtstruct.dcm"))?.structures;
    assert_eq!(structures.rois.len(), 16);
    assert_eq!(structures.roi("BODY")?.interpreted_type.as_deref(), Some("EXTERNAL"));
    Ok(())
}

/// Planes of the eight patient positions against those that pymedphys expects, up to the sign of each axis.
///
/// pymedphys turns its axes with the patient, so that their signs are those of the standard (PS3.3 section C.7.6.2.1.1) for a
/// supine patient with the head first only; the closed forms are tested beside, in `doses`.
#[test]
fn dose_headers_of_eight_patient_positions_lie_where_they_say() -> TestResult {
    let Some(data) = test_data("dose_headers_of_eight_patient_positions_lie_where_they_say") else {
        return Ok(());
    };
    let folder = data.join("dose-engine-reference/rtdose_orientation_headers");
    let expected: BTreeMap<String, [Vec<f64>; 3]> =
        serde_json::from_slice(&std::fs::read(folder.join("expected_dicom_xyz.json"))?)?;
    assert_eq!(expected.len(), 8);
    for (position, expected) in &expected {
        let path = folder.join(format!("RD.DICOMORIENT.Dose_{position}_empty.dcm"));
        let info = describe(&path, &synthct_io::ReadOptions::default())?;
        let grid = info.grid.ok_or("a grid")?;
        let [ni, nj, nk] = grid.size_ijk();
        let corner = |i: usize, j: usize, k: usize| grid.point_of(VoxelIndex::new(i, j, k)).to_array();
        let (first, last) = (corner(0, 0, 0), corner(ni - 1, nj - 1, nk - 1));
        for (axis, planes) in expected.iter().enumerate() {
            let of = |ends: [f64; 2]| [ends[0].min(ends[1]), ends[0].max(ends[1])];
            let found = of([first[axis], last[axis]]);
            let off = |sign: f64| {
                let wanted = of([sign * planes[0], sign * planes[planes.len() - 1]]);
                std::iter::zip(found, wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
            };
            let is_same = off(1.0) < 1e-6 || (position != "HFS" && off(-1.0) < 1e-6);
            assert!(
                is_same,
                "{position} axis {axis}: {found:?}, not {} to {}",
                planes[0],
                planes[planes.len() - 1]
            );
            assert_eq!(
                planes.len(),
                [0, 1, 2]
                    .map(|of| {
                        if grid.direction().column(of)[axis].abs() > 0.5 { grid.size_ijk()[of] } else { 0 }
                    })
                    .iter()
                    .sum::<usize>()
            );
        }
    }
    Ok(())
}

#[test]
fn doses_of_planning_systems_have_their_maxima() -> TestResult {
    let Some(data) = test_data("doses_of_planning_systems_have_their_maxima") else { return Ok(()) };
    for (file, size, spacing, maximum) in [
        ("dose-engine-reference/raystation_watercube_wedge_rtdose.dcm", [75, 130, 60], 2.0, 1.96),
        ("dose-engine-reference/pinnacle_rtdose.dcm", [150, 90, 50], 2.5, 49.9),
    ] {
        let dose = read_volume(&data.join(file))?;
        assert_eq!(dose.grid().size_ijk(), size, "{file}");
        assert!(dose.grid().spacing_mm().iter().all(|mm| (mm - spacing).abs() < 1e-9), "{file}");
        let most = dose.as_slice().iter().fold(0.0_f32, |most, gy| most.max(*gy));
        assert!((f64::from(most) - maximum).abs() < 0.05, "{file}: {most}");
    }
    let plane = read_dose(&data.join("gamma-2d-agnew/HN_VMAT_Reference_1mmPx.dcm"))?;
    assert_eq!(plane.dose_gy.grid().size_ijk()[2], 1);
    Ok(())
}

/// Masks of a real patient as contours and back.
#[test]
fn masks_of_a_thorax_survive_as_contours() -> TestResult {
    let Some(data) = test_data("masks_of_a_thorax_survive_as_contours") else { return Ok(()) };
    let folder: &Path = &data.join("ct-thorax-rt/masks");
    for name in ["BODY", "common_lung", "heart-ptv", "CouchSurface"] {
        let mask: Mask = read_mask(&folder.join(format!("{name}.nii.gz")))?;
        let roi = synthct_rt::Roi::from_mask(1, name, &mask)?;
        let back = roi.mask(mask.grid())?;
        assert_eq!(back.count(), back.and(&mask)?.count(), "{name}");
        assert_eq!(back.count(), mask.count(), "{name}");
    }
    Ok(())
}
