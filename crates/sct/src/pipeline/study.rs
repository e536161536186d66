//! A study: several methods, seeds and folds on one cohort, from its file to its tables.

mod config;
mod fold;
mod page;
mod results;

pub use config::{ArmConfig, StudyArm, StudyCohort, StudyConfig, StudySplit, StudyUncertainty};
pub use fold::{Fold, StudyCase, folds};
pub use results::{CaseRecord, Comparison, StudyRecord, StudySummary};

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Device;
use synthct_eval::{evaluate_sct, reliability};
use synthct_io::{OutputType, read_volume, write_volume};
use synthct_model::{
    Case, ModelPackage, PredictOptions, RunMode, TrainConfig, TrainEvent, TrainOutcome, device_kind, predict,
    train,
};

use super::{Observer, PipelineError, find_cases, load_case, write_json, write_text};
use results::{Finished, identities};

/// Bins of the reliability table.
const N_RELIABILITY_BINS: usize = 10;

/// What a study leaves.
#[derive(Clone, Debug)]
pub struct StudyOutcome {
    /// The page to look at.
    pub report: PathBuf,
    /// Every number as JSON.
    pub summary: PathBuf,
    /// The same numbers.
    pub numbers: StudySummary,
}

/// Trains every arm of a study with every seed in every fold, tries each on its held-out cases, and writes `report.html` and
/// `summary.json` into `out`.
///
/// Below `out` every fold, arm and seed has a folder `<fold>/<arm>/seed-<seed>` with the training run and, for each held-out
/// case, its figures and synthetic CT.
/// What is complete is kept: a study that was stopped or killed goes on where it was, to the same numbers, and a finished arm
/// is not run again. Arms, seeds and cohorts may be added to the file later.
/// Relative cohort folders are taken from `base`.
///
/// # Errors
/// [`PipelineError::Study`] with everything that is wrong in the file or does not fit the cohorts, before anything is
/// trained; [`PipelineError::OtherConfiguration`] if `out` holds an arm of one name that was trained or tried in another way
/// or on other data; [`PipelineError::Stopped`] if the observer asked for it; else the error of the step that failed.
pub fn study(
    config: &StudyConfig,
    base: &Path,
    out: &Path,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<StudyOutcome, PipelineError> {
    let arms = config.arm_configs()?;
    let cohort = list_cases(config, base)?;
    let folds = folds(&config.split, &cohort)?;
    fs::create_dir_all(out).map_err(PipelineError::file(out))?;
    write_json(&out.join("study.json"), config)?;

    let mut records = Vec::new();
    let mut computed_on = BTreeMap::new();
    let mut loaded = Loaded::default();
    for fold in &folds {
        for (arm, arm_config) in config.arms.iter().zip(&arms) {
            for &seed in &config.seeds {
                let place = Place { fold, arm, seed, folder: folder(out, fold, arm, seed) };
                let train_config = TrainConfig { seed, ..arm_config.train.clone() };
                loaded.load(&cohort, fold, &train_config.channels, base, config, observer)?;
                let on = run(&place, &train_config, &loaded, device, observer)?;
                computed_on.insert(arm.name.clone(), on);
                for case in &loaded.test {
                    let group = group_of(&cohort, &case.id);
                    records.push(place.record(case, group)?);
                }
            }
        }
    }

    observer.stage("report", None);
    let numbers = StudySummary::new(config, records, computed_on, device_kind(device));
    let (report, summary) = (out.join("report.html"), out.join("summary.json"));
    write_json(&summary, &numbers)?;
    let pictures = first_pictures(config, &folds[0], out, &loaded, &cohort, base, observer)?;
    write_text(&report, &page::study_page(config, &cohort, &folds, &numbers, pictures.as_ref())?)?;
    Ok(StudyOutcome { report, summary, numbers })
}

/// One arm with one seed in one fold.
struct Place<'a> {
    fold: &'a Fold,
    arm: &'a StudyArm,
    seed: u64,
    folder: PathBuf,
}

