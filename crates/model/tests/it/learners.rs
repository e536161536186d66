//! Every kind of network: it learns, resumes to the same bits, and its stages and settings do what they say.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use synthct_image::Volume;
use synthct_model::candle_core::Device;
use synthct_model::{
    Architecture, Case, LearningRateSchedule, ModelError, ModelPackage, PackagedModel, RunMode, TrainConfig,
    TrainEvent, TrainOutcome, train,
};
use synthct_nn::{BackboneConfig, DiscriminatorConfig, UNetConfig};

use crate::TestResult;
use crate::heads::{body_mae, cases, predict_quietly, small_config, train_all};
use crate::resuming::copy_folder;

const KINDS: [&str; 3] = ["pix2pix", "cascade", "3tn-uncertainty"];

fn backbone() -> BackboneConfig {
    BackboneConfig::UNet(UNetConfig { filters: 4, depth: 2, residual_blocks: 1, dropout: 0.1 })
}

/// A network small enough for a test: slices of 32×32, in batches of four.
pub(crate) fn small(kind: &str, epochs: usize) -> Result<TrainConfig, ModelError> {
    let mut config = TrainConfig { size_multiple: 32, bias_correction: None, ..small_config(kind, epochs)? };
    match &mut config.architecture {
        Architecture::Pix2Pix(training) => {
            training.generator = backbone();
            training.discriminator = DiscriminatorConfig { filters: 4 };
        }
        Architecture::Cascade(training) => {
            training.segmentation = backbone();
            training.regression = backbone();
        }
        _ => {}
    }
    Ok(config)
}

/// Every file of a run but the split and the configuration, by name.
fn results(run: &Path) -> Result<Vec<(String, Vec<u8>)>, std::io::Error> {
    let mut files = Vec::new();
    let mut folders = vec![run.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.strip_prefix(run).unwrap_or(&path).display().to_string(), fs::read(path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[test]
fn every_kind_resumes_bit_for_bit_after_a_kill_at_any_step() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (learn, validate) = (cases(&[0, 1], 4)?, cases(&[2], 2)?);
    for kind in KINDS {
        let mut config = small(kind, 2)?;
        config.checkpoint_every_steps = Some(1);
        config.context_slices = 1;
        config.average_decay = Some(0.9);
        config.schedule = LearningRateSchedule::Cosine { final_factor: 0.1 };
        let path = |name: &str| folder.path().join(format!("{kind}-{name}"));
        let run = |path: &Path, mode, on_event: &mut dyn FnMut(&TrainEvent)| {
            let mut observer = |event: &TrainEvent| {
                on_event(event);
                ControlFlow::Continue(())
            };
            train(&learn, &validate, &config, path, mode, &Device::Cpu, &mut observer)
        };
        // What a kill leaves: the folder as it is after each step and each epoch.
        let (mut n_copies, mut copied) = (0, Ok(()));
        let outcome = run(&path("whole"), RunMode::New, &mut |event| {
            if copied.is_ok() && matches!(event, TrainEvent::Step { .. } | TrainEvent::EpochEnd { .. }) {
                copied = copy_folder(&path("whole"), &path(&n_copies.to_string()));
                n_copies += 1;
            }
        })?;
        copied?;
        assert_eq!(outcome, TrainOutcome::Finished);
        let n_stages = if kind == "cascade" { 2 } else { 1 };
        assert_eq!(n_copies, n_stages * 2 * (2 + 1), "{kind}");
        let expected = results(&path("whole"))?;
        for n in 0..n_copies {
            let outcome = run(&path(&n.to_string()), RunMode::Resume, &mut |_| ())?;
            assert_eq!(outcome, TrainOutcome::Finished);
            let found = results(&path(&n.to_string()))?;
            let differing: Vec<_> = std::iter::zip(&found, &expected).filter(|(a, b)| a != b).collect();
            assert!(
                found.len() == expected.len() && differing.is_empty(),
                "{kind} after event {n}: {:?}",
                differing.iter().map(|(a, _)| &a.0).collect::<Vec<_>>()
            );
        }
    }
    Ok(())
}

#[test]
fn every_kind_learns_and_its_package_comes_back() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (learn, validate, test) = (cases(&[0, 1, 3], 4)?, cases(&[2], 4)?, cases(&[4], 4)?.remove(0));
    for kind in KINDS {
        let mut config = small(kind, 20)?;
        config.learning_rate = 2e-3;
        if let Architecture::Pix2Pix(training) = &mut config.architecture {
            // A few dozen steps are too few for the discriminator to be of any help.
            training.l1_weight = 10.0;
            config.epochs = 40;
        }
        let package = train_all(&learn, &validate, &config, &folder.path().join(kind))?;
        let prediction = predict_quietly(&package, &test.mr)?;
        let mae = body_mae(&test, &prediction.sct);
        // The best single value has 343 HU.
        assert!(mae < 280.0, "{kind}: {mae} HU");
        let copy = folder.path().join(format!("{kind}-copy"));
        package.save(&copy)?;
        let again = predict_quietly(&ModelPackage::load(&copy)?, &test.mr)?;
        assert!(again.sct.as_slice() == prediction.sct.as_slice(), "{kind}");
        assert!(
            package
                .weights()
                .keys()
                .all(|name| !name.starts_with("discriminator") && !name.starts_with("loss"))
        );
    }
    Ok(())
}

#[test]
fn losses_are_logged_apart() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (learn, validate) = (cases(&[0], 4)?, cases(&[2], 4)?);
    for (kind, files) in [
        ("pix2pix", vec![("metrics.csv", vec!["l1", "adversarial", "discriminator"])]),
        (
            "3tn-uncertainty",
            vec![("metrics.csv", vec!["body", "bone_mask", "bone_hu", "log_variance_bone_hu"])],
        ),
        (
            "cascade",
            vec![
                ("segmentation/metrics.csv", vec!["bone_mask"]),
                ("regression/metrics.csv", vec!["body", "bone_hu"]),
            ],
        ),
    ] {
        let run = folder.path().join(kind);
        train_all(&learn, &validate, &small(kind, 2)?, &run)?;
        for (file, names) in files {
            let text = fs::read_to_string(run.join(file))?;
            let heading: Vec<&str> = text.lines().next().ok_or("no heading")?.split(',').collect();
            for name in names {
                assert!(heading.contains(&format!("validation_{name}").as_str()), "{kind}: {heading:?}");
            }
            assert_eq!(text.lines().count(), 3);
        }
    }
    Ok(())
}

