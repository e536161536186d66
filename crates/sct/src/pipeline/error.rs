//! What can go wrong along the line.

use std::path::PathBuf;

use synthct_dose::DoseError;
use synthct_eval::EvalError;
use synthct_image::ImageError;
use synthct_io::IoError;
use synthct_model::ModelError;
use synthct_phantom::PhantomError;
use synthct_prep::PrepError;
use synthct_register::RegisterError;
use synthct_report::ReportError;
use synthct_rt::RtError;

/// Why a step of the line failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A cohort folder that is not as `docs/DATA.md` describes.
    #[error("`{path}`: {what}")]
    Cohort {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what is expected.
        what: String,
    },
    /// A step failed for one case.
    #[error("case `{id}` in `{path}` cannot be used")]
    Case {
        /// The case's name.
        id: String,
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: Box<PipelineError>,
    },
    /// Too few subjects for a split by subject.
    #[error("{found} subject(s) cannot be split into training and validation: at least two are needed")]
    TooFewSubjects {
        /// How many there are.
        found: usize,
    },
    /// A folder holds the results of another configuration.
    #[error("`{path}` holds the results of another configuration: choose another folder, or delete this one")]
    OtherConfiguration {
        /// The file that differs.
        path: PathBuf,
    },
    /// A file of ours could not be written or read.
    #[error("`{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A study file that cannot be carried out: all that is wrong with it.
    #[error("the study cannot be carried out: {}", problems.join("; "))]
    Study {
        /// Each problem.
        problems: Vec<String>,
    },
    /// The observer asked to stop; what is complete stays and is taken up again.
    #[error("stopped on request; run the same command again to go on")]
    Stopped,
    /// A transform to start from that bends straight lines.
    #[error(
        "the start of a rigid or affine registration must be a rigid or affine transform, but a deformation was given"
    )]
    NotAffine,
    /// An MR and a CT that, once aligned, have no body in common.
    #[error(
        "the CT covers nothing of the body on the MR, so there is nothing to learn from; check that both are of one \
         patient, and look at the overlay of `sct register --warped`"
    )]
    NoCommonBody,
    /// A structure that a dose does not reach at all.
    #[error(
        "the structure does not meet the dose: none of its {n_voxels} voxels lies in the dose grid, {dose}; check that both are \
         of one patient and in one frame"
    )]
    StructureOutside {
        /// The structure's voxels.
        n_voxels: usize,
        /// The dose's grid, described.
        dose: String,
    },
    /// Geometry.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Reading or writing images.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Preparation.
    #[error(transparent)]
    Prep(#[from] PrepError),
    /// Registration.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Training or prediction.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Evaluation.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Dose.
    #[error(transparent)]
    Dose(#[from] DoseError),
    /// Structures and plans.
    #[error(transparent)]
    Rt(#[from] RtError),
    /// Phantoms.
    #[error(transparent)]
    Phantom(#[from] PhantomError),
    /// The report.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl PipelineError {
    /// Turns an operating-system error at `path` into ours, for `map_err`.
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }
}
