//! The main job end to end on phantoms, small enough for a newcomer's patience.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use synthct_model::{Architecture, TrainConfig, device_kind};
use synthct_phantom::PhantomConfig;

use super::{
    Arm, ArmResult, Observer, PhantomCohort, PipelineError, Split, Summary, comparison_page, load_cohort,
    run_arms, write_json, write_phantom_cohort, write_text,
};

/// How large a demo is.
///
/// | field | unit | full | quick | reason |
/// |---|---|---|---|---|
/// | `spacing_mm` | mm | 2.5 | 5 | all steps in minutes on two cores |
/// | `n_train`, `n_validation`, `n_test` | subjects | 6, 1, 3 | 2, 1, 1 | the same |
/// | `filters` | – | 8 | 4 | half of what the network has by default |
/// | `epochs` | – | 9 | 1 | the same |
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// Voxel spacing of the phantoms, mm.
    pub spacing_mm: f64,
    /// Subjects to learn from.
    pub n_train: u32,
    /// Subjects to choose the best epoch by.
    pub n_validation: u32,
    /// Subjects held out.
    pub n_test: u32,
    /// Filters of the network's first block.
    pub filters: usize,
    /// Epochs of the network.
    pub epochs: usize,
    /// Seed of the cohort and of the training.
    pub seed: u32,
}

impl DemoConfig {
    /// A network that has really learned something.
    pub const fn full() -> Self {
        Self { spacing_mm: 2.5, n_train: 6, n_validation: 1, n_test: 3, filters: 8, epochs: 9, seed: 20 }
    }

    /// The same steps, as small as they can be.
    pub const fn quick() -> Self {
        Self { spacing_mm: 5.0, n_train: 2, n_validation: 1, n_test: 1, filters: 4, epochs: 1, seed: 20 }
    }

    /// The methods that are compared: the 3TN and the two baselines.
    ///
    /// # Errors
    /// None that a caller can meet: the presets exist.
    pub fn arms(&self) -> Result<Vec<Arm>, PipelineError> {
        let mut arms = Vec::new();
        for name in ["3tn", "regression", "bulk-density"] {
            let mut config = TrainConfig::preset(name)?;
            config.epochs = self.epochs;
            config.seed = u64::from(self.seed);
            if let Architecture::RoiNet(network) = &mut config.architecture {
                network.filters = self.filters;
            }
            arms.push(Arm { name: name.to_owned(), config });
        }
        Ok(arms)
    }
}

/// What a demo leaves.
#[derive(Clone, Debug)]
pub struct DemoOutcome {
    /// The page to look at.
    pub report: PathBuf,
    /// The numbers as JSON.
    pub summary: PathBuf,
    /// The results of every arm.
    pub arms: Vec<ArmResult>,
}

impl DemoOutcome {
    /// The main figures as lines of text.
    pub fn table(&self) -> String {
        let mut text = String::from("method          MAE body (HU)   MAE bone (HU)   Dice bone\n");
        for arm in &self.arms {
            let summary = &arm.summary;
            let figure = |value: Option<&synthct_eval::MeanSd>, digits: usize| {
                value.map_or("–".to_owned(), |value| match value.sd {
                    Some(sd) => format!("{:.digits$} ± {sd:.digits$}", value.mean),
                    None => format!("{:.digits$}", value.mean),
                })
            };
            let _ = writeln!(
                text,
                "{:<14}{:>15}{:>16}{:>18}",
                arm.name,
                figure(summary.mae_hu.body.as_ref(), 1),
                figure(summary.mae_hu.bone.as_ref(), 1),
                figure(summary.dice.bone.as_ref(), 3)
            );
        }
        text
    }
}

/// Makes a cohort of head phantoms in `out`, trains the methods on some subjects, tries them on the others, and writes
/// `report.html` and `summary.json`.
///
/// Everything that is already complete in `out` is kept, so that a demo that was stopped goes on.
///
/// # Errors
/// [`PipelineError::OtherConfiguration`] if `out` holds a demo of another size, [`PipelineError::Stopped`] if the observer
/// asked for it, else the error of the step that failed.
pub fn demo(
    config: &DemoConfig,
    out: &Path,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<DemoOutcome, PipelineError> {
    fs::create_dir_all(out).map_err(PipelineError::file(out))?;
    let cohort_dir = out.join("cohort");
    let cohort = PhantomCohort {
        phantom: PhantomConfig { spacing_mm: [config.spacing_mm; 3], ..PhantomConfig::head() },
        n_subjects: config.n_train + config.n_validation + config.n_test,
        seed: config.seed,
    };
    let ids = write_phantom_cohort(&cohort, &cohort_dir, observer)?;

    let channels = ["mr".to_owned()];
    let (train_ids, rest) = ids.split_at(config.n_train as usize);
    let (validation_ids, test_ids) = rest.split_at(config.n_validation as usize);
    let load =
        |wanted: &[String]| load_cohort(&cohort_dir, &channels, |id| wanted.iter().any(|other| other == id));
    let (train, validation, test) = (load(train_ids)?, load(validation_ids)?, load(test_ids)?);
    let split = Split { train: &train, validation: &validation, test: &test };
    let arms = run_arms(&config.arms()?, split, &out.join("runs"), device, observer)?;

    observer.stage("report", None);
    let report = out.join("report.html");
    let summary = out.join("summary.json");
    write_json(&summary, &Summary::new(&arms, device_kind(device)))?;
    let facts = [
        (
            "cohort",
            format!(
                "digital head phantoms at {} mm: {} for training, {} for validation, {} held out; seed {}",
                config.spacing_mm, config.n_train, config.n_validation, config.n_test, config.seed
            ),
        ),
        ("network", format!("3TN with {} filters, {} epochs", config.filters, config.epochs)),
    ];
    write_text(&report, &comparison_page("Synthetic CT on held-out head phantoms", &facts, &test, &arms)?)?;
    Ok(DemoOutcome { report, summary, arms })
}
