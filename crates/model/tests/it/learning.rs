//! A network learns what a single voxel does not tell.

use std::ops::ControlFlow;

use synthct_model::candle_core::Device;
use synthct_model::{RunMode, TrainEvent, train};

use crate::TestResult;
use crate::heads::{body_mae, cases, predict_quietly, small_config, train_all};

#[test]
fn a_network_beats_both_baselines_where_context_is_needed() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (train_cases, validation, held_out) = (cases(&[0, 1, 3], 4)?, cases(&[2], 4)?, cases(&[4], 4)?);
    let mut losses = Vec::new();
    let mut config = small_config("3tn", 40)?;
    config.learning_rate = 1e-2;
    let run = folder.path().join("3tn");
    let _ = train(
        &train_cases,
        &validation,
        &config,
        &run,
        RunMode::New,
        &Device::Cpu,
        &mut |event: &TrainEvent| {
            if let TrainEvent::EpochEnd { validation, .. } = event {
                losses.push(validation.total);
            }
            ControlFlow::Continue(())
        },
    )?;
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(best < 0.5 * losses[0], "validation losses {losses:?}");
    let package = synthct_model::ModelPackage::load(&run)?;
    let network = body_mae(&held_out[0], &predict_quietly(&package, &held_out[0].mr)?.sct);
    for preset in ["regression", "bulk-density"] {
        let package = train_all(&train_cases, &[], &small_config(preset, 1)?, &folder.path().join(preset))?;
        let baseline = body_mae(&held_out[0], &predict_quietly(&package, &held_out[0].mr)?.sct);
        assert!(network < 0.7 * baseline, "3tn {network:.1} HU, {preset} {baseline:.1} HU");
    }
    Ok(())
}

#[test]
fn every_variant_trains_and_predicts_its_heads() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (train_cases, validation) = (cases(&[0], 2)?, cases(&[1], 2)?);
    for (preset, columns, n_heads) in [
        ("3tn", "epoch,train_total,train_body,train_bone_mask,train_bone_hu,validation_total,", 3),
        ("2tn", "epoch,train_total,train_body,train_bone_hu,validation_total,", 2),
        ("1tn-fl", "epoch,train_total,train_body,validation_total,", 1),
        ("1tn-gl", "epoch,train_total,train_whole,validation_total,", 1),
    ] {
        let run = folder.path().join(preset);
        let package = train_all(&train_cases, &validation, &small_config(preset, 1)?, &run)?;
        let metrics = std::fs::read_to_string(run.join("metrics.csv"))?;
        assert!(metrics.starts_with(columns), "{preset}: {metrics}");
        assert_eq!(metrics.lines().count(), 2, "{preset}: {metrics}");
        let options =
            synthct_model::PredictOptions { keep_heads: true, ..synthct_model::PredictOptions::standard() };
        let prediction =
            synthct_model::predict(&package, &train_cases[0].mr, &options, &Device::Cpu, &mut |_| {
                ControlFlow::Continue(())
            })?;
        let heads = prediction.heads.ok_or("the heads were asked for")?;
        let found = 1 + usize::from(heads.bone_hu.is_some()) + usize::from(heads.bone_mask.is_some());
        assert_eq!(found, n_heads, "{preset}");
    }
    Ok(())
}
