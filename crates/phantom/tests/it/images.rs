//! Images are what the truth and the physics say, on any grid and under any transform.

use synthct_image::{Grid, Matrix3, PointLps, VectorLps, Volume, VoxelIndex};
use synthct_phantom::{
    Contrast, Misalignment, PhantomCase, PhantomConfig, PhantomError, Site, Tissue, generate, generate_on,
    signal::tissue_signal,
};

use crate::{coarse, pure};

/// A small oblique grid through the middle of the body, with three different spacings.
fn oblique_grid() -> Result<Grid, PhantomError> {
    let (s, c) = 20_f64.to_radians().sin_cos();
    let about_z = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
    let about_x = Matrix3([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]);
    Ok(Grid::new([23, 31, 19], [7.0, 6.5, 9.0], PointLps::new(-70.0, -95.3, -60.7), about_x * about_z)?)
}

/// Every voxel of the CT is the truth at the point that `mr_from_ct` takes its center to.
#[track_caller]
fn check_ct(case: &PhantomCase) -> Result<(), PhantomError> {
    let grid = case.ct.grid();
    let mr_from_ct = case.ct_from_mr.inverse()?;
    let [ni, nj, nk] = grid.size_ijk();
    for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
        let index = VoxelIndex::new(i, j, k);
        let point = mr_from_ct.apply(grid.point_of(index));
        let expected = case.subject.sample(point).hu;
        let got = f64::from(case.ct[index]);
        assert!(
            (got - expected).abs() < 1e-3,
            "voxel {index:?} at {point:?}: {got} HU instead of {expected}"
        );
    }
    Ok(())
}

#[test]
fn every_voxel_of_any_grid_is_the_truth_at_its_center() -> Result<(), PhantomError> {
    for site in [Site::Head, Site::Pelvis] {
        let config = pure(coarse(site, 8.0));
        let case = generate_on(&config, 5, &oblique_grid()?)?;
        check_ct(&case)?;
        let grid = case.tissues.grid();
        let (mut n_inside, mut n_dilated) = (0, 0);
        let [ni, nj, nk] = grid.size_ijk();
        for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
            let index = VoxelIndex::new(i, j, k);
            let point = grid.point_of(index);
            let tissue = case.subject.sample(point).tissue;
            assert_eq!(case.tissues.volume()[index], tissue.label(), "voxel {index:?}");
            let inside = case.body.volume()[index];
            assert_eq!(inside, tissue != Tissue::OutsideAir, "voxel {index:?}: {tissue:?}");
            let dilated = case.body_dilated.volume()[index];
            assert!(dilated || !inside, "voxel {index:?} is in the body, but not in the dilated one");
            n_inside += usize::from(inside);
            n_dilated += usize::from(dilated);
        }
        assert!(n_inside > 1000 && n_dilated > n_inside, "{n_inside} in {n_dilated}");
    }
    Ok(())
}

#[test]
fn a_voxel_is_the_mean_over_its_samples() -> Result<(), PhantomError> {
    let config = PhantomConfig { supersampling: 2, ..pure(coarse(Site::Head, 8.0)) };
    let case = generate(&config, 8)?;
    let grid = case.ct.grid();
    let zte = &case.mr[0].1;
    // The gain is unknown, but one for the whole image.
    let mut gains = Vec::new();
    let [ni, nj, nk] = grid.size_ijk();
    for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
        let index = VoxelIndex::new(i, j, k);
        let center = grid.point_of(index);
        let (mut hu, mut signal) = (0.0, 0.0);
        for corner in 0..8 {
            let offset = |axis: usize| if corner >> axis & 1 == 1 { 2.0 } else { -2.0 };
            let sample = case.subject.sample(center + VectorLps::new(offset(0), offset(1), offset(2)));
            hu += sample.hu / 8.0;
            let plain = tissue_signal(Contrast::Zte, sample.tissue, sample.hu.max(-1000.0), 3.0);
            let plain = if sample.tissue.is_bone() {
                plain
            } else {
                tissue_signal(Contrast::Zte, sample.tissue, sample.tissue.typical_hu(), 3.0)
            };
            signal += plain * (1.0 + sample.texture) / 8.0;
        }
        assert!((f64::from(case.ct[index]) - hu).abs() < 1e-3, "voxel {index:?}");
        if signal > 1e-4 {
            gains.push(f64::from(zte[index]) / signal);
        } else {
            assert!(zte[index] < 1.0, "voxel {index:?}: {} in air", zte[index]);
        }
    }
    let (low, high) = gains.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), &g| (l.min(g), h.max(g)));
    assert!(gains.len() > 1000 && high / low - 1.0 < 2e-3, "gains from {low} to {high}");
    Ok(())
}

#[test]
fn the_misalignment_is_exactly_the_transform_returned() -> Result<(), PhantomError> {
    let exact = Misalignment::Exact { rotation_deg: [0.0, 0.0, 90.0], translation_mm: [3.0, -4.0, 5.0] };
    let random = Misalignment::Random { max_rotation_deg: 6.0, max_translation_mm: 8.0 };
    for misalignment in [exact, random] {
        let config = PhantomConfig { misalignment: Some(misalignment), ..pure(coarse(Site::Head, 9.0)) };
        let case = generate(&config, 2)?;
        check_ct(&case)?;
        let moved = case.ct_from_mr.apply(PointLps::new(10.0, 0.0, 0.0));
        if misalignment == exact {
            assert!(moved.distance_mm(PointLps::new(3.0, 6.0, 5.0)) < 1e-9, "{moved:?}");
        } else {
            let shift = case.ct_from_mr.translation_mm();
            assert!(shift.to_array().iter().all(|c| c.abs() <= 8.0) && shift.norm_mm() > 0.5, "{shift:?}");
        }
        // The MR does not move.
        let aligned = generate(&PhantomConfig { misalignment: None, ..config.clone() }, 2)?;
        assert_eq!(case.mr, aligned.mr);
        assert_ne!(case.ct, aligned.ct);
    }
    Ok(())
}

