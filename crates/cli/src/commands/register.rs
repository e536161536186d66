//! `sct register`: the transform that lines two images up.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use sct::image::{Interpolation, Transform, Volume, resample};
use sct::io::{
    OutputType, read_transform, read_volume, write_displacement_field, write_transform, write_volume,
};
use sct::pipeline::{AlignConfig, Alignment, LinearNumbers, LinearStep, align};
use sct::register::{
    BSplineConfig, CorrelationLevel, InitialAlignment, LinearConfig, LinearModel, RegistrationReport,
    SimilarityMetric, Stage,
};
use serde::Serialize;

use super::{fitting_mask, make_parent, write_numbers};
use crate::progress::Ui;

/// Find the transform that lines two images up: rigid, affine or B-spline
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sct register --fixed mr.nii.gz --moving ct.nii.gz --transform rigid --out ct_from_mr.tfm --warped ct_on_mr.nii.gz --outside -1024\n  \
    sct register --fixed mr.nii.gz --moving ct.nii.gz --transform bspline --out field.nii.gz\n  \
    sct register --fixed ct.nii.gz --moving ct2.nii.gz --transform bspline --metric mse --init header --out t.tfm\n\n\
    The transform takes points of the fixed image to points of the moving image (LPS, mm), as ITK, SimpleITK and elastix have\n\
    it, and as `sct resample --like FIXED --transform T` wants it. MR and CT in either order; a CT is in HU.\n\n\
    --init auto tries headers, centres, moments and turns by any angle. With bspline, an affine registration comes first,\n\
    unless --init header or --initial says that the images are aligned but for the deformation."
)]
pub(crate) struct Arguments {
    /// The image that stays where it is: a file, or a folder with a DICOM series
    #[arg(long, value_name = "F")]
    fixed: PathBuf,
    /// The image that is brought to it
    #[arg(long, value_name = "M")]
    moving: PathBuf,
    /// What the transform may do
    #[arg(long, value_enum)]
    transform: TransformName,
    /// The transform to write: .tfm or .txt, or a displacement field on the fixed grid as .nii, .nii.gz, .mha or .mhd
    #[arg(long, value_name = "T|FIELD")]
    out: PathBuf,
    /// Where to start: auto tries everything, header takes the images as they lie, centers and moments move them together
    #[arg(long, value_enum, default_value_t = InitName::Auto)]
    init: InitName,
    /// Start from this transform, or from `identity`
    #[arg(long, value_name = "T", conflicts_with = "init")]
    initial: Option<PathBuf>,
    /// Compare the images only inside this mask of the fixed image
    #[arg(long, value_name = "M")]
    fixed_mask: Option<PathBuf>,
    /// Compare the images only inside this mask of the moving image; rigid and affine
    #[arg(long, value_name = "M")]
    moving_mask: Option<PathBuf>,
    /// What is compared: mi for MR and CT, mse for images of one kind (bspline), lncc for MR of different contrasts; a rigid
    /// or affine registration with lncc goes by mi first
    #[arg(long, value_enum, default_value_t = MetricName::Mi)]
    metric: MetricName,
    /// Also write the moving image on the fixed grid, interpolated linearly
    #[arg(long, value_name = "W")]
    warped: Option<PathBuf>,
    /// The value of the warped image where the moving image has no voxel; -1024 for a CT
    #[arg(long, value_name = "V", default_value_t = 0.0, allow_negative_numbers = true)]
    outside: f32,
    /// Also write the displacement field on the fixed grid
    #[arg(long, value_name = "FIELD")]
    field: Option<PathBuf>,
    /// Also write numbers of every level as JSON
    #[arg(long, value_name = "FILE", visible_alias = "report")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum TransformName {
    /// Turn and shift
    Rigid,
    /// Turn, shift, scale and shear
    Affine,
    /// A smooth deformation
    Bspline,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum InitName {
    Auto,
    Header,
    Centers,
    Moments,
}

#[derive(Clone, Copy, ValueEnum)]
enum MetricName {
    /// Mutual information
    Mi,
    /// Mean squared difference; bspline only
    Mse,
    /// Local normalised cross-correlation
    Lncc,
}

/// What was found, as JSON shows it.
#[derive(Serialize)]
struct Numbers<'a> {
    /// The rigid or affine part in words, at the middle of the fixed image.
    #[serde(skip_serializing_if = "Option::is_none")]
    linear: Option<LinearNumbers>,
    /// The rigid or affine part: four rows of a matrix, LPS, mm.
    #[serde(skip_serializing_if = "Option::is_none")]
    moving_from_fixed_lps: Option<[[f64; 4]; 4]>,
    /// What each step reported.
    steps: &'a [RegistrationReport],
    /// The seconds of the registration alone, without reading and writing.
    seconds: f64,
}

