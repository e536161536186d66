//! A patient's MR images, CT and truth on a grid.

use synthct_image::{AffineTransform, Grid, LabelMap, Mask, PointLps, VectorLps, Volume};

use crate::config::{Misalignment, PhantomConfig, Site};
use crate::draws::Draws;
use crate::scan::{BiasField, add_rician_noise, ct_image, hounsfield, signals};
use crate::signal::{SignalTable, tissue_signal};
use crate::subject::rigid;
use crate::{Contrast, PhantomError, Subject, Tissue};

/// The largest number of voxels of a phantom: 128 Mi, half a gibibyte an image.
pub const MAX_PHANTOM_VOXELS: usize = 1 << 27;

/// Mean intensity of the reference tissue in an MR image, before the scanner's gain.
const REFERENCE_INTENSITY: f64 = 1000.0;

/// One patient, scanned: images and truth on one grid.
#[derive(Clone, Debug)]
pub struct PhantomCase {
    /// The MR images in the order of the configuration, arbitrary units, in the MR's patient space.
    pub mr: Vec<(Contrast, Volume<f32>)>,
    /// The CT in HU, in the CT's patient space, on the same lattice of voxels.
    pub ct: Volume<f32>,
    /// Voxels whose center is inside the skin, cavities included; in the MR's patient space.
    pub body: Mask,
    /// The body dilated by the configured margin, as challenge data sets give it; in the MR's patient space.
    pub body_dilated: Mask,
    /// The tissue at each voxel's center, by [`Tissue::label`]; in the MR's patient space.
    pub tissues: LabelMap,
    /// Takes a point of the MR's patient space to the same anatomical point in the CT's; exact.
    pub ct_from_mr: AffineTransform,
    /// The patient, for the truth at any point.
    pub subject: Subject,
}

/// A patient scanned on the configuration's own grid, centered on the scanner's middle, axis-aligned LPS.
///
/// The same configuration and seed give the same bits whatever the number of threads.
///
/// # Errors
/// [`PhantomError::Config`] if a field is out of range, [`PhantomError::TooLarge`] if the grid has more than
/// [`MAX_PHANTOM_VOXELS`] voxels.
pub fn generate(config: &PhantomConfig, subject_seed: u64) -> Result<PhantomCase, PhantomError> {
    config.check()?;
    generate_on(config, subject_seed, &phantom_grid(config)?)
}

/// The grid that [`generate`] uses: the smallest that covers the field of view, centered on the patient-space origin.
///
/// # Errors
/// As [`generate`].
pub fn phantom_grid(config: &PhantomConfig) -> Result<Grid, PhantomError> {
    config.check()?;
    let spacing_mm = config.spacing_mm;
    let size_ijk = [0, 1, 2]
        .map(|axis| (config.field_of_view_mm[axis] / spacing_mm[axis] - 1e-9).ceil().max(1.0) as usize);
    check_size(size_ijk.iter().fold(1_usize, |product, &n| product.saturating_mul(n)))?;
    let origin = [0, 1, 2].map(|axis| -0.5 * (size_ijk[axis] - 1) as f64 * spacing_mm[axis]);
    Ok(Grid::axis_aligned(size_ijk, spacing_mm, origin.into())?)
}

