//! The phantoms as a user meets them.

mod anatomy;
mod images;
mod repeatability;

use synthct_image::{PointLps, VectorLps};
use synthct_phantom::{PhantomConfig, Site};

/// Every site at a coarse spacing that generates quickly.
fn coarse(site: Site, spacing_mm: f64) -> PhantomConfig {
    let config = match site {
        Site::Pelvis => PhantomConfig::pelvis(),
        _ => PhantomConfig::head(),
    };
    PhantomConfig { spacing_mm: [spacing_mm; 3], ..config }
}

/// A scan without noise, blur, shading and partial volume: each voxel is the truth at its center.
fn pure(config: PhantomConfig) -> PhantomConfig {
    PhantomConfig {
        bias_amplitude: 0.0,
        mr_snr: None,
        ct_noise_hu: 0.0,
        ct_psf_fwhm_mm: 0.0,
        supersampling: 1,
        ..config
    }
}

/// Points `step_mm` apart throughout a box of half extents `half_mm` about the origin.
fn points(half_mm: [f64; 3], step_mm: f64) -> impl Iterator<Item = PointLps> {
    let n = half_mm.map(|half| (half / step_mm) as i32);
    (-n[2]..=n[2]).flat_map(move |k| {
        (-n[1]..=n[1]).flat_map(move |j| {
            (-n[0]..=n[0]).map(move |i| {
                PointLps::new(f64::from(i) * step_mm, f64::from(j) * step_mm, f64::from(k) * step_mm)
            })
        })
    })
}

/// The mean of points, if there are any.
fn centroid(points: impl Iterator<Item = PointLps>) -> Option<PointLps> {
    let (mut sum, mut n) = (VectorLps::new(0.0, 0.0, 0.0), 0.0);
    for point in points {
        sum = VectorLps::new(sum.x + point.x, sum.y + point.y, sum.z + point.z);
        n += 1.0;
    }
    (n > 0.0).then(|| PointLps::ORIGIN + sum * (1.0 / n))
}