/// Mean and standard deviation of an image's voxels with a tissue.
fn statistics(image: &Volume<f32>, case: &PhantomCase, wanted: impl Fn(Tissue) -> bool) -> (f64, f64, usize) {
    let values: Vec<f64> = std::iter::zip(image.as_slice(), case.tissues.volume().as_slice())
        .filter(|&(_, &label)| Tissue::from_label(label).is_some_and(&wanted))
        .map(|(&value, _)| f64::from(value))
        .collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt(), values.len())
}

#[test]
fn noise_in_air_is_rayleigh_and_in_tissue_has_the_asked_strength() -> Result<(), PhantomError> {
    let config = PhantomConfig { bias_amplitude: 0.0, mr_snr: Some(25.0), ..coarse(Site::Head, 6.0) };
    let case = generate(&config, 4)?;
    let image = &case.mr[0].1;
    let silent = generate(&PhantomConfig { mr_snr: None, ..config }, 4)?;
    let far = |image: &Volume<f32>| -> Vec<f64> {
        std::iter::zip(image.as_slice(), case.body_dilated.as_slice())
            .filter(|&(_, &near)| !near)
            .map(|(&value, _)| f64::from(value))
            .collect()
    };
    assert!(far(&silent.mr[0].1).iter().all(|&value| value.abs() < 1e-9));
    let air = far(image);
    let n = air.len() as f64;
    let mean = air.iter().sum::<f64>() / n;
    let sd = (air.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    let half_pi = std::f64::consts::FRAC_PI_2;
    let expected_ratio = half_pi.sqrt() / (2.0 - half_pi).sqrt();
    assert!((mean / sd / expected_ratio - 1.0).abs() < 0.01, "mean {mean}, standard deviation {sd}");
    let sigma = mean / half_pi.sqrt();
    // White matter, the reference of a head, over σ is the SNR; partial volume aside.
    let (white, ..) = statistics(&silent.mr[0].1, &case, |t| t == Tissue::WhiteMatter);
    assert!((white / sigma / 25.0 - 1.0).abs() < 0.03, "SNR {}", white / sigma);
    Ok(())
}

#[test]
fn bone_darkens_with_density_and_dense_bone_is_like_air() -> Result<(), PhantomError> {
    let config = pure(coarse(Site::Head, 3.0));
    let case = generate(&config, 6)?;
    let zte = &case.mr[0].1;
    let (soft, ..) = statistics(zte, &case, |t| t == Tissue::Muscle);
    let mut by_density: Vec<(f64, f64)> = std::iter::zip(case.ct.as_slice(), zte.as_slice())
        .zip(case.tissues.volume().as_slice())
        .filter(|&(_, &label)| Tissue::from_label(label).is_some_and(Tissue::is_bone))
        .map(|((&hu, &signal), _)| (f64::from(hu), f64::from(signal)))
        .collect();
    by_density.sort_by(|a, b| a.0.total_cmp(&b.0));
    for pair in by_density.windows(2) {
        let (sparser, denser) = (pair[0], pair[1]);
        assert!(denser.1 <= sparser.1 + 1e-3 * soft, "{sparser:?} before {denser:?}");
    }
    let densest = by_density.last().expect("because heads have bone");
    assert!(densest.0 > 2000.0 && densest.1 < 0.12 * soft, "{densest:?} beside soft tissue of {soft}");
    let (air, air_sd, n_air) = statistics(zte, &case, |t| t == Tissue::InnerAir);
    assert!(air.abs() < 1e-9 && air_sd < 1e-9 && n_air > 300);
    // Soft tissue is nearly flat in a proton-density weighted image.
    for tissue in [Tissue::GreyMatter, Tissue::WhiteMatter, Tissue::Csf, Tissue::Fat, Tissue::Skin] {
        let (mean, ..) = statistics(zte, &case, |t| t == tissue);
        assert!((0.8..1.25).contains(&(mean / soft)), "{tissue:?}: {mean} beside {soft}");
    }
    Ok(())
}

#[test]
fn water_and_fat_add_up_to_the_in_phase_image() -> Result<(), PhantomError> {
    let config = PhantomConfig { supersampling: 2, bias_amplitude: 0.3, ..pure(coarse(Site::Pelvis, 8.0)) };
    let case = generate(&config, 9)?;
    let [(Contrast::DixonInPhase, in_phase), (Contrast::DixonWater, water), (Contrast::DixonFat, fat)] =
        case.mr.as_slice()
    else {
        return Err(PhantomError::Config(vec!["the images are not in the order asked for".to_owned()]));
    };
    for ((&sum, &w), &f) in std::iter::zip(in_phase.as_slice(), water.as_slice()).zip(fat.as_slice()) {
        assert!((sum - w - f).abs() <= 1e-3 * sum.abs().max(1.0), "{w} + {f} is not {sum}");
    }
    let (water_in_fat, ..) = statistics(water, &case, |t| t == Tissue::Fat);
    let (fat_in_fat, ..) = statistics(fat, &case, |t| t == Tissue::Fat);
    assert!(fat_in_fat > 2.5 * water_in_fat, "{fat_in_fat} and {water_in_fat}");
    Ok(())
}