#[expect(clippy::print_stdout, reason = "the figures are the command's output")]
pub(crate) fn run(arguments: &Arguments, ui: &Ui) -> Result<ExitCode> {
    // Before anything slow: what cannot be written should not be computed.
    let config = configuration(arguments)?;
    let (fixed, moving) = ui.spin("reading", || -> Result<_> {
        Ok((read_volume(&arguments.fixed)?, read_volume(&arguments.moving)?))
    })?;
    let fixed_mask = arguments.fixed_mask.as_deref().map(|path| fitting_mask(path, &fixed)).transpose()?;
    let moving_mask = arguments.moving_mask.as_deref().map(|path| fitting_mask(path, &moving)).transpose()?;
    let start = Instant::now();
    let mut bar = ui.steps("registering", 1);
    let alignment =
        align(&fixed, &moving, [fixed_mask.as_ref(), moving_mask.as_ref()], &config, &mut |progress| {
            bar.of(progress.n_levels as u64);
            bar.at(
                progress.level as u64,
                &format!(
                    "{}, {:.1} mm, step {}, metric {:.4}",
                    stage_name(progress.stage),
                    progress.spacing_mm,
                    progress.iteration + 1,
                    progress.value
                ),
            );
        })?;
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();
    write_outputs(arguments, &alignment, &fixed, &moving, ui)?;
    let linear = alignment.numbers_at(fixed.grid().center_lps())?;
    print!("{}", summary(&alignment, linear)?);
    let numbers = Numbers {
        linear,
        moving_from_fixed_lps: alignment.linear.map(|linear| linear.to_matrix4()),
        steps: &alignment.steps,
        seconds,
    };
    write_numbers(arguments.json.as_deref(), &numbers)?;
    Ok(ExitCode::SUCCESS)
}

fn configuration(arguments: &Arguments) -> Result<AlignConfig> {
    let is_deformable = arguments.transform == TransformName::Bspline;
    let given = match &arguments.initial {
        None => None,
        Some(path) if path.as_os_str() == "identity" => Some(Transform::IDENTITY),
        Some(path) => Some(read_transform(path)?),
    };
    let init = match (&given, arguments.init) {
        (Some(given), _) if !is_deformable => {
            let affine = given.as_affine().context(
                "`--initial` must be a rigid or affine transform for a rigid or affine registration; it is a deformation",
            )?;
            InitialAlignment::Given(affine)
        }
        (_, InitName::Auto) => InitialAlignment::Auto,
        (_, InitName::Header) => InitialAlignment::Header,
        (_, InitName::Centers) => InitialAlignment::Centers,
        (_, InitName::Moments) => InitialAlignment::Moments,
    };
    let linear = match (given, arguments.init) {
        (Some(given), _) if is_deformable => LinearStep::Given(given),
        (None, InitName::Header) if is_deformable => LinearStep::Given(Transform::IDENTITY),
        _ => {
            let model = match arguments.transform {
                TransformName::Rigid => LinearModel::Rigid,
                TransformName::Affine | TransformName::Bspline => LinearModel::Affine,
            };
            let correlation = match (arguments.metric, is_deformable) {
                (MetricName::Lncc, false) => Some(CorrelationLevel::standard()),
                (MetricName::Mse, false) => {
                    bail!("`--metric mse` is for bspline; rigid and affine have mi and lncc")
                }
                _ => None,
            };
            LinearStep::Search(LinearConfig { model, init, correlation, ..LinearConfig::default() })
        }
    };
    if arguments.moving_mask.is_some() && matches!(linear, LinearStep::Given(_)) {
        bail!(
            "`--moving-mask` is for rigid and affine registrations; a B-spline compares inside `--fixed-mask`"
        );
    }
    let deformation = is_deformable.then(|| match arguments.metric {
        MetricName::Mi => BSplineConfig::multi(),
        MetricName::Mse => BSplineConfig::mono(),
        MetricName::Lncc => {
            BSplineConfig { metric: SimilarityMetric::LocalCrossCorrelation, ..BSplineConfig::mono() }
        }
    });
    Ok(AlignConfig { linear, deformation })
}