impl Place<'_> {
    fn name(&self) -> String {
        format!("{}, {}, seed {}", self.arm.name, self.fold.name, self.seed)
    }

    fn case_folder(&self, id: &str) -> PathBuf {
        self.folder.join("cases").join(id)
    }

    fn record(&self, case: &Case, group: String) -> Result<StudyRecord, PipelineError> {
        let path = self.case_folder(&case.id).join(RECORD);
        let text = fs::read(&path).map_err(PipelineError::file(&path))?;
        let record: CaseRecord =
            serde_json::from_slice(&text).map_err(|error| PipelineError::file(&path)(error.into()))?;
        Ok(StudyRecord {
            arm: self.arm.name.clone(),
            fold: self.fold.name.clone(),
            seed: self.seed,
            id: case.id.clone(),
            group,
            record,
        })
    }
}

const RECORD: &str = "figures.json";
const SCT: &str = "sct.nii.gz";
const FINISHED: &str = "finished.json";

fn folder(out: &Path, fold: &Fold, arm: &StudyArm, seed: u64) -> PathBuf {
    out.join(&fold.name).join(&arm.name).join(format!("seed-{seed}"))
}

/// Trains and tries one arm, as far as that is not done; says what its training computed on.
fn run(
    place: &Place<'_>,
    config: &TrainConfig,
    cases: &Loaded,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<String, PipelineError> {
    let done = place.folder.join(FINISHED);
    let expected = Finished {
        config: config.clone(),
        uncertainty: place.arm.uncertainty,
        train: identities(&cases.train),
        validation: identities(&cases.validation),
        test: identities(&cases.test),
        computed_on: String::new(),
    };
    if done.exists() {
        let found = read_finished(&done)?;
        if !found.is_same(&expected) {
            return Err(PipelineError::OtherConfiguration { path: done });
        }
        return Ok(found.computed_on);
    }
    observer.stage(&format!("train {}", place.name()), None);
    let path = place.folder.join("run");
    let mode = if path.join("config.json").exists() { RunMode::Resume } else { RunMode::New };
    let mut events = |event: &TrainEvent| observer.training(event);
    match train(&cases.train, &cases.validation, config, &path, mode, device, &mut events)? {
        TrainOutcome::Finished => {}
        TrainOutcome::Stopped => return Err(PipelineError::Stopped),
    }
    let package = ModelPackage::load(&path)?;
    observer.stage(&format!("predict {}", place.name()), Some(cases.test.len()));
    for case in &cases.test {
        let folder = place.case_folder(&case.id);
        // A case's folder is renamed when it is complete. Without the arm's own mark it may be of an earlier version of the
        // run, so it is made again: that costs less than a training.
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(PipelineError::file(&folder))?;
        }
        try_case(&package, place, config, case, device, &folder)?;
        if observer.done(1).is_break() {
            return Err(PipelineError::Stopped);
        }
    }
    let computed_on = package.provenance().computed_on.clone();
    write_json(&done, &Finished { computed_on: computed_on.clone(), ..expected })?;
    Ok(computed_on)
}

fn try_case(
    package: &ModelPackage,
    place: &Place<'_>,
    config: &TrainConfig,
    case: &Case,
    device: &Device,
    folder: &Path,
) -> Result<(), PipelineError> {
    let StudyUncertainty { mirror, dropout_samples } = place.arm.uncertainty;
    let options = PredictOptions {
        precision: config.precision,
        mirror,
        dropout_samples,
        seed: place.seed,
        ..PredictOptions::standard()
    };
    let prediction = predict(package, &case.mr, &options, device, &mut |_| ControlFlow::Continue(()))?;
    for warning in &prediction.warnings {
        tracing::warn!("{}, {}: {warning}", place.name(), case.id);
    }
    let metrics = evaluate_sct(&case.ct, &prediction.sct, &case.body)?;
    let reliability = prediction
        .uncertainty_hu
        .as_ref()
        .map(|sd| reliability(&case.ct, &prediction.sct, sd, &case.body, N_RELIABILITY_BINS))
        .transpose()?;
    let parent = folder.parent().unwrap_or(folder);
    let aside = parent.join(format!(".{}.partial", case.id));
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(PipelineError::file(&aside))?;
    }
    fs::create_dir_all(&aside).map_err(PipelineError::file(&aside))?;
    write_volume(&aside.join(SCT), &prediction.sct, OutputType::I16)?;
    write_json(&aside.join(RECORD), &CaseRecord { metrics, reliability })?;
    fs::rename(&aside, folder).map_err(PipelineError::file(folder))
}

