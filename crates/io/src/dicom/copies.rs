//! Copies of one image under several names.

use super::geometry::{POSITION_TOLERANCE_MM, Plane};
use super::image::ImageHeader;
use super::pixels::PixelFile;
use crate::IoError;

/// Leaves out images that are at the place of an earlier one, say the same of themselves and have the same values; returns
/// how many.
///
/// The pixels of images at one place are decoded for that. What cannot be decoded stays, for its error to be found later.
pub(super) fn leave_out(headers: &mut Vec<ImageHeader>, planes: &mut Vec<Plane>) -> usize {
    let Some(normal) = planes.first().map(Plane::normal) else { return 0 };
    let mut order: Vec<usize> = (0..headers.len()).collect();
    order.sort_by(|&left, &right| planes[left].depth_mm(normal).total_cmp(&planes[right].depth_mm(normal)));
    let is_near = |&left: &usize, &right: &usize| {
        planes[right].depth_mm(normal) - planes[left].depth_mm(normal) <= POSITION_TOLERANCE_MM
    };
    let mut is_copy = vec![false; headers.len()];
    for group in order.chunk_by(is_near).filter(|group| group.len() > 1) {
        let mut kept: Vec<(usize, Option<Vec<f32>>)> = Vec::new();
        for &place in group {
            let twins = |&(other, _): &(usize, Option<Vec<f32>>)| {
                headers[other].instance_number == headers[place].instance_number
                    && headers[other].distinctions == headers[place].distinctions
                    && (planes[other].position - planes[place].position).norm_mm() <= POSITION_TOLERANCE_MM
            };
            if !kept.iter().any(twins) {
                kept.push((place, None));
                continue;
            }
            let own = values(&headers[place]).ok();
            is_copy[place] = kept.iter_mut().any(|twin| {
                if !twins(twin) || own.is_none() {
                    return false;
                }
                twin.1 = twin.1.take().or_else(|| values(&headers[twin.0]).ok());
                twin.1 == own
            });
            if !is_copy[place] {
                kept.push((place, own));
            }
        }
    }
    let mut place = 0;
    headers.retain(|_| {
        place += 1;
        !is_copy[place - 1]
    });
    let mut place = 0;
    planes.retain(|_| {
        place += 1;
        !is_copy[place - 1]
    });
    is_copy.iter().filter(|&&is_copy| is_copy).count()
}

fn values(header: &ImageHeader) -> Result<Vec<f32>, IoError> {
    let mut values = vec![0.0; header.sample_format()?.n_samples()];
    PixelFile::new(header)?.decode(header, false, &mut values)?;
    Ok(values)
}
