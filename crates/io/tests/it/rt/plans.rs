//! Plans as they are read.

#![expect(clippy::float_cmp, reason = "decimal strings have exact values")]

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use synthct_image::PointLps;
use synthct_io::dicom::{PlanFile, read_plan};
use synthct_rt::{Jaws, MlcAxis, PatientPosition};

use super::objects::{Set, TestResult, beam, plan, position};
use crate::with_causes;

const BEAM: [(dicom_core::Tag, usize); 1] = [(tags::BEAM_SEQUENCE, 0)];
const FIRST: [(dicom_core::Tag, usize); 2] = [(tags::BEAM_SEQUENCE, 0), (tags::CONTROL_POINT_SEQUENCE, 0)];
const LAST: [(dicom_core::Tag, usize); 2] = [(tags::BEAM_SEQUENCE, 0), (tags::CONTROL_POINT_SEQUENCE, 1)];

fn read(set: &Set) -> Result<PlanFile, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rp.dcm");
    set.write(&path)?;
    Ok(read_plan(&path)?)
}

#[test]
fn a_static_beam_is_read_whole() -> TestResult {
    let file = read(&plan())?;
    let plan = &file.plan;
    assert_eq!(
        (plan.label.as_str(), plan.position, plan.n_fractions),
        ("test", PatientPosition::Ffp, Some(30))
    );
    let prescription = plan.prescription.as_ref().ok_or("a prescription")?;
    assert_eq!((prescription.dose_gy, prescription.target_roi), (60.0, Some(4)));
    assert_eq!(file.frame_of_reference_uid.as_deref(), Some("1.2.3.5"));
    assert_eq!(file.sop_instance_uid, "1.2.3.9");
    assert!(file.notes.is_empty(), "{:?}", file.notes);
    let [beam] = plan.beams.as_slice() else { return Err("one beam".into()) };
    assert_eq!((beam.number, beam.name.as_str(), beam.meterset_mu), (3, "anterior", 123.5));
    assert_eq!((beam.energy.nominal_mv, beam.energy.flattening_filter_free), (6.0, false));
    assert_eq!(beam.isocenter_lps, PointLps::new(1.5, -2.5, 30.25));
    let mlc = beam.mlc.as_ref().ok_or("leaves")?;
    assert_eq!((mlc.axis, mlc.boundaries_mm.as_slice()), (MlcAxis::X, &[-10.0, 0.0, 15.0][..]));
    let [first, last] = beam.control_points.as_slice() else { return Err("two control points".into()) };
    assert_eq!((first.meterset_fraction, last.meterset_fraction), (0.0, 1.0));
    for point in [first, last] {
        let angles = point.angles;
        assert_eq!((angles.gantry_deg, angles.collimator_deg, angles.couch_deg), (350.0, 10.0, 5.0));
        assert_eq!(point.jaws, Jaws { x_mm: [-30.0, 45.5], y_mm: [-20.0, 20.0] });
        let leaves = point.leaves.as_ref().ok_or("leaves")?;
        // The first half of the positions is one bank, the second half the other.
        assert_eq!(
            (leaves.low_mm.as_slice(), leaves.high_mm.as_slice()),
            (&[-5.0, -6.0][..], &[7.0, 8.0][..])
        );
    }
    Ok(())
}

/// A control point with a weight, and what else it says.
fn point(index: i32, weight: f64) -> Set {
    Set::new().int(tags::CONTROL_POINT_INDEX, index).numbers(tags::CUMULATIVE_METERSET_WEIGHT, &[weight])
}

fn with_points(points: Vec<Set>) -> Set {
    let n = points.len() as i32;
    let first = |beam: Set| {
        let item =
            beam.0.element(tags::CONTROL_POINT_SEQUENCE).ok().and_then(|e| e.items().map(|i| i[0].clone()));
        let all = item.into_iter().map(Set).chain(points).collect();
        beam.items(tags::CONTROL_POINT_SEQUENCE, all).int(tags::NUMBER_OF_CONTROL_POINTS, n + 1)
    };
    plan().change(&BEAM, first)
}

