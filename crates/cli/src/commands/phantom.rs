//! `sct phantom`: paired MR and CT with known truth.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use sct::phantom::{Contrast, Misalignment, PhantomConfig, Site};
use sct::pipeline::{PhantomCohort, write_phantom_cohort};

use crate::progress::{StageBars, Ui};

/// Make paired MR/CT phantom subjects with exactly known truth
#[derive(Args)]
#[command(
    after_help = "Example:\n  sct phantom --site head --subjects 8 --seed 1 --spacing-mm 2.5 --out cohort\n\n\
    Writes OUT/<ID>/{mr,ct,mask,tissues}.nii.gz and phantom.json. The same seed gives the same bytes; a run that was\n\
    stopped goes on where it was."
)]
pub(crate) struct Arguments {
    /// Which part of the body
    #[arg(long, value_enum, default_value_t = SiteName::Head)]
    site: SiteName,
    /// How many subjects
    #[arg(long, value_name = "N", default_value_t = 8)]
    subjects: u32,
    /// Seed of the cohort
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u32,
    /// Folder of the cohort
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Voxel spacing in mm; without it 1.5 for heads and 2.5 for pelves
    #[arg(long, value_name = "MM")]
    spacing_mm: Option<f64>,
    /// MR contrasts: zte, t1w, t2w, flair, dixon-in-phase, dixon-water, dixon-fat; the first is `mr`, others `mr_<name>`
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_contrast)]
    contrast: Vec<Contrast>,
    /// Field strength of the MR scanner in tesla; without it 3 for heads and 1.5 for pelves
    #[arg(long, value_name = "T")]
    field_strength_t: Option<f64>,
    /// Known misalignment of MR and CT: a rotation about the head-foot axis in degrees
    #[arg(long, value_name = "DEG", allow_negative_numbers = true)]
    misalign_deg: Option<f64>,
    /// Known misalignment of MR and CT: a shift x,y,z in mm (LPS)
    #[arg(long, value_name = "X,Y,Z", value_delimiter = ',', num_args = 1..=3, allow_negative_numbers = true)]
    misalign_mm: Vec<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SiteName {
    Head,
    Pelvis,
}

impl SiteName {
    pub(crate) const fn site(self) -> Site {
        match self {
            Self::Head => Site::Head,
            Self::Pelvis => Site::Pelvis,
        }
    }
}

pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    let mut phantom = match arguments.site {
        SiteName::Head => PhantomConfig::head(),
        SiteName::Pelvis => PhantomConfig::pelvis(),
    };
    if let Some(spacing_mm) = arguments.spacing_mm {
        phantom.spacing_mm = [spacing_mm; 3];
    }
    if let Some(field_strength_t) = arguments.field_strength_t {
        phantom.field_strength_t = field_strength_t;
    }
    if !arguments.contrast.is_empty() {
        phantom.contrasts.clone_from(&arguments.contrast);
    }
    if arguments.misalign_deg.is_some() || !arguments.misalign_mm.is_empty() {
        let rotation_deg = [0.0, 0.0, arguments.misalign_deg.unwrap_or(0.0)];
        let translation_mm = <[f64; 3]>::try_from(arguments.misalign_mm.as_slice()).unwrap_or([0.0; 3]);
        phantom.misalignment = Some(Misalignment::Exact { rotation_deg, translation_mm });
    }
    let cohort = PhantomCohort { phantom, n_subjects: arguments.subjects, seed: arguments.seed };
    let mut bars = StageBars::new(ui);
    let ids = write_phantom_cohort(&cohort, &arguments.out, &mut bars)?;
    drop(bars);
    ui.say(&format!("{} subjects are in {}", ids.len(), arguments.out.display()));
    Ok(ExitCode::SUCCESS)
}

/// A contrast by its name.
fn parse_contrast(name: &str) -> Result<Contrast, String> {
    const ALL: [Contrast; 7] = [
        Contrast::Zte,
        Contrast::T1w,
        Contrast::T2w,
        Contrast::Flair,
        Contrast::DixonInPhase,
        Contrast::DixonWater,
        Contrast::DixonFat,
    ];
    ALL.into_iter()
        .find(|contrast| contrast.name() == name)
        .ok_or_else(|| format!("the contrasts are {}", ALL.map(Contrast::name).join(", ")))
}
