//! Stopped, killed and resumed runs end as uninterrupted ones; other runs are refused.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use synthct_image::{Mask, Volume};
use synthct_model::candle_core::Device;
use synthct_model::{
    Case, ModelError, NormalizationMethod, OptimizerConfig, RunMode, TrainConfig, TrainEvent, TrainOutcome,
    Unobserved, train,
};
use synthct_nn::Precision;
use synthct_prep::{AugmentationConfig, NyulConfig};

use crate::TestResult;
use crate::heads::{cases, small_config};

/// The files whose bytes must not depend on interruptions or threads.
fn results(run: &Path) -> Result<Vec<Vec<u8>>, std::io::Error> {
    ["package/model.safetensors", "package/manifest.json", "metrics.csv", "checkpoint/latest.safetensors"]
        .map(|file| fs::read(run.join(file)))
        .into_iter()
        .collect()
}

pub(crate) fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

struct Setting {
    train: Vec<Case>,
    validation: Vec<Case>,
    config: TrainConfig,
}

impl Setting {
    /// Twelve slices in three steps an epoch, four epochs, a checkpoint after each step.
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let mut config = small_config("3tn", 4)?;
        config.checkpoint_every_steps = Some(1);
        config.normalization = NormalizationMethod::NyulInBody(NyulConfig {
            output_range: [-1.0, 1.0],
            ..NyulConfig::intensity_normalization()
        });
        config.augmentation = AugmentationConfig {
            rotation_probability: 0.7,
            rotation_deg: [0.0, 0.0, 10.0],
            scaling_probability: 0.7,
            scaling: 0.1,
            bias_field_probability: 0.7,
            bias_field: 0.3,
            gamma_probability: 0.7,
            gamma: 0.2,
            blur_probability: 0.5,
            blur_mm: 2.0,
            ..AugmentationConfig::mirror_and_noise()
        };
        Ok(Self { train: cases(&[0, 1, 3], 4)?, validation: cases(&[2], 2)?, config })
    }

    fn run(
        &self,
        run: &Path,
        mode: RunMode,
        mut on_event: impl FnMut(&TrainEvent) -> ControlFlow<()>,
    ) -> Result<TrainOutcome, ModelError> {
        train(
            &self.train,
            &self.validation,
            &self.config,
            run,
            mode,
            &Device::Cpu,
            &mut |event: &TrainEvent| on_event(event),
        )
    }
}

#[test]
fn interrupted_runs_end_as_uninterrupted_ones_bit_for_bit() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let setting = Setting::new()?;
    // What a kill leaves: the folder as it is in the middle of the run, before the next checkpoint, and after one.
    let mut copied = Ok(());
    let whole = setting.run(&path("whole"), RunMode::New, |event| {
        if copied.is_ok() {
            copied = match event {
                TrainEvent::Step { epoch: 1, step: 1, .. } => {
                    copy_folder(&path("whole"), &path("killed-early"))
                }
                TrainEvent::Step { epoch: 2, step: 3, .. } => {
                    copy_folder(&path("whole"), &path("killed-mid"))
                }
                TrainEvent::EpochEnd { epoch: 3, .. } => copy_folder(&path("whole"), &path("killed-late")),
                _ => Ok(()),
            };
        }
        ControlFlow::Continue(())
    })?;
    copied?;
    assert_eq!(whole, TrainOutcome::Finished);
    let expected = results(&path("whole"))?;

    let stopped = setting.run(&path("stopped"), RunMode::New, |event| match event {
        // The last step of an epoch, so that the resumed run begins with its end.
        TrainEvent::Step { epoch: 2, step: 3, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })?;
    assert_eq!(stopped, TrainOutcome::Stopped);
    // A kill between checkpoint and package leaves no package; a kill while writing leaves hidden files.
    fs::remove_dir_all(path("killed-late").join("package"))?;
    fs::write(path("killed-late").join("checkpoint").join(".latest.safetensors.x"), b"half")?;
    for name in ["stopped", "killed-early", "killed-mid", "killed-late"] {
        assert!(name == "killed-late" || results(&path(name)).ok().as_ref() != Some(&expected), "{name}");
        let mut n_steps = 0;
        let outcome = setting.run(&path(name), RunMode::Resume, |event| {
            n_steps += usize::from(matches!(event, TrainEvent::Step { .. }));
            ControlFlow::Continue(())
        })?;
        assert_eq!(outcome, TrainOutcome::Finished, "{name}");
        let expected_steps = match name {
            "stopped" => 6,
            "killed-early" => 12,
            "killed-mid" => 7,
            _ => 3,
        };
        assert_eq!(n_steps, expected_steps, "{name}");
        assert!(results(&path(name))? == expected, "{name} ends differently");
    }
    assert_eq!(
        fs::read_dir(path("killed-late").join("checkpoint"))?.count(),
        1,
        "the half-written file is gone"
    );
    // A finished run has nothing left to do and stays as it is.
    let again = setting.run(&path("whole"), RunMode::Resume, |event| {
        assert!(!matches!(event, TrainEvent::Step { .. }), "{event:?}");
        ControlFlow::Continue(())
    })?;
    assert_eq!(again, TrainOutcome::Finished);
    assert!(results(&path("whole"))? == expected);
    Ok(())
}

