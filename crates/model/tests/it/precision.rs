//! Training and prediction in bfloat16 beside 32-bit floats.

use std::ops::ControlFlow;

use synthct_image::Volume;
use synthct_model::candle_core::Device;
use synthct_model::{
    ModelPackage, OutsideBody, PredictOptions, Prediction, RunMode, TrainEvent, predict, train,
};
use synthct_nn::Precision;

use crate::TestResult;
use crate::heads::{body_mae, cases, small_config};

const BOTH: [Precision; 2] = [Precision::F32, Precision::Bf16];

fn predict_in(
    precision: Precision,
    package: &ModelPackage,
    mr: &[Volume<f32>],
) -> Result<Prediction, synthct_model::ModelError> {
    let options = PredictOptions {
        outside_body: OutsideBody::AsPredicted,
        keep_heads: true,
        precision,
        ..PredictOptions::standard()
    };
    predict(package, mr, &options, &Device::Cpu, &mut |_| ControlFlow::Continue(()))
}

/// The mean and the largest absolute difference.
fn differences(a: &Volume<f32>, b: &Volume<f32>) -> (f64, f64) {
    let each = || a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| f64::from((a - b).abs()));
    (each().sum::<f64>() / a.as_slice().len() as f64, each().fold(0.0, f64::max))
}

#[test]
fn a_network_learns_in_bfloat16_as_in_f32_and_predicts_the_same_within_30_hu() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (train_cases, validation, held_out) = (cases(&[0, 1, 3], 4)?, cases(&[2], 4)?, cases(&[4], 4)?);
    let mut config = small_config("3tn", 25)?;
    config.learning_rate = 1e-2;
    let mut curves = Vec::new();
    let mut packages = Vec::new();
    for precision in BOTH {
        config.precision = precision;
        let run = folder.path().join(precision.name());
        let (mut curve, mut said) = (Vec::new(), String::new());
        let mut watch = |event: &TrainEvent| {
            match event {
                TrainEvent::Started { computed_on, .. } => said.clone_from(computed_on),
                TrainEvent::EpochEnd { validation, .. } => curve.push(validation.total),
                _ => {}
            }
            ControlFlow::Continue(())
        };
        let _ = train(&train_cases, &validation, &config, &run, RunMode::New, &Device::Cpu, &mut watch)?;
        let package = ModelPackage::load(&run)?;
        let name = precision.name();
        assert!(said.starts_with("cpu, ") && said.ends_with(&format!(", {name}")), "{said}");
        assert_eq!(package.provenance().computed_on, said);
        assert_eq!(package.provenance().config.precision, precision);
        curves.push(curve);
        packages.push(package);
    }
    // The two part by rounding and then by chance: close in the first epochs (the step size is ten times the usual), equally good in the end.
    for epoch in 0..3 {
        let [single, brain] = [&curves[0], &curves[1]].map(|curve| curve[epoch]);
        assert!((single / brain - 1.0).abs() < 0.1, "epoch {}: {curves:?}", epoch + 1);
    }
    let [single, brain] =
        [&curves[0], &curves[1]].map(|curve| curve.iter().copied().fold(f64::MAX, f64::min));
    assert!(single < 0.15 * curves[0][0] && (single / brain - 1.0).abs() < 0.2, "{single}, {brain}");
    for package in &packages {
        let [single, brain] = BOTH.map(|precision| predict_in(precision, package, &held_out[0].mr));
        let (single, brain) = (single?, brain?);
        assert_eq!(single.computed_on.replace(", f32", ", bf16"), brain.computed_on);
        let [single_mae, brain_mae] = [&single.sct, &brain.sct].map(|sct| body_mae(&held_out[0], sct));
        assert!((single_mae - brain_mae).abs() < 2.0, "MAE {single_mae} HU in f32, {brain_mae} HU in bf16");
        // A voxel whose bone mask is at the threshold may be taken from the other head, so the largest says little.
        let (mean_hu, _) = differences(&single.sct, &brain.sct);
        assert!(mean_hu > 0.0 && mean_hu < 3.0, "{mean_hu} HU");
        let heads = |prediction: Prediction| -> Result<_, &'static str> {
            let heads = prediction.heads.ok_or("the heads were asked for")?;
            let (bone_hu, bone_mask) = (heads.bone_hu.ok_or("no bone")?, heads.bone_mask.ok_or("no mask")?);
            Ok([heads.whole_hu, bone_hu, bone_mask])
        };
        let limits = [("whole, HU", 30.0), ("bone, HU", 30.0), ("mask", 0.02)];
        for ((single, brain), (name, limit)) in heads(single)?.iter().zip(&heads(brain)?).zip(limits) {
            let (_, largest) = differences(single, brain);
            assert!(largest < limit, "{name}: {largest}");
        }
    }
    Ok(())
}