fn write_outputs(
    arguments: &Arguments,
    alignment: &Alignment,
    fixed: &Volume<f32>,
    moving: &Volume<f32>,
    ui: &Ui,
) -> Result<()> {
    let transform = &alignment.moving_from_fixed;
    let is_text = arguments.out.extension().is_some_and(|extension| extension == "tfm" || extension == "txt");
    make_parent(&arguments.out)?;
    if is_text {
        write_transform(&arguments.out, transform)?;
        ui.say(&format!("wrote {}", arguments.out.display()));
    }
    let fields: Vec<&PathBuf> =
        (!is_text).then_some(&arguments.out).into_iter().chain(&arguments.field).collect();
    let warped_through = if fields.is_empty() {
        None
    } else {
        let field = ui.spin("making the displacement field", || transform.displacement_on(fixed.grid()))?;
        for path in fields {
            make_parent(path)?;
            ui.spin("writing", || write_displacement_field(path, &field))?;
            ui.say(&format!("wrote {}", path.display()));
        }
        Some(Transform::from(field))
    };
    if let Some(path) = &arguments.warped {
        // A field on the fixed grid says the same and is looked up faster.
        let transform = warped_through.as_ref().unwrap_or(transform);
        let warped = ui.spin("warping", || {
            resample(moving, fixed.grid(), Some(transform), Interpolation::Linear, arguments.outside)
        })?;
        make_parent(path)?;
        ui.spin("writing", || write_volume(path, &warped, OutputType::F32))?;
        ui.say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Start => "start",
        Stage::Rigid => "rigid",
        Stage::Affine => "affine",
        Stage::Bspline => "B-spline",
        _ => "registration",
    }
}

fn summary(alignment: &Alignment, linear: Option<LinearNumbers>) -> Result<String> {
    let mut text = String::from("stage        spacing (mm)   metric before   metric after   steps\n");
    for level in alignment.steps.iter().flat_map(|step| &step.levels) {
        writeln!(
            text,
            "{:<12}{:>13.2}{:>16.5}{:>15.5}{:>8}",
            stage_name(level.stage),
            level.spacing_mm,
            level.value_before,
            level.value_after,
            level.iterations
        )?;
    }
    if let (Some(first), Some(last)) = (alignment.steps.first(), alignment.steps.last()) {
        let before = first.nmi_before.map_or("no overlap".to_owned(), |nmi| format!("{nmi:.4}"));
        writeln!(text, "normalised mutual information   {before} before, {:.4} after", last.nmi_after)?;
        writeln!(text, "compared points in the moving image   {:.1} %", 100.0 * last.overlap_fraction)?;
        if let Some(min_jacobian) = last.min_jacobian {
            writeln!(text, "smallest Jacobian determinant   {min_jacobian:.3}")?;
        }
    }
    if let Some(LinearNumbers { rotation_deg, shift_mm, volume_ratio }) = linear {
        writeln!(
            text,
            "rotation {rotation_deg:.3}°, shift of the middle {shift_mm:.3} mm, volume × {volume_ratio:.4}"
        )?;
    }
    Ok(text)
}