#[test]
fn every_optimizer_resumes_bit_for_bit() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut setting = Setting::new()?;
    setting.config.epochs = 2;
    setting.config.max_gradient_norm = Some(0.5);
    let mut weights = Vec::new();
    for name in OptimizerConfig::NAMES {
        setting.config.optimizer = OptimizerConfig::named(name).ok_or(name)?;
        let (whole, stopped) = (folder.path().join(name), folder.path().join(format!("{name}-stopped")));
        let _ = setting.run(&whole, RunMode::New, |_| ControlFlow::Continue(()))?;
        let outcome = setting.run(&stopped, RunMode::New, |event| match event {
            TrainEvent::Step { epoch: 1, step: 2, .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })?;
        assert_eq!(outcome, TrainOutcome::Stopped, "{name}");
        let _ = setting.run(&stopped, RunMode::Resume, |_| ControlFlow::Continue(()))?;
        assert!(results(&stopped)? == results(&whole)?, "{name} ends differently");
        weights.push(fs::read(whole.join("package/model.safetensors"))?);
    }
    assert!(weights[0] != weights[1] && weights[1] != weights[2], "the choice has an effect");
    Ok(())
}

#[test]
fn in_bfloat16_runs_resume_bit_for_bit_on_any_number_of_threads() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut setting = Setting::new()?;
    setting.config.epochs = 2;
    let go_on = |_: &TrainEvent| ControlFlow::Continue(());
    let single = folder.path().join("f32");
    let _ = setting.run(&single, RunMode::New, go_on)?;
    setting.config.precision = Precision::Bf16;
    let mut expected = None;
    for n_threads in [1, 2, 3] {
        let run = folder.path().join(n_threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
        let stopped = pool.install(|| {
            setting.run(&run, RunMode::New, |event| match event {
                // One thread goes through, the others are interrupted in different epochs.
                TrainEvent::Step { epoch, step: 2, .. } if *epoch + 1 == n_threads => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
        })?;
        assert_eq!(stopped == TrainOutcome::Stopped, n_threads > 1);
        let _ = pool.install(|| setting.run(&run, RunMode::Resume, go_on))?;
        let found = results(&run)?;
        assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{n_threads} threads differ from 1");
    }
    assert!(expected.ok_or("nothing ran")?[0] != results(&single)?[0], "the precision has an effect");
    Ok(())
}

#[test]
fn a_run_of_before_there_was_a_choice_of_optimizer_and_precision_resumes() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (whole, old) = (folder.path().join("whole"), folder.path().join("old"));
    let setting = Setting::new()?;
    let _ = setting.run(&whole, RunMode::New, |_| ControlFlow::Continue(()))?;
    let stop_at_start = |event: &TrainEvent| match event {
        TrainEvent::Started { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let _ = setting.run(&old, RunMode::New, stop_at_start)?;
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(old.join("config.json"))?)?;
    let fields = config.as_object_mut().ok_or("no object")?;
    for field in ["optimizer", "precision"] {
        assert!(fields.remove(field).is_some(), "no field `{field}`");
    }
    fs::write(old.join("config.json"), config.to_string())?;
    // Twice, so that a checkpoint is written and read with this configuration.
    for last_epoch in [1, 4] {
        let _ = setting.run(&old, RunMode::Resume, |event| match event {
            TrainEvent::EpochEnd { epoch, .. } if *epoch == last_epoch => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })?;
    }
    let weights = |run: &Path| fs::read(run.join("package/model.safetensors"));
    assert!(weights(&old)? == weights(&whole)?);
    Ok(())
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut setting = Setting::new()?;
    setting.config.epochs = 2;
    let mut expected = None;
    for n_threads in [1, 2, 3] {
        let run = folder.path().join(n_threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
        let outcome = pool.install(|| setting.run(&run, RunMode::New, |_| ControlFlow::Continue(())))?;
        assert_eq!(outcome, TrainOutcome::Finished);
        let found = results(&run)?;
        assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{n_threads} threads differ from 1");
    }
    Ok(())
}

#[test]
fn seeds_matter() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut setting = Setting::new()?;
    setting.config.epochs = 1;
    let mut weights = Vec::new();
    for seed in [1, 2] {
        setting.config.seed = seed;
        let run = folder.path().join(seed.to_string());
        let _ = setting.run(&run, RunMode::New, |_| ControlFlow::Continue(()))?;
        weights.push(fs::read(run.join("package/model.safetensors"))?);
    }
    assert!(weights[0] != weights[1]);
    Ok(())
}

#[test]
fn another_configuration_or_other_data_are_refused_and_named() -> TestResult {
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    let setting = Setting::new()?;
    let _ = setting.run(&run, RunMode::New, |event| match event {
        TrainEvent::Step { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })?;
    let again = setting.run(&run, RunMode::New, |_| ControlFlow::Continue(()));
    assert!(matches!(again, Err(ModelError::RunFolderNotEmpty { .. })), "{again:?}");

    let mut changed = Setting::new()?;
    changed.config.learning_rate = 0.25;
    if let synthct_model::Architecture::RoiNet(network) = &mut changed.config.architecture {
        network.dropout = 0.5;
    }
    changed.train[1].ct.as_mut_slice()[100] += 1.0;
    changed.validation[0].id = "someone-else".to_owned();
    let Err(ModelError::OtherRun { differences, .. }) =
        changed.run(&run, RunMode::Resume, |_| ControlFlow::Continue(()))
    else {
        return Err("another run was resumed".into());
    };
    for (difference, words) in differences.iter().zip([
        ["architecture.dropout", "0.1", "0.5"],
        ["learning_rate", "0.001", "0.25"],
        ["head-1", "data", "changed"],
        ["validation", "head-2", "someone-else"],
    ]) {
        assert!(words.iter().all(|word| difference.contains(word)), "{difference} lacks {words:?}");
    }
    assert_eq!(differences.len(), 4, "{differences:?}");

    let nowhere = setting.run(&folder.path().join("none"), RunMode::Resume, |_| ControlFlow::Continue(()));
    assert!(matches!(nowhere, Err(ModelError::NoRun { .. })), "{nowhere:?}");

    let checkpoint = run.join("checkpoint/latest.safetensors");
    let bytes = fs::read(&checkpoint)?;
    let mut flipped = bytes.clone();
    let last = flipped.len() - 3;
    flipped[last] ^= 1;
    for damaged in [&bytes[..bytes.len() - 10], &flipped, b"not a checkpoint"] {
        fs::write(&checkpoint, damaged)?;
        let resumed = setting.run(&run, RunMode::Resume, |_| ControlFlow::Continue(()));
        assert!(matches!(resumed, Err(ModelError::Checkpoint { .. })), "{resumed:?}");
    }
    Ok(())
}

#[test]
fn unusable_cases_are_refused_before_anything_is_written() -> TestResult {
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    let good = cases(&[0, 1, 2], 2)?;
    let config = small_config("3tn", 1)?;
    let check = |train_cases: &[Case], validation: &[Case], words: &[&str]| -> TestResult {
        let Err(error) =
            train(train_cases, validation, &config, &run, RunMode::New, &Device::Cpu, &mut Unobserved)
        else {
            return Err(format!("accepted; expected {words:?}").into());
        };
        let message = error.to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message} lacks {words:?}");
        assert!(!run.exists(), "something was written");
        Ok(())
    };
    check(&[], &good[2..], &["no training cases"])?;
    check(&good[..2], &[], &["no validation cases"])?;
    check(&good[..2], &good[1..], &["head-1", "twice", "training", "validation"])?;
    let mut bad = good[..2].to_vec();
    bad[0].mr[0].as_mut_slice()[5] = f32::NAN;
    bad[1].body = Mask::new(Volume::filled(bad[1].ct.grid(), false));
    check(&bad, &good[2..], &["head-0", "1 voxel(s)", "NaN", "head-1", "body mask is empty"])?;
    let mut bad = good[..2].to_vec();
    bad[0].mr = vec![good[0].mr[0].clone(); 2];
    bad[1].ct = cases(&[1], 3)?.remove(0).ct;
    check(&bad, &good[2..], &["2 MR image(s)", "1 channel(s)", "26×25×3", "26×25×2"])
}

#[test]
fn a_loss_that_is_not_finite_stops_and_names_the_batch() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut setting = Setting::new()?;
    // Steps this large drive every weight beyond what 32-bit floats hold.
    setting.config.learning_rate = 1e38;
    let outcome = setting.run(&folder.path().join("run"), RunMode::New, |_| ControlFlow::Continue(()));
    match outcome {
        Err(ModelError::LossNotFinite { epoch: 1, batch, .. }) => {
            assert!(
                batch.iter().all(|slice| slice.contains("head-") && slice.contains("slice")),
                "{batch:?}"
            );
            Ok(())
        }
        Err(ModelError::Checkpoint { what, .. }) if what.contains("infinite or NaN") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
