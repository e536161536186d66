//! A head-like shape, defined at every point of space, as an MR and as a CT.

use synthct_image::{AffineTransform, Grid, ImageError, Matrix3, PointLps, Volume};

/// 1 inside an ellipsoid, 0 outside, with an edge of about 2 mm.
fn ellipsoid(p: PointLps, center: [f64; 3], radii: [f64; 3]) -> f64 {
    let offset = [p.x - center[0], p.y - center[1], p.z - center[2]];
    let r = std::iter::zip(offset, radii).map(|(c, r)| (c / r).powi(2)).sum::<f64>().sqrt();
    let smallest = radii.into_iter().fold(f64::INFINITY, f64::min);
    1.0 / (1.0 + ((r - 1.0) * smallest / 0.5).exp())
}

/// MR and CT values at a point: a skull with a brain, a cavity, two eyes of unlike size and a nose, so that no two views
/// look alike.
fn values(p: PointLps) -> [f64; 2] {
    let parts = [
        (ellipsoid(p, [0.0, 0.0, 0.0], [62.0, 78.0, 70.0]), [420.0, 40.0]),
        (ellipsoid(p, [0.0, 2.0, 4.0], [55.0, 70.0, 62.0]), [60.0, 1100.0]),
        (ellipsoid(p, [0.0, 2.0, 4.0], [48.0, 63.0, 55.0]), [600.0, 35.0]),
        (ellipsoid(p, [12.0, -10.0, 12.0], [14.0, 24.0, 12.0]), [200.0, 10.0]),
        (ellipsoid(p, [-26.0, -58.0, -20.0], [13.0, 13.0, 13.0]), [260.0, 15.0]),
        (ellipsoid(p, [27.0, -58.0, -18.0], [10.0, 10.0, 10.0]), [260.0, 15.0]),
        (ellipsoid(p, [0.0, -52.0, -36.0], [12.0, 18.0, 16.0]), [10.0, -1000.0]),
        (ellipsoid(p, [2.0, -84.0, -22.0], [9.0, 12.0, 14.0]), [400.0, 45.0]),
        (ellipsoid(p, [-20.0, 30.0, -14.0], [22.0, 18.0, 12.0]), [480.0, 38.0]),
    ];
    let [mr, ct] = parts.iter().fold([8.0, -1000.0], |values, (weight, part)| {
        [0, 1].map(|n| values[n] + weight * (part[n] - values[n]))
    });
    // Tissue is not even.
    let texture =
        (p.x / 3.1 + p.y / 5.0).sin() + (p.y / 2.7 - p.z / 4.3).sin() + (p.z / 3.3 + p.x / 6.1).sin();
    let tissue = ((ct + 400.0) / 200.0).clamp(0.0, 1.0);
    [mr * (1.0 + 0.05 * texture * tissue), ct + 15.0 * texture * tissue]
}

/// The MR, on a grid of 3 mm.
pub(crate) fn mr() -> Result<Volume<f32>, ImageError> {
    let grid = Grid::axis_aligned([48, 60, 50], [3.0; 3], PointLps::new(-70.0, -96.0, -73.0))?;
    Ok(Volume::from_point_fn(&grid, |p| values(p)[0] as f32))
}

/// The CT of the head after `ct_from_mr`, on an oblique grid of other spacing, with padding in its corners.
pub(crate) fn ct(ct_from_mr: &AffineTransform) -> Result<Volume<f32>, ImageError> {
    let mr_from_ct = ct_from_mr.inverse()?;
    let (s, c) = 0.1_f64.sin_cos();
    let direction = Matrix3([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]);
    let size_ijk = [60, 70, 36];
    let spacing_mm = [2.6, 2.6, 4.6];
    // The grid's middle at the image of the MR's.
    let middle = ct_from_mr.apply(PointLps::new(0.0, -6.0, 0.0));
    let half = [0, 1, 2].map(|axis| (size_ijk[axis] - 1) as f64 / 2.0 * spacing_mm[axis]);
    let corner = direction.apply(half);
    let origin = PointLps::new(middle.x - corner[0], middle.y - corner[1], middle.z - corner[2]);
    let grid = Grid::new(size_ijk, spacing_mm, origin, direction)?;
    Ok(Volume::from_index_fn(&grid, |index| {
        let (x, y) = (index.i as f64 - 29.5, index.j as f64 - 34.5);
        if x.hypot(y) > 44.0 { -2048.0 } else { values(mr_from_ct.apply(grid.point_of(index)))[1] as f32 }
    }))
}

/// How far a transform takes points of the head from where they belong, in mm, on average.
pub(crate) fn target_error_mm(got: &AffineTransform, truth: &AffineTransform) -> f64 {
    let (mut sum, mut n) = (0.0, 0);
    for x in [-50.0, -20.0, 0.0, 20.0, 50.0] {
        for y in [-70.0, -35.0, 0.0, 35.0, 65.0] {
            for z in [-55.0, -25.0, 0.0, 25.0, 55.0] {
                let at = PointLps::new(x, y, z);
                sum += got.apply(at).distance_mm(truth.apply(at));
                n += 1;
            }
        }
    }
    sum / f64::from(n)
}

/// Two Gaussian blobs, of which a linear relation makes the other modality.
fn blobs(p: PointLps) -> f64 {
    let squared = |center: [f64; 3], width: [f64; 3]| {
        let offset = [p.x - center[0], p.y - center[1], p.z - center[2]];
        std::iter::zip(offset, width).map(|(c, w)| (c / w).powi(2)).sum::<f64>() / 2.0
    };
    400.0 * (-squared([-8.0, 4.0, 2.0], [16.0, 11.0, 20.0])).exp()
        + 300.0 * (-squared([20.0, -12.0, -14.0], [9.0, 13.0, 8.0])).exp()
}

/// The blobs, and what they become under a transform with the contrast turned round; grids of 2 and 2.3 mm.
pub(crate) fn blob_pair(
    moving_from_fixed: &AffineTransform,
) -> Result<(Volume<f32>, Volume<f32>), ImageError> {
    let fixed = Grid::axis_aligned([50, 50, 50], [2.0; 3], PointLps::new(-49.0, -49.0, -49.0))?;
    let moving = Grid::axis_aligned([60, 56, 58], [2.3; 3], PointLps::new(-68.0, -64.0, -66.0))?;
    let fixed_from_moving = moving_from_fixed.inverse()?;
    Ok((
        Volume::from_point_fn(&fixed, |p| blobs(p) as f32),
        Volume::from_point_fn(&moving, |p| (500.0 - 2.0 * blobs(fixed_from_moving.apply(p))) as f32),
    ))
}