#[test]
fn a_training_that_gets_no_better_stops_early() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (learn, validate) = (cases(&[0], 4)?, cases(&[2], 4)?);
    let mut config = small("pix2pix", 30)?;
    // The weights do not move, so that only the running statistics change, and they settle.
    config.learning_rate = 1e-30;
    config.early_stopping_epochs = Some(2);
    let mut epochs = Vec::new();
    let run = folder.path().join("run");
    let mut observer = |event: &TrainEvent| {
        if let TrainEvent::EpochEnd { epoch, best_epoch, .. } = event {
            epochs.push((*epoch, *best_epoch));
        }
        ControlFlow::Continue(())
    };
    let outcome = train(&learn, &validate, &config, &run, RunMode::New, &Device::Cpu, &mut observer)?;
    assert_eq!(outcome, TrainOutcome::Finished);
    let (last, best) = *epochs.last().ok_or("no epoch")?;
    assert!(last < 30 && last - best == 2, "{epochs:?}");
    assert!(epochs[..epochs.len() - 1].iter().all(|(epoch, best)| epoch - best < 2), "{epochs:?}");
    // There is nothing left to do when it is taken up again.
    let mut n_steps = 0;
    let mut observer = |event: &TrainEvent| {
        n_steps += usize::from(matches!(event, TrainEvent::Step { .. }));
        ControlFlow::Continue(())
    };
    let again = train(&learn, &validate, &config, &run, RunMode::Resume, &Device::Cpu, &mut observer)?;
    assert_eq!((again, n_steps), (TrainOutcome::Finished, 0));
    Ok(())
}