/// A patient scanned on a given grid, oblique or not; the configuration's spacing and field of view do not matter.
///
/// # Errors
/// As [`generate`].
pub fn generate_on(
    config: &PhantomConfig,
    subject_seed: u64,
    grid: &Grid,
) -> Result<PhantomCase, PhantomError> {
    check_size(grid.n_voxels())?;
    let subject = Subject::new(config, subject_seed)?;
    let draws = Draws::new(subject_seed);
    let ct_from_mr = misalignment(config, &draws)?;
    let is_aligned = ct_from_mr == AffineTransform::IDENTITY;

    // Every scan has its own receiver gain; intensities of different scans are not comparable.
    let scanner_gain = draws.uniform("scanner gain", -0.25, 0.25).exp();
    let reference_signal = |contrast: Contrast| {
        let tissue = reference_tissue(config.site);
        tissue_signal(gain_contrast(contrast), tissue, tissue.typical_hu(), config.field_strength_t).abs()
    };
    let tables: Vec<SignalTable> = config
        .contrasts
        .iter()
        .map(|&contrast| {
            let gain = scanner_gain * REFERENCE_INTENSITY / reference_signal(contrast);
            SignalTable::new(contrast, config.field_strength_t, gain)
        })
        .collect();
    let distance_mm = Volume::from_point_fn(grid, |point| subject.skin_distance_mm(point) as f32);
    let (mut images, aligned_hu) = signals(&subject, &distance_mm, &tables, config.supersampling, is_aligned);

    let bias = BiasField::new(&draws, config.bias_amplitude);
    let shading = Volume::from_point_fn(grid, |point| bias.at(point) as f32);
    for (image, contrast) in std::iter::zip(&mut images, &config.contrasts) {
        *image = image.zip_map(&shading, |value, factor| value * factor)?;
        if let Some(snr) = config.mr_snr {
            let sigma = scanner_gain * REFERENCE_INTENSITY / snr;
            let seed = draws.seed(&format!("MR noise, {}", contrast.name()));
            add_rician_noise(image, sigma, seed);
        }
    }

    let hu = match aligned_hu {
        Some(hu) => hu,
        None => hounsfield(&subject, grid, ct_from_mr.inverse()?, config.supersampling)
            .expect("because one column was asked for"),
    };
    let ct = ct_image(hu, config.ct_psf_fwhm_mm, config.ct_noise_hu, draws.seed("CT noise"))?;

    let body = Mask::from_values(&distance_mm, |&d| d <= 0.0);
    let margin_mm = config.body_margin_mm as f32;
    let body_dilated = Mask::from_values(&distance_mm, |&d| d <= margin_mm);
    let tissues = Volume::from_point_fn(grid, |point: PointLps| subject.sample(point).tissue.label());
    let mr = std::iter::zip(config.contrasts.iter().copied(), images).collect();
    Ok(PhantomCase { mr, ct, body, body_dilated, tissues: LabelMap::new(tissues), ct_from_mr, subject })
}

/// The tissue whose signal sets the gain and against which noise is measured.
const fn reference_tissue(site: Site) -> Tissue {
    match site {
        Site::Head => Tissue::WhiteMatter,
        Site::Pelvis => Tissue::Prostate,
    }
}

/// The images of one Dixon scan share a gain, so that water and fat add up to the in-phase image.
const fn gain_contrast(contrast: Contrast) -> Contrast {
    match contrast {
        Contrast::DixonWater | Contrast::DixonFat => Contrast::DixonInPhase,
        other => other,
    }
}

fn misalignment(config: &PhantomConfig, draws: &Draws) -> Result<AffineTransform, PhantomError> {
    match config.misalignment {
        None => Ok(AffineTransform::IDENTITY),
        Some(Misalignment::Exact { rotation_deg, translation_mm: [x, y, z] }) => {
            rigid(rotation_deg, VectorLps::new(x, y, z))
        }
        Some(Misalignment::Random { max_rotation_deg: angle, max_translation_mm: shift }) => {
            let draw = |name: &str, bound: f64| draws.uniform(name, -bound, bound);
            let rotation_deg = [
                draw("misalignment, x angle", angle),
                draw("misalignment, y angle", angle),
                draw("misalignment, z angle", angle),
            ];
            let translation_mm = VectorLps::new(
                draw("misalignment, x", shift),
                draw("misalignment, y", shift),
                draw("misalignment, z", shift),
            );
            rigid(rotation_deg, translation_mm)
        }
    }
}

fn check_size(n_voxels: usize) -> Result<(), PhantomError> {
    if n_voxels > MAX_PHANTOM_VOXELS {
        return Err(PhantomError::TooLarge { n_voxels, limit: MAX_PHANTOM_VOXELS });
    }
    Ok(())
}
