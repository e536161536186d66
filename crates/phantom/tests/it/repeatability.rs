//! The same seed gives the same bits; another seed gives another patient.

use std::error::Error;

use rayon::ThreadPoolBuilder;
use synthct_image::{Grid, Volume};
use synthct_phantom::{
    MAX_PHANTOM_VOXELS, Misalignment, PhantomCase, PhantomConfig, PhantomError, Site, generate, generate_on,
};

use crate::coarse;

fn bits(case: &PhantomCase) -> Vec<u32> {
    let images = case.mr.iter().map(|(_, image)| image).chain([&case.ct]);
    let values = images.flat_map(|image: &Volume<f32>| image.as_slice().iter().map(|value| value.to_bits()));
    let labels = case.tissues.volume().as_slice().iter().map(|&label| u32::from(label));
    let masks =
        case.body.as_slice().iter().chain(case.body_dilated.as_slice()).map(|&inside| u32::from(inside));
    values.chain(labels).chain(masks).collect()
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() -> Result<(), Box<dyn Error>> {
    for site in [Site::Head, Site::Pelvis] {
        let config = PhantomConfig {
            misalignment: Some(Misalignment::Random { max_rotation_deg: 3.0, max_translation_mm: 4.0 }),
            ..coarse(site, 9.0)
        };
        let with = |n_threads| -> Result<Vec<u32>, Box<dyn Error>> {
            let pool = ThreadPoolBuilder::new().num_threads(n_threads).build()?;
            Ok(bits(&pool.install(|| generate(&config, 21))?))
        };
        let one = with(1)?;
        assert!(one == with(2)?, "{site:?}: two threads differ from one");
        assert!(one == with(5)?, "{site:?}: five threads differ from one");
    }
    Ok(())
}

#[test]
fn seeds_make_different_patients() -> Result<(), PhantomError> {
    for site in [Site::Head, Site::Pelvis] {
        let config = PhantomConfig { mr_snr: None, ct_noise_hu: 0.0, ..coarse(site, 9.0) };
        let cases = [1, 2, 3].map(|seed| generate(&config, seed));
        let [a, b, c] = cases;
        let labels = [a?, b?, c?].map(|case| case.tissues.into_volume());
        for (first, second) in [(0, 1), (0, 2), (1, 2)] {
            let different = std::iter::zip(labels[first].as_slice(), labels[second].as_slice())
                .filter(|(one, other)| one != other)
                .count();
            let share = different as f64 / labels[first].as_slice().len() as f64;
            assert!(share > 0.03, "{site:?}: only {share} of the voxels differ");
        }
    }
    Ok(())
}

#[test]
fn absurd_requests_are_refused_before_any_work() -> Result<(), PhantomError> {
    let huge = PhantomConfig { spacing_mm: [0.3; 3], field_of_view_mm: [1000.0; 3], ..PhantomConfig::head() };
    assert!(matches!(generate(&huge, 1), Err(PhantomError::TooLarge { limit: MAX_PHANTOM_VOXELS, .. })));
    let wrong = PhantomConfig { spacing_mm: [1e-9, 1.0, 1.0], ..PhantomConfig::head() };
    assert!(matches!(generate(&wrong, 1), Err(PhantomError::Config(faults)) if faults.len() == 1));
    let grid = Grid::axis_aligned([1 << 10, 1 << 10, 1 << 10], [1.0; 3], [0.0; 3].into())?;
    let on_huge_grid = generate_on(&PhantomConfig::head(), 1, &grid);
    assert!(matches!(on_huge_grid, Err(PhantomError::TooLarge { n_voxels, .. }) if n_voxels == 1 << 30));
    Ok(())
}

#[test]
fn configurations_survive_serialization_and_refuse_unknown_fields() -> Result<(), Box<dyn Error>> {
    let config = PhantomConfig {
        misalignment: Some(Misalignment::Exact {
            rotation_deg: [1.0, 2.0, 3.0],
            translation_mm: [4.0, 5.0, 6.0],
        }),
        ..PhantomConfig::head()
    };
    let text = serde_json::to_string(&config)?;
    assert_eq!(serde_json::from_str::<PhantomConfig>(&text)?, config);
    let misspelt = text.replace("\"mr_snr\"", "\"mr_nsr\"");
    let error = serde_json::from_str::<PhantomConfig>(&misspelt).expect_err("because the field is unknown");
    assert!(error.to_string().contains("mr_nsr"), "{error}");
    Ok(())
}