#[test]
fn control_points_inherit_what_they_leave_out() -> TestResult {
    let moved = |kind: &str, positions: &[f64]| vec![position(kind, positions)];
    let device = tags::BEAM_LIMITING_DEVICE_POSITION_SEQUENCE;
    let file = read(&with_points(vec![
        point(1, 0.5).items(device, moved("MLCX", &[0.0, 1.0, 7.5, 8.5])),
        // A step of step and shoot: the aperture changes, the weight does not.
        point(2, 0.5).items(device, moved("ASYMX", &[-10.0, 12.0])),
        point(3, 2.0).items(device, moved("Y", &[-1.0, 2.0])),
    ]))?;
    let points = &file.plan.beams[0].control_points;
    let fractions: Vec<f64> = points.iter().map(|p| p.meterset_fraction).collect();
    assert_eq!(fractions, [0.0, 0.25, 0.25, 1.0]);
    let x: Vec<[f64; 2]> = points.iter().map(|p| p.jaws.x_mm).collect();
    assert_eq!(x, [[-30.0, 45.5], [-30.0, 45.5], [-10.0, 12.0], [-10.0, 12.0]]);
    let y: Vec<[f64; 2]> = points.iter().map(|p| p.jaws.y_mm).collect();
    assert_eq!(y, [[-20.0, 20.0], [-20.0, 20.0], [-20.0, 20.0], [-1.0, 2.0]]);
    let low: Vec<f64> = points.iter().filter_map(|p| p.leaves.as_ref()).map(|l| l.low_mm[1]).collect();
    assert_eq!(low, [-6.0, 1.0, 1.0, 1.0]);
    // Everything is delivered: an interval without monitor units gives no part.
    let segments = file.plan.beams[0].segments(2.0);
    assert_eq!(segments.len(), 2);
    assert!((segments.iter().map(|s| s.meterset_mu).sum::<f64>() - 123.5).abs() < 1e-9);
    Ok(())
}

#[test]
fn arcs_turn_the_way_they_say() -> TestResult {
    let gantry =
        |points: &[(f64, f64, Option<&str>)], first: &str| -> Result<Vec<f64>, Box<dyn std::error::Error>> {
            let points = points.iter().enumerate().map(|(n, (weight, angle, direction))| {
                let point = point(n as i32 + 1, *weight).numbers(tags::GANTRY_ANGLE, &[*angle]);
                match direction {
                    Some(direction) => point.cs(tags::GANTRY_ROTATION_DIRECTION, direction),
                    None => point,
                }
            });
            let set = with_points(points.collect())
                .change(&FIRST, |p| p.cs(tags::GANTRY_ROTATION_DIRECTION, first));
            Ok(read(&set)?.plan.beams[0].control_points.iter().map(|p| p.angles.gantry_deg).collect())
        };
    // From 350° through 0°, the direction inherited.
    assert_eq!(gantry(&[(1.0, 20.0, None), (2.0, 200.0, Some("NONE"))], "CW")?, [350.0, 380.0, 560.0]);
    // The other way, through 180°.
    assert_eq!(gantry(&[(1.0, 20.0, None), (2.0, 10.0, None)], "CC")?, [350.0, 20.0, 10.0]);
    // Back and forth.
    assert_eq!(gantry(&[(1.0, 0.0, Some("CC")), (2.0, 340.0, None)], "CW")?, [350.0, 360.0, 340.0]);
    // A move without monitor units needs no direction.
    assert_eq!(gantry(&[(0.0, 90.0, None), (2.0, 90.0, None)], "NONE")?, [350.0, 90.0, 90.0]);
    let error = gantry(&[(2.0, 20.0, None)], "NONE").expect_err("no direction").to_string();
    assert!(error.contains("(300A,011F)") && error.contains("while the beam is on"), "{error}");
    // The couch turns counterclockwise with growing angles, the gantry clockwise.
    let set = with_points(vec![point(1, 2.0).numbers(tags::PATIENT_SUPPORT_ANGLE, &[355.0])])
        .change(&FIRST, |p| p.cs(tags::PATIENT_SUPPORT_ROTATION_DIRECTION, "CW"));
    assert_eq!(read(&set)?.plan.beams[0].control_points[1].angles.couch_deg, -5.0);
    Ok(())
}

#[test]
fn devices_of_other_machines_are_read() -> TestResult {
    // Leaves along y, no Y jaws, FFF.
    let mlc = Set::new()
        .cs(tags::RT_BEAM_LIMITING_DEVICE_TYPE, "MLCY")
        .int(tags::NUMBER_OF_LEAF_JAW_PAIRS, 2)
        .numbers(tags::LEAF_POSITION_BOUNDARIES, &[-10.0, 0.0, 15.0]);
    let x = Set::new().cs(tags::RT_BEAM_LIMITING_DEVICE_TYPE, "X").int(tags::NUMBER_OF_LEAF_JAW_PAIRS, 1);
    let mode = Set::new().cs(tags::FLUENCE_MODE, "NON_STANDARD").text(tags::FLUENCE_MODE_ID, VR::SH, "FFF");
    let set = plan()
        .change(&BEAM, |b| {
            b.items(tags::BEAM_LIMITING_DEVICE_SEQUENCE, vec![x, mlc])
                .items(tags::PRIMARY_FLUENCE_MODE_SEQUENCE, vec![mode])
        })
        .change(&FIRST, |p| {
            let positions = vec![position("X", &[-30.0, 45.5]), position("MLCY", &[-5.0, -6.0, 7.0, 8.0])];
            p.items(tags::BEAM_LIMITING_DEVICE_POSITION_SEQUENCE, positions)
        });
    let file = read(&set)?;
    let beam = &file.plan.beams[0];
    assert_eq!(beam.mlc.as_ref().map(|mlc| mlc.axis), Some(MlcAxis::Y));
    assert!(beam.energy.flattening_filter_free);
    assert_eq!(beam.control_points[0].jaws.y_mm, [-200.0, 200.0]);
    assert!(file.notes.iter().any(|note| note.contains("no Y jaws")), "{:?}", file.notes);
    Ok(())
}