#[test]
fn an_average_without_memory_is_the_weights_and_one_with_memory_lags() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (learn, validate) = (cases(&[0], 4)?, cases(&[2], 4)?);
    let mut config = small("3tn-uncertainty", 1)?;
    let mut weights = Vec::new();
    for decay in [None, Some(0.0), Some(0.9)] {
        config.average_decay = decay;
        let run = folder.path().join(format!("{decay:?}"));
        train_all(&learn, &validate, &config, &run)?;
        weights.push(fs::read(run.join("package/model.safetensors"))?);
    }
    assert!(weights[0] == weights[1]);
    assert!(weights[0] != weights[2]);
    Ok(())
}

#[test]
fn the_schedule_has_an_effect_from_its_epoch_on() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (learn, validate) = (cases(&[0], 4)?, cases(&[2], 4)?);
    let mut config = small("3tn", 3)?;
    let mut rows = Vec::new();
    for schedule in [LearningRateSchedule::Constant, LearningRateSchedule::Linear { from_epoch: 2 }] {
        config.schedule = schedule;
        let run = folder.path().join(format!("{schedule:?}"));
        train_all(&learn, &validate, &config, &run)?;
        let text = fs::read_to_string(run.join("metrics.csv"))?;
        rows.push(text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(rows[0][..2], rows[1][..2]);
    assert_ne!(rows[0][2..], rows[1][2..]);
    Ok(())
}

#[test]
fn the_segmentation_of_a_cascade_is_exchangeable() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (learn, validate) = (cases(&[0], 4)?, cases(&[2], 4)?);
    let mut config = small("cascade", 1)?;
    let first = train_all(&learn, &validate, &config, &folder.path().join("first"))?;
    config.seed += 1;
    let second = train_all(&learn, &validate, &config, &folder.path().join("second"))?;
    let swapped = first.with_segmentation_of(&second)?;
    for (name, tensor) in swapped.weights() {
        let from = if name.starts_with("segmentation.") { &second } else { &first };
        let bits = |t: &synthct_model::candle_core::Tensor| t.flatten_all()?.to_vec1::<f32>();
        assert!(bits(tensor)? == bits(&from.weights()[name])?, "{name}");
    }
    assert_eq!(swapped.weights().len(), first.weights().len());
    let sct =
        |package: &ModelPackage| predict_quietly(package, &learn[0].mr).map(|prediction| prediction.sct);
    assert!(sct(&swapped)?.as_slice() != sct(&first)?.as_slice());
    let saved = folder.path().join("swapped");
    swapped.save(&saved)?;
    assert!(sct(&ModelPackage::load(&saved)?)?.as_slice() == sct(&swapped)?.as_slice());
    config.channels = vec!["t1w".to_owned()];
    let other = train_all(&learn, &validate, &config, &folder.path().join("other"))?;
    assert!(matches!(first.with_segmentation_of(&other), Err(ModelError::OtherStage { .. })));
    Ok(())
}

#[test]
fn several_channels_and_slices_are_told_apart() -> TestResult {
    let folder = tempfile::tempdir()?;
    // The second channel tells bone from air, which the first one shows alike.
    let with_two = |cases: Vec<Case>| -> Vec<Case> {
        let second = |case: &Case| case.ct.map(|hu| if *hu > 500.0 { 100.0 } else { 20.0 });
        cases.into_iter().map(|case| Case { mr: vec![case.mr[0].clone(), second(&case)], ..case }).collect()
    };
    let (learn, validate) = (with_two(cases(&[0, 1], 4)?), with_two(cases(&[2], 4)?));
    let test = with_two(cases(&[4], 4)?).remove(0);
    let mut config = small("cascade", 12)?;
    config.learning_rate = 2e-3;
    config.channels = vec!["t1w".to_owned(), "flair".to_owned()];
    config.context_slices = 1;
    let package = train_all(&learn, &validate, &config, &folder.path().join("run"))?;
    let PackagedModel::Cascade(network) = package.model() else {
        return Err("no cascade".into());
    };
    assert_eq!(network.in_channels, 6);
    let right = predict_quietly(&package, &test.mr)?.sct;
    let reversed: Vec<Volume<f32>> = test.mr.iter().rev().cloned().collect();
    let wrong = predict_quietly(&package, &reversed)?.sct;
    assert!(body_mae(&test, &right) < 0.6 * body_mae(&test, &wrong));
    assert!(matches!(predict_quietly(&package, &test.mr[..1]), Err(ModelError::ChannelCount { .. })));
    Ok(())
}
