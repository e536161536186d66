//! What a phantom is to receive.

use std::path::Path;

use synthct_dose::Template;
use synthct_io::read_label_map;
use synthct_phantom::{Site, structures};

use super::phantoms::read_truth;
use super::{CaseTreatment, PipelineError};

/// How elaborate the plans of phantoms are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhantomPlans {
    /// Arcs; a pelvis with a boost.
    Arcs,
    /// Static beams.
    StaticBeams,
}

/// The treatment of a phantom, from the truth in its folder.
///
/// Heads receive 60 Gy by a brain template, pelves 60 Gy by a pelvis template, with arcs 70 Gy in the boost; targets and
/// organs are those of [`synthct_phantom::structures`]. The doses are ours.
///
/// # Errors
/// [`PipelineError::File`] or [`PipelineError::Io`] if the truth is missing, [`PipelineError::Phantom`] if it has no target.
pub fn phantom_treatment(folder: &Path, plans: PhantomPlans) -> Result<CaseTreatment, PipelineError> {
    const PRESCRIPTION_GY: f64 = 60.0;
    const BOOST_GY: f64 = 70.0;
    let site = read_truth(folder)?.config.site;
    let tissues = read_label_map(&folder.join("tissues.nii.gz"))?;
    let found = structures(site, &tissues)?;
    let template = match (site, plans) {
        (Site::Head, PhantomPlans::Arcs) => Template::BrainVmat,
        (Site::Head, PhantomPlans::StaticBeams) => Template::Brain3d,
        (_, PhantomPlans::Arcs) => Template::PelvisVmat,
        (_, PhantomPlans::StaticBeams) => Template::Pelvis7f,
    };
    Ok(CaseTreatment {
        template,
        target: found.target,
        target_is: found.target_is,
        prescription_gy: PRESCRIPTION_GY,
        boost: found.boost.filter(|_| plans == PhantomPlans::Arcs).map(|boost| (boost, BOOST_GY)),
        organs: found.organs.into_iter().map(|(name, organ)| (name.to_owned(), organ)).collect(),
    })
}