#[test]
fn beams_that_treat_nothing_are_left_out_and_said() -> TestResult {
    let portal = beam(4).cs(tags::TREATMENT_DELIVERY_TYPE, "OPEN_PORTFILM");
    let set = plan().items(tags::BEAM_SEQUENCE, vec![portal, beam(3), beam(5)]);
    let file = read(&set)?;
    assert_eq!(file.plan.beams.len(), 1);
    assert!(
        file.notes[0].contains("OPEN_PORTFILM") && file.notes[1].contains("no meterset"),
        "{:?}",
        file.notes
    );
    Ok(())
}

#[track_caller]
fn refused(set: &Set, expected: &[&str]) -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rp.dcm");
    set.write(&path)?;
    let message = with_causes(&read_plan(&path).expect_err("a refusal"));
    for part in expected.iter().chain(&["rp.dcm"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    Ok(())
}

#[test]
fn what_a_plan_has_no_place_for_is_refused_by_name() -> TestResult {
    let of_beam = |change: &dyn Fn(Set) -> Set| plan().change(&BEAM, change);
    for particle in ["ELECTRON", "PROTON", "ION", "NEUTRON"] {
        refused(
            &of_beam(&|b| b.cs(tags::RADIATION_TYPE, particle)),
            &["`anterior`", particle, "(300A,00C6)"],
        )?;
    }
    refused(&of_beam(&|b| b.int(tags::NUMBER_OF_WEDGES, 1)), &["wedge", "(300A,00D1)"])?;
    refused(&of_beam(&|b| b.int(tags::NUMBER_OF_BLOCKS, 2)), &["block", "(300A,00F4)"])?;
    refused(&of_beam(&|b| b.int(tags::NUMBER_OF_COMPENSATORS, 1)), &["compensator"])?;
    refused(&of_beam(&|b| b.int(tags::NUMBER_OF_BOLI, 1)), &["bolus"])?;
    refused(&of_beam(&|b| b.items(tags::APPLICATOR_SEQUENCE, vec![Set::new()])), &["applicator"])?;
    refused(&of_beam(&|b| b.cs(tags::PRIMARY_DOSIMETER_UNIT, "MINUTE")), &["MINUTE"])?;
    let mode =
        || Set::new().cs(tags::FLUENCE_MODE, "NON_STANDARD").text(tags::FLUENCE_MODE_ID, VR::SH, "SRS");
    refused(
        &of_beam(&|b| b.items(tags::PRIMARY_FLUENCE_MODE_SEQUENCE, vec![mode()])),
        &["SRS", "(3002,0051)"],
    )?;
    let layer = |kind: &str| {
        let list = [kind, "MLCX2"].map(|kind| Set::new().cs(tags::RT_BEAM_LIMITING_DEVICE_TYPE, kind));
        of_beam(&|b| b.items(tags::BEAM_LIMITING_DEVICE_SEQUENCE, list.to_vec()))
    };
    refused(&layer("X"), &["MLCX2"])?;
    refused(
        &plan().change(&FIRST, |p| p.float(tags::TABLE_TOP_PITCH_ANGLE, 1.5)),
        &["pitch", "(300A,0140)"],
    )?;
    refused(
        &plan().change(&LAST, |p| p.numbers(tags::ISOCENTER_POSITION, &[1.5, -2.5, 40.0])),
        &["isocenter that moves"],
    )?;
    refused(
        &plan().change(&LAST, |p| p.numbers(tags::NOMINAL_BEAM_ENERGY, &[10.0])),
        &["energy that changes"],
    )?;
    let group = |n: i32| Set::new().int(tags::FRACTION_GROUP_NUMBER, n);
    refused(&plan().items(tags::FRACTION_GROUP_SEQUENCE, vec![group(1), group(2)]), &["2 fraction groups"])?;
    refused(&plan().items(tags::APPLICATION_SETUP_SEQUENCE, vec![Set::new()]), &["brachytherapy"])?;
    refused(&plan().uid(tags::SOP_CLASS_UID, uids::RT_ION_PLAN_STORAGE), &["RT Ion Plan"])?;
    Ok(())
}

#[test]
fn a_fluence_written_as_a_compensator_is_none() -> TestResult {
    let with = |compensator: Set| {
        plan().change(&BEAM, |b| {
            b.int(tags::NUMBER_OF_COMPENSATORS, 1).items(tags::COMPENSATOR_SEQUENCE, vec![compensator])
        })
    };
    let fluence = || Set::new().text(tags::MATERIAL_ID, VR::SH, "");
    read(&with(fluence().cs(tags::COMPENSATOR_TYPE, "OPTIMAL")))?;
    refused(&with(fluence()), &["compensator"])?;
    refused(&with(fluence().cs(tags::COMPENSATOR_TYPE, "STANDARD")), &["compensator"])?;
    refused(
        &with(Set::new().text(tags::MATERIAL_ID, VR::SH, "brass").cs(tags::COMPENSATOR_TYPE, "OPTIMAL")),
        &["compensator"],
    )
}

#[test]
fn wedges_that_stay_out_do_not_matter() -> TestResult {
    let wedge = |place: &str| vec![Set::new().cs(tags::WEDGE_POSITION, place)];
    let with = |place: &str| {
        plan()
            .change(&BEAM, |b| b.int(tags::NUMBER_OF_WEDGES, 1).items(tags::WEDGE_SEQUENCE, vec![Set::new()]))
            .change(&FIRST, |p| p.items(tags::WEDGE_POSITION_SEQUENCE, wedge(place)))
    };
    read(&with("OUT"))?;
    refused(&with("IN"), &["wedge"])
}

#[test]
fn wrong_plans_name_file_attribute_and_fix() -> TestResult {
    let device = tags::BEAM_LIMITING_DEVICE_POSITION_SEQUENCE;
    refused(&plan().without(tags::FRACTION_GROUP_SEQUENCE), &["(300A,0070)", "export it with"])?;
    refused(&plan().without(tags::BEAM_SEQUENCE), &["(300A,00B0)"])?;
    refused(&plan().without(tags::PATIENT_SETUP_SEQUENCE), &["(300A,0180)", "patient setup"])?;
    refused(
        &plan().change(&[(tags::PATIENT_SETUP_SEQUENCE, 0)], |s| s.cs(tags::PATIENT_POSITION, "SITTING")),
        &["(0018,5100)", "SITTING", "HFS"],
    )?;
    refused(&plan().change(&BEAM, |b| b.int(tags::REFERENCED_PATIENT_SETUP_NUMBER, 2)), &["(300C,006A)"])?;
    refused(&plan().change(&FIRST, |p| p.without(tags::GANTRY_ANGLE)), &["(300A,011E)"])?;
    refused(&plan().change(&FIRST, |p| p.without(tags::ISOCENTER_POSITION)), &["(300A,012C)"])?;
    refused(&plan().change(&FIRST, |p| p.without(device)), &["(300A,011A)", "`ASYMX`"])?;
    refused(
        &plan().change(&FIRST, |p| p.items(device, vec![position("MLCX", &[1.0; 6])])),
        &["(300A,011C)", "6 positions, not 4"],
    )?;
    refused(
        &plan().change(&FIRST, |p| p.items(device, vec![position("MLCY", &[1.0; 4])])),
        &["`MLCY` is not in the beam's"],
    )?;
    refused(
        &plan().change(&BEAM, |b| b.int(tags::NUMBER_OF_CONTROL_POINTS, 2_000_000_000)),
        &["announces 2000000000 control points, but has 2"],
    )?;
    refused(
        &plan().change(&BEAM, |b| b.numbers(tags::FINAL_CUMULATIVE_METERSET_WEIGHT, &[0.0])),
        &["(300A,010E)"],
    )?;
    refused(
        &plan().change(&BEAM, |b| b.numbers(tags::FINAL_CUMULATIVE_METERSET_WEIGHT, &[4.0])),
        &["from 0 to 0.5"],
    )?;
    refused(
        &plan().change(&[(tags::BEAM_SEQUENCE, 0), (tags::BEAM_LIMITING_DEVICE_SEQUENCE, 2)], |d| {
            d.int(tags::NUMBER_OF_LEAF_JAW_PAIRS, 60)
        }),
        &["(300A,00BE)", "3 boundaries do not fit 60"],
    )?;
    refused(
        &plan().change(&[(tags::FRACTION_GROUP_SEQUENCE, 0)], |g| g.without(tags::REFERENCED_BEAM_SEQUENCE)),
        &["no meterset"],
    )?;
    refused(
        &plan()
            .change(&[(tags::FRACTION_GROUP_SEQUENCE, 0)], |g| g.int(tags::NUMBER_OF_FRACTIONS_PLANNED, 0)),
        &["(300A,0078)"],
    )?;
    Ok(())
}
