//! The line that one case walks: files, training, prediction, figures, report.
//!
//! Each step is a function from values to values, or from a folder to a folder where it is about files.
//!
//! Start here: [`prepare_cohort`], [`load_cohort`], [`run_arms`], [`demo`], [`study`](fn@study).

mod align;
mod arms;
mod cohort;
mod demo;
mod dose;
mod dose_cohort;
mod dose_cohort_page;
mod dose_page;
mod engine;
mod error;
mod fidelity;
mod folder;
mod observer;
mod page;
mod phantom_treatment;
mod phantoms;
mod prepare;
mod structures;
mod study;
mod summary;

pub use align::{AlignConfig, Alignment, LinearNumbers, LinearStep, align};
pub use arms::{Arm, ArmResult, CaseResult, Split, run_arms};
pub use cohort::{CaseFiles, find_cases, load_case, load_cohort, split_for_validation};
pub use demo::{DemoConfig, DemoOutcome, demo};
pub use dose::{
    Arrangement, DoseComparison, DoseSettings, DoseSummary, PlanFigures, PlannedDose, StructureDvh,
    SynthRadDose, Treatment, compare_dose, compared_doses, delivered_dose, planned_dose, recomputed_dose,
    structure_dvh,
};
pub use dose_cohort::{
    CaseTreatment, CohortDoses, DoseArm, DoseCohortSummary, DoseTest, ShownCase, cohort_doses,
};
pub use dose_cohort_page::cohort_dose_sections;
pub use dose_page::{dose_page, dose_sections};
pub use engine::{ComputedDose, DoseNoise, DoseProgress, Engine, RefusedGamma};
pub use error::PipelineError;
pub use fidelity::{Fidelity, FidelitySummary, fidelity};
pub use folder::load_structures;
pub use observer::Observer;
pub use page::{CasePage, case_page, comparison_page};
pub use phantom_treatment::{PhantomPlans, phantom_treatment};
pub use phantoms::{PhantomCohort, write_phantom_cohort};
pub use prepare::{
    BiasField, BiasNumbers, BodyNumbers, FailedCase, LinearAlignment, PrepareConfig, PrepareOutcome,
    PreparedCase, RegistrationNumbers, prepare_cohort,
};
pub use structures::{Structures, load_structures_near};
pub use study::{
    ArmConfig, CaseRecord, Comparison, Fold, StudyArm, StudyCase, StudyCohort, StudyConfig, StudyOutcome,
    StudyRecord, StudySplit, StudySummary, StudyUncertainty, folds, study,
};
pub use summary::{ArmSummary, Summary, write_json, write_text};
