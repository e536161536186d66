//! The main job end to end on phantoms, small enough for a newcomer's patience.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use synthct_dose::Cones;
use synthct_model::{TrainConfig, device_kind};
use synthct_phantom::PhantomConfig;

use super::summary::main_figures;
use super::{
    Arm, ArmResult, CohortDoses, DoseSettings, Observer, PhantomCohort, PhantomPlans, PipelineError, Split,
    Summary, cohort_dose_sections, cohort_doses, comparison_page, load_cohort, phantom_treatment, run_arms,
    write_json, write_phantom_cohort, write_text,
};

/// How large a demo is.
///
/// | field | unit | full | quick | reason |
/// |---|---|---|---|---|
/// | `spacing_mm` | mm | 2.5 | 5 | all steps in minutes on two cores |
/// | `n_train`, `n_validation`, `n_test` | subjects | 6, 1, 3 | 2, 1, 1 | the same |
/// | `filters` | – | 8 | 4 | half of what the network has by default |
/// | `epochs` | – | 9 | 1 | the same |
/// | `dose_spacing_mm`, `plans` | mm, – | 2.5, arcs | 8, static beams | the same |
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
    /// Voxel spacing of the doses, mm.
    pub dose_spacing_mm: f64,
    /// How elaborate the plans are.
    pub plans: PhantomPlans,
    /// Seed of the cohort and of the training.
    pub seed: u32,
}

impl DemoConfig {
    /// A network that has really learned something.
    pub const fn full() -> Self {
        Self {
            spacing_mm: 2.5,
            n_train: 6,
            n_validation: 1,
            n_test: 3,
            filters: 8,
            epochs: 9,
            dose_spacing_mm: 2.5,
            plans: PhantomPlans::Arcs,
            seed: 20,
        }
    }

    /// The same steps, as small as they can be.
    pub const fn quick() -> Self {
        Self {
            spacing_mm: 5.0,
            n_train: 2,
            n_validation: 1,
            n_test: 1,
            filters: 4,
            epochs: 1,
            dose_spacing_mm: 8.0,
            plans: PhantomPlans::StaticBeams,
            seed: 20,
        }
    }

    /// How doses are computed.
    pub fn dose_settings(&self) -> DoseSettings {
        DoseSettings { spacing_mm: self.dose_spacing_mm, cones: Cones::Fast, ..DoseSettings::default() }
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
            config.architecture.set_filters(self.filters);
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
    /// Their doses.
    pub doses: CohortDoses,
}

impl DemoOutcome {
    /// The main figures as lines of text.
    pub fn table(&self) -> String {
        main_figures(
            std::iter::zip(&self.arms, &self.doses.arms)
                .map(|(arm, doses)| (arm.name.as_str(), &arm.summary, Some(&doses.summary))),
        )
    }
}

/// Makes a cohort of head phantoms in `out`, trains the methods on some subjects, tries them on the others, images and doses,
/// and writes `report.html` and `summary.json`.
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
    let treatments = (test.iter())
        .map(|case| phantom_treatment(&cohort_dir.join(&case.id), config.plans))
        .collect::<Result<Vec<_>, _>>()?;
    let settings = config.dose_settings();
    let doses = cohort_doses(&test, &treatments, &arms, &settings, &out.join("dose"), observer)?;

    observer.stage("report", None);
    let report = out.join("report.html");
    let summary = out.join("summary.json");
    write_json(&summary, &Summary::new(&arms, Some(&doses), device_kind(device)))?;
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
    let dose = cohort_dose_sections(&doses, &test, &arms, &settings)?;
    let page = comparison_page("Synthetic CT on held-out head phantoms", &facts, &test, &arms, dose)?;
    write_text(&report, &page)?;
    Ok(DemoOutcome { report, summary, arms, doses })
}
