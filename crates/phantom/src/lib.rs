//! Paired MR and CT digital phantoms of head and pelvis with exactly known truth.
//!
//! A patient is a function of position: [`Subject::sample`] gives tissue and HU at any point of patient space, so that
//! any grid and any transform can be scanned without interpolation.
//! [`generate`] scans a patient: MR images from signal equations, CT, masks and labels.
//! Patients differ by seed in size, shape, thickness and density of bone, air cavities, fat, position and tilt.
//!
//! Start here: [`PhantomConfig`] (what to make), [`generate`] (images and truth), [`Subject`] (truth at a point).
//!
//! # What it models
//! - Head: skin, fat, muscles, a closed skull with two tables and diploe, frontal, ethmoid, sphenoid and maxillary
//!   sinuses, mastoid cells, nose with turbinates, pharynx, jaws, teeth, eyes, cerebrum with folded cortex and
//!   ventricles, cerebellum, brainstem, upper cervical spine; optionally hyperostosis, a burr hole or a bone flap.
//! - Male pelvis: skin, fat, muscles, hip bones, femora, sacrum, last lumbar vertebra, bladder, prostate, seminal
//!   vesicles, rectum with gas, bowel, great vessels.
//! - Bone with HU from 250 to 3000 that vary smoothly. In the zero-TE image its signal falls with HU, nearly to that of
//!   air: one voxel of MR does not tell dense bone from air, its surroundings do.
//! - MR: signal equations with proton density, T1, T2, T2* at the field strength ([`relaxation`], [`signal`]),
//!   water and fat apart, B1 shading, Rician noise, partial volume. CT: partial volume, blur, correlated noise.
//! - A rigid displacement between MR and CT, known exactly.
//!
//! # What it does not model
//! It is a phantom: shapes are built from simple solids and noise, and no measured patient stands behind them.
//! There is no chemical shift, no susceptibility or distortion, no motion, no flow, no coil array, no Gibbs ringing or
//! k-space sampling, no magnetization transfer, no change of tissue between MR and CT other than the rigid displacement
//! (no bladder filling, no jaw or neck motion), no beam hardening, scatter, metal or streaks, no couch or headrest,
//! no contrast agent, no tumor, no female pelvis and no external genitals.
//! Networks trained on it are tested for their engineering, not for use on patients.

mod bone;
mod config;
mod draws;
mod error;
mod generate;
mod head;
mod pelvis;
mod random;
pub mod relaxation;
mod scan;
mod shape;
pub mod signal;
mod structures;
mod subject;
mod tissue;

pub use config::{Misalignment, Pathology, PhantomConfig, Side, Site};
pub use error::PhantomError;
pub use generate::{MAX_PHANTOM_VOXELS, PhantomCase, generate, generate_on, phantom_grid};
pub use signal::Contrast;
pub use structures::{Structures, structures};
pub use subject::{Landmark, Sample, Subject};
pub use tissue::Tissue;