fn read_finished(path: &Path) -> Result<Finished, PipelineError> {
    let text = fs::read(path).map_err(PipelineError::file(path))?;
    // A mark that cannot be understood is one of another configuration.
    serde_json::from_slice(&text).map_err(|_| PipelineError::OtherConfiguration { path: path.to_owned() })
}

/// The cases of one fold with the channels of some arm.
#[derive(Default)]
struct Loaded {
    key: Option<(String, Vec<String>)>,
    train: Vec<Case>,
    validation: Vec<Case>,
    test: Vec<Case>,
}

impl Loaded {
    /// Reads what is not there yet.
    fn load(
        &mut self,
        cohort: &[StudyCase],
        fold: &Fold,
        channels: &[String],
        base: &Path,
        config: &StudyConfig,
        observer: &mut dyn Observer,
    ) -> Result<(), PipelineError> {
        let key = (fold.name.clone(), channels.to_vec());
        if self.key.as_ref() == Some(&key) {
            return Ok(());
        }
        *self = Self::default();
        observer.stage(&format!("read {}", fold.name), Some(cohort.len()));
        for (ids, into) in [
            (&fold.train, &mut self.train),
            (&fold.validation, &mut self.validation),
            (&fold.test, &mut self.test),
        ] {
            for id in ids {
                into.push(read_case(cohort, id, channels, base, config)?);
                if observer.done(1).is_break() {
                    return Err(PipelineError::Stopped);
                }
            }
        }
        self.key = Some(key);
        Ok(())
    }
}

fn read_case(
    cohort: &[StudyCase],
    id: &str,
    channels: &[String],
    base: &Path,
    config: &StudyConfig,
) -> Result<Case, PipelineError> {
    let missing = || PipelineError::Study { problems: vec![format!("no cohort holds a case `{id}`")] };
    let case = cohort.iter().find(|case| case.id == id).ok_or_else(missing)?;
    let path = base.join(&config.cohorts[case.cohort].folder);
    let files = find_cases(&path, channels)?;
    let files = files.iter().find(|files| files.id == case.subject).ok_or_else(missing)?;
    Ok(Case { id: id.to_owned(), ..load_case(files)? })
}

/// The cases of all cohorts; with several cohorts their names begin with the group.
fn list_cases(config: &StudyConfig, base: &Path) -> Result<Vec<StudyCase>, PipelineError> {
    let mut cases = Vec::new();
    for (n, cohort) in config.cohorts.iter().enumerate() {
        for files in find_cases(&base.join(&cohort.folder), &[])? {
            let id = if config.cohorts.len() > 1 {
                format!("{}-{}", cohort.group, files.id)
            } else {
                files.id.clone()
            };
            cases.push(StudyCase { id, subject: files.id, group: cohort.group.clone(), cohort: n });
        }
    }
    let mut ids: Vec<_> = cases.iter().map(|case| &case.id).collect();
    ids.sort();
    let twice: Vec<_> =
        ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    if twice.is_empty() {
        return Ok(cases);
    }
    let problems =
        twice.into_iter().map(|id| format!("there are two cases `{id}`: give the cohorts different groups"));
    Err(PipelineError::Study { problems: problems.collect() })
}

fn group_of(cohort: &[StudyCase], id: &str) -> String {
    cohort.iter().find(|case| case.id == id).map(|case| case.group.clone()).unwrap_or_default()
}

/// The first held-out case of the first fold, and what each arm's first seed made of it.
pub(crate) struct Pictures {
    case: Case,
    scts: Vec<(String, synthct_image::Volume<f32>)>,
}

fn first_pictures(
    config: &StudyConfig,
    fold: &Fold,
    out: &Path,
    loaded: &Loaded,
    cohort: &[StudyCase],
    base: &Path,
    observer: &mut dyn Observer,
) -> Result<Option<Pictures>, PipelineError> {
    let Some(id) = fold.test.first() else { return Ok(None) };
    observer.doing("pictures");
    let case = match loaded.test.iter().find(|case| case.id == *id) {
        Some(case) => case.clone(),
        None => read_case(cohort, id, &["mr".to_owned()], base, config)?,
    };
    let mut scts = Vec::new();
    for arm in &config.arms {
        let path = folder(out, fold, arm, config.seeds[0]).join("cases").join(id).join(SCT);
        scts.push((arm.name.clone(), read_volume(&path)?));
    }
    Ok(Some(Pictures { case, scts }))
}
